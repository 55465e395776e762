//! Lists of notifications, the latest first, a page at a time.

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Error, Time, story,
    story::{Row, state},
    time,
};
use crate::domain::{notification::State, phone::Phone};

/// Which notifications are wanted. What is none does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A state's name.
    pub state: Option<&'static str>,
    pub reason: Option<String>,
    /// An event's id or subject, or the key of its journey.
    pub order: Option<String>,
    pub phone: Option<Phone>,
    pub template: Option<String>,
    /// Planned at that time or later.
    pub since: Option<Timestamp>,
    /// Older than this one: the last of the page before.
    pub before: Option<Uuid>,
}

/// A notification in a list.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Item {
    pub id: Uuid,
    #[serde(flatten)]
    pub state: State,
    pub created_at: Timestamp,
    #[serde(skip)]
    pub phone: Option<Phone>,
    pub sender: String,
    pub template: String,
    pub language: String,
    pub purpose: String,
    pub event_source: String,
    pub event_id: String,
    pub subject: Option<String>,
    pub expires_at: Timestamp,
    pub attempts: i16,
    pub duplicate: bool,
}

/// A person's or an order's notifications are looked for among so many of their latest events.
const EVENTS_MAX: i64 = 1_000;

/// At most `limit` notifications, the latest first.
///
/// # Errors
/// If the database cannot be asked, or a row makes no sense.
pub async fn page(pool: &PgPool, filter: &Filter, limit: i64) -> Result<Vec<Item>, Error> {
    let ids = match (&filter.order, &filter.phone) {
        (None, None) => None,
        (order, phone) => Some(story::notifications_of(pool, order.as_deref(), phone.as_ref(), EVENTS_MAX).await?),
    };
    let rows = sqlx::query!(
        r#"
        -- listing: page
        select n.id, n.state::text as "state!", n.due_at as "due_at: Time", n.waiting_on::text, n.attempt,
          n.lease_until as "lease_until: Time", n.doubt_since as "doubt_since: Time", n.reason, n.message_id, n.receipt::text,
          n.created_at as "created_at: Time", c.phone as "phone?", s.name as sender, n.template, n.language, n.purpose, n.event_source, n.event_id,
          n.subject, n.expires_at as "expires_at: Time", n.duplicate
        from notifications n
        join contacts c on c.id = n.contact_id
        join senders s on s.id = n.sender
        where ($1::text::notification_state is null or n.state = $1::text::notification_state)
          and ($2::text is null or n.reason = $2)
          and ($3::text is null or n.template = $3)
          and ($4::timestamptz is null or n.id >= uuid_v7_floor($4))
          and ($5::uuid is null or n.id < $5)
          and ($6::uuid[] is null or n.id = any ($6))
        order by n.id desc limit $7
        "#,
        filter.state,
        filter.reason,
        filter.template,
        filter.since.map(time) as _,
        filter.before,
        ids as _,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let columns = Row {
                state: &row.state,
                due_at: row.due_at.map(Time::to_jiff),
                waiting_on: row.waiting_on.as_deref(),
                attempt: row.attempt,
                lease_until: row.lease_until.map(Time::to_jiff),
                doubt_since: row.doubt_since.map(Time::to_jiff),
                reason: row.reason,
                message_id: row.message_id,
                receipt: row.receipt.as_deref(),
            };
            Ok(Item {
                id: row.id,
                state: state(row.id, columns)?,
                created_at: row.created_at.to_jiff(),
                phone: row.phone.as_deref().and_then(|phone| Phone::parse(phone).ok()),
                sender: row.sender,
                template: row.template,
                language: row.language,
                purpose: row.purpose,
                event_source: row.event_source,
                event_id: row.event_id,
                subject: row.subject,
                expires_at: row.expires_at.to_jiff(),
                attempts: row.attempt,
                duplicate: row.duplicate,
            })
        })
        .collect()
}
