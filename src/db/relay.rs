//! Webhooks that are handed on as they came: which are to be, and how far each sender's relay is. Their bodies are `webhooks`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgPool;

use super::{Error, Time, dispatch::millis};

/// A webhook to be handed on.
#[derive(Debug, Clone)]
pub struct Due {
    pub id: i64,
    /// As the provider sent it.
    pub body: Vec<u8>,
    /// What came with it.
    pub with: Value,
}

/// How a sender's relay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub failures: i32,
    /// Requests for the webhook that is next.
    pub tries: i32,
    /// It may be tried now.
    pub due: bool,
}

/// How a sender's relay stands; noted as new if it is.
///
/// # Errors
/// If the database does not take it.
pub async fn standing(pool: &PgPool, sender: &str) -> Result<Standing, Error> {
    let known = sqlx::query_as!(
        Standing,
        r#"
        -- relay: standing
        select failures, tries, due_at <= recado_now() as "due!" from relays where sender = $1
        "#,
        sender
    )
    .fetch_optional(pool)
    .await?;
    if let Some(known) = known {
        return Ok(known);
    }
    sqlx::query!("insert into relays (sender) values ($1) on conflict do nothing", sender).execute(pool).await?;
    Ok(Standing { failures: 0, tries: 0, due: true })
}

/// The next to be handed on, in the order in which they were stored.
///
/// # Errors
/// If the database cannot be asked.
pub async fn next(pool: &PgPool, sender: &str, limit: i64) -> Result<Vec<Due>, Error> {
    Ok(sqlx::query_as!(
        Due,
        r#"
        -- relay: next
        select id, coalesce(came_as, body) as "body!", came_with as "with!" from webhooks
        where sender = $1 and relay = 'due' order by id limit $2
        "#,
        sender,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// What a step came to.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub delivered: Vec<i64>,
    /// One that the target will not have.
    pub given_up: Option<i64>,
    /// How long to wait since the last request failed, and why.
    pub failed: Option<(Duration, String)>,
}

/// Writes down what a step came to.
///
/// # Errors
/// If the database does not take it; the same is handed on again then.
pub async fn note(pool: &PgPool, sender: &str, step: &Step) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- relay: note
        with handed as (
          update webhooks set relay = case when id = $3 then 'given_up' else 'done' end where id = any ($2::int8[] || $3::int8)
        )
        update relays set
          failures = case when $4::int8 is not null then least(failures + 1, 1000) else 0 end,
          failing_since = case when $4::int8 is not null then coalesce(failing_since, recado_now()) end,
          tries = case when $3::int8 is not null or $4::int8 is null then 0 when $2 <> '{}' then 1 else tries + 1 end,
          due_at = recado_now() + coalesce($4, 0) * interval '1 ms',
          delivered_at = case when $2 <> '{}' then recado_now() else delivered_at end,
          given_up = given_up + ($3::int8 is not null)::int,
          problem = coalesce($5, problem)
        where sender = $1
        "#,
        sender,
        &step.delivered,
        step.given_up,
        step.failed.as_ref().map(|(wait, _)| millis(*wait)),
        step.failed.as_ref().map(|(_, problem)| problem.as_str()),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives up what is older than this. Says how many.
///
/// # Errors
/// If the database does not take it.
pub async fn give_up(pool: &PgPool, sender: &str, after: Duration) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- relay: give up
        with old as (
          update webhooks set relay = 'given_up'
          where sender = $1 and relay = 'due' and received_at < recado_now() - $2 * interval '1 ms'
          returning 1
        ), counted as (
          update relays set given_up = given_up + (select count(*) from old), tries = 0
          where sender = $1 and exists (select from old)
        )
        select count(*) as "n!" from old
        "#,
        sender,
        millis(after) as _
    )
    .fetch_one(pool)
    .await?)
}

/// How a sender's relay is doing, for people.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    pub sender: String,
    pub delivered_at: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub problem: Option<String>,
    /// Counted up to 10,000.
    pub waiting: i64,
    pub waiting_since: Option<Timestamp>,
    /// Of all time.
    pub given_up: i64,
}

/// How the relays of these senders are doing, as far as they have begun.
///
/// # Errors
/// If the database cannot be asked.
pub async fn reports(pool: &PgPool, senders: &[String]) -> Result<Vec<Report>, Error> {
    let rows = sqlx::query!(
        r#"
        -- relay: reports
        select r.sender, r.delivered_at as "delivered_at: Time", r.failing_since as "failing_since: Time", r.problem, r.given_up,
          w.n as "waiting!", w.since as "waiting_since: Time"
        from relays r
        cross join lateral (
          select count(*) as n, min(received_at) as since from (
            select received_at from webhooks where sender = r.sender and relay = 'due' order by id limit 10000) w
        ) w
        where r.sender = any ($1) order by r.sender
        "#,
        senders
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Report {
            sender: row.sender,
            delivered_at: row.delivered_at.map(Time::to_jiff),
            failing_since: row.failing_since.map(Time::to_jiff),
            problem: row.problem,
            waiting: row.waiting,
            waiting_since: row.waiting_since.map(Time::to_jiff),
            given_up: row.given_up,
        })
        .collect())
}
