//! `recado demo`: the whole service on this machine against the simulator, with a shop that publishes through RabbitMQ.
//!
//! The service is the real one; only the provider is simulated and the waits are shorter. With `--once` it is in this process, as
//! [`run::start`] makes it; otherwise it is a process of its own, which can be killed ([`worker`]), and there is a page: [`page`] is its
//! door, [`stage`] what stands behind it. Here it is put together; [`shop`] publishes, [`story`] tells on the terminal.

mod audit;
mod board;
mod cable;
mod page;
mod phone;
mod shop;
mod stage;
mod story;
mod telling;
mod texts;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;

use self::{
    cable::Cable,
    shop::{Order, Person, Shop, Wish},
    stage::Stage,
    story::Story,
    worker::Worker,
};
use super::{complain, open, run, say, understood, users};
use crate::{
    clock::{Clock, v7},
    config::{Needs, Place, Settings},
    db::{self, Pools, consents, templates},
    domain::{fact::Approval, ledger::Act, phone::Phone, role::Role, template::Catalogue},
    http::serve,
    lifecycle::{Ending, Lifecycle, Vigil},
    sim::{Fault, Options, Rules, Script, Sender, Sim, TwilioAccount, TwilioNumber},
    telemetry,
    worker::broker::Topology,
};

const EXAMPLE: &str = "Examples:
  recado demo                              # a page for your browser, until Ctrl-C
  recado demo --listen 127.0.0.1:9000      # … at this address
  recado demo --once                       # a fixed set, an exit code and a line of JSON";

/// Shows everything on this machine: orders come in through RabbitMQ, messages go out to the simulator, and a page shows both ends.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Sends a fixed set, checks how each of them ended, and ends.
    #[arg(long)]
    once: bool,
    /// Where the page is, on this machine; port 0 takes a free one. [default: 127.0.0.1:8025, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "once", value_parser = loopback)]
    listen: Option<SocketAddr>,
    /// Orders a second of other people, until the page is opened; 0 for none.
    #[arg(long, default_value_t = 1.0, conflicts_with = "once")]
    rate: f64,
    /// Shows the service's own log as well.
    #[arg(long)]
    log: bool,
}

/// What is different from a real installation: where the provider is, and shorter waits.
const DEMO: &[(&str, &str)] = &[
    ("RECADO_SENDERS__DEMO__KIND", "meta"),
    ("RECADO_SENDERS__DEMO__PHONE_NUMBER_ID", "200000000000002"),
    ("RECADO_SENDERS__DEMO__WABA_ID", "100000000000001"),
    ("RECADO_SENDERS__DEMO__TOKEN", "sim-token"),
    ("RECADO_SENDERS__DEMO__APP_SECRET", "sim-app-secret"),
    ("RECADO_SENDERS__DEMO__VERIFY_TOKEN", "sim-verify-token"),
    ("RECADO_HTTP__LISTEN", "127.0.0.1:0"),
    ("RECADO_HTTP__METRICS_LISTEN", "127.0.0.1:0"),
    ("RECADO_CONSENT__GRACE", "2s"),
    ("RECADO_DISPATCH__QUIET_HOURS", "ignore"),
    ("RECADO_PACE__RECIPIENT_INTERVAL", "1s"),
    ("RECADO_PACE__RECIPIENT_BURST", "3"),
    ("RECADO_RETRY__BASE", "250ms"),
    ("RECADO_DISPATCH__POLL", "100ms"),
    ("RECADO_DISPATCH__HEARTBEAT", "500ms"),
    ("RECADO_DISPATCH__GONE_AFTER", "2s"),
    ("RECADO_DISPATCH__SEND_TIMEOUT", "2s"),
    ("RECADO_DISPATCH__CONNECT_TIMEOUT", "1s"),
    ("RECADO_DISPATCH__LEASE", "6s"),
    ("RECADO_UPKEEP__EVERY", "250ms"),
    ("RECADO_OUTBOX__POLL", "200ms"),
];

/// The number as people see it, and as Meta names it.
const NUMBER: &str = "+34600000000";
const NUMBER_ID: &str = "200000000000002";
/// The number that SMS come from.
const SMS_NUMBER: &str = "+34600000001";

