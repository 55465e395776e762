//! What is due and cannot be seen or judged: it is brought back, and hides nothing of others meanwhile.

use std::collections::BTreeSet;

use recado::{
    db::{
        decisions,
        dispatch::Terms,
        lanes,
        listing::{self, Filter},
        merge, person,
        plans::{self, Made, Wish},
        story, upkeep,
    },
    domain::{action::Action, ledger::Act, notification, phone::Phone, search::Search},
    provider::Dialect,
};
use sqlx::Executor;
use uuid::Uuid;

use crate::{
    house::{ANA, House, PACE, at_every_provider},
    plans::means,
};

const BEA: &str = "+34600111333";
const CARO: &str = "+34600111444";

/// Ana and Bea prove to be one person; Ana's contact stays.
async fn become_one(house: &House) {
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from contacts order by phone").fetch_all(&house.pools.ops).await.unwrap();
    merge::merge(&house.pools.ops, &ids, "wa_id", house.clock.now()).await.unwrap();
}

async fn what_is_tried_again_after_its_person_proved_to_be_another_goes_to_them(house: House) {
    for phone in [ANA, BEA] {
        house.tell(phone, Act::Imported, "orders").await;
    }
    house.order(ANA).await;
    let id = house.order(BEA).await;
    for claim in house.claim().await.go {
        let failure =
            notification::Failure { reason: notification::Reason::new("parameter_invalid"), code: None, detail: None };
        house.answer(&claim, notification::Outcome::Rejected { failure, again: None }).await;
    }
    assert_eq!(house.state(id).await, "failed");
    become_one(&house).await;
    decisions::decide(&house.pools.ops, Action::Retry, id, "ana", "a test").await.unwrap();
    house.advance(10);
    assert!(house.claim().await.go.is_empty(), "it has no lane");
    assert_eq!(lanes::adopt(&house.pools.ops, 100).await.unwrap(), 1);
    let claim = house.claim_one().await;
    assert_eq!((claim.attempt.notification, claim.phone.as_str()), (id, ANA));
    assert_eq!(lanes::adopt(&house.pools.ops, 100).await.unwrap(), 0);
}

async fn what_waits_goes_with_its_person_however_often_they_prove_to_be_another(house: House) {
    for phone in [ANA, BEA, CARO] {
        house.tell(phone, Act::Imported, "orders").await;
    }
    let contact = async |phone: &str| -> i64 {
        sqlx::query_scalar("select id from contacts where phone = $1")
            .bind(phone)
            .fetch_one(&house.pools.ops)
            .await
            .unwrap()
    };
    let (ana, bea, caro) = (contact(ANA).await, contact(BEA).await, contact(CARO).await);
    let first = house.order(CARO).await;
    let sent = house.claim_one().await;
    let waits = house.order(CARO).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(waits).await.waiting_on.as_deref(), Some("lane"));
    for pair in [[bea, caro], [ana, bea]] {
        merge::merge(&house.pools.ops, &pair, "wa_id", house.clock.now()).await.unwrap();
    }
    for id in [first, waits] {
        let whose: i64 = sqlx::query_scalar("select contact_id from notifications where id = $1")
            .bind(id)
            .fetch_one(&house.pools.ops)
            .await
            .unwrap();
        assert_eq!(whose, ana);
    }
    house.accept(sent.attempt, "wamid.1").await;
    let queues = lanes::forgotten(&house.pools.ops, 100).await.unwrap();
    assert_eq!(lanes::wake(&house.pools.ops, &queues, PACE).await.unwrap(), 1);
    house.advance(10);
    let claim = house.claim_one().await;
    assert_eq!((claim.attempt.notification, claim.phone.as_str()), (waits, ANA));
}

