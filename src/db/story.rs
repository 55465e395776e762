//! What is known of a notification, gathered from every table that knows something, and which notifications a word means.

use jiff::Timestamp;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{Error, Time, contacts, time};
use crate::domain::{
    money::decimal,
    notification::{AttemptId, Best, State, Wait},
    phone::Phone,
    story::{Attempt, ConsentEntry, ConsentNow, Cost, Event, Hold, Note, Receipt, Rejected, Story},
};

/// What a person asked for by one word.
#[derive(Debug, Default)]
pub struct Found {
    /// The latest first.
    pub notifications: Vec<Uuid>,
    /// Of those, and those that meant nothing to anybody. The latest first.
    pub events: Vec<Event>,
    pub rejected: Vec<Rejected>,
    /// There is more than was asked for.
    pub more: bool,
}

impl Found {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notifications.is_empty() && self.events.is_empty() && self.rejected.is_empty()
    }
}

/// Finds what `word` means: a notification's id, an event's id, an order or shipment (an event's subject or the key of its
/// journey), a phone number, or a provider's message id. At most `limit` events.
///
/// # Errors
/// If the database cannot be asked.
pub async fn find(pool: &PgPool, word: &str, limit: i64) -> Result<Found, Error> {
    let id = Uuid::try_parse(word).ok();
    let person = match Phone::parse(word) {
        Ok(phone) => contacts::of_person(pool, &phone).await?,
        Err(_) => Vec::new(),
    };
    let mut events = events_named(pool, word, &person, limit + 1).await?;
    let more = i64::try_from(events.len()).is_ok_and(|n| n > limit);
    events.truncate(usize::try_from(limit).unwrap_or(0));
    let mut notifications: Vec<Uuid> = sqlx::query_scalar!(
        "select id from notifications where id = $1 union select id from notifications where message_id = $2",
        id,
        word
    )
    .fetch_all(pool)
    .await?
    .into_iter()
    .flatten()
    .collect();
    notifications.extend(events.iter().flat_map(|event| &event.notifications));
    let mut notifications = origins(pool, &notifications).await?;
    notifications.sort_unstable_by(|a, b| b.cmp(a));
    notifications.dedup();
    let rejected = rejected_named(pool, id, word, limit).await?;
    Ok(Found { notifications, events, rejected, more })
}

/// An SMS that followed a message belongs into that message's story.
async fn origins(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    let followed = sqlx::query!(
        r#"
        -- story: origins
        select n.id, o.id as origin from notifications n join notifications o on o.id = n.fallback_of where n.id = any ($1)
        "#,
        ids
    )
    .fetch_all(pool)
    .await?;
    let origin = |id: &Uuid| followed.iter().find(|row| row.id == *id).map_or(*id, |row| row.origin);
    Ok(ids.iter().map(origin).collect())
}

/// The notifications of an order (an event's id or subject, or the key of its journey), of a person (all contacts), or of both at once; of at
/// most `limit` events, the latest.
///
/// # Errors
/// If the database cannot be asked.
pub(super) async fn notifications_of(
    executor: impl PgExecutor<'_>,
    order: Option<&str>,
    person: Option<&[i64]>,
    limit: i64,
) -> Result<Vec<Uuid>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- story: notifications of
        with named as (
          select id, source from inbox where id = $1
          union select id, source from inbox where subject = $1
          union select id, source from inbox where journey_key = $1
        ), event as (
          (select i.notifications, i.received_at from named n join inbox i on i.id = n.id and i.source = n.source
          where $2::int8[] is null or i.contact_id = any ($2))
          union all
          -- Contact by contact: so each one's latest are read from their end, and none of the rest.
          (select i.notifications, i.received_at from unnest($2::int8[]) as p(contact) cross join lateral (
            select notifications, received_at from inbox where contact_id = p.contact order by received_at desc limit $3
          ) i where $1::text is null)
        )
        select unnest(e.notifications) as "id!" from (select notifications from event order by received_at desc limit $3) e
        "#,
        order,
        person as _,
        limit
    )
    .fetch_all(executor)
    .await?)
}

