//! The provider's webhooks on their way to somebody else on the same number: as they came, in order, and at nobody's cost.

use std::{sync::Arc, time::Duration};

use recado::{
    db::{
        relay,
        webhooks::{self, Original},
    },
    provider::{Dialect, Post},
    worker::{
        Progress,
        callbacks::{Rules, Target as To},
        relay::Relay,
        wire::{Reach, Wire},
    },
};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::{
    harness::{Fleet, PATIENCE, order, until},
    house::House,
    proxy::Proxy,
    target::{SECRET, Target},
};

const NOW: Duration = Duration::ZERO;

fn relay_of(house: &House, target: &Target) -> Relay {
    let timeout = Duration::from_millis(500);
    Relay {
        worker: Uuid::from_u128(7),
        pool: house.pools.ops.clone(),
        clock: house.clock.clone(),
        rules: Rules {
            at_once: 1,
            timeout,
            poll: Duration::from_millis(10),
            retry_base: Duration::from_secs(5),
            retry_cap: Duration::from_secs(600),
            give_up_after: Duration::from_secs(86_400),
        },
        target: To { name: "main".into(), url: target.url().parse().unwrap(), keys: Vec::new(), events: Vec::new() },
        wire: Arc::new(Wire::within(Reach::Anywhere, timeout, timeout, 1).unwrap()),
        chance: || 1.0,
    }
}

async fn come(house: &House, body: &str) {
    let with = json!({"headers": {"content-type": "application/json", "x-hub-signature-256": "sha256=00"}, "query": null, "url": null});
    let original = Original { with: &with, body: None };
    webhooks::store_to_relay(&house.pools.receipts, "main", body.as_bytes(), &original).await.unwrap();
}

async fn drain(relay: &Relay) {
    while relay.step().await.unwrap() == Progress::Made {}
}

fn bodies(target: &Target) -> Vec<String> {
    target.taken().iter().map(|seen| String::from_utf8(seen.body.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn webhooks_wait_for_the_one_before_and_are_given_up_when_they_are_old() {
    let (house, target) = (House::start().await, Target::start().await);
    let relay = relay_of(&house, &target);
    for body in ["{\"n\": 1}", "{\"n\":  2}", "{\"n\":3}"] {
        come(&house, body).await;
    }
    target.answers(|seen| (if seen.body.ends_with(b" 2}") { 503 } else { 200 }, NOW));
    drain(&relay).await;
    assert_eq!(bodies(&target), ["{\"n\": 1}"]);
    target.takes_everything();
    house.advance(600);
    drain(&relay).await;
    assert_eq!(bodies(&target), ["{\"n\": 1}", "{\"n\":  2}", "{\"n\":3}"]);
    target.answers(|_| (500, NOW));
    come(&house, "{\"n\":4}").await;
    drain(&relay).await;
    house.advance(86_401);
    target.takes_everything();
    come(&house, "{\"n\":5}").await;
    drain(&relay).await;
    assert_eq!(bodies(&target).last().unwrap(), "{\"n\":5}");
    let report = relay::reports(&house.pools.ops, &["main".to_owned()]).await.unwrap().remove(0);
    assert_eq!((report.given_up, report.waiting, report.failing_since), (1, 0, None));
}

#[tokio::test]
async fn one_that_the_target_will_never_have_is_passed_over() {
    let (house, target) = (House::start().await, Target::start().await);
    let relay = relay_of(&house, &target);
    target.answers(|seen| (if *seen.body == *b"bad" { 422 } else { 200 }, NOW));
    for body in ["one", "bad", "two"] {
        come(&house, body).await;
    }
    for _ in 0..10 {
        drain(&relay).await;
        house.advance(600);
    }
    assert_eq!(bodies(&target), ["one", "two"]);
    assert_eq!(target.seen().iter().filter(|seen| seen.status == 422).count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meta_sends_is_handed_on_byte_for_byte_with_its_signature() {
    handed_on(Dialect::Meta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_twilio_sends_is_handed_on_byte_for_byte_with_its_signature_and_the_address_it_signed() {
    handed_on(Dialect::Twilio).await;
}

async fn handed_on(dialect: Dialect) {
    let target = Target::start().await;
    let proxy = Proxy::start(([127, 0, 0, 1], target.port).into()).await;
    let plan = |plan: &mut super::harness::Plan| {
        plan.at(dialect);
        for (key, value) in [
            ("senders.main.relay.url", format!("http://127.0.0.1:{}/inbox?key=1", proxy.port()).as_str()),
            ("senders.main.relay.secret", SECRET),
            ("outward.private_addresses", "allow"),
            ("outward.poll", "50ms"),
            ("outward.timeout", "400ms"),
            ("outward.retry_base", "50ms"),
            ("outward.retry_cap", "200ms"),
        ] {
            plan.set(key, value);
        }
    };
    Fleet::run("relay", plan, async |fleet| {
        proxy.shut();
        fleet.start().await;
        fleet.publish(&(0..8).map(|n| order(&format!("o{n}"), n)).collect::<Vec<_>>()).await;
        // Nothing of ours waits for it. Webhooks come side by side: their order is known once all have come.
        let read = "select count(*) from notifications where state = 'accepted' and receipt = 'read'";
        until("reports are applied", PATIENCE, async || {
            fleet.count(read).await == 8 && fleet.sim.world().counters().webhooks.waiting == 0
        })
        .await;
        assert!(target.seen().is_empty());
        proxy.open();
        let left = "select count(*) from webhooks where relay = 'due' or applied_at is null";
        until("everything is handed on", PATIENCE, async || fleet.count(left).await == 0).await;
        let stored: Vec<Vec<u8>> = sqlx::query_scalar("select coalesce(came_as, body) from webhooks order by id")
            .fetch_all(&fleet.pool)
            .await
            .unwrap();
        let mut taken = target.taken();
        taken.dedup_by(|two, one| one.header("webhook-id") == two.header("webhook-id"));
        assert_eq!(taken.len(), stored.len());
        for (seen, body) in taken.iter().zip(&stored) {
            assert_eq!(seen.body, *body, "in order, byte for byte");
            assert!(seen.is_genuine());
            assert!(seen.query.as_ref().unwrap().starts_with("key=1"));
            let secret = if dialect == Dialect::Twilio { "sim-auth-token" } else { "sim-app-secret" };
            let url = seen.header("recado-signed-url");
            let post = Post { url, headers: &seen.headers, body: &seen.body };
            assert!(dialect.verify(&[SecretString::from(secret)], post), "{seen:?}");
            assert_eq!(dialect == Dialect::Twilio, url.contains("/webhooks/main?attempt="), "{url}");
        }
    })
    .await;
}
