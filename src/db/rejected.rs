//! Rejected events: kept with their bytes and the reason, looked at, and run again when somebody wants it.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Error, Time};

/// Bytes that are no event, kept with the reason.
#[derive(Debug, Clone)]
pub struct Rejected {
    pub id: Uuid,
    pub reason: &'static str,
    /// What exactly is wrong, without anything personal.
    pub detail: String,
    pub exchange: String,
    pub routing_key: String,
    pub headers: serde_json::Value,
    pub content_type: Option<String>,
    pub size: i64,
    pub body_hash: [u8; 32],
    /// Whole, or only the beginning if the size is past the limit.
    pub body: Vec<u8>,
    pub whole: bool,
}

/// Keeps what is no event, and says by which id. The same bytes with the same reason are kept once and counted.
///
/// # Errors
/// If the database does not take them.
pub async fn reject(pool: &PgPool, rejected: &Rejected) -> Result<Uuid, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- rejected: keep
        insert into rejected_events (id, reason, detail, exchange, routing_key, headers, content_type, size, body_hash, body, whole)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        on conflict (body_hash, routing_key, reason) where replayed_at is null
        do update set copies = rejected_events.copies + 1
        returning id
        "#,
        rejected.id,
        rejected.reason,
        rejected.detail,
        rejected.exchange,
        rejected.routing_key,
        rejected.headers,
        rejected.content_type,
        rejected.size,
        &rejected.body_hash,
        rejected.body,
        rejected.whole,
    )
    .fetch_one(pool)
    .await?)
}

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
          insert into audit (by, what, "on", reason) select $2, 'rejected_event.wanted', id::text, $3 from wanted
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

/// A rejected event, to be run again.
#[derive(Debug, Clone)]
pub struct Kept {
    pub id: Uuid,
    pub reason: String,
    pub exchange: String,
    pub routing_key: String,
    pub content_type: Option<String>,
    pub headers: serde_json::Value,
    pub body: Vec<u8>,
    pub whole: bool,
}

/// The rejected events that were not replayed yet, oldest first, after `after`; only this one or of this reason, if given.
///
/// # Errors
/// If the database cannot be asked.
pub async fn open(
    pool: &PgPool,
    only: Option<Uuid>,
    reason: Option<&str>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Kept>, Error> {
    Ok(sqlx::query_as!(
        Kept,
        r#"
        -- rejected: open
        select id, reason, exchange, routing_key, content_type, headers, body, whole from rejected_events
        where replayed_at is null and id > $3 and ($1::uuid is null or id = $1) and ($2::text is null or reason = $2)
        order by id limit $4
        "#,
        only,
        reason,
        after,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// These rejected events, each with whether it was replayed.
///
/// # Errors
/// If the database cannot be asked.
pub async fn kept(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<(Kept, bool)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- rejected: kept
        select id, reason, exchange, routing_key, content_type, headers, body, whole, replayed_at is not null as "replayed!"
        from rejected_events where id = any ($1)
        "#,
        ids
    )
    .fetch_all(executor)
    .await?;
    let kept = rows.into_iter().map(|row| {
        let kept = Kept {
            id: row.id,
            reason: row.reason,
            exchange: row.exchange,
            routing_key: row.routing_key,
            content_type: row.content_type,
            headers: row.headers,
            body: row.body,
            whole: row.whole,
        };
        (kept, row.replayed)
    });
    Ok(kept.collect())
}

/// As [`mark_replayed`], for an event that `by` ran again by hand: the audit trail says so, and why.
///
/// # Errors
/// If the database does not take it.
pub async fn replayed_by(pool: &PgPool, id: Uuid, came_to: &str, by: &str, because: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- rejected: replayed by hand
        with replayed as (
          update rejected_events set replayed_at = recado_now(), replay = $2 where id = $1 returning id, reason
        )
        insert into audit (by, what, "on", reason, detail)
        select $3, 'rejected_event.replayed', id::text, $4, jsonb_build_object('rejected_for', reason, 'came_to', $2::text) from replayed
        "#,
        id,
        came_to,
        by,
        because
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Remembers that a rejected event was run again, and what it came to.
///
/// # Errors
/// If the database does not take it.
pub async fn mark_replayed(executor: impl PgExecutor<'_>, id: Uuid, came_to: &str) -> Result<(), Error> {
    sqlx::query!("update rejected_events set replayed_at = recado_now(), replay = $2 where id = $1", id, came_to)
        .execute(executor)
        .await?;
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
