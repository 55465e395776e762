//! What goes where a template cannot: free texts inside a person's 24 hours, and SMS to people whom WhatsApp cannot reach.

use recado::domain::action::Action;
use recado::{
    db::{
        decisions::{self, Decided, Refused},
        dispatch::{Claim, Frozen},
        doubt, holds, inbox, lanes, outbox, senders, settle, story,
        templates::{self, Key, News},
        upkeep,
    },
    domain::{
        fact::Approval,
        ledger::Act,
        money::Money,
        notification::{AttemptId, Failure, Outcome, Reason},
    },
    http::notifications::explain,
    worker::{
        fleet::{Budget, Portfolio},
        purse::{Purse, Room},
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::house::{ANA, House, Mishap, at_every_provider};

const BEA: &str = "+34600111333";
const WORDS: &str = "Tu pedido A-1 está confirmado.";
const IN_SHORT: &str = "Pedido A-1 confirmado.";

/// An order of Ana's whose message may go as a free text.
async fn order_in_words(house: &House) -> Uuid {
    let mut born = house.born(ANA, "orders");
    born.free_text = Some(WORDS.to_owned());
    let id = born.id;
    house.bring(born).await;
    id
}

/// Ana writes; her 24 hours begin anew.
async fn ana_writes(house: &House, message_id: &str) {
    house.written(ANA, message_id, "¿Dónde está mi pedido?").await;
}

async fn pause(house: &House) {
    stand(house, Approval::Paused).await;
}

async fn stand(house: &House, status: Approval) {
    let key = Key { sender: house.sender, template: "order_confirmed", language: "es" };
    let news = News { status, category: None, quality: None, reason: None, at: None, lasts: None, by: "meta" };
    templates::set(&house.pools.ops, key, &news).await.unwrap();
}

fn words(claim: &Claim) -> Option<&str> {
    match &claim.content {
        Frozen::Text(text) => Some(text),
        Frozen::Template { .. } => None,
    }
}

fn refused(reason: &'static str, code: i64) -> Outcome {
    let failure = Failure { reason: Reason::new(reason), code: Some(code), detail: None };
    Outcome::Rejected { failure, again: None }
}

async fn told_in_why(house: &House, id: Uuid) -> (Vec<String>, String) {
    let story = story::of(&house.pools.ops, id).await.unwrap().unwrap();
    let lines = story.tell(&explain).into_iter().map(|line| line.what).collect();
    (lines, story.next(house.clock.now()))
}

/// What producers are told of notifications, so many words. They wait for whatever else is written on this server just now.
async fn told(house: &House, words: usize) -> Vec<outbox::About> {
    loop {
        let told = outbox::next(&house.pools.ops, 0, 10).await.unwrap().rows;
        let about: Vec<_> = told.into_iter().filter_map(|told| told.notification).collect();
        if about.len() >= words {
            return about;
        }
        tokio::task::yield_now().await;
    }
}

async fn who_wrote_in_the_last_day_gets_a_paused_template_in_free_words(house: House) {
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    pause(&house).await;
    let id = order_in_words(&house).await;
    let claim = house.claim_one().await;
    assert_eq!(words(&claim), Some(WORDS));
    house.accept(claim.attempt, "wamid.1").await;
    assert_eq!(house.state(id).await, "accepted");
    let (lines, _) = told_in_why(&house, id).await;
    assert!(lines.contains(&"Attempt 1: claimed, as a free text, allowed by consent entry 1.".to_owned()), "{lines:?}");
    assert!(told(&house, 1).await[0].as_text);
}

async fn an_approved_template_goes_as_itself_whatever_its_file_allows(house: House) {
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    order_in_words(&house).await;
    assert_eq!(words(&house.claim_one().await), None);
}

async fn outside_the_window_it_waits_for_its_template_and_nobody_is_asked(house: House) {
    house.agreed().await;
    pause(&house).await;
    let id = order_in_words(&house).await;
    assert!(house.claim().await.go.is_empty());
    let stand = house.stand(id).await;
    assert_eq!((stand.waiting_on.as_deref(), stand.attempt), (Some("template"), 0));
    let (_, next) = told_in_why(&house, id).await;
    assert!(next.contains("which is paused") && next.contains("If the person writes before that"), "{next}");

    ana_writes(&house, "wamid.in").await;
    assert_eq!(house.stand(id).await.waiting_on, None, "her message brings it back");
    assert_eq!(words(&house.claim_one().await), Some(WORDS));
}

async fn the_last_minutes_of_a_window_are_not_relied_on(house: House) {
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    pause(&house).await;
    house.advance(24 * 3_600 - 240);
    let id = order_in_words(&house).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("template"));
}

async fn what_its_file_does_not_allow_waits_also_inside_the_window(house: House) {
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    pause(&house).await;
    let id = house.order(ANA).await;
    assert!(house.claim().await.go.is_empty());
    ana_writes(&house, "wamid.in2").await;
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("template"));
}

