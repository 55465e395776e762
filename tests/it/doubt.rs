//! When the silence of the provider means something, and when it is only ours.

use std::{collections::HashMap, time::Duration};

use recado::{
    db::{doors, webhooks},
    domain::{doubt::Patience, notification::AttemptId},
    worker::{
        Nudge, settling,
        upkeep::{Rules, Upkeep},
    },
};
use uuid::Uuid;

use crate::house::{self, ANA, House, PACE, RETRY, reported};

const MINUTE: u64 = 60;
const GONE: Duration = Duration::from_secs(20);

fn upkeep(house: &House) -> Upkeep {
    let rules = Rules {
        every: Duration::from_secs(1),
        tidy_every: Duration::from_secs(600),
        batch: 100,
        patience: Patience {
            window: Duration::from_secs(10 * MINUTE),
            later_attempts: 3,
            max: Duration::from_secs(24 * 60 * MINUTE),
        },
        listed: Vec::new(),
        by_content: Vec::new(),
        gone_after: GONE,
        retry: RETRY,
        settling: settling::Rules { batch: 100, linger: Duration::ZERO, pace: PACE },
        keep: house::KEEP,
        prices: HashMap::from([(house.sender, house::prices())]),
    };
    Upkeep::new(house.pools.ops.clone(), rules, house.clock.clone(), Nudge::default())
}

/// An order whose answer was lost.
async fn lost(house: &House) -> AttemptId {
    let attempt = house.sending().await.attempt;
    house.lose_answer(attempt).await;
    attempt
}

/// Three more orders, accepted, each ten seconds after the one before, while these processes stay at the door.
async fn others(house: &House, open: &[Uuid]) -> Vec<AttemptId> {
    let mut attempts = Vec::new();
    for _ in 0..3 {
        house.advance(10);
        beat(house, open).await;
        house.order(ANA).await;
        let attempt = house.claim_one().await.attempt;
        house.accept(attempt, &format!("wamid.{attempt}")).await;
        attempts.push(attempt);
    }
    attempts
}

async fn heard(house: &House, attempts: &[AttemptId]) {
    for attempt in attempts {
        house.hook(&reported(*attempt, &format!("wamid.{attempt}"), "sent")).await;
    }
}

/// Minute after minute passes; after how many of them it is not waited for any more, if at all within so many. Those who take
/// webhooks in stay at the door meanwhile.
async fn minutes_of_doubt(house: &House, doubt: AttemptId, open: &[Uuid], most: u64) -> Option<u64> {
    let mut upkeep = upkeep(house);
    for minute in 0..=most {
        upkeep.step().await.unwrap();
        if house.state(doubt.notification).await != "in_doubt" {
            return Some(minute);
        }
        for _ in 0..6 {
            house.advance(10);
            beat(house, open).await;
        }
    }
    None
}

async fn beat(house: &House, open: &[Uuid]) {
    for worker in open {
        doors::beat(&house.pools.ops, *worker, GONE, false).await.unwrap();
    }
}

