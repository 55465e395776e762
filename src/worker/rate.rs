//! The sender's pace: this process's share of what the provider allows to a business number.
//!
//! The recipient's pace is not here: it is exact for the fleet and so lives in the claim.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::{InMemoryState, NotKeyed},
};

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock>;

/// Hands out the right to send one message each. The whole fleet's rate is divided by the number of live processes.
#[derive(Debug)]
pub struct SenderRate {
    /// As it is set.
    per_second: u32,
    headroom: f64,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    /// Messages a second for the fleet, the headroom already taken off.
    full: f64,
    /// What the provider takes in a second, from everybody.
    allowed: f64,
    limiter: Limiter,
    live: u32,
    /// Less than 1 after the provider said that we are too fast.
    factor: f64,
    paused_until: Option<Instant>,
    pause: Duration,
    recovers_at: Option<Instant>,
    /// Answers in a row that prove nothing.
    unclear: u32,
    /// A message is out to see whether the provider answers clearly again.
    on_trial: bool,
    /// Tokens that were put back, and when.
    spare: (u32, Instant),
    /// When how many were let out, of the last [`SECOND`].
    out: VecDeque<(Instant, u32)>,
}

/// A provider's second, and what one request may take longer on its way there than another.
const SECOND: Duration = Duration::from_millis(1_030);

/// After so many answers in a row that prove nothing the provider itself is in trouble: each further message would be one more doubt.
const TROUBLE: u32 = 5;

/// How a sender slows down when its provider says so: it pauses, then comes back at half its rate, a tenth more each step.
#[derive(Debug, Clone, Copy)]
pub struct Backing {
    pub pause: Duration,
    pub pause_cap: Duration,
    pub step: Duration,
}

impl SenderRate {
    /// `per_second` from 1; `headroom` is the share of it that is left to others, from 0 to 0.9.
    #[must_use]
    pub fn new(per_second: u32, headroom: f64) -> SenderRate {
        let headroom = headroom.clamp(0.0, 0.9);
        let allowed = f64::from(per_second);
        let full = allowed * (1.0 - headroom);
        let now = Now {
            full,
            allowed,
            limiter: limiter(full, allowed),
            live: 1,
            factor: 1.0,
            paused_until: None,
            pause: Duration::ZERO,
            recovers_at: None,
            unclear: 0,
            on_trial: false,
            spare: (0, Instant::now()),
            out: VecDeque::new(),
        };
        SenderRate { per_second, headroom, now: Mutex::new(now) }
    }

    /// From now on no more than the provider says that it takes, if it says so; never more than is set.
    pub fn cap(&self, most: Option<u32>) {
        let allowed = f64::from(most.map_or(self.per_second, |most| most.min(self.per_second)));
        let mut now = self.lock();
        if now.allowed.total_cmp(&allowed).is_ne() {
            now.allowed = allowed;
            now.full = allowed * (1.0 - self.headroom);
            Self::rebuild(&mut now);
        }
    }

    /// What the fleet may send in a second if nothing slows it down.
    #[must_use]
    pub fn full(&self) -> f64 {
        self.lock().full
    }

    /// Divides the rate by so many processes from now on.
    pub fn share(&self, live: u32) {
        let mut now = self.lock();
        if now.live != live.max(1) {
            now.live = live.max(1);
            Self::rebuild(&mut now);
        }
    }

    /// This process's rate at the moment, in messages a second.
    #[must_use]
    pub fn current(&self) -> f64 {
        let now = self.lock();
        now.full * now.factor / f64::from(now.live)
    }

