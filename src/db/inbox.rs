//! Events received (T1): each `(source, id)` counts once, with the notifications that it means, in one statement.
//!
//! What an event means was decided before; nothing is planned here. What cannot be one is `rejected`'s.

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time, pools, time};

/// An event as the inbox keeps it.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub source: String,
    pub id: String,
    pub body_hash: [u8; 32],
    pub r#type: String,
    pub subject: Option<String>,
    pub time: Timestamp,
    pub stage: Option<Stage>,
    /// Why no notification follows; set exactly if `notifications` is empty.
    pub ignored: Option<&'static str>,
    /// The event's text; kept only if a notification follows.
    pub body: String,
    /// Where the event's trace goes on. Not kept here.
    pub traceparent: Option<String>,
    pub notifications: Vec<Born>,
}

/// Where an event stands on a journey, and of what: later numbers make earlier ones stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub journey: String,
    pub key: String,
    pub number: i16,
}

/// A notification about to be recorded.
#[derive(Debug, Clone)]
pub struct Born {
    pub id: Uuid,
    pub sender: i16,
    /// The rule that chose the sender, if there was something to choose.
    pub route: Option<String>,
    /// 0 urgent, 1 normal.
    pub class: i16,
    /// E.164.
    pub phone: String,
    pub locale: Option<String>,
    pub purpose: String,
    pub template: String,
    pub language: String,
    pub subject: Option<String>,
    pub expires_at: Timestamp,
    /// How long to wait if nobody has asked the person, in milliseconds.
    pub grace_ms: i64,
    /// How long to wait if the person was asked and has not answered, in milliseconds.
    pub pending_ms: i64,
    /// A Postgres multirange of the times in which it must not go.
    pub quiet: Option<String>,
    pub doubt: &'static str,
    /// What its template said, as `versions` knows it.
    pub version: Option<i32>,
    /// The filled-in values as JSON.
    pub filled: String,
    /// The same as a free text, if it may go so.
    pub free_text: Option<String>,
    /// The SMS that may follow it.
    pub sms: Option<Sms>,
}

/// An SMS that may follow a message.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Sms {
    pub sender: i16,
    pub purpose: String,
    pub text: String,
}

/// What the inbox says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    New,
    Repeat,
    /// The same identity came with another body: the first one counts, this one is kept and shown.
    Conflict,
}

/// Records a batch of events, no two of one identity; one verdict for each, in order.
///
/// # Errors
/// [`Error::Data`] if a row of the batch cannot be stored (or if two processes met a new phone at once: the same batch
/// goes through when repeated); [`Error::Outage`] otherwise. Nothing is stored then.
pub async fn record(pool: &PgPool, arrivals: &[Arrival]) -> Result<Vec<Verdict>, Error> {
    let fresh = insert(pool, arrivals).await?;
    let mut verdicts = vec![Verdict::Repeat; arrivals.len()];
    for n in &fresh {
        if let Some(verdict) = usize::try_from(*n - 1).ok().and_then(|i| verdicts.get_mut(i)) {
            *verdict = Verdict::New;
        }
    }
    if fresh.len() < arrivals.len() {
        // A statement of its own: the one that inserted does not see what a concurrent one has just committed.
        mark_conflicts(pool, arrivals, &mut verdicts).await?;
    }
    Ok(verdicts)
}