async fn what_the_provider_stopped_goes_in_free_words_and_what_an_operator_stopped_does_not(house: House) {
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    let scope = || holds::Scope::Template {
        sender: house.sender,
        template: "order_confirmed".to_owned(),
        language: Some("es".to_owned()),
    };
    let hold = |reason: &str, by: &str| holds::Hold {
        scope: scope(),
        reason: reason.to_owned(),
        detail: None,
        lasts: None,
        by: by.to_owned(),
    };
    holds::place(&house.pools.ops, &hold("template_paused", "provider")).await.unwrap();
    order_in_words(&house).await;
    let claim = house.claim_one().await;
    assert_eq!(words(&claim), Some(WORDS));
    house.accept(claim.attempt, "wamid.1").await;
    for (reason, by) in [("operator", "ana"), ("recategorised", "recado"), ("template_against_policy", "provider")] {
        holds::place(&house.pools.ops, &hold(reason, by)).await.unwrap();
        let id = order_in_words(&house).await;
        assert!(house.claim().await.go.is_empty(), "{reason}");
        assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("template"), "{reason}");
        holds::release(&house.pools.ops, &scope(), Some(reason), "ana").await.unwrap();
        house.accept(house.claim_one().await.attempt, &format!("wamid.{reason}")).await;
    }
}

async fn a_window_that_the_provider_calls_closed_costs_no_attempt_and_the_template_is_waited_for(house: House) {
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    stand(&house, Approval::Rejected).await;
    let id = order_in_words(&house).await;
    let claim = house.claim_one().await;
    house.answer(&claim, refused("window_closed", 131_047)).await;
    assert!(house.claim().await.go.is_empty(), "it is not tried again");
    let is = house.stand(id).await;
    assert_eq!((is.state.as_str(), is.waiting_on.as_deref(), is.tries), ("pending", Some("template"), 0));
    stand(&house, Approval::Approved).await;
    let claim = house.claim_one().await;
    assert_eq!((words(&claim), claim.attempt.number), (None, 2));
}

async fn the_same_holds_if_that_is_reported_later(house: House) {
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    pause(&house).await;
    let id = order_in_words(&house).await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.1").await;
    house.undeliver(attempt, "wamid.1", Mishap::WindowClosed).await;
    assert!(house.claim().await.go.is_empty());
    let is = house.stand(id).await;
    assert_eq!((is.state.as_str(), is.waiting_on.as_deref(), is.tries), ("pending", Some("template"), 0));
    ana_writes(&house, "wamid.in2").await;
    assert_eq!(words(&house.claim_one().await), Some(WORDS));
}

/// A house with a sender of SMS.
async fn with_sms(house: &House) -> i16 {
    house.agreed().await;
    senders::register(&house.pools.ops, "sms").await.unwrap()
}

/// One where Ana agreed to SMS as well.
async fn with_sms_agreed(house: &House) -> i16 {
    let sms = with_sms(house).await;
    house.tell(ANA, Act::Imported, "orders_sms").await;
    sms
}

/// An order of Ana's that an SMS may follow.
async fn order_with_sms(house: &House, sms: i16) -> Uuid {
    order_of(house, ANA, sms).await
}

