//! How senders stand at their providers, as they were last told, and when they are asked again.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time, dispatch::millis};
use crate::domain::health::Health;

/// A sender, and what is known of it.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = KnownSender)]
pub struct Known {
    #[serde(skip)]
    pub id: i16,
    pub sender: String,
    #[serde(flatten)]
    pub health: Health,
    pub asked_at: Option<Timestamp>,
    pub answered_at: Option<Timestamp>,
    /// Why the last question was not answered.
    pub trouble: Option<String>,
    /// The provider asked it to be slower, until then.
    pub throttled_until: Option<Timestamp>,
    /// The reasons of the holds in force on it.
    pub held: Vec<String>,
    #[serde(skip)]
    pub due: bool,
}

/// All senders that were ever here, by name.
///
/// # Errors
/// If the database cannot be asked.
pub async fn all(pool: &PgPool) -> Result<Vec<Known>, Error> {
    let rows = sqlx::query!(
        r#"
        -- health: all
        select s.id, s.name, s.throttled_until as "throttled_until: Time", h.asked_at as "asked_at?: Time",
          h.answered_at as "answered_at?: Time", h.trouble as "trouble?", h.status as "status?", h.quality as "quality?",
          h.name_status as "name_status?", h.can_send as "can_send?", h.obstacles as "obstacles?", h.tier as "tier?",
          h.throughput as "throughput?", coalesce(h.due_at <= recado_now(), true) as "due!",
          array(select o.reason from holds o where o.scope = 'sender' and o.sender = s.id and o.released_at is null
            and (o.until is null or o.until > recado_now()) order by o.id) as "held!"
        from senders s left join sender_health h on h.sender = s.id
        order by s.name
        "#
    )
    .fetch_all(pool)
    .await?;
    let now = |at: Option<Time>| at.map(Time::to_jiff);
    let known = rows.into_iter().map(|row| Known {
        id: row.id,
        sender: row.name,
        health: Health {
            status: row.status,
            quality: row.quality,
            name_status: row.name_status,
            can_send: row.can_send,
            obstacles: row.obstacles,
            tier: row.tier,
            throughput: row.throughput,
        },
        asked_at: now(row.asked_at),
        answered_at: now(row.answered_at),
        trouble: row.trouble,
        throttled_until: now(row.throttled_until),
        held: row.held,
        due: row.due,
    });
    Ok(known.collect())
}

/// Notes what the provider answered, and asks again after that long.
///
/// # Errors
/// If the database does not take it.
pub async fn answered(pool: &PgPool, sender: i16, health: &Health, again: Duration) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- health: answered
        insert into sender_health (sender, due_at, asked_at, answered_at, status, quality, name_status, can_send, obstacles, tier, throughput)
        values ($1, recado_now() + $2 * interval '1 ms', recado_now(), recado_now(), $3, $4, $5, $6, $7, $8, $9)
        on conflict (sender) do update set due_at = excluded.due_at, asked_at = excluded.asked_at, answered_at = excluded.answered_at,
          trouble = null, status = excluded.status, quality = excluded.quality, name_status = excluded.name_status,
          can_send = excluded.can_send, obstacles = excluded.obstacles, tier = excluded.tier, throughput = excluded.throughput
        "#,
        sender,
        millis(again) as _,
        health.status,
        health.quality,
        health.name_status,
        health.can_send,
        health.obstacles,
        health.tier,
        health.throughput
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes that the provider did not answer, and why; what it said before stays. Asks again after that long.
///
/// # Errors
/// If the database does not take it.
pub async fn unanswered(pool: &PgPool, sender: i16, trouble: &str, again: Duration) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- health: unanswered
        insert into sender_health (sender, due_at, asked_at, trouble) values ($1, recado_now() + $2 * interval '1 ms', recado_now(), $3)
        on conflict (sender) do update set due_at = excluded.due_at, asked_at = excluded.asked_at, trouble = excluded.trouble
        "#,
        sender,
        millis(again) as _,
        trouble
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes what the provider tells of a sender without being asked, and has it asked at once: news tell less than answers. What is
/// `None` stays as it was.
///
/// # Errors
/// If the database does not take it.
pub async fn news(pool: &PgPool, sender: i16, tier: Option<&str>, throughput: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- health: news
        insert into sender_health as h (sender, tier, throughput) values ($1, $2, $3)
        on conflict (sender) do update set due_at = least(h.due_at, recado_now()), tier = coalesce($2, h.tier),
          throughput = coalesce($3, h.throughput)
        "#,
        sender,
        tier,
        throughput
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Has senders asked at once that were not asked within the last minute: a process has begun.
///
/// # Errors
/// If the database does not take it.
pub async fn ask_all(pool: &PgPool, senders: &[i16]) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- health: ask all
        insert into sender_health as h (sender) select * from unnest($1::int2[])
        on conflict (sender) do update set due_at = recado_now()
        where h.asked_at is null or h.asked_at < recado_now() - interval '1 min'
        "#,
        senders
    )
    .execute(pool)
    .await?;
    Ok(())
}
