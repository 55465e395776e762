//! What events and messages said, removed before the rest of them: the bodies of events, the values and texts of notifications.
//!
//! Both go in the order of notifications' ids, which is that of time, a batch at a time, and a cursor remembers how far: nothing is
//! looked at twice, no index is kept for it, and two processes do not do the same. What is unfinished is passed over; it goes with its
//! month. What stays of a row fits where it stood, so that an update costs one page and no index.

use std::time::Duration;

use sqlx::PgPool;

use crate::db::{Error, dispatch::millis};

/// What one batch came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Batch {
    /// Rows that had something to lose.
    pub gone: u64,
    /// There may be more that is too old.
    pub more: bool,
}

impl Batch {
    fn of(seen: i64, gone: i64, batch: i64) -> Batch {
        Batch { gone: gone.unsigned_abs(), more: seen >= batch }
    }
}

/// Removes the bodies of the events behind the next notifications.
pub(super) async fn remove_payloads(pool: &PgPool, keep: Duration, batch: i64) -> Result<Batch, Error> {
    let row = sqlx::query!(
        r#"
        -- retention: payloads
        with cursor as materialized (
          select upto from retention_cursors where what = 'payloads' for no key update skip locked
        ), old as materialized (
          select n.id, n.event_source, n.event_id from notifications n
          where n.id > (select upto from cursor) and n.id < uuid_v7_floor(recado_now() - $1 * interval '1 ms')
          order by n.id limit $2
        ), gone as (
          update inbox i set body = null
          from (select distinct event_id, event_source from old) o
          where i.id = o.event_id and i.source = o.event_source and i.body is not null
          returning 1
        ), moved as (
          update retention_cursors c set upto = o.id from (select id from old order by id desc limit 1) o where c.what = 'payloads'
        )
        select (select count(*) from old) as "seen!", (select count(*) from gone) as "gone!"
        "#,
        millis(keep) as _,
        batch
    )
    .fetch_one(pool)
    .await?;
    Ok(Batch::of(row.seen, row.gone, batch))
}

/// Removes what the next notifications say.
pub(super) async fn remove_parameters(pool: &PgPool, keep: Duration, batch: i64) -> Result<Batch, Error> {
    let row = sqlx::query!(
        r#"
        -- retention: parameters
        with cursor as materialized (
          select upto from retention_cursors where what = 'parameters' for no key update skip locked
        ), old as materialized (
          select n.id from notifications n
          where n.id > (select upto from cursor) and n.id < uuid_v7_floor(recado_now() - $1 * interval '1 ms')
          order by n.id limit $2
        ), gone as (
          update notifications n set filled = null, free_text = null, sms = null
          from old o
          where n.id = o.id and n.state in ('accepted', 'failed', 'suppressed')
            and (n.filled is not null or n.free_text is not null or n.sms is not null)
          returning 1
        ), moved as (
          update retention_cursors c set upto = o.id from (select id from old order by id desc limit 1) o where c.what = 'parameters'
        )
        select (select count(*) from old) as "seen!", (select count(*) from gone) as "gone!"
        "#,
        millis(keep) as _,
        batch
    )
    .fetch_one(pool)
    .await?;
    Ok(Batch::of(row.seen, row.gone, batch))
}
