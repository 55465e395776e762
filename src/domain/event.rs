//! An event: a CloudEvents 1.0 message about an order or a shipment, and what bytes must be like to be one.
//!
//! What an event leads to is decided in `plan`; how other JSON becomes an event in `source`.

use std::{fmt, str};

use jiff::Timestamp;
use serde::de::{self, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{phone::BadPhone, route::Nowhere, trace::Parent};

#[cfg(test)]
mod tests;

/// Containers within containers that an event may have at most, itself included.
pub const NESTING: usize = 64;
/// Extension attributes that an event may have at most.
const EXTENSIONS: usize = 64;
const ID_BYTES: usize = 256;
const SOURCE_BYTES: usize = 512;
const TYPE_BYTES: usize = 256;
const SUBJECT_BYTES: usize = 512;
const CONTENT_TYPE_BYTES: usize = 256;

/// What a producer published. `(source, id)` is its identity. `Debug` shows nothing personal.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// 1 to 256 bytes without control characters.
    pub id: String,
    /// 1 to 512 bytes without control characters.
    pub source: String,
    /// 1 to 256 bytes without control characters.
    pub r#type: String,
    pub subject: Option<String>,
    /// When it happened; when it was received, if the producer does not say.
    pub time: Timestamp,
    /// The extension `expires`: nothing about this event may go out after it.
    pub expires: Option<Timestamp>,
    /// The extension `traceparent` (W3C). One that is malformed counts as absent.
    pub traceparent: Option<String>,
    /// The extension `recipient`, a telephone number that goes before `data.customer.phone`.
    pub recipient: Option<String>,
    /// Null if the event has none.
    pub data: Value,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("type", &self.r#type).field("time", &self.time).finish_non_exhaustive()
    }
}

/// The names of all reasons for which something is rejected: of a [`Rejection`], and of the inbox's own.
pub const REASONS: [&str; 20] = [
    "invalid_utf8",
    "invalid_json",
    "not_an_object",
    "nested_too_deep",
    "nul_byte",
    "wrong_specversion",
    "missing_attribute",
    "bad_attribute",
    "duplicate_attribute",
    "too_many_attributes",
    "unsupported_data",
    "bad_phone",
    "unfillable_template",
    "bad_journey_key",
    "bad_mapping",
    "no_route",
    "unknown_sender",
    "too_large",
    "refused_by_database",
    "dead_lettered",
];

/// Why bytes are no event, or why an event cannot be planned. `Display` is for people; it names fields and never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("The body is not valid UTF-8.")]
    InvalidUtf8,
    #[error("The body is not valid JSON (line {line}, column {column}).")]
    InvalidJson { line: usize, column: usize },
    #[error("The body is JSON, but no object.")]
    NotAnObject,
    #[error("The body is nested deeper than {NESTING} levels.")]
    NestedTooDeep,
    #[error("A text contains the character NUL, which cannot be stored.")]
    NulByte,
    #[error("The attribute {0} stands there twice.")]
    DuplicateAttribute(String),
    #[error("specversion must be the text \"1.0\".")]
    WrongSpecversion,
    #[error("The attribute {0} is missing.")]
    MissingAttribute(&'static str),
    #[error("The attribute {name} {problem}.")]
    BadAttribute { name: &'static str, problem: &'static str },
    #[error("The event has more than {EXTENSIONS} extension attributes.")]
    TooManyAttributes,
    #[error("The data is not JSON: {0}.")]
    UnsupportedData(&'static str),
    #[error("{field} {problem}.")]
    BadPhone { field: &'static str, problem: BadPhone },
    #[error("Template {template} ({language}) cannot be filled: {place} {problem}.")]
    Unfillable { template: String, language: String, place: String, problem: String },
    #[error("Event type {event_type}: the journey's key {problem}.")]
    BadJourneyKey { event_type: String, problem: String },
    #[error("Template {template} has no sender for this event: {why}.")]
    NoRoute { template: String, why: Nowhere },
    #[error("Source {source_name}: {field} {problem}.")]
    BadMapping { source_name: String, field: String, problem: String },
}

impl Rejection {
    /// A stable snake_case name, for the database, metrics and filters.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Rejection::InvalidUtf8 => "invalid_utf8",
            Rejection::InvalidJson { .. } => "invalid_json",
            Rejection::NotAnObject => "not_an_object",
            Rejection::NestedTooDeep => "nested_too_deep",
            Rejection::NulByte => "nul_byte",
            Rejection::DuplicateAttribute(_) => "duplicate_attribute",
            Rejection::WrongSpecversion => "wrong_specversion",
            Rejection::MissingAttribute(_) => "missing_attribute",
            Rejection::BadAttribute { .. } => "bad_attribute",
            Rejection::TooManyAttributes => "too_many_attributes",
            Rejection::UnsupportedData(_) => "unsupported_data",
            Rejection::BadPhone { .. } => "bad_phone",
            Rejection::Unfillable { .. } => "unfillable_template",
            Rejection::BadJourneyKey { .. } => "bad_journey_key",
            Rejection::NoRoute { .. } => "no_route",
            Rejection::BadMapping { .. } => "bad_mapping",
        }
    }
}

