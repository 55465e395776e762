//! The world: business numbers, templates, people, and what was sent between them. The state and its plain questions;
//! accepting a message is `accept`'s, what people do is `acts`'.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::Options;
use super::access::{Access, Obstacle};
use super::chance::Chance;
use super::faults::{Faults, Script};
use super::feed::{Feed, Happening, What};
use super::ledger::Ledger;
use super::outbox::{Outbox, Tally};
use super::pace::{Month, Pair, Second};
use super::people::{Person, Ways, user_id, wa_id};
use super::refusal::Refusal;
use super::review::Desk;
use super::templates::{Approval, Frame, Press, Template};
use super::twilio::Exchange;
use super::webhooks::{BATCH_MAX, Face, Rules, Update, Webhook, Who, render, sign};

/// Gives the world's time in Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A business phone number.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sender {
    pub phone_number_id: String,
    /// As shown, with `+`.
    pub display_phone_number: String,
    /// Put in front of a `to` without `+`.
    pub country_code: String,
    pub verified_name: String,
    /// The bearer token that may send from here.
    #[serde(skip_serializing)]
    pub token: String,
    /// Messages in a moving second, both ways together.
    pub mps: usize,
    pub quality_rating: String,
    /// `whatsapp_business_manager_messaging_limit`.
    pub messaging_limit: String,
    /// `CONNECTED`, or why not.
    pub status: String,
    /// Answers each call with this code: 190 and 0 for a token that is no good, 131031, 368, 131042, 131048 and others
    /// for a number that may not send.
    pub trouble: Option<u32>,
    /// `APPROVED`, `DECLINED`, `PENDING_REVIEW`, …
    pub name_status: String,
    /// `VERIFIED` or `NOT_VERIFIED`.
    pub code_verification_status: String,
    /// What Meta says stands in its way. Sending itself is refused by `trouble`.
    pub obstacle: Option<Obstacle>,
    /// So many texts a month that arrive cost nothing; more are charged as service messages.
    pub free_texts: u32,
    /// A test number: only these people (WhatsApp ids); others are 131030.
    pub only: Option<BTreeSet<String>>,
}

impl Default for Sender {
    fn default() -> Self {
        Self {
            phone_number_id: "200000000000002".into(),
            display_phone_number: "+1 555 000 1111".into(),
            country_code: "1".into(),
            verified_name: "Tienda Prueba".into(),
            token: "sim-token".into(),
            mps: 80,
            quality_rating: "GREEN".into(),
            messaging_limit: "TIER_UNLIMITED".into(),
            status: "CONNECTED".into(),
            trouble: None,
            name_status: "APPROVED".into(),
            code_verification_status: "VERIFIED".into(),
            obstacle: None,
            free_texts: 1_000,
            only: None,
        }
    }
}

