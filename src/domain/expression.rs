//! Expressions over an event: compiled once, evaluated for each event, with the filters that messages need.
//!
//! Which expressions there are and what their values must be like is decided in `template` and `source`.

use std::{collections::BTreeSet, fmt, sync::Arc, sync::LazyLock};

use jiff::tz::TimeZone;
use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value,
    value::{Enumerator, Object},
};

use super::{event::Event, locale::Locale};

mod filters;
#[cfg(test)]
mod tests;

/// The longest expression.
const MAX_LENGTH: usize = 4_096;
/// How deep an evaluation may nest; far more than any sensible expression needs.
const RECURSION: usize = 64;

/// What an absent value does in an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It is an error, unless `default(…)` or `is defined` handle it.
    Fails,
    /// It spreads: what is looked up in it is absent too.
    Spreads,
}

static STRICT: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::Strict));
static CHAINING: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::Chainable));

/// A compiled expression.
pub struct Expression {
    text: String,
    compiled: minijinja::Expression<'static, 'static>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

impl Expression {
    /// # Errors
    /// If the text is no expression; the error says why, for the person who wrote it.
    pub fn compile(text: &str, absence: Absence) -> Result<Expression, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("is longer than {MAX_LENGTH} bytes"));
        }
        let environment: &'static Environment<'static> = match absence {
            Absence::Fails => &STRICT,
            Absence::Spreads => &CHAINING,
        };
        let compiled = environment.compile_expression_owned(text.to_owned()).map_err(|error| {
            format!("is no expression: {}", error.detail().map_or_else(|| error.kind().to_string(), str::to_owned))
        })?;
        Ok(Expression { text: text.to_owned(), compiled })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The paths that it looks up, like `data.order.number`.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<String> {
        self.compiled.undeclared_variables(true).into_iter().collect()
    }

    /// # Errors
    /// If a value is absent that must not be, or a filter cannot take its input. The error shows no value of the event.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, Unevaluable> {
        self.compiled.eval(scope.0.clone()).map_err(|error| Unevaluable::from(&error))
    }

    /// The value as text. `None` if there is none.
    ///
    /// # Errors
    /// As for [`Expression::evaluate`]; also if the value is a list or a table.
    pub fn evaluate_text(&self, scope: &Scope) -> Result<Option<String>, Unevaluable> {
        let value = self.evaluate(scope)?;
        if value.is_undefined() || value.is_none() {
            return Ok(None);
        }
        if value.as_object().is_some() {
            return Err(Unevaluable("gives a list or a table, not a text".into()));
        }
        Ok(Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    }
}

/// Why an expression has no value for this event. Shows nothing of the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unevaluable(String);

impl From<&Error> for Unevaluable {
    fn from(error: &Error) -> Self {
        // Details of minijinja's own errors can quote values; only names of what does not exist are safe.
        if let Some(filters::Refusal(why)) = std::error::Error::source(error).and_then(|s| s.downcast_ref()) {
            return Unevaluable((*why).into());
        }
        let kind = error.kind();
        let names_only = matches!(kind, ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest);
        Unevaluable(match (kind, error.detail()) {
            (ErrorKind::UndefinedError, _) => "needs a value that the event does not have".into(),
            (_, Some(detail)) if names_only => detail.to_owned(),
            _ => format!("cannot be evaluated ({kind})"),
        })
    }
}

/// The names that an expression can use, with their values.
#[derive(Clone)]
pub struct Scope(Value);

impl Scope {
    /// `event` (id, source, type, subject, time) and `data`, written for people of `locale`.
    /// `zone` is the person's, if it is known; `default_zone` serves moments that are written in UTC.
    #[must_use]
    pub fn of_event(attributes: Value, data: Value, locale: &Locale, zones: &Zones) -> Scope {
        let locale = Value::from_object(Manner::new(locale.clone(), zones.clone()));
        Scope(Value::from_object(Names { event: attributes, data, locale, country: None }))
    }

    /// The same with `country`, the recipient's; absent if it is not known.
    #[must_use]
    pub fn in_country(self, country: Option<&str>) -> Scope {
        let Some(names) = self.0.downcast_object_ref::<Names>() else { return self };
        Scope(Value::from_object(Names { country: country.map(Value::from), ..names.clone() }))
    }

    /// Any names. Filters write for no particular locale.
    #[must_use]
    pub fn of_names(names: Vec<(String, Value)>) -> Scope {
        Scope(Value::from_object(Members(names)))
    }
}

/// The zones in which moments are shown.
#[derive(Debug, Clone)]
pub struct Zones {
    /// The person's own, if known.
    pub person: Option<TimeZone>,
    /// For moments written in UTC, if the person's is not known.
    pub default: TimeZone,
}

/// The attributes of an event, as expressions see them.
#[must_use]
pub fn attributes(event: &Event) -> Value {
    let mut members = vec![
        ("id".to_owned(), Value::from(event.id.as_str())),
        ("source".to_owned(), Value::from(event.source.as_str())),
        ("type".to_owned(), Value::from(event.r#type.as_str())),
        ("time".to_owned(), Value::from(event.time.to_string())),
    ];
    if let Some(subject) = &event.subject {
        members.push(("subject".to_owned(), Value::from(subject.as_str())));
    }
    Value::from_object(Members(members))
}

/// JSON as expressions see it. A member that is null counts as absent.
#[must_use]
pub fn value_of(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(whole)) => Value::from(whole),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(value_of).collect::<Vec<_>>().into(),
        serde_json::Value::Object(members) => Value::from_object(Members(
            members.iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (name.clone(), value_of(v))).collect(),
        )),
    }
}

/// A small table. Events have few members at each level, so that looking through them beats hashing.
#[derive(Debug)]
struct Members(Vec<(String, Value)>);

impl Object for Members {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(name.as_str())).collect())
    }
}

/// The names of an event's scope.
#[derive(Debug, Clone)]
struct Names {
    event: Value,
    data: Value,
    locale: Value,
    country: Option<Value>,
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "event" => Some(self.event.clone()),
            "data" => Some(self.data.clone()),
            "country" => self.country.clone(),
            MANNER => Some(self.locale.clone()),
            _ => None,
        }
    }
}

/// Under which name filters find the [`Manner`].
const MANNER: &str = "__manner";

/// How values are written for this person.
#[derive(Debug)]
struct Manner {
    locale: Locale,
    zones: Zones,
}

impl Manner {
    fn new(locale: Locale, zones: Zones) -> Manner {
        Manner { locale, zones }
    }
}

impl Object for Manner {}

fn environment(absence: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(absence);
    environment.set_recursion_limit(RECURSION);
    filters::add_to(&mut environment);
    environment
}
