//! One person under several names: what the provider says of it, and what follows.

use recado::{
    cli::consent::{bundle, verify},
    domain::ledger::Act,
};
use serde_json::json;

use super::street::Street;
use crate::house::{ANA, messages, status, text};

/// As the shop writes it, and as the provider knows it.
pub(super) const TYPED: &str = "+5541999999999";
pub(super) const KNOWN: &str = "+554199999999";
const KNOWN_ID: &str = "554199999999";

/// A message to the number as the shop writes it was delivered to the provider's spelling of it.
pub(super) async fn learnt(street: &Street) {
    street.house.order(TYPED).await;
    let claim = street.house.claim_one().await;
    street.house.accept(claim.attempt, "wamid.1").await;
    let mut delivered = status(Some(claim.attempt), "wamid.1", "delivered", 1);
    delivered["recipient_id"] = json!(KNOWN_ID);
    let body = messages(&json!({"statuses": [delivered]}));
    recado::db::webhooks::store(&street.house.pools.receipts, "main", body.to_string().as_bytes()).await.unwrap();
    street.receipts().step().await.unwrap();
}

#[tokio::test]
async fn two_spellings_of_one_account_are_one_person_and_a_no_of_either_counts() {
    let street = Street::open().await;
    let house = &street.house;
    // They wrote before anybody knew that it is the same account.
    street.writes(KNOWN, "BAJA").await;
    house.advance(60);
    house.tell(TYPED, Act::Imported, "orders").await;
    learnt(&street).await;
    let waiting = house.order(TYPED).await;
    street.writes(KNOWN, "hola").await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(waiting).await.reason.as_deref(), Some("consent_revoked"));
    let later = house.order(TYPED).await;
    house.claim().await;
    assert_eq!(
        house.stand(later).await.reason.as_deref(),
        Some("consent_revoked"),
        "also what comes under the other number"
    );
    let merged = "select count(*) from contacts where merged_into is not null";
    assert_eq!(house.count(merged).await, 1);
    assert!(verify(&house.pools.ops).await.unwrap().broken.is_empty(), "both chains hold");
    assert_eq!(house.count("select count(*) from consent_entries where act = 'merged'").await, 1);
}

#[tokio::test]
async fn a_yes_under_one_spelling_is_a_yes_of_the_person() {
    let street = Street::open().await;
    let house = &street.house;
    house.tell(TYPED, Act::Imported, "orders").await;
    learnt(&street).await;
    house.advance(60);
    let waiting = house.event(TYPED, "shipping").await;
    assert!(house.claim().await.go.is_empty());
    // They agree under the other spelling; that it is theirs is known by now.
    street.writes(KNOWN, "alta").await;
    street.writes(KNOWN, "sí").await;
    assert_eq!(house.claim_one().await.attempt.notification, waiting);
    let lanes = "select count(*) from lanes where in_flight is not null";
    assert_eq!(house.count(lanes).await, 1, "one lane, and one pace");
    street.writes(KNOWN, "baja").await;
    house.order(TYPED).await;
    assert!(house.claim().await.go.is_empty(), "the no of the one is the no of the other from now on");
}

#[tokio::test]
async fn a_tap_confirms_for_the_typed_number_though_the_account_has_its_old_spelling() {
    let street = Street::open().await;
    let house = &street.house;
    let order = house.order(TYPED).await;
    let (wait, page) = street.ask("+55 41 99999-9999", "whatsapp").await;
    assert!(house.claim().await.go.is_empty());

    street.writes(KNOWN, &page.prepared()).await;

    assert_eq!(house.consent(TYPED, "orders").await.as_deref(), Some("granted"));
    assert_eq!(house.claim_one().await.attempt.notification, order, "the order that waited goes");
    let done = street.get(&wait).await;
    assert!(done.text.contains("Te avisaremos por WhatsApp"), "it is the number that was typed: {}", done.text);
    let windows = "select count(*) from lanes l join contacts c on c.id = l.contact_id
        where l.window_until > recado_now() and c.phone = '+5541999999999'";
    assert_eq!(house.count(windows).await, 1, "and their window is open");
    assert!(verify(&house.pools.ops).await.unwrap().broken.is_empty());
    let phone = recado::domain::phone::Phone::parse(TYPED).unwrap();
    let bundle = bundle(&house.pools.ops, &phone, house.clock.now()).await.unwrap().unwrap();
    let acts = |entries: &serde_json::Value| {
        entries.as_array().unwrap().iter().map(|entry| entry["act"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(acts(&bundle["entries"]).contains(&"merged".to_owned()), "{bundle}");
    assert!(
        acts(&bundle["merged"][0]["entries"]).contains(&"confirmed".to_owned()),
        "the proof is in the bundle: {bundle}"
    );
    assert_eq!(bundle["merged"][0]["chain"]["holds"], true);
    assert!(recado::cli::consent::page(&bundle).unwrap().contains("confirmed"));
    street.writes(KNOWN, "BAJA").await;
    assert_eq!(house.consent(TYPED, "orders").await.as_deref(), Some("revoked"));
}

#[tokio::test]
async fn a_mexican_who_writes_with_the_old_1_is_known_by_the_number_that_the_shop_has() {
    let street = Street::open().await;
    let house = &street.house;
    house.tell("+525512345678", Act::Imported, "orders").await;
    house.advance(60);
    house.hook(&text("5215512345678", "wamid.in.1", "BAJA")).await;
    assert_eq!(house.consent("+525512345678", "orders").await.as_deref(), Some("revoked"));
    assert_eq!(house.count("select count(*) from contacts").await, 1);
}

#[tokio::test]
async fn likeness_is_no_proof() {
    let street = Street::open().await;
    let house = &street.house;
    house.tell(TYPED, Act::Imported, "orders").await;
    street.writes(KNOWN, "BAJA").await;
    let order = house.order(TYPED).await;
    assert_eq!(house.claim_one().await.attempt.notification, order, "nobody has said that the numbers are one");
    assert_eq!(house.count("select count(*) from contacts where merged_into is not null").await, 0);
}

#[tokio::test]
async fn somebody_under_a_username_is_whoever_answers_our_message() {
    let street = Street::open().await;
    let house = &street.house;
    let writes = async |id: &str, text: &str, answers: Option<&str>| {
        let mut message = json!({"from_user_id": "ES.7001", "id": id, "timestamp": "1795377600", "type": "text", "text": {"body": text}});
        if let Some(answers) = answers {
            message["context"] = json!({"id": answers});
        }
        let body = messages(&json!({"messages": [message]}));
        recado::db::webhooks::store(&house.pools.receipts, "main", body.to_string().as_bytes()).await.unwrap();
        street.receipts().step().await.unwrap();
    };
    writes("wamid.in.1", "hola", None).await;
    house.tell(ANA, Act::Imported, "orders").await;
    house.order(ANA).await;
    let claim = house.claim_one().await;
    house.accept(claim.attempt, "wamid.1").await;
    writes("wamid.in.2", "gracias", Some("wamid.1")).await;
    let order = house.order(ANA).await;
    writes("wamid.in.3", "stop", None).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(
        house.stand(order).await.reason.as_deref(),
        Some("consent_revoked"),
        "without a phone and without an answer"
    );
}
