//! What a shop's backend asks of us: opt-ins, refusals, links to preferences.

use recado::{cli::keys, db::keys::Role};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::street::Street;
use crate::house::ANA;

struct Backend<'a> {
    street: &'a Street,
    key: String,
}

impl Backend<'_> {
    async fn with(street: &Street, role: Role) -> Backend<'_> {
        let key = keys::create(&street.house.pools, role.as_str(), role).await.unwrap();
        Backend { street, key }
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let key = format!("Bearer {}", self.key);
        let page = self.street.post_json(path, body, &[("authorization", &key)]).await;
        (page.status, serde_json::from_str(&page.text).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let key = format!("Bearer {}", self.key);
        let page = self.street.get_with(path, &[("authorization", &key)]).await;
        (page.status, serde_json::from_str(&page.text).unwrap())
    }
}

#[tokio::test]
async fn the_backend_asks_the_person_taps_and_the_backend_sees_it() {
    let street = Street::open().await;
    let shop = Backend::with(&street, Role::Operator).await;
    let wanted = json!({"form": "pedidos", "phone": "600 111 222", "locale": "es_MX", "purposes": ["orders"],
        "evidence": {"order": "A-1042", "address": "203.0.113.7"}});
    let (status, told) = shop.post("/v1/opt-ins", &wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
    let (id, message) = (told["id"].as_str().unwrap(), told["whatsapp_message"].as_str().unwrap());
    assert!(told["whatsapp_url"].as_str().unwrap().starts_with("https://wa.me/34600000000?text=ALTA%20"), "{told}");
    let waiting = street.get(told["wait_url"].as_str().unwrap()).await;
    assert_eq!(waiting.prepared(), message, "the page that waits offers the same message");
    assert_eq!(shop.get(&format!("/v1/opt-ins/{id}")).await.1["state"], "pending");

    street.writes(ANA, message).await;

    assert_eq!(shop.get(&format!("/v1/opt-ins/{id}")).await.1["state"], "confirmed");
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    assert_eq!(street.house.consent(ANA, "shipping").await, None, "that was not asked for");
    let proof = "select count(*) from consent_entries where act = 'asked' and payload -> 'from' -> 'evidence' ->> 'order' = 'A-1042'";
    assert_eq!(street.house.count(proof).await, 1, "what the shop knows is evidence");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nobody_is_asked() {
    let street = Street::open().await;
    let shop = Backend::with(&street, Role::Operator).await;
    for (wrong, status, says) in [
        (json!({"form": "nobody", "phone": ANA}), StatusCode::NOT_FOUND, "no form of this name"),
        (json!({"form": "pedidos", "phone": "12"}), StatusCode::UNPROCESSABLE_ENTITY, "phone"),
        (
            json!({"form": "pedidos", "phone": ANA, "purposes": ["spam"]}),
            StatusCode::UNPROCESSABLE_ENTITY,
            "orders, shipping",
        ),
        (
            json!({"form": "pedidos", "phone": ANA, "purposes": []}),
            StatusCode::UNPROCESSABLE_ENTITY,
            "orders, shipping",
        ),
        (json!({"form": "pedidos", "phone": ANA, "way": "pigeon"}), StatusCode::UNPROCESSABLE_ENTITY, "way"),
        (json!({"form": "uno", "phone": ANA, "way": "sms"}), StatusCode::UNPROCESSABLE_ENTITY, "way"),
        (json!({"form": "pedidos", "phone": ANA, "fone": 1}), StatusCode::BAD_REQUEST, "form and phone"),
    ] {
        let (answered, problem) = shop.post("/v1/opt-ins", &wrong).await;
        assert_eq!(answered, status, "{wrong}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{wrong}: {problem}");
    }
    assert_eq!(street.house.count("select count(*) from opt_ins").await, 0);
    assert_eq!(shop.get("/v1/opt-ins/00000000-0000-0000-0000-000000000000").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_no_by_the_backend_counts_from_the_next_decision_on() {
    let street = Street::open().await;
    street.house.agreed().await;
    street.house.tell(ANA, recado::domain::ledger::Act::Imported, "shipping").await;
    let shop = Backend::with(&street, Role::Operator).await;
    street.house.advance(60);
    let order = street.house.order(ANA).await;
    let one = json!({"phone": "+34 600 111 222", "purposes": ["orders"], "reason": "told the shop on the phone"});
    assert_eq!(shop.post("/v1/consents/revoke", &one).await.0, StatusCode::OK);
    assert!(street.house.claim().await.go.is_empty());
    assert_eq!(street.house.stand(order).await.reason.as_deref(), Some("consent_revoked"));
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("granted"));
    let all = json!({"phone": ANA, "reason": "told the shop on the phone"});
    assert_eq!(shop.post("/v1/consents/revoke", &all).await.0, StatusCode::OK);
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("revoked"));
    for (wrong, status) in [
        (json!({"phone": ANA}), StatusCode::BAD_REQUEST),
        (json!({"phone": ANA, "reason": " "}), StatusCode::BAD_REQUEST),
        (json!({"phone": "600111222", "reason": "x"}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"phone": ANA, "purposes": ["Orders"], "reason": "x"}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"phone": ANA, "purposes": ["orders", ""], "reason": "x"}), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(shop.post("/v1/consents/revoke", &wrong).await.0, status, "{wrong}");
    }
}

#[tokio::test]
async fn a_link_to_the_preferences_for_the_shops_account_page() {
    let street = Street::open().await;
    street.house.agreed().await;
    let shop = Backend::with(&street, Role::Operator).await;
    let (status, told) = shop.post("/v1/preferences-links", &json!({"phone": ANA})).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
    let page = street.get(told["url"].as_str().unwrap()).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("Lo recibes"), "{}", page.text);
    let unknown = shop.post("/v1/preferences-links", &json!({"phone": "+34600999888"})).await.0;
    assert_eq!(unknown, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_may_only_look_asks_nobody() {
    let street = Street::open().await;
    street.house.agreed().await;
    let viewer = Backend::with(&street, Role::Viewer).await;
    let stranger = Backend { street: &street, key: "made-up".to_owned() };
    for (path, body) in [
        ("/v1/opt-ins", json!({"form": "pedidos", "phone": ANA})),
        ("/v1/consents/revoke", json!({"phone": ANA, "reason": "x"})),
        ("/v1/preferences-links", json!({"phone": ANA})),
    ] {
        assert_eq!(viewer.post(path, &body).await.0, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(stranger.post(path, &body).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}
