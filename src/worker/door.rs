//! Says that this process takes webhooks in, and whether it had to turn one away: who judges a silence has to know.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::Flag;
use crate::{db::doors, lifecycle::Lifecycle};

/// The door of this process, as the others see it.
pub struct Door {
    pub worker: Uuid,
    pub pool: PgPool,
    /// How often to say that it is open, and when one that was silent counts as vanished.
    pub every: Duration,
    pub gone_after: Duration,
    /// Up if a genuine webhook could not be kept.
    pub turned_away: Flag,
}

impl Door {
    /// Says so until the soft token.
    ///
    /// # Errors
    /// Never by itself: whoever cannot say so counts as vanished, which is what an outage is.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            let turned_away = self.turned_away.take();
            if let Err(error) = doors::beat(&self.pool, self.worker, self.gone_after, turned_away).await {
                self.turned_away.set(true);
                tracing::warn!(%error, "door.silent: doubts wait longer for evidence");
            }
            life.rest(self.every).await;
        }
        if let Err(error) = doors::close(&self.pool, self.worker).await {
            tracing::debug!(%error, "door.not_closed");
        }
        Ok(())
    }
}
