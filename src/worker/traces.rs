//! What the loops tell of a notification's way: claim, attempt and settle; receipt. One function a span. What is before that, the inbox tells.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    clock::Clock,
    db::{self, dispatch::Claim, traces::Traced},
    domain::{
        notification::{AttemptId, Failure},
        trace::SpanId,
    },
    telemetry::traces::{Kind, Span, Tracer},
};

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
