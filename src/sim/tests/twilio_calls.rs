//! What Twilio tells the business: statuses, what people write, and the words that it heeds by itself.

use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use bytes::Bytes;
use reqwest::Method;
use serde_json::json;

use super::twilio::*;
use super::*;
use crate::sim::Unable;

const INBOUND: &str = "https://shop.example/webhooks/main";

#[tokio::test]
async fn a_status_goes_to_the_messages_own_address() {
    let shop = Shop::with_content().await;
    let message = shop.taken(&by_content()).await;
    let posts = shop.posts();
    assert!(posts.iter().all(|(url, _)| url == CALLBACK));
    let (_, delivered) = &posts[1];
    for (name, value) in [
        ("MessageSid", message["sid"].as_str().unwrap()),
        ("SmsSid", message["sid"].as_str().unwrap()),
        ("MessageStatus", "delivered"),
        ("SmsStatus", "delivered"),
        ("To", ANA_THERE),
        ("From", WHATSAPP),
        ("AccountSid", ACCOUNT),
        ("ChannelPrefix", "whatsapp"),
        ("EventType", "DELIVERED"),
    ] {
        assert_eq!(delivered[name], value, "{name}");
    }
    assert!(!delivered.contains_key("ErrorCode"));
    let without = with(by_content(), &[("StatusCallback", "")]);
    shop.taken(&without).await;
    assert!(shop.posts().is_empty());
}

#[tokio::test]
async fn phones_that_are_off_and_people_who_block_are_as_at_meta() {
    let shop = Shop::with_content().await;
    let world = shop.sim.world();
    world.change_person(ANA, |ways| ways.offline = true);
    shop.taken(&by_content()).await;
    shop.taken(&[("To", ANA), ("From", SMS), ("Body", "hola"), ("StatusCallback", CALLBACK)]).await;
    assert_eq!(shop.told(), ["sent", "sent"]);
    world.change_person(ANA, |ways| ways.offline = false);
    assert_eq!(shop.told(), ["delivered", "read", "delivered"]);
    world.block(ANA);
    shop.taken(&by_content()).await;
    assert_eq!(shop.told(), ["sent"]);
}

#[tokio::test]
async fn calls_are_doubled_mixed_and_lost_on_request() {
    let shop = Shop::with_content().await;
    let world = shop.sim.world();
    world.set_webhooks(|rules| rules.duplicates = 1);
    shop.taken(&by_content()).await;
    assert_eq!(shop.told(), ["sent", "sent", "delivered", "delivered", "read", "read"]);
    world.set_webhooks(|rules| (rules.duplicates, rules.drop_tags) = (0, [CALLBACK.to_owned()].into()));
    shop.taken(&by_content()).await;
    assert!(shop.told().is_empty());
    world.set_webhooks(|rules| (rules.drop_tags, rules.drop_to) = ([].into(), [ANA.to_owned()].into()));
    shop.taken(&by_content()).await;
    assert!(shop.told().is_empty());
    world.set_webhooks(|rules| (rules.drop_to, rules.shuffle) = ([].into(), true));
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..20 {
        shop.taken(&by_content()).await;
        orders.insert(shop.told());
    }
    assert!(orders.len() > 2, "{orders:?}");
}

