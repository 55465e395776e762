//! A provider's refusal that says that the person has said no: it counts as their no, wherever it is heard first.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgPool;

use crate::{
    db::{
        self,
        consents::{self, Who},
    },
    domain::{
        ledger::{Act, EVERYTHING},
        notification::{Failure, Reason},
    },
    provider::reason,
};

/// The purpose that a stop in the provider's own settings concerns.
pub(super) const MARKETING: &str = "marketing";

/// What the person has said no to, if this is why the provider refused.
pub(super) fn purpose(failure: &Failure) -> Option<&'static str> {
    const NOES: [(Reason, &str); 2] = [(reason::MARKETING_OPTED_OUT, MARKETING), (reason::TEXTS_STOPPED, EVERYTHING)];
    NOES.into_iter().find(|(reason, _)| *reason == failure.reason).map(|(_, purpose)| purpose)
}

/// Writes their no into the ledger; `evidence` says what was refused.
///
/// # Errors
/// If the database does not take it.
pub(super) async fn record(
    pool: &PgPool,
    contact: i64,
    purpose: &str,
    evidence: Value,
    at: Timestamp,
) -> Result<(), db::Error> {
    consents::record(pool, Who::Contact(contact), Act::Revoked, &[purpose], evidence, at).await?;
    tracing::info!(purpose, by = "provider", "consent.revoked");
    Ok(())
}
