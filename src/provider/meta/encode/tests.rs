use http::header;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::domain::notification::AttemptId;

fn sender() -> Meta {
    Meta::new("https://graph.facebook.com", "v25.0", "200000000000002", &SecretString::from("secret-token")).unwrap()
}

fn outgoing(filled: Filled) -> Outgoing {
    Outgoing {
        to: Recipient::Number("+34600111222".to_owned()),
        content: Content::Template {
            name: "order_shipped".to_owned(),
            language: "es_ES".to_owned(),
            content_id: None,
            filled,
        },
        tag: AttemptId { notification: Uuid::from_u128(0x0192_f0c1_6d7e_7c52_9a5e_6f6a_0f0e_3b11), number: 2 },
        life: std::time::Duration::from_secs(600),
    }
}

fn body(filled: Filled) -> serde_json::Value {
    serde_json::from_slice(sender().encode(&outgoing(filled)).unwrap().body()).unwrap()
}

fn components(filled: Filled) -> serde_json::Value {
    body(filled)["template"]["components"].take()
}

fn nothing() -> Filled {
    Filled { header: None, body: Vec::new(), buttons: Vec::new() }
}

fn text(name: Option<&str>, text: &str) -> Parameter {
    Parameter { name: name.map(str::to_owned), value: Value::Text(text.to_owned()) }
}

#[test]
fn the_request_goes_to_the_senders_number_with_its_token() {
    let request = sender().encode(&outgoing(nothing())).unwrap();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "https://graph.facebook.com/v25.0/200000000000002/messages");
    assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer secret-token");
    assert!(request.headers()[header::AUTHORIZATION].is_sensitive());
    assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
}

#[test]
fn a_template_without_values_has_no_components() {
    assert_eq!(
        body(nothing()),
        json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": "+34600111222",
            "type": "template",
            "biz_opaque_callback_data": "0192f0c16d7e7c529a5e6f6a0f0e3b11.2",
            "template": {"name": "order_shipped", "language": {"code": "es_ES"}}
        })
    );
}

#[test]
fn a_free_text_goes_to_the_person_as_meta_knows_them() {
    let text = |to| Outgoing { to, content: Content::Text("Hola".to_owned()), ..outgoing(nothing()) };
    let sent = |to| serde_json::from_slice::<serde_json::Value>(sender().encode(&text(to)).unwrap().body()).unwrap();
    assert_eq!(
        sent(Recipient::User("ES.7001".to_owned())),
        json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "recipient": "ES.7001",
            "type": "text",
            "biz_opaque_callback_data": "0192f0c16d7e7c529a5e6f6a0f0e3b11.2",
            "text": {"preview_url": false, "body": "Hola"}
        })
    );
    assert_eq!(sent(Recipient::Number("+34600111222".to_owned()))["to"], "+34600111222");
}

#[test]
fn positional_values_keep_their_order_and_have_no_names() {
    let filled = Filled {
        header: Some(Header::Text(text(None, "#1234"))),
        body: vec![
            text(None, "Ana"),
            Parameter {
                name: None,
                value: Value::Currency {
                    fallback: "12,50 €".to_owned(), code: "EUR".to_owned(), amount_1000: 12_500
                },
            },
            Parameter { name: None, value: Value::DateTime { fallback: "3 dic 2026".to_owned() } },
        ],
        buttons: vec![
            Button { index: 0, value: ButtonValue::UrlSuffix("track%2F1234".to_owned()) },
            Button { index: 1, value: ButtonValue::Payload("optout:orders".to_owned()) },
            Button { index: 10, value: ButtonValue::CopyCode("SAVE10".to_owned()) },
        ],
    };
    assert_eq!(
        components(filled),
        json!([
            {"type": "header", "parameters": [{"type": "text", "text": "#1234"}]},
            {"type": "body", "parameters": [
                {"type": "text", "text": "Ana"},
                {"type": "currency", "currency": {"fallback_value": "12,50 €", "code": "EUR", "amount_1000": 12500}},
                {"type": "date_time", "date_time": {"fallback_value": "3 dic 2026"}}
            ]},
            {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "track%2F1234"}]},
            {"type": "button", "sub_type": "quick_reply", "index": "1",
             "parameters": [{"type": "payload", "payload": "optout:orders"}]},
            {"type": "button", "sub_type": "COPY_CODE", "index": "10",
             "parameters": [{"type": "coupon_code", "coupon_code": "SAVE10"}]}
        ])
    );
}

