//! Questions to Twilio about an account and its contents, and what the answers say. Of a number it tells nothing: neither its quality nor its
//! limits.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::decode;
use crate::{domain::notification::Failure, provider::answered};

/// Asks about one account. Prints without the password.
#[derive(Debug, Clone)]
pub struct Inquiry {
    account: String,
    contents: String,
    authorization: HeaderValue,
}

impl Inquiry {
    /// Addresses without a slash at their end; `user` is the account or an API key. None if these make no request.
    #[must_use]
    pub fn new(
        base_url: &str,
        content_base_url: &str,
        account_sid: &str,
        (user, password): (&str, &SecretString),
    ) -> Option<Inquiry> {
        let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        let mut authorization = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
        authorization.set_sensitive(true);
        Some(Inquiry {
            account: format!("{base_url}/2010-04-01/Accounts/{account_sid}.json"),
            contents: format!("{content_base_url}/v1/ContentAndApprovals"),
            authorization,
        })
    }

    /// The account: [`account`].
    #[must_use]
    pub fn account(&self) -> Request<Bytes> {
        self.get(&self.account)
    }

    /// A page of its contents: [`approved`]. `after` is what the page before says of the next.
    #[must_use]
    pub fn contents(&self, after: Option<&str>) -> Request<Bytes> {
        self.get(&format!("{}?{}", self.contents, after.unwrap_or("PageSize=40")))
    }

    fn get(&self, address: &str) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        // If it ever is no address, nobody is reached, which is told.
        *request.uri_mut() = address.parse().unwrap_or_else(|_| Uri::default());
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request
    }
}

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Account {
    /// `active`, `suspended` or `closed`.
    pub status: Option<String>,
    /// `Full`, or `Trial`, which writes to few.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// The answer to a question about the account.
///
/// # Errors
/// What Twilio refused with.
pub fn account(response: &Response<Bytes>) -> Result<Account, Failure> {
    answered(response, decode)
}

/// A page of contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approved {
    /// Names and languages of those that WhatsApp has approved.
    pub contents: Vec<(String, String)>,
    /// Asks for the next page, if there is one.
    pub next: Option<String>,
}

/// The contents of a page that WhatsApp has approved.
///
/// # Errors
/// What Twilio refused with.
pub fn approved(response: &Response<Bytes>) -> Result<Approved, Failure> {
    #[derive(Deserialize)]
    struct Contents {
        contents: Vec<Content>,
        #[serde(default)]
        meta: Meta,
    }
    #[derive(Default, Deserialize)]
    struct Meta {
        next_page_url: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Content {
        language: String,
        approval_requests: Value,
    }
    let Contents { contents, meta } = answered::<Contents>(response, decode)?;
    let named = |one: Content| Some((approved_as(&one.approval_requests)?, one.language));
    // The address itself is ours, so that the password goes nowhere else.
    let next = meta.next_page_url.as_deref().and_then(|url| url.split_once('?')).map(|(_, query)| query.to_owned());
    Ok(Approved { contents: contents.into_iter().filter_map(named).collect(), next })
}

/// The name under which it was approved. The request stands there as it is, or under its channel: the documents and the answers differ.
fn approved_as(requests: &Value) -> Option<String> {
    let request = requests.get("whatsapp").unwrap_or(requests);
    let said = |key: &str| request.get(key).and_then(Value::as_str);
    (said("status") == Some("approved")).then(|| said("name")).flatten().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &'static str) -> Response<Bytes> {
        Response::new(Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn questions_go_to_their_addresses_with_the_credentials() {
        let password = SecretString::from("secret");
        let ask =
            Inquiry::new("https://api.twilio.com", "https://content.twilio.com", "AC1", ("SK1", &password)).unwrap();
        let account = ask.account();
        assert_eq!(account.uri(), "https://api.twilio.com/2010-04-01/Accounts/AC1.json");
        assert_eq!(account.headers()[AUTHORIZATION], "Basic U0sxOnNlY3JldA==");
        assert_eq!(ask.contents(None).uri(), "https://content.twilio.com/v1/ContentAndApprovals?PageSize=40");
        let next = ask.contents(Some("PageSize=40&Page=1&PageToken=x"));
        assert_eq!(next.uri(), "https://content.twilio.com/v1/ContentAndApprovals?PageSize=40&Page=1&PageToken=x");
        assert!(!format!("{ask:?}").contains("U0sx"));
    }

    #[test]
    fn an_account_and_its_approved_contents_are_read() {
        let told = account(&response(r#"{"sid":"AC1","status":"active","type":"Trial","friendly_name":"x"}"#)).unwrap();
        assert_eq!((told.status.as_deref(), told.kind.as_deref()), (Some("active"), Some("Trial")));
        let body = r#"{"contents":[
            {"sid":"HX1","language":"es","approval_requests":{"name":"order_confirmed","status":"approved"}},
            {"sid":"HX2","language":"en","approval_requests":{"whatsapp":{"name":"order_confirmed","status":"approved"}}},
            {"sid":"HX3","language":"pt_BR","approval_requests":{"name":"order_confirmed","status":"pending"}},
            {"sid":"HX4","language":"es","approval_requests":null}],
            "meta":{"next_page_url":"https://elsewhere.example/v1/ContentAndApprovals?PageSize=40&Page=1"}}"#;
        let named = |language: &str| ("order_confirmed".to_owned(), language.to_owned());
        let page = approved(&response(body)).unwrap();
        assert_eq!(page.contents, [named("es"), named("en")]);
        assert_eq!(page.next.as_deref(), Some("PageSize=40&Page=1"));
    }
}
