use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::template::{Settings, shipped_events, shipped_messages};

fn settings() -> Settings {
    Settings {
        senders: vec!["shop".into()],
        default_language: "en".into(),
        default_zone: "Europe/Madrid".into(),
        ..Settings::default()
    }
}

fn catalogue() -> Catalogue {
    Catalogue::load(&shipped_messages(), &shipped_events(), &settings()).unwrap()
}

fn now() -> Timestamp {
    "2026-03-02T10:00:00Z".parse().unwrap()
}

fn event(name: &str, data: &Value) -> Event {
    let body = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": name, "data": data});
    Event::parse(body.to_string().as_bytes(), now()).unwrap()
}

fn order() -> Value {
    json!({
        "customer": {"phone": "+34600111222", "name": "Ana", "locale": "es"},
        "order": {"number": "R-77", "total": {"amount": "49.90", "currency": "EUR"}, "url": "https://shop.example/o/R-77"},
    })
}

fn shipment() -> Value {
    let mut data = order();
    data["shipment"] = json!({"id": "S-9"});
    data
}

fn only(plan: Result<Plan, Rejection>) -> Planned {
    let Fate::Planned(mut planned) = plan.unwrap().fate else { panic!("ignored") };
    assert_eq!(planned.len(), 1);
    planned.remove(0)
}

fn decide(event: &Event) -> Result<Plan, Rejection> {
    plan(event, &catalogue(), now(), 0.0)
}

#[test]
fn a_confirmed_order_becomes_one_message_with_its_number() {
    let catalogue = catalogue();
    let message = only(plan(&event("order.confirmed", &order()), &catalogue, now(), 0.0));
    assert_eq!((message.template.as_str(), message.language.as_str()), ("order_confirmed", "es"));
    assert_eq!((message.purpose.as_str(), message.sender.as_str()), ("orders", "shop"));
    assert_eq!((message.class, message.in_doubt), (Class::Normal, InDoubt::ResendOnce));
    assert_eq!(message.to.reveal(), "+34600111222");
    assert_eq!(message.subject.as_deref(), Some("order:R-77"));
    assert_eq!(message.expires_at.to_string(), "2026-03-02T22:00:00Z");
    assert_eq!((message.grace.as_secs(), message.pending.as_secs()), (120, 7_200));
    assert!(message.quiet.is_empty());
    let text = catalogue.template("order_confirmed").unwrap().render_text("es", &message.filled);
    insta::assert_snapshot!(text);
    insta::assert_json_snapshot!(message.filled);
}

#[test]
fn an_event_without_a_message_says_why() {
    let fate = |event: &Event| decide(event).unwrap();
    assert_eq!(fate(&event("stock.low", &order())), Plan { stage: None, fate: Fate::Ignored(Ignored::UnknownType) });
    let mut nobody = shipment();
    nobody["customer"] = json!({"name": "Ana"});
    let plan = fate(&event("shipment.delivered", &nobody));
    assert_eq!(plan.fate, Fate::Ignored(Ignored::NoRecipient));
    assert_eq!(plan.stage, Some(Stage { journey: "shipment".into(), key: "S-9".into(), number: 70 }));
    for phone in [json!(null), json!(""), json!("  ")] {
        nobody["customer"]["phone"] = phone;
        assert_eq!(fate(&event("shipment.delivered", &nobody)).fate, Fate::Ignored(Ignored::NoRecipient));
    }
    assert_eq!(fate(&event("order.confirmed", &Value::Null)).fate, Fate::Ignored(Ignored::NoRecipient));
}

#[test]
fn conditions_choose_among_templates() {
    let conditioned = shipped_messages()
        .into_iter()
        .map(|(path, text)| {
            let with = "event = \"order.confirmed\"\nwhen = \"data.order.total.amount | float > 10\"";
            (path, text.replace("event = \"order.confirmed\"", with))
        })
        .collect::<Vec<_>>();
    let catalogue = Catalogue::load(&conditioned, &shipped_events(), &settings()).unwrap();
    assert_eq!(only(plan(&event("order.confirmed", &order()), &catalogue, now(), 0.0)).template, "order_confirmed");
    let mut cheap = order();
    cheap["order"]["total"]["amount"] = "3".into();
    let ignored = plan(&event("order.confirmed", &cheap), &catalogue, now(), 0.0).unwrap();
    assert_eq!(ignored.fate, Fate::Ignored(Ignored::NoConditionHolds));
    cheap["order"]["total"]["amount"] = "Ana".into();
    let refusal = plan(&event("order.confirmed", &cheap), &catalogue, now(), 0.0).unwrap_err();
    assert_eq!(refusal.reason(), "unfillable_template");
    assert!(!refusal.to_string().contains("Ana"), "{refusal}");
}

