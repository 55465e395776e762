//! What operators may have done to what a search finds: which actions there are, what each does to whom, and what that comes to.
//! Pure. (What becomes of an event is `plan`'s; a plan here is an operator's.)

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::notification::State;

/// A plan whose numbers are older than this is made anew.
pub const FRESH: Duration = Duration::from_secs(3_600);
/// More messages than this that somebody may get twice are for an administrator to send.
pub const DUPLICATES_OF_AN_OPERATOR: u64 = 100;
/// The most that one plan acts on.
pub const FOUND_MAX: u64 = 1_000_000;
/// The longest reason, in characters.
pub const REASON_MAX: usize = 300;

/// Why an operator does something, as it is kept. None if it is no reason.
#[must_use]
pub fn reason(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty() && text.chars().count() <= REASON_MAX && !text.contains('\0'))
}

/// Something that an operator can have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Lets those try again of which it is proven that nothing arrived.
    Retry,
    /// The same, and also what may have arrived: marked as a resend.
    Resend,
    /// Ends what is pending or in doubt.
    Cancel,
    /// Ends what is in doubt: it may have arrived, and is not sent again.
    GiveUp,
    /// Runs rejected events again.
    Replay,
    Hold,
    Release,
}

/// What an action is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Notifications,
    RejectedEvents,
    /// The sending of a sender, a template or everything.
    Sending,
}

impl Action {
    pub const ALL: [Action; 7] =
        [Action::Retry, Action::Resend, Action::Cancel, Action::GiveUp, Action::Replay, Action::Hold, Action::Release];

    /// Its name everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Retry => "retry",
            Action::Resend => "resend",
            Action::Cancel => "cancel",
            Action::GiveUp => "give_up",
            Action::Replay => "replay",
            Action::Hold => "hold",
            Action::Release => "release",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == name)
    }

    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Action::Retry | Action::Resend | Action::Cancel | Action::GiveUp => Kind::Notifications,
            Action::Replay => Kind::RejectedEvents,
            Action::Hold | Action::Release => Kind::Sending,
        }
    }

    /// Whether messages go because of it.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Action::Retry | Action::Resend | Action::Replay)
    }
}

/// Where a plan is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Course {
    /// What it would come to is not known yet.
    Reckoning,
    /// Nothing was done yet. Its numbers may be too old for it to be run.
    Planned {
        out_of_date: bool,
    },
    /// It is being done, or waits for a process that does it.
    Running,
    Done,
    /// By somebody; what was done until then is done.
    Stopped,
    Failed {
        #[schema(value_type = String)]
        why: Failure,
    },
}

impl Course {
    /// Its name in the database and for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Course::Reckoning => "reckoning",
            Course::Planned { .. } => "planned",
            Course::Running => "running",
            Course::Done => "done",
            Course::Stopped => "stopped",
            Course::Failed { .. } => "failed",
        }
    }
}

/// Why a plan cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It finds more than [`FOUND_MAX`].
    TooMany,
    /// To find and count it all takes too long.
    TooSlow,
    /// By now more people than [`DUPLICATES_OF_AN_OPERATOR`] may get something twice, and no administrator runs it.
    TooManyTwice,
    /// What the database said.
    Other(String),
}

impl Failure {
    const NAMED: [Failure; 3] = [Failure::TooMany, Failure::TooSlow, Failure::TooManyTwice];