async fn order_of(house: &House, phone: &str, sms: i16) -> Uuid {
    let mut born = house.born(phone, "orders");
    let (purpose, text) = ("orders_sms".to_owned(), IN_SHORT.to_owned());
    born.sms = Some(inbox::Sms { sender: sms, purpose, text });
    let id = born.id;
    house.bring(born).await;
    id
}

/// Such an order, refused at once: Ana is not on WhatsApp.
async fn refused_order(house: &House, sms: i16) -> Uuid {
    let id = order_with_sms(house, sms).await;
    not_on_whatsapp(house, &house.claim_one().await).await;
    id
}

/// Such an order, accepted and then reported as undeliverable.
async fn undelivered_order(house: &House, sms: i16) -> AttemptId {
    let id = order_with_sms(house, sms).await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.1").await;
    assert_eq!(followed(house, id).await, None);
    house.undeliver(attempt, "wamid.1", Mishap::NotOnWhatsapp).await;
    attempt
}

/// What followed a message.
async fn followed(house: &House, id: Uuid) -> Option<Uuid> {
    let story = story::of(&house.pools.ops, id).await.unwrap().unwrap();
    if let Some(sms) = &story.fallback {
        assert_eq!(sms.fallback_of, Some(id), "they are linked both ways");
    }
    story.fallback.map(|sms| sms.id)
}

async fn not_on_whatsapp(house: &House, claim: &Claim) {
    house.answer(claim, refused("undeliverable", 131_026)).await;
}

async fn who_is_not_on_whatsapp_and_agreed_to_sms_gets_one(house: House) {
    let sms = with_sms_agreed(&house).await;
    let id = refused_order(&house, sms).await;
    assert_eq!(house.stand(id).await.reason.as_deref(), Some("undeliverable"));
    let short = followed(&house, id).await.expect("an SMS follows");
    assert!(house.claim().await.go.is_empty(), "it is not WhatsApp's");

    let mut claimed = house.claim_of(sms, false, None).await;
    assert_eq!(claimed.go.len(), 1, "{claimed:?}");
    let claim = claimed.go.remove(0);
    assert_eq!((claim.attempt.notification, words(&claim), claim.phone.as_str()), (short, Some(IN_SHORT), ANA));
    house.accept(claim.attempt, "SM1").await;
    assert_eq!(house.state(short).await, "accepted");
    assert_eq!(
        (house.told(id).await, house.told(short).await),
        (vec!["failed".to_owned()], vec!["accepted".to_owned()])
    );

    let links: Vec<_> = told(&house, 2).await.iter().map(|about| (about.fallback, about.fallback_of)).collect();
    assert_eq!(links, [(Some(short), None), (None, Some(id))]);
    let (lines, next) = told_in_why(&house, id).await;
    for line in [
        format!("WhatsApp is proven unable to deliver it: the SMS {short} follows."),
        "SMS: Attempt 1: claimed, as a free text, allowed by consent entry 2.".to_owned(),
        "SMS: Attempt 1: accepted by the provider as SM1.".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line} is missing: {lines:#?}");
    }
    assert!(next.starts_with(&format!("An SMS followed, {short}: accepted.")), "{next}");
    let found = story::find(&house.pools.ops, &id.to_string(), 20).await.unwrap();
    assert_eq!(found.notifications, [id]);
    let by_the_other = story::find(&house.pools.ops, &short.to_string(), 20).await.unwrap();
    assert_eq!(by_the_other.notifications, [id], "both are one story");
    let by_phone = story::find(&house.pools.ops, ANA, 20).await.unwrap();
    assert_eq!(by_phone.notifications, [id]);
}

