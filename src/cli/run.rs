//! `recado run`: the service, as roles under one roof.

mod arriving;
mod looking;

use std::{collections::HashMap, net::SocketAddr, process::ExitCode, sync::Arc};

use clap::ValueEnum;
use secrecy::SecretString;
use tokio::net::TcpListener;
use uuid::Uuid;

use arriving::events;
pub use arriving::{drain, inbox, intake_rules, topology};
use looking::bounds;

use super::{database, settings};
use crate::{
    clock::{Clock, v7},
    config::{self, Needs, Place, Settings},
    db::{Pools, dispatch::Pace, senders},
    domain::{cost::Prices, doubt::Patience, notification::Policy, whereabouts::Whereabouts},
    http::{self, Doors, Events},
    inbox::reading::Reader,
    lifecycle::{Lifecycle, Vigil},
    provider::{
        Dialect, Provider,
        meta::Meta,
        twilio::{Account, Channel, Twilio},
    },
    telemetry::{Figures, traces::Tracer},
    worker::{
        Flag, Nudge,
        broker::Address,
        dispatch::{self, Dispatcher},
        door::Door,
        doubt::{self, Lookout},
        fleet::{self, Budget, Fleet, Portfolio},
        intake::{Intake, Queue},
        outbox::Publisher,
        plans::Runner,
        purse::Purse,
        rate::{Backing, SenderRate},
        receipts::{self, Receipts},
        replays::Replays,
        replies::{self, Line, Replies},
        settling,
        templates::{self as worker_templates, Templates},
        upkeep::{self, Upkeep},
        versions::Versions,
        wire::Wire,
    },
};

const EXAMPLE: &str = "Examples:
  recado run
  recado run --roles intake,dispatch        # and the others in another process";

/// Runs the service until SIGTERM or Ctrl-C; then finishes what is in flight. A second signal ends at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// What this process does, with commas between; everything if not given. As many processes as you like may do the same.
    #[arg(long, value_delimiter = ',', value_enum)]
    roles: Vec<Role>,
    /// Stops also when its standard input ends: for a parent that may be killed and must not leave it behind.
    #[arg(long, hide = true)]
    until_input_ends: bool,
}

/// A part of the service that can run in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Takes events from the queues and from the shop's outbox table.
    Intake,
    /// Sends.
    Dispatch,
    /// Applies the webhooks that were stored.
    Receipts,
    /// Tells what became of messages: to the broker, callbacks and relays.
    Outbox,
    /// Answers to people's messages, and the SMS of opt-ins.
    Replies,
    /// Doubts, expiries, plans, retention, and how senders and templates stand.
    Upkeep,
    /// Webhooks, API, console and health checks.
    Http,
}

pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs::ALL)?;
    let pools = database(&settings).await?;
    let (life, vigil) = Lifecycle::begin(settings.shutdown.grace);
    life.heed_signals()?;
    if args.until_input_ends {
        life.heed_input();
    }
    let roles = if args.roles.is_empty() { Role::value_variants() } else { &args.roles };
    start(&settings, &pools, &life, roles).await?;
    Ok(end(vigil).await)
}

async fn end(vigil: Vigil) -> ExitCode {
    let ending = vigil.watch().await;
    tracing::info!(?ending, "recado.ended");
    ending.exit_code()
}

