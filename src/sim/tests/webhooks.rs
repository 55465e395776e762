//! What Meta reports: the bytes, the signature, and what happens to them on the way.

use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use serde_json::json;

use super::*;
use crate::sim::{Approval, Fault, Script, sign};

#[test]
fn the_signature_is_over_exactly_these_bytes() {
    for (secret, body, signature) in [
        (
            "test_app_secret",
            r#"{"object":"whatsapp_business_account","entry":[]}"#,
            "sha256=dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756",
        ),
        (
            "test_app_secret",
            r#"{"object": "whatsapp_business_account", "entry": []}"#,
            "sha256=56cbbaf4961c6cfdae48b7f116c047e5eb513d2c931baae63a2bc1afd26f803a",
        ),
        (
            "otro_secreto",
            r#"{"object":"whatsapp_business_account","entry":[]}"#,
            "sha256=769b03d8c2ae6498f2d1e1f7299c0ba55448c69d741e7b0bb243d852d8a8d8c7",
        ),
    ] {
        assert_eq!(sign(secret, body.as_bytes()), signature);
    }
}

#[tokio::test]
async fn a_message_is_sent_delivered_and_read() {
    let shop = Shop::open().await;
    shop.sim.world().set_webhooks(|rules| (rules.sent_ms, rules.delivered_ms, rules.read_ms) = (0, 30_000, 60_000));
    let wamid = shop.accepted(&shipping(ANA)).await;
    let user = shop.sim.world().person(ANA).user_id;
    let reports = shop.reported();
    assert_eq!(reports.len(), 3);
    assert_eq!(
        reports[1],
        json!({"object": "whatsapp_business_account", "entry": [{"id": WABA, "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550001111", "phone_number_id": NUMBER},
            "contacts": [{"profile": {"name": "Ana Prueba"}, "wa_id": "34600111222", "user_id": user}],
            "statuses": [{"id": wamid, "status": "delivered", "timestamp": "1790416830",
                "recipient_id": "34600111222", "recipient_user_id": user, "biz_opaque_callback_data": "att:1",
                "pricing": {"billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility"}}],
        }}]}]})
    );
    let priced = |at: usize| reports[at].pointer("/entry/0/changes/0/value/statuses/0/pricing").is_some();
    assert_eq!([priced(0), priced(1), priced(2)], [false, true, false]);
}

#[tokio::test]
async fn the_first_texts_of_a_month_that_arrive_cost_nothing() {
    let shop = Shop::open().await;
    shop.sim.world().change_sender(NUMBER, |number| number.free_texts = 1);
    let mut kinds = Vec::new();
    for wait in [0, 10_000, 31 * 24 * 3_600 * 1_000] {
        shop.pass(wait);
        shop.sim.world().reply(ANA, "Hola").unwrap();
        shop.sim.world().take_webhooks();
        shop.accepted(&text(ANA, "Hola")).await;
        shop.pass(10_000);
        let reports = shop.reported();
        let pricing = reports.iter().find_map(|report| report.pointer("/entry/0/changes/0/value/statuses/0/pricing"));
        let pricing = pricing.expect("a price").clone();
        assert_eq!(pricing["category"], "service");
        kinds.push((pricing["billable"] == true, pricing["type"].as_str().unwrap().to_owned()));
    }
    let free = || (false, "free_customer_service".to_owned());
    assert_eq!(kinds, [free(), (true, "regular".to_owned()), free()]);
}

#[tokio::test]
async fn characters_outside_ascii_are_escaped_and_signed_as_they_are() {
    let shop = Shop::open().await;
    shop.sim.world().reply(ANA, "¡Año nuevo! 🎉").unwrap();
    let webhook = shop.sim.world().take_webhooks().remove(0);
    assert!(webhook.body.is_ascii());
    assert!(String::from_utf8_lossy(&webhook.body).contains(r"\u00a1A\u00f1o nuevo! \ud83c\udf89"));
    assert_eq!(webhook.signature, sign("sim-app-secret", &webhook.body));
    let parsed: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(parsed.pointer("/entry/0/changes/0/value/messages/0/text/body").unwrap(), "¡Año nuevo! 🎉");
}

