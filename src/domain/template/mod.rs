//! Templates: the messages that may be sent, in all their languages, and the catalogue that finds them for an event.
//!
//! Everything is checked when the catalogue is loaded: texts against Meta's rules, expressions against the schema of
//! their event. What follows from one event is decided in `plan`; approval is state, kept in the database.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, tz::TimeZone};
use serde::Deserialize;

use super::{
    consent::Words,
    expression::Expression,
    locale::Locale,
    problem::{Problem, Report},
    quiet::QuietHours,
    route::{Route, Rules},
    whereabouts::Whereabouts,
};

mod advice;
mod bubble;
mod compile;
mod components;
mod definition;
mod diff;
mod event_type;
mod fallback;
mod file;
mod fill;
mod judge;
mod push;
mod routes;
mod rules;
mod schema;
mod shipped;
#[cfg(test)]
mod tests;
mod text;

pub use bubble::{bubble, formatted};
pub use definition::{Definition, Heading, Pressable};
pub use diff::{Difference, Place, all_differences, differences, lines, places};
pub use fill::{ReadButton, Reading};
pub use push::{Edits, Manner, Step, There, step};
pub use shipped::{shipped_events, shipped_messages};

/// What templates need to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names of the senders that can send templates. Without `routing` the first one sends templates that name none.
    pub senders: Vec<String>,
    /// How people say no, for texts in which they have no button for it.
    pub words: Words,
    /// Names of the senders that cannot: they send SMS and nothing else.
    pub other_senders: Vec<String>,
    /// By which the sender of templates that name none is chosen, if somebody wrote rules. They name senders that exist.
    pub routing: Option<Arc<Rules>>,
    /// For people whose language a template does not have, if the template names no default itself.
    pub default_language: String,
    /// IANA name of the zone for people of whom nothing better is known.
    pub default_zone: String,
    /// How long a message waits if nobody has asked the person, and how long for an answer, if its template does not say.
    pub grace: Duration,
    pub pending: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            senders: Vec::new(),
            words: Words::shipped(),
            other_senders: Vec::new(),
            routing: None,
            default_language: "en".to_owned(),
            default_zone: "UTC".to_owned(),
            grace: Duration::from_secs(120),
            pending: Duration::from_secs(2 * 3_600),
        }
    }
}

/// All templates and event types, checked and compiled.
#[derive(Debug)]
pub struct Catalogue {
    templates: Vec<Template>,
    types: BTreeMap<String, EventType>,
    default_zone: TimeZone,
    notes: Vec<Problem>,
}

/// What an event type means.
#[derive(Debug)]
pub struct EventType {
    /// Set if the type is a stage of a journey.
    pub(super) journey: Option<Journey>,
    /// Positions in the catalogue's list.
    pub(super) templates: Vec<usize>,
}

/// A sequence of stages that one thing goes through. Of two events with the same key the later stage makes the earlier stale.
#[derive(Debug)]
pub struct Journey {
    pub(super) name: String,
    pub(super) key: Expression,
    pub(super) stage: i16,
    /// What people are told who ask where their order is, by language.
    says: BTreeMap<String, String>,
}

/// Meta's categories of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    Utility,
    Marketing,
    Authentication,
}

impl Category {
    /// As Meta writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::Utility => "UTILITY",
            Category::Marketing => "MARKETING",
            Category::Authentication => "AUTHENTICATION",
        }
    }
}

/// Urgent messages go first and ignore quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Urgent,
    #[default]
    Normal,
}

impl Class {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Urgent => "urgent",
            Class::Normal => "normal",
        }
    }
}

/// What to do with a send whose outcome stays unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InDoubt {
    ResendOnce,
    Never,
}

impl InDoubt {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            InDoubt::ResendOnce => "resend_once",
            InDoubt::Never => "never",
        }
    }
}

/// One message in all its languages.
#[derive(Debug)]
pub struct Template {
    pub(super) name: String,
    pub(super) category: Category,
    pub(super) purpose: String,
    pub(super) class: Class,
    pub(super) route: Route,
    pub(super) expires_after: SignedDuration,
    pub(super) in_doubt: InDoubt,
    pub(super) grace: Duration,
    pub(super) pending: Duration,
    pub(super) event_type: String,
    pub(super) when: Option<Arc<Expression>>,
    pub(super) quiet: Option<QuietHours>,
    pub(super) named: bool,
    session_fallback: bool,
    pub(super) sms: Option<Sms>,
    /// At least one, in the order of their codes.
    pub(super) languages: Vec<Language>,
    pub(super) default_language: usize,
    pub(super) example: serde_json::Value,
}

/// By whom and for whom an SMS may follow a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sms {
    pub(super) sender: String,
    /// What the person must have agreed to.
    pub(super) purpose: String,
}

/// A template in one language.
#[derive(Debug)]
pub struct Language {
    /// As it is sent, like `es` or `pt_BR`.
    pub(super) code: String,
    pub(super) locale: Locale,
    header: Option<Header>,
    body: text::Text,
    /// In the order in which the body uses them.
    parameters: Vec<(String, Arc<Expression>)>,
    footer: Option<String>,
    buttons: Vec<Button>,
    /// How one says no in this language, for a free text.
    stop: String,
    sms: Option<fallback::SmsText>,
}

#[derive(Debug, Clone)]
enum Header {
    Text { text: text::Text, parameter: Option<(String, Arc<Expression>)> },
    Image { link: Arc<Expression> },
    Video { link: Arc<Expression> },
    Document { link: Arc<Expression>, filename: Arc<Expression> },
    Location { latitude: Arc<Expression>, longitude: Arc<Expression>, name: Arc<Expression>, address: Arc<Expression> },
}

