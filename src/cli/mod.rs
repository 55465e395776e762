//! The commands: each reads its arguments, builds what it needs and runs it. Knows everybody, once.
//!
//! Exit codes: 0 done, 1 could not or found something wrong, 2 not understood.

pub mod audit;
pub mod broker;
pub mod callbacks;
pub mod check;
pub mod consent;
pub mod costs;
pub mod decide;
pub mod demo;
pub mod doctor;
pub mod drain;
pub mod forms;
pub mod healthcheck;
pub mod hold;
pub mod keys;
mod moment;
pub mod openapi;
pub mod outward;
pub mod plans;
pub mod rates;
pub mod rejected;
pub mod run;
pub mod schema;
pub mod senders;
pub mod sim;
pub mod templates;
mod traces;
pub mod upkeep;
pub mod users;
pub mod why;

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use jiff::Timestamp;

use crate::{
    clock::Clock,
    config::{Needs, Place, Settings},
    db::{self, Pools, pools},
    domain::{
        action::{REASON_MAX, reason},
        template,
    },
    inbox::reading::Reader,
    telemetry,
    worker::versions::Versions,
};

const EXAMPLE: &str =
    "Settings come from the environment (RECADO_ and the key: RECADO_HTTP__LISTEN is http.listen; DATABASE_URL and
AMQP_URL too), then from recado.toml. `recado check --settings` shows each with where it comes from.

Exit codes: 0 done, 1 could not or found something wrong, 2 not understood (arguments, settings).

Examples:
  recado demo                               # everything on this machine, against the simulator
  recado migrate                            # makes the tables
  recado check --settings
  recado doctor                             # says what is still wrong
  recado run
  recado publish order.json
  recado why A-1042";

/// Delivers a shop's order and shipping notifications on WhatsApp: with consent, at the right pace, and with proof.
#[derive(Debug, Parser)]
#[command(name = "recado", version, propagate_version = true, after_help = EXAMPLE)]
pub struct Cli {
    /// Settings that differ from the defaults; `recado.toml` in the working directory if not given.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The service: consumes events, sends notifications, receives webhooks.
    Run(run::Args),
    /// Brings the database's schema up to this program's version.
    Migrate(schema::Args),
    /// Checks settings, templates, event types and sources, and shows what will be used.
    Check(check::Args),
    /// Publishes an event to RabbitMQ.
    Publish(broker::PublishArgs),
    /// Takes the events of a shop's outbox table into the inbox.
    Drain(drain::Args),
    /// Shows the events that could not be used.
    Rejected(rejected::Args),
    /// Runs rejected events again, after the cause is mended.
    ReplayRejected(broker::ReplayArgs),
    /// Declares the exchanges and queues, as `run` does by itself: for producers that are there first.
    Topology(broker::TopologyArgs),
    /// Says what is wrong with configuration, connections, senders and templates, in the order in which to put it right.
    Doctor(doctor::Args),
    /// Tells what became of a notification, an event, an order or a person's messages.
    Why(why::Args),
    /// Takes consents over from elsewhere, shows them, and checks their ledger.
    Consent(consent::Args),
    /// Shows how templates stand, approves them, or asks the provider.
    Templates(templates::Args),
    /// Shows what messages cost: predicted, and as far as it is known.
    Costs(costs::Args),
    /// Shows how the senders stand at their providers: status, quality, limits, holds.
    Senders(senders::Args),
    /// Shows how the callbacks stand, tries one, and tells events again.
    Callbacks(callbacks::Args),
    /// Makes, lists and revokes the API's keys.
    Keys(keys::Args),
    /// Makes, lists and changes the console's accounts.
    Users(users::Args),
    /// Prints the description of the HTTP side.
    Openapi(openapi::Args),
    /// Shows who did what, and who looked at whose number.
    Audit(audit::Args),
    /// Stops sending, with a reason.
    Hold(hold::HoldArgs),
    /// Ends holds.
    Release(hold::ReleaseArgs),
    /// Shows the holds in force.
    Holds(hold::ListArgs),
    /// Ends a notification that is pending or in doubt.
    Cancel(decide::CancelArgs),
    /// Lets a notification try again.
    Retry(decide::RetryArgs),
    /// Acts on everything that a search finds: first a plan with its numbers, then in the background.
    Plans(plans::Args),
    /// Removes what is older than it has to be kept, or says what would go.
    Upkeep(upkeep::Args),
    /// Asks the running service whether it is ready, for a container's health check.
    Healthcheck(healthcheck::Args),
    /// Shows everything on this machine, against the simulator.
    Demo(demo::Args),
    /// Simulates Meta's WhatsApp Cloud API and Twilio's Messages and Content APIs, for development and tests.
    Sim(Box<sim::Args>),
}

/// Reads the command line, runs the command and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    telemetry::mind_panics();
    // One TLS backend for everything; it is refused only if it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("recado: the runtime could not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("recado: {}", spelled(&error)));
            if error.is::<Misunderstood>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// What was asked for is not understood, be it the arguments or the settings: the program ends with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misunderstood(pub String);

