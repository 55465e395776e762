//! How senders stand at their providers, as they were last told.

use sqlx::PgPool;

use super::Error;

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
