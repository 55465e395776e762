//! What became of notifications, told to producers over RabbitMQ: one publisher by lease, in order, each at least once.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Connection, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Flag, Progress,
    broker::{self, Address, Pauses, Topology},
};
use crate::{
    db::{
        self,
        outbox::{self, Found, Told},
    },
    lifecycle::Lifecycle,
    telemetry,
};

/// Whoever holds it publishes.
const LEASE: &str = "outbox";

/// How it is told.
#[derive(Debug, Clone)]
pub struct Rules {
    pub address: Address,
    pub topology: Topology,
    pub batch: i64,
    pub poll: Duration,
    pub lease: Duration,
    pub reconnect_after: Duration,
    pub reconnect_cap: Duration,
}

/// The publisher of this process; idle while another process has the lease.
pub struct Publisher {
    pub worker: Uuid,
    pub pool: PgPool,
    pub rules: Rules,
    /// Up while the broker is there.
    pub connected: Flag,
}

/// Why it stopped telling for a moment.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Publisher {
    /// Tells until the soft token, coming back after every fault.
    ///
    /// # Errors
    /// Never by itself.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let mut pauses = Pauses::new(self.rules.reconnect_after, self.rules.reconnect_cap);
        while !life.soft().is_cancelled() {
            let ended = self.publish(&mut pauses, &life).await;
            self.connected.set(false);
            if let Err(error) = ended {
                tracing::warn!(%error, "outbox.interrupted: what is untold waits");
            }
            pauses.pause(life.soft()).await;
        }
        Ok(())
    }

    async fn publish(&self, pauses: &mut Pauses, life: &Lifecycle) -> Result<(), Interrupted> {
        let (connection, channel) = self.open().await?;
        self.connected.set(true);
        let mut turn = Turn::default();
        while !life.soft().is_cancelled() {
            match self.step(&channel, &mut turn).await {
                Ok(progress) => {
                    pauses.reset();
                    // What is told in larger batches costs less, and nobody waits for it.
                    if progress == Progress::Idle {
                        life.rest(self.rules.poll).await;
                    }
                }
                Err(error) => {
                    let _ = tokio::time::timeout(Duration::from_secs(3), connection.close(200, "bye".into())).await;
                    return Err(error);
                }
            }
        }
        let _ = tokio::time::timeout(Duration::from_secs(3), connection.close(200, "bye".into())).await;
        Ok(())
    }

    async fn open(&self) -> Result<(Connection, Channel), broker::Error> {
        // A connection that does not consume: the broker may block publishers, and that must not stop the intake.
        let connection = broker::connect(&self.rules.address, "outbox").await?;
        let channel = connection.create_channel().await?;
        broker::declare(&channel, &self.rules.topology).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    async fn step(&self, channel: &Channel, turn: &mut Turn) -> Result<Progress, Interrupted> {
        if !self.has_lease(turn).await? {
            return Ok(Progress::Idle);
        }
        let found = outbox::next(&self.pool, turn.frontier.upto(), self.rules.batch).await?;
        let full = found.rows.len() as i64 == self.rules.batch;
        let Some(last) = found.rows.last() else {
            turn.frontier.nothing_left(&found);
            return Ok(Progress::Idle);
        };
        // Well within the lease, so that nobody else begins while this goes on.
        tokio::time::timeout(self.rules.lease / 3, self.tell(channel, &found.rows))
            .await
            .map_err(|_| broker::Error::Timeout)??;
        let ids: Vec<i64> = found.rows.iter().map(|row| row.id).collect();
        let transaction = outbox::told(&self.pool, &ids).await?;
        turn.frontier.told(&found, full.then_some(last.id), transaction);
        telemetry::count_published(found.rows.iter().map(|row| (row.kind.as_str(), row.reason.as_deref())));
        Ok(if full { Progress::Made } else { Progress::Idle })
    }

    async fn tell(&self, channel: &Channel, rows: &[Told]) -> Result<(), broker::Error> {
        // Handed over all at once, in order: each alone would wait until the connection has written the one before.
        for confirm in try_join_all(rows.iter().map(|row| self.hand_over(channel, row))).await? {
            if confirm.await?.is_nack() {
                return Err(broker::Error::Broker("the broker refused a status event".to_owned()));
            }
        }
        Ok(())
    }

    async fn hand_over(&self, channel: &Channel, row: &Told) -> Result<PublisherConfirm, lapin::Error> {
        let (exchange, routing_key, id, body) = self.message(row);
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into())
            .with_message_id(id.as_str().into());
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange.into(), routing_key.into(), options, body.as_bytes(), properties).await
    }

    /// The lease is renewed when a third of it is over, not at each step: that would be a commit each time.
    async fn has_lease(&self, turn: &mut Turn) -> Result<bool, db::Error> {
        let now = Instant::now();
        let begins = turn.held_at.is_none();
        if turn.held_at.is_none_or(|at| now.duration_since(at) > self.rules.lease / 3) {
            let mine = outbox::hold_lease(&self.pool, LEASE, self.worker, self.rules.lease).await?;
            turn.held_at = mine.then_some(now);
            if mine && begins {
                turn.frontier = Frontier::from(outbox::marked(&self.pool, LEASE).await?);
            } else if mine {
                outbox::mark(&self.pool, LEASE, self.worker, turn.frontier.upto()).await?;
            }
        }
        Ok(turn.held_at.is_some())
    }

    fn message(&self, row: &Told) -> (&str, String, String, String) {
        let topology = &self.rules.topology;
        match &row.notification {
            Some(about) => {
                let kind = format!("notification.{}", row.kind);
                let id = format!("{}.{}", about.id, about.sequence);
                let body = json!({
                    "specversion": "1.0", "id": id, "source": "/recado", "type": kind, "subject": about.id, "time": row.at,
                    "datacontenttype": "application/json", "sequence": format!("{:010}", about.sequence),
                    "data": {
                        "notification": about.id, "sequence": about.sequence, "state": row.kind, "reason": row.reason,
                        "event": {"source": about.event_source, "id": about.event_id}, "key": about.journey_key,
                        "subject": about.subject, "template": about.template, "language": about.language,
                        "sender": about.sender, "attempt": about.attempt, "message_id": about.message_id,
                        "resent": about.resends > 0, "duplicate": about.duplicate, "as_text": about.as_text,
                        "fallback": about.fallback, "fallback_of": about.fallback_of,
                    },
                });
                (&topology.status_exchange, kind, id, body.to_string())
            }
            None if row.kind == "inbound" => {
                let id = format!("{}.{}", row.kind, row.id);
                let body = news("message.received", &id, row);
                (&topology.inbound_exchange, "message.received".to_owned(), id, body)
            }
            // Of a hold or a template.
            None => {
                let id = format!("{}.{}", row.kind, row.id);
                let body = news(&row.kind, &id, row);
                (&topology.status_exchange, row.kind.clone(), id, body)
            }
        }
    }
}

