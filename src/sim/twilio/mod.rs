//! Twilio's side: an account that takes SMS and WhatsApp messages by the Messages API, keeps content by the Content API, calls
//! the business back, and passes on what people write. A reading of Twilio's documents of its own.
//!
//! | module | what |
//! |---|---|
//! | `rest` | the addresses, who may use them, the faults on them |
//! | `request`, `refused` | what a request must look like; Twilio's errors |
//! | `send` | what happens when a business sends |
//! | `content`, `catalogue` | a piece of content and what it says; the Content API |
//! | `messages` | messages as the API shows them, and their list |
//! | `hear`, `opt_out` | what happens when a person writes, and the words that Twilio heeds by itself |
//! | `callbacks` | what is told to the business, signed |
//!
//! Decided for the strict side: a parameter that the documents do not know is refused (20001), media and scheduling are refused
//! as not simulated, a variable that the content does not have is malformed (21656), and content that is in review counts as
//! free text. What the channel decides (63xxx) is reported later, as Twilio does; what the API decides, at once.

mod callbacks;
mod catalogue;
mod content;
mod hear;
mod messages;
mod opt_out;
mod refused;
mod request;
mod rest;
mod send;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pace::Second;
use super::world::{Accepted, State, World};

pub use callbacks::Post;
pub use content::{Review, Stage};

pub(super) use callbacks::{Call, Tries};
pub(super) use refused::{Refused, answer};
pub(super) use rest::router;
pub(super) use send::arrival;

/// What stands before the number of an address on WhatsApp.
const WHATSAPP: &str = "whatsapp:";

/// A Twilio account.
#[derive(Debug, Clone)]
pub struct TwilioAccount {
    pub sid: String,
    /// The auth token: good for requests, and the key of every signature.
    pub token: String,
    /// API keys that are good for requests too, with their secrets.
    pub keys: BTreeMap<String, String>,
    pub numbers: Vec<TwilioNumber>,
    pub services: Vec<TwilioService>,
    /// A message is in the list so many ms after it was taken.
    pub list_lag_ms: i64,
    /// What a message costs stands with it so many ms after it was sent; until then its price is null.
    pub price_lag_ms: i64,
}

/// An address that messages come from, on one channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwilioNumber {
    /// `whatsapp:+34600000001`, or `+34600000001` for SMS.
    pub address: String,
    /// The sid of the messaging service whose pool it is in.
    pub service: Option<String>,
    /// Where what people write is posted to.
    pub inbound_url: Option<String>,
    /// Requests in a moving second; more get 20429.
    pub mps: usize,
    /// Ends each message with this code: at once (20003, 21606) below 30000, later (30002, 63051) from there on.
    pub trouble: Option<u32>,
}

/// A messaging service: numbers that send as one, and what Twilio does there about opt-outs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwilioService {
    pub sid: String,
    /// Words are heeded on WhatsApp too, in more languages than English, and inbound says so (`OptOutType`).
    pub advanced_opt_out: bool,
    /// Words besides Twilio's own, for when it is on.
    pub stop: Vec<String>,
    pub start: Vec<String>,
    pub help: Vec<String>,
}

impl Default for TwilioAccount {
    fn default() -> Self {
        let service = TwilioService::default();
        let number = |channel: &str| TwilioNumber {
            address: format!("{channel}+34600000001"),
            service: Some(service.sid.clone()),
            ..TwilioNumber::default()
        };
        Self {
            sid: "AC0123456789abcdef0123456789abcdef".into(),
            token: "sim-auth-token".into(),
            keys: BTreeMap::from([("SK0123456789abcdef0123456789abcdef".to_owned(), "sim-key-secret".to_owned())]),
            numbers: vec![number(""), number(WHATSAPP)],
            services: vec![service],
            list_lag_ms: 0,
            price_lag_ms: 2_000,
        }
    }
}

impl TwilioAccount {
    /// The address of its first number for SMS.
    pub fn sms(&self) -> &str {
        self.numbers
            .iter()
            .map(|number| number.address.as_str())
            .find(|address| !is_whatsapp(address))
            .unwrap_or_default()
    }

