//! The questions that a business asks about its numbers, templates and messages.

use serde_json::json;

use super::*;
use crate::sim::Approval;

#[tokio::test]
async fn a_number_shows_the_fields_that_are_asked_for() {
    let shop = Shop::open().await;
    let (_, number) = shop.get(&format!("/v25.0/{NUMBER}")).await;
    assert_eq!(
        number,
        json!({"id": NUMBER, "display_phone_number": "+1 555 000 1111", "verified_name": "Tienda Prueba",
            "quality_rating": "GREEN"})
    );
    let fields = "status,throughput,health_status,whatsapp_business_manager_messaging_limit";
    let (_, number) = shop.get(&format!("/v25.0/{NUMBER}?fields={fields}")).await;
    assert_eq!((&number["status"], &number["throughput"]["level"]), (&json!("CONNECTED"), &json!("STANDARD")));
    assert_eq!(number["health_status"]["can_send_message"], "AVAILABLE");
    assert_eq!(number["whatsapp_business_manager_messaging_limit"], "TIER_UNLIMITED");

    let (status, answer) = shop.get(&format!("/v25.0/{NUMBER}?fields=colour")).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(100)));
    let (status, _) = shop.get(&format!("/v23.0/{NUMBER}?fields=whatsapp_business_manager_messaging_limit")).await;
    assert_eq!(status, 400, "the field came with v24");
    assert_eq!(shop.get(&format!("/latest/{NUMBER}")).await.0, 400);
    assert_eq!(shop.get("/v25.0/999").await.1["error"]["error_subcode"], 33);
}

#[tokio::test]
async fn what_stands_in_a_numbers_way_is_told() {
    let shop = Shop::open().await;
    let ask = format!("/v25.0/{NUMBER}?fields=health_status,name_status,status");
    shop.sim.world().change_sender(NUMBER, |sender| sender.obstacle = Some(crate::sim::Obstacle::default()));
    let (_, number) = shop.get(&ask).await;
    assert_eq!(number["health_status"]["can_send_message"], "BLOCKED");
    assert_eq!(number["health_status"]["entities"][1]["errors"][0]["error_code"], 141_006);
    assert_eq!((&number["status"], &number["name_status"]), (&json!("CONNECTED"), &json!("APPROVED")));
    shop.sim.world().change_sender(NUMBER, |sender| {
        sender.obstacle = None;
        sender.status = "RESTRICTED".into();
    });
    assert_eq!(shop.get(&ask).await.1["health_status"]["entities"][0]["can_send_message"], "BLOCKED");
}

#[tokio::test]
async fn the_token_the_account_and_the_apps_webhook_can_be_asked() {
    let shop = Shop::open().await;
    let (_, told) = shop.get("/v25.0/debug_token?input_token=sim-token").await;
    let data = &told["data"];
    assert_eq!(
        (&data["is_valid"], &data["expires_at"], &data["type"]),
        (&json!(true), &json!(0), &json!("SYSTEM_USER"))
    );
    assert_eq!(shop.get("/v25.0/debug_token?input_token=other").await.1["data"]["is_valid"], false);
    let (_, account) =
        shop.get(&format!("/v25.0/{WABA}?fields=account_review_status,business_verification_status")).await;
    assert_eq!(account["business_verification_status"], "verified");

    // An app's own matters are told to who has its secret.
    let app = data["app_id"].as_str().unwrap();
    let url = format!("{}/v25.0/{app}/subscriptions", shop.sim.url());
    let ask = |token: String| shop.client.get(&url).bearer_auth(token).send();
    assert_eq!(ask("sim-token".to_owned()).await.unwrap().status().as_u16(), 401);
    let told = async || {
        let answer = ask(format!("{app}|sim-app-secret")).await.unwrap();
        serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()
    };
    assert_eq!(told().await["data"], json!([]), "no webhook is set up");
    shop.sim.world().set_webhooks(|rules| rules.url = Some("https://recado.example/webhooks/main".into()));
    assert_eq!(told().await["data"][0]["callback_url"], "https://recado.example/webhooks/main");
    assert_eq!(told().await["data"][0]["fields"][0]["name"], "messages");
}