async fn who_did_not_agree_to_sms_gets_none_and_nobody_waits_for_it(house: House) {
    let sms = with_sms(&house).await;
    let id = refused_order(&house, sms).await;
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    let short = followed(&house, id).await.unwrap();
    let is = house.stand(short).await;
    assert_eq!((is.state.as_str(), is.reason.as_deref()), ("suppressed", Some("no_consent")));

    let until = house.clock.now() + jiff::SignedDuration::from_hours(1);
    house.tell(ANA, Act::Asked { until }, "orders_sms").await;
    let id = refused_order(&house, sms).await;
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    let short = followed(&house, id).await.unwrap();
    assert_eq!(house.stand(short).await.reason.as_deref(), Some("not_confirmed"));
}

async fn who_said_stop_gets_no_sms_either(house: House) {
    let sms = with_sms_agreed(&house).await;
    let id = order_with_sms(&house, sms).await;
    let claim = house.claim_one().await;
    house.written(ANA, "wamid.stop", "BAJA").await;
    not_on_whatsapp(&house, &claim).await;
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    let short = followed(&house, id).await.unwrap();
    assert_eq!(house.stand(short).await.reason.as_deref(), Some("consent_revoked"));
}

async fn a_failure_that_is_reported_later_is_followed_once_however_often_it_is_told(house: House) {
    let sms = with_sms_agreed(&house).await;
    let id = order_with_sms(&house, sms).await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.1").await;
    assert_eq!(followed(&house, id).await, None);
    for _ in 0..2 {
        house.undeliver(attempt, "wamid.1", Mishap::NotOnWhatsapp).await;
    }
    assert!(followed(&house, id).await.is_some());
    assert_eq!(house.count("select count(*) from notifications").await, 2);
    assert_eq!(house.claim_of(sms, false, None).await.go.len(), 1);
}

async fn nothing_follows_what_is_no_proof(house: House) {
    let sms = with_sms_agreed(&house).await;
    for (reason, code) in [("recipient_blocked", 130_403), ("parameter_invalid", 100), ("marketing_opted_out", 131_050)]
    {
        let id = order_with_sms(&house, sms).await;
        house.answer(&house.claim_one().await, refused(reason, code)).await;
        assert_eq!(house.state(id).await, "failed");
        assert_eq!(followed(&house, id).await, None, "{reason}");
    }
    let id = house.order(ANA).await;
    not_on_whatsapp(&house, &house.claim_one().await).await;
    assert_eq!(followed(&house, id).await, None, "its template has no SMS");
}

async fn nothing_follows_out_of_doubt(house: House) {
    let sms = with_sms_agreed(&house).await;
    let id = order_with_sms(&house, sms).await;
    let first = house.claim_one().await.attempt;
    house.lose_answer(first).await;
    assert!(doubt::resend(&house.pools.ops, first, "recado").await.unwrap());
    // The second is refused for good, but nobody knows what became of the first.
    not_on_whatsapp(&house, &house.claim_one().await).await;
    assert_eq!(house.stand(id).await.reason.as_deref(), Some("undeliverable"));
    assert_eq!(followed(&house, id).await, None);

    let other = order_with_sms(&house, sms).await;
    let attempt = house.claim_one().await.attempt;
    house.lose_answer(attempt).await;
    assert!(doubt::give_up(&house.pools.ops, attempt, "recado").await.unwrap());
    assert_eq!(followed(&house, other).await, None);
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
}

async fn a_doubt_that_a_report_settles_as_impossible_is_followed(house: House) {
    let sms = with_sms(&house).await;
    let id = order_with_sms(&house, sms).await;
    let attempt = house.claim_one().await.attempt;
    house.lose_answer(attempt).await;
    house.undeliver(attempt, "wamid.1", Mishap::NotOnWhatsapp).await;
    assert_eq!(house.stand(id).await.reason.as_deref(), Some("undeliverable"));
    assert!(followed(&house, id).await.is_some());
}

async fn an_sms_does_not_go_any_more_if_the_message_arrived_after_all(house: House) {
    let sms = with_sms_agreed(&house).await;
    let attempt = undelivered_order(&house, sms).await;
    let id = attempt.notification;
    let short = followed(&house, id).await.unwrap();
    house.report(attempt, "wamid.1", "delivered").await;
    assert_eq!(house.state(id).await, "accepted");
    let is = house.stand(short).await;
    assert_eq!((is.state.as_str(), is.reason.as_deref()), ("suppressed", Some("delivered_elsewhere")));
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    assert!(!house.stand(id).await.duplicate);
    assert_eq!(house.told(short).await, ["suppressed"]);
    let refused = decisions::decide(&house.pools.ops, Action::Retry, short, "ana", "a test").await.unwrap();
    assert!(matches!(refused, Decided::Refused(_)), "{refused:?}");
}

