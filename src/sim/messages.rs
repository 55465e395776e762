//! `POST /{phone-number-id}/messages`, the reading half: what the JSON must look like before anything else is asked.
//! Knows no world, no template, no time.

use serde_json::Value;

use super::refusal::Refusal;

const TAG_MAX: usize = 512;
const TEXT_MAX: usize = 4096;

/// A request that is well formed.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) to: To<'a>,
    /// `biz_opaque_callback_data`, echoed in statuses.
    pub(super) tag: Option<&'a str>,
    pub(super) content: Content<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum To<'a> {
    /// As it came: `to`.
    Phone(&'a str),
    /// A business-scoped user id: `recipient`.
    User(&'a str),
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Template { name: &'a str, language: &'a str, components: Option<&'a Value> },
    Text { body: &'a str },
}

/// Reads the body of a request, or says what Meta would say.
pub(super) fn read(body: &Value) -> Result<Asked<'_>, Refusal> {
    let root = body.as_object().ok_or_else(|| Refusal::new(100, "The body must be a JSON object"))?;
    match root.get("messaging_product") {
        Some(Value::String(product)) if product == "whatsapp" => {}
        Some(_) => return Err(Refusal::new(100, "Param messaging_product must be one of {WHATSAPP}")),
        None => {
            return Err(Refusal::new(100, "").saying("(#100) The parameter messaging_product is required."));
        }
    }
    if root.contains_key("status") || root.contains_key("typing_indicator") {
        return Err(Refusal::new(131051, "Read receipts and typing indicators are not simulated"));
    }
    match root.get("recipient_type").map(Value::as_str) {
        None | Some(Some("individual")) => {}
        Some(Some("group")) => return Err(Refusal::new(131051, "Groups are not simulated")),
        Some(_) => return Err(Refusal::new(131009, "recipient_type must be individual or group")),
    }
    let to = match (text(body, "to")?, text(body, "recipient")?) {
        (Some(phone), _) => To::Phone(phone),
        (None, Some(user)) => To::User(user),
        (None, None) => return Err(missing("to")),
    };
    let tag = text(body, "biz_opaque_callback_data")?;
    if tag.is_some_and(|tag| tag.chars().count() > TAG_MAX) {
        return Err(Refusal::new(131009, format!("biz_opaque_callback_data is longer than {TAG_MAX} characters")));
    }
    let content = match text(body, "type")?.unwrap_or("text") {
        "template" => read_template(body.get("template").ok_or_else(|| missing("template"))?)?,
        "text" => read_text(body.get("text").ok_or_else(|| missing("text"))?)?,
        known @ ("image" | "audio" | "document" | "video" | "sticker" | "location" | "contacts" | "interactive"
        | "reaction") => return Err(Refusal::new(131051, format!("Messages of type {known} are not simulated"))),
        other => {
            return Err(Refusal::new(
                100,
                format!(
                    "Param type must be one of {{AUDIO, CONTACTS, DOCUMENT, IMAGE, INTERACTIVE, LOCATION, REACTION, \
                     STICKER, TEMPLATE, TEXT, VIDEO}} - got \"{other}\"."
                ),
            ));
        }
    };
    Ok(Asked { to, tag, content })
}

fn read_template(template: &Value) -> Result<Content<'_>, Refusal> {
    let name = text(template, "name")?.ok_or_else(|| missing("template.name"))?;
    let language = template.get("language").ok_or_else(|| missing("template.language"))?;
    let code = text(language, "code")?.ok_or_else(|| missing("template.language.code"))?;
    if text(language, "policy")?.is_some_and(|policy| policy != "deterministic") {
        return Err(Refusal::new(131009, "template.language.policy must be deterministic"));
    }
    Ok(Content::Template { name, language: code, components: template.get("components") })
}

fn read_text(content: &Value) -> Result<Content<'_>, Refusal> {
    let body = text(content, "body")?.ok_or_else(|| missing("text.body"))?;
    if body.is_empty() {
        return Err(missing("text.body"));
    }
    let length = body.chars().count();
    if length > TEXT_MAX {
        return Err(Refusal::new(100, format!("Param text.body must be at most {TEXT_MAX} characters long")));
    }
    Ok(Content::Text { body })
}

fn text<'a>(of: &'a Value, key: &str) -> Result<Option<&'a str>, Refusal> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::new(131009, format!("{key} must be a string"))),
    }
}

fn missing(what: &str) -> Refusal {
    Refusal::new(131008, format!("{what} is missing"))
}
