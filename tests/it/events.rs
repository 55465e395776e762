//! `POST /v1/events`: a producer without a broker meets the same inbox.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use recado::db::keys::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::doors::hall::{Answer, Hall};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

fn order(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": "order.confirmed", "subject": format!("order:{id}"),
        "data": {
            "customer": {"name": "Ana", "phone": "+34600111222", "locale": "es"},
            "order": {"number": id, "total": {"amount": "59.90", "currency": "EUR"}, "url": "https://shop.example/o/1"},
        },
    })
}

async fn bring(hall: &Hall, key: &str, body: &Value) -> Answer {
    hall.bring("/v1/events", key, &[STRUCTURED], body.to_string()).await
}

async fn rows(hall: &Hall, table: &str) -> String {
    hall.ask(&format!("select count(*)::text from {table}")).await.unwrap()
}

fn verdicts(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let answer = answer.json();
    let events = answer["events"].as_array().unwrap();
    events.iter().map(|event| event["verdict"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_event_that_is_brought_is_in_the_inbox_and_counts_once() {
    let hall = Hall::open().await;
    let producer = hall.key(Role::Producer).await;
    let first = bring(&hall, &producer, &order("1001")).await;
    assert_eq!(verdicts(&first), ["accepted"]);
    let (answer, id) = (first.json(), hall.ask("select id::text from notifications").await.unwrap());
    assert_eq!(
        answer["events"][0],
        json!({"verdict": "accepted", "source": "/shop", "id": "1001", "notifications": [id]})
    );
    assert_eq!(verdicts(&bring(&hall, &producer, &order("1001")).await), ["duplicate"]);
    let mut other = order("1001");
    other["data"]["customer"]["name"] = "Eva".into();
    assert_eq!(verdicts(&bring(&hall, &producer, &other).await), ["conflict"]);
    let mut unwanted = order("1002");
    unwanted["type"] = "nobody.wants".into();
    let ignored = bring(&hall, &producer, &unwanted).await;
    assert_eq!(
        (verdicts(&ignored), ignored.json()["events"][0]["why"].as_str()),
        (vec!["ignored".into()], Some("unknown_type"))
    );
    assert_eq!((rows(&hall, "notifications").await, rows(&hall, "inbox_conflicts").await), ("1".into(), "1".into()));
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_kept() {
    let hall = Hall::open().await;
    let producer = hall.key(Role::Producer).await;
    let mut nameless = order("1");
    nameless.as_object_mut().unwrap().remove("id");
    let refused = bring(&hall, &producer, &nameless).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = refused.json();
    assert_eq!(
        (told["reason"].as_str(), told["detail"].as_str()),
        (Some("missing_attribute"), Some("The attribute id is missing."))
    );
    let kept =
        hall.ask("select id || ' ' || exchange || ' ' || routing_key || ' ' || reason from rejected_events").await;
    assert_eq!(
        kept.unwrap(),
        format!("{} http order.confirmed missing_attribute", told["rejected_event"].as_str().unwrap())
    );

    let large = order(&"x".repeat(20_000));
    let refused = bring(&hall, &producer, &large).await;
    assert_eq!((refused.status, refused.json()["reason"].as_str()), (StatusCode::PAYLOAD_TOO_LARGE, Some("too_large")));
    assert_eq!(rows(&hall, "rejected_events where not whole").await, "1");
    let larger = order(&"x".repeat(100_000));
    assert_eq!(bring(&hall, &producer, &larger).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let form =
        hall.bring("/v1/events", &producer, &[("content-type", "application/x-www-form-urlencoded")], "a=b").await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(form.text().contains("application/cloudevents+json"), "{}", form.text());
    assert_eq!(rows(&hall, "rejected_events").await, "2");
}

#[tokio::test]
async fn a_batch_has_a_verdict_for_each() {
    let hall = Hall::open().await;
    let producer = hall.key(Role::Producer).await;
    let mut bad = order("3");
    bad["data"]["customer"]["phone"] = "12".into();
    let batch = json!([order("1"), order("2"), bad, order("1"), 7]);
    let answer = hall.bring("/v1/events", &producer, &[BATCH], batch.to_string()).await;
    assert_eq!(verdicts(&answer), ["accepted", "accepted", "rejected", "duplicate", "rejected"]);
    let answer = answer.json();
    assert_eq!(
        (answer["events"][2]["reason"].as_str(), answer["events"][4]["reason"].as_str()),
        (Some("bad_phone"), Some("not_an_object"))
    );
    assert!(!answer.to_string().contains("Ana"), "nothing personal");
    assert_eq!((rows(&hall, "notifications").await, rows(&hall, "rejected_events").await), ("2".into(), "2".into()));

    let none = hall.bring("/v1/events", &producer, &[BATCH], "[]").await;
    assert!(verdicts(&none).is_empty());
    let many = Value::Array(vec![json!(1); 1_001]);
    assert_eq!(
        hall.bring("/v1/events", &producer, &[BATCH], many.to_string()).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let no_list = hall.bring("/v1/events", &producer, &[BATCH], "nonsense").await;
    assert_eq!(
        (no_list.status, no_list.json()["reason"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("invalid_json"))
    );
}

#[tokio::test]
async fn attributes_may_stand_in_headers() {
    let hall = Hall::open().await;
    let producer = hall.key(Role::Producer).await;
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "n%C3%BAmero%201"),
        ("ce-source", "/shop"),
        ("ce-type", "order.confirmed"),
    ];
    let answer = hall.bring("/v1/events", &producer, &headers, order("1")["data"].to_string()).await;
    assert_eq!(verdicts(&answer), ["accepted"]);
    assert_eq!(hall.ask("select id from inbox").await.as_deref(), Some("número 1"));
    let missing = hall.bring("/v1/events", &producer, &headers[..3], "{}").await;
    assert_eq!(
        (missing.status, missing.json()["reason"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("missing_attribute"))
    );
    let kept = hall.ask("select headers ->> 'cloudEvents:id' from rejected_events").await;
    assert_eq!(kept.as_deref(), Some("número 1"), "it can be run again as it came");
}

#[tokio::test]
async fn who_may_bring_events() {
    let hall = Hall::open().await;
    assert_eq!(bring(&hall, "", &order("1")).await.status, StatusCode::UNAUTHORIZED);
    let viewer = hall.key(Role::Viewer).await;
    assert_eq!(bring(&hall, &viewer, &order("1")).await.status, StatusCode::FORBIDDEN);
    let operator = hall.key(Role::Operator).await;
    assert_eq!(verdicts(&bring(&hall, &operator, &order("1")).await), ["accepted"]);
    let again = [STRUCTURED, ("idempotency-key", "k")];
    let first = hall.bring("/v1/events", &operator, &again, order("2").to_string()).await;
    let second = hall.bring("/v1/events", &operator, &again, order("2").to_string()).await;
    assert_eq!(
        (verdicts(&first), first.text()),
        (vec!["accepted".into()], second.text()),
        "the first answer, not `duplicate`"
    );
}

#[tokio::test]
async fn without_a_database_nothing_is_taken_and_the_producer_is_told_to_come_again() {
    let hall = Hall::open().await;
    let producer = hall.key(Role::Producer).await;
    hall.sql("alter table inbox rename to elsewhere").await;
    let answer = bring(&hall, &producer, &order("1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("5")));
    hall.sql("alter table elsewhere rename to inbox").await;
    assert_eq!((rows(&hall, "notifications").await, rows(&hall, "contacts").await), ("0".into(), "0".into()));
    assert_eq!(verdicts(&bring(&hall, &producer, &order("1")).await), ["accepted"]);
}

fn signed(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"source-secret").unwrap();
    mac.update(body.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn what_cannot_be_genuine_is_refused_before_it_is_read() {
    let hall = Hall::open().await;
    let signed = ("X-Shopify-Hmac-Sha256", "bm90IGl0");
    let mut unsigned = hall.begin_post("/v1/events/shopify", &[], 60_000).await;
    let mut first = [0; 12];
    unsigned.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 401");
    let mut waits = hall.begin_post("/v1/events/shopify", &[signed], 4).await;
    waits.write_all(b"body").await.unwrap();
    let mut first = [0; 12];
    waits.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 401", "what may be genuine is read first");
}

#[tokio::test]
async fn shopify_can_send_its_webhooks_itself() {
    let hall = Hall::open().await;
    let body = include_str!("../fixtures/sources/shopify_orders_create.json");
    let signature = signed(body);
    let hook = async |topic: &str, signature: &str, body: &str| {
        let shop = ("x-shopify-shop-domain", "luna.myshopify.com");
        let headers = [
            ("content-type", "application/json"),
            ("x-shopify-topic", topic),
            ("x-shopify-hmac-sha256", signature),
            shop,
        ];
        hall.bring("/v1/events/shopify", "", &headers, body.to_owned()).await
    };
    let taken = hook("orders/create", &signature, body).await;
    assert_eq!(verdicts(&taken), ["accepted"], "{}", taken.text());
    assert_eq!(hall.ask("select source from inbox").await.as_deref(), Some("/shopify/luna.myshopify.com"));
    assert_eq!(verdicts(&hook("orders/create", &signature, body).await), ["duplicate"]);
    let unwanted = hook("products/update", &signature, body).await;
    assert_eq!(
        (verdicts(&unwanted), unwanted.json()["events"][0]["why"].as_str()),
        (vec!["ignored".into()], Some("unwanted_by_source"))
    );
    // It cannot mend what it sends, and would remove the webhook if it was refused again and again.
    assert_eq!(verdicts(&hook("orders/create", &signed("no JSON"), "no JSON").await), ["rejected"]);

    for wrong in ["", "bm90IGl0", &signed("other")] {
        assert_eq!(hook("orders/create", wrong, body).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(hall.bring("/v1/events/nobody", "", &[], "{}").await.status, StatusCode::NOT_FOUND);
    let producer = hall.key(Role::Producer).await;
    let by_key = hall.bring("/v1/events/shopify", &producer, &[("x-shopify-topic", "orders/create")], body).await;
    assert_eq!(verdicts(&by_key), ["accepted"], "of another shop, as it does not say of which");
    assert_eq!(hall.bring("/v1/events/shopify", &producer, &[], body).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn woocommerce_finds_somebody_there_when_it_asks() {
    let hall = Hall::open().await;
    let greeted = hall.bring("/v1/events/woocommerce", "", &[], "webhook_id=7").await;
    assert!(greeted.status.is_success() && verdicts(&greeted).is_empty());
    assert_eq!(
        hall.bring("/v1/events/woocommerce", "", &[], "webhook_id=7&x=1").await.status,
        StatusCode::UNAUTHORIZED
    );
    let signature = ("x-wc-webhook-signature", "bm90IGl0");
    assert_eq!(
        hall.bring("/v1/events/woocommerce", "", &[signature], "webhook_id=7").await.status,
        StatusCode::UNAUTHORIZED
    );
}
