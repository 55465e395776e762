//! How far a known set of events has come: for those who watch them from outside.

use jiff::Timestamp;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time, time};
use crate::domain::phone::Phone;

/// An event and, if it led to one, a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub event_id: String,
    pub notification: Option<Uuid>,
    pub ignored: Option<String>,
    pub conflicts: i64,
    pub template: Option<String>,
    pub state: Option<String>,
    pub reason: Option<String>,
    pub waiting_on: Option<String>,
    pub receipt: Option<String>,
    pub attempts: i16,
    pub resends: i16,
}

/// What became of these events of `source`, so far as they were received.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of(pool: &PgPool, source: &str, ids: &[String]) -> Result<Vec<Step>, Error> {
    Ok(sqlx::query_as!(
        Step,
        r#"
        select i.id as event_id, n.id as "notification?", i.ignored, n.template as "template?", n.state::text, n.reason, n.waiting_on::text, n.receipt::text,
          coalesce(n.attempt, 0::int2) as "attempts!", coalesce(n.resends, 0::int2) as "resends!",
          (select count(*) from inbox_conflicts c where c.source = i.source and c.id = i.id) as "conflicts!"
        from inbox i left join notifications n on n.id = any (i.notifications)
        where i.source = $1 and i.id = any ($2)
        order by i.received_at, i.id, n.id
        "#,
        source,
        ids
    )
    .fetch_all(pool)
    .await?)
}

/// Those of these events of `source` that are accounted for: nothing followed, and it is written why; or a message did, and is there.
///
/// # Errors
/// If the database cannot be asked.
pub async fn accounted(pool: &PgPool, source: &str, ids: &[String]) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- progress: accounted
        select i.id from inbox i
        where i.source = $1 and i.id = any ($2)
          and (i.ignored is not null or cardinality(i.notifications) > 0 and not exists (
            select from unnest(i.notifications) as named (id)
            where not exists (select from notifications n where n.id = named.id)))
        "#,
        source,
        ids
    )
    .fetch_all(pool)
    .await?)
}

/// How the messages of one source stand, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub source: String,
    /// Pending or being sent.
    pub waiting: i64,
    pub accepted: i64,
    /// Of those, the ones that arrived.
    pub delivered: i64,
    pub in_doubt: i64,
    pub suppressed: i64,
    pub failed: i64,
    /// Sent once more, marked as that.
    pub resent: i64,
}

/// How the messages of these sources stand that were planned at `since` or later.
///
/// # Errors
/// If the database cannot be asked.
pub async fn tally(pool: &PgPool, sources: &[String], since: Timestamp) -> Result<Vec<Tally>, Error> {
    Ok(sqlx::query_as!(
        Tally,
        r#"
        -- progress: tally
        select event_source as source,
          count(*) filter (where state in ('pending', 'sending')) as "waiting!",
          count(*) filter (where state = 'accepted') as "accepted!",
          count(*) filter (where state = 'accepted' and receipt in ('delivered', 'read')) as "delivered!",
          count(*) filter (where state = 'in_doubt') as "in_doubt!",
          count(*) filter (where state = 'suppressed') as "suppressed!",
          count(*) filter (where state = 'failed') as "failed!",
          coalesce(sum(resends), 0) as "resent!"
        from notifications where id >= uuid_v7_floor($2) and event_source = any ($1)
        group by event_source
        "#,
        sources,
        time(since) as _
    )
    .fetch_all(pool)
    .await?)
}

/// What of these is stopped or was left without an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Messages that wait for their template.
    pub held: i64,
    /// Messages of which an attempt had no answer.
    pub unanswered: i64,
    /// Of those, the ones that are in doubt now.
    pub in_doubt: i64,
    /// Of those, the ones that a report showed to have been taken.
    pub found: i64,
}

/// What of these sources is stopped or was left without an answer, of what was planned at `since` or later.
///
/// # Errors
/// If the database cannot be asked.
pub async fn aftermath(pool: &PgPool, sources: &[String], since: Timestamp) -> Result<Aftermath, Error> {
    Ok(sqlx::query_as!(
        Aftermath,
        r#"
        -- progress: aftermath
        with unanswered as materialized (
          select distinct notification_id as id from attempts where notification_id >= uuid_v7_floor($2) and outcome = 'unclear'
        )
        select
          (select count(*) from notifications n
            where n.id >= uuid_v7_floor($2) and n.event_source = any ($1) and n.state = 'pending' and n.waiting_on = 'template') as "held!",
          count(*) as "unanswered!",
          count(*) filter (where n.state = 'in_doubt') as "in_doubt!",
          count(*) filter (where n.state = 'accepted' and n.resends = 0) as "found!"
        from unanswered u join notifications n on n.id = u.id where n.event_source = any ($1)
        "#,
        sources,
        time(since) as _
    )
    .fetch_one(pool)
    .await?)
}

/// Something that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub received_at: Timestamp,
    /// Their words, if there are some.
    pub said: Option<String>,
    /// What it made us do.
    pub did: Option<String>,
    /// When an answer to it was taken.
    pub answered_at: Option<Timestamp>,
}

/// What this person has written, from the first on.
///
/// # Errors
/// If the database cannot be asked.
pub async fn letters(pool: &PgPool, phone: &Phone) -> Result<Vec<Letter>, Error> {
    let rows = sqlx::query!(
        r#"
        -- progress: letters
        select i.received_at as "received_at: Time", i.did,
          coalesce(i.content #>> '{text,body}', i.content #>> '{button,text}', i.content ->> 'Body') as said,
          (select min(r.sent_at) from replies r where r.because = i.message_id and r.state = 'accepted') as "answered_at: Time"
        from inbound i join contacts c on c.id = i.contact_id where c.phone = $1 order by i.received_at, i.message_id
        "#,
        phone.reveal()
    )
    .fetch_all(pool)
    .await?;
    let letter = |received_at: Time, said, did, answered_at: Option<Time>| Letter {
        received_at: received_at.to_jiff(),
        said,
        did,
        answered_at: answered_at.map(Time::to_jiff),
    };
    Ok(rows.into_iter().map(|row| letter(row.received_at, row.said, row.did, row.answered_at)).collect())
}

/// The attempts of these notifications that are marked as resends: each with its number.
///
/// # Errors
/// If the database cannot be asked.
pub async fn marked_resends(pool: &PgPool, notifications: &[Uuid]) -> Result<Vec<(Uuid, i16)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- progress: marked resends
        select notification_id, number from attempts where notification_id = any ($1) and resend
        "#,
        notifications
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.notification_id, row.number)).collect())
}

/// To what somebody has agreed, refused or been asked: each purpose with the state of its consent.
///
/// # Errors
/// If the database cannot be asked.
pub async fn consents(pool: &PgPool, phone: &Phone) -> Result<Vec<(String, String)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- progress: consents
        select said.key as "purpose!", coalesce(said.value ->> 'state', '') as "state!"
        from contacts c cross join lateral jsonb_each(c.consents) said where c.phone = $1 order by 1
        "#,
        phone.reveal()
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.purpose, row.state)).collect())
}

/// How many deliveries with this header were kept as rejected.
///
/// # Errors
/// If the database cannot be asked.
pub async fn rejected_with(pool: &PgPool, header: &str, value: &str) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"select coalesce(sum(copies), 0) as "n!" from rejected_events where headers @> $1"#,
        json!({ header: value })
    )
    .fetch_one(pool)
    .await?)
}
