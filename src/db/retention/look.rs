//! What would go, counted and not touched: how much of each, how large, and from when on what stays is.

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Keep, months};
use crate::db::{Error, Time, dispatch::millis, time};

pub(super) const PAYLOADS: &str = "bodies of events";
pub(super) const PARAMETERS: &str = "values and texts of notifications";

/// What is too old of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old {
    /// For people.
    pub what: String,
    /// Where it stands.
    pub table: &'static str,
    pub rows: i64,
    /// About so many, on disk. Room that a whole month takes goes back to the system, other room is used again by the same table.
    pub bytes: i64,
    pub oldest: Option<Timestamp>,
    /// The oldest that stays.
    pub oldest_kept: Option<Timestamp>,
    /// It stays, since something in it is unfinished.
    pub unfinished: bool,
}

/// Counts what [`super::remove`] would remove if it were called until nothing is left.
///
/// # Errors
/// If the database cannot be asked.
pub async fn look(pool: &PgPool, keep: &Keep) -> Result<Vec<Old>, Error> {
    let months = months(pool, keep).await?;
    let mut old = Vec::new();
    for (month, unfinished) in &months {
        old.push(of_month(pool, month, *unfinished).await?);
    }
    let stays = old.iter().find(|one| one.unfinished).and_then(|one| one.oldest);
    let gone = months.iter().rfind(|(_, unfinished)| !unfinished).map(|(month, _)| month.as_str());
    let kept = match stays {
        Some(stays) => Some(stays),
        None => oldest_after(pool, gone).await?,
    };
    for one in &mut old {
        one.oldest_kept = kept;
    }
    old.extend(rows(pool, keep).await?);
    old.push(contents(pool, keep, PAYLOADS).await?);
    old.push(contents(pool, keep, PARAMETERS).await?);
    Ok(old)
}

