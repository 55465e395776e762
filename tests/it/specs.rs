//! Every request that the codecs can make keeps to the providers' official OpenAPI documents.

mod schema;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};
use recado::{
    domain::{
        message::{Button, ButtonValue, Content, Filled, Header, Outgoing, Parameter, Recipient, Value},
        notification::AttemptId,
        phone::Phone,
        template::{Catalogue, Settings, shipped_events, shipped_messages},
    },
    provider::{self, Provider, Sought, meta::Meta, twilio},
};
use secrecy::SecretString;
use serde_json::json;

use self::schema::{Spec, gaps};

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const CONTENT: &str = "HX0123456789abcdef0123456789abcdef";
const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";

fn meta() -> Meta {
    Meta::new("https://graph.facebook.com", "v25.0", "200000000000002", &SecretString::from("EAAB-token")).unwrap()
}

/// Twilio's sender on a channel, which names a number or a service.
fn twilio(channel: twilio::Channel, by_service: bool) -> twilio::Twilio {
    let number = Phone::parse("+34600000001").unwrap();
    let account = twilio::Account {
        base_url: "https://api.twilio.com",
        account_sid: ACCOUNT,
        service_sid: by_service.then_some(SERVICE),
        number: (!by_service).then_some(&number),
        user: ACCOUNT,
        password: &SecretString::from("token"),
        callback: "https://recado.example/webhooks/main",
    };
    twilio::Twilio::new(channel, account).unwrap()
}

fn outgoing(to: Recipient, content: Content) -> Outgoing {
    let tag = AttemptId { notification: uuid::Uuid::now_v7(), number: 3 };
    Outgoing { to, content, tag, life: Duration::from_secs(3_600) }
}

fn ana() -> Recipient {
    Recipient::Number("+34600111222".to_owned())
}

fn template(filled: Filled) -> Content {
    let (name, language) = ("order_shipped".to_owned(), "es".to_owned());
    Content::Template { name, language, content_id: Some(CONTENT.to_owned()), filled }
}

/// A template of each kind that there is: every header with every body and every button.
fn templates() -> Vec<Content> {
    let text = |text: &str| Value::Text(text.to_owned());
    let plain = |value: Value| Parameter { name: None, value };
    let money = |amount_1000| Value::Currency { fallback: "5.000.000 $".into(), code: "COP".into(), amount_1000 };
    let link = || "https://shop.example/a.png".to_owned();
    let headers = [
        None,
        Some(Header::Text(plain(text("#1234")))),
        Some(Header::Image { link: link() }),
        Some(Header::Video { link: link() }),
        Some(Header::Document { link: link(), filename: "factura.pdf".into() }),
        Some(Header::Location {
            latitude: "40.4".into(),
            longitude: "-3.7".into(),
            name: "Tienda".into(),
            address: "Sol 1".into(),
        }),
    ];
    let bodies = [
        vec![],
        vec![
            plain(text("Ana")),
            plain(money(5_000_000_000)),
            plain(Value::DateTime { fallback: "3 de diciembre".into() }),
        ],
        vec![Parameter { name: Some("first_name".into()), value: text("Ana") }],
    ];
    let button = |index, value| Button { index, value };
    let buttons = [
        vec![],
        vec![
            button(0, ButtonValue::UrlSuffix("track%2F1".into())),
            button(1, ButtonValue::Payload("optout:orders".into())),
        ],
        vec![button(9, ButtonValue::CopyCode("VERANO".into()))],
    ];
    let mut all = Vec::new();
    for header in &headers {
        for body in &bodies {
            for buttons in &buttons {
                let (header, body, buttons) = (header.clone(), body.clone(), buttons.clone());
                all.push(template(Filled { header, body, buttons }));
            }
        }
    }
    all
}

