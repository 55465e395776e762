//! What templates said and when: each definition once, by its content. Nothing here is ever changed or removed.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use sqlx::PgPool;

use super::{Error, Time};
use crate::domain::{
    notification::AttemptId,
    template::{Catalogue, Definition, Template},
};

/// The ids of the catalogue's versions. Found once, when the catalogue is loaded.
#[derive(Debug, Clone, Default)]
pub struct Versions(Arc<HashMap<String, HashMap<String, i32>>>);

impl Versions {
    /// Sees that the database knows what the catalogue's templates say now.
    ///
    /// # Errors
    /// If it does not take it.
    pub async fn of(pool: &PgPool, catalogue: &Catalogue) -> Result<Versions, Error> {
        let said = said(catalogue);
        let ids = know(pool, &said).await?;
        let mut known: HashMap<String, HashMap<String, i32>> = HashMap::new();
        for (one, id) in said.into_iter().zip(ids) {
            known.entry(one.template).or_default().insert(one.language, id);
        }
        Ok(Versions(Arc::new(known)))
    }

    /// The version that messages are made from now. None if the catalogue does not have the template in this language.
    #[must_use]
    pub fn current(&self, template: &str, language: &str) -> Option<i32> {
        self.0.get(template)?.get(language).copied()
    }
}

fn said(catalogue: &Catalogue) -> Vec<Said> {
    let of = |template: &Template, language: &str| {
        Some(Said {
            template: template.name().to_owned(),
            language: language.to_owned(),
            definition: template.definition(language)?,
        })
    };
    catalogue.templates().iter().flat_map(|t| t.languages().filter_map(move |language| of(t, language))).collect()
}

/// A definition to be known by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub template: String,
    pub language: String,
    pub definition: Definition,
}

/// A definition that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub id: i32,
    pub template: String,
    pub language: String,
    /// Counted from 1 for its template and language.
    pub number: i32,
    pub definition: Definition,
    pub first_seen: Timestamp,
}

/// Sees that these definitions are known; gives the id of each, in order.
///
/// # Errors
/// If the database does not take them.
pub async fn know(pool: &PgPool, said: &[Said]) -> Result<Vec<i32>, Error> {
    // Whoever else sees a new one at the same moment gives it its number; then it is there to be found.
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        let ids = know_once(pool, said).await?;
        if let Some(ids) = ids.into_iter().collect() {
            return Ok(ids);
        }
    }
    Err(Error::Inconsistent {
        table: "template_versions",
        column: "id",
        row: "a definition that cannot be kept".into(),
    })
}

async fn know_once(pool: &PgPool, said: &[Said]) -> Result<Vec<Option<i32>>, Error> {
    let definitions: Vec<_> =
        said.iter().map(|one| serde_json::to_value(&one.definition).unwrap_or_default()).collect();
    let hashes: Vec<_> = said.iter().map(|one| one.definition.hash()).collect();
    Ok(sqlx::query_scalar!(
        r#"
        -- versions: know
        with said as materialized (
          select * from unnest($1::text[], $2::text[], $3::bytea[], $4::jsonb[]) with ordinality as s(template, language, hash, definition, n)
        ), fresh as materialized (
          select distinct on (template, language, hash) template, language, hash, definition from said s
          where not exists (select from template_versions v
            where v.template = s.template and v.language = s.language and v.hash = s.hash)
          order by template, language, hash, n
        ), added as (
          insert into template_versions (template, language, number, hash, definition)
          select f.template, f.language,
            coalesce((select max(v.number) from template_versions v where v.template = f.template and v.language = f.language), 0)
              + row_number() over (partition by f.template, f.language order by f.hash),
            f.hash, f.definition
          from fresh f
          on conflict do nothing
          returning id, template, language, hash
        )
        select coalesce(v.id, a.id) as id
        from said s
        left join template_versions v on v.template = s.template and v.language = s.language and v.hash = s.hash
        left join added a on a.template = s.template and a.language = s.language and a.hash = s.hash
        order by s.n
        "#,
        &said.iter().map(|one| one.template.as_str()).collect::<Vec<_>>() as _,
        &said.iter().map(|one| one.language.as_str()).collect::<Vec<_>>() as _,
        &hashes.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>() as _,
        &definitions as _,
    )
    .fetch_all(pool)
    .await?)
}

/// All versions of a template, by language, the latest last.
///
/// # Errors
/// If the database cannot be asked, or a definition cannot be read.
pub async fn of_template(pool: &PgPool, template: &str) -> Result<Vec<Version>, Error> {
    let rows = sqlx::query!(
        r#"
        -- versions: of a template
        select id, template, language, number, definition, first_seen as "first_seen: Time" from template_versions
        where template = $1 order by language, number
        "#,
        template
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong =
                |_| Error::Inconsistent { table: "template_versions", column: "definition", row: row.id.to_string() };
            Ok(Version {
                id: row.id,
                template: row.template,
                language: row.language,
                number: row.number,
                definition: serde_json::from_value(row.definition).map_err(wrong)?,
                first_seen: row.first_seen.to_jiff(),
            })
        })
        .collect()
}

/// What the providers have, as far as it was read.
///
/// # Errors
/// If the database cannot be asked.
pub async fn at_providers(pool: &PgPool) -> Result<Vec<Version>, Error> {
    let rows = sqlx::query!(
        r#"
        -- versions: at providers
        select v.id, v.template, v.language, v.number, v.definition, v.first_seen as "first_seen: Time" from template_versions v
        where exists (select from template_states t where t.version = v.id)
        order by v.id
        "#
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong =
                |_| Error::Inconsistent { table: "template_versions", column: "definition", row: row.id.to_string() };
            Ok(Version {
                definition: serde_json::from_value(row.definition).map_err(wrong)?,
                id: row.id,
                template: row.template,
                language: row.language,
                number: row.number,
                first_seen: row.first_seen.to_jiff(),
            })
        })
        .collect()
}

/// What a notification says, as far as it is kept.
#[derive(Debug, Clone)]
pub struct Content {
    pub definition: Option<Definition>,
    /// The filled-in values, JSON.
    pub filled: Option<String>,
    pub free_text: Option<String>,
    /// Its latest attempt went as a free text, or it is an SMS.
    pub as_text: bool,
}

/// What a notification says: its version of the template, and the values or the words.
///
/// # Errors
/// If the database cannot be asked, or a definition cannot be read.
pub async fn content(pool: &PgPool, notification: uuid::Uuid) -> Result<Option<Content>, Error> {
    let row = sqlx::query!(
        r#"
        -- versions: content
        select v.definition as "definition?", n.filled::text, n.free_text, n.as_text or n.fallback_of is not null as "as_text!"
        from notifications n left join template_versions v on v.id = n.version where n.id = $1
        "#,
        notification
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let wrong =
        |_| Error::Inconsistent { table: "template_versions", column: "definition", row: notification.to_string() };
    let definition = row.definition.map(serde_json::from_value).transpose().map_err(wrong)?;
    Ok(Some(Content { definition, filled: row.filled, free_text: row.free_text, as_text: row.as_text }))
}

/// The version that the notification of an attempt was made from, if it is known.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of_attempt(pool: &PgPool, attempt: AttemptId) -> Result<Option<i32>, Error> {
    Ok(sqlx::query_scalar!("select version from notifications where id = $1", attempt.notification)
        .fetch_optional(pool)
        .await?
        .flatten())
}