/// Starts the roles. They run until the soft token. Says where the doors are, if they are a role.
///
/// # Errors
/// If the catalogue is wrong, or the database or a listening address cannot be had.
pub async fn start(
    settings: &Settings,
    pools: &Pools,
    life: &Lifecycle,
    roles: &[Role],
) -> anyhow::Result<Option<SocketAddr>> {
    let clock = Clock::system();
    let (worker, nudge) = (v7(clock.now()), Nudge::default());
    let ids = sender_ids(settings, pools).await?;
    let mut reader = super::reader(settings, ids.clone())?;
    reader.versions = Versions::of(&pools.ops, &reader.catalogue).await?;
    let reader = Arc::new(reader);
    let topology = topology(settings, &reader);
    let broker = settings.broker.url.is_given().then(|| address(settings)).transpose()?;
    let forms = super::forms::load(settings)?;
    let prices = super::rates::prices(settings, super::rates::load(settings)?);

    let tracer = super::traces::begin(settings, worker, life)?;
    let inbox = inbox(settings, pools, &clock, &reader, &tracer);
    let mut known = Known::default();
    let mut rates = HashMap::new();
    if roles.contains(&Role::Dispatch) {
        let fleet = fleet(settings, pools, &clock, &nudge, (&ids, &reader.versions, &prices), worker, &tracer)?;
        let dispatchers = fleet.dispatchers.clone();
        fleet.join().await?;
        life.role("fleet", fleet.run(life.clone()));
        for dispatcher in dispatchers {
            known.stuck.push(dispatcher.stuck.clone());
            rates.insert(dispatcher.sender, Arc::clone(&dispatcher.rate));
            life.role("dispatch", dispatcher.run(life.clone()));
        }
    }
    if roles.contains(&Role::Upkeep) {
        let runner = Runner {
            worker,
            pool: pools.ops.clone(),
            inbox: inbox.clone(),
            means: inbox.means(Arc::new(by_sender(&ids, &prices))),
            clock: clock.clone(),
            dispatch: nudge.clone(),
            keep: settings.upkeep.keep_audit,
        };
        life.role("plans", runner.run(life.clone()));
        let providers = providers(settings, &ids)?;
        let by_content = providers.iter().filter(|(_, of)| of.wants_content_id()).map(|(id, _)| *id).collect();
        let lookout = lookout(settings, pools, providers, &reader, (&clock, &nudge), worker)?;
        let listed = lookout.as_ref().map(Lookout::listed).unwrap_or_default();
        let rules = upkeep_rules(settings, (listed, by_content), by_sender(&ids, &prices));
        let upkeep = Upkeep::new(pools.ops.clone(), rules, clock.clone(), nudge.clone());
        life.role("upkeep", upkeep.run(life.clone()));
        if let Some(bills) = super::rates::bills(settings, pools, &ids, &prices, (&clock, worker))? {
            life.role("bills", bills.run(life.clone()));
        }
        if let Some(lookout) = lookout {
            life.role("doubt", lookout.run(life.clone()));
        }
        if let Some(watch) = super::senders::watch(settings, pools, &nudge, &ids, worker)? {
            life.role("health", watch.run(life.clone()));
        }
        let templates = Templates {
            worker,
            pool: pools.ops.clone(),
            rules: templates_rules(settings),
            accounts: super::templates::accounts(settings, &ids, None)?,
            wanted: worker_templates::wanted(&reader.catalogue, &reader.versions),
            dispatch: nudge.clone(),
        };
        life.role("templates", templates.run(life.clone()));
    }
    let stored = Nudge::default();
    if roles.contains(&Role::Receipts) {
        let mut rules = receipts::Rules::new(retry(settings), pace(settings));
        (rules.words, rules.forms, rules.tell_where) = (settings.words.clone(), forms.clone(), settings.tell_where);
        let known = known_senders(settings, &ids, &prices);
        let mut receipts =
            Receipts::new(pools.receipts.clone(), rules, known, clock.clone(), stored.clone(), nudge.clone());
        (receipts.versions, receipts.tracer) = (reader.versions.clone(), tracer.clone());
        life.role("receipts", receipts.run(life.clone()));
    }
    if roles.contains(&Role::Replies) && forms.iter().next().is_some() {
        let (pool, lines) = (pools.ops.clone(), lines(settings, &ids, &rates)?);
        let replies = Replies::new(
            worker,
            pool,
            clock.clone(),
            replies_rules(settings, reader.catalogue.whereabouts()),
            forms.clone(),
            lines,
        )?;
        life.role("replies", replies.run(life.clone()));
    }
    if roles.contains(&Role::Outbox) {
        super::outward::start(settings, pools, &clock, life, worker).await?;
        if let Some(address) = &broker {
            let connected = Flag::default();
            known.connected.push(connected.clone());
            let rules = super::outward::publisher(settings, address.clone(), topology.clone());
            let publisher = Publisher { worker, pool: pools.ops.clone(), rules, connected };
            life.role("outbox", publisher.run(life.clone()));
        }
    }
    if roles.contains(&Role::Intake) {
        let (pool, every) = (pools.ops.clone(), settings.upkeep.every);
        let replays = Replays { pool, inbox: inbox.clone(), every, nudge: nudge.clone() };
        life.role("replays", replays.run(life.clone()));
        if let Some(drain) = drain(settings, &inbox, &nudge)? {
            life.role("drain", drain.run(life.clone()));
        }
    }
    if let Some(address) = broker.filter(|_| roles.contains(&Role::Intake)) {
        for queue in [Queue::Events, Queue::Dead] {
            let connected = Flag::default();
            if queue == Queue::Events {
                known.connected.push(connected.clone());
            }
            let intake = Intake {
                queue,
                rules: intake_rules(settings, address.clone(), topology.clone()),
                inbox: inbox.clone(),
                clock: clock.clone(),
                nudge: nudge.clone(),
                connected,
            };
            life.role("intake", intake.run(life.clone()));
        }
    }
    let turned_away = Flag::default();
    let public = super::forms::public(settings, &ids, forms);
    let prices = Arc::new(by_sender(&ids, &prices));
    let events = events(settings, inbox, nudge)?;
    let around = doors(settings, pools, &clock, life, (stored, events), turned_away.clone(), known);
    let doors = Doors { public, prices, ..around };
    let inside = listen("http.metrics_listen", settings.http.metrics_listen).await?;
    tracing::info!(address = %inside.local_addr()?, "http.listening: metrics and health");
    life.role("metrics", http::serve(inside, http::inside(Figures::begin()?, doors.clone()), life.clone()));
    if !roles.contains(&Role::Http) {
        return Ok(None);
    }
    let outside = listen("http.listen", settings.http.listen).await?;
    let address = outside.local_addr()?;
    tracing::info!(%address, "http.listening");
    life.role("http", http::serve(outside, http::router(doors), life.clone()));
    let door = Door {
        worker,
        pool: pools.ops.clone(),
        every: settings.dispatch.heartbeat,
        gone_after: settings.dispatch.gone_after,
        turned_away,
    };
    life.role("door", door.run(life.clone()));
    Ok(Some(address))
}