async fn insert(pool: &PgPool, arrivals: &[Arrival]) -> Result<Vec<i64>, Error> {
    let born: Vec<(i64, &Arrival, &Born)> = (1..)
        .zip(arrivals)
        .flat_map(|(ordinal, arrival)| arrival.notifications.iter().map(move |born| (ordinal, arrival, born)))
        .collect();
    let stage =
        |f: fn(&Stage) -> &str| -> Vec<Option<&str>> { arrivals.iter().map(|a| a.stage.as_ref().map(f)).collect() };
    let owners: Vec<Option<&str>> =
        arrivals.iter().map(|a| a.notifications.first().map(|born| born.phone.as_str())).collect();
    Ok(sqlx::query_scalar!(
        r#"
        -- inbox: record
        with event as materialized (
          select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::timestamptz[],
                               $7::text[], $8::text[], $9::int2[], $10::text[], $11::text[], $12::text[])
            with ordinality as e(source, id, body_hash, type, subject, time, journey, journey_key, stage, ignored, body, phone, n)
        ), born as materialized (
          select * from unnest($13::int8[], $14::uuid[], $15::int2[], $16::int2[], $17::text[], $18::text[], $19::text[],
                               $20::text[], $21::text[], $22::text[], $23::timestamptz[], $24::int8[], $25::int8[],
                               $26::text[], $27::text[], $28::text[], $29::text[], $30::text[], $31::timestamptz[],
                               $32::text[], $33::text[], $34::int2[], $35::text[], $36::json[], $37::int4[], $38::text[])
            as b(n, id, sender, class, phone, locale, purpose, template, language, subject, expires_at, grace_ms, pending_ms,
                 quiet, doubt, filled, event_source, event_id, event_time, journey, journey_key, stage, free_text, sms, version, route)
        ), known as materialized (
          -- Who proved to be another contact is that one.
          select coalesce(c.merged_into, c.id) as id, c.phone from (select distinct phone from born) b join contacts c on c.phone = b.phone
        ), new_contact as (
          insert into contacts (phone, locale)
          select distinct on (phone) phone, locale from born b
          where not exists (select from known k where k.phone = b.phone)
          order by phone
          on conflict (phone) do nothing
          returning id, phone
        ), contact as materialized (
          select id, phone from known union all select id, phone from new_contact
        ), received as (
          insert into inbox (source, id, body_hash, type, subject, time, journey, journey_key, stage, contact_id, notifications, ignored, body)
          select e.source, e.id, e.body_hash, e.type, e.subject, e.time, e.journey, e.journey_key, e.stage,
            c.id, coalesce(b.ids, '{}'), e.ignored, case when e.ignored is null then e.body end
          from event e
          left join contact c on c.phone = e.phone
          left join (select n, array_agg(id) as ids from born group by n) b on b.n = e.n
          on conflict do nothing
          returning id, source
        ), fresh as materialized (
          select e.n from received r join event e on e.id = r.id and e.source = r.source
        ), lane as (
          insert into lanes (contact_id, sender)
          select distinct c.id, b.sender from born b join contact c on c.phone = b.phone
          where not exists (select from lanes l where l.contact_id = c.id and l.sender = b.sender)
          order by 1, 2
          on conflict do nothing
        ), planned as (
          insert into notifications (id, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language,
            subject, journey, journey_key, stage, expires_at, grace_until, consent_until, quiet, doubt, filled, free_text, sms, version, due_at, route)
          select b.id, b.event_source, b.event_id, b.event_time, b.sender, b.class, c.id, b.purpose, b.template, b.language,
            b.subject, b.journey, b.journey_key, b.stage, b.expires_at,
            recado_now() + b.grace_ms * interval '1 ms', recado_now() + b.pending_ms * interval '1 ms',
            b.quiet::tstzmultirange, b.doubt, b.filled::json, b.free_text, b.sms, b.version, least(recado_now(), b.expires_at), b.route
          from fresh f join born b on b.n = f.n left join contact c on c.phone = b.phone
          returning sender
        ), tallied as (
          insert into tally_changes (minute, kind, reason, sender, n)
          select date_trunc('minute', recado_now()), 'planned', '', sender, count(*) from planned group by sender
        )
        select n as "n!" from fresh
        "#,
        &arrivals.iter().map(|a| a.source.as_str()).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| a.id.as_str()).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| a.body_hash.as_slice()).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| a.r#type.as_str()).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| a.subject.as_deref()).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| time(a.time)).collect::<Vec<Time>>() as _,
        &stage(|s| &s.journey) as _,
        &stage(|s| &s.key) as _,
        &arrivals.iter().map(|a| a.stage.as_ref().map(|s| s.number)).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| a.ignored).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| a.body.as_str()).collect::<Vec<_>>() as _,
        &owners as _,
        &born.iter().map(|(n, ..)| *n).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.id).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.sender).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.class).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.phone.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.locale.as_deref()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.purpose.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.template.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.language.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.subject.as_deref()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| time(b.expires_at)).collect::<Vec<Time>>() as _,
        &born.iter().map(|(.., b)| b.grace_ms).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.pending_ms).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.quiet.as_deref()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.doubt).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.filled.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| a.source.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| a.id.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| time(a.time)).collect::<Vec<Time>>() as _,
        &born.iter().map(|(_, a, _)| a.stage.as_ref().map(|s| s.journey.as_str())).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| a.stage.as_ref().map(|s| s.key.as_str())).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| a.stage.as_ref().map(|s| s.number)).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.free_text.as_deref()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.sms.as_ref().map(sqlx::types::Json)).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.version).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.route.as_deref()).collect::<Vec<_>>() as _,
    )
    .fetch_all(pool)
    .await?)
}

async fn mark_conflicts(pool: &PgPool, arrivals: &[Arrival], verdicts: &mut [Verdict]) -> Result<(), Error> {
    let known: Vec<(i64, &Arrival)> =
        (1..).zip(arrivals).zip(&*verdicts).filter(|(_, v)| **v == Verdict::Repeat).map(|(pair, _)| pair).collect();
    let conflicts = sqlx::query_scalar!(
        r#"
        -- inbox: keep conflicts
        with again as materialized (
          select a.* from unnest($1::int8[], $2::text[], $3::text[], $4::bytea[], $5::text[]) as a(n, source, id, body_hash, body)
          join inbox i on i.id = a.id and i.source = a.source
          where i.body_hash <> a.body_hash
        ), kept as (
          insert into inbox_conflicts (source, id, body_hash, body)
          select source, id, body_hash, body from again on conflict do nothing
        )
        select n as "n!" from again
        "#,
        &known.iter().map(|(n, _)| *n).collect::<Vec<_>>() as _,
        &known.iter().map(|(_, a)| a.source.as_str()).collect::<Vec<_>>() as _,
        &known.iter().map(|(_, a)| a.id.as_str()).collect::<Vec<_>>() as _,
        &known.iter().map(|(_, a)| a.body_hash.as_slice()).collect::<Vec<_>>() as _,
        &known.iter().map(|(_, a)| a.body.as_str()).collect::<Vec<_>>() as _,
    )
    .fetch_all(pool)
    .await?;
    for n in conflicts {
        if let Some(verdict) = usize::try_from(n - 1).ok().and_then(|i| verdicts.get_mut(i)) {
            *verdict = Verdict::Conflict;
        }
    }
    Ok(())
}

/// Whether rows can be written at all just now.
///
/// # Errors
/// If not.
pub async fn probe(pool: &PgPool) -> Result<(), Error> {
    let read_only = || Error::Outage(sqlx::Error::Protocol("the database is read-only".into()));
    if pools::takes_writes(pool).await? { Ok(()) } else { Err(read_only()) }
}
