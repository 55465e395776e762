//! Templates as Meta keeps them: what their components promise, and whether the components of a send keep to it.
//! Knows no world: storing and approving is `world`'s.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::parameters::{argument, count, fit_media, kind_of, parameters, shown};
use super::refusal::Refusal;

const BODY_MAX: usize = 1024;
const HEADER_MAX: usize = 60;

/// Where a template is in its life. Only `Approved` may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Approval {
    Approved,
    Pending,
    Rejected,
    Paused,
    Disabled,
    InAppeal,
    LimitExceeded,
    Archived,
    Deleted,
    PendingDeletion,
}

/// A template in one language, as `GET /{waba}/message_templates` has it.
#[derive(Debug, Clone)]
pub struct Template {
    pub id: u64,
    pub name: String,
    pub language: String,
    pub category: String,
    pub status: Approval,
    pub components: Value,
    pub(super) quality: String,
    /// When it was edited while it was approved, Unix ms.
    pub(super) edits: Vec<i64>,
    /// When its review is over, Unix ms, if it ends by itself.
    pub(super) reviewed_at: Option<i64>,
    named: bool,
    ttl: Option<i64>,
    header: Header,
    body: Text,
    footer: Option<String>,
    buttons: Vec<Button>,
}

/// What the components of a send come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Fitted {
    /// The body's parameters as shown, in the body's order.
    pub(super) parameters: Vec<String>,
    /// The body with its parameters.
    pub(super) text: String,
    /// The quick-reply buttons: text and payload.
    pub(super) buttons: Vec<Press>,
    pub(super) frame: Frame,
}

/// What a person sees around the text of a message.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Frame {
    /// With its parameter; of a picture, film or paper only which of them it is.
    pub header: Option<String>,
    pub footer: Option<String>,
    /// The buttons that are no quick replies.
    pub links: Vec<Link>,
}

/// A button that leads somewhere else.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    pub text: String,
    /// Where to: the address with its parameter, the number, the code to copy.
    pub to: String,
}

/// A quick-reply button on a message that was sent.
#[derive(Debug, Clone, Serialize)]
pub struct Press {
    pub text: String,
    pub payload: String,
}

#[derive(Debug, Clone)]
enum Header {
    None,
    Text(Text),
    Media(&'static str),
}

#[derive(Debug, Clone, Default)]
struct Text {
    raw: String,
    variables: Vec<String>,
}

#[derive(Debug, Clone)]
struct Button {
    kind: ButtonKind,
    text: String,
    /// Where it leads, with a variable if it has one.
    to: String,
}

/// What a button of a message that is sent becomes.
enum Shown {
    Press(Press),
    Link(Link),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ButtonKind {
    QuickReply,
    Url { variable: bool },
    CopyCode,
    Other,
}

impl Template {
    /// Reads a template from Meta's JSON: `{name, language, category, components, parameter_format?, status?,
    /// message_send_ttl_seconds?}`. Without a status it is `Approved`. Says in words what Meta would refuse.
    pub fn read(json: &Value, id: u64) -> Result<Self, String> {
        let text = |key: &str| {
            json.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(format!("a template without {key}"))
        };
        let name = text("name")?;
        if name.is_empty() || name.len() > 512 || !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(format!("template name {name:?} must be lower-case letters, digits and _"));
        }
        let category = text("category")?.to_ascii_uppercase();
        if !matches!(category.as_str(), "UTILITY" | "MARKETING" | "AUTHENTICATION") {
            return Err(format!("template {name}: category {category:?} does not exist"));
        }
        let named = match json.get("parameter_format").and_then(Value::as_str).unwrap_or("POSITIONAL") {
            format if format.eq_ignore_ascii_case("named") => true,
            format if format.eq_ignore_ascii_case("positional") => false,
            format => return Err(format!("template {name}: parameter_format {format:?} does not exist")),
        };
        let status = match json.get("status") {
            None => Approval::Approved,
            Some(status) => serde_json::from_value(status.clone())
                .map_err(|_| format!("template {name}: status {status} does not exist"))?,
        };
        let components = json.get("components").cloned().unwrap_or(Value::Null);
        let Read { header, body, footer, buttons } =
            read_components(&components, &category, named).map_err(|why| format!("template {name}: {why}"))?;
        Ok(Self {
            id: json.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()).unwrap_or(id),
            language: text("language")?,
            ttl: json.get("message_send_ttl_seconds").and_then(Value::as_i64),
            name,
            category,
            status,
            components,
            quality: "GREEN".to_owned(),
            edits: Vec::new(),
            reviewed_at: None,
            named,
            header,
            body,
            footer,
            buttons,
        })
    }

