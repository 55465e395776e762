//! What became of notifications, told to producers over RabbitMQ: one publisher by lease, in order, each at least once.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Connection,
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
        outbox::{self, Told},
    },
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
        while !life.soft().is_cancelled() {
            match self.step(&channel).await {
                Ok(progress) => {
                    pauses.reset();
                    if progress == Progress::Idle {
                        tokio::select! {
                            () = tokio::time::sleep(self.rules.poll) => {}
                            () = life.soft().cancelled() => {}
                        }
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

    async fn step(&self, channel: &Channel) -> Result<Progress, Interrupted> {
        if !outbox::hold_lease(&self.pool, "outbox", self.worker, self.rules.lease).await? {
            return Ok(Progress::Idle);
        }
        let rows = outbox::next(&self.pool, self.rules.batch).await?;
        if rows.is_empty() {
            return Ok(Progress::Idle);
        }
        let mut confirms = Vec::with_capacity(rows.len());
        for row in &rows {
            let (exchange, routing_key, id, body) = self.message(row);
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_content_type("application/cloudevents+json".into())
                .with_message_id(id.as_str().into());
            let confirm = channel
                .basic_publish(
                    exchange.into(),
                    routing_key.as_str().into(),
                    BasicPublishOptions::default(),
                    body.as_bytes(),
                    properties,
                )
                .await
                .map_err(broker::Error::from)?;
            confirms.push(confirm);
        }
        for confirm in confirms {
            let confirmation =
                tokio::time::timeout(self.rules.lease, confirm).await.map_err(|_| broker::Error::Timeout)?;
            if confirmation.map_err(broker::Error::from)?.is_nack() {
                return Err(broker::Error::Broker("the broker refused a status event".to_owned()).into());
            }
        }
        outbox::told(&self.pool, &rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
        telemetry::count_published(rows.iter().map(|row| (row.kind.as_str(), row.reason.as_deref())));
        Ok(Progress::Made)
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
                        "resent": about.resends > 0, "duplicate": about.duplicate,
                    },
                });
                (&topology.status_exchange, kind, id, body.to_string())
            }
            None => {
                let id = format!("{}.{}", row.kind, row.id);
                let body = json!({
                    "specversion": "1.0", "id": id, "source": "/recado", "type": "message.received", "time": row.at,
                    "datacontenttype": "application/json", "data": row.payload,
                });
                (&topology.inbound_exchange, "message.received".to_owned(), id, body.to_string())
            }
        }
    }
}
