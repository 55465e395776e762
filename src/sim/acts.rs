//! What people do, and Meta or Twilio reports: they write, press a button, block, stop marketing, change their number.

use serde_json::{Value, json};
use thiserror::Error;

use super::feed::What;
use super::people::user_id;
use super::templates::Press;
use super::webhooks::{Update, about, contact, put};
use super::world::{Accepted, World, id_of};

/// The customer service window.
pub(super) const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;

/// Why a person cannot do something.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unable {
    #[error("no business number has this id")]
    NoSender,
    #[error("no message with this id was sent to this person")]
    NoMessage,
    #[error("the message has no such button")]
    NoButton,
    #[error("only text and buttons are simulated at Twilio")]
    NotThere,
}

/// What a person says to a business.
pub(super) enum Said<'a> {
    Text(&'a str),
    /// A quick-reply button on a message.
    Pressed(&'a Press, &'a Accepted),
    /// What Meta's message object has besides `from`, `id` and `timestamp`.
    Other(Value),
}

impl World {
    /// The person writes on WhatsApp to the number that wrote to them last (or to the first one). Opens the 24-hour window.
    /// Gives the inbound message's id.
    pub fn reply(&self, phone: &str, text: &str) -> Result<String, Unable> {
        self.inbound(phone, None, &Said::Text(text))
    }

    /// The same to a given business number; to Twilio's by its address, and without `whatsapp:` as an SMS.
    pub fn write_to(&self, phone_number_id: &str, phone: &str, text: &str) -> Result<String, Unable> {
        self.inbound(phone, Some(phone_number_id), &Said::Text(text))
    }

    /// The person presses a quick-reply button on a message that they have: the one with this payload, or the first.
    pub fn press(&self, phone: &str, wamid: &str, payload: Option<&str>) -> Result<String, Unable> {
        let id = id_of(phone);
        let message = self.message(wamid).filter(|message| message.wa_id == id).ok_or(Unable::NoMessage)?;
        let button = message
            .buttons
            .iter()
            .find(|button| payload.is_none_or(|payload| button.payload == payload))
            .ok_or(Unable::NoButton)?;
        self.inbound(phone, Some(&message.phone_number_id), &Said::Pressed(button, &message))
    }

    /// The person sends any other message: `content` is what Meta's message object has besides `from`, `id` and `timestamp`.
    pub fn say(&self, phone: &str, content: Value) -> Result<String, Unable> {
        self.inbound(phone, None, &Said::Other(content))
    }

    /// The person blocks the business. Nobody is told: what comes after stays `sent`.
    pub fn block(&self, phone: &str) {
        self.change_person(phone, |ways| ways.blocked = true);
    }

    pub fn unblock(&self, phone: &str) {
        self.change_person(phone, |ways| ways.blocked = false);
    }

    /// The person stops (or wants again) marketing messages from the business.
    pub fn prefer_marketing(&self, phone: &str, wanted: bool) -> Result<(), Unable> {
        self.change_person(phone, |ways| ways.stopped_marketing = !wanted);
        let now = self.now_ms();
        let (face, who) = {
            let mut state = self.state();
            let id = id_of(phone);
            let person = state.person(&id, true);
            let (who, last) = (person.who(), person.last_sender.clone());
            if last.as_ref().is_some_and(|last| state.exchange.has(last)) {
                // Twilio tells nobody.
                return Ok(());
            }
            let line = match &last {
                Some(last) => state.senders.get(last),
                None => state.senders.values().next(),
            };
            (line.ok_or(Unable::NoSender)?.face.clone(), who)
        };
        let word = if wanted { "resume" } else { "stop" };
        let mut preference = json!({
            "detail": format!("User requested to {word} marketing messages"),
            "category": "marketing_messages",
            "value": word,
            "timestamp": now / 1_000,
        });
        if who.hidden {
            put(&mut preference, "user_id", who.user_id.as_str().into());
        } else {
            put(&mut preference, "wa_id", who.wa_id.as_str().into());
        }
        let mut value = about(&face);
        put(&mut value, "contacts", json!([contact(&who)]));
        put(&mut value, "user_preferences", json!([preference]));
        let update = Update::Field { field: "user_preferences".into(), value, at: None };
        self.outbox.schedule(vec![(0, update)]);
        Ok(())
    }