async fn whose_it_was_is_counted_however_it_ends(house: House) {
    let sms = with_sms_agreed(&house).await;
    let pool = &house.pools.ops;
    let attempt = undelivered_order(&house, sms).await;
    house.report(attempt, "wamid.1", "delivered").await;
    let cancelled = house.order(ANA).await;
    assert_eq!(decisions::decide(pool, Action::Cancel, cancelled, "ana", "a test").await.unwrap(), Decided::Done);
    let lost = async || {
        house.order(ANA).await;
        let attempt = house.claim_one().await.attempt;
        house.lose_answer(attempt).await;
        attempt
    };
    let (by_ana, by_time, found) = (lost().await, lost().await, lost().await);
    decisions::decide(pool, Action::GiveUp, by_ana.notification, "ana", "a test").await.unwrap();
    assert!(doubt::give_up(pool, by_time, "recado").await.unwrap());
    assert!(settle::adopt(pool, found, "wamid.2").await.unwrap());
    house.order(ANA).await;
    let scope = holds::Scope::Sender(house.sender);
    let hold = holds::Hold { scope, reason: "operator".to_owned(), detail: None, lasts: None, by: "ana".to_owned() };
    holds::place(pool, &hold).await.unwrap();
    house.advance(25 * 3_600);
    assert_eq!(upkeep::expire_held(pool, 10).await.unwrap(), 1);

    let counted: Vec<(String, i64, Option<String>)> = sqlx::query_as(
        "select c.reason, sum(c.n)::int8, s.name from tally_changes c left join senders s on s.id = c.sender
         where c.reason <> 'undeliverable' and c.kind in ('failed', 'suppressed') or c.kind = 'accepted' group by 1, 3 order by 1, 3",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let counted: Vec<_> = counted.iter().map(|(reason, n, of)| (reason.as_str(), *n, of.as_deref())).collect();
    let main = Some("main");
    let ended =
        [("cancelled", 1, main), ("delivered_elsewhere", 1, Some("sms")), ("expired", 1, main), ("unknown", 2, main)];
    assert_eq!(counted, [&[("", 3, main)][..], &ended].concat());
}

async fn if_both_arrive_the_message_says_so(house: House) {
    let sms = with_sms_agreed(&house).await;
    let attempt = undelivered_order(&house, sms).await;
    let id = attempt.notification;
    let short = house.claim_of(sms, false, None).await.go.remove(0).attempt;
    house.report(attempt, "wamid.1", "delivered").await;
    house.accept(short, "SM1").await;
    let is = house.stand(id).await;
    assert_eq!((is.state.as_str(), is.duplicate), ("accepted", true));
    assert_eq!(house.state(short.notification).await, "accepted");
    let (lines, _) = told_in_why(&house, id).await;
    assert!(lines.iter().any(|line| line.ends_with("the person may have both.")), "{lines:#?}");
}

async fn an_operator_sends_it_again_beside_its_sms_only_on_purpose(house: House) {
    let sms = with_sms_agreed(&house).await;
    let id = refused_order(&house, sms).await;
    let refused = decisions::decide(&house.pools.ops, Action::Retry, id, "ana", "a test").await.unwrap();
    assert!(matches!(refused, Decided::Refused(Refused { followed: true, .. })), "{refused:?}");
    assert_eq!(decisions::decide(&house.pools.ops, Action::Resend, id, "ana", "a test").await.unwrap(), Decided::Done);
    let again = house.claim_one().await;
    assert!(again.resend, "it is marked");
    not_on_whatsapp(&house, &again).await;
    assert_eq!(house.count("select count(*) from notifications").await, 2, "one SMS follows, not two");
}

async fn an_sms_expires_as_its_message_did(house: House) {
    let sms = with_sms_agreed(&house).await;
    let id = refused_order(&house, sms).await;
    house.advance(25 * 3_600);
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    let short = followed(&house, id).await.unwrap();
    assert_eq!(house.stand(short).await.reason.as_deref(), Some("expired"));
}

async fn an_sms_that_is_stopped_here_waits(house: House) {
    let sms = with_sms_agreed(&house).await;
    let id = refused_order(&house, sms).await;
    let scope = holds::Scope::Template { sender: sms, template: "order_confirmed".to_owned(), language: None };
    let hold = holds::Hold { scope, reason: "operator".to_owned(), detail: None, lasts: None, by: "ana".to_owned() };
    holds::place(&house.pools.ops, &hold).await.unwrap();
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    let short = followed(&house, id).await.unwrap();
    assert_eq!(house.stand(short).await.waiting_on.as_deref(), Some("template"));
    holds::release(&house.pools.ops, &hold.scope, None, "ana").await.unwrap();
    assert_eq!(house.claim_of(sms, false, None).await.go.len(), 1);
}

/// A house in which both of them agreed to SMS, and are not on WhatsApp.
async fn with_two(house: &House) -> i16 {
    let sms = with_sms_agreed(house).await;
    for purpose in ["orders", "orders_sms"] {
        house.tell(BEA, Act::Imported, purpose).await;
    }
    sms
}

/// The SMS that follows an order of this person.
async fn short_of(house: &House, phone: &str, sms: i16) -> Uuid {
    let id = order_of(house, phone, sms).await;
    not_on_whatsapp(house, &house.claim_one().await).await;
    followed(house, id).await.expect("an SMS follows")
}

async fn so_many_people_a_day_get_an_sms_and_the_next_one_waits_for_tomorrow(house: House) {
    let sms = with_two(&house).await;
    let mut texts = Portfolio::new("texts".to_owned(), Some(1), 1.0);
    texts.senders.push(sms);
    let full = texts.full.clone();
    let fleet = house.process(vec![texts], Vec::new());
    fleet.step().await.unwrap();
    assert!(!full.is_up());

    let first = short_of(&house, ANA, sms).await;
    let claim = house.claim_of(sms, full.is_up(), None).await.go.remove(0);
    assert_eq!(claim.attempt.notification, first);
    house.accept(claim.attempt, "SM1").await;
    fleet.step().await.unwrap();
    assert!(full.is_up(), "whoever was written to on WhatsApp in vain does not count, the SMS does");

    house.advance(12 * 3_600);
    let second = short_of(&house, BEA, sms).await;
    assert!(house.claim_of(sms, full.is_up(), None).await.go.is_empty());
    assert_eq!(house.stand(second).await.waiting_on.as_deref(), Some("day_limit"));
    let again = short_of(&house, ANA, sms).await;
    let claim = house.claim_of(sms, full.is_up(), None).await.go.remove(0);
    assert_eq!(claim.attempt.notification, again, "who counts already gets another");
    house.accept(claim.attempt, "SM2").await;

    // A day after Ana's second one.
    house.advance(11 * 3_600);
    let third = order_of(&house, BEA, sms).await;
    house.advance(13 * 3_600 + 1);
    fleet.step().await.unwrap();
    assert!(!full.is_up());
    lanes::wake_overdue(&house.pools.ops, 100).await.unwrap();
    assert_eq!(house.state(second).await, "pending");
    assert!(house.claim_of(sms, full.is_up(), None).await.go.is_empty());
    let stand = house.stand(second).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("suppressed", Some("expired")));
    not_on_whatsapp(&house, &house.claim_one().await).await;
    let short = followed(&house, third).await.expect("an SMS follows");
    assert_eq!(house.claim_of(sms, full.is_up(), None).await.go.remove(0).attempt.notification, short);
}