fn to_meta() -> Vec<Request<Bytes>> {
    let mut messages: Vec<Outgoing> = templates().into_iter().map(|content| outgoing(ana(), content)).collect();
    messages.push(outgoing(ana(), Content::Text("Hola".into())));
    messages.push(outgoing(Recipient::User("ES.13491208655302741918".into()), Content::Text("Hola".into())));
    let mut requests: Vec<Request<Bytes>> = messages.iter().map(|message| meta().encode(message).unwrap()).collect();
    let token = SecretString::from("EAAB-token");
    let at = provider::meta::Templates::new("https://graph.facebook.com", "v25.0", "100000000000001", &token).unwrap();
    requests.extend([at.list(None), at.list(Some("QVFI"))]);
    let ask = provider::meta::Inquiry::new(
        "https://graph.facebook.com",
        "v25.0",
        "200000000000002",
        Some("100000000000001"),
        &token,
    )
    .unwrap();
    requests.extend([ask.number(), ask.token(), ask.callback("1234567890", &token)]);
    requests.extend([ask.account(), ask.numbers(), ask.subscribers(), ask.approved()].into_iter().flatten());
    let catalogue = shipped();
    for template in catalogue.templates() {
        for language in template.languages() {
            let json = catalogue.meta_template(template, language).unwrap();
            requests.extend([at.create(&json), at.edit("300000000000001", &json, true), at.edit("1", &json, false)]);
        }
    }
    assert!(requests.len() > 100, "{}", requests.len());
    requests
}

/// The templates that come with the program.
pub fn shipped() -> Catalogue {
    let settings = Settings { senders: vec!["main".into()], ..Settings::default() };
    Catalogue::load(&shipped_messages(), &shipped_events(), &settings).unwrap()
}

/// What makes, submits and lists contents, and what the doctor asks.
fn to_content_api() -> Vec<Request<Bytes>> {
    use twilio::{
        Inquiry,
        templates::{Contents, content},
    };
    let token = SecretString::from("token");
    let at = Contents::new("https://content.twilio.com", ACCOUNT, &token).unwrap();
    let next = "PageSize=100&Page=1&PageToken=DNHX";
    let mut requests = vec![at.list(None), at.list(Some(next))];
    let catalogue = shipped();
    for template in catalogue.templates() {
        for language in template.languages() {
            let (ours, example) =
                (template.definition(language).unwrap(), catalogue.fill_example(template, language).unwrap());
            requests.push(at.create(&content(template.name(), language, &ours, &example).unwrap()));
            requests.extend(["UTILITY", "MARKETING"].map(|category| at.submit(CONTENT, template.name(), category)));
        }
    }
    let ask = Inquiry::new("https://api.twilio.com", "https://content.twilio.com", ACCOUNT, (ACCOUNT, &token)).unwrap();
    requests.extend([ask.account(), ask.contents(None), ask.contents(Some(next))]);
    requests
}

fn to_twilio() -> Vec<Request<Bytes>> {
    let mut requests = to_content_api();
    for by_service in [false, true] {
        let whatsapp = twilio(twilio::Channel::Whatsapp, by_service);
        let made = templates().into_iter().filter_map(|content| whatsapp.encode(&outgoing(ana(), content)).ok());
        let before = requests.len();
        requests.extend(made);
        assert!(requests.len() - before > 10, "most templates can go through Twilio");
        requests.push(whatsapp.encode(&outgoing(ana(), Content::Text("Hola".into()))).unwrap());
        let sms = twilio(twilio::Channel::Sms, by_service);
        requests.push(sms.encode(&outgoing(ana(), Content::Text("Hola".into()))).unwrap());
        let now = Timestamp::UNIX_EPOCH;
        let sought = Sought { to: "+34600111222", from: now, until: now, text: "Hola", others: &[], latest: 50 };
        for sender in [&whatsapp, &sms] {
            requests.push(sender.look(&sought).unwrap());
            let (day, next) = (
                jiff::civil::date(2026, 11, 22),
                format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?Page=1&PageToken=PASM1"),
            );
            requests.extend([None, Some(next.as_str())].map(|page| sender.ask_for_prices(day, page).unwrap()));
        }
    }
    requests
}

#[test]
fn every_request_to_meta_keeps_to_its_document() {
    let spec = Spec::open("meta.json");
    for request in to_meta() {
        assert_eq!(spec.faults(&request), [""; 0], "{request:?}");
    }
}

#[test]
fn every_request_to_twilio_keeps_to_its_document() {
    let spec = Spec::open("twilio.json");
    for request in to_twilio() {
        assert_eq!(spec.faults(&request), [""; 0], "{request:?}");
    }
}

fn words() -> impl Strategy<Value = String> {
    "\\PC{1,60}"
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        words().prop_map(Value::Text),
        (words(), select(vec!["EUR", "COP", "CLP"]), any::<i64>()).prop_map(|(fallback, code, amount_1000)| {
            Value::Currency { fallback, code: code.to_owned(), amount_1000 }
        }),
        words().prop_map(|fallback| Value::DateTime { fallback }),
    ]
}