/// An error with its causes, none of them said twice; if it is the database's, with its setting and what to do.
fn spelled(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let told = cause.to_string();
        if text.is_empty() {
            text = told;
        } else if !text.contains(&told) {
            text += &format!(": {told}");
        }
        // What it said itself is told; its driver's words for that say no more.
        if let Some(of @ db::Error::Outage(_)) = cause.downcast_ref() {
            return format!("database.url (DATABASE_URL): {text}. {}", of.cure());
        }
    }
    text
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let place = Place::of_process(cli.config);
    match cli.command {
        Command::Run(args) => run::run(&place, args).await,
        Command::Migrate(args) => schema::run(&place, args).await,
        Command::Check(args) => check::run(&place, &args),
        Command::Publish(args) => broker::publish(&place, args).await,
        Command::Drain(args) => drain::run(&place, args).await,
        Command::Rejected(args) => rejected::run(&place, args).await,
        Command::ReplayRejected(args) => broker::replay(&place, args).await,
        Command::Topology(args) => broker::topology(&place, args).await,
        Command::Doctor(args) => doctor::run(&place, args).await,
        Command::Why(args) => why::run(&place, args).await,
        Command::Consent(args) => consent::run(&place, args).await,
        Command::Templates(args) => templates::run(&place, args).await,
        Command::Costs(args) => costs::run(&place, args).await,
        Command::Senders(args) => senders::run(&place, args).await,
        Command::Callbacks(args) => callbacks::run(&place, args).await,
        Command::Keys(args) => keys::run(&place, args).await,
        Command::Users(args) => users::run(&place, args).await,
        Command::Openapi(args) => Ok(openapi::run(&args)),
        Command::Audit(args) => audit::run(&place, args).await,
        Command::Hold(args) => hold::hold(&place, args).await,
        Command::Release(args) => hold::release(&place, args).await,
        Command::Holds(args) => hold::list(&place, args).await,
        Command::Cancel(args) => decide::cancel(&place, args).await,
        Command::Retry(args) => decide::retry(&place, args).await,
        Command::Plans(args) => plans::run(&place, args).await,
        Command::Upkeep(args) => upkeep::run(&place, args).await,
        Command::Healthcheck(args) => healthcheck::run(&place, args).await,
        Command::Demo(args) => demo::run(&place, args).await,
        Command::Sim(args) => sim::run(*args).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Settings for a command, with logging as they say. All mistakes are in the error, a line each.
///
/// # Errors
/// If the settings are wrong.
pub fn settings(place: &Place, needs: Needs) -> anyhow::Result<Settings> {
    let settings = understood(place, needs)?;
    telemetry::begin_logging(&settings.log)?;
    Ok(settings)
}

/// The same without logging, for a command that has its own.
///
/// # Errors
/// If the settings are wrong.
fn understood(place: &Place, needs: Needs) -> Result<Settings, Misunderstood> {
    Settings::load(place, needs).map_err(|problems| Misunderstood(problems.to_string()))
}

/// The database's pools, its schema compared with this program's.
///
/// # Errors
/// If it cannot be reached, or its schema is older or newer; the error says what to do.
pub async fn database(settings: &Settings) -> anyhow::Result<Pools> {
    let pools = open(settings)?;
    match schema_of(&pools).await? {
        db::pools::Schema::Fits => Ok(pools),
        db::pools::Schema::Empty => anyhow::bail!("the database is empty. Make the tables: recado migrate"),
        db::pools::Schema::Older(missing) => {
            anyhow::bail!("the database is {missing} migration(s) older than this program. Bring it up: recado migrate")
        }
        db::pools::Schema::Newer => anyhow::bail!(
            "the database was made by a newer program than this one (version {}). Install that program, or restore the database of this version",
            env!("CARGO_PKG_VERSION")
        ),
        db::pools::Schema::Altered(version) => anyhow::bail!(
            "migration {version} was applied to the database with another text than this program has. Install the program that made the database"
        ),
    }
}

/// How the database's schema stands to this program's.
///
/// # Errors
/// If the database cannot be asked.
pub async fn schema_of(pools: &Pools) -> anyhow::Result<db::pools::Schema> {
    Ok(pools::schema(&pools.ops).await?)
}

/// The database's pools, whatever its schema.
///
/// # Errors
/// If the address is none.
pub fn open(settings: &Settings) -> anyhow::Result<Pools> {
    let of = &settings.database;
    let sizes = pools::Sizes {
        intake: 2,
        dispatch: of.hot_connections.saturating_sub(2).max(3),
        receipts: of.webhook_connections,
        public: of.public_connections,
        ops: of.admin_connections,
        statement_timeout: of.statement_timeout,
        slow_timeout: of.admin_statement_timeout,
        acquire_timeout: of.acquire_timeout,
    };
    pools::connect(of.url.reveal()?, sizes, &Clock::system())
        .map_err(|_| anyhow::anyhow!("database.url (DATABASE_URL) is no postgres:// address"))
}

/// The templates, event types and sources, checked.
///
/// # Errors
/// With every problem, a line each: file, line, key, what is wrong and the cure.
pub fn catalogue(settings: &Settings) -> anyhow::Result<check::Checked> {
    let dir = &settings.templates.dir;
    let messages = files(&dir.join("messages"), "toml")?;
    let schemas = files(&dir.join("events"), "json")?;
    let sources = settings.sources.dir.as_deref().map_or_else(|| Ok(Vec::new()), |dir| files(dir, "toml"))?;
    check::check(&messages, &schemas, &sources, &template_settings(settings)).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{} problem(s) in the templates, event types and sources:\n{}", lines.len(), lines.join("\n"))
    })
}

