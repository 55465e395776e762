//! What comes back from the provider, whenever and however often it comes.

use proptest::{prelude::*, test_runner::TestRunner};
use recado::{
    db::{
        doubt, holds,
        templates::{self, Key},
        webhooks,
    },
    domain::{
        ledger::Act,
        notification::{AttemptId, Outcome},
    },
    provider::Dialect,
};
use serde_json::json;

use crate::house::{self, ANA, House, Mishap, at_every_provider, body, failure, messages, status, undelivered};

async fn each_better_report_is_shown_and_told_once(house: House) {
    let claim = house.sending().await;
    let (attempt, id) = (claim.attempt, claim.attempt.notification);
    house.accept(attempt, "wamid.1").await;
    for what in ["sent", "delivered", "delivered", "read", "delivered"] {
        house.report(attempt, "wamid.1", what).await;
    }
    let stand = house.stand(id).await;
    assert_eq!((stand.state.as_str(), stand.receipt.as_deref(), stand.duplicate), ("accepted", Some("read"), false));
    assert_eq!(house.told(id).await, ["accepted", "delivered", "read"]);
    assert_eq!(house.count("select count(*) from receipts").await, 3, "each kind is kept once");
}

async fn a_report_that_comes_before_the_answer_is_evidence_and_nothing_is_tried_again(house: House) {
    let attempt = house.sending().await.attempt;
    house.report(attempt, "wamid.1", "delivered").await;
    let stand = house.stand(attempt.notification).await;
    assert_eq!(
        (stand.state.as_str(), stand.message_id.as_deref()),
        ("sending", Some("wamid.1")),
        "its lease is respected"
    );
    house.lose_answer(attempt).await;
    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.receipt.as_deref()), ("accepted", Some("delivered")));
    house.advance(3_600);
    assert!(house.claim().await.go.is_empty());
}

async fn a_doubt_is_settled_by_a_report(house: House) {
    let attempt = house.sending().await.attempt;
    house.lose_answer(attempt).await;
    assert_eq!(house.state(attempt.notification).await, "in_doubt");
    house.report(attempt, "wamid.1", "sent").await;
    let stand = house.stand(attempt.notification).await;
    assert_eq!(
        (stand.state.as_str(), stand.message_id.as_deref(), stand.duplicate),
        ("accepted", Some("wamid.1"), false)
    );
    assert_eq!(house.timeline(attempt.notification).await, ["settled_by_evidence"]);
    assert_eq!(house.told(attempt.notification).await, ["in_doubt", "accepted"]);
}

async fn a_report_stops_the_resend_that_was_planned_and_frees_who_waited_behind(house: House) {
    let attempt = house.sending().await.attempt;
    house.lose_answer(attempt).await;
    assert!(doubt::resend(&house.pools.ops, attempt, "recado").await.unwrap());
    assert_eq!(house.state(attempt.notification).await, "pending");
    house.report(attempt, "wamid.1", "sent").await;
    assert_eq!(house.state(attempt.notification).await, "accepted");
    assert!(house.claim().await.go.is_empty(), "the same message would go twice");
}

async fn two_messages_of_one_notification_are_told_as_two(house: House) {
    let first = house.sending().await.attempt;
    let id = first.notification;
    house.lose_answer(first).await;
    doubt::resend(&house.pools.ops, first, "recado").await.unwrap();
    let second = house.claim_one().await;
    assert!(second.resend && second.attempt.number == 2);
    house.accept(second.attempt, "wamid.2").await;
    assert!(!house.stand(id).await.duplicate, "nobody knows yet of a first one");
    house.report(second.attempt, "wamid.2", "delivered").await;
    assert!(!house.stand(id).await.duplicate);
    house.report(first, "wamid.1", "read").await;
    let stand = house.stand(id).await;
    assert_eq!(
        (stand.duplicate, stand.receipt.as_deref(), stand.message_id.as_deref()),
        (true, Some("read"), Some("wamid.2"))
    );
    assert_eq!(house.timeline(id).await, ["resend", "duplicate_confirmed"]);
}

