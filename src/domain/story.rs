//! The whole story of a notification: what is known of it, told in the order of time, and what happens next.
//!
//! Where the facts come from is `db::story`'s business; how they look on a page or a terminal is the doors'.

mod holds;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    action::{Action, Skip, Standing, StateName, judge},
    health::HOLDER,
    notification::{Best, State, Wait, numberless},
    phone::Phone,
};

pub use holds::Hold;

/// Gives the sentence for a reason's name, if it knows it.
pub type Explain<'a> = &'a dyn Fn(&str) -> Option<&'static str>;

/// All that is known of one notification.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Story {
    pub id: Uuid,
    #[serde(flatten)]
    pub state: State,
    pub created_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// None if the database holds what is no number. Never serialised: the door decides who sees it whole.
    #[serde(skip)]
    pub phone: Option<Phone>,
    pub sender: String,
    /// The rule that chose the sender, if there was something to choose.
    pub route: Option<String>,
    pub template: String,
    pub language: String,
    /// Which version of the template it was made from, counted from 1; `recado templates show` has its text.
    pub version: Option<i32>,
    pub purpose: String,
    pub urgent: bool,
    pub expires_at: Timestamp,
    /// What its template wants done in doubt: `resend_once` or `never`.
    pub doubt: String,
    pub resends: i16,
    /// The person may have got it twice.
    pub duplicate: bool,
    /// None if the event is not kept any more.
    pub event: Option<Event>,
    /// Source and id of the event that made it stale.
    pub superseded_by: Option<String>,
    /// The entry of the consent ledger that allowed the latest attempt.
    pub consent: Option<ConsentEntry>,
    /// The consent for its purpose as it stands now.
    pub consent_now: ConsentNow,
    /// The template's standing for this sender and language; none if it was never told.
    pub template_status: Option<String>,
    pub attempts: Vec<Attempt>,
    pub notes: Vec<Note>,
    /// In force.
    pub holds: Vec<Hold>,
    /// Those that were in force while it was to go, and are no more.
    pub past_holds: Vec<Hold>,
    /// The earlier message of the same subject that it waits for.
    pub behind: Option<Uuid>,
    /// It may go as a free text.
    pub has_text: bool,
    /// What it says is kept still.
    #[serde(skip)]
    pub kept: bool,
    /// The person's 24-hour window is open.
    pub in_window: bool,
    /// The message that it followed as an SMS.
    pub fallback_of: Option<Uuid>,
    /// The SMS that followed it.
    #[schema(no_recursion)]
    pub fallback: Option<Box<Story>>,
}

/// An event as the inbox has it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = StoryEvent)]
pub struct Event {
    pub source: String,
    pub id: String,
    pub r#type: String,
    pub subject: Option<String>,
    pub time: Timestamp,
    pub received_at: Timestamp,
    pub journey: Option<String>,
    pub journey_key: Option<String>,
    pub stage: Option<i16>,
    /// Why no notification followed.
    pub ignored: Option<String>,
    pub notifications: Vec<Uuid>,
    /// When the same identity came with another body.
    pub conflicts: Vec<Timestamp>,
}

/// Bytes that could not be an event.
#[derive(Debug, Clone, Serialize)]
pub struct Rejected {
    pub id: Uuid,
    pub received_at: Timestamp,
    pub reason: String,
    pub detail: String,
    pub routing_key: String,
    pub copies: i32,
    pub replayed_at: Option<Timestamp>,
    pub replay: Option<String>,
}

/// An entry of the consent ledger, without its payload.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ConsentEntry {
    pub number: i32,
    /// None if the entry is not there to be read.
    pub at: Option<Timestamp>,
    pub act: Option<String>,
}

/// What a person's consent for a purpose is at present; nobody has asked if `state` is none.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct ConsentNow {
    pub state: Option<String>,
    pub entry: Option<i32>,
}

/// One request to the provider, with what was reported of it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Attempt {
    /// As the provider echoes it.
    pub id: String,
    pub number: i16,
    pub claimed_at: Timestamp,
    pub resend: bool,
    pub consent_entry: i32,
    /// It went as a free text instead of its template.
    pub as_text: bool,
    /// None while it is under way.
    pub outcome: Option<String>,
    pub ended_at: Option<Timestamp>,
    pub reason: Option<String>,
    pub code: Option<i32>,
    /// The provider's own words.
    pub detail: Option<String>,
    pub message_id: Option<String>,
    /// None as long as the provider is not known to have it.
    pub cost: Option<Cost>,
    pub receipts: Vec<Receipt>,
}

