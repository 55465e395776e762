//! A template message with its values filled in: what is frozen on a notification and what a provider's codec encodes.
//!
//! Rendering belongs to `template`, the wire format to `provider`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::phone::Phone;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub to: Phone,
    pub template: String,
    pub language: String,
    pub filled: Filled,
    pub tag: super::notification::AttemptId,
}

/// A free text to somebody who wrote to us. `tag` comes back in receipts.
#[derive(Clone)]
pub struct FreeText<'a> {
    pub to: Recipient,
    pub body: &'a str,
    pub tag: super::notification::AttemptId,
}

/// Who gets a free text. Prints as nothing.
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
