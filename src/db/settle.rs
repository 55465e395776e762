//! The end of an attempt (T3): what follows is written in one statement, fenced by the attempt's number.
//!
//! What follows was decided by `domain::notification::after`; here it is only obeyed.

use std::{collections::HashSet, time::Duration};

use sqlx::PgPool;

use super::{Error, dispatch::millis};
use crate::domain::notification::{AttemptId, Failure, Next};

/// An attempt and what follows it.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub attempt: AttemptId,
    /// A stable name for the attempts log: accepted, rejected, not_sent, busy, unclear.
    pub outcome: &'static str,
    pub next: Next,
}

/// What a settlement found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Attempts whose notification had moved on: their lease was lost. The result is in the attempts log all the same.
    pub overtaken: Vec<AttemptId>,
    /// Lanes (contact, sender) in which somebody waits for this.
    pub wake: Vec<(i64, i16)>,
}

struct Columns<'a> {
    state: &'static str,
    failure: Option<&'a Failure>,
    message_id: Option<&'a str>,
    delay: Duration,
    counts: bool,
    lane: bool,
    impossible: bool,
}

fn columns(next: &Next) -> Columns<'_> {
    let none = Columns {
        state: "",
        failure: None,
        message_id: None,
        delay: Duration::ZERO,
        counts: false,
        lane: false,
        impossible: false,
    };
    match next {
        Next::Accepted(acceptance) => Columns { state: "accepted", message_id: Some(&acceptance.message_id), ..none },
        Next::Pending { delay, counts, lane, failure } => {
            Columns { state: "pending", failure: Some(failure), delay: *delay, counts: *counts, lane: *lane, ..none }
        }
        Next::InDoubt(failure) => Columns { state: "in_doubt", failure: Some(failure), ..none },
        Next::Failed(failure) => Columns { state: "failed", failure: Some(failure), ..none },
        Next::Impossible(failure) => Columns { state: "failed", failure: Some(failure), impossible: true, ..none },
    }
}

/// Writes results. Repeating a call with the same results changes nothing more.
///
/// # Errors
/// If the database does not take them; the caller keeps them and tries again.
pub async fn settle(pool: &PgPool, settlements: &[Settlement]) -> Result<Settled, Error> {
    let columns: Vec<Columns<'_>> = settlements.iter().map(|s| columns(&s.next)).collect();
    let rows = sqlx::query!(
        r#"
        -- dispatch: settle
        with clock as materialized (
          select recado_now() as now
        ), result as materialized (
          select * from unnest($1::uuid[], $2::int2[], $3::text[], $4::text[], $5::int8[], $6::bool[], $7::bool[], $8::text[], $9::int8[],
                               $10::text[], $11::text[], $12::bool[])
            as r(id, number, outcome, next, delay_ms, counts, lane, reason, code, detail, message_id, impossible)
        ), moved as (
          -- A receipt that came before this answer has left its message id: it is evidence, and nothing is tried again.
          update notifications n set
            state = case when n.message_id is not null then 'accepted' else r.next end::notification_state,
            message_id = coalesce(n.message_id, r.message_id),
            due_at = case when n.message_id is null and r.next = 'pending' then least(n.expires_at, k.now + r.delay_ms * interval '1 ms') end,
            tries = n.tries + r.counts::int,
            reason = case when n.message_id is null and r.next = 'failed' then r.reason end,
            lease_until = null,
            doubt_since = case when n.message_id is null and r.next = 'in_doubt' then k.now end,
            accepted_at = case when n.message_id is not null or r.next = 'accepted' then coalesce(n.accepted_at, k.now) end,
            ended_at = case when n.message_id is null and r.next = 'failed' then k.now end,
            -- Never out of doubt: every other attempt is proven not to have reached anybody.
            fallback = case when r.impossible and n.message_id is null and n.sms is not null and n.fallback is null
              and not exists (select from attempts a where a.notification_id = r.id and a.number <> r.number
                and a.receipt is distinct from 'failed' and coalesce(a.outcome, 'unclear') in ('unclear', 'accepted'))
              then uuid_v7(k.now) else n.fallback end,
            statuses = n.statuses + (n.message_id is not null or r.next <> 'pending')::int
          from result r, clock k
          where n.id = r.id and n.attempt = r.number
            -- Written so that no partial index answers to it: the row is found by its key, also when the plan was made on empty tables.
            and case n.state when 'sending' then true when 'in_doubt' then r.next <> 'in_doubt' else false end
          returning n.id, n.contact_id, n.sender, n.state, n.statuses, n.reason, n.due_at, n.attempt, r.lane, r.reason as why, k.now,
            r.impossible and n.fallback is not null as follows
        ), lane as (
          update lanes l set
            in_flight = null,
            backoff_until = case when m.lane then m.due_at else l.backoff_until end,
            backoffs = case when m.lane then least(l.backoffs + 1, 99) when m.state = 'accepted' then 0 else l.backoffs end,
            head = case when m.lane then m.id else l.head end,
            waiting = l.waiting or m.lane,
            -- The provider says that the person's window is closed, whatever we thought.
            window_until = case when m.why = 'window_closed' then least(l.window_until, m.now) else l.window_until end
          from moved m
          where l.contact_id = m.contact_id and l.sender = m.sender and l.in_flight = m.id
          returning l.contact_id, l.sender, l.waiting or l.blocked as wake
        ), tried as (
          update attempts a set outcome = r.outcome, ended_at = k.now, reason = r.reason, code = r.code, detail = r.detail,
            message_id = coalesce(r.message_id, a.message_id)
          from result r, clock k
          where a.notification_id = r.id and a.number = r.number and a.outcome is distinct from 'accepted'
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason, at)
          select id, statuses, state::text, coalesce(reason, case when state = 'in_doubt' then why end), now from moved where state <> 'pending'
        )
        select id, attempt, null::int8 as contact_id, null::int2 as sender from moved
        union all
        select null, null, contact_id, sender from lane where wake
        union all
        select null, null, f.contact_id, f.sender from unnest((select array_agg(id) from moved where follows)) o(id), follow_by_sms(o.id) f
        "#,
        &settlements.iter().map(|s| s.attempt.notification).collect::<Vec<_>>() as _,
        &settlements.iter().map(|s| s.attempt.number).collect::<Vec<_>>() as _,
        &settlements.iter().map(|s| s.outcome).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.state).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| millis(c.delay)).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.counts).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.lane).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.failure.map(|f| f.reason.as_str())).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.failure.and_then(|f| f.code)).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.failure.and_then(|f| f.detail.as_deref())).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.message_id).collect::<Vec<_>>() as _,
        &columns.iter().map(|c| c.impossible).collect::<Vec<_>>() as _,
    )
    .fetch_all(pool)
    .await?;

    let mut settled = Settled::default();
    let mut moved = HashSet::new();
    for row in rows {
        match (row.id, row.attempt, row.contact_id, row.sender) {
            (Some(notification), Some(number), ..) => {
                moved.insert(AttemptId { notification, number });
            }
            (_, _, Some(contact), Some(sender)) => settled.wake.push((contact, sender)),
            _ => {}
        }
    }
    settled.overtaken = settlements.iter().map(|s| s.attempt).filter(|attempt| !moved.contains(attempt)).collect();
    Ok(settled)
}

