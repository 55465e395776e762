//! What goes where the template cannot: the same words as a free text while the person's window is open, and an SMS to people whom
//! WhatsApp is proven unable to reach.
//!
//! Both are written when the message is planned. Whether one of them goes is decided later, from what holds then.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{
    Action, Category, Header, Language, Settings, Sms, Template,
    compile::Compiler,
    file::{self, File},
    fill::{Filling, header_text},
    judge::example_event,
    rules,
    text::Text,
};
use crate::domain::{
    event::Rejection,
    expression::{self, Expression, Scope, Zones},
    locale::Locale,
    message::{self, ButtonValue, Filled},
    problem::Report,
    sms::Length,
};

/// The longest free text that every provider takes, in characters: Twilio's limit, as Meta's is 4,096.
const FREE_TEXT: usize = 1_600;
/// The most segments that an example may take, if its file says nothing else; and the most that any may.
const SEGMENTS: i64 = 3;
const SEGMENTS_MAX: i64 = 10;

/// The SMS in one language.
#[derive(Debug)]
pub(super) struct SmsText {
    text: Text,
    /// For placeholders that the body does not have.
    more: Vec<(String, Arc<Expression>)>,
}

impl SmsText {
    pub(super) fn placeholders(&self) -> impl Iterator<Item = String> {
        self.text.placeholders().into_iter().map(str::to_owned)
    }
}

impl Template {
    /// The whole message as a free text, if its file allows that and it is not too long: what stands on buttons that lead
    /// somewhere comes last. None for a message whose words need the template.
    pub(in crate::domain) fn free_text(&self, language: &Language, filled: &Filled) -> Option<String> {
        if !self.session_fallback {
            return None;
        }
        let text = self.in_free_words(language, filled);
        (text.chars().count() <= FREE_TEXT).then_some(text)
    }

    fn in_free_words(&self, language: &Language, filled: &Filled) -> String {
        let mut parts = Vec::new();
        match (&language.header, &filled.header) {
            // WhatsApp shows what stands between asterisks as it shows a header.
            (Some(Header::Text { text, .. }), header) => {
                parts.push(format!("*{}*", header_text(text, header.as_ref())));
            }
            (_, Some(message::Header::Image { link } | message::Header::Video { link })) => parts.push(link.clone()),
            (_, Some(message::Header::Document { link, filename })) => parts.push(format!("{filename}: {link}")),
            (_, Some(message::Header::Location { name, address, .. })) => parts.push(format!("{name}, {address}")),
            (_, Some(message::Header::Text(_)) | None) => {}
        }
        parts.push(self.render_body(language, filled));
        let lines: Vec<String> = (0_u8..)
            .zip(&language.buttons)
            .filter_map(|(index, button)| {
                let value = filled.buttons.iter().find(|known| known.index == index).map(|known| &known.value);
                in_words(button, value, &language.stop)
            })
            .collect();
        if !lines.is_empty() {
            parts.push(lines.join("\n"));
        }
        parts.extend(language.footer.clone());
        parts.join("\n\n")
    }

    /// The SMS that may follow, if there is one.
    ///
    /// # Errors
    /// If a value of it is absent or empty.
    pub(in crate::domain) fn sms_text(
        &self,
        language: &Language,
        filled: &Filled,
        scope: &Scope,
    ) -> Result<Option<String>, Rejection> {
        let (Some(_), Some(sms)) = (&self.sms, &language.sms) else { return Ok(None) };
        let filling = Filling { template: self, language, scope };
        let mut more = Vec::with_capacity(sms.more.len());
        for (name, expression) in &sms.more {
            more.push((name.as_str(), filling.text(expression, name)?));
        }
        Ok(Some(sms.text.render(|name| {
            let own = || more.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
            language.value(filled, name).or_else(own).unwrap_or_default().to_owned()
        })))
    }
}

/// A button as words. Quick replies need a button, but for the one that says no.
fn in_words(button: &super::Button, value: Option<&ButtonValue>, stop: &str) -> Option<String> {
    let label = button.label();
    match (&button.action, value) {
        (Action::Url { base, .. }, Some(ButtonValue::UrlSuffix(suffix))) => Some(format!("{label}: {base}{suffix}")),
        (Action::Url { base, .. }, _) => Some(format!("{label}: {base}")),
        (Action::Phone { number }, _) => Some(format!("{label}: {number}")),
        (Action::CopyCode { .. }, Some(ButtonValue::CopyCode(code))) => Some(code.clone()),
        (Action::QuickReply { .. }, Some(ButtonValue::Payload(payload))) if payload.starts_with("optout") => {
            Some(format!("{label}: {stop}"))
        }
        (Action::CopyCode { .. } | Action::QuickReply { .. }, _) => None,
    }
}

