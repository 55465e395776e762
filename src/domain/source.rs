//! Sources: how JSON that shops publish in shapes of their own becomes an event, by expressions in configuration.
//!
//! What is an event already does not come here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use minijinja::Value;
use serde::Deserialize;
use serde_json::Map;
use toml::Spanned;

use super::{
    event::{Event, Parts, Rejection, parse_json},
    expression::{self, Absence, Expression, Scope},
    problem::{Problem, Report},
};

#[cfg(test)]
mod tests;

/// The names that a source's expressions can use.
const NAMES: &[&str] = &["body", "headers", "exchange", "routing_key"];
/// Tables within tables that `data` may have in a source's file.
const MAX_DEPTH: usize = 16;

/// All sources, in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Sources {
    mappings: Vec<Mapping>,
    /// By the source's name.
    doors: BTreeMap<String, Door>,
}

/// How a source's own webhooks are read over HTTP. The names of headers are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// The header that says what the webhook is about: what is the routing key at the broker.
    pub topic: String,
    /// The header with the body's HMAC-SHA256 in base64, if the source signs.
    pub signature: Option<String>,
}

/// What a message from a source is.
#[derive(Debug, Clone, PartialEq)]
pub enum Mapped {
    Event(Event),
    /// The source gives this message no event type. `(source, id)` is its identity, where the source names one.
    Unwanted {
        source: String,
        id: Option<String>,
    },
}

#[derive(Debug)]
struct Mapping {
    name: String,
    exchange: String,
    pattern: String,
    id: Expression,
    source: Expression,
    r#type: Expression,
    time: Option<Expression>,
    subject: Option<Expression>,
    recipient: Option<Expression>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    One(Expression),
    Table(Vec<(String, Data)>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    /// The attribute `source` of all its events.
    source: Spanned<String>,
    http: Option<Spanned<Door>>,
    events: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    exchange: Spanned<String>,
    routing_key: Spanned<String>,
    id: Spanned<String>,
    r#type: Spanned<String>,
    time: Option<Spanned<String>>,
    subject: Option<Spanned<String>>,
    recipient: Option<Spanned<String>>,
    data: Spanned<toml::Value>,
}

impl Sources {
    /// Reads and checks `files`, pairs of path and text.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn load(files: &[(String, String)]) -> Result<Sources, Vec<Problem>> {
        let (mut mappings, mut doors, mut problems) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (path, text) in files {
            let mut report = Report::of(path, text);
            match toml::from_str::<File>(text) {
                Ok(file) => {
                    if let Some(other) = names.insert(file.name.get_ref().clone(), path.clone()) {
                        report.add(file.name.span(), "name", format!("{other} has the same name; rename one of them."));
                    }
                    if let Some(door) = &file.http {
                        check_door(door, &mut report);
                        doors.insert(file.name.get_ref().clone(), door.get_ref().clone());
                    }
                    mappings.extend(file.events.iter().filter_map(|entry| read(&file, entry, &mut report)));
                }
                Err(error) => report.add_toml(&error),
            }
            problems.extend(report.into_problems());
        }
        if problems.is_empty() { Ok(Sources { mappings, doors }) } else { Err(problems) }
    }

    /// Exchanges and routing-key patterns to which the queue must be bound, besides the events' own.
    pub fn bindings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mappings.iter().map(|mapping| (mapping.exchange.as_str(), mapping.pattern.as_str()))
    }

    /// How this source's webhooks are read over HTTP, if they can be.
    #[must_use]
    pub fn door(&self, source: &str) -> Option<&Door> {
        self.doors.get(source)
    }

    /// The exchange at which this source would publish what it says under this topic, if that means anything.
    #[must_use]
    pub fn exchange(&self, source: &str, topic: &str) -> Option<&str> {
        let mapping = self.mappings.iter().find(|m| m.name == source && matches_pattern(&m.pattern, topic))?;
        Some(&mapping.exchange)
    }

    /// Makes an event of a message from a source; `None` if no source knows this exchange and routing key. Headers are
    /// pairs of name and value as text; expressions see their names in lower case. `now` stands in for a missing time.
    pub fn map<'a>(
        &self,
        exchange: &str,
        routing_key: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: &[u8],
        now: Timestamp,
    ) -> Option<Result<Mapped, Rejection>> {
        let mapping =
            self.mappings.iter().find(|m| m.exchange == exchange && matches_pattern(&m.pattern, routing_key))?;
        Some(parse_json(body).and_then(|body| {
            let headers: Map<String, serde_json::Value> =
                headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into())).collect();
            let scope = Scope::of_names(vec![
                ("body".into(), expression::value_of(&body)),
                ("headers".into(), expression::value_of(&headers.into())),
                ("exchange".into(), exchange.into()),
                ("routing_key".into(), routing_key.into()),
            ]);
            mapping.apply(&scope, now)
        }))
    }
}

impl Mapping {
    fn apply(&self, scope: &Scope, now: Timestamp) -> Result<Mapped, Rejection> {
        let source = self.text(&self.source, "source", scope)?;
        let id = self.text(&self.id, "id", scope)?;
        let r#type = self.text(&self.r#type, "type", scope)?;
        if r#type.is_null() {
            let source = source.as_str().unwrap_or(&self.name).to_owned();
            return Ok(Mapped::Unwanted { source, id: id.as_str().map(str::to_owned) });
        }
        let optional = |expression: &Option<Expression>, field: &str| match expression {
            Some(expression) => self.text(expression, field, scope),
            None => Ok(serde_json::Value::Null),
        };
        let parts = Parts {
            id,
            source,
            r#type,
            subject: optional(&self.subject, "subject")?,
            time: optional(&self.time, "time")?,
            recipient: optional(&self.recipient, "recipient")?,
            data: self.data.evaluate("data", scope).map_err(|(field, problem)| self.bad(&field, problem))?,
        };
        parts.check(now).map(Mapped::Event)
    }

    /// A text that is absent or empty is null.
    fn text(&self, expression: &Expression, field: &str, scope: &Scope) -> Result<serde_json::Value, Rejection> {
        let text = expression.evaluate_text(scope).map_err(|why| self.bad(field, why.to_string()))?;
        Ok(text.filter(|text| !text.is_empty()).map_or(serde_json::Value::Null, Into::into))
    }

    fn bad(&self, field: &str, problem: String) -> Rejection {
        Rejection::BadMapping { source_name: self.name.clone(), field: field.to_owned(), problem }
    }
}