    /// The template as the management API gives it. No `fields` means Meta's default ones.
    pub(super) fn show(&self, fields: Option<&str>) -> Value {
        let all = json!({
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "category": self.category,
            "id": self.id.to_string(),
            "components": self.components,
            "parameter_format": if self.named { "NAMED" } else { "POSITIONAL" },
            "quality_score": {"score": self.quality, "date": 0},
            "rejected_reason": if self.status == Approval::Rejected { "INVALID_FORMAT" } else { "NONE" },
            "message_send_ttl_seconds": self.ttl,
        });
        let asked: Vec<&str> = fields
            .unwrap_or("name,language,status,category,id,components,parameter_format")
            .split(',')
            .map(str::trim)
            .collect();
        let mut shown = serde_json::Map::new();
        if let Value::Object(all) = all {
            for (key, value) in all {
                if (key == "id" || asked.contains(&key.as_str())) && !value.is_null() {
                    shown.insert(key, value);
                }
            }
        }
        Value::Object(shown)
    }

    /// Refuses what may not be sent at `now`, Unix ms.
    pub(super) fn sendable(&self, now: i64) -> Result<(), Refusal> {
        match self.status {
            Approval::Pending if self.reviewed_at.is_some_and(|at| at <= now) => Ok(()),
            Approval::Approved => Ok(()),
            Approval::Paused => Err(Refusal::new(132015, "Template is paused due to low quality")),
            Approval::Disabled => {
                Err(Refusal::new(132016, "Template has been paused too many times and is now permanently disabled"))
            }
            Approval::Pending
            | Approval::Rejected
            | Approval::InAppeal
            | Approval::LimitExceeded
            | Approval::Archived
            | Approval::Deleted
            | Approval::PendingDeletion => Err(no_translation(&self.name, &self.language)),
        }
    }

    /// Holds the `components` of a send against what the template promises.
    pub(super) fn fit(&self, components: Option<&Value>) -> Result<Fitted, Refusal> {
        let none = Vec::new();
        let components = match components {
            None | Some(Value::Null) => &none,
            Some(Value::Array(list)) => list,
            Some(_) => return Err(Refusal::new(131009, "template.components must be an array")),
        };
        let (mut header, mut body) = (None, None);
        let mut buttons: Vec<Option<&Value>> = vec![None; self.buttons.len()];
        for component in components {
            let kind = component.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            let twice = match kind.as_str() {
                "header" => header.replace(component).is_some(),
                "body" => body.replace(component).is_some(),
                "button" => {
                    let index = self.position(component)?;
                    buttons.get_mut(index).is_some_and(|slot| slot.replace(component).is_some())
                }
                "" => return Err(Refusal::new(131008, "template.components: type is missing")),
                other => return Err(Refusal::new(100, format!("template.components: type {other} is not supported"))),
            };
            if twice {
                return Err(Refusal::new(131009, format!("template.components: {kind} is there twice")));
            }
        }
        let header = self.fit_header(header)?;
        let parameters = self.values("body", &self.body, parameters(body)?)?;
        let text = self.body.fill(&parameters);
        if text.chars().count() > BODY_MAX {
            return Err(Refusal::new(132005, format!("body: the text is longer than {BODY_MAX} characters")));
        }
        let (mut presses, mut links) = (Vec::new(), Vec::new());
        for (index, (button, sent)) in self.buttons.iter().zip(buttons).enumerate() {
            match fit_button(index, button, sent)? {
                Shown::Press(press) => presses.push(press),
                Shown::Link(link) => links.push(link),
            }
        }
        let frame = Frame { header, footer: self.footer.clone(), links };
        Ok(Fitted { parameters, text, buttons: presses, frame })
    }

