//! The broker and the database at their worst, the real ones: it comes back by itself, and nothing is lost or repeated.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use lapin::{
    BasicProperties, Confirmation,
    options::{BasicPublishOptions, ExchangeDeleteOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    audit::audit,
    database,
    harness::{Chance, Fleet, PATIENCE, Plan, SOURCE, amqp_url, order, phone, seed, unique, until},
    proxy::Proxy,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_are_built_anew_and_every_event_counts_once() {
    let mut chance = Chance::new(seed());
    let proxy = Proxy::start(broker_address()).await;
    Fleet::run(
        "cuts",
        |plan| through_to_broker(plan, &proxy),
        async |fleet| {
            let no = fleet.start().await;
            for round in 0..8 {
                let orders: Vec<Value> = (0..25).map(|i| order(&format!("cut-{round}-{i}"), i)).collect();
                fleet.publish(&orders).await;
                tokio::time::sleep(chance.millis(0, 150)).await;
                if round % 2 == 0 { proxy.reset() } else { proxy.cut() }
            }
            // What was recorded and could not be acknowledged comes again, and before this one.
            fleet.publish(&[order("last", 0)]).await;
            fleet.reaches("last", "accepted").await;
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            let audit = audit(fleet).await;
            assert_eq!((audit.accepted, audit.sent), (201, 201));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_other_end_is_gone_silently_is_noticed_within_two_heartbeats() {
    let proxy = Proxy::start(broker_address()).await;
    Fleet::run(
        "silence",
        |plan| through_to_broker(plan, &proxy),
        async |fleet| {
            let no = fleet.start().await;
            fleet.publish(&[order("before", 0)]).await;
            fleet.reaches("before", "accepted").await;
            proxy.freeze();
            let began = Instant::now();
            fleet.publish(&[order("after", 1)]).await;
            fleet.reaches("after", "accepted").await;
            // The heartbeat here is 5 s. The broker, too, must notice before it gives the event to the new connection.
            assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
            fleet.stop(no).await;
            assert_eq!(audit(fleet).await.sent, 2);
        },
    )
    .await;
}

/// The queue is deleted while a process consumes it; an event that comes then is sent all the same.
async fn loses_its_queue_and_works_on(fleet: &mut Fleet) {
    let queue = fleet.topology.queue.clone();
    let deleted = fleet.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("it is deleted");
    let again = order("again", 0).to_string();
    until("an event finds a queue again", PATIENCE, async || {
        let confirmed = fleet.put("order.confirmed", again.as_bytes(), BasicProperties::default()).await;
        matches!(confirmed.await, Ok(Confirmation::Ack(None)))
    })
    .await;
    fleet.reaches("again", "accepted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_is_declared_again_and_consumed() {
    Fleet::run(
        "deleted",
        |_| {},
        async |fleet| {
            let no = fleet.start().await;
            loses_its_queue_and_works_on(fleet).await;
            fleet.stop(no).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_cancelled_and_not_told_finds_out() {
    // Class 60, method 30: `basic.cancel`.
    const CANCEL: &[u8] = &[0, 60, 0, 30];
    let proxy = Proxy::start(broker_address()).await;
    Fleet::run(
        "untold",
        |plan| through_to_broker(plan, &proxy),
        async |fleet| {
            let no = fleet.start().await;
            proxy.lose(CANCEL);
            loses_its_queue_and_works_on(fleet).await;
            fleet.stop(no).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_broker_handed_out_and_that_never_came_is_asked_for_again() {
    // Class 60, method 60: `basic.deliver`.
    const DELIVER: &[u8] = &[0, 60, 0, 60];
    let proxy = Proxy::start(broker_address()).await;
    Fleet::run(
        "vanished",
        |plan| through_to_broker(plan, &proxy),
        async |fleet| {
            let no = fleet.start().await;
            proxy.lose(DELIVER);
            fleet.publish(&[order("vanished", 0)]).await;
            until("it is lost", PATIENCE, async || proxy.lost() > 0).await;
            proxy.spare();
            fleet.reaches("vanished", "accepted").await;
            fleet.stop(no).await;
            let log = fleet.log(no);
            assert!(!log.contains("intake.interrupted"), "a quiet queue is no fault: {log}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_again_counts_once_and_one_with_another_body_is_kept_as_a_conflict() {
    Fleet::run(
        "again",
        |_| {},
        async |fleet| {
            // In one batch, since nobody consumes yet …
            let twice = order("twice", 0);
            fleet.publish(&[twice.clone(), order("once", 1), twice.clone(), twice.clone()]).await;
            let mut other = order("other", 2);
            fleet.publish(&[other.clone()]).await;
            other["data"]["order"]["number"] = json!("another");
            let confirmed =
                fleet.put("order.confirmed", other.to_string().as_bytes(), BasicProperties::default()).await;
            confirmed.await.expect("it is taken");
            let first = fleet.start().await;
            let second = fleet.spawn(&[]);
            fleet.ready(second).await;
            fleet.quiet(PATIENCE, true).await;
            // … and from two shops' processes at once, read by two of ours.
            for round in 0..10 {
                let same = order(&format!("same-{round}"), 3 + round);
                let (body, usual) = (same.to_string(), BasicProperties::default());
                let a = fleet.put("order.confirmed", body.as_bytes(), usual.clone()).await;
                let b = fleet.put("order.confirmed", body.as_bytes(), usual).await;
                fleet.publish(&[same]).await;
                let (a, b) = (a.await, b.await);
                assert!(a.is_ok() && b.is_ok());
            }
            fleet.quiet(PATIENCE, true).await;
            until("everything is read", PATIENCE, async || fleet.depth(&fleet.topology.queue).await == 0).await;
            for no in [first, second] {
                fleet.stop(no).await;
            }
            let audit = audit(fleet).await;
            assert_eq!((audit.events, audit.notifications, audit.sent), (13, 13, 13));
            assert_eq!(fleet.count("select count(*) from inbox_conflicts where id = 'other'").await, 1);
            let said =
                fleet.sim.world().accepted().iter().find(|message| message.to == phone(2)).map(|m| m.text.clone());
            assert!(said.is_some_and(|text| text.contains("pedido other")), "the first one counts");
        },
    )
    .await;
}

/// What is no event, and why.
fn poison() -> Vec<(Vec<u8>, &'static str)> {
    let good = order("poison", 0);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut event = good.clone();
        change(&mut event);
        event.to_string().into_bytes()
    };
    let mut invalid = good.to_string().into_bytes();
    let name = invalid.windows(3).position(|bytes| bytes == b"Ana").expect("a name");
    invalid[name] = 0xff;
    let nested = format!("{}1{}", "[".repeat(90), "]".repeat(90));
    vec![
        (b"".to_vec(), "invalid_json"),
        (b"{\"specversion\":\"1.0\",".to_vec(), "invalid_json"),
        (b"[1,2]".to_vec(), "not_an_object"),
        (invalid, "invalid_utf8"),
        (with(&|event| event["data"]["customer"]["name"] = json!("A\0na")), "nul_byte"),
        (with(&|event| event["data"]["deep"] = serde_json::from_str(&nested).expect("JSON")), "nested_too_deep"),
        (with(&|event| event["specversion"] = json!("0.3")), "wrong_specversion"),
        (with(&|event| drop(event.as_object_mut().expect("an object").remove("id"))), "missing_attribute"),
        (with(&|event| event["data"]["customer"]["phone"] = json!("600 nobody")), "bad_phone"),
        (with(&|event| event["data"]["order"] = json!({})), "unfillable_template"),
        (with(&|event| event["data"]["blob"] = json!("x".repeat(300_000))), "too_large"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_is_kept_with_its_reason_and_stops_nobody() {
    Fleet::run(
        "poison",
        |_| {},
        async |fleet| {
            let no = fleet.start().await;
            let poisons = poison();
            for (body, _) in &poisons {
                let confirmed = fleet.put("order.confirmed", body, BasicProperties::default()).await;
                confirmed.await.expect("it is taken");
            }
            fleet.publish(&[order("sound", 1)]).await;
            fleet.reaches("sound", "accepted").await;
            let expected = poisons.len() as i64;
            until("all are kept", PATIENCE, async || {
                fleet.count("select count(*) from rejected_events").await == expected
            })
            .await;
            type Kept = (Vec<u8>, String, Vec<u8>, i64, bool);
            let kept: Vec<Kept> = sqlx::query_as("select body_hash, reason, body, size, whole from rejected_events")
                .fetch_all(&fleet.pool)
                .await
                .expect("the rejected");
            for (body, reason) in poisons {
                let hash = Sha256::digest(&body).to_vec();
                let (_, said, bytes, size, whole) = kept.iter().find(|row| row.0 == hash).unwrap_or_else(|| {
                    panic!("{reason} is not kept: {:?}", kept.iter().map(|row| &row.1).collect::<Vec<_>>())
                });
                assert_eq!((said.as_str(), *size), (reason, body.len() as i64));
                assert_eq!(*whole, reason != "too_large");
                let beginning = if *whole { body.len() } else { 4_096 };
                assert_eq!(bytes, &body[..beginning], "{reason}");
            }

            // In binary mode the attributes are headers.
            let mut headers = FieldTable::default();
            for (name, value) in
                [("specversion", "1.0"), ("id", "binary"), ("source", SOURCE), ("type", "order.confirmed")]
            {
                headers.insert(format!("cloudEvents:{name}").into(), AMQPValue::LongString(value.into()));
            }
            let properties =
                BasicProperties::default().with_headers(headers).with_content_type("application/json".into());
            let data = json!({"customer": {"phone": phone(2), "name": "Eva"}, "order": {"number": "B-1"}});
            fleet.put("order.confirmed", data.to_string().as_bytes(), properties).await.await.expect("it is taken");
            fleet.reaches("binary", "accepted").await;

            // What the broker gave up on is shown with the others, and can be run again once the cause is mended.
            let dead = fleet.topology.dead_exchange.clone();
            let mut headers = FieldTable::default();
            headers.insert("x-first-death-reason".into(), AMQPValue::LongString("delivery_limit".into()));
            let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
            let body = order("dead", 3).to_string();
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let published = fleet.channel.basic_publish(
                dead.as_str().into(),
                "order.confirmed".into(),
                options,
                body.as_bytes(),
                properties,
            );
            published.await.expect("a channel").await.expect("it is taken");
            let drained = "select count(*) from rejected_events where reason = 'dead_lettered'";
            until("it is drained", PATIENCE, async || fleet.count(drained).await == 1).await;
            let replayed = fleet.command(&["replay-rejected", "--reason", "dead_lettered", "--because", "a test"]).await;
            assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
            fleet.reaches("dead", "accepted").await;
            assert_eq!(fleet.count("select count(*) from rejected_events where replay = 'accepted'").await, 1);
            let noted = "select count(*) from audit where what = 'rejected_event.replayed' and by like 'cli%' and detail ->> 'came_to' = 'accepted' and reason = 'a test'";
            assert_eq!(fleet.count(noted).await, 1);
            let replayed = fleet.command(&["replay-rejected", "--reason", "dead_lettered", "--because", "a test"]).await;
            let told = String::from_utf8_lossy(&replayed.stdout);
            assert!(replayed.status.success() && told.starts_with("Nothing to do"), "{told}");
            let unknown = fleet.command(&["replay-rejected", "0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b44", "--because", "a test"]).await;
            assert_eq!(unknown.status.code(), Some(1));
            assert!(String::from_utf8_lossy(&unknown.stderr).contains("No rejected event of this id"));

            fleet.stop(no).await;
            assert_eq!(audit(fleet).await.sent, 3);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_gone_nothing_new_is_sent_and_what_was_sent_is_not_forgotten() {
    let proxy = Proxy::start(database_address()).await;
    let plan = |plan: &mut Plan| {
        through_to_database(plan, &proxy);
        plan.set("dispatch.lease", "20s");
        plan.set("dispatch.max_in_flight", "8");
        plan.set("senders.main.rate_per_second", "60");
    };
    Fleet::run("outage", plan, async |fleet| {
        fleet.sim.world().change_manners(|manners| manners.latency_ms = 100);
        let no = fleet.start().await;
        fleet.publish(&(0..120).map(|i| order(&format!("outage-{i}"), i % 50)).collect::<Vec<_>>()).await;
        let world = std::sync::Arc::clone(fleet.sim.world());
        until("some are sent", PATIENCE, async || world.counters().accepted >= 20).await;
        proxy.shut();
        let before = world.counters().accepted;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let meanwhile = world.counters().accepted - before;
        assert!(meanwhile <= 9, "{meanwhile} were sent while nobody could write it down");
        assert!(fleet.services_run(), "it waits");
        proxy.open();
        fleet.settle().await;
        fleet.stop(no).await;
        let audit = audit(fleet).await;
        assert!(audit.resent <= 8, "only what a lost claim took is in doubt: {audit:?}");
        assert_eq!(audit.twice, 0, "{audit:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_break_in_the_middle_or_whose_answer_is_lost_change_nothing_twice() {
    let mut chance = Chance::new(seed());
    let proxy = Proxy::start(database_address()).await;
    let plan = |plan: &mut Plan| {
        through_to_database(plan, &proxy);
        plan.set("dispatch.max_in_flight", "8");
        plan.set("senders.main.rate_per_second", "100");
        plan.set("database.acquire_timeout", "1s");
    };
    Fleet::run("statements", plan, async |fleet| {
        let no = fleet.start().await;
        fleet.publish(&(0..250).map(|i| order(&format!("statement-{i}"), i % 50)).collect::<Vec<_>>()).await;
        for _ in 0..4 {
            tokio::time::sleep(chance.millis(50, 300)).await;
            proxy.reset();
            tokio::time::sleep(chance.millis(50, 300)).await;
            // What was committed, and nobody knows.
            proxy.lose_answers();
            tokio::time::sleep(chance.millis(20, 200)).await;
            proxy.reset();
            tokio::time::sleep(chance.millis(50, 300)).await;
            let terminated = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and application_name like 'recado%' and random() < 0.5";
            fleet.count(terminated).await;
            proxy.delay(chance.millis(0, 30));
        }
        proxy.delay(Duration::ZERO);
        fleet.settle().await;
        fleet.stop(no).await;
        let audit = audit(fleet).await;
        println!("{audit:?}");
        assert_eq!(audit.twice, 0, "every message that was sent was heard of: {audit:?}");
    })
    .await;
}

fn through_to_broker(plan: &mut Plan, proxy: &Proxy) {
    plan.set("broker.url", &through(&amqp_url(), proxy));
}

fn through_to_database(plan: &mut Plan, proxy: &Proxy) {
    plan.database_through = Some(proxy.port());
}

fn through(url: &str, proxy: &Proxy) -> String {
    let mut url = reqwest::Url::parse(url).expect("a URL");
    url.set_host(Some("127.0.0.1")).expect("a host");
    url.set_port(Some(proxy.port())).expect("a port");
    url.to_string()
}

fn broker_address() -> SocketAddr {
    address(&amqp_url(), 5_672)
}

pub fn database_address() -> SocketAddr {
    address(&database::server_url(), 5_432)
}

fn address(url: &str, usual: u16) -> SocketAddr {
    let url = reqwest::Url::parse(url).expect("a URL");
    let (host, port) = (url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(usual));
    (host, port).to_socket_addrs().expect("a host").next().expect("an address")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_systems_own_messages_are_taken_from_its_own_exchange() {
    let exchange = unique("shopify");
    let dir = std::env::temp_dir().join(&exchange);
    let shipped = include_str!("../../config/sources/shopify.toml");
    std::fs::create_dir(&dir).unwrap();
    let mapping = shipped.replace("exchange = \"shopify\"", &format!("exchange = \"{exchange}\""));
    std::fs::write(dir.join("shopify.toml"), mapping).unwrap();
    Fleet::run(
        "sources",
        |plan| plan.set("sources.dir", dir.to_str().unwrap()),
        async |fleet| {
            let no = fleet.start().await;
            let body = include_bytes!("../fixtures/sources/shopify_orders_create.json");
            let shop = AMQPValue::LongString("luna.myshopify.com".into());
            let headers: FieldTable = BTreeMap::from([("x-shopify-shop-domain".into(), shop)]).into();
            for _ in 0..2 {
                let properties = BasicProperties::default().with_headers(headers.clone());
                let taken = fleet.put_into(&exchange, "orders/create", body, properties).await.await;
                assert!(matches!(taken, Ok(Confirmation::Ack(None))), "its key is bound to our queue");
            }
            let known =
                "select count(*) from inbox where source = '/shopify/luna.myshopify.com' and type = 'order.confirmed'";
            until("it is an event", PATIENCE, async || fleet.count(known).await == 1).await;
            assert_eq!(fleet.count("select count(*) from notifications").await, 1, "published twice, it counts once");
            let unbound = fleet.put_into(&exchange, "carts/update", b"{}", BasicProperties::default()).await.await;
            assert!(matches!(unbound, Ok(Confirmation::Ack(Some(_)))), "what nobody wants does not reach the queue");
            fleet.stop(no).await;
            drop(fleet.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await);
        },
    )
    .await;
    std::fs::remove_dir_all(&dir).unwrap();
}
