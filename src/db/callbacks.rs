//! The log of what is told to others, and how far each of them is in it: the callbacks, and the broker if there are callbacks.
//!
//! Events are put into it by whoever holds the outbox's lease, one after the other, so that positions become visible in order.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time, dispatch::millis, time};

/// The broker's name among those who are told.
pub const BROKER: &str = "@broker";
/// As many late events at one callback are a failure of the callback: nothing new is begun.
pub const LATE_MAX: i64 = 5_000;

/// An event on its way from the outbox into the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The outbox's row.
    pub row: i64,
    pub id: String,
    pub kind: String,
    pub key: String,
    pub reason: Option<String>,
    pub body: String,
}

/// Moves events from the outbox into the log. Gives the number of the transaction that did it; none if `holder` has not the outbox's
/// lease.
///
/// # Errors
/// If the database does not take it; they are in the outbox still.
pub async fn keep(pool: &PgPool, holder: Uuid, entries: &[Entry]) -> Result<Option<i64>, Error> {
    let row = sqlx::query!(
        r#"
        -- callbacks: keep
        with mine as materialized (
          select from leases where name = 'outbox' and holder = $1 for update
        ), gone as (
          delete from outbox where id = any ($2) and exists (select from mine) returning id
        ), kept as (
          insert into callback_events (id, type, key, reason, body)
          select r.id, r.type, r.key, r.reason, r.body
          from unnest($2::int8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) as r(place, id, type, key, reason, body)
          join gone g on g.id = r.place
          order by r.place
          returning 1
        )
        select exists (select from mine) as "mine!", pg_current_xact_id()::text::int8 as "transaction!"
        "#,
        holder,
        &entries.iter().map(|entry| entry.row).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>() as _,
        &entries.iter().map(|entry| entry.kind.as_str()).collect::<Vec<_>>() as _,
        &entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>() as _,
        &entries.iter().map(|entry| entry.reason.as_deref()).collect::<Vec<_>>() as _,
        &entries.iter().map(|entry| entry.body.as_str()).collect::<Vec<_>>() as _,
    )
    .fetch_one(pool)
    .await?;
    Ok(row.mine.then_some(row.transaction))
}

/// Makes sure that there is a place for this name; a new one begins behind everything that there is.
///
/// # Errors
/// If the database does not take it.
pub async fn open(pool: &PgPool, name: &str) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- callbacks: open
        insert into callbacks (name, position) select $1, coalesce((select max(position) from callback_events), 0)
        on conflict do nothing
        "#,
        name
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives up the place of this name: nobody is told there any more.
///
/// # Errors
/// If the database does not take it.
pub async fn close(pool: &PgPool, name: &str) -> Result<(), Error> {
    sqlx::query!("delete from callbacks where name = $1", name).execute(pool).await?;
    Ok(())
}

/// How one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub position: i64,
    pub failures: i32,
    /// It may be tried now.
    pub due: bool,
    pub stopped: bool,
    /// So many events are late that nothing new is begun.
    pub full: bool,
}

/// How this one stands; none if it was never opened.
///
/// # Errors
/// If the database cannot be asked.
pub async fn standing(pool: &PgPool, name: &str) -> Result<Option<Standing>, Error> {
    Ok(sqlx::query_as!(
        Standing,
        r#"
        -- callbacks: standing
        select position, failures, due_at <= recado_now() as "due!", stopped_at is not null as "stopped!",
          (select count(*) from (select from callbacks_late l where l.name = $1 and l.given_up_at is null limit $2) f) >= $2 as "full!"
        from callbacks where name = $1
        "#,
        name,
        LATE_MAX
    )
    .fetch_optional(pool)
    .await?)
}

/// An event to be delivered.
#[derive(Debug, Clone)]
pub struct Event {
    pub position: i64,
    pub id: String,
    pub kind: String,
    pub key: String,
    pub reason: Option<String>,
    pub body: String,
    /// Requests for it so far.
    pub tries: i32,
    /// One before it, of the same key, was not delivered yet.
    pub behind: bool,
}

