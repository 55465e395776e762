//! Receipts (T4): what became of messages, applied in any order, as often as it is told, also before the send's own answer.
//!
//! Sent, delivered and read go through one statement for a batch. A failure was decided by `domain::notification::after`; here
//! that is obeyed, if it still concerns the message on which the notification stands. What matches nothing is kept and looked
//! for again.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgPool;

use super::{Error, Time, dispatch::millis, time};
use crate::domain::{
    cost::Bill,
    money::Currency,
    notification::{AttemptId, Behind, Failure, Next},
    rates::Category,
};

/// A good receipt.
#[derive(Debug, Clone)]
pub struct Good {
    pub message_id: String,
    pub tag: Option<AttemptId>,
    /// `sent`, `delivered` or `read`.
    pub kind: &'static str,
    pub at: Timestamp,
    pub wa_id: Option<String>,
    pub user_id: Option<String>,
    pub pricing: Option<Value>,
    /// What `pricing` means, if it means anything.
    pub bill: Option<Bill>,
}

/// What a batch of good receipts came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// For each receipt whether its attempt was found.
    pub matched: Vec<bool>,
    /// Lanes (contact, sender) in which somebody may have waited for one of these.
    pub wake: Vec<(i64, i16)>,
}

/// Applies good receipts, best some hundreds at once. Those that were applied before change nothing.
///
/// # Errors
/// If the database does not take them; nothing is changed then.
#[expect(clippy::too_many_lines, reason = "one statement, to be read as a whole")]
pub async fn apply(pool: &PgPool, receipts: &[Good]) -> Result<Applied, Error> {
    if receipts.is_empty() {
        return Ok(Applied::default());
    }
    let rows = sqlx::query!(
        r#"
        -- receipts: apply
        with told as materialized (
          select * from unnest($1::text[], $2::uuid[], $3::int2[], $4::text[], $5::timestamptz[], $6::jsonb[],
                               $7::bool[], $8::int8[], $9::text[], $10::text[])
            with ordinality as t(message_id, notification_id, number, kind, at, pricing, billed, amount, currency, category, n)
        ), matched as materialized (
          -- The echoed tag first: it was committed before the request, so even the earliest receipt finds it.
          select t.n, t.message_id, t.kind::receipt as kind, t.at, t.pricing, t.billed, t.amount, t.currency, t.category,
            coalesce(a.notification_id, m.notification_id) as id, coalesce(a.number, m.number) as number
          from told t
          left join attempts a on a.notification_id = t.notification_id and a.number = t.number
          left join lateral (
            select x.notification_id, x.number from notifications n
            join attempts x on x.notification_id = n.id and x.message_id = n.message_id
            where a.notification_id is null and n.message_id = t.message_id
            order by x.number desc limit 1
          ) m on true
          where a.notification_id is not null or m.notification_id is not null
        ), held as materialized (
          -- Locked before they are read: what a settle or another receipt commits meanwhile is seen.
          select n.id, n.state, n.attempt, n.message_id, n.receipt, n.reason, n.contact_id, n.sender, n.duplicate,
            a.number, a.receipt as heard, a.claimed_at, m.told, m.n, n.template, a.outcome, a.country, a.category, a.currency, a.predicted,
            a.actual, a.counted_in
          from (select id, number, min(message_id) as told, min(n) as n from matched group by id, number) m
          join notifications n on n.id = m.id
          join attempts a on a.notification_id = m.id and a.number = m.number
          order by n.id, a.number
          for no key update of n, a
        ), fresh as (
          insert into receipts (notification_id, number, kind, at, pricing)
          select distinct on (id, number, kind) id, number, kind::text, at, pricing
          from matched
          -- Always true; it says that the locks come first, so that two batches cannot wait for each other.
          where (select count(*) from held) > 0
          order by id, number, kind, at
          on conflict do nothing
          returning notification_id as id, number, kind::receipt as kind, at
        ), attempt as materialized (
          select h.*, f.best, f.at,
            -- That it was sent says nothing after it failed; that somebody has it does.
            greatest(h.heard, f.best) <> 'failed' as went
          from held h
          join (select id, number, max(kind) as best, (array_agg(at order by kind desc))[1] as at from fresh group by id, number) f
            on f.id = h.id and f.number = h.number
        ), cost as materialized (
          -- What was billed is taken once a message, from whichever receipt brings it first; and again if it had failed. It counts from
          -- when the attempt is settled: a receipt that is earlier than that leaves it on the attempt.
          select h.id, h.number, h.sender, (h.claimed_at at time zone 'UTC')::date as day, h.template, coalesce(h.country, '') as country,
            coalesce(h.category, '') as category, coalesce(h.currency, b.currency) as currency, h.predicted, h.actual as was, b.amount as becomes,
            h.outcome is not null and h.counted_in is null as first, h.outcome is not null as counts
          from held h
          left join lateral (
            select coalesce(m.amount, case when m.category = h.category then h.predicted end) as amount, m.currency
            from matched m
            where m.id = h.id and m.number = h.number and m.billed and (h.actual is null or h.heard = 'failed')
              and (m.currency is null or m.currency = h.currency or h.currency is null and h.outcome is null)
            order by m.n limit 1
          ) b on true
        ), reported as (
          update attempts a set receipt = greatest(a.receipt, t.best), message_id = coalesce(a.message_id, t.told),
            receipt_at = case when a.receipt is null or t.best > a.receipt then t.at else a.receipt_at end,
            actual = coalesce(c.becomes, a.actual), currency = case when c.becomes is not null then c.currency else a.currency end,
            counted_in = case when c.first then pg_current_xact_id() else a.counted_in end
          from cost c left join attempt t on t.id = c.id and t.number = c.number
          where a.notification_id = c.id and a.number = c.number and (t.id is not null or c.becomes is not null or c.first)
        ), costs as (
          insert into cost_changes (day, sender, template, country, category, currency, messages, unpriced, predicted, known, known_predicted,
            actual)
          select day, sender, template, country, category, coalesce(currency, ''), count(*) filter (where first),
            count(*) filter (where first and predicted is null), coalesce(sum(predicted) filter (where first), 0),
            sum(known), coalesce(sum(predicted * known), 0), coalesce(sum(coalesce(becomes, was) - case when first then 0 else coalesce(was, 0) end), 0)
          from (
            select *, (coalesce(becomes, was) is not null)::int - (not first and was is not null)::int as known from cost
            where counts and (first or becomes is not null)
          ) c
          group by 1, 2, 3, 4, 5, 6
        ), change as materialized (
          select id, state, attempt, sender, contact_id, duplicate as was_duplicate, max(best) filter (where went) as best,
            (array_agg(told order by number) filter (where went))[1] as told, max(number) filter (where went) as number,
            state not in ('sending', 'accepted') as settles,
            receipt is null or max(best) filter (where went) > receipt as better,
            -- Another message of this notification went too, or may have gone.
            bool_or(went and message_id <> told) or count(distinct told) filter (where went) > 1
              or bool_or(went and number < attempt and (state in ('sending', 'in_doubt') or state = 'failed' and reason = 'unknown')) as twice
          from attempt
          group by id, state, attempt, sender, contact_id, duplicate, receipt, reason, message_id
          having bool_or(went)
        ), moved as (
          update notifications n set
            -- What is on the wire stays there: its own answer will find the message id and end it.
            state = case when c.settles then 'accepted' else n.state end,
            message_id = coalesce(n.message_id, c.told),
            receipt = greatest(n.receipt, c.best),
            duplicate = n.duplicate or coalesce(c.twice, false),
            due_at = null, waiting_on = null, doubt_since = null, reason = null, ended_at = null,
            superseded_by = case when c.settles then null else n.superseded_by end,
            accepted_at = case when c.settles then coalesce(n.accepted_at, recado_now()) else n.accepted_at end,
            statuses = n.statuses + c.settles::int + (c.better and c.best > 'failed')::int
          from change c
          where n.id = c.id and (c.settles or c.better or n.message_id is null or c.twice and not n.duplicate)
          returning n.id, n.statuses, c.state as was, c.settles, c.better and c.best > 'failed' as tells, c.best, c.number, n.contact_id, n.sender,
            n.duplicate and not c.was_duplicate as doubled, c.settles and n.fallback is not null as followed
        ), noted as (
          insert into timeline (notification_id, at, what, detail)
          select m.id, recado_now(), w.what, 'attempt ' || m.number from moved m
          cross join lateral (values ('settled_by_evidence', m.settles), ('duplicate_confirmed', m.doubled)) as w(what, so) where w.so
        ), published as (
          insert into outbox (notification_id, sequence, kind, sender)
          select m.id, m.statuses - w.before, w.kind, m.sender from moved m
          cross join lateral (values (m.tells::int, 'accepted', m.settles), (0, m.best::text, m.tells)) as w(before, kind, so)
          where w.so order by m.id, w.before desc
        ), listened as (
          update senders s
          set heard = (select array_agg(h.at order by h.at desc) from (
            select u.at from unnest(s.heard || f.claimed) as u(at) order by u.at desc limit 3) h)
          from (select sender, array_agg(claimed_at) as claimed, max(claimed_at) as latest from attempt where heard is null group by sender) f
          where s.id = f.sender and (coalesce(array_length(s.heard, 1), 0) < 3 or f.latest > s.heard[3])
        )
        select n as "n?", null::int8 as contact_id, null::int2 as sender, false as "wake!" from matched
        union all
        select n, contact_id, sender, false from attempt where heard is null
        union all
        select null, contact_id, sender, true from moved where was = 'pending'
        union all
        -- Only when all of them have moved: the SMS may be one of them.
        select null, w.contact_id, w.sender, true from unnest((select array_agg(id) from moved where followed)) o(id), withdraw_sms(o.id) w
        "#,
        &receipts.iter().map(|r| r.message_id.as_str()).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| r.tag.map(|tag| tag.notification)).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| r.tag.map(|tag| tag.number)).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| r.kind).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| time(r.at)).collect::<Vec<Time>>() as _,
        &receipts.iter().map(|r| r.pricing.clone()).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| r.bill.is_some()).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| r.bill.and_then(|bill| bill.micros)).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| r.bill.as_ref()?.currency.as_ref().map(Currency::as_str)).collect::<Vec<_>>() as _,
        &receipts.iter().map(|r| r.bill?.category.map(Category::as_str)).collect::<Vec<_>>() as _,
    )
    .fetch_all(pool)
    .await?;

    let mut applied = Applied { matched: vec![false; receipts.len()], wake: Vec::new() };
    let mut people = Vec::new();
    for row in rows {
        let place = row.n.and_then(|n| usize::try_from(n - 1).ok());
        if let Some((matched, receipt)) = place.and_then(|i| applied.matched.get_mut(i).zip(receipts.get(i))) {
            *matched = true;
            people.extend(row.contact_id.map(|contact| (contact, receipt)));
        } else if let (true, Some(contact), Some(sender)) = (row.wake, row.contact_id, row.sender) {
            applied.wake.push((contact, sender));
        }
    }
    learn(pool, &people).await?;
    Ok(applied)
}

