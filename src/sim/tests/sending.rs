//! `POST /messages`: what is accepted, and what is refused with which code.

use serde_json::{Value, json};

use super::*;
use crate::sim::Approval;

#[tokio::test]
async fn a_template_is_accepted_and_remembered_as_the_person_reads_it() {
    let shop = Shop::open().await;
    let (status, answer) = shop.send(&shipping(ANA)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["messaging_product"], "whatsapp");
    assert_eq!(answer["contacts"], json!([{"input": "+34600111222", "wa_id": "34600111222"}]));
    assert_eq!(answer["messages"][0]["message_status"], "accepted");
    let wamid = answer["messages"][0]["id"].as_str().unwrap();
    assert!(wamid.starts_with("wamid.HBgL"), "{wamid}");

    let message = shop.sim.world().message(wamid).expect("the message is remembered");
    assert_eq!(message.text, "Hola Ana, tu pedido de 12,50 € llega el 3 dic.");
    assert_eq!(message.parameters, ["Ana", "12,50 €", "3 dic"]);
    let around = json!({"header": "Pedido #1234", "footer": "Tienda Prueba", "links": [
        {"text": "Seguir", "to": "https://tienda.example/track%2F1234"}]});
    assert_eq!(json!(message.frame), around);
    assert_eq!(message.tag.as_deref(), Some("att:1"));
    assert_eq!((message.to.as_str(), message.received_us), ("+34600111222", NOON * 1_000));
}

#[tokio::test]
async fn a_brazilian_ninth_digit_and_a_mexican_one_are_dropped_from_the_id() {
    let shop = Shop::open().await;
    for (dialled, id) in [
        ("+5541900000000", "554100000000"),
        ("+554100000000", "554100000000"),
        ("+5511900000000", "5511900000000"),
        ("+5215512345678", "525512345678"),
    ] {
        let (_, answer) = shop.send(&hello(dialled)).await;
        assert_eq!(answer["contacts"][0]["wa_id"], id, "{dialled}");
        assert_eq!(answer["contacts"][0]["input"], dialled);
    }
}

#[tokio::test]
async fn without_a_plus_the_message_goes_to_somebody_else() {
    let shop = Shop::open().await;
    shop.accepted(&hello("34600111222")).await;
    shop.accepted(&hello("+34 (600) 111-222")).await;
    let dialled: Vec<String> = shop.sim.world().accepted().iter().map(|message| message.to.clone()).collect();
    assert_eq!(dialled, ["+134600111222", "+34600111222"]);
}

#[tokio::test]
async fn only_the_numbers_own_token_may_send() {
    let mut shop = Shop::open_with(|options| options.senders.push(second_number())).await;
    shop.token = "nonsense";
    assert_eq!(shop.refused(&hello(ANA)).await, (401, 190));
    shop.token = "other-token";
    assert_eq!(shop.refused(&hello(ANA)).await, (403, 10));
    shop.token = "sim-token";
    shop.accepted(&hello(ANA)).await;
    let (status, answer) = shop.try_send_from("777", &hello(ANA)).await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["error"]["error_subcode"]), (400, &json!(33)));

    for (trouble, status) in [(190, 401), (0, 401), (131031, 403), (131048, 429)] {
        assert!(shop.sim.world().change_sender(NUMBER, |sender| sender.trouble = Some(trouble)));
        assert_eq!(shop.refused(&hello(ANA)).await, (status, u64::from(trouble)));
    }
}

#[tokio::test]
async fn only_an_approved_template_in_exactly_that_language_is_sent() {
    let shop = Shop::open().await;
    let in_language = |code: &str| {
        let mut body = hello(ANA);
        body["template"]["language"]["code"] = json!(code);
        body
    };
    assert_eq!(shop.refused(&in_language("es_ES")).await, (400, 132001));
    let mut unknown = hello(ANA);
    unknown["template"]["name"] = json!("nothing");
    assert_eq!(shop.refused(&unknown).await, (400, 132001));
    for (status, code) in [
        (Approval::Pending, 132001),
        (Approval::Rejected, 132001),
        (Approval::Paused, 132015),
        (Approval::Disabled, 132016),
    ] {
        assert!(shop.sim.world().set_template_status("greeting", "es", status));
        assert_eq!(shop.refused(&hello(ANA)).await, (400, code), "{status:?}");
    }
    assert!(shop.sim.world().set_template_status("greeting", "es", Approval::Approved));
    shop.accepted(&hello(ANA)).await;
}

