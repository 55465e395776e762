//! The processes among themselves: who lives, so that a sender's rate is divided; and whether the database is the one we left.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use uuid::Uuid;

use super::{Flag, dispatch::Dispatcher, purse::Purse};
use crate::{
    db::{self, costs, lanes, senders},
    domain::money::Money,
    lifecycle::Lifecycle,
    telemetry,
};

/// The people that a portfolio may write to in 24 hours, the share already taken off.
#[derive(Debug, Clone)]
pub struct Portfolio {
    pub name: String,
    pub senders: Vec<i16>,
    pub limit: i64,
    /// Up if the day's recipients are used up. Counted now and then, so the limit is kept a share below the provider's.
    pub full: Flag,
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
            tokio::select! {
                () = tokio::time::sleep(self.rules.every) => {}
                () = life.soft().cancelled() => {}
            }
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
        for (sender, left) in senders::throttled(&self.pool).await? {
            if let Some(dispatcher) = self.dispatchers.iter().find(|dispatcher| dispatcher.sender == sender) {
                dispatcher.rate.back_off(dispatcher.rules.backing, Some(left));
            }
        }
        if senders::check_timeline(&self.pool).await? {
            tracing::error!(
                "hold.placed: the database was restored to an earlier point; nothing is sent until `recado release everything`"
            );
        }
        for portfolio in &self.portfolios {
            let used = senders::recipients_of_the_day(&self.pool, &portfolio.senders).await?;
            portfolio.full.set(used >= portfolio.limit);
            telemetry::tell_daily_recipients(&portfolio.name, u32::try_from(used).unwrap_or(u32::MAX));
        }
        for budget in &self.budgets {
            self.count(budget, live).await?;
        }
        Ok(())
    }

    /// Looks at what the fleet has spent, and gives this process its share of what is left.
    async fn count(&self, budget: &Budget, live: i64) -> Result<(), db::Error> {
        let Some(currency) = budget.daily.or(budget.monthly).map(|money| money.currency) else { return Ok(()) };
        let open = budget.purse.open();
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
        } else if budget.purse.fill(left / live.max(1) - open) {
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

    async fn live(&self) -> Result<i64, db::Error> {
        senders::beat(&self.pool, self.worker, !self.dispatchers.is_empty(), self.rules.gone_after).await
    }
}