/// What a message costs.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Cost {
    pub category: Option<String>,
    pub country: Option<String>,
    /// Decimal numbers, as `currency` has them; none if no price list says, or if nothing was reported.
    pub predicted: Option<String>,
    pub actual: Option<String>,
    pub currency: Option<String>,
}

/// What the provider reported of an attempt.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Receipt {
    pub kind: String,
    /// By the provider's clock.
    pub at: Timestamp,
    pub received_at: Timestamp,
    pub code: Option<i32>,
    pub reason: Option<String>,
    pub detail: Option<String>,
}

/// What happened apart from attempts and receipts: waits, resends, decisions of operators.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Note {
    pub at: Timestamp,
    pub what: String,
    pub detail: Option<String>,
    pub by: Option<String>,
    /// Why that operator did so; only for those who may see whom it is about, since it may name them.
    pub reason: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TimelineLine)]
pub struct Line {
    pub at: Timestamp,
    pub what: String,
}

impl Story {
    /// What has to be known of it to act on it.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        Standing {
            state: StateName::of(&self.state),
            reason: self.state.reason().map(str::to_owned),
            expired: self.expires_at <= now,
            kept: self.kept,
            followed: self.fallback.is_some(),
        }
    }

    /// Takes out the number that ids of messages may hold.
    #[must_use]
    pub fn without_number(mut self) -> Story {
        self.state = self.state.without_number();
        for attempt in &mut self.attempts {
            attempt.message_id = attempt.message_id.take().map(numberless);
        }
        self.fallback = self.fallback.map(|sms| Box::new(sms.without_number()));
        self
    }

    /// Takes out what only those may see who may see the person: the number, and the words of the provider and of operators, which
    /// sometimes name it.
    #[must_use]
    pub fn without_persons(self) -> Story {
        let mut story = self.without_number();
        story.forget_words();
        story
    }

    fn forget_words(&mut self) {
        for attempt in &mut self.attempts {
            attempt.detail = None;
            for receipt in &mut attempt.receipts {
                receipt.detail = None;
            }
        }
        for note in &mut self.notes {
            note.reason = None;
        }
        if let Some(sms) = &mut self.fallback {
            sms.forget_words();
        }
    }

    /// Everything that happened, in the order of time.
    #[must_use]
    pub fn tell(&self, explain: Explain<'_>) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(event) = &self.event {
            event.tell(&mut lines);
        }
        lines.push(line(
            self.created_at,
            format!(
                "{}: {}{} in {} from {}{}, purpose {}{}; it is of use until {}.",
                if self.fallback_of.is_some() { "Follows" } else { "Planned" },
                self.template,
                self.version.map(|version| format!(" (version {version})")).unwrap_or_default(),
                self.language,
                self.sender,
                self.route.as_deref().map(|rule| format!(", chosen by {rule}")).unwrap_or_default(),
                self.purpose,
                if self.urgent { ", urgent" } else { "" },
                when(self.expires_at)
            ),
        ));
        if let Some(ConsentEntry { number, at: Some(at), act }) = &self.consent {
            let act = act.as_deref().unwrap_or("an act");
            lines.push(line(*at, format!("Consent entry {number}: {act}, for {}.", self.purpose)));
        }
        for note in &self.notes {
            lines.push(line(note.at, note.told()));
        }
        for hold in &self.holds {
            lines.push(line(hold.placed_at, hold.told()));
        }
        for hold in &self.past_holds {
            hold.tell_past(&mut lines);
        }
        for attempt in &self.attempts {
            attempt.tell(explain, &mut lines);
        }
        if let (Some(at), Some(reason)) = (self.ended_at, self.state.reason()) {
            let why = explain(reason).map(|why| format!(" {why}")).unwrap_or_default();
            let by = self.superseded_by.as_deref().map(|by| format!(" It was overtaken by the event {by}."));
            lines.push(line(at, format!("Ended as {}: {reason}.{why}{}", self.state.name(), by.unwrap_or_default())));
        }
        if let State::InDoubt { since } = self.state {
            lines.push(line(since, "In doubt: it may or may not have been received.".to_owned()));
        }
        if self.duplicate && !self.notes.iter().any(|note| note.what == "duplicate_confirmed") {
            lines.push(line(
                self.accepted_at.unwrap_or(self.created_at),
                "The person may have received it twice.".to_owned(),
            ));
        }
        if let Some(sms) = &self.fallback {
            // The event is told already.
            let told = Story { event: None, ..(**sms).clone() }.tell(explain);
            lines.extend(told.into_iter().map(|told| line(told.at, format!("SMS: {}", told.what))));
        }
        lines.sort_by_key(|line| line.at);
        lines
    }

    /// What it waits for, until when, and what can be done.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> String {
        if let (Some(sms), State::Failed { .. }) = (&self.fallback, &self.state) {
            return format!("An SMS followed, {}: {}. {}", sms.id, sms.state.name().replace('_', " "), sms.next(now));
        }
        match &self.state {
            State::Pending { due_at, waiting_on } => self.next_of_pending(*due_at, *waiting_on, now),
            State::Sending { attempt, lease_until } if *lease_until > now => {
                format!("Attempt {attempt} is on its way. Without an answer by {} it is in doubt.", when(*lease_until))
            }
            State::Sending { attempt, lease_until } => {
                let until = when(*lease_until);
                format!("Attempt {attempt} had to answer by {until} and did not: it is about to be put in doubt.")
            }
            State::InDoubt { .. } => {
                let policy = if self.doubt == "resend_once" && self.resends == 0 {
                    "If later messages of this sender are reported on and this one is not, it is sent once more, marked as a resend."
                } else {
                    "It is not sent again by itself."
                };
                let resend = match judge(Action::Resend, &self.standing(now)) {
                    Ok(()) => format!("recado retry {} --resend --because TEXT, or ", self.id),
                    Err(_) => String::new(),
                };
                format!(
                    "It waits for evidence: a receipt that names it. {policy} You can decide earlier: {resend}recado cancel {} --because TEXT.",
                    self.id
                )
            }
            State::Accepted { receipt: None, .. } => {
                "The provider has it and has reported nothing yet: unconfirmed until a receipt comes.".to_owned()
            }
            State::Accepted { receipt: Some(Best::Sent), .. } => {
                "It is on its way to the person's device. Nothing is left to do here.".to_owned()
            }
            State::Accepted { receipt: Some(Best::Delivered | Best::Read), .. } => {
                "It arrived. Nothing is left to do.".to_owned()
            }
            State::Failed { .. } | State::Suppressed { .. } => match judge(Action::Retry, &self.standing(now)) {
                Ok(()) => {
                    format!("Nothing, by itself. When the cause is gone: recado retry {} --because TEXT.", self.id)
                }
                Err(Skip::MayHaveArrived) => format!(
                    "Nothing, by itself: it may have been received. To send it all the same: recado retry {} --resend --because TEXT.",
                    self.id
                ),
                Err(Skip::NotKept) => "Nothing: it ended, and what it said is not kept any more.".to_owned(),
                Err(_) => "Nothing: it ended, and its time is over.".to_owned(),
            },
        }
    }

    fn next_of_pending(&self, due_at: Timestamp, waiting_on: Option<Wait>, now: Timestamp) -> String {
        let (due, expires) = (when(due_at), when(self.expires_at));
        if self.expires_at <= now {
            return format!("Its time was over at {expires}; it is about to end as expired.");
        }
        if let Some(hold) = self.holds.first() {
            let until = match hold.until {
                Some(until) => format!("until {}", when(until)),
                None if hold.placed_by == HOLDER => "until its provider lets it send again".to_owned(),
                None => "until somebody releases it".to_owned(),
            };
            return format!(
                "{} is held, {until}: {}. To release it: recado release {} --because TEXT. If it is not sent by {expires}, it expires.",
                hold.on, hold.reason, hold.id
            );
        }
        let template = format!("{} in {}", self.template, self.language);
        match waiting_on {
            Some(Wait::Lane) => {
                format!("It waits for its turn with this person, and goes when the pace allows, by {due} or never.")
            }
            Some(Wait::Subject) => {
                let whom =
                    self.behind.map_or("an earlier message".to_owned(), |id| format!("the earlier message {id}"));
                format!("It waits for {whom} about the same subject, by {due} at the latest.")
            }
            // Nothing else keeps one that is approved and not held.
            Some(Wait::Template) if self.template_status.as_deref() == Some("approved") => {
                format!(
                    "It waits for the provider's id of the content of the template {template}, which is not known for {}: \
                     recado templates approve {} --language {} --content-sid HX…",
                    self.sender, self.template, self.language
                )
            }
            Some(Wait::Template) => {
                let text = match (self.has_text, self.in_window) {
                    (true, false) => {
                        " If the person writes before that, it goes as a free text; outside their 24 hours that is not tried."
                    }
                    (true, true) | (false, _) => "",
                };
                let status = self.template_status.as_deref().unwrap_or("not known to be approved");
                format!(
                    "It waits for the template {template}, which is {status} for {}. See recado templates list; it is looked at again by {due}.{text}",
                    self.sender
                )
            }
            Some(Wait::Consent) if self.consent_now.state.as_deref() == Some("pending") => {
                format!(
                    "The person was asked and has not confirmed. If they do not by {due}, it ends as not_confirmed."
                )
            }
            Some(Wait::Consent) if self.consent_now.state.as_deref() == Some("granted") => {
                "The person has agreed meanwhile: it is about to be looked at again.".to_owned()
            }
            Some(Wait::Consent) => {
                format!("Nobody has asked the person yet. If there is no consent by {due}, it ends as no_consent.")
            }
            Some(Wait::Quiet) => format!("It is a quiet hour for this person; it goes after {due}."),
            Some(Wait::DayLimit) => {
                format!("The sender has written to as many people today as it may; it is looked at again at {due}.")
            }
            Some(Wait::Budget) => format!(
                "The sender's budget is used up; it is looked at again at {due}, or when the budget is raised. See recado costs."
            ),
            None if due_at > now => format!("It is tried again at {due}."),
            None => format!(
                "It is due since {due} and goes as soon as the sender's pace allows. If it stays so, see recado doctor."
            ),
        }
    }
}

