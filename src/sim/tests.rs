//! The simulator as Meta's client meets it: raw JSON over HTTP, and webhooks as bytes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Options, Sender, Sim};

mod control;
mod faults;
mod management;
mod people;
mod sending;
mod twilio;
mod twilio_calls;
mod twilio_lists;
mod webhooks;

const NUMBER: &str = "200000000000002";
const WABA: &str = "100000000000001";
const ANA: &str = "+34600111222";
const NOON: i64 = 1_790_416_800_000;

/// A business with a simulator of its own, a clock that stands still, and webhooks that are taken by hand.
struct Shop {
    sim: Sim,
    clock: Arc<AtomicI64>,
    client: reqwest::Client,
    token: &'static str,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(change: impl FnOnce(&mut Options)) -> Self {
        let clock = Arc::new(AtomicI64::new(NOON));
        let hand = Arc::clone(&clock);
        let mut options = Options {
            clock: Some(Arc::new(move || hand.load(Ordering::SeqCst))),
            seed: Some(7),
            manual_webhooks: true,
            templates: vec![shipped(), greeting(), named(), promotion()],
            ..Options::default()
        };
        change(&mut options);
        let sim = Sim::start(options).await.expect("the simulator starts");
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()
            .expect("a client");
        Self { sim, clock, client, token: "sim-token" }
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    async fn try_send(&self, body: &Value) -> reqwest::Result<(u16, String)> {
        self.try_send_from(NUMBER, body).await
    }

    async fn try_send_from(&self, number: &str, body: &Value) -> reqwest::Result<(u16, String)> {
        let answer = self
            .client
            .post(format!("{}/v25.0/{number}/messages", self.sim.url()))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    }

    async fn send(&self, body: &Value) -> (u16, Value) {
        let (status, text) = self.try_send(body).await.expect("an answer");
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    /// Sends what must be accepted; gives the message's id.
    async fn accepted(&self, body: &Value) -> String {
        let (status, answer) = self.send(body).await;
        assert_eq!(status, 200, "{answer}");
        answer["messages"][0]["id"].as_str().expect("an id").to_owned()
    }

    /// Sends what must be refused; gives the HTTP status and Meta's code.
    async fn refused(&self, body: &Value) -> (u16, u64) {
        let (status, answer) = self.send(body).await;
        (status, answer["error"]["code"].as_u64().unwrap_or_else(|| panic!("no refusal: {answer}")))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self
            .client
            .get(format!("{}{path}", self.sim.url()))
            .header("authorization", format!("Bearer {}", self.token))
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    async fn control(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self
            .client
            .post(format!("{}/_sim/{path}", self.sim.url()))
            .body(body.to_string())
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    /// What Meta reports, one update a webhook, parsed.
    fn reported(&self) -> Vec<Value> {
        let webhooks = self.sim.world().take_webhooks();
        webhooks.iter().map(|webhook| serde_json::from_slice(&webhook.body).expect("JSON")).collect()
    }

    /// The statuses that were reported, in order.
    fn statuses(&self) -> Vec<String> {
        self.reported()
            .iter()
            .filter_map(|webhook| webhook.pointer("/entry/0/changes/0/value/statuses/0/status")?.as_str())
            .map(str::to_owned)
            .collect()
    }
}

/// Waits for something that another task does; fails after ten seconds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(what, waiting).await;
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.unwrap_or_else(|_| panic!("too late: {what}"))
}

fn second_number() -> Sender {
    Sender {
        phone_number_id: "200000000000003".into(),
        display_phone_number: "+1 555 000 2222".into(),
        token: "other-token".into(),
        ..Sender::default()
    }
}

fn shipped() -> Value {
    json!({"name": "order_shipped", "language": "es_ES", "category": "UTILITY", "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Pedido {{1}}", "example": {"header_text": ["#1234"]}},
        {"type": "BODY", "text": "Hola {{1}}, tu pedido de {{2}} llega el {{3}}."},
        {"type": "FOOTER", "text": "Tienda Prueba"},
        {"type": "BUTTONS", "buttons": [
            {"type": "URL", "text": "Seguir", "url": "https://tienda.example/{{1}}"},
            {"type": "QUICK_REPLY", "text": "No recibir más"},
        ]},
    ]})
}

fn greeting() -> Value {
    json!({"name": "greeting", "language": "es", "category": "UTILITY", "components": [
        {"type": "BODY", "text": "Hola, gracias por tu compra."},
    ]})
}

fn named() -> Value {
    json!({"name": "order_named", "language": "en", "category": "UTILITY", "parameter_format": "NAMED", "components": [
        {"type": "BODY", "text": "Hi {{first_name}}, order {{order}} is confirmed."},
    ]})
}

fn promotion() -> Value {
    json!({"name": "summer", "language": "en", "category": "MARKETING", "components": [
        {"type": "BODY", "text": "Our sale is on."},
    ]})
}

/// A message without parameters.
fn hello(to: &str) -> Value {
    json!({"messaging_product": "whatsapp", "to": to, "type": "template",
        "template": {"name": "greeting", "language": {"code": "es"}}})
}

/// The full message: header, body with money and a date, both buttons, and a tag.
fn shipping(to: &str) -> Value {
    json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": to, "type": "template",
    "biz_opaque_callback_data": "att:1",
    "template": {"name": "order_shipped", "language": {"code": "es_ES"}, "components": [
        {"type": "header", "parameters": [{"type": "text", "text": "#1234"}]},
        {"type": "body", "parameters": [
            {"type": "text", "text": "Ana"},
            {"type": "currency", "currency": {"fallback_value": "12,50 €", "code": "EUR", "amount_1000": 12500}},
            {"type": "date_time", "date_time": {"fallback_value": "3 dic"}},
        ]},
        {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "track%2F1234"}]},
        {"type": "button", "sub_type": "quick_reply", "index": "1",
            "parameters": [{"type": "payload", "payload": "optout:orders"}]},
    ]}})
}

fn text(to: &str, body: &str) -> Value {
    json!({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": body}})
}
