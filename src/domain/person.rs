//! What a person agreed to, refused and wrote, told in the order of time.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    ledger::EVERYTHING,
    phone::Phone,
    story::{Line, line},
};

/// A person, as far as their number leads.
#[derive(Debug, Clone, Serialize)]
pub struct Person {
    /// Never serialised: the door decides who sees it whole.
    #[serde(skip)]
    pub phone: Phone,
    /// In the order of the ledger.
    pub consents: Vec<Entry>,
    /// What they wrote to us, in the order of time.
    pub messages: Vec<Message>,
}

/// An entry of the consent ledger, without its evidence.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub number: i32,
    pub at: Timestamp,
    /// asked, confirmed, refused, revoked, imported.
    pub act: String,
    /// `*` for all of them.
    pub purpose: String,
}

/// A message from the person.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// The provider's.
    pub id: String,
    /// By the provider's clock.
    pub at: Timestamp,
    /// text, button, image …
    pub kind: String,
    /// Its words, if it has some.
    pub said: Option<String>,
    /// The message of ours that it answers.
    pub answers: Option<String>,
    /// What it made us do.
    pub did: Option<String>,
}

impl Person {
    /// Everything that happened, in the order of time.
    #[must_use]
    pub fn tell(&self) -> Vec<Line> {
        let entries = self.consents.iter().map(|entry| line(entry.at, entry.told()));
        let mut lines: Vec<Line> = self.messages.iter().map(|one| line(one.at, one.told())).chain(entries).collect();
        lines.sort_by_key(|line| line.at);
        lines
    }
}

impl Entry {
    fn told(&self) -> String {
        let purpose = if self.purpose == EVERYTHING { "everything" } else { &self.purpose };
        format!("Consent entry {}: {}, for {purpose}.", self.number, self.act)
    }
}

impl Message {
    fn told(&self) -> String {
        let said = match &self.said {
            Some(said) => format!("wrote \u{201c}{}\u{201d}", shortened(said)),
            None => format!("sent a message of the kind {}", self.kind),
        };
        let answers = self.answers.as_deref().map(|id| format!(", in answer to {id}")).unwrap_or_default();
        let did = match self.did.as_deref() {
            Some("revoked") => " It was taken as a no.".to_owned(),
            Some(other) => format!(" It was taken as: {}.", other.replace('_', " ")),
            None => String::new(),
        };
        format!("The person {said}{answers}.{did}")
    }
}

/// One line of it, not too long.
fn shortened(said: &str) -> String {
    const MOST: usize = 200;
    let shown: String =
        said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect::<String>().trim().to_owned();
    if said.chars().count() > MOST { format!("{shown} …") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn what_a_person_wrote_stands_among_what_they_agreed_to() {
        let entry = |number, second, act: &str, purpose: &str| Entry {
            number,
            at: at(second),
            act: act.to_owned(),
            purpose: purpose.to_owned(),
        };
        let wrote = |second, said: Option<&str>, did: Option<&str>| Message {
            id: "wamid.in".to_owned(),
            at: at(second),
            kind: "image".to_owned(),
            said: said.map(str::to_owned),
            answers: None,
            did: did.map(str::to_owned),
        };
        let person = Person {
            phone: Phone::parse("+34600111222").unwrap(),
            consents: vec![entry(1, 0, "imported", "orders"), entry(2, 9, "revoked", "*")],
            messages: vec![wrote(5, None, None), wrote(9, Some("BAJA\u{1b}[2J"), Some("revoked"))],
        };
        let told: Vec<String> = person.tell().into_iter().map(|line| line.what).collect();
        assert_eq!(
            told,
            [
                "Consent entry 1: imported, for orders.",
                "The person sent a message of the kind image.",
                "The person wrote \u{201c}BAJA [2J\u{201d}. It was taken as a no.",
                "Consent entry 2: revoked, for everything.",
            ]
        );
        assert!(shortened(&"x".repeat(300)).ends_with("x …"));
    }
}