async fn listen(key: &'static str, at: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at).await.map_err(|error| anyhow::anyhow!("{key}: {at} cannot be listened on: {error}"))
}

/// What the loops know of how the process stands.
#[derive(Default)]
struct Known {
    /// Of each role that uses the broker.
    connected: Vec<Flag>,
    stuck: Vec<Flag>,
}

impl Known {
    fn standing(self, life: Lifecycle) -> impl Fn() -> http::Standing {
        move || http::Standing {
            broker_connected: (!self.connected.is_empty()).then(|| self.connected.iter().all(Flag::is_up)),
            results_taken: !self.stuck.iter().any(Flag::is_up),
            stopping: life.soft().is_cancelled(),
        }
    }
}

fn doors(
    settings: &Settings,
    pools: &Pools,
    clock: &Clock,
    life: &Lifecycle,
    (stored, events): (Nudge, Events),
    turned_away: Flag,
    known: Known,
) -> Doors {
    Doors {
        pools: pools.clone(),
        clock: clock.clone(),
        senders: settings.senders.iter().map(|(name, sender)| (name.clone(), http::Secrets::of(sender))).collect(),
        limits: http::Limits::of(&settings.http),
        public: http::optin::Public::closed(settings.forms.clone()),
        console: settings.console.clone(),
        prices: Arc::default(),
        bounds: bounds(settings),
        events,
        stored: Arc::new(move || stored.wake()),
        turned_away: Arc::new(move || turned_away.set(true)),
        standing: Arc::new(known.standing(life.clone())),
    }
}

