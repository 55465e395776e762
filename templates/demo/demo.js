// The demonstration's page: shows what the board has, and tells the stage what is done. It decides nothing.
(() => {
  "use strict";
  const body = document.body;
  const texts = JSON.parse(body.dataset.texts);
  const find = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat(body.dataset.lang);
  const name = body.dataset.name;
  const language = find("language");
  const narrow = window.matchMedia("(max-width: 63.99rem)");

  const say = (key, places = {}) =>
    (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, place) => (place in places ? places[place] : whole));

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const clock = (at, precise) => {
    const time = new Date(at);
    const two = (n, width = 2) => String(n).padStart(width, "0");
    const minutes = `${two(time.getHours())}:${two(time.getMinutes())}`;
    return precise ? `${minutes}:${two(time.getSeconds())}.${two(time.getMilliseconds(), 3)}` : minutes;
  };

  // What is done.

  let toastTimer = 0;
  function toast(text) {
    find("toast").textContent = text;
    window.clearTimeout(toastTimer);
    toastTimer = window.setTimeout(() => { find("toast").textContent = ""; }, 6000);
  }

  async function act(what, more = {}) {
    try {
      const answer = await fetch("/do", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ what, ...more }),
      });
      if (answer.ok) return true;
      const told = await answer.json().catch(() => ({}));
      toast(say(told.wrong ?? "wrong_impossible"));
    } catch {
      toast(say("wrong_gone"));
    }
    return false;
  }

  const whose = () => document.querySelector("input[name=whose]:checked").value;

  // Orders are placed in the order in which they were clicked.
  let placed = Promise.resolve();
  for (const button of document.querySelectorAll("[data-order]")) {
    button.addEventListener("click", () => {
      const order = { kind: button.dataset.order, whose: whose(), language: language.value };
      placed = placed.then(() => act("order", order));
    });
  }
  for (const button of document.querySelectorAll("[data-rush]")) {
    const orders = Number(button.dataset.rush);
    button.textContent = number.format(orders);
    button.setAttribute("aria-label", say("rush_n", { n: number.format(orders) }));
    button.addEventListener("click", () => act("rush", { orders }));
  }
  for (const element of document.querySelectorAll("[data-thing]")) {
    const thing = element.dataset.thing;
    if (element.tagName === "INPUT") {
      element.addEventListener("change", () => act("set", { thing, on: element.checked }));
    } else {
      element.addEventListener("click", () => act("set", { thing, on: element.getAttribute("aria-pressed") !== "true" }));
    }
  }
  find("tap").addEventListener("click", () => act("opt_in", { sms: false, language: language.value }));
  find("by-sms").addEventListener("click", async () => {
    if (await act("opt_in", { sms: true, language: language.value })) choose("sms", true);
  });
  find("answers").addEventListener("click", () => act("lose_answers", { answers: 3 }));
  find("kill").addEventListener("click", () => act(find("worker").dataset.state === "dead" ? "start" : "kill"));
  for (const form of document.querySelectorAll("form.write")) {
    const sms = form.dataset.sms === "true";
    const words = form.querySelector("input");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const text = words.value.trim();
      if (text && (await act("say", { text, sms }))) words.value = "";
    });
    form.querySelector(".stop").addEventListener("click", () => act("say", { text: texts.phone_stop, sms }));
  }

  // Panes on a narrow screen, tabs on the phone.

  let unread = 0;
  function showPane(pane) {
    body.dataset.pane = pane;
    for (const button of document.querySelectorAll("[data-show]")) {
      if (button.dataset.show === pane) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    if (pane === "phone") count((unread = 0), find("unread"));
    scrollDown(find("log"));
    scrollDown(find("log-sms"));
  }
  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => showPane(button.dataset.show));
  }

  function count(n, badge) {
    badge.hidden = n === 0;
    badge.replaceChildren(String(n), make("span", "hidden", ` ${texts.new_messages}`));
  }

  const tabs = ["chat", "sms"].map((panel) => ({ tab: find(`tab-${panel}`), panel: find(panel) }));
  let unreadTexts = 0;
  function choose(chosen, focus) {
    for (const { tab, panel } of tabs) {
      const is = panel.id === chosen;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      panel.hidden = !is;
      if (is && focus) tab.focus();
    }
    if (chosen === "sms") count((unreadTexts = 0), find("unread-sms"));
    scrollDown(find(chosen === "sms" ? "log-sms" : "log"));
  }
  for (const { tab, panel } of tabs) {
    tab.addEventListener("click", () => choose(panel.id, false));
    tab.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") choose(panel.id === "chat" ? "sms" : "chat", true);
    });
  }

  // What is shown.

  const plain = ["accepted", "delivered", "lost", "twice", "in_doubt"];
  const quiet = ["in_queue", "waiting", "suppressed", "failed", "rejected", "resent"];
  function showScore(score) {
    for (const key of plain) {
      const place = find(`score-${key}`);
      place.textContent = number.format(score[key]);
      place.parentElement.dataset.n = score[key] === 0 ? "none" : "some";
    }
    for (const key of quiet) {
      const place = find(`score-${key}`);
      place.textContent = number.format(score[key]);
      place.parentElement.hidden = score[key] === 0;
    }
  }

  function showWorker(worker) {
    find("worker").dataset.state = worker.state;
    find("worker-state").textContent = say(`worker_${worker.state}`, { pid: worker.pid });
    find("kills").textContent = worker.kills ? say("worker_kills", { n: number.format(worker.kills) }) : "";
    find("kill").textContent = texts[worker.state === "dead" ? "break_start" : "break_kill"];
    find("kill").className = worker.state === "dead" ? "first" : "bad";
    const console = find("console");
    console.hidden = !worker.console;
    if (worker.console) console.href = worker.console;
    find("login").textContent = worker.login;
  }

  function showBreaks(breaks) {
    for (const element of document.querySelectorAll("[data-thing]")) {
      const on = breaks[element.dataset.thing];
      if (element.tagName === "INPUT") element.checked = on;
      else element.setAttribute("aria-pressed", String(on));
    }
    find("tool-cut").hidden = !breaks.can_cut;
    find("answers").classList.toggle("on", breaks.answers > 0);
    const n = (key) => number.format(breaks[key]);
    const { answers, unanswered, in_doubt, found } = breaks;
    const lost = [];
    if (answers) lost.push(say("says_to_lose", { n: n("answers") }));
    if (unanswered) lost.push(say("says_lost", { n: n("unanswered") }));
    if (in_doubt) lost.push(say("says_in_doubt", { n: n("in_doubt") }));
    if (found) lost.push(say("says_found", { n: n("found") }));
    const loss = lost.join(" · ") || texts.says_no_loss;
    tell("answers", answers || in_doubt ? "on" : "off", loss[0].toUpperCase() + loss.slice(1));
    tell("slow", breaks.slow ? "on" : "off", texts[breaks.slow ? "says_slow" : "says_usual"]);
    if (!breaks.heard) tell("paused", "soon", texts[breaks.paused ? "says_pausing" : "says_resuming"]);
    else if (!breaks.paused) tell("paused", "off", texts.says_approved);
    else tell("paused", "on", breaks.held ? say("says_held", { n: n("held") }) : texts.says_paused);
    if (breaks.cut) tell("cut", "on", texts.says_cut);
    else tell("cut", breaks.consumes ? "off" : "soon", texts[breaks.consumes ? "says_connected" : "says_nobody"]);
  }

  // How a tool stands: off, on, or soon, when it is asked for and not yet so.
  function tell(tool, state, text) {
    const place = find(`says-${tool}`);
    place.dataset.state = state;
    place.textContent = text;
  }

  function showOwner(owner) {
    const states = owner.consents.map(([, state]) => state);
    const granted = states.includes("granted");
    const key = granted ? "phone_agreed" : states.includes("pending") ? "phone_pending"
      : states.includes("revoked") ? "phone_said_stop" : "phone_nobody";
    find("consent").textContent = texts[key];
    find("ask").hidden = granted;
    if (!granted) scrollDown(find("log"));
    find("order").textContent = owner.order ? say("shop_current", { order: owner.order }) : "";
  }

  function scrollDown(log) { log.scrollTop = log.scrollHeight; }
  // What was just read stays in view when something else takes its room.
  const sizes = new ResizeObserver((changed) => changed.forEach(({ target }) => scrollDown(target)));
  sizes.observe(find("log"));
  sizes.observe(find("log-sms"));

  // Words between stars are strong, addresses are links; all else is text.
  function written(text) {
    const place = make("p", "text");
    for (const part of text.split(/(\*[^*\n]+\*|https?:\/\/\S+)/)) {
      if (/^\*.+\*$/.test(part)) place.append(make("strong", "", part.slice(1, -1)));
      else if (/^https?:\/\/(127\.0\.0\.1|localhost)[:/]/.test(part)) {
        const link = make("a", "", part);
        link.href = part;
        link.target = "_blank";
        link.rel = "noreferrer";
        place.append(link);
      } else place.append(part);
    }
    return place;
  }

  const bubbles = new Map();
  function showBubble(bubble) {
    const log = find(bubble.sms ? "log-sms" : "log");
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    let item = bubbles.get(bubble.no);
    const known = item !== undefined;
    if (!known) {
      item = make("div", bubble.own ? "bubble own" : "bubble");
      item.dataset.id = bubble.id;
      bubbles.set(bubble.no, item);
      log.querySelector(".none")?.remove();
      log.append(item);
      if (bubbles.size > 80) {
        const oldest = Math.min(...bubbles.keys());
        bubbles.get(oldest).remove();
        bubbles.delete(oldest);
      }
      if (!bubble.own) {
        if (narrow.matches && body.dataset.pane !== "phone") count((unread += 1), find("unread"));
        if (bubble.sms && find("sms").hidden) count((unreadTexts += 1), find("unread-sms"));
      }
      const { header, footer, links } = bubble.frame;
      if (header && !bubble.own) item.append(make("p", "heading", header));
      item.append(written(bubble.text));
      if (footer) item.append(make("p", "footer", footer));
      item.append(make("p", "foot"));
      for (const [text, to] of links) {
        const button = make("button", "link", text);
        button.type = "button";
        button.addEventListener("click", () => toast(say("would_open", { to })));
        item.append(button);
      }
      for (const [text, payload] of bubble.replies) {
        const button = make("button", "reply", text);
        button.type = "button";
        button.addEventListener("click", () => act("press", { message: bubble.id, payload }));
        item.append(button);
      }
    }
    const foot = item.querySelector(".foot");
    const tick = bubble.tick ?? "none";
    const ticks = make("span", `tick ${tick}`);
    ticks.setAttribute("aria-hidden", "true");
    const told = bubble.own ? [] : [make("span", "told", texts[`tick_${tick}`])];
    const by = bubble.own && bubble.frame.header === "button" ? [make("span", "told", texts.by_button)] : [];
    foot.replaceChildren(...by, make("time", "", clock(bubble.at)), ticks, ...told);
    item.dataset.tick = tick;
    if (atEnd || !known) scrollDown(log);
  }

  // The newest is above, whatever comes first.
  function place(card, at, kind) {
    const tales = find("tales");
    if (card.matches(".own, .rush-card") || !find("own").checked) tales.querySelector(".empty")?.remove();
    card.dataset.at = String(at);
    card.dataset.kind = kind;
    tales.insertBefore(card, [...tales.children].find((other) => Number(other.dataset.at) <= at) ?? null);
    // What becomes of one's own orders stays, however many others there are.
    const cards = tales.querySelectorAll(`[data-kind=${kind}]:not(.own)`);
    if (cards.length > 60) cards[cards.length - 1].remove();
  }

  function showTale(tale) {
    let card = find(tale.card);
    if (!card) {
      card = make("details", "tale");
      card.id = tale.card;
      const summary = make("summary");
      summary.append(make("span", "title"), make("span", "whom"), make("span", "state"));
      card.append(summary, make("ol", "lines"), make("p", "next"));
      card.classList.toggle("own", tale.own);
      if (tale.own) {
        // The newest is read; the others stay as the reader has left them.
        const last = find("tales").querySelector("details.own[data-auto]");
        if (!last || Number(last.dataset.at) <= tale.at) {
          if (last) { last.open = false; delete last.dataset.auto; }
          card.open = true;
          card.dataset.auto = "";
        }
        summary.addEventListener("click", () => { delete card.dataset.auto; });
      }
      place(card, tale.at, "tale");
    }
    card.dataset.tone = tale.tone;
    card.querySelector(".title").textContent = tale.title;
    card.querySelector(".whom").textContent = tale.whom;
    card.querySelector(".state").textContent = tale.state;
    const lines = card.querySelector(".lines");
    tale.lines.forEach((line, at) => {
      const known = lines.children[at];
      const item = known ?? lines.appendChild(make("li"));
      if (!known) item.append(make("time"), make("span"));
      item.firstChild.textContent = clock(line.at, true);
      item.lastChild.textContent = line.text;
    });
    while (lines.children.length > tale.lines.length) lines.lastChild.remove();
    const next = card.querySelector(".next");
    next.hidden = !tale.next;
    next.replaceChildren(make("strong", "", `${texts.story_next}: `), tale.next ?? "");
  }

  function showRush(rush) {
    let card = find(`rush-${rush.no}`);
    if (!card) {
      card = make("section", "rush-card");
      card.id = `rush-${rush.no}`;
      const heading = make("h3", "", say("rush_card", { n: number.format(rush.orders) }));
      heading.id = `rush-title-${rush.no}`;
      const bar = make("progress");
      bar.setAttribute("aria-labelledby", heading.id);
      card.append(heading, bar, make("p", "line"), make("p", "more"));
      place(card, rush.at, "rush");
    }
    const n = (key) => number.format(rush[key]);
    const bar = card.querySelector("progress");
    bar.max = rush.orders;
    bar.value = rush.delivered + rush.ended_otherwise;
    card.querySelector(".line").textContent =
      say("rush_line", { published: n("published"), accepted: n("accepted"), delivered: n("delivered") });
    const more = [];
    if (rush.in_doubt) more.push(say("rush_doubt", { n: n("in_doubt") }));
    if (rush.ended_otherwise) more.push(say("rush_other", { n: n("ended_otherwise") }));
    if (rush.took !== null) more.push(say("rush_took", { s: number.format(Math.round(rush.took / 100) / 10) }));
    card.querySelector(".more").textContent = more.join(" · ");
  }

  // The page may come back with the boxes as they were.
  const filter = () => find("tales").classList.toggle("only-own", find("own").checked);
  find("own").addEventListener("change", filter);
  for (const radio of document.querySelectorAll("input[name=whose]")) {
    radio.addEventListener("change", () => { find("own").checked = whose() === "own"; filter(); });
  }
  filter();

  const show = {
    score: showScore, worker: showWorker, breaks: showBreaks, owner: showOwner, bubble: showBubble, tale: showTale, rush: showRush,
  };
  const stream = new EventSource(`/events?lang=${body.dataset.language}`);
  stream.addEventListener("message", (message) => {
    for (const { is, what } of JSON.parse(message.data)) show[is](what);
    body.dataset.live = "true";
  });
  // It connects again by itself.
  stream.addEventListener("error", () => { if (body.dataset.live) toast(say("wrong_gone")); });
})();