impl Compiler<'_, '_, '_> {
    /// Who sends the SMS, to whom.
    pub(super) fn sms(&mut self, file: &File, settings: &Settings) -> Option<Sms> {
        let written = file.sms.as_ref()?;
        let sms = written.get_ref();
        let known = if settings.other_senders.is_empty() {
            "the configuration has none of the kind twilio_sms".to_owned()
        } else {
            format!("those that send SMS are: {}", settings.other_senders.join(", "))
        };
        match &sms.sender {
            None => self.report.add(written.span(), "sms.sender", format!("It is missing; {known}.")),
            Some(sender) if !settings.other_senders.contains(sender.get_ref()) => {
                let message = format!("No sender {:?} sends SMS; {known}.", sender.get_ref());
                self.report.add(sender.span(), "sms.sender", message);
            }
            Some(_) => {}
        }
        const PURPOSE: &str =
            "A yes to WhatsApp is none to SMS: name a purpose of its own to which people agree, like orders_sms.";
        match &sms.purpose {
            None => self.report.add(written.span(), "sms.purpose", format!("It is missing. {PURPOSE}")),
            Some(purpose) if purpose.get_ref() == file.purpose.get_ref() => {
                self.report.add(purpose.span(), "sms.purpose", PURPOSE);
            }
            Some(purpose) => rules::check_purpose(purpose, "sms.purpose", self.report),
        }
        for language in sms.text.keys() {
            if !file.languages.keys().any(|known| known.get_ref() == language.get_ref()) {
                let key = format!("sms.text.{}", language.get_ref());
                self.report.add(language.span(), key, "The template does not have this language.");
            }
        }
        Some(Sms { sender: sms.sender.as_ref()?.get_ref().clone(), purpose: sms.purpose.as_ref()?.get_ref().clone() })
    }

    /// The SMS in one language. `body` is what the message's own placeholders are.
    pub(super) fn sms_text(
        &mut self,
        file: &File,
        language: &file::Language,
        code: &str,
        locale: &Locale,
        body: &[(String, Arc<Expression>)],
    ) -> Option<SmsText> {
        let sms = file.sms.as_ref()?;
        let key = format!("sms.text.{code}");
        let Some((_, written)) = sms.get_ref().text.iter().find(|(known, _)| known.get_ref() == code) else {
            self.report.add(sms.span(), key, "The message has this language and its SMS has not; add it.");
            return None;
        };
        let text = self.text(written, &key)?;
        let more: Vec<String> = text
            .placeholders()
            .into_iter()
            .filter(|name| !body.iter().any(|(known, _)| known == name))
            .map(str::to_owned)
            .collect();
        let more = self.parameters(file, language, &more, locale, &written.span(), &key);
        Some(SmsText { text, more })
    }
}

/// What is wrong with the texts of each language, with the template's example filled in.
pub(super) fn check(file: &File, template: &Template, zone: &TimeZone, report: &mut Report<'_>) {
    if let Some(allowed) = file.session_fallback.as_ref().filter(|allowed| *allowed.get_ref())
        && template.category == Category::Authentication
    {
        let message = "A code for a login goes as its template or not at all; remove it.";
        report.add(allowed.span(), "session_fallback", message);
    }
    let most = file.sms.as_ref().and_then(|sms| sms.get_ref().max_segments.as_ref());
    if let Some(most) = most.filter(|most| !(1..=SEGMENTS_MAX).contains(most.get_ref())) {
        report.add(most.span(), "sms.max_segments", format!("It is a number from 1 to {SEGMENTS_MAX}."));
    }
    if !report.is_empty() {
        return;
    }
    let event = example_event(&template.event_type, &template.example);
    let zones = Zones { person: None, default: zone.clone() };
    let (attributes, data) = (expression::attributes(&event), expression::value_of(&event.data));
    for language in &template.languages {
        let scope = Scope::of_event(attributes.clone(), data.clone(), &language.locale, &zones);
        let Ok(filled) = template.fill(language, &scope) else { continue };
        if let Some(allowed) = file.session_fallback.as_ref().filter(|_| template.session_fallback) {
            let length = template.in_free_words(language, &filled).chars().count();
            if length > FREE_TEXT {
                let key = format!("languages.{}", language.code);
                let message =
                    format!("As a free text it has {length} characters with its example; at most {FREE_TEXT} may go.");
                report.add(allowed.span(), key, message);
            }
        }
        let written = file.sms.as_ref().map(|sms| &sms.get_ref().text);
        let written = written.and_then(|texts| texts.iter().find(|(code, _)| *code.get_ref() == language.code));
        let Some((_, written)) = written else { continue };
        let key = format!("sms.text.{}", language.code);
        match template.sms_text(language, &filled, &scope) {
            Ok(Some(text)) if text.trim().is_empty() => report.add(written.span(), key, "The SMS is empty."),
            Ok(Some(text)) => {
                let (length, most) = (Length::of(&text), most.map_or(SEGMENTS, |most| *most.get_ref()));
                if i64::try_from(length.segments).is_ok_and(|segments| segments > most) {
                    let message = format!(
                        "With its example it takes {length}, each of which is paid; at most {most} may go. Shorten it, or raise sms.max_segments."
                    );
                    report.add(written.span(), key, message);
                }
            }
            Ok(None) => {}
            Err(why) => report.add(written.span(), key, format!("With its example: {why}")),
        }
    }
}
