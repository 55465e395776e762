//! How long things are kept. Whole months of notifications go at once, everything else in batches; what is unfinished stays.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time, dispatch::millis, erasure, time};

/// How long each kind is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Notifications with their attempts, receipts and timeline.
    pub notifications: Duration,
    /// Which events were received; not shorter than `notifications`.
    pub identities: Duration,
    pub rejected: Duration,
    /// Raw webhooks, and receipts that matched nothing.
    pub webhooks: Duration,
    /// What people wrote to us; not shorter than `webhooks`. What they were answered is kept like notifications.
    pub inbound: Duration,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Months, like `2025_11`, of notifications with everything that belongs to them.
    pub months: Vec<String>,
    /// Months that are old enough and stay for now, since somebody has their table in hand.
    pub busy: Vec<String>,
    /// Of notifications outside any month: those whose time made no sense.
    pub strangers: u64,
    pub identities: u64,
    pub conflicts: u64,
    pub rejected: u64,
    pub webhooks: u64,
    pub strays: u64,
    /// Messages from people.
    pub inbound: u64,
    /// Answers to people, and SMS of opt-ins.
    pub replies: u64,
    /// There may be more that is too old.
    pub more: bool,
}

impl Removed {
    /// How many rows of each kind, apart from whole months.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, u64); 8] {
        [
            ("notifications of no month", self.strangers),
            ("identities of events", self.identities),
            ("conflicting bodies", self.conflicts),
            ("rejected events", self.rejected),
            ("raw webhooks", self.webhooks),
            ("receipts that matched nothing", self.strays),
            ("messages from people", self.inbound),
            ("answers to people", self.replies),
        ]
    }
}

/// The tables that are partitioned by month, what belongs to a notification before the notification itself.
const PARTITIONED: [&str; 4] = ["receipts", "attempts", "timeline", "notifications"];

/// Removes what is older than it has to be kept: months that are over, and of everything else one batch of at most `batch` rows.
///
/// # Errors
/// If the database does not take it; what was removed until then is.
pub async fn remove(pool: &PgPool, keep: &Keep, batch: i64) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    for (month, unfinished) in months(pool, keep).await? {
        if unfinished {
            continue;
        }
        // One statement each, so that none is held up by more than one lock; an interrupted month is gone on with next time. Whoever
        // has one month in hand has others too, most likely.
        let mut gone = removed.busy.is_empty();
        for base in PARTITIONED {
            gone = gone && drop_partition(pool, base, &month).await?;
        }
        if gone { removed.months.push(month) } else { removed.busy.push(month) }
    }
    removed.strangers = remove_strangers(pool, keep, batch).await?;
    removed.identities = remove_identities(pool, keep, batch).await?;
    removed.conflicts = remove_conflicts(pool, keep, batch).await?;
    removed.rejected = remove_rejected(pool, keep, batch).await?;
    removed.webhooks = remove_webhooks(pool, keep, batch).await?;
    removed.strays = remove_strays(pool, keep, batch).await?;
    removed.inbound = remove_inbound(pool, keep, batch).await?;
    removed.replies = remove_replies(pool, keep, batch).await?;
    let batch = batch.unsigned_abs();
    removed.more = removed.rows().into_iter().any(|(_, rows)| rows >= batch);
    Ok(removed)
}

/// The months that are over for so long, oldest first, and whether something in them is unfinished.
async fn months(pool: &PgPool, keep: &Keep) -> Result<Vec<(String, bool)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- retention: old months
        select month as "month!", unfinished as "unfinished!" from old_months(recado_now() - $1 * interval '1 ms')
        "#,
        millis(keep.notifications) as _
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.month, row.unfinished)).collect())
}

