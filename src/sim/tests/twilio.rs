//! Twilio's Messages API as its client meets it: what is taken, what is refused at once, what fails later.

use reqwest::Method;
use serde_json::json;

use super::*;
use crate::sim::{Fault, Garbage, On, Script, Stage};

pub(super) const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
pub(super) const KEY: &str = "SK0123456789abcdef0123456789abcdef";
pub(super) const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";
pub(super) const SMS: &str = "+34600000001";
pub(super) const WHATSAPP: &str = "whatsapp:+34600000001";
pub(super) const SHIPPED: &str = "HX00000000000000000000000000000001";
pub(super) const ANA_THERE: &str = "whatsapp:+34600111222";
pub(super) const CALLBACK: &str = "https://shop.example/webhooks/main?attempt=att-1";

/// The full content: header, text, footer, a link and a quick reply.
pub(super) fn content() -> Value {
    json!({"sid": SHIPPED, "friendly_name": "order_shipped_es", "language": "es",
        "variables": {"1": "Ana", "2": "12,50 €", "3": "3 dic", "4": "track"},
        "types": {"whatsapp/card": {"body": "Hola {{1}}, tu pedido de {{2}} llega el {{3}}.", "footer": "Tienda Prueba",
            "header_text": "Pedido", "actions": [
                {"type": "URL", "title": "Seguir", "url": "https://tienda.example/{{4}}"},
                {"type": "QUICK_REPLY", "title": "No recibir más", "id": "optout:orders"}]}},
        "approval": {"name": "order_shipped", "category": "UTILITY"}})
}

pub(super) type Form<'a> = Vec<(&'a str, &'a str)>;

/// A message by template to Ana on WhatsApp.
pub(super) fn by_content<'a>() -> Form<'a> {
    vec![
        ("To", ANA_THERE),
        ("From", WHATSAPP),
        ("ContentSid", SHIPPED),
        ("ContentVariables", r##"{"1":"Ana","2":"12,50 €","3":"3 dic","4":"A-1"}"##),
        ("StatusCallback", CALLBACK),
    ]
}

/// The form with some fields otherwise; an empty value takes a field away.
pub(super) fn with<'a>(mut form: Form<'a>, changes: &[(&'a str, &'a str)]) -> Form<'a> {
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        if !value.is_empty() {
            form.push((name, value));
        }
    }
    form
}

