//! `recado senders`: how each sender stands, as its provider last told; and who asks, while the service runs.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use uuid::Uuid;

use super::{ago, database, say, settings};
use crate::{
    clock::Clock,
    config::{Needs, Place, Sender, Settings},
    db::{Pools, health},
    http::senders::Shown,
    provider::meta::Inquiry,
    worker::{
        Nudge,
        health::{Rules, Watch, Watched},
        wire::Wire,
    },
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
    if settings.senders.is_empty() {
        say("There is no sender in the settings; docs/access.md says how to describe one.");
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

/// Who asks how the senders stand; none if nobody is to, or if no provider tells.
///
/// # Errors
/// If a sender's secret cannot be read, or its address is none.
pub fn watch(
    settings: &Settings,
    pools: &Pools,
    nudge: &Nudge,
    ids: &HashMap<String, i16>,
    worker: Uuid,
) -> anyhow::Result<Option<Watch>> {
    const POLL: Duration = Duration::from_secs(5);
    let Some(every) = settings.health_every else { return Ok(None) };
    let mut watched = Vec::new();
    for sender in settings.senders.values() {
        // What Twilio tells of a number in its Senders API is not asked for yet.
        let (Some(id), Some(of)) = (ids.get(&sender.name), sender.meta()) else { continue };
        let token = SecretString::from(of.token.reveal()?);
        let account = of.waba_id.as_deref();
        let inquiry = Inquiry::new(&of.base_url, &of.version, &of.phone_number_id, account, &token)?;
        watched.push(Watched { id: *id, name: sender.name.clone(), inquiry });
    }
    let of = &settings.dispatch;
    let wire = Wire::new(of.send_timeout, of.connect_timeout, 1)?;
    let rules = Rules { every, poll: POLL, lease: 6 * POLL };
    let watch = Watch { worker, pool: pools.ops.clone(), rules, watched, wire, dispatch: nudge.clone() };
    Ok((!watch.watched.is_empty()).then_some(watch))
}
