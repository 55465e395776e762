//! What became of an event, in short sentences of the reader's language. Pure: from what is known to what is shown.

use serde::Serialize;

use super::{
    board::{Tale, Written},
    texts::Texts,
};
use crate::{
    db::progress::{Letter, Step},
    domain::{
        notification::{Best, State, Wait},
        story::{Attempt, Note, Story},
    },
};

/// A tale as it is shown.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Which card it is.
    pub card: String,
    /// When it began.
    pub at: i64,
    pub title: String,
    /// Whom and what it is about.
    pub whom: String,
    pub own: bool,
    /// The notification, for `recado why` and the console.
    pub id: Option<String>,
    /// How it stands, in a word or two, and how that is to be taken: `good`, `wait`, `bad`, `doubt`.
    pub state: String,
    pub tone: &'static str,
    pub lines: Vec<Line>,
    pub next: Option<String>,
}

/// One thing that happened; Unix ms.
#[derive(Debug, Serialize)]
pub struct Line {
    pub at: i64,
    pub text: String,
}

/// Tells it.
pub fn tell(tale: &Tale, t: Texts<'_>) -> Told {
    let mut lines = vec![Line { at: tale.published, text: t.say("told_published", &[]) }];
    if let Some(at) = tale.again {
        lines.push(Line { at, text: t.say("told_again", &[]) });
    }
    let (state, tone) = standing(tale, t);
    let next = match (&tale.story, &tale.step) {
        (Some(story), _) => {
            gather(story, t, &mut lines);
            next(story, t)
        }
        (None, Some(step)) => {
            let why = step.ignored.as_deref().unwrap_or_default();
            lines.push(Line { at: tale.published, text: t.say("told_ignored", &[("why", &t.reason(why))]) });
            None
        }
        (None, None) => Some(t.say(if tale.works { "next_queue" } else { "next_queue_dead" }, &[])),
    };
    lines.sort_by_key(|line| line.at);
    Told {
        card: format!("tale-{}", tale.no),
        at: tale.published,
        title: t.say(&format!("event_{}", tale.kind.replace('.', "_")), &[]),
        whom: format!("{} · {}", tale.order, tale.who),
        own: tale.own,
        id: tale.story.as_ref().map(|story| story.id.to_string()),
        state,
        tone,
        lines,
        next,
    }
}

/// Tells what somebody's words came to.
pub fn tell_letter(written: &Written, t: Texts<'_>) -> Told {
    let Letter { received_at, said, did, answered_at } = &written.letter;
    let at = received_at.as_millisecond();
    let read = did.as_deref().map_or_else(|| "did_nothing".to_owned(), |did| format!("did_{did}"));
    let mut lines = vec![Line { at, text: t.say("told_letter", &[]) }, Line { at, text: t.say(&read, &[]) }];
    lines.extend(answered_at.map(|at| Line { at: at.as_millisecond(), text: t.say("told_answered", &[]) }));
    let (state, tone) = match (did, answered_at) {
        (None, _) => ("state_kept", "wait"),
        (Some(_), None) => ("state_answering", "wait"),
        (Some(_), Some(_)) => ("state_answered", "good"),
    };
    Told {
        card: format!("letter-{}", written.no),
        at,
        title: t.say("letter", &[("name", written.who)]),
        whom: said.clone().unwrap_or_default(),
        own: true,
        id: None,
        state: t.say(state, &[]),
        tone,
        lines,
        next: (did.is_some() && answered_at.is_none()).then(|| t.say("next_answer", &[])),
    }
}

fn standing(tale: &Tale, t: Texts<'_>) -> (String, &'static str) {
    let say = |key: &str| t.say(key, &[]);
    let Some(story) = &tale.story else {
        return match &tale.step {
            Some(Step { ignored: Some(_), .. }) => (say("state_ignored"), "bad"),
            Some(_) | None => (say("state_queue"), "wait"),
        };
    };
    match &story.state {
        State::Pending { waiting_on: Some(_), .. } => (say("state_waits"), "wait"),
        State::Pending { waiting_on: None, .. } => (say("state_due"), "wait"),
        State::Sending { .. } => (say("state_sending"), "wait"),
        State::InDoubt { .. } => (say("state_in_doubt"), "doubt"),
        State::Accepted { receipt, .. } => match receipt {
            None => (say("state_accepted"), "wait"),
            Some(Best::Sent) => (say("state_sent"), "wait"),
            Some(Best::Delivered) => (say("state_delivered"), "good"),
            Some(Best::Read) => (say("state_read"), "good"),
        },
        State::Failed { .. } => (say("state_failed"), "bad"),
        State::Suppressed { .. } => (say("state_suppressed"), "bad"),
    }
}