#[tokio::test]
async fn templates_are_listed_page_by_page() {
    let shop = Shop::open().await;
    shop.sim.world().set_template_status("summer", "en", Approval::Paused);
    let (_, page) = shop.get(&format!("/v25.0/{WABA}/message_templates?limit=3&fields=name,status,language")).await;
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    assert_eq!(page["data"][0]["name"], "greeting");
    assert!(page["data"][0].get("components").is_none());
    assert!(page["paging"]["next"].is_string());
    let after = page["paging"]["cursors"]["after"].as_str().unwrap();
    let (_, rest) = shop.get(&format!("/v25.0/{WABA}/message_templates?limit=3&after={after}")).await;
    assert_eq!(rest["data"][0]["name"], "summer");
    assert_eq!(rest["data"][0]["components"][0]["type"], "BODY");
    assert!(rest["paging"].get("next").is_none());
    let (_, wrong) = shop.get(&format!("/v25.0/{WABA}/message_templates?after=nonsense")).await;
    assert_eq!(wrong["error"]["code"], 131059);

    let (_, paused) = shop.get(&format!("/v25.0/{WABA}/message_templates?status=PAUSED")).await;
    assert_eq!(paused["data"].as_array().unwrap().len(), 1);
    let (_, one) = shop.get(&format!("/v25.0/{WABA}/message_templates?name=order_shipped&language=es_ES")).await;
    let id = one["data"][0]["id"].as_str().unwrap();
    assert_eq!(shop.get(&format!("/v25.0/{id}")).await.1["name"], "order_shipped");
}

