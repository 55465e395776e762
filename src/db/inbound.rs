//! What people write to us: each message once, with the window that it opens.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, time};
use crate::domain::{fact::Identity, phone::Phone};

/// Who is meant by the provider's ids, and by the message of ours that somebody answers.
#[derive(Debug, Clone, Default)]
pub struct Sought<'a> {
    pub wa_id: Option<&'a str>,
    pub user_id: Option<&'a str>,
    pub answers: Option<&'a str>,
    /// The provider's id read as a number, as every number is read: so it stands on contacts.
    number: Option<Phone>,
}

impl<'a> Sought<'a> {
    #[must_use]
    pub fn new(who: &'a Identity, answers: Option<&'a str>) -> Sought<'a> {
        let number = who.wa_id.as_ref().and_then(|digits| Phone::parse(&format!("+{digits}")).ok());
        Sought { wa_id: who.wa_id.as_deref(), user_id: who.user_id.as_deref(), answers, number }
    }
}

/// Every contact that one of the ids leads to. Two spellings of one number may be two contacts.
///
/// # Errors
/// If the database cannot be asked.
pub async fn find(pool: &PgPool, sought: &Sought<'_>) -> Result<Vec<i64>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- inbound: find
        select id as "id!" from contacts where wa_id = $1
        union select coalesce(merged_into, id) from contacts where phone = '+' || $1::text or phone = $4
        union select id from contacts where user_id = $2
        union select coalesce(c.merged_into, c.id) from notifications n join contacts c on c.id = n.contact_id where n.message_id = $3
        order by 1
        "#,
        sought.wa_id,
        sought.user_id,
        sought.answers,
        sought.number.as_ref().map(Phone::reveal)
    )
    .fetch_all(pool)
    .await?)
}

/// Makes a contact of somebody unknown.
///
/// # Errors
/// If the database does not take it, or neither id is given.
pub async fn introduce(pool: &PgPool, who: &Sought<'_>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- inbound: introduce
        insert into contacts (phone, user_id) values (coalesce($3, '+' || $1::text), $2)
        on conflict (phone) do update set user_id = coalesce(excluded.user_id, contacts.user_id)
        returning id
        "#,
        who.wa_id,
        who.user_id,
        who.number.as_ref().map(Phone::reveal)
    )
    .fetch_one(pool)
    .await?)
}

/// A message from a person.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    pub message_id: &'a str,
    pub sender: i16,
    /// All that the ids lead to; the first is the one it is filed under.
    pub contacts: &'a [i64],
    pub at: Timestamp,
    pub kind: &'a str,
    pub content: &'a Value,
    pub answers: Option<&'a str>,
    /// What it made us do.
    pub did: Option<&'static str>,
    /// What producers are told.
    pub told: &'a Value,
}

/// Whether this message was kept before.
///
/// # Errors
/// If the database cannot be asked.
pub async fn is_known(pool: &PgPool, message_id: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(r#"select exists (select from inbound where message_id = $1) as "known!""#, message_id)
        .fetch_one(pool)
        .await?)
}

/// Keeps a message, opens the person's window for 24 hours from when it was written, brings back what may go as a free text now, and
/// tells it. Says whether something was brought back.
///
/// # Errors
/// If the database does not take it; nothing is kept then.
pub async fn keep(pool: &PgPool, message: &Message<'_>) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"
        -- inbound: keep
        with kept as (
          insert into inbound (message_id, sender, contact_id, at, kind, content, answers, did)
          values ($1, $2, ($3::int8[])[1], $4, $5, $6, $7, $8)
          on conflict do nothing
          returning sender, at
        ), opened as (
          insert into lanes (contact_id, sender, window_until)
          select c.id, k.sender, least(k.at, recado_now()) + interval '24 h' from kept k cross join unnest($3::int8[]) as c(id) order by c.id
          on conflict (contact_id, sender) do update set window_until = greatest(lanes.window_until, excluded.window_until)
          returning contact_id, sender
        ), told as (
          insert into outbox (kind, payload) select 'inbound', $9 from kept
        )
        -- Only when the lanes are locked, and as things stand then: a claim that has just put somebody to wait there is seen.
        select coalesce(sum(wake_for_window(o.contact_id, $2)), 0)::int8 as "woken!"
        from unnest((select array_agg(contact_id) from opened)) o(contact_id)
        "#,
        message.message_id,
        message.sender,
        message.contacts,
        time(message.at) as _,
        message.kind,
        message.content,
        message.answers,
        message.did,
        message.told,
    )
    .fetch_one(pool)
    .await?;
    Ok(row.woken > 0)
}

/// The notification whose message this was.
///
/// # Errors
/// If the database cannot be asked.
pub async fn answered(pool: &PgPool, message_id: &str) -> Result<Option<Uuid>, Error> {
    Ok(sqlx::query_scalar!("select id from notifications where message_id = $1 limit 1", message_id)
        .fetch_optional(pool)
        .await?)
}
