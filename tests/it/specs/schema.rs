//! Parts of the providers' official OpenAPI documents, and whether a request keeps to them. A subset of JSON Schema, and stricter
//! in one point: an object has no property that the document does not name.

use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, header::CONTENT_TYPE};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Names with their values.
type Fields = Vec<(String, String)>;

/// A document with what is known to be wrong in it put right.
pub struct Spec(Value);

/// Something in a document that is not so in truth.
#[derive(Debug, Clone, Deserialize)]
pub struct Gap {
    #[serde(rename = "in")]
    pub file: String,
    /// Where, as a JSON pointer; `-` is behind the last of a list.
    pub at: String,
    /// What stands there in truth.
    pub is: Value,
    pub why: String,
}

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specs").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that is known to be wrong in the documents.
pub fn gaps() -> Vec<Gap> {
    serde_json::from_value(read("gaps.json")).expect("gaps")
}

impl Spec {
    /// The document of this name, with its gaps closed.
    pub fn open(name: &str) -> Spec {
        Spec::with(name, &gaps())
    }

    /// The same with these gaps closed and no others.
    pub fn with(name: &str, gaps: &[Gap]) -> Spec {
        let mut document = read(name);
        for gap in gaps.iter().filter(|gap| gap.file == name) {
            let (place, key) = gap.at.rsplit_once('/').expect("a pointer");
            let key = &key.replace("~1", "/").replace("~0", "~");
            let place = document.pointer_mut(place).unwrap_or_else(|| panic!("{} is not in {name}", gap.at));
            let before = match place {
                Value::Object(map) => map.insert(key.clone(), gap.is.clone()),
                Value::Array(list) if key == "-" => {
                    list.push(gap.is.clone());
                    None
                }
                Value::Array(list) => {
                    let slot = &mut list[key.parse::<usize>().expect("an index")];
                    Some(std::mem::replace(slot, gap.is.clone()))
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    panic!("{}: nothing can be put there", gap.at)
                }
            };
            assert_ne!(before.as_ref(), Some(&gap.is), "{} is no gap any more", gap.at);
        }
        Spec(document)
    }

