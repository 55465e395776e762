//! What people write to Twilio's numbers: the window that it opens, the words that Twilio heeds and answers by itself, and what
//! the business is told.

use super::super::acts::{Said as Saying, Unable, WINDOW_MS};
use super::super::world::{World, id_of};
use super::callbacks::{Inbound, inbound};
use super::opt_out::{self, OptOut};
use super::{Said, is_whatsapp, on_whatsapp};

impl World {
    /// The person says something to the number with this address. Gives the message's sid.
    pub(in crate::sim) fn hear(&self, address: &str, phone: &str, saying: &Saying<'_>) -> Result<String, Unable> {
        let (text, pressed) = match saying {
            Saying::Text(text) => (*text, None),
            Saying::Pressed(button, on) => (button.text.as_str(), Some((*button, on.wamid.as_str()))),
            Saying::Other(_) => return Err(Unable::NotThere),
        };
        let (id, now, whatsapp) = (id_of(phone), self.now_ms(), is_whatsapp(address));
        let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
        let mut state = self.state();
        let heeded = opt_out::heeded(&state.exchange, address, text);
        let scope = opt_out::scope(&state.exchange, address);
        let sid = state.sid("SM");
        state.inbound += 1;
        if let Some(desk) = state.exchange.desks.get_mut(address) {
            desk.second.count(now);
        }
        let person = state.person(&id, true);
        match heeded {
            Some((OptOut::Stop, _)) => drop(person.opted_out.insert(scope)),
            Some((OptOut::Start, _)) => drop(person.opted_out.remove(&scope)),
            Some((OptOut::Help, _)) | None => {}
        }
        if whatsapp {
            person.windows.insert(address.to_owned(), now + WINDOW_MS);
            person.last_sender = Some(address.to_owned());
        }
        let who = person.who();
        let from = if whatsapp { on_whatsapp(&id) } else { format!("+{digits}") };
        state.remember_said(Said {
            sid: sid.clone(),
            from: from.clone(),
            to: address.to_owned(),
            body: text.to_owned(),
            direction: "inbound",
            at: now,
        });
        if let Some((meaning, _)) = heeded {
            let reply = Said {
                sid: state.sid("SM"),
                from: address.to_owned(),
                to: from,
                body: meaning.reply().to_owned(),
                direction: "outbound-reply",
                at: now,
            };
            state.remember_said(reply);
        }
        let said = Inbound {
            sid: &sid,
            address,
            who: &who,
            digits: &digits,
            body: text,
            pressed,
            opt_out: heeded.filter(|(_, told)| *told).map(|(meaning, _)| meaning),
        };
        let call = inbound(&state.exchange, &said);
        drop(state);
        self.tell_inbound(now, &sid, &id, if pressed.is_some() { "button" } else { "text" }, text);
        self.outbox.schedule_calls(call.into_iter().map(|call| (0, call)).collect());
        Ok(sid)
    }
}
