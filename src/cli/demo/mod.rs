//! `recado demo`: the whole service on this machine against the simulator, with a shop that publishes through RabbitMQ.
//!
//! The service is the real one, as [`run::start`] makes it; only the provider is simulated and the waits are
//! shorter. Here it is put together; [`shop`] publishes, [`story`] tells.

mod shop;
mod story;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::json;

use self::{
    shop::{Order, Shop, Wish},
    story::Story,
};
use super::{complain, open, run, say};
use crate::{
    clock::Clock,
    config::{Needs, Place, Settings},
    db::{self, Pools, consents, templates},
    domain::{fact::Approval, ledger::Act, phone::Phone, template::Catalogue},
    lifecycle::Lifecycle,
    sim::{Fault, Options, Rules, Script, Sim},
    telemetry,
    worker::intake::v7,
};

/// Shows everything on this machine: orders come in through RabbitMQ, messages go out to the simulator.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  recado demo           # a shop that goes on until Ctrl-C\n  recado demo --once    # a fixed set, an exit code and a line of JSON"
)]
pub struct Args {
    /// Sends a fixed set, checks how each of them ended, and ends.
    #[arg(long)]
    once: bool,
    /// Orders a second.
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

/// Everything that one demonstration consists of.
struct House {
    settings: Settings,
    pools: Pools,
    catalogue: Catalogue,
    sim: Sim,
}

pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let house = House::build(place, args.log).await?;
    let (life, vigil) = Lifecycle::begin(house.settings.shutdown.grace);
    life.heed_signals()?;
    let address = run::start(&house.settings, &house.pools, &life, run::Role::value_variants()).await?;
    house.sim.world().set_webhooks(|rules| rules.url = address.map(|at| format!("http://{at}/webhooks/demo")));
    say(&format!(
        "Recado is up: RabbitMQ exchange {}, database {}, API http://{}, simulated WhatsApp {}",
        house.settings.broker.exchange,
        database_name(&house.settings),
        address.map_or_else(|| "-".to_owned(), |at| at.to_string()),
        house.sim.url(),
    ));
    let watching = tokio::spawn(vigil.watch());
    let ended = if args.once { house.once().await } else { house.go_on(args.rate, &life).await };
    life.stop();
    let ending = watching.await?;
    house.sim.shutdown().await;
    if !matches!(ending, crate::lifecycle::Ending::Clean) {
        complain(&format!("recado demo: the service ended badly: {ending:?}"));
        return Ok(ending.exit_code());
    }
    let (code, last_line) = ended?;
    say(&last_line);
    Ok(code)
}

impl House {
    async fn build(place: &Place, log: bool) -> anyhow::Result<House> {
        let sim = Sim::start(Options {
            latency_ms: 60,
            jitter_ms: 80,
            webhooks: Rules { sent_ms: 80, delivered_ms: 300, read_ms: 900, jitter_ms: 200, ..Rules::default() },
            ..Options::default()
        })
        .await?;
        let mut variables: BTreeMap<String, String> =
            DEMO.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        variables.insert("RECADO_SENDERS__DEMO__BASE_URL".to_owned(), sim.url());
        if !log {
            variables.insert("RECADO_LOG__LEVEL".to_owned(), "error".to_owned());
        }
        variables.extend(place.variables.clone());
        let place = Place { variables, ..place.clone() };
        let mut settings = Settings::load(&place, Needs::ALL)?;
        // Real systems' exchanges are left alone.
        settings.sources.dir = None;
        telemetry::begin_logging(&settings.log)?;
        let pools = open(&settings)?;
        db::migrate(&pools.ops).await?;
        let catalogue = super::catalogue(&settings)?.catalogue;
        let house = House { settings, pools, catalogue, sim };
        house.approve().await?;
        Ok(house)
    }