/// Remembers the ids by which the provider knows people, where they say more than the number that we wrote to.
async fn learn(pool: &PgPool, people: &[(i64, &Good)]) -> Result<(), Error> {
    let mut people: Vec<_> = people
        .iter()
        .map(|(contact, receipt)| (*contact, receipt.wa_id.as_deref(), receipt.user_id.as_deref()))
        .filter(|(_, wa_id, user_id)| wa_id.is_some() || user_id.is_some())
        .collect();
    people.sort_unstable();
    people.dedup();
    if people.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        -- receipts: learn
        update contacts c set wa_id = coalesce(k.wa_id, c.wa_id), user_id = coalesce(k.user_id, c.user_id)
        from (
          select distinct on (c.id) c.id, nullif(p.wa_id, substr(c.phone, 2)) as wa_id, p.user_id
          from unnest($1::int8[], $2::text[], $3::text[]) as p(id, wa_id, user_id)
          join contacts c on c.id = p.id
          where p.user_id <> c.user_id or p.user_id is not null and c.user_id is null
            or p.wa_id <> coalesce(c.wa_id, substr(c.phone, 2))
          order by c.id
        ) k
        where c.id = k.id
        "#,
        &people.iter().map(|p| p.0).collect::<Vec<_>>() as _,
        &people.iter().map(|p| p.1).collect::<Vec<_>>() as _,
        &people.iter().map(|p| p.2).collect::<Vec<_>>() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A receipt that says that a message failed, and where it belongs.
#[derive(Debug, Clone)]
pub struct Bad<'a> {
    pub message_id: &'a str,
    pub at: Timestamp,
    pub failure: &'a Failure,
    pub pricing: Option<&'a Value>,
}

