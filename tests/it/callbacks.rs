//! Callbacks: each event at least once, signed, in the order of its notification, whatever the one who is told does meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use recado::{
    db::{callbacks, retention},
    domain::{callback::Key, notification::AttemptId},
    worker::{
        Nudge, Progress,
        callbacks::{Callback, Rules, Target as To},
        outbox::{frontier::Turn, keeper::Keeper},
        wire::{Reach, Wire},
    },
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    harness::{Fleet, PATIENCE, Plan, order, until},
    house::{ANA, House, KEEP},
    proxy::Proxy,
    schemas::Schema,
    target::{SECRET, Seen, Target},
};

const DAY: u64 = 86_400;
const NOW: Duration = Duration::ZERO;

/// A house whose events are told to some callbacks.
struct Post {
    house: House,
    keeper: Keeper,
}

impl Post {
    async fn open(names: &[&str]) -> Post {
        let house = House::start().await;
        for name in names {
            callbacks::open(&house.pools.ops, name).await.unwrap();
        }
        house.agreed().await;
        let keeper = Keeper {
            worker: Uuid::from_u128(7),
            pool: house.pools.ops.clone(),
            batch: 100,
            poll: Duration::from_millis(10),
            lease: Duration::from_secs(600),
            kept: Nudge::default(),
        };
        Post { house, keeper }
    }

    /// The loop of a callback, here step by step.
    fn callback(&self, name: &str, target: &Target) -> Callback {
        let timeout = Duration::from_millis(500);
        Callback {
            worker: Uuid::from_u128(7),
            pool: self.house.pools.ops.clone(),
            clock: self.house.clock.clone(),
            rules: Rules {
                at_once: 16,
                timeout,
                poll: Duration::from_millis(10),
                retry_base: Duration::from_secs(5),
                retry_cap: Duration::from_secs(600),
                give_up_after: Duration::from_secs(3 * DAY),
            },
            target: To {
                name: name.to_owned(),
                url: target.url().parse().unwrap(),
                keys: vec![Key::parse(SECRET).unwrap()],
                events: vec!["notification.*".to_owned()],
            },
            kept: Nudge::default(),
            wire: Arc::new(Wire::within(Reach::Anywhere, timeout, timeout, 4).unwrap()),
            chance: || 1.0,
        }
    }

    /// A message goes out: it is accepted.
    async fn accepted(&self) -> AttemptId {
        self.house.advance(60);
        self.house.order(ANA).await;
        let attempt = self.house.claim_one().await.attempt;
        self.house.accept(attempt, &format!("wamid.{}", attempt.notification)).await;
        attempt
    }

    async fn report(&self, attempt: AttemptId, what: &str) {
        self.house.report(attempt, &format!("wamid.{}", attempt.notification), what).await;
    }

    /// Moves everything into the log. What other tests are about may hold it up for a moment.
    async fn keep(&self) {
        let mut turn = Turn::default();
        until("the outbox is empty", PATIENCE, async || {
            self.keeper.step(&mut turn).await.unwrap();
            self.house.count("select count(*) from outbox").await == 0
        })
        .await;
    }
}

/// Steps until there is nothing to do.
async fn drain(callback: &Callback) {
    while callback.step().await.unwrap() == Progress::Made {}
}

/// The states of each notification, in the order in which they were taken.
fn stories(target: &Target) -> BTreeMap<String, Vec<String>> {
    let mut stories = BTreeMap::<_, Vec<_>>::new();
    for seen in target.taken() {
        let data = &seen.event()["data"];
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        stories.entry(text("notification")).or_default().push(text("state"));
    }
    stories
}