/// What is different again where there is a page: an opt-in form with its SMS, more of everything in a shorter time.
const PAGE: &[(&str, &str)] = &[
    ("RECADO_SENDERS__DEMO__NUMBER", NUMBER),
    ("RECADO_SENDERS__DEMO__RATE_PER_SECOND", "400"),
    ("RECADO_SENDERS__SMS__KIND", "twilio_sms"),
    ("RECADO_SENDERS__SMS__ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef"),
    ("RECADO_SENDERS__SMS__NUMBER", SMS_NUMBER),
    ("RECADO_SENDERS__SMS__AUTH_TOKEN", "sim-auth-token"),
    ("RECADO_TEMPLATES__DEFAULT_SENDER", "demo"),
    ("RECADO_FORMS__ASKS_PER_ADDRESS", "1000"),
    ("RECADO_FORMS__ASKS_PER_PHONE", "1000"),
    ("RECADO_FORMS__TEXTS_PER_PHONE", "100"),
    // The simulator reports within four seconds: what it has not reported after this, it does not have.
    ("RECADO_DOUBT__WINDOW", "10s"),
    ("RECADO_ANSWERS__WHERE_IS_MY_ORDER", "last_stage"),
];

/// The sender on WhatsApp, as the settings above and below name it.
const SENDER: &str = "demo";
/// Who may look after it in the console.
const OPERATOR: &str = "demo";
/// Where the page is if nobody says.
const USUAL_PLACE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8025);

/// The page can do things and asks nobody who they are.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write it like 127.0.0.1:8025".to_owned())?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("the page is for this machine alone; write it like 127.0.0.1:8025".to_owned())
}

/// Everything that one demonstration consists of.
pub(in crate::cli) struct House {
    settings: Settings,
    /// What was set, for processes that are to be as this one.
    variables: BTreeMap<String, String>,
    pools: Pools,
    catalogue: Catalogue,
    sim: Sim,
}

pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let house = House::build(place, &args).await?;
    let (life, vigil) = Lifecycle::begin(house.settings.shutdown.grace);
    life.heed_signals()?;
    if args.once { house.show_once(&life, vigil).await } else { house.show_page(place, &args, &life, vigil).await }
}

impl House {
    /// The service in this process, and the fixed set through it.
    async fn show_once(self, life: &Lifecycle, vigil: Vigil) -> anyhow::Result<ExitCode> {
        let address = run::start(&self.settings, &self.pools, life, run::Role::value_variants()).await?;
        self.sim.world().set_webhooks(|rules| rules.url = address.map(|at| format!("http://{at}/webhooks/demo")));
        let api = address.map_or_else(|| "-".to_owned(), |at| at.to_string());
        say(&format!("{}, API http://{api}, simulated WhatsApp {}", self.places(), self.sim.url()));
        let watching = tokio::spawn(vigil.watch());
        let ended = self.once().await;
        life.stop();
        let ending = watching.await?;
        self.sim.shutdown().await;
        if !matches!(ending, Ending::Clean) {
            complain(&format!("recado demo: the service ended badly: {ending:?}"));
            return Ok(ending.exit_code());
        }
        let (code, last_line) = ended?;
        say(&last_line);
        Ok(code)
    }

    /// The page, and the service as a process of its own, until Ctrl-C.
    async fn show_page(self, place: &Place, args: &Args, life: &Lifecycle, vigil: Vigil) -> anyhow::Result<ExitCode> {
        let address = worker::free_port()?;
        let world = self.sim.world();
        world.set_webhooks(|rules| {
            rules.url = Some(format!("http://{address}/webhooks/demo"));
            // A worker that is killed comes back soon.
            rules.retry_ms = [vec![100, 200], vec![500; 600]].concat();
        });
        world.change_account(|account| *account = text_messages(address));
        let mut variables = self.variables.clone();
        let broker = self.settings.broker.url.reveal()?.to_owned();
        let cable = Cable::lay(&broker).await?;
        let url = cable.as_ref().map_or(broker, |cable| cable.url.clone());
        variables.extend(["AMQP_URL", "RECADO_BROKER__URL"].map(|name| (name.to_owned(), url.clone())));
        // Real systems' exchanges are left alone: there is no source in an empty folder.
        let sources = std::env::temp_dir().join(format!("recado-demo-{}", std::process::id()));
        std::fs::create_dir_all(&sources)?;
        variables.insert("RECADO_SOURCES__DIR".to_owned(), sources.display().to_string());
        let worker = Worker::new(address, place.file.clone(), variables);

        let shop = self.shop().await?;
        let agreed: Vec<Person> = shop.people().iter().filter(|person| person.consents).cloned().collect();
        self.consent_all(&agreed).await?;
        world.change_person(&shop.person("Raúl").phone, |ways| ways.on_whatsapp = false);
        let form = super::forms::load(&self.settings)?.iter().next().cloned();
        let places = self.places();
        let broker = (run::address(&self.settings)?, self.topology().await?);
        let password = users::lend(&self.pools.ops, OPERATOR, Role::Admin).await?;
        let stage = Arc::new(Stage::new(self, worker, cable, broker, shop, form).await?);
        stage.lend(format!("{OPERATOR} / {password}"));
        stage.worker.start().await?;
        let listener = listen(args.listen).await?;
        let page = listener.local_addr()?;
        life.role("page", serve(listener, page::router(Arc::clone(&stage), life.clone()), life.clone()));
        say(&format!("{places}, API http://{address}, simulated WhatsApp {}", stage.house.sim.url()));
        say(&format!("\n  Open http://{page}/ in a browser: a shop, a phone, and the story. Ctrl-C ends it."));
        say(&format!("  The operators' console: http://{address}/console, name {OPERATOR}, password {password}\n"));

        let watching = tokio::spawn(vigil.watch());
        tokio::join!(stage.watch(life), stage.trade(args.rate, life));
        stage.worker.end().await;
        let ending = watching.await?;
        let score = stage.measure(false).await?;
        say(&format!("\n{}", score.sum()));
        say(&score.to_json());
        let _ = std::fs::remove_dir(&sources);
        Ok(ending.exit_code())
    }