async fn a_report_of_the_first_while_the_second_is_on_the_wire_says_that_there_may_be_two(house: House) {
    let first = house.sending().await.attempt;
    house.lose_answer(first).await;
    doubt::resend(&house.pools.ops, first, "recado").await.unwrap();
    let second = house.claim_one().await.attempt;
    house.report(first, "wamid.1", "sent").await;
    assert!(house.stand(first.notification).await.duplicate);
    house.settle(second, Outcome::Unclear(failure("no_answer"))).await;
    assert_eq!(house.state(first.notification).await, "accepted");
}

async fn a_report_without_an_attempt_is_kept_until_there_is_one(house: House) {
    let attempt = house.sending().await.attempt;
    house.report(None::<AttemptId>, "wamid.1", "delivered").await;
    assert_eq!(house.count("select count(*) from stray_receipts").await, 1);
    house.accept(attempt, "wamid.1").await;
    house.advance(2);
    house.sweep().await;
    assert_eq!(house.stand(attempt.notification).await.receipt.as_deref(), Some("delivered"));
    assert_eq!(house.count("select count(*) from stray_receipts").await, 0);
}

async fn a_report_of_a_message_that_is_not_ours_is_forgotten_after_a_week(house: House) {
    house.report(None::<AttemptId>, "wamid.foreign", "sent").await;
    for _ in 0..7 {
        house.advance(24 * 3_600);
        house.sweep().await;
    }
    assert_eq!(house.count("select count(*) from stray_receipts").await, 1);
    house.advance(60);
    house.advance(2 * 24 * 3_600);
    house.sweep().await;
    assert_eq!(house.count("select count(*) from stray_receipts").await, 0);
}

async fn one_kept_report_that_cannot_be_stored_holds_no_other_back(house: House) {
    let attempt = house.sending().await.attempt;
    house.report(None::<AttemptId>, "wamid.1", "delivered").await;
    let odd = r#"insert into stray_receipts (sender, message_id, fact)
        values ('main', 'wamid.odd', '{"kind": "delivered", "at": "-009998-06-01T00:00:00Z"}')"#;
    house.run(odd).await;
    house.accept(attempt, "wamid.1").await;
    house.advance(2);
    house.sweep().await;
    assert_eq!(house.stand(attempt.notification).await.receipt.as_deref(), Some("delivered"));
    assert_eq!(house.count("select count(*) from stray_receipts").await, 0, "and it is not tried for ever");
}

async fn a_message_that_failed_later_is_tried_again_but_not_for_ever(house: House) {
    let id = house.sending().await.attempt.notification;
    for number in 1..=3 {
        let attempt = AttemptId { notification: id, number };
        let message_id = format!("wamid.{number}");
        house.accept(attempt, &message_id).await;
        house.undeliver(attempt, &message_id, Mishap::Passing).await;
        house.undeliver(attempt, &message_id, Mishap::Passing).await;
        let stand = house.stand(id).await;
        if number < 3 {
            assert_eq!((stand.state.as_str(), stand.tries, stand.message_id), ("pending", number, None));
            house.advance(61);
            assert_eq!(house.claim_one().await.attempt.number, number + 1);
        }
    }
    let stand = house.stand(id).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("failed", Some("provider_error")));
    assert_eq!(house.told(id).await, ["accepted", "accepted", "accepted", "failed"]);
    assert_eq!(house.timeline(id).await, ["undelivered"; 3]);
}

async fn what_was_sent_and_failed_stays_failed_until_somebody_has_it(house: House) {
    let attempt = house.sending().await.attempt;
    let id = attempt.notification;
    house.accept(attempt, "wamid.1").await;
    house.undeliver(attempt, "wamid.1", Mishap::NotOnWhatsapp).await;
    let stand = house.stand(id).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("failed", Some("undeliverable")));
    house.report(attempt, "wamid.1", "sent").await;
    assert_eq!(house.state(id).await, "failed", "it was sent before it failed; that is only told late");
    house.report(attempt, "wamid.1", "read").await;
    let stand = house.stand(id).await;
    assert_eq!((stand.state.as_str(), stand.receipt.as_deref(), stand.reason), ("accepted", Some("read"), None));
    house.undeliver(attempt, "wamid.1", Mishap::NotOnWhatsapp).await;
    assert_eq!(house.state(id).await, "accepted");
    assert_eq!(house.told(id).await, ["accepted", "failed", "accepted", "read"]);
}