#[test]
fn the_stage_is_named_after_the_shipment_or_else_the_order() {
    let stage = |data: &Value| decide(&event("shipment.dispatched", data)).unwrap().stage.unwrap();
    assert_eq!(stage(&shipment()), Stage { journey: "shipment".into(), key: "S-9".into(), number: 10 });
    let mut whole = shipment();
    whole["shipment"] = json!({});
    assert_eq!(stage(&whole).key, "R-77");
    assert_eq!(only(decide(&event("shipment.dispatched", &whole))).subject.as_deref(), Some("shipment:R-77"));
}

#[test]
fn the_events_own_recipient_goes_first() {
    let mut event = event("order.confirmed", &order());
    event.recipient = Some("+351912345678".into());
    event.subject = Some("mine".into());
    let message = only(decide(&event));
    assert_eq!((message.to.reveal(), message.subject.as_deref()), ("+351912345678", Some("mine")));
}

#[test]
fn the_sender_is_chosen_by_where_the_person_is_and_which_brand_it_is_about() {
    use crate::domain::route::{Parts, Rule, Rules, Written};
    let rule = |countries: &[&str], brands: &[&str], sender: &str| {
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        let parts =
            Parts { countries: owned(countries), brands: owned(brands), sender: sender.into(), ..Parts::default() };
        Rule::new(parts).unwrap()
    };
    let rules = vec![rule(&[], &["luna"], "luna"), rule(&["MX", "CO"], &[], "americas"), rule(&["ES"], &[], "shop")];
    let routing = Rules { rules, last_resort: None, written: Written::InSettings };
    let settings = Settings { routing: Some(std::sync::Arc::new(routing)), ..settings() };
    let catalogue = Catalogue::load(&shipped_messages(), &shipped_events(), &settings).unwrap();
    let planned = |phone: &str, brand: Value| {
        let mut data = order();
        data["customer"]["phone"] = phone.into();
        data["brand"] = brand;
        plan(&event("order.confirmed", &data), &catalogue, now(), 0.0)
    };
    let chosen = |phone: &str, brand: Value| {
        let message = only(planned(phone, brand));
        (message.sender, message.route.unwrap())
    };
    let said = |sender: &str, rule: &str| (sender.to_owned(), rule.to_owned());
    assert_eq!(chosen("+525512345678", json!("luna")), said("luna", "rule 1 of [[routing]] (brand luna)"));
    assert_eq!(chosen("+525512345678", json!(null)), said("americas", "rule 2 of [[routing]] (country MX or CO)"));
    assert_eq!(chosen("+34600111222", json!("sol")), said("shop", "rule 3 of [[routing]] (country ES)"));
    let refusal = planned("+351912345678", json!("sol")).unwrap_err();
    assert_eq!(refusal.reason(), "no_route");
    assert!(!refusal.to_string().contains("sol"), "{refusal}");
}

#[test]
fn a_phone_that_is_none_is_refused() {
    for phone in [json!("600111222"), json!("nobody"), json!(34_600_111_222_u64), json!(["+34600111222"])] {
        let mut data = order();
        data["customer"]["phone"] = phone;
        assert_eq!(decide(&event("order.confirmed", &data)).unwrap_err().reason(), "bad_phone");
    }
}

#[test]
fn a_template_that_cannot_be_filled_refuses_the_event_whole() {
    let mut data = order();
    data["order"]["total"].as_object_mut().unwrap().remove("currency");
    let refusal = decide(&event("order.confirmed", &data)).unwrap_err();
    assert_eq!(refusal.reason(), "unfillable_template");
    assert!(refusal.to_string().starts_with("Template order_confirmed (es) cannot be filled: total "), "{refusal}");
    data = shipment();
    data["order"].as_object_mut().unwrap().remove("number");
    data["shipment"] = json!({});
    assert_eq!(decide(&event("shipment.delivered", &data)).unwrap_err().reason(), "bad_journey_key");
}

