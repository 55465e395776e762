//! What is to be told to producers, in order, and who tells it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time, dispatch::millis};

/// Something to tell.
#[derive(Debug, Clone)]
pub struct Told {
    pub id: i64,
    pub at: Timestamp,
    /// accepted, delivered, read, failed, suppressed, in_doubt; inbound.
    pub kind: String,
    pub reason: Option<String>,
    pub payload: Option<Value>,
    pub notification: Option<About>,
}

/// The notification that it is about.
#[derive(Debug, Clone)]
pub struct About {
    pub id: Uuid,
    /// Counts what was told about this notification, from 1.
    pub sequence: i32,
    pub event_source: String,
    pub event_id: String,
    pub journey_key: Option<String>,
    pub subject: Option<String>,
    pub template: String,
    pub language: String,
    pub sender: String,
    pub attempt: i16,
    pub message_id: Option<String>,
    pub resends: i16,
    pub duplicate: bool,
    /// Its latest attempt went as a free text.
    pub as_text: bool,
    /// The SMS that followed it, and the message that it followed.
    pub fallback: Option<Uuid>,
    pub fallback_of: Option<Uuid>,
}

/// Takes or keeps the lease of this name. Says whether we have it.
///
/// # Errors
/// If the database cannot be asked.
pub async fn hold_lease(pool: &PgPool, name: &str, holder: Uuid, lasts: Duration) -> Result<bool, Error> {
    // Real time: a lease between processes runs out whatever a test's clock shows.
    let mine = sqlx::query_scalar!(
        r#"
        -- outbox: lease
        insert into leases (name, holder, until) values ($1, $2, clock_timestamp() + $3 * interval '1 ms')
        on conflict (name) do update set holder = excluded.holder, until = excluded.until
        where leases.holder = excluded.holder or leases.until < clock_timestamp()
        returning true as "mine!"
        "#,
        name,
        holder,
        millis(lasts) as _
    )
    .fetch_optional(pool)
    .await?;
    Ok(mine.is_some())
}

/// What was found to tell, and how far everything has been given out.
#[derive(Debug, Clone)]
pub struct Found {
    pub rows: Vec<Told>,
    /// The number that was given out last, to a row that may not be seen yet.
    pub given_out: i64,
    /// Every transaction with a lower number has ended.
    pub ended_before: i64,
}

/// The next to be told after `upto`, at most `limit`: only rows older than every transaction that runs, so that none is overtaken by
/// one that commits later.
///
/// # Errors
/// If the database cannot be asked.
pub async fn next(pool: &PgPool, upto: i64, limit: i64) -> Result<Found, Error> {
    let rows = sqlx::query!(
        r#"
        -- outbox: next
        with moment as materialized (
          select pg_snapshot_xmin(pg_current_snapshot()) as xmin, (select last_value from outbox_ids) as given_out
        ), row as materialized (
          select * from outbox where id > $1 and written_in < (select xmin from moment) order by id limit $2
        )
        select m.xmin::text::int8 as "xmin!", m.given_out as "given_out!", o.id as "id?", o.at as "at?: Time", o.kind as "kind?", o.reason, o.payload,
          o.notification_id, o.sequence,
          n.event_source as "event_source?", n.event_id as "event_id?", n.journey_key, n.subject, n.template as "template?", n.language as "language?",
          s.name as "sender?", n.attempt as "attempt?", n.message_id, n.resends as "resends?", n.duplicate as "duplicate?",
          n.as_text as "as_text?", n.fallback, n.fallback_of
        from moment m
        left join row o on true
        left join notifications n on n.id = o.notification_id
        left join senders s on s.id = n.sender
        order by o.id
        "#,
        upto,
        limit
    )
    .fetch_all(pool)
    .await?;
    let (given_out, ended_before) = rows.first().map_or((0, 0), |row| (row.given_out, row.xmin));
    let rows = rows
        .into_iter()
        .filter_map(|row| {
            Some(Told {
                id: row.id?,
                at: row.at?.to_jiff(),
                kind: row.kind?,
                reason: row.reason,
                payload: row.payload,
                notification: row.notification_id.map(|id| About {
                    id,
                    sequence: row.sequence.unwrap_or(0),
                    event_source: row.event_source.unwrap_or_default(),
                    event_id: row.event_id.unwrap_or_default(),
                    journey_key: row.journey_key,
                    subject: row.subject,
                    template: row.template.unwrap_or_default(),
                    language: row.language.unwrap_or_default(),
                    sender: row.sender.unwrap_or_default(),
                    attempt: row.attempt.unwrap_or(0),
                    message_id: row.message_id,
                    resends: row.resends.unwrap_or(0),
                    duplicate: row.duplicate.unwrap_or(false),
                    as_text: row.as_text.unwrap_or(false),
                    fallback: row.fallback,
                    fallback_of: row.fallback_of,
                }),
            })
        })
        .collect();
    Ok(Found { rows, given_out, ended_before })
}

/// Forgets what the broker has confirmed. Gives the number of the transaction that did it.
///
/// # Errors
/// If the database does not take it; the same is told again then, with the same id.
pub async fn told(pool: &PgPool, ids: &[i64]) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- outbox: told
        with gone as (delete from outbox where id = any ($1))
        select pg_current_xact_id()::text::int8 as "transaction!"
        "#,
        ids
    )
    .fetch_one(pool)
    .await?)
}

/// Notes that every row up to this one was told. Whoever publishes next begins there.
///
/// # Errors
/// If the database does not take it.
pub async fn mark(pool: &PgPool, name: &str, holder: Uuid, upto: i64) -> Result<(), Error> {
    sqlx::query!("update leases set upto = $3 where name = $1 and holder = $2", name, holder, upto)
        .execute(pool)
        .await?;
    Ok(())
}

/// Up to which row everything was told, as it was noted last.
///
/// # Errors
/// If the database cannot be asked.
pub async fn marked(pool: &PgPool, name: &str) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!("select upto from leases where name = $1", name).fetch_optional(pool).await?.unwrap_or(0))
}

/// How old the oldest event is that the broker has not been told, in seconds.
///
/// # Errors
/// If the database cannot be asked.
pub async fn lag(pool: &PgPool) -> Result<f64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- outbox: lag
        select coalesce(extract(epoch from recado_now() - least(
          (select at from outbox where id > coalesce((select upto from leases where name = 'outbox'), 0) order by id limit 1),
          (select e.kept_at from callbacks c join callback_events e on e.position > c.position where c.name = '@broker'
            order by e.position limit 1))), 0)::float8 as "s!"
        "#
    )
    .fetch_one(pool)
    .await?)
}
