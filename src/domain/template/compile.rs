//! From a template's file to a [`Template`]: names resolved, expressions compiled and held against the event's schema.
//!
//! Meta's rules are in `rules`.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use jiff::{SignedDuration, civil::Time, tz::TimeZone};
use serde_json::Value;

use super::{
    Action, Button, Header, Language, Payload, Settings, Template,
    event_type::EventFile,
    fallback,
    file::{self, ButtonKind, File, HeaderKind},
    judge::{Judge, Kind},
    routes, rules,
    text::Text,
};
use crate::domain::{
    consent::Meaning,
    expression::{Absence, Expression},
    locale::Locale,
    problem::Report,
    quiet::QuietHours,
    route::Route,
};

const MAX_EXPIRY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Reads and checks one file. Gives `None` only if the problems leave nothing to work with.
pub(super) fn read(
    text: &str,
    files: &BTreeMap<String, EventFile>,
    settings: &Settings,
    zone: &TimeZone,
    earlier: &[Template],
    report: &mut Report<'_>,
) -> Option<(File, Template)> {
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            report.add_toml(&error);
            return None;
        }
    };
    let example = serde_json::to_value(file.example.get_ref()).unwrap_or_default();
    let event_file = files.get(file.trigger.event.get_ref());
    if event_file.is_none() {
        let message = format!(
            "No schema describes the event type {:?}; add templates/events/{}.json.",
            file.trigger.event.get_ref(),
            file.trigger.event.get_ref()
        );
        report.add(file.trigger.event.span(), "trigger.event", message);
    }
    let judge = Judge {
        event_type: file.trigger.event.get_ref(),
        schema: event_file.map(|f| &f.schema),
        schema_path: event_file.map_or("", |f| &f.path),
        example: &example,
        zone,
    };
    for complaint in judge.schema.map(|schema| schema.complaints(&example)).unwrap_or_default() {
        report.add(file.example.span(), "example", format!("The example breaks {}: {complaint}.", judge.schema_path));
    }
    let route = routes::read(&file, settings, &judge, report);
    let mut compiler = Compiler { judge, report };
    let template = compiler.template(&file, &example, route, settings, earlier)?;
    rules::check(&file, &template, zone, earlier, report);
    fallback::check(&file, &template, zone, report);
    Some((file, template))
}

pub(super) struct Compiler<'a, 'r, 't> {
    judge: Judge<'a>,
    pub(super) report: &'r mut Report<'t>,
}

