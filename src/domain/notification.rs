//! The life of a notification: its outcomes, its states, and [`after`], the one function that decides what follows an attempt.
//!
//! What happens in the claim is decided by the statement in `db::dispatch`, from rows that it locked.

use std::{fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// One attempt's id. It travels to the provider and comes back in receipts: `<notification's uuid>.<number, from 1>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    pub notification: Uuid,
    pub number: i16,
}

impl AttemptId {
    /// When its notification was planned, to the millisecond: its id tells. None if it is no id of ours.
    #[must_use]
    pub fn planned_at(&self) -> Option<Timestamp> {
        let (seconds, nanos) = self.notification.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.notification.simple(), self.number)
    }
}

/// A text that is no attempt id of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no attempt id")]
pub struct NotAnAttemptId;

impl FromStr for AttemptId {
    type Err = NotAnAttemptId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (notification, number) = text.split_once('.').ok_or(NotAnAttemptId)?;
        let notification = Uuid::try_parse(notification).map_err(|_| NotAnAttemptId)?;
        let number = number.parse().ok().filter(|n| *n > 0).ok_or(NotAnAttemptId)?;
        Ok(AttemptId { notification, number })
    }
}

/// Where a notification is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Not on its way. With `waiting_on`, `due_at` is when it is looked at again although nothing has woken it.
    Pending { due_at: Timestamp, waiting_on: Option<Wait> },
    /// Somebody sends it. Without an answer by `lease_until` it is in doubt.
    Sending { attempt: i16, lease_until: Timestamp },
    /// It may or may not have been processed.
    InDoubt { since: Timestamp },
    /// The provider has it; `receipt` is the best that was reported since.
    Accepted { message_id: String, receipt: Option<Best> },
    /// It ended without delivery, after it was tried or could not be.
    Failed { reason: String },
    /// It ended because it was not allowed to go.
    Suppressed { reason: String },
}

impl State {
    /// Its name in the database and for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            State::Pending { .. } => "pending",
            State::Sending { .. } => "sending",
            State::InDoubt { .. } => "in_doubt",
            State::Accepted { .. } => "accepted",
            State::Failed { .. } => "failed",
            State::Suppressed { .. } => "suppressed",
        }
    }

    /// Why it ended without delivery, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            State::Failed { reason } | State::Suppressed { reason } => Some(reason),
            State::Pending { .. } | State::Sending { .. } | State::InDoubt { .. } | State::Accepted { .. } => None,
        }
    }

    /// The same without the number that a message's id may hold.
    #[must_use]
    pub fn without_number(mut self) -> State {
        if let State::Accepted { message_id, .. } = &mut self {
            *message_id = numberless(std::mem::take(message_id));
        }
        self
    }
}

/// A message's id as those may see it who may not see the person: behind its prefix, Meta's has their number in base64.
#[must_use]
pub fn numberless(message_id: String) -> String {
    if message_id.starts_with("wamid.") { "wamid.…".to_owned() } else { message_id }
}

/// What a pending notification waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Its turn with this person.
    Lane,
    /// An earlier message about the same order or shipment.
    Subject,
    /// The template's approval, or the end of its hold.
    Template,
    Consent,
    /// The end of quiet hours.
    Quiet,
    /// Room among the day's recipients.
    DayLimit,
    /// Room in the sender's budget.
    Budget,
}

impl Wait {
    /// All of them.
    pub const ALL: [Wait; 7] =
        [Wait::Lane, Wait::Subject, Wait::Template, Wait::Consent, Wait::Quiet, Wait::DayLimit, Wait::Budget];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Wait::Lane => "lane",
            Wait::Subject => "subject",
            Wait::Template => "template",
            Wait::Consent => "consent",
            Wait::Quiet => "quiet",
            Wait::DayLimit => "day_limit",
            Wait::Budget => "budget",
        }
    }

    /// The wait of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Wait> {
        Wait::ALL.into_iter().find(|wait| wait.as_str() == name)
    }
}

/// The best that a provider reported of a message. Later ones are better: order and repetition of reports do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Best {
    Sent,
    Delivered,
    Read,
}

impl Best {
    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Best::Sent => "sent",
            Best::Delivered => "delivered",
            Best::Read => "read",
        }
    }

    /// The receipt of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Best> {
        [Best::Sent, Best::Delivered, Best::Read].into_iter().find(|best| best.as_str() == name)
    }
}

