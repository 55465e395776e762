use serde_json::json;

use super::*;
use crate::domain::template::{Settings, shipped_events, shipped_messages};

fn settings() -> Settings {
    Settings { senders: vec!["shop".into()], default_language: "en".into(), default_zone: "Europe/Madrid".into() }
}

fn catalogue() -> Catalogue {
    Catalogue::load(&shipped_messages(), &shipped_events(), &settings())
        .unwrap_or_else(|problems| panic!("{}", problems.iter().map(|p| format!("\n{p}")).collect::<String>()))
}

fn now() -> Timestamp {
    "2026-03-02T10:00:00Z".parse().unwrap()
}

fn confirmed(data: serde_json::Value) -> Event {
    let body = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.confirmed", "data": data});
    Event::parse(body.to_string().as_bytes(), now()).unwrap()
}

#[test]
fn a_confirmed_order_becomes_one_message_with_its_number() {
    let catalogue = catalogue();
    let event = confirmed(json!({
        "customer": {"phone": "+34600111222", "name": "Ana", "locale": "es"},
        "order": {"number": "R-77", "total": {"amount": "49.90", "currency": "EUR"}, "url": "https://shop.example/o/R-77"},
    }));
    let plan = plan(&event, &catalogue, now(), 0.0).unwrap();
    let Fate::Planned(planned) = plan.fate else { panic!("ignored") };
    let [message] = planned.as_slice() else { panic!("{} messages", planned.len()) };
    assert_eq!((message.template.as_str(), message.language.as_str()), ("order_confirmed", "es"));
    let text = catalogue.template("order_confirmed").unwrap().render_text("es", &message.filled);
    insta::assert_snapshot!(text);
}
