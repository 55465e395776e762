//! `Idempotency-Key`: whoever is not sure whether a write arrived sends it again.

use std::time::Duration;

use recado::db::{idempotency, keys::Role};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    doors::hall::{Answer, Hall},
    harness::until,
};

async fn hold(hall: &Hall, caller: &str, key: &str, reason: &str) -> Answer {
    let body = json!({"scope": "everything", "reason": reason}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    hall.bring("/v1/holds", caller, &headers, body).await
}

#[tokio::test]
async fn a_write_is_done_once_and_its_answer_given_again() {
    let hall = Hall::open().await;
    let operator = hall.key(Role::Operator).await;
    let first = hold(&hall, &operator, "k-1", "wrong prices").await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (StatusCode::CREATED, None), "{}", first.text());
    hall.sql("update holds set released_at = now(), released_by = 'x'").await;

    let again = hold(&hall, &operator, "k-1", "wrong prices").await;
    assert_eq!(
        (again.status, again.text()),
        (StatusCode::CREATED, first.text()),
        "word for word, though it would be another now"
    );
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(hall.ask("select count(*)::text from holds").await.as_deref(), Some("1"));

    let other = hold(&hall, &operator, "k-1", "another reason").await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.header("content-type"), Some("application/problem+json"));
    let admin = hall.key(Role::Admin).await;
    assert_eq!(
        hold(&hall, &admin, "k-1", "another reason").await.status,
        StatusCode::CREATED,
        "keys are each caller's own"
    );

    hall.sql("update idempotency set begun_at = now() - interval '25 hours'").await;
    hall.sql("update holds set released_at = now(), released_by = 'x'").await;
    let anew = hold(&hall, &operator, "k-1", "another reason").await;
    assert_eq!((anew.status, anew.header("idempotency-replayed")), (StatusCode::CREATED, None));
    assert_eq!(idempotency::forget(&hall.pools.ops, 100).await.unwrap(), 1, "the admin's, which is a day old");
}

#[tokio::test]
async fn two_at_once_are_one_and_the_other_is_told_to_ask_again() {
    let hall = Hall::open().await;
    let operator = hall.key(Role::Operator).await;
    let mut transaction = hall.pools.ops.begin().await.unwrap();
    sqlx::query("lock table holds").execute(&mut *transaction).await.unwrap();
    let (first, second) = tokio::join!(hold(&hall, &operator, "k-1", "x"), async {
        let begun = async || hall.ask("select count(*)::text from idempotency").await.as_deref() == Some("1");
        until("the first has begun", Duration::from_secs(10), begun).await;
        let second = hold(&hall, &operator, "k-1", "x").await;
        transaction.rollback().await.unwrap();
        second
    });
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CONFLICT));
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(hold(&hall, &operator, "k-1", "x").await.text(), first.text());
}

#[tokio::test]
async fn what_went_wrong_on_our_side_is_not_kept_and_bad_keys_are_named() {
    let hall = Hall::open().await;
    let operator = hall.key(Role::Operator).await;
    hall.sql("alter table holds rename to elsewhere").await;
    assert_eq!(hold(&hall, &operator, "k-1", "x").await.status, StatusCode::SERVICE_UNAVAILABLE);
    hall.sql("alter table elsewhere rename to holds").await;
    assert_eq!(hold(&hall, &operator, "k-1", "x").await.status, StatusCode::CREATED);

    assert_eq!(hold(&hall, &operator, "", "x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(hold(&hall, &operator, &"k".repeat(256), "x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(hold(&hall, "", "k-1", "x").await.status, StatusCode::UNAUTHORIZED);
    let viewer = hall.key(Role::Viewer).await;
    assert_eq!(hold(&hall, &viewer, "k-1", "x").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_kept_cannot_be_read_without_the_api_key() {
    let hall = Hall::open().await;
    let operator = hall.key(Role::Operator).await;
    assert_eq!(hold(&hall, &operator, "order-of-Ana", "moving house").await.status, StatusCode::CREATED);
    let kept = hall.ask("select encode(id || request || answer, 'escape') from idempotency").await.unwrap();
    assert!(kept.len() > 100 && !kept.contains("Ana") && !kept.contains("moving"), "{kept}");
}

#[tokio::test]
async fn a_producer_sees_nothing() {
    let hall = Hall::open().await;
    let producer = hall.key(Role::Producer).await;
    for path in ["/v1/notifications", "/v1/holds", "/v1/costs", "/v1/rejected-events", "/v1/senders"] {
        let answer = hall.read(path, &producer).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text().contains("POST /v1/events"), "{}", answer.text());
    }
}
