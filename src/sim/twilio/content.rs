//! A piece of content as the Content API keeps it: its types, its variables, its review at WhatsApp, and what it says when it is
//! sent. Knows no world.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::templates::Press;
use super::written;

const TEXT_MAX: usize = 1_024;
const HEADER_MAX: usize = 60;
const ISO: &str = "%Y-%m-%dT%H:%M:%SZ";

/// The kinds of content that the documents know, each with what it cannot be without.
const KINDS: [(&str, &[&str]); 14] = [
    ("twilio/text", &["body"]),
    ("twilio/media", &["media"]),
    ("twilio/location", &["latitude", "longitude"]),
    ("twilio/list-picker", &["body", "button", "items"]),
    ("twilio/call-to-action", &["body", "actions"]),
    ("twilio/quick-reply", &["body", "actions"]),
    ("twilio/card", &[]),
    ("twilio/catalog", &["body"]),
    ("twilio/carousel", &["body", "cards"]),
    ("twilio/flows", &["body", "button_text", "pages", "type"]),
    ("twilio/schedule", &["id", "title", "timeSlots"]),
    ("whatsapp/card", &["body"]),
    ("whatsapp/authentication", &["actions"]),
    ("whatsapp/flows", &["body", "button_text", "flow_id"]),
];

/// A piece of content in one language.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) sid: String,
    pub(super) friendly_name: String,
    pub(super) language: String,
    /// The values of variables that a message does not name.
    variables: BTreeMap<String, String>,
    types: Map<String, Value>,
    pub(super) review: Option<Review>,
    created: i64,
    updated: i64,
}

/// What WhatsApp was asked, and says, about content.
#[derive(Debug, Clone, Serialize)]
pub struct Review {
    pub name: String,
    pub category: String,
    pub status: Stage,
    pub rejection_reason: String,
    /// When it is approved, Unix ms; by hand, if none.
    #[serde(skip)]
    pub(in crate::sim) ends: Option<i64>,
}

/// Where content is in its review. Only `Approved` opens a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Unsubmitted,
    Received,
    Pending,
    Approved,
    Rejected,
    Paused,
    Disabled,
}

impl Review {
    /// Goes to another stage, with a reason where one is due.
    pub(in crate::sim) fn set(&mut self, stage: Stage) {
        (self.status, self.ends) = (stage, None);
        let reason = if stage == Stage::Rejected { "INVALID_FORMAT" } else { "" };
        reason.clone_into(&mut self.rejection_reason);
    }
}

/// What content comes to with its variables.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) text: String,
    /// The values of the text's variables.
    pub(super) parameters: Vec<String>,
    pub(super) buttons: Vec<Press>,
    /// With this code the channel refuses it as a template.
    pub(super) fails: Option<u32>,
}

/// Why content cannot be filled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has no such variable.
    Unknown,
    /// A variable has no value: the channel reports it.
    Missing,
    /// The channel has nothing for what it is.
    Kind,
}

impl Content {
    /// Reads the JSON of the Content API, and its `approval` if there is one. Says in words what Twilio would refuse.
    pub(super) fn read(json: &Value, sid: &str, now: i64) -> Result<Self, String> {
        let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
        let language = text(json, "language").filter(|language| !language.is_empty()).ok_or("language is required")?;
        let review = match json.get("approval") {
            None => None,
            Some(approval) => Some(Review {
                name: text(approval, "name").ok_or("an approval needs a name")?,
                category: text(approval, "category").ok_or("an approval needs a category")?,
                status: match approval.get("status") {
                    None => Stage::Approved,
                    Some(status) => serde_json::from_value(status.clone())
                        .map_err(|_| format!("the status {status} does not exist"))?,
                },
                rejection_reason: String::new(),
                ends: None,
            }),
        };
        let mut content = Self {
            sid: sid.to_owned(),
            friendly_name: text(json, "friendly_name").unwrap_or_default(),
            language,
            variables: BTreeMap::new(),
            types: Map::new(),
            review,
            created: now,
            updated: now,
        };
        content.rewrite(json, now)?;
        Ok(content)
    }