#[tokio::test]
async fn every_event_arrives_signed_and_in_order() {
    let (post, target) = (Post::open(&["shop"]).await, Target::start().await);
    let (one, other) = (post.accepted().await, post.accepted().await);
    for attempt in [one, other] {
        post.report(attempt, "delivered").await;
        post.report(attempt, "read").await;
    }
    post.keep().await;
    drain(&post.callback("shop", &target)).await;
    let stories = stories(&target);
    assert_eq!(stories.len(), 2);
    assert!(stories.values().all(|story| *story == ["accepted", "delivered", "read"]), "{stories:?}");
    for seen in target.taken() {
        let event = seen.event();
        assert!(seen.is_genuine(), "{seen:?}");
        assert_eq!(seen.header("content-type"), "application/cloudevents+json");
        assert_eq!(seen.header("webhook-id"), event["id"].as_str().unwrap().replace('.', "_"));
        assert_eq!(seen.header("webhook-timestamp"), post.house.clock.now().as_second().to_string());
        assert_eq!(Schema::of(&event).faults(&event), Vec::<String>::new());
    }
    assert_eq!(post.callback("shop", &target).step().await.unwrap(), Progress::Idle);
}

#[tokio::test]
async fn what_is_not_wanted_is_passed_over() {
    let (post, target) = (Post::open(&["shop"]).await, Target::start().await);
    post.house.run("insert into outbox (kind, payload) values ('hold.placed', '{\"hold\": 1}')").await;
    post.accepted().await;
    post.keep().await;
    drain(&post.callback("shop", &target)).await;
    assert_eq!(target.seen().len(), 1, "{:?}", target.seen());
    let done = "select count(*) from callbacks where position = (select max(position) from callback_events)";
    assert_eq!(post.house.count(done).await, 1);
}

#[tokio::test]
async fn an_event_that_is_not_taken_waits_with_those_behind_it_and_nobody_else_does() {
    let (post, target) = (Post::open(&["shop"]).await, Target::start().await);
    let (bad, good) = (post.accepted().await, post.accepted().await);
    let id = bad.notification.to_string();
    target.answers(move |seen| (if seen.event()["subject"] == id { 500 } else { 204 }, NOW));
    for attempt in [bad, good] {
        post.report(attempt, "delivered").await;
    }
    post.keep().await;
    let callback = post.callback("shop", &target);
    drain(&callback).await;
    assert_eq!(
        stories(&target),
        BTreeMap::from([(good.notification.to_string(), vec!["accepted".into(), "delivered".into()])])
    );
    // It is tried again when its time has come, and holds up nobody until then.
    let asked = target.seen().len();
    post.house.advance(5);
    drain(&callback).await;
    assert_eq!(target.seen().len(), asked + 1);
    target.takes_everything();
    post.house.advance(600);
    drain(&callback).await;
    assert_eq!(stories(&target)[&bad.notification.to_string()], ["accepted", "delivered"]);
    assert_eq!(post.house.count("select count(*) from callbacks_late").await, 0);
}

#[tokio::test]
async fn one_that_is_dead_rests_as_a_whole_and_delays_nobody() {
    let (post, live, dead) = (Post::open(&["live", "dead"]).await, Target::start().await, Target::start().await);
    dead.answers(|_| (503, NOW));
    let (works, fails) = (post.callback("live", &live), post.callback("dead", &dead));
    let mut attempts = Vec::new();
    for _ in 0..6 {
        let attempt = post.accepted().await;
        attempts.push(attempt);
        post.keep().await;
        drain(&works).await;
        drain(&fails).await;
    }
    assert_eq!(live.taken().len(), 6);
    // Each probe asks with one late event and a new one.
    let report = callbacks::reports(&post.house.pools.ops, &["dead".to_owned()]).await.unwrap().remove(0);
    assert!(report.failing_since.is_some() && report.problem.as_deref() == Some("it answered 503"), "{report:?}");
    assert_eq!((report.waiting, report.undelivered), (6, 0));
    assert!(dead.seen().len() <= 12, "{}", dead.seen().len());
    dead.takes_everything();
    post.house.advance(600);
    drain(&fails).await;
    assert_eq!(stories(&dead).len(), 6);
    let report = callbacks::reports(&post.house.pools.ops, &["dead".to_owned()]).await.unwrap().remove(0);
    assert!(report.failing_since.is_none() && report.waiting == 0, "{report:?}");
}

