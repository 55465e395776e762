//! A whole run through every door, with provider errors, nonsense and a fault of our own, and then a search of everything that Recado says of
//! itself: logs as text and as JSON down to `trace`, metrics, traces, what a panic leaves. Nobody's number, name, words or token is in it.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use lapin::BasicProperties;
use recado::{
    cli::users,
    db::keys::Role,
    provider::Dialect,
    sim::{Fault, Script},
};
use reqwest::{Client, Response, redirect};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    console::visit::Visit,
    drain,
    figures::page,
    harness::{Fleet, PATIENCE, event, free_port, phone, until},
    target::{SECRET, Target},
    traces::Collector,
};

const NAME: &str = "Zoraida Quintanilla";
const WORDS: &str = "Me llamo Zoraida Quintanilla y vivo en la Calle Secreta 7";
/// Who asks by the form to be written to, by WhatsApp and by SMS.
const VISITORS: [&str; 2] = ["611000777", "611000778"];
const BUSINESS: &str = "200000000000002";

fn secretive(id: &str, person: usize) -> Value {
    event(
        "order.confirmed",
        id,
        json!({"customer": {"phone": phone(person), "name": NAME}, "order": {"number": "PEDIDO-SECRETO"}}),
    )
}

/// Somebody outside, with what they were given.
struct Outside {
    doors: String,
    client: Client,
    /// What must be nowhere.
    given: Vec<String>,
}

impl Outside {
    async fn get(&self, path: &str, bearer: Option<&str>) -> Response {
        let request = self.client.get(format!("{}{path}", self.doors));
        bearer.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key)).send().await.unwrap()
    }

    async fn post(&self, path: &str, kind: &str, body: String, headers: &[(&str, String)]) -> Response {
        let mut request = self.client.post(format!("{}{path}", self.doors)).header("content-type", kind).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.unwrap()
    }

    /// A webhook that the secret signs.
    async fn genuine(&self, body: &str) -> Response {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"sim-app-secret").unwrap();
        mac.update(body.as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = [("x-hub-signature-256", format!("sha256={hex}"))];
        self.post("/webhooks/main", "application/json", body.to_owned(), &signature).await
    }

    /// Fills in the form; gives the address of the waiting page.
    async fn asks(&mut self, phone: &str, way: &str) -> String {
        let form = self.get("/opt-in/pedidos", None).await;
        let cookie = form.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let text = form.text().await.unwrap();
        let (_, rest) = text.split_once("name=\"csrf\" value=\"").expect("a form with its secret");
        let csrf = rest.split_once('"').unwrap().0.to_owned();
        let body = format!("csrf={csrf}&lang=es&phone={phone}&purpose=orders&purpose=shipping&way={way}");
        let answer = self
            .post("/opt-in/pedidos", "application/x-www-form-urlencoded", body, &[("cookie", cookie.clone())])
            .await;
        assert_eq!(answer.status(), 303);
        let place = answer.headers()["location"].to_str().unwrap().to_owned();
        self.given.extend([csrf, cookie.split_once('=').unwrap().1.to_owned(), last(&place)]);
        place
    }
}

/// Nothing of what must be nowhere is anywhere in what was told.
fn nowhere(told: &[(&str, String)], secrets: &[String]) {
    for (where_it_is, text) in told {
        assert!(!text.is_empty(), "{where_it_is} says something");
        for secret in secrets {
            let found = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(found.is_none(), "{where_it_is} has {secret}: {}", found.unwrap_or_default());
        }
    }
}

fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_recado_says_of_itself_tells_of_a_person() {
    let (collector, port) = (Collector::open().await, free_port());
    let sms = free_port();
    let plan = |plan: &mut super::harness::Plan| {
        for (key, value) in [
            ("traces.endpoint", collector.address.as_str()),
            ("http.metrics_listen", &format!("127.0.0.1:{port}")),
            ("log.level", "info,recado=trace"),
            ("forms.dir", concat!(env!("CARGO_MANIFEST_DIR"), "/config/forms")),
            ("senders.main.number", "+34600000000"),
            ("senders.sms.kind", "twilio_sms"),
            ("senders.sms.account_sid", "AC0123456789abcdef0123456789abcdef"),
            ("senders.sms.number", "+34600000009"),
            ("senders.sms.auth_token", "sim-auth-token"),
            // Nobody is there: an SMS cannot go, and that is told as well.
            ("senders.sms.base_url", &format!("http://127.0.0.1:{sms}")),
            ("consent.grace", "1s"),
        ] {
            plan.set(key, value);
        }
        plan.people = 8;
    };
    Fleet::run("privacy", plan, async |fleet| {
        let most = ["--roles", "intake,http,receipts,outbox,upkeep,replies"];
        let first = fleet.spawn_as(&most, &[]);
        let json = [("RECADO_LOG__FORMAT", "json"), ("RECADO_HTTP__METRICS_LISTEN", "127.0.0.1:0")];
        let second = fleet.spawn_as(&["--roles", "dispatch"], &json);
        fleet.ready(first).await;
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
        let mut outside =
            Outside { doors: format!("http://{}", fleet.settings["http.listen"]), client, given: Vec::new() };
        let world = std::sync::Arc::clone(fleet.sim.world());

        // Events, known and unknown people, and what goes wrong at the provider.
        world.change_person(&phone(1), |person| person.on_whatsapp = false);
        fleet.publish(&[secretive("first", 0), secretive("nowhere", 1), secretive("unasked", 60)]).await;
        fleet.reaches("first", "accepted").await;
        world.fault(Script::next(1, Fault::Error { code: 131_056, retry_after: None })).unwrap();
        fleet.publish(&[secretive("busy", 2)]).await;
        fleet.reaches("busy", "accepted").await;
        world.fault(Script::next(1, Fault::Error { code: 100, retry_after: None })).unwrap();
        fleet.publish(&[secretive("refused", 3)]).await;
        fleet.becomes("refused", "failed", |standing| standing.state == "failed" || standing.attempt > 1).await;

        // Nonsense of producers, and the same identity with something else.
        let nonsense = format!("{{\"customer\": \"{NAME}, {}\"", phone(0));
        let mut unreadable = secretive("unreadable", 0);
        unreadable["data"]["customer"]["phone"] = json!(format!("{NAME} 600 100"));
        let mut other = secretive("first", 0);
        other["data"]["customer"]["name"] = json!(WORDS);
        for body in [nonsense, unreadable.to_string(), other.to_string()] {
            drop(fleet.put("order.confirmed", body.as_bytes(), BasicProperties::default()).await.await);
        }
        until("nonsense is kept", PATIENCE, async || {
            fleet.count("select (select count(*) from rejected_events) + (select count(*) from inbox_conflicts)").await == 3
        })
        .await;

        // People write.
        world.write_to(BUSINESS, &phone(4), WORDS).unwrap();
        world.write_to(BUSINESS, &phone(4), "AYUDA").unwrap();
        world.write_to(BUSINESS, &phone(5), "BAJA").unwrap();
        world.change_person(&phone(6), |person| person.hidden = true);
        world.write_to(BUSINESS, &phone(6), WORDS).unwrap();
        until("they are heard", PATIENCE, async || fleet.count("select count(*) from inbound").await == 4).await;
        until("they are answered", PATIENCE, async || {
            fleet.count("select count(*) from replies where state = 'accepted'").await >= 2
        })
        .await;

        // Webhooks that nobody signed, that nobody can read, that are about nothing.
        let body = json!({"from": phone(0).trim_start_matches('+'), "text": WORDS}).to_string();
        let forged = [("x-hub-signature-256", "sha256=00".to_owned())];
        assert_eq!(outside.post("/webhooks/main", "application/json", body.clone(), &forged).await.status(), 401);
        assert_eq!(outside.genuine(&body).await.status(), 200);
        assert_eq!(outside.genuine(&format!("{{{body}")).await.status(), 200);
        let stray = json!({"object": "whatsapp_business_account", "entry": [{"id": "100000000000001", "changes": [
            {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "1"},
                "contacts": [{"wa_id": &phone(0)[1..], "profile": {"name": NAME}}],
                "messages": [{"from": &phone(0)[1..], "id": "wamid.x", "timestamp": "not a time", "type": "text", "text": {"body": WORDS}}],
                "statuses": [{"id": "wamid.y", "status": WORDS, "recipient_id": &phone(0)[1..]}]}},
            {"field": WORDS, "value": {"phone": phone(0)}}]}]});
        assert_eq!(outside.genuine(&stray.to_string()).await.status(), 200);

        // The form, its pages and the provider's tap; an SMS; the API, with a key and without.
        let waiting = outside.asks(VISITORS[0], "whatsapp").await;
        assert_eq!(outside.get(&waiting, None).await.status(), 200);
        outside.asks(VISITORS[1], "sms").await;
        assert_eq!(outside.get("/opt-in/pedidos/link/not-a-token-at-all", None).await.status().as_u16() / 100, 4);
        let made = fleet.command(&["keys", "create", "--name", "privacy", "--role", "operator"]).await;
        let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let person = format!("/v1/notifications?phone=%2B{}", &phone(0)[1..]);
        assert_eq!(outside.get(&person, Some(&key)).await.status(), 200);
        assert_eq!(outside.get(&person, Some("rk_wrong-and-secret-too")).await.status(), 401);
        assert_eq!(outside.get(&format!("/v1/nothing/{}", phone(0)), Some(&key)).await.status(), 404);
        let bearer = [("authorization", format!("Bearer {key}"))];
        let broken = format!("{{\"phone\": \"{}\", \"name\": \"{NAME}", phone(0));
        let answer = outside.post("/v1/consents/revoke", "application/json", broken, &bearer).await;
        assert_eq!(answer.status().as_u16() / 100, 4);
        let revoked = json!({"phone": phone(7), "purposes": ["orders"], "reason": WORDS}).to_string();
        drop(outside.post("/v1/consents/revoke", "application/json", revoked, &bearer).await);
        outside.given.extend([key, "rk_wrong-and-secret-too".to_owned(), "not-a-token-at-all".to_owned()]);

        // A fault of ours, with somebody's name in its mouth.
        fleet.stop(second).await;
        let words = format!("answered:1:no slot for {NAME} ({})", phone(0));
        let crash = [("RECADO_CRASH", words.as_str()), ("RECADO_HTTP__METRICS_LISTEN", "127.0.0.1:0"), ("RUST_BACKTRACE", "1")];
        let third = fleet.spawn_as(&["--roles", "dispatch"], &crash);
        fleet.publish(&[secretive("fatal", 0)]).await;
        until("it panicked", PATIENCE, async || fleet.log(third).contains("process.panicked")).await;
        fleet.becomes("fatal", "in doubt or settled by the report", |s| s.state == "in_doubt" || s.state == "accepted").await;

        let metrics = page_of(port).await;
        fleet.stop(first).await;
        fleet.kill(third).await;
        let told = [
            ("the log of the doors, text", fleet.log(first)),
            ("the log of the dispatcher, JSON", fleet.log(second)),
            ("the log of the one that panicked", fleet.log(third)),
            ("the metrics", metrics),
            ("the traces", collector.text()),
        ];
        let mut secrets: Vec<String> = (0..8).chain([60]).map(|n| phone(n)[3..].to_owned()).collect();
        secrets.extend(VISITORS.map(str::to_owned));
        secrets.extend(["Zoraida", "Quintanilla", "Calle Secreta", "PEDIDO-SECRETO", "Hola ", "Ana Prueba"].map(str::to_owned));
        secrets.extend(["sim-token", "sim-app-secret", "sim-verify-token", "sim-auth-token"].map(str::to_owned));
        secrets.extend(outside.given);
        nowhere(&told, &secrets);
        // It went through all of it, and it is one line an attempt.
        for line in ["event.rejected", "event.conflict", "consent.revoked", "webhook.refused", "opt_in.asked", "http.answered"] {
            assert!(told[0].1.contains(line), "the doors tell {line}");
        }
        let attempts: Vec<Value> = told[1].1.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
        let attempts: Vec<&Value> = attempts.iter().filter(|line| line["message"] == "attempt.ended").collect();
        let made = fleet.count("select count(*) from attempts where outcome is not null").await;
        assert!(attempts.len() as i64 >= made - 1 && attempts.len() >= 4, "{made} attempts, {} lines", attempts.len());
        let refused = attempts.iter().find(|line| line["outcome"] == "rejected").expect("one that was refused");
        assert!(refused["reason"].is_string() && refused["code"].is_i64(), "{refused}");
        for attempt in attempts {
            assert_eq!((attempt["sender"].as_str(), attempt["template"].as_str()), (Some("main"), Some("order_confirmed")));
            assert_eq!(attempt["notification"].as_str().map(str::len), Some(36));
            assert!(attempt["attempt"].as_i64() >= Some(1) && attempt["took_ms"].is_u64(), "{attempt}");
        }
        assert!(told[3].1.contains("recado_inbox_events_total") && told[4].1.contains("\"attempt\""));
    })
    .await;
}

