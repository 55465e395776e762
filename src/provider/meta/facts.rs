//! Reads Meta's webhooks: every entry, change, message and status becomes one fact, or one update that cannot be read.
//!
//! Nothing here fails as a whole after the envelope, and nothing is decided. News of templates and accounts is in
//! `account`.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{account, decode::reported};
use crate::{
    domain::fact::{
        BadFact, Choice, Content, Fact, Identity, Inbound, Located, Place, Preference, Receipt, ReceiptKind,
    },
    provider::verdict::shortened,
};

/// The most updates that are taken from one body; Meta promises not to send more.
pub const UPDATES_MAX: usize = 1_000;

/// The facts in the body of a verified webhook, in its order. What lies above [`UPDATES_MAX`] is only counted.
#[must_use]
pub fn facts(raw: &[u8]) -> Vec<Located> {
    let text = storable(raw);
    let mut found = Found { facts: Vec::new(), left: 0 };
    read_envelope(&text, &mut found);
    if found.left > 0 {
        let fact = Err(BadFact::TooMany { left: found.left });
        found.facts.push(Located { place: Place::default(), fact });
    }
    found.facts
}

struct Found {
    facts: Vec<Located>,
    left: usize,
}

impl Found {
    fn take(&mut self, place: &Place, read: impl FnOnce() -> Result<Fact, BadFact>) {
        if self.facts.len() < UPDATES_MAX {
            self.facts.push(Located { place: place.clone(), fact: read() });
        } else {
            self.left += 1;
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    object: String,
    #[serde(borrow)]
    entry: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(default, deserialize_with = "filled")]
    id: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    time: Option<Timestamp>,
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Change<'a> {
    field: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// The lists of a change of field `messages` or `user_preferences`.
#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(borrow, default)]
    contacts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    statuses: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user_preferences: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default, deserialize_with = "filled")]
    display_phone_number: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    phone_number_id: Option<String>,
}

fn read_envelope(text: &str, found: &mut Found) {
    let nowhere = Place::default();
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else {
        return found.take(&nowhere, || Err(BadFact::NotAWebhook));
    };
    if envelope.object != "whatsapp_business_account" {
        return found.take(&nowhere, || Err(BadFact::OtherProduct));
    }
    for entry in envelope.entry {
        let Ok(entry) = serde_json::from_str::<Entry<'_>>(entry.get()) else {
            found.take(&nowhere, || Err(BadFact::Shape("entry")));
            continue;
        };
        let place = Place { account: entry.id, ..Place::default() };
        for change in entry.changes {
            match serde_json::from_str::<Change<'_>>(change.get()) {
                Ok(change) => read_change(&change, entry.time, place.clone(), found),
                Err(_) => found.take(&place, || Err(BadFact::Shape("change"))),
            }
        }
    }
}

fn read_change(change: &Change<'_>, at: Option<Timestamp>, mut place: Place, found: &mut Found) {
    if !matches!(change.field.as_str(), "messages" | "user_preferences") {
        let value = serde_json::from_str::<Value>(change.value.get());
        place.display_number = value.as_ref().ok().and_then(|value| filled_text(value.get("display_phone_number")?));
        return found.take(&place, || match value {
            Ok(value) => account::read(&change.field, &value, at),
            Err(_) => Err(BadFact::Shape("news")),
        });
    }
    let Ok(lists) = serde_json::from_str::<Lists<'_>>(change.value.get()) else {
        return found.take(&place, || Err(BadFact::Shape("change")));
    };
    let metadata = lists.metadata.unwrap_or_default();
    place.number = metadata.phone_number_id;
    place.display_number = metadata.display_phone_number;
    let before = found.facts.len() + found.left;
    let contacts = lists.contacts.map(contacts).unwrap_or_default();
    each(lists.statuses, "status", &place, found, read_status);
    each(lists.messages, "message", &place, found, |message| read_message(message, &contacts));
    each(lists.user_preferences, "preference", &place, found, read_preference);
    each(lists.errors, "error", &place, found, |error| Ok(Fact::SenderError(reported(&read(error, "error")?))));
    if found.facts.len() + found.left == before {
        found.take(&place, || Ok(unknown(&change.field)));
    }
}

fn each(
    list: Option<&RawValue>,
    what: &'static str,
    place: &Place,
    found: &mut Found,
    read: impl Fn(&RawValue) -> Result<Fact, BadFact>,
) {
    let Some(list) = list else { return };
    match serde_json::from_str::<Vec<&RawValue>>(list.get()) {
        Ok(updates) => {
            for update in updates {
                found.take(place, || read(update));
            }
        }
        Err(_) => found.take(place, || Err(BadFact::Shape(what))),
    }
}