/// A message that was answered with 200, or would have been; at Twilio with 201.
#[derive(Debug, Clone, Serialize)]
pub struct Accepted {
    /// Counts from 1 in the order of acceptance.
    pub no: u64,
    /// The message's id: at Twilio its sid.
    pub wamid: String,
    /// What comes back with each status: `biz_opaque_callback_data`; at Twilio the address of the status callback.
    pub tag: Option<String>,
    /// The business number's id: at Twilio its address (`whatsapp:+34600000001`, or `+34600000001` for SMS).
    pub phone_number_id: String,
    /// The messaging service that was asked to send, at Twilio.
    pub service: Option<String>,
    /// How many seconds it may wait at Twilio, if that was said.
    pub valid_s: Option<u32>,
    /// The number that was dialled: `+` and digits. Empty if a user id was addressed.
    pub to: String,
    pub wa_id: String,
    /// `None` for free text. At Twilio the name under which the content was submitted, else its friendly name.
    pub template: Option<String>,
    pub language: Option<String>,
    pub category: Option<String>,
    /// The body's parameters in the body's order.
    pub parameters: Vec<String>,
    /// What the person reads.
    pub text: String,
    pub buttons: Vec<Press>,
    #[serde(flatten)]
    pub frame: Frame,
    /// Unix microseconds.
    pub received_us: i64,
    /// SHA-256 of the request's body, in hex.
    pub body_sha256: String,
    /// The code with which it fails later.
    pub fails: Option<u32>,
    /// What happens to it, with Unix ms, as planned at acceptance.
    pub statuses: Vec<(&'static str, i64)>,
}

/// The counters of a world.
#[derive(Debug, Clone, Serialize)]
pub struct Counters {
    pub accepted: u64,
    /// Refusals by code.
    pub refused: BTreeMap<u32, u64>,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    pub inbound: u64,
    pub webhooks: Tally,
}

/// Everything outside Recado that Recado talks to.
pub struct World {
    pub(super) waba_id: String,
    pub(super) tasks: TaskTracker,
    pub(super) feed: Feed,
    pub(super) faults: Faults,
    pub(super) outbox: Outbox,
    pub(super) ledger: Option<Ledger>,
    clock: Option<Clock>,
    state: Mutex<State>,
    traces: AtomicU64,
}

pub(super) struct State {
    pub(super) senders: BTreeMap<String, Line>,
    pub(super) exchange: Exchange,
    pub(super) templates: BTreeMap<String, BTreeMap<String, Template>>,
    pub(super) people: HashMap<String, Person>,
    pub(super) by_user: HashMap<String, String>,
    pub(super) accepted: VecDeque<Arc<Accepted>>,
    pub(super) by_wamid: HashMap<String, u64>,
    pub(super) taken: u64,
    pub(super) inbound: u64,
    pub(super) refused: BTreeMap<u32, u64>,
    pub(super) faulted: BTreeMap<&'static str, u64>,
    pub(super) subscribed: bool,
    pub(super) access: Access,
    pub(super) desk: Desk,
    pub(super) pair: Pair,
    pub(super) strangers: bool,
    pub(super) late: BTreeSet<u32>,
    pub(super) kept: usize,
    pub(super) latency: (u64, u64),
    pub(super) chance: Chance,
    next_template: u64,
}

/// A sender at work.
pub(super) struct Line {
    pub(super) sender: Sender,
    pub(super) face: Arc<Face>,
    pub(super) second: Second,
    pub(super) month: Month,
}

impl World {
    pub(super) fn new(options: Options, seed: u64) -> io::Result<Self> {
        let world = Self {
            waba_id: options.waba_id,
            tasks: TaskTracker::new(),
            feed: Feed::new(options.feed),
            faults: Faults::new(seed ^ 0xfa17),
            outbox: Outbox::new(Rules::default(), options.manual_webhooks, seed ^ 0x0b0c),
            ledger: options.ledger.as_deref().map(Ledger::open).transpose()?,
            clock: options.clock,
            state: Mutex::new(State {
                senders: BTreeMap::new(),
                exchange: Exchange::new(&options.twilio),
                templates: BTreeMap::new(),
                people: HashMap::new(),
                by_user: HashMap::new(),
                accepted: VecDeque::new(),
                by_wamid: HashMap::new(),
                taken: 0,
                inbound: 0,
                refused: BTreeMap::new(),
                faulted: BTreeMap::new(),
                subscribed: true,
                access: Access::default(),
                desk: Desk::default(),
                pair: options.pair,
                strangers: options.strangers_on_whatsapp,
                late: options.late,
                kept: options.kept.max(1),
                latency: (options.latency_ms, options.jitter_ms),
                chance: Chance::new(seed),
                next_template: 300_000_000_000_001,
            }),
            traces: AtomicU64::new(0),
        };
        let webhooks = options.webhooks;
        world.outbox.set_rules(move |rules| *rules = webhooks);
        for sender in options.senders {
            world.add_sender(sender);
        }
        for template in &options.templates {
            world.add_template(template).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        }
        for content in &options.contents {
            world.add_content(content).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        }
        Ok(world)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world's time, Unix ms.
    pub fn now_ms(&self) -> i64 {
        self.now_us() / 1_000
    }

    pub(super) fn now_us(&self) -> i64 {
        self.clock.as_ref().map_or_else(system_us, |clock| clock() * 1_000)
    }

    pub(super) fn draw(&self) -> u64 {
        self.state().chance.draw()
    }

    /// How long the answer to this request takes.
    pub(super) fn latency(&self) -> Duration {
        let mut state = self.state();
        let (latency, jitter) = state.latency;
        let more = if jitter == 0 { 0 } else { state.chance.below(jitter + 1) };
        Duration::from_millis(latency + more)
    }

    pub(super) fn trace(&self) -> u64 {
        self.traces.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a business number, or changes the one with its id.
    pub fn add_sender(&self, sender: Sender) {
        let face = Arc::new(Face {
            phone_number_id: sender.phone_number_id.clone(),
            display: sender.display_phone_number.chars().filter(char::is_ascii_digit).collect(),
        });
        let mut state = self.state();
        let before = state.senders.remove(&sender.phone_number_id);
        let (second, month) = before.map(|line| (line.second, line.month)).unwrap_or_default();
        state.senders.insert(sender.phone_number_id.clone(), Line { sender, face, second, month });
    }

    /// Changes a business number. False if there is none with this id.
    pub fn change_sender(&self, phone_number_id: &str, change: impl FnOnce(&mut Sender)) -> bool {
        let mut state = self.state();
        state.senders.get_mut(phone_number_id).map(|line| change(&mut line.sender)).is_some()
    }

    /// Changes what is set up at Meta besides the numbers.
    pub fn change_access(&self, change: impl FnOnce(&mut Access)) {
        change(&mut self.state().access);
    }

    /// Whether the app is subscribed to the account.
    pub fn set_subscribed(&self, subscribed: bool) {
        self.state().subscribed = subscribed;
    }

    /// Adds a template from Meta's JSON (approved, unless it has a `status`), or replaces the one of its name and language.
    /// Gives its id; says in words what Meta would refuse.
    pub fn add_template(&self, json: &Value) -> Result<u64, String> {
        let mut state = self.state();
        let template = Template::read(json, state.next_template)?;
        state.next_template += 1;
        let id = template.id;
        state.templates.entry(template.name.clone()).or_default().insert(template.language.clone(), template);
        Ok(id)
    }

    /// Sets where a template is in its life, and sends the news. False if there is no such template.
    pub fn set_template_status(&self, name: &str, language: &str, status: Approval) -> bool {
        let mut state = self.state();
        let Some(template) = state.templates.get_mut(name).and_then(|languages| languages.get_mut(language)) else {
            return false;
        };
        let was = std::mem::replace(&mut template.status, status);
        template.reviewed_at = None;
        let event = match (was, status) {
            (Approval::Paused, Approval::Approved) => json!("APPROVED"),
            _ => json!(status),
        };
        let mut value = json!({
            "event": event,
            "message_template_id": template.id,
            "message_template_name": name,
            "message_template_language": language,
            "message_template_category": template.category,
            "reason": if status == Approval::Rejected { "INVALID_FORMAT" } else { "NONE" },
        });
        let title = match (was, status) {
            (_, Approval::Paused) => Some(("FIRST_PAUSE", "Paused for 3 hours")),
            (_, Approval::Disabled) => Some(("DISABLED", "Disabled for low quality")),
            (Approval::Paused, Approval::Approved) => Some(("UNPAUSE", "Unpaused")),
            _ => None,
        };
        if let Some((title, description)) = title {
            super::webhooks::put(&mut value, "other_info", json!({"title": title, "description": description}));
        }
        drop(state);
        self.news("message_template_status_update", value);
        true
    }

    /// Sends news that concern the account, a number or a template: any field of the app's webhook.
    pub fn news(&self, field: &str, value: Value) {
        let now = self.now_ms();
        self.feed.tell(now, || What::News {
            field: field.to_owned(),
            event: value.get("event").and_then(Value::as_str).unwrap_or_default().to_owned(),
        });
        let update = Update::Field { field: field.to_owned(), value, at: Some(now / 1_000) };
        self.outbox.schedule(vec![(0, update)]);
    }

    /// Sends an error that belongs to a number and to no message.
    pub fn trouble(&self, phone_number_id: &str, code: u32) -> bool {
        let Some(face) = self.state().senders.get(phone_number_id).map(|line| Arc::clone(&line.face)) else {
            return false;
        };
        let mut value = super::webhooks::about(&face);
        super::webhooks::put(&mut value, "errors", json!([Refusal::new(code, "").in_webhook()]));
        self.outbox.schedule(vec![(0, Update::Field { field: "messages".into(), value, at: None })]);
        true
    }

    /// The messages accepted after the `no`-th, as far as they are remembered, at most `limit`.
    pub fn accepted_since(&self, no: u64, limit: usize) -> Vec<Arc<Accepted>> {
        let state = self.state();
        let first = state.accepted.front().map_or(0, |accepted| accepted.no);
        let skip = usize::try_from((no + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        state.accepted.iter().skip(skip).take(limit).cloned().collect()
    }

    /// All messages accepted, as far as they are remembered.
    pub fn accepted(&self) -> Vec<Arc<Accepted>> {
        self.accepted_since(0, usize::MAX)
    }

    /// The message with this id.
    pub fn message(&self, wamid: &str) -> Option<Arc<Accepted>> {
        let state = self.state();
        let no = *state.by_wamid.get(wamid)?;
        let first = state.accepted.front()?.no;
        state.accepted.get(usize::try_from(no.checked_sub(first)?).ok()?).cloned()
    }

    pub fn counters(&self) -> Counters {
        let webhooks = self.outbox.tally();
        let state = self.state();
        Counters {
            accepted: state.taken,
            refused: state.refused.clone(),
            faults: state.faulted.clone(),
            inbound: state.inbound,
            webhooks,
        }
    }

    /// A person as they are now; a stranger, if nobody met them yet.
    pub fn person(&self, phone: &str) -> Person {
        let mut state = self.state();
        let strangers = state.strangers;
        state.person(&id_of(phone), strangers).clone()
    }

    /// Changes how a person behaves. What waited for a phone that is on again is delivered.
    pub fn change_person(&self, phone: &str, change: impl FnOnce(&mut Ways)) {
        let mut state = self.state();
        let strangers = state.strangers;
        let person = state.person(&id_of(phone), strangers);
        change(&mut person.ways);
        let waiting =
            if person.ways.offline || person.ways.blocked { Vec::new() } else { std::mem::take(&mut person.waiting) };
        drop(state);
        self.deliver_now(&waiting);
    }

    /// Changes how webhooks are sent.
    pub fn set_webhooks(&self, change: impl FnOnce(&mut Rules)) {
        self.outbox.set_rules(change);
    }

    pub fn webhook_rules(&self) -> Rules {
        self.outbox.rules()
    }

    /// With `manual_webhooks`: takes what waits, one update a webhook, in the order in which it came up (or mixed, with
    /// `shuffle`), regardless of delays.
    pub fn take_webhooks(&self) -> Vec<Webhook> {
        self.take_webhook_batches(1)
    }

    /// The same with up to `batch` (1 to 1000) updates in a webhook.
    pub fn take_webhook_batches(&self, batch: usize) -> Vec<Webhook> {
        let (updates, secret) = self.outbox.take();
        self.tell_statuses(&updates);
        updates
            .chunks(batch.clamp(1, BATCH_MAX))
            .map(|chunk| {
                let body = Bytes::from(render(&self.waba_id, chunk));
                Webhook { signature: sign(&secret, &body), body }
            })
            .collect()
    }

    /// Tells the feed of statuses that leave.
    pub(super) fn tell_statuses(&self, updates: &[Update]) {
        if !self.feed.is_on() {
            return;
        }
        for update in updates {
            let Update::Status(sent, news) = update else { continue };
            self.feed.tell(news.at, || What::Status {
                wamid: sent.wamid.clone(),
                status: news.status,
                code: news.error.as_ref().map(|error| error.code),
            });
        }
    }

    /// Adds a script of faults. Says why it makes no sense.
    pub fn fault(&self, script: Script) -> Result<(), String> {
        self.faults.add(script)
    }

    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    pub fn scripts(&self) -> Vec<Script> {
        self.faults.list()
    }

    /// What happened after the cursor, at most `limit`.
    pub fn feed_since(&self, cursor: u64, limit: usize) -> Vec<Happening> {
        self.feed.since(cursor, limit)
    }

    /// The limits and manners of the world that can change while it runs.
    pub fn change_manners(&self, change: impl FnOnce(&mut Manners)) {
        let mut state = self.state();
        let mut manners = Manners {
            pair: state.pair,
            strangers_on_whatsapp: state.strangers,
            late: state.late.clone(),
            latency_ms: state.latency.0,
            jitter_ms: state.latency.1,
        };
        change(&mut manners);
        state.pair = manners.pair;
        state.strangers = manners.strangers_on_whatsapp;
        state.late = manners.late;
        state.latency = (manners.latency_ms, manners.jitter_ms);
    }

    /// Forgets messages, people, faults, counters and what waits; keeps numbers, templates, contents, rules and the ledger.
    pub fn reset(&self) {
        self.faults.clear();
        self.outbox.forget();
        self.feed.forget();
        let mut state = self.state();
        state.people.clear();
        state.by_user.clear();
        state.accepted.clear();
        state.by_wamid.clear();
        state.refused.clear();
        state.faulted.clear();
        state.taken = 0;
        state.inbound = 0;
        for line in state.senders.values_mut() {
            (line.second, line.month) = Default::default();
        }
        state.exchange.forget();
    }

    pub(super) fn count_fault(&self, kind: &'static str, to: Option<&str>) {
        *self.state().faulted.entry(kind).or_default() += 1;
        self.feed.tell(self.now_ms(), || What::Fault { kind, to: to.map(str::to_owned) });
    }
}

/// What can be changed about a world while it runs, besides its inhabitants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manners {
    pub pair: Pair,
    /// People whom nobody introduced are on WhatsApp.
    pub strangers_on_whatsapp: bool,
    /// Codes that come later as a `failed` status instead of as an answer.
    pub late: BTreeSet<u32>,
    pub latency_ms: u64,
    pub jitter_ms: u64,
}

impl State {
    /// The person with this WhatsApp id, who is made if nobody met them yet.
    pub(super) fn person(&mut self, wa_id: &str, on_whatsapp: bool) -> &mut Person {
        if !self.people.contains_key(wa_id) {
            self.by_user.insert(user_id(wa_id, 0), wa_id.to_owned());
        }
        self.people.entry(wa_id.to_owned()).or_insert_with_key(|wa_id| Person::new(wa_id, on_whatsapp))
    }
}

impl Person {
    pub(super) fn who(&self) -> Arc<Who> {
        Arc::new(Who {
            wa_id: self.wa_id.clone(),
            user_id: self.user_id.clone(),
            name: self.ways.name.clone(),
            hidden: self.ways.hidden,
        })
    }
}

/// The WhatsApp id behind a phone in E.164.
pub(super) fn id_of(phone: &str) -> String {
    wa_id(&phone.chars().filter(char::is_ascii_digit).collect::<String>())
}

#[expect(clippy::disallowed_methods, reason = "the one place where the simulator asks the system for the time")]
fn system_us() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
