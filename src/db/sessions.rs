//! Who is logged in. Of a session's token only the hash is here.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Error, alone,
    audit::{Act, note},
    dispatch::millis,
    users::parse_role,
};
use crate::domain::role::Role;

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub name: String,
    pub role: Role,
    /// What they chose; the browser's, if none.
    pub language: Option<String>,
}

/// Begins a session of this account and notes the login. What is over is forgotten with it.
///
/// # Errors
/// If the database does not take it.
pub async fn begin(
    pool: &PgPool,
    account: Uuid,
    name: &str,
    hash: [u8; 32],
    lasts: Duration,
    from: Option<String>,
) -> Result<(), Error> {
    let name = name.to_owned();
    alone(pool, move |tx| {
        Box::pin(async move {
            sqlx::query!(
                r#"
                -- sessions: begin
                with over as (
                  delete from sessions where hash in (select hash from sessions where ends_at < recado_now() limit 100)
                ), seen as (
                  update users set seen_at = recado_now() where id = $1
                )
                insert into sessions (hash, account, ends_at) values ($2, $1, recado_now() + $3::int8 * interval '1 ms')
                "#,
                account,
                hash.as_slice(),
                millis(lasts)
            )
            .execute(&mut *tx)
            .await?;
            let by = format!("user {name}");
            let detail = json!({"from": from});
            let act = Act { by: &by, what: "login.ok", on: Some(&name), reason: None, detail };
            note(&mut *tx, &act).await
        })
    })
    .await
}

/// Who holds the session with this hash, if it is not over. It counts as used only if somebody `acts`: a page that renews itself keeps
/// nobody logged in.
///
/// # Errors
/// If the database cannot be asked.
pub async fn recognise(pool: &PgPool, hash: &[u8; 32], idle: Duration, acts: bool) -> Result<Option<Holder>, Error> {
    let row = sqlx::query!(
        r#"
        -- sessions: recognise
        with session as (
          select s.hash, s.used_at, u.id, u.name, u.role, u.language
          from sessions s join users u on u.id = s.account
          where s.hash = $1 and s.ends_at > recado_now() and s.used_at > recado_now() - $2::int8 * interval '1 ms'
            and u.disabled_at is null
        ), used as (
          -- Some seconds are near enough, and most requests write nothing.
          update sessions a set used_at = recado_now() from session s
          where $3 and a.hash = s.hash and s.used_at < recado_now() - interval '20 s'
        ), seen as (
          update users a set seen_at = recado_now() from session s
          where $3 and a.id = s.id and (a.seen_at is null or a.seen_at < recado_now() - interval '1 min')
        )
        select name as "name!", role as "role!", language from session
        "#,
        hash.as_slice(),
        millis(idle),
        acts
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        let role = parse_role(&row.role, &row.name)?;
        Ok(Holder { name: row.name, role, language: row.language })
    })
    .transpose()
}

/// Ends it.
///
/// # Errors
/// If the database does not take it.
pub async fn end(pool: &PgPool, hash: &[u8; 32]) -> Result<(), Error> {
    sqlx::query!("delete from sessions where hash = $1", hash.as_slice()).execute(pool).await?;
    Ok(())
}