/// The attempt that a failure concerns.
#[derive(Debug, Clone)]
pub struct Concerned {
    pub attempt: AttemptId,
    /// Its answer is still on the way: nothing can follow before it is settled.
    pub sending: bool,
    pub behind: Behind,
    pub sender: i16,
    pub contact: i64,
    pub template: String,
    pub language: String,
}

/// Finds the attempt of a failed message.
///
/// # Errors
/// If the database cannot be asked.
pub async fn concerned(pool: &PgPool, message_id: &str, tag: Option<AttemptId>) -> Result<Option<Concerned>, Error> {
    let row = sqlx::query!(
        r#"
        -- receipts: whom a failure concerns
        select n.id as "id!", a.number as "number!", a.as_text as "as_text!", n.state = 'sending' as "sending!", n.tries as "tries!", n.attempt as "attempt!", n.sender as "sender!",
          n.contact_id as "contact_id!", n.template as "template!", n.language as "language!"
        from (
          select a.notification_id, a.number, a.as_text, 0 as place from attempts a where a.notification_id = $2 and a.number = $3
          union all
          select x.notification_id, x.number, x.as_text, 1 from notifications n
          join attempts x on x.notification_id = n.id and x.message_id = n.message_id
          where n.message_id = $1
        ) a
        join notifications n on n.id = a.notification_id
        order by a.place, a.number desc limit 1
        "#,
        message_id,
        tag.map(|tag| tag.notification),
        tag.map(|tag| tag.number),
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Concerned {
        attempt: AttemptId { notification: row.id, number: row.number },
        sending: row.sending,
        behind: Behind {
            tries: row.tries.unsigned_abs(),
            attempts: row.attempt.unsigned_abs().saturating_sub(1),
            backoffs: 0,
            as_text: row.as_text,
        },
        sender: row.sender,
        contact: row.contact_id,
        template: row.template,
        language: row.language,
    }))
}

