//! A house of one's own for a test: a database made from the migrations on `DATABASE_URL`'s server, a clock that stands still,
//! one sender, and the words in which a test speaks. The database goes when the house does.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use recado::{
    clock::Clock,
    db::{
        self, Pools,
        consents::{self, Recorded, Who},
        dispatch::{Claim, Claimed, Frozen, Pace, Terms},
        inbox::{Arrival, Born},
        pools::Sizes,
        retention::Keep,
        senders,
        settle::{self, Settlement},
        templates::{self, Key, News},
        webhooks,
    },
    domain::{
        cost::Prices,
        fact::Approval,
        ledger::Act,
        notification::{self, Acceptance, AttemptId, Behind, Failure, Outcome, Policy, Reason},
        phone::Phone,
        rates::{Book, Category},
    },
    provider::Dialect,
    worker::{
        Nudge,
        fleet::{self, Budget, Fleet, Portfolio},
        receipts::{Known, Receipts, Rules},
    },
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, postgres::PgRow};
use uuid::Uuid;

use super::database;

pub const CONTENT: &str = "HX0123456789abcdef0123456789abcdef";
pub const NUMBER_ID: &str = "200000000000002";
pub const ACCOUNT: &str = "100000000000001";
pub const ANA: &str = "+34600111222";
pub const RETRY: Policy = Policy { max_tries: 3, base: Duration::from_secs(2), cap: Duration::from_secs(60) };
pub const PACE: Pace = Pace { interval: Duration::from_secs(6), burst: 10 };

const DAY: u64 = 24 * 3_600;
pub const KEEP: Keep = Keep {
    notifications: Duration::from_secs(400 * DAY),
    payloads: Duration::from_secs(90 * DAY),
    parameters: Duration::from_secs(90 * DAY),
    identities: Duration::from_secs(500 * DAY),
    rejected: Duration::from_secs(30 * DAY),
    webhooks: Duration::from_secs(8 * DAY),
    inbound: Duration::from_secs(30 * DAY),
    callbacks: Duration::from_secs(8 * DAY),
    audit: Duration::from_secs(1_100 * DAY),
};

pub struct House {
    pub pools: Pools,
    pub clock: Clock,
    pub sender: i16,
    /// Through whom `main` sends.
    pub dialect: Dialect,
    url: String,
    name: String,
}

/// Why a provider does not deliver.
#[derive(Debug, Clone, Copy)]
pub enum Mishap {
    /// A fault of its own.
    Passing,
    NotOnWhatsapp,
    TemplatePaused,
    /// A free text, outside the person's 24 hours.
    WindowClosed,
}

impl Mishap {
    fn code(self, dialect: Dialect) -> i64 {
        match (self, dialect) {
            (Mishap::Passing, Dialect::Meta) => 131_000,
            (Mishap::Passing, Dialect::Twilio) => 63_012,
            (Mishap::NotOnWhatsapp, Dialect::Meta) => 131_026,
            (Mishap::NotOnWhatsapp, Dialect::Twilio) => 63_024,
            (Mishap::TemplatePaused, Dialect::Meta) => 132_015,
            (Mishap::TemplatePaused, Dialect::Twilio) => 63_041,
            (Mishap::WindowClosed, Dialect::Meta) => 131_047,
            (Mishap::WindowClosed, Dialect::Twilio) => 63_016,
        }
    }
}

/// Plays each of these stories in a house at Meta and in one at Twilio: who sends does not know through whom.
macro_rules! at_every_provider {
    ($($story:ident)+) => {
        mod at_meta {
            use recado::provider::Dialect;
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::house::House::at(Dialect::Meta).await).await;
            })+
        }

        mod at_twilio {
            use recado::provider::Dialect;
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::house::House::at(Dialect::Twilio).await).await;
            })+
        }
    };
}
pub(crate) use at_every_provider;

/// How a notification stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Stand {
    pub state: String,
    pub reason: Option<String>,
    pub receipt: Option<String>,
    pub waiting_on: Option<String>,
    pub message_id: Option<String>,
    pub duplicate: bool,
    pub attempt: i16,
    pub tries: i16,
}

