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
    /// In millionths, as all amounts here.
    left: AtomicI64,
    /// What is on the wire, or not yet written.
    open: AtomicI64,
    /// The dearest message so far.
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

/// A message's price, from its claim until its result is written.
#[derive(Debug)]
pub struct Spending {
    purse: Purse,
    micros: i64,
}

impl Default for Purse {
    fn default() -> Purse {
        Purse(Arc::new(Inner {
            left: AtomicI64::new(i64::MAX),
            open: AtomicI64::new(0),
            dearest: AtomicI64::new(1),
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
        if of.left.load(Relaxed) > 0 { Room::Free } else { Room::Waits }
    }

    /// So many of `permits` messages that the last of them may be one too many, and no other.
    #[must_use]
    pub fn permits(&self, permits: u32) -> u32 {
        let left = self.0.left.load(Relaxed);
        if self.room() != Room::Free || left == i64::MAX {
            return permits;
        }
        let affordable = left / self.0.dearest.load(Relaxed).max(1);
        permits.min(u32::try_from(affordable).unwrap_or(u32::MAX).max(1))
    }

    /// Takes the price of a message that is about to go.
    #[must_use]
    pub fn spend(&self, micros: i64) -> Spending {
        let of = &self.0;
        of.open.fetch_add(micros, Relaxed);
        of.dearest.fetch_max(micros, Relaxed);
        if of.looked.load(Relaxed) {
            of.left.fetch_sub(micros, Relaxed);
        }
        Spending { purse: self.clone(), micros }
    }

    /// What was spent and may not be in the sums yet. To be asked before the sums are.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.0.open.load(Relaxed)
    }

    /// The fleet may still spend something, this process that much. Says whether it was otherwise before, or not known.
    pub fn fill(&self, left: i64) -> bool {
        let of = &self.0;
        of.left.store(left, Relaxed);
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
        assert!(purse.fill(50_000), "nobody had looked");
        let first = purse.spend(20_000);
        assert_eq!(purse.permits(200), 1, "a second fits, and one more begins");
        let second = purse.spend(20_000);
        assert_eq!((purse.room(), purse.permits(200)), (Room::Free, 1));
        let third = purse.spend(20_000);
        assert_eq!((purse.room(), purse.permits(200)), (Room::Waits, 200), "urgent ones are not held up");
        assert_eq!(purse.open(), 60_000);
        drop((first, second, third));
        assert_eq!(purse.open(), 0);
        assert!(!purse.fill(10_000), "there was room for the fleet all the time");
        assert_eq!(purse.room(), Room::Free);
    }

    #[test]
    fn a_budget_that_is_used_up_is_news_once_and_so_is_a_new_day() {
        let purse = Purse::default();
        let midnight = "2026-11-23T00:00:00Z".parse().unwrap();
        assert!(purse.close(midnight) && !purse.close(midnight));
        assert_eq!(purse.room(), Room::Spent { until: midnight });
        assert!(purse.fill(1) && !purse.fill(1));
    }
}
