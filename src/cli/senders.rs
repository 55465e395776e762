//! `recado senders`: how each sender stands, as its provider last told.

use std::process::ExitCode;

use jiff::Timestamp;

use super::{ago, database, say, settings};
use crate::{
    clock::Clock,
    config::{Needs, Place, Sender},
    db::health,
    http::senders::Shown,
};

const EXAMPLE: &str = "Examples:
  recado senders
  recado senders --json
  recado doctor --sender main               # asks the provider now, step by step";

/// Shows the senders: whether each may send, its quality, its limits, and what holds it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// 0, however they stand.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs::DATABASE)?;
    let pools = database(&settings).await?;
    let known = health::all(&pools.ops).await?;
    let shown: Vec<Shown> =
        known.into_iter().filter(|known| settings.senders.contains_key(&known.sender)).map(Shown::of).collect();
    if args.json {
        say(&serde_json::to_string_pretty(&shown)?);
        return Ok(ExitCode::SUCCESS);
    }
    let now = Clock::system().now();
    for sender in settings.senders.values() {
        let one = shown.iter().find(|one| one.known.sender == sender.name);
        say(&format!("{:<12} {}", sender.name, line(sender, one, now)));
        for worry in one.iter().flat_map(|one| &one.worries) {
            say(&format!("{:<12} look at this: {worry}", ""));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(sender: &Sender, shown: Option<&Shown>, now: Timestamp) -> String {
    let held = |one: &Shown| match one.known.held.as_slice() {
        [] => String::new(),
        reasons => format!("held ({}); ", reasons.join(", ")),
    };
    let Some(one) = shown else { return "is not in the database yet: recado run".to_owned() };
    if sender.meta().is_none() {
        return format!("{}its provider tells nothing of it", held(one));
    }
    let Some(answered_at) = one.known.answered_at else {
        let why = one
            .known
            .trouble
            .as_deref()
            .map_or("recado run asks".to_owned(), |why| format!("the last answer was {why}"));
        return format!("{}its provider has not said how it stands: {why}", held(one));
    };
    let of = &one.known.health;
    let mut said = vec![of.status.as_deref().unwrap_or("status unknown").to_owned()];
    said.extend(of.can_send.as_deref().map(|can| format!("sending {can}")));
    said.extend(of.quality.as_deref().map(|quality| format!("quality {quality}")));
    said.extend(of.name_status.as_deref().map(|name| format!("name {name}")));
    said.push(match (one.people_a_day, of.tier.as_deref()) {
        (Some(people), _) => format!("{people} people a day"),
        (None, Some("TIER_UNLIMITED")) => "any number of people a day".to_owned(),
        (None, _) => "people a day unknown".to_owned(),
    });
    said.extend(one.per_second.map(|rate| format!("{rate} a second ({} set)", sender.rate_per_second)));
    let trouble = one.known.trouble.as_deref().map(|why| format!(", asked in vain since: {why}")).unwrap_or_default();
    format!("{}{}; said {} ago{trouble}", held(one), said.join(", "), ago(answered_at, now))
}
