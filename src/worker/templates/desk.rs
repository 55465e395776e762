//! Asking providers about templates: the one place in which templates go over HTTP. What is asked and answered is the codecs'.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;

use super::Wanted;
use crate::{
    domain::{
        notification::Reason,
        template::{Definition, Manner},
    },
    provider::{
        meta,
        templates::{Listed, Refused, Written},
        twilio::templates as twilio,
        unasked,
    },
    worker::wire::Wire,
};

/// More pages than any account has.
const PAGES_MAX: usize = 500;
const ANSWER_MAX: usize = 16 * 1_024 * 1_024;

/// A provider's desk for templates.
#[derive(Clone)]
pub struct Desk {
    wire: Wire,
    at: At,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Whose desk it is.
#[derive(Debug, Clone)]
pub enum At {
    Meta(meta::Templates),
    Twilio(twilio::Contents),
}

/// Why a provider could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("the provider cannot be asked: {}", .0.as_str())]
    Unasked(Reason),
    #[error("the provider's list of templates does not end")]
    Endless,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the provider has no such template: {}", .0.as_str())]
    Unsayable(Reason),
}

impl Desk {
    /// # Errors
    /// If this system's certificates cannot be used.
    pub fn new(at: At) -> Result<Desk, rustls::Error> {
        let wire = Wire::new(Duration::from_secs(30), Duration::from_secs(5), 1)?.reading(ANSWER_MAX);
        Ok(Desk { wire, at })
    }

    /// How templates are changed here.
    #[must_use]
    pub fn manner(&self) -> Manner {
        match self.at {
            At::Meta(_) => Manner::Edits,
            At::Twilio(_) => Manner::Anew,
        }
    }

    /// What a template of ours says as this provider writes it.
    ///
    /// # Errors
    /// If this provider has no such template.
    pub fn spoken(&self, wanted: &Wanted) -> Result<Definition, Trouble> {
        match self.at {
            At::Meta(_) => Ok(wanted.definition.clone()),
            At::Twilio(_) => twilio::spoken(&wanted.definition, &wanted.example).map_err(Trouble::Unsayable),
        }
    }

    /// Which of the listed is a template of ours: of several versions the one that says the same, else one that is approved.
    #[must_use]
    pub fn find<'l>(&self, wanted: &Wanted, listed: &'l [Listed]) -> Option<&'l Listed> {
        let ours = self.spoken(wanted).ok();
        let versions =
            || listed.iter().filter(|there| there.name == wanted.template && there.language == wanted.language);
        versions()
            .find(|there| ours.is_some() && there.definition == ours)
            .or_else(|| versions().find(|there| there.status.is_approved()))
            .or_else(|| versions().next())
    }

    /// All templates of the account.
    ///
    /// # Errors
    /// If the provider cannot be asked or refuses.
    pub async fn list(&self) -> Result<Vec<Listed>, Trouble> {
        let mut listed = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = match &self.at {
                At::Meta(at) => meta::listed(&self.ask(at.list(after.as_deref())).await?)?,
                At::Twilio(at) => twilio::listed(&self.ask(at.list(after.as_deref())).await?)?,
            };
            listed.extend(page.listed);
            match page.next {
                Some(next) if Some(&next) != after.as_ref() => after = Some(next),
                _ => return Ok(listed),
            }
        }
        Err(Trouble::Endless)
    }

    /// Makes a template, and asks for its approval. `meta` is what Meta takes of it; `there` is what stands in its place now.
    ///
    /// # Errors
    /// If the provider cannot be asked or refuses.
    pub async fn create(&self, wanted: &Wanted, meta: &Value, there: Option<&Listed>) -> Result<Written, Trouble> {
        match &self.at {
            At::Meta(at) => Ok(meta::written(&self.ask(at.create(meta)).await?)?),
            At::Twilio(at) => {
                let name = twilio::approval_name(&wanted.template, there.map(|_| &wanted.definition));
                let content = twilio::content(&name, &wanted.language, &wanted.definition, &wanted.example);
                let content = content.map_err(Trouble::Unsayable)?;
                let sid = twilio::created(&self.ask(at.create(&content)).await?)?;
                let asked = self.ask(at.submit(&sid, &name, wanted.category)).await?;
                Ok(Written { id: Some(sid), ..twilio::submitted(&asked)? })
            }
        }
    }

    /// Replaces what the template with this id says; its category too, if that may be.
    ///
    /// # Errors
    /// If the provider cannot be asked or refuses.
    pub async fn edit(&self, id: &str, meta: &Value, category: bool) -> Result<Written, Trouble> {
        match &self.at {
            At::Meta(at) => Ok(meta::written(&self.ask(at.edit(id, meta, category)).await?)?),
            At::Twilio(_) => Err(Trouble::Refused(Refused::Unreadable)),
        }
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Trouble> {
        self.wire.ask(request).await.map_err(|silence| Trouble::Unasked(unasked(silence).reason))
    }
}
