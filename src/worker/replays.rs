//! Rejected events that an operator wants run again: read once more, as if they came now.

use std::time::Duration;

use sqlx::PgPool;

use super::intake::{Arrived, Intake};
use crate::{
    db::{self, inbox, rejected},
    lifecycle::Lifecycle,
};

/// Runs again what is wanted.
pub struct Replays {
    pub pool: PgPool,
    /// Reads as the queue's does; its broker is never spoken to.
    pub intake: Intake,
    pub every: Duration,
}

/// So many at once.
const BATCH: i64 = 50;

impl Replays {
    /// Steps until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "replays.interrupted: tried again when it is wanted again");
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
        for id in rejected::take_wanted(&self.pool, BATCH).await? {
            let kept = inbox::rejected(&self.pool, Some(id), None, uuid::Uuid::nil(), 1).await?;
            for one in kept.into_iter().filter(|one| one.whole) {
                let tally = self.intake.handle(vec![Arrived::again(one)]).await?;
                if tally.rejected == 0 {
                    let came_to = match (tally.accepted, tally.ignored) {
                        (1.., _) => "accepted",
                        (_, 1..) => "ignored",
                        _ => "known",
                    };
                    inbox::mark_replayed(&self.pool, id, came_to).await?;
                }
            }
        }
        Ok(())
    }
}
