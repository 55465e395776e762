//! What is kept of one person besides their notifications: what they agreed to, refused and wrote.

use sqlx::PgPool;

use super::{Error, Time, contacts};
use crate::domain::{
    person::{Entry, Message, Person},
    phone::Phone,
};

/// So many messages and entries at most, the latest.
const MOST: i64 = 200;

/// What is known of the person with this number, also if they are known by another one since; none if nobody is. `said` finds the words in what the provider sent.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of(
    pool: &PgPool,
    phone: &Phone,
    said: impl Fn(&serde_json::Value) -> Option<String>,
) -> Result<Option<Person>, Error> {
    let Some(contact) = contacts::of_person(pool, phone).await?.first().copied() else { return Ok(None) };
    let entries = sqlx::query!(
        r#"
        -- person: consents
        select number, at as "at: Time", act, purpose from consent_entries where contact_id = $1 order by number desc limit $2
        "#,
        contact,
        MOST
    )
    .fetch_all(pool)
    .await?;
    let messages = sqlx::query!(
        r#"
        -- person: messages
        select message_id, at as "at: Time", kind, content, answers, did from inbound where contact_id = $1 order by at desc limit $2
        "#,
        contact,
        MOST
    )
    .fetch_all(pool)
    .await?;
    Ok(Some(Person {
        phone: phone.clone(),
        consents: entries
            .into_iter()
            .rev()
            .map(|row| Entry { number: row.number, at: row.at.to_jiff(), act: row.act, purpose: row.purpose })
            .collect(),
        messages: messages
            .into_iter()
            .rev()
            .map(|row| Message {
                id: row.message_id,
                at: row.at.to_jiff(),
                kind: row.kind,
                said: row.content.as_ref().and_then(&said),
                answers: row.answers,
                did: row.did,
            })
            .collect(),
    }))
}