    async fn build(place: &Place, args: &Args) -> anyhow::Result<House> {
        let (latency_ms, jitter_ms) = stage::USUAL;
        let [sent_ms, delivered_ms, read_ms] = stage::REPORTS;
        let sim = Sim::start(Options {
            latency_ms,
            jitter_ms,
            webhooks: Rules { sent_ms, delivered_ms, read_ms, jitter_ms: 200, ..Rules::default() },
            senders: vec![Sender {
                display_phone_number: NUMBER.to_owned(),
                country_code: "34".to_owned(),
                mps: if args.once { 80 } else { 500 },
                ..Sender::default()
            }],
            feed: 60_000,
            ..Options::default()
        })
        .await?;
        let page = if args.once { &[][..] } else { PAGE };
        let mut variables: BTreeMap<String, String> =
            DEMO.iter().chain(page).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        variables.insert("RECADO_SENDERS__DEMO__BASE_URL".to_owned(), sim.url());
        if !args.once {
            variables.insert("RECADO_SENDERS__SMS__BASE_URL".to_owned(), sim.url());
        }
        if !args.log {
            variables.insert("RECADO_LOG__LEVEL".to_owned(), "error".to_owned());
        }
        variables.extend(place.variables.clone());
        let place = Place { variables: variables.clone(), ..place.clone() };
        let mut settings = understood(&place, Needs::ALL)?;
        // Real systems' exchanges are left alone.
        settings.sources.dir = None;
        telemetry::begin_logging(&settings.log)?;
        let pools = open(&settings)?;
        db::migrate(&pools.ops).await?;
        let catalogue = super::catalogue(&settings)?.catalogue;
        let house = House { settings, variables, pools, catalogue, sim };
        house.approve().await?;
        Ok(house)
    }

    fn places(&self) -> String {
        format!(
            "Recado is up: RabbitMQ exchange {}, database {}",
            self.settings.broker.exchange,
            database_name(&self.settings)
        )
    }

    async fn topology(&self) -> anyhow::Result<Topology> {
        let reader = super::reader(&self.settings, HashMap::new())?;
        Ok(run::topology(&self.settings, &reader))
    }

    /// The simulator has the catalogue's templates, and so they are approved.
    async fn approve(&self) -> anyhow::Result<()> {
        let sender = db::senders::register(&self.pools.ops, SENDER).await?;
        for template in self.catalogue.templates() {
            for language in template.languages() {
                if let Some(json) = self.catalogue.meta_template(template, language) {
                    self.sim
                        .world()
                        .add_template(&json)
                        .map_err(|why| anyhow::anyhow!("{}: {why}", template.name()))?;
                }
                let news = templates::News {
                    status: Approval::Approved,
                    category: Some(template.category().as_str()),
                    quality: None,
                    reason: None,
                    at: None,
                    lasts: None,
                    by: "demo",
                };
                let key = templates::Key { sender, template: template.name(), language };
                templates::set(&self.pools.ops, key, &news).await?;
            }
        }
        Ok(())
    }

    /// These people have agreed to everything that the shop writes about.
    async fn consent_all(&self, people: &[Person]) -> anyhow::Result<()> {
        let deed = |person: &Person| -> anyhow::Result<consents::Deed> {
            Ok(consents::Deed {
                who: consents::Who::Phone(Phone::parse(&person.phone)?),
                act: Act::Imported,
                purposes: vec!["orders".to_owned(), "shipping".to_owned()],
                evidence: json!({"source": "demo", "proof": "invented for the demonstration"}),
                at: Clock::system().now(),
                locale: Some(person.locale.to_owned()),
            })
        };
        let deeds = people.iter().map(deed).collect::<anyhow::Result<_>>()?;
        consents::record_all(&self.pools.ops, deeds).await?;
        Ok(())
    }

