//! One message as a request to `POST /2010-04-01/Accounts/{sid}/Messages.json`: a template or a free text on WhatsApp, or an SMS.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};

use super::content::content_variables;
use crate::{
    domain::{
        message::{Content, Outgoing, Recipient},
        notification::{Outcome, Reason},
        phone::Phone,
    },
    provider::{Evidence, Provider, Sight, Sought, reason},
};

/// What a number at Twilio sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Sms,
    Whatsapp,
}

impl Channel {
    /// A number as it is written on this channel.
    pub(super) fn address(self, number: &str) -> String {
        match self {
            Channel::Sms => number.to_owned(),
            Channel::Whatsapp => format!("whatsapp:{number}"),
        }
    }
}

/// What a sender is made of.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Without a slash at its end (`https://api.twilio.com`).
    pub base_url: &'a str,
    pub account_sid: &'a str,
    /// If given, the service chooses the number.
    pub service_sid: Option<&'a str>,
    pub number: Option<&'a Phone>,
    /// Who asks: the account itself with its auth token, or an API key with its secret.
    pub user: &'a str,
    pub password: &'a SecretString,
    /// Where Twilio is to report what becomes of messages; each adds its own id.
    pub callback: &'a str,
}

/// An account and the number, or the service that chooses one. Prints without the password.
#[derive(Debug, Clone)]
pub struct Twilio {
    pub(super) channel: Channel,
    pub(super) address: Uri,
    pub(super) authorization: HeaderValue,
    pub(super) from: (&'static str, String),
    callback: String,
}

/// Why a sender's settings make no request. Names the setting, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSender {
    #[error("the base URL and the account must make an address")]
    Address,
    #[error("the auth token, or the API key and its secret, must be visible ASCII characters")]
    Token,
    #[error("there is neither a number nor a messaging service")]
    From,
}

/// In seconds: longer than that Twilio keeps nothing.
const LIFE_MAX: u64 = 36_000;

impl Twilio {
    /// # Errors
    /// If a part of the account cannot be a part of a request.
    pub fn new(channel: Channel, of: Account<'_>) -> Result<Twilio, BadSender> {
        let address = format!("{}/2010-04-01/Accounts/{}/Messages.json", of.base_url, of.account_sid);
        let address = address.parse::<Uri>().map_err(|_| BadSender::Address)?;
        let password = of.password.expose_secret();
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible(password) || !visible(of.user) {
            return Err(BadSender::Token);
        }
        let basic = STANDARD.encode(format!("{}:{password}", of.user));
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}")).map_err(|_| BadSender::Token)?;
        authorization.set_sensitive(true);
        let from = match (of.service_sid, of.number) {
            (Some(service), _) => ("MessagingServiceSid", service.to_owned()),
            (None, Some(number)) => ("From", channel.address(number.reveal())),
            (None, None) => return Err(BadSender::From),
        };
        Ok(Twilio { channel, address, authorization, from, callback: of.callback.to_owned() })
    }
}

