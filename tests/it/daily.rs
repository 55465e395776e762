//! So many people a day: who was written to today may be written to again, others wait.

use recado::{
    db::health,
    worker::{
        Flag,
        fleet::{Fleet, Portfolio},
    },
};

use crate::{
    figures::figures,
    harness::{self, Plan, free_port, order, phone},
    house::{ANA, House, at_every_provider},
};

const BEA: &str = "+34600111333";
const CARLA: &str = "+34600111444";
const DORA: &str = "+34600111555";

/// How many people the house may write to in a day, as a process counts them.
fn counting(house: &House, limit: Option<u32>) -> (Fleet, Flag) {
    let mut portfolio = Portfolio::new("shop".to_owned(), limit, 1.0);
    portfolio.senders.push(house.sender);
    let full = portfolio.full.clone();
    (house.process(vec![portfolio], Vec::new()), full)
}

async fn when_the_days_people_are_used_up_others_wait_until_there_is_room_again(house: House) {
    let (fleet, full) = counting(&house, Some(2));
    for who in [ANA, BEA, CARLA, DORA] {
        house.tell(who, recado::domain::ledger::Act::Imported, "orders").await;
    }
    house.order(ANA).await;
    fleet.step().await.unwrap();
    assert!(!full.is_up());
    house.claim_one().await;
    house.advance(3_600);
    house.order(BEA).await;
    house.claim_one().await;
    fleet.step().await.unwrap();
    assert!(full.is_up());

    let carla = house.order(CARLA).await;
    assert!(house.claim_full().await.go.is_empty());
    assert_eq!(house.stand(carla).await.waiting_on.as_deref(), Some("day_limit"));
    house.run("update lanes set in_flight = null").await;
    house.order(ANA).await;
    assert_eq!(house.claim_full().await.go.len(), 1, "who counts already may be written to again");
    // Who wrote to us is inside a window, and does not count.
    house.written(DORA, "wamid.in.1", "Hola").await;
    house.order(DORA).await;
    assert_eq!(house.claim_full().await.go.len(), 1);

    // A day after the first two were written to, Bea and Ana no longer count.
    house.advance(25 * 3_600);
    fleet.step().await.unwrap();
    assert!(!full.is_up());
}

#[tokio::test]
async fn the_providers_tier_is_a_limit_that_nobody_has_to_set() {
    let house = House::start().await;
    let (fleet, full) = counting(&house, None);
    for who in [ANA, BEA] {
        house.tell(who, recado::domain::ledger::Act::Imported, "orders").await;
        house.order(who).await;
        house.advance(60);
        house.claim_one().await;
    }
    fleet.step().await.unwrap();
    assert!(!full.is_up(), "nobody has said how many there may be");
    health::news(&house.pools.ops, house.sender, Some("2"), None).await.unwrap();
    fleet.step().await.unwrap();
    assert!(full.is_up());
    health::news(&house.pools.ops, house.sender, Some("TIER_250"), None).await.unwrap();
    fleet.step().await.unwrap();
    assert!(!full.is_up());
}

async fn what_waits_for_room_is_looked_at_again_in_a_quarter_of_an_hour(house: House) {
    house.agreed().await;
    let id = house.order(ANA).await;
    assert!(house.claim_full().await.go.is_empty());
    house.advance(15 * 60 + 1);
    recado::db::lanes::wake_overdue(&house.pools.ops, 100).await.unwrap();
    assert_eq!(house.claim_one().await.attempt.notification, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_keeps_to_the_number_of_people_that_the_provider_allows() {
    let port = free_port();
    let plan = |plan: &mut Plan| {
        plan.set("http.metrics_listen", &format!("127.0.0.1:{port}"));
        plan.set("senders.main.daily_limit", "10");
        plan.set("senders.main.daily_share", "0.5");
        plan.set("senders.main.portfolio", "shop");
    };
    harness::Fleet::run("daily", plan, async |fleet| {
        let no = fleet.start().await;
        fleet.publish(&(0..5).map(|n| order(&format!("first-{n}"), n)).collect::<Vec<_>>()).await;
        for n in 0..5 {
            fleet.reaches(&format!("first-{n}"), "accepted").await;
        }
        figures(port, &["recado_daily_recipients{portfolio=\"shop\"} 5"]).await;
        fleet.publish(&(5..9).map(|n| order(&format!("other-{n}"), n)).collect::<Vec<_>>()).await;
        fleet.publish(&[order("again", 0)]).await;
        fleet.reaches("again", "accepted").await;
        for n in 5..9 {
            let waits = |s: &harness::Standing| s.waiting_on.as_deref() == Some("day_limit");
            fleet.becomes(&format!("other-{n}"), "waiting for room", waits).await;
        }
        let told = fleet.command(&["why", &phone(5)]).await;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.contains("The sender has written to as many people today as it may"), "{told}");
        fleet.stop(no).await;
        assert_eq!(fleet.ledger().len(), 6);
    })
    .await;
}

at_every_provider! {
    when_the_days_people_are_used_up_others_wait_until_there_is_room_again
    what_waits_for_room_is_looked_at_again_in_a_quarter_of_an_hour
}
