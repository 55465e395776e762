//! How templates stand at the provider, per sender and language: only `approved` goes out.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sqlx::{PgExecutor, PgPool};

use super::{
    Error, Time, alone,
    audit::{Act, note},
    dispatch::millis,
    holds, time,
};
use crate::domain::{fact::Approval, remark::Remark};

/// Why a template is held whose category the provider changed to marketing.
pub const RECATEGORISED: &str = "recategorised";

/// One template in one language at one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key<'a> {
    pub sender: i16,
    pub template: &'a str,
    pub language: &'a str,
}

/// What is to be noted of a template. What is `None` stays as it was; `until` and `reason` go with the status.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    pub status: Approval,
    pub category: Option<&'a str>,
    pub quality: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// When the provider said it; older news from it does not undo later one.
    pub at: Option<Timestamp>,
    /// How long it lasts from `at`, if it ends by itself.
    pub lasts: Option<Duration>,
    /// `meta` for the provider's own news, `sync` for its list, else who did it.
    pub by: &'a str,
}

/// Notes how a template stands. Once it is approved, what the provider had stopped is released, and what waited for it comes
/// back. Says whether it was taken: not if the provider has said something later.
///
/// # Errors
/// If the database does not take it.
pub async fn set(pool: &PgPool, key: Key<'_>, news: &News<'_>) -> Result<bool, Error> {
    let taken = write(pool, key, news).await?;
    if taken && news.status == Approval::Approved {
        approved(pool, key).await?;
    }
    Ok(taken)
}

/// As [`set`], for a template of which somebody says by hand that it is approved: the audit trail says so.
///
/// # Errors
/// If the database does not take it.
pub async fn approve(pool: &PgPool, key: Key<'_>, category: &str, by: &str) -> Result<(), Error> {
    let (sender, template, language) = (key.sender, key.template.to_owned(), key.language.to_owned());
    let (category, by) = (category.to_owned(), by.to_owned());
    alone(pool, move |tx| {
        Box::pin(async move {
            let key = Key { sender, template: &template, language: &language };
            let news = News {
                status: Approval::Approved,
                category: Some(&category),
                quality: None,
                reason: None,
                at: None,
                lasts: None,
                by: &by,
            };
            write(&mut *tx, key, &news).await?;
            let name =
                sqlx::query_scalar!("select name from senders where id = $1", sender).fetch_one(&mut *tx).await?;
            let on = format!("{name} {template} {language}");
            let act = Act { by: &by, what: "template.approved", on: Some(&on), reason: None, detail: json!({}) };
            note(&mut *tx, &act).await
        })
    })
    .await?;
    approved(pool, key).await
}

/// What the provider had stopped is released, and what waited comes back.
async fn approved(pool: &PgPool, key: Key<'_>) -> Result<(), Error> {
    release_providers(pool, key).await?;
    holds::wake_template(pool, key.sender, key.template).await?;
    Ok(())
}

async fn write(executor: impl PgExecutor<'_>, key: Key<'_>, news: &News<'_>) -> Result<bool, Error> {
    let taken = sqlx::query_scalar!(
        r#"
        -- templates: set
        insert into template_states as t (sender, template, language, status, category, quality, reason, until, changed_at, changed_by)
        values ($1, $2, $3, $4, $5, $6, $7, coalesce($8, recado_now()) + $9::int8 * interval '1 ms', coalesce($8, recado_now()), $10)
        on conflict (sender, template, language) do update set
          status = excluded.status, category = coalesce(excluded.category, t.category), quality = coalesce(excluded.quality, t.quality),
          reason = excluded.reason, changed_at = excluded.changed_at, changed_by = excluded.changed_by,
          -- A listing does not say how long a pause lasts; the news did.
          until = case when excluded.until is null and excluded.status = t.status then t.until else excluded.until end
        -- News carries whole seconds by the provider's clock, a list was read by ours.
        where not (t.changed_by in ('meta', 'sync') and excluded.changed_by in ('meta', 'sync')
          and t.changed_at > excluded.changed_at + case when t.changed_by = excluded.changed_by then interval '0 s' else interval '5 s' end)
        returning true as "taken!"
        "#,
        key.sender,
        key.template,
        key.language,
        news.status.as_str(),
        news.category,
        news.quality,
        news.reason,
        news.at.map(time) as _,
        news.lasts.map(millis),
        news.by
    )
    .fetch_optional(executor)
    .await?;
    Ok(taken.is_some())
}

/// Notes by which id the provider knows a template's content: what waited for that comes back. One of whose approval nothing is known
/// yet does not go out for that.
///
/// # Errors
/// If the database does not take it.
pub async fn set_content(pool: &PgPool, key: Key<'_>, content_sid: &str, by: &str) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- templates: set content
        insert into template_states (sender, template, language, status, content_sid, changed_by) values ($1, $2, $3, 'pending', $4, $5)
        on conflict (sender, template, language) do update set content_sid = excluded.content_sid
        "#,
        key.sender,
        key.template,
        key.language,
        content_sid,
        by
    )
    .execute(pool)
    .await?;
    holds::wake_template(pool, key.sender, key.template).await?;
    Ok(())
}

