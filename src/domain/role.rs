//! What a key or an account may do, and how one may be called.

use std::str::FromStr;

/// A producer only publishes; of the others, each may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Brings events, and sees nothing. Of keys only.
    Producer,
    /// Sees everything but people: their numbers are masked.
    Viewer,
    /// Sees people; holds, releases, retries.
    Operator,
    /// Also says who may, and reads who did.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 4] = [Role::Producer, Role::Viewer, Role::Operator, Role::Admin];

    /// Its name in the database and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Producer => "producer",
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// Whether an account may be called so: 1 to 60 lower-case letters, digits, and . _ - @ after the first.
#[must_use]
pub fn names_account(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._@-".contains(&byte);
    first && name.len() <= 60 && name.bytes().all(plain)
}

/// Whether a key may be called so: 1 to 60 characters, none of which commands a terminal.
#[must_use]
pub fn names_key(name: &str) -> bool {
    name.trim() == name && (1..=60).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no role; there are producer, viewer, operator and admin")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Role, NotARole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(NotARole)
    }
}