/// The senders' keys in the database, by name.
///
/// # Errors
/// If the database cannot be asked.
pub async fn sender_ids(settings: &Settings, pools: &Pools) -> anyhow::Result<HashMap<String, i16>> {
    let mut ids = HashMap::new();
    for name in settings.senders.keys() {
        ids.insert(name.clone(), senders::register(&pools.ops, name).await?);
    }
    Ok(ids)
}

/// The broker's address.
///
/// # Errors
/// If it is not given.
pub fn address(settings: &Settings) -> anyhow::Result<Address> {
    Ok(Address {
        url: SecretString::from(settings.broker.url.reveal()?),
        heartbeat: settings.broker.heartbeat,
        connect_timeout: settings.broker.connect_timeout,
    })
}

fn fleet(
    settings: &Settings,
    pools: &Pools,
    clock: &Clock,
    nudge: &Nudge,
    (ids, versions, prices): (&HashMap<String, i16>, &Versions, &HashMap<String, Prices>),
    worker: Uuid,
    tracer: &Tracer,
) -> anyhow::Result<Fleet> {
    let portfolios = portfolios(settings, ids);
    let budgets = budgets(settings, ids);
    let mut dispatchers = Vec::new();
    for sender in settings.senders.values() {
        let Some(id) = ids.get(&sender.name).copied() else { continue };
        let provider = provider(settings, sender)?;
        let rate = SenderRate::new(sender.rate_per_second, settings.dispatch.headroom);
        let day = portfolios.iter().find(|p| p.senders.contains(&id)).map_or_else(Flag::default, |p| p.full.clone());
        let prices = prices.get(&sender.name).cloned().unwrap_or_else(|| Prices::none(&sender.name));
        let purse = budgets.iter().find(|b| b.sender == id).map_or_else(Purse::default, |b| b.purse.clone());
        let (pool, clock, nudge) = (pools.dispatch.clone(), clock.clone(), nudge.clone());
        let rules = dispatch_rules(settings);
        let name = sender.name.clone();
        let mut dispatcher = Dispatcher::new(id, name, provider, rules, rate, pool, clock, nudge, day)?;
        dispatcher.versions = versions.clone();
        (dispatcher.prices, dispatcher.purse, dispatcher.tracer) = (prices, purse, tracer.clone());
        dispatchers.push(Arc::new(dispatcher));
    }
    let rules = fleet::Rules { every: settings.dispatch.heartbeat, gone_after: settings.dispatch.gone_after };
    Ok(Fleet { worker, pool: pools.ops.clone(), clock: clock.clone(), rules, dispatchers, portfolios, budgets })
}

fn known_senders(
    settings: &Settings,
    ids: &HashMap<String, i16>,
    prices: &HashMap<String, Prices>,
) -> Vec<receipts::Known> {
    let known = settings.senders.values().filter_map(|sender| {
        let meta = sender.meta();
        Some(receipts::Known {
            id: *ids.get(&sender.name)?,
            name: sender.name.clone(),
            phone_number_id: meta.map(|meta| meta.phone_number_id.clone()).unwrap_or_default(),
            waba_id: meta.and_then(|meta| meta.waba_id.clone()),
            dialect: if meta.is_some() { Dialect::Meta } else { Dialect::Twilio },
            sms: !sender.sends_templates(),
            prices: prices.get(&sender.name).cloned().unwrap_or_else(|| Prices::none(&sender.name)),
        })
    });
    known.collect()
}

/// The senders with their providers.
fn providers(settings: &Settings, ids: &HashMap<String, i16>) -> anyhow::Result<Vec<(i16, Arc<dyn Provider>)>> {
    let known = settings.senders.values().filter_map(|sender| Some((*ids.get(&sender.name)?, sender)));
    known.map(|(id, sender)| Ok((id, provider(settings, sender)?))).collect()
}