#[test]
fn named_values_carry_their_names() {
    let filled = Filled {
        header: Some(Header::Text(text(Some("order"), "#1"))),
        body: vec![text(Some("name"), "Ana")],
        ..nothing()
    };
    assert_eq!(
        components(filled),
        json!([
            {"type": "header", "parameters": [{"type": "text", "parameter_name": "order", "text": "#1"}]},
            {"type": "body", "parameters": [{"type": "text", "parameter_name": "name", "text": "Ana"}]}
        ])
    );
}

#[test]
fn each_kind_of_header_is_one_parameter() {
    let link = || "https://shop.example/x".to_owned();
    let cases = [
        (Header::Image { link: link() }, json!({"type": "image", "image": {"link": "https://shop.example/x"}})),
        (Header::Video { link: link() }, json!({"type": "video", "video": {"link": "https://shop.example/x"}})),
        (
            Header::Document { link: link(), filename: "invoice.pdf".to_owned() },
            json!({"type": "document", "document": {"link": "https://shop.example/x", "filename": "invoice.pdf"}}),
        ),
        (
            Header::Location {
                latitude: "40.4168".to_owned(),
                longitude: "-3.7038".to_owned(),
                name: "Punto de recogida".to_owned(),
                address: "Calle Mayor 1".to_owned(),
            },
            json!({"type": "location", "location": {"latitude": "40.4168", "longitude": "-3.7038",
                "name": "Punto de recogida", "address": "Calle Mayor 1"}}),
        ),
    ];
    for (header, parameter) in cases {
        let filled = Filled { header: Some(header), ..nothing() };
        assert_eq!(components(filled), json!([{"type": "header", "parameters": [parameter]}]));
    }
}

#[test]
fn whatever_the_text_it_arrives_unchanged() {
    let odd = "“Ñandú” \\ \u{1f69a} </script> \u{2028}";
    let filled = Filled { body: vec![text(None, odd)], ..nothing() };
    assert_eq!(components(filled)[0]["parameters"][0]["text"], odd);
}

#[test]
fn the_token_is_never_printed() {
    let request = sender().encode(&outgoing(nothing())).unwrap();
    assert!(!format!("{:?} {:?}", sender(), request.headers()).contains("secret-token"));
}

#[test]
fn settings_that_make_no_request_are_named() {
    let new = |base: &str, version: &str, number: &str, token: &str| {
        Meta::new(base, version, number, &SecretString::from(token)).map(|meta| meta.address.to_string())
    };
    assert_eq!(
        new("http://127.0.0.1:9000/", "v25.0", "1", "t"),
        Ok("http://127.0.0.1:9000/v25.0/1/messages".to_owned())
    );
    assert_eq!(
        new("https://proxy.example/meta", "v26.0", "1", "t").as_deref(),
        Ok("https://proxy.example/meta/v26.0/1/messages")
    );
    for base in ["", "graph.facebook.com", "/path", "ftp://x", "https://x/?a=b", "https://a b"] {
        assert_eq!(new(base, "v25.0", "1", "t"), Err(BadSender::BaseUrl), "{base:?}");
    }
    for version in ["", "25.0", "v25", "v.0", "v25.x", "v25.0/", "latest"] {
        assert_eq!(new("https://x", version, "1", "t"), Err(BadSender::Version), "{version:?}");
    }
    for number in ["", "1/2", "../me", "1 2", "%31"] {
        assert_eq!(new("https://x", "v25.0", number, "t"), Err(BadSender::PhoneNumberId), "{number:?}");
    }
    for token in ["", "a b", "a\n", "ñ"] {
        assert_eq!(new("https://x", "v25.0", "1", token), Err(BadSender::Token), "{token:?}");
    }
}
