//! The audit trail: what operators did and whom they looked at. Appended to, never changed.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

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

/// Notes that somebody was shown so many full numbers, those of these notifications' people, `through` what; nothing if it was none.
///
/// # Errors
/// If the database does not take it: then they must not be shown.
pub async fn shown(
    executor: impl PgExecutor<'_>,
    by: &str,
    on: Option<&str>,
    (numbers, of): (usize, &[Uuid]),
    through: &str,
) -> Result<(), Error> {
    if numbers == 0 {
        return Ok(());
    }
    let detail = json!({"numbers": numbers, "notifications": of, "through": through});
    note(executor, &Act { by, what: "number.shown", on, reason: None, detail }).await
}

/// Notes that somebody looked at a person's consents and what proves them, `through` what; also if nobody has the number.
///
/// # Errors
/// If the database does not take it: then they must not be shown.
pub async fn looked(executor: impl PgExecutor<'_>, by: &str, contact: Option<i64>, through: &str) -> Result<(), Error> {
    let on = contact.map(|contact| format!("contact {contact}"));
    let detail = json!({"found": contact.is_some(), "through": through});
    note(executor, &Act { by, what: "consent.shown", on: on.as_deref(), reason: None, detail }).await
}

/// Notes that somebody looked for a person's messages by their number, `through` what; also if nobody has it.
///
/// # Errors
/// If the database does not take it: then they must not be shown.
pub async fn sought(executor: impl PgExecutor<'_>, by: &str, contact: Option<i64>, through: &str) -> Result<(), Error> {
    let on = contact.map(|contact| format!("contact {contact}"));
    let detail = json!({"found": contact.is_some(), "through": through});
    note(executor, &Act { by, what: "number.sought", on: on.as_deref(), reason: None, detail }).await
}

/// Something that was done, as it is listed.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = AuditNote)]
pub struct Noted {
    pub id: i64,
    pub at: Timestamp,
    pub by: String,
    pub what: String,
    pub on: Option<String>,
    pub reason: Option<String>,
    pub detail: Value,
}

/// Which acts are meant; all that it says must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `user ana`, or `ana` for whatever has this name.
    pub by: Option<String>,
    /// `hold.placed`, or `hold` for everything that was done to holds.
    pub what: Option<String>,
    pub on: Option<String>,
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
    /// Only what was noted before this one.
    pub before: Option<i64>,
}

/// Acts, the latest first, at most `limit`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn page(pool: &PgPool, filter: &Filter, limit: i64) -> Result<Vec<Noted>, Error> {
    let rows = sqlx::query!(
        r#"
        -- audit: page
        select id, at as "at: Time", by, what, "on", reason, detail from audit
        where ($1::text is null or by in ($1, 'user ' || $1, 'key ' || $1, 'cli ' || $1))
          and ($2::text is null or what = $2 or starts_with(what, $2 || '.'))
          and ($3::text is null or "on" = $3)
          and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5)
          and ($6::int8 is null or id < $6)
        order by id desc limit $7
        "#,
        filter.by,
        filter.what,
        filter.on,
        filter.from.map(time) as _,
        filter.to.map(time) as _,
        filter.before,
        limit
    )
    .fetch_all(pool)
    .await?;
    let noted = rows.into_iter().map(|row| Noted {
        id: row.id,
        at: row.at.to_jiff(),
        by: row.by,
        what: row.what,
        on: row.on,
        reason: row.reason,
        detail: row.detail,
    });
    Ok(noted.collect())
}
