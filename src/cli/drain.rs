//! `recado drain`: a shop's outbox table, emptied into the inbox.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use super::{Misunderstood, complain, database, reader, run, say, settings};
use crate::{
    clock::Clock,
    config::{Needs, Place},
    db::{self, shop, versions::Versions},
    lifecycle::Lifecycle,
    telemetry::traces::Tracer,
    worker::{
        Nudge, Progress,
        drain::{Drain, Error},
    },
};

const EXAMPLE: &str =
    "drain.url (RECADO_DRAIN__URL) is the shop's database, like postgres://recado_drain:…@shop-db/shop;
docs/producers.md has the table. `recado run` does the same by itself where drain.url is set.

Examples:
  recado drain --once
  recado drain";

/// Takes the events of a shop's outbox table into the inbox, until Ctrl-C; deletes each when it is safe.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Only what is there now.
    #[arg(long)]
    once: bool,
}

/// What is wrong with the shop's database, and what to do about it.
fn at_the_shop(error: &db::Error) -> anyhow::Error {
    let cure = match error.code().as_deref() {
        Some("42P01" | "42703") => "Make the table there: docs/producers.md has it, or name the database that has it",
        Some("42501") => "Let this user select from it and delete from it: docs/producers.md has the grant",
        _ => error.cure(),
    };
    anyhow::anyhow!("drain.url (RECADO_DRAIN__URL): {error}. {cure}")
}

/// 0 if it was done; 1 if an event was rejected, which is kept among the rejected.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { broker: false, ..Needs::ALL })?;
    if !settings.drain.url.is_given() {
        anyhow::bail!(Misunderstood(
            "drain.url is not set; it names the shop's database: RECADO_DRAIN__URL=postgres://recado_drain:…@shop-db/shop"
                .to_owned()
        ));
    }
    let pools = database(&settings).await?;
    let ids = run::sender_ids(&settings, &pools).await?;
    let mut reader = reader(&settings, ids)?;
    reader.versions = Versions::of(&pools.ops, &reader.catalogue).await?;
    let inbox = run::inbox(&settings, &pools, &Clock::system(), &Arc::new(reader), &Tracer::default());
    let drain = run::drain(&settings, &inbox, &Nudge::default())?;
    let Some(drain) = drain else { return Ok(ExitCode::SUCCESS) };
    // Whoever starts it is to hear what is wrong with the shop's database: later it is only waited for.
    shop::waiting(&drain.shop, 0, 1).await.map_err(|error| at_the_shop(&error))?;
    if !args.once {
        let (life, vigil) = Lifecycle::begin(settings.shutdown.grace);
        life.heed_signals()?;
        life.role("drain", drain.run(life.clone()));
        return Ok(vigil.watch().await.exit_code());
    }
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    loop {
        let taken = drain.step().await.map_err(|error| match error {
            Error::Shop(error) => at_the_shop(&error),
            Error::Inbox(error) => error.into(),
        })?;
        for one in &taken {
            *counts.entry(one.became.as_str()).or_default() += 1;
        }
        if Drain::progress(&taken) == Progress::Idle {
            break;
        }
    }
    if counts.is_empty() {
        say("The outbox is empty.");
        return Ok(ExitCode::SUCCESS);
    }
    let told: Vec<String> = counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    say(&format!("Taken: {}.", told.join(", ")));
    if counts.contains_key("rejected") {
        complain("What was rejected is kept: recado rejected shows why.");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
