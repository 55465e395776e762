//! The life of a notification: its outcomes, its states, and [`after`], the one function that decides what follows an attempt.
//!
//! What happens in the claim is decided by the statement in `db::dispatch`, from rows that it locked.

use std::{fmt, str::FromStr, time::Duration};

use uuid::Uuid;

/// One attempt's id. It travels to the provider and comes back in receipts: `<notification's uuid>.<number, from 1>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    pub notification: Uuid,
    pub number: i16,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.notification.simple(), self.number)
    }
}

/// A text that is no attempt id of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no attempt id")]
pub struct NotAnAttemptId;

impl FromStr for AttemptId {
    type Err = NotAnAttemptId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (notification, number) = text.split_once('.').ok_or(NotAnAttemptId)?;
        let notification = Uuid::try_parse(notification).map_err(|_| NotAnAttemptId)?;
        let number = number.parse().ok().filter(|n| *n > 0).ok_or(NotAnAttemptId)?;
        Ok(AttemptId { notification, number })
    }
}

/// What one request to a provider came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took the message over.
    Accepted(Acceptance),
    /// The provider refused this message. `again` says that it may be tried later (and costs an attempt), after at least that long.
    Rejected { failure: Failure, again: Option<Duration> },
    /// Proven that the request never reached the provider. Costs no attempt.
    NotSent(Failure),
    /// Refused because of somebody's limit or standing, not because of the message. Costs no attempt.
    Busy { whose: Whose, hold: bool, failure: Failure, wait: Option<Duration> },
    /// The request may or may not have been processed.
    Unclear(Failure),
}

/// The provider's word that it has the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acceptance {
    pub message_id: String,
    /// The provider's own id of the person, which may differ from the number that we sent to.
    pub wa_id: Option<String>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
}

/// Who or what is busy or held. `hold` with `Recipient` does not occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    Recipient,
    Sender,
    /// This template in this language.
    Template,
}

/// Why something did not go through: a reason of ours with a stable name, the provider's code, and the provider's text
/// (at most 300 characters; for the database and operators, never for logs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub code: Option<i64>,
    pub detail: Option<String>,
}

/// Reasons have stable snake_case names, kept in the database and shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Reason {
    #[must_use]
    pub const fn new(name: &'static str) -> Reason {
        Reason(name)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}
