//! What nobody else does: leases that ran out, waits that are over, doubts that have to end, lanes that a crash left asleep,
//! partitions, figures. Every process does it all; each statement takes only what no other has in hand.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Nudge, settling};
use crate::{
    clock::Clock,
    db::{
        self, costs,
        dispatch::Pace,
        doubt, holds, idempotency, lanes,
        retention::{self, Keep, Removed},
        settle, tallies, upkeep,
    },
    domain::{
        cost::{Charge, Prices},
        doubt::{Patience, Verdict, judge},
        notification::{Behind, Failure, Outcome, Policy, Wait, after, reason},
        opt_in,
        rates::Category,
    },
    lifecycle::Lifecycle,
    telemetry,
};

/// How often, and by which rules.
#[derive(Debug, Clone)]
pub struct Rules {
    pub every: Duration,
    pub tidy_every: Duration,
    pub batch: i64,
    pub patience: Patience,
    /// The senders whose providers can be asked for lost messages; `doubt` does.
    pub listed: Vec<i16>,
    /// The senders whose providers send a template by the id of its content.
    pub by_content: Vec<i16>,
    /// A process that takes webhooks in has vanished if it was silent for this long.
    pub gone_after: Duration,
    pub retry: Policy,
    pub settling: settling::Rules,
    pub keep: Keep,
    /// By sender.
    pub prices: HashMap<i16, Prices>,
}

/// The upkeep of this process.
pub struct Upkeep {
    pub pool: PgPool,
    pub rules: Rules,
    pub clock: Clock,
    pub nudge: Nudge,
    mark: i64,
    /// Where the last look at doubts ended, if there are more.
    doubts_after: Option<(Timestamp, Uuid)>,
    slow_at: Option<Instant>,
    count_at: Option<Instant>,
    tidy_at: Option<Instant>,
}

/// So many steps apart is the slower half: what only a crash or an operator leaves behind, and the figures.
const SLOW: u32 = 5;
/// Upkeep rests so many times as long as a step took: while somebody's snapshot is open, its looks read all that went since then.
const SHARE: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(10);
/// And so many apart is the count of what there is.
const COUNT: u32 = 15;

/// What an unfinished notification may be besides waiting.
const UNFINISHED: [&str; 3] = ["due", "later", "sending"];

impl Upkeep {
    #[must_use]
    pub fn new(pool: PgPool, rules: Rules, clock: Clock, nudge: Nudge) -> Upkeep {
        // What came before this process began may be unread still.
        let mark = i64::MAX;
        Upkeep { pool, rules, clock, nudge, mark, doubts_after: None, slow_at: None, count_at: None, tidy_at: None }
    }

