//! How things stand at this moment: what is due, what waits for what, what is in doubt, which templates cannot go.
//!
//! Everything is answered by partial indexes, and counted as far as the asker says: among millions that have ended it costs what is
//! open, and no more.

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time};

/// What of one sender is ready to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub id: i16,
    pub sender: String,
    /// Due now, at most as many as were to be counted for each class.
    pub due: i64,
    /// There is more due than was counted.
    pub more: bool,
    /// Due at some later time: tried again, or in their turn.
    pub later: i64,
    /// When the oldest of what is due became so.
    pub oldest: Option<Timestamp>,
    /// The sender or everything is held: what is due goes when that is released.
    pub held: bool,
    pub sending: i64,
}

/// How every sender's queue stands. Of each class at most `most` are counted.
///
/// # Errors
/// If the database cannot be asked.
pub async fn due(pool: &PgPool, most: i64) -> Result<Vec<Due>, Error> {
    let rows = sqlx::query!(
        r#"
        -- now: due
        with clock as materialized (
          select recado_now() as now
        ), lane as materialized (
          select s.id as sender, c.class from senders s cross join (values (0::int2), (1::int2)) c(class)
        ), counted as materialized (
          select l.sender, d.n as due, f.n as later, o.due_at as oldest
          from lane l cross join clock k
          cross join lateral (
            select count(*) as n from (select from notifications n where n.sender = l.sender and n.class = l.class and n.state = 'pending'
              and n.waiting_on is null and n.due_at <= k.now limit $1) x
          ) d
          cross join lateral (
            select count(*) as n from (select from notifications n where n.sender = l.sender and n.class = l.class and n.state = 'pending'
              and n.waiting_on is null and n.due_at > k.now limit $1) x
          ) f
          left join lateral (
            select n.due_at from notifications n where n.sender = l.sender and n.class = l.class and n.state = 'pending'
              and n.waiting_on is null and n.due_at <= k.now order by n.due_at limit 1
          ) o on true
        ), sending as materialized (
          select sender, count(*) as n from notifications where state = 'sending' group by sender
        )
        select s.id, s.name, sum(c.due)::int8 as "due!", bool_or(c.due >= $1) as "more!", sum(c.later)::int8 as "later!", min(c.oldest) as "oldest: Time",
          coalesce((select n from sending g where g.sender = s.id), 0) as "sending!",
          exists (select from holds h where h.released_at is null and (h.until is null or h.until > recado_now())
            and (h.scope = 'everything' or h.scope = 'sender' and h.sender = s.id)) as "held!"
        from senders s join counted c on c.sender = s.id
        group by s.id, s.name order by s.name
        "#,
        most
    )
    .fetch_all(pool)
    .await?;
    let due = rows.into_iter().map(|row| Due {
        id: row.id,
        sender: row.name,
        due: row.due,
        more: row.more,
        later: row.later,
        oldest: row.oldest.map(Time::to_jiff),
        held: row.held,
        sending: row.sending,
    });
    Ok(due.collect())
}

/// How many wait for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// As `notification::Wait` has it.
    pub on: String,
    pub n: i64,
}

/// What waits, by what it waits for. At most `most` are looked at, those first that are looked at again first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn waiting(pool: &PgPool, most: i64) -> Result<Vec<Waiting>, Error> {
    let rows = sqlx::query!(
        r#"
        -- now: waiting
        select waiting_on::text as "on!", count(*) as "n!" from (
          select waiting_on from notifications where waiting_on is not null order by due_at limit $1
        ) w group by waiting_on order by 2 desc, 1
        "#,
        most
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| Waiting { on: row.on, n: row.n }).collect())
}

/// How much is in doubt, and since when the oldest is.
///
/// # Errors
/// If the database cannot be asked.
pub async fn in_doubt(pool: &PgPool, most: i64) -> Result<(i64, Option<Timestamp>), Error> {
    let row = sqlx::query!(
        r#"
        -- now: in doubt
        select (select count(*) from (select from notifications where state = 'in_doubt' limit $1) d) as "n!",
          (select doubt_since from notifications where state = 'in_doubt' order by doubt_since limit 1) as "oldest: Time"
        "#,
        most
    )
    .fetch_one(pool)
    .await?;
    Ok((row.n, row.oldest.map(Time::to_jiff)))
}

/// A template that cannot go as it stands, or whose provider has another text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapproved {
    pub sender: String,
    pub template: String,
    pub language: String,
    pub status: String,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
    pub drifted: bool,
}

/// Templates that are not approved, or drifted; at most `most`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn unapproved(pool: &PgPool, most: i64) -> Result<Vec<Unapproved>, Error> {
    let rows = sqlx::query!(
        r#"
        -- now: unapproved
        select s.name, t.template, t.language, t.status, t.reason, t.until as "until: Time", t.drifted_from is not null as "drifted!"
        from template_states t join senders s on s.id = t.sender
        where t.status <> 'approved' or t.until > recado_now() or t.drifted_from is not null
        order by s.name, t.template, t.language limit $1
        "#,
        most
    )
    .fetch_all(pool)
    .await?;
    let of = rows.into_iter().map(|row| Unapproved {
        sender: row.name,
        template: row.template,
        language: row.language,
        status: row.status,
        reason: row.reason,
        until: row.until.map(Time::to_jiff),
        drifted: row.drifted,
    });
    Ok(of.collect())
}

/// How many rejected events nobody has run again, at most `most`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn rejected(pool: &PgPool, most: i64) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "n!" from (select from rejected_events where replayed_at is null limit $1) d"#,
        most
    )
    .fetch_one(pool)
    .await?)
}
