//! The claim (T2): picks due notifications, decides each from rows that it locked, and takes those that go.
//!
//! Longer than other files only by its one statement, which is to be read as a whole.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time, time};
use crate::domain::{notification::AttemptId, rates::Category};

/// What a claim may take, and by which rules.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    pub sender: i16,
    /// At most so many go: free slots that hold a rate token.
    pub permits: i64,
    /// At most so many are looked at.
    pub scan: i64,
    /// Nothing due before these is waiting, urgent and normal: dead index entries need not be read again.
    pub due_from: [Timestamp; 2],
    pub lease: Duration,
    pub pace: Pace,
    /// Only these numbers may be written to, if set.
    pub only_to: Option<&'a [String]>,
    /// The day's unique recipients are used up: only people already counted go.
    pub day_full: bool,
    /// The sender's budget is used up until then: only what is urgent goes.
    pub budget_spent: Option<Timestamp>,
    /// Templates go out by the provider's own id of their content: one that has none waits.
    pub content_ids: bool,
}

/// The recipient's pace: one message an `interval`, and `burst` (from 1) at once if they are paid back.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub interval: Duration,
    pub burst: u32,
}

impl Pace {
    /// How far ahead of the pace a message may still go, in milliseconds.
    #[must_use]
    pub fn tolerance_ms(&self) -> i64 {
        millis(self.interval) * i64::from(self.burst.saturating_sub(1))
    }
}

/// A notification that is ours to send until its lease runs out. Given back by value when it is settled.
#[derive(Debug)]
pub struct Claim {
    pub attempt: AttemptId,
    pub contact_id: i64,
    /// E.164, as it was recorded.
    pub phone: String,
    pub template: String,
    pub language: String,
    /// The template's, as the provider told it last; of a free text, what those are.
    pub category: Category,
    pub expires_at: Timestamp,
    pub content: Frozen,
    pub tries: u16,
    pub backoffs: u16,
    pub resend: bool,
}

/// What is to be sent, as it was written down when it was planned.
#[derive(Debug)]
pub enum Frozen {
    Template {
        /// The provider's own id of the template's content, where it has one.
        content_id: Option<String>,
        /// The filled-in values, JSON.
        filled: String,
    },
    /// The whole message as a free text.
    Text(String),
}

/// What one claim did.
#[derive(Debug, Default)]
pub struct Claimed {
    pub go: Vec<Claim>,
    /// Rows that ended or were put to wait.
    pub put_aside: usize,
    /// Rows that could have gone if there had been more permits.
    pub left: usize,
    /// Due rows that were looked at, those included that somebody else held.
    pub seen: usize,
    /// Contacts whose lane must be woken, because what it waited for will not come.
    pub wake: Vec<i64>,
    /// The earliest time at which each class had something due, if any was seen.
    pub first_due: [Option<Timestamp>; 2],
}

