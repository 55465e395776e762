//! Rejected events as people look at them. How they are kept and run again is `inbox`'s.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time};

/// Which rejected events are wanted. What is none does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub reason: Option<String>,
    /// Also those that were run again.
    pub replayed: bool,
    /// Older than this one: the last of the page before.
    pub before: Option<Uuid>,
}

/// A rejected event, without its bytes.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = RejectedEvent)]
pub struct Listed {
    pub id: Uuid,
    pub received_at: Timestamp,
    pub reason: String,
    /// What exactly is wrong, without anything personal.
    pub detail: String,
    pub exchange: String,
    pub routing_key: String,
    /// Bytes, as it came.
    pub size: i64,
    /// Whether all of them are kept, or only the beginning.
    pub whole: bool,
    /// How often it came.
    pub copies: i32,
    pub replayed_at: Option<Timestamp>,
    /// What it came to then.
    pub replay: Option<String>,
}

/// A rejected event with its bytes and how they came.
#[derive(Debug, Clone)]
pub struct Whole {
    pub listed: Listed,
    pub content_type: Option<String>,
    pub headers: serde_json::Value,
    pub body: Vec<u8>,
}

/// At most `limit` of them, the latest first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn page(pool: &PgPool, filter: &Filter, limit: i64) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query!(
        r#"
        -- rejected: page
        select id, received_at as "received_at: Time", reason, detail, exchange, routing_key, size, whole, copies,
          replayed_at as "replayed_at: Time", replay
        from rejected_events
        where ($1::text is null or reason = $1) and ($2 or replayed_at is null) and ($3::uuid is null or id < $3)
        order by id desc limit $4
        "#,
        filter.reason,
        filter.replayed,
        filter.before,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Listed {
            id: row.id,
            received_at: row.received_at.to_jiff(),
            reason: row.reason,
            detail: row.detail,
            exchange: row.exchange,
            routing_key: row.routing_key,
            size: row.size,
            whole: row.whole,
            copies: row.copies,
            replayed_at: row.replayed_at.map(Time::to_jiff),
            replay: row.replay,
        })
        .collect())
}

/// One of them, with everything.
///
/// # Errors
/// If the database cannot be asked.
pub async fn one(pool: &PgPool, id: Uuid) -> Result<Option<Whole>, Error> {
    let row = sqlx::query!(
        r#"
        -- rejected: one
        select received_at as "received_at: Time", reason, detail, exchange, routing_key, size, whole, copies,
          replayed_at as "replayed_at: Time", replay, content_type, headers, body
        from rejected_events where id = $1
        "#,
        id
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Whole {
        listed: Listed {
            id,
            received_at: row.received_at.to_jiff(),
            reason: row.reason,
            detail: row.detail,
            exchange: row.exchange,
            routing_key: row.routing_key,
            size: row.size,
            whole: row.whole,
            copies: row.copies,
            replayed_at: row.replayed_at.map(Time::to_jiff),
            replay: row.replay,
        },
        content_type: row.content_type,
        headers: row.headers,
        body: row.body,
    }))
}

/// Wants one run again, for a reason that the audit trail keeps; whoever reads events does it. False if there is none of that id that
/// can be. What is wanted already stays so.
///
/// # Errors
/// If the database does not take it.
pub async fn want(pool: &PgPool, id: Uuid, by: &str, reason: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- rejected: want
        with found as materialized (
          select id, wanted_at is null as fresh from rejected_events where id = $1 and replayed_at is null and whole for no key update
        ), wanted as (
          update rejected_events r set wanted_at = recado_now(), wanted_by = $2 from found f where r.id = f.id and f.fresh
          returning r.id
        ), noted as (
          insert into audit (by, what, "on", reason) select $2, 'rejected_event.replayed', id::text, $3 from wanted
        )
        select exists (select from found) as "found!"
        "#,
        id,
        by,
        reason
    )
    .fetch_one(pool)
    .await?)
}

/// Those that somebody wants run again, at most `limit`. Until they are done they are wanted again after `lease`: whoever took them
/// may have died.
///
/// # Errors
/// If the database does not take it.
pub async fn take_wanted(pool: &PgPool, limit: i64, lease: Duration) -> Result<Vec<Uuid>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- rejected: take wanted
        update rejected_events set wanted_at = recado_now() + make_interval(secs => $2) where id in (
          select id from rejected_events where wanted_at <= recado_now() and replayed_at is null order by wanted_at limit $1
          for update skip locked
        )
        returning id
        "#,
        limit,
        lease.as_secs_f64()
    )
    .fetch_all(pool)
    .await?)
}

/// Nobody wants it run again any more.
///
/// # Errors
/// If the database does not take it.
pub async fn forget_wish(pool: &PgPool, id: Uuid) -> Result<(), Error> {
    sqlx::query!("update rejected_events set wanted_at = null where id = $1", id).execute(pool).await?;
    Ok(())
}

/// How many of each reason nobody has run again, the most frequent first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn reasons(pool: &PgPool) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- rejected: reasons
        select reason, count(*) as "n!" from rejected_events where replayed_at is null group by reason order by 2 desc, 1
        "#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.reason, row.n)).collect())
}
