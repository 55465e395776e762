//! One notification: all that happened to it, what its person reads, what happens next; and what operators may do about it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp};
use minijinja::{context, value::Serde};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    notifications::Chip,
    stream::{self, Listener, Seen},
    trouble::Trouble,
    visitor::Visitor,
    visitor::field,
};
use crate::{
    db::{
        audit::{Act, note},
        decisions::{self, Decided},
        story,
        versions::{self, Content},
    },
    domain::{
        action::{Action, Kind, Skip, judge, offered, reason},
        message::Filled,
        notification::{Best, State as Life, Wait},
        role::Role,
        story::{Attempt, Hold, Note, Story},
        template::formatted,
    },
    http::Desk,
};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/notifications/{id}", get(show))
        .route("/console/notifications/{id}/live", get(listen))
        .route("/console/notifications/{id}/number", post(show_number))
        .route("/console/notifications/{id}/{act}", post(act))
}

/// One thing that happened, as it is shown. What is none is not.
#[derive(Debug, Default, Serialize)]
struct Step {
    at: Timestamp,
    /// How long after the event came, in short.
    after: Option<String>,
    look: &'static str,
    /// The name of its text.
    key: String,
    /// What follows the text.
    with: Option<String>,
    number: Option<i16>,
    reason: Option<String>,
    code: Option<i32>,
    /// The provider's own words.
    detail: Option<String>,
    by: Option<String>,
    /// Why an operator did so.
    why: Option<String>,
    /// The number of the plan by which it was done.
    plan: Option<i64>,
    /// The entry of the consent ledger that allowed it.
    entry: Option<i32>,
    as_text: bool,
    /// What keeps it back.
    hold: Option<Hold>,
}

/// What one attempt cost, or is expected to.
#[derive(Serialize)]
struct Price {
    number: i16,
    amount: String,
    billed: bool,
    of: String,
}

/// A message drawn: header and body are HTML.
#[derive(Serialize)]
struct Bubble {
    header: Option<String>,
    body: String,
    footer: Option<String>,
    buttons: Vec<String>,
}

/// The parts that are told anew, and their templates.
const LIVE: [(&str, &str); 5] = [
    ("standing", "notification_standing.html"),
    ("next", "notification_next.html"),
    ("acts", "notification_acts.html"),
    ("story", "notification_story.html"),
    ("costs", "notification_costs.html"),
];
/// How often it is looked at: a story is several questions to the database.
const EVERY: Duration = Duration::from_secs(2);

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Trouble> {
    let id = Uuid::try_parse(&id).map_err(|_| Trouble::Unknown)?;
    page(&desk, &visitor, id, false).await
}

/// Tells what becomes of it. What may be done is told only if that is something else than the page offers, since a reason may be half
/// written there.
async fn listen(
    State(desk): State<Arc<Desk>>,
    listener: Listener,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let id = Uuid::try_parse(&id).map_err(|_| Trouble::Unknown)?;
    Ok(listener.tell(desk, EVERY, move |desk, visitor| async move {
        let Some(story) = story::of(&desk.doors.pools.ops, id).await? else {
            return Ok(Seen { parts: Vec::new(), over: true });
        };
        let story = seen_by(&visitor, story);
        Ok(Seen { parts: parts(&desk, &visitor, &story), over: !moves(&story, visitor.now) })
    }))
}

/// What of it this visitor sees without asking for the number.
fn seen_by(visitor: &Visitor, story: Story) -> Story {
    if visitor.caller.role >= Role::Operator { story.without_number() } else { story.without_persons() }
}

/// What of the page moves, as it is now.
fn parts(desk: &Desk, visitor: &Visitor, story: &Story) -> stream::Parts {
    let values = context! {
        id => story.id.to_string(),
        chip_row => Serde(Chip::of(&story.state)),
        next => next(story, visitor.now),
        steps => Serde(&told(story)),
        costs => Serde(&costs(story)),
        acts => offered(&story.standing(visitor.now)).into_iter().map(Action::as_str).collect::<Vec<_>>(),
        story => Serde(story),
    };
    LIVE.map(|(name, template)| (name, visitor.part(desk, template, values.clone()))).into()
}

