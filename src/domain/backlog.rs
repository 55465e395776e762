//! When a queue will be empty, said only as far as it can be known.

use std::time::Duration;

/// One sender's queue, and how fast it fills and empties. Rates are messages a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    /// Due now. At least so many, if `more`.
    pub due: u32,
    pub more: bool,
    /// For how long the oldest of them has been due.
    pub oldest: Duration,
    /// Nothing leaves while it is held.
    pub held: bool,
    /// What came in, as it was measured.
    pub comes: f64,
    /// What left, to the provider or to an end, as it was measured.
    pub leaves: f64,
    /// The most that the sender sends.
    pub pace: f64,
}

/// What can be said of a queue's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    Empty,
    /// It waits for a release: nobody knows when that comes.
    Held,
    /// It will be empty in about that time, if both rates stay.
    Clears(Duration),
    /// As before, but there is more than was counted: not earlier than that.
    NotBefore(Duration),
    /// Nothing has left lately. At the sender's pace it would take that long.
    Standing(Duration),
    /// As much comes in as goes out, or more. Without anything new it would take that long.
    Grows(Duration),
}

impl Queue {
    /// When it will be empty.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        if self.due == 0 {
            return Outlook::Empty;
        }
        if self.held {
            return Outlook::Held;
        }
        // Less than that is noise: a message in five minutes tells nothing of the next.
        const LEAST: f64 = 1.0 / 300.0;
        if self.leaves < LEAST {
            return Outlook::Standing(time(self.due, self.pace));
        }
        let net = self.leaves - self.comes;
        // A queue that is gone in seconds has not had the time to show how fast it is. One that has stood for longer has.
        const YOUNG: Duration = Duration::from_secs(5);
        if self.oldest <= YOUNG && time(self.due, self.pace) <= Duration::from_secs(1) {
            return Outlook::Clears(Duration::from_secs(1));
        }
        if net < LEAST {
            return Outlook::Grows(time(self.due, self.leaves.min(self.pace)));
        }
        let takes = time(self.due, net.min(self.pace));
        if self.more { Outlook::NotBefore(takes) } else { Outlook::Clears(takes) }
    }
}

/// Rounded up to whole seconds; a week at most, after which no number means anything.
fn time(due: u32, per_second: f64) -> Duration {
    const WEEK: f64 = 7.0 * 86_400.0;
    if per_second <= 0.0 {
        return Duration::from_secs_f64(WEEK);
    }
    Duration::from_secs_f64((f64::from(due) / per_second).ceil().min(WEEK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        let oldest = seconds(60);
        Queue { due: 1_200, more: false, oldest, held: false, comes: 2.0, leaves: 12.0, pace: 80.0 }
    }

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_leaves_less_what_comes_empties_it() {
        assert_eq!(queue().outlook(), Outlook::Clears(seconds(120)));
        assert_eq!(Queue { due: 0, ..queue() }.outlook(), Outlook::Empty);
        assert_eq!(Queue { more: true, ..queue() }.outlook(), Outlook::NotBefore(seconds(120)));
    }

    #[test]
    fn nothing_is_promised_of_what_grows_or_stands() {
        assert_eq!(Queue { comes: 12.0, ..queue() }.outlook(), Outlook::Grows(seconds(100)));
        assert_eq!(Queue { leaves: 0.0, ..queue() }.outlook(), Outlook::Standing(seconds(15)));
        assert_eq!(Queue { held: true, ..queue() }.outlook(), Outlook::Held);
    }

    #[test]
    fn only_what_has_just_become_due_is_taken_for_gone_at_full_pace() {
        let short = Queue { due: 20, comes: 40.0, oldest: seconds(1), ..queue() };
        assert_eq!(short.outlook(), Outlook::Clears(seconds(1)));
        let stuck = Queue { due: 80, comes: 0.5, leaves: 0.5, oldest: seconds(600), ..queue() };
        assert_eq!(stuck.outlook(), Outlook::Grows(seconds(160)), "eighty have stood there for ten minutes");
        let slow = Queue { due: 7, comes: 0.0, leaves: 0.1, oldest: seconds(11), ..queue() };
        assert_eq!(slow.outlook(), Outlook::Clears(seconds(70)));
    }

    #[test]
    fn nothing_is_faster_than_the_senders_pace() {
        // A burst that was measured is not what the provider lets through for long.
        assert_eq!(Queue { leaves: 500.0, ..queue() }.outlook(), Outlook::Clears(seconds(15)));
        let never = Queue { pace: 0.0, leaves: 0.0, ..queue() };
        assert_eq!(never.outlook(), Outlook::Standing(seconds(7 * 86_400)));
    }
}
