//! What there is about one person besides the ledger: what they were sent, what they wrote, what they were asked and answered.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Time};

/// Who it is, in every name that is known.
#[derive(Debug, Clone, Serialize)]
pub struct Names {
    pub phone: Option<String>,
    pub wa_id: Option<String>,
    pub user_id: Option<String>,
    pub locale: Option<String>,
    pub known_since: Timestamp,
}

/// A message that was sent, or was to be, and the entry of the ledger that allowed it.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    pub id: Uuid,
    pub at: Timestamp,
    pub purpose: String,
    pub template: String,
    pub language: String,
    pub state: String,
    pub reason: Option<String>,
    pub consent_entry: Option<i32>,
    pub message_id: Option<String>,
    pub receipt: Option<String>,
}

/// A message that the person wrote.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    pub message_id: String,
    pub at: Timestamp,
    pub kind: String,
    pub content: Option<Value>,
    pub did: Option<String>,
}

/// A free text to the person.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    pub at: Timestamp,
    pub saying: String,
    pub because: String,
    pub form: String,
    pub locale: String,
    pub state: String,
    pub reason: Option<String>,
    pub message_id: Option<String>,
    pub receipt: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Evidence {
    pub names: Names,
    pub sent: Vec<Sent>,
    pub written: Vec<Written>,
    pub told: Vec<Told>,
}

/// What there is about a contact.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of(pool: &PgPool, contact: i64) -> Result<Option<Evidence>, Error> {
    let names = sqlx::query!(
        r#"select phone, wa_id, user_id, locale, created_at as "created_at: Time" from contacts where id = $1"#,
        contact
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = names else { return Ok(None) };
    let names = Names {
        phone: row.phone,
        wa_id: row.wa_id,
        user_id: row.user_id,
        locale: row.locale,
        known_since: row.created_at.to_jiff(),
    };
    let sent = sqlx::query!(
        r#"
        -- evidence: sent
        select id, created_at as "created_at: Time", purpose, template, language, state::text as "state!", reason, consent_entry, message_id,
          receipt::text as receipt
        from notifications where id in (select unnest(notifications) from inbox where contact_id = $1) order by id
        "#,
        contact
    )
    .fetch_all(pool)
    .await?;
    let sent = sent.into_iter().map(|row| Sent {
        id: row.id,
        at: row.created_at.to_jiff(),
        purpose: row.purpose,
        template: row.template,
        language: row.language,
        state: row.state,
        reason: row.reason,
        consent_entry: row.consent_entry,
        message_id: row.message_id,
        receipt: row.receipt,
    });
    let written = sqlx::query!(
        r#"select message_id, at as "at: Time", kind, content, did from inbound where contact_id = $1 order by at"#,
        contact
    )
    .fetch_all(pool)
    .await?;
    let written = written.into_iter().map(|row| Written {
        message_id: row.message_id,
        at: row.at.to_jiff(),
        kind: row.kind,
        content: row.content,
        did: row.did,
    });
    let told = sqlx::query!(
        r#"
        -- evidence: told
        select at as "at: Time", saying, because, form, locale, state, reason, message_id, receipt
        from replies where contact_id = $1 order by at
        "#,
        contact
    )
    .fetch_all(pool)
    .await?;
    let told = told.into_iter().map(|row| Told {
        at: row.at.to_jiff(),
        saying: row.saying,
        because: row.because,
        form: row.form,
        locale: row.locale,
        state: row.state,
        reason: row.reason,
        message_id: row.message_id,
        receipt: row.receipt,
    });
    Ok(Some(Evidence { names, sent: sent.collect(), written: written.collect(), told: told.collect() }))
}