    /// Steps until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(mut self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            let began = self.clock.instant();
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "upkeep.interrupted: tried again");
            }
            let took = self.clock.instant().saturating_duration_since(began);
            life.rest(self.rules.every.max((took * SHARE).min(LONGEST_REST))).await;
        }
        Ok(())
    }

    /// One round.
    ///
    /// # Errors
    /// If the database cannot be asked; what was done stays done.
    pub async fn step(&mut self) -> Result<(), db::Error> {
        self.reap().await?;
        if lanes::wake_overdue(&self.pool, self.rules.batch).await? > 0 {
            self.nudge.wake();
        }
        self.settle_doubts().await?;
        let now = self.clock.instant();
        if self.slow_at.is_none_or(|due| due <= now) || self.clock.is_standing() {
            self.slow_at = Some(now + self.rules.every * SLOW);
            self.repair().await?;
            costs::fold(&self.pool).await?;
            tallies::fold(&self.pool).await?;
            self.tell().await?;
        }
        if self.count_at.is_none_or(|due| due <= now) {
            self.count_at = Some(now + self.rules.every * COUNT);
            self.count().await?;
        }
        if self.tidy_at.is_none_or(|due| due <= now) {
            self.tidy_at = Some(now + self.rules.tidy_every);
            if !upkeep::make_partitions(&self.pool).await? {
                tracing::info!("upkeep.partitions: not made yet, since somebody has the tables in hand");
            }
            self.look_after_consents().await?;
            let kept = jiff::SignedDuration::try_from(self.rules.keep.notifications).unwrap_or_default();
            if let Ok(before) = self.clock.now().checked_sub(kept) {
                tallies::tidy(&self.pool, before).await?;
            }
            if self.tidy().await?.more {
                self.tidy_at = Some(now);
            }
        }
        Ok(())
    }

    /// Removes some of what is too old; the rest at the next step, so that nothing else waits for it.
    async fn tidy(&self) -> Result<Removed, db::Error> {
        idempotency::forget(&self.pool, self.rules.batch).await?;
        let removed = retention::remove(&self.pool, &self.rules.keep, self.rules.batch).await?;
        if !removed.months.is_empty() {
            tracing::info!(months = ?removed.months, "upkeep.removed: notifications that are older than upkeep.keep_notifications");
        }
        Ok(removed)
    }

    /// What nobody confirmed is deleted, and the ledger gets its anchor of the day.
    async fn look_after_consents(&self) -> Result<(), db::Error> {
        let kept = jiff::SignedDuration::try_from(opt_in::KEPT).unwrap_or_default();
        let gone = match self.clock.now().checked_sub(kept) {
            Ok(before) => db::erasure::tidy_opt_ins(&self.pool, before).await?,
            Err(_) => 0,
        };
        if gone > 0 {
            tracing::info!(opt_ins = gone, "upkeep.removed: nobody confirmed them within a week");
        }
        for alike in db::merge::alike(&self.pool, self.rules.batch).await? {
            let merged = db::merge::merge(&self.pool, &alike, "wa_id", self.clock.now()).await?;
            tracing::info!(contact = merged, "contact.merged");
        }
        if let Some(anchor) = db::anchors::drop_next(&self.pool).await? {
            let hash: String = anchor.anchor.iter().map(|byte| format!("{byte:02x}")).collect();
            tracing::info!(entries = anchor.entries, upto = anchor.upto, anchor = hash, "consent.anchored");
        }
        Ok(())
    }

    /// A lease that ran out is an outcome like any other: unclear.
    async fn reap(&self) -> Result<(), db::Error> {
        let lapsed = settle::lapsed(&self.pool, self.rules.batch).await?;
        if lapsed.is_empty() {
            return Ok(());
        }
        let settlements: Vec<_> = lapsed
            .into_iter()
            .map(|lapsed| {
                let attempt = lapsed.attempt;
                let failure = Failure { reason: reason::LEASE_LOST, code: None, detail: None };
                let next = after(Outcome::Unclear(failure), Behind::default(), &self.rules.retry, 0.5);
                tracing::warn!(%attempt, "attempt.lapsed: no answer was recorded; in doubt");
                settle::Settlement { attempt, outcome: "unclear", next, charge: self.charge(&lapsed) }
            })
            .collect();
        let settled = settle::settle(&self.pool, &settlements).await?;
        settling::wake_lanes(&self.pool, &settled.wake, self.pace(), &self.nudge).await;
        Ok(())
    }

    /// What it would have been expected to cost if its process had come back: it may have gone.
    fn charge(&self, lapsed: &settle::Lapsed) -> Charge {
        let category = lapsed.category.as_deref().and_then(Category::named).unwrap_or(Category::Utility);
        let prices = self.rules.prices.get(&lapsed.sender).cloned().unwrap_or_else(|| Prices::none(""));
        prices.expect(&lapsed.template, lapsed.phone.as_deref().unwrap_or_default(), category, self.clock.now())
    }

    async fn settle_doubts(&mut self) -> Result<(), db::Error> {
        // Silence counts only if everything that had come by the last look is applied by now.
        let terms = doubt::Terms {
            mark: self.mark,
            later_attempts: i64::try_from(self.rules.patience.later_attempts).unwrap_or(i64::MAX),
            gone_after: self.rules.gone_after,
            listed: &self.rules.listed,
            limit: self.rules.batch,
            after: self.doubts_after,
        };
        let (cases, now) = doubt::cases(&self.pool, terms).await?;
        self.mark = doubt::last_webhook(&self.pool).await?;
        // The oldest may be those that nobody can settle for long: the next look goes on behind these, and then begins anew.
        let whole = i64::try_from(cases.len()).is_ok_and(|looked| looked >= self.rules.batch);
        self.doubts_after = cases.last().filter(|_| whole).map(|(attempt, case)| (case.since, attempt.notification));
        for (attempt, case) in cases {
            match judge(&case, &self.rules.patience, now) {
                Verdict::Wait => {}
                Verdict::Resend => {
                    if doubt::resend(&self.pool, attempt, "recado").await? {
                        tracing::warn!(%attempt, "doubt.resend: never heard of while later ones were; sent once more, marked");
                        self.nudge.wake();
                    }
                }
                Verdict::GiveUp => {
                    if doubt::give_up(&self.pool, attempt, "recado").await? {
                        tracing::warn!(%attempt, "doubt.gave_up: may have been received; not sent again");
                    }
                }
            }
        }
        Ok(())
    }

    async fn repair(&self) -> Result<(), db::Error> {
        let freed = lanes::free(&self.pool, self.rules.batch).await?;
        let adopted = lanes::adopt(&self.pool, self.rules.batch).await?;
        if freed > 0 || adopted > 0 {
            tracing::warn!(lanes = freed, notifications = adopted, "upkeep.repaired: of people who proved to be one");
            self.nudge.wake();
        }
        let forgotten = lanes::forgotten(&self.pool, self.rules.batch).await?;
        settling::wake_lanes(&self.pool, &forgotten, self.pace(), &self.nudge).await;
        for (sender, template) in holds::free_templates_with_queue(&self.pool, &self.rules.by_content).await? {
            if holds::wake_template(&self.pool, sender, &template).await? > 0 {
                self.nudge.wake();
            }
        }
        upkeep::expire_held(&self.pool, self.rules.batch).await?;
        for hold in holds::end_over(&self.pool).await? {
            tracing::info!(hold, "hold.released: its time is over");
        }
        Ok(())
    }

    async fn tell(&self) -> Result<(), db::Error> {
        for standing in upkeep::standings(&self.pool).await? {
            telemetry::tell_queue_age(&standing.sender, Duration::from_secs_f64(standing.queue_age_s.max(0.0)));
            telemetry::tell_in_doubt(&standing.sender, u32::try_from(standing.in_doubt).unwrap_or(u32::MAX));
        }
        telemetry::tell_outbox_lag(Duration::from_secs_f64(db::outbox::lag(&self.pool).await?.max(0.0)));
        Ok(())
    }

    async fn count(&self) -> Result<(), db::Error> {
        let amounts = upkeep::amounts(&self.pool).await?;
        let of = |counted: &[(String, i64)], name: &str| {
            let found = counted.iter().find(|(known, _)| known == name).map_or(0, |(_, n)| *n);
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        for state in UNFINISHED.into_iter().chain(Wait::ALL.map(Wait::as_str)) {
            telemetry::tell_backlog(state, of(&amounts.unfinished, state));
        }
        for on in ["everything", "sender", "template"] {
            telemetry::tell_holds(on, of(&amounts.holds, on));
        }
        telemetry::tell_rejected(u32::try_from(amounts.rejected).unwrap_or(u32::MAX));
        Ok(())
    }

    fn pace(&self) -> Pace {
        self.rules.settling.pace
    }
}
