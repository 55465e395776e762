//! Which version of each template this process plans with, and what that means for messages of older ones.

use std::{collections::HashMap, sync::Arc};

use sqlx::PgPool;

use crate::{
    db::{
        self,
        versions::{self, Said},
    },
    domain::{
        notification::{AttemptId, Failure, Outcome, Whose, reason as ours},
        template::Catalogue,
    },
    provider::reason,
};

/// The ids of the catalogue's versions. Found once, when the catalogue is loaded.
#[derive(Debug, Clone, Default)]
pub struct Versions(Arc<HashMap<String, HashMap<String, i32>>>);

impl Versions {
    /// Sees that the database knows what the catalogue's templates say now.
    ///
    /// # Errors
    /// If it does not take it.
    pub async fn of(pool: &PgPool, catalogue: &Catalogue) -> Result<Versions, db::Error> {
        let said = said(catalogue);
        let ids = versions::know(pool, &said).await?;
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

    /// That the values do not fit says nothing against the template if they were made for an older version of it: then it is the
    /// message's own end, and no hold.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn weigh(
        &self,
        pool: &PgPool,
        attempt: AttemptId,
        (template, language): (&str, &str),
        outcome: Outcome,
    ) -> Result<Outcome, db::Error> {
        let Outcome::Busy { whose: Whose::Template, failure, .. } = &outcome else { return Ok(outcome) };
        if failure.reason != reason::TEMPLATE_DRIFTED {
            return Ok(outcome);
        }
        let Some(current) = self.current(template, language) else { return Ok(outcome) };
        let made_from = versions::of_attempt(pool, attempt).await?;
        if made_from.is_none_or(|version| version == current) {
            return Ok(outcome);
        }
        Ok(Outcome::Rejected { failure: Failure { reason: ours::TEMPLATE_OUTDATED, ..failure.clone() }, again: None })
    }
}

fn said(catalogue: &Catalogue) -> Vec<Said> {
    let of = |template: &crate::domain::template::Template, language: &str| {
        Some(Said {
            template: template.name().to_owned(),
            language: language.to_owned(),
            definition: template.definition(language)?,
        })
    };
    catalogue.templates().iter().flat_map(|t| t.languages().filter_map(move |language| of(t, language))).collect()
}