/// The templates, for what asks for their names and purposes only: they are read without any sender, too.
///
/// # Errors
/// As [`catalogue`].
pub fn templates_alone(settings: &Settings) -> anyhow::Result<template::Catalogue> {
    let mut settings = settings.clone();
    if settings.senders.is_empty() && settings.templates.default_sender.is_none() {
        settings.templates.default_sender = Some("main".to_owned());
    }
    Ok(catalogue(&settings)?.catalogue)
}

/// What templates need to know of the settings.
#[must_use]
pub fn template_settings(settings: &Settings) -> template::Settings {
    let default = settings.templates.default_sender.as_ref();
    let (able, unable): (Vec<_>, Vec<_>) = settings.senders.values().partition(|sender| sender.sends_templates());
    let others = able.into_iter().map(|sender| &sender.name).filter(|name| Some(*name) != default);
    template::Settings {
        senders: default.into_iter().chain(others).cloned().collect(),
        words: settings.words.clone(),
        other_senders: unable.into_iter().map(|sender| sender.name.clone()).collect(),
        routing: settings.routing.clone(),
        default_language: settings.templates.default_language.clone(),
        default_zone: settings.templates.default_zone.clone(),
        grace: settings.consent.grace,
        pending: settings.consent.pending_limit,
    }
}

/// What reads events: the templates, the sources and the senders' keys. The templates' versions are left to be found.
///
/// # Errors
/// As [`catalogue`].
pub fn reader(settings: &Settings, senders: HashMap<String, i16>) -> anyhow::Result<Reader> {
    let check::Checked { catalogue, sources } = catalogue(settings)?;
    let versions = Versions::default();
    Ok(Reader { catalogue, sources, senders, versions, quiet_hours: settings.dispatch.quiet_hours })
}

/// All files of a folder with this ending, by name, with their text.
///
/// # Errors
/// If the folder or one of its files cannot be read.
pub fn files(folder: &Path, ending: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            let text =
                std::fs::read_to_string(&path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            found.push((path.display().to_string(), text));
        }
    }
    found.sort();
    Ok(found)
}

/// How long ago that was, as people say it.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(at);
    let (hours, minutes) = (passed.as_hours(), passed.as_mins());
    match (hours, minutes) {
        (48.., _) => format!("{} days", hours / 24),
        (2.., _) => format!("{hours} hours"),
        (_, 2..) => format!("{minutes} minutes"),
        (_, _) => format!("{} seconds", passed.as_secs().max(0)),
    }
}

/// Prints a line for people or programs. A reader who has left is no fault of ours.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line about what went wrong.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What a stranger wrote, so that it does not command the terminal: lines and tabs stay, other controls are spelled out.
fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && !matches!(c, '\n' | '\t') { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(shown).collect()
}

/// Why an operator does something, from `--because`.
fn because(text: &str) -> anyhow::Result<&str> {
    reason(text).ok_or_else(|| Misunderstood(format!("--because is a text of 1 to {REASON_MAX} characters")).into())
}

/// The same where one line is meant.
fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{on_one_line, printable, spelled};
    use crate::db;

    #[test]
    fn bytes_of_strangers_do_not_command_the_terminal() {
        assert_eq!(printable("{\"a\":\t1}\n\u{1b}[2J\r\0é"), "{\"a\":\t1}\n\\u{1b}[2J\\r\\u{0}é");
        assert_eq!(on_one_line("order.\n\u{9b}2J"), "order.\\n\\u{9b}2J");
    }

    #[test]
    fn nothing_is_said_twice_and_a_database_comes_with_its_cure() {
        let away = || db::Error::Outage(sqlx::Error::PoolTimedOut);
        let told = "database.url (DATABASE_URL): sender main: the database is out of reach: no connection came about in time. \
                    Is Postgres running there?";
        assert_eq!(spelled(&anyhow::Error::new(away()).context("sender main")), told);
        assert_eq!(
            spelled(&anyhow::anyhow!("a.csv: no file").context("a.csv: no file at all")),
            "a.csv: no file at all"
        );
        assert_eq!(spelled(&anyhow::anyhow!("no file").context("a.csv")), "a.csv: no file");
    }

    #[test]
    fn the_command_line_makes_sense() {
        super::Cli::command().debug_assert();
    }
}