async fn the_budget_of_the_sms_is_its_own(house: House) {
    let sms = with_two(&house).await;
    let money = |text: &str| text.parse::<Money>().unwrap();
    let (purse, wide) = (Purse::default(), Purse::default());
    let budget = |sender, name: &str, daily: &str, purse: &Purse| Budget {
        sender,
        name: name.to_owned(),
        daily: Some(money(daily)),
        monthly: None,
        purse: purse.clone(),
    };
    let budgets = vec![budget(sms, "sms", "0.01 USD", &purse), budget(house.sender, "main", "5 USD", &wide)];
    let fleet = house.process(Vec::new(), budgets);
    fleet.step().await.unwrap();
    assert_eq!(purse.room(), Room::Free);

    let _ = short_of(&house, ANA, sms).await;
    let claim = house.claim_of(sms, false, None).await.go.remove(0);
    house.accept(claim.attempt, "SM1").await;
    fleet.step().await.unwrap();
    let Room::Spent { until } = purse.room() else { panic!("{:?}", purse.room()) };
    assert_eq!(until, "2026-11-23T00:00:00Z".parse().unwrap());
    assert_eq!(wide.room(), Room::Free, "WhatsApp goes on");

    let second = short_of(&house, BEA, sms).await;
    assert!(house.claim_of(sms, false, Some(until)).await.go.is_empty());
    assert_eq!(house.stand(second).await.waiting_on.as_deref(), Some("budget"));
    house.advance(4 * 3_600 + 1);
    fleet.step().await.unwrap();
    assert_eq!(purse.room(), Room::Free);
    assert_eq!(house.claim_of(sms, false, None).await.go.remove(0).attempt.notification, second, "the next day");
}

