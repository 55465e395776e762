//! What has to be looked after: partitions, what expires where nobody looks, and figures about it all. What is too old is
//! `retention`'s.

use sqlx::PgPool;

use super::Error;

/// Makes this month's and the next month's partitions.
///
/// # Errors
/// If the database does not make them.
pub async fn make_partitions(pool: &PgPool) -> Result<(), Error> {
    sqlx::query!("select make_partitions(recado_now()) as a, make_partitions(recado_now() + interval '1 month') as b")
        .fetch_one(pool)
        .await?;
    Ok(())
}

/// Ends what expires behind a hold of its sender or of everything, where no claim looks. At most `limit`; says how many.
///
/// # Errors
/// If the database does not take it.
pub async fn expire_held(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let ended = sqlx::query_scalar!(
        r#"
        -- upkeep: expire held
        with expired as (
          select n.id from notifications n
          where n.state = 'pending' and n.waiting_on is null and n.expires_at <= recado_now()
            and exists (select from holds h where h.released_at is null and (h.until is null or h.until > recado_now())
              and (h.scope = 'everything' or h.scope = 'sender' and h.sender = n.sender))
          order by n.due_at limit $1
          for no key update skip locked
        ), moved as (
          update notifications n set state = 'suppressed', reason = 'expired', due_at = null, ended_at = recado_now(), statuses = statuses + 1
          from expired e where n.id = e.id
          returning n.id, n.statuses
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason) select id, statuses, 'suppressed', 'expired' from moved
        )
        select count(*) as "n!" from moved
        "#,
        limit
    )
    .fetch_one(pool)
    .await?;
    Ok(ended.unsigned_abs())
}

/// How one sender stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub sender: String,
    /// Seconds that the oldest due notification has been due.
    pub queue_age_s: f64,
    pub in_doubt: i64,
}

/// How the senders stand.
///
/// # Errors
/// If the database cannot be asked.
pub async fn standings(pool: &PgPool) -> Result<Vec<Standing>, Error> {
    let rows = sqlx::query!(
        r#"
        -- upkeep: standings
        select s.name,
          coalesce((select extract(epoch from recado_now() - min(d.due_at)) from (
            select n.due_at from notifications n where n.sender = s.id and n.class = 0 and n.state = 'pending' and n.waiting_on is null
              and n.due_at <= recado_now() order by n.due_at limit 1) d), 0)::float8 as "urgent!",
          coalesce((select extract(epoch from recado_now() - min(d.due_at)) from (
            select n.due_at from notifications n where n.sender = s.id and n.class = 1 and n.state = 'pending' and n.waiting_on is null
              and n.due_at <= recado_now() order by n.due_at limit 1) d), 0)::float8 as "normal!",
          (select count(*) from notifications n where n.state = 'in_doubt' and n.sender = s.id) as "in_doubt!"
        from senders s order by s.id
        "#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Standing { sender: row.name, queue_age_s: row.urgent.max(row.normal), in_doubt: row.in_doubt })
        .collect())
}
