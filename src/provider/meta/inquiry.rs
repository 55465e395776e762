//! Questions to Meta about a sender: its number, its account, its token, and where its webhooks go. And what the answers say, apart from
//! a number's, which is `number`'s.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header::AUTHORIZATION};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    encode::{BadSender, Meta},
    number::{answer, fields},
};
use crate::domain::notification::Failure;

/// Asks about one sender. Prints without secrets.
#[derive(Debug, Clone)]
pub struct Inquiry {
    root: String,
    number: String,
    account: Option<String>,
    fields: String,
    token: SecretString,
    authorization: HeaderValue,
}

impl Inquiry {
    /// As [`Meta::new`], and the account's id if it is known.
    ///
    /// # Errors
    /// If one of them cannot be a part of a request.
    pub fn new(
        base_url: &str,
        version: &str,
        phone_number_id: &str,
        account: Option<&str>,
        token: &SecretString,
    ) -> Result<Inquiry, BadSender> {
        let authorization = Meta::new(base_url, version, phone_number_id, token)?.authorization;
        Ok(Inquiry {
            root: format!("{}/{version}", base_url.trim_end_matches('/')),
            number: phone_number_id.to_owned(),
            account: account.map(str::to_owned),
            fields: fields(version),
            token: token.clone(),
            authorization,
        })
    }

    /// How the number stands: [`super::number()`] reads the answer.
    #[must_use]
    pub fn number(&self) -> Request<Bytes> {
        self.get(&format!("{}?fields={}", self.number, self.fields))
    }

    /// What the token is and may: [`token`].
    #[must_use]
    pub fn token(&self) -> Request<Bytes> {
        self.get(&format!("debug_token?input_token={}", escaped(self.token.expose_secret())))
    }

    /// The account: [`account`]. None if its id is not known.
    #[must_use]
    pub fn account(&self) -> Option<Request<Bytes>> {
        let id = self.account.as_deref()?;
        Some(self.get(&format!("{id}?fields=id,name,account_review_status,business_verification_status")))
    }

    /// The account's numbers: [`numbers`].
    #[must_use]
    pub fn numbers(&self) -> Option<Request<Bytes>> {
        Some(self.get(&format!("{}/phone_numbers?fields=id&limit=100", self.account.as_deref()?)))
    }

    /// The apps that get the account's webhooks: [`subscribers`].
    #[must_use]
    pub fn subscribers(&self) -> Option<Request<Bytes>> {
        Some(self.get(&format!("{}/subscribed_apps", self.account.as_deref()?)))
    }

    /// The account's approved templates, a page of them: [`approved`].
    #[must_use]
    pub fn approved(&self) -> Option<Request<Bytes>> {
        Some(self.get(&format!(
            "{}/message_templates?fields=name,language&status=APPROVED&limit=300",
            self.account.as_deref()?
        )))
    }

    /// Where an app's webhooks go: [`callback`]. Meta tells only who has the app's secret, which is thereby proved.
    #[must_use]
    pub fn callback(&self, app: &str, app_secret: &SecretString) -> Request<Bytes> {
        let mut request = self.get(&format!("{}/subscriptions", escaped(app)));
        if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {app}|{}", app_secret.expose_secret())) {
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request
    }

    fn get(&self, path: &str) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        // Its parts were checked or escaped. If they ever make no address, nobody is reached, which is told.
        *request.uri_mut() = format!("{}/{path}", self.root).parse().unwrap_or_else(|_| Uri::default());
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request
    }
}

/// For any place in a path or query; it has no space.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A token, as Meta describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Token {
    pub app_id: Option<String>,
    pub is_valid: bool,
    /// Unix seconds; 0 or none if it does not end.
    expires_at: Option<i64>,
    pub scopes: Vec<String>,
}

impl Token {
    /// When it ends, if it does.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.filter(|second| *second > 0).and_then(|second| Timestamp::from_second(second).ok())
    }
}

/// The answer to a question about the token.
///
/// # Errors
/// What Meta refused with.
pub fn token(response: &Response<Bytes>) -> Result<Token, Failure> {
    answer::<Data<Token>>(response).map(|answer| answer.data)
}

/// A business account, as far as it matters for sending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Account {
    pub name: Option<String>,
    /// `APPROVED`, `PENDING`, `REJECTED`.
    pub account_review_status: Option<String>,
    /// `verified`, or the business may write to 250 people a day.
    pub business_verification_status: Option<String>,
}

/// The answer to a question about the account.
///
/// # Errors
/// What Meta refused with.
pub fn account(response: &Response<Bytes>) -> Result<Account, Failure> {
    answer(response)
}

/// The ids of an account's numbers.
///
/// # Errors
/// What Meta refused with.
pub fn numbers(response: &Response<Bytes>) -> Result<Vec<String>, Failure> {
    answer::<Data<Vec<Named>>>(response).map(|answer| answer.data.into_iter().filter_map(|one| one.id).collect())
}