/// The next in the log after `position`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn next(pool: &PgPool, name: &str, position: i64, limit: i64) -> Result<Vec<Event>, Error> {
    Ok(sqlx::query_as!(
        Event,
        r#"
        -- callbacks: next
        select e.position, e.id, e.type as kind, e.key, e.reason, e.body, 0 as "tries!",
          exists (select from callbacks_late l where l.name = $1 and l.key = e.key and l.given_up_at is null) as "behind!"
        from callback_events e where e.position > $2 order by e.position limit $3
        "#,
        name,
        position,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// The late events that are to be tried again, of each key the first; also those that are not due yet, if `any`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn late(pool: &PgPool, name: &str, any: bool, limit: i64) -> Result<Vec<Event>, Error> {
    Ok(sqlx::query_as!(
        Event,
        r#"
        -- callbacks: late
        select e.position, e.id, e.type as kind, e.key, e.reason, e.body, l.tries, false as "behind!"
        from (
          select distinct on (key) key, position, tries, due_at from callbacks_late where name = $1 and given_up_at is null order by key, position
        ) l join callback_events e using (position)
        where $2 or l.due_at <= recado_now()
        order by e.position limit $3
        "#,
        name,
        any,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// An event that was not delivered.
#[derive(Debug, Clone)]
pub struct Late {
    pub position: i64,
    pub key: String,
    /// One request, or none if it stands behind another.
    pub tried: bool,
    pub wait: Duration,
    pub problem: Option<String>,
}

/// What a step came to.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The position before the step, and after it.
    pub from: i64,
    pub to: i64,
    pub delivered: Vec<i64>,
    pub late: Vec<Late>,
    /// Some if there were requests: whether none of them succeeded, so that this one rests for so long.
    pub failed: Option<bool>,
    pub rest: Duration,
    pub problem: Option<String>,
    /// It wants nothing any more.
    pub stops: bool,
}

/// Writes down what a step came to. False if the position is not what it was any more: then nothing is written, and the same is
/// delivered again.
///
/// # Errors
/// If the database does not take it; the same is delivered again then.
pub async fn note(pool: &PgPool, name: &str, step: &Step) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- callbacks: note
        with mine as (
          update callbacks set position = $3,
            failures = case when $4::bool then least(failures + 1, 1000) when not $4 then 0 else failures end,
            failing_since = case when $4 then coalesce(failing_since, recado_now()) when not $4 then null else failing_since end,
            due_at = case when $4 then recado_now() + $5 * interval '1 ms' else due_at end,
            delivered_at = case when $4 = false then recado_now() else delivered_at end,
            problem = coalesce($6::text, problem),
            stopped_at = case when $7::bool then recado_now() end
          where name = $1 and position = $2 and stopped_at is null
          returning 1
        ), gone as (
          delete from callbacks_late l using mine where l.name = $1 and l.position = any ($8)
        ), late as (
          insert into callbacks_late as l (name, position, key, tries, due_at, problem)
          select $1, f.position, f.key, f.tries, recado_now() + f.wait * interval '1 ms', f.problem
          from mine cross join unnest($9::int8[], $10::text[], $11::int4[], $12::float8[], $13::text[]) as f(position, key, tries, wait, problem)
          on conflict (name, position) do update set tries = l.tries + excluded.tries, due_at = excluded.due_at, problem = excluded.problem
          where l.given_up_at is null
        )
        select exists (select from mine) as "mine!"
        "#,
        name,
        step.from,
        step.to,
        step.failed,
        millis(step.rest) as _,
        step.problem.as_deref(),
        step.stops,
        &step.delivered,
        &step.late.iter().map(|late| late.position).collect::<Vec<_>>(),
        &step.late.iter().map(|late| late.key.as_str()).collect::<Vec<_>>() as _,
        &step.late.iter().map(|late| i32::from(late.tried)).collect::<Vec<_>>(),
        &step.late.iter().map(|late| millis(late.wait) as f64).collect::<Vec<_>>(),
        &step.late.iter().map(|late| late.problem.as_deref()).collect::<Vec<_>>() as _,
    )
    .fetch_one(pool)
    .await?)
}

/// Everything late is tried again now: it answers again.
///
/// # Errors
/// If the database does not take it; each waits out its own pause then.
pub async fn hurry(pool: &PgPool, name: &str) -> Result<(), Error> {
    sqlx::query!(
        "update callbacks_late set due_at = recado_now() where name = $1 and given_up_at is null and due_at > recado_now()",
        name
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives up what could not be delivered for so long: late events; and, of one that fails altogether, those that it had no turn for, of
/// types like `wanted`. At most `limit` of the latter; says how many of both.
///
/// # Errors
/// If the database does not take it.
pub async fn give_up(pool: &PgPool, name: &str, after: Duration, wanted: &[String], limit: i64) -> Result<i64, Error> {
    let like: Vec<String> = wanted.iter().map(|one| one.replace('*', "%")).collect();
    Ok(sqlx::query_scalar!(
        r#"
        -- callbacks: give up
        with late as (
          update callbacks_late set given_up_at = recado_now()
          where name = $1 and given_up_at is null and since < recado_now() - $2 * interval '1 ms'
          returning 1
        ), failing as materialized (
          select position, since from callbacks where name = $1 and failures > 0 and stopped_at is null for update
        ), old as materialized (
          select e.position, e.key, e.kept_at, e.type from failing f cross join lateral (
            select * from callback_events e where e.position > f.position order by e.position limit $4
          ) e where greatest(e.kept_at, f.since) < recado_now() - $2 * interval '1 ms'
        ), noted as (
          insert into callbacks_late (name, position, key, since, tries, due_at, problem, given_up_at)
          select $1, position, key, kept_at, 0, recado_now(), 'there was no turn for it', recado_now() from old where type like any ($3)
          on conflict do nothing
          returning 1
        ), moved as (
          update callbacks set position = (select max(position) from old) where name = $1 and exists (select from old)
        )
        select (select count(*) from late) + (select count(*) from noted) as "n!"
        "#,
        name,
        millis(after) as _,
        &like,
        limit
    )
    .fetch_one(pool)
    .await?)
}

/// Begins one again: everything since then that is still in the log is delivered once more, or only what was given up. One that was
/// stopped goes on. Gives how many events that is, and says in the audit trail who wanted it.
///
/// # Errors
/// If the database does not take it.
pub async fn replay(pool: &PgPool, name: &str, since: Timestamp, undelivered: bool, by: &str) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- callbacks: replay
        with begun as (
          update callbacks set since = recado_now(), failures = 0, failing_since = null, due_at = recado_now(), stopped_at = null,
            position = case when $3 then position
              else least(position, coalesce((select min(position) - 1 from callback_events where kept_at >= $2), position)) end
          where name = $1
          returning position
        ), again as (
          update callbacks_late l set given_up_at = null, since = recado_now(), due_at = recado_now(), tries = 0
          from begun b where l.name = $1 and $3 and l.given_up_at is not null
            and exists (select from callback_events e where e.position = l.position and e.kept_at >= $2)
          returning 1
        ), overtaken as (
          delete from callbacks_late l using begun b where l.name = $1 and not $3 and l.position > b.position
        ), noted as (
          insert into audit (by, what, "on", detail)
          select $4, 'callback.replayed', $1::text, jsonb_build_object('since', $2::timestamptz, 'undelivered', $3::bool) from begun
        )
        select case when $3 then (select count(*) from again)
          else (select count(*) from callback_events e, begun b where e.position > b.position) end as "n!"
        "#,
        name,
        time(since) as _,
        undelivered,
        by
    )
    .fetch_one(pool)
    .await?)
}

