//! What all pages have in common: templates, texts, the navigation, and how a time or a number is written.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Environment, State, UndefinedBehavior, Value, context, value::Serde};

use super::{PARTS, Part, assets::Assets, reasons, remarks, template, texts, visitor::Visitor};
use crate::{domain::role::Role, http::optin::wishes};

pub(super) const PART: Part = Part {
    name: "shell",
    templates: &[
        template!("layout.html"),
        template!("bare.html"),
        template!("kit.html"),
        template!("head.html"),
        template!("trouble.html"),
        template!("trouble_page.html"),
        template!("ended.html"),
    ],
    texts: texts!("shell"),
};

/// The navigation, in its order, with who sees it. A section without a page is not shown.
pub(super) const SECTIONS: [(&str, Role); 11] = [
    ("now", Role::Viewer),
    ("notifications", Role::Viewer),
    ("rejected", Role::Viewer),
    ("doubt", Role::Viewer),
    ("plans", Role::Viewer),
    ("templates", Role::Viewer),
    ("senders", Role::Viewer),
    ("consents", Role::Operator),
    ("audit", Role::Admin),
    ("users", Role::Admin),
    ("keys", Role::Admin),
];

/// The languages that the pages speak; the first if the browser wants none of them.
pub(super) const LANGUAGES: [&str; 3] = ["en", "es", "pt_BR"];

type Texts = BTreeMap<String, BTreeMap<String, String>>;

/// All templates and texts.
pub(super) struct Shell {
    templates: Environment<'static>,
    /// By language; then by section and key.
    texts: BTreeMap<&'static str, Value>,
}

impl Shell {
    pub(super) fn new(zone: TimeZone, assets: Arc<Assets>) -> Shell {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        for (name, text) in PARTS.iter().flat_map(|part| part.templates) {
            if let Err(error) = templates.add_template(name, text) {
                tracing::error!(%error, name, "console: a template cannot be read");
            }
        }
        templates.add_function("asset", move |name: String| assets.address(&name));
        let of_remarks = zone.clone();
        templates.add_filter("remark", move |text: String, t: Value| remarks::said(&text, &t, &of_remarks));
        templates.add_filter("moment", move |at: Value| moment(&at, &zone));
        templates.add_filter("ago", ago);
        templates.add_filter("thousands", thousands);
        templates.add_filter("in_address", in_address);
        let all = read_texts();
        let texts = LANGUAGES.map(|language| (language, Value::from(Serde(all.get(language)))));
        Shell { templates, texts: BTreeMap::from(texts) }
    }

    /// The first page.
    #[expect(clippy::unused_self, reason = "it may come to depend on what is set up")]
    pub(super) fn home(&self) -> &'static str {
        if has("now") { "/console/now" } else { "/console/account" }
    }

    /// A page for somebody who is logged in.
    pub(super) fn page(
        &self,
        status: StatusCode,
        visitor: &Visitor,
        section: &str,
        template: &str,
        values: Value,
    ) -> Response {
        let role = visitor.caller.role;
        let nav: Vec<&str> =
            SECTIONS.into_iter().filter(|(name, least)| role >= *least && has(name)).map(|(name, _)| name).collect();
        let said = visitor.said.as_deref().and_then(|key| self.text(visitor.language, section, key));
        let values = context! { nav, said, ..with(visitor, values) };
        self.render(status, visitor.language, section, template, values)
    }

    /// A part of a page for somebody who is logged in; empty if it cannot be made.
    pub(super) fn part(&self, visitor: &Visitor, template: &str, values: Value) -> String {
        self.fragment(visitor.language, template, with(visitor, values))
    }

    /// A page for anybody. `values` say what else it has.
    pub(super) fn render(
        &self,
        status: StatusCode,
        language: &str,
        section: &str,
        template: &str,
        values: Value,
    ) -> Response {
        let t = self.texts.get(language).cloned().unwrap_or_default();
        let all = context! { t, lang => language.replace('_', "-"), language, section, ..values };
        match self.templates.get_template(template).and_then(|page| page.render(all)) {
            Ok(html) => {
                let kind = HeaderValue::from_static("text/html; charset=utf-8");
                (status, [(header::CONTENT_TYPE, kind)], html).into_response()
            }
            Err(error) => {
                // What an error says of a value stays with us: it names the template's place.
                tracing::error!(template, line = error.line(), kind = ?error.kind(), "console: a page cannot be made");
                (StatusCode::INTERNAL_SERVER_ERROR, "This page met a mistake of ours.\n").into_response()
            }
        }
    }

    /// A part of a page for anybody; empty if it cannot be made.
    pub(super) fn fragment(&self, language: &str, template: &str, values: Value) -> String {
        let t = self.texts.get(language).cloned().unwrap_or_default();
        let all = context! { t, lang => language.replace('_', "-"), language, ..values };
        let made = self.templates.get_template(template).and_then(|part| part.render(all));
        made.unwrap_or_else(|error| {
            tracing::error!(template, line = error.line(), kind = ?error.kind(), "console: a part of a page cannot be made");
            String::new()
        })
    }

    /// One text.
    pub(super) fn text(&self, language: &str, section: &str, key: &str) -> Option<Value> {
        let text = self.texts.get(language)?.get_attr(section).ok()?.get_attr(key).ok()?;
        (!text.is_undefined()).then_some(text)
    }
}

/// The values with those that every page has for who is logged in.
fn with(visitor: &Visitor, values: Value) -> Value {
    let role = visitor.caller.role;
    context! {
        user => context! { name => visitor.name(), role => role.as_str() },
        may => context! { operate => role >= Role::Operator, admin => role >= Role::Admin },
        csrf => visitor.csrf.as_str(),
        now => visitor.now.to_string(),
        ..values
    }
}