#[derive(Debug, Clone)]
struct Button {
    text: String,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    QuickReply { payload: Option<Payload> },
    Url { base: String, suffix: Option<Arc<Expression>> },
    Phone { number: String },
    CopyCode { code: Arc<Expression> },
}

#[derive(Debug, Clone)]
enum Payload {
    Fixed(String),
    Computed(Arc<Expression>),
}

/// One with nothing in it.
impl Default for Catalogue {
    fn default() -> Catalogue {
        Catalogue { templates: Vec::new(), types: BTreeMap::new(), default_zone: TimeZone::UTC, notes: Vec::new() }
    }
}

impl Catalogue {
    /// Reads and checks everything. `messages` are TOML files, `schemas` JSON files named after their event type; both
    /// are pairs of path and text.
    ///
    /// # Errors
    /// All problems of all files, in the files' order.
    pub fn load(
        messages: &[(String, String)],
        schemas: &[(String, String)],
        settings: &Settings,
    ) -> Result<Catalogue, Vec<Problem>> {
        let mut problems = Vec::new();
        let default_zone = TimeZone::get(&settings.default_zone).unwrap_or_else(|_| {
            let message = format!(
                "There is no time zone {:?}; use an IANA name like Europe/Madrid, and see that the machine has tzdata.",
                settings.default_zone
            );
            problems.push(Problem { file: "configuration".into(), line: 1, key: "default_zone".into(), message });
            TimeZone::UTC
        });
        let mut files = BTreeMap::new();
        for (path, text) in schemas {
            let mut report = Report::of(path, text);
            if let Some((name, file)) = event_type::read(path, text, &mut report) {
                files.insert(name, file);
            }
            problems.extend(report.into_problems());
        }
        let (mut templates, mut notes): (Vec<Template>, _) = (Vec::new(), Vec::new());
        for (path, text) in messages {
            let mut report = Report::of(path, text);
            let (mut advice, mut read) = (Report::of(path, text), None);
            if let Some((file, template)) =
                compile::read(text, &files, settings, &default_zone, &templates, &mut report)
            {
                advice::note(&file, &template, &mut advice);
                read = Some(template);
            }
            notes.extend(advice.into_problems());
            problems.extend(report.into_problems());
            templates.extend(read);
        }
        problems.extend(routes::check(settings, &templates, &files, &default_zone));
        let mut types = BTreeMap::new();
        for (name, file) in files {
            let mut report = Report::of(&file.path, &file.text);
            let users = || templates.iter().enumerate().filter(|(_, template)| template.event_type == name);
            let example = users().next().map(|(_, template)| &template.example);
            let journey = event_type::journey(&name, &file, example, &default_zone, &mut report);
            problems.extend(report.into_problems());
            let positions = users().map(|(i, _)| i).collect();
            types.insert(name, EventType { journey, templates: positions });
        }
        if problems.is_empty() { Ok(Catalogue { templates, types, default_zone, notes }) } else { Err(problems) }
    }

    /// The event types that mean something: those with a schema. The queue is bound to them.
    pub fn event_types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// What is said to people who ask where their order is.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        let says = |(name, of): (&String, &EventType)| {
            let says = &of.journey.as_ref()?.says;
            (!says.is_empty()).then(|| (name.clone(), says.clone()))
        };
        Whereabouts::new(self.types.iter().filter_map(says).collect(), self.default_zone.clone())
    }

    /// What is no mistake and may still be refused, recategorised or regretted.
    #[must_use]
    pub fn notes(&self) -> &[Problem] {
        &self.notes
    }

    #[must_use]
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// What people must have agreed to for these messages and the SMS that may follow them.
    pub fn purposes(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().flat_map(|of| [Some(of.purpose()), of.sms().map(|(_, purpose)| purpose)]).flatten()
    }

    #[must_use]
    pub fn template(&self, name: &str) -> Option<&Template> {
        self.templates.iter().find(|template| template.name == name)
    }

    pub(super) fn event_type(&self, name: &str) -> Option<&EventType> {
        self.types.get(name)
    }

    /// For people of whose zone nothing is known.
    #[must_use]
    pub fn default_zone(&self) -> &TimeZone {
        &self.default_zone
    }
}

impl Template {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// All senders that it may go from, each once.
    #[must_use]
    pub fn senders(&self) -> Vec<&str> {
        self.route.senders()
    }

    /// The sender of the SMS that may follow it, and the purpose that this needs.
    #[must_use]
    pub fn sms(&self) -> Option<(&str, &str)> {
        self.sms.as_ref().map(|sms| (sms.sender.as_str(), sms.purpose.as_str()))
    }

    #[must_use]
    pub const fn in_doubt(&self) -> InDoubt {
        self.in_doubt
    }

    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The codes of its languages, as they are sent.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().map(|language| language.code.as_str())
    }

    /// The `data` of its example event.
    #[must_use]
    pub const fn example(&self) -> &serde_json::Value {
        &self.example
    }

    pub(super) fn language(&self, code: &str) -> Option<&Language> {
        self.languages.iter().find(|language| language.code == code)
    }

    /// The language for a person: theirs, else the language without the country, else the same language as spoken
    /// elsewhere, else the template's default.
    #[must_use]
    pub(super) fn choose(&self, locale: Option<&Locale>) -> Option<&Language> {
        let default = || self.languages.get(self.default_language);
        let Some(locale) = locale else { return default() };
        let find = |fits: &dyn Fn(&Language) -> bool| self.languages.iter().find(|language| fits(language));
        find(&|language| language.locale == *locale)
            .or_else(|| find(&|l| l.locale.language() == locale.language() && l.locale.region().is_none()))
            .or_else(|| default().filter(|l| l.locale.language() == locale.language()))
            .or_else(|| find(&|l| l.locale.language() == locale.language()))
            .or_else(default)
    }
}
