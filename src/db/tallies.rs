//! How much happened and when, by minute: what the statements of the hot paths put down is folded together here, and asked for.
//!
//! A trigger on the outbox puts it down (`migrations/0015_console.sql`), and `inbox` what was planned. What is not folded yet counts as
//! well, so that nobody has to wait for it.

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time, time};

/// Whoever folds keeps the others out by this lock.
const LOCK: i64 = 7_262_736_315;

/// Folds what was put down into the tallies, unless somebody does it just now. Says how many rows there were.
///
/// # Errors
/// If the database does not take it; nothing is folded then.
pub async fn fold(pool: &PgPool) -> Result<u64, Error> {
    let folded = sqlx::query_scalar!(
        r#"
        -- tallies: fold
        with mine as materialized (
          select pg_try_advisory_xact_lock($1) as yes
        ), change as (
          delete from tally_changes where (select yes from mine) returning *
        ), folded as (
          insert into tallies as t
          select minute, kind, reason, sender, sum(n) from change group by 1, 2, 3, 4
          on conflict (minute, kind, reason, sender) do update set n = t.n + excluded.n
        )
        select count(*) as "n!" from change
        "#,
        LOCK
    )
    .fetch_one(pool)
    .await?;
    Ok(folded.unsigned_abs())
}

/// Makes hours of minutes that are two days old, and forgets what is older than `before`. Says how many rows that saved.
///
/// # Errors
/// If the database does not take it; nothing is changed then.
pub async fn tidy(pool: &PgPool, before: Timestamp) -> Result<u64, Error> {
    let saved = sqlx::query_scalar!(
        r#"
        -- tallies: tidy
        with mine as materialized (
          select pg_try_advisory_xact_lock($1) as yes
        ), forgotten as (
          delete from tallies where (select yes from mine) and minute < $2 returning 1
        ), minutes as (
          delete from tallies
          where (select yes from mine) and minute >= $2 and minute < date_trunc('hour', recado_now() - interval '48 h', 'UTC')
            and minute <> date_trunc('hour', minute, 'UTC')
          returning *
        ), hours as (
          insert into tallies as t
          select date_trunc('hour', minute, 'UTC'), kind, reason, sender, sum(n) from minutes group by 1, 2, 3, 4
          on conflict (minute, kind, reason, sender) do update set n = t.n + excluded.n
        )
        select (select count(*) from forgotten) + (select count(*) from minutes) as "n!"
        "#,
        LOCK,
        time(before) as _
    )
    .fetch_one(pool)
    .await?;
    Ok(saved.unsigned_abs())
}

/// What happened so often from `at` on, for as long as a bin lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bin {
    pub at: Timestamp,
    pub kind: String,
    pub n: i64,
}

/// What happened since then, in bins of so many minutes, counted from `since`. Bins in which nothing happened are missing.
///
/// # Errors
/// If the database cannot be asked.
pub async fn bins(pool: &PgPool, since: Timestamp, minutes: i32) -> Result<Vec<Bin>, Error> {
    let rows = sqlx::query!(
        r#"
        -- tallies: bins
        select date_bin($2::int4 * interval '1 min', minute, $1) as "at!: Time", kind as "kind!", sum(n)::int8 as "n!" from (
          select minute, kind, n from tallies where minute >= $1
          union all
          select minute, kind, n from tally_changes where minute >= $1
        ) t
        group by 1, 2 order by 1, 2
        "#,
        time(since) as _,
        minutes
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| Bin { at: row.at.to_jiff(), kind: row.kind, n: row.n }).collect())
}

/// How often something happened to a sender's messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// None if nobody noted whose they were.
    pub sender: Option<String>,
    pub kind: String,
    /// In the last sixty seconds, if the minute in which they began was an even one.
    pub last_minute: f64,
    /// In the last five minutes.
    pub last_five: f64,
}

/// What happened in the last minute and in the last five, by sender.
///
/// # Errors
/// If the database cannot be asked.
pub async fn rates(pool: &PgPool) -> Result<Vec<Rate>, Error> {
    let rows = sqlx::query!(
        r#"
        -- tallies: rates
        with clock as materialized (
          select recado_now() as now, recado_now() - interval '6 min' as begin
        )
        select s.name as "sender?", t.kind as "kind!",
          -- Of the minute that the time begins in, its share.
          sum(t.n * least(1, greatest(0, extract(epoch from t.minute - k.now + interval '2 min') / 60)))::float8 as "last_minute!",
          sum(t.n * least(1, greatest(0, extract(epoch from t.minute - k.now + interval '6 min') / 60)))::float8 as "last_five!"
        from (
          select minute, kind, sender, n from tallies where minute >= (select begin from clock)
          union all
          select minute, kind, sender, n from tally_changes where minute >= (select begin from clock)
        ) t cross join clock k left join senders s on s.id = t.sender
        group by s.name, t.kind order by s.name, t.kind
        "#
    )
    .fetch_all(pool)
    .await?;
    let rate = rows.into_iter().map(|row| Rate {
        sender: row.sender,
        kind: row.kind,
        last_minute: row.last_minute,
        last_five: row.last_five,
    });
    Ok(rate.collect())
}

/// How often something ended without delivery, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OfReason {
    /// failed or suppressed.
    pub state: String,
    pub reason: String,
    pub n: i64,
}

/// Why things ended without delivery in that time, at this sender or at any, the most frequent first. What is older than two days is
/// known by the hour.
///
/// # Errors
/// If the database cannot be asked.
pub async fn by_reason(
    pool: &PgPool,
    since: Timestamp,
    until: Option<Timestamp>,
    sender: Option<&str>,
) -> Result<Vec<OfReason>, Error> {
    let rows = sqlx::query!(
        r#"
        -- tallies: by reason
        select kind as "state!", reason as "reason!", sum(n)::int8 as "n!" from (
          select minute, kind, reason, sender, n from tallies
          union all
          select minute, kind, reason, sender, n from tally_changes
        ) t
        where minute >= $1 and ($2::timestamptz is null or minute < $2) and kind in ('failed', 'suppressed')
          and ($3::text is null or sender = (select id from senders where name = $3))
        group by 1, 2 order by 3 desc, 1, 2
        "#,
        time(since) as _,
        until.map(time) as _,
        sender
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| OfReason { state: row.state, reason: row.reason, n: row.n }).collect())
}
