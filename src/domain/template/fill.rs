//! Filling a template in for one event, and showing what the person will read.

use super::{Action, Header, Language, Payload, Template};
use crate::domain::{
    event::Rejection,
    expression::{Expression, Scope},
    message::{self, ButtonValue, Filled, Parameter, Value},
};

/// Meta's limit for the body with its values.
const BODY: usize = 1_024;
/// Meta's limit for a header's text with its value.
const HEADER: usize = 60;
/// Meta's limit for an address with its suffix.
const URL: usize = 2_000;
const PAYLOAD: usize = 256;
const CODE: usize = 15;

impl Template {
    /// Evaluates every value of the template in that language.
    ///
    /// # Errors
    /// If one is absent, empty, or makes the message longer than Meta takes.
    pub(in crate::domain) fn fill(&self, language: &Language, scope: &Scope) -> Result<Filled, Rejection> {
        let filling = Filling { template: self, language, scope };
        let header = language.header.as_ref().map(|header| filling.header(header)).transpose()?.flatten();
        let mut body = Vec::with_capacity(language.parameters.len());
        for (name, expression) in &language.parameters {
            let text = filling.text(expression, name)?;
            body.push(Parameter { name: self.named.then(|| name.clone()), value: Value::Text(text) });
        }
        let mut buttons = Vec::new();
        for (index, button) in (0..).zip(&language.buttons) {
            if let Some(value) = filling.button(&button.action)? {
                buttons.push(message::Button { index, value });
            }
        }
        let filled = Filled { header, body, buttons };
        if self.body_length(language, &filled) > BODY {
            return Err(filling.unfillable("body", format!("is longer than {BODY} characters with its values")));
        }
        Ok(filled)
    }

    /// The message as the person will read it: header, body and footer, then the buttons in brackets. A language
    /// that the template does not have gives an empty text.
    #[must_use]
    pub fn render_text(&self, language: &str, filled: &Filled) -> String {
        let Some(reading) = self.reading(language, filled) else { return String::new() };
        let mut parts: Vec<String> = reading.header.into_iter().collect();
        parts.push(reading.body);
        parts.extend(reading.footer);
        let buttons: Vec<String> = reading.buttons.iter().map(|button| format!("[{}]", button.text)).collect();
        if !buttons.is_empty() {
            parts.push(buttons.join(" "));
        }
        parts.join("\n\n")
    }

    /// What the person will read, part by part. `None` if the template does not have the language.
    #[must_use]
    pub fn reading(&self, language: &str, filled: &Filled) -> Option<Reading> {
        let language = self.language(language)?;
        let header = match (&language.header, &filled.header) {
            (Some(Header::Text { text, .. }), header) => Some(header_text(text, header.as_ref())),
            (_, Some(message::Header::Image { link } | message::Header::Video { link })) => Some(format!("[{link}]")),
            (_, Some(message::Header::Document { filename, .. })) => Some(format!("[{filename}]")),
            (_, Some(message::Header::Location { name, address, .. })) => Some(format!("[{name}, {address}]")),
            (_, Some(message::Header::Text(_)) | None) => None,
        };
        Some(Reading {
            header,
            body: self.render_body(language, filled),
            footer: language.footer.clone(),
            buttons: language
                .buttons
                .iter()
                .map(|button| ReadButton { kind: button.action.kind(), text: button.label().to_owned() })
                .collect(),
        })
    }

    pub(super) fn render_body(&self, language: &Language, filled: &Filled) -> String {
        language.body.render(|name| language.value(filled, name).unwrap_or_default().to_owned())
    }

    fn body_length(&self, language: &Language, filled: &Filled) -> usize {
        let most = language.body.pieces.iter().map(|piece| match piece {
            super::text::Piece::Fixed(text) => text.len(),
            super::text::Piece::Placeholder(name) => language.value(filled, name).map_or(0, str::len),
        });
        let bytes: usize = most.sum();
        // Characters are never more than bytes; only a long text has to be counted.
        if bytes <= BODY { bytes } else { self.render_body(language, filled).chars().count() }
    }
}

impl Language {
    /// What the body's placeholder of this name is filled with.
    pub(super) fn value<'a>(&self, filled: &'a Filled, name: &str) -> Option<&'a str> {
        let position = self.parameters.iter().position(|(known, _)| known == name)?;
        filled.body.get(position).map(|parameter| shown(&parameter.value))
    }
}

/// A header's text with its value.
pub(super) fn header_text(text: &super::text::Text, header: Option<&message::Header>) -> String {
    text.render(|_| match header {
        Some(message::Header::Text(parameter)) => shown(&parameter.value).to_owned(),
        _ => String::new(),
    })
}

/// A message as a person reads it. What is no text stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub header: Option<String>,
    pub body: String,
    pub footer: Option<String>,
    pub buttons: Vec<ReadButton>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadButton {
    /// `quick_reply`, `url`, `phone`, `copy_code`.
    pub kind: &'static str,
    pub text: String,
}