async fn a_failure_never_undoes_that_somebody_has_the_message(house: House) {
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "wamid.1").await;
    house.report(attempt, "wamid.1", "delivered").await;
    house.undeliver(attempt, "wamid.1", Mishap::Passing).await;
    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.receipt.as_deref(), stand.tries), ("accepted", Some("delivered"), 0));
}

async fn a_failure_proves_that_what_was_in_doubt_did_not_go(house: House) {
    let attempt = house.sending().await.attempt;
    house.undeliver(attempt, "wamid.1", Mishap::Passing).await;
    assert_eq!(house.state(attempt.notification).await, "sending", "its answer comes first");
    house.lose_answer(attempt).await;
    house.advance(2);
    house.sweep().await;
    assert_eq!(house.state(attempt.notification).await, "pending");
    house.advance(61);
    let again = house.claim_one().await;
    assert_eq!((again.attempt.number, again.resend), (2, false), "the first one never went, so this is no resend");
}

async fn an_answer_that_comes_after_the_failure_does_not_count(house: House) {
    let attempt = house.sending().await.attempt;
    house.lose_answer(attempt).await;
    house.undeliver(attempt, "wamid.1", Mishap::Passing).await;
    house.accept(attempt, "wamid.1").await;
    assert_eq!(house.state(attempt.notification).await, "pending");
}

async fn a_failure_that_concerns_the_template_holds_it(house: House) {
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "wamid.1").await;
    house.undeliver(attempt, "wamid.1", Mishap::TemplatePaused).await;
    let held = holds::in_force(&house.pools.ops).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].scope.as_str(), held[0].reason.as_str()), ("template", "template_paused"));
    house.advance(61);
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(attempt.notification).await.waiting_on.as_deref(), Some("template"));
    house.approve("order_confirmed").await;
    assert_eq!(house.claim_one().await.attempt.number, 2);
}

#[tokio::test]
async fn one_bad_update_spoils_no_other_of_its_batch() {
    let house = House::start().await;
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "wamid.1").await;
    let good = status(Some(attempt), "wamid.1", "delivered", 0);
    house.hook(&messages(&json!({"statuses": [{"status": 7}, good, "what?"], "messages": [{"from": "1"}]}))).await;
    assert_eq!(house.stand(attempt.notification).await.receipt.as_deref(), Some("delivered"));
    assert_eq!(house.count("select cardinality(problems)::int8 from webhooks where applied_at is not null").await, 3);
    webhooks::store(&house.pools.receipts, "main", b"no json at all").await.unwrap();
    house.sweep().await;
    assert_eq!(house.count("select count(*) from webhooks where applied_at is null").await, 0);
}

#[tokio::test]
async fn bodies_are_taken_once_and_again_if_nobody_finished_them() {
    let house = House::start().await;
    let pool = &house.pools.receipts;
    for body in ["one", "two"] {
        webhooks::store(pool, "main", body.as_bytes()).await.unwrap();
    }
    let taken = webhooks::take(pool, 10).await.unwrap();
    assert_eq!(taken.iter().map(|body| body.bytes.as_slice()).collect::<Vec<_>>(), [b"one", b"two"]);
    assert!(webhooks::take(pool, 10).await.unwrap().is_empty());
    webhooks::done(pool, &[(taken[0].id, vec![])]).await.unwrap();
    house.advance(31);
    assert_eq!(webhooks::take(pool, 10).await.unwrap().len(), 1);
}

async fn the_sender_knows_the_three_latest_attempts_that_were_heard_of(house: House) {
    house.agreed().await;
    let mut attempts = Vec::new();
    for _ in 0..4 {
        house.order(ANA).await;
        attempts.push(house.claim_one().await.attempt);
        house.accept(attempts[attempts.len() - 1], &format!("wamid.{}", attempts.len())).await;
        house.advance(10);
    }
    for (number, attempt) in attempts.iter().enumerate().map(|(place, attempt)| (place + 1, attempt)).rev() {
        for what in ["sent", "delivered"] {
            house.report(*attempt, &format!("wamid.{number}"), what).await;
        }
    }
    let latest = house
        .count("select count(*) from senders where heard = array(select claimed_at from attempts order by claimed_at desc limit 3)")
        .await;
    assert_eq!(latest, 1, "each attempt counts once, the latest three are kept");
}

