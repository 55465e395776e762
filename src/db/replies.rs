//! Free texts that one act of a person permits: each is sent once at most, and one whose outcome is unknown is not sent again.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, Time, dispatch::millis, opt_ins::Tells, time};
use crate::domain::{form::says::Saying, opt_in::Hash, whereabouts::Reached};

/// Notes a text that is to go out. False if the same act has led to the same text before, or the person just got the like.
pub(super) async fn add(
    tx: &mut PgConnection,
    contact: i64,
    opt_in: Option<Uuid>,
    form: &str,
    locale: &str,
    tells: &Tells,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        -- replies: add
        insert into replies (id, sender, contact_id, saying, because, form, locale, opt_in, until, due_at)
        select gen_random_uuid(), $1, $2, $3, $4, $5, $6, $7, $8, recado_now()
        -- Two machines that answer each other stop here.
        where $3 = 'sms' or (select count(*) from replies r where r.contact_id = $2 and r.saying = $3
          and r.at > recado_now() - interval '1 hour') < 3
        on conflict (because, saying) do nothing
        "#,
        tells.sender,
        contact,
        tells.saying.as_str(),
        tells.because,
        form,
        locale,
        opt_in,
        time(tells.until) as _,
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes the answer to a message of somebody, in this form's words.
///
/// # Errors
/// If the database does not take it.
pub async fn answer(pool: &PgPool, contact: i64, form: &str, locale: &str, tells: &Tells) -> Result<bool, Error> {
    add(&mut *pool.acquire().await?, contact, None, form, locale, tells).await
}

/// A text that is ours to send until its lease runs out.
#[derive(Debug)]
pub struct Claim {
    pub id: Uuid,
    pub sender: i16,
    pub contact: i64,
    /// E.164; unknown of somebody under a username.
    pub phone: Option<String>,
    pub wa_id: Option<String>,
    pub user_id: Option<String>,
    pub saying: Saying,
    pub form: String,
    pub locale: String,
    pub opt_in: Option<Uuid>,
    pub tries: i16,
}

/// Takes the next texts of a sender that is not held, at most `limit`. Those whose time is over end; those whose sender was lost
/// on the way are in doubt from now on.
///
/// # Errors
/// If the database cannot be asked.
pub async fn claim(pool: &PgPool, sender: i16, limit: i64, lease: Duration) -> Result<Vec<Claim>, Error> {
    sqlx::query!(
        r#"
        -- replies: reap
        with lost as (
          update replies set state = 'in_doubt', lease_until = null, reason = 'lease_lost', ended_at = recado_now()
          where state = 'sending' and lease_until < recado_now() and sender = $1
        )
        update replies set state = 'suppressed', due_at = null, reason = 'expired', ended_at = recado_now()
        where state = 'pending' and until <= recado_now() and sender = $1
        "#,
        sender
    )
    .execute(pool)
    .await?;
    let rows = sqlx::query!(
        r#"
        -- replies: claim
        with due as materialized (
          select id from replies where sender = $1 and state = 'pending' and due_at <= recado_now()
            and not exists (select from holds h where h.released_at is null and (h.until is null or h.until > recado_now())
              and (h.scope = 'everything' or h.scope = 'sender' and h.sender = $1))
          order by due_at limit $2
          for no key update skip locked
        ), taken as (
          update replies r set state = 'sending', due_at = null, lease_until = recado_now() + $3 * interval '1 ms', tries = tries + 1,
            sent_at = recado_now()
          from due where r.id = due.id
          returning r.*
        )
        select t.id, t.sender, t.contact_id, c.phone, c.wa_id, c.user_id, t.saying, t.form, t.locale, t.opt_in, t.tries
        from taken t join contacts p on p.id = t.contact_id join contacts c on c.id = coalesce(p.merged_into, p.id)
        "#,
        sender,
        limit,
        millis(lease) as _
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Claim {
                saying: Saying::named(&row.saying).ok_or_else(|| Error::Inconsistent {
                    table: "replies",
                    column: "saying",
                    row: row.id.to_string(),
                })?,
                id: row.id,
                sender: row.sender,
                contact: row.contact_id,
                phone: row.phone,
                wa_id: row.wa_id,
                user_id: row.user_id,
                form: row.form,
                locale: row.locale,
                opt_in: row.opt_in,
                tries: row.tries,
            })
        })
        .collect()
}

/// What became of a text that was sent.
#[derive(Debug, Clone)]
pub enum Fate {
    Accepted {
        message_id: String,
    },
    /// Proven not sent: once more.
    Again {
        after: Duration,
    },
    Failed {
        reason: String,
        code: Option<i32>,
    },
    /// May have been sent, so it is not sent again.
    InDoubt {
        reason: String,
    },
    Suppressed {
        reason: &'static str,
    },
}

