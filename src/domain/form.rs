//! Forms: by which people are asked whether they want to be written to, in their language; and what they were shown, as evidence.
//!
//! What follows from an answer is the ledger's business; what Recado writes to people is [`says`].

pub mod says;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use toml::Spanned;

use self::says::Says;
use super::{
    consent::same_word,
    ledger::{EVERYTHING, canonical},
    locale::Locale,
    problem::{Problem, Report},
};

/// How somebody confirms that a number is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A message from the number itself, with a code in it.
    Whatsapp,
    /// A link or a code that was sent to the number.
    Sms,
}

impl Way {
    /// Its name in files, addresses and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Way::Whatsapp => "whatsapp",
            Way::Sms => "sms",
        }
    }

    /// The way of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Way> {
        [Way::Whatsapp, Way::Sms].into_iter().find(|way| way.as_str() == name)
    }
}

/// One form, checked.
#[derive(Debug, Clone)]
pub struct Form {
    /// Part of its address: letters a to z, digits, `-` and `_`.
    pub name: String,
    pub brand: String,
    /// Not empty, each once.
    pub purposes: Vec<String>,
    /// The first is offered first.
    pub ways: Vec<Way>,
    pub word: String,
    /// ISO 3166-1 alpha-2, for numbers without a country code.
    pub country: String,
    pub default_language: String,
    pub privacy_url: String,
    pub return_url: Option<String>,
    /// As browsers send them.
    pub origins: Vec<String>,
    /// Names of senders, if the form names any.
    pub sender: Option<String>,
    pub sms_sender: Option<String>,
    languages: BTreeMap<String, Wording>,
}

/// What a form says in one language. The brand is filled in.
#[derive(Debug, Clone)]
pub struct Wording {
    pub title: String,
    pub intro: String,
    /// What people agree to.
    pub consent: String,
    /// What each purpose is called.
    pub purposes: BTreeMap<String, String>,
    pub says: Says,
}

impl Form {
    /// The form's language that suits best, first wish first; its default if none does.
    #[must_use]
    pub fn language<'a>(&self, wishes: impl IntoIterator<Item = &'a str>) -> &str {
        wishes.into_iter().find_map(|wish| self.closest(wish)).unwrap_or(&self.default_language)
    }

    fn closest(&self, wish: &str) -> Option<&str> {
        let wish = Locale::parse(wish)?;
        let known = || self.languages.keys().filter_map(|name| Some((name, Locale::parse(name)?)));
        let exact = known().find(|(_, locale)| *locale == wish);
        let near = || known().find(|(_, locale)| locale.language() == wish.language());
        exact.or_else(near).map(|(name, _)| name.as_str())
    }

    /// All its languages, by name.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.languages.keys().map(String::as_str)
    }

    /// What it says in the language that suits best.
    #[must_use]
    pub fn wording(&self, language: &str) -> Option<&Wording> {
        self.languages.get(self.language([language]))
    }

    /// What somebody is shown in this language, whole, with its version: the first digits of the hash of everything that is shown.
    #[must_use]
    pub fn shown(&self, language: &str) -> Value {
        let language = self.language([language]);
        let Some(wording) = self.languages.get(language) else { return Value::Null };
        let text = json!({
            "brand": self.brand, "privacy_url": self.privacy_url, "title": wording.title, "intro": wording.intro,
            "consent": wording.consent, "purposes": wording.purposes, "sms": wording.says.sms,
        });
        let hash = hex(&Sha256::digest(canonical(&text)));
        json!({"form": self.name, "locale": language, "version": hash.get(..12), "hash": hash, "text": text})
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// All forms, by name.
#[derive(Debug, Clone, Default)]
pub struct Forms(BTreeMap<String, Form>);

impl Forms {
    /// Reads and checks `files`, pairs of path and text. `stop_words` are whole messages that a form's word must not be.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn load(files: &[(String, String)], stop_words: &[String]) -> Result<Forms, Vec<Problem>> {
        let (mut forms, mut problems) = (BTreeMap::new(), Vec::new());
        for (path, text) in files {
            let mut report = Report::of(path, text);
            match toml::from_str::<File>(text) {
                Ok(file) => {
                    if let Some(form) = read(path, file, stop_words, &mut report) {
                        forms.insert(form.name.clone(), form);
                    }
                }
                Err(error) => report.add_toml(&error),
            }
            problems.extend(report.into_problems());
        }
        if problems.is_empty() { Ok(Forms(forms)) } else { Err(problems) }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Form> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Form> {
        self.0.values()
    }

    /// What the forms ask for.
    pub fn purposes(&self) -> impl Iterator<Item = &str> {
        self.iter().flat_map(|form| &form.purposes).map(String::as_str)
    }

    /// The form whose word this message begins with, and what follows the word as far as it may be a code. A message that goes
    /// on without a code asks for nothing.
    #[must_use]
    pub fn asked_by<'a>(&self, message: &'a str) -> Option<(&Form, Option<&'a str>)> {
        let message = message.trim();
        let (word, rest) = message.split_once(char::is_whitespace).unwrap_or((message, ""));
        let code = rest.split_whitespace().next();
        self.iter().find(|form| same_word(word, &form.word)).map(|form| (form, code))
    }
}