async fn forgetting_somebody_forgets_these_words_too(house: House) {
    let sms = with_sms(&house).await;
    let mut born = house.born(ANA, "orders");
    born.free_text = Some(WORDS.to_owned());
    born.sms = Some(inbox::Sms { sender: sms, purpose: "orders_sms".to_owned(), text: IN_SHORT.to_owned() });
    house.bring(born).await;
    not_on_whatsapp(&house, &house.claim_one().await).await;
    let phone = recado::domain::phone::Phone::parse(ANA).unwrap();
    let at = house.clock.now();
    recado::db::erasure::erase(&house.pools.ops, phone, &[7; 32], json!({"by": "test"}), "cli test", at)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        house.count("select count(*) from notifications where free_text is not null or sms is not null").await,
        0
    );
    assert_eq!(house.count("select count(*) from notifications where state = 'pending'").await, 0);
}

at_every_provider! {
    who_wrote_in_the_last_day_gets_a_paused_template_in_free_words
    an_approved_template_goes_as_itself_whatever_its_file_allows
    outside_the_window_it_waits_for_its_template_and_nobody_is_asked
    the_last_minutes_of_a_window_are_not_relied_on
    what_its_file_does_not_allow_waits_also_inside_the_window
    what_the_provider_stopped_goes_in_free_words_and_what_an_operator_stopped_does_not
    a_window_that_the_provider_calls_closed_costs_no_attempt_and_the_template_is_waited_for
    the_same_holds_if_that_is_reported_later
    who_is_not_on_whatsapp_and_agreed_to_sms_gets_one
    who_did_not_agree_to_sms_gets_none_and_nobody_waits_for_it
    who_said_stop_gets_no_sms_either
    a_failure_that_is_reported_later_is_followed_once_however_often_it_is_told
    nothing_follows_what_is_no_proof
    nothing_follows_out_of_doubt
    a_doubt_that_a_report_settles_as_impossible_is_followed
    an_sms_does_not_go_any_more_if_the_message_arrived_after_all
    whose_it_was_is_counted_however_it_ends
    if_both_arrive_the_message_says_so
    an_operator_sends_it_again_beside_its_sms_only_on_purpose
    an_sms_expires_as_its_message_did
    an_sms_that_is_stopped_here_waits
    so_many_people_a_day_get_an_sms_and_the_next_one_waits_for_tomorrow
    the_budget_of_the_sms_is_its_own
    forgetting_somebody_forgets_these_words_too
}
