//! How the process stands and ends: roles under one roof, two tokens, one exit.
//!
//! - *soft*: stop claiming, finish what is in flight. Given by the first SIGTERM or SIGINT, by a role that ended or panicked, or by
//!   [`Lifecycle::stop`].
//! - *hard*: leave everything; the leases will be found. Given by the second signal, or when the grace is over.
//!
//! A role is expected to run until the soft token; one that ends earlier takes the process down with a failing code.

pub mod crash;

use std::{future::Future, panic::AssertUnwindSafe, process::ExitCode, time::Duration};

use futures_util::FutureExt;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A cheap handle on the process's life.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    roles: TaskTracker,
    ends: mpsc::UnboundedSender<End>,
}

/// The one who waits for the end. Not cloned.
#[derive(Debug)]
pub struct Vigil {
    lifecycle: Lifecycle,
    ends: mpsc::UnboundedReceiver<End>,
    grace: Duration,
}

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Everything in flight was finished.
    Clean,
    /// The grace was over, or somebody was impatient, with something still in flight.
    Cut,
    /// This role failed.
    Failed { role: &'static str, why: String },
}

impl Ending {
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Ending::Clean => ExitCode::SUCCESS,
            Ending::Cut | Ending::Failed { .. } => ExitCode::FAILURE,
        }
    }
}

#[derive(Debug)]
struct End {
    role: &'static str,
    why: String,
}

impl Lifecycle {
    /// A life that listens to nobody yet. `grace` is how long the roles have after the soft token.
    #[must_use]
    pub fn begin(grace: Duration) -> (Lifecycle, Vigil) {
        let (ends, heard) = mpsc::unbounded_channel();
        let lifecycle = Lifecycle {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            roles: TaskTracker::new(),
            ends,
        };
        (lifecycle.clone(), Vigil { lifecycle, ends: heard, grace })
    }

    /// Cancelled when no new work may begin.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Sleeps for that long, or until the soft token.
    pub async fn rest(&self, most: Duration) {
        tokio::select! {
            () = tokio::time::sleep(most) => {}
            () = self.soft.cancelled() => {}
        }
    }

    /// Cancelled when nothing may be waited for any more.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Gives the soft token when the standard input ends, as it does when a parent that holds the other end is gone. Waits in a thread of
    /// its own, since nothing else can be made to wait for the standard input without holding up the end.
    pub fn heed_input(&self) {
        let life = self.clone();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            life.stop();
        });
    }

    /// Runs `future` as the role `name`. It is dropped at the hard token.
    pub fn role<E: std::fmt::Display>(
        &self,
        name: &'static str,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let life = self.clone();
        self.roles.spawn(async move {
            let running = AssertUnwindSafe(future).catch_unwind();
            let why = tokio::select! {
                biased;
                () = life.hard.cancelled() => return,
                ended = running => match ended {
                    Ok(Ok(())) if life.soft.is_cancelled() => return,
                    Ok(Ok(())) => "ended by itself".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    // What a panic says may hold anything; the panic hook has told the place.
                    Err(_) => "panicked".to_owned(),
                },
            };
            // Nobody listens any more only if the process is ending already.
            let _ = life.ends.send(End { role: name, why });
            life.soft.cancel();
        });
    }

    /// Runs something that belongs to a role and that the end waits for, such as a request on the wire.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.roles.spawn(future)
    }

    /// Asks everybody to finish, as the first signal does.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Lets SIGTERM and SIGINT end this life: the first softly, the second hard.
    ///
    /// # Errors
    /// If the system does not allow to listen to signals.
    pub fn heed_signals(&self) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let life = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    else => return,
                };
                life.signal(name);
            }
        });
        Ok(())
    }

    fn signal(&self, name: &str) {
        if self.soft.is_cancelled() {
            tracing::warn!(signal = name, "ending at once");
            self.hard.cancel();
        } else {
            tracing::info!(signal = name, "stopping; what is in flight is finished first");
            self.soft.cancel();
        }
    }
}

impl Vigil {
    /// Waits until everybody has ended, and says how. The first role that failed is the one that counts.
    pub async fn watch(mut self) -> Ending {
        let life = &self.lifecycle;
        life.soft.cancelled().await;
        life.roles.close();
        let finished = tokio::select! {
            biased;
            () = life.hard.cancelled() => false,
            () = life.roles.wait() => true,
            () = tokio::time::sleep(self.grace) => {
                tracing::warn!(left = life.roles.len(), "the grace is over; leaving the rest to its leases");
                false
            }
        };
        life.hard.cancel();
        if let Ok(End { role, why }) = self.ends.try_recv() {
            tracing::error!(role, why, "this role failed");
            return Ending::Failed { role, why };
        }
        if finished { Ending::Clean } else { Ending::Cut }
    }
}

#[cfg(test)]
mod tests;
