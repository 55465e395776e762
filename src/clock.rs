//! The only place that asks for the time: the wall's for what is written down, a monotonic one for what is measured.
//!
//! What the database decides, it decides by its own clock; a test sets both.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use uuid::Uuid;

/// A cheap handle: the system's clock, or one that stands still until a test moves it. Clones of a set clock share its time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Hands>>>);

#[derive(Debug)]
struct Hands {
    wall: Timestamp,
    monotonic: Instant,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Clock {
        Clock(None)
    }

    /// A clock that shows `at` and stands still.
    #[must_use]
    pub fn standing(at: Timestamp) -> Clock {
        Clock(Some(Arc::new(Mutex::new(Hands { wall: at, monotonic: Instant::now() }))))
    }

    /// Whether a test moves it.
    #[must_use]
    pub fn is_standing(&self) -> bool {
        self.0.is_some()
    }

    /// The time of day, to the microsecond, as Postgres keeps it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = match &self.0 {
            Some(hands) => hands.lock().unwrap_or_else(PoisonError::into_inner).wall,
            None => system_time(),
        };
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// For measuring. Never goes back.
    #[must_use]
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Some(hands) => hands.lock().unwrap_or_else(PoisonError::into_inner).monotonic,
            None => Instant::now(),
        }
    }

    /// Moves a standing clock on. The system's goes by itself and ignores this.
    pub fn advance(&self, by: Duration) {
        if let Some(hands) = &self.0 {
            let mut hands = hands.lock().unwrap_or_else(PoisonError::into_inner);
            hands.wall = hands.wall.saturating_add(by).unwrap_or(Timestamp::MAX);
            hands.monotonic += by;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
fn system_time() -> Timestamp {
    Timestamp::now()
}

/// A UUIDv7 of this moment.
#[must_use]
pub fn v7(at: Timestamp) -> Uuid {
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let nanos = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
    // One counter for the process, so that ids of one millisecond keep their order.
    static ORDER: std::sync::Mutex<uuid::ContextV7> = std::sync::Mutex::new(uuid::ContextV7::new());
    Uuid::new_v7(uuid::Timestamp::from_unix(&ORDER, seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_moves_only_when_it_is_moved_and_for_all_its_clones() {
        let start: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        let clock = Clock::standing(start);
        let (other, began) = (clock.clone(), clock.instant());
        assert_eq!(other.now(), start);
        clock.advance(Duration::from_secs(90));
        assert_eq!(other.now(), "2026-11-22T20:01:30Z".parse().unwrap());
        assert_eq!(other.instant() - began, Duration::from_secs(90));
    }

    #[test]
    fn the_systems_clock_tells_microseconds_and_cannot_be_moved() {
        let clock = Clock::system();
        let before = clock.now();
        clock.advance(Duration::from_secs(3_600));
        let after = clock.now();
        assert_eq!(after.as_nanosecond() % 1_000, 0);
        assert!(after >= before && after.duration_since(before).as_secs() < 3_600);
    }
}
