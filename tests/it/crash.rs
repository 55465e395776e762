//! The real process dies by SIGKILL at every step, again and again: nothing is lost, and nothing is sent twice silently.

use std::time::{Duration, Instant};

use recado::provider::Dialect;
use serde_json::{Value, json};

use super::{
    audit::{Audit, audit},
    harness::{Chance, Fleet, event, order, phone, seed},
};

/// The places at which the process can be told to die.
const STEPS: [&str; 6] = ["received", "recorded", "claimed", "wired", "answered", "settled"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_every_step_loses_nothing_and_repeats_nothing_silently() {
    let audit = killed_at_steps(Dialect::Meta, 1, 12).await;
    assert!(audit.notifications >= 6 * 12 && audit.sms > 0 && audit.in_words > 0, "{audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_every_step_loses_and_repeats_nothing_at_twilio() {
    let audit = killed_at_steps(Dialect::Twilio, 1, 12).await;
    assert!(audit.notifications >= 6 * 12 && audit.sms > 0 && audit.in_words > 0, "{audit:?}");
    assert_eq!(audit.twice, 0, "its list tells what was sent: {audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_any_moment_loses_nothing_and_repeats_nothing_silently() {
    killed_at_moments(Dialect::Meta, 5, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_any_moment_loses_and_repeats_nothing_at_twilio() {
    assert_eq!(killed_at_moments(Dialect::Twilio, 5, 40).await.twice, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make soak`"]
async fn a_process_killed_three_hundred_times_loses_nothing_and_repeats_nothing_silently() {
    for _ in 0..3 {
        for dialect in [Dialect::Meta, Dialect::Twilio] {
            killed_at_steps(dialect, 5, 25).await;
            killed_at_moments(dialect, 30, 60).await;
        }
    }
}

/// Each step `times` times, after a random number of passes, with so many new events each time.
async fn killed_at_steps(dialect: Dialect, times: usize, events: usize) -> Audit {
    let mut chance = Chance::new(seed());
    let (mut last, mut deaths) = (Audit::default(), 0);
    Fleet::run(
        "crash_steps",
        |plan| hurry(plan, dialect),
        async |fleet| {
            prepare(fleet, dialect, events).await;
            // A request is on the wire for a while before it is answered.
            fleet.sim.world().change_manners(|manners| (manners.latency_ms, manners.jitter_ms) = (20, 30));
            for round in 0..times {
                for step in STEPS {
                    fleet.publish(&news(&format!("{step}-{round}"), events)).await;
                    // Few steps are passed often: events come in batches, results too.
                    let most = if matches!(step, "received" | "recorded" | "settled") { 2 } else { 6 };
                    let crash = format!("{step}:{}", 1 + chance.below(most));
                    let no = fleet.spawn(&[("RECADO_CRASH", &crash)]);
                    let limit = Instant::now() + chance.millis(6_000, 10_000);
                    let mut died = true;
                    while fleet.ended(no, Duration::from_millis(50)).await.is_none() {
                        if Instant::now() >= limit || fleet.has_nothing_to_do().await {
                            fleet.kill(no).await;
                            died = false;
                            break;
                        }
                    }
                    deaths += usize::from(died);
                    println!("{}", if died { format!("died at {crash}") } else { format!("killed before {crash}") });
                }
            }
            last = recover(fleet).await;
        },
    )
    .await;
    assert!(deaths * 2 > times * STEPS.len(), "only {deaths} died where they were told to");
    last
}

/// Kills at random moments of so many lives.
async fn killed_at_moments(dialect: Dialect, lives: usize, events: usize) -> Audit {
    let mut chance = Chance::new(seed());
    let mut last = Audit::default();
    Fleet::run(
        "crash_moments",
        |plan| hurry(plan, dialect),
        async |fleet| {
            prepare(fleet, dialect, events).await;
            // So that there is always something on the wire.
            fleet.sim.world().change_manners(|manners| (manners.latency_ms, manners.jitter_ms) = (20, 60));
            for life in 0..lives {
                let no = fleet.spawn(&[]);
                fleet.publish(&news(&format!("life-{life}"), events)).await;
                fleet.ready(no).await;
                tokio::time::sleep(chance.millis(0, 500)).await;
                fleet.kill(no).await;
            }
            last = recover(fleet).await;
        },
    )
    .await;
    last
}

/// Of each four people one is not on WhatsApp, and half of those agreed to SMS; one wrote to the shop. The template that may go in
/// free words is paused.
async fn prepare(fleet: &Fleet, dialect: Dialect, people: usize) {
    let address = match dialect {
        Dialect::Meta => "200000000000002",
        Dialect::Twilio => "whatsapp:+34600000001",
    };
    fleet.pause("parcel_left").await;
    for person in 0..people {
        if person % 4 == 1 {
            fleet.sim.world().change_person(&phone(person), |ways| ways.on_whatsapp = false);
        }
        if person % 8 == 1 {
            fleet.consent_to_sms(person).await;
        }
        if person % 4 == 2 {
            fleet.wrote(person, address).await;
        }
    }
}

/// An order for each of them, but a parcel for those who wrote.
fn news(prefix: &str, people: usize) -> Vec<Value> {
    let of = |person: usize| {
        let id = format!("{prefix}-{person}");
        if person % 4 == 2 {
            event("parcel.left", &id, json!({"customer": {"phone": phone(person)}, "parcel": {"number": id}}))
        } else {
            order(&id, person)
        }
    };
    (0..people).map(of).collect()
}

fn hurry(plan: &mut super::harness::Plan, dialect: Dialect) {
    plan.at(dialect);
    plan.fallbacks = true;
    plan.set("dispatch.lease", "2s");
    plan.set("dispatch.send_timeout", "700ms");
    plan.set("dispatch.max_in_flight", "8");
    plan.set("intake.batch", "10");
    plan.set("dispatch.settle_batch", "4");
}

/// A process that lives brings everything to its end.
async fn recover(fleet: &mut Fleet) -> Audit {
    let no = fleet.start().await;
    fleet.settle().await;
    fleet.stop(no).await;
    let audit = audit(fleet).await;
    println!("{audit:?}");
    audit
}