    /// The simulator has the catalogue's templates, and so they are approved.
    async fn approve(&self) -> anyhow::Result<()> {
        let sender = db::senders::register(&self.pools.ops, "demo").await?;
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

    async fn consent(&self, phone: &str, locale: &str) -> anyhow::Result<()> {
        let deed = consents::Deed {
            who: consents::Who::Phone(Phone::parse(phone)?),
            act: Act::Imported,
            purposes: vec!["orders".to_owned(), "shipping".to_owned()],
            evidence: json!({"source": "demo", "proof": "invented for the demonstration"}),
            at: Clock::system().now(),
            locale: Some(locale.to_owned()),
        };
        consents::record_all(&self.pools.ops, vec![deed]).await?;
        Ok(())
    }

    async fn shop(&self) -> anyhow::Result<Shop> {
        let now = Clock::system().now();
        let mark = format!("{:x}", v7(now).as_u128() & 0xff_ffff);
        Shop::open(&run::address(&self.settings)?, &self.settings.broker.exchange, mark).await
    }

    /// The fixed set, each with how it has to end.
    async fn once(&self) -> anyhow::Result<(ExitCode, String)> {
        const LIMIT: Duration = Duration::from_secs(45);
        let shop = self.shop().await?;
        let mut story = Story::new(self.pools.ops.clone(), shop.source(), &self.catalogue_note());
        for who in shop.people().iter().filter(|person| person.consents) {
            self.consent(&person_phone(who), who.locale).await?;
        }
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
        let score = story.end(self.sim.world(), &shop).await?;
        shop.close().await;
        let code = if score.all_as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        Ok((code, score.to_json()))
    }

    /// A shop that goes on until Ctrl-C.
    async fn go_on(&self, rate: f64, life: &Lifecycle) -> anyhow::Result<(ExitCode, String)> {
        let shop = self.shop().await?;
        let mut story = Story::new(self.pools.ops.clone(), shop.source(), &self.catalogue_note());
        for who in shop.people().iter().filter(|person| person.consents) {
            self.consent(&person_phone(who), who.locale).await?;
        }
        say("Orders are coming in. Ctrl-C ends it.");
        let pause = Duration::from_secs_f64(1.0 / rate.clamp(0.01, 1_000.0));
        let mut next = Instant::now();
        let mut journeys: Vec<(Instant, Wish)> = Vec::new();
        let mut number = 0;
        while !life.soft().is_cancelled() {
            if next <= Instant::now() {
                next += pause;
                number += 1;
                let order = shop.order(number);
                for (delay, wish) in journey(&shop, &self.catalogue, &order, Clock::system().now()) {
                    journeys.push((Instant::now() + delay, wish));
                }
            }
            let (due, later) = journeys.into_iter().partition(|(at, _)| *at <= Instant::now());
            journeys = later;
            for (_, wish) in due {
                story.expect(&wish);
                shop.publish(&wish).await?;
            }
            story.look().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let score = story.end(self.sim.world(), &shop).await?;
        shop.close().await;
        Ok((ExitCode::SUCCESS, score.to_json()))
    }

    fn catalogue_note(&self) -> String {
        format!("{} templates", self.catalogue.templates().len())
    }
}

fn person_phone(person: &shop::Person) -> String {
    person.phone.clone()
}

fn database_name(settings: &Settings) -> String {
    let url = settings.database.url.reveal().unwrap_or_default();
    url.rsplit('/').next().and_then(|name| name.split('?').next()).unwrap_or_default().to_owned()
}

/// What happens in the fixed set, in this order.
fn wishes(shop: &Shop, catalogue: &Catalogue, now: Timestamp) -> Vec<Wish> {
    let order = |number, name: &str| Order { number: shop.number(number), person: shop.person(name).clone() };
    let make = |label, order: &Order, kind: &str, ends| Wish::of_type(shop, catalogue, label, order, kind, now, ends);
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

/// What an order of the endless shop goes through, and when.
fn journey(shop: &Shop, catalogue: &Catalogue, order: &Order, now: Timestamp) -> Vec<(Duration, Wish)> {
    let ends = if order.person.consents { "delivered" } else { "no_consent" };
    let kinds = [
        ("order.confirmed", 0),
        ("shipment.dispatched", 6),
        ("shipment.out_for_delivery", 12),
        ("shipment.delivered", 18),
    ];
    let steps = kinds.into_iter().filter(|(kind, _)| catalogue.event_types().any(|known| known == *kind));
    steps
        .map(|(kind, seconds)| {
            let at = now.saturating_add(Duration::from_secs(seconds)).unwrap_or(now);
            (Duration::from_secs(seconds), Wish::of_type(shop, catalogue, "", order, kind, at, ends))
        })
        .collect()
}
