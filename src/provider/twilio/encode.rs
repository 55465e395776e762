//! One SMS as a request to `POST /2010-04-01/Accounts/{sid}/Messages.json`.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::phone::Phone;

/// One SMS.
#[derive(Debug, Clone)]
pub struct Sms<'a> {
    pub to: &'a Phone,
    pub body: &'a str,
    /// Where Twilio reports what becomes of it; the address names our own id, so that a report is ours even if the answer was lost.
    pub callback: &'a str,
}

/// An account and the number, or the service that chooses one. Prints without the token.
#[derive(Debug, Clone)]
pub struct Twilio {
    address: Uri,
    authorization: HeaderValue,
    from: (&'static str, String),
}

/// Why a sender's settings make no request. Names the setting, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSender {
    #[error("the base URL and the account must make an address")]
    Address,
    #[error("the auth token must be visible ASCII characters")]
    Token,
    #[error("there is neither a number nor a messaging service")]
    From,
}

/// How long Twilio may try: a link that comes an hour late is of no use to whoever waits for it.
const VALID_SECONDS: &str = "3600";

impl Twilio {
    /// `base_url` without a slash at its end (`https://api.twilio.com`).
    ///
    /// # Errors
    /// If one of them cannot be a part of a request.
    pub fn new(
        base_url: &str,
        account_sid: &str,
        service_sid: Option<&str>,
        number: Option<&Phone>,
        token: &SecretString,
    ) -> Result<Twilio, BadSender> {
        let address = format!("{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json");
        let address = address.parse::<Uri>().map_err(|_| BadSender::Address)?;
        let token = token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadSender::Token);
        }
        let basic = STANDARD.encode(format!("{account_sid}:{token}"));
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}")).map_err(|_| BadSender::Token)?;
        authorization.set_sensitive(true);
        let from = match (service_sid, number) {
            (Some(service), _) => ("MessagingServiceSid", service.to_owned()),
            (None, Some(number)) => ("From", number.reveal().to_owned()),
            (None, None) => return Err(BadSender::From),
        };
        Ok(Twilio { address, authorization, from })
    }

    /// The request that sends `sms`.
    #[must_use]
    pub fn encode(&self, sms: &Sms<'_>) -> Request<Bytes> {
        let mut body = form_urlencoded::Serializer::new(String::with_capacity(512));
        body.append_pair("To", sms.to.reveal())
            .append_pair(self.from.0, &self.from.1)
            .append_pair("Body", sms.body)
            .append_pair("StatusCallback", sms.callback)
            .append_pair("ValidityPeriod", VALID_SECONDS);
        let mut request = Request::new(Bytes::from(body.finish()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.clone();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sms_is_a_form_with_everything_that_twilio_needs() {
        let token = SecretString::from("secret");
        let number = Phone::parse("+34600000001").unwrap();
        let twilio = Twilio::new("https://api.twilio.com", "AC0", None, Some(&number), &token).unwrap();
        assert!(!format!("{twilio:?}").contains("secret"));
        let to = Phone::parse("+34600111222").unwrap();
        let sms = Sms { to: &to, body: "Hola & adiós", callback: "https://r.example/webhooks/sms?reply=1" };
        let request = twilio.encode(&sms);
        assert_eq!(request.uri(), "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json");
        assert_eq!(request.headers()["authorization"], "Basic QUMwOnNlY3JldA==");
        let pairs: Vec<_> = form_urlencoded::parse(request.body()).into_owned().collect();
        let expected = [
            ("To", "+34600111222"),
            ("From", "+34600000001"),
            ("Body", "Hola & adiós"),
            ("StatusCallback", "https://r.example/webhooks/sms?reply=1"),
            ("ValidityPeriod", "3600"),
        ];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let service = Twilio::new("https://api.twilio.com", "AC0", Some("MG0"), Some(&number), &token).unwrap();
        assert!(String::from_utf8(service.encode(&sms).body().to_vec()).unwrap().contains("MessagingServiceSid=MG0"));
        assert_eq!(Twilio::new("https://api.twilio.com", "AC0", None, None, &token).unwrap_err(), BadSender::From);
    }
}
