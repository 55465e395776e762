use serde_json::json;

use super::*;

fn scope(data: &serde_json::Value, locale: &str) -> Scope {
    let event = Event {
        id: "1".into(),
        source: "/shop".into(),
        r#type: "order.confirmed".into(),
        subject: None,
        time: jiff::Timestamp::UNIX_EPOCH,
        expires: None,
        traceparent: None,
        recipient: None,
        data: data.clone(),
    };
    let zones = Zones { person: None, default: TimeZone::get("Europe/Madrid").unwrap() };
    Scope::of_event(attributes(&event), value_of(&event.data), &Locale::parse(locale).unwrap(), &zones)
}

fn evaluate(text: &str, data: &serde_json::Value, locale: &str) -> Result<Option<String>, String> {
    let expression = Expression::compile(text, Absence::Fails).unwrap();
    expression.evaluate_text(&scope(data, locale)).map_err(|why| why.to_string())
}

fn gives(text: &str, data: &serde_json::Value, locale: &str, expected: &str) {
    assert_eq!(evaluate(text, data, locale), Ok(Some(expected.to_owned())), "{text}");
}

fn fails(text: &str, data: &serde_json::Value, with: &str) {
    let why = evaluate(text, data, "es").unwrap_err();
    assert!(why.contains(with), "{text}: {why}");
}

#[test]
fn filters_write_for_the_person() {
    let data = json!({
        "total": {"amount": "1049.9", "currency": "eur"}, "count": 3, "price": 12.5, "day": "2026-12-03",
        "moment": "2026-12-03T17:30:00Z", "name": "  Ana   María López ", "long": "Una caja de madera con tapa azul",
    });
    gives("data.total | money", &data, "es", "1049,90\u{a0}€");
    gives("data.total | money", &data, "en", "€1,049.90");
    gives("data.price | money('BRL')", &data, "pt_BR", "R$\u{a0}12,50");
    gives("data.count | money('USD')", &data, "en", "$3.00");
    gives("data.day | date", &data, "es", "3 de diciembre de 2026");
    gives("data.day | date('day')", &data, "pt_BR", "quinta-feira, 3 de dezembro");
    gives("data.moment | time", &data, "es", "18:30");
    gives("data.moment | date('short')", &data, "en", "Dec 3, 2026");
    gives("data.name | short(40)", &data, "es", "Ana María López");
    gives("data.name | short(12)", &data, "es", "Ana María…");
    gives("data.long | short(16)", &data, "es", "Una caja de…");
    gives("'Donaudampfschiff' | short(6)", &data, "es", "Donau…");
    gives("data.name | first_word", &data, "es", "Ana");
    gives("'A 1/ñ' | urlencode", &data, "es", "A%201%2F%C3%B1");
    gives("'600 111 222' | phone('ES')", &data, "es", "+34600111222");
    gives("'nobody' | phone('ES')", &data, "es", "nobody");
}

#[test]
fn what_is_absent_fails_unless_it_is_handled() {
    let data = json!({"order": {"number": 7, "note": null}});
    fails("data.order.nothing ~ ''", &data, "needs a value that the event does not have");
    fails("data.nothing.number", &data, "needs a value");
    fails("data.order.nothing | short(3)", &data, "needs a value");
    assert_eq!(evaluate("data.order.nothing", &data, "es"), Ok(None));
    gives("data.order.nothing | default('-')", &data, "es", "-");
    gives("data.order.number", &data, "es", "7");
    // Null counts as absent.
    gives("data.order.note | default('-')", &data, "es", "-");
    gives("'yes' if data.order.note is defined else 'no'", &data, "es", "no");
}

#[test]
fn what_is_absent_spreads_in_sources() {
    let expression = Expression::compile("(body.a.b.c or body.d) | phone(body.x.y)", Absence::Spreads).unwrap();
    let scope = |body: serde_json::Value| Scope::of_names(vec![("body".into(), value_of(&body))]);
    assert_eq!(expression.evaluate_text(&scope(json!({}))), Ok(None));
    assert_eq!(expression.evaluate_text(&scope(json!({"d": "+34600111222"}))), Ok(Some("+34600111222".into())));
}

#[test]
fn failures_name_the_filter_and_not_the_value() {
    let data = json!({"secret": "Ana +34600111222", "list": [1], "free": {"amount": "Ana", "currency": "EUR"}});
    for (text, why) in [
        ("data.free | money", "no decimal number"),
        ("{'amount': 1, 'currency': 'Ana Ana'} | money", "no currency"),
        ("data.secret | date", "no day or moment"),
        ("data.secret | time", "no moment"),
        ("'2026-12-03' | date('secret')", "style"),
        ("data.list | short(3)", "neither text nor number"),
        ("data.list", "a list or a table"),
        ("data.secret + 1", "cannot be evaluated"),
        ("data.secret | int", "cannot be evaluated"),
        ("data.secret | nofilter", "nofilter"),
    ] {
        fails(text, &data, why);
        assert!(!evaluate(text, &data, "es").unwrap_err().contains("Ana"), "{text}");
    }
}

#[test]
fn an_expression_tells_what_it_looks_up() {
    let expression =
        Expression::compile("data.order.number ~ (data.total | money) ~ event.id", Absence::Fails).unwrap();
    assert_eq!(expression.paths().into_iter().collect::<Vec<_>>(), ["data.order.number", "data.total", "event.id"]);
    assert!(Expression::compile("data.order.", Absence::Fails).is_err());
    assert!(Expression::compile(&"(".repeat(5_000), Absence::Fails).is_err());
    assert!(Expression::compile(&"(".repeat(4_000), Absence::Fails).is_err());
}
