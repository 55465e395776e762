//! Ending consents for somebody: a no on their behalf, and forgetting them.

use std::process::ExitCode;

use serde_json::json;
use sqlx::PgPool;

use super::person;
use crate::{
    cli::{catalogue, complain, database, forms, hold::somebody, say, settings},
    clock::Clock,
    config::{Needs, Place, Settings},
    db::{
        consents::{self, Recorded},
        erasure::{self, Erased},
    },
    domain::{
        ledger::{EVERYTHING, can_be_refused},
        phone::Phone,
    },
};

/// Notes a no that somebody gave in another way: on the phone, by letter, in the shop.
///
/// # Errors
/// If the database does not take it.
pub async fn revoke_for(
    pool: &PgPool,
    phone: Phone,
    purposes: &[String],
    reason: &str,
    now: jiff::Timestamp,
) -> anyhow::Result<Recorded> {
    let purposes: Vec<&str> =
        if purposes.is_empty() { vec![EVERYTHING] } else { purposes.iter().map(String::as_str).collect() };
    let evidence = json!({"by": "operator", "reason": reason});
    Ok(consents::revoke(pool, phone, &purposes, evidence, (&somebody(), reason), now).await?)
}

pub(super) async fn revoke(place: &Place, phone: &str, purposes: &[String], reason: &str) -> anyhow::Result<ExitCode> {
    let phone = person(phone)?;
    let settings = settings(place, Needs::DATABASE)?;
    let pools = database(&settings).await?;
    let told = consents::of(&pools.ops, &phone).await?;
    // A no is taken also where the templates or the forms are missing or wrong: what the person agreed to is known without them.
    let (templates, forms) = (catalogue(&settings).ok(), forms::load(&settings).unwrap_or_default());
    let others = templates.iter().flat_map(|of| of.catalogue.purposes()).chain(forms.purposes());
    let named: Vec<&str> = purposes.iter().map(String::as_str).collect();
    if let Err(there_are) = can_be_refused(&named, told.as_ref().map(|told| &told.standings), others) {
        complain(&format!("--purpose names what nobody can agree to; there are {}.", there_are.join(", ")));
        return Ok(ExitCode::FAILURE);
    }
    let recorded = revoke_for(&pools.ops, phone, purposes, reason, Clock::system().now()).await?;
    say(&match recorded.entries.len() {
        0 => "Nothing to revoke: it was said before.".to_owned(),
        entries => format!("Revoked: {entries} entries in the ledger. It counts from the next decision to send on."),
    });
    Ok(ExitCode::SUCCESS)
}

/// Forgets somebody. None if nobody has this number.
///
/// # Errors
/// If there is no `http.server_key`, or the database does not take it.
pub async fn erase_with(
    pool: &PgPool,
    key: &[u8],
    phone: Phone,
    reason: &str,
    now: jiff::Timestamp,
) -> anyhow::Result<Option<Erased>> {
    Ok(erasure::erase(pool, phone, key, json!({"by": "operator", "reason": reason}), &somebody(), now).await?)
}

/// The key without which nobody can tell who was erased.
pub(super) fn key(settings: &Settings) -> anyhow::Result<Vec<u8>> {
    settings.http.server_key.reveal().map(|key| key.as_bytes().to_vec()).map_err(|_| {
        anyhow::anyhow!(
            "http.server_key is not set; it keys the hash by which an erased person stays recognisable to an import. Make one with \
             `openssl rand -hex 32` and keep it: RECADO_HTTP__SERVER_KEY"
        )
    })
}

pub(super) async fn erase(place: &Place, phone: &str, reason: &str, sure: bool) -> anyhow::Result<ExitCode> {
    let phone = person(phone)?;
    let settings = settings(place, Needs::DATABASE)?;
    let key = key(&settings)?;
    let pools = database(&settings).await?;
    if !sure {
        let known = consents::of(&pools.ops, &phone).await?.is_some();
        complain(if known {
            "This removes everything about the person, for good. Export it first if you need it, then say --yes."
        } else {
            "Nobody with this number is known."
        });
        return Ok(ExitCode::FAILURE);
    }
    let Some(erased) = erase_with(&pools.ops, &key, phone, reason, Clock::system().now()).await? else {
        complain("Nobody with this number is known.");
        return Ok(ExitCode::FAILURE);
    };
    for line in report(&erased, settings.upkeep.keep_webhooks) {
        say(&line);
    }
    Ok(ExitCode::SUCCESS)
}

/// What was removed, and what goes later.
fn report(erased: &Erased, keep_webhooks: std::time::Duration) -> Vec<String> {
    let contacts: Vec<String> = erased.contacts.iter().map(i64::to_string).collect();
    vec![
        format!("Erased: contact {}.", contacts.join(", ")),
        format!(
            "  the evidence of {} ledger entries, the bodies of {} events, {} rejected events, the values of {} notifications,",
            erased.evidence, erased.events, erased.rejected_events, erased.notifications
        ),
        format!(
            "  {} messages from the person, {} messages that the shop had not been told yet, {} receipts without a message, {} opt-ins.",
            erased.messages, erased.untold, erased.strays, erased.opt_ins
        ),
        "What stays: the chain of the ledger without its evidence, the entry that says that this person was erased, and a keyed \
         hash of each number, so that an old consent from a file does not bring them back."
            .to_owned(),
        format!(
            "Raw webhooks, in which the person may still be named, go after {} days (upkeep.keep_webhooks). Backups of the database \
             and what was told to the shop's systems are yours to look after.",
            keep_webhooks.as_secs() / 86_400
        ),
    ]
}
