//! Accepting a message: who may send by Meta's API, to whom, what, how fast; then the record of it, on disk before anybody hears
//! of it, which is the same for Twilio's. Reads requests through `messages`, knows nothing about HTTP.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::faults::Fault;
use super::feed::What;
use super::messages::{Asked, Content, To};
use super::people::{Person, read_phone, wa_id};
use super::refusal::Refusal;
use super::templates::{Fitted, Frame, Press, no_translation};
use super::twilio::Call;
use super::webhooks::{Sent, StatusNews, Update};
use super::world::{Accepted, Line, State, World};

/// A message that was accepted and is not yet known to anybody.
pub(super) struct Taken {
    pub(super) answer: Value,
    pub(super) updates: Vec<(u64, Update)>,
    pub(super) calls: Vec<(u64, Arc<Call>)>,
    pub(super) on_disk: OnDisk,
}

/// Resolves when the ledger has the message, if there is a ledger.
type OnDisk = Option<oneshot::Receiver<io::Result<()>>>;

/// The content of a message, checked.
#[derive(Default)]
pub(super) struct Fit {
    pub(super) template: Option<String>,
    pub(super) language: Option<String>,
    pub(super) category: Option<String>,
    pub(super) parameters: Vec<String>,
    pub(super) text: String,
    pub(super) buttons: Vec<Press>,
    pub(super) frame: Frame,
}

/// A message that is good, as it goes into the record.
pub(super) struct Draft<'a> {
    pub(super) no: u64,
    pub(super) id: String,
    pub(super) tag: Option<String>,
    pub(super) sender: &'a str,
    pub(super) service: Option<String>,
    pub(super) valid_s: Option<u32>,
    /// The digits that were dialled; none if a user id was addressed.
    pub(super) dialled: Option<&'a str>,
    pub(super) wa_id: &'a str,
    pub(super) fit: Fit,
    pub(super) fails: Option<u32>,
    /// Its statuses, with their delays in ms.
    pub(super) course: &'a [(&'static str, u64)],
    pub(super) now_us: i64,
    pub(super) body: &'a [u8],
}

impl World {
    /// Checks the bearer token against a business number. `authorization` is the header's value.
    pub(super) fn authorize(&self, phone_number_id: &str, authorization: Option<&str>) -> Result<(), Refusal> {
        let token = bearer(authorization)?;
        let state = self.state();
        if !state.senders.values().any(|line| line.sender.token == token) {
            return Err(invalid_token());
        }
        let line = state.senders.get(phone_number_id).ok_or_else(|| unknown_object(phone_number_id))?;
        if line.sender.token != token {
            return Err(Refusal::new(10, "The token may not use this phone number"));
        }
        match line.sender.trouble {
            Some(190) => Err(expired_token()),
            Some(code) => Err(Refusal::new(code, "")),
            None => Ok(()),
        }
    }

    /// Decides on a message and records it. What it gives must be passed to `publish`.
    pub(super) fn take(
        &self,
        phone_number_id: &str,
        body: &[u8],
        asked: &Asked<'_>,
        fault: Option<&Fault>,
    ) -> Result<Taken, Refusal> {
        let now_us = self.now_us();
        let delays = self.outbox.delays();
        let mut state = self.state();
        let result = self.decide(&mut state, phone_number_id, asked, fault, now_us, body, delays);
        if let Err(refusal) = &result {
            *state.refused.entry(refusal.code).or_default() += 1;
        }
        result
    }

    /// Makes an accepted message known: when its line is on disk its webhooks are queued, and the answer is given. Nothing, if
    /// the ledger cannot be written.
    pub(super) async fn publish(&self, taken: Taken) -> Option<Value> {
        if let Some(on_disk) = taken.on_disk
            && !matches!(on_disk.await, Ok(Ok(())))
        {
            return None;
        }
        self.outbox.schedule(taken.updates);
        self.outbox.schedule_calls(taken.calls);
        Some(taken.answer)
    }

    /// Writes a message into the world's memory, the feed and the ledger.
    pub(super) fn record(&self, state: &mut State, draft: Draft<'_>) -> (Arc<Accepted>, OnDisk) {
        let now = draft.now_us / 1_000;
        let accepted = Arc::new(Accepted {
            no: draft.no,
            wamid: draft.id,
            tag: draft.tag,
            phone_number_id: draft.sender.to_owned(),
            service: draft.service,
            valid_s: draft.valid_s,
            to: draft.dialled.map(|digits| format!("+{digits}")).unwrap_or_default(),
            wa_id: draft.wa_id.to_owned(),
            template: draft.fit.template,
            language: draft.fit.language,
            category: draft.fit.category,
            parameters: draft.fit.parameters,
            text: draft.fit.text,
            buttons: draft.fit.buttons,
            frame: draft.fit.frame,
            received_us: draft.now_us,
            body_sha256: super::webhooks::hex(&Sha256::digest(draft.body)),
            fails: draft.fails,
            statuses: draft.course.iter().map(|(status, delay)| (*status, now + ms(*delay))).collect(),
        });
        self.feed.tell(now, || What::Accepted {
            wamid: accepted.wamid.clone(),
            to: accepted.to.clone(),
            template: accepted.template.clone(),
            language: accepted.language.clone(),
            text: accepted.text.clone(),
        });
        let on_disk = self.ledger.as_ref().map(|ledger| ledger.append(ledger_line(&accepted)));
        remember(state, Arc::clone(&accepted));
        (accepted, on_disk)
    }

