//! The public doors under load, while messages go out. Measured from when a request was due, not from when it could be made, so that a
//! slow answer counts for those behind it as well. The program is one that was built to run, not the one of the tests, which is
//! several times slower.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, redirect::Policy};
use tokio::{task::JoinSet, time::Instant};

use crate::harness::{Fleet, PATIENCE, order, until, variable};

/// Requests a second on the doors.
const RATE: u32 = 200;
/// Events a second for people who agreed long ago.
const EVENTS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, and wants a machine for itself; `make soak`"]
async fn two_hundred_requests_a_second_are_answered_at_once_while_sending_goes_on() {
    let forms = concat!(env!("CARGO_MANIFEST_DIR"), "/config/forms");
    let program = variable("RECADO_PROGRAM", "");
    assert!(
        !program.is_empty(),
        "RECADO_PROGRAM names no program: cargo build --release, RECADO_PROGRAM=$PWD/target/release/recado"
    );
    let plan = |plan: &mut crate::harness::Plan| {
        plan.program = program.into();
        for (key, value) in [
            ("senders.main.number", "+34600000000"),
            ("forms.dir", forms),
            ("forms.asks_per_form", "1000000"),
            ("http.trusted_proxies", "127.0.0.0/8"),
            ("log.level", "warn"),
        ] {
            plan.set(key, value);
        }
        plan.people = 1_000;
    };
    Fleet::run("load", plan, async |fleet| {
        let doors = format!("http://{}", fleet.settings["http.listen"]);
        fleet.spawn(&[]);
        let visitor = Arc::new(Visitor::new(&doors));
        until("the doors are open", PATIENCE, async || visitor.get("/opt-in/pedidos").await == Some(200)).await;
        visitor.look().await;

        let calm = send_for(fleet, "calm", Duration::from_secs(20)).await;
        let minute = Duration::from_secs(60);
        let load = tokio::spawn(visit_for(Arc::clone(&visitor), minute));
        let busy = send_for(fleet, "busy", minute).await;
        let visits = load.await.expect("the visits");

        println!("sending, from event to accepted: calm {calm:?}, under load {busy:?}");
        for (what, took) in &visits.took {
            println!("{what}: {:?}", Spread::of(took));
        }
        let all = Spread::of(&visits.took.values().flatten().copied().collect::<Vec<_>>());
        println!("all: {all:?}, {} failed", visits.failed);
        assert_eq!(visits.failed, 0);
        assert!(all.count >= (RATE * 60) as usize * 99 / 100, "{all:?}");
        assert!(all.p99 < Duration::from_millis(50), "{all:?}");
        assert!(busy.p99 < calm.p99 + Duration::from_millis(250), "sending is disturbed: {calm:?}, {busy:?}");
        let asked = fleet.count("select count(*) from opt_ins").await;
        assert_eq!(usize::try_from(asked).ok(), Some(visits.took["ask"].len()), "each ask counts");
    })
    .await;
}

/// How long things took.
#[derive(Debug)]
#[expect(dead_code, reason = "to be read by people")]
struct Spread {
    count: usize,
    p50: Duration,
    p99: Duration,
    worst: Duration,
}

impl Spread {
    fn of(took: &[Duration]) -> Spread {
        let mut took = took.to_vec();
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        Spread { count: took.len(), p50: at(0.5), p99: at(0.99), worst: at(1.0) }
    }
}

/// Publishes orders at an even pace and waits for the last; how long each took until the provider had accepted its message.
async fn send_for(fleet: &mut Fleet, name: &str, time: Duration) -> Spread {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / EVENTS);
    let count = EVENTS as usize * time.as_secs() as usize;
    for n in 0..count {
        ticks.tick().await;
        fleet.publish(&[order(&format!("{name}-{n}"), n % 1_000)]).await;
    }
    let took = "select (extract(epoch from accepted_at - event_time) * 1000000)::int8 from notifications
        where event_id like $1 and accepted_at is not null";
    let mut micros: Vec<i64> = Vec::new();
    until("all of them are accepted", PATIENCE, async || {
        let rows = sqlx::query_scalar(took).bind(format!("{name}-%")).fetch_all(&fleet.pool).await;
        micros = rows.expect("the times");
        micros.len() == count
    })
    .await;
    Spread::of(&micros.iter().map(|took| Duration::from_micros(took.unsigned_abs())).collect::<Vec<_>>())
}

