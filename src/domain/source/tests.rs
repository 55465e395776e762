use serde_json::json;

use super::*;
use crate::domain::{
    plan::{Fate, plan},
    template::{Catalogue, Settings, shipped_events, shipped_messages},
};

const SHOPIFY: &str = include_str!("../../../config/sources/shopify.toml");
const WOOCOMMERCE: &str = include_str!("../../../config/sources/woocommerce.toml");

fn shipped() -> Sources {
    let files =
        [("shopify.toml", SHOPIFY), ("woocommerce.toml", WOOCOMMERCE)].map(|(p, t)| (p.to_owned(), t.to_owned()));
    Sources::load(&files).unwrap()
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn map(exchange: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Mapped, Rejection> {
    shipped().map(exchange, key, headers.iter().copied(), body, now()).unwrap()
}

/// Maps a payload and plans it; gives the event and the text that the customer reads.
fn story(exchange: &str, key: &str, body: &str) -> (Event, String) {
    let Mapped::Event(event) =
        map(exchange, key, &[("X-Shopify-Shop-Domain", "tienda.example")], body.as_bytes()).unwrap()
    else {
        panic!("unwanted")
    };
    let settings = Settings {
        senders: vec!["shop".into()],
        default_language: "en".into(),
        default_zone: "Europe/Madrid".into(),
        ..Settings::default()
    };
    let catalogue = Catalogue::load(&shipped_messages(), &shipped_events(), &settings).unwrap();
    let Fate::Planned(planned) = plan(&event, &catalogue, now(), 0.0).unwrap().fate else { panic!("ignored") };
    let [message] = planned.as_slice() else { panic!("{} messages", planned.len()) };
    let text = catalogue.template(&message.template).unwrap().render_text(&message.language, &message.filled);
    (event, format!("{} {}\n\n{text}", message.to.reveal(), message.locale))
}

#[test]
fn an_order_at_shopify_is_confirmed() {
    let body = include_str!("../../../tests/fixtures/sources/shopify_orders_create.json");
    let (event, text) = story("shopify", "orders/create", body);
    assert_eq!(event.id, "order-created:5720131142");
    assert_eq!(event.source, "/shopify/tienda.example");
    assert_eq!(event.time.to_string(), "2026-03-02T10:04:09Z");
    assert_eq!(event.subject.as_deref(), Some("order:#1001"));
    insta::assert_json_snapshot!(event.data);
    insta::assert_snapshot!(text);
}

#[test]
fn a_fulfillment_at_shopify_is_dispatched() {
    let body = include_str!("../../../tests/fixtures/sources/shopify_fulfillments_create.json");
    let (event, text) = story("shopify", "fulfillments/create", body);
    assert_eq!((event.r#type.as_str(), event.subject.as_deref()), ("shipment.dispatched", Some("order:#1001")));
    insta::assert_json_snapshot!(event.data);
    insta::assert_snapshot!(text);
}

#[test]
fn an_order_at_woocommerce_is_confirmed_once() {
    let body = include_str!("../../../tests/fixtures/sources/woocommerce_order_created.json");
    let (created, text) = story("woocommerce", "order.created", body);
    assert_eq!((created.id.as_str(), created.r#type.as_str()), ("order:727:processing", "order.confirmed"));
    insta::assert_json_snapshot!(created.data);
    insta::assert_snapshot!(text);
    let (updated, _) = story("woocommerce", "order.updated", body);
    assert_eq!((updated.id, updated.source, updated.data), (created.id, created.source, created.data));
}

#[test]
fn a_refund_at_woocommerce_is_told() {
    let body = include_str!("../../../tests/fixtures/sources/woocommerce_order_updated.json");
    let (event, text) = story("woocommerce", "order.updated", body);
    assert_eq!(event.time.to_string(), "2026-03-09T12:00:00Z");
    insta::assert_snapshot!(text);
}

#[test]
fn what_a_source_does_not_want_is_ignored() {
    let pending = json!({"id": 5, "status": "pending"}).to_string();
    let mapped =
        map("woocommerce", "order.created", &[("x-wc-webhook-source", "https://w.example/")], pending.as_bytes());
    assert_eq!(
        mapped,
        Ok(Mapped::Unwanted { source: "https://w.example/".into(), id: Some("order:5:pending".into()) })
    );
    let cancelled = json!({"id": 5, "cancelled_at": "2026-03-02T11:00:00Z"}).to_string();
    let mapped = map("shopify", "orders/create", &[], cancelled.as_bytes());
    assert_eq!(mapped, Ok(Mapped::Unwanted { source: "/shopify/shop".into(), id: Some("order-created:5".into()) }));
    assert!(shipped().map("shopify", "orders/delete", [], b"{}", now()).is_none());
    assert!(shipped().map("shop.events", "order.created", [], b"{}", now()).is_none());
}

#[test]
fn poison_from_a_source_is_refused() {
    for (body, reason) in [
        (&b"{"[..], "invalid_json"),
        (br#"{"id":"\u0000"}"#, "nul_byte"),
        (br#"{"name":"x"}"#, "missing_attribute"),
        (br#"{"id":[1],"created_at":"noon"}"#, "bad_attribute"),
        (br#"{"id":1,"name":["a"],"created_at":{"a":1}}"#, "bad_mapping"),
    ] {
        let refusal = map("shopify", "orders/create", &[], body).unwrap_err();
        assert_eq!(refusal.reason(), reason, "{refusal}");
    }
}

#[test]
fn mistakes_in_a_sources_file_are_named() {
    let file = r#"
name = "mine"
source = "'/mine'"
colour = "red"
"#;
    let problems = Sources::load(&[("mine.toml".into(), file.into())]).unwrap_err();
    assert!(problems[0].to_string().starts_with("mine.toml:4: "), "{}", problems[0]);
    let file = r#"name = "mine"
source = "'/mine'"
[[events]]
exchange = "mine"
routing_key = "a.#"
id = "bdy.id"
type = "'a'"
[events.data]
order.number = "body.x | ("
other = 5
"#;
    let problems = Sources::load(&[("mine.toml".into(), file.into())]).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(shown[0].starts_with("mine.toml:6: events.id: There is no bdy"), "{shown:?}");
    assert!(
        shown[1].starts_with("mine.toml:9: events.data.order.number: The expression is no expression"),
        "{shown:?}"
    );
}

#[test]
fn patterns_match_as_topic_exchanges_do() {
    for (pattern, key, fits) in [
        ("a.b", "a.b", true),
        ("a.b", "a.b.c", false),
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.#", "a", true),
        ("a.#", "a.b.c", true),
        ("#", "", true),
        ("#", "a.b", true),
        ("#.z", "a.b.z", true),
        ("*.b.#.c", "a.b.c", true),
        ("*.b.#.c", "a.b.x.y.c", true),
        ("*.b.#.c", "a.x.c", false),
        ("orders/create", "orders/create", true),
    ] {
        assert_eq!(matches_pattern(pattern, key), fits, "{pattern} {key}");
    }
}