/// What a failure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// What follows was done.
    Followed,
    /// It is written down; the notification does not stand on this message any more, or somebody has it.
    Noted,
    /// It had been told before.
    Repeated,
    /// The attempt is on the wire again or still.
    Sending,
}

/// Writes a failure down. `next` is done if the notification stands on this very message: `Pending` or `Failed`.
///
/// # Errors
/// If the database does not take it.
pub async fn fail(pool: &PgPool, attempt: AttemptId, bad: &Bad<'_>, next: &Next) -> Result<Undelivered, Error> {
    let (state, delay, counts) = match next {
        Next::Pending { delay, counts, .. } => ("pending", *delay, *counts),
        Next::Accepted(_) | Next::InDoubt(_) | Next::Failed(_) | Next::Impossible(_) => {
            ("failed", Duration::ZERO, false)
        }
    };
    let row = sqlx::query!(
        r#"
        -- receipts: fail
        with held as materialized (
          select n.id, n.state, n.attempt, n.message_id, n.sender, n.template, a.receipt, a.claimed_at, a.outcome, a.country, a.category,
            a.currency, a.predicted, a.actual, a.counted_in
          from notifications n join attempts a on a.notification_id = n.id and a.number = $2
          where n.id = $1
          for no key update of n, a
        ), fresh as (
          insert into receipts (notification_id, number, kind, at, code, reason, detail, pricing)
          select id, $2, 'failed', $4, $5, $6, $7, $8 from held where state <> 'sending'
          on conflict do nothing
          returning notification_id
        ), reported as (
          update attempts a set receipt = greatest(a.receipt, 'failed'), message_id = coalesce(a.message_id, $3),
            receipt_at = case when a.receipt is null or a.receipt < 'failed' then $4 else a.receipt_at end,
            -- What does not arrive is not billed.
            actual = case when a.receipt is null or a.receipt < 'failed' then 0 else a.actual end,
            counted_in = coalesce(a.counted_in, case when a.outcome is not null then pg_current_xact_id() end)
          from fresh f where a.notification_id = f.notification_id and a.number = $2
        ), costs as (
          insert into cost_changes (day, sender, template, country, category, currency, messages, unpriced, predicted, known, known_predicted,
            actual)
          select day, sender, template, country, category, currency, first::int, (first and predicted is null)::int,
            case when first then coalesce(predicted, 0) else 0 end, known, coalesce(predicted, 0) * known,
            coalesce(becomes, 0) - case when first then 0 else coalesce(was, 0) end
          from (
            select *, (becomes is not null)::int - (not first and was is not null)::int as known
            from (
              select (h.claimed_at at time zone 'UTC')::date as day, h.sender, h.template, coalesce(h.country, '') as country,
                coalesce(h.category, '') as category, coalesce(h.currency, '') as currency, h.predicted, h.actual as was,
                case when h.receipt is null or h.receipt < 'failed' then 0 else h.actual end as becomes, h.counted_in is null as first
              from held h join fresh f on f.notification_id = h.id
              where h.outcome is not null
            ) h
          ) h
          where first or becomes is distinct from was
        ), other as materialized (
          -- Another message of this notification may be good.
          select a.message_id, a.receipt from attempts a, fresh f
          where a.notification_id = f.notification_id and a.number <> $2 and a.message_id is not null and a.receipt is distinct from 'failed'
          order by a.number desc limit 1
        ), moved as (
          update notifications n set
            state = case when o.message_id is not null then 'accepted' else $9 end::notification_state,
            message_id = o.message_id,
            receipt = o.receipt,
            due_at = case when o.message_id is null and $9 = 'pending' then least(n.expires_at, recado_now() + $10::int8 * interval '1 ms') end,
            tries = n.tries + (o.message_id is null and $11)::int,
            reason = case when o.message_id is null and $9 = 'failed' then $6 end,
            doubt_since = null,
            accepted_at = case when o.message_id is not null then coalesce(n.accepted_at, recado_now()) when $9 = 'failed' then n.accepted_at end,
            ended_at = case when o.message_id is null and $9 = 'failed' then recado_now() end,
            -- Never out of doubt, as after an answer.
            fallback = case when $12 and o.message_id is null and n.sms is not null and n.fallback is null
              and not exists (select from attempts a where a.notification_id = n.id and a.number <> $2
                and a.receipt is distinct from 'failed' and coalesce(a.outcome, 'unclear') in ('unclear', 'accepted'))
              then uuid_v7(recado_now()) else n.fallback end,
            statuses = n.statuses + (o.message_id is null and $9 = 'failed')::int
          from fresh f join held h on h.id = f.notification_id left join other o on true
          where n.id = h.id and (h.receipt is null or h.receipt < 'failed')
            and (h.state = 'accepted' and h.message_id = $3 or h.state = 'in_doubt' and h.attempt = $2)
          returning n.id, n.state, n.statuses, n.contact_id, n.sender, $12 and n.fallback is not null as follows
        ), closed as (
          update lanes l set window_until = least(l.window_until, recado_now())
          from moved m where l.contact_id = m.contact_id and l.sender = m.sender and $6::text = 'window_closed'
        ), noted as (
          insert into timeline (notification_id, at, what, detail)
          select f.notification_id, recado_now(), 'undelivered', concat_ws(' ', 'attempt ' || $2::int2 || ':', $6::text, '(' || $5::int4 || ')') from fresh f
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason, sender)
          select id, statuses, 'failed', $6, sender from moved where state = 'failed'
        ), listened as (
          update senders s
          set heard = (select array_agg(u.at order by u.at desc) from (
            select x.at from unnest(s.heard || h.claimed_at) as x(at) order by x.at desc limit 3) u)
          from held h join fresh f on f.notification_id = h.id
          where s.id = h.sender and h.receipt is null and (coalesce(array_length(s.heard, 1), 0) < 3 or h.claimed_at > s.heard[3])
        )
        select exists (select from held where state = 'sending') as "sending!", exists (select from fresh) as "fresh!",
          exists (select from moved) as "moved!",
          (select count(*) from unnest((select array_agg(id) from moved where follows)) o(id), follow_by_sms(o.id)) as "follow!"
        "#,
        attempt.notification,
        attempt.number,
        bad.message_id,
        time(bad.at) as _,
        bad.failure.code.and_then(|code| i32::try_from(code).ok()),
        bad.failure.reason.as_str(),
        bad.failure.detail,
        bad.pricing,
        state,
        millis(delay),
        counts,
        matches!(next, Next::Impossible(_)),
    )
    .fetch_one(pool)
    .await?;
    Ok(match (row.sending, row.fresh, row.moved) {
        (true, ..) => Undelivered::Sending,
        (_, false, _) => Undelivered::Repeated,
        (_, _, true) => Undelivered::Followed,
        (_, _, false) => Undelivered::Noted,
    })
}

