//! A house out of process: real `recado run` processes over a database, broker names and a simulator of their own. Longer than other files,
//! since all of it is what one test may do with its fleet.
//!
//! Everything is made for one test and removed after it. Logs are kept under `tests/out` while a test runs, and stay there if it
//! fails. Nothing here waits for a time to pass: [`until`] waits for something to be true.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::TcpListener,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    str::FromStr,
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use jiff::Timestamp;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use recado::{
    db,
    domain::{
        message::{self, Filled},
        template::{self, Catalogue},
    },
    provider::{
        Dialect,
        twilio::content::{self, Place},
    },
    sim::{self, Sim},
    worker::broker::{Topology, declare},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::process::{Child, Command};

use super::database;

/// How long anything that must happen may take here; far more than it needs, since machines differ.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The shop that publishes in these tests.
pub const SOURCE: &str = "/shop/it";

/// How a fleet begins. Settings by their key, as in a file.
pub struct Plan {
    pub settings: BTreeMap<String, String>,
    pub sim: sim::Options,
    /// Through whom `main` sends.
    pub dialect: Dialect,
    /// People (see [`phone`]) who have agreed to be written to.
    pub people: usize,
    /// Templates may go in free words, or be followed by an SMS of the sender `sms`, as [`catalogue_with_fallbacks`] has them.
    pub fallbacks: bool,
    /// Other servers than those of the environment.
    pub postgres: String,
    pub rabbitmq: String,
    /// The processes reach the database over this port of this machine.
    pub database_through: Option<u16>,
    /// What is run; the program as it was built for the tests, by default.
    pub program: PathBuf,
}

impl Plan {
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// `main` sends through this provider.
    pub fn at(&mut self, dialect: Dialect) {
        self.dialect = dialect;
        if dialect == Dialect::Twilio {
            self.settings.retain(|key, _| !key.starts_with("senders.main."));
            for (key, value) in [
                ("kind", "twilio"),
                ("account_sid", "AC0123456789abcdef0123456789abcdef"),
                ("number", "+34600000001"),
                ("auth_token", "sim-auth-token"),
                ("rate_per_second", "1000"),
            ] {
                self.set(&format!("senders.main.{key}"), value);
            }
        }
    }
}

/// A database, broker names, a simulator, and the processes that were started on them.
pub struct Fleet {
    pub name: String,
    pub pool: PgPool,
    pub database_url: String,
    amqp_url: String,
    pub sim: Sim,
    pub sender: i16,
    pub topology: Topology,
    pub channel: Channel,
    /// What the broker has confirmed.
    pub published: Vec<Published>,
    pub services: Vec<Service>,
    pub settings: BTreeMap<String, String>,
    broker: Connection,
    began: Instant,
    out: PathBuf,
    program: PathBuf,
    started: usize,
}

/// An event that the broker has confirmed.
#[derive(Debug, Clone)]
pub struct Published {
    pub source: String,
    pub id: String,
    pub body_hash: [u8; 32],
    /// The notifications that it means.
    pub means: usize,
}

impl Published {
    fn of(event: &Value) -> Self {
        Self {
            source: event["source"].as_str().expect("a source").to_owned(),
            id: event["id"].as_str().expect("an id").to_owned(),
            body_hash: Sha256::digest(event.to_string()).into(),
            means: 1,
        }
    }
}

/// One process.
pub struct Service {
    child: Child,
    log: PathBuf,
    /// Listens where the simulator sends its webhooks; one of those that live does.
    takes_webhooks: bool,
}

/// The `n`-th person's phone.
pub fn phone(n: usize) -> String {
    format!("+34600{:06}", 100_000 + n)
}

/// An order of the `n`-th person; without a subject, so that orders wait for nobody but their lane.
pub fn order(id: &str, n: usize) -> Value {
    event("order.confirmed", id, json!({"customer": {"phone": phone(n), "name": "Ana"}, "order": {"number": id}}))
}

/// An event of the catalogue in `tests/fixtures/catalogue`.
pub fn event(r#type: &str, id: &str, data: impl Into<Value>) -> Value {
    let data: Value = data.into();
    json!({
        "specversion": "1.0",
        "id": id,
        "source": SOURCE,
        "type": r#type,
        "time": now().to_string(),
        "datacontenttype": "application/json",
        "data": data,
    })
}

#[expect(clippy::disallowed_methods, reason = "what the tests publish happened just now, by the system's clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Waits until `condition` holds.
pub async fn until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// The catalogue of these tests.
pub fn catalogue_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/catalogue")
}

