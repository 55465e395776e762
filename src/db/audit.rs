//! The audit trail: what operators did and whom they looked at. Appended to, never changed.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{PgExecutor, PgPool};

use super::{Error, Time, time};

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

/// Notes that somebody was shown so many full numbers, `through` what; nothing if it was none.
///
/// # Errors
/// If the database does not take it: then they must not be shown.
pub async fn shown(
    executor: impl PgExecutor<'_>,
    by: &str,
    on: Option<&str>,
    numbers: usize,
    through: &str,
) -> Result<(), Error> {
    if numbers == 0 {
        return Ok(());
    }
    let detail = json!({"numbers": numbers, "through": through});
    note(executor, &Act { by, what: "number.shown", on, reason: None, detail }).await
}

/// Which entries are wanted. What is none does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `user ana`, or the name alone.
    pub by: Option<String>,
    /// `hold.placed`, or `hold` for all that was done to holds.
    pub what: Option<String>,
    pub on: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Older than this one: the last of the page before.
    pub before: Option<i64>,
}

/// An entry of the trail.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Entry {
    pub id: i64,
    pub at: Timestamp,
    pub by: String,
    pub what: String,
    pub on: Option<String>,
    pub reason: Option<String>,
    pub detail: Value,
}

/// At most `limit` of them, the latest first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn page(pool: &PgPool, filter: &Filter, limit: i64) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query!(
        r#"
        -- audit: page
        select id, at as "at: Time", by, what, "on", reason, detail from audit
        where ($1::text is null or by = $1 or substr(by, strpos(by, ' ') + 1) = $1)
          and ($2::text is null or what = $2 or split_part(what, '.', 1) = $2)
          and ($3::text is null or "on" = $3) and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5)
          and ($6::int8 is null or id < $6)
        order by id desc limit $7
        "#,
        filter.by,
        filter.what,
        filter.on,
        filter.since.map(time) as _,
        filter.until.map(time) as _,
        filter.before,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Entry {
            id: row.id,
            at: row.at.to_jiff(),
            by: row.by,
            what: row.what,
            on: row.on,
            reason: row.reason,
            detail: row.detail,
        })
        .collect())
}
