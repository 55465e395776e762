//! What keeps a message that is due from going, besides consent, holds and budgets; and who goes first.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use recado::db::{
    dispatch::{Pace, Terms},
    inbox::{self, Arrival, Born, Stage},
    lanes, story,
};
use uuid::Uuid;

use crate::house::{ANA, House, PACE, at_every_provider};

const BEA: &str = "+34600111333";

/// So many hours ago Ana's order reached this stage; a message follows.
async fn reached(house: &House, order: &str, number: i16, hours: i64) -> Uuid {
    let born = house.born(ANA, "orders");
    let id = born.id;
    let arrival = Arrival {
        source: "shop".to_owned(),
        id: format!("{order}-{number}"),
        body_hash: [0; 32],
        r#type: "order.confirmed".to_owned(),
        subject: None,
        time: house.clock.now() - SignedDuration::from_hours(hours),
        stage: Some(Stage { journey: "order".to_owned(), key: order.to_owned(), number }),
        ignored: None,
        body: "{}".to_owned(),
        traceparent: None,
        notifications: vec![born],
    };
    inbox::record(&house.pools.intake, &[arrival]).await.unwrap();
    id
}

/// What claims let go, one after the other, until nothing may any more.
async fn gone(house: &House) -> BTreeSet<Uuid> {
    let mut gone = BTreeSet::new();
    loop {
        let claimed = house.claim().await.go;
        if claimed.is_empty() {
            return gone;
        }
        for claim in claimed {
            assert!(gone.insert(claim.attempt.notification), "once");
            house.accept(claim.attempt, &format!("wamid.{}", gone.len())).await;
        }
        house.advance(60);
        wake(house).await;
    }
}

/// Who waits in a free lane has their turn.
async fn wake(house: &House) {
    let queues = lanes::forgotten(&house.pools.ops, 100).await.unwrap();
    lanes::wake(&house.pools.ops, &queues, PACE).await.unwrap();
}

async fn what_a_later_stage_overtook_does_not_go_and_says_by_what(house: House) {
    house.agreed().await;
    let dispatched = reached(&house, "A-1", 20, 2).await;
    let delivered = reached(&house, "A-1", 40, 1).await;
    let other = reached(&house, "A-2", 20, 2).await;
    assert_eq!(gone(&house).await, [delivered, other].into(), "another order's stage says nothing of this one");
    let stand = house.stand(dispatched).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("suppressed", Some("superseded")));
    let by: Option<String> = sqlx::query_scalar("select superseded_by from notifications where id = $1")
        .bind(dispatched)
        .fetch_one(&house.pools.ops)
        .await
        .unwrap();
    assert_eq!(by.as_deref(), Some("shop A-1-40"));
    assert_eq!(house.told(dispatched).await, ["suppressed"]);
}

async fn a_later_stage_that_happened_earlier_overtakes_nothing(house: House) {
    house.agreed().await;
    let delivered = reached(&house, "A-1", 40, 3).await;
    let dispatched_again = reached(&house, "A-1", 20, 1).await;
    let same_stage = reached(&house, "A-3", 20, 1).await;
    assert_eq!(gone(&house).await, [delivered, dispatched_again, same_stage].into());
}

async fn a_staging_system_writes_to_its_own_numbers_only(house: House) {
    house.agreed().await;
    house.tell(BEA, recado::domain::ledger::Act::Imported, "orders").await;
    let (ana, bea) = (house.order(ANA).await, house.order(BEA).await);
    let only = [BEA.to_owned()];
    let claimed = house.claim_by(&Terms { only_to: Some(&only), ..house.terms() }).await;
    assert_eq!(claimed.go.iter().map(|claim| claim.attempt.notification).collect::<Vec<_>>(), [bea]);
    let stand = house.stand(ana).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("suppressed", Some("not_in_only_to")));
}

