//! What people's messages mean to us: a no, the word of a form with a code or without, a yes to what was asked, a call for help, the question how an order stands.
//!
//! Each of them permits one answer inside the window that the message opened; it is noted here and sent elsewhere.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Known, Receipts};
use crate::{
    db::{
        self, contacts, merge,
        opt_ins::{self, Ask, Confirmed, Limits, Proof, Tells, Whom},
        replies,
    },
    domain::{
        consent::Meaning,
        fact::{Content, Inbound},
        form::{Form, Way, says::Saying},
        ledger::EVERYTHING,
        opt_in::{Token, Verdict, message_code_hash},
    },
    provider::{Dialect, twilio},
};

/// What a message is, in the form's and our own words.
pub(super) enum Wanted<'a> {
    /// A no to one purpose or to everything; and the languages in which the word means that.
    Stop {
        purpose: String,
        languages: Vec<&'a str>,
    },
    /// A form's word with a code.
    Code {
        form: &'a Form,
        code: [u8; 32],
    },
    /// A form's word, or one that leads back to asking.
    Ask {
        form: Option<&'a Form>,
        languages: Vec<&'a str>,
    },
    Yes,
    Help {
        languages: Vec<&'a str>,
    },
    /// How their orders stand.
    Where {
        languages: Vec<&'a str>,
    },
    Nothing,
}

impl Receipts {
    /// Reads a message. A no comes before everything else.
    pub(super) fn wanted<'a>(&'a self, content: &'a Content) -> Wanted<'a> {
        let (button, said) = match content {
            Content::Text(text) => (None, text),
            Content::Button { payload, text } => (Some(payload), text),
            Content::Interactive { id, title } => (Some(id), title),
            Content::Other { .. } => return Wanted::Nothing,
        };
        if let Some(button) = button.map(|button| button.trim().to_lowercase())
            && (button.starts_with("optout") || button.starts_with("stop"))
        {
            let purpose = button.split_once(':').map_or("", |(_, purpose)| purpose.trim());
            let purpose = if purpose.is_empty() { EVERYTHING } else { purpose }.to_owned();
            return Wanted::Stop { purpose, languages: Vec::new() };
        }
        let meaning = self.rules.words.meaning(said);
        if let Some((Meaning::Stop, languages)) = meaning {
            return Wanted::Stop { purpose: EVERYTHING.to_owned(), languages };
        }
        match self.rules.forms.asked_by(said) {
            Some((form, None)) => return Wanted::Ask { form: Some(form), languages: Vec::new() },
            Some((form, Some(code))) => {
                if let Some(code) = message_code_hash(code) {
                    return Wanted::Code { form, code };
                }
            }
            None => {}
        }
        match meaning {
            Some((Meaning::Start, languages)) => Wanted::Ask { form: None, languages },
            Some((Meaning::Help, languages)) => Wanted::Help { languages },
            Some((Meaning::Yes, _)) => Wanted::Yes,
            Some((Meaning::Where, languages)) if self.rules.tell_where => Wanted::Where { languages },
            Some((Meaning::Where | Meaning::Stop, _)) | None => Wanted::Nothing,
        }
    }