/// What somebody outside was given, or gives, that is nobody else's business.
const WRONG_PASSWORD: &str = "contrasena-equivocada-de-zoraida";
const PASSWORD: &str = "caballo-pila-grapa-correcto";
const ONCE: &str = "llave-de-una-sola-vez-7";
const RELAY_SECRET: &str = "whsec_cmVsYXktc2VjcmV0LXJlbGF5LXNlY3JldC1yZWxheQ==";
/// What the addresses of those who are told end with.
const TOLD_KEY: &str = "clave-en-la-direccion";
const AT_TWILIO: &str = "whatsapp:+34600000001";
/// Who places an order in the shop's own database.
const BUYER: &str = "+34611000779";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_what_it_says_of_twilio_of_those_who_are_told_and_of_the_people_at_the_console() {
    let (collector, port) = (Collector::open().await, free_port());
    let (told_at, relayed_to) = (Target::start().await, Target::start().await);
    // Whoever is told does not take it at once, and Recado says why.
    for target in [&told_at, &relayed_to] {
        let mut asked = 0;
        target.answers(move |_| {
            asked += 1;
            (if asked < 3 { 500 } else { 200 }, Duration::ZERO)
        });
    }
    let plan = |plan: &mut super::harness::Plan| {
        plan.at(Dialect::Twilio);
        plan.people = 4;
        for number in &mut plan.sim.twilio.numbers {
            let url = plan.sim.webhooks.url.clone();
            number.inbound_url = url.filter(|_| number.address == AT_TWILIO);
        }
        for (key, value) in [
            ("traces.endpoint", collector.address.as_str()),
            ("http.metrics_listen", &format!("127.0.0.1:{port}")),
            ("log.level", "info,recado=trace"),
            ("forms.dir", concat!(env!("CARGO_MANIFEST_DIR"), "/config/forms")),
            ("callbacks.shop.url", &format!("{}?key={TOLD_KEY}", told_at.url())),
            ("callbacks.shop.secret", SECRET),
            ("senders.main.relay.url", &format!("{}?key={TOLD_KEY}", relayed_to.url())),
            ("senders.main.relay.secret", RELAY_SECRET),
            ("outward.private_addresses", "allow"),
            ("outward.poll", "50ms"),
            ("outward.retry_base", "50ms"),
            ("outward.retry_cap", "200ms"),
            ("drain.poll", "50ms"),
            ("consent.grace", "1s"),
        ] {
            plan.set(key, value);
        }
    };
    Fleet::run("privacy_outside", plan, async |fleet| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(drain::schema())).execute(&fleet.pool).await.expect("a shop's tables");
        let shop = format!("{}?options=-c%20search_path%3Dshop", fleet.database_url);
        fleet.settings.insert("drain.url".to_owned(), shop);
        let first = fleet.spawn_as(&["--roles", "intake,http,receipts,outbox,upkeep,replies"], &[]);
        let json = [("RECADO_LOG__FORMAT", "json"), ("RECADO_HTTP__METRICS_LISTEN", "127.0.0.1:0")];
        let second = fleet.spawn_as(&["--roles", "dispatch"], &json);
        fleet.ready(first).await;
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
        let doors = fleet.settings["http.listen"].clone();
        let mut outside = Outside { doors: format!("http://{doors}"), client, given: Vec::new() };

        // Out through Twilio, which reports; once its answer is an error.
        fleet.publish(&[secretive("first", 0)]).await;
        fleet.reaches("first", "accepted").await;
        let broken = Fault::Status { status: 500, code: Some(20_500), process: true, retry_after: None };
        fleet.sim.world().fault(Script::next(1, broken)).unwrap();
        fleet.publish(&[secretive("broken", 1)]).await;
        fleet.becomes("broken", "settled by the report", |standing| standing.state == "accepted").await;
        // People write to the number there; somebody who is not Twilio says that they did.
        for words in [WORDS, "AYUDA", "BAJA"] {
            fleet.sim.world().write_to(AT_TWILIO, &phone(2), words).unwrap();
        }
        until("they are heard", PATIENCE, async || fleet.count("select count(*) from inbound").await == 3).await;
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("MessageSid", "SM1"), ("From", &format!("whatsapp:{}", phone(0))), ("Body", WORDS)])
            .finish();
        let forged = [("x-twilio-signature", "Zm9yZ2Vk".to_owned())];
        let kind = "application/x-www-form-urlencoded";
        let answer = outside.post("/webhooks/main", kind, form, &forged).await;
        assert_eq!(answer.status(), 401);

        // A backend brings events: good, bad, once more, and with a key that is none.
        let made = fleet.command(&["keys", "create", "--name", "shop", "--role", "producer"]).await;
        let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let bearer = |key: &str| [("authorization", format!("Bearer {key}")), ("idempotency-key", ONCE.to_owned())];
        let bring = async |body: String, key: &str, once: bool| {
            let headers = bearer(key);
            let headers = if once { &headers[..] } else { &headers[..1] };
            outside.post("/v1/events", "application/cloudevents+json", body, headers).await.status().as_u16()
        };
        let mut unreadable = secretive("unreadable", 0);
        unreadable["data"]["customer"]["phone"] = json!(format!("{NAME} 600 100"));
        let brought = secretive("brought", 3).to_string();
        for again in [false, true] {
            assert_eq!(bring(brought.clone(), &key, true).await, 202, "the first answer, again: {again}");
        }
        assert_eq!(bring(secretive("other", 3).to_string(), &key, true).await, 422, "another request with the key");
        assert_eq!(bring(unreadable.to_string(), &key, false).await, 422);
        assert_eq!(bring(format!("{{\"name\": \"{NAME}"), &key, false).await, 422);
        assert_eq!(bring(secretive("stranger", 3).to_string(), "rk_wrong-and-secret-too", false).await, 401);
        fleet.reaches("brought", "accepted").await;

        // A shop's own table is emptied, of events and of nonsense.
        let written = format!(
            "insert into shop.orders values (1, 'PEDIDO-SECRETO', 'confirmed', '{BUYER}', '{NAME}', 'es', 59.90, 'EUR');
             insert into shop.recado_outbox (event) values ('{{\"type\": \"order.confirmed\", \"who\": \"{NAME}\"}}')"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(written)).execute(&fleet.pool).await.expect("an order");
        until("the table is empty", PATIENCE, async || {
            fleet.count("select count(*) from shop.recado_outbox").await == 0
        })
        .await;

        // Somebody at the console, by a wrong password and by the right one, looks for a person.
        users::create(&fleet.pool, "ana", Role::Operator, PASSWORD).await.unwrap();
        let mut visit = Visit::at(&doors);
        assert_eq!(visit.log_in("ana", WRONG_PASSWORD, "").await.status, 422);
        outside.given.extend(visit.cookie.split_once('=').map(|(_, value)| value.to_owned()));
        assert_eq!(visit.log_in("ana", PASSWORD, "").await.status, 303);
        let search = "/console/notifications";
        let led = visit.fill(search, search, &[("phone", &phone(0))]).await;
        let found = visit.get(led.leads()).await;
        let id: String = sqlx::query_scalar("select id::text from notifications where event_id = 'first'")
            .fetch_one(&fleet.pool)
            .await
            .expect("a notification");
        assert!(found.text.contains(&id), "{}", found.text);
        let page = format!("/console/notifications/{id}");
        let whole = visit.fill(&page, &format!("{page}/number"), &[]).await;
        assert!(whole.text.contains(&phone(0)), "{}", whole.text);
        let consents = visit.fill("/console/consents", "/console/consents", &[("who", &phone(0))]).await;
        assert!(consents.status.as_u16() < 400, "{}", consents.text);
        outside.given.push(visit.get(&page).await.csrf());
        outside.given.extend(visit.cookie.split_once('=').map(|(_, value)| value.to_owned()));
        outside.given.extend([key.clone(), "rk_wrong-and-secret-too".to_owned()]);

        // All of it is told to who is to know, in the end.
        until("they are told", PATIENCE, async || {
            let callbacks = "select count(*) from callback_events e, callbacks c where e.position > c.position";
            let relays = "select count(*) from webhooks where relay = 'due'";
            fleet.count(callbacks).await == 0
                && fleet.count(relays).await == 0
                && fleet.count("select count(*) from outbox").await == 0
        })
        .await;
        assert!(told_at.taken().iter().all(super::target::Seen::is_genuine) && told_at.taken().len() >= 6);
        assert!(relayed_to.taken().iter().any(|seen| String::from_utf8_lossy(&seen.body).contains("Zoraida")));

        let metrics = page_of(port).await;
        fleet.stop(first).await;
        fleet.stop(second).await;
        let told = [
            ("the log of the doors, text", fleet.log(first)),
            ("the log of the dispatcher, JSON", fleet.log(second)),
            ("the metrics", metrics),
            ("the traces", collector.text()),
        ];
        let mut secrets: Vec<String> = (0..4).map(|n| phone(n)[3..].to_owned()).collect();
        secrets.push(BUYER[3..].to_owned());
        secrets.extend(
            ["Zoraida", "Quintanilla", "Calle Secreta", "PEDIDO-SECRETO", "Hola ", "Ana Prueba"].map(str::to_owned),
        );
        secrets.extend([WRONG_PASSWORD, PASSWORD, ONCE, TOLD_KEY, "sim-auth-token", "Zm9yZ2Vk"].map(str::to_owned));
        secrets.extend([SECRET, RELAY_SECRET].map(|secret| secret.trim_start_matches("whsec_").to_owned()));
        secrets.extend(outside.given);
        nowhere(&told, &secrets);
        // It went through all of it.
        for line in [
            "webhook.refused",
            "callback.failing",
            "relay.failing",
            "event.rejected",
            "console.login: refused",
            "http.answered",
        ] {
            assert!(told[0].1.contains(line), "the doors tell {line}");
        }
        assert!(told[1].1.contains("attempt.ended"));
    })
    .await;
}

async fn page_of(port: u16) -> String {
    page(&format!("127.0.0.1:{port}/metrics")).await.unwrap().1
}
