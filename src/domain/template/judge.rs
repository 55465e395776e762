//! Whether an expression works for every event that its type's schema allows.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::schema::{Promise, Schema};
use crate::domain::{
    event::Event,
    expression::{self, Expression, Scope, Zones},
    locale::Locale,
};

/// Functions of minijinja that an expression may call.
const FUNCTIONS: &[&str] = &["range", "dict"];

/// What an expression's value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Condition,
    /// As a condition, but it need not hold, not even for the example, and what is absent does not matter. It may ask for `country`.
    Choice,
}

/// Says whether an expression works for every event that a schema allows.
pub(super) struct Judge<'a> {
    pub(super) event_type: &'a str,
    pub(super) schema: Option<&'a Schema>,
    pub(super) schema_path: &'a str,
    /// The `data` of an event that has everything.
    pub(super) example: &'a Value,
    pub(super) zone: &'a TimeZone,
}

impl Judge<'_> {
    /// Evaluates the expression for the example, and for the example without what the schema does not promise: what
    /// `default(…)`, `is defined` and the like handle is thereby allowed, however it is written.
    pub(super) fn complaints(&self, expression: &Expression, locale: &Locale, kind: Kind) -> Vec<String> {
        let strangers = self.strangers(expression, kind);
        if strangers.is_empty() { self.failures(expression, locale, kind) } else { strangers }
    }

    /// What it looks for that no event of this type has.
    pub(super) fn strangers(&self, expression: &Expression, kind: Kind) -> Vec<String> {
        let mut strangers = Vec::new();
        for path in expression.paths() {
            let parts: Vec<&str> = path.split('.').collect();
            match (parts.as_slice(), self.schema) {
                (["data", below @ ..], Some(schema)) => {
                    if let Promise::Unknown(part) = schema.promise(below) {
                        strangers.push(format!(
                            "{} does not describe data.{}; add it there, or correct the name.",
                            self.schema_path,
                            part.join(".")
                        ));
                    }
                }
                (["data", ..], None)
                | (["event"] | ["event", "id" | "source" | "type" | "time" | "subject", ..], _) => {}
                (["country"], _) if kind == Kind::Choice => {}
                ([name], _) if FUNCTIONS.contains(name) => {}
                _ => {
                    let country = if kind == Kind::Choice { ", and country" } else { "" };
                    strangers.push(format!(
                        "There is no {path}; an expression can use data.… and event.id, source, type, time, subject{country}."
                    ));
                }
            }
        }
        strangers
    }

    /// For which events of this type it does not work. It looks for nothing that they do not have.
    pub(super) fn failures(&self, expression: &Expression, locale: &Locale, kind: Kind) -> Vec<String> {
        let mut complaints = Vec::new();
        let event = example_event(self.event_type, self.example);
        let open = self.schema.map(|schema| Self::open(expression, schema)).unwrap_or_default();
        if let Err(why) = self.attempt(expression, &event, locale, kind, true) {
            complaints.push(format!("The expression {why}, with the template's own example."));
            return complaints;
        }
        let without_subject = Event { subject: None, ..event.clone() };
        if self.attempt(expression, &without_subject, locale, kind, false).is_err() {
            complaints.push(
                "The expression needs event.subject, which an event may lack; handle that with default(…).".into(),
            );
        }
        let Some(schema) = self.schema else { return complaints };
        let mut told = false;
        for part in open {
            let lacking = Event { data: without(self.example, &part), ..event.clone() };
            if self.attempt(expression, &lacking, locale, kind, false).is_err() {
                told = true;
                complaints.push(format!(
                    "The expression needs data.{}, which {} does not promise; require it there, or handle its absence with default(…) or `is defined`.",
                    part.join("."),
                    self.schema_path
                ));
            }
        }
        let least = Event { data: schema.promised_part(self.example), ..event };
        if !told
            && complaints.is_empty()
            && let Err(why) = self.attempt(expression, &least, locale, kind, false)
        {
            complaints.push(format!("The expression {why}, if an event has only what {} promises.", self.schema_path));
        }
        complaints
    }

    /// The paths that it looks for and that an event may lack.
    fn open(expression: &Expression, schema: &Schema) -> Vec<Vec<String>> {
        let mut open = Vec::new();
        for path in expression.paths() {
            let mut parts = path.split('.');
            if parts.next() == Some("data")
                && let Promise::Open(part) = schema.promise(&parts.collect::<Vec<_>>())
            {
                open.push(part);
            }
        }
        open
    }

    fn attempt(
        &self,
        expression: &Expression,
        event: &Event,
        locale: &Locale,
        kind: Kind,
        holds: bool,
    ) -> Result<(), String> {
        let zones = Zones { person: None, default: self.zone.clone() };
        let scope = Scope::of_event(expression::attributes(event), expression::value_of(&event.data), locale, &zones);
        match kind {
            Kind::Choice => {
                expression.evaluate(&scope.in_country(Some("ES"))).map(|_| ()).map_err(|why| why.to_string())
            }
            Kind::Text => match expression.evaluate_text(&scope).map_err(|why| why.to_string())? {
                Some(text) if !text.trim().is_empty() => Ok(()),
                Some(_) => Err("gives an empty text".into()),
                None => Err("gives nothing".into()),
            },
            Kind::Condition => {
                let value = expression.evaluate(&scope).map_err(|why| why.to_string())?;
                match (value.is_undefined(), holds && !value.is_true()) {
                    (true, _) => Err("gives nothing".into()),
                    (false, true) => Err("does not hold".into()),
                    (false, false) => Ok(()),
                }
            }
        }
    }
}

/// An event of that type with this data.
pub(super) fn example_event(event_type: &str, data: &Value) -> Event {
    Event {
        id: "example".into(),
        source: "/example".into(),
        r#type: event_type.into(),
        subject: Some("example".into()),
        time: Timestamp::UNIX_EPOCH,
        expires: None,
        traceparent: None,
        recipient: None,
        data: data.clone(),
    }
}

fn without(data: &Value, path: &[String]) -> Value {
    let mut data = data.clone();
    let mut place = Some(&mut data);
    if let Some((last, above)) = path.split_last() {
        for part in above {
            place = place.and_then(|value| value.get_mut(part.as_str()));
        }
        if let Some(members) = place.and_then(Value::as_object_mut) {
            members.remove(last);
        }
    }
    data
}