#[test]
fn people_read_their_language_and_their_numbers() {
    let catalogue = catalogue();
    let read = |locale: &str| {
        let mut data = order();
        data["customer"]["locale"] = locale.into();
        let message = only(plan(&event("order.confirmed", &data), &catalogue, now(), 0.0));
        let text = catalogue.template("order_confirmed").unwrap().render_text(&message.language, &message.filled);
        let total = text.lines().find_map(|line| line.split_once("Total: ")).unwrap().1;
        (message.language, message.locale, total.split('.').take(2).collect::<Vec<_>>().join("."))
    };
    let row = |language: &str, locale: &str| (language.to_owned(), locale.to_owned());
    for (theirs, expected, total) in [
        ("es", row("es", "es"), "49,90\u{a0}€"),
        ("es-MX", row("es", "es_MX"), "€49.90"),
        ("pt", row("pt_BR", "pt"), "€\u{a0}49,90"),
        ("fr-CA", row("en", "fr_CA"), "€49.90"),
        ("???", row("en", "en"), "€49.90"),
    ] {
        let (language, locale, shown) = read(theirs);
        assert_eq!((language, locale), expected, "{theirs}");
        assert!(shown.starts_with(total), "{theirs}: {shown}");
    }
}

#[test]
fn messages_end_with_their_event() {
    let mut event = event("order.confirmed", &order());
    event.expires = Some("2026-03-02T10:30:00Z".parse().unwrap());
    assert_eq!(only(decide(&event)).expires_at.to_string(), "2026-03-02T10:30:00Z");
    event.expires = None;
    event.time = "2020-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(only(decide(&event)).expires_at.to_string(), "2020-01-01T12:00:00Z");
    event.time = Timestamp::MAX;
    assert_eq!(only(decide(&event)).expires_at.to_string(), "2026-03-02T22:00:00Z");
}

#[test]
fn nights_are_quiet_unless_it_is_urgent() {
    let mut data = shipment();
    data["customer"]["timezone"] = "Europe/Madrid".into();
    let delivered = only(decide(&event("shipment.delivered", &data)));
    let quiet: Vec<String> = delivered.quiet.iter().map(|(start, end)| format!("{start} {end}")).collect();
    assert_eq!(quiet, ["2026-03-02T21:00:00Z 2026-03-03T07:00:00Z"]);
    let spread = plan(&event("shipment.delivered", &data), &catalogue(), now(), 1.0);
    assert_eq!(only(spread).quiet[0].1.to_string(), "2026-03-03T07:20:00Z");
    data["customer"]["timezone"] = "Nowhere/At_all".into();
    assert!(!only(decide(&event("shipment.delivered", &data))).quiet.is_empty());
    let arriving = only(decide(&event("shipment.arriving", &data)));
    assert_eq!((arriving.class, arriving.quiet.len()), (Class::Urgent, 0));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// A place in an event's data to put something strange at.
const PLACES: &[&str] = &[
    "/customer",
    "/customer/phone",
    "/customer/name",
    "/customer/locale",
    "/customer/timezone",
    "/order",
    "/order/number",
    "/order/total",
    "/order/total/amount",
    "/order/total/currency",
    "/shipment",
    "/shipment/id",
    "/shipment/carrier",
    "/shipment/estimated_delivery",
    "/window",
    "/window/from",
    "/reason",
    "/pickup/until",
    "/refund/total",
    "/minutes",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_data_panics_and_what_is_planned_is_whole(
        name in prop::sample::select(shipped_events().iter().map(|(path, _)| {
            path.trim_start_matches("templates/events/").trim_end_matches(".json").to_owned()
        }).collect::<Vec<_>>()),
        strange in prop::collection::vec((prop::sample::select(PLACES), any_json()), 0..4),
    ) {
        static CATALOGUE: std::sync::LazyLock<Catalogue> = std::sync::LazyLock::new(catalogue);
        let template = CATALOGUE.templates().iter().find(|t| t.event_type() == name).unwrap();
        let mut event = event(&name, template.example());
        for (place, value) in strange {
            if let Some(target) = event.data.pointer_mut(place) {
                *target = value;
            }
        }
        if let Ok(Plan { fate: Fate::Planned(planned), .. }) = plan(&event, &CATALOGUE, now(), 0.5) {
            for message in planned {
                let Value::Array(body) = serde_json::to_value(&message.filled.body).unwrap() else { panic!() };
                let texts = body.iter().map(|parameter| parameter["text"].as_str().unwrap());
                for text in texts {
                    prop_assert!(!text.is_empty() && !text.contains(['\n', '\t']) && !text.contains("     "), "{text:?}");
                }
            }
        }
    }
}
