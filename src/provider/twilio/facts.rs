//! What Twilio posts to us: what became of an SMS, and what people write. The body is a form; the query of the address, which names
//! our own id, stands before it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::codes;
use crate::domain::{
    fact::{BadFact, Content, Fact, Identity, Inbound, Located, Place, Receipt, ReceiptKind},
    notification::AttemptId,
};

/// Reads one post. `received_at` is when it came: Twilio does not say when something happened.
#[must_use]
pub fn facts(body: &[u8], received_at: Timestamp) -> Vec<Located> {
    let form: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let place = Place { account: field("AccountSid").map(str::to_owned), ..Place::default() };
    vec![Located { place, fact: read(&form, &field, received_at) }]
}

fn read<'a>(
    form: &[(String, String)],
    field: &impl Fn(&str) -> Option<&'a str>,
    at: Timestamp,
) -> Result<Fact, BadFact> {
    let message_id = field("MessageSid").or_else(|| field("SmsSid")).filter(|sid| !sid.is_empty());
    let message_id = message_id.ok_or(BadFact::Shape("an SMS"))?.to_owned();
    let status = field("MessageStatus").or_else(|| field("SmsStatus")).unwrap_or_default();
    let person = |name: &str| Identity {
        wa_id: field(name).map(|number| number.trim_start_matches('+').to_owned()).filter(|digits| !digits.is_empty()),
        user_id: None,
    };
    let kind = match status {
        "received" | "receiving" => {
            let raw: Map<String, Value> =
                form.iter().map(|(name, value)| (name.clone(), value.replace('\0', "").into())).collect();
            return Ok(Fact::Inbound(Inbound {
                message_id,
                from: person("From"),
                at,
                content: Content::Text(field("Body").unwrap_or_default().replace('\0', "")),
                answers: None,
                raw: raw.into(),
            }));
        }
        "sent" => ReceiptKind::Sent,
        "delivered" => ReceiptKind::Delivered,
        "read" => ReceiptKind::Read,
        "failed" | "undelivered" | "canceled" => {
            let code = field("ErrorCode").and_then(|code| code.parse().ok()).unwrap_or(0);
            ReceiptKind::Failed(codes::outcome(code, None, true))
        }
        other => return Ok(Fact::Unknown { field: format!("sms {}", other.chars().take(50).collect::<String>()) }),
    };
    let tag = field("attempt").and_then(|id| id.parse::<AttemptId>().ok());
    Ok(Fact::Receipt(Receipt { message_id, tag, kind, at, who: person("To"), pricing: None }))
}

/// The words of a message that was kept as it came ([`Inbound::raw`]), if it has some.
#[must_use]
pub fn said(raw: &Value) -> Option<&str> {
    ["Body", "ButtonText"].into_iter().find_map(|field| raw.get(field)?.as_str().filter(|text| !text.is_empty()))
}

/// Whether Twilio has answered this message by itself: its own words for stop, start and help, or those of its advanced opt-out.
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
    let field = |name: &str| raw.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_ascii_uppercase();
    !field("OptOutType").is_empty() || WORDS.contains(&field("Body").as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str) -> Fact {
        facts(body.as_bytes(), Timestamp::UNIX_EPOCH).remove(0).fact.unwrap()
    }

    #[test]
    fn a_report_names_our_own_id() {
        let id = "0195d1b3-7f00-7000-8000-000000000001";
        let Fact::Receipt(receipt) = one(&format!(
            "attempt={id}.2&MessageSid=SM1&MessageStatus=delivered&To=%2B34600111222&From=%2B34600000001"
        )) else {
            panic!("no receipt")
        };
        assert_eq!((receipt.message_id.as_str(), receipt.kind), ("SM1", ReceiptKind::Delivered));
        let tag = receipt.tag.unwrap();
        assert_eq!((tag.notification.to_string().as_str(), tag.number), (id, 2));
        assert_eq!(receipt.who.wa_id.as_deref(), Some("34600111222"));
    }

    #[test]
    fn a_failure_says_why() {
        let Fact::Receipt(receipt) = one("MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30006") else {
            panic!("no receipt")
        };
        assert!(matches!(receipt.kind, ReceiptKind::Failed(_)));
        assert!(matches!(one("MessageSid=SM1&MessageStatus=queued"), Fact::Unknown { .. }));
    }

    #[test]
    fn what_people_write_is_read_and_twilios_own_words_are_known() {
        let Fact::Inbound(inbound) =
            one("MessageSid=SM2&SmsStatus=received&From=%2B34600111222&To=%2B34600000001&Body=Baja%21&NumMedia=0")
        else {
            panic!("no message")
        };
        assert_eq!(inbound.content, Content::Text("Baja!".to_owned()));
        assert_eq!(inbound.from.wa_id.as_deref(), Some("34600111222"));
        assert!(!answered_itself(&inbound.raw));
        assert!(answered_itself(&serde_json::json!({"Body": " stop "})));
        assert!(answered_itself(&serde_json::json!({"Body": "BAJA", "OptOutType": "STOP"})));
    }

    #[test]
    fn a_post_of_somebody_else_spoils_nothing() {
        assert!(facts(b"\xff\xfe&=", Timestamp::UNIX_EPOCH).remove(0).fact.is_err());
        assert!(facts(b"", Timestamp::UNIX_EPOCH).remove(0).fact.is_err());
    }
}
