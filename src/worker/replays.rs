//! Rejected events that an operator wants run again: read once more, as if they came now.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::Nudge;
use crate::{
    db::{self, rejected},
    inbox::Inbox,
    lifecycle::Lifecycle,
};

/// Runs again what is wanted.
#[derive(Debug)]
pub struct Replays {
    pub pool: PgPool,
    pub inbox: Inbox,
    pub every: Duration,
    /// Wakes whoever sends.
    pub nudge: Nudge,
}

/// So many at once.
const BATCH: i64 = 50;
/// Whoever has not done its batch by then has died.
const LEASE: Duration = Duration::from_secs(60);

impl Replays {
    /// Steps until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "replays.interrupted: what is not done is tried again");
            }
            life.rest(self.every).await;
        }
        Ok(())
    }

    /// One round.
    ///
    /// # Errors
    /// If the database cannot be asked; what was done stays done.
    pub async fn step(&self) -> Result<(), db::Error> {
        for id in rejected::take_wanted(&self.pool, BATCH, LEASE).await? {
            let mut kept = rejected::open(&self.pool, Some(id), None, Uuid::nil(), 1).await?;
            let Some(one) = kept.pop().filter(|one| one.whole) else { continue };
            let taken = self.inbox.take(vec![one.into()]).await?;
            match taken.first().and_then(|one| one.became.came_to()) {
                Some(came_to) => {
                    rejected::mark_replayed(&self.pool, id, came_to).await?;
                    self.nudge.wake();
                }
                // It was kept or counted once more; the next try is somebody's decision again.
                None => rejected::forget_wish(&self.pool, id).await?,
            }
        }
        Ok(())
    }
}
