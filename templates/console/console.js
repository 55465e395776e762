// What markup alone cannot do. Pages work without it.
(() => {
  // On a narrow screen the navigation is a strip: show where we are in it.
  const here = document.querySelector(".top nav [aria-current]");
  if (here) here.scrollIntoView({ block: "nearest", inline: "center" });

  // A button is not to be pressed twice.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post" || event.defaultPrevented) return;
    const button = event.submitter;
    if (button) setTimeout(() => { button.disabled = true; }, 0);
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll("button:disabled").forEach((button) => { button.disabled = false; });
  });

  // What is told while somebody looks, only while somebody looks: a browser has few connections to one place, and people open many tabs.
  // Who comes back is told what the page does not show yet.
  class Told extends EventTarget {
    constructor(address) {
      super();
      this.address = new URL(address, location.href);
      this.names = new Set();
      this.pass = (event) => {
        if (event.lastEventId) this.address.searchParams.set("has", event.lastEventId);
        this.dispatchEvent(new MessageEvent(event.type, { data: event.data }));
      };
      this.turn = () => {
        if (document.hidden) this.source?.close();
        else if (this.readyState !== EventSource.OPEN) this.listen();
      };
      document.addEventListener("visibilitychange", this.turn);
      this.turn();
    }

    listen() {
      this.source?.close();
      const source = new EventSource(this.address);
      source.onopen = (event) => this.onopen?.(event);
      source.onerror = (event) => {
        // Refused for good: whoever wants it makes another one.
        if (source.readyState === EventSource.CLOSED) this.close();
        this.onerror?.(event);
      };
      this.names.forEach((name) => source.addEventListener(name, this.pass));
      this.source = source;
    }

    get readyState() { return this.source ? this.source.readyState : EventSource.CONNECTING; }

    addEventListener(name, hear) {
      super.addEventListener(name, hear);
      this.names.add(name);
      this.source?.addEventListener(name, this.pass);
    }

    close() {
      document.removeEventListener("visibilitychange", this.turn);
      this.source?.close();
    }
  }
  htmx.createEventSource = (address) => new Told(address);

  // <button data-copy="text">
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) navigator.clipboard.writeText(button.dataset.copy).then(() => button.classList.add("copied"));
  });
})();
