//! Several processes as one: each message once, nobody above any pace, the allowed rate used; one dies and the others go on.

use std::time::Duration;

use serde_json::Value;

use super::{
    audit::{above_pace, audit, busiest_second},
    harness::{Fleet, Line, PATIENCE, now, order, until},
};

/// The business number's rate, at the simulator and in the settings.
const RATE: usize = 100;
const INTERVAL: Duration = Duration::from_millis(250);
const BURST: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_share_a_number_and_two_go_on_when_one_is_killed() {
    let plan = |plan: &mut super::harness::Plan| {
        plan.set("senders.main.rate_per_second", &RATE.to_string());
        plan.set("pace.recipient_interval", "250ms");
        plan.set("pace.recipient_burst", &BURST.to_string());
        plan.set("dispatch.max_in_flight", "16");
        plan.people = 400;
        plan.sim.senders[0].mps = RATE;
        plan.sim.pair = recado::sim::Pair { period_ms: 1, burst: 45 };
    };
    Fleet::run("fleet", plan, async |fleet| {
        let first = fleet.start().await;
        for _ in 0..2 {
            let no = fleet.spawn(&[]);
            fleet.ready(no).await;
        }
        let live = "select count(*) from workers where seen_at > now() - interval '1 s'";
        until("they know each other", PATIENCE, async || fleet.count(live).await == 3).await;

        // A backlog for many people, and more for one person than the pace allows.
        let mut orders: Vec<Value> = (0..1_100).map(|i| order(&format!("many-{i}"), 1 + i % 399)).collect();
        orders.extend((0..25).map(|i| order(&format!("one-{i}"), 0)));
        fleet.publish(&orders).await;
        let world = std::sync::Arc::clone(fleet.sim.world());
        let sent = || usize::try_from(world.counters().accepted).expect("a number");
        until("half is sent", PATIENCE, async || sent() >= 550).await;
        let killed_at = now().as_microsecond();
        fleet.kill(first).await;
        // The process that webhooks go to comes back only when its share was taken over.
        until("two thirds of the rest are sent", PATIENCE, async || sent() >= 950).await;
        let last = fleet.start().await;
        fleet.settle().await;
        for no in [1, 2, last] {
            fleet.stop(no).await;
        }

        let audit = audit(fleet).await;
        let ledger = fleet.ledger();
        println!("{audit:?}, busiest second {}", busiest_second(&ledger));
        assert!(audit.accepted >= 1_125 && audit.twice == 0, "{audit:?}");
        assert!(audit.resent <= 16, "no more than one process had on the wire: {audit:?}");
        assert_eq!(above_pace(&ledger, INTERVAL, BURST, Duration::from_millis(200)), Vec::<String>::new());
        assert!(busiest_second(&ledger) <= RATE, "{} in a second", busiest_second(&ledger));
        assert_eq!(world.counters().refused.get(&130_429), None, "the number's limit was never reached");

        let begin = ledger.iter().map(|line| line.received_us).min().expect("messages");
        let all_three = rate(&ledger, begin + 300_000, killed_at);
        // Dead for gone_after, and a heartbeat more until the others know.
        let taken_over = killed_at + 2_000_000;
        let two = rate(&ledger, taken_over, ledger[900].received_us);
        println!("three: {all_three:.1} a second, two: {two:.1}");
        assert!(all_three >= 0.9 * RATE as f64, "only {all_three:.1} of {RATE} a second");
        assert!(two >= 0.85 * RATE as f64, "only {two:.1} of {RATE} a second without the third");
    })
    .await;
}

fn rate(ledger: &[Line], from_us: i64, to_us: i64) -> f64 {
    let within = ledger.iter().filter(|line| (from_us..to_us).contains(&line.received_us)).count();
    within as f64 / ((to_us - from_us) as f64 / 1e6)
}