/// A form's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    brand: Spanned<String>,
    purposes: Spanned<Vec<String>>,
    confirm: Spanned<Vec<Way>>,
    word: Spanned<String>,
    country: Spanned<String>,
    default_language: Spanned<String>,
    privacy_url: Spanned<String>,
    return_url: Option<Spanned<String>>,
    #[serde(default)]
    allowed_origins: Vec<Spanned<String>>,
    sender: Option<String>,
    sms_sender: Option<String>,
    languages: BTreeMap<Spanned<String>, Language>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    title: Spanned<String>,
    #[serde(default)]
    intro: Option<Spanned<String>>,
    consent: Spanned<String>,
    purposes: Spanned<BTreeMap<String, String>>,
    #[serde(default)]
    says: Option<Spanned<says::Written>>,
}

/// The longest text of a form, in characters.
const TEXT_MAX: usize = 2_000;

fn read(path: &str, file: File, stop_words: &[String], report: &mut Report<'_>) -> Option<Form> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path).trim_end_matches(".toml").to_owned();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
        let message = "The file's name is part of the form's address: up to 40 letters a to z, digits, - and _.";
        report.add_at_line(1, "", message);
    }
    check_text(&file.brand, "brand", report);
    let purposes = purposes(&file.purposes, report);
    if file.confirm.get_ref().is_empty() {
        report.add(file.confirm.span(), "confirm", "Name at least one way: \"whatsapp\" or \"sms\".");
    }
    check_word(&file.word, stop_words, report);
    let country = file.country.get_ref().to_ascii_uppercase();
    if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
        report.add(file.country.span(), "country", "This must be a country of two letters, like \"ES\" or \"BR\".");
    }
    check_url(&file.privacy_url, "privacy_url", report);
    if let Some(url) = &file.return_url {
        check_url(url, "return_url", report);
    }
    for origin in &file.allowed_origins {
        if !is_origin(origin.get_ref()) {
            let message = "This must be scheme and host as browsers send them, like \"https://shop.example\".";
            report.add(origin.span(), "allowed_origins", message);
        }
    }
    let mut languages = BTreeMap::new();
    for (language, text) in file.languages {
        if let Some(wording) = wording(&language, text, file.brand.get_ref(), &purposes, report) {
            languages.insert(language.into_inner(), wording);
        }
    }
    let default = &file.default_language;
    if !languages.contains_key(default.get_ref()) {
        let message = format!("There is no section [languages.{}]; write it, or name another.", default.get_ref());
        report.add(default.span(), "default_language", message);
    }
    report.is_empty().then(|| Form {
        name,
        brand: file.brand.into_inner(),
        purposes,
        ways: file.confirm.into_inner(),
        word: file.word.into_inner(),
        country,
        default_language: file.default_language.into_inner(),
        privacy_url: file.privacy_url.into_inner(),
        return_url: file.return_url.map(Spanned::into_inner),
        origins: file.allowed_origins.into_iter().map(Spanned::into_inner).collect(),
        sender: file.sender,
        sms_sender: file.sms_sender,
        languages,
    })
}

