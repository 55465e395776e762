//! Who may be written to: what people agree to and refuse, and that nothing leaves without it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use recado::{
    cli::consent::{import, verify},
    db::consents::{self, Who},
    domain::{
        ledger::{Act, EVERYTHING, Idle},
        phone::Phone,
    },
};
use serde_json::{Value, json};
use sqlx::Row;

use crate::house::{ANA, House, at_every_provider, body, messages, text, undelivered};

const ANA_ID: &str = "34600111222";

async fn a_yes_wakes_what_waited_for_it(house: House) {
    let id = house.order(ANA).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("consent"));
    let until = house.clock.now() + SignedDuration::from_hours(1);
    house.tell(ANA, Act::Asked { until }, "orders").await;
    house.advance(300);
    assert!(house.claim().await.go.is_empty());
    house.tell(ANA, Act::Confirmed, "orders").await;
    let claim = house.claim_one().await;
    assert_eq!(claim.attempt.notification, id);
    let named: i32 =
        sqlx::query_scalar("select consent_entry from attempts").fetch_one(&house.pools.ops).await.unwrap();
    assert_eq!(named, 2, "the message names the entry that allowed it: the confirmation");
}

async fn a_yes_to_something_else_wakes_nothing(house: House) {
    let id = house.order(ANA).await;
    house.claim().await;
    house.tell(ANA, Act::Imported, "marketing").await;
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("consent"));
}

#[tokio::test]
async fn nobody_confirms_what_nobody_asked() {
    let house = House::start().await;
    let recorded = house.tell(ANA, Act::Confirmed, "orders").await;
    assert_eq!(recorded.idle, [("orders".to_owned(), Idle::NotAsked)]);
    assert_eq!(house.consent(ANA, "orders").await, None);
}

async fn a_stop_ends_everything_that_waits_and_all_that_comes(house: House) {
    house.agreed().await;
    let waiting = house.event(ANA, "shipping").await;
    house.claim().await;
    assert_eq!(house.stand(waiting).await.waiting_on.as_deref(), Some("consent"));
    let due = house.order(ANA).await;
    house.written(ANA, "wamid.in.1", "¡BAJA!").await;
    assert!(house.claim().await.go.is_empty());
    for id in [waiting, due] {
        let stand = house.stand(id).await;
        assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("suppressed", Some("consent_revoked")));
    }
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    assert_eq!(house.consent(ANA, EVERYTHING).await.as_deref(), Some("revoked"));
    let later = house.order(ANA).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(later).await.reason.as_deref(), Some("consent_revoked"));
    let did: Option<String> = house.rows("select did from inbound").await[0].get(0);
    assert_eq!(did.as_deref(), Some("revoked"));
}

async fn what_waits_for_an_answer_ends_at_the_claim_after_the_no(house: House) {
    let until = house.clock.now() + SignedDuration::from_hours(1);
    house.tell(ANA, Act::Asked { until }, "orders").await;
    let id = house.order(ANA).await;
    house.claim().await;
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("consent"));
    house.written(ANA, "wamid.in.1", "stop").await;
    house.claim().await;
    assert_eq!(house.stand(id).await.reason.as_deref(), Some("consent_revoked"));
}

async fn a_stop_that_comes_twice_is_one_entry_and_one_message(house: House) {
    house.agreed().await;
    for _ in 0..2 {
        house.written(ANA, "wamid.in.1", "stop").await;
    }
    let entries = house.count("select count(*) from consent_entries").await;
    assert_eq!(entries, 3, "the yes, the no to orders, the no to everything");
    assert_eq!(house.count("select count(*) from inbound").await, 1);
    assert_eq!(house.count("select count(*) from outbox where kind = 'inbound'").await, 1);
}

