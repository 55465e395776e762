//! What Twilio tells the business: one signed form to the exact address that it was given, for each status of a message and for
//! each thing that a person writes. Best effort: unless the address asks for more, it is tried twice, and only if no connection
//! could be made.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::super::accept::ms;
use super::super::feed::What;
use super::super::templates::Press;
use super::super::webhooks::{Who, hex};
use super::super::world::{Accepted, World};
use super::opt_out::OptOut;
use super::refused::usual_message;
use super::{Exchange, is_whatsapp, on_whatsapp};

/// A form to the business that is ready to be posted, with the value of `X-Twilio-Signature`.
#[derive(Debug, Clone)]
pub struct Post {
    pub url: String,
    pub form: String,
    pub signature: String,
}

/// A form that waits.
#[derive(Debug)]
pub struct Call {
    pub url: String,
    fields: Vec<(&'static str, String)>,
    /// The person whom it is about.
    pub wa_id: String,
    /// For a status.
    pub status: Option<Status>,
}

/// The status that a call tells of.
#[derive(Debug)]
pub struct Status {
    sid: String,
    name: &'static str,
    code: Option<u32>,
    /// Unix ms.
    at: i64,
}

impl Call {
    /// The same for each try of this call, and for no other.
    pub fn token(&self) -> String {
        let mut hash = Sha256::new();
        for (name, value) in &self.fields {
            hash.update(name);
            hash.update(value);
        }
        hex(&hash.finalize()).chars().take(36).collect()
    }
}

impl World {
    /// A call as it is posted now.
    pub(in crate::sim) fn written(&self, call: &Call) -> Post {
        let token = self.state().exchange.token.clone();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&call.fields);
        Post { url: call.url.clone(), form: form.finish(), signature: sign(&token, &call.url, &call.fields) }
    }

    /// With `manual_webhooks`: takes the posts of Twilio's that wait, regardless of delays.
    pub fn take_posts(&self) -> Vec<Post> {
        let calls = self.outbox.take_calls();
        for call in &calls {
            self.tell_call(call);
        }
        calls.iter().map(|call| self.written(call)).collect()
    }

    /// Tells the feed of a status that leaves.
    pub(in crate::sim) fn tell_call(&self, call: &Call) {
        let Some(status) = &call.status else { return };
        self.feed.tell(status.at, || What::Status {
            wamid: status.sid.clone(),
            status: status.name,
            code: status.code,
        });
    }
}

/// How often a call is tried, and after what, as the fragment of its address says (`#rc=2&rp=all`).
#[derive(Debug)]
pub struct Tries {
    more: u32,
    on: String,
}

impl Tries {
    pub fn of(url: &str) -> Self {
        let fragment = url.split_once('#').map_or("", |(_, fragment)| fragment);
        let asked = |name: &str| {
            fragment.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|pair| pair.1)
        };
        let more = asked("rc").and_then(|count| count.parse().ok()).unwrap_or(1).min(5);
        Self { more, on: asked("rp").unwrap_or("ct").to_owned() }
    }

    /// Whether it is tried again after the answer to the `attempt`-th try.
    pub fn again(&self, attempt: u32, answer: &reqwest::Result<reqwest::Response>) -> bool {
        let kind = match answer {
            Ok(answer) if answer.status().is_server_error() => "5xx",
            Ok(answer) if answer.status().is_client_error() => "4xx",
            Ok(_) => return false,
            Err(error) if error.is_timeout() => "rt",
            Err(_) => "ct",
        };
        attempt <= self.more && self.on.split(',').any(|on| on == "all" || on == kind)
    }
}

