//! `recado callbacks`: how those stand who are told of events over HTTP, a trial of one, and telling events again.

use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{ago, complain, database, hold::somebody, moment::moment, outward, say, settings};
use crate::{
    clock::Clock,
    config::{Callback, Needs, Place, Settings},
    db::callbacks::{self, Report},
    domain::callback::{Answer, webhook_id},
    worker::callbacks::{post, unanswered},
};

const EXAMPLE: &str = "Examples:
  recado callbacks
  recado callbacks test shop
  recado callbacks replay shop --since 2026-11-22T18:00:00Z
  recado callbacks replay shop --since 24h --undelivered
  recado callbacks resume shop";

const REPLAY_EXAMPLE: &str = "Examples:
  recado callbacks replay shop --since 2026-11-22T18:00:00Z
  recado callbacks replay shop --since 24h --undelivered";

/// Shows how the callbacks stand.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How each stands: what it has, what it waits for, what was given up.
    #[command(after_help = "Examples:\n  recado callbacks list\n  recado callbacks list --json")]
    List {
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Sends one signed event of the type callback.test, and says what came back.
    #[command(after_help = "Examples:\n  recado callbacks test shop")]
    Test {
        /// The callback's name: of the section [callbacks.NAME].
        name: String,
    },
    /// Tells events again, in order and with the same ids; also lets one go on that was stopped.
    #[command(after_help = REPLAY_EXAMPLE)]
    Replay {
        /// The callback's name: of the section [callbacks.NAME].
        name: String,
        /// What was told since then: a time like 2026-11-22T20:00:00Z, a day like 2026-11-22 (UTC), or how long ago, like 3d or 2h.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Timestamp,
        /// Only what was given up.
        #[arg(long)]
        undelivered: bool,
    },
    /// Lets one go on that was stopped because it answered 410.
    #[command(after_help = "Examples:\n  recado callbacks resume shop")]
    Resume {
        /// The callback's name: of the section [callbacks.NAME].
        name: String,
    },
}

/// 0; or 1 if there is no such callback, or the trial was not taken.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let what = args.what.unwrap_or(What::List { json: false });
    let needs = if matches!(what, What::Test { .. }) { Needs::NOTHING } else { Needs::DATABASE };
    let settings = settings(place, needs)?;
    match what {
        What::List { json } => list(&settings, json).await,
        What::Test { name } => test(&settings, &name).await,
        What::Replay { name, since, undelivered } => {
            let callback = one(&settings, &name)?;
            let pools = database(&settings).await?;
            callbacks::open(&pools.ops, &callback.name).await?;
            let events = callbacks::replay(&pools.ops, &callback.name, since, undelivered, &somebody()).await?;
            say(&format!("{events} events are told to {name} again, in order and with the same ids."));
            Ok(ExitCode::SUCCESS)
        }
        What::Resume { name } => {
            let callback = one(&settings, &name)?;
            let pools = database(&settings).await?;
            if callbacks::resume(&pools.ops, &callback.name, &somebody()).await? {
                say(&format!("{name} goes on where it was."));
                Ok(ExitCode::SUCCESS)
            } else {
                complain(&format!("{name} is not stopped."));
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn one<'a>(settings: &'a Settings, name: &str) -> anyhow::Result<&'a Callback> {
    let Some(callback) = settings.callbacks.get(name) else {
        let known: Vec<&str> = settings.callbacks.keys().map(String::as_str).collect();
        if known.is_empty() {
            bail!(
                "there is no callback; describe one in a section [callbacks.{name}] with its url and secret, see docs/callbacks.md"
            );
        }
        bail!("there is no callback {name}; there are {}", known.join(", "));
    };
    Ok(callback)
}

async fn list(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let pools = database(settings).await?;
    let names: Vec<String> = settings.callbacks.keys().cloned().collect();
    let reports = callbacks::reports(&pools.ops, &names).await?;
    if as_json {
        say(&serde_json::to_string_pretty(&reports)?);
        return Ok(ExitCode::SUCCESS);
    }
    if names.is_empty() {
        say("There is no callback; docs/callbacks.md says how to describe one.");
    }
    let now = Clock::system().now();
    for name in &names {
        match reports.iter().find(|report| report.name == *name) {
            Some(report) => say(&line(report, now)),
            None => say(&format!("{name}: not begun; recado run with the role outbox begins it")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How one stands, in a line.
pub(super) fn line(report: &Report, now: Timestamp) -> String {
    let name = &report.name;
    let problem = report.problem.as_deref().unwrap_or("unknown");
    let mut text = match (report.stopped_at, report.failing_since) {
        (Some(at), _) => format!("{name}: stopped {} ago, {problem}; recado callbacks resume {name}", ago(at, now)),
        (None, Some(at)) => format!("{name}: failing for {}, {problem}", ago(at, now)),
        (None, None) => match report.delivered_at {
            Some(at) => format!("{name}: works, the last event {} ago", ago(at, now)),
            None => format!("{name}: nothing was told yet"),
        },
    };
    if let Some(since) = report.waiting_since {
        text += &format!("; {} wait, the oldest for {}", counted(report.waiting), ago(since, now));
    }
    if let Some(since) = report.undelivered_since {
        text += &format!(
            "; {} were given up, the oldest of {} ago: recado callbacks replay {name} --since {} --undelivered",
            counted(report.undelivered),
            ago(since, now),
            since.strftime("%Y-%m-%dT%H:%M:%SZ")
        );
    }
    text
}

fn counted(events: i64) -> String {
    if events >= 10_000 { "10000 events or more".to_owned() } else { format!("{events} events") }
}

async fn test(settings: &Settings, name: &str) -> anyhow::Result<ExitCode> {
    one(settings, name)?;
    let Some(target) = outward::targets(settings)?.into_iter().find(|target| target.name == *name) else {
        bail!("there is no callback {name}");
    };
    let (wire, now) = (outward::wire(settings)?, Clock::system().now());
    let id = format!("test.{}", Uuid::now_v7());
    let body = json!({
        "specversion": "1.0", "id": id, "source": "/recado", "type": "callback.test", "time": now, "datacontenttype": "application/json",
        "data": {"callback": name},
    });
    let (said, good) = match post(&wire, &target, &webhook_id(&id), now.as_second(), &body.to_string()).await {
        Ok((status, Answer::Taken)) => (format!("{name} took it: {status}"), true),
        Ok((status, Answer::Gone)) => (format!("{name} answered {status}: it would be stopped"), false),
        Ok((status, Answer::Refused | Answer::Later(_))) => {
            (format!("{name} answered {status}: an event would be tried again"), false)
        }
        Err(silence) => (format!("{name}: {}", unanswered(silence)), false),
    };
    if good {
        say(&said);
        return Ok(ExitCode::SUCCESS);
    }
    complain(&said);
    Ok(ExitCode::FAILURE)
}