impl House {
    /// A new house at 20:00 UTC on 22 November 2026, with the sender `main` and the template `order_confirmed` approved in Spanish.
    pub async fn start() -> House {
        House::at(Dialect::Meta).await
    }

    /// The same, with `main` at this provider.
    pub async fn at(dialect: Dialect) -> House {
        static TLS: OnceLock<()> = OnceLock::new();
        TLS.get_or_init(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let name = format!("recado_it_{}", Uuid::from_u128(chance()).simple());
        let url = database::make(&name).await;
        let clock = Clock::standing("2026-11-22T20:00:00Z".parse().unwrap());
        let pools = db::connect(&url, Sizes::default(), &clock).unwrap();
        let sender = senders::register(&pools.ops, "main").await.unwrap();
        let house = House { pools, clock, sender, dialect, url, name };
        house.approve("order_confirmed").await;
        house
    }

    /// Another connection, with the house's time.
    pub async fn connection(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::query("select set_config('recado.now', $1, false)")
            .bind(self.clock.now().to_string())
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }

    pub async fn approve(&self, template: &str) {
        let key = Key { sender: self.sender, template, language: "es" };
        let (status, category) = (Approval::Approved, Some("UTILITY"));
        let news = News { status, category, quality: None, reason: None, at: None, lasts: None, by: "operator" };
        templates::set(&self.pools.ops, key, &news).await.unwrap();
        if self.dialect == Dialect::Twilio {
            templates::set_content(&self.pools.ops, key, CONTENT, "operator").await.unwrap();
        }
    }

    /// An order of this person is confirmed; a message of the purpose `orders` follows.
    pub async fn order(&self, phone: &str) -> Uuid {
        self.event(phone, "orders").await
    }

    /// Something happens of which this person is to hear, as far as they agreed to the purpose.
    pub async fn event(&self, phone: &str, purpose: &str) -> Uuid {
        let born = self.born(phone, purpose);
        let id = born.id;
        self.bring(born).await;
        id
    }

    /// What an event about this person would mean.
    pub fn born(&self, phone: &str, purpose: &str) -> Born {
        let now = self.clock.now();
        let millis = u64::try_from(now.as_millisecond()).unwrap();
        let bytes = chance().to_be_bytes();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, bytes[..10].try_into().unwrap()).into_uuid();
        Born {
            id,
            sender: self.sender,
            route: None,
            class: 1,
            phone: phone.to_owned(),
            locale: Some("es".to_owned()),
            purpose: purpose.to_owned(),
            template: "order_confirmed".to_owned(),
            language: "es".to_owned(),
            subject: None,
            expires_at: now + jiff::SignedDuration::from_hours(24),
            grace_ms: 120_000,
            pending_ms: 7_200_000,
            quiet: None,
            doubt: "resend_once",
            version: None,
            filled: "{}".to_owned(),
            free_text: None,
            sms: None,
        }
    }

    /// An event with this one message.
    pub async fn bring(&self, born: Born) {
        let (id, now) = (born.id, self.clock.now());
        let arrival = Arrival {
            source: "shop".to_owned(),
            id: id.to_string(),
            body_hash: [0; 32],
            r#type: "order.confirmed".to_owned(),
            subject: None,
            time: now,
            stage: None,
            ignored: None,
            body: "{}".to_owned(),
            traceparent: None,
            notifications: vec![born],
        };
        db::inbox::record(&self.pools.intake, &[arrival]).await.unwrap();
    }

    pub async fn tell(&self, phone: &str, act: Act, purpose: &str) -> Recorded {
        self.tell_at(phone, act, purpose, self.clock.now()).await
    }

    pub async fn tell_at(&self, phone: &str, act: Act, purpose: &str, at: Timestamp) -> Recorded {
        let who = Who::Phone(Phone::parse(phone).unwrap());
        consents::record(&self.pools.ops, who, act, &[purpose], json!({"source": "test"}), at).await.unwrap()
    }

    /// Ana agreed to hear of orders.
    pub async fn agreed(&self) {
        self.tell(ANA, Act::Imported, "orders").await;
    }