async fn events_named(pool: &PgPool, word: &str, person: &[i64], limit: i64) -> Result<Vec<Event>, Error> {
    let rows = sqlx::query!(
        r#"
        -- story: events
        with named as (
          select id, source from inbox where id = $1
          union select id, source from inbox where subject = $1
          union select id, source from inbox where journey_key = $1
          union select i.id, i.source from unnest($2::int8[]) as p(contact) cross join lateral (
            select id, source from inbox where contact_id = p.contact order by received_at desc limit $3
          ) i
        )
        select i.source, i.id, i.type, i.subject, i.time as "time: Time", i.received_at as "received_at: Time", i.journey, i.journey_key,
          i.stage, i.ignored, i.notifications,
          array(select c.received_at from inbox_conflicts c where c.source = i.source and c.id = i.id order by 1) as "conflicts!: Vec<Time>"
        from named n join inbox i on i.id = n.id and i.source = n.source
        order by i.received_at desc, i.id limit $3
        "#,
        word,
        person,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Event {
            source: row.source,
            id: row.id,
            r#type: row.r#type,
            subject: row.subject,
            time: row.time.to_jiff(),
            received_at: row.received_at.to_jiff(),
            journey: row.journey,
            journey_key: row.journey_key,
            stage: row.stage,
            ignored: row.ignored,
            notifications: row.notifications,
            conflicts: row.conflicts.into_iter().map(Time::to_jiff).collect(),
        })
        .collect())
}

/// Rejected events of this id, or whose bytes or headers have the word as a whole JSON string; among the latest thousand.
async fn rejected_named(pool: &PgPool, id: Option<Uuid>, word: &str, limit: i64) -> Result<Vec<Rejected>, Error> {
    let quoted = serde_json::Value::from(word).to_string();
    let rows = sqlx::query!(
        r#"
        -- story: rejected events
        select r.id as "id!", r.received_at as "received_at!: Time", r.reason as "reason!", r.detail as "detail!",
          r.routing_key as "routing_key!", r.copies as "copies!", r.replayed_at as "replayed_at: Time", r.replay
        from (select * from rejected_events order by received_at desc limit 1000) r
        where r.id = $1 or position($2::bytea in r.body) > 0 or position($3::text in r.headers::text) > 0
        order by r.received_at desc limit $4
        "#,
        id,
        quoted.as_bytes(),
        quoted,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Rejected {
            id: row.id,
            received_at: row.received_at.to_jiff(),
            reason: row.reason,
            detail: row.detail,
            routing_key: row.routing_key,
            copies: row.copies,
            replayed_at: row.replayed_at.map(Time::to_jiff),
            replay: row.replay,
        })
        .collect())
}

/// Everything about one notification. None if there is no such one.
///
/// # Errors
/// If the database cannot be asked, or a row makes no sense.
pub async fn of(pool: &PgPool, id: Uuid) -> Result<Option<Story>, Error> {
    let row = sqlx::query!(
        r#"
        -- story: notification
        select n.state::text as "state!", n.due_at as "due_at: Time", n.waiting_on::text, n.attempt, n.lease_until as "lease_until: Time",
          n.doubt_since as "doubt_since: Time", n.reason, n.message_id, n.receipt::text, n.created_at as "created_at: Time",
          n.accepted_at as "accepted_at: Time", n.ended_at as "ended_at: Time", n.template, n.language, n.purpose, n.class,
          n.expires_at as "expires_at: Time", n.doubt, n.resends, n.duplicate, n.superseded_by, n.consent_entry,
          n.event_source, n.event_id, n.sender, n.contact_id, c.phone as "phone?", s.name as sender_name,
          e.at as "entry_at?: Time", e.act as "entry_act?", n.route, c.consents -> n.purpose ->> 'state' as consent_state,
          (c.consents -> n.purpose ->> 'entry')::int as consent_now, t.status as "template_status?", v.number as "version?",
          n.free_text is not null as "has_text!", n.filled is not null or n.free_text is not null as "kept!", n.fallback, n.fallback_of, l.window_until > recado_now() as "in_window?",
          (select e.id from notifications e where e.contact_id = n.contact_id and e.subject = n.subject and e.id < n.id
             and e.state = 'pending' and n.waiting_on = 'subject' order by e.id limit 1) as behind
        from notifications n
        join contacts c on c.id = n.contact_id
        join senders s on s.id = n.sender
        left join consent_entries e on e.contact_id = n.contact_id and e.number = n.consent_entry
        left join template_versions v on v.id = n.version
        left join template_states t on t.sender = n.sender and t.template = n.template and t.language = n.language
        left join lanes l on l.contact_id = n.contact_id and l.sender = n.sender
        where n.id = $1
        "#,
        id
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let state = state(
        id,
        Row {
            state: &row.state,
            due_at: row.due_at.map(Time::to_jiff),
            waiting_on: row.waiting_on.as_deref(),
            attempt: row.attempt,
            lease_until: row.lease_until.map(Time::to_jiff),
            doubt_since: row.doubt_since.map(Time::to_jiff),
            reason: row.reason,
            message_id: row.message_id,
            receipt: row.receipt.as_deref(),
        },
    )?;
    let consent = row.consent_entry.map(|number| ConsentEntry {
        number,
        at: row.entry_at.map(Time::to_jiff),
        act: row.entry_act,
    });
    let to_go_until = row.accepted_at.or(row.ended_at).map(Time::to_jiff);
    let on = (row.sender, row.template.as_str(), row.language.as_str());
    let (holds, past_holds) = holds_on(pool, on, row.created_at.to_jiff(), to_go_until).await?;
    Ok(Some(Story {
        id,
        state,
        created_at: row.created_at.to_jiff(),
        accepted_at: row.accepted_at.map(Time::to_jiff),
        ended_at: row.ended_at.map(Time::to_jiff),
        phone: row.phone.as_deref().and_then(|phone| Phone::parse(phone).ok()),
        sender: row.sender_name,
        route: row.route,
        holds,
        past_holds,
        template: row.template,
        language: row.language,
        version: row.version,
        purpose: row.purpose,
        urgent: row.class == 0,
        expires_at: row.expires_at.to_jiff(),
        doubt: row.doubt,
        resends: row.resends,
        duplicate: row.duplicate,
        event: event(pool, &row.event_source, &row.event_id).await?,
        superseded_by: row.superseded_by,
        consent,
        consent_now: ConsentNow { state: row.consent_state, entry: row.consent_now },
        template_status: row.template_status,
        attempts: attempts(pool, id).await?,
        notes: notes(pool, id).await?,
        behind: row.behind,
        has_text: row.has_text,
        kept: row.kept,
        in_window: row.in_window.unwrap_or(false),
        fallback_of: row.fallback_of,
        // What followed has nothing that follows it, so this goes no deeper.
        fallback: match row.fallback {
            Some(fallback) => Box::pin(of(pool, fallback)).await?.map(Box::new),
            None => None,
        },
    }))
}

/// The columns of a notification that say its state.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub state: &'a str,
    pub due_at: Option<Timestamp>,
    pub waiting_on: Option<&'a str>,
    pub attempt: i16,
    pub lease_until: Option<Timestamp>,
    pub doubt_since: Option<Timestamp>,
    pub reason: Option<String>,
    pub message_id: Option<String>,
    pub receipt: Option<&'a str>,
}