#[tokio::test]
async fn what_people_write_and_press_comes_to_the_numbers_address() {
    let shop = Shop::with_content().await;
    let world = shop.sim.world();
    assert!(world.set_inbound_url(WHATSAPP, INBOUND));
    let message = shop.taken(&by_content()).await;
    let sid = message["sid"].as_str().unwrap();
    shop.told();
    let reply = world.reply(ANA, "¿Cuándo llega?").unwrap();
    let press = world.press(ANA, sid, Some("optout:orders")).unwrap();
    let posts = shop.posts();
    assert!(posts.iter().all(|(url, _)| url == INBOUND));
    let (text, button) = (&posts[0].1, &posts[1].1);
    for (name, value) in [
        ("MessageSid", reply.as_str()),
        ("From", ANA_THERE),
        ("To", WHATSAPP),
        ("Body", "¿Cuándo llega?"),
        ("WaId", "34600111222"),
        ("ProfileName", "Ana Prueba"),
        ("MessageType", "text"),
        ("SmsStatus", "received"),
        ("NumMedia", "0"),
    ] {
        assert_eq!(text[name], value, "{name}");
    }
    for (name, value) in [
        ("MessageSid", press.as_str()),
        ("Body", "No recibir más"),
        ("ButtonText", "No recibir más"),
        ("ButtonPayload", "optout:orders"),
        ("OriginalRepliedMessageSid", sid),
        ("MessageType", "button"),
    ] {
        assert_eq!(button[name], value, "{name}");
    }
    assert_eq!(world.press(ANA, sid, Some("other")), Err(Unable::NoButton));
    assert_eq!(world.write_to("whatsapp:+34600999999", ANA, "hola"), Err(Unable::NoSender));
    assert_eq!(world.say(ANA, json!({"type": "image"})), Err(Unable::NotThere));
    world.write_to(SMS, ANA, "hola").unwrap();
    assert!(shop.posts().is_empty(), "the number for SMS has no address");
}

#[tokio::test]
async fn on_sms_twilio_heeds_its_own_words() {
    let shop = Shop::open().await;
    let world = shop.sim.world();
    let sms = [("To", ANA), ("From", SMS), ("Body", "hola")];
    for (word, refused) in [
        ("stop please", false),
        ("BAJA", false),
        (" Stop ", true),
        ("hola", true),
        ("unstop", false),
        ("OPTOUT", true),
        ("Start", false),
    ] {
        world.write_to(SMS, ANA, word).unwrap();
        let answer = shop.ask_to_send(&sms).await;
        assert_eq!(answer, if refused { (400, Some(21610)) } else { (201, None) }, "{word}");
    }
}

#[tokio::test]
async fn on_whatsapp_twilio_heeds_words_only_with_advanced_opt_out() {
    let shop = Shop::with_content().await;
    let world = shop.sim.world();
    assert!(world.set_inbound_url(WHATSAPP, INBOUND));
    world.write_to(WHATSAPP, ANA, "STOP").unwrap();
    assert!(!shop.posts()[0].1.contains_key("OptOutType"));
    shop.taken(&by_content()).await;
    shop.told();
    world.change_account(|account| account.services[0].advanced_opt_out = true);
    for (word, kind, refused) in [("baja", "STOP", true), ("AYUDA", "HELP", true), ("Alta", "START", false)] {
        world.write_to(WHATSAPP, ANA, word).unwrap();
        assert_eq!(shop.posts()[0].1["OptOutType"], kind);
        let answer = shop.ask_to_send(&by_content()).await;
        assert_eq!(answer, if refused { (400, Some(21610)) } else { (201, None) }, "{word}");
        shop.told();
    }
    world.write_to(WHATSAPP, ANA, "STOP").unwrap();
    assert_eq!(
        shop.ask_to_send(&[("To", ANA), ("From", SMS), ("Body", "hola")]).await.0,
        201,
        "SMS is another channel"
    );
    let list = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?To={ANA_THERE}").replace('+', "%2B");
    let (_, list) = shop.ask(Method::GET, &list, None).await;
    let replies = list["messages"].as_array().unwrap().iter().filter(|one| one["direction"] == "outbound-reply");
    assert_eq!(replies.count(), 4, "Twilio answers by itself");
}

