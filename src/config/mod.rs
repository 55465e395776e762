//! What can be set: [`Settings`], read whole from the defaults, a file and the environment, or refused with every mistake
//! named at once, each with its key, its place and its cure.
//!
//! `config/default.toml` is embedded and complete; it is the documentation. Here is what the settings are; [`layers`] puts the
//! sources on top of each other and remembers where each value stood, [`reader`] reads one value after the other and collects
//! what is wrong, [`sections`] says for each key what it may be. No setting is read anywhere else.

mod console;
mod layers;
mod outward;
mod problem;
mod reader;
mod routing;
mod secret;
mod sections;
mod senders;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use console::Console;
pub use outward::{Callback, Outward, Relay, is_public};
pub use problem::{Problem, Problems};
pub use secret::{NotGiven, Secret};

use crate::domain::{
    consent::Words,
    money::{Currency, Money},
    phone::Phone,
    route::Rules,
};

/// The built-in file: every key that has a default, with what it means.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Where settings come from besides the defaults.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file that was asked for. If none was, `recado.toml` in `folder` is taken if it exists.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The working directory.
    pub folder: PathBuf,
}

impl Place {
    /// This process's own environment and working directory. Variables that are not Unicode do not count.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Place {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Place { file, variables, folder: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")) }
    }

    /// A place where only these variables are set: for tests and for the demonstration.
    #[must_use]
    pub fn with(folder: &Path, variables: impl IntoIterator<Item = (String, String)>) -> Place {
        Place { file: None, variables: variables.into_iter().collect(), folder: folder.to_owned() }
    }
}

/// What a command cannot do without. What is not needed may be missing, but what is there must be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    pub database: bool,
    pub broker: bool,
    /// At least one sender, each with its secrets.
    pub senders: bool,
    /// The folder of templates.
    pub templates: bool,
}

impl Needs {
    /// What the service needs.
    pub const ALL: Needs = Needs { database: true, broker: true, senders: true, templates: true };
    /// What a command needs that only talks to the database.
    pub const DATABASE: Needs = Needs { database: true, broker: false, senders: false, templates: false };
    /// For what needs nothing, like the simulator.
    pub const NOTHING: Needs = Needs { database: false, broker: false, senders: false, templates: false };
}

/// All settings, checked. `Display` shows each with where it came from, secrets only as given or not.
#[derive(Debug, Clone)]
pub struct Settings {
    pub database: Database,
    pub broker: Broker,
    pub intake: Intake,
    pub dispatch: Dispatch,
    pub retry: Retry,
    pub doubt: Doubt,
    pub pace: Pace,
    pub consent: Consent,
    /// How often Meta is asked how its senders stand; never, if none.
    pub health_every: Option<Duration>,
    /// By name. Not empty if senders were needed.
    pub senders: BTreeMap<String, Sender>,
    pub http: Http,
    pub templates: Templates,
    /// By which the sender is chosen of templates that name none, if there are rules. They name senders that exist.
    pub routing: Option<Arc<Rules>>,
    /// What whole messages of people mean.
    pub words: Words,
    /// Whether somebody who asks where their order is gets an answer.
    pub tell_where: bool,
    pub forms: Forms,
    pub console: Console,
    pub sources: Sources,
    pub rates: Rates,
    pub drain: Drain,
    pub outbox: Outbox,
    pub outward: Outward,
    /// Who is told of events over HTTP, by name.
    pub callbacks: BTreeMap<String, Callback>,
    pub upkeep: Upkeep,
    pub traces: Traces,
    pub log: Log,
    pub shutdown: Shutdown,
    shown: Vec<reader::Shown>,
}

impl Settings {
    /// Reads everything that `place` has.
    ///
    /// # Errors
    /// All mistakes at once: unreadable files, unknown keys, values that cannot be, what `needs` asks for and is missing.
    pub fn load(place: &Place, needs: Needs) -> Result<Settings, Problems> {
        sections::read(reader::Reader::new(layers::Layers::gather(place)?), needs)
    }
}

