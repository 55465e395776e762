//! Runs what operators planned, one plan after another, a piece at a time; and reckons what was left unreckoned. What is to be tried
//! again only becomes due: it passes the usual pace. Every process with upkeep may do it; whoever has a plan's row in hand is passed over, and a lease keeps rejected events from
//! being run by two.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::{Nudge, Progress};
use crate::{
    clock::Clock,
    db::{
        self,
        outbox::hold_lease,
        plans::{self, Acted},
    },
    domain::action::{Failure, Kind, Skip},
    inbox::Inbox,
    lifecycle::Lifecycle,
};

const LEASE: &str = "plans";
const LEASE_LASTS: Duration = Duration::from_secs(10);
/// How often to look whether there is something to run.
const POLL: Duration = Duration::from_millis(500);
/// How often to remove what is too old.
const TIDY: Duration = Duration::from_secs(3_600);
/// So many rejected events are run before the lease is asked for again.
const EVENTS: usize = 20;
/// The most that is removed at once.
const TIDY_BATCH: i64 = 1_000;

/// Runs plans.
pub struct Runner {
    pub worker: Uuid,
    pub pool: PgPool,
    /// Through which rejected events are run again.
    pub inbox: Inbox,
    /// By which plans are reckoned whose maker did not.
    pub means: plans::Means,
    pub clock: Clock,
    /// Wakes who sends.
    pub dispatch: Nudge,
    /// How long plans are kept.
    pub keep: Duration,
}

impl Runner {
    /// Steps until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let mut tidy_at = self.clock.instant();
        while !life.soft().is_cancelled() {
            let began = self.clock.instant();
            let progress = self.step().await;
            // As long as a piece took, so that sending has the database at least half of the time.
            let took = self.clock.instant().saturating_duration_since(began);
            let rest = match progress {
                Ok(Progress::Made) => took,
                Ok(Progress::Idle) => POLL,
                Err(error) => {
                    tracing::warn!(%error, "plans.interrupted: tried again");
                    POLL
                }
            };
            if tidy_at <= began {
                tidy_at = began + TIDY;
                if let Err(error) = plans::forget(&self.pool, self.keep, TIDY_BATCH).await {
                    tracing::warn!(%error, "plans.untidy: tried again");
                }
            }
            life.rest(rest).await;
        }
        Ok(())
    }

    /// Reckons a plan that was left, or does one piece of the one that is first.
    ///
    /// # Errors
    /// If the database cannot be asked; the piece is as it was then.
    pub async fn step(&self) -> Result<Progress, db::Error> {
        if let Some(id) = plans::unreckoned(&self.pool).await?
            && plans::reckon(&self.pool, id, &self.means).await?
        {
            return Ok(Progress::Made);
        }
        let Some((id, action)) = plans::next(&self.pool).await? else { return Ok(Progress::Idle) };
        let acted = match action.kind() {
            Kind::Notifications => plans::act(&self.pool, id).await,
            Kind::Sending => plans::switch(&self.pool, id).await,
            Kind::RejectedEvents => self.replay(id).await,
        };
        let acted = match acted {
            Err(error @ (db::Error::Data { .. } | db::Error::Inconsistent { .. })) => {
                tracing::error!(plan = id, action = action.as_str(), %error, "plan.failed");
                plans::fail(&self.pool, id, Failure::Other(error.to_string())).await?;
                return Ok(Progress::Made);
            }
            other => other?,
        };
        match acted {
            Acted::Piece { done } => {
                if done > 0 {
                    self.dispatch.wake();
                }
                Ok(Progress::Made)
            }
            Acted::Over { done } => {
                tracing::info!(plan = id, action = action.as_str(), done, "plan.ended");
                self.dispatch.wake();
                Ok(Progress::Made)
            }
            Acted::Busy | Acted::NotRunning => Ok(Progress::Idle),
        }
    }

    async fn replay(&self, id: i64) -> Result<Acted, db::Error> {
        if !hold_lease(&self.pool, LEASE, self.worker, LEASE_LASTS).await? {
            return Ok(Acted::Busy);
        }
        let Some(awaiting) = plans::awaiting(&self.pool, id, EVENTS).await? else { return Ok(Acted::NotRunning) };
        if awaiting.is_empty() {
            return Ok(Acted::Over { done: 0 });
        }
        let mut done = 0;
        for one in awaiting {
            let came_to = match one.event {
                Err(skip) => Err(skip),
                Ok(kept) => {
                    let taken = self.inbox.take(vec![(*kept).into()]).await?;
                    taken.first().and_then(|one| one.became.came_to()).ok_or(Skip::RejectedAgain)
                }
            };
            done += u64::from(came_to.is_ok());
            if !plans::replayed(&self.pool, id, one.id, came_to).await? {
                break;
            }
        }
        Ok(Acted::Piece { done })
    }
}
