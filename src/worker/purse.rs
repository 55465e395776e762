//! What a sender may still spend, as one process knows it between two looks at what the fleet has spent.
//!
//! The share that a look left is used up message by message. When it is, nothing that is not urgent goes until the next look: so the
//! fleet spends too much by one message a process at most, by what urgent ones cost, and by what was predicted too low.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

use jiff::Timestamp;

/// One sender's, shared by whoever spends and whoever counts. Without a budget it is never empty.
#[derive(Debug, Clone)]
pub struct Purse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// All that this process has ever spent, in millionths, as all amounts here.
    total: AtomicI64,
    /// How far `total` may go until the next look. A look that takes a while loses nothing of what was spent meanwhile.
    ceiling: AtomicI64,
    /// What is on the wire, or not yet written.
    open: AtomicI64,
    /// The dearest message so far; 0 before the first.
    dearest: AtomicI64,
    /// Until when the fleet's budget is used up, in milliseconds since 1970.
    spent_until: AtomicI64,
    spent: AtomicBool,
    looked: AtomicBool,
}

/// Whether messages that are not urgent may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Free,
    /// This process's share is used up until the next look.
    Waits,
    /// The fleet's budget is used up until then.
    Spent {
        until: Timestamp,
    },
}

/// How a purse stood before the fleet's sums were asked for.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// What is on the wire, or not yet written.
    pub open: i64,
    total: i64,
}

/// A message's price, from its claim until its result is written.
#[derive(Debug)]
pub struct Spending {
    purse: Purse,
    micros: i64,
}

impl Default for Purse {
    fn default() -> Purse {
        Purse(Arc::new(Inner {
            total: AtomicI64::new(0),
            ceiling: AtomicI64::new(i64::MAX),
            open: AtomicI64::new(0),
            dearest: AtomicI64::new(0),
            spent_until: AtomicI64::new(0),
            spent: AtomicBool::new(false),
            looked: AtomicBool::new(false),
        }))
    }
}

impl Purse {
    #[must_use]
    pub fn room(&self) -> Room {
        let of = &self.0;
        if of.spent.load(Relaxed) {
            let until = Timestamp::from_millisecond(of.spent_until.load(Relaxed)).unwrap_or(Timestamp::MAX);
            return Room::Spent { until };
        }
        if self.left() > 0 { Room::Free } else { Room::Waits }
    }

    fn left(&self) -> i64 {
        self.0.ceiling.load(Relaxed).saturating_sub(self.0.total.load(Relaxed))
    }

    /// So many of `permits` messages that the last of them may be one too many, and no other.
    #[must_use]
    pub fn permits(&self, permits: u32) -> u32 {
        if self.room() != Room::Free || !self.0.looked.load(Relaxed) {
            return permits;
        }
        let affordable = match self.0.dearest.load(Relaxed) {
            0 => 1,
            dearest => u32::try_from(self.left() / dearest).unwrap_or(u32::MAX),
        };
        permits.min(affordable.max(1))
    }

    /// Takes the price of a message that is about to go.
    #[must_use]
    pub fn spend(&self, micros: i64) -> Spending {
        let of = &self.0;
        of.open.fetch_add(micros, Relaxed);
        of.dearest.fetch_max(micros.max(1), Relaxed);
        of.total.fetch_add(micros, Relaxed);
        Spending { purse: self.clone(), micros }
    }

    /// What was spent and may not be in the sums yet. To be asked before the sums are.
    #[must_use]
    pub fn look(&self) -> Look {
        let total = self.0.total.load(Relaxed);
        Look { open: self.0.open.load(Relaxed), total }
    }

    /// The fleet could still spend something at that look, this process that much. Says whether it was otherwise before, or not known.
    pub fn fill(&self, look: Look, left: i64) -> bool {
        let of = &self.0;
        of.ceiling.store(look.total.saturating_add(left), Relaxed);
        let (known, spent) = (of.looked.swap(true, Relaxed), of.spent.swap(false, Relaxed));
        spent || !known
    }

    /// The fleet's budget is used up until then. Says whether that is news.
    pub fn close(&self, until: Timestamp) -> bool {
        let of = &self.0;
        of.spent_until.store(until.as_millisecond(), Relaxed);
        of.looked.store(true, Relaxed);
        !of.spent.swap(true, Relaxed)
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        self.purse.0.open.fetch_sub(self.micros, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_budget_there_is_always_room() {
        let purse = Purse::default();
        let _spent = purse.spend(1_000_000);
        assert_eq!((purse.room(), purse.permits(200)), (Room::Free, 200));
    }

    #[test]
    fn a_share_is_used_up_to_the_message() {
        let purse = Purse::default();
        assert!(purse.fill(purse.look(), 50_000), "nobody had looked");
        assert_eq!(purse.permits(200), 1, "nobody knows what one costs");
        let first = purse.spend(20_000);
        assert_eq!(purse.permits(200), 1, "a second fits, and one more begins");
        let second = purse.spend(20_000);
        assert_eq!((purse.room(), purse.permits(200)), (Room::Free, 1));
        let third = purse.spend(20_000);
        assert_eq!((purse.room(), purse.permits(200)), (Room::Waits, 200), "urgent ones are not held up");
        assert_eq!(purse.look().open, 60_000);
        drop((first, second, third));
        assert_eq!(purse.look().open, 0);
        assert!(!purse.fill(purse.look(), 10_000), "there was room for the fleet all the time");
        assert_eq!(purse.room(), Room::Free);
    }

    #[test]
    fn a_budget_that_is_used_up_is_news_once_and_so_is_a_new_day() {
        let purse = Purse::default();
        let midnight = "2026-11-23T00:00:00Z".parse().unwrap();
        assert!(purse.close(midnight) && !purse.close(midnight));
        assert_eq!(purse.room(), Room::Spent { until: midnight });
        assert!(purse.fill(purse.look(), 1) && !purse.fill(purse.look(), 1));
    }

    #[test]
    fn what_is_spent_during_a_look_is_spent() {
        let purse = Purse::default();
        purse.fill(purse.look(), 50_000);
        let look = purse.look();
        let _spent = purse.spend(20_000);
        purse.fill(look, 50_000);
        assert_eq!(purse.left(), 30_000);
    }
}
