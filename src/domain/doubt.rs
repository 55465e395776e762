//! When silence about an attempt means something, and what follows then.
//!
//! Evidence that settles a doubt comes through receipts; here is only what to make of its absence.

use std::time::Duration;

use jiff::Timestamp;

use super::notification::InDoubt;

/// How long and how much silence it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub window: Duration,
    /// So many later attempts of the same sender must have been heard of.
    pub later_attempts: usize,
    pub max: Duration,
}

/// A notification in doubt and what has been heard since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub since: Timestamp,
    pub claimed_at: Timestamp,
    pub expires_at: Timestamp,
    pub policy: InDoubt,
    pub resends: u16,
    /// When the latest attempts of the same sender that have receipts were claimed.
    pub heard: Vec<Timestamp>,
    /// Whether webhooks that came earlier are still to be applied.
    pub unread: bool,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Wait,
    /// Once more, marked as a resend for everybody to see.
    Resend,
    /// It ends as `failed`, reason `unknown`: it may have been received and is not sent again.
    GiveUp,
}

/// Judges a case at `now`.
#[must_use]
pub fn judge(case: &Case, patience: &Patience, now: Timestamp) -> Verdict {
    let waited = now.duration_since(case.since);
    let later = case.heard.iter().filter(|claimed_at| **claimed_at > case.claimed_at).count();
    let silent = waited >= seconds(patience.window) && later >= patience.later_attempts && !case.unread;
    let too_long = waited >= seconds(patience.max) || now >= case.expires_at;
    match (silent, case.policy) {
        // A resend that comes too late goes through the claim, which ends it as expired; better said here.
        (true, InDoubt::ResendOnce) if case.resends == 0 && now < case.expires_at => Verdict::Resend,
        (true, InDoubt::ResendOnce | InDoubt::Never) => Verdict::GiveUp,
        (false, _) if too_long => Verdict::GiveUp,
        (false, _) => Verdict::Wait,
    }
}

fn seconds(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    const PATIENCE: Patience =
        Patience { window: Duration::from_secs(600), later_attempts: 3, max: Duration::from_secs(86_400) };

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + minutes.minutes()
    }

    fn case() -> Case {
        Case {
            since: at(0),
            claimed_at: at(0),
            expires_at: at(10_000),
            policy: InDoubt::ResendOnce,
            resends: 0,
            heard: vec![at(3), at(2), at(1)],
            unread: false,
        }
    }

    #[test]
    fn silence_means_something_only_after_ten_minutes() {
        assert_eq!(judge(&case(), &PATIENCE, at(9)), Verdict::Wait);
        assert_eq!(judge(&case(), &PATIENCE, at(10)), Verdict::Resend);
    }

    #[test]
    fn silence_means_nothing_while_nobody_else_is_heard_of() {
        let quiet = Case { heard: vec![at(3), at(2), at(-1)], ..case() };
        assert_eq!(judge(&quiet, &PATIENCE, at(1_000)), Verdict::Wait);
        let unread = Case { unread: true, ..case() };
        assert_eq!(judge(&unread, &PATIENCE, at(1_000)), Verdict::Wait);
    }

    #[test]
    fn nothing_is_resent_twice_or_against_its_template() {
        assert_eq!(judge(&Case { resends: 1, ..case() }, &PATIENCE, at(10)), Verdict::GiveUp);
        assert_eq!(judge(&Case { policy: InDoubt::Never, ..case() }, &PATIENCE, at(10)), Verdict::GiveUp);
    }

    #[test]
    fn a_doubt_ends_at_last() {
        let quiet = Case { heard: vec![], ..case() };
        assert_eq!(judge(&quiet, &PATIENCE, at(24 * 60)), Verdict::GiveUp);
        let short = Case { expires_at: at(5), ..quiet };
        assert_eq!(judge(&short, &PATIENCE, at(4)), Verdict::Wait);
        assert_eq!(judge(&short, &PATIENCE, at(5)), Verdict::GiveUp);
    }
}
