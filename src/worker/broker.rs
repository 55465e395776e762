//! RabbitMQ: the connection, what we declare there, and the consumer that hands deliveries on in batches.
//!
//! Recovery is ours: after any fault the whole connection is built anew, so no acknowledgement of an old one can name a message
//! of a new one. What a delivery means is `intake`'s business.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};
use futures_util::{FutureExt, StreamExt, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

/// Names and limits of what we declare.
#[derive(Debug, Clone)]
pub struct Topology {
    pub exchange: String,
    pub queue: String,
    pub dead_exchange: String,
    pub status_exchange: String,
    pub inbound_exchange: String,
    pub delivery_limit: u32,
    /// Routing keys that the queue is bound to: the event types of the catalogue.
    pub routing_keys: Vec<String>,
    /// Other exchanges with the keys that a source maps from them.
    pub sources: Vec<(String, String)>,
}

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct Address {
    pub url: SecretString,
    pub heartbeat: Duration,
    pub connect_timeout: Duration,
}

impl Address {
    /// How long the broker may take to answer one thing. A connection that breaks at the wrong moment leaves some questions without an
    /// answer and without an error.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.connect_timeout + self.heartbeat
    }
}

/// What it comes to, unless it takes longer than `patience`.
///
/// # Errors
/// Its own, and [`Error::Timeout`].
pub(super) async fn within<T, E>(patience: Duration, asked: impl Future<Output = Result<T, E>>) -> Result<T, Error>
where
    Error: From<E>,
{
    Ok(tokio::time::timeout(patience, asked).await.map_err(|_| Error::Timeout)??)
}

/// What the broker would not do. Never carries the address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("broker.url is no amqp:// or amqps:// address")]
    Address,
    #[error("the broker did not answer in time")]
    Timeout,
    #[error("the broker: {0}")]
    Broker(String),
    #[error(
        "the queue {queue} exists already with other settings: {said}. Let it run empty, delete it and start again, or name another in broker.queue"
    )]
    OtherQueue { queue: String, said: String },
    #[error("the consumer was cancelled by the broker")]
    Cancelled,
    #[error("the database is out of reach, so the consumer was closed: {0}")]
    Database(#[source] crate::db::Error),
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Error {
        Error::Broker(bare(&error.to_string()).to_owned())
    }
}

impl Error {
    /// What to do about it, if it does not say so itself.
    #[must_use]
    pub fn cure(&self) -> Option<&'static str> {
        match self {
            Error::Broker(said) => Some(cure(said)),
            Error::Timeout => Some(cure("")),
            Error::Address | Error::OtherQueue { .. } | Error::Cancelled | Error::Database(_) => None,
        }
    }
}

/// What the broker itself said, without the names that its driver puts before it.
fn bare(said: &str) -> &str {
    let after = |kind| said.split_once(kind).and_then(|(_, rest)| rest.split_once(": ")).map(|(_, rest)| rest);
    let said = after("AMQP soft error: ").or_else(|| after("AMQP hard error: ")).unwrap_or(said);
    said.trim_start_matches("IO error: ").trim_end_matches('.')
}

fn cure(said: &str) -> &'static str {
    let says = |part| said.contains(part);
    if says("no exchange") {
        "recado topology declares Recado's exchanges and queues, as recado run does by itself; others have to be made first"
    } else if says("vhost") && says("not found") {
        "The vhost is what follows the last / of broker.url: name one that is there, or make it with rabbitmqctl add_vhost"
    } else if says("Login was refused") {
        "Look at the user and password in broker.url"
    } else if says("ACCESS_REFUSED") || says("access to vhost") {
        "Give the user of broker.url its rights there: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'"
    } else if says("PRECONDITION_FAILED") {
        "It exists already with other settings: delete it there, or name another in the settings of [broker]"
    } else {
        "Is RabbitMQ running there? Look at broker.url"
    }
}

/// Opens a connection that finds out within two heartbeats that its other end is gone.
///
/// # Errors
/// If the address is none or the broker refuses or does not answer.
pub async fn connect(address: &Address, purpose: &str) -> Result<Connection, Error> {
    let mut uri: AMQPUri = address.url.expose_secret().parse().map_err(|_| Error::Address)?;
    uri.query.heartbeat = Some(u16::try_from(address.heartbeat.as_secs()).unwrap_or(10).max(1));
    uri.query.connection_timeout = Some(u64::try_from(address.connect_timeout.as_millis()).unwrap_or(5_000));
    let properties = ConnectionProperties::default().with_connection_name(format!("recado {purpose}").into());
    within(address.connect_timeout + Duration::from_secs(1), Connection::connect_uri(uri, properties)).await
}

