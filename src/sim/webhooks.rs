//! Webhooks, the model half: what Meta reports, and how it is written and signed; and the rules by which reports of either
//! provider come. What waits is in `outbox`; sending is `post`'s.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Value, json};
use sha2::Sha256;

use super::refusal::Refusal;

/// Meta's bounds: updates in one POST, and its bytes (with some room below 3 MB).
pub(super) const BATCH_MAX: usize = 1000;
const BYTES_MAX: usize = 2_900_000;

/// How webhooks are sent: Meta's to the `url`, Twilio's to the addresses that the business gave there. Delays are milliseconds
/// of real time after the acceptance of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Where Meta's go. Without it none of them is sent or kept.
    pub url: Option<String>,
    /// The app secret, key of Meta's signature.
    pub secret: String,
    /// What the verification call presents.
    pub verify_token: String,
    /// While off, everything is kept, and sent when it is on again.
    pub on: bool,
    pub sent_ms: u64,
    pub delivered_ms: u64,
    pub read_ms: u64,
    /// Up to so much is added to each delay.
    pub jitter_ms: u64,
    /// Each update comes so many times more.
    pub duplicates: u32,
    /// A message's statuses come in any order, and so do the updates of a batch.
    pub shuffle: bool,
    /// This share of updates, in a thousand, never comes.
    pub drop_permille: u32,
    /// No status of a message to one of these phones comes.
    pub drop_to: BTreeSet<String>,
    /// No status of a message with one of these tags comes (`biz_opaque_callback_data`; at Twilio the callback's address).
    pub drop_tags: BTreeSet<String>,
    /// Updates in one POST of Meta's, 1 to 1000.
    pub batch: usize,
    /// Waits so long for a batch to fill.
    pub linger_ms: u64,
    /// POSTs on the way at once.
    pub parallel: usize,
    /// The pauses before a POST that was not taken is sent again; after the last one it is given up. Twilio's are sent again
    /// only as their addresses ask for it.
    pub retry_ms: Vec<u64>,
    pub timeout_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            url: None,
            secret: "sim-app-secret".into(),
            verify_token: "sim-verify-token".into(),
            on: true,
            sent_ms: 50,
            delivered_ms: 200,
            read_ms: 500,
            jitter_ms: 0,
            duplicates: 0,
            shuffle: false,
            drop_permille: 0,
            drop_to: BTreeSet::new(),
            drop_tags: BTreeSet::new(),
            batch: BATCH_MAX,
            linger_ms: 5,
            parallel: 4,
            retry_ms: vec![0, 500, 2_000, 5_000, 15_000, 30_000, 60_000],
            timeout_ms: 10_000,
        }
    }
}

/// A webhook ready to be delivered: the exact bytes, and the value of `X-Hub-Signature-256` over them.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub body: Bytes,
    pub signature: String,
}

/// The business number that a webhook is about.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) phone_number_id: String,
    /// Digits only.
    pub(super) display: String,
}

/// The person that a webhook is about, as known then.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) wa_id: String,
    pub(super) user_id: String,
    pub(super) name: String,
    pub(super) hidden: bool,
}

/// One thing to report.
#[derive(Debug, Clone)]
pub(super) enum Update {
    Status(Arc<Sent>, StatusNews),
    Inbound {
        face: Arc<Face>,
        who: Option<Arc<Who>>,
        message: Value,
    },
    /// Any other field; `at` (Unix seconds) only for account-level ones.
    Field {
        field: String,
        value: Value,
        at: Option<i64>,
    },
}

/// The message that statuses are about.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) face: Arc<Face>,
    pub(super) who: Arc<Who>,
    pub(super) wamid: String,
    pub(super) tag: Option<String>,
    /// Was sent to a user id, not to a phone.
    pub(super) by_user_id: bool,
}

#[derive(Debug, Clone)]
pub(super) struct StatusNews {
    pub(super) status: &'static str,
    /// Unix ms.
    pub(super) at: i64,
    /// The category under which it is charged, on the status that says so.
    pub(super) priced: Option<&'static str>,
    /// It costs nothing.
    pub(super) free: bool,
    pub(super) error: Option<Refusal>,
}

/// `sha256=` and the HMAC over exactly these bytes.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut text = String::from("sha256=");
    // A key of any length is good for HMAC, so there is always one.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        mac.update(body);
        text.push_str(&hex(&mac.finalize().into_bytes()));
    }
    text
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// How many of the updates, from the front, certainly fit into one POST.
pub(super) fn fitting(updates: &[Update]) -> usize {
    let mut bytes = 0;
    let fit = updates.iter().take_while(|update| {
        bytes += match update {
            Update::Status(sent, _) => 1_500 + 6 * sent.tag.as_ref().map_or(0, String::len),
            Update::Inbound { message, .. } => 1_500 + 6 * message.to_string().len(),
            Update::Field { value, .. } => 500 + 6 * value.to_string().len(),
        };
        bytes <= BYTES_MAX
    });
    fit.count().max(1)
}

