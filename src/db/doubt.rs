//! Notifications whose outcome is unknown, and what was decided of them.

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time};
use crate::domain::{doubt::Case, notification::AttemptId};

/// The cases to be judged, oldest first, and the database's time. `mark` is the last webhook known at an earlier look:
/// whatever came until then must have been applied.
///
/// # Errors
/// If the database cannot be asked.
pub async fn cases(pool: &PgPool, mark: i64, limit: i64) -> Result<(Vec<(AttemptId, Case)>, Timestamp), Error> {
    let rows = sqlx::query!(
        r#"
        -- doubt: cases
        select n.id, n.attempt, n.doubt_since as "since!: Time", n.expires_at as "expires_at: Time", n.doubt, n.resends,
          a.claimed_at as "claimed_at: Time", s.heard as "heard: Vec<Time>", recado_now() as "now!: Time",
          exists (select from webhooks w where w.applied_at is null and w.id <= $1) as "unread!"
        from notifications n
        join attempts a on a.notification_id = n.id and a.number = n.attempt
        join senders s on s.id = n.sender
        where n.state = 'in_doubt'
        order by n.doubt_since limit $2
        "#,
        mark,
        limit
    )
    .fetch_all(pool)
    .await?;
    let mut now = Timestamp::UNIX_EPOCH;
    let mut cases = Vec::with_capacity(rows.len());
    for row in rows {
        now = row.now.to_jiff();
        let policy = row.doubt.parse().map_err(|()| Error::Inconsistent {
            table: "notifications",
            column: "doubt",
            row: row.id.to_string(),
        })?;
        let case = Case {
            since: row.since.to_jiff(),
            claimed_at: row.claimed_at.to_jiff(),
            expires_at: row.expires_at.to_jiff(),
            policy,
            resends: row.resends.unsigned_abs(),
            heard: row.heard.into_iter().map(Time::to_jiff).collect(),
            unread: row.unread,
        };
        cases.push((AttemptId { notification: row.id, number: row.attempt }, case));
    }
    Ok((cases, now))
}

/// The number of the last webhook that came in; 0 if none ever did.
///
/// # Errors
/// If the database cannot be asked.
pub async fn last_webhook(pool: &PgPool) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(r#"select coalesce(max(id), 0) as "id!" from webhooks"#).fetch_one(pool).await?)
}

/// Sends it once more, through the whole claim, marked. Says whether it was still in doubt.
///
/// # Errors
/// If the database does not take it.
pub async fn resend(pool: &PgPool, attempt: AttemptId, by: &str) -> Result<bool, Error> {
    let done = sqlx::query_scalar!(
        r#"
        -- doubt: resend
        with moved as (
          update notifications set state = 'pending', due_at = least(expires_at, recado_now()), doubt_since = null,
            resends = resends + 1, tries = tries + 1
          where id = $1 and attempt = $2 and state = 'in_doubt'
          returning id
        ), noted as (
          insert into timeline (notification_id, at, what, detail, by)
          select id, recado_now(), 'resend', 'attempt ' || $2::int2 || ' was never heard of', $3 from moved
        )
        select count(*) as "n!" from moved
        "#,
        attempt.notification,
        attempt.number,
        by
    )
    .fetch_one(pool)
    .await?;
    Ok(done > 0)
}

/// Ends it as failed, reason `unknown`. Says whether it was still in doubt.
///
/// # Errors
/// If the database does not take it.
pub async fn give_up(pool: &PgPool, attempt: AttemptId, by: &str) -> Result<bool, Error> {
    let done = sqlx::query_scalar!(
        r#"
        -- doubt: give up
        with moved as (
          update notifications set state = 'failed', reason = 'unknown', doubt_since = null, ended_at = recado_now(), statuses = statuses + 1
          where id = $1 and attempt = $2 and state = 'in_doubt'
          returning id, statuses
        ), noted as (
          insert into timeline (notification_id, at, what, by) select id, recado_now(), 'gave_up', $3 from moved
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason) select id, statuses, 'failed', 'unknown' from moved
        )
        select count(*) as "n!" from moved
        "#,
        attempt.notification,
        attempt.number,
        by
    )
    .fetch_one(pool)
    .await?;
    Ok(done > 0)
}
