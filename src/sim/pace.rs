//! The two limits of pace: messages in a moving second on one business number, and the pair limit between one number and
//! one person. And how many texts of a number were free this month. Pure: the time is an argument.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The pair limit: one message each `period_ms`, and up to `burst` at once, which must be paid back.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pair {
    pub period_ms: i64,
    pub burst: i64,
}

impl Default for Pair {
    /// One in 6 s, bursts to 45.
    fn default() -> Self {
        Self { period_ms: 6_000, burst: 45 }
    }
}

impl Pair {
    /// Whether a message may pass at `now` when everything until `paid_until` is used; if so, the new `paid_until`.
    pub(super) fn pass(self, paid_until: Option<i64>, now: i64) -> Option<i64> {
        let due = paid_until.unwrap_or(now).max(now);
        (due - now <= (self.burst - 1).max(0) * self.period_ms).then_some(due + self.period_ms)
    }
}

/// The messages of the last second on one number, both ways.
#[derive(Debug, Default)]
pub(super) struct Second(VecDeque<i64>);

impl Second {
    /// Whether one more fits under `limit` at `now` (Unix ms).
    pub(super) fn has_room(&mut self, limit: usize, now: i64) -> bool {
        while self.0.front().is_some_and(|at| *at <= now - 1_000) {
            self.0.pop_front();
        }
        self.0.len() < limit
    }

    pub(super) fn count(&mut self, now: i64) {
        self.0.push_back(now);
    }
}

/// The texts of a number that were free in one month, of UTC.
#[derive(Debug, Default)]
pub(super) struct Month {
    of: String,
    free: u32,
}

impl Month {
    /// Whether one more is free of `limit` at `now` (Unix ms); if so, it is counted.
    pub(super) fn has_free(&mut self, limit: u32, now: i64) -> bool {
        let of = jiff::Timestamp::from_millisecond(now).unwrap_or_default().strftime("%Y-%m").to_string();
        if self.of != of {
            (self.of, self.free) = (of, 0);
        }
        let free = self.free < limit;
        self.free += u32::from(free);
        free
    }
}
