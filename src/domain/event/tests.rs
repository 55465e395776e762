use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-03-02T10:00:00Z".parse().unwrap()
}

fn minimal() -> Value {
    json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.confirmed"})
}

fn with(name: &str, value: Value) -> Vec<u8> {
    let mut event = minimal();
    event[name] = value;
    event.to_string().into_bytes()
}

fn reason(body: &[u8]) -> &'static str {
    Event::parse(body, now()).unwrap_err().reason()
}

#[test]
fn reads_a_structured_event() {
    let body = json!({
        "specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.confirmed", "subject": "order:7",
        "time": "2026-03-02T11:00:00.5+01:00", "datacontenttype": "application/json; charset=utf-8",
        "expires": "2026-03-02T12:00:00Z", "recipient": "+34600111222", "shard": 3,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": {"order": {"number": "7"}},
    });
    let event = Event::parse(body.to_string().as_bytes(), now()).unwrap();
    assert_eq!((event.id.as_str(), event.source.as_str(), event.r#type.as_str()), ("e-1", "/shop", "order.confirmed"));
    assert_eq!(event.subject.as_deref(), Some("order:7"));
    assert_eq!(event.time.to_string(), "2026-03-02T10:00:00.5Z");
    assert_eq!(event.expires.unwrap().to_string(), "2026-03-02T12:00:00Z");
    assert_eq!(event.recipient.as_deref(), Some("+34600111222"));
    assert!(event.traceparent.is_some());
    assert_eq!(event.data["order"]["number"], "7");
}

#[test]
fn takes_the_time_of_receipt_if_the_producer_says_none() {
    let event = Event::parse(minimal().to_string().as_bytes(), now()).unwrap();
    assert_eq!((event.time, event.data), (now(), Value::Null));
    let null = Event::parse(&with("time", Value::Null), now()).unwrap();
    assert_eq!(null.time, now());
}

#[test]
fn a_malformed_trace_is_no_reason_to_refuse() {
    let event = Event::parse(&with("traceparent", "00-xyz".into()), now()).unwrap();
    assert_eq!(event.traceparent, None);
}

#[test]
fn poison_is_refused_with_its_reason() {
    let deep = format!(r#"{{"specversion":"1.0","data":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
    let abyss = format!(r#"{{"specversion":"1.0","data":{}"#, "[".repeat(200_000));
    let many = (0..65).map(|i| format!(r#""x{i}":1,"#)).collect::<String>();
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"not json", "invalid_json"),
        (b"{\"specversion\":\"1.0\"} trailing", "invalid_json"),
        (b"{\"specversion\":\"1.0\",\"id\":\"\xff\xfe\"}", "invalid_utf8"),
        (b"{\"specversion\":\"1.0\",\"id\":\"a\x00b\"}", "invalid_json"),
        (br#"{"specversion":"1.0","id":"a\u0000b"}"#, "nul_byte"),
        (br#"{"specversion":"1.0","data":{"a":["\u0000"]}}"#, "nul_byte"),
        (br#"{"specversion":"1.0","data":{"a\u0000":1}}"#, "nul_byte"),
        (br#"{"specversion":"1.0","\u0000":1}"#, "nul_byte"),
        (br#"{"specversion":"1.0","id":"\ud800"}"#, "invalid_json"),
        (br#"{"specversion":"1.0","id":"1","id":"2"}"#, "duplicate_attribute"),
        (br#"{"specversion":"1.0","x":"1","x":"2"}"#, "duplicate_attribute"),
        (br#"{"specversion":"1.0","data":1,"data":2}"#, "duplicate_attribute"),
        (br#"{"specversion":"0.3","id":"1","source":"/","type":"t"}"#, "wrong_specversion"),
        (br#"{"specversion":1.0,"id":"1","source":"/","type":"t"}"#, "wrong_specversion"),
        (br#"{"id":"1","source":"/","type":"t"}"#, "wrong_specversion"),
        (b"[]", "not_an_object"),
        (b"[[[[{}]]]]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"\"text\"", "not_an_object"),
        (b"12", "not_an_object"),
        (deep.as_bytes(), "nested_too_deep"),
        (abyss.as_bytes(), "nested_too_deep"),
    ];
    for (body, expected) in cases {
        assert_eq!(reason(body), expected, "{}", String::from_utf8_lossy(&body[..body.len().min(80)]));
    }
    assert_eq!(reason(format!(r#"{{{many}"specversion":"1.0"}}"#).as_bytes()), "too_many_attributes");
}

#[test]
fn attributes_are_checked() {
    for name in ["id", "source", "type"] {
        let mut event = minimal();
        event.as_object_mut().unwrap().remove(name);
        assert_eq!(reason(event.to_string().as_bytes()), "missing_attribute", "{name}");
        assert_eq!(reason(&with(name, Value::Null)), "missing_attribute", "{name}");
        assert_eq!(reason(&with(name, "".into())), "bad_attribute", "{name}");
        assert_eq!(reason(&with(name, 5.into())), "bad_attribute", "{name}");
        assert_eq!(reason(&with(name, "a\nb".into())), "bad_attribute", "{name}");
        assert_eq!(reason(&with(name, "x".repeat(513).into())), "bad_attribute", "{name}");
    }
    assert_eq!(reason(&with("id", "x".repeat(257).into())), "bad_attribute");
    assert!(Event::parse(&with("id", "x".repeat(256).into()), now()).is_ok());
    for time in [
        "yesterday",
        "2026-03-02",
        "2026-03-02T10:00:00",
        "2026-13-02T10:00:00Z",
        "1969-12-31T23:59:59Z",
        "-005000-01-01T00:00:00Z",
    ] {
        assert_eq!(reason(&with("time", time.into())), "bad_attribute", "{time}");
        assert_eq!(reason(&with("expires", time.into())), "bad_attribute", "{time}");
    }
    assert_eq!(reason(&with("datacontenttype", "text/xml".into())), "unsupported_data");
    assert_eq!(reason(&with("data_base64", "AAAA".into())), "unsupported_data");
}

#[test]
fn nesting_is_allowed_up_to_its_limit() {
    let event = |levels: usize| {
        let data = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"specversion":"1.0","id":"1","source":"/","type":"t","data":{data}}}"#)
    };
    assert!(Event::parse(event(NESTING - 1).as_bytes(), now()).is_ok());
    assert_eq!(reason(event(NESTING).as_bytes()), "nested_too_deep");
}

#[test]
fn a_refusal_does_not_show_what_was_written() {
    for body in
        [with("time", "Ana +34600111222".into()), with("id", "Ana +34600111222\n".into()), b"Ana +34600111222".to_vec()]
    {
        let refusal = Event::parse(&body, now()).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains("Ana"), "{refusal:?}");
    }
    let event = Event::parse(&with("recipient", "+34600111222".into()), now()).unwrap();
    assert!(!format!("{event:?}").contains("34600"));
}

#[test]
fn reads_an_event_in_binary_mode() {
    for prefix in ["cloudEvents:", "cloudEvents_"] {
        let names = ["specversion", "id", "source", "type", "subject", "time"].map(|name| format!("{prefix}{name}"));
        let values = ["1.0", "e-1", "/shop", "order.confirmed", "order:7", "2026-03-02T09:00:00Z"];
        let headers = || names.iter().map(String::as_str).zip(values).chain([("x-other", "1")]);
        assert!(is_binary(headers().map(|(name, _)| name)));
        let event = Event::parse_binary(headers(), Some("application/json"), br#"{"a":1}"#, now()).unwrap();
        assert_eq!(
            (event.id.as_str(), event.subject.as_deref(), &event.data),
            ("e-1", Some("order:7"), &json!({"a": 1}))
        );
        let refusal = Event::parse_binary(headers(), Some("text/plain"), b"hello", now()).unwrap_err();
        assert_eq!(refusal.reason(), "unsupported_data");
        assert_eq!(Event::parse_binary(headers(), None, b"{", now()).unwrap_err().reason(), "invalid_json");
        assert_eq!(Event::parse_binary(headers(), None, b"", now()).unwrap().data, Value::Null);
    }
    assert!(!is_binary(["content-type", "cloudEvents", "x-id"]));
    assert_eq!(Event::parse_binary([], None, b"{}", now()).unwrap_err().reason(), "wrong_specversion");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 64.0)),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::parse(&body, now());
        let _ = Event::parse_binary([("cloudEvents:specversion", "1.0")], None, &body, now());
    }

    #[test]
    fn no_json_panics(
        name in prop::sample::select(vec!["id", "source", "type", "time", "subject", "data", "expires", "recipient"]),
        value in any_json(),
    ) {
        let _ = Event::parse(&with(name, value), now());
    }

    #[test]
    fn what_was_published_is_what_is_read(id in "[!-~]{1,40}", data in any_json()) {
        let mut event = minimal();
        event["id"] = id.clone().into();
        event["data"] = data.clone();
        let read = Event::parse(event.to_string().as_bytes(), now()).unwrap();
        prop_assert_eq!(read.id, id);
        prop_assert_eq!(read.data.to_string(), data.to_string());
    }
}

#[test]
fn the_documents_name_each_reason_for_a_rejection() {
    let (_, told) = include_str!("../../../docs/events.md").split_once("Reasons for rejection:").unwrap();
    let (told, _) = told.split_once("`recado").unwrap();
    let named: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
    assert_eq!(BTreeSet::from_iter(named), BTreeSet::from(REASONS));
}
