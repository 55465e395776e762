//! People's identifiers, learnt from what providers say and never made by rewriting a number.

use sqlx::{PgExecutor, PgPool};

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

/// All contacts of the person with this number: the one that goes on first, then those that proved to be the same. None if nobody has it.
///
/// # Errors
/// If the database cannot be asked.
pub(super) async fn of_person(executor: impl PgExecutor<'_>, phone: &Phone) -> Result<Vec<i64>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- contacts: of a person
        with stays as materialized (
          select coalesce(merged_into, id) as id from contacts where phone = $1
        )
        select c.id as "id!" from (
          select id, false as went from stays union all select m.id, true from stays s join contacts m on m.merged_into = s.id
        ) c
        order by c.went, c.id
        "#,
        phone.reveal()
    )
    .fetch_all(executor)
    .await?)
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

/// The contact of whoever has this number, as the audit trail names it; the one that stayed, if they proved to be the same as another.
///
/// # Errors
/// If the database cannot be asked.
pub async fn with(pool: &PgPool, phone: &Phone) -> Result<Option<i64>, Error> {
    Ok(of_person(pool, phone).await?.first().copied())
}

/// The number of that contact; none if there is none, or if it was erased.
///
/// # Errors
/// If the database cannot be asked.
pub async fn phone(pool: &PgPool, contact: i64) -> Result<Option<Phone>, Error> {
    let phone = sqlx::query_scalar!(
        r#"
        select c.phone as "phone!" from contacts p join contacts c on c.id = coalesce(p.merged_into, p.id)
        where p.id = $1 and c.phone is not null
        "#,
        contact
    )
    .fetch_optional(pool)
    .await?;
    Ok(phone.and_then(|phone| Phone::parse(&phone).ok()))
}
