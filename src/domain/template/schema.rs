//! The part of JSON Schema that event types need: what the data of an event promises to contain.

use serde_json::{Map, Value};

use crate::domain::problem::Report;

/// Keywords that are understood, or that promise nothing.
const KEYWORDS: &[&str] = &[
    "$schema",
    "$id",
    "$defs",
    "$ref",
    "$comment",
    "title",
    "description",
    "type",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "examples",
    "default",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "x-recado",
];
const MAX_DEPTH: usize = 32;

/// The schema of one event type's `data`.
#[derive(Debug)]
pub(super) struct Schema {
    root: Value,
}

/// What a schema says about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Promise {
    /// Every event has it.
    Kept,
    /// An event may lack it; the path up to the first part that may be absent.
    Open(Vec<String>),
    /// The schema does not mention it; the path up to the first part that it does not know.
    Unknown(Vec<String>),
}

impl Schema {
    pub(super) fn new(root: Value, text: &str, report: &mut Report<'_>) -> Schema {
        let schema = Schema { root };
        schema.check(&schema.root, "", 0, text, report);
        schema
    }

    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// What is promised about `path` below `data`.
    pub(super) fn promise(&self, path: &[&str]) -> Promise {
        let upto = |n: usize| path.iter().take(n + 1).map(|part| (*part).to_owned()).collect();
        let mut node = self.resolve(&self.root);
        let mut open = None;
        for (i, part) in path.iter().enumerate() {
            if node.get("properties").is_none() && !is_closed(node) {
                break;
            }
            let Some(next) = node.get("properties").and_then(|p| p.get(part)) else { return Promise::Unknown(upto(i)) };
            let required = node.get("required").and_then(Value::as_array).is_some_and(|r| r.iter().any(|n| n == part));
            node = self.resolve(next);
            if open.is_none() && (!required || types(node).contains(&"null")) {
                open = Some(upto(i));
            }
        }
        open.map_or(Promise::Kept, Promise::Open)
    }

    /// The part of `value` that every event has.
    pub(super) fn promised_part(&self, value: &Value) -> Value {
        self.prune(&self.root, value, 0)
    }

    /// Where `value` breaks the schema, as sentences about paths.
    pub(super) fn complaints(&self, value: &Value) -> Vec<String> {
        let mut complaints = Vec::new();
        self.validate(&self.root, value, "data", 0, &mut complaints);
        complaints
    }

    fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        let mut node = node;
        for _ in 0..MAX_DEPTH {
            let Some(reference) = node.get("$ref").and_then(Value::as_str) else { return node };
            match reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => node = target,
                None => return node,
            }
        }
        node
    }

    fn check(&self, node: &Value, path: &str, depth: usize, text: &str, report: &mut Report<'_>) {
        let Some(members) = node.as_object() else {
            if !node.is_boolean() {
                report.add_at_line(1, path, "A schema is an object.");
            }
            return;
        };
        for keyword in members.keys().filter(|k| !KEYWORDS.contains(&k.as_str())) {
            let message = format!("Recado does not read the keyword {keyword:?}; use only {}.", KEYWORDS.join(", "));
            report.add(place_of(text, keyword), path, message);
        }
        if let Some(reference) = members.get("$ref") {
            let target = reference.as_str().and_then(|r| r.strip_prefix('#')).and_then(|p| self.root.pointer(p));
            if target.is_none() {
                let shown = reference.as_str().unwrap_or_default();
                report.add(
                    place_of(text, shown),
                    path,
                    format!("$ref {shown:?} leads nowhere in this file; it must be like \"#/$defs/customer\"."),
                );
            }
        }
        if depth == MAX_DEPTH {
            report.add_at_line(1, path, format!("The schema is nested deeper than {MAX_DEPTH} levels."));
            return;
        }
        for group in ["properties", "$defs"] {
            for (name, inner) in members.get(group).and_then(Value::as_object).into_iter().flatten() {
                self.check(inner, &join(path, name), depth + 1, text, report);
            }
        }
        if let Some(items) = members.get("items") {
            self.check(items, &join(path, "items"), depth + 1, text, report);
        }
        let properties = members.get("properties").and_then(Value::as_object);
        for name in members.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !properties.is_some_and(|p| p.contains_key(name)) {
                report.add(
                    place_of(text, name),
                    path,
                    format!("{name:?} is required, but not described under properties."),
                );
            }
        }
    }

    fn prune(&self, node: &Value, value: &Value, depth: usize) -> Value {
        let node = self.resolve(node);
        if depth > MAX_DEPTH {
            return value.clone();
        }
        match value {
            Value::Object(members) if node.get("properties").is_some() => {
                let required = node.get("required").and_then(Value::as_array);
                let is_kept = |name: &str| required.is_some_and(|r| r.iter().any(|n| n == name));
                let mut kept = Map::new();
                for (name, inner) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    if let Some(value) = members.get(name).filter(|_| is_kept(name)) {
                        let pruned = self.prune(inner, value, depth + 1);
                        let nullable = types(self.resolve(inner)).contains(&"null");
                        kept.insert(name.clone(), if nullable { Value::Null } else { pruned });
                    }
                }
                Value::Object(kept)
            }
            Value::Array(items) => {
                let least =
                    node.get("minItems").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                let inner = node.get("items").unwrap_or(&Value::Null);
                Value::Array(items.iter().take(least).map(|item| self.prune(inner, item, depth + 1)).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => value.clone(),
        }
    }

    fn validate(&self, node: &Value, value: &Value, path: &str, depth: usize, complaints: &mut Vec<String>) {
        let node = self.resolve(node);
        if depth > MAX_DEPTH {
            return;
        }
        let allowed = types(node);
        if !allowed.is_empty() && !allowed.iter().any(|name| is_of_type(value, name)) {
            complaints.push(format!("{path} is no {}", allowed.join(" or ")));
            return;
        }
        if node.get("enum").and_then(Value::as_array).is_some_and(|values| !values.contains(value)) {
            complaints.push(format!("{path} is none of the values that enum lists"));
        }
        if let Some(members) = value.as_object() {
            let properties = node.get("properties").and_then(Value::as_object);
            for name in node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                if !members.contains_key(name) {
                    complaints.push(format!("{path}.{name} is missing"));
                }
            }
            for (name, inner) in members {
                match properties.and_then(|p| p.get(name)) {
                    Some(schema) => self.validate(schema, inner, &join(path, name), depth + 1, complaints),
                    None if is_closed(node) => complaints.push(format!("{path}.{name} is not described")),
                    None => {}
                }
            }
        }
        if let (Some(items), Some(schema)) = (value.as_array(), node.get("items")) {
            for (i, item) in items.iter().enumerate() {
                self.validate(schema, item, &format!("{path}[{i}]"), depth + 1, complaints);
            }
        }
    }
}

fn types(node: &Value) -> Vec<&str> {
    match node.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether other members than the described ones are forbidden.
fn is_closed(node: &Value) -> bool {
    node.get("additionalProperties") == Some(&Value::Bool(false))
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Where a word first stands in quotes: JSON readers keep no places, and a line is needed all the same.
pub(super) fn place_of(text: &str, word: &str) -> std::ops::Range<usize> {
    let start = text.find(&format!("\"{word}\"")).unwrap_or(0);
    start..start
}