/// The same with the whole number. Who looked is noted before it is shown; a browser that loads the page anew has it masked again.
async fn show_number(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let id = Uuid::try_parse(&id).map_err(|_| Trouble::Unknown)?;
    page(&desk, &visitor, id, true).await
}

/// The page; `whole` has the number shown, which is noted.
async fn page(desk: &Desk, visitor: &Visitor, id: Uuid, whole: bool) -> Result<Response, Trouble> {
    let pool = &desk.doors.pools.ops;
    let story = story::of(pool, id).await?.ok_or(Trouble::Unknown)?;
    if whole {
        let on = id.to_string();
        let by = visitor.caller.name.as_str();
        note(pool, &Act { by, what: "number.shown", on: Some(&on), reason: None, detail: json!({}) }).await?;
    }
    let persons = visitor.caller.role >= Role::Operator;
    // What the message says may name the person.
    let (mut bubble, mut sms) = (None, None);
    if persons {
        bubble = versions::content(pool, id).await?.and_then(|content| self::bubble(&content));
        if let Some(followed) = &story.fallback {
            sms = versions::content(pool, followed.id).await?.and_then(|content| self::bubble(&content));
        }
    }
    let phone = story.phone.as_ref().map(|phone| if whole { phone.reveal().to_owned() } else { phone.to_string() });
    let story = if whole { story } else { seen_by(visitor, story) };
    let values = context! {
        id => id.to_string(),
        live => stream::first(&parts(desk, visitor, &story)),
        phone,
        whole,
        persons,
        bubble => bubble.map(Serde),
        sms => sms.map(Serde),
        moves => moves(&story, visitor.now),
        story => Serde(&story),
    };
    Ok(visitor.page(desk, "notifications", "notification.html", values))
}

/// Whether more may happen to it while somebody looks. Receipts that are to come mostly come soon, and a page may stay open for days.
fn moves(story: &Story, now: Timestamp) -> bool {
    const SOON: SignedDuration = SignedDuration::from_hours(1);
    let followed = story.fallback.as_ref().is_some_and(|sms| moves(sms, now));
    followed
        || match &story.state {
            Life::Pending { .. } | Life::Sending { .. } | Life::InDoubt { .. } => true,
            Life::Accepted { receipt: Some(Best::Read), .. } | Life::Failed { .. } | Life::Suppressed { .. } => false,
            Life::Accepted { receipt: None | Some(Best::Sent | Best::Delivered), .. } => {
                story.accepted_at.is_some_and(|at| now.duration_since(at) < SOON)
            }
        }
}

/// Everything that happened, also to the SMS that followed, in the order of time.
fn told(story: &Story) -> Vec<Step> {
    let mut all = steps(story);
    if let Some(sms) = &story.fallback {
        // The event is told already.
        let sms = Story { event: None, ..(**sms).clone() };
        all.extend(steps(&sms).into_iter().map(|step| {
            let with = step.with.map_or_else(|| "SMS".to_owned(), |with| format!("SMS · {with}"));
            Step { with: Some(with), ..step }
        }));
        all.sort_by_key(|step| step.at);
    }
    let began = story.event.as_ref().map_or(story.created_at, |event| event.received_at);
    for step in &mut all {
        step.after = after(began, step.at);
    }
    all
}