impl Data {
    /// The JSON, without members that are absent; a table of which nothing is left is absent too.
    fn evaluate(&self, path: &str, scope: &Scope) -> Result<serde_json::Value, (String, String)> {
        match self {
            Data::One(expression) => {
                let value = expression.evaluate(scope).map_err(|why| (path.to_owned(), why.to_string()))?;
                json_of(&value).ok_or_else(|| (path.to_owned(), "gives something that is no JSON".to_owned()))
            }
            Data::Table(members) => {
                let mut object = Map::new();
                for (name, member) in members {
                    let value = member.evaluate(&format!("{path}.{name}"), scope)?;
                    if !value.is_null() {
                        object.insert(name.clone(), value);
                    }
                }
                Ok(if object.is_empty() { serde_json::Value::Null } else { object.into() })
            }
        }
    }
}

fn json_of(value: &Value) -> Option<serde_json::Value> {
    if value.is_undefined() {
        return Some(serde_json::Value::Null);
    }
    serde_json::to_value(value).ok()
}

fn check_door(door: &Spanned<Door>, report: &mut Report<'_>) {
    let Door { topic, signature } = door.get_ref();
    let is_header = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    for (key, name) in [("http.topic", Some(topic)), ("http.signature", signature.as_ref())] {
        if name.is_some_and(|name| !is_header(name)) {
            report.add(door.span(), key, "This must be the name of a header in lower case, like x-shopify-topic.");
        }
    }
}

fn read(file: &File, entry: &Entry, report: &mut Report<'_>) -> Option<Mapping> {
    if entry.exchange.get_ref().is_empty() {
        report.add(
            entry.exchange.span(),
            "events.exchange",
            "Name the exchange; the default exchange cannot be bound.",
        );
    }
    if entry.routing_key.get_ref().len() > 255 {
        report.add(entry.routing_key.span(), "events.routing_key", "A routing key has at most 255 bytes.");
    }
    let source = compile(&file.source, "source", report);
    let id = compile(&entry.id, "events.id", report);
    let r#type = compile(&entry.r#type, "events.type", report);
    let mut optional =
        |text: &Option<Spanned<String>>, key: &str| text.as_ref().and_then(|text| compile(text, key, report));
    let time = optional(&entry.time, "events.time");
    let subject = optional(&entry.subject, "events.subject");
    let recipient = optional(&entry.recipient, "events.recipient");
    let data = read_data(entry.data.get_ref(), "events.data", 0, &entry.data, report);
    Some(Mapping {
        name: file.name.get_ref().clone(),
        exchange: entry.exchange.get_ref().clone(),
        pattern: entry.routing_key.get_ref().clone(),
        id: id?,
        source: source?,
        r#type: r#type?,
        time,
        subject,
        recipient,
        data: data?,
    })
}

fn read_data(
    value: &toml::Value,
    key: &str,
    depth: usize,
    place: &Spanned<toml::Value>,
    report: &mut Report<'_>,
) -> Option<Data> {
    if let toml::Value::String(text) = value {
        let span = report.find(text, place.span());
        return compile(&Spanned::new(span, text.clone()), key, report).map(Data::One);
    }
    if let Some(table) = value.as_table().filter(|_| depth < MAX_DEPTH) {
        let mut members = Vec::new();
        for (name, value) in table {
            members.push((name.clone(), read_data(value, &format!("{key}.{name}"), depth + 1, place, report)?));
        }
        return Some(Data::Table(members));
    }
    report.add(
        place.span(),
        key,
        "This must be an expression in quotes, or a table of such (a constant is \"'text'\" or \"42\").",
    );
    None
}

fn compile(text: &Spanned<String>, key: &str, report: &mut Report<'_>) -> Option<Expression> {
    match Expression::compile(text.get_ref(), Absence::Spreads) {
        Ok(expression) => {
            for path in expression.paths() {
                let root = path.split('.').next().unwrap_or_default();
                if !NAMES.contains(&root) {
                    let message = format!(
                        "There is no {root}; an expression can use {} (a constant text is \"'text'\").",
                        NAMES.join(", ")
                    );
                    report.add(text.span(), key, message);
                }
            }
            Some(expression)
        }
        Err(why) => {
            report.add(text.span(), key, format!("The expression {why}."));
            None
        }
    }
}

/// Whether a routing key fits a topic exchange's pattern: `*` is one word, `#` any number of words, dots separate them.
fn matches_pattern(pattern: &str, key: &str) -> bool {
    fn fits(pattern: &[&str], words: &[&str]) -> bool {
        match (pattern.split_first(), words.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => {
                fits(rest, words) || words.split_first().is_some_and(|(_, words)| fits(pattern, words))
            }
            (Some((first, rest)), Some((word, words))) => (*first == "*" || first == word) && fits(rest, words),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    let words: Vec<&str> = if key.is_empty() { Vec::new() } else { key.split('.').collect() };
    fits(&pattern, &words)
}
