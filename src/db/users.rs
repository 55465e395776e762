//! The console's accounts. Of passwords only the hash is here. Each change notes itself in the audit trail.

use jiff::Timestamp;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Error, Time, alone,
    audit::{Act, note},
};
use crate::domain::role::{NotARole, Role};

/// An account as it is listed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct User {
    pub name: String,
    pub role: Role,
    pub language: Option<String>,
    pub created_at: Timestamp,
    pub password_set_at: Timestamp,
    /// To the minute.
    pub seen_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    /// Open sessions.
    pub sessions: i64,
}

/// What a login is compared with.
#[derive(Clone)]
pub struct Stored {
    pub id: Uuid,
    pub name: String,
    /// A PHC string.
    pub password: String,
}

/// What is changed of an account.
#[derive(Debug, Clone)]
pub enum Change {
    Role(Role),
    /// A PHC string. Ends the account's sessions, but for the one with this hash.
    Password {
        hash: String,
        keep: Option<[u8; 32]>,
    },
    /// None is the browser's.
    Language(Option<String>),
    /// Ends its sessions.
    Disable,
    Enable,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Done,
    /// It was so already.
    Same,
    Unknown,
    /// Nobody would be left who may make accounts.
    LastAdmin,
}

/// Makes an account. False if the name is taken.
///
/// # Errors
/// If the database does not take it.
pub async fn create(
    pool: &PgPool,
    id: Uuid,
    name: &str,
    role: Role,
    password: &str,
    by: &str,
) -> Result<bool, Error> {
    let (name, password, by) = (name.to_owned(), password.to_owned(), by.to_owned());
    alone(pool, move |tx| {
        Box::pin(async move {
            let made = sqlx::query!(
                "insert into users (id, name, role, password) values ($1, $2, $3, $4) on conflict (name) do nothing",
                id,
                name,
                role.as_str(),
                password
            )
            .execute(&mut *tx)
            .await?
            .rows_affected()
                == 1;
            if made {
                let detail = json!({"role": role.as_str()});
                let act = Act { by: &by, what: "user.created", on: Some(&name), reason: None, detail };
                note(&mut *tx, &act).await?;
            }
            Ok(made)
        })
    })
    .await
}

/// The enabled account of this name.
///
/// # Errors
/// If the database cannot be asked.
pub async fn find(pool: &PgPool, name: &str) -> Result<Option<Stored>, Error> {
    let row = sqlx::query!("select id, name, password from users where name = $1 and disabled_at is null", name)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|row| Stored { id: row.id, name: row.name, password: row.password }))
}

/// Whether there is any account yet.
///
/// # Errors
/// If the database cannot be asked.
pub async fn any(pool: &PgPool) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(r#"select exists (select from users) as "yes!""#).fetch_one(pool).await?)
}

/// All accounts, by name.
///
/// # Errors
/// If the database cannot be asked.
pub async fn list(pool: &PgPool) -> Result<Vec<User>, Error> {
    let rows = sqlx::query!(
        r#"
        -- users: list
        select u.name, u.role, u.language, u.created_at as "created_at: Time", u.password_set_at as "password_set_at: Time",
          u.seen_at as "seen_at: Time", u.disabled_at as "disabled_at: Time",
          (select count(*) from sessions s where s.account = u.id and s.ends_at > recado_now()) as "sessions!"
        from users u order by u.name limit 1000
        "#
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(User {
                role: parse_role(&row.role, &row.name)?,
                name: row.name,
                language: row.language,
                created_at: row.created_at.to_jiff(),
                password_set_at: row.password_set_at.to_jiff(),
                seen_at: row.seen_at.map(Time::to_jiff),
                disabled_at: row.disabled_at.map(Time::to_jiff),
                sessions: row.sessions,
            })
        })
        .collect()
}

/// Changes one thing of an account.
///
/// # Errors
/// If the database does not take it.
pub async fn change(pool: &PgPool, name: &str, change: Change, by: &str) -> Result<Changed, Error> {
    let (name, by) = (name.to_owned(), by.to_owned());
    alone(pool, move |tx| {
        Box::pin(async move {
            // One change at a time: two admins who disable each other leave one.
            sqlx::query!("select pg_advisory_xact_lock(hashtextextended('recado users', 0))").execute(&mut *tx).await?;
            let Some(row) = sqlx::query!("select id, role, disabled_at is not null as \"disabled!\" from users where name = $1", name)
                .fetch_optional(&mut *tx)
                .await?
            else {
                return Ok(Changed::Unknown);
            };
            let role = parse_role(&row.role, &name)?;
            let loses = match &change {
                Change::Role(new) => *new != Role::Admin,
                Change::Disable => true,
                Change::Password { .. } | Change::Language(_) | Change::Enable => false,
            };
            if loses && role == Role::Admin && !row.disabled {
                let others = sqlx::query_scalar!(
                    r#"select exists (select from users where role = 'admin' and disabled_at is null and id <> $1) as "yes!""#,
                    row.id
                )
                .fetch_one(&mut *tx)
                .await?;
                if !others {
                    return Ok(Changed::LastAdmin);
                }
            }
            let (what, detail) = match change {
                Change::Role(new) if new == role => return Ok(Changed::Same),
                Change::Role(new) => {
                    sqlx::query!("update users set role = $2 where id = $1", row.id, new.as_str()).execute(&mut *tx).await?;
                    ("user.role", json!({"from": role.as_str(), "to": new.as_str()}))
                }
                Change::Password { hash, keep } => {
                    sqlx::query!("update users set password = $2, password_set_at = recado_now() where id = $1", row.id, hash)
                        .execute(&mut *tx)
                        .await?;
                    end_sessions(&mut *tx, row.id, keep).await?;
                    ("user.password", json!({}))
                }
                Change::Language(language) => {
                    sqlx::query!("update users set language = $2 where id = $1", row.id, language).execute(&mut *tx).await?;
                    return Ok(Changed::Done);
                }
                Change::Disable | Change::Enable if row.disabled == matches!(change, Change::Disable) => {
                    return Ok(Changed::Same);
                }
                Change::Disable => {
                    sqlx::query!("update users set disabled_at = recado_now() where id = $1", row.id).execute(&mut *tx).await?;
                    end_sessions(&mut *tx, row.id, None).await?;
                    ("user.disabled", json!({}))
                }
                Change::Enable => {
                    sqlx::query!("update users set disabled_at = null where id = $1", row.id).execute(&mut *tx).await?;
                    ("user.enabled", json!({}))
                }
            };
            note(&mut *tx, &Act { by: &by, what, on: Some(&name), reason: None, detail }).await?;
            Ok(Changed::Done)
        })
    })
    .await
}

async fn end_sessions(tx: &mut sqlx::PgConnection, account: Uuid, keep: Option<[u8; 32]>) -> Result<(), Error> {
    let keep = keep.map(|hash| hash.to_vec());
    sqlx::query!("delete from sessions where account = $1 and hash is distinct from $2", account, keep).execute(tx).await?;
    Ok(())
}

pub(super) fn parse_role(text: &str, name: &str) -> Result<Role, Error> {
    text.parse().map_err(|NotARole| Error::Inconsistent { table: "users", column: "role", row: name.to_owned() })
}