    /// What the database keeps, and [`Failure::kept`] reads.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Failure::TooMany => "too_many",
            Failure::TooSlow => "too_slow",
            Failure::TooManyTwice => "too_many_twice",
            Failure::Other(why) => why,
        }
    }

    #[must_use]
    pub fn kept(text: &str) -> Failure {
        let known = Failure::NAMED.into_iter().find(|known| known.as_str() == text);
        known.unwrap_or_else(|| Failure::Other(text.to_owned()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TooMany => {
                write!(f, "its search finds more than {FOUND_MAX}: narrow it, for example with since and until")
            }
            Failure::TooSlow => {
                f.write_str("to work it out takes too long: narrow its search, for example with since and until")
            }
            Failure::TooManyTwice => write!(
                f,
                "by now more than {DUPLICATES_OF_AN_OPERATOR} people may get a message twice, which the role admin decides"
            ),
            Failure::Other(why) => f.write_str(why),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A state without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateName {
    Pending,
    Sending,
    InDoubt,
    Accepted,
    Failed,
    Suppressed,
}

impl StateName {
    pub const ALL: [StateName; 6] = [
        StateName::Pending,
        StateName::Sending,
        StateName::InDoubt,
        StateName::Accepted,
        StateName::Failed,
        StateName::Suppressed,
    ];

    /// Its name in the database and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            StateName::Pending => "pending",
            StateName::Sending => "sending",
            StateName::InDoubt => "in_doubt",
            StateName::Accepted => "accepted",
            StateName::Failed => "failed",
            StateName::Suppressed => "suppressed",
        }
    }

    #[must_use]
    pub const fn of(state: &State) -> StateName {
        match state {
            State::Pending { .. } => StateName::Pending,
            State::Sending { .. } => StateName::Sending,
            State::InDoubt { .. } => StateName::InDoubt,
            State::Accepted { .. } => StateName::Accepted,
            State::Failed { .. } => StateName::Failed,
            State::Suppressed { .. } => StateName::Suppressed,
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<StateName> {
        StateName::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What has to be known of a notification to act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub state: StateName,
    /// Why it ended without delivery, if it did.
    pub reason: Option<String>,
    /// Its time is over.
    pub expired: bool,
    /// What it says is kept still.
    pub kept: bool,
    /// An SMS went instead.
    pub followed: bool,
}

impl Standing {
    /// Whether the person may have it already, one way or another.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        self.state == StateName::InDoubt
            || self.followed
            || matches!(self.reason.as_deref(), Some("unknown" | "delivered_elsewhere"))
    }
}

/// Why something is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// It has not ended, or is being sent just now.
    OnItsWay,
    /// The provider has it.
    Accepted,
    /// It has ended already.
    Ended,
    /// It may have arrived: only a resend sends it again.
    MayHaveArrived,
    /// Its time is over.
    Expired,
    /// What it said is not kept any more.
    NotKept,
    /// Only what is in doubt can be given up.
    NotInDoubt,
    /// It was removed since.
    Gone,
    /// Of a rejected event only the beginning was kept.
    BeginningOnly,
    /// A rejected event that was run again before.
    Replayed,
    /// It was run, and rejected again.
    RejectedAgain,
}

impl Skip {
    pub const ALL: [Skip; 11] = [
        Skip::OnItsWay,
        Skip::Accepted,
        Skip::Ended,
        Skip::MayHaveArrived,
        Skip::Expired,
        Skip::NotKept,
        Skip::NotInDoubt,
        Skip::Gone,
        Skip::BeginningOnly,
        Skip::Replayed,
        Skip::RejectedAgain,
    ];

    /// Its name in the database and for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Skip::OnItsWay => "on_its_way",
            Skip::Accepted => "accepted",
            Skip::Ended => "ended",
            Skip::MayHaveArrived => "may_have_arrived",
            Skip::Expired => "expired",
            Skip::NotKept => "not_kept",
            Skip::NotInDoubt => "not_in_doubt",
            Skip::Gone => "gone",
            Skip::BeginningOnly => "beginning_only",
            Skip::Replayed => "replayed",
            Skip::RejectedAgain => "rejected_again",
        }
    }

    /// For people, in English.
    #[must_use]
    pub const fn explain(self) -> &'static str {
        match self {
            Skip::OnItsWay => "on its way already",
            Skip::Accepted => "the provider has it",
            Skip::Ended => "ended already",
            Skip::MayHaveArrived => "may have arrived: only a resend sends it again",
            Skip::Expired => "its time is over",
            Skip::NotKept => "what it said is not kept any more",
            Skip::NotInDoubt => "not in doubt",
            Skip::Gone => "removed since",
            Skip::BeginningOnly => "only its beginning was kept",
            Skip::Replayed => "run again before",
            Skip::RejectedAgain => "rejected again",
        }
    }
}

