//! Asking providers about templates: the one place in which templates go over HTTP. What is asked and answered is the codecs'.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use serde_json::Value;

use crate::provider::{
    meta,
    templates::{Listed, Refused, Written},
};

/// More pages than any account has.
const PAGES_MAX: usize = 500;
const ANSWER_MAX: usize = 16 * 1_024 * 1_024;

/// A provider's desk for templates.
#[derive(Debug, Clone)]
pub struct Desk {
    http: reqwest::Client,
    at: meta::Templates,
}

/// Why a provider could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("the provider cannot be reached: {0}")]
    Unreachable(#[source] reqwest::Error),
    #[error("the provider's answer is too long")]
    TooLong,
    #[error("the provider's list of templates does not end")]
    Endless,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Trouble {
        Trouble::Unreachable(error.without_url())
    }
}

impl Desk {
    /// # Errors
    /// If this system's certificates cannot be used.
    pub fn new(at: meta::Templates) -> Result<Desk, Trouble> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("recado/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Desk { http, at })
    }

    /// All templates of the account.
    ///
    /// # Errors
    /// If the provider cannot be asked or refuses.
    pub async fn list(&self) -> Result<Vec<Listed>, Trouble> {
        let mut listed = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = meta::listed(&self.ask(self.at.list(after.as_deref())).await?)?;
            listed.extend(page.listed);
            match page.next {
                Some(next) if Some(&next) != after.as_ref() => after = Some(next),
                _ => return Ok(listed),
            }
        }
        Err(Trouble::Endless)
    }

    /// Makes a template, in Meta's words.
    ///
    /// # Errors
    /// If the provider cannot be asked or refuses.
    pub async fn create(&self, template: &Value) -> Result<Written, Trouble> {
        Ok(meta::written(&self.ask(self.at.create(template)).await?)?)
    }

    /// Replaces what the template with this id says; its category too, if that may be.
    ///
    /// # Errors
    /// If the provider cannot be asked or refuses.
    pub async fn edit(&self, id: &str, template: &Value, category: bool) -> Result<Written, Trouble> {
        Ok(meta::written(&self.ask(self.at.edit(id, template, category)).await?)?)
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Trouble> {
        let mut answer = self.http.execute(request.try_into()?).await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(Trouble::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        Ok(response)
    }
}