    fn position(&self, component: &Value) -> Result<usize, Refusal> {
        let index = component.get("index").ok_or_else(|| Refusal::new(131008, "buttons: index is missing"))?;
        let number = match index {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.filter(|index| *index < self.buttons.len()).ok_or_else(|| {
            Refusal::new(131009, format!("buttons: index {index} is not one of {} buttons", self.buttons.len()))
        })
    }

    /// The header as it is read.
    fn fit_header(&self, sent: Option<&Value>) -> Result<Option<String>, Refusal> {
        let given = parameters(sent)?;
        match &self.header {
            Header::None if given.is_empty() => Ok(None),
            Header::None => Err(count("header", given.len(), 0)),
            Header::Text(text) => {
                let filled = text.fill(&self.values("header", text, given)?);
                if filled.chars().count() > HEADER_MAX {
                    return Err(Refusal::new(
                        132005,
                        format!("header: the text is longer than {HEADER_MAX} characters"),
                    ));
                }
                Ok(Some(filled))
            }
            Header::Media(kind) => {
                let [parameter] = given else {
                    return Err(Refusal::new(
                        132012,
                        format!("header: Format mismatch, expected {}, received UNKNOWN", kind.to_uppercase()),
                    ));
                };
                let received = kind_of(parameter)?;
                if received != *kind {
                    return Err(Refusal::new(
                        132012,
                        format!(
                            "header: Format mismatch, expected {}, received {}",
                            kind.to_uppercase(),
                            received.to_uppercase()
                        ),
                    ));
                }
                fit_media(kind, parameter.get(*kind))?;
                Ok(Some((*kind).to_owned()))
            }
        }
    }

    fn values(&self, place: &str, text: &Text, given: &[Value]) -> Result<Vec<String>, Refusal> {
        if given.len() != text.variables.len() {
            return Err(count(place, given.len(), text.variables.len()));
        }
        if !self.named {
            return given
                .iter()
                .enumerate()
                .map(|(at, parameter)| {
                    if parameter.get("parameter_name").is_some() {
                        return Err(Refusal::new(132012, format!("{place}: parameter_name in a positional template")));
                    }
                    shown(&format!("{place}: parameter {}", at + 1), parameter)
                })
                .collect();
        }
        text.variables
            .iter()
            .map(|name| {
                let mut found = given
                    .iter()
                    .filter(|parameter| parameter.get("parameter_name").and_then(Value::as_str) == Some(name.as_str()));
                let (Some(parameter), None) = (found.next(), found.next()) else {
                    return Err(Refusal::new(132012, format!("{place}: Parameter {name} is missing or there twice")));
                };
                if kind_of(parameter)? != "text" {
                    return Err(Refusal::new(132012, format!("{place}: Parameter {name} must be of type text")));
                }
                shown(&format!("{place}: parameter {name}"), parameter)
            })
            .collect()
    }
}

/// The refusal of a template that is not there, or not approved, in a language.
pub(super) fn no_translation(name: &str, language: &str) -> Refusal {
    Refusal::new(132001, format!("template name ({name}) does not exist in {language}"))
}

impl Text {
    fn read(raw: &str, named: bool) -> Result<Self, String> {
        let mut variables: Vec<String> = Vec::new();
        let mut rest = raw;
        while let Some((_, after)) = rest.split_once("{{") {
            let (name, tail) = after.split_once("}}").ok_or("a {{ that is not closed")?;
            let name = name.trim();
            if !variables.iter().any(|known| known == name) {
                variables.push(name.to_owned());
            }
            rest = tail;
        }
        if named {
            let good =
                |name: &String| !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            if let Some(bad) = variables.iter().find(|name| !good(name)) {
                return Err(format!("a variable named {bad:?}"));
            }
        } else {
            variables.sort_by_key(|name| name.parse::<u32>().unwrap_or(u32::MAX));
            for (at, name) in variables.iter().enumerate() {
                if *name != (at + 1).to_string() {
                    return Err(format!("variable {name:?} where {} was expected", at + 1));
                }
            }
        }
        Ok(Self { raw: raw.to_owned(), variables })
    }

    fn fill(&self, values: &[String]) -> String {
        let mut filled = String::with_capacity(self.raw.len() + 64);
        let mut rest = self.raw.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            let (name, tail) = after.split_once("}}").unwrap_or((after, ""));
            let at = self.variables.iter().position(|known| known == name.trim());
            filled.push_str(at.and_then(|at| values.get(at)).map_or("", String::as_str));
            rest = tail;
        }
        filled.push_str(rest);
        filled
    }
}

/// What the components of a template are.
struct Read {
    header: Header,
    body: Text,
    footer: Option<String>,
    buttons: Vec<Button>,
}

fn read_components(components: &Value, category: &str, named: bool) -> Result<Read, String> {
    let list = components.as_array().ok_or("components is not an array")?;
    let (mut header, mut body, mut foot, mut buttons) = (Header::None, None, None, Vec::new());
    for component in list {
        let kind = component.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
        let text = component.get("text").and_then(Value::as_str);
        match kind.as_str() {
            "HEADER" => header = read_header(component, text, named)?,
            "BODY" => {
                let given = text.unwrap_or_default();
                let raw = if category == "AUTHENTICATION" && given.is_empty() {
                    "*{{1}}* is your verification code."
                } else {
                    given
                };
                if raw.is_empty() || raw.chars().count() > BODY_MAX {
                    return Err(format!("the body must have 1 to {BODY_MAX} characters"));
                }
                body = Some(Text::read(raw, named)?);
            }
            "FOOTER" => {
                let footer = text.unwrap_or_default();
                if footer.chars().count() > HEADER_MAX || footer.contains("{{") {
                    return Err(format!("a footer has at most {HEADER_MAX} characters and no variable"));
                }
                foot = Some(footer.to_owned());
            }
            "BUTTONS" => {
                let given = component.get("buttons").and_then(Value::as_array).ok_or("buttons is not an array")?;
                buttons = given.iter().map(read_button).collect::<Result<_, _>>()?;
                if buttons.is_empty() || buttons.len() > 10 {
                    return Err("a template has 1 to 10 buttons".into());
                }
            }
            other => return Err(format!("component {other:?} does not exist")),
        }
    }
    Ok(Read { header, body: body.ok_or("the body is missing")?, footer: foot, buttons })
}