/// The state that a row says, or which column of it makes no sense.
pub(super) fn state(id: Uuid, row: Row<'_>) -> Result<State, Error> {
    let wrong = |column| Error::Inconsistent { table: "notifications", column, row: id.to_string() };
    Ok(match row.state {
        "pending" => State::Pending {
            due_at: row.due_at.ok_or_else(|| wrong("due_at"))?,
            waiting_on: row.waiting_on.map(|on| Wait::named(on).ok_or_else(|| wrong("waiting_on"))).transpose()?,
        },
        "sending" => {
            State::Sending { attempt: row.attempt, lease_until: row.lease_until.ok_or_else(|| wrong("lease_until"))? }
        }
        "in_doubt" => State::InDoubt { since: row.doubt_since.ok_or_else(|| wrong("doubt_since"))? },
        "accepted" => State::Accepted {
            message_id: row.message_id.ok_or_else(|| wrong("message_id"))?,
            receipt: row.receipt.map(|best| Best::named(best).ok_or_else(|| wrong("receipt"))).transpose()?,
        },
        "failed" => State::Failed { reason: row.reason.ok_or_else(|| wrong("reason"))? },
        "suppressed" => State::Suppressed { reason: row.reason.ok_or_else(|| wrong("reason"))? },
        _ => return Err(wrong("state")),
    })
}

async fn event(pool: &PgPool, source: &str, id: &str) -> Result<Option<Event>, Error> {
    let row = sqlx::query!(
        r#"
        -- story: event
        select i.type, i.subject, i.time as "time: Time", i.received_at as "received_at: Time", i.journey, i.journey_key, i.stage, i.ignored,
          i.notifications,
          array(select c.received_at from inbox_conflicts c where c.source = i.source and c.id = i.id order by 1) as "conflicts!: Vec<Time>"
        from inbox i where i.id = $2 and i.source = $1
        "#,
        source,
        id
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Event {
        source: source.to_owned(),
        id: id.to_owned(),
        r#type: row.r#type,
        subject: row.subject,
        time: row.time.to_jiff(),
        received_at: row.received_at.to_jiff(),
        journey: row.journey,
        journey_key: row.journey_key,
        stage: row.stage,
        ignored: row.ignored,
        notifications: row.notifications,
        conflicts: row.conflicts.into_iter().map(Time::to_jiff).collect(),
    }))
}