/// Writes updates as one webhook. Statuses of one number that follow each other share a change; account-level news is an
/// entry of its own. Characters outside ASCII are escaped, as Meta does.
pub(super) fn render(waba_id: &str, updates: &[Update]) -> Vec<u8> {
    let mut entries: Vec<Value> = Vec::new();
    let mut changes: Vec<Value> = Vec::new();
    let mut rest = updates;
    while let Some((first, after)) = rest.split_first() {
        match first {
            Update::Status(sent, _) => {
                let same = |update: &&Update| {
                    matches!(update, Update::Status(other, _)
                        if other.face.phone_number_id == sent.face.phone_number_id)
                };
                let run = rest.iter().take_while(same).count();
                let (together, others) = rest.split_at(run);
                changes.push(statuses(&sent.face, together));
                rest = others;
                continue;
            }
            Update::Inbound { face, who, message } => {
                let mut value = about(face);
                if let Some(who) = who {
                    put(&mut value, "contacts", json!([contact(who)]));
                }
                put(&mut value, "messages", json!([message]));
                changes.push(json!({"field": "messages", "value": value}));
            }
            Update::Field { field, value, at: None } => changes.push(json!({"field": field, "value": value})),
            Update::Field { field, value, at: Some(at) } => {
                entries.push(json!({"id": waba_id, "time": at, "changes": [{"field": field, "value": value}]}));
            }
        }
        rest = after;
    }
    if !changes.is_empty() {
        entries.insert(0, json!({"id": waba_id, "changes": changes}));
    }
    to_ascii(&json!({"object": "whatsapp_business_account", "entry": entries}))
}

fn statuses(face: &Face, updates: &[Update]) -> Value {
    let (mut contacts, mut list, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    for update in updates {
        let Update::Status(sent, news) = update else { continue };
        if news.error.is_none() && known.insert(sent.who.user_id.as_str()) {
            contacts.push(contact(&sent.who));
        }
        list.push(status(sent, news));
    }
    let mut value = about(face);
    if !contacts.is_empty() {
        put(&mut value, "contacts", contacts.into());
    }
    put(&mut value, "statuses", list.into());
    json!({"field": "messages", "value": value})
}

fn status(sent: &Sent, news: &StatusNews) -> Value {
    let mut status = json!({
        "id": sent.wamid,
        "status": news.status,
        "timestamp": (news.at / 1_000).to_string(),
    });
    if !sent.who.hidden {
        put(&mut status, "recipient_id", sent.who.wa_id.as_str().into());
    }
    if news.error.is_none() || sent.by_user_id {
        put(&mut status, "recipient_user_id", sent.who.user_id.as_str().into());
    }
    if let Some(tag) = &sent.tag {
        put(&mut status, "biz_opaque_callback_data", tag.as_str().into());
    }
    if let Some(category) = news.priced {
        let kind = if news.free { "free_customer_service" } else { "regular" };
        let pricing = json!({"billable": !news.free, "pricing_model": "PMP", "type": kind, "category": category});
        put(&mut status, "pricing", pricing);
    }
    if let Some(error) = &news.error {
        put(&mut status, "errors", json!([error.in_webhook()]));
    }
    status
}

/// The head of each value of the field `messages`.
pub(super) fn about(face: &Face) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": face.display, "phone_number_id": face.phone_number_id},
    })
}

pub(super) fn contact(who: &Who) -> Value {
    if who.hidden {
        return json!({"profile": {"name": who.name, "username": "somebody.sim"}, "user_id": who.user_id});
    }
    json!({"profile": {"name": who.name}, "wa_id": who.wa_id, "user_id": who.user_id})
}

pub(super) fn put(value: &mut Value, key: &str, what: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), what);
    }
}

struct Ascii(CompactFormatter);

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() {
            return self.0.write_string_fragment(writer, fragment);
        }
        let mut units = [0_u16; 2];
        for c in fragment.chars() {
            if c.is_ascii() {
                writer.write_all(&[u8::try_from(c).unwrap_or(b'?')])?;
                continue;
            }
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

fn to_ascii(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    let mut serializer = Serializer::with_formatter(&mut bytes, Ascii(CompactFormatter));
    // Writing a `Value` into memory cannot fail.
    drop(value.serialize(&mut serializer));
    bytes
}
