//! How long things are kept. Whole months of notifications go at once, everything else in batches; what is unfinished stays.
//!
//! What messages were made of goes earlier than the rest of them ([`contents`]). What would go is counted in [`look()`].

mod contents;
mod look;

use std::{collections::BTreeSet, time::Duration};

use sqlx::PgPool;

use super::{Error, dispatch::millis, erasure};

pub use look::{Old, look};

/// How long each kind is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Notifications with their attempts, receipts and timeline.
    pub notifications: Duration,
    /// Of what events said, their bodies, conflicting ones too.
    pub payloads: Duration,
    /// Of notifications, what they say: filled-in values, free texts, SMS.
    pub parameters: Duration,
    /// Which events were received; not shorter than `notifications`.
    pub identities: Duration,
    pub rejected: Duration,
    /// Raw webhooks, receipts that matched nothing, and to which trace a notification belongs: what comes later is not told to it.
    pub webhooks: Duration,
    /// What people wrote to us; not shorter than `webhooks`. What they were answered is kept like notifications.
    pub inbound: Duration,
    /// Events for callbacks, as long as the broker has them too.
    pub callbacks: Duration,
    /// Who did what, and who looked at whom.
    pub audit: Duration,
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
    /// Events for callbacks.
    pub callbacks: u64,
    /// Events of which the body went, and notifications of which what they say went.
    pub payloads: u64,
    pub parameters: u64,
    pub audit: u64,
    pub traces: u64,
    /// There may be more that is too old.
    pub more: bool,
}

impl Removed {
    /// How many rows of each kind, apart from whole months.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, u64); 13] {
        [
            ("notifications of no month", self.strangers),
            ("identities of events", self.identities),
            ("conflicting bodies", self.conflicts),
            ("rejected events", self.rejected),
            ("raw webhooks", self.webhooks),
            ("receipts that matched nothing", self.strays),
            ("messages from people", self.inbound),
            ("answers to people", self.replies),
            ("events for callbacks", self.callbacks),
            (look::PAYLOADS, self.payloads),
            (look::PARAMETERS, self.parameters),
            ("audit trail", self.audit),
            ("traces of notifications", self.traces),
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
    removed.callbacks = remove_callbacks(pool, keep, batch).await?;
    removed.audit = remove_audit(pool, keep, batch).await?;
    removed.traces = remove_traces(pool, keep, batch).await?;
    let payloads = contents::remove_payloads(pool, keep.payloads, batch).await?;
    let parameters = contents::remove_parameters(pool, keep.parameters, batch).await?;
    (removed.payloads, removed.parameters) = (payloads.gone, parameters.gone);
    let batch = batch.unsigned_abs();
    removed.more = payloads.more || parameters.more || removed.rows().into_iter().any(|(_, rows)| rows >= batch);
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
        millis(keep.payloads) as _,
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

/// What was given up goes with its event.
async fn remove_callbacks(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query_scalar!(
        r#"
        -- retention: callback events
        with gone as (
          delete from callback_events where position in (select position from callback_events order by position limit $2)
            and kept_at < recado_now() - $1 * interval '1 ms'
            and position <= coalesce((select position from callbacks where name = '@broker'), 9223372036854775807)
          returning position
        ), late as (
          delete from callbacks_late where position <= (select max(position) from gone)
        )
        select count(*) as "n!" from gone
        "#,
        millis(keep.callbacks) as _,
        batch
    )
    .fetch_one(pool)
    .await?;
    Ok(done.unsigned_abs())
}

/// The trail refuses to lose anything, but for whoever says in the same transaction that its time is over.
async fn remove_audit(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let keep = millis(keep.audit);
    super::alone(pool, move |tx| {
        Box::pin(async move {
            sqlx::query!("select set_config('recado.retention', 'on', true)").fetch_one(&mut *tx).await?;
            let done = sqlx::query!(
                r#"
                -- retention: audit
                delete from audit where id in (
                  select id from audit where at < recado_now() - $1 * interval '1 ms' order by at, id limit $2 for update skip locked
                )
                "#,
                keep as _,
                batch
            )
            .execute(&mut *tx)
            .await?;
            Ok(done.rows_affected())
        })
    })
    .await
}

async fn remove_traces(pool: &PgPool, keep: &Keep, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- retention: traces
        delete from traces where notification_id in (
          select notification_id from traces where notification_id < uuid_v7_floor(recado_now() - $1 * interval '1 ms')
          order by notification_id limit $2 for update skip locked
        )
        "#,
        millis(keep.webhooks) as _,
        batch
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
