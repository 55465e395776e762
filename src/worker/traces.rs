//! What the loops tell of a notification's way: event, plan and record; claim, attempt and settle; receipt. One function a span.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    clock::Clock,
    db::{
        self,
        dispatch::Claim,
        inbox::{Arrival, Verdict},
        traces::Traced,
    },
    domain::{
        notification::{AttemptId, Failure},
        trace::SpanId,
    },
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

/// The traces of what was claimed; none if the database does not say.
pub async fn of_claims(pool: &PgPool, tracer: &Tracer, claims: &[Claim]) -> HashMap<Uuid, Traced> {
    if !tracer.is_on() || claims.is_empty() {
        return HashMap::new();
    }
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.attempt.notification).collect();
    match db::traces::of(pool, &ids).await {
        Ok(traced) => traced,
        Err(error) => {
            tracing::debug!(%error, "traces.not_found");
            HashMap::new()
        }
    }
}

/// An attempt that is followed, from its claim until its result is written.
#[derive(Debug, Clone)]
pub struct Followable {
    tracer: Tracer,
    clock: Clock,
    trace: Uuid,
    attempt: AttemptId,
    since: Timestamp,
}

/// A notification was claimed by a statement that took from `began` until now.
pub fn claimed(tracer: &Tracer, clock: &Clock, claim: &Claim, traced: Traced, began: Timestamp) -> Followable {
    let (now, attempt) = (clock.now(), claim.attempt);
    tracer.tell(Span {
        trace: traced.trace,
        id: SpanId::step("claim", attempt),
        parent: Some(SpanId::plan(traced.planned)),
        name: "claim",
        kind: Kind::Internal,
        start: began,
        end: now,
        attributes: of_attempt(attempt),
        failed: None,
    });
    Followable { tracer: tracer.clone(), clock: clock.clone(), trace: traced.trace, attempt, since: now }
}

/// What became of an attempt's request.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    pub sender: &'a str,
    pub template: &'a str,
    pub outcome: &'static str,
    pub failure: Option<&'a Failure>,
    pub resend: bool,
    pub began: Timestamp,
}

impl Followable {
    /// Its request has been answered, or not.
    pub fn ended(&mut self, ended: Ended<'_>) {
        let mut attributes = of_attempt(self.attempt);
        attributes.extend([
            ("recado.sender", ended.sender.into()),
            ("recado.template", ended.template.into()),
            ("recado.outcome", ended.outcome.into()),
            ("recado.resend", ended.resend.into()),
        ]);
        attributes.extend(of_failure(ended.failure));
        self.since = self.clock.now();
        self.tracer.tell(Span {
            trace: self.trace,
            id: SpanId::step("attempt", self.attempt),
            parent: Some(SpanId::step("claim", self.attempt)),
            name: "attempt",
            kind: Kind::Client,
            start: ended.began,
            end: self.since,
            attributes,
            failed: ended.failure.map(|failure| failure.reason.as_str().to_owned()),
        });
    }

    /// Its result is written.
    pub fn settled(self) {
        self.tracer.tell(Span {
            trace: self.trace,
            id: SpanId::step("settle", self.attempt),
            parent: Some(SpanId::step("attempt", self.attempt)),
            name: "settle",
            kind: Kind::Internal,
            start: self.since,
            end: self.clock.now(),
            attributes: of_attempt(self.attempt),
            failed: None,
        });
    }
}

/// A report on a message, as the receipts' role has it.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    pub message_id: &'a str,
    pub tag: Option<AttemptId>,
    pub kind: &'static str,
    /// When the provider says that it was so.
    pub at: Timestamp,
    pub failure: Option<&'a Failure>,
}

/// These reports were applied, from `began` until now.
pub async fn applied(pool: &PgPool, tracer: &Tracer, reports: &[Reported<'_>], began: Timestamp, now: Timestamp) {
    if !tracer.is_on() || reports.is_empty() {
        return;
    }
    let sought: Vec<_> = reports.iter().map(|report| (report.message_id, report.tag)).collect();
    let found = match db::traces::of_receipts(pool, &sought).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "traces.not_found");
            return;
        }
    };
    for (place, attempt, trace) in found {
        let Some(report) = reports.get(place) else { continue };
        let mut attributes = of_attempt(attempt);
        attributes.push(("recado.receipt", report.kind.into()));
        attributes.push(("recado.receipt.at", report.at.to_string().into()));
        attributes.extend(of_failure(report.failure));
        tracer.tell(Span {
            trace,
            id: SpanId::step(report.kind, attempt),
            parent: Some(SpanId::step("attempt", attempt)),
            name: "receipt",
            kind: Kind::Consumer,
            start: began,
            end: now,
            attributes,
            failed: report.failure.map(|failure| failure.reason.as_str().to_owned()),
        });
    }
}

fn of_attempt(attempt: AttemptId) -> Vec<(&'static str, Value)> {
    vec![("recado.notification", attempt.notification.to_string().into()), ("recado.attempt", attempt.number.into())]
}

fn of_failure(failure: Option<&Failure>) -> impl Iterator<Item = (&'static str, Value)> {
    let reason = failure.map(|failure| ("recado.reason", failure.reason.as_str().into()));
    let code = failure.and_then(|failure| failure.code).map(|code| ("recado.code", code.into()));
    reason.into_iter().chain(code)
}