#[tokio::test]
async fn news_of_a_template_stops_and_releases_it() {
    let house = House::start().await;
    house.agreed().await;
    let id = house.order(ANA).await;
    let news = |event: &str| json!({"event": event, "message_template_name": "order_confirmed", "message_template_language": "es", "reason": "NONE"});
    house.hook(&body("message_template_status_update", &news("DISABLED"))).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("template"));
    house.hook(&body("message_template_status_update", &news("APPROVED"))).await;
    house.claim_one().await;
}

#[tokio::test]
async fn a_template_that_became_marketing_is_held_though_the_first_try_to_hold_it_failed() {
    let house = House::start().await;
    let key = Key { sender: house.sender, template: "order_confirmed", language: "es" };
    let pool = &house.pools.ops;
    templates::set_category(pool, key, "UTILITY", None).await.unwrap();
    house.run("alter table holds add constraint none check (false) not valid").await;
    templates::set_category(pool, key, "MARKETING", None).await.unwrap_err();
    house.run("alter table holds drop constraint none").await;
    assert!(templates::set_category(pool, key, "MARKETING", None).await.unwrap(), "it is news still");
    assert!(!templates::set_category(pool, key, "MARKETING", None).await.unwrap());
    assert_eq!(house.count("select count(*) from holds where released_at is null").await, 1);
}

#[tokio::test]
async fn a_template_that_became_marketing_is_held_until_somebody_looks() {
    let house = House::start().await;
    house.agreed().await;
    house.order(ANA).await;
    let moved = json!({"message_template_name": "order_confirmed", "message_template_language": "es",
        "previous_category": "UTILITY", "new_category": "MARKETING"});
    house.hook(&body("template_category_update", &moved)).await;
    let approved =
        json!({"event": "APPROVED", "message_template_name": "order_confirmed", "message_template_language": "es"});
    house.hook(&body("message_template_status_update", &approved)).await;
    assert!(house.claim().await.go.is_empty(), "approved as marketing is not what people agreed to");
    let held = holds::in_force(&house.pools.ops).await.unwrap();
    assert_eq!(held[0].reason, "recategorised");
}