impl super::Button {
    pub(super) fn label(&self) -> &str {
        match self.action {
            Action::CopyCode { .. } => "Copy code",
            Action::QuickReply { .. } | Action::Url { .. } | Action::Phone { .. } => &self.text,
        }
    }
}

pub(super) fn shown(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        Value::Currency { fallback, .. } | Value::DateTime { fallback } => fallback,
    }
}

pub(super) struct Filling<'a> {
    pub(super) template: &'a Template,
    pub(super) language: &'a Language,
    pub(super) scope: &'a Scope,
}

impl Filling<'_> {
    fn unfillable(&self, place: &str, problem: impl Into<String>) -> Rejection {
        Rejection::Unfillable {
            template: self.template.name.clone(),
            language: self.language.code.clone(),
            place: place.to_owned(),
            problem: problem.into(),
        }
    }

    /// Meta refuses empty values, line breaks, tabs and more than four spaces on end; all white space becomes one space.
    pub(super) fn text(&self, expression: &Expression, place: &str) -> Result<String, Rejection> {
        let text = expression.evaluate_text(self.scope).map_err(|why| self.unfillable(place, why.to_string()))?;
        let text = text.ok_or_else(|| self.unfillable(place, "gives nothing"))?;
        let tidy = tidied(text);
        if tidy.is_empty() { Err(self.unfillable(place, "gives an empty text")) } else { Ok(tidy) }
    }

    fn header(&self, header: &Header) -> Result<Option<message::Header>, Rejection> {
        let link = |expression: &Expression| {
            let link = self.text(expression, "header.link")?;
            let fits = link.starts_with("https://") && link.len() <= URL && !link.contains(' ');
            if fits { Ok(link) } else { Err(self.unfillable("header.link", "gives no https address")) }
        };
        Ok(Some(match header {
            Header::Text { parameter: None, .. } => return Ok(None),
            Header::Text { text, parameter: Some((name, expression)) } => {
                let value = self.text(expression, name)?;
                if text.render(|_| value.clone()).chars().count() > HEADER {
                    return Err(self.unfillable("header", format!("is longer than {HEADER} characters with its value")));
                }
                let name = self.template.named.then(|| name.clone());
                message::Header::Text(Parameter { name, value: Value::Text(value) })
            }
            Header::Image { link: expression } => message::Header::Image { link: link(expression)? },
            Header::Video { link: expression } => message::Header::Video { link: link(expression)? },
            Header::Document { link: expression, filename } => {
                message::Header::Document { link: link(expression)?, filename: self.text(filename, "header.filename")? }
            }
            Header::Location { latitude, longitude, name, address } => message::Header::Location {
                latitude: self.degrees(latitude, "header.latitude", 90.0)?,
                longitude: self.degrees(longitude, "header.longitude", 180.0)?,
                name: self.text(name, "header.name")?,
                address: self.text(address, "header.address")?,
            },
        }))
    }

    fn degrees(&self, expression: &Expression, place: &str, limit: f64) -> Result<String, Rejection> {
        let text = self.text(expression, place)?;
        let fits = text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= limit);
        if fits { Ok(text) } else { Err(self.unfillable(place, "gives no degrees")) }
    }

    fn button(&self, action: &Action) -> Result<Option<ButtonValue>, Rejection> {
        let limited = |expression: &Expression, place: &str, limit: usize| {
            let text = self.text(expression, place)?;
            let fits = text.chars().count() <= limit;
            if fits { Ok(text) } else { Err(self.unfillable(place, format!("is longer than {limit} characters"))) }
        };
        Ok(match action {
            Action::QuickReply { payload: None } | Action::Phone { .. } | Action::Url { suffix: None, .. } => None,
            Action::QuickReply { payload: Some(Payload::Fixed(payload)) } => {
                Some(ButtonValue::Payload(payload.clone()))
            }
            Action::QuickReply { payload: Some(Payload::Computed(expression)) } => {
                Some(ButtonValue::Payload(limited(expression, "buttons.payload", PAYLOAD)?))
            }
            Action::Url { base, suffix: Some(expression) } => {
                let suffix = encoded(&self.text(expression, "buttons.value")?);
                if base.len() + suffix.len() > URL {
                    return Err(
                        self.unfillable("buttons.value", format!("makes the address longer than {URL} characters"))
                    );
                }
                Some(ButtonValue::UrlSuffix(suffix))
            }
            Action::CopyCode { code } => Some(ButtonValue::CopyCode(limited(code, "buttons.code", CODE)?)),
        })
    }
}

fn tidied(text: String) -> String {
    let is_tidy = !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains("  ")
        && !text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    if is_tidy {
        return text;
    }
    let is_gap = |c: char| c == ' ' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.split(is_gap).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Percent-encodes what may not stand in an address at all; what is encoded already stays.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
