//! A house with its doors open: a database of its own, made from the migrations, and a router on a port of its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use recado::{
    cli::keys,
    clock::Clock,
    db::{self, Pools, keys::Role, pools::Sizes},
    domain::{
        source::Sources,
        template::{self, Catalogue},
    },
    http::{self, Doors, Events, Limits, Secrets, Standing},
    inbox::{Inbox, reading::Reader},
    lifecycle::Lifecycle,
    provider::Dialect,
    telemetry::{Figures, traces::Tracer},
};
use reqwest::{Client, Method, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;

use crate::{
    database,
    harness::{PATIENCE, until},
};

pub struct Hall {
    pub pools: Pools,
    pub url: String,
    name: String,
    address: String,
    metrics: String,
    client: Client,
    nudges: Arc<AtomicUsize>,
    turned_away: Arc<AtomicUsize>,
    standing: Arc<Mutex<Standing>>,
    life: Lifecycle,
}

pub struct Answer {
    pub status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.life.stop();
        database::end_now(&self.name);
    }
}

impl Hall {
    pub async fn open() -> Hall {
        let name = format!("recado_doors_{}", random().simple());
        let url = database::make(&name).await;
        let sizes = Sizes { acquire_timeout: Duration::from_millis(500), ..Sizes::default() };
        let pools = db::connect(&url, sizes, &Clock::system()).unwrap();
        for sender in ["main", "second"] {
            db::senders::register(&pools.ops, sender).await.unwrap();
        }

        let _ = rustls::crypto::ring::default_provider().install_default();
        let (nudges, turned_away) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let standing =
            Arc::new(Mutex::new(Standing { broker_connected: Some(true), results_taken: true, stopping: false }));
        let secrets = |app: &[&str], verify: Option<&str>| Secrets {
            relayed: false,
            dialect: Dialect::Meta,
            app: app.iter().map(|secret| SecretString::from(*secret)).collect(),
            verify: verify.map(SecretString::from),
        };
        let doors = Doors {
            pools: pools.clone(),
            clock: Clock::system(),
            senders: BTreeMap::from([
                ("main".to_owned(), secrets(&["app-secret", "previous-secret"], Some("verify-me"))),
                ("second".to_owned(), secrets(&["second-secret"], Some("verify-second"))),
                ("bare".to_owned(), secrets(&[""], Some(""))),
            ]),
            public: http::optin::Public::closed(limits()),
            console: recado::config::Console::default(),
            bounds: bounds(),
            limits: Limits {
                webhook_body: 3 * 1024 * 1024,
                api_body: 64 * 1024,
                request_timeout: Duration::from_secs(10),
            },
            prices: Default::default(),
            events: events(&pools, &Clock::system()),
            stored: Arc::new({
                let nudges = Arc::clone(&nudges);
                move || {
                    nudges.fetch_add(1, Ordering::SeqCst);
                }
            }),
            turned_away: Arc::new({
                let turned_away = Arc::clone(&turned_away);
                move || {
                    turned_away.fetch_add(1, Ordering::SeqCst);
                }
            }),
            standing: Arc::new({
                let standing = Arc::clone(&standing);
                move || *standing.lock().unwrap()
            }),
        };
        let (life, _) = Lifecycle::begin(Duration::from_secs(1));
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, metrics_at) = (listen().await, listen().await);
        let (address, metrics) = (at.local_addr().unwrap().to_string(), metrics_at.local_addr().unwrap().to_string());
        life.role("http", http::serve(at, http::router(doors.clone()), life.clone()));
        let figures = Figures::begin().unwrap();
        life.role("metrics", http::serve(metrics_at, http::inside(figures, doors), life.clone()));
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Hall { pools, url, name, address, metrics, client, nudges, turned_away, standing, life }
    }

    pub async fn key(&self, role: Role) -> String {
        keys::create(&self.pools, role.as_str(), role).await.unwrap()
    }

    pub async fn sql(&self, text: &str) {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&self.pools.ops).await.unwrap();
    }

    /// From now on no connection can be had.
    pub async fn lose_database(&self) {
        database::end(&self.name).await;
    }

    pub fn stand(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap());
    }

    pub fn nudges(&self) -> usize {
        self.nudges.load(Ordering::SeqCst)
    }

    /// How many genuine webhooks could not be kept.
    pub fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::SeqCst)
    }

    /// Where the doors are.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "").await
    }

    /// With this `Authorization`, if it is not empty.
    pub async fn get_as(&self, path: &str, authorization: &str) -> Answer {
        let mut request = self.client.get(format!("http://{}{path}", self.address));
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        answer(request).await
    }

    pub async fn read(&self, path: &str, key: &str) -> Answer {
        self.send(Method::GET, path, key, None).await
    }

    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, key, Some(body)).await
    }

    /// A POST of these bytes with these headers, by whoever has this key.
    pub async fn bring(&self, path: &str, key: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut request = self.client.post(format!("http://{}{path}", self.address)).body(body.into());
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    pub async fn send(&self, method: Method, path: &str, key: &str, body: Option<&Value>) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method, url).header("authorization", format!("Bearer {key}"));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        answer(request).await
    }

    pub async fn webhook(&self, sender: &str, body: &[u8], signatures: &[&str]) -> Answer {
        let mut request = self.client.post(format!("http://{}/webhooks/{sender}", self.address)).body(body.to_vec());
        for signature in signatures {
            request = request.header("x-hub-signature-256", *signature);
        }
        answer(request).await
    }

    /// As [`Hall::webhook`], in chunks whose sum is not announced.
    pub async fn webhook_in_chunks(&self, sender: &str, body: &[u8], signature: &str) -> StatusCode {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "POST /webhooks/{sender} HTTP/1.1\r\nHost: recado\r\nX-Hub-Signature-256: {signature}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        let (mut reading, mut writing) = stream.split();
        let write = async {
            writing.write_all(head.as_bytes()).await?;
            for chunk in body.chunks(100_000) {
                writing.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                writing.write_all(chunk).await?;
                writing.write_all(b"\r\n").await?;
            }
            writing.write_all(b"0\r\n\r\n").await
        };
        let mut first = [0; 12];
        // Whoever is refused may find the connection closed before everything is said.
        let (_, read) = tokio::join!(write, reading.read_exact(&mut first));
        read.unwrap();
        std::str::from_utf8(&first[9..]).unwrap().parse().unwrap()
    }

    /// Begins a post that announces a body, and does not say it.
    pub async fn begin_post(&self, path: &str, headers: &[(&str, &str)], length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("POST {path} HTTP/1.1\r\nHost: recado\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    pub async fn webhooks(&self) -> Vec<(String, Vec<u8>)> {
        sqlx::query_as("select sender, body from webhooks order by id").fetch_all(&self.pools.ops).await.unwrap()
    }

    /// At the door for whoever supervises.
    pub async fn get_inside(&self, path: &str) -> Answer {
        answer(self.client.get(format!("http://{}{path}", self.metrics))).await
    }

    pub async fn metrics(&self) -> String {
        let answer = answer(self.client.get(format!("http://{}/metrics", self.metrics))).await;
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
        answer.text()
    }

    /// A person's pending notification because of this event, allowed by entry 1 of their ledger.
    pub async fn notification(&self, event: &str, phone: &str) -> Uuid {
        let id = next_id();
        sqlx::query(
            "with person as (
               insert into contacts (phone, consents, entries) values ($3, '{\"orders\": {\"state\": \"granted\", \"entry\": 1}}', 1)
               on conflict (phone) do update set entries = 1 returning id
             ), entry as (
               insert into consent_entries (contact_id, number, at, act, purpose, commitment, previous, hash)
               select id, 1, now() - interval '1 day', 'confirmed', 'orders', '', '', '' from person on conflict do nothing
             ), event as (
               insert into inbox (source, id, body_hash, type, subject, time, journey, journey_key, stage, contact_id, notifications, body)
               select 'shop', $2, '', 'order.confirmed', 'subject-of-' || $2, now(), 'order', 'key-of-' || $2, 1, id, array[$1], '{}'
               from person
             )
             insert into notifications (id, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language,
               subject, journey, journey_key, stage, expires_at, grace_until, consent_until, doubt, filled, due_at)
             select $1, 'shop', $2, now(), s.id, 1, p.id, 'orders', 'order_confirmed', 'es', 'subject-of-' || $2, 'order', 'key-of-' || $2, 1,
               now() + interval '1 hour', now(), now(), 'resend_once', '{}', now()
             from person p, senders s where s.name = 'main'",
        )
        .bind(id)
        .bind(event)
        .bind(phone)
        .execute(&self.pools.ops)
        .await
        .unwrap();
        id
    }

    /// The `n`-th event that could not be used, for this reason.
    pub async fn rejected(&self, n: u128, reason: &str, body: &str) -> Uuid {
        let id = Uuid::from_u128(n);
        sqlx::query(
            "insert into rejected_events (id, reason, detail, exchange, routing_key, headers, content_type, size, body_hash, body, whole)
             values ($1, $2, 'What is wrong.', 'shop.events', 'order.confirmed', '{\"x-trace\": \"7\"}', 'application/json', $3, $4, $5, true)",
        )
        .bind(id)
        .bind(reason)
        .bind(i64::try_from(body.len()).unwrap())
        .bind(n.to_be_bytes().as_slice())
        .bind(body.as_bytes())
        .execute(&self.pools.ops)
        .await
        .unwrap();
        id
    }

    /// Waits until every plan's numbers are known.
    pub async fn reckoned(&self) {
        let open = "select count(*)::text from plans where state = 'reckoning'";
        until("plans are reckoned", PATIENCE, async || self.ask(open).await.as_deref() == Some("0")).await;
    }

    /// Its first attempt, which ended so and left the notification in the state that follows.
    pub async fn attempt(&self, id: Uuid, outcome: &str, detail: Option<&str>) {
        let (state, reason, message_id) = match outcome {
            "accepted" => ("accepted", None, Some("wamid.1")),
            "unclear" => ("in_doubt", None, None),
            _ => ("failed", Some("undeliverable"), None),
        };
        sqlx::query(
            "with tried as (
               insert into attempts (notification_id, number, sender, claimed_at, resend, consent_entry, outcome, ended_at, reason, code,
                 detail, message_id)
               select $1, 1, sender, now(), false, 1, $2, now(), $4, case when $4 is not null then 131026 end, $6, $5 from notifications where id = $1
             )
             update notifications set state = $3::notification_state, due_at = null, attempt = 1, consent_entry = 1, reason = $4,
               message_id = $5, accepted_at = case when $3 = 'accepted' then now() end, ended_at = case when $3 = 'failed' then now() end,
               doubt_since = case when $3 = 'in_doubt' then now() end
             where id = $1",
        )
        .bind(id)
        .bind(outcome)
        .bind(state)
        .bind(reason)
        .bind(message_id)
        .bind(detail)
        .execute(&self.pools.ops)
        .await
        .unwrap();
    }

    /// Runs a statement that gives one text.
    pub async fn ask(&self, text: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_one(&self.pools.ops).await.unwrap()
    }
}

