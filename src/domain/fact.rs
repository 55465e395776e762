//! What a provider tells us later, in our own words: receipts, people's messages, news of templates, senders and accounts.
//!
//! How a provider writes them is its codec's business; what follows from them is the receipts' and consent's.

use std::{fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::notification::{AttemptId, Outcome};

/// One update of a webhook and where it belongs. An update that cannot be read stands alone and spoils no other.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    pub place: Place,
    pub fact: Result<Fact, BadFact>,
}

/// Whom an update concerns, in the provider's ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The business account. Templates and account news belong to all its numbers.
    pub account: Option<String>,
    /// The sender's id at the provider.
    pub number: Option<String>,
    /// The sender's number as the provider writes it; some news has nothing else.
    pub display_number: Option<String>,
}

/// One update.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Receipt(Receipt),
    Inbound(Inbound),
    /// The person behind `old` is now known as `new`.
    IdentityChanged {
        message_id: String,
        old: Identity,
        new: Identity,
        at: Timestamp,
    },
    Preference(Preference),
    TemplateStatus(TemplateStatus),
    TemplateCategory(TemplateCategory),
    /// The approved template was edited: what we render may no longer fit.
    TemplateChanged {
        name: String,
        language: String,
    },
    TemplateQuality {
        name: String,
        language: String,
        score: String,
    },
    SenderQuality(SenderQuality),
    Account(AccountNews),
    /// An error of the sender or its account that belongs to no message. Never `Accepted`, `NotSent` or `Unclear`.
    SenderError(Outcome),
    /// Authentic, and nothing that we act upon. `field` says what it is, at most 100 characters.
    Unknown {
        field: String,
    },
}

/// Why an update cannot be read. Never carries its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFact {
    #[error("the body is no JSON of a webhook")]
    NotAWebhook,
    #[error("the webhook is about another product")]
    OtherProduct,
    /// With what the update should have been.
    #[error("an update ({0}) has not the documented shape")]
    Shape(&'static str),
    #[error("{left} updates above the limit of a batch were left unread")]
    TooMany { left: usize },
}

/// A person, as far as the provider names them. Either may be missing. Prints masked.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The provider's form of the phone number: digits only, not always those that we sent to.
    pub wa_id: Option<String>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
}

impl Identity {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wa_id.is_none() && self.user_id.is_none()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = |id: &Option<String>| id.as_ref().map(|_| "…");
        f.debug_struct("Identity")
            .field("wa_id", &masked(&self.wa_id))
            .field("user_id", &masked(&self.user_id))
            .finish()
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    pub message_id: String,
    /// Our attempt's id, echoed. Absent if the message was not ours.
    pub tag: Option<AttemptId>,
    pub kind: ReceiptKind,
    /// By the provider's clock.
    pub at: Timestamp,
    pub who: Identity,
    /// As the provider wrote it. May come with any of a message's receipts; count it once a message.
    pub pricing: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptKind {
    Sent,
    Delivered,
    /// Also a voice message that was played.
    Read,
    /// Proven undelivered; the outcome says whether and when it may be tried again, or who is held. Never `Accepted`,
    /// `NotSent` or `Unclear`.
    Failed(Outcome),
}

impl ReceiptKind {
    /// Its name in the database and in status events.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            ReceiptKind::Sent => "sent",
            ReceiptKind::Delivered => "delivered",
            ReceiptKind::Read => "read",
            ReceiptKind::Failed(_) => "failed",
        }
    }
}

/// A message from a person. Prints without what they wrote.
#[derive(Clone, PartialEq)]
pub struct Inbound {
    pub message_id: String,
    pub from: Identity,
    /// When the person wrote it, by the provider's clock: the 24-hour window counts from here.
    pub at: Timestamp,
    pub content: Content,
    /// The message that it answers or whose button was pressed.
    pub answers: Option<String>,
    /// What the provider took it for by itself, and has acted upon: it may send nothing more to this person then.
    pub heeded: Option<Choice>,
    /// The message as the provider wrote it, for `recado.inbound`.
    pub raw: Value,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("message_id", &self.message_id)
            .field("from", &self.from)
            .field("at", &self.at)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// What a message from a person consists of. Prints its kind only.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Text(String),
    /// A template's quick reply.
    Button {
        payload: String,
        text: String,
    },
    /// A choice in an interactive message.
    Interactive {
        id: String,
        title: String,
    },
    /// Anything else, by the provider's name for it.
    Other {
        kind: String,
    },
}