/// Whether an action is done to a notification that stands so; else why not.
///
/// # Errors
/// Why it is left as it is.
pub fn judge(action: Action, of: &Standing) -> Result<(), Skip> {
    match (action, of.state) {
        (Action::Retry | Action::Resend, StateName::Pending | StateName::Sending) => Err(Skip::OnItsWay),
        (Action::Retry | Action::Resend, StateName::Accepted) => Err(Skip::Accepted),
        (Action::Retry | Action::Resend, StateName::Failed | StateName::Suppressed | StateName::InDoubt) => {
            if of.expired {
                Err(Skip::Expired)
            } else if !of.kept {
                Err(Skip::NotKept)
            } else if action == Action::Retry && of.may_have_arrived() {
                Err(Skip::MayHaveArrived)
            } else {
                Ok(())
            }
        }
        (Action::Cancel, StateName::Pending | StateName::InDoubt) | (Action::GiveUp, StateName::InDoubt) => Ok(()),
        (Action::Cancel, StateName::Sending) => Err(Skip::OnItsWay),
        (Action::GiveUp, StateName::Pending | StateName::Sending) => Err(Skip::NotInDoubt),
        (Action::Cancel | Action::GiveUp, StateName::Accepted) => Err(Skip::Accepted),
        (Action::Cancel | Action::GiveUp, StateName::Failed | StateName::Suppressed) => Err(Skip::Ended),
        // They are done to no notification.
        (Action::Replay | Action::Hold | Action::Release, _) => Err(Skip::Gone),
    }
}

/// What is offered for a notification that stands so: of two that would do the same, the one that says more exactly what it does.
#[must_use]
pub fn offered(of: &Standing) -> Vec<Action> {
    let may = |action| judge(action, of).is_ok();
    let fits = |action| match action {
        Action::Resend => !may(Action::Retry),
        Action::Cancel => !may(Action::GiveUp),
        Action::Retry | Action::GiveUp | Action::Replay | Action::Hold | Action::Release => true,
    };
    Action::ALL.into_iter().filter(|action| may(*action) && fits(*action)).collect()
}

/// Whether so many possible duplicates are more than an operator decides.
#[must_use]
pub const fn needs_admin(duplicates: u64) -> bool {
    duplicates > DUPLICATES_OF_AN_OPERATOR
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::domain) fn standing() -> impl Strategy<Value = Standing> {
        let reasons = ["undeliverable", "unknown", "delivered_elsewhere", "expired"];
        (
            proptest::sample::select(StateName::ALL.to_vec()),
            proptest::sample::select(reasons.to_vec()),
            any::<[bool; 3]>(),
        )
            .prop_map(|(state, reason, [expired, kept, followed])| Standing {
                state,
                reason: matches!(state, StateName::Failed | StateName::Suppressed).then(|| reason.to_owned()),
                expired,
                kept,
                followed,
            })
    }

    proptest! {
        #[test]
        fn a_retry_never_touches_what_may_have_arrived(of in standing()) {
            if judge(Action::Retry, &of).is_ok() {
                prop_assert!(!of.may_have_arrived());
                prop_assert!(judge(Action::Resend, &of).is_ok(), "a resend does all that a retry does");
            }
        }

        #[test]
        fn nothing_is_done_to_what_the_provider_has_or_is_getting(of in standing()) {
            if matches!(of.state, StateName::Accepted | StateName::Sending) {
                for action in Action::ALL {
                    prop_assert!(judge(action, &of).is_err(), "{action:?}");
                }
            }
        }

        #[test]
        fn nothing_goes_again_that_is_over_or_of_which_nothing_is_kept(of in standing()) {
            if of.expired || !of.kept {
                prop_assert!(judge(Action::Retry, &of).is_err() && judge(Action::Resend, &of).is_err());
            }
        }

        #[test]
        fn whatever_may_be_done_is_offered_in_one_way(of in standing()) {
            let offered = offered(&of);
            prop_assert!(offered.iter().all(|action| judge(*action, &of).is_ok()));
            for (one, other) in [(Action::Retry, Action::Resend), (Action::Cancel, Action::GiveUp)] {
                let may = judge(one, &of).is_ok() || judge(other, &of).is_ok();
                let ways = offered.iter().filter(|action| [one, other].contains(action)).count();
                prop_assert_eq!(ways, usize::from(may));
            }
        }
    }

    #[test]
    fn names_read_as_what_they_name() {
        for action in Action::ALL {
            assert_eq!(Action::named(action.as_str()), Some(action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        for skip in Skip::ALL {
            assert_eq!(serde_json::to_value(skip).unwrap(), skip.as_str());
        }
        for state in StateName::ALL {
            assert_eq!(StateName::named(state.as_str()), Some(state));
        }
        assert_eq!(StateName::ALL.map(StateName::as_str), crate::domain::search::STATES);
        for failure in Failure::NAMED.into_iter().chain([Failure::Other("the disk is full".to_owned())]) {
            assert_eq!(Failure::kept(failure.as_str()), failure);
        }
    }
}