/// Lets one that was stopped go on where it was, and says so in the audit trail. False if it was not stopped.
///
/// # Errors
/// If the database does not take it.
pub async fn resume(pool: &PgPool, name: &str, by: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        -- callbacks: resume
        with resumed as (
          update callbacks set stopped_at = null, failures = 0, failing_since = null, due_at = recado_now(), since = recado_now()
          where name = $1 and stopped_at is not null
          returning name
        )
        insert into audit (by, what, "on") select $2, 'callback.resumed', name from resumed
        "#,
        name,
        by
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How one is doing, for people.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    pub name: String,
    pub delivered_at: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    pub problem: Option<String>,
    /// Events that have still to be delivered, counted up to 10,000.
    pub waiting: i64,
    /// When the oldest of them was told.
    pub waiting_since: Option<Timestamp>,
    /// Events that were given up and are still in the log, counted up to 10,000.
    pub undelivered: i64,
    pub undelivered_since: Option<Timestamp>,
}

/// How these are doing, as far as they have been opened, by name.
///
/// # Errors
/// If the database cannot be asked.
pub async fn reports(pool: &PgPool, names: &[String]) -> Result<Vec<Report>, Error> {
    let rows = sqlx::query!(
        r#"
        -- callbacks: reports
        select c.name, c.delivered_at as "delivered_at: Time", c.failing_since as "failing_since: Time", c.stopped_at as "stopped_at: Time",
          c.problem, w.n + b.n as "waiting!", least(w.since, b.since) as "waiting_since: Time", g.n as "undelivered!",
          g.since as "undelivered_since: Time"
        from callbacks c
        cross join lateral (
          select count(*) as n, min(kept_at) as since from (
            select e.kept_at from callbacks_late l join callback_events e using (position)
            where l.name = c.name and l.given_up_at is null limit 10000) w
        ) w
        cross join lateral (
          select count(*) as n, min(kept_at) as since from (
            select kept_at from callback_events where position > c.position order by position limit 10000) b
        ) b
        cross join lateral (
          select count(*) as n, min(kept_at) as since from (
            select e.kept_at from callbacks_late l join callback_events e using (position)
            where l.name = c.name and l.given_up_at is not null limit 10000) g
        ) g
        where c.name = any ($1) order by c.name
        "#,
        names
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Report {
            name: row.name,
            delivered_at: row.delivered_at.map(Time::to_jiff),
            failing_since: row.failing_since.map(Time::to_jiff),
            stopped_at: row.stopped_at.map(Time::to_jiff),
            problem: row.problem,
            waiting: row.waiting,
            waiting_since: row.waiting_since.map(Time::to_jiff),
            undelivered: row.undelivered,
            undelivered_since: row.undelivered_since.map(Time::to_jiff),
        })
        .collect())
}

/// Whether the log holds something that the broker was not told yet.
///
/// # Errors
/// If the database cannot be asked.
pub async fn broker_is_behind(pool: &PgPool) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- callbacks: broker is behind
        select exists (select from callbacks c join callback_events e on e.position > c.position where c.name = '@broker') as "behind!"
        "#
    )
    .fetch_one(pool)
    .await?)
}

/// The broker has been told everything up to here.
///
/// # Errors
/// If the database does not take it; the same is told again then, with the same ids.
pub async fn broker_has(pool: &PgPool, position: i64) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- callbacks: broker has
        update callbacks set position = greatest(position, $1), delivered_at = recado_now() where name = '@broker'
        "#,
        position
    )
    .execute(pool)
    .await?;
    Ok(())
}