async fn rows(pool: &PgPool, keep: &Keep) -> Result<Vec<Old>, Error> {
    let rows = sqlx::query!(
        r#"
        -- retention: look
        with k as materialized (
          select recado_now() - $1 * interval '1 ms' as identities, recado_now() - $2 * interval '1 ms' as rejected,
            recado_now() - $3 * interval '1 ms' as webhooks, recado_now() - $4 * interval '1 ms' as notifications,
            recado_now() - $5 * interval '1 ms' as inbound, recado_now() - $6 * interval '1 ms' as payloads,
            recado_now() - $7 * interval '1 ms' as audit, recado_now() - $8 * interval '1 ms' as callbacks
        ), size as materialized (
          -- A row's share of its table, indexes and all, as the statistics know it.
          select relname::text as of, pg_total_relation_size(oid)::float8 / greatest(reltuples, 1) as each from pg_class
          where relkind = 'r' and relnamespace = 'public'::regnamespace
        )
        select w.what as "what!", w.of as "table!", w.rows as "rows!", least(w.rows * s.each, pg_total_relation_size(w.of::regclass))::int8 as "bytes!",
          w.oldest as "oldest: Time", w.kept as "kept: Time"
        from (
          select 1 as place, 'notifications of no month' as what, 'notifications_rest' as of, count(*) as rows, min(created_at) as oldest,
            null::timestamptz as kept
            from notifications_rest, k where id < uuid_v7_floor(k.notifications) and state not in ('pending', 'sending', 'in_doubt')
          union all select 2, 'identities of events', 'inbox', count(*), min(received_at), (
            -- Events come in by time, so the first day that stays tells, as a rule.
            select coalesce(
              (select min(received_at) from inbox where received_at >= k.identities and received_at < k.identities + interval '1 day'),
              (select min(received_at) from inbox where received_at >= k.identities)) from k)
            from inbox, k where received_at < k.identities
          union all select 3, 'conflicting bodies', 'inbox_conflicts', count(*) filter (where received_at < k.payloads),
            min(received_at) filter (where received_at < k.payloads), min(received_at) filter (where received_at >= k.payloads)
            from inbox_conflicts, k
          union all select 4, 'rejected events', 'rejected_events', count(*) filter (where received_at < k.rejected),
            min(received_at) filter (where received_at < k.rejected), min(received_at) filter (where received_at >= k.rejected)
            from rejected_events, k
          union all select 5, 'raw webhooks', 'webhooks', count(*) filter (where received_at < k.webhooks and applied_at is not null),
            min(received_at) filter (where received_at < k.webhooks and applied_at is not null),
            min(received_at) filter (where received_at >= k.webhooks or applied_at is null)
            from webhooks, k
          union all select 6, 'receipts that matched nothing', 'stray_receipts', count(*) filter (where received_at < k.webhooks),
            min(received_at) filter (where received_at < k.webhooks), min(received_at) filter (where received_at >= k.webhooks)
            from stray_receipts, k
          union all select 7, 'messages from people', 'inbound', count(*) filter (where received_at < k.inbound),
            min(received_at) filter (where received_at < k.inbound), min(received_at) filter (where received_at >= k.inbound)
            from inbound, k
          union all select 8, 'answers to people', 'replies', count(*) filter (where at < k.notifications and state not in ('pending', 'sending')),
            min(at) filter (where at < k.notifications and state not in ('pending', 'sending')),
            min(at) filter (where at >= k.notifications or state in ('pending', 'sending'))
            from replies, k
          union all select 9, 'audit trail', 'audit', count(*), min(at), (select min(at) from audit, k where at >= k.audit)
            from audit, k where at < k.audit
          union all select 10, 'traces of notifications', 'traces', count(*), null, null
            from traces, k where notification_id < uuid_v7_floor(k.webhooks)
          union all select 11, 'events for callbacks', 'callback_events', count(*), min(kept_at),
            (select min(kept_at) from callback_events, k where kept_at >= k.callbacks)
            from callback_events, k where kept_at < k.callbacks
            and position <= coalesce((select position from callbacks where name = '@broker'), 9223372036854775807)
        ) w join size s on s.of = w.of order by w.place
        "#,
        millis(keep.identities) as _,
        millis(keep.rejected) as _,
        millis(keep.webhooks) as _,
        millis(keep.notifications) as _,
        millis(keep.inbound) as _,
        millis(keep.payloads) as _,
        millis(keep.audit) as _,
        millis(keep.callbacks) as _,
    )
    .fetch_all(pool)
    .await?;
    let old = rows.into_iter().map(|row| {
        Ok(Old {
            table: TABLES.into_iter().find(|table| *table == row.table).ok_or(Error::Inconsistent {
                table: "pg_class",
                column: "relname",
                row: row.table,
            })?,
            what: row.what,
            rows: row.rows,
            bytes: row.bytes,
            oldest: row.oldest.map(Time::to_jiff),
            oldest_kept: row.kept.map(Time::to_jiff),
            unfinished: false,
        })
    });
    old.collect()
}

const TABLES: [&str; 11] = [
    "notifications_rest",
    "inbox",
    "inbox_conflicts",
    "rejected_events",
    "webhooks",
    "stray_receipts",
    "inbound",
    "replies",
    "audit",
    "traces",
    "callback_events",
];

async fn of_month(pool: &PgPool, month: &str, unfinished: bool) -> Result<Old, Error> {
    let row = sqlx::query!(
        r#"
        -- retention: a month
        select count(*) as "rows!", min(created_at) as "oldest: Time",
          (select coalesce(sum(pg_total_relation_size(to_regclass(base || '_' || $2))), 0)::int8
            from unnest(array['notifications', 'attempts', 'receipts', 'timeline']) base) as "bytes!"
        from notifications where id >= uuid_v7_floor($1) and id < uuid_v7_floor($1 + interval '1 month')
        "#,
        time(first_day(month)?) as _,
        month
    )
    .fetch_one(pool)
    .await?;
    Ok(Old {
        what: format!("notifications of {}, with their attempts and receipts", month.replace('_', "-")),
        table: "notifications",
        rows: row.rows,
        bytes: row.bytes,
        oldest: row.oldest.map(Time::to_jiff),
        oldest_kept: None,
        unfinished,
    })
}

