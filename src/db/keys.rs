//! The API's keys. Only their hashes are here. Each change notes itself in the audit trail.

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time};
pub use crate::domain::role::{NotARole, Role};

/// A key as it is listed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Key {
    pub name: String,
    pub role: Role,
    pub created_at: Timestamp,
    /// To the minute.
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Keeps a new key's hash. False if the name is taken, be it by a revoked one.
///
/// # Errors
/// If the database does not take it.
pub async fn create(pool: &PgPool, id: Uuid, name: &str, role: Role, hash: &[u8; 32], by: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        -- keys: create
        with made as (
          insert into api_keys (id, name, role, hash) values ($1, $2, $3, $4) on conflict (name) do nothing returning name, role
        )
        insert into audit (by, what, "on", detail) select $5, 'key.created', name, jsonb_build_object('role', role) from made
        "#,
        id,
        name,
        role.as_str(),
        hash.as_slice(),
        by
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The name and role of the key with this hash, if there is one that was not revoked.
///
/// # Errors
/// If the database cannot be asked.
pub async fn recognise(pool: &PgPool, hash: &[u8; 32]) -> Result<Option<(String, Role)>, Error> {
    let row = sqlx::query!(
        r#"
        -- keys: recognise
        with key as (
          select id, name, role, used_at from api_keys where hash = $1 and revoked_at is null
        ), used as (
          -- Once a minute is enough to see that a key is in use.
          update api_keys a set used_at = recado_now() from key k
          where a.id = k.id and (k.used_at is null or k.used_at < recado_now() - interval '1 min')
        )
        select name, role from key
        "#,
        hash.as_slice()
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| Ok((parse_role(&row.role, &row.name)?, row.name)).map(|(role, name)| (name, role))).transpose()
}

/// All keys, the latest last.
///
/// # Errors
/// If the database cannot be asked.
pub async fn list(pool: &PgPool) -> Result<Vec<Key>, Error> {
    let rows = sqlx::query!(
        r#"
        select name, role, created_at as "created_at: Time", used_at as "used_at: Time", revoked_at as "revoked_at: Time"
        from api_keys order by created_at, name
        "#
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Key {
                role: parse_role(&row.role, &row.name)?,
                name: row.name,
                created_at: row.created_at.to_jiff(),
                used_at: row.used_at.map(Time::to_jiff),
                revoked_at: row.revoked_at.map(Time::to_jiff),
            })
        })
        .collect()
}

/// Ends a key. False if there is none of that name that was not revoked before.
///
/// # Errors
/// If the database does not take it.
pub async fn revoke(pool: &PgPool, name: &str, by: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        -- keys: revoke
        with revoked as (
          update api_keys set revoked_at = recado_now() where name = $1 and revoked_at is null returning name
        )
        insert into audit (by, what, "on") select $2, 'key.revoked', name from revoked
        "#,
        name,
        by
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn parse_role(text: &str, key: &str) -> Result<Role, Error> {
    text.parse().map_err(|NotARole| Error::Inconsistent { table: "api_keys", column: "role", row: key.to_owned() })
}
