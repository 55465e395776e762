//! `recado upkeep`: what is too old is removed at once, or only counted.

use std::process::ExitCode;

use super::{complain, database, run::keep, say, settings};
use crate::{
    config::{Needs, Place},
    db::retention::{self, Keep, Old, Removed},
};

/// Removes what is older than it has to be kept, as the role upkeep does by itself now and then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  recado upkeep --dry-run")]
pub struct Args {
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
}

/// 0 if nothing is left that is too old; 1 if something had to stay because it was in use.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs::DATABASE)?;
    let pools = database(&settings).await?;
    let keep = keep(&settings);
    if args.dry_run {
        tell(&retention::look(&pools.ops, &keep).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let batch = i64::try_from(settings.upkeep.batch)?;
    let removed = remove(&pools.ops, &keep, batch).await?;
    let months: Vec<String> = removed.months.iter().map(|month| month.replace('_', "-")).collect();
    if !months.is_empty() {
        say(&format!("notifications of {}: removed", months.join(", ")));
    }
    for (what, rows) in removed.rows() {
        if rows > 0 {
            say(&format!("{what}: {rows} removed"));
        }
    }
    if removed == (Removed { busy: removed.busy.clone(), ..Removed::default() }) {
        say("Nothing was removed.");
    }
    for month in &removed.busy {
        complain(&format!(
            "notifications of {}: somebody has the table in hand (a backup, a long query); they go at another time",
            month.replace('_', "-")
        ));
    }
    Ok(if removed.busy.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn remove(pool: &sqlx::PgPool, keep: &Keep, batch: i64) -> anyhow::Result<Removed> {
    let mut all = Removed::default();
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
        if !removed.more {
            return Ok(all);
        }
    }
}

fn tell(old: &[Old]) {
    for one in old.iter().filter(|one| one.rows > 0 || one.unfinished) {
        let oldest = one.oldest.map(|at| format!(", the oldest of {at}")).unwrap_or_default();
        let fate = if one.unfinished { "stay, since something is unfinished" } else { "would go" };
        say(&format!("{}: {} {fate}{oldest}", one.what, one.rows));
    }
    if old.iter().all(|one| one.rows == 0 || one.unfinished) {
        say("Nothing would go.");
    }
}