#[tokio::test]
async fn what_is_not_taken_for_days_is_given_up_shown_and_told_again_on_demand() {
    let (post, target) = (Post::open(&["shop"]).await, Target::start().await);
    target.answers(|_| (500, NOW));
    let callback = post.callback("shop", &target);
    for _ in 0..3 {
        post.accepted().await;
    }
    post.keep().await;
    drain(&callback).await;
    for _ in 0..4 {
        post.house.advance(DAY);
        drain(&callback).await;
    }
    let (pool, names) = (&post.house.pools.ops, ["shop".to_owned()]);
    let report = callbacks::reports(pool, &names).await.unwrap().remove(0);
    assert_eq!((report.waiting, report.undelivered), (0, 3), "{report:?}");
    let asked = target.seen().len();
    target.takes_everything();
    post.accepted().await;
    post.keep().await;
    post.house.advance(600);
    drain(&callback).await;
    assert_eq!(target.taken().len(), 1, "it goes on with what is new: {asked} before");
    let since = post.house.clock.now() - jiff::SignedDuration::from_hours(24 * 7);
    assert_eq!(callbacks::replay(pool, "shop", since, true, "cli ana").await.unwrap(), 3);
    drain(&callback).await;
    assert_eq!(stories(&target).len(), 4);
    // Everything once more, with the same ids.
    let ids = |seen: Vec<Seen>| seen.iter().map(|seen| seen.header("webhook-id").to_owned()).collect::<Vec<_>>();
    assert_eq!(callbacks::replay(pool, "shop", since, false, "cli ana").await.unwrap(), 4);
    drain(&callback).await;
    let mut all = ids(target.taken());
    assert_eq!(all.len(), 8);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
    // They are kept for their time and no longer.
    post.house.advance(4 * DAY);
    let removed = retention::remove(pool, &KEEP, 100).await.unwrap();
    assert_eq!((removed.callbacks, post.house.count("select count(*) from callback_events").await), (3, 1));
}

#[tokio::test]
async fn who_answers_that_it_is_gone_is_left_alone_until_somebody_lets_it_go_on() {
    let (post, target) = (Post::open(&["shop"]).await, Target::start().await);
    target.answers(|_| (410, NOW));
    post.accepted().await;
    post.keep().await;
    let callback = post.callback("shop", &target);
    drain(&callback).await;
    post.house.advance(DAY);
    drain(&callback).await;
    assert_eq!(target.seen().len(), 1);
    target.takes_everything();
    assert!(callbacks::resume(&post.house.pools.ops, "shop", "cli ana").await.unwrap());
    drain(&callback).await;
    assert_eq!(target.taken().len(), 1);
    assert!(!callbacks::resume(&post.house.pools.ops, "shop", "cli ana").await.unwrap());
}

#[tokio::test]
async fn redirects_slow_answers_and_closed_doors_are_no_delivery() {
    let (post, target) = (Post::open(&["shop"]).await, Target::start().await);
    let callback = post.callback("shop", &target);
    post.accepted().await;
    post.keep().await;
    target.answers(|_| (307, NOW));
    drain(&callback).await;
    target.answers(|_| (200, Duration::from_secs(2)));
    post.house.advance(600);
    drain(&callback).await;
    let problem = "select count(*) from callbacks where problem = 'it did not answer in time'";
    assert_eq!(post.house.count(problem).await, 1);
    target.takes_everything();
    // The same address, but only public ones may be asked.
    let wire = Wire::within(Reach::Public, Duration::from_secs(1), Duration::from_secs(1), 1).unwrap();
    let guarded = Callback { wire: Arc::new(wire), ..post.callback("shop", &target) };
    let asked = target.seen().len();
    post.house.advance(600);
    drain(&guarded).await;
    let mut named = post.callback("shop", &target);
    named.target.url = format!("http://localhost:{}/", target.port).parse().unwrap();
    named.wire = Arc::clone(&guarded.wire);
    post.house.advance(600);
    drain(&named).await;
    assert_eq!(target.seen().len(), asked, "nobody was asked");
    post.house.advance(600);
    drain(&callback).await;
    assert_eq!(stories(&target).len(), 1);
}

