//! What became of notifications, told to producers over RabbitMQ: one publisher by lease, in order, each at least once.
//!
//! If somebody is to be called over HTTP as well, everything goes through the log that they share ([`keeper`]), and the publisher
//! reads there.

pub mod event;
pub mod frontier;
pub mod keeper;

use std::{collections::HashMap, time::Duration};

use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Connection, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use sqlx::PgPool;
use uuid::Uuid;

use event::Event;
use frontier::Turn;

use super::{
    Flag, Progress,
    broker::{self, Address, Pauses, Topology},
};
use crate::{
    db::{self, callbacks, outbox},
    lifecycle::Lifecycle,
    telemetry,
};

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
    /// Everything is read from the log that is shared with callbacks.
    pub kept: bool,
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

impl Interrupted {
    fn cure(&self) -> Option<&'static str> {
        match self {
            Interrupted::Broker(error) => error.cure(),
            Interrupted::Database(_) => None,
        }
    }
}

impl Publisher {
    /// Tells until the soft token, coming back after every fault.
    ///
    /// # Errors
    /// Never by itself.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let mut pauses = Pauses::new(self.rules.reconnect_after, self.rules.reconnect_cap);
        let mut in_hand = HashMap::new();
        while !life.soft().is_cancelled() {
            let ended = self.publish(&mut pauses, &mut in_hand, &life).await;
            self.connected.set(false);
            if let Err(error) = ended {
                tracing::warn!(%error, cure = error.cure(), "outbox.interrupted: what is untold waits");
            }
            pauses.pause(life.soft()).await;
        }
        Ok(())
    }

    /// `in_hand` are events that may have been told, by their rows: they are told again in the same words.
    async fn publish(
        &self,
        pauses: &mut Pauses,
        in_hand: &mut HashMap<i64, Event>,
        life: &Lifecycle,
    ) -> Result<(), Interrupted> {
        let (connection, channel) = self.open().await?;
        self.connected.set(true);
        let mut turn = Turn::default();
        while !life.soft().is_cancelled() {
            match self.step(&channel, &mut turn, in_hand).await {
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
        let patience = self.rules.address.patience();
        let channel = broker::within(patience, broker::open(&connection, &self.rules.topology)).await?;
        broker::within(patience, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok((connection, channel))
    }

    async fn step(
        &self,
        channel: &Channel,
        turn: &mut Turn,
        in_hand: &mut HashMap<i64, Event>,
    ) -> Result<Progress, Interrupted> {
        let name = if self.rules.kept { BROKER_LEASE } else { LEASE };
        if !turn.is_ours(&self.pool, (name, self.worker, self.rules.lease)).await? {
            return Ok(Progress::Idle);
        }
        // What others have put into the log is older than what is in the outbox.
        if self.rules.kept || callbacks::broker_is_behind(&self.pool).await? {
            return self.step_through_log(channel).await;
        }
        let found = outbox::next(&self.pool, turn.frontier.upto(), self.rules.batch).await?;
        let full = found.rows.len() as i64 == self.rules.batch;
        let Some(last) = found.rows.last() else {
            turn.frontier.nothing_left(&found);
            return Ok(Progress::Idle);
        };
        in_hand.retain(|id, _| found.rows.iter().any(|row| row.id == *id));
        for row in &found.rows {
            in_hand.entry(row.id).or_insert_with(|| event::of(row));
        }
        let events: Vec<&Event> = found.rows.iter().filter_map(|row| in_hand.get(&row.id)).collect();
        self.tell(channel, &events).await?;
        let ids: Vec<i64> = found.rows.iter().map(|row| row.id).collect();
        let transaction = outbox::told(&self.pool, &ids).await?;
        in_hand.clear();
        turn.frontier.told(&found, full.then_some(last.id), transaction);
        telemetry::count_published(found.rows.iter().map(|row| (row.kind.as_str(), row.reason.as_deref())));
        Ok(if full { Progress::Made } else { Progress::Idle })
    }

    async fn step_through_log(&self, channel: &Channel) -> Result<Progress, Interrupted> {
        let Some(standing) = callbacks::standing(&self.pool, callbacks::BROKER).await? else {
            return Ok(Progress::Idle);
        };
        let kept = callbacks::next(&self.pool, callbacks::BROKER, standing.position, self.rules.batch).await?;
        let Some(last) = kept.last().map(|event| event.position) else { return Ok(Progress::Idle) };
        let events: Vec<Event> = kept
            .iter()
            .map(|one| Event {
                id: one.id.clone(),
                kind: one.kind.clone(),
                key: one.key.clone(),
                body: one.body.clone(),
            })
            .collect();
        self.tell(channel, &events.iter().collect::<Vec<_>>()).await?;
        callbacks::broker_has(&self.pool, last).await?;
        telemetry::count_published(kept.iter().map(|one| (event::state(&one.kind), one.reason.as_deref())));
        Ok(if kept.len() as i64 == self.rules.batch { Progress::Made } else { Progress::Idle })
    }

    async fn tell(&self, channel: &Channel, events: &[&Event]) -> Result<(), broker::Error> {
        // Well within the lease, so that nobody else begins while this goes on.
        let told = tokio::time::timeout(self.rules.lease / 3, self.tell_all(channel, events));
        told.await.map_err(|_| broker::Error::Timeout)?
    }

    async fn tell_all(&self, channel: &Channel, events: &[&Event]) -> Result<(), broker::Error> {
        // Handed over all at once, in order: each alone would wait until the connection has written the one before.
        for confirm in try_join_all(events.iter().map(|event| self.hand_over(channel, event))).await? {
            if confirm.await?.is_nack() {
                return Err(broker::Error::Broker("the broker refused a status event".to_owned()));
            }
        }
        Ok(())
    }

    async fn hand_over(&self, channel: &Channel, event: &Event) -> Result<PublisherConfirm, lapin::Error> {
        let topology = &self.rules.topology;
        let exchange =
            if event.kind == event::INBOUND { &topology.inbound_exchange } else { &topology.status_exchange };
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into())
            .with_message_id(event.id.as_str().into());
        let (exchange, key) = (exchange.as_str().into(), event.kind.as_str().into());
        channel.basic_publish(exchange, key, BasicPublishOptions::default(), event.body.as_bytes(), properties).await
    }
}

/// Whoever holds it takes from the outbox.
const LEASE: &str = "outbox";
/// Whoever holds it tells the broker what is in the log.
const BROKER_LEASE: &str = "outbox.broker";