impl Content {
    /// Its kind's name, as kept and shown.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Content::Text(_) => "text",
            Content::Button { .. } => "button",
            Content::Interactive { .. } => "interactive",
            Content::Other { kind } => kind,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&self.kind()).finish()
    }
}

/// A person's choice in the provider's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    pub who: Identity,
    pub choice: Choice,
    /// What it is about, in the provider's word (`marketing_messages`).
    pub category: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    Stop,
    Resume,
}

/// News of a template in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateStatus {
    pub name: String,
    /// With `_`, as in `es_MX`.
    pub language: String,
    /// The status that it now has; `None` if the news changes none (a warning).
    pub status: Option<Approval>,
    /// The provider's word for what happened, and its reason, for people.
    pub event: String,
    pub reason: Option<String>,
    pub at: Option<Timestamp>,
    /// How long a pause lasts from `at`, if it ends by itself.
    pub lasts: Option<Duration>,
}

/// A template's standing at the provider. Only `Approved` goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Approval {
    Approved,
    Pending,
    Rejected,
    Paused,
    Disabled,
    InAppeal,
    Locked,
    LimitExceeded,
    Archived,
    Deleted,
}

impl Approval {
    const ALL: [Approval; 10] = [
        Approval::Approved,
        Approval::Pending,
        Approval::Rejected,
        Approval::Paused,
        Approval::Disabled,
        Approval::InAppeal,
        Approval::Locked,
        Approval::LimitExceeded,
        Approval::Archived,
        Approval::Deleted,
    ];

    /// Whether it may go out.
    #[must_use]
    pub const fn is_approved(self) -> bool {
        matches!(self, Approval::Approved)
    }

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Approval::Approved => "approved",
            Approval::Pending => "pending",
            Approval::Rejected => "rejected",
            Approval::Paused => "paused",
            Approval::Disabled => "disabled",
            Approval::InAppeal => "in_appeal",
            Approval::Locked => "locked",
            Approval::LimitExceeded => "limit_exceeded",
            Approval::Archived => "archived",
            Approval::Deleted => "deleted",
        }
    }
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no [`Approval`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no template status")]
pub struct NotAnApproval;

impl FromStr for Approval {
    type Err = NotAnApproval;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Approval::ALL.into_iter().find(|approval| approval.as_str() == text).ok_or(NotAnApproval)
    }
}

/// The provider moved a template to another category, or says that it will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateCategory {
    pub name: String,
    pub language: String,
    /// The category that it has now (`UTILITY`, `MARKETING`, …).
    pub category: String,
    pub previous: Option<String>,
    /// The category that it is going to have, and from when.
    pub impending: Option<(String, Option<Timestamp>)>,
}

/// News of a number's throughput, or of how many people may be messaged in a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderQuality {
    pub event: String,
    /// The tier, in the provider's word (`TIER_2K`, `TIER_UNLIMITED`) or as a number.
    pub limit: Option<String>,
}

/// News of the business account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountNews {
    pub event: String,
    pub effect: Effect,
    /// More of it, for people, at most 300 characters.
    pub detail: Option<String>,
}

/// What account news means for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// No number of the account may send, until then if it is known.
    Holds { until: Option<Timestamp> },
    /// Sending is allowed again.
    Releases,
    /// Worth showing, changes nothing.
    Shown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_prints_neither_its_person_nor_its_words() {
        let inbound = Fact::Inbound(Inbound {
            message_id: "wamid.1".to_owned(),
            from: Identity { wa_id: Some("34611000111".to_owned()), user_id: Some("ES.7001".to_owned()) },
            at: Timestamp::UNIX_EPOCH,
            content: Content::Text("my address is".to_owned()),
            answers: None,
            heeded: None,
            raw: serde_json::json!({"text": {"body": "my address is"}}),
        });
        let printed = format!("{inbound:?}");
        for secret in ["34611", "ES.7001", "address"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        assert!(printed.contains("text"));
    }
}
