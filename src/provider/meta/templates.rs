//! Templates in Meta's management API: the requests that list, make and change them, and what their answers mean.

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    encode::{BadSender, bearer, root},
    facts::filled_text,
};
use crate::{
    domain::{
        fact::Approval,
        template::{Definition, Heading, Pressable},
    },
    provider::{
        templates::{Listed, Page, Refused, Written},
        verdict::shortened,
    },
};

/// An account's templates: where they are and the token that may change them. Prints without the token.
#[derive(Debug, Clone)]
pub struct Templates {
    root: String,
    account: String,
    authorization: HeaderValue,
}

/// What is asked of a template; the last three are not among Meta's usual fields.
const FIELDS: &str = "name,language,status,category,id,components,parameter_format,quality_score,rejected_reason";
const PAGE: &str = "100";

impl Templates {
    /// `account` is the id of the WhatsApp business account.
    ///
    /// # Errors
    /// If one of them cannot be a part of a request.
    pub fn new(base_url: &str, version: &str, account: &str, token: &SecretString) -> Result<Templates, BadSender> {
        let (root, authorization) = (root(base_url, version)?, bearer(token)?);
        Ok(Templates { root, account: account.to_owned(), authorization })
    }

    /// Asks for one page of the account's templates. The address of the next page is ours, so that the token goes nowhere else.
    #[must_use]
    pub fn list(&self, after: Option<&str>) -> Request<Bytes> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("fields", FIELDS).append_pair("limit", PAGE);
        if let Some(after) = after {
            query.append_pair("after", after);
        }
        let path = format!("{}/message_templates?{}", self.account, query.finish());
        self.request(Method::GET, &path, Bytes::new())
    }

    /// Makes a template: `{name, language, category, parameter_format, components}`.
    #[must_use]
    pub fn create(&self, template: &Value) -> Request<Bytes> {
        self.request(Method::POST, &format!("{}/message_templates", self.account), template.to_string().into())
    }

    /// Replaces what a template says. Its category can be changed only while it is not approved.
    #[must_use]
    pub fn edit(&self, id: &str, template: &Value, category: bool) -> Request<Bytes> {
        let mut change = json!({ "components": template["components"] });
        if let (true, Some(members)) = (category, change.as_object_mut()) {
            members.insert("category".to_owned(), template["category"].clone());
        }
        self.request(Method::POST, id, change.to_string().into())
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        // An id or account that makes no address was refused with the settings; Meta knows nothing at the root.
        *request.uri_mut() = format!("{}/{path}", self.root).parse().unwrap_or_default();
        *request.method_mut() = method;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

/// The answer to [`Templates::list`].
///
/// # Errors
/// If Meta refused, or the answer cannot be read.
pub fn listed(response: &Response<Bytes>) -> Result<Page, Refused> {
    #[derive(Deserialize)]
    struct Answer {
        data: Vec<Value>,
        #[serde(default)]
        paging: Value,
    }
    let Answer { data, paging } = answer(response)?;
    let next = paging.get("next").and_then(|_| paging.pointer("/cursors/after")).and_then(filled_text);
    Ok(Page { listed: data.iter().filter_map(one).collect(), next })
}

/// The answer to [`Templates::create`] and [`Templates::edit`].
///
/// # Errors
/// If Meta refused, or the answer cannot be read.
pub fn written(response: &Response<Bytes>) -> Result<Written, Refused> {
    let answer: Value = answer(response)?;
    let text = |key: &str| answer.get(key).and_then(filled_text);
    Ok(Written { id: text("id"), status: text("status").map(|status| approval(&status)), category: text("category") })
}

fn answer<T: for<'de> Deserialize<'de>>(response: &Response<Bytes>) -> Result<T, Refused> {
    if response.status().is_success() {
        return serde_json::from_slice(response.body()).map_err(|_| Refused::Unreadable);
    }
    let told: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let error = told.get("error").unwrap_or(&Value::Null);
    let words = ["/error_user_msg", "/error_data/details", "/message"];
    let said = words.into_iter().find_map(|place| error.pointer(place)).and_then(filled_text);
    Err(Refused::Said {
        status: response.status().as_u16(),
        code: error.get("code").and_then(Value::as_i64),
        said: said.and_then(|said| shortened(&said, 300)),
    })
}

fn one(template: &Value) -> Option<Listed> {
    let text = |key: &str| template.get(key).and_then(filled_text);
    Some(Listed {
        id: text("id").unwrap_or_default(),
        name: text("name")?,
        language: text("language")?.replace('-', "_"),
        status: approval(&text("status")?),
        category: text("category"),
        quality: template.pointer("/quality_score/score").and_then(filled_text),
        reason: text("rejected_reason").filter(|reason| reason != "NONE"),
        definition: template.get("components").and_then(Value::as_array).and_then(|all| definition(all)),
    })
}

/// What the listing's word means. What is not known does not go out.
fn approval(status: &str) -> Approval {
    match status {
        "PENDING_DELETION" => Approval::Deleted,
        other => other.to_lowercase().parse().unwrap_or(Approval::Pending),
    }
}

/// What a template's components say. None if there is no body: then it is none of the kind that files describe.
fn definition(components: &[Value]) -> Option<Definition> {
    let kind = |component: &Value| component.get("type").and_then(Value::as_str).unwrap_or_default().to_uppercase();
    let text = |component: &Value| component.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut read = Definition::default();
    for component in components {
        match kind(component).as_str() {
            "HEADER" => {
                let format = component.get("format").and_then(Value::as_str).unwrap_or("TEXT").to_lowercase();
                read.header = Some(match format.as_str() {
                    "text" => Heading::Text(text(component)),
                    _ => Heading::Media(format),
                });
            }
            "BODY" => read.body = text(component),
            "FOOTER" => read.footer = Some(text(component)),
            "BUTTONS" => {
                let buttons = component.get("buttons").and_then(Value::as_array);
                read.buttons.extend(buttons.into_iter().flatten().map(button));
            }
            // A component of a kind that no file can say: nothing that a file says is the same.
            other => read.buttons.push(Pressable { kind: other.to_lowercase(), ..Pressable::default() }),
        }
    }
    (!read.body.is_empty()).then_some(read)
}

fn button(button: &Value) -> Pressable {
    let text = |key: &str| button.get(key).and_then(filled_text);
    let kind = text("type").unwrap_or_default().to_lowercase();
    let (kind, target) = match kind.as_str() {
        "url" => (kind, text("url")),
        "phone_number" => ("phone".to_owned(), text("phone_number")),
        _ => (kind, None),
    };
    // Meta writes the words of a button that copies a code in the reader's language.
    let text = if kind == "copy_code" { None } else { text("text") };
    Pressable { kind, text: text.unwrap_or_default(), target }
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

    #[test]
    fn only_approved_means_approved() {
        assert_eq!(approval("APPROVED"), Approval::Approved);
        assert_eq!(approval("IN_APPEAL"), Approval::InAppeal);
        assert_eq!(approval("PENDING_DELETION"), Approval::Deleted);
        assert_eq!(approval("SOMETHING_NEW"), Approval::Pending);
    }

    #[test]
    fn what_is_shipped_says_the_same_when_meta_gives_it_back() {
        let settings = Settings { senders: vec!["main".into()], ..Settings::default() };
        let catalogue = Catalogue::load(&shipped_messages(), &shipped_events(), &settings).unwrap();
        let mut seen = 0;
        for template in catalogue.templates() {
            for language in template.languages() {
                let mut json = catalogue.meta_template(template, language).unwrap();
                json["status"] = "APPROVED".into();
                json["id"] = "7".into();
                let page = listed(&response(200, &json!({"data": [json]}))).unwrap();
                assert_eq!(page.listed[0].definition, template.definition(language), "{} {language}", template.name());
                seen += 1;
            }
        }
        assert_eq!(seen, 33);
    }

    #[test]
    fn a_page_that_is_not_the_last_says_how_to_go_on() {
        let paging = json!({"cursors": {"before": "a", "after": "b"}, "next": "https://elsewhere.example/"});
        assert_eq!(listed(&response(200, &json!({"data": [], "paging": paging}))).unwrap().next.as_deref(), Some("b"));
        let last = json!({"cursors": {"before": "a", "after": "b"}});
        assert_eq!(listed(&response(200, &json!({"data": [], "paging": last}))).unwrap().next, None);
    }

    #[test]
    fn a_refusal_is_told_in_metas_words() {
        let body = json!({"error": {"code": 100, "message": "Invalid parameter", "error_subcode": 2_388_024,
            "error_user_msg": "There is already content in this language."}});
        let refused = written(&response(400, &body)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the provider refused (HTTP 400, code 100): There is already content in this language."
        );
        assert_eq!(written(&response(200, &json!(3))).unwrap(), Written::default());
    }

    #[test]
    fn what_no_file_can_say_is_not_the_same_as_any_file() {
        let components = json!([{"type": "BODY", "text": "Hello."}, {"type": "LIMITED_TIME_OFFER"},
            {"type": "BUTTONS", "buttons": [{"type": "FLOW", "text": "Open"}]}]);
        let read = definition(components.as_array().unwrap()).unwrap();
        assert_eq!(read.buttons.iter().map(|b| b.kind.as_str()).collect::<Vec<_>>(), ["limited_time_offer", "flow"]);
    }

    #[test]
    fn an_edit_of_what_is_approved_leaves_the_category_alone() {
        let at = Templates::new("https://graph.example", "v25.0", "77", &"secret".to_owned().into()).unwrap();
        let template = json!({"category": "UTILITY", "components": [{"type": "BODY", "text": "Hi."}]});
        let edit = at.edit("12", &template, false);
        assert_eq!(edit.uri().to_string(), "https://graph.example/v25.0/12");
        assert!(!String::from_utf8_lossy(edit.body()).contains("UTILITY"));
        assert!(String::from_utf8_lossy(at.edit("12", &template, true).body()).contains("UTILITY"));
        assert!(!format!("{at:?}").contains("secret"));
        let list = at.list(Some("a b")).uri().to_string();
        assert!(list.starts_with("https://graph.example/v25.0/77/message_templates?fields=name%2C"), "{list}");
        assert!(list.ends_with("&limit=100&after=a+b"), "{list}");
    }
}
