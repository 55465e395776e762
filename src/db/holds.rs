//! Stops with a reason and an end, on a sender, a template or everything.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgPool};

use super::{Error, Time, dispatch::millis};

/// The reason of every hold that a person placed; what they said is its detail.
pub const BY_HAND: &str = "operator";

/// What a hold stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Everything,
    Sender(i16),
    /// In all languages if `language` is none.
    Template {
        sender: i16,
        template: String,
        language: Option<String>,
    },
}

/// A hold to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub scope: Scope,
    /// A stable name.
    pub reason: String,
    /// For people.
    pub detail: Option<String>,
    /// Until somebody releases it, if none.
    pub lasts: Option<Duration>,
    pub by: String,
}

/// A hold in force.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Hold)]
pub struct InForce {
    pub id: i64,
    pub scope: String,
    pub sender: Option<String>,
    pub template: Option<String>,
    pub language: Option<String>,
    pub reason: String,
    pub detail: Option<String>,
    pub placed_at: Timestamp,
    pub placed_by: String,
    pub until: Option<Timestamp>,
}

fn parts(scope: &Scope) -> (&'static str, Option<i16>, Option<&str>, Option<&str>) {
    match scope {
        Scope::Everything => ("everything", None, None, None),
        Scope::Sender(sender) => ("sender", Some(*sender), None, None),
        Scope::Template { sender, template, language } => {
            ("template", Some(*sender), Some(template), language.as_deref())
        }
    }
}

/// Places a hold, or prolongs the one of the same scope and reason. Says whether it is new.
///
/// # Errors
/// If the database does not take it.
pub async fn place(executor: impl PgExecutor<'_>, hold: &Hold) -> Result<bool, Error> {
    let (scope, sender, template, language) = parts(&hold.scope);
    let row = sqlx::query!(
        r#"
        -- holds: place
        with over as (
          -- One whose time is over is another one.
          update holds set released_at = until, released_by = 'recado'
          where scope = $1::text::hold_scope and coalesce(sender, 0) = coalesce($2::int2, 0) and coalesce(template, '') = coalesce($3, '')
            and coalesce(language, '') = coalesce($4, '') and reason = $5 and released_at is null and until <= recado_now()
          returning id
        ), placed as (
          insert into holds (scope, sender, template, language, reason, detail, placed_by, until)
          select $1::text::hold_scope, $2, $3, $4, $5, $6, $7, recado_now() + $8::int8 * interval '1 ms' from (select count(*) from over) o
          on conflict (scope, coalesce(sender, 0), coalesce(template, ''), coalesce(language, ''), reason) where released_at is null
          -- `greatest` passes over a null, which here is the longest of all.
          do update set detail = excluded.detail,
            until = case when holds.until is not null and excluded.until is not null then greatest(holds.until, excluded.until) end
          returning id, xmax = 0 as new
        ), noted as (
          insert into audit (by, what, "on", reason, detail)
          select $7, case when new then 'hold.placed' else 'hold.prolonged' end, 'hold ' || id, $6, jsonb_strip_nulls(jsonb_build_object(
            'scope', $1::text, 'sender', (select name from senders where id = $2), 'template', $3::text, 'language', $4::text))
          -- What Recado holds by itself is nobody's act.
          from placed where $7 ~ '^(key|user|cli)( |$)'
        )
        select new as "new!" from placed
        "#,
        scope,
        sender,
        template,
        language,
        hold.reason,
        hold.detail,
        hold.by,
        hold.lasts.map(millis),
    )
    .fetch_one(executor)
    .await?;
    Ok(row.new)
}

/// Releases the holds of a scope, or only those with this reason, and brings back what waited for them, in batches. Says how
/// many holds were released.
///
/// # Errors
/// If the database does not take it; upkeep brings back what was left.
pub async fn release(pool: &PgPool, scope: &Scope, reason: Option<&str>, by: &str) -> Result<u64, Error> {
    let released = release_held(pool, scope, reason, by, None).await?;
    wake(pool, scope).await?;
    Ok(released)
}

/// Releases all holds of a scope for somebody who says why, as [`release`] does.
///
/// # Errors
/// If the database does not take it; upkeep brings back what was left.
pub async fn release_by_hand(pool: &PgPool, scope: &Scope, by: &str, because: &str) -> Result<u64, Error> {
    let released = release_held(pool, scope, None, by, Some(because)).await?;
    wake(pool, scope).await?;
    Ok(released)
}

/// Brings back what waited for a hold of that scope.
pub(super) async fn wake(pool: &PgPool, scope: &Scope) -> Result<(), Error> {
    if let Scope::Template { sender, template, .. } = scope {
        wake_template(pool, *sender, template).await?;
    }
    Ok(())
}