/// One time as the publisher.
#[derive(Debug, Default)]
struct Turn {
    held_at: Option<Instant>,
    frontier: Frontier,
}

/// Where the untold rows begin: each up to there was told, or will never be seen. Rows are numbered while their transactions run, so
/// one with a low number may be seen late; but none after every transaction has ended that could have given out that number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frontier {
    upto: i64,
    /// All numbers up to the first were given out by transactions whose own number is below the second.
    next: Option<(i64, i64)>,
}

impl Frontier {
    fn from(upto: i64) -> Frontier {
        Frontier { upto, next: None }
    }

    fn upto(&self) -> i64 {
        self.upto
    }

    /// All that could be seen was told before.
    fn nothing_left(&mut self, found: &Found) {
        self.advance(found, None);
    }

    /// What was found is told and gone: up to `last` if there may be more, else all of it. `transaction` is younger than the look.
    fn told(&mut self, found: &Found, last: Option<i64>, transaction: i64) {
        self.advance(found, last);
        self.next.get_or_insert((found.given_out, transaction));
    }

    fn advance(&mut self, found: &Found, last: Option<i64>) {
        let Some((given_out, transaction)) = self.next else { return };
        if found.ended_before < transaction {
            return;
        }
        self.upto = last.map_or(given_out, |last| last.min(given_out)).max(self.upto);
        if last.is_none_or(|last| last >= given_out) {
            self.next = None;
        }
    }
}

fn news(kind: &str, id: &str, row: &Told) -> String {
    let body = json!({
        "specversion": "1.0", "id": id, "source": "/recado", "type": kind, "time": row.at,
        "datacontenttype": "application/json", "data": row.payload,
    });
    body.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(given_out: i64, ended_before: i64) -> Found {
        Found { rows: Vec::new(), given_out, ended_before }
    }

    #[test]
    fn nothing_is_passed_over_while_somebody_may_still_write_it() {
        let mut frontier = Frontier::from(0);
        frontier.told(&seen(100, 7), None, 9);
        assert_eq!(frontier.upto(), 0, "a transaction before 9 may have taken one of the hundred numbers");
        frontier.nothing_left(&seen(120, 8));
        assert_eq!(frontier.upto(), 0, "8 still runs");
        frontier.nothing_left(&seen(120, 9));
        assert_eq!(frontier, Frontier { upto: 100, next: None });
    }

    #[test]
    fn a_full_batch_goes_as_far_as_it_was_told() {
        let mut frontier = Frontier::from(0);
        frontier.told(&seen(100, 7), Some(10), 9);
        frontier.told(&seen(150, 9), Some(60), 12);
        assert_eq!(frontier, Frontier { upto: 60, next: Some((100, 9)) });
        frontier.told(&seen(200, 20), Some(130), 21);
        assert_eq!(frontier, Frontier { upto: 100, next: Some((200, 21)) });
    }

    #[test]
    fn it_never_goes_back() {
        let mut frontier = Frontier::from(50);
        frontier.told(&seen(60, 7), None, 8);
        frontier.told(&seen(90, 9), Some(20), 10);
        assert_eq!(frontier.upto(), 50);
    }
}
