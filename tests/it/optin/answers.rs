//! What people are answered: once, in their language, inside their window.

use jiff::SignedDuration;
use recado::db::inbox::{self, Arrival};
use reqwest::StatusCode;
use serde_json::json;

use super::street::Street;
use crate::house::ANA;

#[tokio::test]
async fn a_stop_is_acknowledged_once_in_the_language_of_its_word() {
    let street = Street::open().await;
    street.house.agreed().await;
    let order = street.house.order(ANA).await;
    street.writes(ANA, "SAIR").await;
    street.deliver().await;
    street.deliver().await;
    let heard = street.heard(ANA);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].contains("você não receberá mais mensagens"), "{heard:?}");
    assert!(street.house.claim().await.go.is_empty());
    assert_eq!(street.house.stand(order).await.reason.as_deref(), Some("consent_revoked"));
}

#[tokio::test]
async fn the_same_message_applied_twice_is_answered_once() {
    let street = Street::open().await;
    street.house.agreed().await;
    for _ in 0..2 {
        street.house.run("delete from inbound").await;
        let body = crate::house::text("34600111222", "wamid.in.1", "baja");
        recado::db::webhooks::store(&street.house.pools.receipts, "main", body.to_string().as_bytes()).await.unwrap();
        street.receipts().step().await.unwrap();
    }
    assert_eq!(street.house.count("select count(*) from replies").await, 1);
}

#[tokio::test]
async fn something_that_contains_the_word_is_no_stop() {
    let street = Street::open().await;
    street.house.agreed().await;
    for text in ["quiero dar de baja mi línea", "stop by tomorrow", "alta tensión en casa", "help yourself"] {
        street.writes(ANA, text).await;
    }
    street.deliver().await;
    assert!(street.heard(ANA).is_empty());
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn help_says_who_writes_and_how_to_stop() {
    let street = Street::open().await;
    street.writes(ANA, "¿Ayuda?").await;
    street.deliver().await;
    let heard = street.heard(ANA).pop().unwrap();
    assert!(heard.contains("Tienda Ejemplo") && heard.contains("BAJA") && heard.contains("/preferences/"), "{heard}");
    assert!(!heard.contains('{'), "{heard}");
}

#[tokio::test]
async fn start_leads_back_to_asking_and_the_way_back_is_confirmed() {
    let street = Street::open().await;
    street.house.agreed().await;
    street.writes(ANA, "baja").await;
    street.house.advance(60);
    street.writes(ANA, "START").await;
    street.deliver().await;
    let heard = street.heard(ANA);
    assert!(heard[1].contains("I want Tienda Ejemplo") && heard[1].contains("YES"), "{heard:?}");
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"));
    street.writes(ANA, "yes").await;
    street.deliver().await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    assert!(street.heard(ANA)[2].contains("done! We will tell you here"), "{:?}", street.heard(ANA));
}

#[tokio::test]
async fn an_answer_whose_window_is_over_is_not_sent() {
    let street = Street::open().await;
    street.house.agreed().await;
    street.writes(ANA, "baja").await;
    street.house.advance(24 * 3_600 + 1);
    street.deliver().await;
    assert!(street.heard(ANA).is_empty());
    let ended = "select count(*) from replies where state = 'suppressed' and reason = 'expired'";
    assert_eq!(street.house.count(ended).await, 1);
}

#[tokio::test]
async fn an_answer_that_may_have_been_sent_is_not_sent_again() {
    let street = Street::open().await;
    street.writes(ANA, "ayuda").await;
    let cut = recado::sim::Script::next(1, recado::sim::Fault::CutAfter { reset: false });
    street.sim.world().fault(cut).unwrap();
    let mut replies = street.replies();
    replies.step().await.unwrap();
    replies.step().await.unwrap();
    assert_eq!(street.heard(ANA).len(), 1);
    assert_eq!(street.house.count("select count(*) from replies where state = 'in_doubt'").await, 1);
    street.report().await;
    assert_eq!(street.house.count("select count(*) from replies where state = 'accepted'").await, 1);
    assert_eq!(street.house.count("select count(*) from stray_receipts").await, 0);
}

#[tokio::test]
async fn a_report_that_comes_late_undoes_nothing_that_is_better_known() {
    let street = Street::open().await;
    let house = &street.house;
    street.writes(ANA, "ayuda").await;
    let mut replies = street.replies();
    replies.step().await.unwrap();
    let message: String =
        sqlx::query_scalar("select message_id from replies").fetch_one(&house.pools.ops).await.unwrap();
    for (reported, state, receipt, reason) in [
        ("sent", "accepted", "sent", None),
        ("failed", "failed", "failed", Some("failed_without_reason")),
        ("sent", "failed", "failed", Some("failed_without_reason")),
        ("delivered", "accepted", "delivered", None),
        ("failed", "accepted", "delivered", None),
        ("read", "accepted", "read", None),
        ("failed", "accepted", "read", None),
    ] {
        house.report(None, &message, reported).await;
        let stands: (String, Option<String>, Option<String>) =
            sqlx::query_as("select state, receipt, reason from replies").fetch_one(&house.pools.ops).await.unwrap();
        let expected = (state.to_owned(), Some(receipt.to_owned()), reason.map(str::to_owned));
        assert_eq!(stands, expected, "after it was reported as {reported}");
    }
}

#[tokio::test]
async fn two_machines_that_answer_each_other_stop() {
    let street = Street::open().await;
    for _ in 0..10 {
        street.writes(ANA, "help").await;
        street.deliver().await;
    }
    assert_eq!(street.heard(ANA).len(), 3);
}

#[tokio::test]
async fn a_button_stops_its_purpose_and_says_how_to_stop_the_rest() {
    let street = Street::open().await;
    street.house.agreed().await;
    street.house.tell(ANA, recado::domain::ledger::Act::Imported, "shipping").await;
    let pressed = json!({"type": "button", "button": {"payload": "optout:shipping", "text": "No más"}});
    street.sim.world().say(ANA, pressed).unwrap();
    street.report().await;
    street.deliver().await;
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("revoked"));
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    assert!(street.heard(ANA)[0].contains("esos avisos"), "{:?}", street.heard(ANA));
}