/// How long after `began`, as people say it; nothing if it was then or before.
fn after(began: Timestamp, at: Timestamp) -> Option<String> {
    let seconds = at.duration_since(began).as_secs_f64();
    Some(match seconds {
        ..0.001 => return None,
        ..1.0 => format!("+{:.0} ms", seconds * 1_000.0),
        ..90.0 => format!("+{seconds:.1} s"),
        ..5_400.0 => format!("+{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("+{:.0} h", seconds / 3_600.0),
        _ => format!("+{:.0} d", seconds / 86_400.0),
    })
}

fn bubble(content: &Content) -> Option<Bubble> {
    if let (true, Some(text)) = (content.as_text, &content.free_text) {
        return Some(Bubble { header: None, body: formatted(text), footer: None, buttons: Vec::new() });
    }
    let filled: Filled = serde_json::from_str(content.filled.as_deref()?).ok()?;
    let reading = content.definition.as_ref()?.reading(&filled);
    Some(Bubble {
        header: reading.header.as_deref().map(formatted),
        body: formatted(&reading.body),
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
    let by = story.route.as_ref().map(|rule| format!(" ({rule})")).unwrap_or_default();
    steps.push(Step {
        with: Some(format!(
            "{}{version} · {} · {}{by} · {}",
            story.template, story.language, story.sender, story.purpose
        )),
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
            by: Some(hold.placed_by.clone()),
            hold: Some(hold.clone()),
            ..step(hold.placed_at, "step_held")
        });
    }
    for hold in &story.past_holds {
        let held = Step {
            by: Some(hold.placed_by.clone()),
            hold: Some(hold.clone()),
            ..step(hold.placed_at, "step_was_held")
        };
        let released = hold.ended_at.map(|at| Step {
            by: hold.ended_by.clone(),
            why: hold.ended_because.clone(),
            ..step(at, "step_hold_ended")
        });
        steps.extend([Some(held), released].into_iter().flatten());
    }
    for attempt in &story.attempts {
        tried(attempt, &mut steps);
    }
    if let (Some(at), Some(reason)) = (story.ended_at, story.state.reason()) {
        let look = if story.state.name() == "failed" { "bad" } else { "warn" };
        let ended = step(at, &format!("step_ended_{}", story.state.name()));
        let by = story.superseded_by.clone();
        steps.push(Step { look, reason: Some(reason.to_owned()), with: by, ..ended });
    }
    if let Life::InDoubt { since } = story.state {
        steps.push(Step { look: "warn", ..step(since, "step_in_doubt") });
    }
    steps.sort_by_key(|step| step.at);
    steps
}

fn noted(note: &Note) -> Step {
    const KNOWN: [&str; 12] = [
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
        "merged",
    ];
    let of = note.detail.as_deref().and_then(|detail| Tried::read(&note.what, detail)).unwrap_or_default();
    let (key, with) = match (note.what.as_str(), &note.detail) {
        ("waits", Some(on)) if Wait::named(on).is_some() => (format!("step_waits_{on}"), None),
        (what, detail) if KNOWN.contains(&what) => {
            (format!("step_{what}"), detail.clone().filter(|_| of.number.is_none()))
        }
        (what, detail) => ("step_other".to_owned(), Some(format!("{what} {}", detail.as_deref().unwrap_or_default()))),
    };
    let look = match note.what.as_str() {
        "duplicate_confirmed" | "duplicate_by_sms" | "gave_up" | "undelivered" => "warn",
        "settled_by_evidence" => "ok",
        _ => "",
    };
    let plan =
        note.detail.as_deref().filter(|_| note.by.is_some()).and_then(|of| of.strip_prefix("plan ")?.parse().ok());
    let with = with.filter(|_| plan.is_none());
    let Tried { number, reason, code } = of;
    let (by, why) = (note.by.clone(), note.reason.clone());
    Step { at: note.at, look, key, with, number, reason, code, by, why, plan, ..Step::default() }
}

/// What a note says of an attempt.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tried {
    number: Option<i16>,
    reason: Option<String>,
    code: Option<i32>,
}

impl Tried {
    /// As the database's functions write it: `attempt 2`, `attempt 2 was never heard of`, `attempt 2: undeliverable (131026)`. None if it is
    /// written in another way.
    fn read(what: &str, detail: &str) -> Option<Tried> {
        let rest = detail.strip_prefix("attempt ")?;
        let number = |text: &str| text.parse().ok().map(Some);
        Some(match what {
            "settled_by_evidence" | "duplicate_confirmed" => Tried { number: number(rest)?, ..Tried::default() },
            "resend" => Tried { number: number(rest.strip_suffix(" was never heard of")?)?, ..Tried::default() },
            "undelivered" => {
                let (tried, why) = rest.split_once(": ")?;
                let (reason, code) = match why.strip_suffix(')').and_then(|why| why.split_once(" (")) {
                    Some((reason, code)) => (reason, Some(code.parse().ok()?)),
                    None => (why, None),
                };
                Tried { number: number(tried)?, reason: Some(reason.to_owned()), code }
            }
            _ => return None,
        })
    }
}

fn tried(attempt: &Attempt, steps: &mut Vec<Step>) {
    let number = Some(attempt.number);
    let begun = if attempt.resend { "step_resent" } else { "step_claimed" };
    let (entry, as_text) = (Some(attempt.consent_entry).filter(|entry| *entry > 0), attempt.as_text);
    steps.push(Step { at: attempt.claimed_at, key: begun.to_owned(), number, entry, as_text, ..Step::default() });
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
            code: receipt.code,
            detail: receipt.detail.clone(),
            ..Step::default()
        });
    }
}