fn gather(story: &Story, t: Texts<'_>, lines: &mut Vec<Line>) {
    let mut push = |at: jiff::Timestamp, text: String| lines.push(Line { at: at.as_millisecond(), text });
    if let Some(event) = &story.event {
        push(event.received_at, t.say("told_received", &[]));
    }
    let planned = if story.urgent { "told_planned_urgent" } else { "told_planned" };
    push(story.created_at, t.say(planned, &[("template", &story.template), ("language", &story.language)]));
    for told in &story.notes {
        push(told.at, note(told, t));
    }
    for hold in &story.holds {
        push(hold.placed_at, t.say("told_hold", &[("reason", &t.reason(&hold.reason))]));
    }
    for attempt in &story.attempts {
        tell_attempt(attempt, t, &mut push);
    }
    if let (Some(at), Some(reason)) = (story.ended_at, story.state.reason()) {
        let key = if matches!(story.state, State::Suppressed { .. }) { "told_suppressed" } else { "told_failed" };
        push(at, t.say(key, &[("reason", &t.reason(reason))]));
    }
    if let State::InDoubt { since } = story.state {
        push(since, t.say("told_in_doubt", &[]));
    }
}

fn tell_attempt(attempt: &Attempt, t: Texts<'_>, push: &mut impl FnMut(jiff::Timestamp, String)) {
    let number = attempt.number.to_string();
    let key = match (attempt.resend, attempt.as_text) {
        (true, _) => "told_resend",
        (false, true) => "told_attempt_text",
        (false, false) => "told_attempt",
    };
    let entry = attempt.consent_entry.to_string();
    push(attempt.claimed_at, t.say(key, &[("n", &number), ("entry", &entry)]));
    if let (Some(at), Some(outcome)) = (attempt.ended_at, attempt.outcome.as_deref()) {
        let reason = t.reason(attempt.reason.as_deref().unwrap_or_default());
        let code = attempt.code.map(|code| format!(" ({code})")).unwrap_or_default();
        let key = match outcome {
            "accepted" => "told_accepted",
            "unclear" => "told_unclear",
            "not_sent" => "told_not_sent",
            "busy" => "told_busy",
            _ => "told_refused",
        };
        push(at, t.say(key, &[("n", &number), ("reason", &format!("{reason}{code}"))]));
    }
    let begin = attempt.ended_at.unwrap_or(attempt.claimed_at);
    for receipt in &attempt.receipts {
        let key = format!("told_receipt_{}", receipt.kind);
        let reason = t.reason(receipt.reason.as_deref().unwrap_or_default());
        // By our own clock: the provider tells whole seconds.
        push(receipt.received_at.max(begin), t.say(&key, &[("reason", &reason)]));
    }
}

fn note(note: &Note, t: Texts<'_>) -> String {
    let detail = note.detail.as_deref().unwrap_or_default();
    let detail = detail.strip_prefix("attempt ").unwrap_or(detail);
    match note.what.as_str() {
        "waits" => t.say(&format!("told_waits_{detail}"), &[]),
        what => {
            let key = format!("note_{what}");
            if t.has(&key) {
                t.say(&key, &[("detail", detail)])
            } else {
                format!("{} {detail}", what.replace('_', " "))
            }
        }
    }
}

fn next(story: &Story, t: Texts<'_>) -> Option<String> {
    let key = match &story.state {
        State::Pending { waiting_on: Some(on), .. } => match on {
            Wait::Lane => "next_lane",
            Wait::Subject => "next_subject",
            Wait::Template => "next_template",
            Wait::Consent => "next_consent",
            Wait::Quiet => "next_quiet",
            Wait::DayLimit => "next_day_limit",
            Wait::Budget => "next_budget",
        },
        State::Pending { waiting_on: None, .. } if story.attempts.is_empty() => "next_due",
        State::Pending { waiting_on: None, .. } => "next_retry",
        State::Sending { .. } => "next_sending",
        State::InDoubt { .. } if story.doubt == "resend_once" && story.resends == 0 => "next_doubt_resend",
        State::InDoubt { .. } => "next_doubt",
        State::Accepted { receipt: None, .. } => "next_accepted",
        State::Accepted { .. } | State::Failed { .. } | State::Suppressed { .. } => return None,
    };
    Some(t.say(key, &[]))
}
