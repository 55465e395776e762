//! Asks the providers how the senders stand, and heeds it: who may not send is held until it may again.
//!
//! One process asks, by lease, since the provider counts the questions. What it answers is kept in Postgres, where every
//! process finds it.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::{Nudge, wire::Wire};
use crate::{
    db::{
        self, health,
        holds::{self, Hold, Scope},
        outbox,
    },
    domain::health::{HOLDER, Health, REASONS, Standing},
    lifecycle::Lifecycle,
    provider::{
        meta::{self, Inquiry},
        unasked,
    },
    telemetry,
};

/// How often.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Each sender.
    pub every: Duration,
    /// How often to look whether one is due, since news of it make it so.
    pub poll: Duration,
    /// How long a process that died keeps others from asking.
    pub lease: Duration,
}

/// A sender whose provider can be asked.
#[derive(Debug)]
pub struct Watched {
    pub id: i16,
    pub name: String,
    pub inquiry: Inquiry,
}

/// The one who asks.
pub struct Watch {
    pub worker: Uuid,
    pub pool: PgPool,
    pub rules: Rules,
    pub watched: Vec<Watched>,
    pub wire: Wire,
    /// The dispatchers', woken when a sender may send again.
    pub dispatch: Nudge,
}

/// Meta answers 200 questions of an app about an account in an hour. Half of them are left to others: templates, operators.
const SHARE: Duration = Duration::from_secs(36);

impl Watch {
    /// Asks until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let ids: Vec<i16> = self.watched.iter().map(|sender| sender.id).collect();
        let mut begun = false;
        while !life.soft().is_cancelled() {
            let step = async {
                if !begun {
                    health::ask_all(&self.pool, &ids).await?;
                }
                self.step().await
            };
            match step.await {
                Ok(()) => begun = true,
                Err(error) => tracing::warn!(%error, "health.interrupted: tried again"),
            }
            life.rest(self.rules.poll).await;
        }
        Ok(())
    }

    /// Asks about those that are due, if nobody else does, and heeds what is known of all.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn step(&self) -> Result<(), db::Error> {
        if !outbox::hold_lease(&self.pool, HOLDER, self.worker, self.rules.lease).await? {
            return Ok(());
        }
        for known in health::all(&self.pool).await? {
            let Some(sender) = self.watched.iter().find(|sender| sender.id == known.id) else { continue };
            let is_held = known.held.iter().any(|reason| REASONS.contains(&reason.as_str()));
            // Heeded once an answer: an operator may release what the provider's word holds, until it is asked again.
            let health = match known.due {
                true => self.ask(sender, is_held).await?,
                false => known.health,
            };
            match health.standing() {
                Standing::Able => telemetry::tell_sender_able(&sender.name, true),
                Standing::Unable { .. } => telemetry::tell_sender_able(&sender.name, false),
                Standing::Unknown => {}
            }
        }
        Ok(())
    }

    async fn ask(&self, sender: &Watched, is_held: bool) -> Result<Health, db::Error> {
        let again = |held| pause(self.rules.every, held, self.watched.len());
        let answer = match self.wire.ask(sender.inquiry.number()).await {
            Ok(response) => meta::number(&response),
            Err(silence) => Err(unasked(silence)),
        };
        match answer {
            Ok(told) => {
                let health = told.health();
                let held = matches!(health.standing(), Standing::Unable { .. });
                health::answered(&self.pool, sender.id, &health, again(held)).await?;
                tracing::debug!(sender = %sender.name, status = health.status, can_send = health.can_send, "health.answered");
                self.heed(sender, &health, is_held).await?;
                Ok(health)
            }
            Err(failure) => {
                let trouble = failure.reason.as_str();
                tracing::warn!(sender = %sender.name, reason = trouble, code = failure.code, "health.unanswered");
                health::unanswered(&self.pool, sender.id, trouble, again(is_held)).await?;
                Ok(Health::default())
            }
        }
    }

    /// Places or releases what the sender's health asks for. Holds of others are none of its business.
    async fn heed(&self, sender: &Watched, health: &Health, is_held: bool) -> Result<(), db::Error> {
        let scope = Scope::Sender(sender.id);
        match health.standing() {
            Standing::Unknown => {}
            Standing::Able => {
                if is_held {
                    for reason in REASONS {
                        if holds::release(&self.pool, &scope, Some(reason), HOLDER).await? > 0 {
                            tracing::info!(sender = %sender.name, reason, "hold.released: the provider lets it send again");
                        }
                    }
                    self.dispatch.wake();
                }
            }
            Standing::Unable { reason, detail } => {
                let hold = Hold {
                    scope: scope.clone(),
                    reason: reason.to_owned(),
                    detail: Some(detail),
                    lasts: None,
                    by: HOLDER.to_owned(),
                };
                if holds::place(&self.pool, &hold).await? {
                    tracing::error!(sender = %sender.name, reason, "hold.placed");
                }
                // It may have stood in the way for another reason before.
                for other in REASONS.into_iter().filter(|other| *other != reason) {
                    holds::release(&self.pool, &scope, Some(other), HOLDER).await?;
                }
            }
        }
        Ok(())
    }
}

/// How long to wait before the next question about one of so many senders. One that cannot send is asked about more often.
fn pause(every: Duration, held: bool, senders: usize) -> Duration {
    let wanted = if held { every / 5 } else { every };
    wanted.max(SHARE * u32::try_from(senders).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_send_is_asked_about_more_often_and_all_together_within_the_providers_limit() {
        const MINUTE: Duration = Duration::from_secs(60);
        assert_eq!(pause(10 * MINUTE, false, 1), 10 * MINUTE);
        assert_eq!(pause(10 * MINUTE, true, 1), 2 * MINUTE);
        assert_eq!(pause(MINUTE, true, 1), SHARE);
        for senders in [1, 7, 100] {
            let an_hour = 60.0 * 60.0 / pause(MINUTE, true, senders).as_secs_f64() * senders as f64;
            assert!(an_hour <= 100.0, "{senders}: {an_hour}");
        }
    }
}