impl Event {
    /// Reads a structured CloudEvents 1.0 message in JSON. `now` stands in for a missing `time`.
    ///
    /// # Errors
    /// If the bytes are not such a message, or exceed one of the limits named above.
    pub fn parse(body: &[u8], now: Timestamp) -> Result<Event, Rejection> {
        let text = str::from_utf8(body).map_err(|_| Rejection::InvalidUtf8)?;
        // A producer's byte order mark is harmless, and JSON readers may ignore it (RFC 8259, section 8.1).
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut refused = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = reader.deserialize_any(Members { refused: &mut refused }).and_then(|members| {
            reader.end()?;
            Ok(members)
        });
        match (read, refused) {
            (Ok(raw), _) => raw.check(now),
            (Err(_), Some(rejection)) => Err(rejection),
            (Err(error), None) => Err(json_error(&error)),
        }
    }

    /// Reads a CloudEvents 1.0 message in AMQP's binary mode: attributes in headers named `cloudEvents:…` or
    /// `cloudEvents_…` (values as text), the data in the body. Other headers are ignored.
    ///
    /// # Errors
    /// As for [`Event::parse`]; also if the content type is not JSON's.
    pub fn parse_binary<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        content_type: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Event, Rejection> {
        let mut raw = Raw::default();
        for (header, value) in headers {
            if let Some(name) = binary_attribute(header) {
                if value.contains('\0') {
                    return Err(Rejection::NulByte);
                }
                raw.put(&name.to_ascii_lowercase(), Value::String(value.to_owned()))?;
            }
        }
        if let Some(content_type) = content_type {
            raw.datacontenttype = Some(Value::String(content_type.to_owned()));
        }
        if !body.is_empty() {
            raw.check_content_type()?;
            raw.data = Some(parse_json(body)?);
        }
        raw.check(now)
    }
}

/// What a source makes of other JSON; unchecked. Absent is null.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub id: Value,
    pub source: Value,
    pub r#type: Value,
    pub subject: Value,
    pub time: Value,
    pub recipient: Value,
    pub data: Value,
}

impl Parts {
    /// # Errors
    /// As for [`Event::parse`], about attributes.
    pub(super) fn check(self, now: Timestamp) -> Result<Event, Rejection> {
        let raw = Raw {
            specversion: Some("1.0".into()),
            id: Some(self.id),
            source: Some(self.source),
            r#type: Some(self.r#type),
            subject: Some(self.subject),
            time: Some(self.time),
            recipient: Some(self.recipient),
            data: Some(self.data),
            ..Raw::default()
        };
        raw.check(now)
    }
}

/// Whether a message with these header names is an event in binary mode.
#[must_use]
pub fn is_binary<'a>(headers: impl IntoIterator<Item = &'a str>) -> bool {
    headers.into_iter().filter_map(binary_attribute).any(|name| name.eq_ignore_ascii_case("specversion"))
}

/// Reads any JSON within the limits that hold for events: UTF-8, no NUL, bounded nesting.
///
/// # Errors
/// If it is none, or exceeds them.
pub fn parse_json(body: &[u8]) -> Result<Value, Rejection> {
    let text = str::from_utf8(body).map_err(|_| Rejection::InvalidUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value: Value = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    check_value(&value, NESTING)?;
    Ok(value)
}

fn binary_attribute(header: &str) -> Option<&str> {
    const PREFIX: &str = "cloudEvents";
    let (prefix, rest) = header.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    rest.strip_prefix([':', '_'])
}

fn json_error(error: &serde_json::Error) -> Rejection {
    // serde_json has no category for its own limit of 128 levels, only this sentence.
    if error.to_string().starts_with("recursion limit") {
        return Rejection::NestedTooDeep;
    }
    Rejection::InvalidJson { line: error.line(), column: error.column() }
}

/// The members of the outermost object, unchecked.
#[derive(Default)]
struct Raw {
    specversion: Option<Value>,
    id: Option<Value>,
    source: Option<Value>,
    r#type: Option<Value>,
    subject: Option<Value>,
    time: Option<Value>,
    datacontenttype: Option<Value>,
    data: Option<Value>,
    data_base64: bool,
    expires: Option<Value>,
    traceparent: Option<Value>,
    recipient: Option<Value>,
    others: Vec<String>,
}

impl Raw {
    fn put(&mut self, name: &str, value: Value) -> Result<(), Rejection> {
        let place = match name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.r#type,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.datacontenttype,
            "data" => &mut self.data,
            "expires" => &mut self.expires,
            "traceparent" => &mut self.traceparent,
            "recipient" => &mut self.recipient,
            other => {
                if self.others.len() == EXTENSIONS {
                    return Err(Rejection::TooManyAttributes);
                }
                if self.others.iter().any(|seen| seen == other) {
                    return Err(Rejection::DuplicateAttribute("of an extension".into()));
                }
                self.data_base64 |= other == "data_base64";
                self.others.push(other.to_owned());
                return Ok(());
            }
        };
        if place.is_some() {
            return Err(Rejection::DuplicateAttribute(name.to_owned()));
        }
        *place = Some(value);
        Ok(())
    }

    fn check_content_type(&self) -> Result<(), Rejection> {
        let Some(content_type) = self.datacontenttype.as_ref().filter(|value| !value.is_null()) else { return Ok(()) };
        let essence = content_type
            .as_str()
            .filter(|text| text.len() <= CONTENT_TYPE_BYTES)
            .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .ok_or(Rejection::BadAttribute { name: "datacontenttype", problem: "is no short text" })?;
        let is_json = essence.is_empty() || essence == "text/json" || essence.ends_with("/json");
        if is_json || essence.ends_with("+json") {
            return Ok(());
        }
        Err(Rejection::UnsupportedData("datacontenttype names another format"))
    }

    fn check(self, now: Timestamp) -> Result<Event, Rejection> {
        if self.specversion.as_ref().and_then(Value::as_str) != Some("1.0") {
            return Err(Rejection::WrongSpecversion);
        }
        if self.data_base64 {
            return Err(Rejection::UnsupportedData("data_base64 holds bytes"));
        }
        self.check_content_type()?;
        let required = |value, name, limit| text(value, name, limit)?.ok_or(Rejection::MissingAttribute(name));
        Ok(Event {
            id: required(self.id, "id", ID_BYTES)?,
            source: required(self.source, "source", SOURCE_BYTES)?,
            r#type: required(self.r#type, "type", TYPE_BYTES)?,
            subject: text(self.subject, "subject", SUBJECT_BYTES)?,
            time: time(self.time, "time")?.unwrap_or(now),
            expires: time(self.expires, "expires")?,
            traceparent: self
                .traceparent
                .as_ref()
                .and_then(Value::as_str)
                .filter(|t| Parent::parse(t).is_some())
                .map(str::to_owned),
            recipient: text(self.recipient, "recipient", 64)?,
            data: self.data.unwrap_or(Value::Null),
        })
    }
}

