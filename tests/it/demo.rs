//! The demonstration as somebody meets it who has just typed `make demo`: the whole of it as a process, its page in a real browser.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    path::Path,
    process::Stdio,
};

use futures_util::FutureExt;
use lapin::{
    Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{
    database,
    harness::{PATIENCE, amqp_url, make_database, unique, until, variable},
    optin::driver::{Browser, ENTER},
};

/// What the demonstration has at the broker, by the setting that names it.
const NAMES: [&str; 5] = ["exchange", "queue", "dead_exchange", "status_exchange", "inbound_exchange"];

/// A demonstration that runs.
struct Demo {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Of its page.
    address: String,
}

impl Demo {
    async fn start(name: &str, database_url: &str, settings: &[(&str, &str)]) -> Demo {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
        command.args(["demo", "--listen", "127.0.0.1:0", "--rate", "0"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().kill_on_drop(true);
        for key in NAMES {
            command.env(format!("RECADO_BROKER__{}", key.to_uppercase()), format!("{name}.{key}"));
        }
        command.envs(settings.iter().copied());
        command.env("PATH", variable("PATH", "/usr/bin:/bin"));
        command.env("DATABASE_URL", database_url).env("AMQP_URL", amqp_url());
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the demonstration starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("its output").expect("it says where its page is");
            if let Some((_, after)) = line.split_once("Open ") {
                break after.split('/').take(3).collect::<Vec<_>>().join("/");
            }
        };
        Demo { process, lines, address }
    }

    /// Ctrl-C. Gives its last line.
    async fn end(mut self) -> Value {
        let pid = self.process.id().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
        let mut last = String::new();
        while let Some(line) = self.lines.next_line().await.expect("its output") {
            last = line;
        }
        assert!(self.process.wait().await.expect("it ends").success());
        serde_json::from_str(&last).expect("a line of JSON")
    }
}

/// A figure of those that are always in view.
async fn figure(browser: &Browser, key: &str) -> u64 {
    let text = browser.run(&format!("return document.getElementById('score-{key}').textContent")).await;
    text.as_str().expect("a figure").replace('.', "").parse().expect("a number")
}

async fn look(browser: &Browser, name: &str) -> Vec<String> {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/out/pages");
    browser.picture(&pictures.join(format!("demo-{name}.png"))).await;
    let mut found = browser.axe().await;
    if browser.run("return document.documentElement.scrollWidth > innerWidth").await == true {
        found.push("it is wider than the screen".to_owned());
    }
    found.into_iter().map(|breach| format!("{name}: {breach}")).collect()
}

/// Runs a demonstration and shows its page. Gives what it says at its end.
async fn demonstrate(name: &str, settings: &[(&str, &str)], show: impl AsyncFnOnce(&str)) -> Value {
    // For the test's own questions; nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = unique(name);
    let (pool, url) = make_database(&name).await;
    let demo = Demo::start(&name, &url, settings).await;
    let address = demo.address.clone();
    let shown = AssertUnwindSafe(show(&address)).catch_unwind().await;
    let ended = AssertUnwindSafe(demo.end()).catch_unwind().await;
    pool.close().await;
    database::end(&name).await;
    tidy_broker(&name).await;
    if let Err(panic) = shown {
        std::panic::resume_unwind(panic);
    }
    ended.expect("it ends well")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demonstration_from_the_tap_over_a_killed_worker_to_the_stop() {
    // Of a worker that was killed, it is known sooner what it had in hand.
    let soon = [("RECADO_DISPATCH__LEASE", "5s"), ("RECADO_DOUBT__WINDOW", "3s")];
    let ended = demonstrate("demo", &soon, show).await;
    assert_eq!((&ended["lost"], &ended["duplicated"]), (&Value::from(0), &Value::from(0)), "{ended}");
    assert_eq!(ended["events"], 1_102, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make soak`"]
async fn five_thousand_orders_arrive_over_killed_workers_lost_answers_and_cut_cables() {
    let soon = [("RECADO_DISPATCH__LEASE", "5s"), ("RECADO_DOUBT__WINDOW", "3s")];
    let ended = demonstrate("demo_rush", &soon, rush).await;
    println!("{ended}");
    assert_eq!((&ended["lost"], &ended["duplicated"]), (&Value::from(0), &Value::from(0)), "{ended}");
    assert_eq!(ended["events"], 5_100, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_button_of_the_demonstration_does_what_it_says_and_tells_how_it_stands() {
    let ended = demonstrate("demo_buttons", &[], press_everything).await;
    let counted = ["events", "accepted", "suppressed", "failed", "lost", "duplicated", "in_doubt"];
    assert_eq!(counted.map(|key| ended[key].as_u64().expect("a count")), [13, 12, 1, 0, 0, 0, 0], "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_set_of_events_ends_as_it_must_with_an_exit_code_and_a_line_of_json() {
    let name = unique("demo_once");
    let (pool, url) = make_database(&name).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
    command.args(["demo", "--once"]).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().kill_on_drop(true);
    for key in NAMES {
        command.env(format!("RECADO_BROKER__{}", key.to_uppercase()), format!("{name}.{key}"));
    }
    command.env("DATABASE_URL", url).env("AMQP_URL", amqp_url());
    let ended = tokio::time::timeout(PATIENCE, command.stdin(Stdio::null()).output()).await;
    let ended = ended.expect("in under a minute").expect("it runs");
    let told = String::from_utf8(ended.stdout).expect("text");
    assert_eq!(ended.status.code(), Some(0), "{told}");
    let last = told.lines().last().expect("a last line");
    let keys =
        ["events", "accepted", "delivered", "suppressed", "failed", "rejected", "lost", "duplicated", "in_doubt"];
    let counts: BTreeMap<String, u64> = serde_json::from_str(last).expect("JSON");
    let count = |key: &str| counts[key];
    assert_eq!(counts.keys().map(String::as_str).collect::<BTreeSet<_>>(), keys.into(), "{last}");
    assert_eq!((count("lost"), count("duplicated"), count("in_doubt")), (0, 0, 0), "{last}");
    assert!(count("events") >= 15 && count("delivered") >= 10, "{last}");
    assert_eq!(
        count("events"),
        ["accepted", "suppressed", "failed", "rejected"].map(count).iter().sum::<u64>() + 1,
        "{last}"
    );
    pool.close().await;
    database::end(&name).await;
    tidy_broker(&name).await;
}

async fn show(address: &str) {
    let browser = Browser::open().await;
    browser.screen(1280).await;
    browser.colours("light").await;
    browser.go(&format!("{address}/?lang=es")).await;
    browser.shows("#worker-state", "proceso").await;
    let mut found = look(&browser, "start").await;

    // One tap: the shop's form asks, and its word goes to the shop by WhatsApp.
    browser.click("#tap").await;
    browser.shows("#consent", "Ha aceptado").await;
    browser.shows("#log .bubble.own", "ALTA ").await;
    browser.shows("#log .bubble:last-child", "listo").await;

    browser.click("[data-order='order.confirmed']").await;
    browser.shows("#log .bubble:last-child[data-tick=read]", "No recibir avisos").await;
    browser.shows(".tale.own[open] .lines", "Aviso: leído").await;
    browser.shows(".tale.own[open] .state", "leído").await;
    assert_eq!(figure(&browser, "delivered").await, 1);

    // A thousand are under way when the worker dies.
    browser.click("[data-rush='1000']").await;
    until("many are under way", PATIENCE, async || figure(&browser, "accepted").await > 100).await;
    browser.click("#kill").await;
    browser.shows("#worker[data-state=dead]", "muerto").await;
    assert!(figure(&browser, "accepted").await < 1_000, "the worker died in the middle of them");
    found.extend(look(&browser, "killed").await);
    browser.click("#kill").await;
    browser.shows("#worker[data-state=up]", "proceso").await;
    browser.shows("#kills", "muertes: 1").await;
    // What is reported of later orders settles what is in doubt.
    browser.click("[data-rush='100']").await;
    let over = async || {
        let (delivered, doubts) = (figure(&browser, "delivered").await, figure(&browser, "in_doubt").await);
        delivered == 1_101 && doubts == 0 && figure(&browser, "waiting").await == 0
    };
    until("all of them have arrived", PATIENCE, over).await;
    assert_eq!((figure(&browser, "lost").await, figure(&browser, "twice").await), (0, 0));

    browser.click("#chat .stop").await;
    browser.shows("#consent", "BAJA").await;
    browser.click("[data-order='order.confirmed']").await;
    browser.shows(".tale.own[open] .lines", "la persona dijo basta").await;
    browser.shows(".tale.own[open] .state", "no enviado").await;

    browser.colours("dark").await;
    found.extend(look(&browser, "dark").await);
    browser.screen(360).await;
    for (pane, colours) in [("shop", "light"), ("phone", "dark"), ("story", "light"), ("break", "dark")] {
        browser.colours(colours).await;
        browser.click(&format!("[data-show={pane}]")).await;
        found.extend(look(&browser, &format!("360-{pane}")).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    // The page says who may look after it.
    let (console, login) =
        (browser.attribute("#console", "href").await.expect("an address"), browser.text("#login").await);
    let (name, password) = login.split_once(" / ").expect("a name and a password");
    browser.go(&console).await;
    browser.write("#name", name).await;
    browser.write("#password", password).await;
    browser.press(ENTER).await;
    browser.shows("h1", "Now").await;
    strangers(address).await;
}

/// Breaks what can be broken while five thousand are under way.
async fn rush(address: &str) {
    let patience = PATIENCE * 5;
    let browser = Browser::open().await;
    browser.screen(1280).await;
    browser.go(&format!("{address}/?lang=es")).await;
    browser.shows("#worker[data-state=up]", "").await;
    browser.click("[data-rush='5000']").await;
    for round in 1..=3 {
        until("some have gone", patience, async || figure(&browser, "accepted").await > round * 1_000).await;
        browser.click("#answers").await;
        browser.click("[data-thing=cut]").await;
        browser.shows("#says-cut[data-state=on]", "").await;
        browser.click("#kill").await;
        browser.shows("#worker[data-state=dead]", "").await;
        browser.click("[data-thing=cut]").await;
        browser.click("#kill").await;
        browser.shows("#worker[data-state=up]", "").await;
        browser.shows("#says-cut[data-state=off]", "conectado").await;
    }
    // What is reported of later orders settles what is in doubt.
    browser.click("[data-rush='100']").await;
    until("all of them have arrived", patience, async || {
        let (delivered, doubts) = (figure(&browser, "delivered").await, figure(&browser, "in_doubt").await);
        delivered == 5_100 && doubts == 0 && figure(&browser, "waiting").await == 0
    })
    .await;
    assert_eq!((figure(&browser, "lost").await, figure(&browser, "twice").await), (0, 0));
}

/// Presses each button, and waits for what is to be seen of it.
async fn press_everything(address: &str) {
    let browser = Browser::open().await;
    browser.screen(1280).await;
    browser.colours("light").await;
    browser.go(&format!("{address}/?lang=es")).await;
    browser.shows("#worker[data-state=up]", "proceso").await;
    for tool in ["answers", "slow", "paused", "cut"] {
        browser.shows(&format!("#says-{tool}[data-state=off]"), "").await;
    }
    let newest = async |part: &str, words: &str| browser.shows(&format!(".tale.own[open] .{part}"), words).await;
    let order = async |kind: &str| browser.click(&format!("[data-order='{kind}']")).await;
    let arrives = async |words: &str| {
        browser.shows("#log .bubble:not(.own):last-child[data-tick=read]", words).await;
        newest("state", "leído").await;
    };
    let counts = async |key: &str, n: u64| until(key, PATIENCE, async || figure(&browser, key).await == n).await;
    browser.click("#tap").await;
    browser.shows("#consent", "Ha aceptado").await;
    newest("lines", "Es el sí que se había pedido").await;
    newest("state", "contestado").await;

    order("order.confirmed").await;
    arrives("No recibir avisos").await;
    order("shipment.dispatched").await;
    newest("title", "En camino").await;
    arrives("ya está en camino").await;

    // Food is at the door sooner than the last of those that were ordered before it, each of which takes a second.
    browser.click("[data-thing=slow]").await;
    browser.shows("#says-slow[data-state=on]", "más de un segundo").await;
    for _ in 0..4 {
        order("order.confirmed").await;
    }
    order("shipment.arriving").await;
    newest("lines", "urgente").await;
    browser.click("[data-thing=slow]").await;
    browser.shows("#says-slow[data-state=off]", "décima").await;
    counts("delivered", 7).await;
    let texts = "return [...document.querySelectorAll('#log .bubble:not(.own)')].map((bubble) => bubble.textContent)";
    let texts: Vec<String> = serde_json::from_value(browser.run(texts).await).expect("texts");
    let food = texts.iter().position(|text| text.contains("en unos 5 minutos")).expect("it arrived");
    assert!(
        texts.iter().skip(food).any(|text| text.contains("está confirmado")),
        "what is urgent goes first: {texts:?}"
    );

    browser.click("#answers").await;
    browser.shows("#says-answers[data-state=on]", "Aún por perder: 3").await;
    order("order.confirmed").await;
    newest("lines", "En duda").await;
    browser.shows("#says-answers", "Aún por perder: 2 · perdidas: 1 · en duda: 1").await;
    counts("in_doubt", 1).await;
    newest("lines", "Prueba: el aviso").await;
    order("order.confirmed").await;
    order("order.confirmed").await;
    browser.shows("#says-answers[data-state=off]", "Perdidas: 3 · halladas por aviso: 3").await;
    counts("in_doubt", 0).await;

    browser.click("[data-thing=paused]").await;
    browser.shows("#says-paused[data-state=on]", "esperan").await;
    order("order.confirmed").await;
    newest("lines", "Espera a su plantilla").await;
    newest("next", "cuando su plantilla").await;
    browser.shows("#says-paused", "Mensajes que esperan: 1").await;
    let mut found = look(&browser, "paused").await;
    browser.colours("dark").await;
    found.extend(look(&browser, "paused-dark").await);
    browser.click("[data-thing=paused]").await;
    browser.shows("#says-paused[data-state=off]", "").await;
    arrives("está confirmado").await;

    browser.click("[data-thing=cut]").await;
    browser.shows("#says-cut[data-state=on]", "Cortado").await;
    order("order.payment_failed").await;
    newest("state", "en RabbitMQ").await;
    browser.click("[data-thing=cut]").await;
    browser.shows("#says-cut[data-state=off]", "conectado").await;
    arrives("pago").await;

    browser.write("#words", "Gracias").await;
    browser.press(ENTER).await;
    newest("whom", "Gracias").await;
    newest("lines", "contesta una persona").await;
    browser.write("#words", "¿Dónde está mi pedido?").await;
    browser.press(ENTER).await;
    newest("lines", "Pregunta dónde está el pedido").await;
    newest("state", "contestado").await;
    browser.shows("#log .bubble:not(.own):last-child", "lo estamos preparando").await;

    // The button under a message is a stop as well.
    browser.run("[...document.querySelectorAll('#log .reply')].at(-1).click()").await;
    newest("lines", "Es una baja").await;
    order("order.confirmed").await;
    newest("lines", "la persona dijo basta").await;
    newest("state", "no enviado").await;
    counts("suppressed", 1).await;
    assert_eq!((figure(&browser, "lost").await, figure(&browser, "twice").await), (0, 0));

    browser.screen(390).await;
    for (pane, colours) in [("break", "light"), ("story", "dark"), ("phone", "light")] {
        browser.colours(colours).await;
        browser.click(&format!("[data-show={pane}]")).await;
        found.extend(look(&browser, &format!("390-{pane}")).await);
    }
    let seen = "const last = document.querySelector('#log .bubble:last-child').getBoundingClientRect(),
        write = document.querySelector('#chat .write').getBoundingClientRect();
        return last.bottom <= write.top && write.bottom <= innerHeight";
    assert_eq!(browser.run(seen).await, true, "the last message and the field to write in are in view");
    assert!(found.is_empty(), "{}", found.join("\n"));
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Somebody else's page can make the browser ask, but is not heeded.
async fn strangers(address: &str) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let act = |origin: &'static str| {
        let post =
            client.post(format!("{address}/do")).header("content-type", "application/json").header("origin", origin);
        post.body(r#"{"what":"kill"}"#).send()
    };
    assert_eq!(act("http://shop.example").await.expect("an answer").status(), StatusCode::FORBIDDEN);
    assert_eq!(act("null").await.expect("an answer").status(), StatusCode::FORBIDDEN);
    let rebound = client.get(address).header("host", "rebound.example").send();
    assert_eq!(rebound.await.expect("an answer").status(), StatusCode::FORBIDDEN);
}

async fn tidy_broker(name: &str) {
    let broker = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.expect("RabbitMQ answers");
    let channel = broker.create_channel().await.expect("a channel");
    for queue in ["queue", "dead_exchange"] {
        drop(channel.queue_delete(format!("{name}.{queue}").into(), QueueDeleteOptions::default()).await);
    }
    for exchange in NAMES.into_iter().filter(|key| *key != "queue") {
        drop(channel.exchange_delete(format!("{name}.{exchange}").into(), ExchangeDeleteOptions::default()).await);
    }
    drop(broker.close(200, "bye".into()).await);
}
