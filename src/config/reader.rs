//! Reads one value after the other, each with what it may be, and collects what is wrong instead of stopping. After a mistake it
//! gives some value of the type, so that reading can go on; [`Reader::finish`] then refuses the whole.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Value, ValueKind};

use super::{
    Problem, Problems, Secret,
    layers::{Layers, Origin, Variable, variable_of},
    problem::{closest, did_you_mean},
    secret::{is_path, is_variable},
};

pub(super) struct Reader {
    layers: Layers,
    problems: Vec<Problem>,
    known: BTreeSet<String>,
    shown: Vec<Shown>,
}

/// A value as each of the things that it can be read as. A variable's text can be all of them.
#[derive(Default)]
struct Raw {
    text: Option<String>,
    whole: Option<i64>,
    number: Option<f64>,
    list: Option<Vec<String>>,
}

impl Raw {
    fn read(kind: &ValueKind, from_variable: bool) -> Raw {
        match kind {
            ValueKind::String(text) if from_variable => Raw {
                whole: text.trim().replace('_', "").parse().ok(),
                number: text.trim().parse().ok(),
                list: Some(
                    text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect(),
                ),
                text: Some(text.clone()),
            },
            ValueKind::String(text) => Raw { text: Some(text.clone()), ..Raw::default() },
            ValueKind::I64(number) => {
                Raw { whole: Some(*number), number: i32::try_from(*number).ok().map(f64::from), ..Raw::default() }
            }
            ValueKind::Float(number) => Raw { number: Some(*number), ..Raw::default() },
            ValueKind::Array(items) => {
                let text =
                    |item: &Value| if let ValueKind::String(text) = &item.kind { Some(text.clone()) } else { None };
                Raw { list: items.iter().map(text).collect(), ..Raw::default() }
            }
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Table(_) => Raw::default(),
        }
    }
}

/// One setting for people to see.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub key: String,
    pub value: String,
    pub origin: String,
}

/// What a URL may be.
pub(super) struct Scheme {
    pub schemes: &'static [&'static str],
    /// Without TLS only to this machine.
    pub plain_only_here: bool,
    pub like: &'static str,
}

impl Reader {
    pub fn new(layers: Layers) -> Reader {
        Reader { layers, problems: Vec::new(), known: BTreeSet::new(), shown: Vec::new() }
    }

    /// The names in a table whose keys the user chooses.
    pub fn names(&mut self, table: &str) -> Vec<String> {
        self.known.insert(format!("{table}."));
        match self.layers.value(table).map(|value| &value.kind) {
            Some(ValueKind::Table(names)) => names.keys().cloned().collect::<BTreeSet<String>>().into_iter().collect(),
            Some(_) | None => Vec::new(),
        }
    }

    /// How many sections a list of sections has (`[[routing]]`), which are called `routing.1` and so on.
    pub fn sections(&mut self, list: &str) -> usize {
        self.known.insert(format!("{list}."));
        match self.layers.value(list).map(|value| &value.kind) {
            Some(ValueKind::Array(items)) => items.len(),
            // From variables: RECADO_ROUTING__1__SENDER.
            Some(ValueKind::Table(numbered)) => {
                (1..).take_while(|number: &usize| numbered.contains_key(&number.to_string())).count()
            }
            Some(_) | None => 0,
        }
    }

    /// The file and line where `key` stands; its variable if it comes from one.
    pub fn place(&self, key: &str) -> (String, usize) {
        match self.layers.origin(key) {
            Origin::File { shown, line } => (shown, line),
            Origin::Variable(name) => (name, 1),
            Origin::Default => ("configuration".to_owned(), 1),
        }
    }

    /// Whether anybody, the defaults included, says something about `key`.
    pub fn has(&mut self, key: &str) -> bool {
        self.known.insert(key.to_owned());
        self.layers.value(key).is_some()
    }

    /// Whether the user says something about `key`.
    pub fn is_set(&self, key: &str) -> bool {
        self.layers.origin(key) != Origin::Default
    }

    pub fn text(&mut self, key: &str) -> String {
        let Some(raw) = self.take(key) else { return String::new() };
        match raw.text.filter(|text| !text.trim().is_empty()) {
            Some(text) => self.show(key, text),
            None => self.refuse(key, "must be a text in quotes, and not an empty one"),
        }
    }

