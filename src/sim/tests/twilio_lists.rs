//! Twilio's lists of messages, and its Content API from draft to approval.

use reqwest::Method;
use serde_json::json;

use super::twilio::*;
use super::*;
use crate::sim::Stage;

impl Shop {
    async fn list(&self, query: &[(&str, &str)]) -> Value {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query);
        let (status, list) = self
            .ask(Method::GET, &format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?{}", text.finish()), None)
            .await;
        assert_eq!(status, 200, "{list}");
        list
    }
}

fn bodies(list: &Value) -> Vec<&str> {
    list["messages"].as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_list_has_both_directions_newest_first_and_is_filtered() {
    let shop = Shop::with_content().await;
    shop.taken(&by_content()).await;
    shop.pass(1_000);
    shop.taken(&[("To", ANA), ("From", SMS), ("Body", "uno")]).await;
    shop.pass(1_000);
    shop.sim.world().write_to(SMS, ANA, "dos").unwrap();
    shop.pass(24 * 3_600 * 1_000);
    shop.taken(&[("To", "+34600999888"), ("From", SMS), ("Body", "tres")]).await;
    shop.accepted(&hello(ANA)).await;
    let rendered = "Hola Ana, tu pedido de 12,50 € llega el 3 dic.";
    for (query, expected) in [
        (vec![], vec!["tres", "dos", "uno", rendered]),
        (vec![("To", ANA)], vec!["uno"]),
        (vec![("To", ANA_THERE), ("From", WHATSAPP)], vec![rendered]),
        (vec![("From", ANA)], vec!["dos"]),
        (vec![("DateSent", "2026-09-26")], vec!["dos", "uno", rendered]),
        (vec![("DateSent>", "2026-09-27")], vec![]),
        (vec![("DateSent<", "2026-09-26T00:00:00Z"), ("From", SMS)], vec!["uno"]),
    ] {
        assert_eq!(bodies(&shop.list(&query).await), expected, "{query:?}");
    }
    let list = shop.list(&[("To", ANA)]).await;
    let message = &list["messages"][0];
    assert_eq!((&message["status"], &message["price"]), (&json!("delivered"), &json!("-0.07500")));
    assert_eq!(message["date_sent"], "Sat, 26 Sep 2026 10:00:01 +0000");
    assert_eq!(shop.list(&[("From", ANA)]).await["messages"][0]["direction"], "inbound");
    let bad = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?DateSent=yesterday");
    assert_eq!(shop.ask(Method::GET, &bad, None).await.0, 400);
    let unknown = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/SM00000000000000000000000000000000.json");
    assert_eq!(shop.ask(Method::GET, &unknown, None).await.1["code"], 20404);
}

#[tokio::test]
async fn pages_follow_each_other_also_when_messages_come_between() {
    let shop = Shop::open().await;
    for body in ["1", "2", "3", "4", "5"] {
        shop.taken(&[("To", ANA), ("From", SMS), ("Body", body)]).await;
    }
    let mut seen = Vec::new();
    let mut page = shop.list(&[("To", ANA), ("PageSize", "2")]).await;
    loop {
        seen.extend(bodies(&page).into_iter().map(str::to_owned));
        shop.taken(&[("To", ANA), ("From", SMS), ("Body", "new")]).await;
        let Some(next) = page["next_page_uri"].as_str() else { break };
        page = shop.ask(Method::GET, next, None).await.1;
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
}

#[tokio::test]
async fn the_list_can_lag_behind() {
    let shop = Shop::open_with(|options| options.twilio.list_lag_ms = 5_000).await;
    shop.taken(&[("To", ANA), ("From", SMS), ("Body", "hola")]).await;
    assert!(bodies(&shop.list(&[]).await).is_empty());
    shop.pass(5_000);
    assert_eq!(bodies(&shop.list(&[]).await), ["hola"]);
}

#[tokio::test]
async fn a_price_is_null_until_some_time_after_the_message_was_sent() {
    let shop = Shop::open_with(|options| options.twilio.price_lag_ms = 60_000).await;
    let text = shop.taken(&[("To", ANA), ("From", SMS), ("Body", "hola")]).await;
    assert_eq!(text["price"], Value::Null);
    shop.pass(59_000);
    let shown = async || shop.list(&[]).await["messages"][0].clone();
    let message = shown().await;
    assert_eq!((&message["status"], &message["price"]), (&json!("delivered"), &Value::Null));
    shop.pass(2_000);
    let message = shown().await;
    assert_eq!((&message["price"], &message["price_unit"]), (&json!("-0.07500"), &json!("USD")));
}

fn draft() -> Value {
    json!({"friendly_name": "greeting_es", "language": "es", "variables": {"1": "Ana"},
        "types": {"twilio/text": {"body": "Hola {{1}}, gracias."}}})
}

#[tokio::test]
async fn content_is_drafted_changed_submitted_and_sent() {
    let shop = Shop::open().await;
    // Clients of Twilio's own send a null for each type that content has not.
    let mut first = draft();
    first["types"]["twilio/media"] = Value::Null;
    let (status, content) = shop.ask(Method::POST, "/v1/Content", Some(first)).await;
    assert_eq!(status, 201, "{content}");
    assert_eq!(content["types"], draft()["types"]);
    let sid = content["sid"].as_str().unwrap();
    assert!(sid.len() == 34 && sid.starts_with("HX"), "{sid}");
    let place = format!("/v1/Content/{sid}");
    assert_eq!(content["links"]["approval_fetch"], format!("{}{place}/ApprovalRequests", shop.sim.url()));
    assert_eq!(content["date_created"], "2026-09-26T10:00:00Z");
    let changed = json!({"variables": {"1": "Eva"}, "types": {"twilio/text": {"body": "Hola {{1}}, muchas gracias."}}});
    let (status, content) = shop.ask(Method::PUT, &place, Some(changed.clone())).await;
    assert_eq!((status, &content["types"]), (200, &changed["types"]));
    assert_eq!(content["friendly_name"], "greeting_es");

    let reviews = format!("{place}/ApprovalRequests");
    let (_, review) = shop.ask(Method::GET, &reviews, None).await;
    assert_eq!(review["whatsapp"]["status"], "unsubmitted");
    let asked = json!({"name": "greeting", "category": "UTILITY"});
    let (status, review) = shop.ask(Method::POST, &format!("{reviews}/whatsapp"), Some(asked.clone())).await;
    assert_eq!((status, &review["status"], &review["content_type"]), (201, &json!("received"), &json!("twilio/text")));
    assert_eq!(shop.ask(Method::POST, &format!("{reviews}/whatsapp"), Some(asked)).await.0, 409);
    assert_eq!(shop.ask(Method::PUT, &place, Some(changed)).await.0, 409);
    let (status, _) = shop.control("contents/stage", json!({"sid": sid, "stage": "approved"})).await;
    assert_eq!(status, 200);
    let (_, review) = shop.ask(Method::GET, &reviews, None).await;
    assert_eq!(review["whatsapp"]["status"], "approved");
    let (_, list) = shop.ask(Method::GET, "/v1/ContentAndApprovals?PageSize=10", None).await;
    assert_eq!(list["contents"][0]["approval_requests"]["name"], "greeting");
    let message = shop.taken(&with(by_content(), &[("ContentSid", sid), ("ContentVariables", "")])).await;
    assert_eq!(message["body"], "Hola Eva, muchas gracias.");
    assert_eq!(shop.ask(Method::DELETE, &place, None).await, (204, Value::Null));
    assert_eq!(shop.ask(Method::GET, &place, None).await.0, 404);
}

#[tokio::test]
async fn a_review_can_end_by_itself() {
    let shop = Shop::open().await;
    shop.sim.world().review_after(Some(60_000));
    let (_, content) = shop.ask(Method::POST, "/v1/Content", Some(draft())).await;
    let reviews = format!("/v1/Content/{}/ApprovalRequests", content["sid"].as_str().unwrap());
    let asked = json!({"name": "greeting", "category": "UTILITY"});
    assert_eq!(shop.ask(Method::POST, &format!("{reviews}/whatsapp"), Some(asked)).await.0, 201);
    let status = async || shop.ask(Method::GET, &reviews, None).await.1["whatsapp"]["status"].clone();
    assert_eq!(status().await, "received");
    shop.pass(60_000);
    assert_eq!(status().await, "approved");
}

#[tokio::test]
async fn content_that_cannot_be_is_refused() {
    let shop = Shop::open().await;
    let body = |body: &str| json!({"twilio/text": {"body": body}});
    for (key, value) in [
        ("language", Value::Null),
        ("types", Value::Null),
        ("types", json!({})),
        ("types", json!({"twilio/text": null})),
        ("types", json!({"twilio/letter": {"body": "Hola"}})),
        ("types", json!({"twilio/quick-reply": {"body": "Hola"}})),
        ("variables", json!({"1": 1})),
    ] {
        let mut content = draft();
        content[key] = value.clone();
        let (status, answer) = shop.ask(Method::POST, "/v1/Content", Some(content)).await;
        assert_eq!((status, &answer["code"]), (400, &json!(20422)), "{key} = {value}: {answer}");
    }
    for (key, value) in [
        ("types", body("{{1}}, hola")),
        ("types", body("Hola {{1}}")),
        ("types", body("Hola {{2}}, gracias.")),
        ("types", body("Hola {{name}}, gracias.")),
        ("types", body(&"x".repeat(1_025))),
        ("variables", json!({})),
    ] {
        let mut content = draft();
        content[key] = value.clone();
        let (status, made) = shop.ask(Method::POST, "/v1/Content", Some(content)).await;
        assert_eq!(status, 201, "{made}");
        let place = format!("/v1/Content/{}/ApprovalRequests/whatsapp", made["sid"].as_str().unwrap());
        let (status, answer) = shop.ask(Method::POST, &place, Some(json!({"name": "x", "category": "UTILITY"}))).await;
        assert_eq!((status, &answer["code"]), (400, &json!(20422)), "{key} = {value}: {answer}");
    }
    let review = "/v1/Content/HX00000000000000000000000000000001/ApprovalRequests/whatsapp";
    for asked in [json!({}), json!({"name": "No", "category": "UTILITY"}), json!({"name": "x", "category": "OTHER"})] {
        assert_eq!(shop.ask(Method::POST, review, Some(asked.clone())).await.0, 400, "{asked}");
    }
    assert_eq!(shop.ask(Method::PATCH, "/v1/Content", None).await.0, 405);
    assert_eq!(shop.ask(Method::GET, "/v1/Nothing", None).await.0, 404);
}

#[tokio::test]
async fn contents_come_in_pages() {
    let shop = Shop::open().await;
    for _ in 0..5 {
        shop.sim.world().add_content(&draft()).unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut page = shop.ask(Method::GET, "/v1/Content?PageSize=2", None).await.1;
    loop {
        for content in page["contents"].as_array().unwrap() {
            assert!(seen.insert(content["sid"].as_str().unwrap().to_owned()), "{page}");
        }
        let Some(next) = page["meta"]["next_page_url"].as_str() else { break };
        page = shop.ask(Method::GET, next.strip_prefix(&shop.sim.url()).expect("the same address"), None).await.1;
    }
    assert_eq!(seen.len(), 5);
    let stages = shop.sim.world().contents();
    assert!(stages.iter().all(|(_, language, review)| language == "es" && review.is_none()));
    assert!(!shop.sim.world().set_content_stage("HX0", Stage::Approved));
}

#[tokio::test]
async fn numbers_and_services_are_changed_from_outside() {
    let shop = Shop::open().await;
    let number = "numbers/whatsapp:%2B34600000009";
    assert_eq!(
        shop.control(number, json!({"service": SERVICE, "inbound_url": "https://shop.example/in"})).await.0,
        200
    );
    assert_eq!(shop.control(number, json!({"mood": "good"})).await.0, 400);
    assert_eq!(shop.control(&format!("services/{SERVICE}"), json!({"advanced_opt_out": true})).await.0, 200);
    assert_eq!(shop.control("contents", json!([content()])).await.1, json!({"sids": [SHIPPED]}));
    assert_eq!(shop.control("contents", json!({"language": "es"})).await.0, 400);
    let (_, state) = shop.get("/_sim/state").await;
    assert_eq!(state["twilio"]["numbers"].as_array().unwrap().len(), 3);
    assert_eq!(state["twilio"]["contents"][0]["review"]["status"], "approved");
    assert!(!state.to_string().contains("sim-auth-token"), "a token is not shown");
    let said = json!({"text": "BAJA", "sender": "whatsapp:+34600000009"});
    assert_eq!(shop.control(&format!("people/{ANA}/reply"), said).await.0, 200);
    assert_eq!(shop.posts()[0].1["OptOutType"], "STOP");
}
