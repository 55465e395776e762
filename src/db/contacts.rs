//! People's identifiers, learnt from what providers say and never made by rewriting a number.

use sqlx::PgPool;

use super::Error;
use crate::domain::phone::Phone;

/// Remembers the provider's ids of a person. What is `None` stays as it was.
///
/// # Errors
/// If the database does not take it.
pub async fn learn(pool: &PgPool, contact: i64, wa_id: Option<&str>, user_id: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- contacts: learn
        update contacts set wa_id = coalesce($2, wa_id), user_id = coalesce($3, user_id)
        where id = $1 and (wa_id is distinct from coalesce($2, wa_id) or user_id is distinct from coalesce($3, user_id))
        "#,
        contact,
        wa_id,
        user_id
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether these two have numbers that are spellings of one line ([`Phone::is_like`]).
///
/// # Errors
/// If the database cannot be asked.
pub async fn are_like(pool: &PgPool, one: i64, other: i64) -> Result<bool, Error> {
    let rows = sqlx::query_scalar!(
        r#"select phone as "phone!" from contacts where id in ($1, $2) and phone is not null and erased_at is null"#,
        one,
        other
    )
    .fetch_all(pool)
    .await?;
    let [first, second] = rows.as_slice() else { return Ok(false) };
    Ok([(first, second), (second, first)]
        .into_iter()
        .any(|(one, other)| Phone::parse(one).is_ok_and(|phone| phone.is_like(other))))
}

/// The language of the first of these people whose language is known.
///
/// # Errors
/// If the database cannot be asked.
pub async fn locale(pool: &PgPool, contacts: &[i64]) -> Result<Option<String>, Error> {
    Ok(sqlx::query_scalar!(
        r#"select locale as "locale!" from contacts where id = any ($1) and locale is not null order by id limit 1"#,
        contacts
    )
    .fetch_optional(pool)
    .await?)
}
