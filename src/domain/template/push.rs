//! What has to be done at a provider so that it has what the file says, by Meta's rules for changes.

use jiff::{SignedDuration, Timestamp};

use super::{Definition, Place, all_differences};
use crate::domain::fact::Approval;

/// A template in one language as the provider has it.
#[derive(Debug, Clone, Copy)]
pub struct There<'a> {
    pub status: Approval,
    pub category: Option<&'a str>,
    /// None if what it says cannot be read.
    pub definition: Option<&'a Definition>,
}

/// The edits that we made of it while it was approved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// In the last 30 days, the latest first.
    pub at: Vec<Timestamp>,
}

/// How a provider lets templates change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// They are edited, within limits.
    Edits,
    /// They stay as they are, and another one is made.
    Anew,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is there as the file says.
    Nothing,
    Create,
    /// With the category, if that may still be changed.
    Edit {
        category: bool,
    },
    /// Not possible, and why.
    Impossible(String),
}

/// Meta's limits for edits of what is approved.
const A_DAY: usize = 1;
const IN_30_DAYS: usize = 10;

/// Decides what to do for a template whose file says `file`, as the provider writes it, in `category`.
#[must_use]
pub fn step(
    manner: Manner,
    (file, category): (&Definition, &str),
    there: Option<There<'_>>,
    edits: &Edits,
    now: Timestamp,
) -> Step {
    let Some(there) = there else { return Step::Create };
    let impossible = |why: &str| Step::Impossible(why.to_owned());
    let differences =
        there.definition.map(|definition| all_differences((file, category), (definition, there.category)));
    if differences.as_ref().is_some_and(Vec::is_empty) {
        return Step::Nothing;
    }
    if manner == Manner::Anew {
        return Step::Create;
    }
    match there.status {
        Approval::Approved => {
            if differences.is_some_and(|all| all.iter().all(|one| one.place == Place::Category)) {
                return impossible(
                    "only its category differs, and the category of an approved template is the provider's to change: say the \
                     provider's category in the file, or ask for a review of it in WhatsApp Manager",
                );
            }
            limited(edits, now).map_or(Step::Edit { category: false }, Step::Impossible)
        }
        Approval::Rejected | Approval::Paused => Step::Edit { category: true },
        Approval::Pending | Approval::InAppeal => {
            impossible("it is under review, and cannot be changed until that is over (at most 24 hours)")
        }
        Approval::Deleted => impossible(
            "it was deleted there, and its name is locked for 30 days: give the template another name in its file",
        ),
        Approval::Disabled | Approval::Locked | Approval::LimitExceeded | Approval::Archived => impossible(
            "the provider does not let it be changed any more: give the template another name in its file, or see WhatsApp Manager",
        ),
    }
}

/// Why what is approved cannot be edited now, if so.
fn limited(edits: &Edits, now: Timestamp) -> Option<String> {
    let within = |hours: i64| {
        let from = now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MIN);
        edits.at.iter().filter(move |at| **at > from).copied().collect::<Vec<_>>()
    };
    let free_at = |edits: &[Timestamp], most: usize, hours: i64| {
        // When the edit that now fills the limit is old enough.
        let blocking = edits.get(most - 1)?;
        blocking.checked_add(SignedDuration::from_hours(hours)).ok()
    };
    let told = |limit: &str, at: Timestamp| {
        format!("an approved template can be edited {limit}; possible again at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    };
    if let Some(at) = free_at(&within(24), A_DAY, 24) {
        return Some(told("once in 24 hours", at));
    }
    free_at(&within(30 * 24), IN_30_DAYS, 30 * 24).map(|at| told("ten times in 30 days", at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_377_600;
    const HOUR: i64 = 3_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn says(body: &str) -> Definition {
        Definition { body: body.to_owned(), ..Definition::default() }
    }

    fn decide(status: Approval, category: &str, body: &str, edits: &[i64]) -> Step {
        let there = says(body);
        let there = There { status, category: Some(category), definition: Some(&there) };
        let edits = Edits { at: edits.iter().map(|at_| at(*at_)).collect() };
        step(Manner::Edits, (&says("New."), "UTILITY"), Some(there), &edits, at(NOW))
    }

    fn why(step: Step) -> String {
        match step {
            Step::Impossible(why) => why,
            possible @ (Step::Nothing | Step::Create | Step::Edit { .. }) => panic!("{possible:?}"),
        }
    }

    #[test]
    fn what_is_not_there_is_made_and_what_is_right_is_left_alone() {
        assert_eq!(step(Manner::Edits, (&says("New."), "UTILITY"), None, &Edits::default(), at(NOW)), Step::Create);
        for status in [Approval::Approved, Approval::Pending, Approval::Paused, Approval::Disabled] {
            assert_eq!(decide(status, "UTILITY", "New.", &[]), Step::Nothing, "{status}");
        }
    }

    #[test]
    fn what_is_approved_rejected_or_paused_is_edited() {
        assert_eq!(decide(Approval::Approved, "UTILITY", "Old.", &[]), Step::Edit { category: false });
        assert_eq!(decide(Approval::Rejected, "UTILITY", "Old.", &[]), Step::Edit { category: true });
        assert_eq!(decide(Approval::Paused, "MARKETING", "New.", &[]), Step::Edit { category: true });
        for status in [Approval::Pending, Approval::InAppeal, Approval::Disabled, Approval::Archived, Approval::Deleted]
        {
            assert!(!why(decide(status, "UTILITY", "Old.", &[])).is_empty(), "{status}");
        }
    }

    #[test]
    fn the_category_of_an_approved_template_is_the_providers() {
        assert!(why(decide(Approval::Approved, "MARKETING", "New.", &[])).contains("only its category differs"));
        assert_eq!(decide(Approval::Approved, "MARKETING", "Old.", &[]), Step::Edit { category: false });
    }

    #[test]
    fn an_approved_template_is_edited_once_a_day_and_ten_times_a_month() {
        let told = why(decide(Approval::Approved, "UTILITY", "Old.", &[NOW - 23 * HOUR]));
        assert!(told.contains("once in 24 hours; possible again at 2026-11-22T21:00:00Z"), "{told}");
        assert_eq!(decide(Approval::Approved, "UTILITY", "Old.", &[NOW - 24 * HOUR]), Step::Edit { category: false });
        let many: Vec<i64> = (1..=10).map(|day| NOW - day * 25 * HOUR).collect();
        assert!(why(decide(Approval::Approved, "UTILITY", "Old.", &many)).contains("ten times in 30 days"));
        assert_eq!(decide(Approval::Approved, "UTILITY", "Old.", &many[..9]), Step::Edit { category: false });
        assert_eq!(decide(Approval::Rejected, "UTILITY", "Old.", &many), Step::Edit { category: true });
    }

    #[test]
    fn where_nothing_is_edited_what_differs_is_made_anew() {
        let there = says("Old.");
        let there = There { status: Approval::Pending, category: Some("UTILITY"), definition: Some(&there) };
        let decide = |file: &str| step(Manner::Anew, (&says(file), "UTILITY"), Some(there), &Edits::default(), at(NOW));
        assert_eq!((decide("New."), decide("Old.")), (Step::Create, Step::Nothing));
    }

    #[test]
    fn what_cannot_be_read_there_is_taken_for_different() {
        let there = There { status: Approval::Approved, category: None, definition: None };
        let step = step(Manner::Edits, (&says("New."), "UTILITY"), Some(there), &Edits::default(), at(NOW));
        assert_eq!(step, Step::Edit { category: false });
    }
}