/// A channel on which everything is declared.
///
/// # Errors
/// As [`declare`].
pub(super) async fn open(connection: &Connection, topology: &Topology) -> Result<Channel, Error> {
    let channel = connection.create_channel().await?;
    declare(&channel, topology).await?;
    Ok(channel)
}

/// Declares everything, so that nothing has to be prepared by hand. What exists with these settings stays as it is.
///
/// # Errors
/// If something of ours exists with other settings, or the broker does not allow it.
pub async fn declare(channel: &Channel, topology: &Topology) -> Result<(), Error> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let topic = [&topology.exchange, &topology.status_exchange, &topology.inbound_exchange];
    // Asked for together: a round trip each is what the start would wait for.
    let exchanges = topic.into_iter().chain(topology.sources.iter().map(|(exchange, _)| exchange)).map(|exchange| {
        channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, durable, FieldTable::default())
    });
    try_join_all(exchanges).await?;
    let dead = topology.dead_exchange.as_str();
    channel.exchange_declare(dead.into(), ExchangeKind::Fanout, durable, FieldTable::default()).await?;

    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    queue(channel, dead, quorum).await?;
    channel.queue_bind(dead.into(), dead.into(), "".into(), QueueBindOptions::default(), FieldTable::default()).await?;

    queue(channel, &topology.queue, events_queue(dead, topology.delivery_limit)).await?;
    let ours = topology.routing_keys.iter().map(|key| (&topology.exchange, key));
    let sources = topology.sources.iter().map(|(exchange, key)| (exchange, key));
    let bindings = ours.chain(sources).map(|(exchange, key)| {
        let (queue, exchange, key) = (topology.queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default())
    });
    try_join_all(bindings).await?;
    Ok(())
}

/// How many deliveries wait in the queue; none if it does not exist. Declares nothing that is not there.
///
/// # Errors
/// If it exists with other settings than ours, or the broker cannot be asked.
pub async fn inspect(
    connection: &Connection,
    name: &str,
    dead_exchange: &str,
    delivery_limit: u32,
) -> Result<Option<u32>, Error> {
    // The broker closes a channel with its refusal, so each question has its own.
    let asking = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = match asking.queue_declare(name.into(), passive, FieldTable::default()).await {
        Ok(found) => found,
        Err(error) if error.to_string().contains("NOT_FOUND") => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let comparing = connection.create_channel().await?;
    queue(&comparing, name, events_queue(dead_exchange, delivery_limit)).await?;
    Ok(Some(found.message_count()))
}

fn events_queue(dead_exchange: &str, delivery_limit: u32) -> FieldTable {
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", dead_exchange),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i64::from(delivery_limit)));
    arguments
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), Error> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), durable, arguments).await.map(drop).map_err(|error| {
        let said = error.to_string();
        if said.contains("PRECONDITION") {
            Error::OtherQueue { queue: name.to_owned(), said }
        } else {
            Error::Broker(said)
        }
    })
}

/// Deliveries that belong to one connection. Acknowledged together, after all of them are stored.
pub struct Batch {
    pub deliveries: Vec<Delivery>,
    patience: Duration,
}

impl Batch {
    /// Acknowledges all of them. Fails, and does no harm, if their connection is gone.
    ///
    /// # Errors
    /// If the broker can not be told; it will deliver them again.
    pub async fn acknowledge(self) -> Result<(), Error> {
        if let Some(last) = self.deliveries.last() {
            within(self.patience, last.acker.ack(BasicAckOptions { multiple: true })).await?;
        }
        Ok(())
    }
}

/// One connection with one consumer.
pub struct Consuming {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    queue: String,
    prefetch: u16,
    batch: usize,
    linger: Duration,
    /// So long nothing may come before the queue is consumed anew.
    silence: Duration,
    patience: Duration,
}

impl Consuming {
    /// Connects, declares everything and begins to consume `queue`.
    ///
    /// # Errors
    /// As [`connect`] and [`declare`].
    pub async fn begin(
        address: &Address,
        topology: &Topology,
        queue: &str,
        prefetch: u16,
        batch: usize,
        linger: Duration,
    ) -> Result<Consuming, Error> {
        let connection = connect(address, queue).await?;
        let patience = address.patience();
        let channel = within(patience, open(&connection, topology)).await?;
        let consumer = within(patience, consume(&channel, queue, prefetch)).await?;
        let (queue, silence) = (queue.to_owned(), address.heartbeat);
        Ok(Consuming { connection, channel, consumer, queue, prefetch, batch, linger, silence, patience })
    }