    /// What is wrong with a request by this document; nothing, if it keeps to it.
    pub fn faults(&self, request: &Request<Bytes>) -> Vec<String> {
        let mut faults = Vec::new();
        let Some((name, operation, path)) = self.operation(request.method(), request.uri().path()) else {
            return vec![format!("there is no {} {}", request.method(), request.uri().path())];
        };
        let query: Fields =
            form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
        let parameters = operation["parameters"].as_array().expect("parameters");
        for (key, _) in &query {
            if !parameters.iter().any(|parameter| parameter["in"] == "query" && parameter["name"] == **key) {
                faults.push(format!("{name}: there is no parameter {key}"));
            }
        }
        for parameter in parameters {
            let key = parameter["name"].as_str().expect("a name");
            let given = match parameter["in"].as_str() {
                Some("path") => path.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone()),
                Some("query") => query.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone()),
                Some("header") => {
                    request.headers().get(key).map(|value| value.to_str().expect("a readable header").to_owned())
                }
                other => panic!("parameters in {other:?}"),
            };
            match given {
                Some(text) => {
                    let value = self.typed(&parameter["schema"], &[text]);
                    self.check(&format!("{name} {key}"), &parameter["schema"], &value, &mut faults);
                }
                None if parameter["required"] == true => faults.push(format!("{name}: {key} is missing")),
                None => {}
            }
        }
        match operation.get("bodies") {
            Some(bodies) => self.check_body(name, bodies, request, &mut faults),
            None if !request.body().is_empty() => faults.push(format!("{name}: takes no body")),
            None => {}
        }
        faults
    }

    /// The operation that a request asks for, and the values of the variables in its path.
    fn operation(&self, method: &Method, path: &str) -> Option<(&str, &Value, Fields)> {
        let asked: Vec<&str> = path.split('/').collect();
        let fits = |name: &str| {
            let (known, template) = name.split_once(' ')?;
            let parts: Vec<&str> = template.split('/').collect();
            if known != method.as_str() || parts.len() != asked.len() {
                return None;
            }
            let mut values = Vec::new();
            for (part, given) in parts.iter().zip(&asked) {
                match part.split_once('{') {
                    Some((before, rest)) => {
                        let (variable, after) = rest.split_once('}')?;
                        let value = given.strip_prefix(before)?.strip_suffix(after)?;
                        values.push((variable.to_owned(), value.to_owned()));
                    }
                    None if part == given => {}
                    None => return None,
                }
            }
            Some(values)
        };
        let operations = self.0["operations"].as_object().expect("operations");
        operations
            .iter()
            .filter_map(|(name, operation)| Some((name.as_str(), operation, fits(name)?)))
            .min_by_key(|(_, _, values)| values.len())
    }

    fn check_body(&self, name: &str, bodies: &Value, request: &Request<Bytes>, faults: &mut Vec<String>) {
        let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().expect("a readable header"));
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
        let Some(schema) = bodies.get(kind) else {
            faults.push(format!("{name}: takes no {kind:?}"));
            return;
        };
        let value = if kind == "application/json" {
            serde_json::from_slice(request.body()).expect("JSON")
        } else {
            let fields: Fields = form_urlencoded::parse(request.body()).into_owned().collect();
            let mut map = Map::new();
            for (key, _) in &fields {
                let texts: Vec<String> =
                    fields.iter().filter(|(known, _)| known == key).map(|(_, text)| text.clone()).collect();
                map.insert(key.clone(), self.typed(&schema["properties"][key], &texts));
            }
            Value::Object(map)
        };
        self.check(name, schema, &value, faults);
    }

    /// Texts of a form or a query as the value that the schema means; texts where they are none.
    fn typed(&self, schema: &Value, texts: &[String]) -> Value {
        let schema = self.resolved(schema);
        match (schema["type"].as_str(), texts) {
            (Some("array"), _) => json!(texts),
            (Some("integer" | "number" | "boolean"), [text]) => {
                serde_json::from_str(text).unwrap_or_else(|_| json!(text))
            }
            (_, [text]) => json!(text),
            _ => json!(texts),
        }
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(place) => {
                let found = self.0.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("no {place}"));
                self.resolved(found)
            }
            None => schema,
        }
    }

    /// The schemas that a value must keep to, all of them: `allOf`, and what the discriminator chooses.
    fn pieces<'a>(
        &'a self,
        schema: &'a Value,
        value: &Value,
        choose: bool,
        found: &mut Vec<&'a Value>,
    ) -> Result<(), String> {
        let schema = self.resolved(schema);
        found.push(schema);
        if let (Some(by), true) = (schema.get("discriminator"), choose) {
            let key = by["propertyName"].as_str().expect("a property");
            let named = value.get(key).and_then(Value::as_str).ok_or_else(|| format!("{key} is missing"))?;
            let chosen = by["mapping"][named].as_str().ok_or_else(|| format!("there is no {key} {named:?}"))?;
            let target = self.0.pointer(chosen.trim_start_matches('#')).unwrap_or_else(|| panic!("no {chosen}"));
            self.pieces(target, value, false, found)?;
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.pieces(part, value, false, found)?;
        }
        Ok(())
    }

    fn check(&self, at: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
        let mut pieces = Vec::new();
        if let Err(fault) = self.pieces(schema, value, true, &mut pieces) {
            faults.push(format!("{at}: {fault}"));
            return;
        }
        if value.is_null() && pieces.iter().any(|piece| piece["nullable"] == true) {
            return;
        }
        let chosen = pieces.iter().any(|piece| piece.get("discriminator").is_some());
        for piece in &pieces {
            self.check_own(at, piece, value, faults);
            let branches = piece["oneOf"].as_array().filter(|_| !chosen);
            if let Some(branches) = branches {
                let good = |branch: &&Value| {
                    let mut own = Vec::new();
                    self.check_own(at, self.resolved(branch), value, &mut own);
                    own.is_empty()
                };
                let count = branches.iter().filter(good).count();
                if count != 1 {
                    faults.push(format!("{at}: {count} of the alternatives fit"));
                }
            }
        }
        self.check_names(at, &pieces, value, faults);
    }

    /// What a schema says by itself, without its parts.
    fn check_own(&self, at: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
        let mut fault = |what: String| faults.push(format!("{at}: {what}"));
        let fits = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            None => true,
            Some(other) => panic!("type {other}"),
        };
        if !fits {
            fault(format!("{value} is no {}", schema["type"]));
            return;
        }
        if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
            fault(format!("{value} is none of {}", schema["enum"]));
        }
        if let Some(text) = value.as_str() {
            let length = text.chars().count() as u64;
            if schema["minLength"].as_u64().is_some_and(|least| length < least)
                || schema["maxLength"].as_u64().is_some_and(|most| length > most)
            {
                fault(format!("{text:?} has {length} characters"));
            }
            if schema["pattern"].as_str().is_some_and(|pattern| !Regex::new(pattern).expect("a pattern").is_match(text))
            {
                fault(format!("{text:?} is not like {}", schema["pattern"]));
            }
            if matches!(schema["format"].as_str(), Some("uri" | "url"))
                && !(text.starts_with("https://") || text.starts_with("http://"))
            {
                fault(format!("{text:?} is no address"));
            }
        }
        if let Some(number) = value.as_i64()
            && (schema["minimum"].as_i64().is_some_and(|least| number < least)
                || schema["maximum"].as_i64().is_some_and(|most| number > most)
                || (schema["format"] == "int32" && i32::try_from(number).is_err()))
        {
            fault(format!("{number} is out of bounds"));
        }
        if let Some(items) = value.as_array() {
            if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
                fault(format!("{} items are too few", items.len()));
            }
            if let Some(of) = schema.get("items") {
                for (number, item) in items.iter().enumerate() {
                    self.check(&format!("{at}/{number}"), of, item, faults);
                }
            }
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(key).is_none() {
                faults.push(format!("{at}: {key} is missing"));
            }
        }
        for (key, of) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(inner) = value.get(key) {
                self.check(&format!("{at}/{key}"), of, inner, faults);
            }
        }
    }

    /// Each property is named by one of the schemas, or is of a kind that may have any name.
    fn check_names(&self, at: &str, pieces: &[&Value], value: &Value, faults: &mut Vec<String>) {
        let Some(map) = value.as_object() else { return };
        let alternatives = pieces.iter().flat_map(|piece| piece["oneOf"].as_array().into_iter().flatten());
        let all: Vec<&Value> = pieces.iter().copied().chain(alternatives.map(|branch| self.resolved(branch))).collect();
        let named = |key: &str| all.iter().any(|piece| piece["properties"].get(key).is_some());
        let any = all.iter().find_map(|piece| piece.get("additionalProperties").filter(|of| of.is_object()));
        for (key, inner) in map.iter().filter(|(key, _)| !named(key)) {
            match any {
                Some(of) => self.check(&format!("{at}/{key}"), of, inner, faults),
                None => faults.push(format!("{at}: there is no {key}")),
            }
        }
    }
}