/// Claims what may go now.
///
/// # Errors
/// If the database cannot be asked. What it did then is unknown: what went is in doubt when its lease runs out.
#[expect(clippy::too_many_lines, reason = "one statement decides everything, so that it can be read as a whole")]
pub async fn claim(pool: &PgPool, terms: &Terms<'_>) -> Result<Claimed, Error> {
    let rows = sqlx::query!(
        r#"
        -- dispatch: claim
        with clock as materialized (
          select recado_now() as now
        ), stopped as materialized (
          select exists (select from holds h where h.released_at is null and (h.until is null or h.until > (select now from clock))
            and (h.scope = 'everything' or h.scope = 'sender' and h.sender = $1)) as yes
        ), urgent as materialized (
          select n.id, n.class, n.due_at, n.contact_id, n.purpose, n.template, n.language, n.subject, n.journey, n.journey_key,
            n.stage, n.event_time, n.expires_at, n.grace_until, n.consent_until, n.quiet, n.free_text is not null as has_text,
            n.filled is not null as has_values, n.fallback_of is not null as is_fallback
          from notifications n
          where n.sender = $1 and n.class = 0 and n.state = 'pending' and n.waiting_on is null
            and n.due_at >= $4 and n.due_at <= (select now from clock) and not (select yes from stopped)
          order by n.due_at, n.id limit $3
          for no key update skip locked
        ), normal as materialized (
          select n.id, n.class, n.due_at, n.contact_id, n.purpose, n.template, n.language, n.subject, n.journey, n.journey_key,
            n.stage, n.event_time, n.expires_at, n.grace_until, n.consent_until, n.quiet, n.free_text is not null as has_text,
            n.filled is not null as has_values, n.fallback_of is not null as is_fallback
          from notifications n
          where n.sender = $1 and n.class = 1 and n.state = 'pending' and n.waiting_on is null
            and n.due_at >= $5 and n.due_at <= (select now from clock) and not (select yes from stopped)
          order by n.due_at, n.id limit greatest(0, $3 - (select count(*) from urgent))
          for no key update skip locked
        ), due as materialized (
          -- A union of its own: when a row that is locked below has changed meanwhile, Postgres joins it once more, and inside a
          -- union it forgets which of a person's due rows it was at.
          select * from urgent union all select * from normal
        ), seen as materialized (
          -- Both rows are locked before they are read: a revocation, a settled attempt or a newly waiting row that commits
          -- meanwhile is seen. Whoever holds a lock now is passed over and looked at again next time.
          -- Who refused everything has refused also what nobody has asked for since.
          select d.*, c.phone, coalesce(c.consents -> d.purpose, c.consents -> '*') ->> 'state' as consent,
            (c.consents -> d.purpose ->> 'entry')::int as entry, (c.consents -> d.purpose ->> 'until')::timestamptz as asked_until,
            l.pace_tat, l.in_flight, l.head, l.waiting, l.blocked, l.backoff_until, l.backoffs, l.sent_at, l.window_until
          from due d
          join contacts c on c.id = d.contact_id
          join lanes l on l.contact_id = d.contact_id and l.sender = $1
          for no key update of c, l skip locked
        ), judged as materialized (
          select s.*, k.now, t.category,
            case
              when s.expires_at <= k.now then 'expired'
              when j.by is not null then 'superseded'
              when not (s.phone = any ($9::text[])) then 'not_in_only_to'
              when s.consent = 'revoked' then 'consent_revoked'
              when s.consent = 'pending' and least(s.consent_until, s.asked_until) <= k.now then 'not_confirmed'
              when s.consent is null and s.grace_until <= k.now then 'no_consent'
              when not (s.has_values or x.stands_in or x.stopped) then 'not_kept'
            end as why,
            j.by as superseded_by, t.content_sid,
            x.stands_in as as_text,
            case
              when s.consent is distinct from 'granted' then 'consent'
              when x.stopped and not x.stands_in then 'template'
              when s.quiet @> k.now then 'quiet'
              when $12::timestamptz is not null and s.class > 0 then 'budget'
              when $10 and s.sent_at < k.now - interval '24 h' and s.window_until < k.now then 'day_limit'
              when s.subject is not null and exists (select from notifications e where e.contact_id = s.contact_id
                and e.subject = s.subject and e.id < s.id and e.state = 'pending') then 'subject'
            end as stop,
            least(s.expires_at, greatest(t.until, h.until)) as template_until,
            greatest(s.pace_tat - $8 * interval '1 ms', s.backoff_until) as free_at
          from seen s cross join clock k
          -- One row by its whole key: a join would read all of the sender's.
          left join lateral (
            select t.status, t.until, t.category, t.content_sid from template_states t
            where t.sender = $1 and t.template = s.template and t.language = s.language limit 1
          ) t on true
          left join lateral (
            select true as held, max(coalesce(h.until, 'infinity')) as until,
              -- What the provider stopped for the template's sake, or differs there, stops no free text; what somebody here stopped does,
              -- and so does what the provider takes for a breach of its policy.
              bool_or(h.placed_by <> 'provider' and h.reason <> 'template_drifted' or h.reason = 'template_against_policy') as firmly
            from holds h
            where h.released_at is null and (h.until is null or h.until > k.now) and h.scope = 'template' and h.sender = $1
              and h.template = s.template and (h.language is null or h.language = s.language)
            having count(*) > 0
          ) h on true
          cross join lateral (
            select s.is_fallback or t.status is distinct from 'approved' or t.until > k.now or h.held
              or $11 and t.content_sid is null as stopped
          ) y
          cross join lateral (
            -- Some minutes before the window closes by our clock it may have closed by the provider's.
            select coalesce(y.stopped and s.has_text and (s.is_fallback or s.window_until > k.now + interval '5 min')
              and h.firmly is not true, false) as stands_in, coalesce(y.stopped, false) as stopped
          ) x
          left join lateral (
            select i.source || ' ' || i.id as by from inbox i
            where s.journey_key is not null and i.journey_key = s.journey_key and i.journey = s.journey
              and i.stage > s.stage and i.time >= s.event_time
            order by i.stage desc limit 1
          ) j on true
        ), placed as materialized (
          select g.*, why is null and stop is null as candidate,
            why is null and stop is null and in_flight is null and (not waiting or head = id or class = 0)
              and row_number() over lane = 1 as turn
          from judged g
          window lane as (partition by contact_id, why is null and stop is null order by class, head is distinct from id, due_at, id)
        ), ranked as materialized (
          select p.*, turn and free_at <= now as ready,
            row_number() over (partition by turn and free_at <= now order by class, due_at, id) as place
          from placed p
        ), fated as materialized (
          select r.*, case
              when why is not null then 'end'
              when stop is not null then 'wait'
              when ready and place <= $2 then 'go'
              when bool_or(ready and place > $2) over (partition by contact_id) then 'later'
              when turn then 'turn'
              else 'queue'
            end as fate
          from ranked r
        ), lane as (
          update lanes l set
            pace_tat = case when f.go is not null then greatest(l.pace_tat, f.now) + $7 * interval '1 ms' else l.pace_tat end,
            sent_at = case when f.go is not null then f.now else l.sent_at end,
            in_flight = coalesce(f.go, l.in_flight),
            head = coalesce(f.turn, case when f.spent then null else l.head end),
            waiting = l.waiting or f.queue or f.turn is not null,
            blocked = l.blocked or f.subject
          from (
            select contact_id, now, (array_agg(id) filter (where fate = 'go'))[1] as go,
              (array_agg(id) filter (where fate = 'turn'))[1] as turn, bool_or(fate = 'queue') as queue,
              bool_or(fate = 'wait' and stop = 'subject') as subject, bool_or(id = head and fate <> 'later') as spent
            from fated where fate <> 'later' group by contact_id, now
          ) f
          where l.contact_id = f.contact_id and l.sender = $1
            and (f.go is not null or f.turn is not null or f.queue or f.subject or f.spent)
        ), moved as (
          update notifications n set
            state = case f.fate when 'go' then 'sending' when 'end' then 'suppressed' else 'pending' end::notification_state,
            attempt = n.attempt + (f.fate = 'go')::int,
            consent_entry = case when f.fate = 'go' then f.entry else n.consent_entry end,
            as_text = case when f.fate = 'go' then f.as_text else n.as_text end,
            lease_until = case when f.fate = 'go' then f.now + $6 * interval '1 ms' end,
            reason = case when f.fate = 'end' then f.why end,
            superseded_by = f.superseded_by,
            ended_at = case when f.fate = 'end' then f.now end,
            statuses = n.statuses + (f.fate = 'end')::int,
            waiting_on = case f.fate when 'wait' then f.stop when 'queue' then 'lane' end::wait,
            due_at = case f.fate
              when 'turn' then least(n.expires_at, f.free_at)
              when 'queue' then n.expires_at
              when 'wait' then least(n.expires_at, case f.stop
                when 'consent' then case when f.consent is null then n.grace_until else least(n.consent_until, f.asked_until) end
                when 'template' then f.template_until
                when 'quiet' then (select upper(r) from unnest(f.quiet) r where r @> f.now)
                when 'day_limit' then f.now + interval '15 min'
                when 'budget' then $12
              end)
            end
          from fated f
          where n.id = f.id and f.fate <> 'later'
          returning n.id, n.sender, n.attempt, n.tries, n.resends, n.statuses, n.as_text, case when f.fate = 'go' and not f.as_text then n.filled end as filled,
            case when f.fate = 'go' and f.as_text then n.free_text end as free_text, f.fate, f.why, f.stop, f.contact_id, f.phone, f.template,
            f.language, f.content_sid, f.category, f.entry, f.now, f.class, f.due_at, f.expires_at, f.waiting, f.blocked, f.backoffs
        ), tried as (
          insert into attempts (notification_id, number, sender, claimed_at, resend, consent_entry, as_text)
          select id, attempt, sender, now, resends > 0, entry, as_text from moved where fate = 'go'
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason, at, sender)
          select id, statuses, 'suppressed', why, now, sender from moved where fate = 'end'
        ), noted as (
          -- While a day's people are used up, everybody who waits is looked at again and again: once is enough to say so.
          insert into timeline (notification_id, at, what, detail)
          select id, now, 'waits', coalesce(stop, 'lane') from moved m where fate in ('queue', 'turn') or fate = 'wait' and not (stop = 'day_limit'
            and exists (select from timeline t where t.notification_id = m.id and t.what = 'waits' and t.detail = stop))
        )
        select m.id as "id!", m.fate as "fate!", m.attempt as "attempt!", m.contact_id as "contact_id!", m.phone as "phone!",
          m.template as "template!", m.language as "language!", m.content_sid, m.expires_at as "expires_at!: Time", m.filled::text, m.free_text,
          m.tries as "tries!", m.backoffs as "backoffs!", m.resends > 0 as "resend!", m.class as "class!",
          m.due_at as "due_at!: Time", m.fate in ('end', 'wait') and (m.waiting or m.blocked) as "wake!",
          m.category
        from moved m
        union all
        select f.id, f.fate, 0::int2, f.contact_id, '', '', '', null, f.expires_at, null, null, 0::int2, 0::int2, false, f.class, f.due_at, false, null
        from fated f where f.fate = 'later'
        union all
        -- Where the due rows begin and how many they are, those passed over included.
        select '00000000-0000-0000-0000-000000000000', 'first', count(*)::int2, 0, '', '', '', null, min(d.expires_at), null, null, 0::int2, 0::int2, false, d.class, min(d.due_at), false, null
        from due d group by d.class
        "#,
        terms.sender,
        terms.permits,
        terms.scan,
        time(terms.due_from[0]) as _,
        time(terms.due_from[1]) as _,
        millis(terms.lease) as _,
        millis(terms.pace.interval) as _,
        terms.pace.tolerance_ms() as _,
        terms.only_to as _,
        terms.day_full,
        terms.content_ids,
        terms.budget_spent.map(time) as _,
    )
    .fetch_all(pool)
    .await?;

    let mut claimed = Claimed::default();
    for row in rows {
        if row.wake {
            claimed.wake.push(row.contact_id);
        }
        let template = |filled| Frozen::Template { content_id: row.content_sid, filled };
        let content = row.free_text.map(Frozen::Text).or(row.filled.map(template));
        match (row.fate.as_str(), content) {
            ("go", Some(content)) => claimed.go.push(Claim {
                attempt: AttemptId { notification: row.id, number: row.attempt },
                contact_id: row.contact_id,
                phone: row.phone,
                template: row.template,
                language: row.language,
                category: match &content {
                    Frozen::Text(_) => Category::Service,
                    // Orders and shipments, if nobody said otherwise.
                    Frozen::Template { .. } => {
                        row.category.as_deref().and_then(Category::named).unwrap_or(Category::Utility)
                    }
                },
                expires_at: row.expires_at.to_jiff(),
                content,
                tries: row.tries.unsigned_abs(),
                backoffs: row.backoffs.unsigned_abs(),
                resend: row.resend,
            }),
            ("go", None) => return Err(inconsistent("filled", row.id)),
            ("later", _) => claimed.left += 1,
            ("first", _) => {
                if let Some(first) = usize::try_from(row.class).ok().and_then(|class| claimed.first_due.get_mut(class))
                {
                    *first = Some(row.due_at.to_jiff());
                }
                claimed.seen += usize::from(row.attempt.unsigned_abs());
            }
            _ => claimed.put_aside += 1,
        }
    }
    Ok(claimed)
}

fn inconsistent(column: &'static str, id: Uuid) -> Error {
    Error::Inconsistent { table: "notifications", column, row: id.to_string() }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
