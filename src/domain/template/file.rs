//! What a template's TOML file may contain, before it is checked. One file is one message in all its languages.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{Category, Class, InDoubt};

pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub name: Text,
    pub category: Category,
    /// What the person agreed to, which this message needs.
    pub purpose: Text,
    #[serde(default)]
    pub class: Class,
    /// Beside `route`, the last resort.
    pub sender: Option<Text>,
    #[serde(default)]
    pub route: Vec<Spanned<Route>>,
    pub default_language: Option<Text>,
    /// Counted from the event's time.
    pub expires_after: Text,
    pub in_doubt: InDoubt,
    pub trigger: Trigger,
    #[serde(default)]
    pub consent: Consent,
    /// Where the provider does not take the template, the same words may go as a free text while the person's window is open.
    pub session_fallback: Option<Spanned<bool>>,
    pub sms: Option<Spanned<Sms>>,
    pub quiet: Option<Quiet>,
    pub header: Option<Header>,
    /// Expressions by the name (or number) of their placeholder. A header's `{{1}}` is called `header_1`.
    #[serde(default)]
    pub parameters: BTreeMap<Text, Text>,
    #[serde(default)]
    pub buttons: Vec<Spanned<Button>>,
    pub languages: BTreeMap<Text, Language>,
    /// The `data` of an example event.
    pub example: Spanned<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trigger {
    pub event: Text,
    pub when: Option<Text>,
}

/// A rule by which the sender is chosen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub country: Option<Spanned<Names>>,
    pub brand: Option<Spanned<Names>>,
    pub when: Option<Text>,
    pub sender: Text,
}

/// One name or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Names {
    One(String),
    Several(Vec<String>),
}

impl Names {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            Names::One(name) => vec![name],
            Names::Several(names) => names,
        }
    }
}

/// How long a message waits for a consent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    /// If nobody has asked the person yet.
    pub grace: Option<Text>,
    /// If the person was asked and has not answered.
    pub pending: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quiet {
    pub from: Text,
    pub until: Text,
    /// Over how long a time the waiting messages go out when the quiet hours end.
    pub spread: Option<Text>,
}

/// The SMS for people whom WhatsApp is proven unable to reach.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sms {
    pub sender: Option<Text>,
    /// What the person must have agreed to for an SMS; another than the message's own.
    pub purpose: Option<Text>,
    /// The most segments that its example may take.
    pub max_segments: Option<Spanned<i64>>,
    /// By language; with the message's own placeholders.
    #[serde(default)]
    pub text: BTreeMap<Text, Text>,
}

/// A header that is no text; all values are expressions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub kind: Spanned<HeaderKind>,
    pub link: Option<Text>,
    pub filename: Option<Text>,
    pub latitude: Option<Text>,
    pub longitude: Option<Text>,
    pub name: Option<Text>,
    pub address: Option<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HeaderKind {
    Image,
    Video,
    Document,
    Location,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Button {
    pub kind: ButtonKind,
    /// By language. A copy-code button has none.
    #[serde(default)]
    pub text: BTreeMap<Text, Text>,
    /// May end in `{{1}}`.
    pub url: Option<Text>,
    /// An expression for the address's `{{1}}`.
    pub value: Option<Text>,
    pub phone: Option<Text>,
    /// An expression for what comes back when it is pressed.
    pub payload: Option<Text>,
    /// Pressing it revokes the template's purpose.
    #[serde(default)]
    pub opt_out: bool,
    /// An expression for the code to copy.
    pub code: Option<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ButtonKind {
    QuickReply,
    Url,
    Phone,
    CopyCode,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Language {
    pub header: Option<Text>,
    pub body: Text,
    pub footer: Option<Text>,
    /// Expressions that go before those of the same name above.
    #[serde(default)]
    pub parameters: BTreeMap<Text, Text>,
}