/// Writes down what became of a claim. A lease that was lost meanwhile is written over: evidence is evidence.
///
/// # Errors
/// If the database does not take it; when the lease is over it is in doubt.
pub async fn settle(pool: &PgPool, id: Uuid, fate: &Fate) -> Result<(), Error> {
    let (state, message_id, after, reason, code) = match fate {
        Fate::Accepted { message_id } => ("accepted", Some(message_id.as_str()), None, None, None),
        Fate::Again { after } => ("pending", None, Some(millis(*after)), None, None),
        Fate::Failed { reason, code } => ("failed", None, None, Some(reason.as_str()), *code),
        Fate::InDoubt { reason } => ("in_doubt", None, None, Some(reason.as_str()), None),
        Fate::Suppressed { reason } => ("suppressed", None, None, Some(*reason), None),
    };
    sqlx::query!(
        r#"
        -- replies: settle
        update replies set state = $2, message_id = $3, due_at = recado_now() + $4 * interval '1 ms', reason = $5, code = $6,
          lease_until = null, ended_at = case when $2 <> 'pending' then recado_now() end
        where id = $1 and (state = 'sending' or state = 'in_doubt' and $2 in ('accepted', 'failed'))
        "#,
        id,
        state,
        message_id,
        after.map(|ms| ms as f64),
        reason,
        code
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Puts a new link, and a code to type, into the hands of whoever gets the text. Earlier links stay good for their time.
///
/// # Errors
/// If the database does not take it.
pub async fn arm(
    pool: &PgPool,
    opt_in: Uuid,
    link: &Hash,
    until: Timestamp,
    code: Option<(&Hash, Timestamp)>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        -- replies: arm
        with opt_in as (
          update opt_ins set code_hash = coalesce($4, code_hash), code_until = coalesce($5, code_until),
            tries = case when $4::bytea is null then tries else 0 end
          where id = $1 and state = 'pending'
          returning id, expires_at
        )
        insert into tokens (hash, kind, opt_in, until) select $2, 'link', id, $3 from opt_in
        "#,
        opt_in,
        link.as_slice(),
        time(until) as _,
        code.map(|(hash, _)| hash.to_vec()),
        code.map(|(_, until)| time(until)) as _,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a provider reported of a text, told by its own id or by the id that we sent along.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    pub message_id: &'a str,
    pub tag: Option<Uuid>,
    /// sent, delivered, read, failed.
    pub kind: &'a str,
    pub reason: Option<&'a str>,
    pub code: Option<i32>,
}

/// Notes a report. Gives whose text it was; none if it was no text of ours.
///
/// # Errors
/// If the database does not take it.
pub async fn reported(pool: &PgPool, report: &Report<'_>) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- replies: reported
        with heard as (
          -- Reports overtake one another; a failure that comes late does not undo that somebody has it.
          select id, greatest(receipt::receipt, $3::text::receipt) as best from replies
          where (message_id = $1 or id = $2) and state not in ('pending', 'suppressed')
          for no key update
        )
        update replies r set
          message_id = coalesce(r.message_id, $1),
          receipt = h.best::text,
          -- That something else than a failure is reported of it proves that it went.
          state = case when h.best = 'failed' then 'failed' else 'accepted' end,
          reason = case when h.best <> 'failed' then null when $3 = 'failed' then $4 else r.reason end,
          code = case when h.best <> 'failed' then null when $3 = 'failed' then $5::int else r.code end,
          lease_until = null, due_at = null, ended_at = coalesce(r.ended_at, recado_now())
        from heard h where r.id = h.id
        returning r.contact_id
        "#,
        report.message_id,
        report.tag,
        report.kind,
        report.reason.unwrap_or("failed"),
        report.code
    )
    .fetch_optional(pool)
    .await?)
}

/// When a sender that may send `cap` texts in 24 hours may send the next one; none if it may now.
///
/// # Errors
/// If the database cannot be asked.
pub async fn full_until(pool: &PgPool, sender: i16, cap: u32) -> Result<Option<Timestamp>, Error> {
    let row = sqlx::query_scalar!(
        r#"
        -- replies: full until
        select r.sent_at + interval '24 h' as "at!: Time" from replies r
        where r.sender = $1 and r.sent_at > recado_now() - interval '24 h' and r.state <> 'suppressed'
        order by r.sent_at desc offset $2 limit 1
        "#,
        sender,
        i64::from(cap.saturating_sub(1))
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Time::to_jiff))
}

/// How far this person's latest orders have come: of each the last event of one of these `types`, by the events' own time; the three that
/// moved last, within two months.
///
/// # Errors
/// If the database cannot be asked.
pub async fn reached(pool: &PgPool, contact: i64, types: &[String]) -> Result<Vec<Reached>, Error> {
    let rows = sqlx::query!(
        r#"
        -- replies: reached
        with theirs as (
          select distinct source, subject from inbox
          where contact_id in (select id from contacts where id = $1 or merged_into = (select coalesce(merged_into, id) from contacts where id = $1)
              union all select merged_into from contacts where id = $1)
            and subject is not null and received_at > recado_now() - interval '60 days'
        )
        select t.subject as "subject!", e.type, e.time as "time!: Time" from theirs t
        cross join lateral (
          select e.type, e.time from inbox e where e.subject = t.subject and e.source = t.source and e.type = any ($2)
            and e.time <= recado_now() + interval '1 h'
          order by e.time desc, e.stage desc nulls last limit 1
        ) e
        order by e.time desc limit 3
        "#,
        contact,
        types
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Reached { subject: row.subject, event_type: row.r#type, at: row.time.to_jiff() })
        .collect())
}