impl Settings {
    /// The sender that a template names, or the default one.
    #[must_use]
    pub fn sender(&self, name: Option<&str>) -> Option<&Sender> {
        self.senders.get(name.or(self.templates.default_sender.as_deref())?)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for line in &self.shown {
            let (of, key) = line.key.rsplit_once('.').unwrap_or(("", &line.key));
            if of != section {
                writeln!(f, "{}[{of}]", if section.is_empty() { "" } else { "\n" })?;
                section = of;
            }
            writeln!(f, "{key} = {}  # {}", line.value, line.origin)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://…`, with its password.
    pub url: Secret,
    pub hot_connections: u32,
    pub webhook_connections: u32,
    pub public_connections: u32,
    pub admin_connections: u32,
    pub acquire_timeout: Duration,
    /// For all but the operators' pool.
    pub statement_timeout: Duration,
    pub admin_statement_timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Broker {
    /// `amqp://…`, with its password.
    pub url: Secret,
    pub exchange: String,
    pub queue: String,
    pub dead_exchange: String,
    pub status_exchange: String,
    pub inbound_exchange: String,
    pub prefetch: u16,
    pub delivery_limit: u32,
    /// Whole seconds.
    pub heartbeat: Duration,
    pub connect_timeout: Duration,
    pub reconnect_after: Duration,
    pub reconnect_cap: Duration,
}

#[derive(Debug, Clone)]
pub struct Intake {
    pub batch: usize,
    pub linger: Duration,
    pub max_event_bytes: usize,
    /// The longest time after which anybody repeats an event.
    pub longest_replay: Duration,
}

#[derive(Debug, Clone)]
pub struct Dispatch {
    pub max_in_flight: usize,
    pub claim_batch: usize,
    pub settle_batch: usize,
    pub settle_linger: Duration,
    pub lease: Duration,
    pub send_timeout: Duration,
    pub connect_timeout: Duration,
    pub poll: Duration,
    /// Share of a sender's rate that is not used, from 0 to 0.9.
    pub headroom: f64,
    pub heartbeat: Duration,
    pub gone_after: Duration,
    /// Whether the templates' quiet hours count.
    pub quiet_hours: bool,
    /// If some, nobody else may be written to.
    pub only_to: Option<Vec<Phone>>,
}

#[derive(Debug, Clone)]
pub struct Retry {
    pub max_attempts: u32,
    pub base: Duration,
    pub cap: Duration,
    pub sender_pause: Duration,
    pub sender_pause_cap: Duration,
    pub sender_recovery_step: Duration,
}

#[derive(Debug, Clone)]
pub struct Doubt {
    pub window: Duration,
    pub later_attempts: u32,
    pub max: Duration,
}

#[derive(Debug, Clone)]
pub struct Pace {
    pub recipient_interval: Duration,
    /// At least 1.
    pub recipient_burst: u32,
}

#[derive(Debug, Clone)]
pub struct Consent {
    pub grace: Duration,
    pub pending_limit: Duration,
}

/// A business phone number at a provider.
#[derive(Debug, Clone)]
pub struct Sender {
    /// `[a-z0-9_]`, at most 40 characters. Part of its webhook's address.
    pub name: String,
    /// As people see it. Opt-ins by WhatsApp need it, since their link names it; an SMS is sent from it.
    pub number: Option<Phone>,
    /// Of the whole fleet.
    pub rate_per_second: u32,
    pub daily: Option<Daily>,
    pub budget: Budget,
    /// To whom its webhooks are handed on.
    pub relay: Option<Relay>,
    pub provider: Provider,
}

impl Sender {
    /// The kind of its provider, as the settings name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.provider {
            Provider::Meta(_) => "meta",
            Provider::Twilio(_) => "twilio",
            Provider::TwilioSms(_) => "twilio_sms",
        }
    }

    /// Whether it can send templates, and so notifications.
    #[must_use]
    pub const fn sends_templates(&self) -> bool {
        match self.provider {
            Provider::Meta(_) | Provider::Twilio(_) => true,
            Provider::TwilioSms(_) => false,
        }
    }

    /// Its settings at Meta, if it is there.
    #[must_use]
    pub fn meta(&self) -> Option<&Meta> {
        match &self.provider {
            Provider::Meta(meta) => Some(meta),
            Provider::Twilio(_) | Provider::TwilioSms(_) => None,
        }
    }

    /// Its settings at Twilio, if it is there.
    #[must_use]
    pub fn twilio(&self) -> Option<&Twilio> {
        match &self.provider {
            Provider::Meta(_) => None,
            Provider::Twilio(twilio) | Provider::TwilioSms(twilio) => Some(twilio),
        }
    }
}

/// How many unique recipients in 24 hours a portfolio may write to, and at which share of it Recado holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Daily {
    /// Senders that name the same portfolio count together; if none was given, those of the same account.
    pub portfolio: String,
    /// If it is set. What the provider says of the sender counts all the same, if it is less.
    pub limit: Option<u32>,
    /// Above 0, up to 1.
    pub share: f64,
}

/// How much a sender may spend before what is not urgent waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// In a day of UTC.
    pub daily: Option<Money>,
    /// In a month of UTC. In the same currency.
    pub monthly: Option<Money>,
}

impl Budget {
    /// The currency of both.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        self.daily.or(self.monthly).map(|money| money.currency)
    }
}

#[derive(Debug, Clone)]
pub enum Provider {
    Meta(Meta),
    /// WhatsApp through Twilio.
    Twilio(Twilio),
    /// SMS: opt-ins, their answers, and what cannot go by WhatsApp.
    TwilioSms(Twilio),
}

