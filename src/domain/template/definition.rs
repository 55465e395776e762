//! What a template says in one language, in a form that is the same whether it was read from a file or from a provider. What
//! has the same hash is the same version.
//!
//! The category is none of it: it changes without a word of the text. How a provider writes it is its codec's business.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Action, Header, Language, Template,
    fill::{ReadButton, Reading, header_text, shown},
    text::Text,
};
use crate::domain::message::{self, Filled};

/// A template in one language, with its placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Definition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Heading>,
    pub body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Pressable>,
}

/// What stands above the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heading {
    Text(String),
    /// `image`, `video`, `document`, `location`, or what a provider has that a file cannot say.
    Media(String),
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pressable {
    /// As in a file: `quick_reply`, `url`, `phone`, `copy_code`; or what a provider has that a file cannot say.
    pub kind: String,
    /// Empty if the provider names it itself, as with a code to copy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The address, with `{{1}}` at its end if that varies, or the telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Definition {
    /// What identifies a version.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        // Strings and lists always make JSON.
        Sha256::digest(serde_json::to_vec(self).unwrap_or_default()).into()
    }

    /// The placeholders of header, body and buttons, each with the place where it stands.
    #[must_use]
    pub fn parameters(&self) -> Vec<String> {
        let names = |text: &str| {
            let parsed = Text::parse(text).unwrap_or_default();
            parsed.placeholders().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let mut parameters = Vec::new();
        match &self.header {
            Some(Heading::Text(text)) => {
                parameters.extend(names(text).into_iter().map(|name| format!("header {name}")));
            }
            Some(Heading::Media(kind)) => parameters.push(format!("header {kind}")),
            None => {}
        }
        parameters.extend(names(&self.body));
        for (number, button) in (1..).zip(&self.buttons) {
            let varies = button.target.as_deref().is_some_and(|target| target.ends_with("}}"));
            if varies || button.kind == "copy_code" {
                parameters.push(format!("button {number}"));
            }
        }
        parameters
    }
}

impl Definition {
    /// The same with other placeholders: numbers that somebody else gives to the header's, to the body's `n`-th (from 0, each counted where
    /// it stands first) and to the button's at that place (from 0). What gets no number stays as it is.
    #[must_use]
    pub fn numbered(
        &self,
        header: Option<u16>,
        body: impl Fn(usize) -> Option<u16>,
        button: impl Fn(usize) -> Option<u16>,
    ) -> Definition {
        let placeholder = |number: u16| format!("{{{{{number}}}}}");
        let mut numbered = self.clone();
        if let (Some(Heading::Text(text)), Some(number)) = (&mut numbered.header, header) {
            *text = Text::parse(text).unwrap_or_default().render(|_| placeholder(number));
        }
        let parsed = Text::parse(&self.body).unwrap_or_default();
        let names = parsed.placeholders();
        numbered.body = parsed.render(|name| {
            let number = names.iter().position(|known| *known == name).and_then(&body);
            number.map_or_else(|| format!("{{{{{name}}}}}"), placeholder)
        });
        for (place, pressable) in numbered.buttons.iter_mut().enumerate() {
            if let (Some(target), Some(number)) = (&mut pressable.target, button(place))
                && let Some(base) = target.strip_suffix("{{1}}")
            {
                *target = format!("{base}{}", placeholder(number));
            }
        }
        numbered
    }
}

impl Definition {
    /// What a person read, with the values that were filled in. What was not filled in stays a placeholder.
    #[must_use]
    pub fn reading(&self, filled: &Filled) -> Reading {
        let body = Text::parse(&self.body).unwrap_or_default();
        let names = body.placeholders();
        let value = |name: &str| {
            let named = filled.body.iter().find(|parameter| parameter.name.as_deref() == Some(name));
            let place = names.iter().position(|known| *known == name);
            let value = named.or_else(|| filled.body.get(place?));
            value.map_or_else(|| format!("{{{{{name}}}}}"), |parameter| shown(&parameter.value).to_owned())
        };
        let header = match (&self.header, &filled.header) {
            (Some(Heading::Text(text)), header) => {
                Some(header_text(&Text::parse(text).unwrap_or_default(), header.as_ref()))
            }
            (Some(Heading::Media(_)), Some(message::Header::Document { filename, .. })) => {
                Some(format!("[{filename}]"))
            }
            (Some(Heading::Media(_)), Some(message::Header::Location { name, address, .. })) => {
                Some(format!("[{name}, {address}]"))
            }
            (Some(Heading::Media(kind)), _) => Some(format!("[{kind}]")),
            (None, _) => None,
        };
        let kind = |kind: &str| match kind {
            "quick_reply" => "quick_reply",
            "phone" => "phone",
            "copy_code" => "copy_code",
            _ => "url",
        };
        let button = |pressable: &Pressable| ReadButton {
            kind: kind(&pressable.kind),
            text: if pressable.text.is_empty() { "Copy code".to_owned() } else { pressable.text.clone() },
        };
        Reading {
            header,
            body: body.render(value),
            footer: self.footer.clone(),
            buttons: self.buttons.iter().map(button).collect(),
        }
    }
}

