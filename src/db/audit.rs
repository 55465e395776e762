//! The audit trail: what operators did and whom they looked at. Appended to, never changed.

use serde_json::Value;
use sqlx::PgExecutor;

use super::Error;

/// One thing that somebody did.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// `key NAME`, `user NAME` or `cli NAME`.
    pub by: &'a str,
    /// A thing and what was done to it, like `hold.placed`.
    pub what: &'static str,
    /// What it was done to: an id or a name, never a phone number.
    pub on: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// More of it; nothing about persons.
    pub detail: Value,
}

/// Appends it. Inside a transaction it holds with the rest.
///
/// # Errors
/// If the database does not take it.
pub async fn note(executor: impl PgExecutor<'_>, act: &Act<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"insert into audit (by, what, "on", reason, detail) values ($1, $2, $3, $4, $5)"#,
        act.by,
        act.what,
        act.on,
        act.reason,
        act.detail
    )
    .execute(executor)
    .await?;
    Ok(())
}
