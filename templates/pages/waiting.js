// Asks now and then whether the confirmation has come, and shows the page that says so.
(function () {
  var place = document.getElementById("waiting");
  if (!place || !window.fetch) return;
  var pause = 1500, looks = 0, timer = 0, asking = false;
  function look() {
    if (asking) return;
    asking = true;
    window.clearTimeout(timer);
    fetch(place.getAttribute("data-state-url"), { headers: { accept: "application/json" }, cache: "no-store" })
      .then(function (answer) { return answer.ok ? answer.json() : null; })
      .then(function (told) {
        asking = false;
        if (!told || told.state === "pending") return again();
        if (told.state === "confirmed") place.textContent = place.getAttribute("data-confirmed");
        // Not a reload: this page may be the answer to a wrong code, which would be sent once more.
        window.location.replace(place.getAttribute("data-page-url"));
      })
      .catch(function () { asking = false; again(); });
  }
  function again() {
    // Often while somebody most likely holds their phone in the hand, then more rarely.
    pause = looks++ < 60 ? 2000 : Math.min(pause * 1.2, 15000);
    timer = window.setTimeout(look, pause);
  }
  // Whoever comes back from WhatsApp wants to see it now.
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) { looks = 0; look(); }
  });
  timer = window.setTimeout(look, pause);
})();
