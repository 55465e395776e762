//! From bytes to what the inbox records: parse, plan, and nothing else. Touches neither broker nor database.

use std::{collections::HashMap, fmt::Write};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    clock::v7,
    db::{
        inbox::{Arrival, Born, Sms, Stage},
        versions::Versions,
    },
    domain::{
        event::{self, Event, Rejection},
        plan::{Fate, Planned, plan},
        source::{Mapped, Sources},
        template::{Catalogue, Class},
    },
};

/// What arrived, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub content_type: Option<&'a str>,
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

/// Reads events by one catalogue; the default one has nothing in it.
#[derive(Debug, Default)]
pub struct Reader {
    pub catalogue: Catalogue,
    /// Shapes of other producers.
    pub sources: Sources,
    /// The senders' keys in the database, by name.
    pub senders: HashMap<String, i16>,
    /// What the catalogue's templates say, as the database knows it.
    pub versions: Versions,
    /// Whether the templates' quiet hours count.
    pub quiet_hours: bool,
}

impl Reader {
    /// What the bytes mean, or why they mean nothing: a stable reason and a sentence without anything personal.
    ///
    /// # Errors
    /// If they are no event, or one whose message cannot be filled.
    pub fn read(&self, bytes: &Bytes<'_>, now: Timestamp) -> Result<Arrival, (&'static str, String)> {
        let rejection = |rejection: Rejection| (rejection.reason(), rejection.to_string());
        let headers = || bytes.headers.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let mapped = self.sources.map(bytes.exchange, bytes.routing_key, headers(), bytes.body, now);
        let (event, body_hash) = match mapped {
            // Other systems repeat themselves in other words: what counts is what their words were mapped to.
            Some(mapped) => match mapped.map_err(rejection)? {
                Mapped::Event(event) => {
                    let hash = Sha256::digest(event.data.to_string()).into();
                    (event, hash)
                }
                Mapped::Unwanted { source, id } => return Ok(unwanted(bytes, source, id, now)),
            },
            None => (self.event(bytes, now).map_err(rejection)?, Sha256::digest(bytes.body).into()),
        };
        let plan = plan(&event, &self.catalogue, now, place(&body_hash)).map_err(rejection)?;
        let (planned, ignored) = match plan.fate {
            Fate::Planned(planned) => (planned, None),
            Fate::Ignored(why) => (Vec::new(), Some(why.as_str())),
        };
        let notifications = planned.into_iter().map(|one| self.born(one, now)).collect::<Result<_, _>>()?;
        Ok(Arrival {
            body_hash,
            source: event.source,
            id: event.id,
            r#type: event.r#type,
            subject: event.subject,
            time: event.time,
            stage: plan.stage.map(|s| Stage { journey: s.journey, key: s.key, number: s.number }),
            ignored,
            body: String::from_utf8_lossy(bytes.body).into_owned(),
            traceparent: event.traceparent,
            notifications,
        })
    }

    fn event(&self, bytes: &Bytes<'_>, now: Timestamp) -> Result<Event, Rejection> {
        let headers = || bytes.headers.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        if event::is_binary(headers().map(|(name, _)| name)) {
            return Event::parse_binary(headers(), bytes.content_type, bytes.body, now);
        }
        Event::parse(bytes.body, now)
    }

    fn born(&self, planned: Planned, now: Timestamp) -> Result<Born, (&'static str, String)> {
        let id = |sender: &str| {
            self.senders.get(sender).copied().ok_or_else(|| {
                let text =
                    format!("The template {} names the sender {sender}, which does not exist.", planned.template);
                ("unknown_sender", text)
            })
        };
        let sender = id(&planned.sender)?;
        let sms = match planned.sms {
            Some(sms) => Some(Sms { sender: id(&sms.sender)?, purpose: sms.purpose, text: sms.text }),
            None => None,
        };
        let filled = serde_json::to_string(&planned.filled)
            .map_err(|_| ("not_storable", "The filled-in values make no JSON.".to_owned()))?;
        Ok(Born {
            id: v7(now),
            sender,
            route: planned.route,
            class: match planned.class {
                Class::Urgent => 0,
                Class::Normal => 1,
            },
            phone: planned.to.reveal().to_owned(),
            locale: Some(planned.locale),
            purpose: planned.purpose,
            version: self.versions.current(&planned.template, &planned.language),
            template: planned.template,
            language: planned.language,
            subject: planned.subject,
            expires_at: planned.expires_at,
            grace_ms: i64::try_from(planned.grace.as_millis()).unwrap_or(i64::MAX),
            pending_ms: i64::try_from(planned.pending.as_millis()).unwrap_or(i64::MAX),
            quiet: multirange(&planned.quiet).filter(|_| self.quiet_hours),
            doubt: planned.in_doubt.as_str(),
            filled,
            free_text: planned.free_text,
            sms,
        })
    }

    /// The types that the queue is bound to.
    #[must_use]
    pub fn event_types(&self) -> Vec<String> {
        self.catalogue.event_types().map(str::to_owned).collect()
    }
}

/// A source's message that asks for nothing: recorded with its identity, or its bytes' hash if it has none.
fn unwanted(bytes: &Bytes<'_>, source: String, id: Option<String>, now: Timestamp) -> Arrival {
    let body_hash: [u8; 32] = Sha256::digest(bytes.body).into();
    let by_hash = || body_hash.iter().fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}"));
    Arrival {
        id: id.unwrap_or_else(by_hash),
        source,
        body_hash,
        r#type: bytes.routing_key.to_owned(),
        subject: None,
        time: now,
        stage: None,
        ignored: Some("unwanted_by_source"),
        body: String::new(),
        traceparent: None,
        notifications: Vec::new(),
    }
}

fn multirange(intervals: &[(Timestamp, Timestamp)]) -> Option<String> {
    if intervals.is_empty() {
        return None;
    }
    let mut text = String::from("{");
    for (i, (from, to)) in intervals.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}[{from},{to})");
    }
    text.push('}');
    Some(text)
}

/// Where in the time after quiet hours this event's messages fall, from 0 to 1: as good as random, and the same each time.
fn place(body_hash: &[u8; 32]) -> f64 {
    let [a, b, c, d, ..] = *body_hash;
    f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX)
}