#[tokio::test]
async fn a_button_refuses_its_purpose_alone() {
    let house = House::start().await;
    house.agreed().await;
    house.tell(ANA, Act::Imported, "shipping").await;
    let pressed = json!({"from": ANA_ID, "id": "wamid.in.1", "timestamp": "1795377600", "type": "button",
        "button": {"payload": "optout:shipping", "text": "No más avisos de envío"}});
    house.hook(&messages(&json!({"messages": [pressed]}))).await;
    assert_eq!(house.consent(ANA, "shipping").await.as_deref(), Some("revoked"));
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn a_stop_under_a_username_is_known_by_the_message_that_it_answers() {
    let house = House::start().await;
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "wamid.1").await;
    let answer = json!({"from_user_id": "ES.7001", "id": "wamid.in.1", "timestamp": "1795377600", "type": "text",
        "context": {"id": "wamid.1"}, "text": {"body": "Stop"}});
    house.hook(&messages(&json!({"messages": [answer]}))).await;
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    assert_eq!(
        house.count("select count(*) from contacts where user_id = 'ES.7001'").await,
        1,
        "and is known from now on"
    );
    let told: Value = house.rows("select payload from outbox where kind = 'inbound'").await[0].get(0);
    assert_eq!(told["notification"], json!(attempt.notification));
    assert_eq!(told["did"], "revoked");
}

#[tokio::test]
async fn a_message_opens_the_window_for_a_day_from_when_it_was_written() {
    let house = House::start().await;
    house.advance(600);
    house.hook(&text(ANA_ID, "wamid.in.1", "¿Cuándo llega?")).await;
    let open = house
        .count("select count(*) from lanes l join contacts c on c.id = l.contact_id where c.phone = '+34600111222' and l.window_until = '2026-11-23T20:00:00Z'")
        .await;
    assert_eq!(open, 1, "somebody new is a contact from now on");
    assert_eq!(house.consent(ANA, "orders").await, None, "and has agreed to nothing");
}

