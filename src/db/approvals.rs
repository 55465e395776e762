//! What providers were asked about templates and told of them: when a list was last read, in what it differed from our files,
//! and what was pushed.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time, dispatch::millis, templates::Key};

/// Notes what the provider has of a template of ours, and what our file says if that is something else.
///
/// # Errors
/// If the database does not take it.
pub async fn compare(pool: &PgPool, key: Key<'_>, theirs: Option<i32>, ours: Option<i32>) -> Result<(), Error> {
    sqlx::query!(
        "update template_states set version = $4, drifted_from = $5 where sender = $1 and template = $2 and language = $3",
        key.sender,
        key.template,
        key.language,
        theirs,
        ours
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Says that a sender's templates are to be read from its provider soon.
///
/// # Errors
/// If the database does not take it.
pub async fn want(pool: &PgPool, sender: i16) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into template_syncs (sender, wanted_at) values ($1, recado_now())
        on conflict (sender) do update set wanted_at = excluded.wanted_at
        "#,
        sender
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Those of the senders whose templates are to be read now: never read, not for so long, or wanted since; and not tried just now.
///
/// # Errors
/// If the database cannot be asked.
pub async fn due(pool: &PgPool, senders: &[i16], every: Duration, gap: Duration) -> Result<Vec<i16>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- approvals: due
        select s.id as "id!" from unnest($1::int2[]) as s(id) left join template_syncs t on t.sender = s.id
        where (t.synced_at is null or t.synced_at <= recado_now() - $2::int8 * interval '1 ms' or t.wanted_at > t.synced_at)
          and (t.tried_at is null or t.tried_at <= recado_now() - $3::int8 * interval '1 ms')
        order by s.id
        "#,
        senders,
        millis(every),
        millis(gap)
    )
    .fetch_all(pool)
    .await?)
}

/// Notes that a sender's templates are about to be read; gives the moment, by the database's clock.
///
/// # Errors
/// If the database does not take it.
pub async fn begin(pool: &PgPool, sender: i16) -> Result<Timestamp, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        insert into template_syncs (sender, tried_at) values ($1, recado_now())
        on conflict (sender) do update set tried_at = excluded.tried_at
        returning tried_at as "tried_at!: Time"
        "#,
        sender
    )
    .fetch_one(pool)
    .await?
    .to_jiff())
}

/// Notes how that went: read as it was at `begun`, or why not.
///
/// # Errors
/// If the database does not take it.
pub async fn end(pool: &PgPool, sender: i16, begun: Timestamp, problem: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update template_syncs set problem = $3, synced_at = case when $3::text is null then $2::timestamptz else synced_at end
        where sender = $1
        "#,
        sender,
        super::time(begun) as _,
        problem
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What was pushed, and what came back.
#[derive(Debug, Clone)]
pub struct Push<'a> {
    /// `create` or `edit`.
    pub act: &'a str,
    pub version: i32,
    /// How it stood before, if it was there.
    pub stood: Option<&'a str>,
    pub by: &'a str,
    pub provider_id: Option<&'a str>,
    pub status: &'a str,
    pub category: Option<&'a str>,
}

/// Notes a push, also in the audit trail, and the provider's id for the template.
///
/// # Errors
/// If the database does not take it.
pub async fn pushed(pool: &PgPool, key: Key<'_>, push: &Push<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- approvals: pushed
        with known as (
          update template_states set provider_id = coalesce($8, provider_id), version = $5, drifted_from = null
          where sender = $1 and template = $2 and language = $3
        ), noted as (
          insert into audit (by, what, "on", detail)
          select $7, 'template.pushed', concat_ws(' ', s.name, $2::text, $3::text),
            jsonb_build_object('act', $4::text, 'version', $5::int, 'status', $9::text)
          from senders s where s.id = $1
        )
        insert into template_pushes (sender, template, language, act, version, stood, by, provider_id, status, category)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        key.sender,
        key.template,
        key.language,
        push.act,
        push.version,
        push.stood,
        push.by,
        push.provider_id,
        push.status,
        push.category
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// When a template was edited in the last 30 days while it was approved, the latest first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn edits(pool: &PgPool, key: Key<'_>) -> Result<Vec<Timestamp>, Error> {
    let rows = sqlx::query_scalar!(
        r#"
        -- approvals: edits
        select at as "at: Time" from template_pushes
        where sender = $1 and template = $2 and language = $3 and act = 'edit' and stood = 'approved'
          and at > recado_now() - interval '30 days'
        order by at desc
        "#,
        key.sender,
        key.template,
        key.language
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Time::to_jiff).collect())
}
