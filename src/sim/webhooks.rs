//! Webhooks, the model half: what Meta reports, when, how it is written and signed, and which of it is lost, doubled or
//! late. Sending is `post`'s.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::chance::Chance;
use super::people::wa_id;
use super::refusal::Refusal;

/// Meta's bounds: updates in one POST, and its bytes (with some room below 3 MB).
pub(super) const BATCH_MAX: usize = 1000;
const BYTES_MAX: usize = 2_900_000;
/// What may wait at most; what comes on top is dropped and counted.
const QUEUE_MAX: usize = 4_000_000;

/// How webhooks are sent. Delays are milliseconds of real time after the acceptance of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Where they go. Without it nothing is sent or kept.
    pub url: Option<String>,
    /// The app secret, key of the signature.
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
    /// No status of a message with one of these tags (`biz_opaque_callback_data`) comes.
    pub drop_tags: BTreeSet<String>,
    /// Updates in one POST, 1 to 1000.
    pub batch: usize,
    /// Waits so long for a batch to fill.
    pub linger_ms: u64,
    /// POSTs on the way at once.
    pub parallel: usize,
    /// The pauses before a POST that was not answered with 200 is sent again; after the last one it is given up.
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
    pub(super) error: Option<Refusal>,
}

/// What waits to be sent.
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// Something changed: look again.
    pub(super) wake: Notify,
    /// Something was finished.
    pub(super) idle: Notify,
}

struct Queue {
    rules: Rules,
    manual: bool,
    heap: BinaryHeap<Reverse<Due>>,
    held: Vec<Update>,
    no: u64,
    in_flight: usize,
    /// Batches that wait for their next try.
    retrying: usize,
    chance: Chance,
    tally: Tally,
}

/// What became of updates, in numbers.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tally {
    pub waiting: usize,
    pub delivered: u64,
    pub failed_posts: u64,
    pub given_up: u64,
    pub dropped: u64,
}

struct Due {
    at: Instant,
    no: u64,
    update: Update,
}

/// What the pump does next.
pub(super) enum Next {
    Post(Vec<Update>),
    Wait(Instant),
    Idle,
}