#[tokio::test]
async fn updates_are_doubled_mixed_batched_and_lost_on_request() {
    let shop = Shop::open().await;
    let world = shop.sim.world();
    world.set_webhooks(|rules| rules.duplicates = 2);
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.statuses().len(), 9);

    world.set_webhooks(|rules| (rules.duplicates, rules.shuffle) = (0, true));
    let mut orders = std::collections::BTreeSet::new();
    for person in 0..20 {
        shop.accepted(&hello(&format!("+346000000{person:02}"))).await;
        orders.insert(shop.statuses());
    }
    assert!(orders.len() > 2, "{orders:?}");

    world.set_webhooks(|rules| (rules.shuffle, rules.drop_to) = (false, [ANA.to_owned()].into()));
    shop.accepted(&hello(ANA)).await;
    shop.accepted(&hello("+34600999888")).await;
    assert_eq!(shop.statuses().len(), 3);

    world.fault(Script::next(1, Fault::Silent)).unwrap();
    shop.accepted(&hello("+34600999888")).await;
    assert_eq!(shop.statuses(), [""; 0]);

    for person in 0..40 {
        shop.pass(1_000);
        shop.accepted(&hello(&format!("+346000001{person:02}"))).await;
    }
    let batches = world.take_webhook_batches(1000);
    assert_eq!(batches.len(), 1);
    let batch: Value = serde_json::from_slice(&batches[0].body).unwrap();
    let value = batch.pointer("/entry/0/changes/0/value").unwrap();
    assert_eq!(value["statuses"].as_array().unwrap().len(), 120);
    assert_eq!(value["contacts"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn a_share_of_updates_is_lost() {
    let shop = Shop::open().await;
    shop.sim.world().set_webhooks(|rules| rules.drop_permille = 500);
    for person in 0..60 {
        shop.pass(1_000);
        shop.accepted(&hello(&format!("+346000000{person:02}"))).await;
    }
    let came = shop.statuses().len();
    assert!((60..120).contains(&came), "{came} of 180");
}

#[tokio::test]
async fn a_scripted_failure_is_reported_later() {
    let shop = Shop::open().await;
    shop.sim.world().fault(Script::next(1, Fault::FailLater { code: 131049 })).unwrap();
    shop.accepted(&shipping(ANA)).await;
    let report = &shop.reported()[0];
    let status = report.pointer("/entry/0/changes/0/value/statuses/0").unwrap();
    assert_eq!(status["status"], "failed");
    assert_eq!(status["errors"][0]["code"], 131049);
    assert_eq!(status["biz_opaque_callback_data"], "att:1");
    assert!(status.get("recipient_user_id").is_none());
}

#[tokio::test]
async fn news_of_a_template_go_to_the_account() {
    let shop = Shop::open().await;
    shop.sim.world().set_template_status("order_shipped", "es_ES", Approval::Paused);
    let report = &shop.reported()[0];
    assert_eq!(report["entry"][0]["time"], NOON / 1_000);
    let change = &report["entry"][0]["changes"][0];
    assert_eq!(change["field"], "message_template_status_update");
    assert_eq!(change["value"]["event"], "PAUSED");
    assert_eq!(change["value"]["message_template_name"], "order_shipped");
    assert_eq!(change["value"]["message_template_language"], "es_ES");
    assert_eq!(change["value"]["other_info"]["title"], "FIRST_PAUSE");
    assert!(change["value"]["message_template_id"].is_u64());

    shop.sim.world().news("account_update", json!({"event": "ACCOUNT_RESTRICTION"}));
    assert!(shop.sim.world().trouble(NUMBER, 130429));
    let reports = shop.reported();
    assert_eq!(reports[0]["entry"][0]["changes"][0]["field"], "account_update");
    assert_eq!(reports[1].pointer("/entry/0/changes/0/value/errors/0/code").unwrap(), 130429);
}

/// A receiver of webhooks, which refuses as many as it is told.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Inbox>>);

#[derive(Default)]
struct Inbox {
    refuse: usize,
    got: Vec<(Bytes, String)>,
    token: String,
}

impl Receiver {
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks/main", listener.local_addr().unwrap());
        let router = Router::new().route("/webhooks/main", get(challenge).post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn bodies(&self) -> Vec<Value> {
        self.0.lock().unwrap().got.iter().map(|(body, _)| serde_json::from_slice(body).unwrap()).collect()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut inbox = receiver.0.lock().unwrap();
    if inbox.refuse > 0 {
        inbox.refuse -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    inbox.got.push((body, headers["x-hub-signature-256"].to_str().unwrap().to_owned()));
    StatusCode::OK
}

async fn challenge(
    State(receiver): State<Receiver>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Result<String, StatusCode> {
    let good = query["hub.mode"] == "subscribe" && query["hub.verify_token"] == receiver.0.lock().unwrap().token;
    if good { Ok(query["hub.challenge"].clone()) } else { Err(StatusCode::FORBIDDEN) }
}

#[tokio::test]
async fn webhooks_are_posted_signed_and_again_until_they_are_taken() {
    let receiver = Receiver::default();
    receiver.0.lock().unwrap().refuse = 2;
    let url = receiver.listen().await;
    let shop = Shop::open_with(|options| {
        options.manual_webhooks = false;
        options.webhooks.url = Some(url);
        options.webhooks.secret = "geheim".into();
        options.webhooks.retry_ms = vec![0, 1, 1, 1];
        (options.webhooks.sent_ms, options.webhooks.delivered_ms, options.webhooks.read_ms) = (0, 1, 2);
    })
    .await;
    shop.accepted(&shipping(ANA)).await;
    assert!(shop.sim.drained(Duration::from_secs(10)).await);
    eventually("all three arrive", || shop.sim.world().counters().webhooks.delivered == 3).await;
    let tally = shop.sim.world().counters().webhooks;
    assert_eq!((tally.failed_posts, tally.given_up), (2, 0));
    for (body, signature) in &receiver.0.lock().unwrap().got {
        assert_eq!(*signature, sign("geheim", body));
    }
}

#[tokio::test]
async fn withheld_webhooks_come_when_the_channel_is_open_again() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let shop = Shop::open_with(|options| {
        options.manual_webhooks = false;
        options.webhooks.url = Some(url);
        options.webhooks.on = false;
        (options.webhooks.sent_ms, options.webhooks.delivered_ms, options.webhooks.read_ms) = (0, 0, 0);
    })
    .await;
    shop.accepted(&shipping(ANA)).await;
    assert_eq!(shop.sim.world().counters().webhooks.waiting, 3);
    assert!(receiver.bodies().is_empty());
    shop.sim.world().set_webhooks(|rules| rules.on = true);
    eventually("all three arrive", || shop.sim.world().counters().webhooks.delivered == 3).await;
    let together: usize = receiver
        .bodies()
        .iter()
        .map(|body| body.pointer("/entry/0/changes/0/value/statuses").unwrap().as_array().unwrap().len())
        .sum();
    assert_eq!(together, 3);
}

#[tokio::test]
async fn the_verification_call_wants_its_challenge_back() {
    let receiver = Receiver::default();
    receiver.0.lock().unwrap().token = "a token & more".into();
    let url = receiver.listen().await;
    let shop = Shop::open().await;
    assert!(shop.sim.verify_webhook().await.is_err(), "there is no address yet");
    shop.sim.world().set_webhooks(|rules| rules.url = Some(url));
    assert_eq!(shop.sim.verify_webhook().await, Ok(false));
    shop.sim.world().set_webhooks(|rules| rules.verify_token = "a token & more".into());
    assert_eq!(shop.sim.verify_webhook().await, Ok(true));
}
