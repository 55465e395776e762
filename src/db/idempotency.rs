//! Requests that are done once, however often they are asked for: which are being answered, and what the others were answered.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, dispatch::millis};

/// How long an answer is kept to be given again.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is for this attempt to answer, until `lease` is over.
    Ours,
    /// Another attempt is answering it.
    BeingAnswered,
    /// The same key came with another request.
    Other,
    Answered {
        attempt: Uuid,
        status: u16,
        /// As it was given to [`finish`].
        answer: Vec<u8>,
    },
}

/// Begins to answer a request, if nobody else does or did.
///
/// # Errors
/// If the database does not take it.
pub async fn begin(
    pool: &PgPool,
    id: &[u8; 32],
    request: &[u8; 32],
    attempt: Uuid,
    lease: Duration,
) -> Result<Standing, Error> {
    let begun = sqlx::query!(
        r#"
        -- idempotency: begin
        insert into idempotency as i (id, request, attempt) values ($1, $2, $3)
        on conflict (id) do update
          set request = excluded.request, attempt = excluded.attempt, begun_at = excluded.begun_at, status = null, answer = null
          where i.begun_at < recado_now() - $4::int8 * interval '1 ms'
            -- Whoever was answering it is gone.
            or i.status is null and i.request = excluded.request and i.begun_at < recado_now() - $5::int8 * interval '1 ms'
        "#,
        id.as_slice(),
        request.as_slice(),
        attempt,
        millis(KEPT),
        millis(lease),
    )
    .execute(pool)
    .await?;
    if begun.rows_affected() == 1 {
        return Ok(Standing::Ours);
    }
    // A statement of its own: the one above does not see what it waited for.
    let row = sqlx::query!(
        r#"
        -- idempotency: look
        select attempt, request = $2 as "same!", status, answer from idempotency where id = $1
        "#,
        id.as_slice(),
        request.as_slice(),
    )
    .fetch_optional(pool)
    .await?;
    // One that was given up meanwhile is as one that is still being answered: ask again.
    let Some(row) = row else { return Ok(Standing::BeingAnswered) };
    if !row.same {
        return Ok(Standing::Other);
    }
    let (Some(status), Some(answer)) = (row.status, row.answer) else { return Ok(Standing::BeingAnswered) };
    let status = u16::try_from(status).map_err(|_| Error::Inconsistent {
        table: "idempotency",
        column: "status",
        row: row.attempt.to_string(),
    })?;
    Ok(Standing::Answered { attempt: row.attempt, status, answer })
}

/// Keeps what this attempt answered, if it is still its turn.
///
/// # Errors
/// If the database does not take it.
pub async fn finish(pool: &PgPool, id: &[u8; 32], attempt: Uuid, status: u16, answer: &[u8]) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- idempotency: finish
        update idempotency set status = $3, answer = $4 where id = $1 and attempt = $2 and status is null
        "#,
        id.as_slice(),
        attempt,
        i16::try_from(status).unwrap_or(i16::MAX),
        answer,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Lets the next attempt answer: this one's answer was none to be kept.
///
/// # Errors
/// If the database does not take it.
pub async fn give_up(pool: &PgPool, id: &[u8; 32], attempt: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from idempotency where id = $1 and attempt = $2 and status is null", id.as_slice(), attempt)
        .execute(pool)
        .await?;
    Ok(())
}

/// Removes what is older than [`KEPT`], one batch. Says how many rows went.
///
/// # Errors
/// If the database does not take it.
pub async fn forget(pool: &PgPool, batch: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- idempotency: forget
        delete from idempotency where id in (select id from idempotency order by begun_at limit $2)
          and begun_at < recado_now() - $1::int8 * interval '1 ms'
        "#,
        millis(KEPT),
        batch
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
