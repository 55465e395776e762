//! Where the untold rows of the outbox begin, as whoever takes from it knows.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use uuid::Uuid;

use crate::db::{
    self,
    outbox::{self, Found},
};

/// One time as the one who takes from the outbox.
#[derive(Debug, Default)]
pub struct Turn {
    held_at: Option<Instant>,
    pub(super) frontier: Frontier,
}

impl Turn {
    /// Whether it is this worker's turn. The lease is renewed when a third of it is over, not at each step: that would be a commit each
    /// time.
    pub(super) async fn is_ours(
        &mut self,
        pool: &PgPool,
        (name, worker, lease): (&str, Uuid, Duration),
    ) -> Result<bool, db::Error> {
        let now = Instant::now();
        let begins = self.held_at.is_none();
        if self.held_at.is_none_or(|at| now.duration_since(at) > lease / 3) {
            let mine = outbox::hold_lease(pool, name, worker, lease).await?;
            self.held_at = mine.then_some(now);
            if mine && begins {
                self.frontier = Frontier::from(outbox::marked(pool, name).await?);
            } else if mine {
                outbox::mark(pool, name, worker, self.frontier.upto()).await?;
            }
        }
        Ok(self.held_at.is_some())
    }
}

/// Where the untold rows begin: each up to there was told, or will never be seen. Rows are numbered while their transactions run, so
/// one with a low number may be seen late; but none after every transaction has ended that could have given out that number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    upto: i64,
    /// All numbers up to the first were given out by transactions whose own number is below the second.
    next: Option<(i64, i64)>,
}

impl Frontier {
    fn from(upto: i64) -> Frontier {
        Frontier { upto, next: None }
    }

    pub(super) fn upto(&self) -> i64 {
        self.upto
    }

    /// All that could be seen was told before.
    pub(super) fn nothing_left(&mut self, found: &Found) {
        self.advance(found, None);
    }

    /// What was found is told and gone: up to `last` if there may be more, else all of it. `transaction` is younger than the look.
    pub(super) fn told(&mut self, found: &Found, last: Option<i64>, transaction: i64) {
        self.advance(found, last);
        self.next.get_or_insert((found.given_out, transaction));
    }

    fn advance(&mut self, found: &Found, last: Option<i64>) {
        let Some((given_out, transaction)) = self.next else { return };
        if found.ended_before < transaction {
            return;
        }
        self.upto = last.map_or(given_out, |last| last.min(given_out)).max(self.upto);
        if last.is_none_or(|last| last >= given_out) {
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(given_out: i64, ended_before: i64) -> Found {
        Found { rows: Vec::new(), given_out, ended_before }
    }

    #[test]
    fn nothing_is_passed_over_while_somebody_may_still_write_it() {
        let mut frontier = Frontier::from(0);
        frontier.told(&seen(100, 7), None, 9);
        assert_eq!(frontier.upto(), 0, "a transaction before 9 may have taken one of the hundred numbers");
        frontier.nothing_left(&seen(120, 8));
        assert_eq!(frontier.upto(), 0, "8 still runs");
        frontier.nothing_left(&seen(120, 9));
        assert_eq!(frontier, Frontier { upto: 100, next: None });
    }

    #[test]
    fn a_full_batch_goes_as_far_as_it_was_told() {
        let mut frontier = Frontier::from(0);
        frontier.told(&seen(100, 7), Some(10), 9);
        frontier.told(&seen(150, 9), Some(60), 12);
        assert_eq!(frontier, Frontier { upto: 60, next: Some((100, 9)) });
        frontier.told(&seen(200, 20), Some(130), 21);
        assert_eq!(frontier, Frontier { upto: 100, next: Some((200, 21)) });
    }

    #[test]
    fn it_never_goes_back() {
        let mut frontier = Frontier::from(50);
        frontier.told(&seen(60, 7), None, 8);
        frontier.told(&seen(90, 9), Some(20), 10);
        assert_eq!(frontier.upto(), 50);
    }
}