/// Who looks for lost messages, if a provider can be asked for them.
fn lookout(
    settings: &Settings,
    pools: &Pools,
    providers: Vec<(i16, Arc<dyn Provider>)>,
    reader: &Arc<Reader>,
    (clock, nudge): (&Clock, &Nudge),
    worker: Uuid,
) -> anyhow::Result<Option<Lookout>> {
    let of = &settings.dispatch;
    let rules = doubt::Rules {
        every: settings.upkeep.every,
        lease: of.lease,
        window: settings.doubt.window,
        retry: retry(settings),
    };
    let wire = Wire::new(of.send_timeout, of.connect_timeout, 2)?;
    let around = (clock.clone(), nudge.clone());
    Ok(Lookout::new(worker, pools.ops.clone(), rules, Arc::clone(reader), around, wire, providers))
}

/// What sends free texts. On WhatsApp they take their share of what the sender leaves free; what a process lets out in a second (`rates`)
/// is for notifications and texts together.
fn lines(
    settings: &Settings,
    ids: &HashMap<String, i16>,
    rates: &HashMap<i16, Arc<SenderRate>>,
) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for sender in settings.senders.values() {
        let Some(id) = ids.get(&sender.name).copied() else { continue };
        let (rate, daily) = match &sender.provider {
            config::Provider::Meta(_) | config::Provider::Twilio(_) => {
                ((f64::from(sender.rate_per_second) * settings.dispatch.headroom / 2.0) as u32, None)
            }
            config::Provider::TwilioSms(_) => (sender.rate_per_second, Some(settings.forms.texts_per_day)),
        };
        let provider = provider(settings, sender)?;
        let (name, shared) = (sender.name.clone(), rates.get(&id).cloned());
        lines.push(Line { id, name, provider, rate: rate.max(1), shared, daily });
    }
    Ok(lines)
}

/// What speaks to a sender's provider.
///
/// # Errors
/// If a secret is missing, or the settings make no request.
pub fn provider(settings: &Settings, sender: &config::Sender) -> anyhow::Result<Arc<dyn Provider>> {
    Ok(match &sender.provider {
        config::Provider::Meta(of) => {
            let token = SecretString::from(of.token.reveal()?);
            Arc::new(Meta::new(&of.base_url, &of.version, &of.phone_number_id, &token)?)
        }
        config::Provider::Twilio(of) | config::Provider::TwilioSms(of) => Arc::new(twilio(settings, sender, of)?),
    })
}

/// What speaks to Twilio for one of its senders.
///
/// # Errors
/// As [`provider`].
pub fn twilio(settings: &Settings, sender: &config::Sender, of: &config::Twilio) -> anyhow::Result<Twilio> {
    let channel = if sender.sends_templates() { Channel::Whatsapp } else { Channel::Sms };
    let (user, password) = of.user();
    let account = Account {
        base_url: &of.base_url,
        account_sid: &of.account_sid,
        service_sid: of.service_sid.as_deref(),
        number: sender.number.as_ref(),
        user,
        password: &SecretString::from(password.reveal()?),
        callback: &format!("{}/webhooks/{}", super::forms::base_url(settings), sender.name),
    };
    Ok(Twilio::new(channel, account)?)
}

fn replies_rules(settings: &Settings, whereabouts: Whereabouts) -> replies::Rules {
    let of = &settings.dispatch;
    replies::Rules {
        poll: of.poll,
        lease: of.lease,
        send_timeout: of.send_timeout,
        connect_timeout: of.connect_timeout,
        tries: 5,
        only_to: of.only_to.as_ref().map(|phones| phones.iter().map(|phone| phone.reveal().to_owned()).collect()),
        base_url: super::forms::base_url(settings),
        words: settings.words.clone(),
        whereabouts,
    }
}

