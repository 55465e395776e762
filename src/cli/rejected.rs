//! `recado rejected`: the events that could not be used, with the reason and the bytes.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{complain, database, hold::somebody, moment::rejected_event, on_one_line, printable, say, settings};
use crate::{
    config::{Needs, Place},
    db::{
        audit::{Act, note},
        rejected::{self, Filter, Listed, Whole},
    },
    domain::event::REASONS,
};

const EXAMPLE: &str = "Examples:
  recado rejected
  recado rejected --reason unfillable_template
  recado rejected --replayed --json
  recado rejected show 01a2056c-da85-7012-850d-3d88ae9c4023";

const SHOW_EXAMPLE: &str = "Examples:
  recado rejected show 01a2056c-da85-7012-850d-3d88ae9c4023
  recado rejected show 01a2056c-da85-7012-850d-3d88ae9c4023 --json";

/// Shows the events that could not be used, the latest first. Those that were run again are over and not shown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Only those that were rejected for this reason; docs/events.md explains each.
    #[arg(long, value_parser = PossibleValuesParser::new(REASONS), hide_possible_values = true)]
    reason: Option<String>,
    /// Also those that were run again.
    #[arg(long)]
    replayed: bool,
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
    /// So many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// One of them with its headers and its bytes, as text. They may say who the event is about.
    #[command(after_help = SHOW_EXAMPLE)]
    Show {
        /// Its id; recado rejected lists them.
        #[arg(value_parser = rejected_event)]
        id: Uuid,
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// 0; or 1 if there is none of that id.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    if let Some(What::Show { id, json: as_json }) = args.what {
        let Some(found) = rejected::one(&pools.ops, id).await? else {
            complain("There is no rejected event of this id; recado rejected shows those that are.");
            return Ok(ExitCode::FAILURE);
        };
        // Its bytes may say who the event is about.
        let on = id.to_string();
        let what = "rejected_event.shown";
        let act = Act { by: &somebody(), what, on: Some(&on), reason: None, detail: json!({}) };
        note(&pools.ops, &act).await?;
        say(&if as_json { in_json(&found)? } else { as_text(&found) });
        return Ok(ExitCode::SUCCESS);
    }
    let filter = Filter { reason: args.reason, replayed: args.replayed, before: None };
    let mut found = rejected::page(&pools.ops, &filter, args.limit + 1).await?;
    let more = i64::try_from(found.len()).is_ok_and(|n| n > args.limit);
    found.truncate(usize::try_from(args.limit).unwrap_or(0));
    if args.json {
        say(&serde_json::to_string_pretty(&found)?);
        return Ok(ExitCode::SUCCESS);
    }
    for one in &found {
        say(&line(one));
    }
    match (found.is_empty(), more) {
        (true, _) => match &filter.reason {
            Some(reason) => say(&format!("No event is rejected for the reason {}.", on_one_line(reason))),
            None => say("No event is rejected."),
        },
        (false, true) => complain("There are more; --limit shows more of them."),
        (false, false) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn line(one: &Listed) -> String {
    let copies = if one.copies > 1 { format!(", {} times", one.copies) } else { String::new() };
    let again =
        one.replayed_at.map(|at| format!(" (run again at {}: {})", clock(at), came_to(one))).unwrap_or_default();
    format!(
        "{}  {}  {}{copies}  {}: {}{again}",
        one.id,
        clock(one.received_at),
        on_one_line(&one.routing_key),
        one.reason,
        on_one_line(&one.detail)
    )
}

fn came_to(one: &Listed) -> &str {
    one.replay.as_deref().unwrap_or("done")
}

fn as_text(found: &Whole) -> String {
    let of = &found.listed;
    let mut text = format!("Rejected event {}\n  received {}", of.id, clock(of.received_at));
    if of.copies > 1 {
        text += &format!(", {} times", of.copies);
    }
    text += &format!("\n  {}: {}\n", of.reason, on_one_line(&of.detail));
    let exchange = if of.exchange.is_empty() { "the default exchange" } else { &of.exchange };
    text += &format!("  from {} with the routing key {}\n", on_one_line(exchange), on_one_line(&of.routing_key));
    if let Some(kind) = &found.content_type {
        text += &format!("  content-type: {}\n", on_one_line(kind));
    }
    for (name, value) in found.headers.as_object().into_iter().flatten() {
        text += &format!("  {}: {}\n", on_one_line(name), on_one_line(value.as_str().unwrap_or_default()));
    }
    text += &match of.replayed_at {
        Some(at) => format!("  run again at {}: {}\n", clock(at), came_to(of)),
        None if of.whole => format!("  when its cause is gone: recado replay-rejected {} --because TEXT\n", of.id),
        None => "  it cannot be run again: only its beginning was kept\n".to_owned(),
    };
    let kept = found.body.len();
    let whole = if of.whole { String::new() } else { format!(", of which the first {kept} follow") };
    text += &format!("\n{} bytes{whole}:\n\n{}", of.size, printable(&String::from_utf8_lossy(&found.body)));
    text
}

fn in_json(found: &Whole) -> anyhow::Result<String> {
    let mut all = serde_json::to_value(&found.listed)?;
    all["content_type"] = json!(found.content_type);
    all["headers"] = found.headers.clone();
    all["body"] = json!(String::from_utf8_lossy(&found.body));
    Ok(serde_json::to_string_pretty(&all)?)
}

/// To the second, in UTC.
fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
