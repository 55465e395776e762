//! From a shop's outbox table into the inbox: a row is deleted when its event is committed here, not before.
//!
//! Whoever dies in between leaves the row, and its event comes again: it is known then. As many processes as you like may drain the same
//! table: each takes the first rows first, so none gets ahead of another, and what two of them take counts once.

use std::time::Duration;

use sqlx::PgPool;

use super::{Nudge, Progress};
use crate::{
    db::{self, shop},
    inbox::{Arrived, Inbox, Origin, Taken},
    lifecycle::{Lifecycle, crash},
};

/// What the exchange of an event is called that came from an outbox table.
const EXCHANGE: &str = "outbox";

/// Empties one shop's outbox.
pub struct Drain {
    /// The shop's database.
    pub shop: PgPool,
    pub inbox: Inbox,
    pub batch: i64,
    pub poll: Duration,
    pub nudge: Nudge,
}

/// Which of the two databases does not do its part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Shop(db::Error),
    #[error(transparent)]
    Inbox(db::Error),
}

impl Drain {
    /// Steps until the soft token.
    ///
    /// # Errors
    /// Never by itself: what cannot be done now is tried again.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let mut in_trouble = false;
        while !life.soft().is_cancelled() {
            match self.step().await {
                Ok(taken) => {
                    if in_trouble {
                        tracing::info!("drain.resumed");
                    }
                    in_trouble = false;
                    if Drain::progress(&taken) == Progress::Made {
                        continue;
                    }
                }
                Err(error) => {
                    // Once, until it is over: a shop whose database is away for a night fills no log.
                    if !in_trouble {
                        tracing::warn!(%error, "drain.interrupted: what is in the shop's outbox stays there; tried again and again");
                    }
                    in_trouble = true;
                }
            }
            life.rest(self.poll).await;
        }
        Ok(())
    }

    /// Takes one batch; says what became of it.
    ///
    /// # Errors
    /// If one of the two databases does not do its part; the rows are still there then.
    pub async fn step(&self) -> Result<Vec<Taken>, Error> {
        // Longer ones are rejected as too large anyway, and need not be held in memory whole.
        let most = i32::try_from(self.inbox.max_event_bytes.saturating_add(1)).unwrap_or(i32::MAX);
        let written = shop::waiting(&self.shop, self.batch, most).await.map_err(Error::Shop)?;
        if written.is_empty() {
            return Ok(Vec::new());
        }
        let positions: Vec<i64> = written.iter().map(|one| one.position).collect();
        let origin = || Origin {
            exchange: EXCHANGE.to_owned(),
            content_type: Some("application/cloudevents+json".to_owned()),
            ..Origin::default()
        };
        let arrived =
            written.into_iter().map(|one| Arrived { origin: origin(), body: one.event.into_bytes(), dead: None });
        let taken = self.inbox.take(arrived.collect()).await.map_err(Error::Inbox)?;
        crash::point("drained");
        shop::remove(&self.shop, &positions).await.map_err(Error::Shop)?;
        self.nudge.wake();
        Ok(taken)
    }

    /// Whether there may be more to take at once.
    #[must_use]
    pub fn progress(taken: &[Taken]) -> Progress {
        if taken.is_empty() { Progress::Idle } else { Progress::Made }
    }
}