/// As Twilio signs a form: the address, then each name with its value, by name. The fragment and nothing else of an address
/// is not signed.
fn sign(token: &str, url: &str, fields: &[(&str, String)]) -> String {
    let mut sorted: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    sorted.sort_unstable();
    sorted.dedup();
    // A key of any length is good for HMAC, so there is always one.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else { return String::new() };
    mac.update(url.split('#').next().unwrap_or_default().as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The calls that tell of a message's statuses, each with its delay; none if the business gave no address.
pub(super) fn reports(
    exchange: &Exchange,
    accepted: &Accepted,
    course: &[(&'static str, u64)],
    fails: Option<u32>,
    now: i64,
) -> Vec<(u64, Arc<Call>)> {
    let Some(url) = &accepted.tag else { return Vec::new() };
    let report = |(name, delay): &(&'static str, u64)| {
        let code = fails.filter(|_| matches!(*name, "failed" | "undelivered"));
        let status = Status { sid: accepted.wamid.clone(), name, code, at: now + ms(*delay) };
        let fields = status_fields(exchange, accepted, name, code);
        (*delay, Arc::new(Call { url: url.clone(), fields, wa_id: accepted.wa_id.clone(), status: Some(status) }))
    };
    course.iter().map(report).collect()
}

fn status_fields(
    exchange: &Exchange,
    accepted: &Accepted,
    status: &'static str,
    code: Option<u32>,
) -> Vec<(&'static str, String)> {
    let whatsapp = is_whatsapp(&accepted.phone_number_id);
    let to = if whatsapp { format!("whatsapp:{}", accepted.to) } else { accepted.to.clone() };
    let mut fields = vec![
        ("MessageSid", accepted.wamid.clone()),
        ("MessageStatus", status.to_owned()),
        ("SmsSid", accepted.wamid.clone()),
        ("SmsStatus", status.to_owned()),
        ("To", to),
        ("From", accepted.phone_number_id.clone()),
        ("AccountSid", exchange.sid.clone()),
        ("ApiVersion", "2010-04-01".to_owned()),
    ];
    if let Some(service) = &accepted.service {
        fields.push(("MessagingServiceSid", service.clone()));
    }
    if let Some(code) = code {
        fields.push(("ErrorCode", code.to_string()));
    }
    if whatsapp {
        fields.push(("ChannelPrefix", "whatsapp".to_owned()));
        fields.push(("ChannelInstallSid", "XE00000000000000000000000000000001".to_owned()));
        fields.push(("ChannelToAddress", accepted.to.clone()));
        fields.push(("StructuredMessage", "false".to_owned()));
        let event = match status {
            "delivered" => Some("DELIVERED"),
            "read" => Some("READ"),
            "undelivered" => Some("UNDELIVERED"),
            _ => None,
        };
        fields.extend(event.map(|event| ("EventType", event.to_owned())));
        fields.extend(code.map(|code| ("ChannelStatusMessage", usual_message(code).to_owned())));
    }
    fields
}

/// What a person says to a number.
pub(super) struct Inbound<'a> {
    pub(super) sid: &'a str,
    pub(super) address: &'a str,
    pub(super) who: &'a Who,
    /// The digits of their phone.
    pub(super) digits: &'a str,
    pub(super) body: &'a str,
    /// A quick-reply button, and the message that it was on.
    pub(super) pressed: Option<(&'a Press, &'a str)>,
    /// The word that Twilio heeded, if it says so.
    pub(super) opt_out: Option<OptOut>,
}

/// The call that tells of it; none if the number has no address for that.
pub(super) fn inbound(exchange: &Exchange, said: &Inbound<'_>) -> Option<Arc<Call>> {
    let number = &exchange.desks.get(said.address)?.number;
    let url = number.inbound_url.clone()?;
    let who = said.who;
    let whatsapp = is_whatsapp(said.address);
    let from = if whatsapp { on_whatsapp(&who.wa_id) } else { format!("+{}", said.digits) };
    let mut fields = vec![
        ("MessageSid", said.sid.to_owned()),
        ("SmsMessageSid", said.sid.to_owned()),
        ("SmsSid", said.sid.to_owned()),
        ("SmsStatus", "received".to_owned()),
        ("AccountSid", exchange.sid.clone()),
        ("From", from),
        ("To", said.address.to_owned()),
        ("Body", said.body.to_owned()),
        ("NumMedia", "0".to_owned()),
        ("NumSegments", "1".to_owned()),
        ("ApiVersion", "2010-04-01".to_owned()),
    ];
    fields.extend(number.service.clone().map(|service| ("MessagingServiceSid", service)));
    fields.extend(said.opt_out.map(|meaning| ("OptOutType", meaning.name().to_owned())));
    if whatsapp {
        let context = json!({"ProfileName": who.name, "WaId": who.wa_id});
        fields.push(("ProfileName", who.name.clone()));
        fields.push(("WaId", who.wa_id.clone()));
        fields.push(("MessageType", if said.pressed.is_some() { "button" } else { "text" }.to_owned()));
        fields.push(("ReferralNumMedia", "0".to_owned()));
        fields.push(("ChannelMetadata", json!({"type": "whatsapp", "data": {"context": context}}).to_string()));
    } else {
        fields.push(("ToCountry", "ES".to_owned()));
    }
    if let Some((press, message)) = said.pressed {
        fields.push(("ButtonText", press.text.clone()));
        fields.push(("ButtonPayload", press.payload.clone()));
        fields.push(("OriginalRepliedMessageSid", message.to_owned()));
        fields.push(("OriginalRepliedMessageSender", said.address.to_owned()));
    }
    Some(Arc::new(Call { url, fields, wa_id: who.wa_id.clone(), status: None }))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        auth_token: String,
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        url: String,
        form: Vec<(String, String)>,
        signature: String,
    }

    #[test]
    fn signatures_are_those_of_twilios_own_libraries() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/twilio/signatures.json"));
        let known: Vectors = serde_json::from_str(text).unwrap();
        // Where Twilio saw another port than the receiver, the address that was signed is not the one in the vector.
        let same: Vec<Vector> = known.vectors.into_iter().filter(|vector| !vector.name.contains("port")).collect();
        assert!(same.len() >= 2);
        for vector in same {
            let fields: Vec<(&str, String)> =
                vector.form.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            assert_eq!(sign(&known.auth_token, &vector.url, &fields), vector.signature, "{}", vector.name);
        }
    }

    #[test]
    fn an_address_says_how_often_it_is_tried() {
        let refused = || -> reqwest::Result<reqwest::Response> {
            Ok(http::Response::builder().status(503).body(String::new()).unwrap().into())
        };
        for (url, tries) in [
            ("https://shop.example/status?attempt=1", 0),
            ("https://shop.example/status#rc=3", 0),
            ("https://shop.example/status?rc=9#rc=3&rp=5xx", 3),
            ("https://shop.example/status#rp=ct,4xx,all&rc=99", 5),
        ] {
            let asked = Tries::of(url);
            let again = (1..10).filter(|attempt| asked.again(*attempt, &refused())).count();
            assert_eq!(again, tries, "{url}");
        }
    }
}