    /// Takes over the types and variables of the Content API's JSON.
    pub(super) fn rewrite(&mut self, json: &Value, now: i64) -> Result<(), String> {
        let types = json.get("types").and_then(Value::as_object).ok_or("types is required")?;
        // A type that is null is not there.
        let types: Map<String, Value> = types
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(kind, value)| (kind.clone(), value.clone()))
            .collect();
        if types.is_empty() {
            return Err("types is required".into());
        }
        for (kind, value) in &types {
            let (_, needed) = KINDS
                .iter()
                .find(|(known, _)| known == kind)
                .ok_or_else(|| format!("the type {kind} does not exist"))?;
            if let Some(missing) = needed.iter().find(|key| value.get(**key).is_none_or(Value::is_null)) {
                return Err(format!("{kind}: {missing} is required"));
            }
        }
        let variables = match json.get("variables") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(given) => serde_json::from_value(given.clone())
                .map_err(|_| "variables must be an object of strings".to_owned())?,
        };
        if let Some(name) = json.get("friendly_name").and_then(Value::as_str) {
            name.clone_into(&mut self.friendly_name);
        }
        (self.types, self.variables, self.updated) = (types, variables, now);
        Ok(())
    }

    /// What WhatsApp wants before it looks at content: variables that count from 1, an example for each, at most 1024
    /// characters of text, none of it at the ends a variable.
    pub(super) fn reviewable(&self) -> Result<(), String> {
        let (_, value) = self.on(true).ok_or("there is no type that WhatsApp takes")?;
        let mut numbers = Vec::new();
        for name in placeholders(value) {
            numbers.push(name.parse::<usize>().map_err(|_| format!("variable {name}: WhatsApp takes only numbers"))?);
            if self.variables.get(&name).is_none_or(|sample| sample.trim().is_empty()) {
                return Err(format!("variable {name} has no sample"));
            }
        }
        numbers.sort_unstable();
        if let Some((at, _)) = numbers.iter().enumerate().find(|(at, number)| **number != at + 1) {
            return Err(format!("variables must count from 1: {} is missing", at + 1));
        }
        let text = body(value);
        if text.chars().count() > TEXT_MAX {
            return Err(format!("the text is longer than {TEXT_MAX} characters"));
        }
        if text.trim().starts_with("{{") || text.trim().ends_with("}}") {
            return Err("the text must not begin or end with a variable".into());
        }
        Ok(())
    }

    /// The type that is used on a channel: the richest on WhatsApp, plain text elsewhere.
    fn on(&self, whatsapp: bool) -> Option<(&str, &Value)> {
        let plain = self.types.get_key_value("twilio/text");
        let rich = self.types.iter().find(|(kind, _)| {
            matches!(
                kind.as_str(),
                "whatsapp/card"
                    | "whatsapp/authentication"
                    | "twilio/card"
                    | "twilio/quick-reply"
                    | "twilio/call-to-action"
                    | "twilio/media"
            )
        });
        let chosen = if whatsapp { rich.or(plain) } else { plain };
        chosen.map(|(kind, value)| (kind.as_str(), value))
    }

    /// The kind of it that WhatsApp gets.
    pub(super) fn kind(&self) -> &str {
        self.on(true).map_or("", |(kind, _)| kind)
    }

    /// Fills it for a channel. What a message does not name is taken from the content's own variables.
    pub(super) fn fill(&self, whatsapp: bool, given: &BTreeMap<String, String>) -> Result<Filled, Unfit> {
        let (kind, value) = self.on(whatsapp).ok_or(Unfit::Kind)?;
        let wanted: BTreeSet<String> = self.types.values().flat_map(placeholders).collect();
        if given.keys().any(|name| !wanted.contains(name) && !self.variables.contains_key(name)) {
            return Err(Unfit::Unknown);
        }
        let mut values = BTreeMap::new();
        for name in placeholders(value) {
            let text = given.get(&name).or_else(|| self.variables.get(&name)).ok_or(Unfit::Missing)?;
            values.insert(name, text.as_str());
        }
        let text = fill(body(value), &values);
        let header = value.get("header_text").and_then(Value::as_str).map(|header| fill(header, &values));
        let too_long = text.chars().count() > TEXT_MAX || header.is_some_and(|text| text.chars().count() > HEADER_MAX);
        let fails = if values.values().any(|text| !is_plain(text)) { Some(63013) } else { too_long.then_some(63021) };
        let mut shown: Vec<(usize, String)> = placeholders(&Value::String(body(value).to_owned()))
            .into_iter()
            .map(|name| {
                let text = values.get(name.as_str()).copied().unwrap_or_default().to_owned();
                (name.parse().unwrap_or(usize::MAX), text)
            })
            .collect();
        shown.sort();
        let parameters = shown.into_iter().map(|(_, text)| text).collect();
        Ok(Filled { text, parameters, buttons: buttons(kind, value, &values), fails })
    }

    /// It as the Content API shows it. `base` is where the API is reached.
    pub(super) fn show(&self, account: &str, base: &str) -> Value {
        let url = format!("{base}/v1/Content/{}", self.sid);
        json!({
            "sid": self.sid,
            "account_sid": account,
            "friendly_name": self.friendly_name,
            "language": self.language,
            "variables": self.variables,
            "types": self.types,
            "url": url,
            "links": {
                "approval_create": format!("{url}/ApprovalRequests/whatsapp"),
                "approval_fetch": format!("{url}/ApprovalRequests"),
            },
            "date_created": written(self.created, ISO),
            "date_updated": written(self.updated, ISO),
        })
    }

    /// Its review as the API shows it; content that was never submitted has one too.
    pub(super) fn show_review(&self) -> Value {
        let (name, category, reason) = self
            .review
            .as_ref()
            .map_or(("", "", ""), |review| (&review.name, &review.category, &review.rejection_reason));
        json!({
            "name": name,
            "category": category,
            "content_type": self.kind(),
            "status": self.stage(),
            "rejection_reason": reason,
            "allow_category_change": true,
        })
    }

    pub(super) fn stage(&self) -> Stage {
        self.review.as_ref().map_or(Stage::Unsubmitted, |review| review.status)
    }
}

