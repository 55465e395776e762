//! When silence about an attempt means something, and what follows then.
//!
//! Evidence that settles a doubt comes through receipts; here is only what to make of its absence.

use std::time::Duration;

use jiff::Timestamp;

use super::notification::InDoubt;

/// How long and how much silence it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// What is reported must have been able to reach us for so long, or for as long again as that was not certain.
    pub window: Duration,
    /// So many later messages of the same sender must have been heard of before it is certain that reports reach us.
    pub later_attempts: usize,
    pub max: Duration,
}

/// Whether somebody is there to take webhooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Nobody who takes webhooks in has ever said so here.
    Unknown,
    /// Nobody is there, or somebody is missing at whose address the provider may be knocking.
    Away,
    /// Everybody is there, and nothing was turned away, since then.
    Open(Timestamp),
}

/// Whether the provider's own list of messages has been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// This provider has none that helps: it repeats its reports until they are taken instead.
    NoList,
    NotYet,
    /// Then it had nothing that could be the message.
    InVain(Timestamp),
}

/// A notification in doubt and what has been heard since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub since: Timestamp,
    pub claimed_at: Timestamp,
    pub expires_at: Timestamp,
    pub policy: InDoubt,
    pub resends: u16,
    /// When [`Patience::later_attempts`] messages of the same sender, planned and claimed after this one was claimed, had been heard
    /// of; none if there are not so many.
    pub others_heard_at: Option<Timestamp>,
    pub door: Door,
    pub look: Look,
    /// Whether webhooks that came earlier are still to be applied.
    pub unread: bool,
}

impl Case {
    /// Since when it is certain that what the provider reports reaches us.
    fn heard_since(&self) -> Option<Timestamp> {
        let heard = self.others_heard_at.filter(|_| !self.unread)?;
        match self.door {
            Door::Unknown => Some(heard),
            Door::Open(since) => Some(heard.max(since)),
            Door::Away => None,
        }
    }

    /// Whether a report would have come by now. One that we missed while nothing reached us is on its way: the provider tries
    /// again ever more rarely, so after as long again as it could have been trying at most it has come.
    fn is_silent(&self, patience: &Patience, now: Timestamp) -> bool {
        let window = seconds(patience.window);
        let is_unlisted = match self.look {
            Look::NoList => true,
            Look::NotYet => false,
            Look::InVain(at) => at.duration_since(self.since) >= window,
        };
        now.duration_since(self.since) >= window
            && is_unlisted
            && self
                .heard_since()
                .is_some_and(|since| now.duration_since(since) >= window.max(since.duration_since(self.claimed_at)))
    }
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
    let too_long = now.duration_since(case.since) >= seconds(patience.max) || now >= case.expires_at;
    match (case.is_silent(patience, now), case.policy) {
        // A resend that comes too late goes through the claim, which ends it as expired; better said here.
        (true, InDoubt::ResendOnce) if case.resends == 0 && now < case.expires_at => Verdict::Resend,
        (true, InDoubt::ResendOnce | InDoubt::Never) => Verdict::GiveUp,
        (false, _) if too_long => Verdict::GiveUp,
        (false, _) => Verdict::Wait,
    }
}

/// What keeps silence from meaning something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Too few later messages of the sender have been heard of.
    Others,
    /// Nobody takes webhooks in, or somebody who did is missing.
    Door,
    /// Webhooks that came wait to be applied.
    Unread,
    /// The provider's list of messages has not been looked at.
    Look,
    /// Only time.
    Nothing,
}

/// What will become of a case by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    pub missing: Missing,
    /// What follows if nothing more is heard.
    pub then: Verdict,
    /// When, as far as that is known now: evidence that is missing may come earlier.
    pub at: Timestamp,
}

/// Foretells what [`judge`] will say of a case, if nothing is heard of it.
#[must_use]
pub fn foretell(case: &Case, patience: &Patience, now: Timestamp) -> Outlook {
    let end = later(case.since, seconds(patience.max)).min(case.expires_at);
    let window = seconds(patience.window);
    let missing = match (case.others_heard_at, case.door, case.look) {
        (None, ..) => Missing::Others,
        (Some(_), Door::Away, _) => Missing::Door,
        (Some(_), Door::Unknown | Door::Open(_), _) if case.unread => Missing::Unread,
        (Some(_), Door::Unknown | Door::Open(_), Look::NotYet) => Missing::Look,
        (Some(_), Door::Unknown | Door::Open(_), Look::NoList | Look::InVain(_)) => Missing::Nothing,
    };
    let silent_at = case.heard_since().filter(|_| missing == Missing::Nothing).map(|heard| {
        let as_long_again = window.max(heard.duration_since(case.claimed_at));
        later(case.since, window).max(later(heard, as_long_again)).max(now)
    });
    let at = silent_at.unwrap_or(end).min(end);
    Outlook { missing, then: judge(case, patience, at), at }
}