    /// Does what a message wants, apart from a no, and notes the answer. Says what was done.
    pub(super) async fn answer(
        &self,
        sender: &Known,
        message: &Inbound,
        contacts: &[i64],
        wanted: &Wanted<'_>,
    ) -> Result<Option<&'static str>, db::Error> {
        match wanted {
            Wanted::Nothing => Ok(None),
            Wanted::Stop { purpose, languages } => {
                let saying = if purpose == EVERYTHING { Saying::Stopped } else { Saying::StoppedSome };
                self.say(sender, message, contacts, saying, languages).await?;
                Ok(Some("revoked"))
            }
            Wanted::Help { languages } => {
                self.say(sender, message, contacts, Saying::Help, languages).await?;
                Ok(Some("helped"))
            }
            Wanted::Where { languages } => {
                self.say(sender, message, contacts, Saying::Where, languages).await?;
                Ok(Some("told_where"))
            }
            Wanted::Ask { form, languages } => self.ask_back(sender, message, contacts, *form, languages).await,
            Wanted::Yes => {
                let proof = Proof::Yes { from: contacts.to_vec() };
                let confirmed = self.confirm(sender, message, proof).await?;
                if confirmed.verdict == Verdict::Confirm {
                    return self.welcome(sender, message, &confirmed).await;
                }
                // A yes to something else: to a question of the shop's, for all we know.
                Ok(None)
            }
            Wanted::Code { form, code } => {
                let proof = Proof::Message { code: *code, from: contacts.to_vec() };
                let confirmed = self.confirm(sender, message, proof).await?;
                match confirmed.verdict {
                    Verdict::Confirm | Verdict::Already => {
                        let done = self.welcome(sender, message, &confirmed).await?;
                        self.recognise(message, &confirmed).await?;
                        Ok(done)
                    }
                    // Too old, unknown, or refused since: whoever holds the phone is asked.
                    Verdict::Refused | Verdict::Expired | Verdict::WrongCode { .. } | Verdict::TooManyTries => {
                        self.ask_back(sender, message, contacts, Some(form), &[]).await
                    }
                }
            }
        }
    }

    async fn confirm(&self, sender: &Known, message: &Inbound, proof: Proof) -> Result<Confirmed, db::Error> {
        let by = if matches!(proof, Proof::Yes { .. }) { "yes" } else { "message" };
        let evidence = json!({
            "by": by, "sender": sender.name, "message_id": message.message_id,
            "wa_id": message.from.wa_id, "user_id": message.from.user_id,
        });
        let confirmed = opt_ins::confirm(&self.pool, proof, evidence, message.at).await?;
        if confirmed.verdict == Verdict::Confirm {
            let form = confirmed.opt_in.as_ref().map_or("-", |opt_in| opt_in.form.as_str());
            tracing::info!(form, how = by, "opt_in.confirmed");
            self.dispatch.wake();
        }
        Ok(confirmed)
    }

    /// Whoever typed a number in one spelling and sent its code from the same line in another is one person: the code says so, which nobody
    /// had but who asked.
    async fn recognise(&self, message: &Inbound, confirmed: &Confirmed) -> Result<(), db::Error> {
        let (Some(opt_in), Some(holder)) = (&confirmed.opt_in, confirmed.contact) else { return Ok(()) };
        let asked = opt_in.contact;
        if asked != holder && contacts::are_like(&self.pool, asked, holder).await? {
            merge::merge(&self.pool, &[asked, holder], "code", message.at).await?;
            tracing::info!(contact = asked, "contact.merged");
            self.dispatch.wake();
        }
        Ok(())
    }

    async fn welcome(
        &self,
        sender: &Known,
        message: &Inbound,
        confirmed: &Confirmed,
    ) -> Result<Option<&'static str>, db::Error> {
        if let (Some(opt_in), Some(contact)) = (&confirmed.opt_in, confirmed.contact) {
            let tells = tells(sender, message, Saying::Confirmed);
            replies::answer(&self.pool, contact, &opt_in.form, &opt_in.locale, &tells).await?;
        }
        Ok(Some("confirmed"))
    }

    /// Asks whoever wrote, with the form's wording; a second message or a button confirms.
    async fn ask_back(
        &self,
        sender: &Known,
        message: &Inbound,
        contacts: &[i64],
        form: Option<&Form>,
        languages: &[&str],
    ) -> Result<Option<&'static str>, db::Error> {
        let Some(contact) = contacts.first().copied() else { return Ok(None) };
        let Some((form, language)) = self.manner(contacts, form, languages).await? else { return Ok(None) };
        let (Some(secret), shown) = (random(), form.shown(&language)) else { return Ok(None) };
        let token = Token::of(&secret);
        let hash = shown.get("hash").and_then(Value::as_str).unwrap_or_default().to_owned();
        let evidence = json!({
            "by": "message", "source": "message", "sender": sender.name, "message_id": message.message_id,
            "wa_id": message.from.wa_id, "user_id": message.from.user_id, "shown": shown,
        });
        let ask = Ask {
            id: id_of(&message.message_id),
            whom: Whom::Contact(contact),
            form: form.name.clone(),
            locale: language,
            purposes: form.purposes.clone(),
            way: if sender.sms { Way::Sms } else { Way::Whatsapp },
            source: "message",
            evidence,
            wording: hash,
            at: message.at,
            wait: token.hash(),
            message: message_code_hash(&token.message_code()).unwrap_or(token.hash()),
            tells: Some(tells(sender, message, Saying::Ask)),
            // Whoever writes to us may ask as often as they like.
            limits: Limits { per_phone: i64::MAX, texts: i64::MAX },
        };
        opt_ins::ask(&self.pool, ask).await?;
        tracing::info!(form = form.name, source = "message", "opt_in.asked");
        Ok(Some("asked"))
    }

    async fn say(
        &self,
        sender: &Known,
        message: &Inbound,
        contacts: &[i64],
        saying: Saying,
        languages: &[&str],
    ) -> Result<(), db::Error> {
        let Some(contact) = contacts.first().copied() else { return Ok(()) };
        // Twilio answers its own words itself, and takes no answer of ours after a stop.
        if sender.dialect == Dialect::Twilio && twilio::answered_itself(&message.raw) {
            return Ok(());
        }
        let Some((form, language)) = self.manner(contacts, None, languages).await? else { return Ok(()) };
        replies::answer(&self.pool, contact, &form.name, &language, &tells(sender, message, saying)).await?;
        Ok(())
    }

    /// In whose name and language somebody is spoken to: the form by which they were asked, or any; the language of their word, if
    /// only one has it, else their own.
    async fn manner(
        &self,
        contacts: &[i64],
        form: Option<&Form>,
        languages: &[&str],
    ) -> Result<Option<(Form, String)>, db::Error> {
        let forms = &self.rules.forms;
        if forms.iter().next().is_none() {
            return Ok(None);
        }
        let last = opt_ins::last_form(&self.pool, contacts).await?;
        let form = form.or_else(|| forms.get(&last.as_ref()?.0)).or_else(|| forms.iter().next());
        let Some(form) = form else { return Ok(None) };
        let own = match last {
            Some((_, locale)) => Some(locale),
            None => contacts::locale(&self.pool, contacts).await?,
        };
        let wishes: Vec<&str> = match languages {
            [one] => vec![*one],
            several => own.as_deref().into_iter().chain(several.iter().copied()).collect(),
        };
        Ok(Some((form.clone(), form.language(wishes).to_owned())))
    }
}

/// The answer to a message, inside the window that it opened.
fn tells(sender: &Known, message: &Inbound, saying: Saying) -> Tells {
    let until = message.at.saturating_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
    Tells { saying, sender: sender.id, because: message.message_id.clone(), until }
}

/// The same message asks once, however often it is applied.
fn id_of(message_id: &str) -> uuid::Uuid {
    let hash = Sha256::digest(message_id);
    let bytes: [u8; 16] = std::array::from_fn(|at| hash.get(at).copied().unwrap_or(0));
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn random() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}
