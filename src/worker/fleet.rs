//! The processes among themselves: who lives, so that a sender's rate is divided; and whether the database is the one we left.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgPool;
use uuid::Uuid;

use super::{Flag, dispatch::Dispatcher, purse::Purse};
use crate::{
    clock::Clock,
    db::{
        self, costs,
        health::{self, Known},
        lanes, senders,
    },
    domain::money::Money,
    lifecycle::Lifecycle,
    telemetry,
};

/// Senders that share the people whom they may write to in 24 hours.
#[derive(Debug)]
pub struct Portfolio {
    pub name: String,
    pub senders: Vec<i16>,
    /// As it is set; the provider may allow less.
    pub limit: Option<u32>,
    /// The share of the limit that is used, from 0 to 1: it is counted now and then.
    pub share: f64,
    /// Up if the day's recipients are used up.
    pub full: Flag,
    /// When to count again.
    count_at: Mutex<Option<Instant>>,
}

impl Portfolio {
    #[must_use]
    pub fn new(name: String, limit: Option<u32>, share: f64) -> Portfolio {
        let (senders, full, count_at) = (Vec::new(), Flag::default(), Mutex::default());
        Portfolio { name, senders, limit, share, full, count_at }
    }

    /// How many people count as the limit, the share already taken off: the least that is set or that the provider says of one of the
    /// senders. None if nobody says so.
    fn limit(&self, known: &[Known]) -> Option<i64> {
        let tiers =
            known.iter().filter(|known| self.senders.contains(&known.id)).map(|known| known.health.people_a_day());
        let least = tiers.flatten().chain(self.limit).min()?;
        Some((f64::from(least) * self.share) as i64)
    }
}

/// How long until so many more people can have been written to at this rate; looked at once a minute all the same, and often when
/// it is full.
fn until_full(left: i64, per_second: f64) -> Duration {
    if left <= 0 || per_second <= 0.0 {
        return Duration::ZERO;
    }
    Duration::from_secs_f64((left as f64 / per_second).min(60.0))
}

/// What one sender may spend before what is not urgent waits. Both limits in the same currency.
#[derive(Debug, Clone)]
pub struct Budget {
    pub sender: i16,
    pub name: String,
    pub daily: Option<Money>,
    pub monthly: Option<Money>,
    pub purse: Purse,
}

/// How often to say that we live, and when somebody silent counts as gone.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub every: Duration,
    pub gone_after: Duration,
}

/// So many notifications are woken by one statement.
const BATCH: i64 = 1_000;

/// This process among the others.
pub struct Fleet {
    pub worker: Uuid,
    pub pool: PgPool,
    pub clock: Clock,
    pub rules: Rules,
    pub dispatchers: Vec<Arc<Dispatcher>>,
    pub portfolios: Vec<Portfolio>,
    pub budgets: Vec<Budget>,
}

