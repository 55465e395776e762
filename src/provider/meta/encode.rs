//! One message, a template or a free text, as a request to `POST /{version}/{phone-number-id}/messages`.
//!
//! Values are taken as they are: they were checked against the template when they were filled in.

use std::fmt::Display;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{
    domain::{
        message::{Button, ButtonValue, Content, Filled, Header, Outgoing, Parameter, Recipient, Value},
        notification::{AttemptId, Outcome, Reason},
    },
    provider::{Evidence, Provider, Sight, Sought},
};

/// One business number: its address and its credentials, ready to be stamped on requests. Prints without the token.
#[derive(Debug, Clone)]
pub struct Meta {
    address: Uri,
    pub(super) authorization: HeaderValue,
}

/// Why a sender's settings make no request. Names the setting, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSender {
    #[error("the base URL must be http:// or https:// with a host, and without a query")]
    BaseUrl,
    /// Without a version Meta takes the newest one, and so changes under us.
    #[error("the version must look like v25.0")]
    Version,
    #[error("the phone number id must be letters and digits")]
    PhoneNumberId,
    #[error("the access token must be visible ASCII characters")]
    Token,
}

impl Meta {
    /// `base_url` without the version (`https://graph.facebook.com`), `version` pinned (`v25.0`).
    ///
    /// # Errors
    /// If one of them cannot be a part of a request.
    pub fn new(base_url: &str, version: &str, phone_number_id: &str, token: &SecretString) -> Result<Meta, BadSender> {
        let root = root(base_url, version)?;
        if phone_number_id.is_empty() || !phone_number_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BadSender::PhoneNumberId);
        }
        let address = format!("{root}/{phone_number_id}/messages").parse().map_err(|_| BadSender::BaseUrl)?;
        Ok(Meta { address, authorization: bearer(token)? })
    }
}

impl Provider for Meta {
    fn encode(&self, outgoing: &Outgoing) -> Result<Request<Bytes>, Reason> {
        let mut body = Vec::with_capacity(1_024);
        if serde_json::to_writer(&mut body, &Message::from(outgoing)).is_err() {
            // Strings and integers always make JSON. If that ever changes, Meta refuses an empty body and sends nothing.
            body.clear();
        }
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.clone();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(request)
    }

    fn decode(&self, response: &Response<Bytes>) -> Outcome {
        super::decode(response)
    }

    fn wants_content_id(&self) -> bool {
        false
    }

    /// Meta has a history of a number's messages, which says neither to whom nor what.
    fn evidence(&self) -> Evidence {
        Evidence::Reports
    }

    fn look(&self, _: &Sought<'_>) -> Option<Request<Bytes>> {
        None
    }

    fn seen(&self, _: &Sought<'_>, _: &Response<Bytes>) -> Sight {
        Sight::Unreadable
    }
}

/// Where everything of this version of the API begins.
pub(super) fn root(base_url: &str, version: &str) -> Result<String, BadSender> {
    let base = base_url.trim_end_matches('/');
    let uri = base.parse::<Uri>().map_err(|_| BadSender::BaseUrl)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() || uri.query().is_some() {
        return Err(BadSender::BaseUrl);
    }
    if is_version(version) { Ok(format!("{base}/{version}")) } else { Err(BadSender::Version) }
}

/// The header that carries a token; it prints as nothing.
pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, BadSender> {
    let token = token.expose_secret();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadSender::Token);
    }
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| BadSender::Token)?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

fn is_version(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| digits(major) && digits(minor))
}

#[derive(Serialize)]
struct Message<'a> {
    messaging_product: &'static str,
    recipient_type: &'static str,
    /// With its `+`: without it Meta puts the sender's own country code in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "shown")]
    biz_opaque_callback_data: &'a AttemptId,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<Template<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextBody<'a>>,
}

impl<'a> From<&'a Outgoing> for Message<'a> {
    fn from(outgoing: &'a Outgoing) -> Self {
        let (to, recipient) = match &outgoing.to {
            Recipient::Number(number) => (Some(number.as_str()), None),
            Recipient::User(user) => (None, Some(user.as_str())),
        };
        let (kind, template, text) = match &outgoing.content {
            Content::Template { name, language, filled, .. } => {
                let template = Template { name, language: Language { code: language }, components: Components(filled) };
                ("template", Some(template), None)
            }
            Content::Text(body) => ("text", None, Some(TextBody { preview_url: false, body })),
        };
        Message {
            messaging_product: "whatsapp",
            recipient_type: "individual",
            to,
            recipient,
            kind,
            biz_opaque_callback_data: &outgoing.tag,
            template,
            text,
        }
    }
}