    /// Delivers messages that waited for a phone to be on.
    pub(super) fn deliver_now(&self, waiting: &[u64]) {
        let now = self.now_ms();
        let (mut updates, mut calls) = (Vec::new(), Vec::new());
        let mut state = self.state();
        let first = state.accepted.front().map_or(0, |accepted| accepted.no);
        for no in waiting {
            let at = no.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            let Some(accepted) = at.and_then(|at| state.accepted.get(at)).cloned() else { continue };
            if state.exchange.has(&accepted.phone_number_id) {
                calls.extend(super::twilio::arrival(&mut state, &accepted, now));
                continue;
            }
            let Some(face) = state.senders.get(&accepted.phone_number_id).map(|line| Arc::clone(&line.face)) else {
                continue;
            };
            let person = state.person(&accepted.wa_id, true);
            let sent = Arc::new(Sent {
                face,
                who: person.who(),
                wamid: accepted.wamid.clone(),
                tag: accepted.tag.clone(),
                by_user_id: accepted.to.is_empty(),
            });
            let course = course(person, false, [0, 0, 100]);
            let Some(line) = state.senders.get_mut(&accepted.phone_number_id) else { continue };
            let price = Price::of(line, accepted.category.as_deref(), &course, now);
            updates.extend(news(&sent, &course[1.min(course.len())..], now, price, None));
        }
        drop(state);
        self.outbox.schedule(updates);
        self.outbox.schedule_calls(calls);
    }