/// An attribute that is a text. Null counts as absent, as CloudEvents' JSON format says.
fn text(value: Option<Value>, name: &'static str, limit: usize) -> Result<Option<String>, Rejection> {
    let bad = |problem| Err(Rejection::BadAttribute { name, problem });
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => bad("is empty"),
        Some(Value::String(text)) if text.len() > limit => bad("is too long"),
        Some(Value::String(text)) if text.chars().any(char::is_control) => bad("contains control characters"),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => bad("is no text"),
    }
}

fn time(value: Option<Value>, name: &'static str) -> Result<Option<Timestamp>, Rejection> {
    let Some(text) = text(value, name, 64)? else { return Ok(None) };
    let problem = "is no time with its offset from UTC (like 2026-12-03T18:30:00Z)";
    let time: Timestamp = text.parse().map_err(|_| Rejection::BadAttribute { name, problem })?;
    // Databases and other calendars disagree about what lies before; no shop means it.
    if time < Timestamp::UNIX_EPOCH {
        return Err(Rejection::BadAttribute { name, problem: "lies before 1970" });
    }
    Ok(Some(time))
}

/// Refuses NUL and containers nested deeper than `levels`.
fn check_value(value: &Value, levels: usize) -> Result<(), Rejection> {
    let inner = || levels.checked_sub(1).ok_or(Rejection::NestedTooDeep);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => check_text(text),
        Value::Array(items) => {
            let levels = inner()?;
            items.iter().try_for_each(|item| check_value(item, levels))
        }
        Value::Object(members) => {
            let levels = inner()?;
            members.iter().try_for_each(|(name, item)| check_text(name).and_then(|()| check_value(item, levels)))
        }
    }
}

fn check_text(text: &str) -> Result<(), Rejection> {
    if text.as_bytes().contains(&0) { Err(Rejection::NulByte) } else { Ok(()) }
}

/// Reads the outermost object member by member, since `serde_json::Value` would hide a name that stands there twice.
struct Members<'a> {
    refused: &'a mut Option<Rejection>,
}

impl Members<'_> {
    fn refuse<T, E: de::Error>(self, rejection: Rejection) -> Result<T, E> {
        *self.refused = Some(rejection);
        Err(E::custom("refused"))
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Raw, A::Error> {
        let mut raw = Raw::default();
        while let Some(name) = members.next_key::<String>()? {
            let value: Value = members.next_value()?;
            let put =
                check_text(&name).and_then(|()| check_value(&value, NESTING - 1)).and_then(|()| raw.put(&name, value));
            if let Err(rejection) = put {
                return self.refuse(rejection);
            }
        }
        Ok(raw)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.refuse(Rejection::NotAnObject)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Raw, E> {
        self.refuse(Rejection::NotAnObject)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Raw, E> {
        self.refuse(Rejection::NotAnObject)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Raw, E> {
        self.refuse(Rejection::NotAnObject)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Raw, E> {
        self.refuse(Rejection::NotAnObject)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Raw, E> {
        self.refuse(Rejection::NotAnObject)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        self.refuse(Rejection::NotAnObject)
    }
}
