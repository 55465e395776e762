//! `recado migrate`: the database's schema.

use std::process::ExitCode;

use sqlx::migrate::MigrateError;

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

/// What Postgres said to a migration, as all that it says is told.
fn unapplied(error: MigrateError) -> anyhow::Error {
    if let MigrateError::ExecuteMigration(error, number) = error {
        return anyhow::Error::new(db::Error::from(error)).context(format!("migration {number}"));
    }
    if let MigrateError::Execute(error) = error { db::Error::from(error).into() } else { error.into() }
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
            db::migrate(&pools.ops).await.map_err(unapplied)?;
            say("The schema is up to date.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