impl Outbox {
    pub(super) fn new(rules: Rules, manual: bool, seed: u64) -> Self {
        Self {
            queue: Mutex::new(Queue {
                rules,
                manual,
                heap: BinaryHeap::new(),
                held: Vec::new(),
                no: 0,
                in_flight: 0,
                retrying: 0,
                chance: Chance::new(seed),
                tally: Tally::default(),
            }),
            wake: Notify::new(),
            idle: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rules(&self) -> Rules {
        self.queue().rules.clone()
    }

    /// The delays to `sent`, `delivered` and `read`.
    pub(super) fn delays(&self) -> [u64; 3] {
        let queue = self.queue();
        [queue.rules.sent_ms, queue.rules.delivered_ms, queue.rules.read_ms]
    }

    pub(super) fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        let mut queue = self.queue();
        change(&mut queue.rules);
        queue.rules.batch = queue.rules.batch.clamp(1, BATCH_MAX);
        queue.rules.parallel = queue.rules.parallel.max(1);
        let canonical = |phone: &String| wa_id(&phone.chars().filter(char::is_ascii_digit).collect::<String>());
        queue.rules.drop_to = queue.rules.drop_to.iter().map(canonical).collect();
        drop(queue);
        self.wake.notify_one();
    }

    /// Queues updates, each due after its delay (ms). Losing, doubling and mixing happen here.
    pub(super) fn schedule(&self, mut updates: Vec<(u64, Update)>) {
        let now = Instant::now();
        let mut guard = self.queue();
        let queue = &mut *guard;
        if queue.rules.url.is_none() && !queue.manual {
            queue.tally.dropped += updates.len() as u64;
            return;
        }
        if queue.rules.shuffle {
            let mut delays: Vec<u64> = updates.iter().map(|(delay, _)| *delay).collect();
            queue.chance.shuffle(&mut delays);
            for (slot, delay) in updates.iter_mut().zip(delays) {
                slot.0 = delay;
            }
        }
        for (delay, update) in updates {
            if queue.loses(&update) || queue.heap.len() + queue.held.len() >= QUEUE_MAX {
                queue.tally.dropped += 1;
                continue;
            }
            for _ in 0..=queue.rules.duplicates {
                if queue.manual {
                    queue.held.push(update.clone());
                    continue;
                }
                let jitter = queue.chance.below(queue.rules.jitter_ms + 1);
                queue.no += 1;
                let at = now + Duration::from_millis(delay + jitter);
                queue.heap.push(Reverse(Due { at, no: queue.no, update: update.clone() }));
            }
        }
        drop(guard);
        self.wake.notify_one();
    }

    /// Puts back what could not be sent, due now.
    pub(super) fn put_back(&self, updates: Vec<Update>) {
        let at = Instant::now();
        let mut queue = self.queue();
        for update in updates {
            queue.no += 1;
            let no = queue.no;
            queue.heap.push(Reverse(Due { at, no, update }));
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// What to do now; a batch counts as in flight until `finished`.
    pub(super) fn next(&self) -> Next {
        let mut guard = self.queue();
        let queue = &mut *guard;
        if !queue.rules.on || queue.rules.url.is_none() || queue.in_flight >= queue.rules.parallel {
            return Next::Idle;
        }
        let now = Instant::now();
        let Some(Reverse(first)) = queue.heap.peek() else { return Next::Idle };
        let due = first.at + Duration::from_millis(queue.rules.linger_ms);
        if due > now {
            return Next::Wait(due);
        }
        let mut batch = Vec::new();
        while batch.len() < queue.rules.batch && queue.heap.peek().is_some_and(|Reverse(due)| due.at <= now) {
            batch.extend(queue.heap.pop().map(|Reverse(due)| due.update));
        }
        if queue.rules.shuffle {
            queue.chance.shuffle(&mut batch);
        }
        queue.in_flight += 1;
        Next::Post(batch)
    }

    pub(super) fn finished(&self, tell: impl FnOnce(&mut Tally)) {
        let mut queue = self.queue();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        tell(&mut queue.tally);
        drop(queue);
        self.wake.notify_one();
        self.idle.notify_waiters();
    }

    /// A batch was not taken and waits for its next try. Others may go meanwhile: it holds nobody up.
    pub(super) fn step_aside(&self) {
        let mut queue = self.queue();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        queue.retrying += 1;
        queue.tally.failed_posts += 1;
        drop(queue);
        self.wake.notify_one();
    }

    /// It is tried again.
    pub(super) fn step_back(&self) {
        let mut queue = self.queue();
        queue.retrying = queue.retrying.saturating_sub(1);
        queue.in_flight += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        let queue = self.queue();
        queue.in_flight == 0 && queue.retrying == 0 && queue.heap.is_empty()
    }

    pub(super) fn tally(&self) -> Tally {
        let queue = self.queue();
        Tally { waiting: queue.heap.len() + queue.held.len(), ..queue.tally }
    }

    pub(super) fn forget(&self) {
        let mut queue = self.queue();
        queue.heap.clear();
        queue.held.clear();
        queue.tally = Tally::default();
    }

    /// Manual mode: takes what waits, and the secret to sign it with.
    pub(super) fn take(&self) -> (Vec<Update>, String) {
        let mut guard = self.queue();
        let queue = &mut *guard;
        let mut held = std::mem::take(&mut queue.held);
        if queue.rules.shuffle {
            queue.chance.shuffle(&mut held);
        }
        (held, queue.rules.secret.clone())
    }
}

impl Queue {
    fn loses(&mut self, update: &Update) -> bool {
        if let Update::Status(sent, _) = update
            && (self.rules.drop_to.contains(&sent.who.wa_id)
                || sent.tag.as_ref().is_some_and(|tag| self.rules.drop_tags.contains(tag)))
        {
            return true;
        }
        self.rules.drop_permille > 0 && self.chance.below(1000) < u64::from(self.rules.drop_permille)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.no == other.no
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.no).cmp(&(other.at, other.no))
    }
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
        let pricing = json!({"billable": true, "pricing_model": "PMP", "type": "regular", "category": category});
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