fn later(at: Timestamp, by: jiff::SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
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
            others_heard_at: Some(at(1)),
            door: Door::Open(at(-60)),
            look: Look::NoList,
            unread: false,
        }
    }

    /// The minute at which it is no longer waited for.
    fn ends(case: &Case) -> i64 {
        (0..).find(|minute| judge(case, &PATIENCE, at(*minute)) != Verdict::Wait).unwrap()
    }

    #[test]
    fn silence_means_something_ten_minutes_after_others_were_heard_of() {
        assert_eq!(ends(&case()), 11);
        assert_eq!(judge(&case(), &PATIENCE, at(11)), Verdict::Resend);
        let late = Case { since: at(30), ..case() };
        assert_eq!(ends(&late), 40, "nor before it has been in doubt for that long");
    }

    #[test]
    fn silence_means_nothing_while_nobody_else_is_heard_of() {
        let quiet = Case { others_heard_at: None, ..case() };
        assert_eq!(judge(&quiet, &PATIENCE, at(1_000)), Verdict::Wait);
        let unread = Case { unread: true, ..case() };
        assert_eq!(judge(&unread, &PATIENCE, at(1_000)), Verdict::Wait);
    }

    #[test]
    fn silence_means_nothing_while_nobody_takes_webhooks_in() {
        let away = Case { door: Door::Away, ..case() };
        assert_eq!(judge(&away, &PATIENCE, at(1_000)), Verdict::Wait);
        assert_eq!(ends(&Case { door: Door::Unknown, ..case() }), 11);
    }

    #[test]
    fn a_report_that_we_missed_has_as_long_again_to_come_as_it_could_not() {
        assert_eq!(ends(&Case { door: Door::Open(at(5)), ..case() }), 15, "a short while: the window is enough");
        assert_eq!(ends(&Case { door: Door::Open(at(60)), ..case() }), 120);
        assert_eq!(
            ends(&Case { others_heard_at: Some(at(60)), ..case() }),
            120,
            "whatever kept the others from being heard"
        );
    }

    #[test]
    fn silence_means_nothing_until_the_providers_list_was_asked_in_vain() {
        for look in [Look::NotYet, Look::InVain(at(9))] {
            assert_eq!(judge(&Case { look, ..case() }, &PATIENCE, at(1_000)), Verdict::Wait, "a list lags behind");
        }
        let asked = Case { look: Look::InVain(at(12)), ..case() };
        assert_eq!(judge(&asked, &PATIENCE, at(12)), Verdict::Resend);
        let never_asked = Case { look: Look::NotYet, ..case() };
        assert_eq!(judge(&never_asked, &PATIENCE, at(24 * 60)), Verdict::GiveUp);
    }

    #[test]
    fn nothing_is_resent_twice_or_against_its_template() {
        assert_eq!(judge(&Case { resends: 1, ..case() }, &PATIENCE, at(11)), Verdict::GiveUp);
        assert_eq!(judge(&Case { policy: InDoubt::Never, ..case() }, &PATIENCE, at(11)), Verdict::GiveUp);
    }

    #[test]
    fn a_doubt_ends_at_last() {
        let quiet = Case { others_heard_at: None, ..case() };
        assert_eq!(judge(&quiet, &PATIENCE, at(24 * 60)), Verdict::GiveUp);
        let short = Case { expires_at: at(5), ..quiet };
        assert_eq!(judge(&short, &PATIENCE, at(4)), Verdict::Wait);
        assert_eq!(judge(&short, &PATIENCE, at(5)), Verdict::GiveUp);
    }

    #[test]
    fn what_will_follow_and_when_is_known_as_soon_as_silence_means_something() {
        let outlook = foretell(&case(), &PATIENCE, at(2));
        assert_eq!(outlook, Outlook { missing: Missing::Nothing, then: Verdict::Resend, at: at(11) });
        let late = Case { since: at(30), ..case() };
        assert_eq!(foretell(&late, &PATIENCE, at(31)).at, at(40), "as judge does it");
    }

    #[test]
    fn until_then_it_is_said_what_is_missing_and_when_it_ends_at_the_latest() {
        let cases = [
            (Case { others_heard_at: None, ..case() }, Missing::Others),
            (Case { door: Door::Away, ..case() }, Missing::Door),
            (Case { unread: true, ..case() }, Missing::Unread),
            (Case { look: Look::NotYet, ..case() }, Missing::Look),
        ];
        for (case, missing) in cases {
            let outlook = foretell(&case, &PATIENCE, at(2));
            assert_eq!(outlook.missing, missing);
            assert_eq!((outlook.then, outlook.at), (Verdict::GiveUp, at(24 * 60)));
        }
        let short = Case { others_heard_at: None, expires_at: at(5), ..case() };
        assert_eq!(foretell(&short, &PATIENCE, at(2)).at, at(5));
    }
}