    /// Takes at least one and at most `most` tokens; waits until there is one. Cancelling it loses none.
    pub async fn take(&self, most: u32) -> u32 {
        loop {
            let wait = match self.try_take(most) {
                Ok(taken) => return taken,
                Err(wait) => wait,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Lets out at least one and at most `most` requests now, so that no second gets more than this process's share of what the
    /// provider takes: tokens are taken before a claim, and claims that took long return together. Waits until there is room.
    pub async fn let_out(&self, most: u32) -> u32 {
        loop {
            let wait = match self.try_let_out(most, Instant::now()) {
                Ok(out) => return out,
                Err(wait) => wait,
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn try_let_out(&self, most: u32, at: Instant) -> Result<u32, Duration> {
        let mut now = self.lock();
        while now.out.front().is_some_and(|(since, _)| at.duration_since(*since) >= SECOND) {
            now.out.pop_front();
        }
        let share = ((now.allowed / f64::from(now.live)) as u32).max(1);
        let used: u32 = now.out.iter().map(|(_, count)| count).sum();
        match (share.saturating_sub(used).min(most), now.out.front()) {
            (0, Some((first, _))) => Err(SECOND.saturating_sub(at.duration_since(*first))),
            (room, _) => {
                now.out.push_back((at, room));
                Ok(room)
            }
        }
    }

    /// Puts back tokens that were not needed: they serve the next claim, if it comes soon. Whoever waits has the limiter's new
    /// tokens instead, not both.
    pub fn put_back(&self, tokens: u32) {
        self.lock().spare = (tokens, Instant::now());
    }

    /// The provider said that this sender is too fast; `wait` is its own word on how long, if it gave one.
    pub fn back_off(&self, backing: Backing, wait: Option<Duration>) {
        let at = Instant::now();
        let mut now = self.lock();
        if now.paused_until.is_some_and(|until| until > at) {
            return; // the other requests of the same burst say the same
        }
        now.pause = (now.pause * 2).clamp(backing.pause, backing.pause_cap.max(backing.pause));
        now.paused_until =
            Some(at + wait.unwrap_or(now.pause).max(now.pause).min(backing.pause_cap.max(backing.pause)));
        now.factor = (now.factor / 2.0).max(0.05);
        now.recovers_at = now.paused_until.map(|until| until + backing.step);
        now.spare = (0, at);
        Self::rebuild(&mut now);
    }

    /// An answer proved nothing. After [`TROUBLE`] in a row one message goes at a time, each after a longer pause, until [`Self::answered`].
    /// Says whether that begins now.
    pub fn unclear(&self, backing: Backing) -> bool {
        let unclear = {
            let mut now = self.lock();
            now.unclear = now.unclear.saturating_add(1);
            if std::mem::take(&mut now.on_trial) {
                now.paused_until = None;
            }
            now.unclear
        };
        if unclear >= TROUBLE {
            self.back_off(backing, None);
        }
        unclear == TROUBLE
    }

    /// The provider said clearly what it did with a message. Says whether it had been in trouble.
    pub fn answered(&self) -> bool {
        let mut now = self.lock();
        let was_in_trouble = now.unclear >= TROUBLE;
        (now.unclear, now.on_trial) = (0, false);
        if was_in_trouble {
            now.paused_until = None;
        }
        was_in_trouble
    }

    /// Recovers by one step if one is due. To be called now and then.
    pub fn recover(&self, backing: Backing) {
        let at = Instant::now();
        let mut now = self.lock();
        if now.recovers_at.is_some_and(|due| due <= at) {
            now.factor = (now.factor + 0.1).min(1.0);
            now.recovers_at = (now.factor < 1.0).then(|| at + backing.step);
            if now.recovers_at.is_none() {
                now.pause = Duration::ZERO;
            }
            Self::rebuild(&mut now);
        }
    }

    fn try_take(&self, most: u32) -> Result<u32, Duration> {
        let mut now = self.lock();
        let at = Instant::now();
        if let Some(until) = now.paused_until {
            if until > at {
                return Err(until - at);
            }
            now.paused_until = None;
        }
        let new = at.duration_since(now.spare.1).as_secs_f64() * now.full * now.factor / f64::from(now.live);
        let mut taken = now.spare.0.saturating_sub(new.round() as u32).min(most);
        now.spare = (0, at);
        if now.unclear >= TROUBLE {
            // Nobody else goes before it is known what came of this one, or for as long as its answer may take.
            (now.on_trial, now.paused_until) = (true, Some(at + now.pause));
            return Ok(1);
        }
        while taken < most {
            match now.limiter.check_n(CELLS) {
                Ok(Ok(())) => taken += 1,
                Ok(Err(_)) | Err(_) if taken > 0 => break,
                Ok(Err(not_until)) => return Err(not_until.wait_time_from(DefaultClock::default().now())),
                // A limiter always has room for one message.
                Err(_) => return Err(Duration::from_secs(1)),
            }
        }
        Ok(taken.max(1))
    }

    fn rebuild(now: &mut Now) {
        let share = now.factor / f64::from(now.live);
        now.limiter = limiter(now.full * share, now.allowed * share);
        // A new limiter starts with its burst; that must not add up over changes.
        while now.limiter.check().is_ok() {}
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts of a message that the limiter counts, so that a burst need not be a whole number.
const CELLS: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);

/// `allowed` is this process's part of what the provider takes in a second, `per_second` what it may use of that. Whoever was late
/// may catch up as long as no second gets more than `allowed` whole messages; a quarter is left for what bunches on the way.
fn limiter(per_second: f64, allowed: f64) -> Limiter {
    let cells = f64::from(CELLS.get());
    let period = Duration::from_secs_f64(1.0 / (per_second * cells).max(0.001)).max(Duration::from_nanos(1));
    let late = (allowed.floor() - per_second).max(0.0) * 0.75;
    let burst = CELLS.saturating_add((late * cells) as u32);
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
    RateLimiter::direct(quota)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_not_needed_serves_the_next_claim_and_is_no_second_one_later() {
        let rate = SenderRate::new(1, 0.0);
        assert_eq!(rate.try_take(5), Ok(1));
        assert!(rate.try_take(5).is_err());
        rate.put_back(1);
        rate.lock().spare.1 += Duration::from_secs(1);
        assert_eq!(rate.try_take(5), Ok(1), "put back just now");
        rate.put_back(1);
        rate.lock().spare.1 -= Duration::from_secs(2);
        assert!(rate.try_take(5).is_err(), "the limiter has had the time to make a new one");
    }

    #[test]
    fn a_provider_in_trouble_gets_one_message_at_a_time_until_it_answers() {
        let second = Duration::from_secs(1);
        let backing = Backing { pause: second, pause_cap: 60 * second, step: second };
        let rate = SenderRate::new(1_000, 0.0);
        assert!((1..TROUBLE).all(|_| !rate.unclear(backing)));
        assert!(rate.try_take(50).is_ok(), "that can happen");
        assert!(rate.unclear(backing) && !rate.unclear(backing));
        assert!(rate.try_take(50).is_err(), "a pause");
        rate.lock().paused_until = None;
        assert_eq!(rate.try_take(50), Ok(1));
        assert!(rate.try_take(50).is_err_and(|wait| wait > second / 2), "what comes of that one is waited for");
        assert!(!rate.unclear(backing) && rate.try_take(50).is_err_and(|wait| wait > second), "a longer pause");
        rate.lock().paused_until = None;
        assert_eq!(rate.try_take(50), Ok(1));
        assert!(rate.answered() && !rate.answered());
        assert!(rate.try_take(50).err().is_none_or(|wait| wait < second / 10), "at the pace to which it fell");
    }

    #[test]
    fn the_providers_word_lowers_what_is_set_and_never_raises_it() {
        let rate = SenderRate::new(250, 0.0);
        rate.cap(Some(80));
        assert_eq!(rate.current(), 80.0);
        rate.cap(Some(1_000));
        assert_eq!((rate.current(), rate.full()), (250.0, 250.0));
        rate.share(2);
        rate.cap(Some(80));
        assert_eq!((rate.current(), rate.full()), (40.0, 80.0));
        rate.cap(None);
        assert_eq!(rate.current(), 125.0);
    }

    #[test]
    fn claims_that_return_together_are_let_out_within_the_second() {
        let (rate, begin) = (SenderRate::new(50, 0.05), Instant::now());
        rate.share(3);
        let at = |ms: u64| begin + Duration::from_millis(ms);
        assert_eq!(rate.try_let_out(10, at(0)), Ok(10));
        assert_eq!(rate.try_let_out(10, at(100)), Ok(6), "16 of a third of 50");
        assert_eq!(rate.try_let_out(10, at(200)), Err(Duration::from_millis(830)));
        assert_eq!(rate.try_let_out(20, at(1_030)), Ok(10), "the first ones are a second ago");
        assert_eq!(rate.try_let_out(10, at(1_130)), Ok(6));
        rate.share(4);
        assert!(rate.try_let_out(1, at(1_131)).is_err(), "what went out counts also after the share became smaller");
        rate.share(1);
        assert_eq!(rate.try_let_out(50, at(1_132)), Ok(34));
    }

    #[test]
    fn a_burst_is_never_less_than_one_message_nor_more_than_the_headroom() {
        let burst = |rate: &SenderRate| rate.try_take(1_000).unwrap();
        assert_eq!(burst(&SenderRate::new(80, 0.0)), 1);
        assert_eq!(burst(&SenderRate::new(80, 0.05)), 4);
        assert!((38..=40).contains(&burst(&SenderRate::new(1_000, 0.05))), "and what has come meanwhile");
    }
}