/// What one request to a provider came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took the message over.
    Accepted(Acceptance),
    /// The provider refused this message. `again` says that it may be tried later (and costs an attempt), after at least that long.
    Rejected { failure: Failure, again: Option<Duration> },
    /// Proven that the request never reached the provider. Costs no attempt.
    NotSent(Failure),
    /// Refused because of somebody's limit or standing, not because of the message. Costs no attempt.
    Busy { whose: Whose, hold: bool, failure: Failure, wait: Option<Duration> },
    /// The request may or may not have been processed.
    Unclear(Failure),
}

impl Outcome {
    /// Why it did not go through.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Outcome::Accepted(_) => None,
            Outcome::Rejected { failure, .. }
            | Outcome::NotSent(failure)
            | Outcome::Busy { failure, .. }
            | Outcome::Unclear(failure) => Some(failure),
        }
    }
}

/// The provider's word that it has the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acceptance {
    pub message_id: String,
    /// The provider's own id of the person, which may differ from the number that we sent to.
    pub wa_id: Option<String>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
}

/// Who or what is busy or held. `hold` with `Recipient` does not occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    Recipient,
    Sender,
    /// This template in this language.
    Template,
}

/// Why something did not go through: a reason of ours with a stable name, the provider's code, and the provider's text
/// (at most 300 characters; for the database and operators, never for logs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub code: Option<i64>,
    pub detail: Option<String>,
}

/// Reasons have stable snake_case names, kept in the database and shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(&'static str);

impl Reason {
    #[must_use]
    pub const fn new(name: &'static str) -> Reason {
        Reason(name)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Reasons that are ours; the provider's codes have theirs in its codec.
pub mod reason {
    use super::Reason;

    pub const EXPIRED: Reason = Reason::new("expired");
    pub const NO_CONSENT: Reason = Reason::new("no_consent");
    pub const NOT_CONFIRMED: Reason = Reason::new("not_confirmed");
    pub const CONSENT_REVOKED: Reason = Reason::new("consent_revoked");
    pub const SUPERSEDED: Reason = Reason::new("superseded");
    pub const NOT_IN_ONLY_TO: Reason = Reason::new("not_in_only_to");
    pub const CANCELLED: Reason = Reason::new("cancelled");
    pub const NOT_KEPT: Reason = Reason::new("not_kept");
    pub const ERASED: Reason = Reason::new("erased");
    pub const UNKNOWN: Reason = Reason::new("unknown");
    pub const TRIES_EXHAUSTED: Reason = Reason::new("tries_exhausted");
    pub const TEMPLATE_OUTDATED: Reason = Reason::new("template_outdated");
    pub const LEASE_LOST: Reason = Reason::new("lease_lost");
    pub const TOO_LATE_TO_SEND: Reason = Reason::new("too_late_to_send");
    pub const NOT_CONNECTED: Reason = Reason::new("not_connected");
    pub const NO_ANSWER: Reason = Reason::new("no_answer");
    pub const UNREADABLE: Reason = Reason::new("unreadable");
    pub const DELIVERED_ELSEWHERE: Reason = Reason::new("delivered_elsewhere");

    // Reasons of providers on which something depends here; their sentences are with the others of `provider`.
    /// The person's window is closed: free texts are not taken.
    pub const WINDOW_CLOSED: Reason = Reason::new("window_closed");
    /// Proof that a message cannot reach the person where it was sent, whoever tries: another way may be tried. What only may be so is not
    /// here, nor is a person's no, nor our own.
    pub const IMPOSSIBLE: [Reason; 3] =
        [Reason::new("undeliverable"), Reason::new("blocked_by_person"), Reason::new("text_too_late")];

    /// Each reason above with a sentence for people.
    pub const ALL: [(Reason, &str); 18] = [
        (EXPIRED, "It could not be sent before it lost its use, so it was not sent."),
        (NO_CONSENT, "The person has not agreed to messages of this purpose."),
        (NOT_CONFIRMED, "The person was asked, but did not confirm in time."),
        (CONSENT_REVOKED, "The person said stop."),
        (SUPERSEDED, "A later stage of the same journey is already true, so this one was out of date."),
        (NOT_IN_ONLY_TO, "This system may write only to the numbers in dispatch.only_to."),
        (CANCELLED, "An operator cancelled it."),
        (NOT_KEPT, "Its values are not kept any more (upkeep.keep_parameters), so it could not be sent."),
        (ERASED, "What was known of the person was erased, so it was not sent."),
        (UNKNOWN, "Its outcome could not be learnt: it may have been received, and was not sent again."),
        (TRIES_EXHAUSTED, "It was tried as often as allowed."),
        (
            TEMPLATE_OUTDATED,
            "It was made from an older version of its template, and its values do not fit the one that is approved now. A retry sends the \
                 same values; publish the event again under another id, and it is made from the new version.",
        ),
        (LEASE_LOST, "The process that was sending it did not come back with an answer."),
        (TOO_LATE_TO_SEND, "The claim was too old when its turn came, so nothing was sent."),
        (NOT_CONNECTED, "No connection to the provider could be made, so nothing was sent."),
        (NO_ANSWER, "The provider's answer was lost on its way."),
        (UNREADABLE, "The provider's answer could not be understood."),
        (DELIVERED_ELSEWHERE, "The message that it was to replace arrived after all, so it was not sent."),
    ];

    /// The sentence for the reason of that name. None if it is none of ours.
    #[must_use]
    pub fn explain(name: &str) -> Option<&'static str> {
        ALL.iter().find(|(reason, _)| reason.as_str() == name).map(|(_, sentence)| *sentence)
    }
}

/// How often and how far apart to try. Every duration is a real pause; `max_tries` counts attempts that cost one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub max_tries: u16,
    pub base: Duration,
    pub cap: Duration,
}

