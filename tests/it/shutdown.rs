//! How a process ends: in order, at once, or because a part of it died.

use std::{collections::BTreeMap, time::Duration};

use lapin::{
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};

use super::{
    audit::audit,
    harness::{Fleet, PATIENCE, order, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_it_finishes_what_is_on_the_wire_and_leaves_nothing_in_doubt() {
    Fleet::run(
        "stop",
        |plan| plan.set("dispatch.max_in_flight", "8"),
        async |fleet| {
            fleet.sim.world().change_manners(|manners| (manners.latency_ms, manners.jitter_ms) = (100, 300));
            let no = fleet.start().await;
            fleet.publish(&(0..50).map(|i| order(&format!("stop-{i}"), i)).collect::<Vec<_>>()).await;
            let world = std::sync::Arc::clone(fleet.sim.world());
            until("some are sent", PATIENCE, async || world.counters().accepted >= 12).await;
            assert_eq!(
                fleet.count("select count(*) from doors where closed_at is null").await,
                1,
                "it takes webhooks in"
            );
            fleet.stop(no).await;
            assert_eq!(
                fleet.count("select count(*) from doors where closed_at is null").await,
                0,
                "and says when it ends"
            );

            let states = fleet.states().await;
            let sent = fleet.ledger().len() as i64;
            assert_eq!(states.get("accepted"), Some(&sent), "each answer is written down: {states:?}");
            assert!(sent < 50, "it stopped in the middle");
            assert_eq!(
                states.values().sum::<i64>(),
                states["accepted"] + states["pending"],
                "nothing else is left: {states:?}"
            );

            let no = fleet.start().await;
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            assert_eq!(audit(fleet).await.accepted, 50);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_twice_it_ends_at_once_and_what_was_on_the_wire_is_in_doubt_but_not_lost() {
    Fleet::run(
        "hard",
        |plan| plan.set("dispatch.max_in_flight", "8"),
        async |fleet| {
            // The answers come after the process is gone, and so do the receipts.
            fleet.sim.world().change_manners(|manners| manners.latency_ms = 900);
            fleet.sim.world().set_webhooks(|rules| rules.on = false);
            let no = fleet.start().await;
            fleet.publish(&(0..8).map(|i| order(&format!("hard-{i}"), i)).collect::<Vec<_>>()).await;
            let world = std::sync::Arc::clone(fleet.sim.world());
            until("all are on the wire", PATIENCE, async || world.counters().accepted == 8).await;
            fleet.signal(no, "TERM");
            until("it heard", PATIENCE, async || fleet.log(no).contains("stopping")).await;
            fleet.signal(no, "TERM");
            let status = fleet.ended(no, Duration::from_secs(5)).await.expect("it ends at once");
            assert!(!status.success(), "{status}");
            let left = fleet.states().await;
            assert!(left.get("sending").is_some_and(|n| *n > 0), "{left:?}");

            fleet.sim.world().change_manners(|manners| manners.latency_ms = 0);
            let no = fleet.start().await;
            fleet.quiet(PATIENCE, false).await;
            let doubtful = fleet.states().await;
            assert_eq!(doubtful.get("in_doubt"), left.get("sending"), "{left:?}, then {doubtful:?}");
            assert_eq!(fleet.ledger().len(), 8, "nobody was written to again");

            // The receipts settle it.
            fleet.sim.world().set_webhooks(|rules| rules.on = true);
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            let audit = audit(fleet).await;
            assert_eq!((audit.accepted, audit.sent), (8, 8));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_dies_takes_the_process_down_with_a_failure_and_what_is_on_the_wire_is_finished() {
    let slow = |plan: &mut super::harness::Plan| {
        // Long enough that somebody can put another queue in the place of the one that was deleted.
        plan.set("broker.reconnect_after", "1500ms");
        plan.set("broker.reconnect_cap", "2s");
    };
    Fleet::run("part", slow, async |fleet| {
        fleet.sim.world().change_manners(|manners| manners.latency_ms = 400);
        let no = fleet.start().await;
        fleet.publish(&(0..10).map(|i| order(&format!("part-{i}"), i)).collect::<Vec<_>>()).await;
        let world = std::sync::Arc::clone(fleet.sim.world());
        until("some are sent", PATIENCE, async || world.counters().accepted >= 2).await;
        let queue = fleet.topology.queue.clone();
        fleet.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.expect("it is deleted");
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let another = fleet.channel.queue_declare(queue.as_str().into(), durable, FieldTable::default());
        another.await.expect("a queue with other settings");

        let status = fleet.ended(no, PATIENCE).await.expect("it ends by itself");
        assert!(!status.success(), "{status}");
        let log = fleet.log(no);
        assert!(log.contains("exists already with other settings"), "it says what to do");
        assert_eq!(fleet.states().await, BTreeMap::from([("accepted".to_owned(), 10)]));
    })
    .await;
}