    /// The next deliveries: at least one, then those that are there already or come within the linger.
    ///
    /// # Errors
    /// If the consumer was cancelled or its connection is gone.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        let first = loop {
            tokio::select! {
                first = self.consumer.next() => break first.ok_or(Error::Cancelled)??,
                () = tokio::time::sleep(self.silence) => self.renew().await?,
            }
        };
        let mut deliveries = Vec::with_capacity(self.batch);
        deliveries.push(first);
        let mut waited = self.linger.is_zero();
        while deliveries.len() < self.batch {
            match self.consumer.next().now_or_never() {
                Some(Some(delivery)) => deliveries.push(delivery?),
                Some(None) => return Err(Error::Cancelled),
                // Many have come at once: more of them are on their way, and a fuller batch costs less.
                None if !waited && deliveries.len() > self.batch / 8 => {
                    waited = true;
                    tokio::time::sleep(self.linger).await;
                }
                None => break,
            }
        }
        Ok(Batch { deliveries, patience: self.patience })
    }

    /// Consumes the queue on another channel; what the broker believes to have handed out on this one goes back to the queue.
    ///
    /// A consumer cannot tell a quiet queue from a broker that has forgotten it. RabbitMQ 3.10 does not always tell a consumer that its
    /// queue was deleted, and once the queue is declared again hands out to it what never arrives.
    async fn renew(&mut self) -> Result<(), Error> {
        let (queue, prefetch) = (self.queue.as_str(), self.prefetch);
        let renewed = async {
            self.channel.close(200, "nothing came".into()).await?;
            let channel = self.connection.create_channel().await?;
            let consumer = consume(&channel, queue, prefetch).await?;
            lapin::Result::Ok((channel, consumer))
        };
        (self.channel, self.consumer) = within(self.patience, renewed).await?;
        Ok(())
    }

    /// Closes the connection; what is not acknowledged goes back to the queue, in its order.
    pub async fn close(self) {
        let closed = self.connection.close(200, "bye".into());
        if !matches!(tokio::time::timeout(Duration::from_secs(3), closed).await, Ok(Ok(()))) {
            tracing::debug!("broker.close: it had gone already");
        }
    }
}

async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await
}

/// Pauses between attempts to connect, growing and jittered.
#[derive(Debug)]
pub struct Pauses(ExponentialBackoff);

impl Pauses {
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Pauses {
        Pauses(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            max_interval: cap,
            max_elapsed_time: None,
            multiplier: 2.0,
            ..ExponentialBackoff::default()
        })
    }

    /// Sleeps for the next pause; less if `soft` is given.
    pub async fn pause(&mut self, soft: &CancellationToken) {
        let pause = self.0.next_backoff().unwrap_or(self.0.max_interval);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = soft.cancelled() => {}
        }
    }

    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// Text headers of a delivery, for events in binary mode and for the record of a rejected one.
#[must_use]
pub fn text_headers(properties: &BasicProperties) -> Vec<(String, String)> {
    let Some(headers) = properties.headers() else { return Vec::new() };
    headers
        .inner()
        .iter()
        .filter_map(|(name, value)| {
            let seconds = |at: &u64| jiff::Timestamp::from_second(i64::try_from(*at).ok()?).ok();
            let text = value
                .as_long_string()
                .and_then(|text| String::from_utf8(text.as_bytes().to_vec()).ok())
                .or_else(|| value.as_short_string().map(ToString::to_string))
                .or_else(|| value.as_bool().map(|yes| yes.to_string()))
                .or_else(|| value.as_long_int().map(|n| n.to_string()))
                .or_else(|| value.as_long_long_int().map(|n| n.to_string()))
                .or_else(|| value.as_timestamp().as_ref().and_then(seconds).map(|at| at.to_string()))?;
            Some((name.to_string(), text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{bare, cure};

    #[test]
    fn what_the_broker_says_is_told_without_its_drivers_words_and_with_a_cure() {
        for (said, told, mends) in [
            (
                "protocol error: AMQP soft error: NOT-FOUND: NOT_FOUND - no exchange 'shop.events' in vhost '/'",
                "NOT_FOUND - no exchange 'shop.events' in vhost '/'",
                "recado topology",
            ),
            (
                "protocol error: AMQP hard error: NOT-ALLOWED: NOT_ALLOWED - vhost shop not found",
                "NOT_ALLOWED - vhost shop not found",
                "add_vhost",
            ),
            (
                "protocol error: AMQP hard error: NOT-ALLOWED: NOT_ALLOWED - access to vhost 'shop' refused for user 'recado'",
                "NOT_ALLOWED - access to vhost 'shop' refused for user 'recado'",
                "set_permissions",
            ),
            (
                "protocol error: AMQP soft error: ACCESS-REFUSED: ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN",
                "user and password",
            ),
            ("IO error: Connection refused (os error 111)", "Connection refused (os error 111)", "Is RabbitMQ running"),
        ] {
            assert_eq!(bare(said), told);
            assert!(cure(bare(said)).contains(mends), "{}", cure(bare(said)));
        }
    }
}