fn purposes(given: &Spanned<Vec<String>>, report: &mut Report<'_>) -> Vec<String> {
    let purposes = given.get_ref().clone();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let good =
        |purpose: &String| purpose != EVERYTHING && (1..=40).contains(&purpose.len()) && purpose.chars().all(plain);
    if purposes.is_empty() || !purposes.iter().all(good) {
        let message = "Name at least one purpose, as templates do: up to 40 letters a to z, digits, - and _.";
        report.add(given.span(), "purposes", message);
    } else if purposes.iter().collect::<BTreeSet<_>>().len() < purposes.len() {
        report.add(given.span(), "purposes", "A purpose is named twice.");
    }
    purposes
}

fn wording(
    language: &Spanned<String>,
    text: Language,
    brand: &str,
    purposes: &[String],
    report: &mut Report<'_>,
) -> Option<Wording> {
    let name = language.get_ref();
    let key = |last: &str| format!("languages.{name}.{last}");
    if Locale::parse(name).is_none() {
        report.add(language.span(), format!("languages.{name}"), "This is no language; write it like es or pt_BR.");
    }
    for (text, last) in [(Some(&text.title), "title"), (text.intro.as_ref(), "intro"), (Some(&text.consent), "consent")]
    {
        if let Some(text) = text {
            check_text(text, &key(last), report);
            says::check(text.get_ref(), &["brand"], text.span(), &key(last), report);
        }
    }
    let named = text.purposes.get_ref();
    for purpose in purposes.iter().filter(|purpose| named.get(*purpose).is_none_or(|text| text.trim().is_empty())) {
        report.add(
            text.purposes.span(),
            key("purposes"),
            format!("The purpose {purpose} needs a text that says what it is."),
        );
    }
    if let Some(stranger) = named.keys().find(|purpose| !purposes.contains(purpose)) {
        report.add(text.purposes.span(), key("purposes"), format!("{stranger} is none of the form's purposes."));
    }
    let place = text.says.as_ref().map_or_else(|| language.span(), Spanned::span);
    let says = says::read(name, text.says.map(Spanned::into_inner), place, report)?;
    let filled = |text: &str| text.trim().replace("{brand}", brand);
    Some(Wording {
        title: filled(text.title.get_ref()),
        intro: text.intro.as_ref().map_or(String::new(), |text| filled(text.get_ref())),
        consent: filled(text.consent.get_ref()),
        purposes: text.purposes.into_inner(),
        says: says.branded(brand),
    })
}

fn check_text(text: &Spanned<String>, key: &str, report: &mut Report<'_>) {
    let length = text.get_ref().trim().chars().count();
    if !(1..=TEXT_MAX).contains(&length) {
        report.add(text.span(), key, format!("This must be a text of 1 to {TEXT_MAX} characters."));
    }
}

fn check_word(word: &Spanned<String>, stop_words: &[String], report: &mut Report<'_>) {
    let text = word.get_ref();
    if !(2..=20).contains(&text.chars().count()) || !text.chars().all(char::is_alphanumeric) {
        report.add(word.span(), "word", "This must be one word of 2 to 20 letters, like \"ALTA\".");
    } else if stop_words.iter().any(|stop| same_word(stop, text)) {
        report.add(word.span(), "word", "This word means that somebody wants no messages; choose another.");
    }
}

fn check_url(url: &Spanned<String>, key: &str, report: &mut Report<'_>) {
    let text = url.get_ref();
    let good = |rest: &str| !rest.is_empty() && !rest.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic());
    if !text.strip_prefix("https://").is_some_and(good) {
        report.add(url.span(), key, "This must be an address that begins with https://.");
    }
}

fn is_origin(text: &str) -> bool {
    let host = |rest: &str| {
        !rest.is_empty()
            && rest
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | ':' | '[' | ']'))
    };
    text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).is_some_and(host)
}

#[cfg(test)]
mod tests;