impl Provider for Twilio {
    fn encode(&self, outgoing: &Outgoing) -> Result<Request<Bytes>, Reason> {
        let Recipient::Number(to) = &outgoing.to else { return Err(reason::RECIPIENT_NEEDS_PHONE) };
        let mut body = form_urlencoded::Serializer::new(String::with_capacity(512));
        body.append_pair("To", &self.channel.address(to)).append_pair(self.from.0, &self.from.1);
        match (&outgoing.content, self.channel) {
            (Content::Text(text), _) => {
                body.append_pair("Body", text);
            }
            (Content::Template { .. }, Channel::Sms) => return Err(reason::TEMPLATE_UNAVAILABLE),
            (Content::Template { content_id, filled, .. }, Channel::Whatsapp) => {
                body.append_pair("ContentSid", content_id.as_deref().ok_or(reason::CONTENT_UNKNOWN)?);
                if let Some(variables) = content_variables(filled)? {
                    body.append_pair("ContentVariables", &variables);
                }
            }
        }
        // The attempt is in the address, so that a report is ours even if the answer was lost.
        body.append_pair("StatusCallback", &format!("{}?attempt={}", self.callback, outgoing.tag));
        body.append_pair("ValidityPeriod", &outgoing.life.as_secs().clamp(1, LIFE_MAX).to_string());
        let mut request = Request::new(Bytes::from(body.finish()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.clone();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        Ok(request)
    }

    fn decode(&self, response: &Response<Bytes>) -> Outcome {
        super::decode(response)
    }

    fn wants_content_id(&self) -> bool {
        self.channel == Channel::Whatsapp
    }

    fn evidence(&self) -> Evidence {
        Evidence::ReportsAndList
    }

    fn look(&self, sought: &Sought<'_>) -> Option<Request<Bytes>> {
        self.ask_for_list(sought.to, sought.latest)
    }

    fn seen(&self, sought: &Sought<'_>, answer: &Response<Bytes>) -> Sight {
        self.find_in_list(sought, answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        message::{Filled, Parameter, Value},
        notification::AttemptId,
    };

    const ATTEMPT: &str = "0192f0c16d7e7c529a5e6f6a0f0e3b11.2";

    fn twilio(channel: Channel, service_sid: Option<&str>, numbered: bool) -> Result<Twilio, BadSender> {
        let (password, number) = (SecretString::from("secret"), Phone::parse("+34600000001").unwrap());
        let account = Account {
            base_url: "https://api.twilio.com",
            account_sid: "AC0",
            service_sid,
            number: numbered.then_some(&number),
            user: "SK0",
            password: &password,
            callback: "https://r.example/webhooks/shop",
        };
        Twilio::new(channel, account)
    }

    fn outgoing(content: Content) -> Outgoing {
        let notification = Uuid::from_u128(0x0192_f0c1_6d7e_7c52_9a5e_6f6a_0f0e_3b11);
        Outgoing {
            to: Recipient::Number("+34600111222".to_owned()),
            content,
            tag: AttemptId { notification, number: 2 },
            life: Duration::from_secs(90_000),
        }
    }

    fn template(content_id: Option<&str>) -> Content {
        let parameter = Parameter { name: Some("name".to_owned()), value: Value::Text("Ana".to_owned()) };
        Content::Template {
            name: "order_shipped".to_owned(),
            language: "es".to_owned(),
            content_id: content_id.map(str::to_owned),
            filled: Filled { header: None, body: vec![parameter], buttons: Vec::new() },
        }
    }

    fn pairs(twilio: &Twilio, outgoing: &Outgoing) -> Vec<(String, String)> {
        form_urlencoded::parse(twilio.encode(outgoing).unwrap().body()).into_owned().collect()
    }

    fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn a_template_goes_by_its_content_with_numbered_variables() {
        let shop = twilio(Channel::Whatsapp, None, true).unwrap();
        assert!(!format!("{shop:?}").contains("secret"));
        let message = outgoing(template(Some("HX0")));
        let request = shop.encode(&message).unwrap();
        assert_eq!(request.uri(), "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json");
        assert_eq!(request.headers()["authorization"], "Basic U0swOnNlY3JldA==");
        let expected = owned([
            ("To", "whatsapp:+34600111222"),
            ("From", "whatsapp:+34600000001"),
            ("ContentSid", "HX0"),
            ("ContentVariables", r#"{"1":"Ana"}"#),
            ("StatusCallback", &format!("https://r.example/webhooks/shop?attempt={ATTEMPT}")),
            ("ValidityPeriod", "36000"),
        ]);
        assert_eq!(pairs(&shop, &message), expected);
        assert_eq!(shop.encode(&outgoing(template(None))).unwrap_err(), reason::CONTENT_UNKNOWN);
    }

    #[test]
    fn a_free_text_is_a_body_and_lives_no_longer_than_it_may() {
        let shop = twilio(Channel::Whatsapp, Some("MG0"), false).unwrap();
        let message = Outgoing { life: Duration::from_millis(200), ..outgoing(Content::Text("Hola & adiós".into())) };
        let expected = owned([
            ("To", "whatsapp:+34600111222"),
            ("MessagingServiceSid", "MG0"),
            ("Body", "Hola & adiós"),
            ("StatusCallback", &format!("https://r.example/webhooks/shop?attempt={ATTEMPT}")),
            ("ValidityPeriod", "1"),
        ]);
        assert_eq!(pairs(&shop, &message), expected);
    }

    #[test]
    fn an_sms_is_a_text_to_a_plain_number() {
        let sms = twilio(Channel::Sms, None, true).unwrap();
        let text = outgoing(Content::Text("Hola".into()));
        let sent = pairs(&sms, &text);
        assert_eq!(sent[..3], owned([("To", "+34600111222"), ("From", "+34600000001"), ("Body", "Hola")]));
        assert_eq!(sms.encode(&outgoing(template(Some("HX0")))).unwrap_err(), reason::TEMPLATE_UNAVAILABLE);
        let nameless = Outgoing { to: Recipient::User("ES.7001".into()), ..text };
        assert_eq!(sms.encode(&nameless).unwrap_err(), reason::RECIPIENT_NEEDS_PHONE);
        assert_eq!(twilio(Channel::Sms, None, false).unwrap_err(), BadSender::From);
    }
}
