//! To which trace a notification belongs, for spans of other processes. Asked and written only while traces are on; what is lost here
//! costs a trace its end and nothing else.

use std::collections::HashMap;

use sqlx::PgPool;
use uuid::Uuid;

use super::Error;
use crate::domain::notification::AttemptId;

/// The trace of a notification, and the notification that was planned in it: another one if this one is its SMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traced {
    pub trace: Uuid,
    pub planned: Uuid,
}

/// Remembers to which trace notifications will belong; before they are recorded, so that whoever claims them finds it.
///
/// # Errors
/// If the database does not take it.
pub async fn remember(pool: &PgPool, traced: &[(Uuid, Uuid)]) -> Result<(), Error> {
    if traced.is_empty() {
        return Ok(());
    }
    let (ids, traces): (Vec<Uuid>, Vec<Uuid>) = traced.iter().copied().unzip();
    sqlx::query!(
        r#"
        -- traces: remember
        insert into traces (notification_id, trace_id) select * from unnest($1::uuid[], $2::uuid[]) on conflict do nothing
        "#,
        &ids,
        &traces
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The traces of those of these notifications that belong to one.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of(pool: &PgPool, notifications: &[Uuid]) -> Result<HashMap<Uuid, Traced>, Error> {
    let rows = sqlx::query!(
        r#"
        -- traces: of notifications
        select n.id as "id!", t.notification_id as "planned!", t.trace_id as "trace!"
        from notifications n join traces t on t.notification_id = coalesce(n.fallback_of, n.id)
        where n.id = any ($1)
        "#,
        notifications
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, Traced { trace: row.trace, planned: row.planned })).collect())
}

/// The attempts, with their traces, that receipts are about, by the place of each in the list; of those that belong to one.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of_receipts(
    pool: &PgPool,
    receipts: &[(&str, Option<AttemptId>)],
) -> Result<Vec<(usize, AttemptId, Uuid)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- traces: of receipts
        select r.place as "place!", a.notification_id as "id!", a.number as "number!", t.trace_id as "trace!"
        from unnest($1::text[], $2::uuid[], $3::int2[]) with ordinality as r(message_id, notification_id, number, place)
        cross join lateral (
          select a.notification_id, a.number from attempts a where a.notification_id = r.notification_id and a.number = r.number
          union all
          select x.notification_id, x.number from notifications n
          join attempts x on x.notification_id = n.id and x.message_id = n.message_id
          where r.notification_id is null and n.message_id = r.message_id
          limit 1
        ) a
        join notifications n on n.id = a.notification_id
        join traces t on t.notification_id = coalesce(n.fallback_of, n.id)
        "#,
        &receipts.iter().map(|(message, _)| *message).collect::<Vec<_>>() as _,
        &receipts.iter().map(|(_, tag)| tag.map(|tag| tag.notification)).collect::<Vec<_>>() as _,
        &receipts.iter().map(|(_, tag)| tag.map(|tag| tag.number)).collect::<Vec<_>>() as _,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().filter_map(|row| {
        let place = usize::try_from(row.place - 1).ok()?;
        Some((place, AttemptId { notification: row.id, number: row.number }, row.trace))
    });
    Ok(found.collect())
}