    async fn shop(&self) -> anyhow::Result<Shop> {
        let now = Clock::system().now();
        let mark = format!("{:x}", v7(now).as_u128() & 0xff_ffff);
        Shop::open(&run::address(&self.settings)?, &self.topology().await?, mark).await
    }

    /// The fixed set, each with how it has to end.
    async fn once(&self) -> anyhow::Result<(ExitCode, String)> {
        const LIMIT: Duration = Duration::from_secs(45);
        let shop = self.shop().await?;
        let note = format!("{} templates", self.catalogue.templates().len());
        let mut story = Story::new(self.pools.ops.clone(), shop.source(), &note);
        let agreed: Vec<Person> = shop.people().iter().filter(|person| person.consents).cloned().collect();
        self.consent_all(&agreed).await?;
        let world = self.sim.world();
        world.change_person(&shop.person("Raúl").phone, |ways| ways.on_whatsapp = false);
        let cut = Script::next(1, Fault::CutAfter { reset: false }).to(&shop.person("Lucía").phone);
        world.fault(cut).map_err(|why| anyhow::anyhow!("{why}"))?;

        let now = Clock::system().now();
        let wishes = wishes(&shop, &self.catalogue, now);
        for wish in &wishes {
            story.expect(wish);
            shop.publish(wish).await?;
        }
        let began = Instant::now();
        while began.elapsed() < LIMIT && !story.is_over() {
            story.look().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (score, as_expected) = story.end(self.sim.world(), &shop).await?;
        shop.close().await;
        let code = if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        Ok((code, score.to_json()))
    }
}

/// The simulated account for SMS, which tells the worker at this address what people write.
fn text_messages(worker: SocketAddr) -> TwilioAccount {
    let inbound_url = Some(format!("http://{worker}/webhooks/sms"));
    let number = TwilioNumber { address: SMS_NUMBER.to_owned(), inbound_url, ..TwilioNumber::default() };
    TwilioAccount { numbers: vec![number], ..TwilioAccount::default() }
}

/// A place for the page: the one that was asked for, else the usual one or, if somebody has that, any.
async fn listen(wanted: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(address) = wanted {
        let bound = TcpListener::bind(address).await;
        return bound.map_err(|error| anyhow::anyhow!("--listen: {address} cannot be listened on: {error}"));
    }
    match TcpListener::bind(USUAL_PLACE).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind(SocketAddr::new(USUAL_PLACE.ip(), 0)).await?),
    }
}

fn database_name(settings: &Settings) -> String {
    let url = settings.database.url.reveal().unwrap_or_default();
    url.rsplit('/').next().and_then(|name| name.split('?').next()).unwrap_or_default().to_owned()
}

/// What happens in the fixed set, in this order.
fn wishes(shop: &Shop, catalogue: &Catalogue, now: Timestamp) -> Vec<Wish> {
    let order = |number, name: &str| Order { number: shop.number(number), person: shop.person(name).clone() };
    let make = |label, order: &Order, kind: &str, ends| {
        Wish::of_type(&shop.source(), catalogue, label, order, kind, now, ends)
    };
    let mut wishes = vec![
        make("a person who agreed", &order(1, "Ana"), "order.confirmed", "delivered"),
        make("the same, on its way", &order(1, "Ana"), "shipment.dispatched", "delivered"),
        make("in English", &order(2, "Emma"), "order.confirmed", "delivered"),
        make("in Portuguese", &order(3, "João"), "order.confirmed", "delivered"),
        make("a person who never agreed", &order(4, "Marta"), "order.confirmed", "no_consent"),
        make("an event published twice", &order(5, "Ana"), "order.confirmed", "delivered"),
        make("a number without WhatsApp", &order(6, "Raúl"), "order.confirmed", "failed"),
        make("a lost answer", &order(7, "Lucía"), "order.confirmed", "delivered"),
        make("the delivery", &order(8, "Emma"), "shipment.delivered", "delivered"),
        make("news of it that came too late", &order(8, "Emma"), "shipment.dispatched", "superseded"),
    ];
    wishes.push(wishes[5].again());
    wishes.push(Wish::poison(shop));
    for number in 20..26 {
        wishes.push(make("six orders of one person at once", &order(number, "Iker"), "order.confirmed", "delivered"));
    }
    wishes
}