pub fn catalogue() -> Catalogue {
    load(&catalogue_dir(), &[])
}

/// The same with a template that may go in free words and one that an SMS may follow, sent by the sender `sms`.
pub fn catalogue_with_fallbacks() -> Catalogue {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("recado_it_fallbacks_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(name);
    write_catalogue_with_fallbacks(&dir);
    let catalogue = load(&dir, &["sms"]);
    drop(std::fs::remove_dir_all(&dir));
    catalogue
}

/// Writes that catalogue into a folder.
pub fn write_catalogue_with_fallbacks(dir: &Path) {
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fallback");
    for (from, kind) in [(&catalogue_dir(), "messages"), (&catalogue_dir(), "events"), (&other, "messages")] {
        std::fs::create_dir_all(dir.join(kind)).expect("a folder");
        for file in std::fs::read_dir(from.join(kind)).expect("a folder").map(|file| file.expect("a file")) {
            std::fs::copy(file.path(), dir.join(kind).join(file.file_name())).expect("a copy");
        }
    }
}

fn load(dir: &Path, texting: &[&str]) -> Catalogue {
    let messages = recado::cli::files(&dir.join("messages"), "toml").expect("the templates of the tests");
    let events = recado::cli::files(&dir.join("events"), "json").expect("the event types of the tests");
    let settings = template::Settings {
        senders: vec!["main".to_owned()],
        other_senders: texting.iter().map(|name| (*name).to_owned()).collect(),
        default_language: "es".to_owned(),
        default_zone: "UTC".to_owned(),
        ..template::Settings::default()
    };
    Catalogue::load(&messages, &events, &settings).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Templates and their languages as the provider knows them.
pub fn templates_at_meta(catalogue: &Catalogue) -> Vec<Value> {
    catalogue.templates().iter().filter_map(|template| catalogue.meta_template(template, "es")).collect()
}

/// By which id Twilio knows the content of a template.
pub fn content_sid(template: &str) -> String {
    let hash = Sha256::digest(template);
    format!("HX{}", hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Templates as Twilio knows them: bodies with numbered variables, approved for WhatsApp.
pub fn contents_at_twilio(catalogue: &Catalogue) -> Vec<Value> {
    let content = |template: &template::Template| {
        let filled = catalogue.fill_example(template, "es")?;
        let mut body = template.reading("es", &named(&filled))?.body;
        let mut variables = serde_json::Map::new();
        for variable in content::variables(&filled).ok()? {
            let Place::Body(at) = variable.place else { panic!("these templates are bodies alone") };
            let name = filled.body[at].name.clone()?;
            body = body.replace(&format!("<{name}>"), &format!("{{{{{}}}}}", variable.number));
            variables.insert(variable.number.to_string(), variable.value.into());
        }
        Some(json!({
            "sid": content_sid(template.name()), "friendly_name": template.name(), "language": "es", "variables": variables,
            "types": {"twilio/text": {"body": body}},
            "approval": {"name": template.name(), "category": "UTILITY"},
        }))
    };
    catalogue.templates().iter().filter_map(content).collect()
}

/// The same places, each with its own name in it.
fn named(filled: &Filled) -> Filled {
    let mut filled = filled.clone();
    for parameter in &mut filled.body {
        parameter.value = message::Value::Text(format!("<{}>", parameter.name.as_deref().unwrap_or_default()));
    }
    filled
}

pub fn variable(name: &str, usual: &str) -> String {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).unwrap_or_else(|| usual.to_owned())
}

pub fn amqp_url() -> String {
    variable("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
}

/// A seed, printed; `RECADO_SEED` repeats a run.
pub fn seed() -> u64 {
    let seed = match variable("RECADO_SEED", "").parse() {
        Ok(seed) => seed,
        Err(_) => getrandom::u64().expect("randomness"),
    };
    println!("RECADO_SEED={seed}");
    seed
}

/// Repeatable chance.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// A database that is made for one test, migrated; with the URL of it.
pub async fn make_database(name: &str) -> (PgPool, String) {
    make_database_on(&database::server_url(), name).await
}

async fn make_database_on(server: &str, name: &str) -> (PgPool, String) {
    let url = database::make_on(server, name).await;
    let options = PgConnectOptions::from_str(&url).expect("its URL").application_name("test");
    let pool = PgPoolOptions::new().max_connections(3).connect_with(options).await.expect("the database");
    (pool, url)
}

/// A name that no other test has, also of other runs.
pub fn unique(hint: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("recado_it_{hint}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Ports below those that the system hands out by itself, so that a killed process finds its own again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 15_000 + (std::process::id() % 900) as u16 * 10;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 8_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A connection to the broker, with a channel on which it confirms what it has.
async fn reach(broker: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

impl Fleet {
    /// Runs `test` on a fleet of its own, and removes everything afterwards, whatever comes of it.
    pub async fn run(hint: &str, plan: impl FnOnce(&mut Plan), test: impl AsyncFnOnce(&mut Fleet)) {
        let mut fleet = Fleet::begin(hint, plan).await;
        let outcome = AssertUnwindSafe(test(&mut fleet)).catch_unwind().await;
        if outcome.is_err() {
            fleet.show_logs();
        }
        fleet.end(outcome.is_ok()).await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }

    async fn begin(hint: &str, plan: impl FnOnce(&mut Plan)) -> Fleet {
        let name = unique(hint);
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/out").join(&name);
        std::fs::create_dir_all(&out).expect("a folder for logs");
        let (port, catalogue) = (free_port(), catalogue());
        let mut given = Plan {
            settings: usual_settings(&name),
            sim: sim::Options::default(),
            dialect: Dialect::Meta,
            people: 50,
            fallbacks: false,
            postgres: database::server_url(),
            rabbitmq: amqp_url(),
            database_through: None,
            program: PathBuf::from(env!("CARGO_BIN_EXE_recado")),
        };
        given.sim.templates = templates_at_meta(&catalogue);
        given.sim.contents = contents_at_twilio(&catalogue);
        given.sim.twilio.numbers.iter_mut().for_each(|number| number.mps = 1_000);
        given.sim.ledger = Some(out.join("ledger.jsonl"));
        given.sim.pair = sim::Pair { period_ms: 10, burst: 45 };
        given.sim.senders[0].mps = 1_000;
        given.sim.webhooks.url = Some(format!("http://127.0.0.1:{port}/webhooks/main"));
        // A process that is killed comes back soon; a storm of webhooks meanwhile helps nobody.
        given.sim.webhooks.retry_ms = [vec![100, 200], vec![500; 200]].concat();
        given.sim.webhooks.linger_ms = 50;
        plan(&mut given);
        let sim = Sim::start(given.sim).await.expect("the simulator starts");
        let (pool, url) = make_database_on(&given.postgres, &name).await;
        let mut database_url = reqwest::Url::parse(&url).expect("a URL");
        if let Some(port) = given.database_through {
            database_url.set_host(Some("127.0.0.1")).expect("a host");
            database_url.set_port(Some(port)).expect("a port");
        }
        let database_url = database_url.to_string();
        let sender = db::senders::register(&pool, "main").await.expect("a sender");
        let mut settings = given.settings;
        if given.fallbacks {
            write_catalogue_with_fallbacks(&out.join("catalogue"));
            settings.insert("templates.dir".to_owned(), out.join("catalogue").display().to_string());
            for (key, value) in [
                ("kind", "twilio_sms"),
                ("account_sid", "AC0123456789abcdef0123456789abcdef"),
                ("number", "+34600000001"),
                ("auth_token", "sim-auth-token"),
                ("rate_per_second", "1000"),
                ("base_url", &sim.url()),
            ] {
                settings.insert(format!("senders.sms.{key}"), value.to_owned());
            }
        }
        settings.entry("senders.main.base_url".to_owned()).or_insert_with(|| sim.url());
        settings.entry("http.listen".to_owned()).or_insert_with(|| format!("127.0.0.1:{port}"));
        settings.entry("http.public_url".to_owned()).or_insert_with(|| format!("http://127.0.0.1:{port}"));
        let topology = topology(&settings, &catalogue);
        let (broker, channel) = reach(&given.rabbitmq).await.expect("RabbitMQ answers");
        declare(&channel, &topology).await.expect("the topology");
        let fleet = Fleet {
            name,
            pool,
            database_url,
            amqp_url: given.rabbitmq,
            sim,
            sender,
            topology,
            channel,
            published: Vec::new(),
            services: Vec::new(),
            settings,
            began: Instant::now(),
            broker,
            out,
            program: given.program,
            started: 0,
        };
        // The templates are read only when something makes it necessary, unless a test sets templates.sync_every.
        let read = "insert into template_syncs (sender, synced_at) values ($1, now())";
        sqlx::query(read).bind(fleet.sender).execute(&fleet.pool).await.expect("a sync");
        for template in catalogue.templates() {
            fleet.approve(template.name()).await;
        }
        fleet.consent(0..given.people).await;
        fleet
    }

    /// This person has agreed to SMS as well.
    pub async fn consent_to_sms(&self, person: usize) {
        let granted = r#"update contacts set consents = consents || '{"orders_sms": {"state": "granted", "entry": 1}}' where phone = $1"#;
        sqlx::query(granted).bind(phone(person)).execute(&self.pool).await.expect("a consent");
    }

    /// This person wrote to the shop on WhatsApp just now, and that was heard.
    pub async fn wrote(&self, person: usize, address: &str) {
        self.sim.world().write_to(address, &phone(person), "Hola").expect("they can write");
        let open = "insert into lanes (contact_id, sender, window_until) select id, $2, now() + interval '24 h' from contacts where phone = $1";
        sqlx::query(open).bind(phone(person)).bind(self.sender).execute(&self.pool).await.expect("a window");
    }

    /// The provider has paused a template.
    pub async fn pause(&self, template: &str) {
        let paused = "update template_states set status = 'paused' where template = $1";
        sqlx::query(paused).bind(template).execute(&self.pool).await.expect("a pause");
    }

    /// Lets a template out.
    pub async fn approve(&self, template: &str) {
        let approved = "insert into template_states (sender, template, language, status, changed_by, content_sid) \
             values ($1, $2, 'es', 'approved', 'test', $3) on conflict (sender, template, language) do update set status = 'approved'";
        let approved = sqlx::query(approved).bind(self.sender).bind(template).bind(content_sid(template));
        approved.execute(&self.pool).await.expect("an approval");
    }

    /// These people have agreed.
    pub async fn consent(&self, people: std::ops::Range<usize>) {
        let phones: Vec<String> = people.map(phone).collect();
        let granted = r#"insert into contacts (phone, consents, entries)
             select p, '{"orders": {"state": "granted", "entry": 1}}', 1 from unnest($1::text[]) p"#;
        sqlx::query(granted).bind(phones).execute(&self.pool).await.expect("consents");
    }

    /// Starts a process and waits until it consumes.
    pub async fn start(&mut self) -> usize {
        let no = self.spawn(&[]);
        self.ready(no).await;
        no
    }

    /// Starts a process; `more` are variables of its environment.
    pub fn spawn(&mut self, more: &[(&str, &str)]) -> usize {
        self.spawn_as(&[], more)
    }

    /// The same with arguments for `recado run`.
    pub fn spawn_as(&mut self, arguments: &[&str], more: &[(&str, &str)]) -> usize {
        self.started += 1;
        let log = self.out.join(format!("service-{:03}.log", self.started));
        let file = File::create(&log).expect("a log");
        let mut command = Command::new(&self.program);
        self.equip(command.arg("run").args(arguments));
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a log")).stderr(file);
        command.envs(more.iter().copied());
        let takes_webhooks =
            !self.services.iter().any(|service| service.takes_webhooks && service.child.id().is_some());
        if !takes_webhooks {
            command.env("RECADO_HTTP__LISTEN", format!("127.0.0.1:{}", free_port()));
        }
        let child = command.spawn().expect("the process starts");
        self.services.push(Service { child, log, takes_webhooks });
        self.services.len() - 1
    }

    /// Waits until this process consumes events.
    pub async fn ready(&mut self, no: usize) {
        let service = &mut self.services[no];
        until("the process is ready", PATIENCE, async || {
            if let Some(status) = service.child.try_wait().expect("a process") {
                panic!("it ended at once: {status}");
            }
            service.log().matches("intake.consuming").count() >= 2
        })
        .await;
    }

    /// SIGKILL.
    pub async fn kill(&mut self, no: usize) {
        let child = &mut self.services[no].child;
        drop(child.start_kill());
        child.wait().await.expect("it ends");
    }

    pub fn pid(&self, no: usize) -> String {
        self.services[no].child.id().expect("it runs").to_string()
    }

    /// Sends a signal that a process can hear, like `TERM`.
    pub fn signal(&self, no: usize, signal: &str) {
        let sent =
            std::process::Command::new("kill").args([&format!("-{signal}"), &self.pid(no)]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self, no: usize, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.services[no].child.wait()).await.ok().map(|status| status.expect("it ends"))
    }

    /// SIGTERM, and success.
    pub async fn stop(&mut self, no: usize) {
        self.signal(no, "TERM");
        let status = self.ended(no, PATIENCE).await.expect("it ends in time");
        assert!(status.success(), "it ended with {status}");
    }

    pub fn log(&self, no: usize) -> String {
        self.services[no].log()
    }

    /// Publishes events that mean one notification each, and waits for the broker's word that it has them.
    pub async fn publish(&mut self, events: &[Value]) {
        let mut confirmations = Vec::new();
        for event in events {
            let key = event["type"].as_str().expect("a type");
            let confirmation = self.put(key, event.to_string().as_bytes(), BasicProperties::default()).await;
            confirmations.push((event, confirmation));
        }
        for (event, confirmation) in confirmations {
            assert!(matches!(confirmation.await, Ok(Confirmation::Ack(None))), "the broker takes it");
            self.published.push(Published::of(event));
        }
    }

    /// The same, one after the other, as a shop does whose broker dies: what was not confirmed is published again when it is back.
    pub async fn publish_until_taken(&mut self, events: &[Value]) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        for event in events {
            let (key, body) = (event["type"].as_str().expect("a type"), event.to_string());
            until("the broker takes it", PATIENCE * 2, async || {
                let properties = BasicProperties::default().with_delivery_mode(2);
                let exchange = self.topology.exchange.as_str().into();
                match self.channel.basic_publish(exchange, key.into(), options, body.as_bytes(), properties).await {
                    Ok(confirmation) => matches!(confirmation.await, Ok(Confirmation::Ack(None))),
                    Err(_) => {
                        if let Ok((broker, channel)) = reach(&self.amqp_url).await {
                            (self.broker, self.channel) = (broker, channel);
                        }
                        false
                    }
                }
            })
            .await;
            self.published.push(Published::of(event));
        }
    }

    /// Publishes bytes.
    pub async fn put(
        &self,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> impl Future<Output = lapin::Result<Confirmation>> + use<> {
        self.put_into(&self.topology.exchange, key, body, properties).await
    }

    /// The same into another exchange.
    pub async fn put_into(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> impl Future<Output = lapin::Result<Confirmation>> + use<> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = properties.with_delivery_mode(2);
        self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.expect("a channel")
    }

    /// Messages in a queue that nobody has in hand.
    pub async fn depth(&self, queue: &str) -> u32 {
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), look, FieldTable::default()).await;
        declared.expect("the queue").message_count()
    }

    /// One number from the database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a number")
    }

    /// How many notifications there are in each state.
    pub async fn states(&self) -> BTreeMap<String, i64> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("select state::text || coalesce(' ' || reason, ''), count(*) from notifications group by 1")
                .fetch_all(&self.pool)
                .await
                .expect("the states");
        rows.into_iter().collect()
    }

    /// How the one notification of an event stands, if the event is known.
    pub async fn find(&self, event: &str) -> Option<Standing> {
        let standing = sqlx::query_as(
            "select n.state::text as state, n.reason, n.waiting_on::text as waiting_on, n.tries, n.resends,
               n.attempt - (select count(*)::int2 from attempts l
                 where l.notification_id = n.id and l.reason = 'too_late_to_send') as attempt, a.outcome, a.reason as said, a.code
             from notifications n left join attempts a on a.notification_id = n.id and a.number = n.attempt
             where n.event_source = $1 and n.event_id = $2",
        );
        standing.bind(SOURCE).bind(event).fetch_optional(&self.pool).await.expect("a notification")
    }

    /// Waits until the notification of an event is as it should be.
    pub async fn becomes(&self, event: &str, what: &str, as_it_should: impl Fn(&Standing) -> bool) -> Standing {
        let began = Instant::now();
        loop {
            let standing = self.find(event).await;
            if let Some(standing) = &standing
                && as_it_should(standing)
            {
                return standing.clone();
            }
            assert!(began.elapsed() < PATIENCE, "{event} does not become {what}: {standing:?}");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until the notification of an event is in this state.
    pub async fn reaches(&self, event: &str, state: &str) -> Standing {
        self.becomes(event, state, |standing| standing.state == state).await
    }

    /// Runs a command of the program with the fleet's settings.
    pub async fn command(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(&self.program);
        self.equip(command.args(arguments).stdin(Stdio::null()));
        command.output().await.expect("the program runs")
    }

    fn equip(&self, command: &mut Command) {
        command.current_dir(&self.out).env_clear().kill_on_drop(true);
        command.env("PATH", variable("PATH", "/usr/bin:/bin"));
        for (key, value) in &self.settings {
            command.env(format!("RECADO_{}", key.to_uppercase().replace('.', "__")), value);
        }
        if !self.settings.contains_key("database.url") {
            command.env("DATABASE_URL", &self.database_url);
        }
        if !self.settings.contains_key("broker.url") {
            command.env("AMQP_URL", &self.amqp_url);
        }
    }

    /// Waits until everything published is recorded and every notification has come to an end; doubts too, if `and_doubts`.
    pub async fn quiet(&self, limit: Duration, and_doubts: bool) {
        let open = if and_doubts { "'pending', 'sending', 'in_doubt'" } else { "'pending', 'sending'" };
        let sql = format!("select count(*) from notifications where state in ({open})");
        let ids: BTreeSet<_> = self.published.iter().map(|one| (&one.source, &one.id)).collect();
        let began = Instant::now();
        loop {
            let known = self.count("select count(*) from inbox").await
                + self.count("select count(*) from rejected_events").await;
            let left: i64 =
                sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&self.pool).await.expect("a number");
            if known >= ids.len() as i64 && left == 0 {
                return;
            }
            if began.elapsed() > limit {
                let (states, open) = (self.states().await, self.open().await);
                panic!("it does not come to rest: {known} of {} events known, {states:?}; {open:#?}", ids.len());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Whether everything published is recorded, and nothing waits to be sent or is on its way.
    pub async fn has_nothing_to_do(&self) -> bool {
        let open = "select (select count(*) from inbox) - 1000000 * (select count(*) from notifications where state in ('pending', 'sending'))";
        self.count(open).await >= self.published.len() as i64
    }

    /// What has not come to an end, with its lane, for somebody who has to find out why.
    async fn open(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select concat_ws(' ', n.id, n.state, n.waiting_on, 'due', n.due_at - now(), 'sender', n.sender, n.template, 'attempt', n.attempt,
               to_jsonb(a), 'lane', to_jsonb(l))
             from notifications n left join lanes l on l.contact_id = n.contact_id and l.sender = n.sender
             left join attempts a on a.notification_id = n.id and a.number = n.attempt
             where n.ended_at is null and n.state <> 'accepted' order by n.id limit 20",
        )
        .fetch_all(&self.pool)
        .await
        .expect("what is open")
    }

    /// The same, doubts included, while a few more people are written to: without later messages silence means nothing.
    pub async fn settle(&mut self) {
        // A report that came while nobody was there has as long again to come: a life full of crashes ends later.
        self.quiet(PATIENCE + self.began.elapsed(), false).await;
        // Silence counts from when later messages are heard of, and from when a door that was not heard of for a while opened anew; from
        // then on it has to last as long again.
        let overdue =
            "select count(*) from notifications n join attempts a on a.notification_id = n.id and a.number = n.attempt
             cross join (select greatest(max(opened_at), now() - $1 * interval '1 s') as since from doors) d
             where n.state = 'in_doubt' and now() > d.since + (d.since - a.claimed_at) + $2 * interval '1 s'";
        let began = Instant::now();
        for round in 0.. {
            let doubts = self.count("select count(*) from notifications where state = 'in_doubt'").await;
            if doubts == 0 {
                return;
            }
            let overdue = sqlx::query_scalar(overdue).bind(began.elapsed().as_secs_f64()).bind(PATIENCE.as_secs_f64());
            let overdue: i64 = overdue.fetch_one(&self.pool).await.expect("a number");
            if overdue > 0 {
                let unread = self.count("select count(*) from webhooks where applied_at is null").await;
                let strays = self.count("select count(*) from stray_receipts").await;
                let told = self.sim.world().counters().webhooks;
                let open = self.open().await;
                panic!(
                    "{overdue} of {doubts} doubts do not end; {unread} webhooks unread, {strays} strays, {told:?}; {open:#?}"
                );
            }
            self.publish(&(0..4).map(|n| order(&format!("later-{round}-{n}"), n)).collect::<Vec<_>>()).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            self.quiet(PATIENCE, false).await;
        }
    }

    /// Whether all processes that were started and not ended still run.
    pub fn services_run(&mut self) -> bool {
        self.services.iter_mut().all(|service| matches!(service.child.try_wait(), Ok(None)))
    }

    /// What the simulator accepted, from its ledger on disk.
    pub fn ledger(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.out.join("ledger.jsonl")).unwrap_or_default();
        text.lines().map(Line::read).collect()
    }

    fn show_logs(&self) {
        for service in &self.services {
            let log = service.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("--- {} (the last of {} lines)", service.log.display(), lines.len());
            println!("{}", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }

    async fn end(mut self, well: bool) {
        for no in 0..self.services.len() {
            self.kill(no).await;
        }
        // A test may have left the channel in an error.
        if let Ok(channel) = self.broker.create_channel().await {
            for queue in [&self.topology.queue, &self.topology.dead_exchange] {
                drop(channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await);
            }
            let of = &self.topology;
            for exchange in [&of.exchange, &of.dead_exchange, &of.status_exchange, &of.inbound_exchange] {
                drop(channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await);
            }
        }
        drop(self.broker.close(200, "bye".into()).await);
        self.sim.shutdown().await;
        self.pool.close().await;
        database::end(&self.name).await;
        if well {
            drop(std::fs::remove_dir_all(&self.out));
        }
    }
}

impl Service {
    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

/// How a notification stands, with its last attempt.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Standing {
    pub state: String,
    pub reason: Option<String>,
    pub waiting_on: Option<String>,
    /// The last attempt; those are not counted that came too late to be sent, as they do on a machine that stands still for a second.
    pub attempt: i16,
    pub tries: i16,
    pub resends: i16,
    /// What the last attempt came to, why, and the provider's code.
    pub outcome: Option<String>,
    pub said: Option<String>,
    pub code: Option<i32>,
}

/// A line of the simulator's ledger.
#[derive(Debug, Clone)]
pub struct Line {
    pub wamid: String,
    pub tag: String,
    pub to: String,
    pub received_us: i64,
    /// Whether it was accepted and reported as failed later.
    pub fails: bool,
}

impl Line {
    fn read(line: &str) -> Line {
        let line: Value = serde_json::from_str(line).expect("the ledger has JSON lines");
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        Line {
            wamid: text("wamid"),
            // Twilio gives the address back that it was to report to.
            tag: text("tag").rsplit("attempt=").next().unwrap_or_default().to_owned(),
            to: text("to"),
            fails: !line["fails"].is_null(),
            received_us: line["received_us"].as_i64().expect("a time"),
        }
    }
}

/// Settings with short waits; what a test changes, it changes in its plan.
fn usual_settings(name: &str) -> BTreeMap<String, String> {
    let dir = catalogue_dir();
    let text = [
        ("templates.dir", dir.to_str().expect("a path")),
        ("database.hot_connections", "5"),
        ("database.webhook_connections", "2"),
        ("database.admin_connections", "2"),
        ("broker.exchange", &format!("{name}.events")),
        ("broker.queue", &format!("{name}.queue")),
        ("broker.dead_exchange", &format!("{name}.dead")),
        ("broker.status_exchange", &format!("{name}.status")),
        ("broker.inbound_exchange", &format!("{name}.inbound")),
        ("broker.delivery_limit", "1000"),
        ("broker.heartbeat", "5s"),
        ("broker.reconnect_after", "50ms"),
        ("broker.reconnect_cap", "500ms"),
        ("dispatch.lease", "3s"),
        ("dispatch.send_timeout", "1s"),
        ("dispatch.connect_timeout", "300ms"),
        ("dispatch.poll", "100ms"),
        ("dispatch.heartbeat", "200ms"),
        ("dispatch.gone_after", "1500ms"),
        ("dispatch.max_in_flight", "32"),
        ("retry.base", "20ms"),
        ("retry.cap", "200ms"),
        ("retry.sender_pause", "100ms"),
        ("retry.sender_pause_cap", "1s"),
        ("retry.sender_recovery_step", "100ms"),
        ("doubt.window", "1s"),
        ("doubt.max", "1h"),
        ("pace.recipient_interval", "10ms"),
        ("pace.recipient_burst", "10"),
        ("senders.main.kind", "meta"),
        ("senders.main.phone_number_id", "200000000000002"),
        ("senders.main.waba_id", "100000000000001"),
        ("senders.main.token", "sim-token"),
        ("senders.main.app_secret", "sim-app-secret"),
        ("senders.main.verify_token", "sim-verify-token"),
        ("senders.main.rate_per_second", "1000"),
        ("http.metrics_listen", "127.0.0.1:0"),
        ("outbox.poll", "100ms"),
        ("outbox.lease", "2s"),
        ("upkeep.every", "100ms"),
        ("templates.sync_every", "1h"),
        ("shutdown.grace", "10s"),
        ("log.level", "info"),
    ];
    text.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn topology(settings: &BTreeMap<String, String>, catalogue: &Catalogue) -> Topology {
    let of = |key: &str| settings[key].clone();
    Topology {
        exchange: of("broker.exchange"),
        queue: of("broker.queue"),
        dead_exchange: of("broker.dead_exchange"),
        status_exchange: of("broker.status_exchange"),
        inbound_exchange: of("broker.inbound_exchange"),
        delivery_limit: of("broker.delivery_limit").parse().expect("a number"),
        routing_keys: catalogue.event_types().map(str::to_owned).collect(),
        sources: Vec::new(),
    }
}