    /// One claim, with room for many.
    pub async fn claim(&self) -> Claimed {
        self.claim_while(false, None).await
    }

    /// A process that sends nothing and counts what these may.
    pub fn process(&self, portfolios: Vec<Portfolio>, budgets: Vec<Budget>) -> Fleet {
        Fleet {
            worker: Uuid::from_u128(1),
            pool: self.pools.ops.clone(),
            clock: self.clock.clone(),
            rules: fleet::Rules { every: Duration::from_secs(5), gone_after: Duration::from_secs(20) },
            dispatchers: Vec::new(),
            portfolios,
            budgets,
        }
    }

    /// The same while the day's people are used up.
    pub async fn claim_full(&self) -> Claimed {
        self.claim_while(true, None).await
    }

    /// The same while the sender's budget is used up, until then.
    pub async fn claim_spent(&self, until: Timestamp) -> Claimed {
        self.claim_while(false, Some(until)).await
    }

    async fn claim_while(&self, day_full: bool, budget_spent: Option<Timestamp>) -> Claimed {
        self.claim_of(self.sender, day_full, budget_spent).await
    }

    /// One claim of this sender.
    pub async fn claim_of(&self, sender: i16, day_full: bool, budget_spent: Option<Timestamp>) -> Claimed {
        self.claim_by(&Terms { sender, day_full, budget_spent, ..self.terms() }).await
    }

