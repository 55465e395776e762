//! The senders' numbers in the database, the fleet of processes, and where these rows were written.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Error, Time, dispatch::millis, time};

/// The sender's key, made at its first use.
///
/// # Errors
/// If the database does not take it.
pub async fn register(pool: &PgPool, name: &str) -> Result<i16, Error> {
    // A row that exists is not rewritten: the sequence of keys is short.
    if let Some(id) = find(pool, name).await? {
        return Ok(id);
    }
    let id = sqlx::query_scalar!(
        "insert into senders (name) values ($1) on conflict (name) do update set name = excluded.name returning id",
        name
    )
    .fetch_one(pool)
    .await?;
    Ok(id)
}

/// The sender's key, if it has one.
///
/// # Errors
/// If the database cannot be asked.
pub async fn find(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<i16>, Error> {
    Ok(sqlx::query_scalar!("select id from senders where name = $1", name).fetch_optional(executor).await?)
}

/// All senders that were ever here, with their keys.
///
/// # Errors
/// If the database cannot be asked.
pub async fn all(pool: &PgPool) -> Result<Vec<(i16, String)>, Error> {
    let rows = sqlx::query!("select id, name from senders order by name").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Says that this process lives, and learns how many that dispatch do: those seen within `gone_after`.
///
/// # Errors
/// If the database does not take it.
pub async fn beat(pool: &PgPool, worker: Uuid, dispatches: bool, gone_after: Duration) -> Result<i64, Error> {
    // Real time, not the tests': a process lives or not whatever a test's clock shows.
    let live = sqlx::query_scalar!(
        r#"
        -- fleet: beat
        with me as (
          insert into workers (id, dispatches) values ($1, $2)
          on conflict (id) do update set seen_at = clock_timestamp()
        ), gone as (
          delete from workers where id <> $1 and seen_at < clock_timestamp() - $3 * interval '10 ms'
        )
        select count(*) as "n!" from workers
        where dispatches and id <> $1 and seen_at >= clock_timestamp() - $3 * interval '1 ms'
        "#,
        worker,
        dispatches,
        millis(gone_after) as _
    )
    .fetch_one(pool)
    .await?;
    Ok(live + i64::from(dispatches))
}

/// The database's real time, to compare heartbeats with.
///
/// # Errors
/// If the database cannot be asked.
pub async fn beats_at(pool: &PgPool) -> Result<Timestamp, Error> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!: Time""#).fetch_one(pool).await?.to_jiff())
}

/// Whether each of the others that dispatch and live has said so again since then, and so has counted whoever was there by then.
///
/// # Errors
/// If the database cannot be asked.
pub async fn others_beat_since(
    pool: &PgPool,
    worker: Uuid,
    since: Timestamp,
    gone_after: Duration,
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- fleet: others beat since
        select not exists (select from workers where dispatches and id <> $1 and seen_at <= $2
          and seen_at >= clock_timestamp() - $3 * interval '1 ms') as "yes!"
        "#,
        worker,
        time(since) as _,
        millis(gone_after) as _
    )
    .fetch_one(pool)
    .await?)
}

/// Says that this process has ended in order.
///
/// # Errors
/// If the database does not take it; it counts as gone a little later then.
pub async fn leave(pool: &PgPool, worker: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from workers where id = $1", worker).execute(pool).await?;
    Ok(())
}

/// Notes that the provider asks this sender to be slower for as long as that. A longer time that was noted before stays.
///
/// # Errors
/// If the database does not take it.
pub async fn throttle(pool: &PgPool, sender: i16, lasts: Duration) -> Result<(), Error> {
    sqlx::query!(
        "update senders set throttled_until = greatest(throttled_until, recado_now() + $2 * interval '1 ms') where id = $1",
        sender,
        millis(lasts) as _
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The senders that are asked to be slower just now, and for how much longer.
///
/// # Errors
/// If the database cannot be asked.
pub async fn throttled(pool: &PgPool) -> Result<Vec<(i16, Duration)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- fleet: throttled
        select id, (extract(epoch from throttled_until - recado_now()) * 1000)::int8 as "ms!" from senders where throttled_until > recado_now()
        "#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, Duration::from_millis(row.ms.unsigned_abs()))).collect())
}

/// Compares the cluster, timeline, database and table that the rows were written in with those that hold them now. If they differ,
/// everything is held in the same statement: a restore or a failover may have lost what was committed. Says whether it came to that.
///
/// # Errors
/// If the database cannot be asked.
pub async fn check_timeline(pool: &PgPool) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"
        -- fleet: check timeline
        with now as materialized (
          select system_identifier, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline,
            (select oid from pg_database where datname = current_database()) as database, 'written_by'::regclass::oid as this_table
          from pg_control_system()
        ), first as (
          insert into written_by (system_identifier, timeline, database, this_table)
          select system_identifier, timeline, database, this_table from now on conflict do nothing
        ), changed as (
          update written_by w
          set system_identifier = n.system_identifier, timeline = n.timeline, database = n.database, this_table = n.this_table
          from now n
          where (w.system_identifier, w.timeline, w.database, w.this_table) <> (n.system_identifier, n.timeline, n.database, n.this_table)
          returning 1
        ), held as (
          insert into holds (scope, reason, detail, placed_by)
          select 'everything', 'database_restored',
            'The database continues from another point than it was left at. What was sent since then may not be known here; release when you have made sure.',
            'recado'
          from changed
          on conflict do nothing
        )
        select count(*) as "n!" from changed
        "#
    )
    .fetch_one(pool)
    .await?;
    Ok(row.n > 0)
}

/// How many people the senders of these keys have written to outside a service window within the last 24 hours.
///
/// # Errors
/// If the database cannot be asked.
pub async fn recipients_of_the_day(pool: &PgPool, senders: &[i16]) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- fleet: recipients of the day
        select count(distinct contact_id) as "n!" from lanes where sender = any ($1) and sent_at > recado_now() - interval '24 h'
        "#,
        senders
    )
    .fetch_one(pool)
    .await?)
}