    /// The address of its first number on WhatsApp.
    pub fn whatsapp(&self) -> &str {
        self.numbers
            .iter()
            .map(|number| number.address.as_str())
            .find(|address| is_whatsapp(address))
            .unwrap_or_default()
    }
}

impl Default for TwilioNumber {
    fn default() -> Self {
        Self { address: String::new(), service: None, inbound_url: None, mps: 80, trouble: None }
    }
}

impl Default for TwilioService {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        Self {
            sid: "MG0123456789abcdef0123456789abcdef".into(),
            advanced_opt_out: false,
            stop: words(&["BAJA", "PARAR", "SAIR"]),
            start: words(&["ALTA", "VOLTAR"]),
            help: words(&["AYUDA", "AJUDA"]),
        }
    }
}

/// The account at work.
pub(super) struct Exchange {
    sid: String,
    token: String,
    keys: BTreeMap<String, String>,
    list_lag_ms: i64,
    price_lag_ms: i64,
    desks: BTreeMap<String, Desk>,
    services: BTreeMap<String, TwilioService>,
    contents: BTreeMap<String, content::Content>,
    /// What people wrote, and what Twilio answered by itself; the list of messages has them too.
    said: VecDeque<Arc<Said>>,
}

/// A number at work.
struct Desk {
    number: TwilioNumber,
    second: Second,
}

/// A message that no business sent by the API.
#[derive(Debug)]
struct Said {
    sid: String,
    from: String,
    to: String,
    body: String,
    /// `inbound` or `outbound-reply`.
    direction: &'static str,
    /// Unix ms.
    at: i64,
}

impl Exchange {
    pub(super) fn new(account: &TwilioAccount) -> Self {
        let mut exchange = Self {
            sid: account.sid.clone(),
            token: account.token.clone(),
            keys: account.keys.clone(),
            list_lag_ms: account.list_lag_ms,
            price_lag_ms: account.price_lag_ms,
            desks: BTreeMap::new(),
            services: BTreeMap::new(),
            contents: BTreeMap::new(),
            said: VecDeque::new(),
        };
        exchange.take_over(account.numbers.clone(), account.services.clone());
        exchange
    }

    fn take_over(&mut self, numbers: Vec<TwilioNumber>, services: Vec<TwilioService>) {
        let mut before = std::mem::take(&mut self.desks);
        for number in numbers {
            let second = before.remove(&number.address).map(|desk| desk.second).unwrap_or_default();
            self.desks.insert(number.address.clone(), Desk { number, second });
        }
        self.services = services.into_iter().map(|service| (service.sid.clone(), service)).collect();
    }

    fn account(&self) -> TwilioAccount {
        TwilioAccount {
            sid: self.sid.clone(),
            token: self.token.clone(),
            keys: self.keys.clone(),
            numbers: self.desks.values().map(|desk| desk.number.clone()).collect(),
            services: self.services.values().cloned().collect(),
            list_lag_ms: self.list_lag_ms,
            price_lag_ms: self.price_lag_ms,
        }
    }

    /// Whether this is the address of one of its numbers.
    pub(super) fn has(&self, address: &str) -> bool {
        self.desks.contains_key(address)
    }

    /// The first number on WhatsApp.
    pub(super) fn first(&self) -> Option<&str> {
        self.desks.keys().map(String::as_str).find(|address| is_whatsapp(address))
    }

    /// Forgets what was said and how fast.
    pub(super) fn forget(&mut self) {
        self.said.clear();
        for desk in self.desks.values_mut() {
            desk.second = Second::default();
        }
    }

    /// The reviews of its content.
    pub(super) fn reviews(&mut self) -> impl Iterator<Item = &mut Review> {
        self.contents.values_mut().filter_map(|content| content.review.as_mut())
    }

    /// The service of a number.
    fn service_of(&self, address: &str) -> Option<&TwilioService> {
        self.services.get(self.desks.get(address)?.number.service.as_deref()?)
    }
}

