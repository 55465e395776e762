//! What happens by itself: the loops. Each is `loop { step }`, and tests call the step.
//!
//! A loop takes no input but what Postgres holds; a [`Nudge`] wakes it early and tells it nothing.

pub mod bills;
pub mod broker;
pub mod callbacks;
pub mod dispatch;
pub mod door;
pub mod doubt;
pub mod drain;
pub mod exporter;
pub mod fleet;
pub mod health;
pub mod intake;
pub mod outbox;
pub mod plans;
pub mod purse;
pub mod rate;
pub mod receipts;
pub mod relay;
pub mod replays;
pub mod replies;
pub mod settling;
mod stops;
pub mod templates;
pub mod traces;
pub mod upkeep;
pub mod versions;
pub mod wire;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Wakes whoever sleeps on it. Carries nothing: what there is to do stands in Postgres.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    pub fn wake(&self) {
        self.0.notify_waiters();
    }

    /// Runs `step`; if that says that there was nothing to do, sleeps until a nudge (also one that came during the step), `most`
    /// or the soft token.
    pub async fn rest_if_idle<E>(
        &self,
        most: Duration,
        soft: &CancellationToken,
        step: impl Future<Output = Result<Progress, E>>,
    ) -> Result<Progress, E> {
        let woken = self.0.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let progress = step.await?;
        if progress == Progress::Idle {
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(most) => {}
                () = soft.cancelled() => {}
            }
        }
        Ok(progress)
    }
}

/// Whether a step found something to do, and so whether to take the next at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Made,
    Idle,
}

/// Something that is so or not, as one loop knows and others want to know. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, up: bool) {
        self.0.store(up, Ordering::Relaxed);
    }

    /// Takes it down, and says whether it was up.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A share of one, by the system's chance.
#[must_use]
pub fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}