async fn what_can_wait_for_the_morning_waits_and_then_goes(house: House) {
    house.agreed().await;
    let quiet = Some("{[\"2026-11-22 20:00+00\",\"2026-11-23 08:00+00\")}".to_owned());
    let born = Born { quiet, ..house.born(ANA, "orders") };
    let id = born.id;
    house.bring(born).await;
    assert!(house.claim().await.go.is_empty());
    let stand = house.stand(id).await;
    assert_eq!((stand.state.as_str(), stand.waiting_on.as_deref()), ("pending", Some("quiet")));
    let due = "select count(*) from notifications where due_at = '2026-11-23 08:00+00'";
    assert_eq!(house.count(due).await, 1);
    house.advance(12 * 3_600 - 1);
    lanes::wake_overdue(&house.pools.ops, 100).await.unwrap();
    assert!(house.claim().await.go.is_empty(), "a second too early");
    house.advance(1);
    lanes::wake_overdue(&house.pools.ops, 100).await.unwrap();
    assert_eq!(house.claim_one().await.attempt.notification, id);
}

async fn what_is_urgent_goes_before_all_else_that_is_due_and_before_its_persons_own_queue(house: House) {
    house.agreed().await;
    house.tell(BEA, recado::domain::ledger::Act::Imported, "orders").await;
    let first = house.order(ANA).await;
    house.advance(1);
    let (bea, ana) = (house.order(BEA).await, house.order(ANA).await);
    let on_the_wire = house.claim_by(&Terms { permits: 1, ..house.terms() }).await.go.remove(0).attempt;
    assert_eq!(on_the_wire.notification, first);
    house.advance(1);
    let born = Born { class: 0, ..house.born(ANA, "orders") };
    let urgent = born.id;
    house.bring(born).await;
    house.accept(on_the_wire, "wamid.first").await;
    let next = house.claim_by(&Terms { permits: 1, ..house.terms() }).await.go.remove(0).attempt;
    assert_eq!(next.notification, urgent, "though both of the others were due before");
    house.accept(next, "wamid.urgent").await;
    assert_eq!(gone(&house).await, [bea, ana].into());
}

async fn what_waits_for_its_turn_with_its_person_says_so_once(house: House) {
    house.agreed().await;
    let first = house.order(ANA).await;
    house.advance(1);
    let second = house.order(ANA).await;
    let on_the_wire = house.claim_one().await.attempt;
    assert_eq!(on_the_wire.notification, first);
    for _ in 0..2 {
        assert_eq!(house.timeline(second).await, ["waits"]);
        assert!(house.claim().await.go.is_empty());
    }
    let told = story::of(&house.pools.ops, second).await.unwrap().unwrap().tell(&|_| None);
    assert!(told.iter().any(|line| line.what == "Put to wait for its turn with this person."), "{told:?}");
    house.accept(on_the_wire, "wamid.first").await;
    wake(&house).await;
    let on_the_wire = house.claim_one().await.attempt;
    assert_eq!(on_the_wire.notification, second);
    house.accept(on_the_wire, "wamid.second").await;
    wake(&house).await;
    assert_eq!((house.timeline(first).await.len(), house.timeline(second).await.len()), (0, 1));

    // Nobody is before this one, but the person has just got two.
    let third = house.order(ANA).await;
    let pace = Terms { pace: Pace { burst: 1, ..PACE }, ..house.terms() };
    for _ in 0..2 {
        assert!(house.claim_by(&pace).await.go.is_empty());
        assert_eq!(house.timeline(third).await, ["waits"]);
    }
    house.advance(12);
    assert_eq!(house.claim_by(&pace).await.go.remove(0).attempt.notification, third);
    assert_eq!(house.timeline(third).await, ["waits"]);
}

at_every_provider! {
    what_a_later_stage_overtook_does_not_go_and_says_by_what
    a_later_stage_that_happened_earlier_overtakes_nothing
    a_staging_system_writes_to_its_own_numbers_only
    what_can_wait_for_the_morning_waits_and_then_goes
    what_is_urgent_goes_before_all_else_that_is_due_and_before_its_persons_own_queue
    what_waits_for_its_turn_with_its_person_says_so_once
}