impl Event {
    fn tell(&self, lines: &mut Vec<Line>) {
        lines.push(line(
            self.received_at,
            format!(
                "Received: event {} ({}) of {}, which happened at {}.",
                self.id, self.r#type, self.source, self.time
            ),
        ));
        for at in &self.conflicts {
            lines.push(line(*at, "The same event came again with another body; the first one counts.".to_owned()));
        }
    }
}

impl Attempt {
    fn tell(&self, explain: Explain<'_>, lines: &mut Vec<Line>) {
        let resend = if self.resend { " It is a resend: the person may get it twice." } else { "" };
        let form = if self.as_text { ", as a free text" } else { "" };
        lines.push(line(
            self.claimed_at,
            format!("Attempt {}: claimed{form}, allowed by consent entry {}.{resend}", self.number, self.consent_entry),
        ));
        let outcome = self.outcome.as_deref();
        if let (Some(at), Some(outcome)) = (self.ended_at, outcome) {
            let told = match (outcome, &self.message_id) {
                ("accepted", Some(message)) => format!("accepted by the provider as {message}"),
                ("accepted", None) => "accepted by the provider".to_owned(),
                ("unclear", _) => "outcome unknown".to_owned(),
                ("not_sent", _) => "not sent".to_owned(),
                ("rejected", _) => "refused".to_owned(),
                (other, _) => other.to_owned(),
            };
            let why = because(self.reason.as_deref(), self.code, self.detail.as_deref(), explain);
            lines.push(line(at, format!("Attempt {}: {told}{why}.", self.number)));
        }
        // The provider tells whole seconds, and by its own clock: nothing is reported before it was asked for, and what an answer
        // accepted not before that.
        let begin =
            self.ended_at.filter(|_| outcome == Some("accepted")).map_or(self.claimed_at, |at| at.max(self.claimed_at));
        if let (Some(at), Some(cost)) = (self.ended_at, &self.cost) {
            lines.push(line(at, format!("Attempt {}: {}.", self.number, cost.told())));
        }
        let mut receipts: Vec<&Receipt> = self.receipts.iter().collect();
        receipts.sort_by_key(|receipt| (receipt.at, receipt.place()));
        for receipt in receipts {
            let why = because(receipt.reason.as_deref(), receipt.code, receipt.detail.as_deref(), explain);
            let told = format!("Attempt {}: reported as {}{why}.", self.number, receipt.kind);
            lines.push(line(receipt.at.max(begin), told));
        }
    }
}

