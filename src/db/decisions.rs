//! What operators decide about one notification: to end it, or to let it try again. Each decision is one guarded
//! statement that leaves its mark on the timeline.

use sqlx::PgPool;
use uuid::Uuid;

use super::Error;

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Done,
    /// There is no such notification.
    Unknown,
    /// Nothing was changed, since it is in this state (for this reason).
    Refused {
        state: String,
        reason: Option<String>,
        expired: bool,
        kept: bool,
        /// An SMS went instead.
        followed: bool,
    },
}

/// Ends a notification that is pending (as suppressed) or in doubt (as failed: it may have been received).
///
/// # Errors
/// If the database does not take it.
pub async fn cancel(pool: &PgPool, id: Uuid, by: &str) -> Result<Decided, Error> {
    let row = sqlx::query!(
        r#"
        -- decisions: cancel
        with before as materialized (
          select id, state, reason, expires_at <= recado_now() as expired,
            filled is not null or free_text is not null as kept, fallback is not null as followed
          from notifications where id = $1 for no key update
        ), moved as (
          update notifications n set
            state = case b.state when 'pending' then 'suppressed' else 'failed' end::notification_state,
            reason = case b.state when 'pending' then 'cancelled' else 'unknown' end,
            due_at = null, waiting_on = null, doubt_since = null, ended_at = recado_now(), statuses = n.statuses + 1
          from before b where n.id = b.id and b.state in ('pending', 'in_doubt')
          returning n.id, n.statuses, n.state, n.reason
        ), noted as (
          insert into timeline (notification_id, at, what, by) select id, recado_now(), 'cancelled', $2 from moved
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason) select id, statuses, state::text, reason from moved
        )
        select exists (select from moved) as "done!", state::text as "state!", reason, expired as "expired!", kept as "kept!",
          followed as "followed!" from before
        "#,
        id,
        by
    )
    .fetch_optional(pool)
    .await?;
    Ok(row
        .map_or(Decided::Unknown, |row| decided(row.done, row.state, row.reason, row.expired, row.kept, row.followed)))
}

/// Makes a notification pending again, whose every attempt is proven undelivered: it failed for a known reason, or it was
/// suppressed. It goes through the whole claim again, consent included.
///
/// # Errors
/// If the database does not take it.
pub async fn retry(pool: &PgPool, id: Uuid, by: &str) -> Result<Decided, Error> {
    again(pool, id, by, false).await
}

/// As [`retry`], also for what is in doubt or ended so: the person may get it twice, so the next attempt is marked as a resend.
///
/// # Errors
/// If the database does not take it.
pub async fn resend(pool: &PgPool, id: Uuid, by: &str) -> Result<Decided, Error> {
    again(pool, id, by, true).await
}

async fn again(pool: &PgPool, id: Uuid, by: &str, resend: bool) -> Result<Decided, Error> {
    let row = sqlx::query!(
        r#"
        -- decisions: try again
        with before as materialized (
          select id, state, reason, expires_at <= recado_now() as expired,
            filled is not null or free_text is not null as kept, fallback is not null as followed
          from notifications where id = $1 for no key update
        ), moved as (
          update notifications n set
            state = 'pending', due_at = recado_now(), waiting_on = null, doubt_since = null, reason = null, ended_at = null,
            superseded_by = null, message_id = null, accepted_at = null, tries = 0,
            resends = n.resends + (b.state = 'in_doubt' or b.reason in ('unknown', 'delivered_elsewhere') or b.followed)::int
          from before b
          where n.id = b.id and not b.expired and b.kept and ($3 or not b.followed)
            and case b.state when 'failed' then $3 or b.reason <> 'unknown' when 'suppressed' then $3 or b.reason <> 'delivered_elsewhere' when 'in_doubt' then $3 else false end
          returning n.id, b.state = 'in_doubt' or b.reason in ('unknown', 'delivered_elsewhere') or b.followed as resent
        ), noted as (
          insert into timeline (notification_id, at, what, by)
          select id, recado_now(), case when resent then 'resend_ordered' else 'retry_ordered' end, $2 from moved
        )
        select exists (select from moved) as "done!", state::text as "state!", reason, expired as "expired!", kept as "kept!",
          followed as "followed!" from before
        "#,
        id,
        by,
        resend
    )
    .fetch_optional(pool)
    .await?;
    Ok(row
        .map_or(Decided::Unknown, |row| decided(row.done, row.state, row.reason, row.expired, row.kept, row.followed)))
}

fn decided(done: bool, state: String, reason: Option<String>, expired: bool, kept: bool, followed: bool) -> Decided {
    if done { Decided::Done } else { Decided::Refused { state, reason, expired, kept, followed } }
}
