//! `recado upkeep`: what is too old is removed at once, or only counted.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{complain, database, say, settings};
use crate::{
    config::{Needs, Place, Settings},
    db::retention::{self, Keep, Old, Removed},
};

/// Removes what is older than it has to be kept, as the role upkeep does by itself now and then.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  recado upkeep --dry-run\n  recado upkeep --dry-run --json    # every table, with what stays\n  recado upkeep"
)]
pub struct Args {
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// 0 if nothing is left that is too old; 1 if something had to stay because it was in use.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs::DATABASE)?;
    let pools = database(&settings).await?;
    let keep = keep(&settings);
    if args.dry_run {
        let old = retention::look(&pools.ops, &keep).await?;
        if args.json {
            say(&as_json(&old).to_string());
        } else {
            tell(&old);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let batch = i64::try_from(settings.upkeep.batch)?;
    let removed = remove(&pools.ops, &keep, batch).await?;
    if args.json {
        say(&removed_as_json(&removed).to_string());
    } else {
        tell_removed(&removed);
    }
    Ok(if removed.busy.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_removed(removed: &Removed) {
    let months: Vec<String> = removed.months.iter().map(|month| month.replace('_', "-")).collect();
    if !months.is_empty() {
        say(&format!("notifications of {}: removed", months.join(", ")));
    }
    for (what, rows) in removed.rows() {
        if rows > 0 {
            say(&format!("{what}: {rows} removed"));
        }
    }
    if *removed == (Removed { busy: removed.busy.clone(), ..Removed::default() }) {
        say("Nothing was removed.");
    }
    for month in &removed.busy {
        complain(&format!(
            "notifications of {}: somebody has the table in hand (a backup, a long query); they go at another time",
            month.replace('_', "-")
        ));
    }
}

fn removed_as_json(removed: &Removed) -> Value {
    let rows: serde_json::Map<String, Value> =
        removed.rows().into_iter().map(|(what, rows)| (what.to_owned(), rows.into())).collect();
    json!({"removed": rows, "months": removed.months, "busy": removed.busy})
}

async fn remove(pool: &sqlx::PgPool, keep: &Keep, batch: i64) -> anyhow::Result<Removed> {
    let mut all = Removed::default();
    let mut told = Instant::now();
    loop {
        let removed = retention::remove(pool, keep, batch).await?;
        all.months.extend(removed.months);
        all.busy = removed.busy;
        all.strangers += removed.strangers;
        all.identities += removed.identities;
        all.conflicts += removed.conflicts;
        all.rejected += removed.rejected;
        all.webhooks += removed.webhooks;
        all.strays += removed.strays;
        all.inbound += removed.inbound;
        all.replies += removed.replies;
        all.payloads += removed.payloads;
        all.parameters += removed.parameters;
        all.audit += removed.audit;
        all.traces += removed.traces;
        if !removed.more {
            return Ok(all);
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            let rows: u64 = all.rows().iter().map(|(_, rows)| rows).sum();
            complain(&format!("{rows} rows so far …"));
        }
    }
}

/// How often a long removal says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

fn tell(old: &[Old]) {
    for one in old.iter().filter(|one| one.rows > 0 || one.unfinished) {
        let oldest = one.oldest.map(|at| format!(", the oldest of {at}")).unwrap_or_default();
        let fate = if one.unfinished { "stay, since something is unfinished" } else { "would go" };
        let kept = match one.oldest_kept.filter(|_| !one.unfinished) {
            Some(at) => format!("; the oldest that stays is of {at}"),
            None => String::new(),
        };
        say(&format!("{}: {} {fate}{oldest}, about {}{kept}", one.what, one.rows, size(one.bytes)));
    }
    if old.iter().all(|one| one.rows == 0 || one.unfinished) {
        say("Nothing would go.");
    }
}

fn size(bytes: i64) -> String {
    match bytes {
        10_000_000_000.. => format!("{} GB", bytes / 1_000_000_000),
        10_000_000.. => format!("{} MB", bytes / 1_000_000),
        10_000.. => format!("{} kB", bytes / 1_000),
        _ => format!("{bytes} bytes"),
    }
}

fn as_json(old: &[Old]) -> Value {
    let rows: Vec<Value> = old
        .iter()
        .map(|one| {
            json!({
                "what": one.what, "table": one.table, "rows": one.rows, "bytes": one.bytes, "oldest": one.oldest,
                "oldest_kept": one.oldest_kept, "stays_unfinished": one.unfinished,
            })
        })
        .collect();
    json!({"would_go": rows})
}

/// How long things are kept, by these settings.
#[must_use]
pub fn keep(settings: &Settings) -> Keep {
    let of = &settings.upkeep;
    Keep {
        notifications: of.keep_notifications,
        payloads: of.keep_payloads,
        parameters: of.keep_parameters,
        identities: of.keep_identities,
        rejected: of.keep_rejected,
        webhooks: of.keep_webhooks,
        inbound: of.keep_inbound,
        callbacks: of.keep_callbacks,
        audit: of.keep_audit,
    }
}
