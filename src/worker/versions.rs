//! What it means for messages of older versions of a template that their values do not fit.

use sqlx::PgPool;

pub use crate::db::versions::Versions;
use crate::{
    db::{self, versions},
    domain::notification::{AttemptId, Failure, Outcome, Whose, reason as ours},
    provider::reason,
};

/// That the values do not fit says nothing against the template if they were made for an older version of it: then it is the
/// message's own end, and no hold.
///
/// # Errors
/// If the database cannot be asked.
pub async fn weigh(
    known: &Versions,
    pool: &PgPool,
    attempt: AttemptId,
    (template, language): (&str, &str),
    outcome: Outcome,
) -> Result<Outcome, db::Error> {
    let Outcome::Busy { whose: Whose::Template, failure, .. } = &outcome else { return Ok(outcome) };
    if failure.reason != reason::TEMPLATE_DRIFTED {
        return Ok(outcome);
    }
    let Some(current) = known.current(template, language) else { return Ok(outcome) };
    let made_from = versions::of_attempt(pool, attempt).await?;
    if made_from.is_none_or(|version| version == current) {
        return Ok(outcome);
    }
    Ok(Outcome::Rejected { failure: Failure { reason: ours::TEMPLATE_OUTDATED, ..failure.clone() }, again: None })
}
