//! A message on its way out: a template with its values filled in, which is frozen on a notification, or a free text.
//!
//! Rendering belongs to `template`, the wire format to `provider`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The values of one template message, checked against the template when they were filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filled {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// In the template's order; either all are named or none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<Parameter>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
}

/// The header's one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Header {
    Text(Parameter),
    Image { link: String },
    Video { link: String },
    Document { link: String, filename: String },
    Location { latitude: String, longitude: String, name: String, address: String },
}

/// One value of the header's or the body's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Set if the template's parameters are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(flatten)]
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Text(String),
    /// `fallback` is what the provider shows; `code` is ISO 4217, `amount_1000` the amount times 1,000.
    Currency {
        fallback: String,
        code: String,
        amount_1000: i64,
    },
    DateTime {
        fallback: String,
    },
}

/// The value of the button at `index`, counted from 0 over all buttons of the template. Buttons without a value are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    pub index: u8,
    #[serde(flatten)]
    pub value: ButtonValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonValue {
    /// Appended to the approved address; percent-encoded already.
    UrlSuffix(String),
    /// Comes back when a person presses a quick reply.
    Payload(String),
    CopyCode(String),
}

/// All that a codec needs for one request. `tag` is the attempt's id, which the provider echoes.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub to: Recipient,
    pub content: Content,
    pub tag: super::notification::AttemptId,
    /// What the message has left: later it is not to arrive. For providers that can be told.
    pub life: Duration,
}

/// What a message consists of.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Template {
        name: String,
        language: String,
        /// The provider's own id of the approved content, where it has one.
        content_id: Option<String>,
        filled: Filled,
    },
    /// On WhatsApp only inside the recipient's window; an SMS is never anything else.
    Text(String),
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// Who gets a message. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub enum Recipient {
    /// `+` and digits, as the provider knows the person.
    Number(String),
    /// A business-scoped user id.
    User(String),
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient(…)")
    }
}