impl Template {
    /// What it says in that language. `None` if it has no such language.
    #[must_use]
    pub fn definition(&self, language: &str) -> Option<Definition> {
        self.language(language).map(Language::definition)
    }
}

impl Language {
    fn definition(&self) -> Definition {
        Definition {
            header: self.header.as_ref().map(Header::heading),
            body: self.body.source(),
            footer: self.footer.clone(),
            buttons: self.buttons.iter().map(super::Button::pressable).collect(),
        }
    }
}

impl Header {
    fn heading(&self) -> Heading {
        match self {
            Header::Text { text, .. } => Heading::Text(text.source()),
            Header::Image { .. } => Heading::Media("image".to_owned()),
            Header::Video { .. } => Heading::Media("video".to_owned()),
            Header::Document { .. } => Heading::Media("document".to_owned()),
            Header::Location { .. } => Heading::Media("location".to_owned()),
        }
    }
}

impl super::Button {
    fn pressable(&self) -> Pressable {
        let target = match &self.action {
            Action::QuickReply { .. } | Action::CopyCode { .. } => None,
            Action::Url { base, suffix: None } => Some(base.clone()),
            Action::Url { base, suffix: Some(_) } => Some(format!("{base}{{{{1}}}}")),
            Action::Phone { number } => Some(number.clone()),
        };
        Pressable { kind: self.action.kind().to_owned(), text: self.text.clone(), target }
    }
}

impl Action {
    /// The kind of button, as a file says it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Action::QuickReply { .. } => "quick_reply",
            Action::Url { .. } => "url",
            Action::Phone { .. } => "phone",
            Action::CopyCode { .. } => "copy_code",
        }
    }
}

/// As the person reads it, placeholders as they are: header, body and footer, then the buttons in brackets.
impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.header {
            Some(Heading::Text(text)) => write!(f, "{text}\n\n")?,
            Some(Heading::Media(kind)) => write!(f, "[{kind}]\n\n")?,
            None => {}
        }
        f.write_str(&self.body)?;
        if let Some(footer) = &self.footer {
            write!(f, "\n\n{footer}")?;
        }
        for (number, button) in self.buttons.iter().enumerate() {
            write!(f, "{}[{button}]", if number == 0 { "\n\n" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Pressable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { &self.kind } else { &self.text })?;
        self.target.as_ref().map_or(Ok(()), |target| write!(f, " → {target}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_read_is_told_from_the_version_and_the_values() {
        let definition = Definition {
            header: Some(Heading::Text("Order {{1}}".into())),
            body: "Hello {{name}}, {{order}} comes on {{day}}.".into(),
            footer: Some("Thanks".into()),
            buttons: vec![Pressable { kind: "url".into(), text: "See it".into(), target: None }],
        };
        let filled: Filled = serde_json::from_str(
            r#"{"header": {"text": {"text": "A-1"}}, "body": [{"name": "order", "text": "A-1"}, {"name": "name", "text": "Ana"}]}"#,
        )
        .unwrap();
        let reading = definition.reading(&filled);
        assert_eq!(reading.header.as_deref(), Some("Order A-1"));
        assert_eq!(reading.body, "Hello Ana, A-1 comes on {{day}}.", "by name; what was never filled in stays");
        assert_eq!(reading.footer.as_deref(), Some("Thanks"));
        assert_eq!(reading.buttons[0].text, "See it");

        let numbered = Definition {
            header: Some(Heading::Media("image".into())),
            body: "{{2}} {{1}}".into(),
            ..Definition::default()
        };
        let filled: Filled = serde_json::from_str(r#"{"body": [{"text": "first"}, {"text": "second"}]}"#).unwrap();
        let reading = numbered.reading(&filled);
        assert_eq!((reading.header.as_deref(), reading.body.as_str()), (Some("[image]"), "first second"));
    }
}
