//! What has to be looked after: partitions, what expires where nobody looks, and figures about it all. What is too old is
//! `retention`'s.

use sqlx::PgPool;

use super::Error;

/// Makes this month's and the next month's partitions. False if somebody has the tables in hand just now: there is a month's time.
///
/// # Errors
/// If the database does not make them.
pub async fn make_partitions(pool: &PgPool) -> Result<bool, Error> {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    let made = sqlx::query!(
        "select make_partitions(recado_now()) as a, make_partitions(recado_now() + interval '1 month') as b"
    )
    .fetch_one(pool)
    .await;
    match made {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => Ok(false),
        Err(error) => Err(error.into()),
    }
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
          returning n.id, n.statuses, n.sender
        ), told as (
          insert into outbox (notification_id, sequence, kind, reason, sender) select id, statuses, 'suppressed', 'expired', sender from moved
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

/// How much there is, each counted as far as [`COUNTED_MAX`]: a look at a large backlog costs no more than one at a small one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Unfinished notifications: `due`, `later`, `sending`, or what they wait on. What is not there is none.
    pub unfinished: Vec<(String, i64)>,
    /// Holds in force by what they are on: `everything`, `sender`, `template`.
    pub holds: Vec<(String, i64)>,
    /// Rejected events that nobody has replayed.
    pub rejected: i64,
}

/// So many of a kind are counted; if there are more, it is so many all the same.
pub const COUNTED_MAX: i64 = 10_000;

/// Counts what there is.
///
/// # Errors
/// If the database cannot be asked.
pub async fn amounts(pool: &PgPool) -> Result<Amounts, Error> {
    let unfinished = sqlx::query!(
        r#"
        -- upkeep: unfinished
        with lane as (
          select s.id as sender, c.class from senders s cross join (values (0::int2), (1::int2)) c(class)
        )
        select 'due' as "state!", least(sum(x.n), $1)::int8 as "n!" from lane cross join lateral (
          select count(*) as n from (select from notifications n where n.sender = lane.sender and n.class = lane.class and n.state = 'pending'
            and n.waiting_on is null and n.due_at <= recado_now() limit $1) d) x
        union all
        select 'later', least(sum(x.n), $1)::int8 from lane cross join lateral (
          select count(*) as n from (select from notifications n where n.sender = lane.sender and n.class = lane.class and n.state = 'pending'
            and n.waiting_on is null and n.due_at > recado_now() limit $1) d) x
        union all
        select 'sending', count(*) from (select from notifications where state = 'sending' limit $1) d
        union all
        select waiting_on::text, count(*) from (
          select waiting_on from notifications where waiting_on is not null order by due_at limit $1) d group by waiting_on
        "#,
        COUNTED_MAX
    )
    .fetch_all(pool)
    .await?;
    let holds = sqlx::query!(
        r#"
        -- upkeep: holds
        select scope::text as "scope!", count(*) as "n!" from holds
        where released_at is null and (until is null or until > recado_now()) group by scope
        "#
    )
    .fetch_all(pool)
    .await?;
    let rejected = sqlx::query_scalar!(
        r#"select count(*) as "n!" from (select from rejected_events where replayed_at is null limit $1) d"#,
        COUNTED_MAX
    )
    .fetch_one(pool)
    .await?;
    Ok(Amounts {
        unfinished: unfinished.into_iter().map(|row| (row.state, row.n)).collect(),
        holds: holds.into_iter().map(|row| (row.scope, row.n)).collect(),
        rejected,
    })
}
