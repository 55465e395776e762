//! `recado audit`: who did what, and who looked at whose number.

use std::process::ExitCode;

use jiff::Timestamp;

use super::{complain, database, moment::moment, say, settings};
use crate::{
    config::{Needs, Place},
    db::audit::{self, Filter, Noted},
};

const EXAMPLE: &str = "Examples:
  recado audit --what hold                      # all that was done to holds
  recado audit --by ana --since 2026-11-01 --until 2026-12-01
  recado audit --since 3d
  recado audit --what number.shown --json";

/// Shows the audit trail: what operators did and whose numbers they looked at, the latest first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Only what this one did: `user ana`, `key desk`, `cli root`, or the name alone.
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Only this: `hold.placed`, or `hold` for all that was done to holds.
    #[arg(long)]
    what: Option<String>,
    /// Only what was done to this: a notification's id, `hold 12`, `contact 7`, an account's name.
    #[arg(long)]
    on: Option<String>,
    /// Only from then on: a time like 2026-11-22T20:00:00Z, a day like 2026-11-22 (UTC), or how long ago, like 3d or 2h.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only before then, in the same forms.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
    /// So many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

/// 0, whether anything was found or not.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let Args { by, what, on, since, until, limit, json } = args;
    let filter = Filter { by, what, on, from: since, to: until, before: None };
    let mut found = audit::page(&pools.ops, &filter, limit + 1).await?;
    let more = i64::try_from(found.len()).is_ok_and(|n| n > limit);
    found.truncate(usize::try_from(limit).unwrap_or(0));
    if json {
        say(&serde_json::to_string_pretty(&found)?);
    } else if found.is_empty() {
        say("Nothing of the kind was done.");
    }
    for entry in found.iter().filter(|_| !json) {
        say(&line(entry));
    }
    if more {
        complain("There is more; --limit shows more of it.");
    }
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &Noted) -> String {
    let on = entry.on.as_deref().map(|on| format!(" {on}")).unwrap_or_default();
    let reason = entry.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let detail = entry.detail.as_object().filter(|detail| !detail.is_empty());
    let detail = detail.map(|_| format!(" {}", entry.detail)).unwrap_or_default();
    let at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ");
    format!("{at}  {:<20} {}{on}{reason}{detail}", entry.by, entry.what)
}
