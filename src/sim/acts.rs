//! What people do, and Meta reports: they write, press a button, block, stop marketing, change their number.

use serde_json::{Value, json};
use thiserror::Error;

use super::feed::What;
use super::people::user_id;
use super::webhooks::{Update, about, contact, put};
use super::world::{World, id_of};

/// The customer service window.
const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;

/// Why a person cannot do something.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unable {
    #[error("no business number has this id")]
    NoSender,
    #[error("no message with this id was sent to this person")]
    NoMessage,
    #[error("the message has no such button")]
    NoButton,
}

impl World {
    /// The person writes to the number that wrote to them last (or to the only one). Opens the 24-hour window. Gives the
    /// inbound message's id.
    pub fn reply(&self, phone: &str, text: &str) -> Result<String, Unable> {
        self.inbound(phone, None, text, json!({"type": "text", "text": {"body": text}}))
    }

    /// The same to a given business number.
    pub fn write_to(&self, phone_number_id: &str, phone: &str, text: &str) -> Result<String, Unable> {
        self.inbound(phone, Some(phone_number_id), text, json!({"type": "text", "text": {"body": text}}))
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
        let display = {
            let state = self.state();
            let line = state.senders.get(&message.phone_number_id).ok_or(Unable::NoSender)?;
            line.face.display.clone()
        };
        let content = json!({
            "type": "button",
            "button": {"payload": button.payload, "text": button.text},
            "context": {"from": display, "id": wamid},
        });
        self.inbound(phone, Some(&message.phone_number_id), &button.text, content)
    }

    /// The person sends any other message: `content` is what the message object has besides `from`, `id` and `timestamp`.
    pub fn say(&self, phone: &str, content: Value) -> Result<String, Unable> {
        self.inbound(phone, None, "", content)
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

    fn inbound(&self, phone: &str, to: Option<&str>, text: &str, content: Value) -> Result<String, Unable> {
        let id = id_of(phone);
        let now = self.now_ms();
        let (face, who, wamid) = {
            let mut state = self.state();
            let last = state.person(&id, true).last_sender.clone();
            let chosen = to.map(str::to_owned).or(last);
            let line = match &chosen {
                Some(chosen) => state.senders.get_mut(chosen),
                None => state.senders.values_mut().next(),
            }
            .ok_or(Unable::NoSender)?;
            line.second.count(now);
            let face = line.face.clone();
            state.inbound += 1;
            let wamid = super::accept::wamid(&id, state.chance.draw(), state.inbound);
            let person = state.person(&id, true);
            person.windows.insert(face.phone_number_id.clone(), now + WINDOW_MS);
            (face, person.who(), wamid)
        };
        let mut message = content;
        put(&mut message, "id", wamid.as_str().into());
        put(&mut message, "timestamp", (now / 1_000).to_string().into());
        put(&mut message, "from_user_id", who.user_id.as_str().into());
        if !who.hidden {
            put(&mut message, "from", who.wa_id.as_str().into());
        }
        self.feed.tell(now, || What::Inbound {
            wamid: wamid.clone(),
            from: id.clone(),
            kind: message.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
            text: text.to_owned(),
        });
        self.outbox.schedule(vec![(0, Update::Inbound { face, who: Some(who), message })]);
        Ok(wamid)
    }
}