fn first_day(month: &str) -> Result<Timestamp, Error> {
    let day = format!("{}-01T00:00:00Z", month.replace('_', "-"));
    day.parse().map_err(|_| Error::Inconsistent { table: "notifications", column: "partition", row: month.to_owned() })
}

/// When the oldest notification was made after the last month that goes.
async fn oldest_after(pool: &PgPool, gone: Option<&str>) -> Result<Option<Timestamp>, Error> {
    let first = gone.map(first_day).transpose()?;
    let oldest = sqlx::query_scalar!(
        r#"
        -- retention: oldest notification that stays
        select created_at as "at: Time" from notifications
        where id >= coalesce(uuid_v7_floor($1::timestamptz + interval '1 month'), '00000000-0000-0000-0000-000000000000') order by id limit 1
        "#,
        first.map(time) as _
    )
    .fetch_optional(pool)
    .await?;
    Ok(oldest.map(Time::to_jiff))
}

/// So many notifications are looked at by one statement, so that none takes long.
const STEP: i64 = 20_000;

/// Counts the contents that are past their time, from where the cursor stands.
async fn contents(pool: &PgPool, keep: &Keep, what: &'static str) -> Result<Old, Error> {
    let (cursor, time, table) = match what {
        PAYLOADS => ("payloads", keep.payloads, "inbox"),
        _ => ("parameters", keep.parameters, "notifications"),
    };
    let mut old =
        Old { what: what.to_owned(), table, rows: 0, bytes: 0, oldest: None, oldest_kept: None, unfinished: false };
    let mut after: Uuid = sqlx::query_scalar!(r#"select upto from retention_cursors where what = $1"#, cursor)
        .fetch_optional(pool)
        .await?
        .unwrap_or_default();
    loop {
        let step = sqlx::query!(
            r#"
            -- retention: look at contents
            with old as materialized (
              select n.id, n.created_at, n.event_source, n.event_id,
                case when n.state in ('accepted', 'failed', 'suppressed')
                  then coalesce(pg_column_size(n.filled), 0) + coalesce(pg_column_size(n.free_text), 0) + coalesce(pg_column_size(n.sms), 0)
                  else 0 end as size
              from notifications n
              where n.id > $1 and n.id < uuid_v7_floor(recado_now() - $2 * interval '1 ms')
              order by n.id limit $3
            ), one as materialized (
              select o.created_at, o.size from old o where not $4::bool
              union all
              select e.created_at, pg_column_size(i.body) from (
                select event_id, event_source, min(created_at) as created_at from old where $4::bool group by 1, 2
              ) e join inbox i on i.id = e.event_id and i.source = e.event_source
            )
            select (select count(*) from old) as "seen!", (select id from old order by id desc limit 1) as last,
              count(*) filter (where size > 0) as "rows!", coalesce(sum(size), 0)::int8 as "bytes!",
              min(created_at) filter (where size > 0) as "oldest: Time"
            from one
            "#,
            after,
            millis(time) as _,
            STEP,
            what == PAYLOADS
        )
        .fetch_one(pool)
        .await?;
        old.rows += step.rows;
        old.bytes += step.bytes;
        old.oldest = old.oldest.or(step.oldest.map(Time::to_jiff));
        match step.last {
            Some(last) if step.seen >= STEP => after = last,
            Some(last) => {
                after = last;
                break;
            }
            None => break,
        }
    }
    old.oldest_kept = sqlx::query_scalar!(
        r#"
        -- retention: oldest contents that stay
        select created_at as "at: Time" from notifications where id > $1 and (filled is not null or free_text is not null) order by id limit 1
        "#,
        after
    )
    .fetch_optional(pool)
    .await?
    .map(Time::to_jiff);
    Ok(old)
}