fn read_header(component: &Value, text: Option<&str>, named: bool) -> Result<Header, String> {
    match component.get("format").and_then(Value::as_str).unwrap_or("TEXT").to_ascii_uppercase().as_str() {
        "TEXT" => {
            let text = Text::read(text.unwrap_or_default(), named)?;
            if text.variables.len() > 1 {
                return Err("a header has at most one variable".into());
            }
            if text.raw.is_empty() || text.raw.chars().count() > HEADER_MAX {
                return Err(format!("a header has 1 to {HEADER_MAX} characters"));
            }
            Ok(Header::Text(text))
        }
        "IMAGE" => Ok(Header::Media("image")),
        "VIDEO" => Ok(Header::Media("video")),
        "DOCUMENT" => Ok(Header::Media("document")),
        "LOCATION" => Ok(Header::Media("location")),
        other => Err(format!("header format {other:?} does not exist")),
    }
}

fn read_button(button: &Value) -> Result<Button, String> {
    let text = button.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    if text.chars().count() > 25 {
        return Err(format!("button text {text:?} is longer than 25 characters"));
    }
    let kind = match button.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase().as_str() {
        "QUICK_REPLY" => ButtonKind::QuickReply,
        "URL" => {
            let url = button.get("url").and_then(Value::as_str).ok_or("a URL button without url")?;
            let variable = url.contains("{{");
            if url.len() > 2000 || (variable && !url.ends_with("}}")) {
                return Err("a URL has at most 2000 characters and its variable at the end".into());
            }
            ButtonKind::Url { variable }
        }
        "OTP" => ButtonKind::Url { variable: true },
        "COPY_CODE" => ButtonKind::CopyCode,
        _ => ButtonKind::Other,
    };
    let to = ["url", "phone_number"].iter().find_map(|key| button.get(key)).and_then(Value::as_str);
    Ok(Button { kind, text, to: to.unwrap_or_default().to_owned() })
}

fn fit_button(index: usize, button: &Button, sent: Option<&Value>) -> Result<Shown, Refusal> {
    let link = |to: String| Shown::Link(Link { text: button.text.clone(), to });
    let given = parameters(sent)?;
    if let Some(sent) = sent {
        let sub_type = sent
            .get("sub_type")
            .and_then(Value::as_str)
            .ok_or_else(|| Refusal::new(131008, format!("buttons: sub_type of button at index {index} is missing")))?
            .to_ascii_lowercase();
        let fits = match button.kind {
            ButtonKind::QuickReply => sub_type == "quick_reply",
            ButtonKind::Url { .. } => sub_type == "url",
            ButtonKind::CopyCode => sub_type == "copy_code",
            ButtonKind::Other => true,
        };
        if !fits {
            return Err(Refusal::new(132012, format!("buttons: Button at index {index} is not of type {sub_type}")));
        }
        if given.is_empty() {
            return Err(Refusal::new(131008, format!("buttons: Button at index {index} has no parameter")));
        }
    }
    match button.kind {
        ButtonKind::QuickReply => {
            let payload = match given {
                [] => button.text.as_str(),
                [one] => argument(index, one, "payload", 512)?,
                more => return Err(count("buttons", more.len(), 1)),
            };
            Ok(Shown::Press(Press { text: button.text.clone(), payload: payload.to_owned() }))
        }
        ButtonKind::Url { variable: true } => {
            let [one] = given else {
                return Err(Refusal::new(
                    131008,
                    format!("buttons: Button at index {index} of type Url requires a parameter"),
                ));
            };
            let suffix = argument(index, one, "text", 2000)?;
            if suffix.contains(char::is_whitespace) {
                return Err(Refusal::new(
                    131009,
                    format!("buttons: the suffix of button {index} is not part of a URL"),
                ));
            }
            Ok(link(button.to.split("{{").next().unwrap_or_default().to_owned() + suffix))
        }
        ButtonKind::Url { variable: false } if !given.is_empty() => Err(count("buttons", given.len(), 0)),
        ButtonKind::CopyCode => match given {
            [one] => argument(index, one, "coupon_code", 20).map(|code| link(code.to_owned())),
            _ => Err(Refusal::new(
                131008,
                format!("buttons: Button at index {index} of type CopyCode requires a parameter"),
            )),
        },
        ButtonKind::Url { variable: false } | ButtonKind::Other => Ok(link(button.to.clone())),
    }
}