async fn either_number_finds_all_that_concerns_the_person(house: House) {
    for phone in [ANA, BEA] {
        house.tell(phone, Act::Imported, "orders").await;
        house.written(phone, &format!("wamid.in.{phone}"), "hola").await;
    }
    let mut all = BTreeSet::from([house.order(ANA).await, house.order(BEA).await]);
    become_one(&house).await;
    all.extend([house.order(ANA).await, house.order(BEA).await]);
    let pool = &house.pools.ops;
    for number in [ANA, BEA] {
        let phone = Phone::parse(number).unwrap();
        let filter = Filter { phone: Some(phone.clone()), ..Filter::default() };
        let page = listing::page(pool, &filter, 70).await.unwrap();
        assert_eq!(page.items.iter().map(|item| item.id).collect::<BTreeSet<Uuid>>(), all, "in the console, {number}");
        let found = story::find(pool, number, 20).await.unwrap();
        assert_eq!(found.notifications.into_iter().collect::<BTreeSet<_>>(), all, "by why, {number}");
        let person = person::of(pool, &phone, |raw| Dialect::said(raw).map(str::to_owned)).await.unwrap().unwrap();
        let acts: Vec<&str> = person.consents.iter().map(|entry| entry.act.as_str()).collect();
        assert_eq!((acts, person.messages.len()), (vec!["imported"], 2), "of the person, {number}");
        let search = Search::read([("phone", number)]).unwrap();
        let made = plans::make(pool, Wish::Found(Action::Cancel, search), "ana").await.unwrap();
        let Made::Plan(plan) = made else { panic!("a plan") };
        assert!(plans::reckon(pool, plan, &means(&house.clock)).await.unwrap());
        assert_eq!(plans::one(pool, plan).await.unwrap().unwrap().found, 4, "to be cancelled, {number}");
    }
}

async fn what_cannot_be_judged_is_counted_so_that_it_hides_nothing(house: House) {
    house.agreed().await;
    house.tell(BEA, Act::Imported, "orders").await;
    house.order(BEA).await;
    house.run("delete from lanes").await;
    house.advance(1);
    let id = house.order(ANA).await;
    let one = Terms { permits: 1, scan: 1, ..house.terms() };
    let claimed = house.claim_by(&one).await;
    assert_eq!((claimed.go.len(), claimed.put_aside, claimed.seen), (0, 0, 1), "the next look reaches further");
    let claimed = house.claim_by(&Terms { scan: 2, ..one }).await;
    assert_eq!(claimed.go.iter().map(|claim| claim.attempt.notification).collect::<Vec<_>>(), [id]);
}

async fn a_lane_that_waits_for_a_message_that_is_over_is_freed(house: House) {
    let attempt = house.sending().await.attempt;
    let waits = house.order(ANA).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(lanes::free(&house.pools.ops, 100).await.unwrap(), 0, "it is under way");
    house.accept(attempt, "wamid.1").await;
    // As a merge leaves it that was not committed when the answer came.
    sqlx::query("update lanes set in_flight = $1").bind(attempt.notification).execute(&house.pools.ops).await.unwrap();
    assert!(lanes::forgotten(&house.pools.ops, 100).await.unwrap().is_empty());
    assert_eq!(lanes::free(&house.pools.ops, 100).await.unwrap(), 1);
    let queues = lanes::forgotten(&house.pools.ops, 100).await.unwrap();
    lanes::wake(&house.pools.ops, &queues, PACE).await.unwrap();
    house.advance(10);
    assert_eq!(house.claim_one().await.attempt.notification, waits);
}

async fn one_whose_values_are_gone_ends_alone(house: House) {
    house.agreed().await;
    house.tell(BEA, Act::Imported, "orders").await;
    let (gone, other) = (house.order(ANA).await, house.order(BEA).await);
    sqlx::query("update notifications set filled = null where id = $1")
        .bind(gone)
        .execute(&house.pools.ops)
        .await
        .unwrap();
    assert_eq!(house.claim_one().await.attempt.notification, other);
    let stand = house.stand(gone).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("suppressed", Some("not_kept")));
}

async fn a_new_month_waits_for_who_reads_the_old_ones_and_keeps_nobody_waiting(house: House) {
    house.advance(90 * 24 * 3_600);
    let mut report = house.connection().await;
    report.execute("begin; select count(*) from notifications").await.unwrap();
    assert!(!upkeep::make_partitions(&house.pools.ops).await.unwrap());
    report.execute("commit").await.unwrap();
    assert!(upkeep::make_partitions(&house.pools.ops).await.unwrap());
}

at_every_provider! {
    what_is_tried_again_after_its_person_proved_to_be_another_goes_to_them
    what_waits_goes_with_its_person_however_often_they_prove_to_be_another
    either_number_finds_all_that_concerns_the_person
    what_cannot_be_judged_is_counted_so_that_it_hides_nothing
    a_lane_that_waits_for_a_message_that_is_over_is_freed
    one_whose_values_are_gone_ends_alone
    a_new_month_waits_for_who_reads_the_old_ones_and_keeps_nobody_waiting
}
