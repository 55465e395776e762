//! What goes where a template cannot: free texts inside a person's 24 hours, and SMS to people whom WhatsApp cannot reach.

use recado::domain::action::Action;
use recado::{
    db::{
        decisions::{self, Decided},
        dispatch::{Claim, Frozen},
        doubt, holds, inbox, outbox, senders, story,
        templates::{self, Key, News},
    },
    domain::{
        fact::Approval,
        ledger::Act,
        notification::{AttemptId, Failure, Outcome, Reason},
    },
    http::notifications::explain,
};
use serde_json::json;
use uuid::Uuid;

use crate::house::{ANA, House, reported, text, undelivered};

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
    let mut body = text("34600111222", message_id, "¿Dónde está mi pedido?");
    let message = &mut body["entry"][0]["changes"][0]["value"]["messages"][0];
    message["timestamp"] = house.clock.now().as_second().to_string().into();
    house.hook(&body).await;
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

#[tokio::test]
async fn who_wrote_in_the_last_day_gets_a_paused_template_in_free_words() {
    let house = House::start().await;
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

#[tokio::test]
async fn an_approved_template_goes_as_itself_whatever_its_file_allows() {
    let house = House::start().await;
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    order_in_words(&house).await;
    assert_eq!(words(&house.claim_one().await), None);
}

#[tokio::test]
async fn outside_the_window_it_waits_for_its_template_and_nobody_is_asked() {
    let house = House::start().await;
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

#[tokio::test]
async fn the_last_minutes_of_a_window_are_not_relied_on() {
    let house = House::start().await;
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    pause(&house).await;
    house.advance(24 * 3_600 - 240);
    let id = order_in_words(&house).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("template"));
}

#[tokio::test]
async fn what_its_file_does_not_allow_waits_also_inside_the_window() {
    let house = House::start().await;
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    pause(&house).await;
    let id = house.order(ANA).await;
    assert!(house.claim().await.go.is_empty());
    ana_writes(&house, "wamid.in2").await;
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("template"));
}