#[tokio::test]
async fn components_must_keep_to_the_template() {
    let shop = Shop::open().await;
    let components = "/template/components";
    let cases: Vec<(&str, &str, Value, u64)> = vec![
        ("one parameter too few", "/1/parameters", json!([{"type": "text", "text": "Ana"}]), 132000),
        ("no header parameter", "/0/parameters", json!([]), 132000),
        ("an image in a text header", "/0/parameters/0", json!({"type": "image", "image": {"id": "1"}}), 132012),
        ("a parameter without type", "/1/parameters/0", json!({"text": "Ana"}), 131008),
        ("a text that is a number", "/1/parameters/0", json!({"type": "text", "text": 5}), 131009),
        (
            "a name in a positional template",
            "/1/parameters/0",
            json!({"type": "text", "text": "Ana", "parameter_name": "first_name"}),
            132012,
        ),
        ("a line break", "/1/parameters/0/text", json!("Ana\nB"), 132012),
        ("a tab", "/1/parameters/0/text", json!("Ana\tB"), 132012),
        ("five spaces", "/1/parameters/0/text", json!("Ana     B"), 132012),
        ("nothing", "/1/parameters/0/text", json!(""), 132012),
        ("only spaces", "/1/parameters/0/text", json!("  "), 132012),
        ("a body that gets too long", "/1/parameters/0/text", json!("x".repeat(1000)), 132005),
        ("a header that gets too long", "/0/parameters/0/text", json!("x".repeat(60)), 132005),
        ("an amount in decimals", "/1/parameters/1/currency/amount_1000", json!(12.5), 131009),
        ("a currency that is none", "/1/parameters/1/currency/code", json!("euro"), 131009),
        ("a button that is not there", "/2/index", json!("7"), 131009),
        ("an index that is no number", "/2/index", json!("first"), 131009),
        ("an index below nothing", "/2/index", json!(-1), 131009),
        ("a button of another kind", "/2/sub_type", json!("quick_reply"), 132012),
        ("a link without its suffix", "/2/parameters", json!([]), 131008),
        ("a suffix with spaces", "/2/parameters/0/text", json!("a b"), 131009),
        ("a payload that is too long", "/3/parameters/0/payload", json!("x".repeat(513)), 131009),
        ("the body twice", "/0/type", json!("body"), 131009),
        ("a component that does not exist", "/0/type", json!("sidebar"), 100),
    ];
    for (what, path, value, code) in cases {
        let mut body = shipping(ANA);
        *body.pointer_mut(&format!("{components}{path}")).unwrap() = value;
        assert_eq!(shop.refused(&body).await, (400, code), "{what}");
    }
    // The index is a string in Meta's prose and a number in some of its examples and clients.
    let mut body = shipping(ANA);
    *body.pointer_mut("/template/components/2/index").unwrap() = json!(0);
    shop.accepted(&body).await;
    // A link needs its component; a quick reply does not.
    let mut body = shipping(ANA);
    body["template"]["components"].as_array_mut().unwrap().remove(2);
    assert_eq!(shop.refused(&body).await, (400, 131008));
    let mut body = shipping(ANA);
    body["template"]["components"].as_array_mut().unwrap().remove(3);
    shop.accepted(&body).await;
    assert_eq!(shop.sim.world().accepted()[1].buttons[0].payload, "No recibir más");
}

#[tokio::test]
async fn named_parameters_come_in_any_order_and_all_of_them() {
    let shop = Shop::open().await;
    let with = |parameters: Value| {
        json!({"messaging_product": "whatsapp", "to": ANA, "type": "template", "template": {
            "name": "order_named", "language": {"code": "en"},
            "components": [{"type": "body", "parameters": parameters}]}})
    };
    let parameter = |name: &str, text: &str| json!({"type": "text", "parameter_name": name, "text": text});
    shop.accepted(&with(json!([parameter("order", "#1"), parameter("first_name", "Ana")]))).await;
    assert_eq!(shop.sim.world().accepted()[0].text, "Hi Ana, order #1 is confirmed.");
    for (parameters, code) in [
        (json!([parameter("order", "#1")]), 132000),
        (json!([parameter("order", "#1"), parameter("surname", "Ana")]), 132012),
        (json!([parameter("order", "#1"), parameter("order", "#1")]), 132012),
        (json!([parameter("order", "#1"), {"type": "text", "text": "Ana"}]), 132012),
    ] {
        assert_eq!(shop.refused(&with(parameters)).await, (400, code));
    }
}

#[tokio::test]
async fn the_envelope_of_a_request_is_checked() {
    let shop = Shop::open().await;
    let cases: Vec<(&str, Value, u64)> = vec![
        ("messaging_product", json!("sms"), 100),
        ("messaging_product", Value::Null, 100),
        ("to", Value::Null, 131008),
        ("to", json!(34600111222_u64), 131009),
        ("to", json!("ana@example.com"), 131009),
        ("to", json!("+15550001111"), 131021),
        ("type", json!("letter"), 100),
        ("type", json!("image"), 131051),
        ("template", Value::Null, 131008),
        ("recipient_type", json!("crowd"), 131009),
        ("biz_opaque_callback_data", json!("x".repeat(513)), 131009),
    ];
    for (key, value, code) in cases {
        let mut body = hello(ANA);
        body[key] = value.clone();
        assert_eq!(shop.refused(&body).await, (400, code), "{key} = {value}");
    }
    let mut body = hello(ANA);
    body["biz_opaque_callback_data"] = json!("é".repeat(512));
    shop.accepted(&body).await;
    assert_eq!(
        shop.refused(&json!({"messaging_product": "whatsapp", "status": "read", "message_id": "x"})).await.1,
        131051
    );

    let form = shop
        .client
        .post(format!("{}/v25.0/{NUMBER}/messages", shop.sim.url()))
        .header("authorization", "Bearer sim-token")
        .body(hello(ANA).to_string());
    assert_eq!(form.send().await.unwrap().status().as_u16(), 400, "a body that is not declared as JSON");
}

