//! `recado migrate`: the database's schema.

use std::process::ExitCode;

use super::{open, say, schema_of, settings};
use crate::{
    config::{Needs, Place},
    db::{self, pools::Schema},
};

/// Applies what is missing. Harmless if nothing is; refused if the database is newer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  recado migrate --dry-run\n  recado migrate")]
pub struct Args {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs::DATABASE)?;
    let pools = open(&settings)?;
    match schema_of(&pools).await? {
        Schema::Fits => say("The schema fits."),
        Schema::Newer | Schema::Altered(_) => {
            super::database(&settings).await?;
        }
        Schema::Empty if args.dry_run => say("All migrations would be applied."),
        Schema::Older(missing) if args.dry_run => say(&format!("{missing} migration(s) would be applied.")),
        Schema::Empty | Schema::Older(_) => {
            db::migrate(&pools.ops).await?;
            say("The schema is up to date.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