async fn drop_partition(pool: &PgPool, base: &str, month: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(r#"select drop_partition($1, $2) as "gone!""#, base, month).fetch_one(pool).await?)
}

async fn remove_strangers(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query_scalar!(
        r#"
        -- retention: notifications of no month
        with old as materialized (
          select id from notifications_rest where id < uuid_v7_floor(recado_now() - $1 * interval '1 ms')
            and state not in ('pending', 'sending', 'in_doubt')
          order by id limit $2
        ), reported as (
          delete from receipts_rest where notification_id in (select id from old)
        ), tried as (
          delete from attempts_rest where notification_id in (select id from old)
        ), noted as (
          delete from timeline_rest where notification_id in (select id from old)
        ), gone as (
          delete from notifications_rest where id in (select id from old) returning 1
        )
        select count(*) as "n!" from gone
        "#,
        millis(keep.notifications) as _,
        batch
    )
    .fetch_one(pool)
    .await?;
    Ok(done.unsigned_abs())
}

async fn remove_identities(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query_scalar!(
        r#"select forget_identities(recado_now() - $1 * interval '1 ms', $2) as "n!""#,
        millis(keep.identities) as _,
        batch
    )
    .fetch_one(pool)
    .await?;
    Ok(done.unsigned_abs())
}

async fn remove_conflicts(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query_scalar!(
        r#"select forget_conflicts(recado_now() - $1 * interval '1 ms', $2) as "n!""#,
        millis(keep.identities) as _,
        batch
    )
    .fetch_one(pool)
    .await?;
    Ok(done.unsigned_abs())
}

/// Of the oldest only: rejected events, webhooks and strays are numbered as they come.
async fn remove_rejected(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- retention: rejected events
        delete from rejected_events where id in (select id from rejected_events order by id limit $2)
          and received_at < recado_now() - $1 * interval '1 ms'
        "#,
        millis(keep.rejected) as _,
        batch
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

async fn remove_webhooks(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- retention: webhooks
        delete from webhooks where id in (select id from webhooks where applied_at is not null order by id limit $2)
          and received_at < recado_now() - $1 * interval '1 ms'
        "#,
        millis(keep.webhooks) as _,
        batch
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

async fn remove_strays(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- retention: receipts that matched nothing
        delete from stray_receipts where id in (select id from stray_receipts order by id limit $2)
          and received_at < recado_now() - $1 * interval '1 ms'
        "#,
        millis(keep.webhooks) as _,
        batch
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Whoever had only written to us, and nothing else is known of, goes with their last message.
async fn remove_inbound(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let (keep, batch) = (millis(keep.inbound), batch);
    super::alone(pool, move |tx| {
        Box::pin(async move {
            let gone = sqlx::query!(
                r#"
                -- retention: inbound
                delete from inbound where message_id in (
                  select message_id from inbound where received_at < recado_now() - $1 * interval '1 ms'
                  order by received_at limit $2 for update skip locked
                ) returning contact_id
                "#,
                keep as _,
                batch
            )
            .fetch_all(&mut *tx)
            .await?;
            let contacts: BTreeSet<i64> = gone.iter().filter_map(|row| row.contact_id).collect();
            erasure::forget_strangers(tx, &contacts.into_iter().collect::<Vec<_>>()).await?;
            Ok(gone.len() as u64)
        })
    })
    .await
}

async fn remove_replies(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- retention: replies
        delete from replies where id in (
          select id from replies where at < recado_now() - $1 * interval '1 ms' and state not in ('pending', 'sending')
          order by at limit $2 for update skip locked
        )
        "#,
        millis(keep.notifications) as _,
        batch
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// What is too old, counted and not touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old {
    /// For people.
    pub what: String,
    pub rows: i64,
    pub oldest: Option<Timestamp>,
    /// It stays, since something in it is unfinished.
    pub unfinished: bool,
}

/// Counts what [`remove`] would remove if it were called until nothing is left.
///
/// # Errors
/// If the database cannot be asked.
pub async fn look(pool: &PgPool, keep: &Keep) -> Result<Vec<Old>, Error> {
    let mut old = Vec::new();
    for (month, unfinished) in months(pool, keep).await? {
        let (rows, oldest) = of_month(pool, &month).await?;
        let what = format!("notifications of {}, with their attempts and receipts", month.replace('_', "-"));
        old.push(Old { what, rows, oldest, unfinished });
    }
    let rows = sqlx::query!(
        r#"
        -- retention: look
        with k as materialized (
          select recado_now() - $1 * interval '1 ms' as identities, recado_now() - $2 * interval '1 ms' as rejected,
            recado_now() - $3 * interval '1 ms' as webhooks, recado_now() - $4 * interval '1 ms' as notifications,
            recado_now() - $5 * interval '1 ms' as inbound
        )
        select w.what as "what!", w.rows as "rows!", w.oldest as "oldest: Time" from (
          select 1 as place, 'notifications of no month' as what, count(*) as rows, min(created_at) as oldest from notifications_rest, k
            where id < uuid_v7_floor(k.notifications) and state not in ('pending', 'sending', 'in_doubt')
          union all select 2, 'identities of events', count(*), min(received_at) from inbox, k where received_at < k.identities
          union all select 3, 'conflicting bodies', count(*), min(received_at) from inbox_conflicts, k where received_at < k.identities
          union all select 4, 'rejected events', count(*), min(received_at) from rejected_events, k where received_at < k.rejected
          union all select 5, 'raw webhooks', count(*), min(received_at) from webhooks, k
            where received_at < k.webhooks and applied_at is not null
          union all select 6, 'receipts that matched nothing', count(*), min(received_at) from stray_receipts, k where received_at < k.webhooks
          union all select 7, 'messages from people', count(*), min(received_at) from inbound, k where received_at < k.inbound
          union all select 8, 'answers to people', count(*), min(at) from replies, k
            where at < k.notifications and state not in ('pending', 'sending')
        ) w order by w.place
        "#,
        millis(keep.identities) as _,
        millis(keep.rejected) as _,
        millis(keep.webhooks) as _,
        millis(keep.notifications) as _,
        millis(keep.inbound) as _,
    )
    .fetch_all(pool)
    .await?;
    old.extend(rows.into_iter().map(|row| Old {
        what: row.what,
        rows: row.rows,
        oldest: row.oldest.map(Time::to_jiff),
        unfinished: false,
    }));
    Ok(old)
}

async fn of_month(pool: &PgPool, month: &str) -> Result<(i64, Option<Timestamp>), Error> {
    let first: Timestamp = format!("{}-01T00:00:00Z", month.replace('_', "-"))
        .parse()
        .map_err(|_| Error::Inconsistent { table: "notifications", column: "partition", row: month.to_owned() })?;
    let row = sqlx::query!(
        r#"
        -- retention: a month
        select count(*) as "rows!", min(created_at) as "oldest: Time" from notifications
        where id >= uuid_v7_floor($1) and id < uuid_v7_floor($1 + interval '1 month')
        "#,
        time(first) as _
    )
    .fetch_one(pool)
    .await?;
    Ok((row.rows, row.oldest.map(Time::to_jiff)))
}