fn buttons() -> impl Strategy<Value = Vec<Button>> {
    let value = prop_oneof![
        words().prop_map(ButtonValue::UrlSuffix),
        words().prop_map(ButtonValue::Payload),
        "[A-Z0-9]{1,20}".prop_map(ButtonValue::CopyCode),
    ];
    vec(value, 0..=10).prop_map(|values| (0..).zip(values).map(|(index, value)| Button { index, value }).collect())
}

fn filled() -> impl Strategy<Value = Filled> {
    let header = option::of(values().prop_map(|value| Header::Text(Parameter { name: None, value })));
    let body = vec(values(), 0..8)
        .prop_map(|values| values.into_iter().map(|value| Parameter { name: None, value }).collect());
    (header, body, buttons()).prop_map(|(header, body, buttons)| Filled { header, body, buttons })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn so_does_whatever_is_written_in_it(filled in filled(), life in 0_u64..10_000_000, text in "\\PC{1,1000}") {
        for content in [template(filled), Content::Text(text)] {
            let message = Outgoing { life: Duration::from_secs(life), ..outgoing(ana(), content) };
            let request = meta().encode(&message).unwrap();
            prop_assert_eq!(Spec::open("meta.json").faults(&request), [""; 0]);
            if let Ok(request) = twilio(twilio::Channel::Whatsapp, false).encode(&message) {
                prop_assert_eq!(Spec::open("twilio.json").faults(&request), [""; 0]);
                // What the document says only in words.
                let form: Vec<(String, String)> = form_urlencoded::parse(request.body()).into_owned().collect();
                let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
                let valid = field("ValidityPeriod").map(|seconds| seconds.parse::<u32>().unwrap());
                prop_assert!(valid.is_none_or(|seconds| (1..=36_000).contains(&seconds)), "{:?}", valid);
                let variables = field("ContentVariables").map(serde_json::from_str::<BTreeMap<String, String>>);
                prop_assert!(variables.is_none_or(|variables| variables.is_ok()));
            }
        }
    }
}

#[test]
fn each_gap_in_the_documents_is_needed() {
    let all = gaps();
    for (number, gap) in all.iter().enumerate() {
        assert!(gap.why.len() > 8, "{} has no reason", gap.at);
        let mut others = all.clone();
        others.remove(number);
        // What another gap refers to cannot be left out alone.
        let referred = format!("#{}", gap.at);
        others.retain(|other| other.is != json!(referred));
        let spec = Spec::with(&gap.file, &others);
        let requests = if gap.file == "meta.json" { to_meta() } else { to_twilio() };
        assert!(requests.iter().any(|request| !spec.faults(request).is_empty()), "{} is not needed", gap.at);
    }
}

#[test]
fn what_does_not_keep_to_a_document_is_noticed() {
    let spec = Spec::open("meta.json");
    let good = meta().encode(&outgoing(ana(), Content::Text("Hola".into()))).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut body: serde_json::Value = serde_json::from_slice(good.body()).unwrap();
        change(&mut body);
        let mut request = good.clone();
        *request.body_mut() = Bytes::from(body.to_string());
        spec.faults(&request)
    };
    assert_eq!(with(&|_| {}), [""; 0]);
    for (what, faults) in [
        ("a misspelt name", with(&|body| body["recipient_typ"] = json!("individual"))),
        ("a value of another kind", with(&|body| body["to"] = json!(34))),
        ("a type that is not there", with(&|body| body["type"] = json!("letter"))),
        ("nothing of what is required", with(&|body| *body = json!({"type": "text"}))),
        ("a tag that is too long", with(&|body| body["biz_opaque_callback_data"] = json!("x".repeat(513)))),
    ] {
        assert!(!faults.is_empty(), "{what}");
    }
    let twilio = Spec::open("twilio.json");
    let post = |path: &str, form: &str| {
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        twilio.faults(&request.body(Bytes::from(form.to_owned())).unwrap())
    };
    let place = format!("https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
    assert_eq!(post(&place, "To=%2B34600111222&Body=x&ValidityPeriod=60"), [""; 0]);
    for form in ["Body=x", "To=x&Tag=1", "To=x&ContentSid=HX1", "To=x&ValidityPeriod=soon", "To=x&StatusCallback=here"]
    {
        assert_eq!(post(&place, form).len(), if form.contains("HX1") { 2 } else { 1 }, "{form}");
    }
    assert_eq!(post("https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json", "To=x").len(), 2);
    assert_eq!(post("https://api.twilio.com/2010-04-01/Messages.json", "To=x").len(), 1);
}
