//! What a row of the outbox says to others, as a CloudEvent. docs/schemas has what it may be.

use serde_json::{Value, json};

use crate::db::outbox::Told;

/// An event as it is told, over whatever way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// Its type: the routing key at the broker.
    pub kind: String,
    /// Events of one key are told in order.
    pub key: String,
    pub body: String,
}

/// People's messages go to an exchange of their own.
pub const INBOUND: &str = "message.received";

/// The event that a row stands for.
#[must_use]
pub fn of(row: &Told) -> Event {
    if let Some(about) = &row.notification {
        let kind = format!("notification.{}", row.kind);
        let id = format!("{}.{}", about.id, about.sequence);
        let body = json!({
            "specversion": "1.0", "id": id, "source": "/recado", "type": kind, "subject": about.id, "time": row.at,
            "datacontenttype": "application/json", "sequence": format!("{:010}", about.sequence),
            "data": {
                "notification": about.id, "sequence": about.sequence, "state": row.kind, "reason": row.reason,
                "event": {"source": about.event_source, "id": about.event_id}, "key": about.journey_key,
                "subject": about.subject, "template": about.template, "language": about.language,
                "sender": about.sender, "attempt": about.attempt, "message_id": about.message_id,
                "resent": about.resends > 0, "duplicate": about.duplicate, "as_text": about.as_text,
                "fallback": about.fallback, "fallback_of": about.fallback_of,
            },
        });
        return Event { id, kind, key: about.id.to_string(), body: body.to_string() };
    }
    let id = format!("{}.{}", row.kind, row.id);
    // Of a person, a hold or a template.
    let kind = if row.kind == "inbound" { INBOUND } else { &row.kind };
    let body = json!({
        "specversion": "1.0", "id": id, "source": "/recado", "type": kind, "time": row.at,
        "datacontenttype": "application/json", "data": row.payload,
    });
    Event { key: key(row).unwrap_or_else(|| id.clone()), id, kind: kind.to_owned(), body: body.to_string() }
}

fn key(row: &Told) -> Option<String> {
    let of = |name: &str| row.payload.as_ref()?.get(name).filter(|value| !value.is_null()).map(Value::to_string);
    match row.kind.as_str() {
        "inbound" => Some(format!("person {}", of("contact")?)),
        "template.changed" => Some(format!("template {} {} {}", of("sender")?, of("template")?, of("language")?)),
        _ => Some(format!("hold {}", of("hold")?)),
    }
}

/// What a kind and a reason in the figures are called of an event's type.
#[must_use]
pub fn state(kind: &str) -> &str {
    kind.strip_prefix("notification.").unwrap_or(kind)
}