    /// A text that is what `allowed` says, described by `what`: "must be …".
    pub fn text_of(&mut self, key: &str, what: &str, allowed: impl Fn(&str) -> bool) -> String {
        let before = self.problems.len();
        let text = self.text(key);
        if self.problems.len() == before && !allowed(&text) {
            return self.refuse(key, what);
        }
        text
    }

    pub fn integer<T: TryFrom<i64> + Default>(&mut self, key: &str, range: RangeInclusive<i64>) -> T {
        let Some(raw) = self.take(key) else { return T::default() };
        let good = raw.whole.filter(|number| range.contains(number)).and_then(|n| Some((n, T::try_from(n).ok()?)));
        match good {
            Some((number, good)) => {
                self.note(key, number.to_string());
                good
            }
            None if raw.whole.is_some() => {
                self.refuse(key, &format!("must be from {} to {}", range.start(), range.end()))
            }
            None => self.refuse(key, &format!("must be a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// A number with a fraction.
    pub fn share(&mut self, key: &str, range: RangeInclusive<f64>) -> f64 {
        let Some(raw) = self.take(key) else { return 0.0 };
        match raw.number.filter(|number| range.contains(number)) {
            Some(number) => {
                self.note(key, number.to_string());
                number
            }
            None => self.refuse(key, &format!("must be a number from {} to {}", range.start(), range.end())),
        }
    }

    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Duration {
        let Some(raw) = self.take(key) else { return Duration::ZERO };
        if let Some(number) = raw.whole {
            return self.refuse(key, &format!("has no unit; write \"{number}s\" if you mean seconds"));
        }
        let parsed = raw.text.and_then(|text| Some((parse_duration(&text)?, text)));
        let Some((duration, text)) = parsed else {
            return self.refuse(key, "is no duration; write it like \"250ms\", \"30s\", \"10m\", \"24h\" or \"90d\"");
        };
        if !range.contains(&duration) {
            return self.refuse(key, &format!("must be from {} to {}", Span(*range.start()), Span(*range.end())));
        }
        self.show(key, text);
        duration
    }

    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.take(key)?.text.unwrap_or_default();
        if let Some((_, chosen)) = choices.iter().find(|(name, _)| *name == text) {
            self.show(key, text);
            return Some(*chosen);
        }
        let all: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let meant = did_you_mean(&text, choices.iter().map(|(name, _)| *name));
        self.blame(key, &format!("must be {}{meant}", all.join(" or ")));
        None
    }

    /// Texts; from a variable, separated by commas.
    pub fn list(&mut self, key: &str) -> Vec<String> {
        let Some(raw) = self.take(key) else { return Vec::new() };
        raw.list.unwrap_or_else(|| {
            self.accuse(key, "must be a list of texts, like [\"one\", \"two\"]");
            Vec::new()
        })
    }

    /// A text or several.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(raw) = self.take(key) else { return Vec::new() };
        let texts = raw.list.or_else(|| raw.text.map(|text| vec![text])).unwrap_or_default();
        if texts.is_empty() {
            self.blame(key, "must be a text or a list of texts, like \"one\" or [\"one\", \"two\"]");
            return texts;
        }
        self.note(key, format!("{texts:?}"));
        texts
    }

    pub fn address(&mut self, key: &str) -> SocketAddr {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let before = self.problems.len();
        let text = self.text(key);
        if self.problems.len() > before || text.is_empty() {
            return nowhere;
        }
        text.parse().unwrap_or_else(|_| {
            self.blame(key, "must be an address and a port, like \"127.0.0.1:8080\" or \"[::]:8080\"");
            nowhere
        })
    }

    /// A URL, without the slash at its end.
    pub fn url(&mut self, key: &str, scheme: &Scheme) -> String {
        let before = self.problems.len();
        let text = self.text(key);
        if self.problems.len() > before {
            return String::new();
        }
        if let Err(why) = check_url(&text, scheme) {
            return self.refuse(key, &why);
        }
        text.trim_end_matches('/').to_owned()
    }

    /// A folder; relative to the file that names it, else to the working directory. If nobody names one and the default is not
    /// there, the first of `elsewhere` that is. None if there is none at all, which is a mistake only if it was named.
    pub fn folder(&mut self, key: &str, elsewhere: &[&str]) -> Option<PathBuf> {
        let text = self.text(key);
        let base = match self.layers.origin(key) {
            Origin::File { .. } => self.layers.file.as_ref().map(|file| file.folder.clone()),
            Origin::Default | Origin::Variable(_) => None,
        };
        let named = base.unwrap_or_else(|| self.layers.folder.clone()).join(text);
        if named.is_dir() {
            return Some(named);
        }
        if self.is_set(key) {
            self.blame(key, &format!("there is no folder {}", named.display()));
            return None;
        }
        elsewhere.iter().map(PathBuf::from).find(|path| path.is_dir())
    }

    /// A secret: from the variable named by `KEY_env`, the key's own variable, the conventional one, or the file named by
    /// `KEY_file`. With `needed`, a problem if there is none. With `in_file`, it may stand in the configuration file if that
    /// finds nothing secret in it.
    pub fn secret(&mut self, key: &str, from: &SecretFrom) -> Secret {
        let found = self.find_secret(key, from);
        let (text, origin) = match found {
            Ok(Some((text, origin))) => (Some(text), origin),
            Ok(None) => {
                if from.needed {
                    let cure = self.cure(key, from);
                    self.problems.push(Problem { place: None, key: key.to_owned(), value: None, what: cure });
                }
                (None, String::new())
            }
            Err(()) => (None, String::new()),
        };
        let Some(text) = text else {
            self.shown.push(Shown { key: key.to_owned(), value: "(not set)".into(), origin: "secret".into() });
            return Secret::new(key, None);
        };
        if let Err(why) = (from.check)(&text) {
            self.problems.push(Problem { place: Some(origin), key: key.to_owned(), value: None, what: why });
            return Secret::new(key, None);
        }
        self.shown.push(Shown { key: key.to_owned(), value: "(secret)".into(), origin });
        Secret::new(key, Some(text))
    }

    fn find_secret(&mut self, key: &str, from: &SecretFrom) -> Result<Option<(String, String)>, ()> {
        let env_key = format!("{key}_env");
        let file_key = format!("{key}_file");
        self.known.insert(key.to_owned());
        let other = if self.has(&env_key) { Some(self.text(&env_key)).filter(|name| !name.is_empty()) } else { None };
        let path = if self.has(&file_key) { Some(self.text(&file_key)).filter(|path| !path.is_empty()) } else { None };
        if let Some(spot) = self.layers.file.as_ref().and_then(|file| file.keys.get(key)).copied() {
            let text = self.written_text(key);
            if !(from.in_file)(&text) {
                let shown = self.layers.file.as_ref().map(|file| file.shown.clone()).unwrap_or_default();
                self.problems.push(Problem {
                    place: Some(format!("{shown}:{}", spot.line)),
                    key: key.to_owned(),
                    value: None,
                    what: format!(
                        "a secret does not belong into this file; put it into the variable {} or into a file of its own, \
                         named by {file_key}",
                        variable_of(key)
                    ),
                });
                return Err(());
            }
        }
        let mut names: Vec<String> = other.iter().cloned().collect();
        names.push(variable_of(key));
        names.extend(from.conventional.map(str::to_owned));
        for name in &names {
            if let Some(text) = self.layers.variables.get(name) {
                return Ok(Some((text.clone(), name.clone())));
            }
        }
        if let Some(path) = path {
            return self.read_secret(&file_key, &path).map(|text| Some((text, path)));
        }
        if let Some(name) = other {
            if is_variable(&name) {
                let meant = did_you_mean(&name, self.layers.variables.keys().map(String::as_str));
                self.blame(&env_key, &format!("there is no such variable{meant}"));
            } else {
                let own = variable_of(key);
                self.accuse(
                    &env_key,
                    &format!("is no variable's name (capital letters, digits and _); the secret itself goes into the variable {own}"),
                );
            }
            return Err(());
        }
        let written = self.written_text(key);
        Ok(if written.is_empty() { None } else { Some((written, self.layers.origin(key).to_string())) })
    }

    fn read_secret(&mut self, file_key: &str, path: &str) -> Result<String, ()> {
        let base = match self.layers.origin(file_key) {
            Origin::File { .. } => self.layers.file.as_ref().map(|file| file.folder.clone()),
            Origin::Default | Origin::Variable(_) => None,
        };
        let full = base.unwrap_or_else(|| self.layers.folder.clone()).join(Path::new(path));
        let why = match std::fs::read_to_string(full) {
            Ok(text) if text.trim().is_empty() => "this file is empty".to_owned(),
            Ok(text) => return Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => format!("this file cannot be read ({error})"),
        };
        if is_path(path) {
            self.blame(file_key, &why);
        } else {
            self.accuse(file_key, &format!("{why}; it takes the path of a file, not the secret itself"));
        }
        Err(())
    }

    /// The text under `key` in the merged files, or nothing.
    fn written_text(&self, key: &str) -> String {
        match self.layers.value(key).map(|value| &value.kind) {
            Some(ValueKind::String(text)) => text.clone(),
            Some(_) | None => String::new(),
        }
    }

    fn cure(&self, key: &str, from: &SecretFrom) -> String {
        let own = variable_of(key);
        let variables: Vec<&str> = self.layers.variables.keys().map(String::as_str).collect();
        let set = from.conventional.map_or_else(|| own.clone(), |name| format!("{name} (or {own})"));
        let near = from
            .conventional
            .and_then(|name| closest(name, variables.iter().copied()))
            .or_else(|| closest(&own, variables.iter().copied()))
            .map(|near| format!("; {near} is set: did you mean that one?"))
            .unwrap_or_default();
        format!("is missing; set {set}{}, or name a file that holds it in {key}_file{near}", from.like)
    }

    /// Says that the value of `key` is wrong.
    pub fn blame(&mut self, key: &str, what: &str) {
        let place = match self.layers.origin(key) {
            Origin::Default => None,
            origin @ (Origin::File { .. } | Origin::Variable(_)) => Some(origin.to_string()),
        };
        let value = self.layers.value(key).map(|value| written(&value.kind));
        self.problems.push(Problem { place, key: key.to_owned(), value, what: what.to_owned() });
    }

    /// Like `blame`, without showing the value.
    pub fn accuse(&mut self, key: &str, what: &str) {
        self.blame(key, what);
        if let Some(problem) = self.problems.last_mut() {
            problem.value = None;
        }
    }

    /// Says that something is missing that no default could stand for.
    pub fn miss(&mut self, key: &str, what: &str) {
        let section = key.rsplit_once('.').map_or(key, |(section, _)| section);
        let line = self.layers.file.as_ref().and_then(|file| Some((&file.shown, file.keys.get(section)?.line)));
        let place = line.map(|(shown, line)| format!("{shown}:{line}")).or_else(|| {
            let begun = |(key, variable): (&String, &Variable)| {
                key.strip_prefix(section)?.starts_with('.').then(|| variable.name.clone())
            };
            self.layers.settings.iter().find_map(begun)
        });
        self.problems.push(Problem { place, key: key.to_owned(), value: None, what: what.to_owned() });
    }

    fn refuse<T: Default>(&mut self, key: &str, what: &str) -> T {
        self.blame(key, what);
        T::default()
    }

    fn take(&mut self, key: &str) -> Option<Raw> {
        self.known.insert(key.to_owned());
        let from_variable = matches!(self.layers.origin(key), Origin::Variable(_));
        match self.layers.value(key) {
            Some(value) => Some(Raw::read(&value.kind, from_variable)),
            None => {
                if !self.is_buried(key) {
                    self.miss(key, "is missing");
                }
                None
            }
        }
    }

    /// Whether a plain value stands where a section of `key` should be. That is named once, as an unknown key.
    fn is_buried(&self, key: &str) -> bool {
        let mut section = key;
        while let Some((above, _)) = section.rsplit_once('.') {
            let in_file = self.layers.file.as_ref().and_then(|file| file.keys.get(above)).is_some_and(|s| !s.table);
            if in_file || self.layers.settings.contains_key(above) {
                return true;
            }
            section = above;
        }
        false
    }

    fn show(&mut self, key: &str, text: String) -> String {
        self.note(key, format!("{text:?}"));
        text
    }

    pub fn note(&mut self, key: &str, value: String) {
        let origin = self.layers.origin(key).to_string();
        self.shown.push(Shown { key: key.to_owned(), value, origin });
    }

    /// Names every key that nobody asked for, and ends the reading.
    pub fn finish(mut self) -> Result<Vec<Shown>, Problems> {
        self.name_strangers();
        if self.problems.is_empty() { Ok(self.shown) } else { Err(Problems(self.problems)) }
    }

    fn name_strangers(&mut self) {
        let mut strangers = Vec::new();
        if let Some(file) = &self.layers.file {
            let mut keys: Vec<_> = file.keys.iter().collect();
            keys.sort_by_key(|(key, spot)| (spot.line, key.len()));
            let mut reported: Vec<&str> = Vec::new();
            for (key, spot) in keys {
                let below = |above: &&str| key.strip_prefix(*above).is_some_and(|rest| rest.starts_with('.'));
                if reported.iter().any(below) {
                    continue;
                }
                if spot.table && self.known.contains(key) {
                    // Blamed already for being a table; what is in it does not matter.
                    reported.push(key);
                } else if let Some(what) = self.strangeness(key, spot.table) {
                    reported.push(key);
                    strangers.push((format!("{}:{}", file.shown, spot.line), key.clone(), what));
                }
            }
        }
        for (key, variable) in &self.layers.settings {
            if let Some(what) = self.strangeness(key, false) {
                strangers.push((variable.name.clone(), key.clone(), what));
            }
        }
        for (place, key, what) in strangers {
            self.problems.push(Problem { place: Some(place), key, value: None, what });
        }
    }

    /// What is wrong with a key that stands somewhere, judged by what was asked for.
    fn strangeness(&self, key: &str, table: bool) -> Option<String> {
        let prefix = format!("{key}.");
        let section = self.known.iter().any(|known| known.starts_with(&prefix));
        if self.known.contains(key) || (section && table) {
            return None;
        }
        if section {
            return Some(format!("is a section, not a value; write [{key}] and its keys below"));
        }
        let (above, name) = key.rsplit_once('.').map_or(("", key), |(above, name)| (above, name));
        let level = if above.is_empty() { String::new() } else { format!("{above}.") };
        let siblings: BTreeSet<&str> = self
            .known
            .iter()
            .filter_map(|known| known.strip_prefix(&level)?.split('.').next())
            .filter(|sibling| !sibling.is_empty())
            .collect();
        let kind = if table { "section" } else { "key" };
        Some(format!("is no {kind} of ours{}", did_you_mean(name, siblings)))
    }
}

/// Where a secret may come from and what it must be.
pub(super) struct SecretFrom {
    pub needed: bool,
    /// A variable that everybody knows, like `DATABASE_URL`.
    pub conventional: Option<&'static str>,
    /// An example for the cure, with its leading space, or nothing.
    pub like: &'static str,
    /// Whether this text may stand in the configuration file.
    pub in_file: fn(&str) -> bool,
    /// What is wrong with it, without the text itself.
    pub check: fn(&str) -> Result<(), String>,
}

/// Whether `text` is such a URL; the error says why not, without the URL.
pub(super) fn check_url(text: &str, scheme: &Scheme) -> Result<reqwest::Url, String> {
    let like = scheme.like;
    let url = reqwest::Url::parse(text).map_err(|error| format!("is no URL ({error}); write it like {like}"))?;
    if !scheme.schemes.contains(&url.scheme()) {
        return Err(format!("must begin with {}://, like {like}", scheme.schemes.join(":// or ")));
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(format!("has no host; write it like {like}"));
    };
    if scheme.plain_only_here && url.scheme() == "http" && !matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
        return Err(format!("must begin with https://, like {like} (http:// only for this machine)"));
    }
    Ok(url)
}

/// A duration as people write it; a day has 24 hours. Not negative.
fn parse_duration(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.trim().parse().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

/// A duration as the configuration would write it.
pub(super) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        match seconds {
            _ if millis > 0 => write!(f, "{}ms", self.0.as_millis()),
            0 => f.write_str("0s"),
            _ if seconds.is_multiple_of(86_400) => write!(f, "{}d", seconds / 86_400),
            _ if seconds.is_multiple_of(3_600) => write!(f, "{}h", seconds / 3_600),
            _ if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

/// A value as TOML would write it.
fn written(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(&item.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(_) => "{…}".to_owned(),
        other @ (ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)) => other.to_string(),
    }
}
