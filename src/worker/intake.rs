//! From the queue into the inbox: what is acknowledged is stored, as an event with what it means or as bytes with a reason.

use std::time::Duration;

use lapin::{message::Delivery, types::AMQPValue};
use tokio_util::sync::CancellationToken;

use super::{
    Flag, Nudge,
    broker::{self, Address, Batch, Consuming, Pauses, Topology, text_headers},
};
use crate::{
    clock::Clock,
    db,
    inbox::{Arrived, Inbox, Origin, clean},
    lifecycle::{Lifecycle, crash},
    telemetry,
};

/// How the queue is consumed.
#[derive(Debug, Clone)]
pub struct Rules {
    pub address: Address,
    pub topology: Topology,
    pub prefetch: u16,
    pub batch: usize,
    pub linger: Duration,
    pub reconnect_after: Duration,
    pub reconnect_cap: Duration,
}

/// The two queues that are ours to empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    Events,
    /// What the broker gave up on: it is shown among the rejected and can be replayed.
    Dead,
}

/// Empties one queue.
pub struct Intake {
    pub queue: Queue,
    pub rules: Rules,
    pub inbox: Inbox,
    pub clock: Clock,
    pub nudge: Nudge,
    /// Up while the queue is consumed.
    pub connected: Flag,
}

impl Intake {
    /// Consumes until the soft token, coming back after every fault.
    ///
    /// # Errors
    /// Only if the topology stands in the way: no waiting cures that.
    pub async fn run(self, life: Lifecycle) -> Result<(), broker::Error> {
        let mut pauses = Pauses::new(self.rules.reconnect_after, self.rules.reconnect_cap);
        while !life.soft().is_cancelled() {
            let ended = self.consume(&mut pauses, life.soft()).await;
            self.tell_connected(false);
            match ended {
                Ok(()) => break,
                Err(error @ broker::Error::OtherQueue { .. }) => return Err(error),
                Err(error) => {
                    let (queue, cure) = (self.queue_name(), error.cure());
                    tracing::warn!(queue, %error, cure, "intake.interrupted: it will come back");
                }
            }
            pauses.pause(life.soft()).await;
        }
        Ok(())
    }

    /// One connection, from its beginning to its end. `Ok` only at the soft token.
    async fn consume(&self, pauses: &mut Pauses, soft: &CancellationToken) -> Result<(), broker::Error> {
        // Nothing is taken from the queue that could not be stored: a delivery that is given back counts against its limit.
        db::inbox::probe(&self.inbox.pool).await.map_err(broker::Error::Database)?;
        let rules = &self.rules;
        let mut consuming = Consuming::begin(
            &rules.address,
            &rules.topology,
            self.queue_name(),
            rules.prefetch,
            rules.batch,
            rules.linger,
        )
        .await?;
        tracing::info!(queue = self.queue_name(), "intake.consuming");
        self.tell_connected(true);
        let ended = loop {
            let batch = tokio::select! {
                batch = consuming.next() => batch,
                () = soft.cancelled() => break Ok(()),
            };
            match self.take(batch).await {
                Ok(()) => pauses.reset(),
                Err(error) => break Err(error),
            }
        };
        consuming.close().await;
        ended
    }

    async fn take(&self, batch: Result<Batch, broker::Error>) -> Result<(), broker::Error> {
        let batch = batch?;
        let began = self.clock.instant();
        let arrived = batch.deliveries.iter().map(|delivery| self.arrived(delivery)).collect();
        crash::point("received");
        self.inbox.take(arrived).await.map_err(broker::Error::Database)?;
        self.nudge.wake();
        crash::point("recorded");
        batch.acknowledge().await?;
        telemetry::time_intake(began.elapsed());
        Ok(())
    }

    fn tell_connected(&self, connected: bool) {
        self.connected.set(connected);
        if self.queue == Queue::Events {
            telemetry::tell_broker(connected);
        }
    }

    fn queue_name(&self) -> &str {
        match self.queue {
            Queue::Events => &self.rules.topology.queue,
            Queue::Dead => &self.rules.topology.dead_exchange,
        }
    }

    fn arrived(&self, delivery: &Delivery) -> Arrived {
        let origin = Origin {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            content_type: delivery.properties.content_type().as_ref().map(ToString::to_string),
            headers: text_headers(&delivery.properties),
        };
        let dead = (self.queue == Queue::Dead).then(|| death(delivery));
        Arrived { origin, body: delivery.data.clone(), dead }
    }
}

/// What the broker says of a delivery that it gave up on.
fn death(delivery: &Delivery) -> String {
    let reason =
        delivery.properties.headers().as_ref().and_then(|headers| match headers.inner().get("x-first-death-reason") {
            Some(AMQPValue::LongString(reason)) => Some(reason.to_string()),
            _ => None,
        });
    match reason.as_deref() {
        Some("delivery_limit") => "It was delivered as often as allowed and never acknowledged.".to_owned(),
        Some(reason) => format!("The broker dead-lettered it: {}.", clean(reason)),
        None => "The broker dead-lettered it.".to_owned(),
    }
}
