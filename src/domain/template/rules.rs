//! Meta's rules for templates, held against every language of a template with its example filled in.
//!
//! The limits are those of Meta's documents on template components and template review (2026); where copies of them
//! disagree, the narrower one counts.

use std::ops::Range;

use jiff::tz::TimeZone;

use super::{
    Action, Header, Language, Template,
    file::{self, ButtonKind, File},
    judge::example_event,
    text::{Piece, Text},
};
use crate::domain::{
    expression::{self, Scope, Zones},
    problem::Report,
};

const NAME: usize = 512;
const HEADER: usize = 60;
const FOOTER: usize = 60;
const BUTTONS: usize = 10;
const BUTTON_TEXT: usize = 25;
const URL: usize = 2_000;
const PHONE: usize = 20;
/// How many of a kind of button there may be.
const MOST: [(ButtonKind, usize, &str); 3] =
    [(ButtonKind::Url, 2, "address"), (ButtonKind::Phone, 1, "telephone"), (ButtonKind::CopyCode, 1, "copy-code")];

pub(super) fn check(file: &File, template: &Template, zone: &TimeZone, earlier: &[Template], report: &mut Report<'_>) {
    check_names(file, report);
    check_buttons(file, report);
    for language in &template.languages {
        let Some((code, source)) = file.languages.iter().find(|(code, _)| *code.get_ref() == language.code) else {
            continue;
        };
        let key = format!("languages.{}", language.code);
        if !is_language_code(code.get_ref()) {
            report.add(code.span(), key.clone(), "Meta writes languages like es, pt_BR, zh_CN.");
        }
        check_body(&language.body, source.body.span(), &format!("{key}.body"), report);
        check_numbering(template.named, language, &source.body.span(), &key, report);
        if let (Some(Header::Text { text, .. }), Some(written)) = (&language.header, &source.header) {
            check_header(text, written, &format!("{key}.header"), report);
        }
        if let Some(footer) = &source.footer {
            check_footer(footer, &format!("{key}.footer"), report);
        }
        let same = |other: &&Template| {
            other.language(&language.code).is_some_and(|l| l.body == language.body && l.footer == language.footer)
        };
        if let Some(other) = earlier.iter().find(same) {
            let message = format!(
                "The template {} has the same body and footer; Meta refuses duplicates. Change one of them.",
                other.name
            );
            report.add(source.body.span(), format!("{key}.body"), message);
        }
        if report.is_empty() {
            let event = example_event(&template.event_type, &template.example);
            let zones = Zones { person: None, default: zone.clone() };
            let data = expression::value_of(&event.data);
            let scope = Scope::of_event(expression::attributes(&event), data, &language.locale, &zones);
            if let Err(why) = template.fill(language, &scope) {
                report.add(source.body.span(), key, format!("With its example: {why}"));
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn check_names(file: &File, report: &mut Report<'_>) {
    let name = file.name.get_ref();
    if name.is_empty() || name.len() > NAME || !is_word(name) {
        report.add(file.name.span(), "name", format!("Meta takes 1 to {NAME} lower-case letters, digits and _."));
    }
    check_purpose(&file.purpose, "purpose", report);
}

pub(super) fn check_purpose(purpose: &file::Text, key: &str, report: &mut Report<'_>) {
    let name = purpose.get_ref();
    if name.is_empty() || name.len() > 64 || !is_word(name) {
        report.add(purpose.span(), key, "A purpose has 1 to 64 lower-case letters, digits and _.");
    }
}

fn check_body(body: &Text, span: Range<usize>, key: &str, report: &mut Report<'_>) {
    let source = body.source();
    let mut complain = |message: String| report.add(span.clone(), key, message);
    if source.trim().is_empty() {
        complain("The body is empty; say what happened.".into());
        return;
    }
    if source.chars().count() > 1_024 {
        complain("The body is longer than 1024 characters; shorten it, and leave room for the values.".into());
    }
    if source.contains('\t') || source.contains("     ") || source.contains("\n\n\n") {
        complain(
            "The body has a tab, more than four spaces on end or more than one empty line on end; remove them.".into(),
        );
    }
    if source != source.trim() {
        complain("The body begins or ends with white space; remove it.".into());
    }
    let is_placeholder = |piece: Option<&Piece>| matches!(piece, Some(Piece::Placeholder(_)));
    // A full stop after a variable does not make it less of an end.
    let bare = |piece: &&Piece| match piece {
        Piece::Fixed(text) => text.chars().any(char::is_alphanumeric),
        Piece::Placeholder(_) => true,
    };
    if is_placeholder(body.pieces.iter().find(bare)) || is_placeholder(body.pieces.iter().rev().find(bare)) {
        complain("The body begins or ends with a placeholder; put words around it.".into());
    }
    for three in body.pieces.windows(3) {
        if let [Piece::Placeholder(_), Piece::Fixed(between), Piece::Placeholder(_)] = three
            && between.trim().is_empty()
        {
            complain("Two placeholders stand side by side; put words or punctuation between them.".into());
        }
    }
    if body.pieces.windows(2).any(|two| two.iter().all(|piece| is_placeholder(Some(piece)))) {
        complain("Two placeholders stand side by side; put words or punctuation between them.".into());
    }
    let placeholders = body.pieces.iter().filter(|piece| is_placeholder(Some(piece))).count();
    let words: usize = body
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Fixed(text) => {
                text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
            }
            Piece::Placeholder(_) => 0,
        })
        .sum();
    let least = 2 * placeholders + 1;
    if placeholders > 0 && words < least {
        complain(format!(
            "The body has {words} words for {placeholders} placeholders; Meta wants at least {least}. Say more, or use fewer placeholders."
        ));
    }
}

fn check_numbering(named: bool, language: &Language, span: &Range<usize>, key: &str, report: &mut Report<'_>) {
    let mut names = language.body.placeholders();
    if let Some(Header::Text { text, .. }) = &language.header {
        let header = text.placeholders();
        if !named && !header.is_empty() && header != ["1"] {
            report.add(span.clone(), format!("{key}.header"), "Numbers begin at {{1}} in the header, too.");
        }
        if named && header.iter().any(|name| name.bytes().all(|b| b.is_ascii_digit())) {
            report.add(
                span.clone(),
                format!("{key}.header"),
                "The body's placeholders are named, so the header's must be.",
            );
        }
    }
    if named {
        return;
    }
    names.sort_by_key(|name| name.parse::<u8>().unwrap_or(u8::MAX));
    let sequential = names.iter().zip(1_u8..).all(|(name, number)| *name == number.to_string());
    if !sequential {
        report.add(
            span.clone(),
            format!("{key}.body"),
            "Placeholders are all named, or numbered {{1}}, {{2}}, … without gaps, the same way in all languages.",
        );
    }
    let in_order = language.body.placeholders().is_sorted_by_key(|name| name.parse::<u8>().unwrap_or(u8::MAX));
    if sequential && !in_order {
        report.add(
            span.clone(),
            format!("{key}.body"),
            "Number the placeholders in the order in which they first stand in the text.",
        );
    }
}

fn check_header(text: &Text, written: &file::Text, key: &str, report: &mut Report<'_>) {
    let source = text.source();
    if source.trim().is_empty() || source.chars().count() > HEADER {
        report.add(written.span(), key, format!("A header has 1 to {HEADER} characters."));
    }
    if source.contains(['\n', '*', '~', '`']) || source.chars().any(is_emoji) {
        report.add(written.span(), key, "A header has no line breaks, emojis or marks of formatting; remove them.");
    }
    if text.pieces.iter().filter(|piece| matches!(piece, Piece::Placeholder(_))).count() > 1 {
        report.add(written.span(), key, "A header has at most one placeholder; put the others into the body.");
    }
}

fn check_footer(footer: &file::Text, key: &str, report: &mut Report<'_>) {
    let text = footer.get_ref();
    if text.trim().is_empty() || text.chars().count() > FOOTER {
        report.add(footer.span(), key, format!("A footer has 1 to {FOOTER} characters."));
    }
    if text.contains("{{") {
        report.add(footer.span(), key, "A footer has no placeholders; put what varies into the body.");
    }
    if text.contains('\n') {
        report.add(footer.span(), key, "A footer is one line; remove the line breaks.");
    }
}

fn check_buttons(file: &File, report: &mut Report<'_>) {
    let whole = file.buttons.first().map_or_else(|| file.name.span(), toml::Spanned::span);
    if file.buttons.len() > BUTTONS {
        report.add(whole.clone(), "buttons", format!("A template has at most {BUTTONS} buttons; remove some."));
    }
    for (kind, most, name) in MOST {
        if file.buttons.iter().filter(|button| button.get_ref().kind == kind).count() > most {
            report.add(whole.clone(), "buttons", format!("A template has at most {most} {name} buttons; remove some."));
        }
    }
    let is_reply = |button: &toml::Spanned<file::Button>| button.get_ref().kind == ButtonKind::QuickReply;
    let changes = file.buttons.windows(2).filter(|two| two.iter().filter(|b| is_reply(b)).count() == 1).count();
    if changes > 1 {
        report.add(whole, "buttons", "Quick replies stand together, before or after all other buttons.");
    }
    for button in &file.buttons {
        let span = button.span();
        let button = button.get_ref();
        for (language, text) in &button.text {
            let key = format!("buttons.text.{}", language.get_ref());
            let length = text.get_ref().chars().count();
            if !(1..=BUTTON_TEXT).contains(&length) || text.get_ref().contains(['\n', '{', '}']) {
                report.add(
                    text.span(),
                    key.clone(),
                    format!("A button's text has 1 to {BUTTON_TEXT} characters, no placeholder and no line break."),
                );
            }
            let twins = file.buttons.iter().filter(|other| {
                other
                    .get_ref()
                    .text
                    .iter()
                    .any(|(l, t)| l.get_ref() == language.get_ref() && t.get_ref() == text.get_ref())
            });
            if twins.count() > 1 {
                report.add(text.span(), key.clone(), "Two buttons have the same text; change one.");
            }
            if !file.languages.keys().any(|known| known.get_ref() == language.get_ref()) {
                report.add(
                    text.span(),
                    key,
                    "The template does not have this language; remove the text, or add the language.",
                );
            }
        }
        if let Some(url) = &button.url {
            let fixed = url.get_ref().strip_suffix("{{1}}").unwrap_or(url.get_ref());
            if !fixed.starts_with("https://") || fixed.len() > URL || fixed.contains([' ', '{', '}']) {
                report.add(url.span(), "buttons.url", format!("An address begins with https://, has at most {URL} characters, and a placeholder {{{{1}}}} only at its end."));
            }
            if fixed.starts_with("https://wa.me") || fixed.starts_with("https://bit.ly") {
                report.add(
                    url.span(),
                    "buttons.url",
                    "Meta refuses links to WhatsApp and shortened links; use an address of the shop's own.",
                );
            }
        }
        if let Some(phone) = &button.phone
            && (phone.get_ref().len() > PHONE || crate::domain::phone::Phone::parse(phone.get_ref()).is_err())
        {
            report.add(
                phone.span(),
                "buttons.phone",
                format!("This is no telephone number with its country code of at most {PHONE} characters."),
            );
        }
        if button.kind == ButtonKind::QuickReply && button.text.is_empty() {
            report.add(span, "buttons.text", "A quick reply needs a text.");
        }
    }
}

impl Action {
    /// Meta's name for the kind of button.
    pub(super) const fn meta_type(&self) -> &'static str {
        match self {
            Action::QuickReply { .. } => "QUICK_REPLY",
            Action::Url { .. } => "URL",
            Action::Phone { .. } => "PHONE_NUMBER",
            Action::CopyCode { .. } => "COPY_CODE",
        }
    }
}

fn is_language_code(code: &str) -> bool {
    let (language, region) = code.split_once('_').map_or((code, None), |(l, r)| (l, Some(r)));
    matches!(language.len(), 2 | 3)
        && language.bytes().all(|b| b.is_ascii_lowercase())
        && region.is_none_or(|r| r.len() == 2 && r.bytes().all(|b| b.is_ascii_uppercase()))
}

fn is_emoji(c: char) -> bool {
    matches!(u32::from(c), 0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0xFE0F)
}