#[tokio::test]
async fn only_whoever_has_the_lease_moves_events_into_the_log() {
    let post = Post::open(&["shop"]).await;
    post.accepted().await;
    let entry = callbacks::Entry {
        row: 1,
        id: "1".to_owned(),
        kind: "hold.placed".to_owned(),
        key: "1".to_owned(),
        reason: None,
        body: "{}".to_owned(),
    };
    let (pool, ours) = (&post.house.pools.ops, Uuid::from_u128(7));
    assert_eq!(callbacks::keep(pool, ours, std::slice::from_ref(&entry)).await.unwrap(), None);
    assert_eq!(post.house.count("select count(*) from outbox").await, 1);
    post.keep().await;
    assert!(callbacks::keep(pool, ours, &[entry]).await.unwrap().is_some());
    assert_eq!(post.house.count("select count(*) from callback_events").await, 1, "each is moved once");
}

/// The whole service tells a callback behind `port`.
fn told_at(plan: &mut Plan, port: u16) {
    for (key, value) in [
        ("callbacks.shop.url", format!("http://127.0.0.1:{port}/told").as_str()),
        ("callbacks.shop.secret", SECRET),
        ("outward.private_addresses", "allow"),
        ("outward.timeout", "400ms"),
        ("outward.poll", "50ms"),
        ("outward.retry_base", "50ms"),
        ("outward.retry_cap", "300ms"),
    ] {
        plan.set(key, value);
    }
}

/// Of each notification everything arrived, first in its order; what came twice is the same.
pub fn complete(events: &[Value], told: &BTreeMap<String, i64>) -> Result<(), String> {
    let mut first: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in
        events.iter().filter(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("notification.")))
    {
        let of = first.entry(event["subject"].as_str().unwrap()).or_default();
        match of.iter().find(|known| known["id"] == event["id"]) {
            Some(known) if **known != *event => return Err(format!("not the same twice: {known} {event}")),
            Some(_) => {}
            None => of.push(event),
        }
    }
    for (id, most) in told {
        let all = first.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let sequences: Vec<i64> = all.iter().map(|event| event["data"]["sequence"].as_i64().unwrap()).collect();
        if sequences != (1..=*most).collect::<Vec<_>>() {
            return Err(format!("{id}: {sequences:?} of {most}"));
        }
    }
    Ok(())
}

