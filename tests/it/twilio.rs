//! What is special about a sender at Twilio: contents have ids, some words are heeded by Twilio itself, and lost messages can be looked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Query, routing::get};
use recado::{
    db::{
        dispatch::{Claim, Frozen},
        holds,
        templates::{self, Key, News},
    },
    domain::{
        fact::Approval,
        form::Forms,
        notification::{Acceptance, AttemptId, Outcome},
        phone::Phone,
        source::Sources,
    },
    inbox::reading::Reader,
    provider::{
        Dialect, Provider,
        twilio::{Account, Channel, Twilio},
    },
    worker::{
        Nudge,
        doubt::{Lookout, Rules},
        wire::Wire,
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    harness::catalogue,
    house::{ANA, CONTENT, House, RETRY},
};

async fn house() -> House {
    House::at(Dialect::Twilio).await
}

fn key(house: &House) -> Key<'static> {
    Key { sender: house.sender, template: "order_confirmed", language: "es" }
}

/// The id and the values of a claimed template.
fn template(claim: &Claim) -> (Option<&str>, &str) {
    match &claim.content {
        Frozen::Template { content_id, filled } => (content_id.as_deref(), filled),
        Frozen::Text(text) => panic!("a free text: {text}"),
    }
}

#[tokio::test]
async fn an_approved_template_waits_for_the_id_of_its_content() {
    let house = house().await;
    house.run("update template_states set content_sid = null").await;
    house.agreed().await;
    let id = house.order(ANA).await;
    assert!(house.claim().await.go.is_empty());
    assert_eq!(house.stand(id).await.waiting_on.as_deref(), Some("template"));
    templates::set_content(&house.pools.ops, key(&house), CONTENT, "operator").await.unwrap();
    let claim = house.claim_one().await;
    assert_eq!(template(&claim).0, Some(CONTENT));
    assert_eq!(claim.expires_at, house.clock.now() + jiff::SignedDuration::from_hours(24));
}

#[tokio::test]
async fn the_id_of_a_content_alone_approves_nothing() {
    let house = house().await;
    house.run("delete from template_states").await;
    templates::set_content(&house.pools.ops, key(&house), CONTENT, "operator").await.unwrap();
    house.agreed().await;
    house.order(ANA).await;
    assert!(house.claim().await.go.is_empty());
    let status = Approval::Approved;
    let news = News { status, category: None, quality: None, reason: None, at: None, lasts: None, by: "operator" };
    templates::set(&house.pools.ops, key(&house), &news).await.unwrap();
    assert_eq!(template(&house.claim_one().await).0, Some(CONTENT));
}

/// Somebody writes to the number on WhatsApp.
async fn writes(house: &House, sid: &str, more: &[(&str, &str)]) {
    let form = [
        ("MessageSid", sid),
        ("SmsStatus", "received"),
        ("From", "whatsapp:+34600111222"),
        ("To", "whatsapp:+34600000001"),
        ("WaId", "34600111222"),
    ];
    house.form(&form.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_button_of_a_template_says_no_to_its_purpose() {
    let house = house().await;
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "MM1").await;
    let pressed = [
        ("ButtonPayload", "optout:orders"),
        ("ButtonText", "No más avisos"),
        ("Body", "No más avisos"),
        ("OriginalRepliedMessageSid", "MM1"),
    ];
    writes(&house, "SM1", &pressed).await;
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    let answered = "select count(*) from outbox where kind = 'inbound' and payload ->> 'notification' is not null";
    assert_eq!(house.count(answered).await, 1, "the shop is told which message was answered");
}

#[tokio::test]
async fn a_stop_that_twilio_heeded_itself_counts_in_whatever_word_and_is_not_answered_again() {
    let house = house().await;
    house.agreed().await;
    let form = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/forms/pedidos.toml"));
    let stops = recado::domain::consent::Words::shipped().stops();
    let forms = Forms::load(&[("pedidos.toml".to_owned(), form.to_owned())], &stops).unwrap();
    let stop = [("Body", "Basta"), ("OptOutType", "STOP")];
    let body: Vec<_> =
        [("MessageSid", "SM1"), ("SmsStatus", "received"), ("From", "whatsapp:+34600111222"), ("WaId", "34600111222")]
            .into_iter()
            .chain(stop)
            .collect();
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(body).finish();
    recado::db::webhooks::store(&house.pools.receipts, "main", body.as_bytes()).await.unwrap();
    let mut receipts = house.receipts();
    receipts.rules.forms = forms;
    receipts.step().await.unwrap();
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    assert_eq!(house.count("select count(*) from replies").await, 0);
    // The same words without Twilio's advanced opt-out are ours to read and to answer.
    house.advance(60);
    let body = "MessageSid=SM2&SmsStatus=received&From=whatsapp%3A%2B34600111222&WaId=34600111222&Body=STOP";
    recado::db::webhooks::store(&house.pools.receipts, "main", body.as_bytes()).await.unwrap();
    receipts.step().await.unwrap();
    assert_eq!(house.count("select count(*) from replies where saying = 'stopped'").await, 1);
}

#[tokio::test]
async fn who_stopped_the_number_at_twilio_has_said_no_to_everything() {
    let house = house().await;
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "MM1").await;
    let id = attempt.to_string();
    let failed = [("attempt", id.as_str()), ("MessageSid", "MM1"), ("MessageStatus", "failed"), ("ErrorCode", "63014")];
    house.form(&failed).await;
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("failed", Some("texts_stopped")));
    assert!(holds::in_force(&house.pools.ops).await.unwrap().is_empty());
}