    /// By which `main` claims, with room for many.
    pub fn terms(&self) -> Terms<'static> {
        Terms {
            sender: self.sender,
            permits: 50,
            scan: 50,
            due_from: [Timestamp::UNIX_EPOCH; 2],
            lease: Duration::from_secs(30),
            pace: PACE,
            only_to: None,
            day_full: false,
            budget_spent: None,
            content_ids: self.dialect == Dialect::Twilio,
        }
    }

    pub async fn claim_by(&self, terms: &Terms<'_>) -> Claimed {
        db::dispatch::claim(&self.pools.dispatch, terms).await.unwrap()
    }

    /// Ana's order, claimed for its first attempt.
    pub async fn sending(&self) -> Claim {
        self.agreed().await;
        self.order(ANA).await;
        self.claim_one().await
    }

    pub async fn claim_one(&self) -> Claim {
        let mut claimed = self.claim().await;
        assert_eq!(claimed.go.len(), 1, "{claimed:?}");
        claimed.go.remove(0)
    }

    /// The attempt's own answer.
    pub async fn settle(&self, attempt: AttemptId, outcome: Outcome) {
        self.settle_after(attempt, outcome, Behind::default()).await;
    }

    /// The answer to a claimed attempt, as its dispatcher follows it.
    pub async fn answer(&self, claim: &Claim, outcome: Outcome) {
        let as_text = matches!(claim.content, Frozen::Text(_));
        self.settle_after(claim.attempt, outcome, Behind { as_text, ..Behind::default() }).await;
    }

    async fn settle_after(&self, attempt: AttemptId, outcome: Outcome, behind: Behind) {
        let name = match &outcome {
            Outcome::Accepted(_) => "accepted",
            Outcome::Rejected { .. } => "rejected",
            Outcome::NotSent(_) => "not_sent",
            Outcome::Busy { .. } => "busy",
            Outcome::Unclear(_) => "unclear",
        };
        let next = notification::after(outcome, behind, &RETRY, 0.5);
        let charge = prices().expect("order_confirmed", ANA, Category::Utility, self.clock.now());
        let settlements = [Settlement { attempt, outcome: name, next, charge }];
        let settled = settle::settle(&self.pools.dispatch, &settlements).await.unwrap();
        settle::adopt_late(&self.pools.dispatch, &settlements, &settled.overtaken).await.unwrap();
    }

    pub async fn accept(&self, attempt: AttemptId, message_id: &str) {
        let message_id = message_id.to_owned();
        self.settle(attempt, Outcome::Accepted(Acceptance { message_id, ..Acceptance::default() })).await;
    }

    pub async fn lose_answer(&self, attempt: AttemptId) {
        self.settle(attempt, Outcome::Unclear(failure("no_answer"))).await;
    }

    pub fn receipts(&self) -> Receipts {
        let known = Known {
            id: self.sender,
            name: "main".to_owned(),
            phone_number_id: NUMBER_ID.to_owned(),
            waba_id: Some(ACCOUNT.to_owned()),
            dialect: self.dialect,
            sms: false,
            prices: prices(),
        };
        let (pool, clock) = (self.pools.receipts.clone(), self.clock.clone());
        Receipts::new(pool, Rules::new(RETRY, PACE), vec![known], clock, Nudge::default(), Nudge::default())
    }

    /// A webhook comes and is applied.
    pub async fn hook(&self, body: &Value) {
        webhooks::store(&self.pools.receipts, "main", body.to_string().as_bytes()).await.unwrap();
        self.receipts().step().await.unwrap();
    }

    /// A form of Twilio's comes, after the query of its address, and is applied.
    pub async fn form(&self, fields: &[(&str, &str)]) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        webhooks::store(&self.pools.receipts, "main", body.as_bytes()).await.unwrap();
        self.receipts().step().await.unwrap();
    }

    /// This person writes to the number, now.
    pub async fn written(&self, phone: &str, message_id: &str, words: &str) {
        let digits = phone.trim_start_matches('+');
        match self.dialect {
            Dialect::Meta => {
                let mut body = text(digits, message_id, words);
                let message = &mut body["entry"][0]["changes"][0]["value"]["messages"][0];
                message["timestamp"] = self.clock.now().as_second().to_string().into();
                self.hook(&body).await;
            }
            Dialect::Twilio => {
                let from = format!("whatsapp:{phone}");
                let form = [
                    ("MessageSid", message_id),
                    ("SmsStatus", "received"),
                    ("From", &from),
                    ("To", "whatsapp:+34600000001"),
                    ("WaId", digits),
                    ("Body", words),
                ];
                self.form(&form).await;
            }
        }
    }

    /// The provider reports on a message, with the attempt's id if there is one.
    pub async fn report(&self, attempt: impl Into<Option<AttemptId>>, message_id: &str, what: &str) {
        let attempt = attempt.into();
        match self.dialect {
            Dialect::Meta => self.hook(&messages(&json!({"statuses": [status(attempt, message_id, what, 0)]}))).await,
            Dialect::Twilio => self.twilio_report(attempt, message_id, what, "").await,
        }
    }

    /// The provider reports that a message was not delivered.
    pub async fn undeliver(&self, attempt: AttemptId, message_id: &str, mishap: Mishap) {
        let code = mishap.code(self.dialect);
        match self.dialect {
            Dialect::Meta => self.hook(&undelivered(attempt, message_id, code)).await,
            Dialect::Twilio => {
                self.twilio_report(Some(attempt), message_id, "undelivered", &code.to_string()).await;
            }
        }
    }

    async fn twilio_report(&self, attempt: Option<AttemptId>, message_id: &str, what: &str, code: &str) {
        let attempt = attempt.map(|attempt| attempt.to_string());
        let query = attempt.as_deref().map(|attempt| ("attempt", attempt));
        let form = [
            ("MessageSid", message_id),
            ("MessageStatus", what),
            ("ErrorCode", code),
            ("To", "whatsapp:+34600111222"),
            ("From", "whatsapp:+34600000001"),
            ("AccountSid", "AC0123456789abcdef0123456789abcdef"),
        ];
        self.form(&query.into_iter().chain(form).collect::<Vec<_>>()).await;
    }

    /// The receipts' role looks again, with nothing new.
    pub async fn sweep(&self) {
        self.receipts().step().await.unwrap();
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub async fn stand(&self, id: Uuid) -> Stand {
        sqlx::query_as(
            "select state::text, reason, receipt::text, waiting_on::text, message_id, duplicate, attempt, tries from notifications where id = $1",
        )
        .bind(id)
        .fetch_one(&self.pools.ops)
        .await
        .unwrap()
    }

    pub async fn state(&self, id: Uuid) -> String {
        self.stand(id).await.state
    }

    /// What producers are told of a notification, in order.
    pub async fn told(&self, id: Uuid) -> Vec<String> {
        let rows: Vec<(i32, String)> =
            sqlx::query_as("select sequence, kind from outbox where notification_id = $1 order by id")
                .bind(id)
                .fetch_all(&self.pools.ops)
                .await
                .unwrap();
        let numbers: Vec<i32> = rows.iter().map(|row| row.0).collect();
        assert_eq!(numbers, (1..).take(rows.len()).collect::<Vec<_>>(), "every word has its own number, without gaps");
        rows.into_iter().map(|row| row.1).collect()
    }

    /// What happened to a notification.
    pub async fn timeline(&self, id: Uuid) -> Vec<String> {
        sqlx::query_scalar("select what from timeline where notification_id = $1 order by timeline.id")
            .bind(id)
            .fetch_all(&self.pools.ops)
            .await
            .unwrap()
    }

    /// How the contact with this number stands for a purpose.
    pub async fn consent(&self, phone: &str, purpose: &str) -> Option<String> {
        sqlx::query_scalar("select consents -> $2 ->> 'state' from contacts where phone = $1")
            .bind(phone)
            .bind(purpose)
            .fetch_one(&self.pools.ops)
            .await
            .unwrap()
    }

    pub async fn rows(&self, query: &'static str) -> Vec<PgRow> {
        sqlx::query(query).fetch_all(&self.pools.ops).await.unwrap()
    }

    /// The partitions of this month and the next, as upkeep makes them.
    pub async fn make_partitions(&self) {
        db::upkeep::make_partitions(&self.pools.ops).await.unwrap();
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pools.ops).await.unwrap()
    }

    pub async fn run(&self, query: &'static str) {
        sqlx::query(query).execute(&self.pools.ops).await.unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        database::end_now(&self.name);
    }
}

