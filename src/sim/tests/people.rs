//! People: what they do, and how Meta tells of it.

use serde_json::json;

use super::*;
use crate::sim::Unable;

fn message(report: &Value) -> &Value {
    report.pointer("/entry/0/changes/0/value/messages/0").expect("an inbound message")
}

#[tokio::test]
async fn a_reply_comes_to_the_number_that_wrote_last() {
    let mut shop = Shop::open_with(|options| options.senders.push(second_number())).await;
    shop.token = "other-token";
    shop.try_send_from("200000000000003", &hello(ANA)).await.unwrap();
    shop.reported();
    let id = shop.sim.world().reply(ANA, "BAJA").unwrap();
    let report = &shop.reported()[0];
    assert_eq!(report.pointer("/entry/0/changes/0/value/metadata/phone_number_id").unwrap(), "200000000000003");
    let user = shop.sim.world().person(ANA).user_id;
    assert_eq!(
        *message(report),
        json!({"from": "34600111222", "from_user_id": user, "id": id, "timestamp": "1790416800", "type": "text",
            "text": {"body": "BAJA"}})
    );
}

#[tokio::test]
async fn a_pressed_button_brings_its_payload_and_the_message_it_was_on() {
    let shop = Shop::open().await;
    let wamid = shop.accepted(&shipping(ANA)).await;
    shop.reported();
    let world = shop.sim.world();
    world.press(ANA, &wamid, Some("optout:orders")).unwrap();
    let reports = shop.reported();
    let message = message(&reports[0]);
    assert_eq!(message["type"], "button");
    assert_eq!(message["button"], json!({"payload": "optout:orders", "text": "No recibir más"}));
    assert_eq!(message["context"], json!({"from": "15550001111", "id": wamid}));
    assert_eq!(world.press(ANA, &wamid, Some("other")), Err(Unable::NoButton));
    assert_eq!(world.press(ANA, "wamid.other", None), Err(Unable::NoMessage));
    assert_eq!(world.press("+34600999888", &wamid, None), Err(Unable::NoMessage));
}

#[tokio::test]
async fn who_blocks_us_leaves_messages_sent_forever() {
    let shop = Shop::open().await;
    shop.sim.world().block(ANA);
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.statuses(), ["sent"]);
    shop.sim.world().unblock(ANA);
    assert_eq!(shop.statuses(), [""; 0], "what was blocked never arrives");
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.statuses(), ["sent", "delivered", "read"]);
}

#[tokio::test]
async fn a_phone_that_is_off_gets_its_messages_when_it_is_on() {
    let shop = Shop::open().await;
    let world = shop.sim.world();
    world.change_person(ANA, |ways| ways.offline = true);
    shop.accepted(&shipping(ANA)).await;
    assert_eq!(shop.statuses(), ["sent"]);
    world.change_person(ANA, |ways| (ways.offline, ways.reads) = (false, false));
    assert_eq!(shop.statuses(), ["delivered"]);
}

#[tokio::test]
async fn an_open_chat_is_read_without_being_delivered() {
    let shop = Shop::open().await;
    shop.sim.world().change_person(ANA, |ways| ways.chat_open = true);
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.statuses(), ["sent", "read"]);
}

#[tokio::test]
async fn a_username_hides_the_phone() {
    let shop = Shop::open().await;
    shop.sim.world().change_person(ANA, |ways| ways.hidden = true);
    shop.accepted(&hello(ANA)).await;
    shop.sim.world().reply(ANA, "STOP").unwrap();
    for report in shop.reported() {
        assert!(!report.to_string().replace("wamid.", "").contains("34600111222"), "{report}");
        assert!(report.to_string().contains("ES."), "{report}");
    }
}

#[tokio::test]
async fn stopped_marketing_is_told_and_kept() {
    let shop = Shop::open().await;
    let world = shop.sim.world();
    world.prefer_marketing(ANA, false).unwrap();
    let report = &shop.reported()[0];
    let change = report.pointer("/entry/0/changes/0").unwrap();
    assert_eq!(change["field"], "user_preferences");
    assert_eq!(
        change["value"]["user_preferences"][0],
        json!({"wa_id": "34600111222", "detail": "User requested to stop marketing messages",
            "category": "marketing_messages", "value": "stop", "timestamp": NOON / 1_000})
    );
    let mut sale = hello(ANA);
    sale["template"] = json!({"name": "summer", "language": {"code": "en"}});
    assert_eq!(shop.refused(&sale).await, (400, 131050));
    shop.accepted(&hello(ANA)).await;
}

#[tokio::test]
async fn a_new_number_is_told_by_the_old_one() {
    let shop = Shop::open().await;
    let world = shop.sim.world();
    let before = world.person(ANA).user_id;
    world.change_number(ANA, "+34600333444").unwrap();
    let reports = shop.reported();
    assert!(reports[0].pointer("/entry/0/changes/0/value/contacts").is_none());
    let message = message(&reports[0]);
    assert_eq!((&message["type"], &message["from"]), (&json!("system"), &json!("34600111222")));
    assert_eq!(message["system"]["type"], "user_changed_number");
    assert_eq!(message["system"]["wa_id"], "34600333444");
    assert_eq!(message["system"]["previous_user_id"], json!(before));
    assert_ne!(message["system"]["user_id"], json!(before));
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.statuses(), ["failed"]);
}