/// The text that a person reads, before it is filled.
fn body(value: &Value) -> &str {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    match (text("body"), text("title")) {
        (Some(body), _) => body,
        (None, Some(title)) => title,
        (None, None) if value.get("add_security_recommendation").is_some() || value.get("actions").is_some() => {
            "*{{1}}* is your verification code."
        }
        (None, None) => "",
    }
}

/// The names in `{{}}` anywhere in it.
fn placeholders(value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest: Vec<&Value> = vec![value];
    while let Some(value) = rest.pop() {
        match value {
            Value::String(text) => names.extend(text.split("{{").skip(1).filter_map(|part| {
                let (name, _) = part.split_once("}}")?;
                Some(name.trim().to_owned())
            })),
            Value::Array(items) => rest.extend(items),
            Value::Object(map) => rest.extend(map.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    if body(value).starts_with("*{{1}}*") {
        names.insert("1".to_owned());
    }
    names
}

fn fill(text: &str, values: &BTreeMap<String, &str>) -> String {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, tail) = after.split_once("}}").unwrap_or((after, ""));
        filled.push_str(values.get(name.trim()).copied().unwrap_or_default());
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

/// What WhatsApp takes as a value: something, on one line, without a gap.
fn is_plain(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(['\n', '\r', '\t']) && !text.contains("     ")
}

/// The buttons that can be pressed and come back.
fn buttons(kind: &str, value: &Value, values: &BTreeMap<String, &str>) -> Vec<Press> {
    let actions = value.get("actions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let quick = |action: &&Value| {
        let given = action.get("type").and_then(Value::as_str);
        given.map_or(kind == "twilio/quick-reply", |given| given.eq_ignore_ascii_case("QUICK_REPLY"))
    };
    actions
        .iter()
        .filter(quick)
        .map(|action| {
            let text = |key: &str| action.get(key).and_then(Value::as_str).map(|text| fill(text, values));
            let title = text("title").unwrap_or_default();
            Press { payload: text("id").unwrap_or_else(|| title.clone()), text: title }
        })
        .collect()
}