#[tokio::test]
async fn free_text_needs_the_window_that_a_person_opens_for_24_hours() {
    let shop = Shop::open().await;
    assert_eq!(shop.refused(&text(ANA, "hola")).await, (429, 131047));
    shop.sim.world().reply(ANA, "una pregunta").unwrap();
    let (_, answer) = shop.send(&text(ANA, "hola")).await;
    assert!(answer["messages"][0].get("message_status").is_none(), "only templates have one");
    assert_eq!(shop.refused(&text(ANA, &"x".repeat(4097))).await, (400, 100));
    shop.accepted(&text(ANA, &"ñ".repeat(4096))).await;
    shop.pass(24 * 60 * 60 * 1_000 - 1);
    shop.accepted(&text(ANA, "todavía")).await;
    shop.pass(1);
    assert_eq!(shop.refused(&text(ANA, "tarde")).await, (429, 131047));
}

#[tokio::test]
async fn a_number_sends_so_many_in_any_second_and_no_more() {
    let shop = Shop::open_with(|options| options.senders[0].mps = 5).await;
    for person in 0..5 {
        shop.accepted(&hello(&format!("+3460000000{person}"))).await;
        shop.pass(100);
    }
    assert_eq!(shop.refused(&hello(ANA)).await, (429, 130429));
    shop.pass(499);
    assert_eq!(shop.refused(&hello(ANA)).await, (429, 130429));
    shop.pass(1);
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.refused(&hello(ANA)).await, (429, 130429));
}

#[tokio::test]
async fn one_person_gets_a_burst_and_then_one_in_six_seconds() {
    let shop = Shop::open().await;
    for _ in 0..45 {
        shop.accepted(&hello(ANA)).await;
    }
    assert_eq!(shop.refused(&hello(ANA)).await, (429, 131056));
    shop.accepted(&hello("+34600999888")).await;
    shop.pass(5_999);
    assert_eq!(shop.refused(&hello(ANA)).await, (429, 131056));
    shop.pass(1);
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.refused(&hello(ANA)).await, (429, 131056));
}

#[tokio::test]
async fn who_cannot_be_reached_is_said_later_or_at_once() {
    let shop = Shop::open().await;
    let world = shop.sim.world();
    world.change_person(ANA, |ways| ways.on_whatsapp = false);
    shop.accepted(&shipping(ANA)).await;
    let report = &shop.reported()[0];
    let status = report.pointer("/entry/0/changes/0/value/statuses/0").unwrap();
    assert_eq!((&status["status"], &status["errors"][0]["code"]), (&json!("failed"), &json!(131026)));
    assert!(report.pointer("/entry/0/changes/0/value/contacts").is_none(), "a failure brings no contact");

    world.change_manners(|manners| manners.late.clear());
    assert_eq!(shop.refused(&shipping(ANA)).await, (400, 131026));

    world.change_sender(NUMBER, |sender| sender.only = Some(["15557654321".to_owned()].into()));
    assert_eq!(shop.refused(&hello("+34600999888")).await, (400, 131030));
}

#[tokio::test]
async fn a_user_id_is_an_address_too() {
    let shop = Shop::open().await;
    let user = shop.sim.world().person(ANA).user_id;
    assert!(user.starts_with("ES."), "{user}");
    let mut body = hello(ANA);
    body.as_object_mut().unwrap().remove("to");
    body["recipient"] = json!(user);
    let (_, answer) = shop.send(&body).await;
    assert_eq!(answer["contacts"], json!([{"input": user, "user_id": user}]));
    assert_eq!(shop.sim.world().accepted()[0].wa_id, "34600111222");
}

#[tokio::test]
async fn each_accepted_message_is_on_disk_when_it_is_answered() {
    let folder = std::env::temp_dir().join(format!("sim-ledger-{}", uuid::Uuid::now_v7()));
    let path = folder.join("accepted.jsonl");
    std::fs::create_dir(&folder).unwrap();
    let shop = Shop::open_with(|options| options.ledger = Some(path.clone())).await;
    for sent in 1..=3 {
        let wamid = shop.accepted(&shipping(ANA)).await;
        let ledger = std::fs::read_to_string(&path).unwrap();
        assert_eq!(ledger.lines().count(), sent);
        let line: Value = serde_json::from_str(ledger.lines().last().unwrap()).unwrap();
        assert_eq!(line["wamid"], json!(wamid));
        assert_eq!((&line["tag"], &line["to"]), (&json!("att:1"), &json!(ANA)));
        assert_eq!(line["parameters"], json!(["Ana", "12,50 €", "3 dic"]));
        assert_eq!(line["body_sha256"].as_str().unwrap().len(), 64);
    }
    shop.refused(&json!({})).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3, "a refusal leaves no line");
    std::fs::remove_dir_all(folder).unwrap();
}