#[derive(Deserialize)]
struct Status<'a> {
    id: String,
    status: String,
    #[serde(default, deserialize_with = "moment")]
    timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "filled")]
    recipient_id: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    recipient_user_id: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    pricing: Option<Value>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
}

fn read_status(raw: &RawValue) -> Result<Fact, BadFact> {
    const BAD: BadFact = BadFact::Shape("status");
    let status = serde_json::from_str::<Status<'_>>(raw.get()).map_err(|_| BAD)?;
    let kind = match status.status.as_str() {
        "sent" => ReceiptKind::Sent,
        "delivered" => ReceiptKind::Delivered,
        "read" | "played" => ReceiptKind::Read,
        "failed" => ReceiptKind::Failed(reported(&first_error(status.errors))),
        other => return Ok(unknown(&format!("messages.statuses.{other}"))),
    };
    Ok(Fact::Receipt(Receipt {
        message_id: id(status.id).ok_or(BAD)?,
        tag: status.biz_opaque_callback_data.and_then(|tag| tag.parse().ok()),
        kind,
        at: status.timestamp.ok_or(BAD)?,
        who: Identity { wa_id: status.recipient_id, user_id: status.recipient_user_id },
        pricing: status.pricing,
    }))
}

/// A failure is a failure, however its errors are written.
fn first_error(errors: Option<&RawValue>) -> Value {
    let errors = errors.and_then(|errors| serde_json::from_str::<Vec<Value>>(errors.get()).ok());
    errors.and_then(|errors| errors.into_iter().next()).unwrap_or_default()
}

#[derive(Deserialize)]
struct Message {
    id: String,
    #[serde(default, deserialize_with = "filled")]
    from: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    from_user_id: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    timestamp: Option<Timestamp>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    context: Option<Context>,
    #[serde(default)]
    text: Option<Text>,
    #[serde(default)]
    button: Option<Button>,
    #[serde(default)]
    interactive: Option<Interactive>,
    #[serde(default)]
    system: Option<System>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default, deserialize_with = "filled")]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Text {
    body: String,
}

#[derive(Deserialize)]
struct Button {
    #[serde(default)]
    payload: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Interactive {
    #[serde(default, alias = "list_reply")]
    button_reply: Option<Picked>,
}

#[derive(Deserialize)]
struct Picked {
    id: String,
    #[serde(default)]
    title: String,
}

#[derive(Deserialize)]
struct System {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, deserialize_with = "filled", alias = "new_wa_id")]
    wa_id: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    previous_user_id: Option<String>,
}

fn read_message(raw: &RawValue, contacts: &[Identity]) -> Result<Fact, BadFact> {
    const BAD: BadFact = BadFact::Shape("message");
    let message = read::<Message>(raw, "message")?;
    let message_id = id(message.id).ok_or(BAD)?;
    let at = message.timestamp.ok_or(BAD)?;
    let from = Identity { wa_id: message.from, user_id: message.from_user_id };
    if message.kind == "system" {
        return read_identity_change(message_id, from, message.system.ok_or(BAD)?, at);
    }
    let from = completed(from, contacts);
    if from.is_empty() {
        return Err(BAD);
    }
    let other = |kind: &str| Content::Other { kind: shortened(kind, 100).unwrap_or_default() };
    let content = match message.kind.as_str() {
        "text" => Content::Text(message.text.ok_or(BAD)?.body),
        "button" => {
            let Button { payload, text } = message.button.ok_or(BAD)?;
            Content::Button { payload, text }
        }
        "interactive" => match message.interactive.and_then(|interactive| interactive.button_reply) {
            Some(Picked { id, title }) => Content::Interactive { id, title },
            None => other("interactive"),
        },
        kind => other(kind),
    };
    let answers = message.context.and_then(|context| context.id);
    let raw = read(raw, "message")?;
    Ok(Fact::Inbound(Inbound { message_id, from, at, content, answers, heeded: None, raw }))
}

/// The words of a message that was kept as it came ([`Inbound::raw`]), if it has some.
#[must_use]
pub fn said(raw: &Value) -> Option<&str> {
    let places = ["/text/body", "/button/text", "/interactive/button_reply/title", "/interactive/list_reply/title"];
    places.into_iter().find_map(|place| raw.pointer(place)?.as_str())
}