/// How many events there are of each notification.
pub async fn told(fleet: &Fleet) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i32)> = sqlx::query_as("select id::text, statuses from notifications")
        .fetch_all(&fleet.pool)
        .await
        .expect("notifications");
    rows.into_iter().map(|(id, most)| (id, i64::from(most))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_dies_fails_and_hangs_gets_everything_in_order() {
    let target = Target::start().await;
    let proxy = Proxy::start(([127, 0, 0, 1], target.port).into()).await;
    let mut passes = 0;
    target.answers(move |_| {
        passes += 1;
        match passes % 11 {
            3 => (500, NOW),
            6 => (200, Duration::from_millis(600)),
            9 => (503, NOW),
            _ => (200, NOW),
        }
    });
    Fleet::run(
        "callbacks",
        |plan| told_at(plan, proxy.port()),
        async |fleet| {
            fleet.start().await;
            for round in 0..4 {
                fleet.publish(&(0..8).map(|n| order(&format!("r{round}-{n}"), n)).collect::<Vec<_>>()).await;
                match round {
                    0 => proxy.reset(),
                    1 => proxy.shut(),
                    2 => proxy.open(),
                    _ => proxy.lose_answers(),
                }
                fleet.quiet(PATIENCE, false).await;
            }
            // What the answers are lost of is frozen with its connection.
            proxy.cut();
            everything_arrives(fleet, &target).await;
            an_operator_looks(fleet, &target).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_between_delivery_and_its_note_delivers_the_same_again() {
    let target = Target::start().await;
    Fleet::run(
        "callback_crash",
        |plan| told_at(plan, target.port),
        async |fleet| {
            for life in 0..3 {
                fleet.publish(&(0..4).map(|n| order(&format!("o{life}-{n}"), n)).collect::<Vec<_>>()).await;
                let no = fleet.spawn(&[("RECADO_CRASH", "delivered")]);
                fleet.ended(no, PATIENCE).await.expect("it dies");
            }
            fleet.start().await;
            everything_arrives(fleet, &target).await;
            let taken = target.taken();
            let twice = taken.iter().find(|seen| taken.iter().filter(|other| other.body == seen.body).count() > 1);
            let twice = twice.expect("something was delivered twice");
            let same = |other: &&Seen| other.header("webhook-id") == twice.header("webhook-id");
            assert!(taken.iter().filter(same).all(|other| other.body == twice.body));
        },
    )
    .await;
}

/// What the commands say of it.
async fn an_operator_looks(fleet: &Fleet, target: &Target) {
    let said = async |arguments: &[&str]| {
        let output = fleet.command(arguments).await;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    };
    target.takes_everything();
    let (code, text) = said(&["callbacks"]).await;
    assert!(code == 0 && text.starts_with("shop: works, the last event "), "{text}");
    let (code, text) = said(&["callbacks", "test", "shop"]).await;
    assert_eq!((code, text.as_str()), (0, "shop took it: 200\n"));
    let last = target.taken().pop().unwrap();
    assert!(last.is_genuine() && last.event()["type"] == "callback.test");
    target.answers(|_| (410, NOW));
    let (code, text) = said(&["callbacks", "test", "shop"]).await;
    assert_eq!((code, text.as_str()), (1, "shop answered 410: it would be stopped\n"));
    target.takes_everything();
    let told = target.taken().len();
    let (code, text) = said(&["callbacks", "replay", "shop", "--since", "24h"]).await;
    assert!(code == 0 && text.contains("events are told to shop again"), "{text}");
    let most: usize = text.split(' ').next().unwrap().parse().unwrap();
    until("they are told again", PATIENCE, async || target.taken().len() == told + most).await;
    let (code, text) = said(&["callbacks", "resume", "shop"]).await;
    assert_eq!((code, text.as_str()), (1, "shop is not stopped.\n"));
    let noted = "select count(*) from audit where what like 'callback.%' and \"on\" = 'shop' and by like 'cli%'";
    assert_eq!(fleet.count(noted).await, 1, "one was told again, none was resumed");
    let (code, text) = said(&["callbacks", "test", "shp"]).await;
    assert!(code == 1 && text.contains("there is no callback shp; there are shop"), "{text}");
    let (_, text) = said(&["doctor"]).await;
    assert!(text.contains("ok       callback shop: shop: works"), "{text}");
}

async fn everything_arrives(fleet: &mut Fleet, target: &Target) {
    fleet.quiet(PATIENCE, false).await;
    // Receipts go on for a while: until everybody has read what they got, nothing is over.
    until("everything was told", PATIENCE, async || {
        let open = "select count(*) from callback_events where position > (select position from callbacks where name = 'shop')";
        let told = told(fleet).await;
        let events: Vec<Value> = target.taken().iter().map(Seen::event).collect();
        fleet.count("select (select count(*) from outbox) + (select count(*) from callbacks_late)").await == 0
            && fleet.count(open).await == 0
            && complete(&events, &told).is_ok()
    })
    .await;
    assert!(target.taken().iter().all(Seen::is_genuine));
}