#[tokio::test]
async fn a_new_template_waits_for_approval() {
    let shop = Shop::open().await;
    let create = |body: Value| {
        shop.client
            .post(format!("{}/v25.0/{WABA}/message_templates", shop.sim.url()))
            .header("authorization", "Bearer sim-token")
            .body(body.to_string())
            .send()
    };
    let mut template = greeting();
    assert_eq!(create(template.clone()).await.unwrap().status().as_u16(), 400, "it is there already");
    template["name"] = json!("greeting_2");
    let answer: Value = serde_json::from_str(&create(template).await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!((&answer["status"], &answer["category"]), (&json!("PENDING"), &json!("UTILITY")));
    let mut body = hello(ANA);
    body["template"]["name"] = json!("greeting_2");
    assert_eq!(shop.refused(&body).await, (400, 132001));
    shop.sim.world().set_template_status("greeting_2", "es", Approval::Approved);
    shop.accepted(&body).await;
}

#[tokio::test]
async fn templates_that_meta_would_refuse_are_refused() {
    let shop = Shop::open().await;
    let with = |key: &str, value: Value| {
        let mut template = greeting();
        template[key] = value;
        template
    };
    let body = |text: &str| json!([{"type": "BODY", "text": text}]);
    for wrong in [
        with("name", json!("Greeting")),
        with("category", json!("TRANSACTIONAL")),
        with("components", json!([])),
        with("components", body("")),
        with("components", body(&"x".repeat(1025))),
        with("components", body("Hola {{2}}.")),
        with("components", body("Hola {{nombre}}.")),
        with("components", json!([{"type": "BODY", "text": "Hola"}, {"type": "FOOTER", "text": "{{1}}"}])),
        with("status", json!("GREAT")),
    ] {
        assert!(shop.sim.world().add_template(&wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_subscription_and_the_history_of_messages_can_be_asked() {
    let shop = Shop::open().await;
    let (_, apps) = shop.get(&format!("/v25.0/{WABA}/subscribed_apps")).await;
    assert_eq!(apps["data"].as_array().unwrap().len(), 1);

    let wamid = shop.accepted(&hello(ANA)).await;
    shop.accepted(&hello(ANA)).await;
    shop.pass(300);
    let (_, all) = shop.get(&format!("/v25.0/{NUMBER}/message_history")).await;
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    assert!(all["data"][0].get("events").is_none());
    let encoded: String = wamid.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/v25.0/{NUMBER}/message_history?message_id={encoded}&fields=id,message_id,events");
    let (_, one) = shop.get(&path).await;
    let events = one["data"][0]["events"]["data"].as_array().unwrap();
    let seen: Vec<&str> = events.iter().map(|event| event["delivery_status"].as_str().unwrap()).collect();
    assert_eq!(seen, ["SENT", "DELIVERED"], "it is not read yet");
}

/// Posts to the management API; gives the status and the answer.
async fn post(shop: &Shop, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}/v25.0/{path}", shop.sim.url());
    let asked = shop.client.post(url).header("authorization", "Bearer sim-token").body(body.to_string());
    let answer = asked.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

fn another(name: &str, text: &str) -> Value {
    let mut template = greeting();
    template["name"] = name.into();
    template["components"] = json!([{"type": "BODY", "text": text}]);
    template
}

#[tokio::test]
async fn a_review_ends_by_itself_if_it_may() {
    let shop = Shop::open().await;
    shop.sim.world().review_after(Some(1_000));
    let (_, made) = post(&shop, &format!("{WABA}/message_templates"), &another("thanks", "Gracias por todo.")).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(shop.get(&format!("/v25.0/{id}")).await.1["status"], "PENDING");
    let mut body = hello(ANA);
    body["template"] = json!({"name": "thanks", "language": {"code": "es"}});
    assert_eq!(shop.refused(&body).await, (400, 132001));
    shop.pass(1_001);
    shop.accepted(&body).await;
    assert_eq!(shop.get(&format!("/v25.0/{id}")).await.1["status"], "APPROVED");
}

#[tokio::test]
async fn an_approved_template_is_edited_once_a_day_and_reviewed_again() {
    let shop = Shop::open().await;
    let (_, made) = post(&shop, &format!("{WABA}/message_templates"), &another("thanks", "Gracias.")).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let says = |text: &str| json!({"components": [{"type": "BODY", "text": text}]});
    assert_eq!(post(&shop, &id, &says("Muchas gracias.")).await.0, 400, "it is under review");
    let world = shop.sim.world();
    world.set_template_status("thanks", "es", Approval::Approved);
    let mut other = says("Muchas gracias.");
    other["category"] = json!("MARKETING");
    assert_eq!(post(&shop, &id, &other).await.0, 400, "the category stays");
    assert_eq!(post(&shop, &id, &says("Muchas gracias.")).await, (200, json!({"success": true})));
    let (_, now) = shop.get(&format!("/v25.0/{id}")).await;
    assert_eq!((&now["status"], &now["components"][0]["text"]), (&json!("PENDING"), &json!("Muchas gracias.")));
    world.set_template_status("thanks", "es", Approval::Approved);
    assert_eq!(post(&shop, &id, &says("Gracias otra vez.")).await.0, 400, "once in 24 hours");
    shop.pass(24 * 3_600_000);
    assert_eq!(post(&shop, &id, &says("Gracias otra vez.")).await.0, 200);
    world.set_template_status("thanks", "es", Approval::Rejected);
    assert_eq!(post(&shop, &id, &other).await.0, 200, "what was rejected may change as it likes");
}

#[tokio::test]
async fn a_deleted_name_is_locked_and_a_pause_can_be_ended() {
    let shop = Shop::open().await;
    let world = shop.sim.world();
    world.count_new_templates_as(Some("MARKETING"));
    let list = format!("{WABA}/message_templates");
    let (_, made) = post(&shop, &list, &another("thanks", "Gracias.")).await;
    assert_eq!(made["category"], "MARKETING");
    let id = made["id"].as_str().unwrap();
    world.set_template_status("thanks", "es", Approval::Paused);
    assert_eq!(post(&shop, &format!("{id}/unpause"), &json!({})).await.0, 200);
    assert_eq!(post(&shop, &format!("{id}/unpause"), &json!({})).await.0, 400);
    let url = format!("{}/v25.0/{list}?name=thanks", shop.sim.url());
    let delete = || shop.client.delete(&url).header("authorization", "Bearer sim-token").send();
    assert_eq!(delete().await.unwrap().status().as_u16(), 200);
    assert_eq!(delete().await.unwrap().status().as_u16(), 400);
    assert_eq!(post(&shop, &list, &another("thanks", "Gracias.")).await.1["error"]["error_subcode"], 2_388_023);
    shop.pass(30 * 24 * 3_600_000 + 1);
    assert_eq!(post(&shop, &list, &another("thanks", "Gracias.")).await.0, 200);
}