#[tokio::test]
async fn preferences_end_one_purpose_or_all_behind_a_link_that_nobody_guesses() {
    let street = Street::open().await;
    let (_, page) = street.ask(ANA, "whatsapp").await;
    street.writes(ANA, &page.prepared()).await;
    street.deliver().await;
    let heard = street.heard(ANA).pop().unwrap();
    let link = heard.split_whitespace().find(|word| word.contains("/preferences/")).unwrap().to_owned();
    let shown = street.get(&link).await;
    assert_eq!(shown.text.matches("Lo recibes").count(), 2, "{}", shown.text);
    street.house.advance(60);
    let stopped = street.post(&link, &[("stop", "shipping")], &[]).await;
    assert_eq!(stopped.status, StatusCode::SEE_OTHER);
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("revoked"));
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    street.post(&link, &[("stop", "*")], &[]).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    let almost = if link.ends_with('A') { 'B' } else { 'A' };
    let guessed = format!("{}{almost}", &link[..link.len() - 1]);
    assert_eq!(street.get(&guessed).await.status, StatusCode::NOT_FOUND);
    assert_eq!(street.post(&guessed, &[("stop", "*")], &[]).await.status, StatusCode::NOT_FOUND);
}

/// So many hours ago this happened to an order; to whom, if the event says it.
async fn happened(street: &Street, hours: i64, event_type: &str, subject: &str, phone: Option<&str>) {
    let house = &street.house;
    let time = house.clock.now() - SignedDuration::from_hours(hours);
    let born = phone.map(|phone| inbox::Born { subject: Some(subject.to_owned()), ..house.born(phone, "orders") });
    let arrival = Arrival {
        source: "shop".to_owned(),
        id: format!("{event_type}-{subject}-{hours}"),
        body_hash: [0; 32],
        r#type: event_type.to_owned(),
        subject: Some(subject.to_owned()),
        time,
        stage: Some(inbox::Stage { journey: "order".to_owned(), key: subject.to_owned(), number: 10 }),
        ignored: born.is_none().then_some("no_template"),
        body: "{}".to_owned(),
        traceparent: None,
        notifications: born.into_iter().collect(),
    };
    inbox::record(&house.pools.intake, &[arrival]).await.unwrap();
}

#[tokio::test]
async fn who_asks_where_their_order_is_hears_how_far_each_has_come() {
    let mut street = Street::open().await;
    street.tells_where = true;
    happened(&street, 30, "order.confirmed", "order:A-1", Some(ANA)).await;
    // Comes late, happened earlier: not the last stage. The one after it names nobody and is of the same order.
    happened(&street, 2, "shipment.out_for_delivery", "order:A-1", None).await;
    happened(&street, 20, "shipment.dispatched", "order:A-1", Some(ANA)).await;
    happened(&street, 1, "order.confirmed", "order:A-2", Some(ANA)).await;
    happened(&street, 3, "shipment.delivered", "order:B-9", Some("+34600999888")).await;
    happened(&street, 0, "order.viewed", "order:A-2", None).await;
    street.writes(ANA, "¿Dónde está mi pedido?").await;
    street.deliver().await;
    let heard = street.heard(ANA);
    let lines: Vec<&str> = heard[0].lines().collect();
    assert_eq!((heard.len(), lines.len()), (1, 3), "{heard:?}");
    assert!(
        lines[1].starts_with("A-2: lo estamos preparando (") && lines[2].starts_with("A-1: está en reparto ("),
        "{heard:?}"
    );
}

#[tokio::test]
async fn who_asks_and_has_ordered_nothing_is_told_so() {
    let mut street = Street::open().await;
    street.tells_where = true;
    happened(&street, 3, "shipment.delivered", "order:B-9", Some("+34600999888")).await;
    street.writes(ANA, "where is my order").await;
    street.deliver().await;
    let heard = street.heard(ANA);
    assert!(heard.len() == 1 && heard[0].contains("we find no recent order under this number"), "{heard:?}");
}

#[tokio::test]
async fn nobody_is_told_where_their_order_is_unless_the_shop_wants_it() {
    let street = Street::open().await;
    happened(&street, 3, "shipment.delivered", "order:A-1", Some(ANA)).await;
    street.writes(ANA, "where is my order").await;
    street.deliver().await;
    assert!(street.heard(ANA).is_empty());
    assert_eq!(street.house.count("select count(*) from inbound").await, 1, "it reaches the shop");
}
