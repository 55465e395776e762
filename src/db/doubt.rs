//! Notifications whose outcome is unknown, and what was decided of them.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time, dispatch::millis, time};
use crate::domain::{
    doubt::{Case, Door, Look},
    notification::AttemptId,
};

/// What the cases are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The last webhook known at an earlier look: whatever came until then must have been applied.
    pub mark: i64,
    /// So many later messages must have been heard of.
    pub later_attempts: i64,
    /// A process that takes webhooks in and was silent for this long has vanished.
    pub gone_after: Duration,
    /// The senders whose providers have a list of messages that can be asked.
    pub listed: &'a [i16],
    /// At most so many cases, those behind this one: there may be more than can be judged at once.
    pub limit: i64,
    pub after: Option<(Timestamp, Uuid)>,
}

/// The cases to be judged, oldest first, and the database's time.
///
/// # Errors
/// If the database cannot be asked.
pub async fn cases(pool: &PgPool, terms: Terms<'_>) -> Result<(Vec<(AttemptId, Case)>, Timestamp), Error> {
    let rows = sqlx::query!(
        r#"
        -- doubt: cases
        with door as materialized (
          select max(opened_at) as opened_at, count(*) as all_of_them, count(*) filter (where closed_at is null) as open,
            count(*) filter (where closed_at is null and seen_at < recado_now() - $3 * interval '1 ms') as vanished
          from doors
        )
        select n.id, n.attempt, n.doubt_since as "since!: Time", n.expires_at as "expires_at: Time", n.doubt, n.resends,
          a.claimed_at as "claimed_at: Time", n.sender, a.looked_at as "looked_at: Time", o.heard_at as "others_heard_at?: Time", recado_now() as "now!: Time",
          exists (select from webhooks w where w.applied_at is null and w.id <= $1) as "unread!",
          d.opened_at as "opened_at?: Time", d.all_of_them = 0 as "unknown!", d.open = 0 or d.vanished > 0 as "away!"
        from (
          -- First so many, then what is to be known of each.
          select id, attempt, doubt_since, expires_at, doubt, resends, sender from notifications
          where state = 'in_doubt' and ($5::timestamptz is null or (doubt_since, id) > ($5, $6))
          order by doubt_since, id limit $4
        ) n
        join attempts a on a.notification_id = n.id and a.number = n.attempt
        join senders s on s.id = n.sender
        cross join door d
        left join lateral (
          -- The messages that were planned and claimed after this one and were heard of first: among those that went first, since one that
          -- is sent again later is heard of later still. `heard` says whether it is worth looking, and is asked before: as a condition of
          -- the join it would be asked afterwards. Few are looked at if that is enough, and not more than many.
          select first.heard_at from (values (1000), (10000)) reach(n) cross join lateral (
            select max(heard_at) as heard_at from (
              select heard_at from (
                select (select min(r.received_at) from receipts r where r.notification_id = x.notification_id and r.number = x.number) as heard_at
                from (
                  select y.notification_id, y.number, y.sender, y.claimed_at, y.receipt from attempts y
                  where (select count(*) from unnest(s.heard) h(at) where h.at > a.claimed_at) >= least($2::int8, 3)
                    and y.notification_id >= uuid_v7_floor(a.claimed_at)
                  order by y.notification_id, y.number limit reach.n
                ) x
                where x.sender = n.sender and x.claimed_at > a.claimed_at and x.receipt is not null
                order by x.claimed_at limit 10 * $2::int8
              ) early
              order by heard_at limit $2
            ) taken
            having count(*) = $2
          ) first
          limit 1
        ) o on true
        order by n.doubt_since, n.id
        "#,
        terms.mark,
        terms.later_attempts,
        millis(terms.gone_after) as _,
        terms.limit,
        terms.after.map(|(since, _)| time(since)) as _,
        terms.after.map(|(_, id)| id)
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
            others_heard_at: row.others_heard_at.map(Time::to_jiff),
            door: match row.opened_at {
                _ if row.unknown => Door::Unknown,
                Some(since) if !row.away => Door::Open(since.to_jiff()),
                Some(_) | None => Door::Away,
            },
            look: match row.looked_at {
                _ if !terms.listed.contains(&row.sender) => Look::NoList,
                None => Look::NotYet,
                Some(at) => Look::InVain(at.to_jiff()),
            },
            unread: row.unread,
        };
        cases.push((AttemptId { notification: row.id, number: row.attempt }, case));
    }
    Ok((cases, now))
}