#[derive(Serialize)]
struct TextBody<'a> {
    /// A picture of the linked page would open the link.
    preview_url: bool,
    body: &'a str,
}

#[derive(Serialize)]
struct Template<'a> {
    name: &'a str,
    language: Language<'a>,
    #[serde(skip_serializing_if = "Components::is_empty")]
    components: Components<'a>,
}

#[derive(Serialize)]
struct Language<'a> {
    code: &'a str,
}

struct Components<'a>(&'a Filled);

impl Components<'_> {
    fn is_empty(&self) -> bool {
        self.0.header.is_none() && self.0.body.is_empty() && self.0.buttons.is_empty()
    }
}

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let filled = self.0;
        let mut list = serializer.serialize_seq(None)?;
        if let Some(header) = &filled.header {
            list.serialize_element(&Component::Header { parameters: [Wire::from(header)] })?;
        }
        if !filled.body.is_empty() {
            list.serialize_element(&Component::Body { parameters: Texts(&filled.body) })?;
        }
        for button in &filled.buttons {
            list.serialize_element(&Component::from(button))?;
        }
        list.end()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Component<'a> {
    Header {
        parameters: [Wire<'a>; 1],
    },
    Body {
        parameters: Texts<'a>,
    },
    Button {
        sub_type: &'static str,
        /// Meta wants the number as a string.
        #[serde(serialize_with = "shown")]
        index: u8,
        parameters: [Wire<'a>; 1],
    },
}

impl<'a> From<&'a Button> for Component<'a> {
    fn from(button: &'a Button) -> Self {
        let (sub_type, parameter) = match &button.value {
            ButtonValue::UrlSuffix(suffix) => ("url", Wire::Text { parameter_name: None, text: suffix }),
            ButtonValue::Payload(payload) => ("quick_reply", Wire::Payload { payload }),
            // Capitals, unlike its neighbours: so Meta's page on coupon templates has it.
            ButtonValue::CopyCode(code) => ("COPY_CODE", Wire::CouponCode { coupon_code: code }),
        };
        Component::Button { sub_type, index: button.index, parameters: [parameter] }
    }
}

struct Texts<'a>(&'a [Parameter]);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Wire::from))
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire<'a> {
    Text {
        #[serde(skip_serializing_if = "Option::is_none")]
        parameter_name: Option<&'a str>,
        text: &'a str,
    },
    Currency {
        #[serde(skip_serializing_if = "Option::is_none")]
        parameter_name: Option<&'a str>,
        currency: Currency<'a>,
    },
    DateTime {
        #[serde(skip_serializing_if = "Option::is_none")]
        parameter_name: Option<&'a str>,
        date_time: DateTime<'a>,
    },
    Image {
        image: Media<'a>,
    },
    Video {
        video: Media<'a>,
    },
    Document {
        document: Media<'a>,
    },
    Location {
        location: Place<'a>,
    },
    Payload {
        payload: &'a str,
    },
    CouponCode {
        coupon_code: &'a str,
    },
}

#[derive(Serialize)]
struct Currency<'a> {
    fallback_value: &'a str,
    code: &'a str,
    amount_1000: i64,
}

#[derive(Serialize)]
struct DateTime<'a> {
    fallback_value: &'a str,
}

#[derive(Serialize)]
struct Media<'a> {
    link: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
}

#[derive(Serialize)]
struct Place<'a> {
    latitude: &'a str,
    longitude: &'a str,
    name: &'a str,
    address: &'a str,
}

impl<'a> From<&'a Parameter> for Wire<'a> {
    fn from(parameter: &'a Parameter) -> Self {
        let parameter_name = parameter.name.as_deref();
        match &parameter.value {
            Value::Text(text) => Wire::Text { parameter_name, text },
            Value::Currency { fallback, code, amount_1000 } => Wire::Currency {
                parameter_name,
                currency: Currency { fallback_value: fallback, code, amount_1000: *amount_1000 },
            },
            Value::DateTime { fallback } => {
                Wire::DateTime { parameter_name, date_time: DateTime { fallback_value: fallback } }
            }
        }
    }
}

impl<'a> From<&'a Header> for Wire<'a> {
    fn from(header: &'a Header) -> Self {
        match header {
            Header::Text(parameter) => Wire::from(parameter),
            Header::Image { link } => Wire::Image { image: Media { link, filename: None } },
            Header::Video { link } => Wire::Video { video: Media { link, filename: None } },
            Header::Document { link, filename } => {
                Wire::Document { document: Media { link, filename: Some(filename) } }
            }
            Header::Location { latitude, longitude, name, address } => {
                Wire::Location { location: Place { latitude, longitude, name, address } }
            }
        }
    }
}

fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