async fn release_providers(pool: &PgPool, key: Key<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- templates: release what the provider had stopped
        update holds set released_at = recado_now(), released_by = 'provider'
        where released_at is null and scope = 'template' and sender = $1 and template = $2 and (language is null or language = $3)
          and placed_by = 'provider'
        "#,
        key.sender,
        key.template,
        key.language
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes a template's quality. One that is not known is left unknown.
///
/// # Errors
/// If the database does not take it.
pub async fn set_quality(pool: &PgPool, key: Key<'_>, quality: &str) -> Result<(), Error> {
    sqlx::query!(
        "update template_states set quality = $4 where sender = $1 and template = $2 and language = $3",
        key.sender,
        key.template,
        key.language,
        quality
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes for people what the provider said of a template that changes nothing.
///
/// # Errors
/// If the database does not take it.
pub async fn remark(pool: &PgPool, key: Key<'_>, reason: &str) -> Result<(), Error> {
    sqlx::query!(
        "update template_states set reason = $4 where sender = $1 and template = $2 and language = $3",
        key.sender,
        key.template,
        key.language,
        reason
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes a template's category. One that became marketing is held until an operator looks at it, since people consented to
/// something else; one that is utility again goes on. Says whether it is held now and was not.
///
/// # Errors
/// If the database does not take it.
pub async fn set_category(pool: &PgPool, key: Key<'_>, category: &str, previous: Option<&str>) -> Result<bool, Error> {
    let known = sqlx::query_scalar!(
        "select category from template_states where sender = $1 and template = $2 and language = $3",
        key.sender,
        key.template,
        key.language
    )
    .fetch_optional(pool)
    .await?
    .flatten();
    let was = previous.map(str::to_owned).or(known);
    let scope = holds::Scope::Template {
        sender: key.sender,
        template: key.template.to_owned(),
        language: Some(key.language.to_owned()),
    };
    // Before the category is known: if this ends in between, it is news again.
    let held = match (was.as_deref(), category) {
        (Some("UTILITY"), "MARKETING") => {
            let hold = holds::Hold {
                scope,
                reason: RECATEGORISED.to_owned(),
                detail: Some(Remark::Marketing.to_string()),
                lasts: None,
                by: "recado".to_owned(),
            };
            holds::place(pool, &hold).await?
        }
        (_, "UTILITY") => {
            holds::release(pool, &scope, Some(RECATEGORISED), "provider").await?;
            false
        }
        _ => false,
    };
    sqlx::query!(
        r#"
        -- templates: set category
        update template_states set category = $4 where sender = $1 and template = $2 and language = $3
        "#,
        key.sender,
        key.template,
        key.language,
        category
    )
    .execute(pool)
    .await?;
    Ok(held)
}

/// How a template stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    #[serde(skip)]
    pub sender_id: i16,
    pub sender: String,
    pub template: String,
    pub language: String,
    pub status: String,
    pub category: Option<String>,
    pub quality: Option<String>,
    /// The provider's own id of its content, where it has one.
    pub content_sid: Option<String>,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
    pub changed_at: Timestamp,
    pub changed_by: String,
    /// What the provider has, as `versions` knows it, as far as it was read.
    #[serde(skip)]
    pub version: Option<i32>,
    /// What our file said when it was last found to differ from that.
    #[serde(skip)]
    pub drifted_from: Option<i32>,
    #[serde(skip)]
    pub provider_id: Option<String>,
}

/// All that is known, by sender, template and language.
///
/// # Errors
/// If the database cannot be asked.
pub async fn list(pool: &PgPool) -> Result<Vec<Standing>, Error> {
    let rows = sqlx::query!(
        r#"
        -- templates: list
        select t.sender as sender_id, s.name as sender, t.template, t.language, t.status, t.category, t.quality, t.content_sid, t.reason,
          t.until as "until: Time", t.changed_at as "changed_at: Time", t.changed_by, t.version, t.drifted_from, t.provider_id
        from template_states t join senders s on s.id = t.sender
        order by s.name, t.template, t.language
        "#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Standing {
            sender_id: row.sender_id,
            sender: row.sender,
            template: row.template,
            language: row.language,
            status: row.status,
            category: row.category,
            quality: row.quality,
            content_sid: row.content_sid,
            reason: row.reason,
            until: row.until.map(Time::to_jiff),
            changed_at: row.changed_at.to_jiff(),
            changed_by: row.changed_by,
            version: row.version,
            drifted_from: row.drifted_from,
            provider_id: row.provider_id,
        })
        .collect())
}

/// Marks templates of this sender as deleted that the provider's whole list does not have. Gives their names and languages.
///
/// # Errors
/// If the database does not take it.
pub async fn forget_others(
    pool: &PgPool,
    sender: i16,
    listed: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let (templates, languages): (Vec<&str>, Vec<&str>) = listed.iter().map(|(t, l)| (t.as_str(), l.as_str())).unzip();
    let rows = sqlx::query!(
        r#"
        -- templates: forget others
        update template_states t set status = 'deleted', reason = 'not in the provider''s list', until = null,
          changed_at = recado_now(), changed_by = 'sync'
        where t.sender = $1 and t.status <> 'deleted'
          and not exists (select from unnest($2::text[], $3::text[]) as l(template, language)
            where l.template = t.template and l.language = t.language)
        returning t.template, t.language
        "#,
        sender,
        &templates as _,
        &languages as _
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.template, row.language)).collect())
}
