//! What is told to others over HTTP as well goes through a log that everybody reads: here it is moved there.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::{
    LEASE,
    event::{self, Event},
    frontier::Turn,
};
use crate::{
    db::{
        self, callbacks,
        outbox::{self, Told},
    },
    lifecycle::Lifecycle,
    worker::{Nudge, Progress},
};

/// Moves what is to be told from the outbox into the log; idle while another process has the lease.
pub struct Keeper {
    pub worker: Uuid,
    pub pool: PgPool,
    pub batch: i64,
    pub poll: Duration,
    pub lease: Duration,
    /// Wakes whoever reads the log in this process.
    pub kept: Nudge,
}

impl Keeper {
    /// Moves until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let mut turn = Turn::default();
        while !life.soft().is_cancelled() {
            let pause = match self.step(&mut turn).await {
                Ok(Progress::Made) => continue,
                Ok(Progress::Idle) => self.poll,
                Err(error) => {
                    tracing::warn!(%error, "outbox.interrupted: what is untold waits");
                    // The database that comes back may be an older one.
                    turn = Turn::default();
                    Duration::from_secs(2)
                }
            };
            life.rest(pause).await;
        }
        Ok(())
    }

    /// Moves the next batch, if it is this process's turn.
    ///
    /// # Errors
    /// If the database cannot be asked; what was not moved is moved later.
    pub async fn step(&self, turn: &mut Turn) -> Result<Progress, db::Error> {
        if !turn.is_ours(&self.pool, (LEASE, self.worker, self.lease)).await? {
            return Ok(Progress::Idle);
        }
        let found = outbox::next(&self.pool, turn.frontier.upto(), self.batch).await?;
        let full = found.rows.len() as i64 == self.batch;
        let Some(last) = found.rows.last() else {
            turn.frontier.nothing_left(&found);
            return Ok(Progress::Idle);
        };
        let entries: Vec<_> = found.rows.iter().map(entry).collect();
        let Some(transaction) = callbacks::keep(&self.pool, self.worker, &entries).await? else {
            // Somebody else has the lease by now.
            *turn = Turn::default();
            return Ok(Progress::Idle);
        };
        turn.frontier.told(&found, full.then_some(last.id), transaction);
        self.kept.wake();
        Ok(if full { Progress::Made } else { Progress::Idle })
    }
}

fn entry(row: &Told) -> callbacks::Entry {
    let Event { id, kind, key, body } = event::of(row);
    callbacks::Entry { row: row.id, id, kind, key, reason: row.reason.clone(), body }
}
