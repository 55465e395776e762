//! Templates at Twilio: contents, and the requests that WhatsApp approve them. A content is never changed once it is approved, so what
//! differs is made anew under a name that says its version.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{
    BadSender,
    content::{Place, Variable, variables},
};
use crate::{
    domain::{
        fact::Approval,
        message::Filled,
        notification::Reason,
        template::{Definition, Heading, Pressable},
    },
    provider::{
        reason,
        templates::{Listed, Page, Refused, Written},
        verdict::shortened,
    },
};

/// An account's contents: where they are and who may change them. Prints without the password.
#[derive(Debug, Clone)]
pub struct Contents {
    base: String,
    authorization: HeaderValue,
}

const PAGE: &str = "100";
/// What stands above a content that is no text.
const MEDIA: &str = "media";

impl Contents {
    /// `base_url` of the Content API, without a slash at its end; `user` is the account or an API key.
    ///
    /// # Errors
    /// If one of them cannot be a part of a request.
    pub fn new(base_url: &str, user: &str, password: &SecretString) -> Result<Contents, BadSender> {
        base_url.parse::<Uri>().map_err(|_| BadSender::Address)?;
        let basic = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}")).map_err(|_| BadSender::Token)?;
        authorization.set_sensitive(true);
        Ok(Contents { base: base_url.to_owned(), authorization })
    }

    /// Asks for one page of the account's contents with their approvals; `after` is the query of the next one.
    #[must_use]
    pub fn list(&self, after: Option<&str>) -> Request<Bytes> {
        let query = after.map_or_else(|| format!("PageSize={PAGE}"), str::to_owned);
        self.request(Method::GET, &format!("ContentAndApprovals?{query}"), Bytes::new())
    }

    /// Makes a content, as [`content`] says it.
    #[must_use]
    pub fn create(&self, content: &Value) -> Request<Bytes> {
        self.request(Method::POST, "Content", content.to_string().into())
    }

    /// Asks WhatsApp to approve a content under this name and category.
    #[must_use]
    pub fn submit(&self, sid: &str, name: &str, category: &str) -> Request<Bytes> {
        let body = json!({ "name": name, "category": category }).to_string();
        self.request(Method::POST, &format!("Content/{sid}/ApprovalRequests/whatsapp"), body.into())
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        // The base was an address when it was read; a path that makes none asks for nothing that is there.
        *request.uri_mut() = format!("{}/v1/{path}", self.base).parse().unwrap_or_default();
        *request.method_mut() = method;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

/// Under which name WhatsApp is asked to approve a template: its own, or that of a later version.
#[must_use]
pub fn approval_name(template: &str, later: Option<&Definition>) -> String {
    let Some(definition) = later else { return template.to_owned() };
    let mark: String = definition.hash().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{template}_v{mark}")
}

/// Whose version a name is, if it is one of a later version.
fn template_of(name: &str) -> &str {
    let mark = |mark: &str| mark.len() == 8 && mark.bytes().all(|digit| digit.is_ascii_hexdigit());
    name.rsplit_once("_v").filter(|(_, version)| mark(version)).map_or(name, |(template, _)| template)
}

/// What a template says with its places numbered as Twilio does it.
///
/// # Errors
/// If Twilio has no such content.
pub fn spoken(definition: &Definition, example: &Filled) -> Result<Definition, Reason> {
    let variables = variables(example)?;
    let number = |place: Place| variables.iter().find(|v| v.place == place).map(|v| v.number);
    let mut definition = definition.clone();
    if let Some(Heading::Media(kind)) = &mut definition.header {
        // A content does not say of what kind its media are.
        MEDIA.clone_into(kind);
    }
    Ok(definition.numbered(
        number(Place::Header),
        |n| number(Place::Body(n)),
        |n| u8::try_from(n).ok().and_then(|n| number(Place::Button(n))),
    ))
}

/// A template as Twilio takes it, with its example's values.
///
/// # Errors
/// If Twilio has no such content: media and locations in the header.
pub fn content(name: &str, language: &str, definition: &Definition, example: &Filled) -> Result<Value, Reason> {
    let numbered = spoken(definition, example)?;
    let header = match &numbered.header {
        None => None,
        Some(Heading::Text(text)) => Some(text),
        Some(Heading::Media(_)) => return Err(reason::TEMPLATE_UNAVAILABLE),
    };
    let variables = variables(example)?;
    let actions: Vec<Value> =
        (0..).zip(&numbered.buttons).map(|(place, button)| action(place, button, &variables)).collect();
    let only = |kinds: &[&str]| numbered.buttons.iter().all(|button| kinds.contains(&button.kind.as_str()));
    let mut said = Map::new();
    said.insert("body".to_owned(), numbered.body.clone().into());
    let kind = match (header, &numbered.footer, actions.is_empty()) {
        (None, None, true) => "twilio/text",
        (None, None, false) if only(&["quick_reply"]) => "twilio/quick-reply",
        (None, None, false) if only(&["url", "phone", "copy_code"]) => "twilio/call-to-action",
        (header, footer, _) => {
            said.extend(header.map(|text| ("header_text".to_owned(), Value::from(text.as_str()))));
            said.extend(footer.as_ref().map(|text| ("footer".to_owned(), Value::from(text.as_str()))));
            "whatsapp/card"
        }
    };
    if !actions.is_empty() {
        said.insert("actions".to_owned(), actions.into());
    }
    let examples: Map<String, Value> =
        variables.iter().map(|variable| (variable.number.to_string(), variable.value.into())).collect();
    let mut types = Map::new();
    types.insert(kind.to_owned(), said.into());
    Ok(json!({ "friendly_name": name, "language": language, "variables": examples, "types": types }))
}

fn action(place: u8, button: &Pressable, variables: &[Variable<'_>]) -> Value {
    let number = variables.iter().find(|v| v.place == Place::Button(place)).map(|v| format!("{{{{{}}}}}", v.number));
    match button.kind.as_str() {
        "url" => json!({ "type": "URL", "title": button.text, "url": button.target }),
        "phone" => json!({ "type": "PHONE_NUMBER", "title": button.text, "phone": button.target }),
        "copy_code" => json!({ "type": "COPY_CODE", "title": "Copy code", "code": number }),
        _ => {
            json!({ "type": "QUICK_REPLY", "title": button.text, "id": number.unwrap_or_else(|| button.text.clone()) })
        }
    }
}

/// The answer to [`Contents::list`]. What nobody asked WhatsApp to approve is no template, and is left out.
///
/// # Errors
/// If Twilio refused, or the answer cannot be read.
pub fn listed(response: &Response<Bytes>) -> Result<Page, Refused> {
    let answer = answer(response)?;
    let contents = answer.get("contents").and_then(Value::as_array).ok_or(Refused::Unreadable)?;
    let next = answer.pointer("/meta/next_page_url").and_then(Value::as_str);
    // The address of the next page is ours, so that the password goes nowhere else.
    let next = next.and_then(|url| url.split_once('?')).map(|(_, query)| query.to_owned());
    Ok(Page { listed: contents.iter().filter_map(one).collect(), next })
}

/// The id of the content that [`Contents::create`] made.
///
/// # Errors
/// If Twilio refused, or the answer cannot be read.
pub fn created(response: &Response<Bytes>) -> Result<String, Refused> {
    text(&answer(response)?, "sid").ok_or(Refused::Unreadable)
}

/// The answer to [`Contents::submit`].
///
/// # Errors
/// If Twilio refused, or the answer cannot be read.
pub fn submitted(response: &Response<Bytes>) -> Result<Written, Refused> {
    let answer = answer(response)?;
    let status = text(&answer, "status").and_then(|status| approval(&status));
    Ok(Written { id: None, status, category: text(&answer, "category") })
}

fn answer(response: &Response<Bytes>) -> Result<Value, Refused> {
    let told: Result<Value, _> = serde_json::from_slice(response.body());
    if response.status().is_success() {
        return told.map_err(|_| Refused::Unreadable);
    }
    let told = told.unwrap_or_default();
    Err(Refused::Said {
        status: response.status().as_u16(),
        code: told.get("code").and_then(Value::as_i64),
        said: text(&told, "message").and_then(|said| shortened(&said, 300)),
    })
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn one(content: &Value) -> Option<Listed> {
    // Told flat in some answers, by channel in others.
    let asked = content.get("approval_requests").unwrap_or(&Value::Null);
    let asked = asked.get("whatsapp").unwrap_or(asked);
    let name = text(asked, "name").or_else(|| text(content, "friendly_name"))?;
    Some(Listed {
        id: text(content, "sid")?,
        name: template_of(&name).to_owned(),
        language: text(content, "language")?.replace('-', "_"),
        status: approval(&text(asked, "status")?)?,
        category: text(asked, "category").map(|category| category.to_uppercase()),
        quality: None,
        reason: text(asked, "rejection_reason"),
        definition: content.get("types").and_then(Value::as_object).and_then(definition),
    })
}

/// None if nobody has asked yet. What is not known does not go out.
fn approval(status: &str) -> Option<Approval> {
    match status {
        "unsubmitted" => None,
        "received" => Some(Approval::Pending),
        other => Some(other.parse().unwrap_or(Approval::Pending)),
    }
}

/// What a content says, in the first of its types that has a body.
fn definition(types: &Map<String, Value>) -> Option<Definition> {
    let (_, said) = types.iter().find(|(_, said)| said.get("body").is_some_and(Value::is_string))?;
    let media = said.get("media").and_then(Value::as_array).is_some_and(|media| !media.is_empty());
    let header = text(said, "header_text").map(Heading::Text);
    let actions = said.get("actions").and_then(Value::as_array);
    Some(Definition {
        header: header.or(media.then(|| Heading::Media(MEDIA.to_owned()))),
        body: text(said, "body")?,
        footer: text(said, "footer"),
        buttons: actions.into_iter().flatten().map(button).collect(),
    })
}

fn button(action: &Value) -> Pressable {
    let kind = text(action, "type").unwrap_or_else(|| "QUICK_REPLY".to_owned()).to_lowercase();
    let title = text(action, "title").unwrap_or_default();
    let (kind, title, target) = match kind.as_str() {
        "url" => (kind, title, text(action, "url")),
        "phone_number" => ("phone".to_owned(), title, text(action, "phone")),
        "copy_code" => (kind, String::new(), None),
        _ => (kind, title, None),
    };
    Pressable { kind, text: title, target }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::{Catalogue, Settings, shipped_events, shipped_messages};

    fn response(status: u16, body: &Value) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    }

    fn shipped() -> Catalogue {
        let settings = Settings { senders: vec!["main".into()], ..Settings::default() };
        Catalogue::load(&shipped_messages(), &shipped_events(), &settings).unwrap()
    }

    #[test]
    fn what_is_shipped_says_the_same_when_twilio_gives_it_back() {
        let catalogue = shipped();
        for template in catalogue.templates() {
            for language in template.languages() {
                let (ours, example) =
                    (template.definition(language).unwrap(), catalogue.fill_example(template, language).unwrap());
                let mut made = content(template.name(), language, &ours, &example).unwrap();
                made["sid"] = "HX0123456789abcdef0123456789abcdef".into();
                made["approval_requests"] =
                    json!({"name": template.name(), "category": "UTILITY", "status": "approved"});
                let page = listed(&response(200, &json!({"contents": [made], "meta": {}}))).unwrap();
                let spoken = spoken(&ours, &example).unwrap();
                assert_eq!(page.listed[0].definition.as_ref(), Some(&spoken), "{} {language}", template.name());
                let numbers = super::super::content::content_variables(&example).unwrap().unwrap_or_default();
                let sent: Map<String, Value> = serde_json::from_str(&numbers).unwrap();
                assert_eq!(made_variables(&content(template.name(), language, &ours, &example).unwrap()), sent);
            }
        }
    }

    fn made_variables(content: &Value) -> Map<String, Value> {
        content["variables"].as_object().unwrap().clone()
    }

    #[test]
    fn a_template_with_buttons_of_two_kinds_is_a_card() {
        let catalogue = shipped();
        let template = catalogue.template("shipment_dispatched").unwrap();
        let example = catalogue.fill_example(template, "en").unwrap();
        let made = content(template.name(), "en", &template.definition("en").unwrap(), &example).unwrap();
        insta::assert_json_snapshot!(made);
    }

    #[test]
    fn approvals_are_read_flat_and_by_channel_and_what_nobody_asked_for_is_none() {
        let with = |asked: Value| {
            json!({"sid": "HX1", "friendly_name": "thanks", "language": "es", "types": {"twilio/text": {"body": "Gracias."}},
                "approval_requests": asked})
        };
        let asked = json!({"name": "thanks_v0a1b2c3d", "category": "utility", "status": "rejected", "rejection_reason": "Too short"});
        let next = "https://content.example/v1/ContentAndApprovals?PageSize=100&Page=1&PageToken=x";
        let page = listed(&response(
            200,
            &json!({"contents": [with(asked.clone()), with(json!({"whatsapp": asked})),
            with(json!({"name": "", "status": "unsubmitted"}))], "meta": {"next_page_url": next}}),
        ));
        let page = page.unwrap();
        assert_eq!(page.listed.len(), 2);
        assert_eq!(page.listed[0], page.listed[1]);
        let one = &page.listed[0];
        assert_eq!(
            (one.name.as_str(), one.status, one.category.as_deref()),
            ("thanks", Approval::Rejected, Some("UTILITY"))
        );
        assert_eq!(page.next.as_deref(), Some("PageSize=100&Page=1&PageToken=x"));
        assert_eq!(template_of("order_very_new"), "order_very_new");
        let later = approval_name("thanks", Some(&Definition::default()));
        assert_eq!(template_of(&later), "thanks");
    }

    #[test]
    fn a_refusal_is_told_in_twilios_words_and_passwords_are_not_printed() {
        let refused =
            created(&response(400, &json!({"code": 20001, "message": "Language is not supported", "status": 400})));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the provider refused (HTTP 400, code 20001): Language is not supported"
        );
        let at = Contents::new("https://content.example", "AC1", &"secret".to_owned().into()).unwrap();
        assert!(!format!("{at:?}").contains("secret") && !format!("{at:?}").contains("QUMx"));
        assert_eq!(at.list(None).uri().to_string(), "https://content.example/v1/ContentAndApprovals?PageSize=100");
        assert_eq!(
            at.submit("HX1", "thanks", "UTILITY").uri().to_string(),
            "https://content.example/v1/Content/HX1/ApprovalRequests/whatsapp"
        );
    }
}
