//! Bodies of webhooks, kept as they came until they are applied and for a while after.

use sqlx::PgPool;

use super::Error;

/// A verified body.
#[derive(Debug, Clone)]
pub struct Body {
    pub id: i64,
    /// The name of the sender to whose address it came.
    pub sender: String,
    pub bytes: Vec<u8>,
}

/// Keeps a body. Once this is done the provider may be told so.
///
/// # Errors
/// If the database does not take it; the provider sends it again then.
pub async fn store(pool: &PgPool, sender: &str, body: &[u8]) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!("insert into webhooks (sender, body) values ($1, $2) returning id", sender, body)
        .fetch_one(pool)
        .await?)
}

/// What is needed to hand a webhook on as it came.
#[derive(Debug, Clone)]
pub struct Original<'a> {
    /// Headers, query and address.
    pub with: &'a serde_json::Value,
    /// The body, if what is kept of it is not the same.
    pub body: Option<&'a [u8]>,
}

/// Keeps a body that is to be handed on as well.
///
/// # Errors
/// As [`store`].
pub async fn store_to_relay(pool: &PgPool, sender: &str, body: &[u8], original: &Original<'_>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- webhooks: store to relay
        insert into webhooks (sender, body, came_with, came_as, relay) values ($1, $2, $3, $4, 'due') returning id
        "#,
        sender,
        body,
        original.with,
        original.body,
    )
    .fetch_one(pool)
    .await?)
}

/// Takes the oldest bodies that nobody has applied or has in hand, at most `limit` and not much more than 4 MiB. They are ours
/// for 30 seconds.
///
/// # Errors
/// If the database cannot be asked.
pub async fn take(pool: &PgPool, limit: i64) -> Result<Vec<Body>, Error> {
    let mut rows = sqlx::query!(
        r#"
        -- webhooks: take
        with free as materialized (
          select id, octet_length(body) as size from webhooks
          where applied_at is null and (taken_until is null or taken_until < recado_now())
          order by id limit $1
          for no key update skip locked
        ), fit as (
          select id from (select id, size, sum(size) over (order by id) as total from free) f where total - size < 4194304
        )
        update webhooks w set taken_until = recado_now() + interval '30 s'
        from fit where w.id = fit.id
        returning w.id, w.sender, w.body
        "#,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows.into_iter().map(|row| Body { id: row.id, sender: row.sender, bytes: row.body }).collect())
}

/// Lets others have bodies at once that could not be applied just now.
///
/// # Errors
/// If the database does not take it; they are free again when their time is over.
pub async fn give_back(pool: &PgPool, ids: &[i64]) -> Result<(), Error> {
    sqlx::query!("update webhooks set taken_until = null where id = any ($1) and applied_at is null", ids)
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes that bodies were applied, each with what was wrong in it.
///
/// # Errors
/// If the database does not take it; they are applied once more then, which changes nothing.
pub async fn done(pool: &PgPool, applied: &[(i64, Vec<String>)]) -> Result<(), Error> {
    let (ids, problems): (Vec<i64>, Vec<Option<String>>) =
        applied.iter().map(|(id, problems)| (*id, (!problems.is_empty()).then(|| problems.join("\n")))).unzip();
    sqlx::query!(
        r#"
        -- webhooks: done
        update webhooks w set applied_at = recado_now(), problems = string_to_array(d.problems, E'\n')
        from unnest($1::int8[], $2::text[]) as d(id, problems) where w.id = d.id
        "#,
        &ids,
        &problems as _
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// How old the oldest body is that is not applied, in seconds; 0 if there is none.
///
/// # Errors
/// If the database cannot be asked.
pub async fn lag(pool: &PgPool) -> Result<f64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- webhooks: lag
        select coalesce((select extract(epoch from recado_now() - received_at) from webhooks where applied_at is null order by id limit 1), 0)::float8 as "s!"
        "#
    )
    .fetch_one(pool)
    .await?)
}
