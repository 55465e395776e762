// Asks now and then whether the confirmation has come, and shows the page that says so.
(function () {
  var place = document.getElementById("waiting");
  if (!place || !window.fetch) return;
  var pause = 1500;
  function look() {
    fetch(place.getAttribute("data-state-url"), { headers: { accept: "application/json" }, cache: "no-store" })
      .then(function (answer) { return answer.ok ? answer.json() : null; })
      .then(function (told) {
        if (told && told.state !== "pending") window.location.reload();
        else again();
      }, again);
  }
  function again() {
    pause = Math.min(pause * 1.1, 6000);
    window.setTimeout(look, pause);
  }
  window.setTimeout(look, pause);
})();