/// Where events go: with the templates and the sources that are shipped, the senders `main` and `second`, and Shopify's secret.
pub fn events(pools: &Pools, clock: &Clock) -> Events {
    let settings = template::Settings {
        senders: vec!["main".into(), "second".into()],
        default_language: "es".into(),
        default_zone: "Europe/Madrid".into(),
        ..template::Settings::default()
    };
    let sources = ["shopify", "woocommerce"].map(|name| {
        let path = format!("{}/config/sources/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    });
    let reader = Reader {
        catalogue: Catalogue::load(&template::shipped_messages(), &template::shipped_events(), &settings).unwrap(),
        sources: Sources::load(&sources).unwrap(),
        senders: [("main".to_owned(), 1), ("second".to_owned(), 2)].into(),
        ..Reader::default()
    };
    let inbox = Inbox {
        reader: Arc::new(reader),
        pool: pools.intake.clone(),
        clock: clock.clone(),
        max_event_bytes: 16 * 1024,
        tracer: Tracer::default(),
    };
    let secrets = ["shopify", "woocommerce"].map(|name| (name.to_owned(), SecretString::from("source-secret")));
    Events { inbox, secrets: secrets.into(), recorded: Arc::new(|| {}) }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

fn random() -> Uuid {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn next_id() -> Uuid {
    recado::clock::v7(Clock::system().now())
}

/// Two senders with a pace.
fn bounds() -> http::console::Bounds {
    let bound = http::console::Bound { per_second: 72.0, ..http::console::Bound::default() };
    let senders = BTreeMap::from([("main".to_owned(), bound), ("second".to_owned(), bound)]);
    http::console::Bounds { senders, ..http::console::Bounds::default() }
}

/// The limits of public doors that nobody comes through.
fn limits() -> recado::config::Forms {
    recado::config::Forms {
        dir: None,
        asks_per_address: 1,
        asks_per_phone: 1,
        asks_per_form: 1,
        texts_per_phone: 1,
        texts_per_day: 1,
    }
}