/// A sender at Twilio.
#[derive(Debug, Clone)]
pub struct Twilio {
    /// `AC…`
    pub account_sid: String,
    /// `MG…`; if given, Twilio chooses the number.
    pub service_sid: Option<String>,
    /// Without a slash at its end.
    pub base_url: String,
    /// Of the Content API, without a slash at its end.
    pub content_base_url: String,
    /// Proves what comes back, and sends if there is no API key.
    pub auth_token: Secret,
    pub api_key: Option<ApiKey>,
}

/// A key of Twilio's for requests, so that the auth token need not be used for them.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// `SK…`
    pub sid: String,
    pub secret: Secret,
}

impl Twilio {
    /// Who asks Twilio for something: a name and its password.
    #[must_use]
    pub fn user(&self) -> (&str, &Secret) {
        match &self.api_key {
            Some(key) => (&key.sid, &key.secret),
            None => (&self.account_sid, &self.auth_token),
        }
    }
}

/// A sender at Meta's Cloud API.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Digits.
    pub phone_number_id: String,
    /// Digits. Needed to read the templates' approval from Meta.
    pub waba_id: Option<String>,
    /// Without a slash at its end.
    pub base_url: String,
    /// Like `v25.0`.
    pub version: String,
    pub token: Secret,
    pub app_secret: Secret,
    /// Accepted as well, while the secret is being changed.
    pub previous_app_secret: Secret,
    pub verify_token: Secret,
}

#[derive(Debug, Clone)]
pub struct Http {
    pub listen: SocketAddr,
    pub metrics_listen: SocketAddr,
    /// Without a slash at its end.
    pub public_url: Option<String>,
    pub webhook_body_limit: usize,
    pub api_body_limit: usize,
    pub request_timeout: Duration,
    pub server_key: Secret,
    /// Whose word about a client's address counts.
    pub trusted_proxies: Vec<Network>,
}

/// Addresses that have the same beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `::1`, `127.0.0.1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.trim().parse().ok()?, None),
        };
        let most = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address, bits })
    }

    /// Whether the address is one of them.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| {
            let apart = width - u32::from(self.bits);
            apart == width || one >> apart == other >> apart
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => same(ours.to_bits().into(), theirs.to_bits().into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Templates {
    /// Exists, if templates were needed.
    pub dir: PathBuf,
    /// Names one of the senders. None if there is no sender, or if there are several and rules that choose among them.
    pub default_sender: Option<String>,
    /// For people whose language neither they nor a template says.
    pub default_language: String,
    /// IANA name; for quiet hours of people of whose zone nothing is known.
    pub default_zone: String,
    /// How often the providers are asked how the templates stand.
    pub sync_every: Duration,
}

#[derive(Debug, Clone)]
pub struct Sources {
    /// Exists, if some.
    pub dir: Option<PathBuf>,
    /// What sources sign their webhooks with, by the source's name.
    pub secrets: BTreeMap<String, Secret>,
}

/// Where the price lists are.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Exists, if some.
    pub dir: Option<PathBuf>,
}

/// Where the forms are, and how often their doors open.
#[derive(Debug, Clone)]
pub struct Forms {
    /// Exists, if some.
    pub dir: Option<PathBuf>,
    /// From one address, an hour.
    pub asks_per_address: u32,
    /// About one number, from public doors, a day.
    pub asks_per_phone: u32,
    /// Of one form, from public doors, a day.
    pub asks_per_form: u32,
    /// SMS to one number, a day.
    pub texts_per_phone: u32,
    /// SMS of one sender, a day.
    pub texts_per_day: u32,
}

/// A shop's outbox table.
#[derive(Debug, Clone)]
pub struct Drain {
    /// The shop's database; not given if there is no such table.
    pub url: Secret,
    pub batch: usize,
    pub poll: Duration,
}

#[derive(Debug, Clone)]
pub struct Outbox {
    pub batch: usize,
    pub poll: Duration,
    pub lease: Duration,
}

#[derive(Debug, Clone)]
pub struct Upkeep {
    pub every: Duration,
    pub batch: usize,
    pub tidy_every: Duration,
    pub keep_notifications: Duration,
    pub keep_identities: Duration,
    pub keep_rejected: Duration,
    pub keep_webhooks: Duration,
    pub keep_inbound: Duration,
    pub keep_callbacks: Duration,
    pub keep_payloads: Duration,
    pub keep_parameters: Duration,
    pub keep_audit: Duration,
}

/// Where traces go, if anywhere.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The collector's base address, to which `/v1/traces` is added. None: there are no traces.
    pub endpoint: Option<String>,
    /// Of events that bring no trace, the share that begins one.
    pub share: f64,
    /// The value of a header `authorization`, if the collector wants one.
    pub authorization: Secret,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// An `EnvFilter` directive.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone)]
pub struct Shutdown {
    pub grace: Duration,
}