fn read_identity_change(message_id: String, from: Identity, system: System, at: Timestamp) -> Result<Fact, BadFact> {
    if !matches!(system.kind.as_str(), "user_changed_number" | "user_changed_user_id") {
        return Ok(unknown(&format!("messages.system.{}", system.kind)));
    }
    let new = Identity { wa_id: system.wa_id, user_id: system.user_id };
    let user_id = system.previous_user_id.or(from.user_id.filter(|user_id| new.user_id.as_ref() != Some(user_id)));
    let old = Identity { wa_id: from.wa_id, user_id };
    if old.is_empty() || new.is_empty() {
        return Err(BadFact::Shape("identity change"));
    }
    Ok(Fact::IdentityChanged { message_id, old, new, at })
}

#[derive(Deserialize)]
struct Choose {
    #[serde(default, deserialize_with = "filled")]
    wa_id: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    user_id: Option<String>,
    #[serde(default)]
    category: String,
    value: String,
    #[serde(default, deserialize_with = "moment")]
    timestamp: Option<Timestamp>,
}

fn read_preference(raw: &RawValue) -> Result<Fact, BadFact> {
    const BAD: BadFact = BadFact::Shape("preference");
    let chosen = read::<Choose>(raw, "preference")?;
    let choice = match chosen.value.as_str() {
        "stop" => Choice::Stop,
        "resume" => Choice::Resume,
        other => return Ok(unknown(&format!("user_preferences.{other}"))),
    };
    let who = Identity { wa_id: chosen.wa_id, user_id: chosen.user_id };
    if who.is_empty() {
        return Err(BAD);
    }
    Ok(Fact::Preference(Preference { who, choice, category: chosen.category, at: chosen.timestamp.ok_or(BAD)? }))
}

#[derive(Deserialize)]
struct Contact {
    #[serde(default, deserialize_with = "filled")]
    wa_id: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    user_id: Option<String>,
}

fn contacts(raw: &RawValue) -> Vec<Identity> {
    let listed = serde_json::from_str::<Vec<&RawValue>>(raw.get()).unwrap_or_default();
    let contacts = listed.into_iter().filter_map(|contact| read::<Contact>(contact, "contact").ok());
    contacts.map(|Contact { wa_id, user_id }| Identity { wa_id, user_id }).collect()
}

/// The person with the half that only the batch's contacts name. A contact is theirs if one id says so.
fn completed(from: Identity, contacts: &[Identity]) -> Identity {
    let same = |mine: &Option<String>, theirs: &Option<String>| mine.is_some() && mine == theirs;
    let theirs = contacts.iter().find(|contact| match (contacts, from.is_empty()) {
        ([_], true) => true,
        _ => same(&from.wa_id, &contact.wa_id) || same(&from.user_id, &contact.user_id),
    });
    match theirs {
        Some(contact) => Identity {
            wa_id: from.wa_id.or_else(|| contact.wa_id.clone()),
            user_id: from.user_id.or_else(|| contact.user_id.clone()),
        },
        None => from,
    }
}

pub(super) fn unknown(field: &str) -> Fact {
    Fact::Unknown { field: shortened(field, 100).unwrap_or_default() }
}

/// A string that is there and says something. Meta leaves out what it does not know, or sends it empty.
pub(super) fn filled_text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A time as Meta writes it: seconds since 1970, as number or string, or ISO 8601.
pub(super) fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(seconds) => Timestamp::from_second(seconds.as_i64()?).ok(),
        Value::String(text) => match text.parse() {
            Ok(seconds) => Timestamp::from_second(seconds).ok(),
            Err(_) => text.parse().ok(),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn read<T: DeserializeOwned>(raw: &RawValue, what: &'static str) -> Result<T, BadFact> {
    serde_json::from_str(raw.get()).map_err(|_| BadFact::Shape(what))
}

fn id(text: String) -> Option<String> {
    (!text.is_empty() && text.len() <= 512).then_some(text)
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(time(&Value::deserialize(deserializer)?))
}

/// The body as text that Postgres can keep: what is no UTF-8, U+0000 and halves of surrogate pairs become U+FFFD.
fn storable(raw: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(raw);
    if !text.contains("\\u") {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        clean.push_str(before);
        let (kept, length) = match (code_unit(escape), escape.get(6..).and_then(code_unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (escape.get(..12), 12),
            (Some(0 | 0xd800..=0xdfff), _) => (Some("\\ufffd"), 6),
            (Some(_), _) => (escape.get(..6), 6),
            // A backslash escapes one character, which may be another backslash.
            (None, _) => {
                let length = 1 + escape.chars().nth(1).map_or(0, char::len_utf8);
                (escape.get(..length), length)
            }
        };
        clean.push_str(kept.unwrap_or_default());
        rest = escape.get(length..).unwrap_or_default();
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// The UTF-16 unit that an escape at the beginning of `text` stands for.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests;
