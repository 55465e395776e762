//! What people tell us: their messages, a stop in them, a choice in the provider's settings, a new number.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Known, Receipts, Trouble, stops::MARKETING, words::Wanted};
use crate::{
    db::{
        self,
        consents::{self, Deed, Who},
        contacts,
        inbound::{self, Message, Sought},
        merge,
    },
    domain::{
        fact::{Choice, Content, Identity, Inbound, Preference, Receipt},
        ledger::{Act, EVERYTHING},
        notification::Failure,
    },
};

impl Receipts {
    /// Keeps a message. A stop is obeyed before anything else, so that it is not lost if the rest is.
    pub(super) async fn hear(&self, sender: &Known, message: &Inbound) -> Result<(), Trouble> {
        if inbound::is_known(&self.pool, &message.message_id).await? {
            return Ok(());
        }
        let sought = Sought::new(&message.from, message.answers.as_deref());
        let mut contacts = inbound::find(&self.pool, &sought).await?;
        if contacts.is_empty() {
            contacts.push(inbound::introduce(&self.pool, &sought).await?);
        }
        if contacts.len() > 1 && !sender.sms {
            // The provider's id, or an answer to what was sent to the other, leads to each of them: they are one person.
            contacts = merge::merge(&self.pool, &contacts, "inbound", message.at).await?.into_iter().collect();
            tracing::info!(contact = contacts.first(), "contact.merged");
            self.dispatch.wake();
        }
        let wanted = match message.heeded {
            Some(Choice::Stop) => Wanted::Stop { purpose: EVERYTHING.to_owned(), languages: Vec::new() },
            Some(Choice::Resume) | None => self.wanted(&message.content),
        };
        let kind = message.content.kind();
        if let Wanted::Stop { purpose, .. } = &wanted {
            let evidence = json!({
                "by": "message", "message_id": message.message_id, "sender": sender.name, "kind": kind,
                "answers": message.answers, "said": said(&message.content),
            });
            self.revoke(&contacts, purpose, &evidence, message.at).await?;
        }
        if let [contact] = contacts.as_slice()
            && !sender.sms
        {
            contacts::learn(&self.pool, *contact, message.from.wa_id.as_deref(), message.from.user_id.as_deref())
                .await?;
        }
        let notification = match &message.answers {
            Some(answered) => inbound::answered(&self.pool, answered).await?,
            None => None,
        };
        let did = self.answer(sender, message, &contacts, &wanted).await?;
        if matches!(wanted, Wanted::Code { .. }) {
            // The code may have told whose other number this is.
            contacts = inbound::find(&self.pool, &sought).await?;
        }
        let told = json!({
            "sender": sender.name, "message_id": message.message_id, "at": message.at, "kind": kind, "contact": contacts.first(),
            "from": {"wa_id": message.from.wa_id, "user_id": message.from.user_id},
            "answers": message.answers, "notification": notification, "did": did, "message": message.raw,
        });
        let kept = Message {
            message_id: &message.message_id,
            sender: sender.id,
            contacts: &contacts,
            at: message.at,
            kind,
            content: &message.raw,
            answers: message.answers.as_deref(),
            did,
            told: &told,
        };
        if inbound::keep(&self.pool, &kept).await? {
            self.dispatch.wake();
        }
        Ok(())
    }

    /// The person behind `old` has another number now. Who has the old one next has agreed to nothing.
    pub(super) async fn part(
        &self,
        message_id: &str,
        old: &Identity,
        new: &Identity,
        at: Timestamp,
    ) -> Result<(), db::Error> {
        let contacts = inbound::find(&self.pool, &Sought::new(old, None)).await?;
        if new.wa_id.is_none() || new.wa_id == old.wa_id {
            if let ([contact], Some(user_id)) = (contacts.as_slice(), &new.user_id) {
                contacts::learn(&self.pool, *contact, None, Some(user_id)).await?;
            }
            return Ok(());
        }
        let evidence = json!({"by": "provider", "message_id": message_id, "reason": "number_changed"});
        self.revoke(&contacts, EVERYTHING, &evidence, at).await
    }

