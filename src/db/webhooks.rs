//! Webhooks as they came, byte for byte, until they are applied.

use sqlx::PgPool;

use super::Error;

/// Keeps a webhook's body; gives its number. It is applied later.
///
/// # Errors
/// If the database does not take it; the provider will send it again.
pub async fn store(pool: &PgPool, sender: &str, body: &[u8]) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!("insert into webhooks (sender, body) values ($1, $2) returning id", sender, body)
        .fetch_one(pool)
        .await?)
}