#[tokio::test]
async fn what_the_provider_stopped_goes_in_free_words_and_what_an_operator_stopped_does_not() {
    let house = House::start().await;
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

#[tokio::test]
async fn a_window_that_the_provider_calls_closed_costs_no_attempt_and_the_template_is_waited_for() {
    let house = House::start().await;
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

#[tokio::test]
async fn the_same_holds_if_that_is_reported_later() {
    let house = House::start().await;
    house.agreed().await;
    ana_writes(&house, "wamid.in").await;
    pause(&house).await;
    let id = order_in_words(&house).await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.1").await;
    house.hook(&undelivered(attempt, "wamid.1", 131_047)).await;
    assert!(house.claim().await.go.is_empty());
    let is = house.stand(id).await;
    assert_eq!((is.state.as_str(), is.waiting_on.as_deref(), is.tries), ("pending", Some("template"), 0));
    ana_writes(&house, "wamid.in2").await;
    assert_eq!(words(&house.claim_one().await), Some(WORDS));
}

/// A house with a sender of SMS.
async fn house_with_sms() -> (House, i16) {
    let house = House::start().await;
    house.agreed().await;
    let sms = senders::register(&house.pools.ops, "sms").await.unwrap();
    (house, sms)
}

/// One where Ana agreed to SMS as well.
async fn house_with_sms_agreed() -> (House, i16) {
    let (house, sms) = house_with_sms().await;
    house.tell(ANA, Act::Imported, "orders_sms").await;
    (house, sms)
}

/// An order of Ana's that an SMS may follow.
async fn order_with_sms(house: &House, sms: i16) -> Uuid {
    let mut born = house.born(ANA, "orders");
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
    house.hook(&undelivered(attempt, "wamid.1", 131_026)).await;
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

#[tokio::test]
async fn who_is_not_on_whatsapp_and_agreed_to_sms_gets_one() {
    let (house, sms) = house_with_sms_agreed().await;
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

#[tokio::test]
async fn who_did_not_agree_to_sms_gets_none_and_nobody_waits_for_it() {
    let (house, sms) = house_with_sms().await;
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

#[tokio::test]
async fn who_said_stop_gets_no_sms_either() {
    let (house, sms) = house_with_sms_agreed().await;
    let id = order_with_sms(&house, sms).await;
    let claim = house.claim_one().await;
    house.hook(&text("34600111222", "wamid.stop", "BAJA")).await;
    not_on_whatsapp(&house, &claim).await;
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    let short = followed(&house, id).await.unwrap();
    assert_eq!(house.stand(short).await.reason.as_deref(), Some("consent_revoked"));
}

#[tokio::test]
async fn a_failure_that_is_reported_later_is_followed_once_however_often_it_is_told() {
    let (house, sms) = house_with_sms_agreed().await;
    let id = order_with_sms(&house, sms).await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.1").await;
    assert_eq!(followed(&house, id).await, None);
    for _ in 0..2 {
        house.hook(&undelivered(attempt, "wamid.1", 131_026)).await;
    }
    assert!(followed(&house, id).await.is_some());
    assert_eq!(house.count("select count(*) from notifications").await, 2);
    assert_eq!(house.claim_of(sms, false, None).await.go.len(), 1);
}

#[tokio::test]
async fn nothing_follows_what_is_no_proof() {
    let (house, sms) = house_with_sms_agreed().await;
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

#[tokio::test]
async fn nothing_follows_out_of_doubt() {
    let (house, sms) = house_with_sms_agreed().await;
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

#[tokio::test]
async fn a_doubt_that_a_report_settles_as_impossible_is_followed() {
    let (house, sms) = house_with_sms().await;
    let id = order_with_sms(&house, sms).await;
    let attempt = house.claim_one().await.attempt;
    house.lose_answer(attempt).await;
    house.hook(&undelivered(attempt, "wamid.1", 131_026)).await;
    assert_eq!(house.stand(id).await.reason.as_deref(), Some("undeliverable"));
    assert!(followed(&house, id).await.is_some());
}

#[tokio::test]
async fn an_sms_does_not_go_any_more_if_the_message_arrived_after_all() {
    let (house, sms) = house_with_sms_agreed().await;
    let attempt = undelivered_order(&house, sms).await;
    let id = attempt.notification;
    let short = followed(&house, id).await.unwrap();
    house.hook(&reported(attempt, "wamid.1", "delivered")).await;
    assert_eq!(house.state(id).await, "accepted");
    let is = house.stand(short).await;
    assert_eq!((is.state.as_str(), is.reason.as_deref()), ("suppressed", Some("delivered_elsewhere")));
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    assert!(!house.stand(id).await.duplicate);
    assert_eq!(house.told(short).await, ["suppressed"]);
    let refused = decisions::decide(&house.pools.ops, Action::Retry, short, "ana", None).await.unwrap();
    assert!(matches!(refused, Decided::Refused { .. }), "{refused:?}");
}

#[tokio::test]
async fn if_both_arrive_the_message_says_so() {
    let (house, sms) = house_with_sms_agreed().await;
    let attempt = undelivered_order(&house, sms).await;
    let id = attempt.notification;
    let short = house.claim_of(sms, false, None).await.go.remove(0).attempt;
    house.hook(&reported(attempt, "wamid.1", "delivered")).await;
    house.accept(short, "SM1").await;
    let is = house.stand(id).await;
    assert_eq!((is.state.as_str(), is.duplicate), ("accepted", true));
    assert_eq!(house.state(short.notification).await, "accepted");
    let (lines, _) = told_in_why(&house, id).await;
    assert!(lines.iter().any(|line| line.ends_with("the person may have both.")), "{lines:#?}");
}

#[tokio::test]
async fn an_operator_sends_it_again_beside_its_sms_only_on_purpose() {
    let (house, sms) = house_with_sms_agreed().await;
    let id = refused_order(&house, sms).await;
    let refused = decisions::decide(&house.pools.ops, Action::Retry, id, "ana", None).await.unwrap();
    assert!(matches!(refused, Decided::Refused { followed: true, .. }), "{refused:?}");
    assert_eq!(decisions::decide(&house.pools.ops, Action::Resend, id, "ana", None).await.unwrap(), Decided::Done);
    let again = house.claim_one().await;
    assert!(again.resend, "it is marked");
    not_on_whatsapp(&house, &again).await;
    assert_eq!(house.count("select count(*) from notifications").await, 2, "one SMS follows, not two");
}

#[tokio::test]
async fn an_sms_expires_and_is_overtaken_as_its_message_was() {
    let (house, sms) = house_with_sms_agreed().await;
    let id = refused_order(&house, sms).await;
    house.advance(25 * 3_600);
    assert!(house.claim_of(sms, false, None).await.go.is_empty());
    let short = followed(&house, id).await.unwrap();
    assert_eq!(house.stand(short).await.reason.as_deref(), Some("expired"));
}

#[tokio::test]
async fn an_sms_that_is_stopped_here_waits() {
    let (house, sms) = house_with_sms_agreed().await;
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

#[tokio::test]
async fn forgetting_somebody_forgets_these_words_too() {
    let (house, sms) = house_with_sms().await;
    let mut born = house.born(ANA, "orders");
    born.free_text = Some(WORDS.to_owned());
    born.sms = Some(inbox::Sms { sender: sms, purpose: "orders_sms".to_owned(), text: IN_SHORT.to_owned() });
    house.bring(born).await;
    not_on_whatsapp(&house, &house.claim_one().await).await;
    let phone = recado::domain::phone::Phone::parse(ANA).unwrap();
    let at = house.clock.now();
    recado::db::erasure::erase(&house.pools.ops, phone, [7; 32], json!({"by": "test"}), "cli test", at)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        house.count("select count(*) from notifications where free_text is not null or sms is not null").await,
        0
    );
    assert_eq!(house.count("select count(*) from notifications where state = 'pending'").await, 0);
}
