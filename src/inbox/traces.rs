//! What the inbox tells of a notification's way: event, plan and record. One function a span.

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    db::{
        self,
        inbox::{Arrival, Verdict},
    },
    domain::trace::SpanId,
    telemetry::traces::{Followed, Kind, Span, Tracer},
};

/// When an event came, and when it was read and planned.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub came: Timestamp,
    pub planned: Timestamp,
}

/// The `traceparent` that came with an event's envelope, for one that carries none itself.
pub fn header(headers: &[(String, String)]) -> Option<&str> {
    let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
    found.map(|(_, value)| value.as_str())
}

/// Remembers to which trace the notifications of these events will belong. What cannot be remembered is not followed further.
pub async fn remember(pool: &PgPool, arrivals: &[Arrival], followed: &[Option<Followed>]) {
    let traced: Vec<(Uuid, Uuid)> = arrivals
        .iter()
        .zip(followed)
        .filter_map(|(arrival, followed)| Some((arrival, (*followed)?)))
        .flat_map(|(arrival, followed)| arrival.notifications.iter().map(move |born| (born.id, followed.trace)))
        .collect();
    if let Err(error) = db::traces::remember(pool, &traced).await {
        tracing::debug!(%error, "traces.not_remembered");
    }
}

/// An event, with its plans, has been recorded.
pub fn recorded(
    tracer: &Tracer,
    arrival: &Arrival,
    verdict: Verdict,
    followed: Followed,
    times: Times,
    now: Timestamp,
) {
    let came_to = match verdict {
        Verdict::New if arrival.ignored.is_some() => "ignored",
        Verdict::New => "accepted",
        Verdict::Repeat => "duplicate",
        Verdict::Conflict => "conflict",
    };
    let Followed { trace, parent, event } = followed;
    tracer.tell(Span {
        trace,
        id: event,
        parent,
        name: "event",
        kind: Kind::Consumer,
        start: times.came,
        end: now,
        attributes: vec![("recado.event.type", arrival.r#type.as_str().into()), ("recado.verdict", came_to.into())],
        failed: None,
    });
    tracer.tell(Span {
        trace,
        id: SpanId::of(&[b"record".as_slice(), event.to_string().as_bytes()].concat()),
        parent: Some(event),
        name: "record",
        kind: Kind::Internal,
        start: times.planned,
        end: now,
        attributes: Vec::new(),
        failed: None,
    });
    for born in arrival.notifications.iter().filter(|_| verdict == Verdict::New) {
        tracer.tell(Span {
            trace,
            id: SpanId::plan(born.id),
            parent: Some(event),
            name: "plan",
            kind: Kind::Internal,
            start: times.came,
            end: times.planned,
            attributes: vec![
                ("recado.notification", born.id.to_string().into()),
                ("recado.template", born.template.as_str().into()),
                ("recado.language", born.language.as_str().into()),
            ],
            failed: None,
        });
    }
}

/// Bytes that are no event were kept with this reason.
pub fn rejected(tracer: &Tracer, followed: Followed, reason: &'static str, came: Timestamp, now: Timestamp) {
    tracer.tell(Span {
        trace: followed.trace,
        id: followed.event,
        parent: followed.parent,
        name: "event",
        kind: Kind::Consumer,
        start: came,
        end: now,
        attributes: vec![("recado.verdict", "rejected".into())],
        failed: Some(reason.to_owned()),
    });
}
