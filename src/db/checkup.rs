//! How the house stands, in figures for `recado doctor`.

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time};

/// What the database says of itself.
#[derive(Debug, Clone)]
pub struct Checkup {
    pub senders: Vec<SenderStanding>,
    /// Webhooks that are stored and not applied, and since when the oldest waits.
    pub unapplied: i64,
    pub unapplied_since: Option<Timestamp>,
    /// Updates of webhooks that could not be used within the last day.
    pub unusable_webhooks: i64,
    /// Rejected events that nobody has run again.
    pub rejected: i64,
    /// Processes that dispatch and were seen within the last minute.
    pub dispatching: i64,
    /// Status events that are not published, and since when the oldest waits.
    pub unpublished_since: Option<Timestamp>,
    pub now: Timestamp,
}

/// What the database says of one sender.
#[derive(Debug, Clone)]
pub struct SenderStanding {
    pub name: String,
    pub last_webhook: Option<Timestamp>,
    /// Messages that the provider took within the last day, and those of them of which something was reported.
    pub accepted: i64,
    pub reported: i64,
    pub in_doubt: i64,
    /// Since when the oldest due notification is due.
    pub due_since: Option<Timestamp>,
    pub throttled_until: Option<Timestamp>,
    pub templates: Vec<TemplateStanding>,
}

/// A template in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateStanding {
    pub template: String,
    pub language: String,
    pub status: String,
    /// The provider's own id of its content, where it has one.
    pub content_sid: Option<String>,
}

/// Looks at everything once.
///
/// # Errors
/// If the database cannot be asked.
pub async fn checkup(pool: &PgPool) -> Result<Checkup, Error> {
    let row = sqlx::query!(
        r#"
        -- checkup: house
        select recado_now() as "now!: Time",
          (select count(*) from webhooks where applied_at is null) as "unapplied!",
          (select min(received_at) from webhooks where applied_at is null) as "unapplied_since: Time",
          (select count(*) from webhooks where problems <> '{}' and received_at > recado_now() - interval '1 day') as "unusable!",
          (select count(*) from rejected_events where replayed_at is null) as "rejected!",
          (select count(*) from workers where dispatches and seen_at > clock_timestamp() - interval '1 min') as "dispatching!",
          least((select at from outbox order by id limit 1),
            (select e.kept_at from callbacks c join callback_events e on e.position > c.position where c.name = '@broker'
              order by e.position limit 1)) as "unpublished_since: Time"
        "#
    )
    .fetch_one(pool)
    .await?;
    Ok(Checkup {
        senders: senders(pool).await?,
        unapplied: row.unapplied,
        unapplied_since: row.unapplied_since.map(Time::to_jiff),
        unusable_webhooks: row.unusable,
        rejected: row.rejected,
        dispatching: row.dispatching,
        unpublished_since: row.unpublished_since.map(Time::to_jiff),
        now: row.now.to_jiff(),
    })
}

async fn senders(pool: &PgPool) -> Result<Vec<SenderStanding>, Error> {
    let rows = sqlx::query!(
        r#"
        -- checkup: senders
        select s.id, s.name, s.throttled_until as "throttled_until: Time",
          (select w.received_at from webhooks w where w.sender = s.name order by w.id desc limit 1) as "last_webhook: Time",
          (select count(*) from notifications n where n.state = 'in_doubt' and n.sender = s.id) as "in_doubt!",
          (select min(n.due_at) from notifications n where n.sender = s.id and n.state = 'pending' and n.waiting_on is null
             and n.due_at <= recado_now()) as "due_since: Time",
          d.accepted as "accepted!", d.reported as "reported!"
        from senders s cross join lateral (
          select count(*) as accepted, count(a.receipt) as reported from (
            select receipt from attempts where sender = s.id and outcome = 'accepted'
              and notification_id >= uuid_v7_floor(recado_now() - interval '1 day')
            order by notification_id desc limit 1000
          ) a
        ) d
        order by s.name
        "#
    )
    .fetch_all(pool)
    .await?;
    let mut senders = Vec::with_capacity(rows.len());
    for row in rows {
        let templates = sqlx::query_as!(
            TemplateStanding,
            "select template, language, status, content_sid from template_states where sender = $1 order by template, language",
            row.id
        )
        .fetch_all(pool)
        .await?;
        senders.push(SenderStanding {
            name: row.name,
            last_webhook: row.last_webhook.map(Time::to_jiff),
            accepted: row.accepted,
            reported: row.reported,
            in_doubt: row.in_doubt,
            due_since: row.due_since.map(Time::to_jiff),
            throttled_until: row.throttled_until.map(Time::to_jiff),
            templates,
        });
    }
    Ok(senders)
}

/// How far a sender has come on its way to the first message.
#[derive(Debug, Clone)]
pub struct Started {
    /// Whether somebody agreed to one of the purposes.
    pub agreed: bool,
    /// Whether one of its templates may go out.
    pub approved: bool,
    /// Whether the provider took a message within the last day.
    pub accepted: bool,
    pub last_webhook: Option<Timestamp>,
    pub now: Timestamp,
}

/// Looks at one sender's beginnings.
///
/// # Errors
/// If the database cannot be asked.
pub async fn started(pool: &PgPool, sender: &str, purposes: &[String]) -> Result<Started, Error> {
    let row = sqlx::query!(
        r#"
        -- checkup: started
        select recado_now() as "now!: Time",
          exists (select from contacts c, unnest($2::text[]) p where c.consents -> p ->> 'state' = 'granted') as "agreed!",
          exists (select from template_states t join senders s on s.id = t.sender where s.name = $1 and t.status = 'approved') as "approved!",
          exists (select from attempts a join senders s on s.id = a.sender where s.name = $1 and a.outcome = 'accepted'
            and a.notification_id >= uuid_v7_floor(recado_now() - interval '1 day')) as "accepted!",
          (select max(w.received_at) from webhooks w where w.sender = $1) as "last_webhook: Time"
        "#,
        sender,
        purposes
    )
    .fetch_one(pool)
    .await?;
    Ok(Started {
        agreed: row.agreed,
        approved: row.approved,
        accepted: row.accepted,
        last_webhook: row.last_webhook.map(Time::to_jiff),
        now: row.now.to_jiff(),
    })
}