fn portfolios(settings: &Settings, ids: &HashMap<String, i16>) -> Vec<Portfolio> {
    let mut portfolios: Vec<Portfolio> = Vec::new();
    for sender in settings.senders.values() {
        let (Some(daily), Some(id)) = (&sender.daily, ids.get(&sender.name)) else { continue };
        let at = portfolios.iter().position(|portfolio| portfolio.name == daily.portfolio);
        let at = at.unwrap_or_else(|| {
            portfolios.push(Portfolio::new(daily.portfolio.clone(), None, daily.share));
            portfolios.len() - 1
        });
        if let Some(portfolio) = portfolios.get_mut(at) {
            portfolio.senders.push(*id);
            portfolio.limit = portfolio.limit.into_iter().chain(daily.limit).min();
            portfolio.share = portfolio.share.min(daily.share);
        }
    }
    portfolios
}

fn budgets(settings: &Settings, ids: &HashMap<String, i16>) -> Vec<Budget> {
    let limited = settings.senders.values().filter(|sender| sender.budget.currency().is_some());
    let budget = |sender: &config::Sender| {
        let (name, config::Budget { daily, monthly }) = (sender.name.clone(), sender.budget);
        Some(Budget { sender: *ids.get(&sender.name)?, name, daily, monthly, purse: Purse::default() })
    };
    limited.filter_map(budget).collect()
}

/// How messages are sent, by these settings.
#[must_use]
pub fn dispatch_rules(settings: &Settings) -> dispatch::Rules {
    let of = &settings.dispatch;
    dispatch::Rules {
        slots: of.max_in_flight,
        batch: u32::try_from(of.claim_batch).unwrap_or(100),
        lease: of.lease,
        send_timeout: of.send_timeout,
        connect_timeout: of.connect_timeout,
        poll: of.poll,
        pace: pace(settings),
        retry: retry(settings),
        backing: Backing {
            pause: settings.retry.sender_pause,
            pause_cap: settings.retry.sender_pause_cap,
            step: settings.retry.sender_recovery_step,
        },
        only_to: of.only_to.as_ref().map(|phones| phones.iter().map(|phone| phone.reveal().to_owned()).collect()),
        settling: settling_rules(settings),
    }
}

fn settling_rules(settings: &Settings) -> settling::Rules {
    settling::Rules {
        batch: settings.dispatch.settle_batch,
        linger: settings.dispatch.settle_linger,
        pace: pace(settings),
    }
}

fn pace(settings: &Settings) -> Pace {
    Pace { interval: settings.pace.recipient_interval, burst: settings.pace.recipient_burst }
}

fn retry(settings: &Settings) -> Policy {
    Policy {
        max_tries: u16::try_from(settings.retry.max_attempts).unwrap_or(u16::MAX),
        base: settings.retry.base,
        cap: settings.retry.cap,
    }
}

fn by_sender(ids: &HashMap<String, i16>, prices: &HashMap<String, Prices>) -> HashMap<i16, Prices> {
    ids.iter().filter_map(|(name, id)| Some((*id, prices.get(name)?.clone()))).collect()
}

fn patience(settings: &Settings) -> Patience {
    Patience {
        window: settings.doubt.window,
        later_attempts: settings.doubt.later_attempts as usize,
        max: settings.doubt.max,
    }
}

fn upkeep_rules(
    settings: &Settings,
    (listed, by_content): (Vec<i16>, Vec<i16>),
    prices: HashMap<i16, Prices>,
) -> upkeep::Rules {
    upkeep::Rules {
        every: settings.upkeep.every,
        tidy_every: settings.upkeep.tidy_every,
        batch: i64::try_from(settings.upkeep.batch).unwrap_or(1_000),
        patience: patience(settings),
        listed,
        by_content,
        gone_after: settings.dispatch.gone_after,
        retry: retry(settings),
        settling: settling_rules(settings),
        keep: super::upkeep::keep(settings),
        prices,
    }
}

fn templates_rules(settings: &Settings) -> worker_templates::Rules {
    let every = settings.templates.sync_every;
    worker_templates::Rules { every, gap: every / 20, lease: std::time::Duration::from_secs(15) }
}