/// Attempts whose lease ran out without an answer, at most `limit`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn lapsed(pool: &PgPool, limit: i64) -> Result<Vec<AttemptId>, Error> {
    let rows = sqlx::query!(
        r#"
        -- upkeep: lapsed leases
        select id, attempt from notifications
        where state = 'sending' and lease_until < recado_now()
        order by lease_until limit $1
        "#,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| AttemptId { notification: row.id, number: row.attempt }).collect())
}

/// Tells a notification what an attempt came to whose lease was lost: an acceptance is evidence, whatever came after. If
/// another attempt was made meanwhile, the person may have got the message twice, and the notification says so.
///
/// # Errors
/// If the database does not take it.
pub async fn adopt_late(pool: &PgPool, settlements: &[Settlement], late: &[AttemptId]) -> Result<(), Error> {
    for settlement in settlements.iter().filter(|s| late.contains(&s.attempt)) {
        if let Next::Accepted(acceptance) = &settlement.next {
            adopt(pool, settlement.attempt, &acceptance.message_id).await?;
        }
    }
    Ok(())
}

/// Takes the provider's word that it has this attempt's message: the notification is accepted if it had not ended, and its
/// next try, if one was planned, does not happen. Says whether anything changed.
///
/// # Errors
/// If the database does not take it.
pub async fn adopt(pool: &PgPool, attempt: AttemptId, message_id: &str) -> Result<bool, Error> {
    let changed = sqlx::query!(
        r#"
        -- settle: adopt evidence
        with known as (
          update attempts set message_id = $3, outcome = 'accepted', ended_at = coalesce(ended_at, recado_now())
          where notification_id = $1 and number = $2 and outcome is distinct from 'accepted'
        ), before as materialized (
          select id, state, attempt, message_id from notifications
          where id = $1 and attempt >= $2
            -- What the provider said of it later counts more than its answer.
            and not exists (select from attempts a where a.notification_id = $1 and a.number = $2 and a.receipt = 'failed')
            and (state in ('sending', 'in_doubt', 'pending') or state = 'failed' and reason = 'unknown' or state = 'accepted' and attempt > $2)
          for no key update
        ), moved as (
          update notifications n set
            -- What is on the wire stays there: its own answer will find the message id and end it.
            state = case when b.state = 'sending' then b.state else 'accepted' end,
            message_id = coalesce(b.message_id, $3),
            duplicate = n.duplicate or b.attempt > $2 and (b.state in ('sending', 'accepted') or b.message_id is not null),
            due_at = null, waiting_on = null, doubt_since = null, reason = null, ended_at = null,
            accepted_at = coalesce(n.accepted_at, recado_now()),
            statuses = n.statuses + (b.state not in ('sending', 'accepted'))::int
          from before b where n.id = b.id
          returning n.id, n.statuses, n.duplicate, b.state as was
        ), noted as (
          insert into timeline (notification_id, what, detail)
          select id, case when duplicate then 'duplicate_confirmed' else 'settled_by_evidence' end, 'attempt ' || $2::int2 from moved
        ), told as (
          insert into outbox (notification_id, sequence, kind)
          select id, statuses, 'accepted' from moved where was not in ('sending', 'accepted')
        )
        select count(*) as "n!" from moved
        "#,
        attempt.notification,
        attempt.number,
        message_id,
    )
    .fetch_one(pool)
    .await?;
    Ok(changed.n > 0)
}
