//! What a command begins with that asks the database: its settings, a connection, and a schema that fits.

use anyhow::{Context, bail};

use crate::{
    clock::Clock,
    config::{Needs, Place, Settings},
    db::{
        self,
        pools::{Pools, Schema, Sizes},
    },
};

/// The settings and the connections of a command that needs nothing but the database.
pub async fn open(place: &Place) -> anyhow::Result<(Settings, Pools)> {
    let settings = Settings::load(place, Needs::DATABASE)?;
    let pools = pools(&settings)?;
    let schema = db::pools::schema(&pools.ops).await.context("the database (database.url)")?;
    if let Some(cure) = cure(schema) {
        bail!("{cure}");
    }
    Ok((settings, pools))
}

/// Connections as a command uses them; none is made yet.
pub fn pools(settings: &Settings) -> anyhow::Result<Pools> {
    let sizes = Sizes { ops: 2, statement_timeout: settings.database.admin_statement_timeout, ..Sizes::default() };
    Ok(db::connect(settings.database.url.reveal()?, sizes, &Clock::system())?)
}

/// What is wrong with the schema and what to do, if it does not fit.
#[must_use]
pub fn cure(schema: Schema) -> Option<String> {
    Some(match schema {
        Schema::Fits => return None,
        Schema::Empty => "the database is empty: run recado migrate".to_owned(),
        Schema::Older(missing) => {
            format!("the database is older than this program, by {missing} migrations: run recado migrate")
        }
        Schema::Newer => "the database is newer than this program: install the program that migrated it".to_owned(),
        Schema::Altered(version) => {
            format!("migration {version} was made by another build of this program: install that one")
        }
    })
}
