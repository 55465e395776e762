//! Links to somebody's preferences: kept as hashes, each good for its time. What is changed there is written by `consents`.

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, consents, time};
use crate::domain::{ledger, opt_in::Hash};

/// Keeps the hash of a link for somebody's preferences.
///
/// # Errors
/// If the database does not take it.
pub async fn keep_link(pool: &PgPool, contact: i64, hash: &Hash, until: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into tokens (hash, kind, contact_id, until) values ($1, 'preferences', $2, $3)",
        hash.as_slice(),
        contact,
        time(until) as _
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Whose preferences a link opens, with the language and how everything stands.
///
/// # Errors
/// If the database cannot be asked.
pub async fn behind(pool: &PgPool, hash: &Hash) -> Result<Option<(i64, Option<String>, ledger::Standings)>, Error> {
    let row = sqlx::query!(
        r#"
        -- preferences: behind
        select c.id, c.locale, c.consents from tokens t
        join contacts p on p.id = t.contact_id join contacts c on c.id = coalesce(p.merged_into, p.id)
        where t.hash = $1 and t.kind = 'preferences' and t.until > recado_now() and c.erased_at is null
        "#,
        hash.as_slice()
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| Ok((row.id, row.locale, consents::standings(&row.consents, row.id)?))).transpose()
}