impl Shop {
    /// What sending gives: the status, and the code if it was refused.
    async fn ask_to_send(&self, form: &[(&str, &str)]) -> (u16, Option<u64>) {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(form);
        let answer = self
            .client
            .post(format!("{}/2010-04-01/Accounts/{ACCOUNT}/Messages.json", self.sim.url()))
            .header("authorization", basic(KEY, "sim-key-secret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(text.finish());
        let answer = answer.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body["code"].as_u64())
    }
}

/// A receiver of forms, which answers with the status that it is told.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Inbox>>);

#[derive(Default)]
struct Inbox {
    answer: Option<u16>,
    got: Vec<(String, Bytes, HeaderMap)>,
}

impl Receiver {
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/status?attempt=att-1", listener.local_addr().unwrap());
        let router = Router::new().route("/status", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

async fn take(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut inner = receiver.0.lock().unwrap();
    inner.got.push((uri.to_string(), body, headers));
    inner.answer.map_or(StatusCode::NO_CONTENT, |status| StatusCode::from_u16(status).unwrap())
}

#[tokio::test]
async fn calls_are_posted_signed_and_once() {
    let receiver = Receiver::default();
    receiver.0.lock().unwrap().answer = Some(503);
    let url = receiver.listen().await;
    let shop = Shop::open_with(|options| {
        options.contents.push(content());
        options.manual_webhooks = false;
        (options.webhooks.sent_ms, options.webhooks.delivered_ms, options.webhooks.read_ms) = (0, 1, 2);
    })
    .await;
    shop.taken(&with(by_content(), &[("StatusCallback", url.as_str())])).await;
    assert!(shop.sim.drained(Duration::from_secs(10)).await);
    let tally = shop.sim.world().counters().webhooks;
    assert_eq!((tally.failed_posts, tally.given_up, tally.delivered), (3, 3, 0), "a refusal is not tried again");
    let asking = format!("{url}#rc=2&rp=5xx");
    shop.taken(&with(by_content(), &[("StatusCallback", asking.as_str())])).await;
    eventually("each is tried three times", || shop.sim.world().counters().webhooks.given_up == 6).await;
    receiver.0.lock().unwrap().answer = None;
    shop.taken(&with(by_content(), &[("StatusCallback", url.as_str())])).await;
    assert!(shop.sim.drained(Duration::from_secs(10)).await);
    assert_eq!(shop.sim.world().counters().webhooks.delivered, 3);
    let got = receiver.0.lock().unwrap().got.clone();
    assert_eq!(got.len(), 3 + 9 + 3);
    for (uri, _, headers) in &got {
        assert_eq!(uri, "/status?attempt=att-1", "as it was given, without the fragment");
        assert_eq!(headers["x-twilio-signature"].len(), 28);
    }
    let tokens: std::collections::BTreeSet<&str> =
        got[3..12].iter().map(|(_, _, headers)| headers["i-twilio-idempotency-token"].to_str().unwrap()).collect();
    assert_eq!(tokens.len(), 3, "a repetition has the token of the first try");
}

#[tokio::test]
async fn withheld_calls_come_when_the_channel_is_open_again() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let shop = Shop::open_with(|options| {
        options.contents.push(content());
        options.manual_webhooks = false;
        options.webhooks.on = false;
        (options.webhooks.sent_ms, options.webhooks.delivered_ms, options.webhooks.read_ms) = (0, 0, 0);
    })
    .await;
    shop.taken(&with(by_content(), &[("StatusCallback", url.as_str())])).await;
    assert_eq!(shop.sim.world().counters().webhooks.waiting, 3);
    assert!(receiver.0.lock().unwrap().got.is_empty());
    shop.sim.world().set_webhooks(|rules| rules.on = true);
    eventually("all three arrive", || shop.sim.world().counters().webhooks.delivered == 3).await;
}

#[tokio::test]
async fn the_ledger_has_messages_of_both() {
    let path = std::env::temp_dir().join(format!("sim-ledger-{}.jsonl", uuid::Uuid::now_v7()));
    let file = path.clone();
    let shop = Shop::open_with(|options| {
        options.contents.push(content());
        options.ledger = Some(file);
    })
    .await;
    shop.accepted(&hello(ANA)).await;
    shop.taken(&by_content()).await;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["tag"], &lines[1]["phone_number_id"]), (&json!(CALLBACK), &json!(WHATSAPP)));
    assert_eq!((&lines[1]["no"], &lines[1]["template"]), (&json!(2), &json!("order_shipped")));
}