    #[expect(clippy::too_many_arguments, reason = "one decision over everything that a request brings")]
    fn decide(
        &self,
        state: &mut State,
        phone_number_id: &str,
        asked: &Asked<'_>,
        fault: Option<&Fault>,
        now_us: i64,
        body: &[u8],
        delays: [u64; 3],
    ) -> Result<Taken, Refusal> {
        let now = now_us / 1_000;
        let line = state.senders.get(phone_number_id).ok_or_else(|| unknown_object(phone_number_id))?;
        if line.sender.status != "CONNECTED" {
            return Err(Refusal::new(133010, format!("The number is {}", line.sender.status)));
        }
        let face = Arc::clone(&line.face);
        let (input, dialled, id) = recipient(state, asked.to, &line.sender.country_code)?;
        if dialled.as_deref() == Some(face.display.as_str()) {
            return Err(Refusal::new(131021, "Sender and recipient phone number are the same"));
        }
        if line.sender.only.as_ref().is_some_and(|only| !only.contains(&id)) {
            return Err(Refusal::new(131030, "Recipient phone number not in allowed list: Add it to the list"));
        }
        let strangers = state.strangers;
        let fit = check_content(state, phone_number_id, &id, asked, now)?;
        let (pair, mut fails) = (state.pair, None);
        let person = state.person(&id, strangers);
        let reason = if !person.ways.on_whatsapp {
            Some(Refusal::new(131026, "Message Undeliverable."))
        } else if person.ways.stopped_marketing && fit.category.as_deref() == Some("MARKETING") {
            Some(Refusal::new(131050, "The recipient has stopped marketing messages from this business"))
        } else {
            None
        };
        let paid_until = pair
            .pass(person.paid_until.get(phone_number_id).copied(), now)
            .ok_or_else(|| Refusal::new(131056, PAIR))?;
        if let Some(reason) = reason {
            if !state.late.contains(&reason.code) {
                return Err(reason);
            }
            fails = Some(reason);
        }
        if let Some(Fault::FailLater { code }) = fault {
            fails = Some(Refusal::new(*code, ""));
        }
        let line = state.senders.get_mut(phone_number_id).ok_or_else(|| unknown_object(phone_number_id))?;
        if !line.second.has_room(line.sender.mps, now) {
            return Err(Refusal::new(130429, THROUGHPUT));
        }
        line.second.count(now);

        state.taken += 1;
        let no = state.taken;
        let wamid = wamid(&id, state.chance.draw(), no);
        let person = state.person(&id, strangers);
        person.paid_until.insert(phone_number_id.to_owned(), paid_until);
        person.last_sender = Some(phone_number_id.to_owned());
        let course = course(person, fails.is_some(), delays);
        if fails.is_none() && person.ways.offline && !person.ways.blocked {
            person.waiting.push(no);
        }
        let who = person.who();
        let line = state.senders.get_mut(phone_number_id).ok_or_else(|| unknown_object(phone_number_id))?;
        let price = Price::of(line, fit.category.as_deref(), &course, now);
        let sent = Arc::new(Sent {
            face,
            who,
            wamid: wamid.clone(),
            tag: asked.tag.map(str::to_owned),
            by_user_id: dialled.is_none(),
        });
        let updates = match fault {
            Some(Fault::Silent) => Vec::new(),
            _ => news(&sent, &course, now, price, fails.as_ref()),
        };
        let draft = Draft {
            no,
            id: wamid.clone(),
            tag: sent.tag.clone(),
            sender: phone_number_id,
            service: None,
            valid_s: None,
            dialled: dialled.as_deref(),
            wa_id: &id,
            fit,
            fails: fails.map(|refusal| refusal.code),
            course: &course,
            now_us,
            body,
        };
        let (accepted, on_disk) = self.record(state, draft);
        let mut message = json!({"id": wamid});
        if accepted.template.is_some() {
            let status = match fault {
                Some(Fault::Hold { message_status }) => message_status.as_str(),
                _ => "accepted",
            };
            super::webhooks::put(&mut message, "message_status", status.into());
        }
        let contact = if sent.by_user_id {
            json!({"input": input, "user_id": sent.who.user_id})
        } else {
            json!({"input": input, "wa_id": id})
        };
        let answer = json!({"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]});
        Ok(Taken { answer, updates, calls: Vec::new(), on_disk })
    }
}

const PAIR: &str = "Message failed to send because there were too many messages sent from this phone number to the same \
                    phone number in a short period of time.";
const THROUGHPUT: &str = "Message failed to send because there were too many messages sent from this phone number in a \
                          short period of time.";

/// The token of a bearer header.
pub(super) fn bearer(authorization: Option<&str>) -> Result<&str, Refusal> {
    authorization
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Refusal::new(190, "").saying("An access token is required to request this resource"))
}

pub(super) fn invalid_token() -> Refusal {
    Refusal::new(190, "").saying("Invalid OAuth access token").subcode(463)
}

fn expired_token() -> Refusal {
    Refusal::new(190, "").saying("Error validating access token: Session has expired").subcode(463)
}

pub(super) fn unknown_object(id: &str) -> Refusal {
    Refusal::new(100, "").graph_method(400).subcode(33).saying(format!(
        "Unsupported request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or does \
         not support this operation"
    ))
}

/// The recipient's WhatsApp id, as far as a request names one; for faults that concern one person.
pub(super) fn addressee(world: &World, phone_number_id: &str, json: &Value) -> Option<String> {
    let to = json.get("to")?.as_str()?;
    let state = world.state();
    let country = state.senders.get(phone_number_id).map_or("", |line| line.sender.country_code.as_str());
    read_phone(to, country).map(|digits| wa_id(&digits))
}

/// What was given, the digits that were dialled (none for a user id), and the WhatsApp id.
fn recipient(state: &State, to: To<'_>, country: &str) -> Result<(String, Option<String>, String), Refusal> {
    match to {
        To::Phone(phone) => {
            let digits = read_phone(phone, country)
                .ok_or_else(|| Refusal::new(131009, "Recipient phone number is not valid: to"))?;
            let id = wa_id(&digits);
            Ok((phone.to_owned(), Some(digits), id))
        }
        To::User(user) => {
            let id = state.by_user.get(user).ok_or_else(|| Refusal::new(131009, "recipient is not a known user id"))?;
            Ok((user.to_owned(), None, id.clone()))
        }
    }
}

fn check_content(
    state: &State,
    phone_number_id: &str,
    wa_id: &str,
    asked: &Asked<'_>,
    now: i64,
) -> Result<Fit, Refusal> {
    match asked.content {
        Content::Text { body } => {
            let window = state.people.get(wa_id).and_then(|person| person.windows.get(phone_number_id));
            if window.is_none_or(|end| *end <= now) {
                return Err(Refusal::new(
                    131047,
                    "Message failed to send because more than 24 hours have passed since the customer last replied to \
                     this number.",
                ));
            }
            Ok(Fit { text: body.to_owned(), ..Fit::default() })
        }
        Content::Template { name, language, components } => {
            let template = state
                .templates
                .get(name)
                .and_then(|languages| languages.get(language))
                .ok_or_else(|| no_translation(name, language))?;
            template.sendable(now)?;
            if matches!(asked.to, To::User(_)) && template.category == "AUTHENTICATION" {
                return Err(Refusal::new(131062, "Authentication templates need a phone number"));
            }
            let Fitted { parameters, text, buttons, frame } = template.fit(components)?;
            Ok(Fit {
                template: Some(template.name.clone()),
                language: Some(template.language.clone()),
                category: Some(template.category.clone()),
                parameters,
                text,
                buttons,
                frame,
            })
        }
    }
}

/// The statuses that a WhatsApp message will have, with their delays in ms.
pub(super) fn course(person: &Person, fails: bool, [sent, delivered, read]: [u64; 3]) -> Vec<(&'static str, u64)> {
    if fails {
        return vec![("failed", sent)];
    }
    let mut course = vec![("sent", sent)];
    if person.ways.blocked || person.ways.offline {
        return course;
    }
    if !person.ways.chat_open {
        course.push(("delivered", delivered));
    }
    if person.ways.reads || person.ways.chat_open {
        course.push(("read", read));
    }
    course
}

/// As what a message is charged. Since October 2026 a template costs the same whether the person's window is open or not, and of a
/// number's texts that arrive the first of each month cost nothing.
#[derive(Clone, Copy)]
struct Price {
    category: &'static str,
    free: bool,
}

impl Price {
    fn of(line: &mut Line, category: Option<&str>, course: &[(&'static str, u64)], now: i64) -> Price {
        let category = match category {
            Some("UTILITY") => "utility",
            Some("MARKETING") => "marketing",
            Some("AUTHENTICATION") => "authentication",
            _ => "service",
        };
        let arrives = course.iter().any(|(status, _)| matches!(*status, "delivered" | "read"));
        let free = category == "service" && arrives && line.month.has_free(line.sender.free_texts, now);
        Price { category, free }
    }
}

/// Statuses as updates. The price is on the first that says that the message arrived.
fn news(
    sent: &Arc<Sent>,
    course: &[(&'static str, u64)],
    now: i64,
    price: Price,
    fails: Option<&Refusal>,
) -> Vec<(u64, Update)> {
    let mut priced = Some(price.category);
    course
        .iter()
        .map(|(status, delay)| {
            let news = StatusNews {
                status,
                at: now + ms(*delay),
                priced: if matches!(*status, "delivered" | "read") { priced.take() } else { None },
                free: price.free,
                error: fails.cloned(),
            };
            (*delay, Update::Status(Arc::clone(sent), news))
        })
        .collect()
}

fn remember(state: &mut State, accepted: Arc<Accepted>) {
    if state.accepted.len() >= state.kept
        && let Some(old) = state.accepted.pop_front()
    {
        state.by_wamid.remove(&old.wamid);
    }
    state.by_wamid.insert(accepted.wamid.clone(), accepted.no);
    state.accepted.push_back(accepted);
}

fn ledger_line(accepted: &Accepted) -> Vec<u8> {
    let mut line = BTreeMap::new();
    line.insert("no", json!(accepted.no));
    line.insert("wamid", json!(accepted.wamid));
    line.insert("tag", json!(accepted.tag));
    line.insert("phone_number_id", json!(accepted.phone_number_id));
    line.insert("to", json!(accepted.to));
    line.insert("wa_id", json!(accepted.wa_id));
    line.insert("template", json!(accepted.template));
    line.insert("language", json!(accepted.language));
    line.insert("parameters", json!(accepted.parameters));
    line.insert("received_us", json!(accepted.received_us));
    line.insert("body_sha256", json!(accepted.body_sha256));
    line.insert("fails", json!(accepted.fails));
    // A map of strings and numbers can always be written.
    serde_json::to_vec(&line).unwrap_or_default()
}

/// A message id in Meta's manner: opaque, with characters that need escaping in a URL.
pub(super) fn wamid(wa_id: &str, random: u64, no: u64) -> String {
    let mut bytes = vec![0x1c, 0x18, u8::try_from(wa_id.len()).unwrap_or(0)];
    bytes.extend_from_slice(wa_id.as_bytes());
    bytes.extend_from_slice(&[0x15, 0x02, 0x00, 0x11, 0x18, 0x12]);
    bytes.extend_from_slice(format!("{random:016X}{:06X}", no & 0xff_ffff).as_bytes());
    bytes.push(0);
    format!("wamid.{}", base64(&bytes))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain([&0, &0]).take(3).fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        for place in 0..4 {
            let letter = ALPHABET.get((group >> (18 - 6 * place)) & 63).copied().map_or('A', char::from);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

pub(super) fn ms(delay: u64) -> i64 {
    i64::try_from(delay).unwrap_or(i64::MAX)
}