fn chance() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    u128::from_be_bytes(bytes)
}

/// What messages of the house cost.
pub const RATES: &str = "valid_from,market,calling_codes,currency,category,fee
2026-10-01,Spain,34,USD,utility,0.02
2026-10-01,Spain,,USD,marketing,0.0707
2026-10-01,Spain,,USD,service,0.02
";

pub fn prices() -> Prices {
    Prices::new(Arc::new(Book::load(&[("rates.csv".to_owned(), RATES.to_owned())]).unwrap()), "main", "meta")
}

pub fn failure(reason: &'static str) -> Failure {
    Failure { reason: Reason::new(reason), code: None, detail: None }
}

/// A body about messages of the number.
pub fn messages(lists: &Value) -> Value {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550001111", "phone_number_id": NUMBER_ID},
    });
    value.as_object_mut().unwrap().extend(lists.as_object().unwrap().clone());
    body("messages", &value)
}

/// A body about the account.
pub fn body(field: &str, value: &Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [
        {"id": ACCOUNT, "time": 1_795_377_600, "changes": [{"field": field, "value": value}]},
    ]})
}

/// One status in a list.
pub fn status(attempt: Option<AttemptId>, message_id: &str, status: &str, second: u32) -> Value {
    let mut json = json!({
        "id": message_id, "status": status, "timestamp": (1_795_377_600 + second).to_string(), "recipient_id": "34600111222",
    });
    if let Some(attempt) = attempt {
        json["biz_opaque_callback_data"] = attempt.to_string().into();
    }
    json
}

/// A body with one status.
pub fn reported(attempt: AttemptId, message_id: &str, what: &str) -> Value {
    messages(&json!({"statuses": [status(Some(attempt), message_id, what, 0)]}))
}

/// A body with one failure of this code.
pub fn undelivered(attempt: AttemptId, message_id: &str, code: i64) -> Value {
    let mut failed = status(Some(attempt), message_id, "failed", 1);
    failed["errors"] = json!([{"code": code, "title": "no", "message": "no", "error_data": {"details": "no"}}]);
    messages(&json!({"statuses": [failed]}))
}

/// A body with one text of somebody.
pub fn text(from: &str, message_id: &str, text: &str) -> Value {
    messages(&json!({
        "contacts": [{"wa_id": from}],
        "messages": [{"from": from, "id": message_id, "timestamp": "1795377600", "type": "text", "text": {"body": text}}],
    }))
}
