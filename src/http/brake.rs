//! A brake on work that is worth doing only now and then, however often it is asked for.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets through once in `EVERY`.
#[derive(Debug, Default)]
pub(super) struct Brake(Mutex<Option<Instant>>);

const EVERY: Duration = Duration::from_secs(10);

impl Brake {
    /// Whether it is time again; if so, it was the last time.
    pub(super) fn lets(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| now.duration_since(at) > EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lets_through_now_and_then() {
        let (brake, now) = (Brake::default(), Instant::now());
        assert!(brake.lets(now) && !brake.lets(now) && !brake.lets(now + EVERY));
        assert!(brake.lets(now + EVERY * 2));
    }
}