#[tokio::test]
async fn somebody_without_a_number_can_say_no_as_well() {
    let house = House::start().await;
    let stop = json!({"from_user_id": "ES.7002", "id": "wamid.in.1", "timestamp": "1795377600", "type": "text", "text": {"body": "stop"}});
    house.hook(&messages(&json!({"messages": [stop]}))).await;
    let refused = house
        .count("select count(*) from contacts where phone is null and consents -> '*' ->> 'state' = 'revoked'")
        .await;
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_new_number_takes_the_consent_of_the_old_one_away() {
    let house = House::start().await;
    house.agreed().await;
    let system = json!({"from": ANA_ID, "id": "wamid.in.1", "timestamp": "1795377600", "type": "system",
        "system": {"type": "user_changed_number", "wa_id": "34600999888", "body": "changed"}});
    house.hook(&messages(&json!({"messages": [system]}))).await;
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
}

#[tokio::test]
async fn a_choice_in_the_providers_settings_is_about_marketing() {
    let house = House::start().await;
    house.agreed().await;
    house.tell(ANA, Act::Imported, "marketing").await;
    let value = json!({
        "messaging_product": "whatsapp", "metadata": {"display_phone_number": "1", "phone_number_id": crate::house::NUMBER_ID},
        "user_preferences": [{"wa_id": ANA_ID, "detail": "x", "category": "marketing_messages", "value": "stop", "timestamp": 1_795_377_600}],
    });
    house.hook(&body("user_preferences", &value)).await;
    assert_eq!(house.consent(ANA, "marketing").await.as_deref(), Some("revoked"));
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn a_marketing_message_that_the_provider_stopped_is_a_no_to_marketing() {
    let house = House::start().await;
    house.agreed().await;
    house.tell(ANA, Act::Imported, "marketing").await;
    house.event(ANA, "marketing").await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.1").await;
    house.hook(&undelivered(attempt, "wamid.1", 131_050)).await;
    assert_eq!(house.consent(ANA, "marketing").await.as_deref(), Some("revoked"));
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

/// The claim meets a revocation that is half-way: it passes the person over, and afterwards sees the no.
async fn nothing_leaves_when_a_no_is_said_while_a_claim_is_under_way(house: House) {
    house.agreed().await;
    let waiting = house.event(ANA, "shipping").await;
    house.claim().await;
    assert_eq!(house.stand(waiting).await.waiting_on.as_deref(), Some("consent"));
    let due = house.order(ANA).await;

    // The revocation will want to wake what waits, and stops there, its own row written and not committed.
    let mut other = house.connection().await;
    sqlx::raw_sql("begin").execute(&mut other).await.unwrap();
    sqlx::query("select id from notifications where id = $1 for update")
        .bind(waiting)
        .execute(&mut other)
        .await
        .unwrap();
    let revoking = {
        let pool = house.pools.ops.clone();
        let (who, at) = (Who::Phone(Phone::parse(ANA).unwrap()), house.clock.now());
        tokio::spawn(async move {
            consents::record(&pool, who, Act::Revoked, &[EVERYTHING], json!({"by": "test"}), at).await.unwrap()
        })
    };
    let stuck = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%consents: wake%'";
    while house.count(stuck).await == 0 {
        tokio::task::yield_now().await;
    }

    let during = house.claim().await;
    assert!(during.go.is_empty(), "the no is not committed, and yet nothing goes: the row is locked");
    assert_eq!(house.state(due).await, "pending");
    sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
    let recorded = revoking.await.unwrap();
    assert_eq!(recorded.entries.len(), 2);

    let after = house.claim().await;
    assert!(after.go.is_empty());
    assert_eq!(house.stand(due).await.reason.as_deref(), Some("consent_revoked"));
    assert_eq!(house.count("select count(*) from attempts").await, 0);
}

/// The claim has the person's row first: the revocation waits for it, and what went has gone before the no.
async fn a_no_waits_for_the_claim_that_was_first(house: House) {
    house.agreed().await;
    let first = house.order(ANA).await;
    let (claimed, revoked) =
        tokio::join!(house.claim(), house.tell_at(ANA, Act::Revoked, EVERYTHING, house.clock.now()));
    assert!(!revoked.entries.is_empty());
    let went = claimed.go.len();
    house.claim().await;
    let stand = house.stand(first).await;
    match went {
        0 => assert_eq!(stand.reason.as_deref(), Some("consent_revoked")),
        _ => assert_eq!(stand.state, "sending"),
    }
    let attempts = house.count("select count(*) from attempts").await;
    assert_eq!(attempts, i64::try_from(went).unwrap(), "nothing leaves after the no");
}

fn purposes() -> BTreeSet<&'static str> {
    BTreeSet::from(["orders", "shipping"])
}

const FILE: &str = "phone,purpose,granted_at,source,wording,form\n\
    +34600111222,orders|shipping,2026-03-04T10:20:30+01:00,checkout,v3 es,web-1\n\
    +34600111333,orders,2026-03-05T10:20:30+01:00,checkout,v3 es,web-1\n\
    +34600111333,orders,not a time,checkout,v3 es,web-1\n";

#[tokio::test]
async fn imported_consents_count_and_the_same_file_counts_once() {
    let house = House::start().await;
    let now = house.clock.now();
    let waiting = house.order(ANA).await;
    house.claim().await;
    let checked = import(None, None, &purposes(), FILE.as_bytes(), now, &mut |_| {}).await.unwrap();
    assert_eq!((checked.lines, checked.recorded, checked.bad.len()), (3, 0, 1));
    let first = import(Some(&house.pools.ops), None, &purposes(), FILE.as_bytes(), now, &mut |_| {}).await.unwrap();
    assert_eq!((first.recorded, first.repeats, first.bad[0].0), (3, 0, 4));
    let again = import(Some(&house.pools.ops), None, &purposes(), FILE.as_bytes(), now, &mut |_| {}).await.unwrap();
    assert_eq!((again.recorded, again.repeats), (0, 3));
    assert_eq!(house.claim_one().await.attempt.notification, waiting);
    let told = consents::of(&house.pools.ops, &Phone::parse(ANA).unwrap()).await.unwrap().unwrap();
    assert_eq!(told.chain.len(), 2);
    let (evidence, _) = told.chain[0].evidence.as_ref().unwrap();
    assert_eq!(*evidence, json!({"by": "import", "source": "checkout", "wording": "v3 es", "form": "web-1"}));
}

#[tokio::test]
async fn an_old_yes_from_a_file_does_not_undo_a_no() {
    let house = House::start().await;
    house.written(ANA, "wamid.in.1", "stop").await;
    let imported = import(Some(&house.pools.ops), None, &purposes(), FILE.as_bytes(), house.clock.now(), &mut |_| {})
        .await
        .unwrap();
    assert_eq!((imported.recorded, imported.overruled), (1, 2));
    assert_ne!(house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn however_much_somebody_has_said_the_next_word_is_written_down_without_reading_it() {
    let house = House::start().await;
    let at = |second: i64| house.clock.now() + SignedDuration::from_secs(second);
    house.agreed().await;
    for second in [10, 20, 30] {
        house.tell_at(ANA, Act::Revoked, EVERYTHING, at(second)).await;
        let until = at(second + 3_600);
        house.tell_at(ANA, Act::Asked { until }, "orders", at(second + 1)).await;
        house.tell_at(ANA, Act::Confirmed, "orders", at(second + 2)).await;
    }
    // Whoever read it would say that this is no entry.
    house.run("update consent_entries set hash = '\\x00' where number = 1").await;
    let again = house.tell_at(ANA, Act::Revoked, EVERYTHING, at(20)).await;
    assert_eq!((again.entries.len(), again.repeats), (0, 2), "what was said long ago counts once");
    let stop = house.tell_at(ANA, Act::Revoked, EVERYTHING, at(40)).await;
    assert_eq!(stop.entries.len(), 2);
    house.run("update consent_entries set hash = (select previous from consent_entries where number = 2) where number = 1").await;
    assert!(verify(&house.pools.ops).await.unwrap().broken.is_empty(), "and the chain goes on from its end");
}

#[tokio::test]
async fn whoever_touches_the_ledger_is_found_out() {
    let house = House::start().await;
    let numbers = ["+34600111222", "+34600111333", "+34600111444", "+34600111555"];
    for phone in numbers {
        house.tell(phone, Act::Imported, "orders").await;
        house.tell(phone, Act::Revoked, "orders").await;
    }
    let before = verify(&house.pools.ops).await.unwrap();
    assert_eq!((before.people, before.entries, before.broken.len()), (4, 8, 0));
    assert_eq!(verify(&house.pools.ops).await.unwrap().anchor, before.anchor);
    house.run("update consent_entries set payload = null, salt = null where contact_id = 1").await;
    assert_eq!(verify(&house.pools.ops).await.unwrap(), before, "what was erased leaves the chain whole");
    house.run("update consent_entries set act = 'imported' where contact_id = 2 and number = 2").await;
    house.run("delete from consent_entries where contact_id = 3 and number = 2").await;
    house
        .run("update consent_entries set payload = '{\"source\": \"forged\"}' where contact_id = 4 and number = 1")
        .await;
    let after = verify(&house.pools.ops).await.unwrap();
    let broken: Vec<&str> = after.broken.iter().map(|(_, how)| how.as_str()).collect();
    assert_eq!(broken, ["entry 2 was changed", "its last entries are missing", "the evidence of entry 1 was changed"]);
}

at_every_provider! {
    a_yes_wakes_what_waited_for_it
    a_yes_to_something_else_wakes_nothing
    a_stop_ends_everything_that_waits_and_all_that_comes
    what_waits_for_an_answer_ends_at_the_claim_after_the_no
    a_stop_that_comes_twice_is_one_entry_and_one_message
    nothing_leaves_when_a_no_is_said_while_a_claim_is_under_way
    a_no_waits_for_the_claim_that_was_first
}