/// An attempt whose answer was lost, with what helps to find its message at the provider.
#[derive(Debug, Clone)]
pub struct Lost {
    pub attempt: AttemptId,
    pub sender: i16,
    /// E.164, to which it went.
    pub phone: String,
    pub template: String,
    pub language: String,
    /// The filled-in values, JSON, if it went as its template.
    pub filled: Option<String>,
    /// The words, if it went as a free text.
    pub free_text: Option<String>,
    pub claimed_at: Timestamp,
    pub since: Timestamp,
    /// Messages to this person at about that time that are known to be others.
    pub others: Vec<String>,
    /// Whether one more with the same words went to this person at about that time of which nothing is known either: one could be taken
    /// for the other.
    pub rivalled: bool,
}

/// The lost answers of these senders, at most `limit`, oldest first and behind the one that `after` names, and the database's time. `around`
/// is what about that time means.
///
/// # Errors
/// If the database cannot be asked.
pub async fn lost(
    pool: &PgPool,
    senders: &[i16],
    around: Duration,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<(Vec<Lost>, Timestamp), Error> {
    let rows = sqlx::query!(
        r#"
        -- doubt: lost answers
        select n.id, n.attempt, n.sender, n.template, n.language, n.filled::text, case when n.as_text then n.free_text end as free_text, c.phone as "phone!",
          a.claimed_at as "claimed_at: Time", n.doubt_since as "since!: Time", recado_now() as "now!: Time",
          coalesce(k.others, '{}') || array(
            select r.message_id from replies r
            where r.contact_id = n.contact_id and r.sender = n.sender and r.message_id is not null
              and r.sent_at between a.claimed_at - $2 * interval '1 ms' and a.claimed_at + $2 * interval '1 ms'
          ) as "others!", coalesce(k.rivalled, false) as "rivalled!"
        from notifications n
        join attempts a on a.notification_id = n.id and a.number = n.attempt
        join contacts c on c.id = n.contact_id
        cross join lateral (
          -- What else went to this person then, by the events about them; free texts are above.
          select array_agg(x.message_id) filter (where x.message_id is not null) as others,
            bool_or(x.message_id is null and (x.outcome is null or x.outcome = 'unclear') and x.looked_at is null
              and o.template = n.template and o.language = n.language and o.filled::text = n.filled::text) as rivalled
          from inbox i cross join lateral unnest(i.notifications) as of_event(id)
          join notifications o on o.id = of_event.id
          join attempts x on x.notification_id = o.id
          where i.contact_id = n.contact_id and x.sender = n.sender and (x.notification_id, x.number) <> (n.id, n.attempt)
            and x.claimed_at between a.claimed_at - $2 * interval '1 ms' and a.claimed_at + $2 * interval '1 ms'
        ) k
        where n.state = 'in_doubt' and n.sender = any ($1) and case when n.as_text then n.free_text is not null else n.filled is not null end
          and c.phone like '+%' and ($4::timestamptz is null or (n.doubt_since, n.id) > ($4, $5))
        order by n.doubt_since, n.id limit $3
        "#,
        senders,
        millis(around) as _,
        limit,
        after.map(|(since, _)| time(since)) as _,
        after.map(|(_, id)| id)
    )
    .fetch_all(pool)
    .await?;
    let now = rows.first().map_or(Timestamp::UNIX_EPOCH, |row| row.now.to_jiff());
    let lost = rows.into_iter().map(|row| Lost {
        attempt: AttemptId { notification: row.id, number: row.attempt },
        sender: row.sender,
        phone: row.phone,
        template: row.template,
        language: row.language,
        filled: row.filled,
        free_text: row.free_text,
        claimed_at: row.claimed_at.to_jiff(),
        since: row.since.to_jiff(),
        others: row.others,
        rivalled: row.rivalled,
    });
    Ok((lost.collect(), now))
}

/// Notes that the provider's list has nothing that could be this attempt's message.
///
/// # Errors
/// If the database does not take it.
pub async fn looked_in_vain(pool: &PgPool, attempt: AttemptId) -> Result<(), Error> {
    sqlx::query!(
        "update attempts set looked_at = recado_now() where notification_id = $1 and number = $2",
        attempt.notification,
        attempt.number
    )
    .execute(pool)
    .await?;
    Ok(())
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
          returning id, statuses, sender
        ), noted as (
          insert into timeline (notification_id, at, what, by) select id, recado_now(), 'gave_up', $3 from moved
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason, sender) select id, statuses, 'failed', 'unknown', sender from moved
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