/// What its attempts cost and those of the SMS that followed.
fn costs(story: &Story) -> Vec<Price> {
    let of_sms = story.fallback.iter().flat_map(|sms| &sms.attempts);
    story.attempts.iter().chain(of_sms).filter_map(price).collect()
}

fn price(attempt: &Attempt) -> Option<Price> {
    let cost = attempt.cost.as_ref()?;
    let currency = cost.currency.as_deref().unwrap_or_default();
    let amount = cost.actual.as_ref().or(cost.predicted.as_ref())?;
    let of: Vec<&str> = [&cost.category, &cost.country].into_iter().flatten().map(String::as_str).collect();
    Some(Price {
        number: attempt.number,
        amount: format!("{amount} {currency}"),
        billed: cost.actual.is_some(),
        of: of.join(", "),
    })
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
        Life::Failed { .. } | Life::Suppressed { .. } => match judge(Action::Retry, &story.standing(now)) {
            Ok(()) => "next_ended",
            Err(Skip::MayHaveArrived) => "next_unknown",
            Err(Skip::NotKept) => "next_not_kept",
            Err(_) => "next_over",
        }
        .to_owned(),
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
    let given = field(&body, "reason").unwrap_or_default();
    let back = |said: &str| Ok(Redirect::to(&format!("{}?said={said}", from(&body, id))).into_response());
    let Some(reason) = reason(&given) else { return back("needs_reason") };
    let (pool, by) = (&desk.doors.pools.ops, visitor.caller.name.as_str());
    let action = Action::named(&act).filter(|action| action.kind() == Kind::Notifications).ok_or(Trouble::Unknown)?;
    let decided = decisions::decide(pool, action, id, by, reason).await?;
    match decided {
        Decided::Unknown => Err(Trouble::Unknown),
        Decided::Refused(_) => back("not_done"),
        Decided::Done => back("done"),
    }
}

/// The page that it was posted from: this one's, or the list of doubts.
fn from(body: &Bytes, id: Uuid) -> String {
    match field(body, "from").as_deref() {
        Some("doubt") => "/console/doubt".to_owned(),
        _ => format!("/console/notifications/{id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_note_says_of_an_attempt_is_read_as_it_is_written() {
        let of = |number, reason: Option<&str>, code| {
            Some(Tried { number: Some(number), reason: reason.map(str::to_owned), code })
        };
        assert_eq!(Tried::read("settled_by_evidence", "attempt 2"), of(2, None, None));
        assert_eq!(Tried::read("resend", "attempt 1 was never heard of"), of(1, None, None));
        assert_eq!(
            Tried::read("undelivered", "attempt 3: undeliverable (131026)"),
            of(3, Some("undeliverable"), Some(131_026))
        );
        assert_eq!(
            Tried::read("undelivered", "attempt 3: failed_without_reason"),
            of(3, Some("failed_without_reason"), None)
        );
        for (what, detail) in
            [("resend", "attempt 1"), ("settled_by_evidence", "the second"), ("cancelled", "attempt 1")]
        {
            assert_eq!(Tried::read(what, detail), None, "{what} {detail}");
        }
    }

    #[test]
    fn what_follows_an_event_says_how_long_after_it() {
        let began: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        let said = |later: &str| after(began, later.parse().unwrap());
        assert_eq!(said("2026-11-25T09:59:00Z"), None);
        assert_eq!(said("2026-11-25T10:00:00Z"), None);
        assert_eq!(said("2026-11-25T10:00:00.34Z").as_deref(), Some("+340 ms"));
        assert_eq!(said("2026-11-25T10:00:02.25Z").as_deref(), Some("+2.2 s"));
        assert_eq!(said("2026-11-25T10:12:00Z").as_deref(), Some("+12 min"));
        assert_eq!(said("2026-11-28T10:00:00Z").as_deref(), Some("+3 d"));
    }
}