/// The ids of the apps that get the account's webhooks.
///
/// # Errors
/// What Meta refused with.
pub fn subscribers(response: &Response<Bytes>) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct App {
        whatsapp_business_api_data: Named,
    }
    answer::<Data<Vec<App>>>(response)
        .map(|apps| apps.data.into_iter().map(|app| app.whatsapp_business_api_data.id.unwrap_or_default()).collect())
}

/// Names and languages of approved templates.
///
/// # Errors
/// What Meta refused with.
pub fn approved(response: &Response<Bytes>) -> Result<Vec<(String, String)>, Failure> {
    #[derive(Deserialize)]
    struct Template {
        name: String,
        language: String,
    }
    answer::<Data<Vec<Template>>>(response)
        .map(|templates| templates.data.into_iter().map(|one| (one.name, one.language)).collect())
}

/// Where an app has the webhooks of WhatsApp sent, and which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callback {
    pub url: String,
    pub active: bool,
    /// `messages` and so on.
    pub fields: Vec<String>,
}

/// The answer to a question about an app's subscriptions; none if it has none of WhatsApp.
///
/// # Errors
/// What Meta refused with: an invalid token is an app secret that is not this app's.
pub fn callback(response: &Response<Bytes>) -> Result<Option<Callback>, Failure> {
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Subscription {
        object: String,
        callback_url: String,
        active: bool,
        fields: Vec<Field>,
    }
    #[derive(Deserialize)]
    struct Field {
        name: String,
    }
    let all = answer::<Data<Vec<Subscription>>>(response)?.data;
    let ours = all.into_iter().find(|one| one.object == "whatsapp_business_account");
    Ok(ours.map(|one| Callback {
        url: one.callback_url,
        active: one.active,
        fields: one.fields.into_iter().map(|field| field.name).collect(),
    }))
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &'static str) -> Response<Bytes> {
        Response::new(Bytes::from_static(body.as_bytes()))
    }

    fn inquiry() -> Inquiry {
        let token = SecretString::from("EAAG|secret");
        Inquiry::new("https://graph.facebook.com/", "v25.0", "106540352242922", Some("102290129340398"), &token)
            .unwrap()
    }

    #[test]
    fn questions_go_to_their_addresses_with_the_token() {
        let ask = inquiry();
        let address = |request: &Request<Bytes>| request.uri().to_string();
        let number = ask.number();
        assert!(
            address(&number)
                .starts_with("https://graph.facebook.com/v25.0/106540352242922?fields=display_phone_number,")
        );
        assert_eq!(number.headers()[AUTHORIZATION], "Bearer EAAG|secret");
        assert_eq!(address(&ask.token()), "https://graph.facebook.com/v25.0/debug_token?input_token=EAAG%7Csecret");
        let subscribers = ask.subscribers().unwrap();
        assert_eq!(address(&subscribers), "https://graph.facebook.com/v25.0/102290129340398/subscribed_apps");
        let callback = ask.callback("500", &SecretString::from("app-secret"));
        assert_eq!(address(&callback), "https://graph.facebook.com/v25.0/500/subscriptions");
        assert_eq!(callback.headers()[AUTHORIZATION], "Bearer 500|app-secret");
        let printed = format!("{ask:?} {:?}", callback.headers());
        assert!(!printed.contains("EAAG") && !printed.contains("app-secret"), "{printed}");
    }

    #[test]
    fn a_token_says_what_it_may_and_until_when() {
        let body = r#"{"data":{"app_id":"500","type":"SYSTEM_USER","is_valid":true,"expires_at":0,
            "scopes":["whatsapp_business_messaging"],"user_id":"7"}}"#;
        let told = token(&response(body)).unwrap();
        assert!(told.is_valid && told.expires_at().is_none());
        assert_eq!(
            (told.app_id.as_deref(), told.scopes),
            (Some("500"), vec!["whatsapp_business_messaging".to_owned()])
        );
        let ends = token(&response(r#"{"data":{"is_valid":false,"expires_at":1795377600}}"#)).unwrap();
        assert_eq!(ends.expires_at().unwrap().to_string(), "2026-11-22T20:00:00Z");
    }

    #[test]
    fn subscribers_numbers_and_callbacks_are_read() {
        let apps = r#"{"data":[{"whatsapp_business_api_data":{"id":"5","name":"Recado","link":"x"}}]}"#;
        assert_eq!(subscribers(&response(apps)).unwrap(), ["5"]);
        assert_eq!(subscribers(&response(r#"{"data":[]}"#)).unwrap().len(), 0);
        assert_eq!(numbers(&response(r#"{"data":[{"id":"1"},{"id":"2"}],"paging":{}}"#)).unwrap(), ["1", "2"]);
        let body = r#"{"data":[{"object":"page","callback_url":"https://other.example","active":true,"fields":[]},
            {"object":"whatsapp_business_account","callback_url":"https://r.example/webhooks/main","active":true,
             "fields":[{"name":"messages","version":"v25.0"}]}]}"#;
        let told = callback(&response(body)).unwrap().unwrap();
        assert_eq!((told.url.as_str(), told.fields), ("https://r.example/webhooks/main", vec!["messages".to_owned()]));
        assert_eq!(callback(&response(r#"{"data":[]}"#)), Ok(None));
    }
}