impl State {
    fn remember_said(&mut self, said: Said) {
        if self.exchange.said.len() >= self.kept {
            self.exchange.said.pop_front();
        }
        self.exchange.said.push_back(Arc::new(said));
    }

    /// A sid that was not there before: `kind` and 32 hexadecimal digits.
    fn sid(&mut self, kind: &str) -> String {
        format!("{kind}{:016x}{:016x}", self.chance.draw(), self.chance.draw())
    }
}

impl World {
    /// The Twilio account as it is now.
    pub fn account(&self) -> TwilioAccount {
        self.state().exchange.account()
    }

    /// Changes the account: its secrets, its numbers, its services.
    pub fn change_account(&self, change: impl FnOnce(&mut TwilioAccount)) {
        let mut state = self.state();
        let exchange = &mut state.exchange;
        let mut account = exchange.account();
        change(&mut account);
        exchange.take_over(account.numbers, account.services);
        (exchange.sid, exchange.token, exchange.keys) = (account.sid, account.token, account.keys);
        (exchange.list_lag_ms, exchange.price_lag_ms) = (account.list_lag_ms, account.price_lag_ms);
    }

    /// Sets where what people write to this number is posted to. False if there is none with this address.
    pub fn set_inbound_url(&self, address: &str, url: &str) -> bool {
        let mut state = self.state();
        let desk = state.exchange.desks.get_mut(address);
        desk.map(|desk| desk.number.inbound_url = Some(url.to_owned())).is_some()
    }

    /// The SMS that this phone got, as far as they are remembered.
    pub fn texts_to(&self, phone: &str) -> Vec<Arc<Accepted>> {
        let id = super::world::id_of(phone);
        self.texts().into_iter().filter(|text| text.wa_id == id).collect()
    }

    /// All SMS that were taken, as far as they are remembered.
    pub fn texts(&self) -> Vec<Arc<Accepted>> {
        let accepted = self.accepted();
        let state = self.state();
        let is_text =
            |text: &Arc<Accepted>| !is_whatsapp(&text.phone_number_id) && state.exchange.has(&text.phone_number_id);
        accepted.into_iter().filter(is_text).collect()
    }

    /// Adds content from the JSON that the Content API takes, with a `sid` of its own if it has one, and with an `approval`
    /// (`{"name", "category", "status"}`; approved, unless it has a `status`) if it was submitted. Gives its sid; says in words
    /// what Twilio would refuse.
    pub fn add_content(&self, json: &Value) -> Result<String, String> {
        let now = self.now_ms();
        let mut state = self.state();
        let sid = match json.get("sid").and_then(Value::as_str) {
            Some(sid) => sid.to_owned(),
            None => state.sid("HX"),
        };
        let content = content::Content::read(json, &sid, now)?;
        state.exchange.contents.insert(sid.clone(), content);
        Ok(sid)
    }

    /// Sets where content is in its review at WhatsApp. False if there is none with this sid, or it was never submitted.
    pub fn set_content_stage(&self, sid: &str, stage: Stage) -> bool {
        let mut state = self.state();
        let review = state.exchange.contents.get_mut(sid).and_then(|content| content.review.as_mut());
        review.map(|review| review.set(stage)).is_some()
    }

    /// Where each piece of content is: its sid, language, and review if it was submitted.
    pub fn contents(&self) -> Vec<(String, String, Option<Review>)> {
        let state = self.state();
        let contents = state.exchange.contents.values();
        contents.map(|content| (content.sid.clone(), content.language.clone(), content.review.clone())).collect()
    }
}

/// Whether an address is on WhatsApp.
fn is_whatsapp(address: &str) -> bool {
    address.starts_with(WHATSAPP)
}

/// An address on WhatsApp for these digits.
fn on_whatsapp(digits: &str) -> String {
    format!("{WHATSAPP}+{digits}")
}

/// A time in Unix ms as a pattern of `strftime` says.
fn written(at: i64, pattern: &str) -> String {
    jiff::Timestamp::from_millisecond(at).unwrap_or_default().strftime(pattern).to_string()
}