/// As [`release`], `because` of what an operator says; what waited for them is left to be brought back.
///
/// # Errors
/// If the database does not take it.
pub(super) async fn release_held(
    executor: impl PgExecutor<'_>,
    scope: &Scope,
    reason: Option<&str>,
    by: &str,
    because: Option<&str>,
) -> Result<u64, Error> {
    let (name, sender, template, language) = parts(scope);
    let released = sqlx::query!(
        r#"
        -- holds: release
        with released as (
          update holds set released_at = recado_now(), released_by = $6, released_because = $7
          where released_at is null and scope = $1::text::hold_scope and sender is not distinct from $2 and template is not distinct from $3
            and ($4::text is null or language is not distinct from $4) and ($5::text is null or reason = $5)
          returning id
        ), noted as (
          insert into audit (by, what, "on", reason)
          select $6, 'hold.released', 'hold ' || id, $7 from released where $6 ~ '^(key|user|cli)( |$)'
        )
        select id as "id!" from released
        "#,
        name,
        sender,
        template,
        language,
        reason,
        by,
        because
    )
    .fetch_all(executor)
    .await?
    .len() as u64;
    Ok(released)
}

/// Releases one hold by its number, for somebody who says why. Says whether it was in force.
///
/// # Errors
/// If the database does not take it.
pub async fn release_one(pool: &PgPool, id: i64, by: &str, because: &str) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"
        -- holds: release one
        with released as (
          update holds set released_at = recado_now(), released_by = $2, released_because = $3
          where id = $1 and released_at is null returning id, sender, template
        ), noted as (
          insert into audit (by, what, "on", reason)
          select $2, 'hold.released', 'hold ' || id, $3 from released where $2 ~ '^(key|user|cli)( |$)'
        )
        select sender, template from released
        "#,
        id,
        by,
        because
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(false) };
    if let (Some(sender), Some(template)) = (row.sender, row.template) {
        wake_template(pool, sender, &template).await?;
    }
    Ok(true)
}

/// Ends the holds whose time is over, and says which. They hold nothing any more; their end is told.
///
/// # Errors
/// If the database does not take it.
pub async fn end_over(pool: &PgPool) -> Result<Vec<i64>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- holds: end those whose time is over
        update holds set released_at = until, released_by = 'recado' where released_at is null and until <= recado_now() returning id
        "#
    )
    .fetch_all(pool)
    .await?)
}

/// Brings back what waits for this template, a batch at a time; the claim decides each again.
///
/// # Errors
/// If the database does not take it.
pub async fn wake_template(pool: &PgPool, sender: i16, template: &str) -> Result<u64, Error> {
    const BATCH: i64 = 1_000;
    let mut woken = 0;
    loop {
        let done = sqlx::query!(
            r#"
            -- holds: wake
            update notifications n set waiting_on = null, due_at = least(n.expires_at, recado_now())
            from (select id from notifications where waiting_on = 'template' and sender = $1 and template = $2
                  order by id limit $3 for no key update skip locked) w
            where n.id = w.id
            "#,
            sender,
            template,
            BATCH
        )
        .execute(pool)
        .await?
        .rows_affected();
        woken += done;
        if done < BATCH.unsigned_abs() {
            return Ok(woken);
        }
    }
}

/// Templates for which somebody waits although nothing stands in the way any more. Those of the senders `by_content`, whose providers
/// send a template by the id of its content, are free only if that is known.
///
/// # Errors
/// If the database cannot be asked.
pub async fn free_templates_with_queue(pool: &PgPool, by_content: &[i16]) -> Result<Vec<(i16, String)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- upkeep: free templates with a queue
        with waiting as (
          select distinct sender, template, language from notifications where waiting_on = 'template'
        )
        select distinct w.sender as "sender!", w.template as "template!" from waiting w
        join template_states t on t.sender = w.sender and t.template = w.template and t.language = w.language
        where t.status = 'approved' and (t.until is null or t.until <= recado_now())
          and (t.content_sid is not null or t.sender <> all ($1))
          and not exists (select from holds h where h.scope = 'template' and h.released_at is null
            and (h.until is null or h.until > recado_now()) and h.sender = w.sender and h.template = w.template
            and (h.language is null or h.language = w.language))
        "#,
        by_content
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.sender, row.template)).collect())
}

/// All holds in force, oldest first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn in_force(pool: &PgPool) -> Result<Vec<InForce>, Error> {
    let rows = sqlx::query!(
        r#"
        select h.id, h.scope::text as "scope!", s.name as "sender?", h.template, h.language, h.reason, h.detail,
          h.placed_at as "placed_at: Time", h.placed_by, h.until as "until: Time"
        from holds h left join senders s on s.id = h.sender
        where h.released_at is null and (h.until is null or h.until > recado_now())
        order by h.id
        "#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| InForce {
            id: row.id,
            scope: row.scope,
            sender: row.sender,
            template: row.template,
            language: row.language,
            reason: row.reason,
            detail: row.detail,
            placed_at: row.placed_at.to_jiff(),
            placed_by: row.placed_by,
            until: row.until.map(Time::to_jiff),
        })
        .collect())
}