impl Fleet {
    /// Joins: says that we are here, and waits until the others have counted us and so made room before anything is sent.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn join(&self) -> Result<(), db::Error> {
        self.step().await?;
        let since = senders::beats_at(&self.pool).await?;
        // Those that do not say so again are gone sooner or later, so this ends.
        while !senders::others_beat_since(&self.pool, self.worker, since, self.rules.gone_after).await? {
            tokio::time::sleep(self.rules.every / 4).await;
            self.live().await?;
        }
        self.step().await
    }

    /// Keeps saying that we live.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "fleet.silent: others will take our share if this lasts");
            }
            life.rest(self.rules.every).await;
        }
        if let Err(error) = senders::leave(&self.pool, self.worker).await {
            tracing::debug!(%error, "fleet.not_left");
        }
        Ok(())
    }

    /// One heartbeat.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn step(&self) -> Result<(), db::Error> {
        let live = self.live().await?;
        for dispatcher in &self.dispatchers {
            dispatcher.rate.share(u32::try_from(live).unwrap_or(u32::MAX));
            dispatcher.rate.recover(dispatcher.rules.backing);
            telemetry::tell_sender_rate(&dispatcher.name, dispatcher.rate.current());
            telemetry::tell_in_flight(&dispatcher.name, u32::try_from(dispatcher.in_flight()).unwrap_or(u32::MAX));
        }
        let known = health::all(&self.pool).await?;
        for dispatcher in &self.dispatchers {
            let said = known.iter().find(|known| known.id == dispatcher.sender);
            dispatcher.rate.cap(said.and_then(|known| known.health.per_second()));
        }
        for (sender, left) in senders::throttled(&self.pool).await? {
            if let Some(dispatcher) = self.dispatchers.iter().find(|dispatcher| dispatcher.sender == sender) {
                dispatcher.rate.back_off(dispatcher.rules.backing, Some(left));
            }
        }
        if senders::check_timeline(&self.pool).await? {
            tracing::error!(
                "hold.placed: the database was restored to an earlier point; nothing is sent until `recado release everything --because TEXT`"
            );
        }
        for portfolio in &self.portfolios {
            self.count(portfolio, &known).await?;
        }
        for budget in &self.budgets {
            self.count_spent(budget, live).await?;
        }
        Ok(())
    }

    /// Looks at what the fleet has spent, and gives this process its share of what is left.
    async fn count_spent(&self, budget: &Budget, live: i64) -> Result<(), db::Error> {
        let Some(currency) = budget.daily.or(budget.monthly).map(|money| money.currency) else { return Ok(()) };
        let look = budget.purse.look();
        let spent = costs::spent(&self.pool, budget.sender, currency).await?;
        let of_month = (budget.monthly, "month", spent.this_month, spent.next_month);
        let (mut left, mut closed) = (i64::MAX, None);
        // The month last: if both are used up, it is what everything waits for.
        for (limit, period, used, until) in [(budget.daily, "day", spent.today, spent.tomorrow), of_month] {
            let Some(limit) = limit else { continue };
            telemetry::tell_budget(&budget.name, period, currency.as_str(), used, limit.micros);
            left = left.min(limit.micros.saturating_sub(used));
            if used >= limit.micros {
                closed = Some((period, limit, until));
            }
        }
        if let Some((period, limit, until)) = closed {
            if budget.purse.close(until) {
                tracing::warn!(sender = %budget.name, period, %limit, %until, "budget.spent: what is not urgent waits");
            }
        } else if budget.purse.fill(look, left / live.max(1) - look.open) {
            let mut woken = 0;
            loop {
                let some = lanes::wake_budget(&self.pool, budget.sender, BATCH).await?;
                woken += some;
                if some < BATCH.unsigned_abs() {
                    break;
                }
            }
            if woken > 0 {
                tracing::info!(sender = %budget.name, woken, "budget.free: what has waited goes on");
            }
        }
        Ok(())
    }

    /// Counts the day's recipients, unless the limit cannot have been reached since the last time.
    async fn count(&self, portfolio: &Portfolio, known: &[Known]) -> Result<(), db::Error> {
        let Some(limit) = portfolio.limit(known) else {
            portfolio.full.set(false);
            return Ok(());
        };
        let now = self.clock.instant();
        let due = *portfolio.count_at.lock().unwrap_or_else(PoisonError::into_inner);
        if due.is_some_and(|due| due > now) {
            return Ok(());
        }
        let used = senders::recipients_of_the_day(&self.pool, &portfolio.senders).await?;
        portfolio.full.set(used >= limit);
        telemetry::tell_daily_recipients(&portfolio.name, u32::try_from(used).unwrap_or(u32::MAX));
        telemetry::tell_daily_limit(&portfolio.name, u32::try_from(limit).unwrap_or(u32::MAX));
        let of_it = self.dispatchers.iter().filter(|dispatcher| portfolio.senders.contains(&dispatcher.sender));
        let rate = of_it.map(|dispatcher| dispatcher.rate.full()).sum();
        *portfolio.count_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + until_full(limit - used, rate));
        Ok(())
    }

    async fn live(&self) -> Result<i64, db::Error> {
        senders::beat(&self.pool, self.worker, !self.dispatchers.is_empty(), self.rules.gone_after).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::health::Health;

    fn known(id: i16, tier: &str) -> Known {
        Known {
            id,
            sender: id.to_string(),
            health: Health { tier: Some(tier.to_owned()), ..Health::default() },
            asked_at: None,
            answered_at: None,
            trouble: None,
            throttled_until: None,
            held: Vec::new(),
            due: false,
        }
    }

    #[test]
    fn the_least_of_what_is_set_and_what_the_provider_says_is_the_limit() {
        let shop = |limit| Portfolio { senders: vec![1, 2], ..Portfolio::new("shop".to_owned(), limit, 0.5) };
        let tiers = [known(1, "TIER_10K"), known(2, "TIER_2K"), known(3, "TIER_250")];
        assert_eq!(shop(None).limit(&tiers), Some(1_000));
        assert_eq!(shop(Some(500)).limit(&tiers), Some(250));
        assert_eq!(shop(Some(5_000)).limit(&tiers), Some(1_000));
        assert_eq!(shop(Some(500)).limit(&[]), Some(250));
        assert_eq!(shop(None).limit(&[known(1, "TIER_UNLIMITED")]), None);
    }

    #[test]
    fn nobody_counts_before_the_limit_can_be_reached() {
        assert_eq!(until_full(800, 80.0), Duration::from_secs(10));
        assert_eq!(until_full(100_000, 80.0), Duration::from_secs(60));
        assert_eq!(until_full(0, 80.0), Duration::ZERO);
        assert_eq!(until_full(10, 0.0), Duration::ZERO);
    }
}