    /// The person moves to another number, and says so through WhatsApp. The old number is no account any more.
    pub fn change_number(&self, phone: &str, new_phone: &str) -> Result<(), Unable> {
        let (old_id, new_id) = (id_of(phone), id_of(new_phone));
        let now = self.now_ms();
        let (face, old_user, new_user, name, random, no) = {
            let mut state = self.state();
            let old = state.person(&old_id, true);
            let (old_user, ways, last) = (old.user_id.clone(), old.ways.clone(), old.last_sender.clone());
            old.ways.on_whatsapp = false;
            let new_user = user_id(&new_id, 1);
            let new = state.person(&new_id, true);
            new.ways = ways;
            new.user_id.clone_from(&new_user);
            new.last_sender.clone_from(&last);
            let name = new.ways.name.clone();
            state.by_user.insert(new_user.clone(), new_id.clone());
            state.inbound += 1;
            let (random, no) = (state.chance.draw(), state.inbound);
            if last.as_ref().is_some_and(|last| state.exchange.has(last)) {
                // Twilio tells nobody.
                return Ok(());
            }
            let line = match &last {
                Some(last) => state.senders.get(last),
                None => state.senders.values().next(),
            };
            (line.ok_or(Unable::NoSender)?.face.clone(), old_user, new_user, name, random, no)
        };
        let message = json!({
            "from": old_id,
            "id": super::accept::wamid(&old_id, random, no),
            "timestamp": (now / 1_000).to_string(),
            "type": "system",
            "system": {
                "type": "user_changed_number",
                "body": format!("User {name} changed from {old_id} to {new_id}"),
                "wa_id": new_id,
                "user_id": new_user,
                "previous_user_id": old_user,
            },
        });
        self.outbox.schedule(vec![(0, Update::Inbound { face, who: None, message })]);
        Ok(())
    }

    fn inbound(&self, phone: &str, to: Option<&str>, said: &Said<'_>) -> Result<String, Unable> {
        let id = id_of(phone);
        let now = self.now_ms();
        let mut state = self.state();
        let last = state.person(&id, true).last_sender.clone();
        let chosen = to.map(str::to_owned).or(last);
        let first = || state.senders.keys().next().map(String::as_str).or_else(|| state.exchange.first());
        let chosen = chosen.or_else(|| first().map(str::to_owned)).ok_or(Unable::NoSender)?;
        if state.exchange.has(&chosen) {
            drop(state);
            return self.hear(&chosen, phone, said);
        }
        let line = state.senders.get_mut(&chosen).ok_or(Unable::NoSender)?;
        line.second.count(now);
        let face = line.face.clone();
        state.inbound += 1;
        let (random, no) = (state.chance.draw(), state.inbound);
        let wamid = super::accept::wamid(&id, random, no);
        let person = state.person(&id, true);
        person.windows.insert(face.phone_number_id.clone(), now + WINDOW_MS);
        let who = person.who();
        drop(state);
        let (mut message, text) = match said {
            Said::Text(text) => (json!({"type": "text", "text": {"body": text}}), *text),
            Said::Pressed(button, on) => {
                let content = json!({
                    "type": "button",
                    "button": {"payload": button.payload, "text": button.text},
                    "context": {"from": face.display, "id": on.wamid},
                });
                (content, button.text.as_str())
            }
            Said::Other(content) => (content.clone(), ""),
        };
        put(&mut message, "id", wamid.as_str().into());
        put(&mut message, "timestamp", (now / 1_000).to_string().into());
        put(&mut message, "from_user_id", who.user_id.as_str().into());
        if !who.hidden {
            put(&mut message, "from", who.wa_id.as_str().into());
        }
        let kind = message.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.tell_inbound(now, &wamid, &id, &kind, text);
        self.outbox.schedule(vec![(0, Update::Inbound { face, who: Some(who), message })]);
        Ok(wamid)
    }

    /// Tells the feed that somebody wrote.
    pub(super) fn tell_inbound(&self, now: i64, id: &str, from: &str, kind: &str, text: &str) {
        self.feed.tell(now, || What::Inbound {
            wamid: id.to_owned(),
            from: from.to_owned(),
            kind: kind.to_owned(),
            text: text.to_owned(),
        });
    }
}
