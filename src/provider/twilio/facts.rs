//! What Twilio posts to us: what became of a message, and what people write, on WhatsApp and by SMS. The body is a form; the query of the
//! address, which names our own attempt, stands before it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::codes;
use crate::{
    domain::{
        fact::{BadFact, Choice, Content, Fact, Identity, Inbound, Located, Place, Receipt, ReceiptKind},
        notification::AttemptId,
    },
    provider::verdict::{DETAIL_MAX, shortened, whole_id},
};

/// Reads one post. `received_at` is when it came: Twilio does not say when something happened.
#[must_use]
pub fn facts(body: &[u8], received_at: Timestamp) -> Vec<Located> {
    // News of Twilio's event streams comes as JSON; none of it is acted upon.
    if is_json(body) {
        let fact = Ok(Fact::Unknown { field: "json".to_owned() });
        return vec![Located { place: Place::default(), fact }];
    }
    let form = Form(form_urlencoded::parse(body).map(|(name, value)| (name.into(), storable(&value))).collect());
    let place = Place { account: form.field("AccountSid").map(str::to_owned), ..Place::default() };
    vec![Located { place, fact: read(&form, received_at) }]
}

/// Whether a post is no form.
pub(in crate::provider) fn is_json(body: &[u8]) -> bool {
    matches!(body.first(), Some(b'{' | b'['))
}

/// The fields of a post; a name's first value counts.
struct Form(Vec<(String, String)>);

impl Form {
    /// What stands in a field, if anything does.
    fn field(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.field(name).map(str::to_owned)
    }

    /// The person whose address stands in this field.
    fn person(&self, name: &str) -> Identity {
        let digits = |number: &str| number.trim_start_matches("whatsapp:").trim_start_matches('+').to_owned();
        Identity { wa_id: self.field(name).map(digits).filter(|digits| !digits.is_empty()), user_id: None }
    }
}

fn read(form: &Form, at: Timestamp) -> Result<Fact, BadFact> {
    let message_id = whole_id(form.owned("MessageSid").or_else(|| form.owned("SmsSid")));
    let message_id = message_id.ok_or(BadFact::Shape("a message of Twilio's"))?;
    let status = form.field("MessageStatus").or_else(|| form.field("SmsStatus")).unwrap_or_default();
    let kind = match status {
        "received" | "receiving" => return Ok(Fact::Inbound(inbound(form, message_id, at))),
        "sent" => ReceiptKind::Sent,
        "delivered" => ReceiptKind::Delivered,
        "read" => ReceiptKind::Read,
        "failed" | "undelivered" | "canceled" => {
            let code = form.field("ErrorCode").and_then(|code| code.parse().ok());
            let said = form.field("ErrorMessage").or_else(|| form.field("ChannelStatusMessage"));
            ReceiptKind::Failed(codes::reported(code, said.and_then(|text| shortened(text, DETAIL_MAX))))
        }
        other => return Ok(Fact::Unknown { field: format!("message {}", other.chars().take(50).collect::<String>()) }),
    };
    let tag = form.field("attempt").and_then(|id| id.parse::<AttemptId>().ok());
    Ok(Fact::Receipt(Receipt { message_id, tag, kind, at, who: form.person("To"), pricing: None }))
}

fn inbound(form: &Form, message_id: String, at: Timestamp) -> Inbound {
    let said = form.owned("Body").unwrap_or_default();
    let other = |kind: &str| Content::Other { kind: shortened(kind, 100).unwrap_or_default() };
    let kind = form.field("MessageType").unwrap_or_default();
    let media = form.field("NumMedia").is_some_and(|count| count != "0");
    let content = match (form.field("ButtonPayload"), form.field("ButtonText")) {
        (None, None) if media => other(if kind.is_empty() { "media" } else { kind }),
        (None, None) if form.field("Latitude").is_some() => other("location"),
        (None, None) if said.is_empty() && !kind.is_empty() && kind != "text" => other(kind),
        (None, None) => Content::Text(said),
        (payload, text) => {
            Content::Button { payload: payload.unwrap_or_default().to_owned(), text: text.map_or(said, str::to_owned) }
        }
    };
    let from = match form.owned("WaId") {
        Some(wa_id) => Identity { wa_id: Some(wa_id), user_id: None },
        None => form.person("From"),
    };
    let raw: Map<String, Value> = form.0.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    Inbound {
        message_id,
        from,
        at,
        content,
        answers: form.owned("OriginalRepliedMessageSid"),
        heeded: match form.field("OptOutType") {
            Some("STOP") => Some(Choice::Stop),
            Some("START") => Some(Choice::Resume),
            Some(_) | None => None,
        },
        raw: raw.into(),
    }
}

/// As text that Postgres can keep.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The words of a message that was kept as it came ([`Inbound::raw`]), if it has some.
#[must_use]
pub fn said(raw: &Value) -> Option<&str> {
    ["Body", "ButtonText"].into_iter().find_map(|field| raw.get(field)?.as_str().filter(|text| !text.is_empty()))
}