impl Shop {
    pub(super) async fn with_content() -> Self {
        Self::open_with(|options| options.contents.push(content())).await
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.sim.url()))
            .header("authorization", basic(ACCOUNT, "sim-auth-token"));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") })
    }

    async fn try_post(&self, form: &[(&str, &str)]) -> reqwest::Result<(u16, String)> {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(form);
        let answer = self
            .client
            .post(format!("{}/2010-04-01/Accounts/{ACCOUNT}/Messages.json", self.sim.url()))
            .header("authorization", basic(ACCOUNT, "sim-auth-token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(text.finish())
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    }

    async fn post(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let (status, text) = self.try_post(form).await.expect("an answer");
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    /// Sends what must be taken; gives the message as Twilio shows it.
    pub(super) async fn taken(&self, form: &[(&str, &str)]) -> Value {
        let (status, message) = self.post(form).await;
        assert_eq!(status, 201, "{message}");
        message
    }

    /// Sends what must be refused at once; gives the HTTP status and the code.
    async fn turned_down(&self, form: &[(&str, &str)]) -> (u16, u64) {
        let (status, answer) = self.post(form).await;
        assert_eq!(answer["status"], status, "{answer}");
        (status, answer["code"].as_u64().unwrap_or_else(|| panic!("no refusal: {answer}")))
    }

    /// What Twilio posts, parsed, with its address.
    pub(super) fn posts(&self) -> Vec<(String, std::collections::BTreeMap<String, String>)> {
        let posts = self.sim.world().take_posts();
        posts
            .into_iter()
            .map(|post| (post.url, form_urlencoded::parse(post.form.as_bytes()).into_owned().collect()))
            .collect()
    }

    /// The statuses that Twilio posts, each with its code if it has one.
    pub(super) fn told(&self) -> Vec<String> {
        let told = |form: &std::collections::BTreeMap<String, String>| {
            let code = form.get("ErrorCode").map(|code| format!(" {code}")).unwrap_or_default();
            format!("{}{code}", form["MessageStatus"])
        };
        self.posts().iter().map(|(_, form)| told(form)).collect()
    }
}

pub(super) fn basic(user: &str, secret: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}")))
}

#[tokio::test]
async fn content_is_taken_and_remembered_as_the_person_reads_it() {
    let shop = Shop::with_content().await;
    let message = shop.taken(&with(by_content(), &[("ValidityPeriod", "600")])).await;
    assert_eq!(message["status"], "queued");
    assert_eq!(message["body"], "Hola Ana, tu pedido de 12,50 € llega el 3 dic.");
    assert_eq!((&message["to"], &message["from"]), (&json!(ANA_THERE), &json!(WHATSAPP)));
    assert_eq!(
        (&message["date_sent"], &message["price"], &message["error_code"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(message["date_created"], "Sat, 26 Sep 2026 10:00:00 +0000");
    let sid = message["sid"].as_str().unwrap();
    assert!(sid.len() == 34 && sid.starts_with("SM"), "{sid}");

    let kept = shop.sim.world().message(sid).expect("the message is remembered");
    assert_eq!((kept.template.as_deref(), kept.language.as_deref()), (Some("order_shipped"), Some("es")));
    assert_eq!(kept.category.as_deref(), Some("UTILITY"));
    assert_eq!(kept.parameters, ["Ana", "12,50 €", "3 dic"]);
    assert_eq!((kept.tag.as_deref(), kept.valid_s), (Some(CALLBACK), Some(600)));
    assert_eq!((kept.to.as_str(), kept.phone_number_id.as_str()), (ANA, WHATSAPP));
    assert_eq!(kept.buttons.len(), 1, "a link is not a quick reply");
    assert_eq!(shop.sim.world().counters().accepted, 1);
}

#[tokio::test]
async fn a_variable_without_a_value_gets_the_contents_own() {
    let shop = Shop::with_content().await;
    let message = shop.taken(&with(by_content(), &[("ContentVariables", r#"{"1":"Eva"}"#)])).await;
    assert_eq!(message["body"], "Hola Eva, tu pedido de 12,50 € llega el 3 dic.");
}

#[tokio::test]
async fn parameters_are_checked_at_once() {
    let shop = Shop::with_content().await;
    let (long, huge) = ("x".repeat(1_601), format!(r#"{{"1":"{}"}}"#, "x".repeat(1_601)));
    let cases: Vec<(&str, &str, u64)> = vec![
        ("To", "", 21604),
        ("To", "whatsapp:34600111222", 21211),
        ("To", "whatsapp: 34600111222", 21211),
        ("To", "ana@example.com", 21211),
        ("To", ANA, 21910),
        ("To", WHATSAPP, 63031),
        ("From", "", 21603),
        ("From", "whatsapp:Tienda", 21212),
        ("From", "whatsapp:+34600999999", 63007),
        ("MessagingServiceSid", "MG1", 21705),
        ("MessagingServiceSid", "MGffffffffffffffffffffffffffffffff", 21705),
        ("ContentSid", "", 21654),
        ("ContentSid", "HX1", 21655),
        ("ContentSid", "HXffffffffffffffffffffffffffffffff", 21655),
        ("ContentVariables", "Ana", 21656),
        ("ContentVariables", "[\"Ana\"]", 21656),
        ("ContentVariables", r#"{"1":1}"#, 21656),
        ("ContentVariables", r#"{"name":"Ana"}"#, 21656),
        ("ContentVariables", &huge, 21658),
        ("ValidityPeriod", "0", 90007),
        ("ValidityPeriod", "36001", 90007),
        ("StatusCallback", "/webhooks/main", 21609),
        ("StatusCallback", "https://my_shop.example/x", 21609),
        ("MediaUrl", "https://shop.example/1.png", 21620),
        ("Tag", "att-1", 20001),
    ];
    for (name, value, code) in cases {
        assert_eq!(shop.turned_down(&with(by_content(), &[(name, value)])).await, (400, code), "{name}={value}");
    }
    let text = |body: &'static str| vec![("To", ANA), ("From", SMS), ("Body", body)];
    assert_eq!(shop.turned_down(&text("")).await, (400, 21619));
    assert_eq!(shop.turned_down(&with(text("hola"), &[("Body", long.as_str())])).await, (400, 21617));
    assert_eq!(shop.turned_down(&with(text("hola"), &[("From", "+34600999999")])).await, (400, 21606));
    assert_eq!(shop.turned_down(&with(text("hola"), &[("To", SMS)])).await, (400, 21266));
    let mut twice = text("hola");
    twice.push(("Body", "hola"));
    assert_eq!(shop.turned_down(&twice).await, (400, 20422));
    assert!(shop.sim.world().accepted().is_empty());
    assert_eq!(shop.sim.world().counters().refused[&21656], 4);

    let place = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
    let json = shop.ask(Method::POST, &place, Some(json!({"To": ANA}))).await;
    assert_eq!(json.1["code"], 21604, "a body that is not declared as a form");
}

#[tokio::test]
async fn only_the_auth_token_or_a_key_of_the_account_is_let_in() {
    let shop = Shop::open().await;
    let place = |account: &str| format!("{}/2010-04-01/Accounts/{account}/Messages.json", shop.sim.url());
    let other = "ACffffffffffffffffffffffffffffffff";
    for (account, user, secret, status) in [
        (ACCOUNT, ACCOUNT, "sim-auth-token", 200),
        (ACCOUNT, KEY, "sim-key-secret", 200),
        (ACCOUNT, KEY, "sim-auth-token", 401),
        (ACCOUNT, ACCOUNT, "sim-key-secret", 401),
        (other, ACCOUNT, "sim-auth-token", 401),
        (other, other, "sim-auth-token", 401),
    ] {
        let request = shop.client.get(place(account)).header("authorization", basic(user, secret));
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{account} {user} {secret}");
    }
    assert_eq!(shop.client.get(place(ACCOUNT)).send().await.unwrap().status().as_u16(), 401);
    let bearer = shop.client.get(place(ACCOUNT)).header("authorization", "Bearer sim-token");
    assert_eq!(bearer.send().await.unwrap().status().as_u16(), 401);
    shop.sim.world().change_account(|account| account.token = "new".into());
    assert_eq!(shop.ask(Method::GET, &format!("/2010-04-01/Accounts/{ACCOUNT}.json"), None).await.0, 401);
}

#[tokio::test]
async fn what_the_channel_refuses_is_reported_later() {
    let shop = Shop::with_content().await;
    let world = shop.sim.world();
    let text: Form<'_> = vec![("To", ANA_THERE), ("From", WHATSAPP), ("Body", "hola"), ("StatusCallback", CALLBACK)];
    shop.taken(&text).await;
    assert_eq!(shop.told(), ["failed 63016"]);
    world.write_to(WHATSAPP, ANA, "una pregunta").unwrap();
    shop.taken(&text).await;
    assert_eq!(shop.told(), ["sent", "delivered", "read"]);
    shop.pass(24 * 3_600 * 1_000);
    shop.taken(&text).await;
    assert_eq!(shop.told(), ["failed 63016"]);

    for (stage, told) in [
        (Stage::Rejected, "failed 63040"),
        (Stage::Paused, "failed 63041"),
        (Stage::Disabled, "failed 63042"),
        (Stage::Pending, "failed 63016"),
        (Stage::Unsubmitted, "failed 63016"),
    ] {
        assert!(world.set_content_stage(SHIPPED, stage));
        shop.taken(&by_content()).await;
        assert_eq!(shop.told(), [told], "{stage:?}");
    }
    assert!(world.set_content_stage(SHIPPED, Stage::Approved));
    let long = format!(r#"{{"1":"{}"}}"#, "x".repeat(1_000));
    for (variables, told) in [
        (r#"{"1":""}"#, vec!["sent", "undelivered 63013"]),
        (r#"{"1":"a\nb"}"#, vec!["sent", "undelivered 63013"]),
        (long.as_str(), vec!["failed 63021"]),
    ] {
        shop.taken(&with(by_content(), &[("ContentVariables", variables)])).await;
        assert_eq!(shop.told(), told, "{variables}");
    }
    world.change_person("+34600999888", |ways| ways.on_whatsapp = false);
    let message = shop.taken(&with(by_content(), &[("To", "whatsapp:+34600999888")])).await;
    let posts = shop.posts();
    assert_eq!(posts[1].1["ErrorCode"], "63024");
    assert_eq!(posts[1].1["EventType"], "UNDELIVERED");
    shop.pass(1_000);
    let sid = message["sid"].as_str().unwrap();
    let (_, shown) = shop.ask(Method::GET, &format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json"), None).await;
    assert_eq!((&shown["status"], &shown["error_code"]), (&json!("undelivered"), &json!(63024)));
    world.fault(Script::next(1, Fault::FailLater { code: 30410 })).unwrap();
    shop.taken(&by_content()).await;
    assert_eq!(shop.told(), ["failed 30410"]);
}

#[tokio::test]
async fn content_in_review_is_free_text() {
    let shop = Shop::with_content().await;
    let world = shop.sim.world();
    world.set_content_stage(SHIPPED, Stage::Received);
    world.write_to(WHATSAPP, ANA, "una pregunta").unwrap();
    shop.taken(&by_content()).await;
    shop.taken(&with(by_content(), &[("To", "whatsapp:+34600999888")])).await;
    let failed: Vec<Option<u32>> = world.accepted().iter().map(|message| message.fails).collect();
    assert_eq!(failed, [None, Some(63016)]);
}

#[tokio::test]
async fn rates_and_the_pair_limit_are_kept() {
    let shop = Shop::open_with(|options| {
        options.contents.push(content());
        options.pair.burst = 1;
        options.twilio.numbers.iter_mut().for_each(|number| number.mps = 2);
    })
    .await;
    shop.taken(&by_content()).await;
    shop.taken(&by_content()).await;
    assert_eq!(shop.told(), ["sent", "delivered", "read", "failed 63018"]);
    assert_eq!(shop.turned_down(&by_content()).await, (429, 20429));
    shop.pass(6_000);
    shop.taken(&by_content()).await;
    assert_eq!(shop.told(), ["sent", "delivered", "read"]);
}

#[tokio::test]
async fn a_service_sends_from_its_pool() {
    let shop = Shop::with_content().await;
    let by_service = with(by_content(), &[("From", ""), ("MessagingServiceSid", SERVICE)]);
    let message = shop.taken(&by_service).await;
    assert_eq!((&message["status"], &message["from"]), (&json!("accepted"), &json!(null)));
    assert_eq!(message["num_segments"], "0");
    let posts = shop.posts();
    let statuses: Vec<&str> = posts.iter().map(|(_, form)| form["MessageStatus"].as_str()).collect();
    assert_eq!(statuses, ["queued", "sent", "delivered", "read"]);
    assert!(posts.iter().all(|(_, form)| form["MessagingServiceSid"] == SERVICE && form["From"] == WHATSAPP));
    shop.sim.world().change_account(|account| account.numbers.retain(|number| number.address == SMS));
    assert_eq!(shop.turned_down(&by_service).await, (400, 21703));
    shop.taken(&[("To", ANA), ("MessagingServiceSid", SERVICE), ("Body", "hola")]).await;
    assert_eq!(shop.sim.world().texts_to(ANA)[0].phone_number_id, SMS);
}

#[tokio::test]
async fn a_number_in_trouble_says_so_at_once_or_later() {
    let shop = Shop::with_content().await;
    let trouble = |code| {
        shop.sim.world().change_account(|account| {
            account.numbers.iter_mut().for_each(|number| number.trouble = Some(code));
        });
    };
    trouble(20003);
    assert_eq!(shop.turned_down(&by_content()).await, (401, 20003));
    trouble(63051);
    shop.taken(&by_content()).await;
    assert_eq!(shop.told(), ["failed 63051"]);
}

#[tokio::test]
async fn an_sms_is_counted_in_segments_and_never_read() {
    let shop = Shop::open().await;
    let long = "ñ".repeat(161);
    for (body, segments) in [("hola", "1"), (long.as_str(), "2"), ("“hola”", "1")] {
        let message = shop.taken(&[("To", ANA), ("From", SMS), ("Body", body), ("StatusCallback", CALLBACK)]).await;
        assert_eq!(message["num_segments"], segments, "{body}");
    }
    assert_eq!(shop.told(), ["sent", "delivered"].repeat(3));
    assert_eq!(shop.sim.world().texts_to(ANA).len(), 3);
}

#[tokio::test]
async fn faults_happen_on_twilios_addresses_too() {
    let shop = Shop::with_content().await;
    let world = shop.sim.world();
    let count = || world.accepted().len();
    for (fault, processed) in [
        (Fault::Refuse { after_bytes: 10 }, false),
        (Fault::CutBefore { reset: true }, false),
        (Fault::CutAfter { reset: false }, true),
        (Fault::Stall { ms: 1, process: false }, false),
    ] {
        let before = count();
        world.fault(Script::next(1, fault.clone())).unwrap();
        shop.try_post(&by_content()).await.expect_err("no answer");
        assert_eq!(count() - before, usize::from(processed), "{fault:?}");
    }
    for (body, readable) in [(Garbage::Html, false), (Garbage::Truncated, false), (Garbage::MissingId, true)] {
        let before = count();
        world.fault(Script::next(1, Fault::Garbage { body, process: true })).unwrap();
        let (status, text) = shop.try_post(&by_content()).await.unwrap();
        assert_eq!((status, count() - before), (201, 1));
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), readable, "{body:?}: {text}");
        assert!(!text.contains("\"sid\""), "{body:?}: {text}");
    }
    let broken = Fault::Status { status: 500, code: Some(20500), process: true, retry_after: None };
    world.fault(Script::next(1, broken).to(ANA)).unwrap();
    shop.taken(&with(by_content(), &[("To", "whatsapp:+34600999888")])).await;
    let before = count();
    assert_eq!(shop.turned_down(&by_content()).await, (500, 20500));
    assert_eq!(count() - before, 1);
    world.fault(Script::next(1, Fault::Error { code: 20429, retry_after: Some("1".into()) })).unwrap();
    assert_eq!(shop.turned_down(&by_content()).await, (429, 20429));

    let listing = Script { on: On::Management, ..Script::next(1, Fault::Error { code: 20500, retry_after: None }) };
    world.fault(listing).unwrap();
    shop.taken(&by_content()).await;
    let (status, _) = shop.ask(Method::GET, &format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"), None).await;
    assert_eq!(status, 500);
    shop.told();
    world.fault(Script::next(1, Fault::Silent)).unwrap();
    shop.taken(&by_content()).await;
    assert_eq!(shop.told(), [""; 0]);
}