/// A receipt without an attempt, in whatever form the caller can read again.
#[derive(Debug, Clone, PartialEq)]
pub struct Stray {
    /// The name of the sender to whose address it came.
    pub sender: String,
    pub message_id: String,
    pub fact: Value,
}

/// Keeps receipts whose attempt is not known yet, or cannot take them yet. Each is kept once.
///
/// # Errors
/// If the database does not take them.
pub async fn keep(pool: &PgPool, strays: &[Stray]) -> Result<(), Error> {
    if strays.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        -- receipts: keep strays
        insert into stray_receipts (sender, message_id, fact)
        select * from unnest($1::text[], $2::text[], $3::jsonb[]) as s(sender, message_id, fact) order by message_id, fact
        on conflict do nothing
        "#,
        &strays.iter().map(|s| s.sender.as_str()).collect::<Vec<_>>() as _,
        &strays.iter().map(|s| s.message_id.as_str()).collect::<Vec<_>>() as _,
        &strays.iter().map(|s| s.fact.clone()).collect::<Vec<_>>() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Strays that are worth another look, at most `limit`, with their keys. Each is looked at again after a quarter of its age, at
/// least `soonest`; those older than `gone_after` are dropped.
///
/// # Errors
/// If the database cannot be asked.
pub async fn strays(
    pool: &PgPool,
    limit: i64,
    soonest: Duration,
    gone_after: Duration,
) -> Result<Vec<(i64, Stray)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- receipts: strays
        with due as materialized (
          select id, received_at from stray_receipts where due_at <= recado_now() order by due_at limit $1 for no key update skip locked
        ), gone as (
          delete from stray_receipts s using due d where s.id = d.id and d.received_at < recado_now() - $3 * interval '1 ms'
        )
        update stray_receipts s set due_at = recado_now() + greatest($2 * interval '1 ms', (recado_now() - s.received_at) / 4)
        from due d where s.id = d.id and d.received_at >= recado_now() - $3 * interval '1 ms'
        returning s.id, s.sender, s.message_id, s.fact
        "#,
        limit,
        millis(soonest) as _,
        millis(gone_after) as _,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, Stray { sender: row.sender, message_id: row.message_id, fact: row.fact }))
        .collect())
}

/// Forgets strays that found their attempt.
///
/// # Errors
/// If the database does not take it; they are applied once more then, which changes nothing.
pub async fn found(pool: &PgPool, ids: &[i64]) -> Result<(), Error> {
    if !ids.is_empty() {
        sqlx::query!("delete from stray_receipts where id = any ($1)", ids).execute(pool).await?;
    }
    Ok(())
}
