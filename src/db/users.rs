//! The console's accounts and who is in. Of passwords and sessions only hashes are here.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;

use super::{
    Error, Time,
    audit::{self, Act},
    dispatch::millis,
    keys::Role,
};

/// An account as it is listed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct User {
    pub name: String,
    pub role: Role,
    pub created_at: Timestamp,
    /// To the minute.
    pub seen_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
}

/// Who wants to come in.
#[derive(Debug, Clone)]
pub struct Known {
    pub id: i64,
    pub name: String,
    /// The password's hash.
    pub password: String,
    pub disabled: bool,
}

/// Who is in.
#[derive(Debug, Clone)]
pub struct Present {
    pub name: String,
    pub role: Role,
    pub locale: Option<String>,
}

/// Keeps a new account. False if the name is taken; upper and lower case make no difference.
///
/// # Errors
/// If the database does not take it.
pub async fn create(pool: &PgPool, name: &str, role: Role, password: &str, by: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        -- users: create
        with made as (
          insert into users (name, role, password) values ($1, $2, $3) on conflict (lower(name)) do nothing returning name, role
        )
        insert into audit (by, what, "on", detail) select $4, 'user.made', name, jsonb_build_object('role', role) from made
        "#,
        name,
        role.as_str(),
        password,
        by
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All accounts, by name.
///
/// # Errors
/// If the database cannot be asked.
pub async fn list(pool: &PgPool) -> Result<Vec<User>, Error> {
    let rows = sqlx::query!(
        r#"
        -- users: list
        select name, role, created_at as "created_at: Time", seen_at as "seen_at: Time", disabled_at as "disabled_at: Time"
        from users order by lower(name)
        "#
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(User {
                role: role(&row.role, &row.name)?,
                name: row.name,
                created_at: row.created_at.to_jiff(),
                seen_at: row.seen_at.map(Time::to_jiff),
                disabled_at: row.disabled_at.map(Time::to_jiff),
            })
        })
        .collect()
}

/// What is changed of an account. Whoever is in under it is out afterwards.
#[derive(Debug, Clone)]
pub enum Change {
    Role(Role),
    /// The new password's hash.
    Password(String),
    Disable,
    Enable,
}

/// Changes an account. False if there is none of this name.
///
/// # Errors
/// If the database does not take it.
pub async fn change(pool: &PgPool, name: &str, change: &Change, by: &str) -> Result<bool, Error> {
    let (what, role, password, disabled) = match change {
        Change::Role(role) => ("user.role_changed", Some(role.as_str()), None, None),
        Change::Password(password) => ("user.password_changed", None, Some(password.as_str()), None),
        Change::Disable => ("user.disabled", None, None, Some(true)),
        Change::Enable => ("user.enabled", None, None, Some(false)),
    };
    let done = sqlx::query!(
        r#"
        -- users: change
        with changed as (
          update users set role = coalesce($2, role), password = coalesce($3, password),
            disabled_at = case when $4 then coalesce(disabled_at, recado_now()) when not $4 then null else disabled_at end
          where lower(name) = lower($1) returning id, name
        ), out as (
          delete from sessions s using changed c where s.user_id = c.id
        )
        insert into audit (by, what, "on", detail) select $5, $6, name, jsonb_strip_nulls(jsonb_build_object('role', $2::text)) from changed
        "#,
        name,
        role,
        password,
        disabled,
        by,
        what
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Who has this name, to look at the password.
///
/// # Errors
/// If the database cannot be asked.
pub async fn find(pool: &PgPool, name: &str) -> Result<Option<Known>, Error> {
    Ok(sqlx::query_as!(
        Known,
        r#"
        -- users: find
        select id, name, password, disabled_at is not null as "disabled!" from users where lower(name) = lower($1)
        "#,
        name
    )
    .fetch_optional(pool)
    .await?)
}

/// Begins a session, and says so in the audit trail.
///
/// # Errors
/// If the database does not take it.
pub async fn begin(pool: &PgPool, user: i64, session: &[u8; 32]) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- users: begin a session
        with begun as (insert into sessions (hash, user_id) values ($1, $2)),
        seen as (update users set seen_at = recado_now() where id = $2 returning name)
        insert into audit (by, what, "on") select 'user ' || name, 'session.begun', name from seen
        "#,
        session.as_slice(),
        user
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes that somebody was refused. A name that is no account's is not repeated: it may be a password.
///
/// # Errors
/// If the database does not take it.
pub async fn refused(pool: &PgPool, known: Option<&str>) -> Result<(), Error> {
    let act = Act {
        by: "nobody",
        what: "session.refused",
        on: known,
        reason: None,
        detail: serde_json::Value::Object(serde_json::Map::new()),
    };
    audit::note(pool, &act).await
}

/// Whose session this is, if it was used within `idle` and began within `lasts`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn recognise(
    pool: &PgPool,
    session: &[u8; 32],
    idle: Duration,
    lasts: Duration,
) -> Result<Option<Present>, Error> {
    let row = sqlx::query!(
        r#"
        -- users: recognise
        with session as (
          select s.hash, s.used_at, u.name, u.role, u.locale from sessions s join users u on u.id = s.user_id
          where s.hash = $1 and u.disabled_at is null and s.used_at > recado_now() - $2 * interval '1 ms'
            and s.began_at > recado_now() - $3 * interval '1 ms'
        ), used as (
          update sessions s set used_at = recado_now() from session k
          where s.hash = k.hash and k.used_at < recado_now() - interval '1 min'
        )
        select name, role, locale from session
        "#,
        session.as_slice(),
        millis(idle) as _,
        millis(lasts) as _
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| Ok(Present { role: role(&row.role, &row.name)?, name: row.name, locale: row.locale })).transpose()
}

/// Ends a session; those that nobody can use any more go with it.
///
/// # Errors
/// If the database does not take it.
pub async fn end(pool: &PgPool, session: &[u8; 32], lasts: Duration) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- users: end a session
        with gone as (
          delete from sessions s using users u where u.id = s.user_id and (s.hash = $1 or s.began_at < recado_now() - $2 * interval '1 ms')
          returning s.hash, u.name
        )
        insert into audit (by, what, "on") select 'user ' || name, 'session.ended', name from gone where hash = $1
        "#,
        session.as_slice(),
        millis(lasts) as _
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The language of somebody's pages; none as the browser wishes.
///
/// # Errors
/// If the database does not take it.
pub async fn speak(pool: &PgPool, name: &str, locale: Option<&str>) -> Result<(), Error> {
    sqlx::query!("update users set locale = $2 where lower(name) = lower($1)", name, locale).execute(pool).await?;
    Ok(())
}

fn role(text: &str, user: &str) -> Result<Role, Error> {
    text.parse().map_err(|_| Error::Inconsistent { table: "users", column: "role", row: user.to_owned() })
}