/// Whether Twilio has answered this message by itself: a word of its advanced opt-out, or in an SMS one of its own words for stop,
/// start and help. On WhatsApp those mean nothing to it unless it says so.
#[must_use]
pub fn answered_itself(raw: &Value) -> bool {
    const WORDS: [&str; 14] = [
        "STOP",
        "UNSUBSCRIBE",
        "END",
        "QUIT",
        "STOPALL",
        "REVOKE",
        "OPTOUT",
        "CANCEL",
        "START",
        "YES",
        "UNSTOP",
        "HELP",
        "INFO",
        "OPTIN",
    ];
    let field = |name: &str| raw.get(name).and_then(Value::as_str).unwrap_or_default().trim();
    let sms = !field("From").starts_with("whatsapp:");
    !field("OptOutType").is_empty() || sms && WORDS.contains(&field("Body").to_ascii_uppercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::notification::Outcome, provider::reason};

    fn one(body: &str) -> Fact {
        facts(body.as_bytes(), Timestamp::UNIX_EPOCH).remove(0).fact.unwrap()
    }

    fn written(body: &str) -> Inbound {
        let Fact::Inbound(inbound) = one(body) else { panic!("no message") };
        inbound
    }

    /// A post that stands in the fixtures, as its form.
    fn recorded(name: &str) -> String {
        const POSTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/twilio/posts.json"));
        let posts: Value = serde_json::from_str(POSTS).unwrap();
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in posts[name].as_object().unwrap() {
            form.append_pair(name, value.as_str().unwrap());
        }
        form.finish()
    }

    #[test]
    fn a_report_names_our_own_attempt() {
        let id = "0195d1b3-7f00-7000-8000-000000000001";
        for (post, kind) in [
            ("sms_delivered", ReceiptKind::Delivered),
            ("whatsapp_sent", ReceiptKind::Sent),
            ("whatsapp_read", ReceiptKind::Read),
        ] {
            let Fact::Receipt(receipt) = one(&format!("attempt={id}.2&{}", recorded(post))) else {
                panic!("no receipt")
            };
            assert_eq!((receipt.message_id.as_str(), receipt.kind), ("SM0123456789abcdef0123456789abcdef", kind));
            let tag = receipt.tag.unwrap();
            assert_eq!((tag.notification.to_string().as_str(), tag.number), (id, 2));
            assert_eq!(receipt.who.wa_id.as_deref(), Some("34600111222"));
        }
    }

    #[test]
    fn a_failure_says_why() {
        let Fact::Receipt(receipt) = one(&recorded("whatsapp_undelivered")) else { panic!("no receipt") };
        let ReceiptKind::Failed(Outcome::Rejected { failure, again: None }) = receipt.kind else {
            panic!("no failure: {:?}", receipt.kind)
        };
        assert_eq!((failure.reason, failure.code), (reason::UNDELIVERABLE, Some(63_024)));
        assert_eq!(failure.detail.as_deref(), Some("Channel invalid recipient"));
        let Fact::Receipt(receipt) = one("MessageSid=SM1&MessageStatus=failed&ErrorCode=") else {
            panic!("no receipt")
        };
        assert!(matches!(receipt.kind, ReceiptKind::Failed(Outcome::Rejected { again: None, .. })));
        assert!(matches!(one("MessageSid=SM1&MessageStatus=queued"), Fact::Unknown { .. }));
    }

    #[test]
    fn what_people_write_is_read_on_both_channels() {
        let sms = written(&recorded("sms_inbound"));
        assert_eq!(sms.content, Content::Text("Baja!".to_owned()));
        assert_eq!(sms.from.wa_id.as_deref(), Some("34600111222"));
        let text = written(&recorded("whatsapp_text"));
        assert_eq!((text.content, text.heeded), (Content::Text("¿Dónde está mi pedido?".to_owned()), None));
        assert_eq!(
            text.from.wa_id.as_deref(),
            Some("5215550001111"),
            "as WhatsApp knows the person, not as it was dialled"
        );
        assert_eq!(said(&text.raw), Some("¿Dónde está mi pedido?"));
        let button = written(&recorded("whatsapp_button"));
        let pressed = Content::Button { payload: "optout:orders".to_owned(), text: "No más avisos".to_owned() };
        assert_eq!((button.content, button.answers.as_deref()), (pressed, Some("MM0123456789abcdef0123456789abcdef")));
        assert_eq!(written(&recorded("whatsapp_image")).content, Content::Other { kind: "image".to_owned() });
        assert_eq!(written(&recorded("whatsapp_location")).content, Content::Other { kind: "location".to_owned() });
    }

    #[test]
    fn what_twilio_heeded_itself_is_known() {
        let stop = written(&recorded("whatsapp_opt_out"));
        assert_eq!((stop.heeded, answered_itself(&stop.raw)), (Some(Choice::Stop), true));
        let words = |from: &str, body: &str| serde_json::json!({"From": from, "Body": body});
        assert!(answered_itself(&words("+34600111222", " stop ")));
        assert!(!answered_itself(&words("whatsapp:+34600111222", "stop")), "without its advanced opt-out it is a text");
        assert!(!answered_itself(&words("+34600111222", "Baja")));
    }

    #[test]
    fn a_post_of_somebody_else_spoils_nothing() {
        for body in [&b"\xff\xfe&="[..], b"", b"MessageSid=&MessageStatus=sent"] {
            assert!(facts(body, Timestamp::UNIX_EPOCH).remove(0).fact.is_err());
        }
        assert!(matches!(one("[{}]"), Fact::Unknown { .. }));
    }
}