async fn attempts(pool: &PgPool, id: Uuid) -> Result<Vec<Attempt>, Error> {
    let rows = sqlx::query!(
        r#"
        -- story: attempts
        select number, claimed_at as "claimed_at: Time", resend, consent_entry, as_text, outcome, ended_at as "ended_at: Time", reason, code, detail,
          message_id, counted_in is not null as "counted!", category, country, predicted, actual, currency
        from attempts where notification_id = $1 order by number
        "#,
        id
    )
    .fetch_all(pool)
    .await?;
    let mut attempts: Vec<Attempt> = rows
        .into_iter()
        .map(|row| Attempt {
            id: AttemptId { notification: id, number: row.number }.to_string(),
            number: row.number,
            claimed_at: row.claimed_at.to_jiff(),
            resend: row.resend,
            consent_entry: row.consent_entry,
            as_text: row.as_text,
            outcome: row.outcome,
            ended_at: row.ended_at.map(Time::to_jiff),
            reason: row.reason,
            code: row.code,
            detail: row.detail,
            message_id: row.message_id,
            cost: row.counted.then(|| Cost {
                category: row.category,
                country: row.country,
                predicted: row.predicted.map(decimal),
                actual: row.actual.map(decimal),
                currency: row.currency,
            }),
            receipts: Vec::new(),
        })
        .collect();
    let reports = sqlx::query!(
        r#"
        -- story: receipts
        select number, kind, at as "at: Time", received_at as "received_at: Time", code, reason, detail
        from receipts where notification_id = $1 order by at, received_at, kind
        "#,
        id
    )
    .fetch_all(pool)
    .await?;
    for row in reports {
        if let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.number == row.number) {
            attempt.receipts.push(Receipt {
                kind: row.kind,
                at: row.at.to_jiff(),
                received_at: row.received_at.to_jiff(),
                code: row.code,
                reason: row.reason,
                detail: row.detail,
            });
        }
    }
    Ok(attempts)
}

/// At most the latest 200, in their order.
async fn notes(pool: &PgPool, id: Uuid) -> Result<Vec<Note>, Error> {
    let rows = sqlx::query!(
        r#"
        -- story: timeline
        select at as "at: Time", what, detail, by, reason from timeline where notification_id = $1 order by id desc limit 200
        "#,
        id
    )
    .fetch_all(pool)
    .await?;
    let told = rows.into_iter().rev().map(|row| Note {
        at: row.at.to_jiff(),
        what: row.what,
        detail: row.detail,
        by: row.by,
        reason: row.reason,
    });
    Ok(told.collect())
}

/// The holds in force that concern it, and those that were while it was to go: from when it was made until the provider had it or it ended.
async fn holds_on(
    pool: &PgPool,
    (sender, template, language): (i16, &str, &str),
    made_at: Timestamp,
    until: Option<Timestamp>,
) -> Result<(Vec<Hold>, Vec<Hold>), Error> {
    let rows = sqlx::query!(
        r#"
        -- story: holds
        select h.id, h.scope::text as "scope!", s.name as "sender?", h.template, h.language, h.reason, h.detail, h.placed_at as "placed_at: Time",
          h.placed_by, h.until as "until: Time", case when e.over then e.at end as "ended_at: Time", h.released_by, h.released_because
        from holds h left join senders s on s.id = h.sender
        cross join lateral (
          select coalesce(h.released_at, h.until) as at, coalesce(h.released_at is not null or h.until <= recado_now(), false) as over
        ) e
        where (h.scope = 'everything' or h.sender = $1 and (h.scope = 'sender'
            or h.template = $2 and (h.language is null or h.language = $3)))
          and (not e.over or e.at > $4 and h.placed_at < coalesce($5, recado_now()))
        order by h.scope, h.id
        "#,
        sender,
        template,
        language,
        time(made_at) as _,
        until.map(time) as _
    )
    .fetch_all(pool)
    .await?;
    let holds = rows.into_iter().map(|row| Hold {
        id: row.id,
        on: match (&row.sender, &row.template) {
            (Some(sender), Some(template)) => format!("The template {template} of {sender}"),
            (Some(sender), None) => format!("The sender {sender}"),
            (None, _) => "Everything".to_owned(),
        },
        scope: row.scope,
        sender: row.sender,
        template: row.template,
        language: row.language,
        reason: row.reason,
        detail: row.detail,
        placed_at: row.placed_at.to_jiff(),
        placed_by: row.placed_by,
        until: row.until.map(Time::to_jiff),
        ended_at: row.ended_at.map(Time::to_jiff),
        // What ends by its time, Recado ends.
        ended_by: row.released_by.filter(|by| by != "recado"),
        ended_because: row.released_because,
    });
    Ok(holds.partition(|hold| hold.ended_at.is_none()))
}

#[cfg(test)]
mod tests;