    /// A stop in the provider's settings is about marketing alone. A resume is no consent: nobody showed what it is for.
    pub(super) async fn respect(&self, preference: &Preference) -> Result<(), db::Error> {
        if preference.choice == Choice::Resume {
            return Ok(());
        }
        let contacts = inbound::find(&self.pool, &Sought::new(&preference.who, None)).await?;
        let evidence =
            json!({"by": "provider", "reason": "user_preferences", "category": preference.category, "value": "stop"});
        self.revoke(&contacts, MARKETING, &evidence, preference.at).await
    }

    /// The provider did not deliver because the person had said no to it.
    pub(super) async fn opted_out(
        &self,
        receipt: &Receipt,
        failure: &Failure,
        purpose: &str,
        contact: Option<i64>,
    ) -> Result<(), db::Error> {
        let contacts = match contact {
            Some(contact) => vec![contact],
            None => inbound::find(&self.pool, &Sought::new(&receipt.who, None)).await?,
        };
        let evidence = json!({"by": "provider", "message_id": receipt.message_id, "reason": failure.reason.as_str()});
        self.revoke(&contacts, purpose, &evidence, receipt.at).await
    }

    async fn revoke(&self, contacts: &[i64], purpose: &str, evidence: &Value, at: Timestamp) -> Result<(), db::Error> {
        let deed = |contact: &i64| Deed {
            who: Who::Contact(*contact),
            act: Act::Revoked,
            purposes: vec![purpose.to_owned()],
            evidence: evidence.clone(),
            at,
            locale: None,
        };
        let recorded = consents::record_all(&self.pool, contacts.iter().map(deed).collect()).await?;
        if recorded.iter().any(|recorded| !recorded.entries.is_empty()) {
            tracing::info!(contacts = contacts.len(), purpose, "consent.revoked");
            self.dispatch.wake();
        }
        Ok(())
    }
}

fn said(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) | Content::Button { text, .. } | Content::Interactive { title: text, .. } => Some(text),
        Content::Other { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;

    use super::*;
    use crate::{
        clock::Clock,
        db::dispatch::Pace,
        domain::notification::Policy,
        worker::{Nudge, receipts::Rules},
    };

    fn purpose(content: &Content) -> Option<String> {
        let second = std::time::Duration::from_secs(1);
        let rules = Rules::new(Policy { max_tries: 1, base: second, cap: second }, Pace { interval: second, burst: 1 });
        // Nobody asks this database.
        let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
        let receipts = Receipts::new(pool, rules, Vec::new(), Clock::system(), Nudge::default(), Nudge::default());
        if let Wanted::Stop { purpose, .. } = receipts.wanted(content) { Some(purpose) } else { None }
    }

    fn button(payload: &str, text: &str) -> Content {
        Content::Button { payload: payload.into(), text: text.into() }
    }

    #[tokio::test]
    async fn a_button_says_no_to_its_purpose_or_to_everything() {
        assert_eq!(purpose(&button("optout:orders", "No más avisos")).as_deref(), Some("orders"));
        assert_eq!(purpose(&button("STOP", "Stop")).as_deref(), Some("*"));
        assert_eq!(purpose(&button("optout:", "x")).as_deref(), Some("*"));
        assert_eq!(
            purpose(&button("track", "BAJA")).as_deref(),
            Some("*"),
            "a template without a payload sends its text"
        );
        assert_eq!(purpose(&button("track", "Seguir")), None);
        let choice = Content::Interactive { id: "stop:marketing".into(), title: "Ofertas".into() };
        assert_eq!(purpose(&choice).as_deref(), Some("marketing"));
    }

    #[tokio::test]
    async fn only_a_whole_message_says_no() {
        assert_eq!(purpose(&Content::Text(" ¡Baja! ".into())).as_deref(), Some("*"));
        assert_eq!(purpose(&Content::Text("when does it stop raining".into())), None);
        assert_eq!(purpose(&Content::Text("stop:orders".into())), None, "buttons speak like that, people do not");
        assert_eq!(purpose(&Content::Other { kind: "image".into() }), None);
    }
}
