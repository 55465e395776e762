//! Templates as providers list and take them, in words of ours: what the codecs of [`meta`](super::meta) and
//! [`twilio`](super::twilio) read and write.

use crate::domain::{fact::Approval, template::Definition};

/// A template in one language, as a provider lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The provider's own id for it.
    pub id: String,
    pub name: String,
    /// With `_`, as in `es_MX`.
    pub language: String,
    pub status: Approval,
    /// `UTILITY`, `MARKETING`, `AUTHENTICATION`, if the provider says so.
    pub category: Option<String>,
    pub quality: Option<String>,
    /// Why it was refused or stopped.
    pub reason: Option<String>,
    /// What it says. None if that cannot be read.
    pub definition: Option<Definition>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub listed: Vec<Listed>,
    /// What to ask for the next one with.
    pub next: Option<String>,
}

/// What came back when a template was made or changed. An edit says less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    pub id: Option<String>,
    pub status: Option<Approval>,
    /// The category that the provider gave it, which may be another than the one asked for.
    pub category: Option<String>,
}

/// Why a provider did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// With the provider's own words, for people.
    #[error("the provider refused (HTTP {status}{}){}", coded(*code), worded(said.as_deref()))]
    Said { status: u16, code: Option<i64>, said: Option<String> },
    #[error("the provider's answer cannot be read")]
    Unreadable,
}

fn coded(code: Option<i64>) -> String {
    code.map_or(String::new(), |code| format!(", code {code}"))
}

fn worded(said: Option<&str>) -> String {
    said.map_or(String::new(), |said| format!(": {said}"))
}
