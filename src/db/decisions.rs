//! What operators decide about notifications: to end them, or to let them try again. Each is judged by how its row, once locked, stands;
//! what is then done to all of them is one statement, and leaves its mark on each one's timeline.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, alone, audit};
use crate::domain::action::{Action, Standing, StateName, judge};

/// What became of a decision about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Done,
    /// There is no such notification.
    Unknown,
    /// Nothing was changed, since it is in this state (for this reason).
    Refused(Refused),
}

/// How something stands with which nothing could be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub state: String,
    pub reason: Option<String>,
    pub expired: bool,
    /// Its values.
    pub kept: bool,
    /// An SMS went instead.
    pub followed: bool,
}

/// A notification whose row is locked.
#[derive(Debug)]
pub(super) struct Locked {
    pub id: Uuid,
    pub standing: Standing,
}

/// By whom, in which plan, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub by: &'a str,
    /// The plan, if it is one's.
    pub plan: Option<&'a str>,
    pub reason: Option<&'a str>,
}

/// Does one thing to one notification, and notes in its story and in the audit trail `why`:
///
/// - cancel ends what is pending (as suppressed) or in doubt (as failed: it may have been received); give up only the latter;
/// - retry makes one pending again whose every attempt is proven undelivered: it failed for a known reason, or it was suppressed. It goes
///   through the whole claim again, consent included;
/// - resend does that also to what is in doubt or ended so: the person may get it twice, so the next attempt is marked as a resend.
///
/// # Errors
/// If the database does not take it.
pub async fn decide(pool: &PgPool, action: Action, id: Uuid, by: &str, why: &str) -> Result<Decided, Error> {
    let (by, why) = (by.to_owned(), why.to_owned());
    alone(pool, move |tx| {
        Box::pin(async move {
            let Some(locked) = lock_one(tx, id).await? else { return Ok(Decided::Unknown) };
            if judge(action, &locked.standing).is_err() {
                let standing = locked.standing;
                return Ok(Decided::Refused(Refused {
                    state: standing.state.as_str().to_owned(),
                    reason: standing.reason,
                    expired: standing.expired,
                    kept: standing.kept,
                    followed: standing.followed,
                }));
            }
            act(tx, action, &[locked], Order { by: &by, plan: None, reason: Some(&why) }).await?;
            let what = match action {
                Action::Cancel => "notification.cancelled",
                Action::Resend => "notification.resent",
                Action::GiveUp => "notification.given_up",
                Action::Retry | Action::Replay | Action::Hold | Action::Release => "notification.retried",
            };
            let on = id.to_string();
            let note = audit::Act { by: &by, what, on: Some(&on), reason: Some(&why), detail: json!({}) };
            audit::note(&mut *tx, &note).await?;
            Ok(Decided::Done)
        })
    })
    .await
}

struct Row {
    id: Uuid,
    state: String,
    reason: Option<String>,
    expired: bool,
    kept: bool,
    followed: bool,
}

fn locked(row: Row) -> Result<Locked, Error> {
    let wrong = || Error::Inconsistent { table: "notifications", column: "state", row: row.id.to_string() };
    let state = StateName::named(&row.state).ok_or_else(wrong)?;
    let standing = Standing { state, reason: row.reason, expired: row.expired, kept: row.kept, followed: row.followed };
    Ok(Locked { id: row.id, standing })
}

async fn lock_one(tx: &mut PgConnection, id: Uuid) -> Result<Option<Locked>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        -- decisions: lock one
        select id, state::text as "state!", reason, expires_at <= recado_now() as "expired!",
          filled is not null or free_text is not null as "kept!", fallback is not null as "followed!"
        from notifications where id = $1 for no key update
        "#,
        id
    )
    .fetch_optional(tx)
    .await?;
    row.map(locked).transpose()
}

/// Locks those of `ids` that nobody else has in hand.
///
/// # Errors
/// If the database cannot be asked, or a row makes no sense.
pub(super) async fn lock(tx: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Locked>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        -- decisions: lock
        select id, state::text as "state!", reason, expires_at <= recado_now() as "expired!",
          filled is not null or free_text is not null as "kept!", fallback is not null as "followed!"
        from notifications where id = any ($1) order by id for no key update skip locked
        "#,
        ids
    )
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(locked).collect()
}

/// Does it to all of them, which were locked and judged in this transaction.
///
/// # Errors
/// If the database does not take it.
pub(super) async fn act(tx: &mut PgConnection, action: Action, all: &[Locked], order: Order<'_>) -> Result<(), Error> {
    let ids: Vec<Uuid> = all.iter().map(|one| one.id).collect();
    match action {
        _ if ids.is_empty() => Ok(()),
        Action::Retry | Action::Resend => {
            let resent: Vec<bool> = all.iter().map(|one| one.standing.may_have_arrived()).collect();
            again(tx, &ids, &resent, order).await
        }
        Action::Cancel => end(tx, &ids, "cancelled", order).await,
        Action::GiveUp => end(tx, &ids, "gave_up", order).await,
        Action::Replay | Action::Hold | Action::Release => Ok(()),
    }
}

async fn end(tx: &mut PgConnection, ids: &[Uuid], noted: &str, order: Order<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- decisions: end
        with moved as (
          update notifications n set
            state = case n.state when 'pending' then 'suppressed' else 'failed' end::notification_state,
            reason = case n.state when 'pending' then 'cancelled' else 'unknown' end,
            due_at = null, waiting_on = null, doubt_since = null, ended_at = recado_now(), statuses = n.statuses + 1
          where n.id = any ($1) and n.state in ('pending', 'in_doubt')
          returning n.id, n.statuses, n.state, n.reason, n.sender
        ), noted as (
          insert into timeline (notification_id, at, what, detail, by, reason)
          select id, recado_now(), $2, $3, $4, $5 from moved order by id
        )
        insert into outbox (notification_id, sequence, kind, reason, sender)
        select id, statuses, state::text, reason, sender from moved order by id
        "#,
        ids,
        noted,
        order.plan,
        order.by,
        order.reason
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// `resent` says of each whether its person may get it twice.
async fn again(tx: &mut PgConnection, ids: &[Uuid], resent: &[bool], order: Order<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- decisions: try again
        with moved as (
          update notifications n set
            state = 'pending', due_at = recado_now(), waiting_on = null, doubt_since = null, reason = null, ended_at = null,
            superseded_by = null, message_id = null, accepted_at = null, tries = 0, resends = n.resends + b.resent::int
          from unnest($1::uuid[], $2::bool[]) as b(id, resent) where n.id = b.id and n.state in ('failed', 'suppressed', 'in_doubt')
          returning n.id, b.resent
        )
        insert into timeline (notification_id, at, what, detail, by, reason)
        select id, recado_now(), case when resent then 'resend_ordered' else 'retry_ordered' end, $3, $4, $5 from moved order by id
        "#,
        ids,
        resent,
        order.plan,
        order.by,
        order.reason
    )
    .execute(tx)
    .await?;
    Ok(())
}
