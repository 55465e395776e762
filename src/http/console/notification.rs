//! One notification: all that happened to it, what its person reads, what happens next; and what operators may do about it.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use minijinja::{context, value::Serde};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{notifications::Chip, trouble::Trouble, visitor::Visitor, visitor::field};
use crate::{
    db::{
        audit::{Act, note},
        decisions::{self, Decided},
        story,
        versions::{self, Content},
    },
    domain::{
        message::Filled,
        notification::{Best, State as Life, Wait},
        phone::Phone,
        role::Role,
        story::{Attempt, Note, Story},
    },
    http::{Desk, notifications::explain},
};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/notifications/{id}", get(show)).route("/console/notifications/{id}/{act}", post(act))
}

/// One thing that happened, as it is shown. What is none is not.
#[derive(Debug, Default, Serialize)]
struct Step {
    at: Timestamp,
    look: &'static str,
    /// The name of its text.
    key: String,
    /// What follows the text.
    with: Option<String>,
    number: Option<i16>,
    reason: Option<String>,
    why: Option<&'static str>,
    code: Option<i32>,
    /// The provider's own words.
    detail: Option<String>,
    by: Option<String>,
}

#[derive(Serialize)]
struct Bubble {
    header: Option<String>,
    body: String,
    footer: Option<String>,
    buttons: Vec<String>,
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Trouble> {
    let id = Uuid::try_parse(&id).map_err(|_| Trouble::Unknown)?;
    let pool = &desk.doors.pools.ops;
    let story = story::of(pool, id).await?.ok_or(Trouble::Unknown)?;
    let content = versions::content(pool, id).await?;
    let persons = visitor.caller.role >= Role::Operator;
    let story = if persons { story } else { story.without_persons() };
    let mut steps = steps(&story);
    if let Some(sms) = &story.fallback {
        steps.extend(
            self::steps(sms).into_iter().map(|step| Step { with: step.with.or(Some("SMS".to_owned())), ..step }),
        );
        steps.sort_by_key(|step| step.at);
    }
    let costs: Vec<String> = story.attempts.iter().filter_map(cost).collect();
    // What the message says may name the person.
    let bubble = content.filter(|_| persons).and_then(|content| bubble(&content));
    let values = context! {
        id => id.to_string(),
        chip_row => Serde(Chip::of(&story.state)),
        next => next(&story, visitor.now),
        phone => story.phone.as_ref().map(Phone::to_string),
        persons,
        bubble => bubble.map(Serde),
        steps => Serde(&steps),
        costs,
        acts => Serde(acts(&story, visitor.now)),
        story => Serde(&story),
    };
    Ok(visitor.page(&desk, "notifications", "notification.html", values))
}

fn bubble(content: &Content) -> Option<Bubble> {
    if let (true, Some(text)) = (content.as_text, &content.free_text) {
        return Some(Bubble { header: None, body: text.clone(), footer: None, buttons: Vec::new() });
    }
    let filled: Filled = serde_json::from_str(content.filled.as_deref()?).ok()?;
    let reading = content.definition.as_ref()?.reading(&filled);
    Some(Bubble {
        header: reading.header,
        body: reading.body,
        footer: reading.footer,
        buttons: reading.buttons.into_iter().map(|button| button.text).collect(),
    })
}

/// Everything that happened, in the order of time.
fn steps(story: &Story) -> Vec<Step> {
    let mut steps = Vec::new();
    let step = |at, key: &str| Step { at, key: key.to_owned(), ..Step::default() };
    if let Some(event) = &story.event {
        steps.push(Step { with: Some(event.r#type.clone()), ..step(event.received_at, "step_received") });
        steps.extend(event.conflicts.iter().map(|at| Step { look: "warn", ..step(*at, "step_conflict") }));
    }
    let version = story.version.map(|version| format!(" v{version}")).unwrap_or_default();
    let planned = if story.fallback_of.is_some() { "step_follows" } else { "step_planned" };
    steps.push(Step {
        with: Some(format!("{}{version} · {}", story.template, story.language)),
        ..step(story.created_at, planned)
    });
    if let Some(entry) = &story.consent
        && let Some(at) = entry.at
    {
        let act = entry.act.as_deref().unwrap_or("act");
        steps.push(Step {
            with: Some(format!("{} · #{}", story.purpose, entry.number)),
            ..step(at, &format!("step_consent_{act}"))
        });
    }
    steps.extend(story.notes.iter().map(noted));
    for hold in &story.holds {
        steps.push(Step {
            look: "warn",
            with: Some(hold.on.clone()),
            reason: Some(hold.reason.clone()),
            why: explain(&hold.reason),
            detail: hold.detail.clone(),
            by: Some(hold.placed_by.clone()),
            ..step(hold.placed_at, "step_held")
        });
    }
    for attempt in &story.attempts {
        tried(attempt, &mut steps);
    }
    if let (Some(at), Some(reason)) = (story.ended_at, story.state.reason()) {
        let look = if story.state.name() == "failed" { "bad" } else { "warn" };
        let ended = step(at, &format!("step_ended_{}", story.state.name()));
        let by = story.superseded_by.clone();
        steps.push(Step { look, reason: Some(reason.to_owned()), why: explain(reason), with: by, ..ended });
    }
    if let Life::InDoubt { since } = story.state {
        steps.push(Step { look: "warn", ..step(since, "step_in_doubt") });
    }
    steps.sort_by_key(|step| step.at);
    steps
}

fn noted(note: &Note) -> Step {
    const KNOWN: [&str; 11] = [
        "settled_by_evidence",
        "duplicate_confirmed",
        "sms_follows",
        "follows",
        "duplicate_by_sms",
        "resend",
        "resend_ordered",
        "retry_ordered",
        "gave_up",
        "cancelled",
        "undelivered",
    ];
    let (key, with) = match (note.what.as_str(), &note.detail) {
        ("waits", Some(on)) if Wait::named(on).is_some() => (format!("step_waits_{on}"), None),
        (what, detail) if KNOWN.contains(&what) => (format!("step_{what}"), detail.clone()),
        (what, detail) => ("step_other".to_owned(), Some(format!("{what} {}", detail.as_deref().unwrap_or_default()))),
    };
    let look = match note.what.as_str() {
        "duplicate_confirmed" | "duplicate_by_sms" | "gave_up" | "undelivered" => "warn",
        "settled_by_evidence" => "ok",
        _ => "",
    };
    Step { at: note.at, look, key, with, by: note.by.clone(), ..Step::default() }
}

fn tried(attempt: &Attempt, steps: &mut Vec<Step>) {
    let number = Some(attempt.number);
    let begun = if attempt.resend { "step_resent" } else { "step_claimed" };
    steps.push(Step { at: attempt.claimed_at, key: begun.to_owned(), number, ..Step::default() });
    if let (Some(at), Some(outcome)) = (attempt.ended_at, attempt.outcome.as_deref()) {
        let look = match outcome {
            "accepted" => "ok",
            "unclear" => "warn",
            "rejected" => "bad",
            _ => "",
        };
        steps.push(Step {
            at,
            look,
            key: format!("step_outcome_{outcome}"),
            with: attempt.message_id.clone(),
            number,
            reason: attempt.reason.clone(),
            why: attempt.reason.as_deref().and_then(explain),
            code: attempt.code,
            detail: attempt.detail.clone(),
            ..Step::default()
        });
    }
    // The provider tells whole seconds by its own clock: nothing is reported before it was asked for.
    let begin =
        attempt.ended_at.filter(|_| attempt.outcome.as_deref() == Some("accepted")).unwrap_or(attempt.claimed_at);
    let mut receipts: Vec<_> = attempt.receipts.iter().collect();
    let place = |kind: &str| ["sent", "failed", "delivered", "read"].iter().position(|known| *known == kind);
    receipts.sort_by_key(|receipt| (receipt.at, place(&receipt.kind)));
    for receipt in receipts {
        let look = match receipt.kind.as_str() {
            "delivered" | "read" => "ok",
            "failed" => "bad",
            _ => "",
        };
        steps.push(Step {
            at: receipt.at.max(begin),
            look,
            key: format!("step_receipt_{}", receipt.kind),
            number,
            reason: receipt.reason.clone(),
            why: receipt.reason.as_deref().and_then(explain),
            code: receipt.code,
            detail: receipt.detail.clone(),
            ..Step::default()
        });
    }
}

/// What an attempt cost, or was expected to.
fn cost(attempt: &Attempt) -> Option<String> {
    let cost = attempt.cost.as_ref()?;
    let currency = cost.currency.as_deref().unwrap_or_default();
    let amount = match (&cost.actual, &cost.predicted) {
        (Some(actual), _) => format!("{actual} {currency}"),
        (None, Some(predicted)) => format!("≈ {predicted} {currency}"),
        (None, None) => return None,
    };
    let of: Vec<&str> = [&cost.category, &cost.country].into_iter().flatten().map(String::as_str).collect();
    Some(format!("{amount} ({})", of.join(", ")))
}

/// The name of the sentence that says what happens next.
fn next(story: &Story, now: Timestamp) -> String {
    match &story.state {
        Life::Pending { .. } if story.expires_at <= now => "next_expires".to_owned(),
        Life::Pending { .. } if !story.holds.is_empty() => "next_held".to_owned(),
        Life::Pending { waiting_on: Some(wait), .. } => format!("next_{}", wait.as_str()),
        Life::Pending { due_at, waiting_on: None } if *due_at > now => "next_later".to_owned(),
        Life::Pending { .. } => "next_due".to_owned(),
        Life::Sending { .. } => "next_sending".to_owned(),
        Life::InDoubt { .. } if story.doubt == "resend_once" && story.resends == 0 => "next_doubt_resend".to_owned(),
        Life::InDoubt { .. } => "next_doubt".to_owned(),
        Life::Accepted { receipt: None, .. } => "next_unconfirmed".to_owned(),
        Life::Accepted { receipt: Some(Best::Sent), .. } => "next_sent".to_owned(),
        Life::Accepted { receipt: Some(Best::Delivered | Best::Read), .. } => "next_arrived".to_owned(),
        Life::Failed { reason } if reason == "unknown" => "next_unknown".to_owned(),
        Life::Failed { .. } | Life::Suppressed { .. } if story.expires_at <= now => "next_over".to_owned(),
        Life::Failed { .. } | Life::Suppressed { .. } => "next_ended".to_owned(),
    }
}

/// What may be done about it.
fn acts(story: &Story, now: Timestamp) -> Vec<&'static str> {
    let alive = story.expires_at > now;
    let doubtful = matches!(story.state.reason(), Some("unknown" | "delivered_elsewhere")) || story.fallback.is_some();
    match &story.state {
        Life::Pending { .. } => vec!["cancel"],
        Life::InDoubt { .. } if alive => vec!["resend", "give_up"],
        Life::InDoubt { .. } => vec!["give_up"],
        Life::Failed { .. } | Life::Suppressed { .. } if alive && doubtful => vec!["resend"],
        Life::Failed { .. } | Life::Suppressed { .. } if alive => vec!["retry"],
        Life::Failed { .. } | Life::Suppressed { .. } | Life::Sending { .. } | Life::Accepted { .. } => Vec::new(),
    }
}

async fn act(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let id = Uuid::try_parse(&id).map_err(|_| Trouble::Unknown)?;
    let reason = field(&body, "reason").unwrap_or_default();
    let reason = reason.trim();
    let back = |said: &str| Ok(Redirect::to(&format!("{}?said={said}", from(&body, id))).into_response());
    if reason.is_empty() || reason.len() > 500 {
        return back("needs_reason");
    }
    let (pool, by) = (&desk.doors.pools.ops, visitor.caller.name.as_str());
    let (decided, what) = match act.as_str() {
        "retry" => (decisions::retry(pool, id, by).await?, "notification.retried"),
        "resend" => (decisions::resend(pool, id, by).await?, "notification.resent"),
        "cancel" | "give_up" => (decisions::cancel(pool, id, by).await?, "notification.cancelled"),
        _ => return Err(Trouble::Unknown),
    };
    match decided {
        Decided::Unknown => Err(Trouble::Unknown),
        Decided::Refused { .. } => back("not_done"),
        Decided::Done => {
            let on = id.to_string();
            note(pool, &Act { by, what, on: Some(&on), reason: Some(reason), detail: json!({}) }).await?;
            back("done")
        }
    }
}

/// The page that it was posted from: this one's, or the list of doubts.
fn from(body: &Bytes, id: Uuid) -> String {
    match field(body, "from").as_deref() {
        Some("doubt") => "/console/doubt".to_owned(),
        _ => format!("/console/notifications/{id}"),
    }
}