impl Compiler<'_, '_, '_> {
    fn template(
        &mut self,
        file: &File,
        example: &Value,
        route: Route,
        settings: &Settings,
        earlier: &[Template],
    ) -> Option<Template> {
        let name = file.name.get_ref();
        if earlier.iter().any(|template| template.name == *name) {
            self.report.add(
                file.name.span(),
                "name",
                format!("Another file already has the template {name:?}; rename one of them."),
            );
        }
        let languages: Vec<Language> =
            file.languages.iter().filter_map(|(code, l)| self.language(file, code, l, settings)).collect();
        let default = file.default_language.as_ref().map_or(&settings.default_language, |l| l.get_ref());
        let default_language = languages.iter().position(|language| language.code == *default);
        if default_language.is_none() {
            let span = file.default_language.as_ref().map_or_else(|| file.name.span(), toml::Spanned::span);
            let message = format!(
                "The template has no {default:?}, the language for everybody else; add it or name another default_language."
            );
            self.report.add(span, "default_language", message);
        }
        if languages.is_empty() {
            return None;
        }
        let when = file
            .trigger
            .when
            .as_ref()
            .and_then(|text| self.compile(text, "trigger.when", &Locale::unknown(), Kind::Condition));
        let expires_after = self.duration(&file.expires_after, "expires_after").unwrap_or(MAX_EXPIRY);
        if !(SignedDuration::from_secs(60)..=MAX_EXPIRY).contains(&expires_after) {
            self.report.add(
                file.expires_after.span(),
                "expires_after",
                "A message lives between a minute and 30 days (720h).",
            );
        }
        let (grace, pending) = (settings.grace, settings.pending);
        let mut wait = |text: &Option<file::Text>, key: &str, otherwise| {
            text.as_ref().and_then(|text| self.duration(text, key)).map_or(otherwise, SignedDuration::unsigned_abs)
        };
        let grace = wait(&file.consent.grace, "consent.grace", grace);
        let pending = wait(&file.consent.pending, "consent.pending", pending);
        let named = file.languages.values().all(|language| {
            Text::parse(language.body.get_ref()).is_ok_and(|t| t.placeholders().iter().all(|n| !is_number(n)))
        });
        Some(Template {
            name: name.clone(),
            category: file.category,
            purpose: file.purpose.get_ref().clone(),
            class: file.class,
            route,
            expires_after,
            in_doubt: file.in_doubt,
            grace,
            pending,
            event_type: file.trigger.event.get_ref().clone(),
            when,
            quiet: file.quiet.as_ref().and_then(|quiet| self.quiet(quiet)),
            named,
            session_fallback: file.session_fallback.as_ref().is_some_and(|allowed| *allowed.get_ref()),
            sms: self.sms(file, settings),
            languages,
            default_language: default_language.unwrap_or(0),
            example: example.clone(),
        })
    }

    fn quiet(&mut self, quiet: &file::Quiet) -> Option<QuietHours> {
        let mut time = |text: &file::Text, key: &str| {
            let time = text.get_ref().parse::<Time>().ok();
            if time.is_none() {
                self.report.add(text.span(), key, "This is no time of day (like \"21:00\").");
            }
            time
        };
        let (from, until) = (time(&quiet.from, "quiet.from")?, time(&quiet.until, "quiet.until")?);
        if from == until {
            self.report.add(
                quiet.from.span(),
                "quiet",
                "Quiet hours that end when they begin leave no time to send in.",
            );
        }
        let spread = quiet.spread.as_ref().and_then(|text| self.duration(text, "quiet.spread"));
        Some(QuietHours { from, until, spread: spread.map_or(Duration::ZERO, SignedDuration::unsigned_abs) })
    }

    fn language(
        &mut self,
        file: &File,
        code: &file::Text,
        language: &file::Language,
        settings: &Settings,
    ) -> Option<Language> {
        let key = format!("languages.{}", code.get_ref());
        let Some(locale) = Locale::parse(code.get_ref()) else {
            self.report.add(code.span(), key, "This is no language (like es, en_GB, pt_BR).");
            return None;
        };
        let body = self.text(&language.body, &format!("{key}.body"))?;
        let mut used: Vec<String> = body.placeholders().iter().map(|n| (*n).to_owned()).collect();
        let parameters = self.parameters(file, language, &used, &locale, &language.body.span(), &format!("{key}.body"));
        let header = match (&file.header, &language.header) {
            (Some(header), None) => self.media(header, &locale),
            (None, Some(text)) => {
                let parsed = self.text(text, &format!("{key}.header"))?;
                let names: Vec<String> = parsed.placeholders().iter().map(|name| header_name(name)).collect();
                let parameter = self
                    .parameters(file, language, &names, &locale, &text.span(), &format!("{key}.header"))
                    .into_iter()
                    .next()
                    .map(|(name, expression)| {
                        (
                            name.strip_prefix("header_").filter(|n| is_number(n)).map_or(name.clone(), str::to_owned),
                            expression,
                        )
                    });
                used.extend(names);
                Some(Header::Text { text: parsed, parameter })
            }
            (None, None) => None,
            (Some(header), Some(_)) => {
                self.report.add(
                    header.kind.span(),
                    "header",
                    "A header is either a text of each language or one of these, not both.",
                );
                None
            }
        };
        let sms = self.sms_text(file, language, code.get_ref(), &locale, &parameters);
        used.extend(sms.iter().flat_map(fallback::SmsText::placeholders));
        for name in language.parameters.keys() {
            if !used.contains(name.get_ref()) {
                self.report.add(
                    name.span(),
                    format!("{key}.parameters.{}", name.get_ref()),
                    "No placeholder of this language has this name; remove it.",
                );
            }
        }
        let buttons =
            file.buttons.iter().filter_map(|button| self.button(file, button, code.get_ref(), &locale)).collect();
        let footer = language.footer.as_ref().map(|footer| footer.get_ref().clone());
        let stop = settings.words.name(Meaning::Stop, code.get_ref()).unwrap_or("stop").to_uppercase();
        Some(Language { code: code.get_ref().clone(), locale, header, body, parameters, footer, buttons, stop, sms })
    }

    pub(super) fn text(&mut self, text: &file::Text, key: &str) -> Option<Text> {
        match Text::parse(text.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.report.add(text.span(), key, format!("The text {why}."));
                None
            }
        }
    }

    pub(super) fn parameters(
        &mut self,
        file: &File,
        language: &file::Language,
        names: &[String],
        locale: &Locale,
        span: &Range<usize>,
        key: &str,
    ) -> Vec<(String, Arc<Expression>)> {
        let mut parameters = Vec::new();
        for name in names {
            let find = |from: &'_ BTreeMap<file::Text, file::Text>| {
                from.iter().find(|(known, _)| known.get_ref() == name).map(|(_, text)| text.clone())
            };
            let Some(text) = find(&language.parameters).or_else(|| find(&file.parameters)) else {
                let message = format!("Nothing says what {{{{{name}}}}} is; add `{name} = \"…\"` under [parameters].");
                self.report.add(span.clone(), key, message);
                continue;
            };
            if let Some(expression) = self.compile(&text, &format!("parameters.{name}"), locale, Kind::Text) {
                parameters.push((name.clone(), expression));
            }
        }
        parameters
    }

    fn media(&mut self, header: &file::Header, locale: &Locale) -> Option<Header> {
        let kind = *header.kind.get_ref();
        let wanted: &[&str] = match kind {
            HeaderKind::Image | HeaderKind::Video => &["link"],
            HeaderKind::Document => &["link", "filename"],
            HeaderKind::Location => &["latitude", "longitude", "name", "address"],
        };
        let fields = [
            ("link", &header.link),
            ("filename", &header.filename),
            ("latitude", &header.latitude),
            ("longitude", &header.longitude),
            ("name", &header.name),
            ("address", &header.address),
        ];
        let mut compiled = BTreeMap::new();
        for (name, text) in fields {
            let key = format!("header.{name}");
            match (wanted.contains(&name), text) {
                (true, Some(text)) => {
                    if let Some(expression) = self.compile(text, &key, locale, Kind::Text) {
                        compiled.insert(name, expression);
                    }
                }
                (true, None) => self.report.add(header.kind.span(), key, "This kind of header needs it."),
                (false, Some(text)) => {
                    self.report.add(text.span(), key, "This kind of header has no such value; remove it.");
                }
                (false, None) => {}
            }
        }
        let mut take = |name| compiled.remove(name);
        Some(match kind {
            HeaderKind::Image => Header::Image { link: take("link")? },
            HeaderKind::Video => Header::Video { link: take("link")? },
            HeaderKind::Document => Header::Document { link: take("link")?, filename: take("filename")? },
            HeaderKind::Location => Header::Location {
                latitude: take("latitude")?,
                longitude: take("longitude")?,
                name: take("name")?,
                address: take("address")?,
            },
        })
    }

    fn button(
        &mut self,
        file: &File,
        button: &toml::Spanned<file::Button>,
        code: &str,
        locale: &Locale,
    ) -> Option<Button> {
        let span = button.span();
        let button = button.get_ref();
        let fields = [
            ("url", button.url.is_some(), button.kind == ButtonKind::Url),
            ("value", button.value.is_some(), button.kind == ButtonKind::Url),
            ("phone", button.phone.is_some(), button.kind == ButtonKind::Phone),
            ("payload", button.payload.is_some(), button.kind == ButtonKind::QuickReply),
            ("opt_out", button.opt_out, button.kind == ButtonKind::QuickReply),
            ("code", button.code.is_some(), button.kind == ButtonKind::CopyCode),
            ("text", !button.text.is_empty(), button.kind != ButtonKind::CopyCode),
        ];
        for (name, present, fits) in fields {
            if present && !fits {
                self.report.add(
                    span.clone(),
                    format!("buttons.{name}"),
                    "This kind of button has no such value; remove it.",
                );
            }
        }
        let text =
            button.text.iter().find(|(language, _)| language.get_ref() == code).map(|(_, text)| text.get_ref().clone());
        if text.is_none() && button.kind != ButtonKind::CopyCode {
            self.report.add(span.clone(), "buttons.text", format!("The button has no text in {code:?}; add it."));
            return None;
        }
        let missing = |compiler: &mut Self, name: &str| {
            compiler.report.add(span.clone(), format!("buttons.{name}"), "This kind of button needs it.");
        };
        let action = match button.kind {
            ButtonKind::QuickReply => {
                if button.opt_out && button.payload.is_some() {
                    self.report.add(
                        span.clone(),
                        "buttons.payload",
                        "opt_out makes the payload itself; remove one of them.",
                    );
                }
                let computed =
                    button.payload.as_ref().and_then(|p| self.compile(p, "buttons.payload", locale, Kind::Text));
                let fixed = button.opt_out.then(|| Payload::Fixed(format!("optout:{}", file.purpose.get_ref())));
                Action::QuickReply { payload: fixed.or(computed.map(Payload::Computed)) }
            }
            ButtonKind::Url => {
                let Some(url) = &button.url else {
                    missing(self, "url");
                    return None;
                };
                let base = url.get_ref().strip_suffix("{{1}}");
                match (&button.value, base) {
                    (Some(_), None) => self.report.add(
                        url.span(),
                        "buttons.value",
                        "The address has no {{1}} at its end for the value; add it or remove the value.",
                    ),
                    (None, Some(_)) => self.report.add(
                        url.span(),
                        "buttons.value",
                        "Nothing says what the address's {{1}} is; add `value = \"…\"`.",
                    ),
                    (Some(_), Some(_)) | (None, None) => {}
                }
                let suffix = button.value.as_ref().and_then(|v| self.compile(v, "buttons.value", locale, Kind::Text));
                Action::Url { base: base.unwrap_or(url.get_ref()).to_owned(), suffix }
            }
            ButtonKind::Phone => {
                let Some(phone) = &button.phone else {
                    missing(self, "phone");
                    return None;
                };
                Action::Phone { number: phone.get_ref().clone() }
            }
            ButtonKind::CopyCode => {
                let Some(code) = &button.code else {
                    missing(self, "code");
                    return None;
                };
                Action::CopyCode { code: self.compile(code, "buttons.code", locale, Kind::Text)? }
            }
        };
        Some(Button { text: text.unwrap_or_default(), action })
    }

    fn compile(&mut self, text: &file::Text, key: &str, locale: &Locale, kind: Kind) -> Option<Arc<Expression>> {
        match Expression::compile(text.get_ref(), Absence::Fails) {
            Ok(expression) => {
                for complaint in self.judge.complaints(&expression, locale, kind) {
                    self.report.add(text.span(), key, complaint);
                }
                Some(Arc::new(expression))
            }
            Err(why) => {
                self.report.add(text.span(), key, format!("The expression {why}."));
                None
            }
        }
    }

    fn duration(&mut self, text: &file::Text, key: &str) -> Option<SignedDuration> {
        let duration = text.get_ref().parse::<SignedDuration>().ok().filter(|d| !d.is_negative());
        if duration.is_none() {
            self.report.add(text.span(), key, "This is no time span (like \"90s\", \"15m\", \"12h\").");
        }
        duration
    }
}

/// Under which name a header's placeholder is found: numbers begin anew in each part of a message, names do not.
fn header_name(placeholder: &str) -> String {
    if is_number(placeholder) { format!("header_{placeholder}") } else { placeholder.to_owned() }
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}