#[tokio::test]
async fn a_restricted_account_holds_its_numbers_until_the_restriction_ends() {
    let house = House::start().await;
    house.agreed().await;
    house.order(ANA).await;
    let restricted = json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": [
        {"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1_795_377_600 + 3_600}]});
    house.hook(&body("account_update", &restricted)).await;
    assert!(house.claim().await.go.is_empty());
    house.advance(3_601);
    house.claim_one().await;
}

#[tokio::test]
async fn who_stopped_marketing_at_the_provider_still_hears_of_orders() {
    let house = House::start().await;
    let attempt = house.sending().await.attempt;
    house.tell(ANA, Act::Imported, "marketing").await;
    house.accept(attempt, "wamid.1").await;
    house.hook(&undelivered(attempt, "wamid.1", 131_050)).await;
    assert_eq!(house.consent(ANA, "marketing").await.as_deref(), Some("revoked"));
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

at_every_provider! {
    each_better_report_is_shown_and_told_once
    a_report_that_comes_before_the_answer_is_evidence_and_nothing_is_tried_again
    a_doubt_is_settled_by_a_report
    a_report_stops_the_resend_that_was_planned_and_frees_who_waited_behind
    two_messages_of_one_notification_are_told_as_two
    a_report_of_the_first_while_the_second_is_on_the_wire_says_that_there_may_be_two
    a_report_without_an_attempt_is_kept_until_there_is_one
    a_report_of_a_message_that_is_not_ours_is_forgotten_after_a_week
    one_kept_report_that_cannot_be_stored_holds_no_other_back
    a_message_that_failed_later_is_tried_again_but_not_for_ever
    what_was_sent_and_failed_stays_failed_until_somebody_has_it
    a_failure_never_undoes_that_somebody_has_the_message
    a_failure_proves_that_what_was_in_doubt_did_not_go
    an_answer_that_comes_after_the_failure_does_not_count
    a_failure_that_concerns_the_template_holds_it
    the_sender_knows_the_three_latest_attempts_that_were_heard_of
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Answer,
    LoseAnswer,
    Report(&'static str),
    Fail,
}

/// Everything in any order: what is known at the end is the same.
fn order_and_repetition_do_not_matter(dialect: Dialect) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let house = runtime.block_on(House::at(dialect));
    runtime.block_on(house.agreed());
    let ends = prop::sample::select(vec![Step::Answer, Step::LoseAnswer]);
    let reports = prop::collection::vec(
        prop::sample::select(vec![Step::Report("sent"), Step::Report("delivered"), Step::Report("read"), Step::Fail]),
        0..6,
    );
    let steps = (ends, reports).prop_flat_map(|(end, mut steps)| {
        steps.push(end);
        Just(steps).prop_shuffle()
    });
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let result = runner.run(&steps, |steps| {
        runtime.block_on(async {
            house.order(ANA).await;
            let attempt = house.claim_one().await.attempt;
            let id = attempt.notification;
            let message_id = format!("wamid.{attempt}");
            let mut best = 0;
            for step in &steps {
                match step {
                    Step::Answer => house.accept(attempt, &message_id).await,
                    Step::LoseAnswer => house.lose_answer(attempt).await,
                    Step::Report(what) => house.report(attempt, &message_id, what).await,
                    Step::Fail => house.undeliver(attempt, &message_id, Mishap::NotOnWhatsapp).await,
                }
                let now = rank(house.stand(id).await.receipt.as_deref());
                // A failure takes back no more than that it was sent.
                prop_assert!(now >= best || best == 1, "the receipt went back: {steps:?}");
                best = now;
            }
            house.advance(60);
            house.sweep().await;
            let stand = house.stand(id).await;
            let has = |wanted: &[Step]| steps.iter().any(|step| wanted.contains(step));
            let expected = if has(&[Step::Report("read")]) {
                ("accepted", Some("read"))
            } else if has(&[Step::Report("delivered")]) {
                ("accepted", Some("delivered"))
            } else if has(&[Step::Fail]) {
                ("failed", None)
            } else if has(&[Step::Report("sent")]) {
                ("accepted", Some("sent"))
            } else if has(&[Step::Answer]) {
                ("accepted", None)
            } else {
                ("in_doubt", None)
            };
            prop_assert_eq!((stand.state.as_str(), stand.receipt.as_deref()), expected, "{:?}", steps);
            prop_assert!(!stand.duplicate);
            house.told(id).await;
            // The next order starts with a free lane.
            house.advance(600);
            Ok(())
        })
    });
    drop(runtime.enter());
    result.unwrap();
}

#[test]
fn order_and_repetition_do_not_matter_at_meta() {
    order_and_repetition_do_not_matter(Dialect::Meta);
}

#[test]
fn order_and_repetition_do_not_matter_at_twilio() {
    order_and_repetition_do_not_matter(Dialect::Twilio);
}

fn rank(receipt: Option<&str>) -> usize {
    ["sent", "delivered", "read"].iter().position(|name| Some(*name) == receipt).map_or(0, |place| place + 1)
}

#[tokio::test]
async fn what_a_contact_is_called_at_the_provider_is_learnt() {
    let house = House::start().await;
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "wamid.1").await;
    let mut sent = status(Some(attempt), "wamid.1", "sent", 0);
    sent["recipient_id"] = "5491122334455".into();
    sent["recipient_user_id"] = "ES.13491208655302741918".into();
    house.hook(&house::messages(&json!({"statuses": [sent]}))).await;
    let learnt = house
        .count("select count(*) from contacts where wa_id = '5491122334455' and user_id = 'ES.13491208655302741918'")
        .await;
    assert_eq!(learnt, 1);
}
