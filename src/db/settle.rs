//! The end of an attempt (T3): what follows is written in one statement, fenced by the attempt's number.
//!
//! What follows was decided by `domain::notification::after`; here it is only obeyed.

use std::{collections::HashSet, time::Duration};

use sqlx::PgPool;

use super::{Error, dispatch::millis};
use crate::domain::{
    cost::Charge,
    notification::{AttemptId, Failure, Next},
};

/// An attempt and what follows it.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub attempt: AttemptId,
    /// A stable name for the attempts log: accepted, rejected, not_sent, busy, unclear.
    pub outcome: &'static str,
    pub next: Next,
    pub charge: Charge,
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
                               $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::int8[], $17::bool[])
            as r(id, number, outcome, next, delay_ms, counts, lane, reason, code, detail, message_id, template, country, category, currency,
                 predicted, impossible)
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
            message_id = coalesce(r.message_id, a.message_id), country = coalesce(a.country, r.country),
            category = coalesce(a.category, r.category),
            -- A receipt that came before has brought what was billed, and in which currency. What is counted stays as it was.
            currency = case when a.counted_in is null then coalesce(a.currency, r.currency) else a.currency end,
            predicted = case when a.counted_in is null and coalesce(a.currency, r.currency) = r.currency then r.predicted else a.predicted end,
            counted_in = coalesce(a.counted_in, case when r.outcome = 'accepted' or a.receipt is not null then pg_current_xact_id() end)
          from result r, clock k
          -- That nothing is known undoes nothing that is.
          where a.notification_id = r.id and a.number = r.number and a.outcome is distinct from 'accepted'
            and (r.outcome <> 'unclear' or a.outcome is null)
          returning a.sender, (a.claimed_at at time zone 'UTC')::date as day, r.template, a.country, a.category, a.currency, a.predicted, a.actual,
            a.counted_in = pg_current_xact_id() as counts
        ), costs as (
          insert into cost_changes (day, sender, template, country, category, currency, messages, unpriced, predicted, known, known_predicted,
            actual)
          select day, sender, template, coalesce(country, ''), category, coalesce(currency, ''), count(*), count(*) filter (where predicted is null),
            coalesce(sum(predicted), 0), count(actual), coalesce(sum(predicted) filter (where actual is not null), 0), coalesce(sum(actual), 0)
          from tried where counts group by 1, 2, 3, 4, 5, 6
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason, at, sender)
          select id, statuses, state::text, coalesce(reason, case when state = 'in_doubt' then why end), now, sender from moved
          where state <> 'pending'
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
        &settlements.iter().map(|s| s.charge.template.as_str()).collect::<Vec<_>>() as _,
        &settlements.iter().map(|s| s.charge.country).collect::<Vec<_>>() as _,
        &settlements.iter().map(|s| s.charge.category.as_str()).collect::<Vec<_>>() as _,
        &settlements.iter().map(|s| s.charge.price.as_ref().map(|price| price.currency.as_str())).collect::<Vec<_>>() as _,
        &settlements.iter().map(|s| s.charge.price.map(|price| price.micros)).collect::<Vec<_>>() as _,
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

/// An attempt whose lease ran out without an answer, with what its price is found by.
#[derive(Debug, Clone)]
pub struct Lapsed {
    pub attempt: AttemptId,
    pub sender: i16,
    pub template: String,
    /// The template's, in the provider's spelling; none if it was never told.
    pub category: Option<String>,
    /// E.164.
    pub phone: Option<String>,
}

/// Attempts whose lease ran out without an answer, at most `limit`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn lapsed(pool: &PgPool, limit: i64) -> Result<Vec<Lapsed>, Error> {
    let rows = sqlx::query!(
        r#"
        -- upkeep: lapsed leases
        select n.id as "id!", n.attempt as "attempt!", n.sender as "sender!", n.template as "template!", t.category as "category?",
          c.phone as "phone?"
        from (
          select id, attempt, sender, template, language, contact_id from notifications
          where state = 'sending' and lease_until < recado_now()
          order by lease_until limit $1
        ) n
        left join template_states t on t.sender = n.sender and t.template = n.template and t.language = n.language
        left join contacts c on c.id = n.contact_id
        "#,
        limit
    )
    .fetch_all(pool)
    .await?;
    let lapsed = rows.into_iter().map(|row| Lapsed {
        attempt: AttemptId { notification: row.id, number: row.attempt },
        sender: row.sender,
        template: row.template,
        category: row.category,
        phone: row.phone,
    });
    Ok(lapsed.collect())
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
          update attempts set message_id = $3, outcome = 'accepted', ended_at = coalesce(ended_at, recado_now()),
            -- One that was never settled has no price, and is counted all the same.
            counted_in = coalesce(counted_in, pg_current_xact_id())
          where notification_id = $1 and number = $2 and outcome is distinct from 'accepted'
          returning sender, (claimed_at at time zone 'UTC')::date as day, coalesce(country, '') as country, coalesce(category, '') as category,
            coalesce(currency, '') as currency, predicted, actual, counted_in = pg_current_xact_id() as counts
        ), costs as (
          insert into cost_changes (day, sender, template, country, category, currency, messages, unpriced, predicted, known, known_predicted,
            actual)
          select k.day, k.sender, n.template, k.country, k.category, k.currency, 1, (k.predicted is null)::int, coalesce(k.predicted, 0),
            (k.actual is not null)::int, case when k.actual is not null then coalesce(k.predicted, 0) else 0 end, coalesce(k.actual, 0)
          from known k join notifications n on n.id = $1 where k.counts
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
          returning n.id, n.statuses, n.duplicate, b.state as was, n.sender
        ), noted as (
          insert into timeline (notification_id, what, detail)
          select id, case when duplicate then 'duplicate_confirmed' else 'settled_by_evidence' end, 'attempt ' || $2::int2 from moved
        ), told as (
          insert into outbox (notification_id, sequence, kind, sender)
          select id, statuses, 'accepted', sender from moved where was not in ('sending', 'accepted')
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
