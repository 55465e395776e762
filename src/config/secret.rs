//! A secret that may not have been given. It prints as given or not, never as itself.

use secrecy::{ExposeSecret, SecretString};

/// A secret setting. [`Secret::reveal`] is the only way to its text, and one that can be searched for.
#[derive(Debug, Clone)]
pub struct Secret {
    key: String,
    text: Option<SecretString>,
}

/// A secret that a step needs and that was not among what the command had asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not set")]
pub struct NotGiven(pub String);

impl Secret {
    pub(super) fn new(key: &str, text: Option<String>) -> Secret {
        Secret { key: key.to_owned(), text: text.map(SecretString::from) }
    }

    /// The text itself.
    ///
    /// # Errors
    /// If it was not given, which happens only to what the command did not say that it needs.
    pub fn reveal(&self) -> Result<&str, NotGiven> {
        self.text.as_ref().map(ExposeSecret::expose_secret).ok_or_else(|| NotGiven(self.key.clone()))
    }

    #[must_use]
    pub fn is_given(&self) -> bool {
        self.text.is_some()
    }
}

/// Whether this can be a variable's name and no secret that stands where its variable's name belongs.
pub(super) fn is_variable(name: &str) -> bool {
    name.len() <= 100 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Whether this looks like the path of a file, and not like a secret.
pub(super) fn is_path(text: &str) -> bool {
    let ordinary = |part: &str| part.len() <= 30 && !part.contains(['=', '+']);
    text.contains(['/', '.']) && text.split(['/', '.']).all(ordinary)
}
