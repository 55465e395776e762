//! The sources on top of each other: defaults, file, environment. `config` merges them; since it forgets where a value stood, a
//! pass over the file with spans remembers the lines.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use config::{Config, Environment, File, FileFormat, Value};
use toml::de::{DeTable, DeValue};

use super::{DEFAULTS, Place, Problem, Problems};

/// The merged values and where they came from.
pub(super) struct Layers {
    pub merged: Config,
    pub file: Option<Written>,
    /// The variables that are settings, by key.
    pub settings: BTreeMap<String, Variable>,
    /// The whole environment without what is empty, for secrets.
    pub variables: BTreeMap<String, String>,
    /// The working directory.
    pub folder: PathBuf,
}

/// The user's file.
pub(super) struct Written {
    /// As the user wrote its path.
    pub shown: String,
    /// The folder that it is in.
    pub folder: PathBuf,
    /// Each key that stands in it, with its line, from 1, and whether it is a table.
    pub keys: BTreeMap<String, Spot>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub line: usize,
    pub table: bool,
}

/// A variable that sets something.
pub(super) struct Variable {
    pub name: String,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File { shown: String, line: usize },
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { shown, line } => write!(f, "{shown}:{line}"),
            Origin::Variable(name) => f.write_str(name),
        }
    }
}

impl Layers {
    /// Reads what `place` has. Fails if the file cannot be read or is no TOML.
    pub fn gather(place: &Place) -> Result<Layers, Problems> {
        let variables: BTreeMap<String, String> = place
            .variables
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let settings: BTreeMap<String, Variable> =
            variables.keys().filter_map(|name| Some((key_of(name)?, Variable { name: name.clone() }))).collect();
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        let mut written = None;
        if let Some((path, text)) = read(place)? {
            let keys = locate(&path, &text)?;
            let folder = place.folder.join(&path).parent().unwrap_or(Path::new("/")).to_owned();
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
            written = Some(Written { shown: path.display().to_string(), folder, keys });
        }
        let of_settings =
            settings.values().filter_map(|v| Some((v.name.clone(), variables.get(&v.name)?.clone()))).collect();
        let environment =
            Environment::with_prefix("RECADO").prefix_separator("_").separator("__").source(Some(of_settings));
        let merged = builder.add_source(environment).build().map_err(|error| whole(None, error.to_string()))?;
        Ok(Layers { merged, file: written, settings, variables, folder: place.folder.clone() })
    }

    /// The topmost value of `key`. The items of a list are called `1`, `2` and so on.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let mut value = &self.merged.cache;
        for part in key.split('.') {
            match &value.kind {
                config::ValueKind::Table(table) => value = table.get(part)?,
                config::ValueKind::Array(items) => value = items.get(part.parse::<usize>().ok()?.checked_sub(1)?)?,
                config::ValueKind::Nil
                | config::ValueKind::Boolean(_)
                | config::ValueKind::I64(_)
                | config::ValueKind::I128(_)
                | config::ValueKind::U64(_)
                | config::ValueKind::U128(_)
                | config::ValueKind::Float(_)
                | config::ValueKind::String(_) => return None,
            }
        }
        Some(value)
    }

    /// Where the topmost value of `key` stands.
    pub fn origin(&self, key: &str) -> Origin {
        if let Some(variable) = self.settings.get(key) {
            return Origin::Variable(variable.name.clone());
        }
        match self.file.as_ref().and_then(|file| Some((file.shown.clone(), file.keys.get(key)?.line))) {
            Some((shown, line)) => Origin::File { shown, line },
            None => Origin::Default,
        }
    }
}

/// The variable that sets `key`: `RECADO_DISPATCH__LEASE` for `dispatch.lease`.
pub(super) fn variable_of(key: &str) -> String {
    format!("RECADO_{}", key.to_uppercase().replace('.', "__"))
}

/// The key that a variable sets, if it is one of ours. Without `__` it has no section and is something else's.
fn key_of(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("RECADO_")?;
    let ours = rest.contains("__") && rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    ours.then(|| rest.to_lowercase().replace("__", "."))
}

/// The user's file and its text, if there is one.
fn read(place: &Place) -> Result<Option<(PathBuf, String)>, Problems> {
    let (path, asked) = match &place.file {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from("recado.toml"), false),
    };
    let shown = Some(path.display().to_string());
    match std::fs::read_to_string(place.folder.join(&path)) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked => Ok(None),
        Err(error) => Err(whole(shown, format!("cannot be read ({error}); check the path and its permissions"))),
    }
}

/// The line of each key in the text.
fn locate(path: &Path, text: &str) -> Result<BTreeMap<String, Spot>, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let mut keys = BTreeMap::new();
        note(table.get_ref(), "", text, &mut keys);
        return Ok(keys);
    }
    let mut problems: Vec<(usize, Problem)> = errors
        .iter()
        .map(|error| {
            let line = line_at(text, error.span().map_or(0, |span| span.start));
            let place = Some(format!("{}:{line}", path.display()));
            let what = format!("is no TOML: {}", error.message());
            (line, Problem { place, key: String::new(), value: None, what })
        })
        .collect();
    problems.sort_by_key(|(line, _)| *line);
    Err(Problems(problems.into_iter().map(|(_, problem)| problem).collect()))
}

fn note(table: &DeTable<'_>, prefix: &str, text: &str, keys: &mut BTreeMap<String, Spot>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        let line = line_at(text, name.span().start);
        let table = match value.get_ref() {
            DeValue::Table(inner) => {
                note(inner, &key, text, keys);
                true
            }
            // A list of sections ([[…]]), as against one of plain values.
            DeValue::Array(items) => {
                let sections = items.iter().filter(|item| matches!(item.get_ref(), DeValue::Table(_))).count();
                for (number, item) in (1..).zip(items.iter()) {
                    if let DeValue::Table(inner) = item.get_ref() {
                        let key = format!("{key}.{number}");
                        keys.insert(key.clone(), Spot { line: line_at(text, item.span().start), table: true });
                        note(inner, &key, text, keys);
                    }
                }
                sections > 0
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => false,
        };
        keys.insert(key, Spot { line, table });
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn whole(place: Option<String>, what: String) -> Problems {
    Problems(vec![Problem { place, key: String::new(), value: None, what }])
}