/// A list of messages that can be asked for over HTTP.
#[derive(Clone, Default)]
struct List(Arc<Mutex<Vec<Value>>>);

impl List {
    async fn open(&self) -> String {
        let list = self.clone();
        let answer = move |Query(asked): Query<BTreeMap<String, String>>| async move {
            let (messages, size) = (list.0.lock().unwrap(), asked["PageSize"].parse().unwrap());
            let latest: Vec<_> = messages.iter().rev().take(size).collect();
            json!({"messages": latest, "next_page_uri": (messages.len() > size).then_some("/next")}).to_string()
        };
        let router = Router::new().route("/2010-04-01/Accounts/AC0/Messages.json", get(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn add(&self, house: &House, sid: &str, status: &str, body: &str) {
        let created = jiff::fmt::rfc2822::to_string(&house.clock.now().to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        self.0.lock().unwrap().push(json!({
            "sid": sid, "to": format!("whatsapp:{ANA}"), "from": "whatsapp:+34600000001", "body": body, "status": status,
            "direction": "outbound-api", "date_created": created, "messaging_service_sid": null,
        }));
    }
}

fn reader(house: &House) -> Arc<Reader> {
    Arc::new(Reader {
        catalogue: catalogue(),
        sources: Sources::default(),
        senders: [("main".to_owned(), house.sender)].into(),
        versions: recado::db::versions::Versions::default(),
        quiet_hours: true,
    })
}

fn lookout(house: &House, address: &str) -> Lookout {
    let account = Account {
        base_url: address,
        account_sid: "AC0",
        service_sid: None,
        number: Some(&Phone::parse("+34600000001").unwrap()),
        user: "AC0",
        password: &"secret".to_owned().into(),
        callback: "https://r.example/webhooks/main",
    };
    let provider: Arc<dyn Provider> = Arc::new(Twilio::new(Channel::Whatsapp, account).unwrap());
    let second = Duration::from_secs(1);
    let rules = Rules { every: second, lease: second * 30, window: second * 600, retry: RETRY };
    let wire = Wire::new(second * 10, second * 3, 1).unwrap();
    let around = (house.clock.clone(), Nudge::default());
    let providers = [(house.sender, provider)];
    Lookout::new(Uuid::nil(), house.pools.ops.clone(), rules, reader(house), around, wire, providers).unwrap()
}

/// An order whose answer was lost, and what its message says.
async fn lost(house: &House) -> (AttemptId, String) {
    let claim = house.sending().await;
    house.lose_answer(claim.attempt).await;
    let filled = serde_json::from_str(template(&claim).1).unwrap();
    (claim.attempt, catalogue().template("order_confirmed").unwrap().reading("es", &filled).unwrap().body)
}

#[tokio::test]
async fn a_lost_message_that_stands_in_the_list_was_accepted() {
    let (house, list) = (house().await, List::default());
    let mut lookout = lookout(&house, &list.open().await);
    let (attempt, text) = lost(&house).await;
    lookout.step().await.unwrap();
    house.advance(11);
    lookout.step().await.unwrap();
    assert_eq!(
        house.state(attempt.notification).await,
        "in_doubt",
        "what is not in the list may be on its way into it"
    );
    list.add(&house, "MM1", "queued", &text);
    house.advance(10);
    lookout.step().await.unwrap();
    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.message_id.as_deref(), stand.duplicate), ("accepted", Some("MM1"), false));
    assert_eq!(house.timeline(attempt.notification).await, ["settled_by_evidence"]);
    assert!(house.claim().await.go.is_empty());
    house.report(None::<AttemptId>, "MM1", "delivered").await;
    assert_eq!(house.stand(attempt.notification).await.receipt.as_deref(), Some("delivered"));
}

#[tokio::test]
async fn a_lost_message_is_found_though_hundreds_followed() {
    let (house, list) = (house().await, List::default());
    let mut lookout = lookout(&house, &list.open().await);
    let (attempt, text) = lost(&house).await;
    list.add(&house, "MM1", "queued", &text);
    house.advance(200);
    for later in 0..300 {
        list.add(&house, &format!("MM2{later}"), "delivered", &"Tu pedido ha salido. ".repeat(70));
    }
    for _ in 0..5 {
        lookout.step().await.unwrap();
        house.advance(200);
    }
    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.message_id.as_deref()), ("accepted", Some("MM1")));
}