#[derive(Default)]
struct Visits {
    took: BTreeMap<&'static str, Vec<Duration>>,
    failed: usize,
}

/// Two in five look at the form, one in five asks, two in five wait for somebody's confirmation.
async fn visit_for(visitor: Arc<Visitor>, time: Duration) -> Visits {
    let (mut visits, mut under_way) = (Visits::default(), JoinSet::new());
    let began = Instant::now();
    for n in 0..RATE * u32::try_from(time.as_secs()).expect("a minute") {
        let due = began + Duration::from_secs(1) * n / RATE;
        tokio::time::sleep_until(due).await;
        let visitor = Arc::clone(&visitor);
        under_way.spawn(async move {
            let (what, well) = match n % 5 {
                0 | 2 => ("form", visitor.get("/opt-in/pedidos").await == Some(200)),
                1 | 3 => ("state", visitor.state().await),
                _ => ("ask", visitor.ask().await),
            };
            (what, well, due.elapsed())
        });
        while let Some(done) = under_way.try_join_next() {
            visits.count(done.expect("a visit"));
        }
    }
    while let Some(done) = under_way.join_next().await {
        visits.count(done.expect("a visit"));
    }
    visits
}

impl Visits {
    fn count(&mut self, (what, well, took): (&'static str, bool, Duration)) {
        self.took.entry(what).or_default().push(took);
        self.failed += usize::from(!well);
    }
}

/// Many people at many addresses, behind a proxy.
struct Visitor {
    client: Client,
    doors: String,
    people: AtomicUsize,
    /// The form's secret and its cookie.
    held: std::sync::Mutex<(String, String)>,
    waits: std::sync::Mutex<Vec<String>>,
}

impl Visitor {
    fn new(doors: &str) -> Visitor {
        let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(Duration::from_secs(10)).build();
        Visitor {
            client: client.expect("a client"),
            doors: doors.to_owned(),
            people: AtomicUsize::new(0),
            held: std::sync::Mutex::default(),
            waits: std::sync::Mutex::default(),
        }
    }

    /// The status of a page, read to its end.
    async fn get(&self, path: &str) -> Option<u16> {
        let page = self.client.get(format!("{}{path}", self.doors)).send().await.ok()?;
        let status = page.status().as_u16();
        page.bytes().await.ok()?;
        Some(status)
    }

    /// Opens the form and keeps what a post needs.
    async fn look(&self) {
        let page = self.client.get(format!("{}/opt-in/pedidos", self.doors)).send().await.expect("the form");
        let cookie = page.headers()["set-cookie"].to_str().expect("a cookie").split(';').next().unwrap().to_owned();
        let text = page.text().await.expect("the form");
        let (_, rest) = text.split_once("name=\"csrf\" value=\"").expect("a form with its secret");
        *self.held.lock().expect("one at a time") = (rest.split_once('"').expect("its end").0.to_owned(), cookie);
    }

    /// A new person at a new address asks.
    async fn ask(&self) -> bool {
        let n = self.people.fetch_add(1, Ordering::Relaxed);
        let (csrf, cookie) = self.held.lock().expect("one at a time").clone();
        let body = format!("csrf={csrf}&lang=es&phone=611{n:06}&purpose=orders&purpose=shipping&way=whatsapp");
        let post = self
            .client
            .post(format!("{}/opt-in/pedidos", self.doors))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookie)
            .header("x-forwarded-for", format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256))
            .body(body);
        let Ok(answer) = post.send().await else { return false };
        let Some(place) = answer.headers().get("location").and_then(|place| place.to_str().ok()) else { return false };
        self.waits.lock().expect("one at a time").push(format!("{place}/state"));
        answer.status().as_u16() == 303
    }

    /// The page of somebody who asked looks whether it is done.
    async fn state(&self) -> bool {
        let n = self.people.load(Ordering::Relaxed);
        let wait = {
            let waits = self.waits.lock().expect("one at a time");
            waits.get(n * 7 % waits.len().max(1)).cloned()
        };
        match wait {
            Some(wait) => self.get(&wait).await == Some(200),
            None => self.get("/opt-in/pedidos").await == Some(200),
        }
    }
}