impl Cost {
    fn told(&self) -> String {
        let with = |amount: &String| match &self.currency {
            Some(currency) => format!("{amount} {currency}"),
            None => amount.clone(),
        };
        let known: Vec<&str> = [&self.category, &self.country].into_iter().flatten().map(String::as_str).collect();
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        match (&self.predicted, &self.actual) {
            (Some(predicted), Some(actual)) => {
                format!("expected to cost {}{known}, and cost {}", with(predicted), with(actual))
            }
            (Some(predicted), None) => format!("expected to cost {}{known}", with(predicted)),
            (None, Some(actual)) => format!("cost {}{known}; no price list said what to expect", with(actual)),
            (None, None) => format!("no price list says what it costs{known}"),
        }
    }
}

impl Receipt {
    /// Where it stands among those of one second.
    fn place(&self) -> usize {
        ["sent", "failed", "delivered", "read"].iter().position(|kind| *kind == self.kind).unwrap_or(0)
    }
}

impl Note {
    fn told(&self) -> String {
        let detail = self.detail.as_deref();
        let told = match (self.what.as_str(), detail) {
            ("waits", Some(on)) => match Wait::named(on) {
                Some(Wait::Lane) => "Put to wait for its turn with this person".to_owned(),
                Some(Wait::Subject) => "Put to wait for an earlier message about the same subject".to_owned(),
                Some(Wait::Template) => "Put to wait for its template".to_owned(),
                Some(Wait::Consent) => "Put to wait for the person's consent".to_owned(),
                Some(Wait::Quiet) => "Put to wait for the end of quiet hours".to_owned(),
                Some(Wait::DayLimit) => "Put to wait for room among the day's recipients".to_owned(),
                Some(Wait::Budget) => "Put to wait because the sender's budget is used up".to_owned(),
                None => format!("Put to wait: {on}"),
            },
            ("settled_by_evidence", Some(which)) => format!("The provider's report about {which} proves that it was taken"),
            ("duplicate_confirmed", Some(which)) => {
                format!("The provider took {which} as well: the person may have received it twice")
            }
            ("sms_follows", Some(sms)) => format!("WhatsApp is proven unable to deliver it: the SMS {sms} follows"),
            ("follows", Some(origin)) => format!("An SMS instead of {origin}, which WhatsApp is proven unable to deliver"),
            ("duplicate_by_sms", Some(sms)) => {
                format!("It arrived after all, and the SMS {sms} went or may have gone: the person may have both")
            }
            ("resend", _) => "Nothing was heard of it while later messages were reported on: to be sent once more, marked as a resend".to_owned(),
            ("resend_ordered", of) => {
                format!("To be sent once more by order{}, marked as a resend: the person may get it twice", of_plan(of))
            }
            ("retry_ordered", of) => format!("To be tried again by order{}", of_plan(of)),
            ("cancelled", Some(plan)) => format!("Cancelled by order of {plan}"),
            ("gave_up", of) => {
                format!("Given up{}: its outcome could not be learnt, and it is not sent again", of_plan(of))
            }
            (what, detail) => {
                let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                format!("{}{detail}", sentence(what))
            }
        };
        let by = self.by.as_deref().map(|by| format!("by {by}"));
        let why: Vec<&str> = [by.as_deref(), self.reason.as_deref()].into_iter().flatten().collect();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(": ")) };
        format!("{told}{why}.")
    }
}

fn because(reason: Option<&str>, code: Option<i32>, detail: Option<&str>, explain: Explain<'_>) -> String {
    let Some(reason) = reason else { return String::new() };
    let code = code.map(|code| format!(" (code {code})")).unwrap_or_default();
    let why = explain(reason).map(|why| format!(": {}", why.trim_end_matches('.'))).unwrap_or_default();
    let detail = detail.map(|detail| format!("; the provider said \u{201c}{detail}\u{201d}")).unwrap_or_default();
    format!(", {reason}{code}{why}{detail}")
}

/// Of which plan an order was, if of one.
fn of_plan(detail: Option<&str>) -> String {
    detail.map(|plan| format!(" of {plan}")).unwrap_or_default()
}

fn sentence(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A moment as it stands in a sentence: UTC, to the second.
fn when(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn line(at: Timestamp, what: String) -> Line {
    Line { at, what }
}

#[cfg(test)]
mod tests;