fn process(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

#[tokio::test]
async fn while_everybody_hears_silence_means_something_after_the_window() {
    let house = House::start().await;
    beat(&house, &[process(1)]).await;
    let doubt = lost(&house).await;
    let others = others(&house, &[process(1)]).await;
    heard(&house, &others[..2]).await;
    assert_eq!(minutes_of_doubt(&house, doubt, &[process(1)], 30).await, None, "two are not enough");
    heard(&house, &others[2..]).await;
    // The third was heard of half an hour after it was claimed: whatever kept it may keep ours as long again.
    assert_eq!(minutes_of_doubt(&house, doubt, &[process(1)], 60).await, Some(32));
    assert_eq!(house.timeline(doubt.notification).await, ["resend"]);
    assert_eq!(house.state(doubt.notification).await, "pending");
}

#[tokio::test]
async fn a_usual_lost_answer_is_resent_when_the_window_has_passed_since_others_were_heard_of() {
    let house = House::start().await;
    beat(&house, &[process(1)]).await;
    let doubt = lost(&house).await;
    let others = others(&house, &[process(1)]).await;
    heard(&house, &others).await;
    assert_eq!(minutes_of_doubt(&house, doubt, &[process(1)], 30).await, Some(10));
}

#[tokio::test]
async fn a_process_that_just_began_waits_until_what_has_come_is_read() {
    let house = House::start().await;
    let open = [process(1)];
    beat(&house, &open).await;
    let doubt = lost(&house).await;
    let others = others(&house, &open).await;
    heard(&house, &others).await;
    for _ in 0..66 {
        house.advance(10);
        beat(&house, &open).await;
    }
    let report = reported(doubt, "wamid.lost", "delivered").to_string();
    webhooks::store(&house.pools.receipts, "main", report.as_bytes()).await.unwrap();
    upkeep(&house).step().await.unwrap();
    assert_eq!(house.state(doubt.notification).await, "in_doubt", "it may be in what is not read yet");
}

#[tokio::test]
async fn one_more_that_is_heard_of_late_puts_nothing_off() {
    let house = House::start().await;
    let open = [process(1)];
    beat(&house, &open).await;
    let doubt = lost(&house).await;
    house.advance(10);
    house.order(ANA).await;
    let late = house.claim_one().await.attempt;
    house.accept(late, &format!("wamid.{late}")).await;
    let others = others(&house, &open).await;
    heard(&house, &others).await;
    for _ in 0..30 {
        house.advance(10);
        beat(&house, &open).await;
    }
    // It was planned before the three that were heard of in time.
    heard(&house, &[late]).await;
    assert_eq!(minutes_of_doubt(&house, doubt, &open, 30).await, Some(5));
}

#[tokio::test]
async fn a_report_that_is_on_its_way_through_our_own_outage_is_waited_for() {
    let house = House::start().await;
    beat(&house, &[process(1)]).await;
    let doubt = lost(&house).await;
    // The only process that takes webhooks in dies; two hours later another one is started.
    house.advance(120 * MINUTE);
    assert_eq!(minutes_of_doubt(&house, doubt, &[], 1).await, None);
    beat(&house, &[process(2)]).await;
    let others = others(&house, &[process(2)]).await;
    heard(&house, &others).await;
    assert_eq!(
        minutes_of_doubt(&house, doubt, &[process(2)], 100).await,
        None,
        "the provider tries again ever more rarely"
    );
    house.hook(&reported(doubt, "wamid.lost", "sent")).await;
    assert_eq!(house.state(doubt.notification).await, "accepted");
    assert!(house.claim().await.go.is_empty(), "and it is not sent twice");
}

#[tokio::test]
async fn while_a_process_that_took_webhooks_in_is_missing_silence_means_nothing() {
    let house = House::start().await;
    beat(&house, &[process(1), process(2)]).await;
    let doubt = lost(&house).await;
    let others = others(&house, &[process(1)]).await;
    heard(&house, &others).await;
    assert_eq!(
        minutes_of_doubt(&house, doubt, &[process(1)], 40).await,
        None,
        "the provider may knock at the other one"
    );
    // Nobody stands in for it within the hour: from then on it is not waited for, but what it missed is.
    assert_eq!(minutes_of_doubt(&house, doubt, &[process(1)], 120).await, Some(79));
}

#[tokio::test]
async fn a_webhook_that_was_turned_away_is_waited_for() {
    let house = House::start().await;
    beat(&house, &[process(1)]).await;
    let doubt = lost(&house).await;
    let others = others(&house, &[process(1)]).await;
    heard(&house, &others).await;
    assert_eq!(minutes_of_doubt(&house, doubt, &[process(1)], 7).await, None);
    doors::beat(&house.pools.ops, process(1), GONE, true).await.unwrap();
    assert_eq!(minutes_of_doubt(&house, doubt, &[process(1)], 30).await, Some(10));
}

#[tokio::test]
async fn processes_that_are_replaced_in_order_leave_no_gap_in_what_is_known() {
    let house = House::start().await;
    beat(&house, &[process(1), process(2)]).await;
    doors::close(&house.pools.ops, process(1)).await.unwrap();
    assert_eq!(house.count("select count(*) from doors where closed_at is null").await, 1);
    beat(&house, &[process(3)]).await;
    assert_eq!(house.count("select count(*) from doors").await, 2, "the third stands in for the first");
    doors::close(&house.pools.ops, process(2)).await.unwrap();
    doors::close(&house.pools.ops, process(3)).await.unwrap();
    let doubt = lost(&house).await;
    let others = others(&house, &[]).await;
    heard(&house, &others).await;
    assert_eq!(minutes_of_doubt(&house, doubt, &[], 60).await, None, "nobody is there to be told");
}