#[tokio::test]
async fn what_the_list_says_failed_has_failed() {
    let (house, list) = (house().await, List::default());
    let mut lookout = lookout(&house, &list.open().await);
    let (attempt, text) = lost(&house).await;
    list.add(&house, "MM1", "undelivered", &text);
    house.advance(11);
    lookout.step().await.unwrap();
    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.reason.as_deref()), ("failed", Some("failed_without_reason")));
}

#[tokio::test]
async fn of_two_that_could_be_meant_neither_is() {
    let (house, list) = (house().await, List::default());
    let mut lookout = lookout(&house, &list.open().await);
    let (first, text) = lost(&house).await;
    house.advance(7);
    house.order(ANA).await;
    let second = house.claim_one().await.attempt;
    house.lose_answer(second).await;
    list.add(&house, "MM1", "sent", &text);
    for _ in 0..5 {
        house.advance(200);
        lookout.step().await.unwrap();
    }
    assert_eq!(house.count("select count(*) from attempts where looked_at is not null").await, 0);
    for attempt in [first, second] {
        assert_eq!(house.state(attempt.notification).await, "in_doubt");
    }
    // Once one of them is known, the other is the only one that is left; but the list has none for it.
    house.report(second, "MM1", "sent").await;
    assert_eq!(house.state(second.notification).await, "accepted");
    for _ in 0..5 {
        house.advance(200);
        lookout.step().await.unwrap();
    }
    assert_eq!(house.count("select count(*) from attempts where looked_at is not null").await, 1);
    assert_eq!(house.state(first.notification).await, "in_doubt");
}

#[tokio::test]
async fn one_is_found_behind_very_many_that_cannot_be() {
    let (house, list) = (house().await, List::default());
    let mut lookout = lookout(&house, &list.open().await);
    let mut claim = house.sending().await;
    for _ in 0..60 {
        house.lose_answer(claim.attempt).await;
        house.advance(7);
        house.order(ANA).await;
        claim = house.claim_one().await;
    }
    house.settle(claim.attempt, Outcome::Accepted(Acceptance::default())).await;
    house.advance(200);
    house.order(ANA).await;
    let claim = house.claim_one().await;
    house.lose_answer(claim.attempt).await;
    let filled = serde_json::from_str(template(&claim).1).unwrap();
    let text = catalogue().template("order_confirmed").unwrap().reading("es", &filled).unwrap().body;
    list.add(&house, "MM1", "queued", &text);
    house.advance(200);
    for _ in 0..3 {
        lookout.step().await.unwrap();
    }
    assert_eq!(house.stand(claim.attempt.notification).await.message_id.as_deref(), Some("MM1"));
}

#[tokio::test]
async fn an_answer_to_a_person_at_the_same_time_is_no_message_that_was_lost() {
    let (house, list) = (house().await, List::default());
    let mut lookout = lookout(&house, &list.open().await);
    let (attempt, _) = lost(&house).await;
    let answered = "insert into replies (id, sender, contact_id, saying, because, form, locale, until, state, sent_at, ended_at, message_id)
        select gen_random_uuid(), n.sender, n.contact_id, 'confirmed', 'SM1', 'pedidos', 'es', recado_now(), 'accepted', recado_now(), recado_now(), 'SM2'
        from notifications n";
    house.run(answered).await;
    list.add(&house, "SM2", "sent", "¡Listo!");
    house.advance(700);
    lookout.step().await.unwrap();
    assert_eq!(house.count("select count(*) from attempts where looked_at is not null").await, 1);
    assert_eq!(house.state(attempt.notification).await, "in_doubt");
}

#[tokio::test]
async fn the_providers_answer_counts_more_than_the_list() {
    let (house, list) = (house().await, List::default());
    let mut lookout = lookout(&house, &list.open().await);
    let (attempt, text) = lost(&house).await;
    list.add(&house, "MM1", "sent", &text);
    let late = Acceptance { message_id: "MM1".to_owned(), ..Acceptance::default() };
    house.settle(attempt, Outcome::Accepted(late)).await;
    house.advance(11);
    lookout.step().await.unwrap();
    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.message_id.as_deref(), stand.duplicate), ("accepted", Some("MM1"), false));
    assert_eq!(house.told(attempt.notification).await, ["in_doubt", "accepted"]);
}