fn has(section: &str) -> bool {
    PARTS.iter().any(|part| part.name == section)
}

fn read_texts() -> BTreeMap<String, Texts> {
    let mut all: BTreeMap<String, Texts> = BTreeMap::new();
    for part in PARTS {
        match toml::from_str::<Texts>(part.texts) {
            Ok(languages) => {
                for (language, texts) in languages {
                    all.entry(language).or_default().insert(part.name.to_owned(), texts);
                }
            }
            Err(error) => tracing::error!(%error, part = part.name, "console: texts cannot be read"),
        }
    }
    match reasons::sentences() {
        Ok(languages) => {
            for (language, sentences) in languages {
                all.entry(language).or_default().insert("reasons".to_owned(), sentences);
            }
        }
        Err(error) => tracing::error!(%error, "console: the sentences for reasons cannot be read"),
    }
    all
}

/// The best of the browser's wishes that the pages speak.
pub(super) fn spoken(headers: &HeaderMap) -> &'static str {
    let speaks = |wish: String| {
        let wish = wish.to_ascii_lowercase();
        let first = wish.split(['-', '_']).next()?;
        LANGUAGES.into_iter().find(|language| language.split('_').next() == Some(first))
    };
    wishes(headers).into_iter().find_map(speaks).unwrap_or(LANGUAGES[0])
}

/// A moment as people read it: in the console's time zone, to the second.
fn moment(at: &Value, zone: &TimeZone) -> String {
    let at: Option<Timestamp> = at.as_str().and_then(|text| text.parse().ok());
    at.map(|at| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// How far from now a moment is, in short: `40 s`, `12 min`, `3 h`, `2 d`.
fn ago(state: &State<'_, '_>, at: &Value) -> String {
    let parse = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let now = state.lookup("now").as_ref().and_then(parse);
    let (Some(at), Some(now)) = (parse(at), now) else { return String::new() };
    let seconds = now.duration_since(at).abs().as_secs();
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", seconds / 60),
        5_400..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A text as a part of an address' question.
#[expect(clippy::needless_pass_by_value, reason = "a filter of minijinja takes its arguments so")]
fn in_address(text: String) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A whole number with its thousands set apart as the page's language does.
fn thousands(state: &State<'_, '_>, number: i64) -> String {
    let english = state.lookup("language").is_some_and(|language| language.as_str() == Some("en"));
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(if english { ',' } else { '.' });
        }
        text.push(digit);
    }
    if number < 0 { format!("−{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        Shell::new(TimeZone::UTC, Arc::new(Assets::new()))
    }

    #[test]
    fn every_language_says_everything() {
        for part in PARTS {
            let languages: Texts = toml::from_str(part.texts).unwrap_or_else(|error| panic!("{}: {error}", part.name));
            assert!(languages.keys().map(String::as_str).eq(LANGUAGES), "{}", part.name);
            for (language, texts) in &languages {
                assert!(texts.keys().eq(languages["en"].keys()), "{} says something else in {language}", part.name);
                assert!(texts.values().all(|text| !text.trim().is_empty()), "{} in {language}", part.name);
            }
        }
    }

    #[test]
    fn every_text_that_a_template_names_is_there() {
        let all = read_texts();
        let named = regex::Regex::new(r"\bt\.([a-z_]+)\.([a-z0-9_]+)").unwrap();
        for (file, text) in PARTS.iter().flat_map(|part| part.templates) {
            for found in named.captures_iter(text) {
                let (section, key) = (&found[1], &found[2]);
                let known = all["en"].get(section).is_some_and(|texts| texts.contains_key(key));
                assert!(known, "{file} says t.{section}.{key}, which no text is");
            }
        }
    }

    #[test]
    fn every_template_can_be_read_and_none_runs_inline() {
        let shell = shell();
        for (file, text) in PARTS.iter().flat_map(|part| part.templates) {
            assert!(shell.templates.get_template(file).is_ok(), "{file}");
            for word in [" style=\"", "<style", "javascript:", " onclick=", " onsubmit=", " hx-on"] {
                assert!(!text.contains(word), "{file} has {word}");
            }
            for script in text.split("<script").skip(1) {
                assert!(script.trim_start().starts_with("src="), "{file} has a script in the page");
            }
        }
    }

    #[test]
    fn the_browser_is_spoken_to_in_the_best_language_that_there_is() {
        for (wanted, spoken_in) in
            [("fr, pt-BR;q=0.8, en;q=0.5", "pt_BR"), ("es-AR,es;q=0.9", "es"), ("fr, de;q=0.9", "en"), ("", "en")]
        {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(wanted))]);
            assert_eq!(spoken(&headers), spoken_in, "{wanted}");
        }
    }

    #[test]
    fn times_and_numbers_are_written_as_people_read_them() {
        let shell = shell();
        let said = |language: &str, text: &'static str| {
            let now = "2026-11-25T12:00:00Z";
            shell.templates.render_str(text, context! { language, now }).unwrap()
        };
        assert_eq!(said("en", "{{ 1234567|thousands }} {{ 999|thousands }}"), "1,234,567 999");
        assert_eq!(said("es", "{{ 1234|thousands }}"), "1.234");
        assert_eq!(said("en", "{{ '2026-11-25T11:48:00Z'|ago }} {{ '2026-11-22T12:00:00Z'|ago }}"), "12 min 3 d");
        assert_eq!(said("en", "{{ '2026-11-25T11:48:07.5Z'|moment }}"), "2026-11-25 11:48:07");
    }
}