/// What a notification has behind it when an outcome comes in, this attempt not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behind {
    /// Attempts that cost one.
    pub tries: u16,
    /// Attempts of any kind.
    pub attempts: u16,
    /// How often in a row the provider called this recipient too busy.
    pub backoffs: u16,
    /// This attempt went as a free text instead of its template.
    pub as_text: bool,
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Accepted(Acceptance),
    /// Pending again, due after `delay`. `lane` says that nothing else may go to this recipient before that either.
    Pending {
        delay: Duration,
        counts: bool,
        lane: bool,
        failure: Failure,
    },
    InDoubt(Failure),
    Failed(Failure),
    /// Failed, since it is proven that it cannot reach the person there: what is to follow then, follows.
    Impossible(Failure),
}

/// Decides what follows an attempt. `chance` is in 0..1 and spreads the pauses (full jitter).
#[must_use]
pub fn after(outcome: Outcome, behind: Behind, policy: &Policy, chance: f64) -> Next {
    match outcome {
        Outcome::Accepted(acceptance) => Next::Accepted(acceptance),
        Outcome::Unclear(failure) => Next::InDoubt(failure),
        // The window was not open after all. It is closed in the lane as well, so that the next claim waits for the template.
        Outcome::Rejected { failure, again: None } if behind.as_text && failure.reason == reason::WINDOW_CLOSED => {
            Next::Pending { delay: Duration::ZERO, counts: false, lane: false, failure }
        }
        Outcome::Rejected { failure, again: None } if reason::IMPOSSIBLE.contains(&failure.reason) => {
            Next::Impossible(failure)
        }
        Outcome::Rejected { failure, again: None } => Next::Failed(failure),
        Outcome::Rejected { failure, again: Some(_) } if behind.tries + 1 >= policy.max_tries => Next::Failed(failure),
        Outcome::Rejected { failure, again: Some(pause) } => {
            Next::Pending { delay: pause + jitter(policy, behind.tries, chance), counts: true, lane: false, failure }
        }
        Outcome::NotSent(failure) => {
            Next::Pending { delay: jitter(policy, behind.attempts, chance), counts: false, lane: false, failure }
        }
        Outcome::Busy { whose: Whose::Recipient, failure, .. } => {
            // 131056: "4^x seconds", x counting the refusals in a row. Five doublings of four are 17 minutes: enough.
            let delay = Duration::from_secs(4u64.pow(u32::from(behind.backoffs.min(5))));
            Next::Pending { delay, counts: false, lane: true, failure }
        }
        Outcome::Busy { whose: Whose::Sender | Whose::Template, wait, hold, failure } => {
            // A held sender or template is released by news, not by this pause; the row only must not be first in line.
            let pause = if hold { Duration::ZERO } else { wait.unwrap_or(policy.base) };
            Next::Pending { delay: pause + jitter(policy, 0, chance), counts: false, lane: false, failure }
        }
    }
}

fn jitter(policy: &Policy, exponent: u16, chance: f64) -> Duration {
    let ceiling = policy.base.saturating_mul(1 << u32::from(exponent.min(16))).min(policy.cap);
    ceiling.mul_f64(chance.clamp(0.0, 1.0))
}

/// What a template wants done when the outcome of a send stays unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InDoubt {
    ResendOnce,
    Never,
}

impl InDoubt {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            InDoubt::ResendOnce => "resend_once",
            InDoubt::Never => "never",
        }
    }
}

impl FromStr for InDoubt {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "resend_once" => Ok(InDoubt::ResendOnce),
            "never" => Ok(InDoubt::Never),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests;
