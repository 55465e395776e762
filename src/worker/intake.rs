//! From the queue into the inbox: what is acknowledged is stored, as an event with what it means or as bytes with a reason.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use lapin::{message::Delivery, types::AMQPValue};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Flag, Nudge,
    broker::{self, Address, Batch, Consuming, Pauses, Topology, text_headers},
};
use crate::{
    clock::Clock,
    db::{
        self,
        inbox::{Arrival, Rejected, Verdict, record, reject},
    },
    lifecycle::{Lifecycle, crash},
    telemetry::{
        self,
        traces::{Followed, Tracer},
    },
    worker::{
        reading::{Bytes, Reader},
        traces,
    },
};

/// Of a body past the limit only so much is kept.
const KEPT_OF_OVERSIZE: usize = 4096;

/// How the queue is consumed.
#[derive(Debug, Clone)]
pub struct Rules {
    pub address: Address,
    pub topology: Topology,
    pub prefetch: u16,
    pub batch: usize,
    pub linger: Duration,
    pub max_event_bytes: usize,
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
    pub reader: Arc<Reader>,
    pub pool: PgPool,
    pub clock: Clock,
    pub nudge: Nudge,
    /// Up while the queue is consumed.
    pub connected: Flag,
    pub tracer: Tracer,
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
                    tracing::warn!(queue = self.queue_name(), %error, "intake.interrupted: it will come back");
                }
            }
            pauses.pause(life.soft()).await;
        }
        Ok(())
    }

    /// One connection, from its beginning to its end. `Ok` only at the soft token.
    async fn consume(&self, pauses: &mut Pauses, soft: &CancellationToken) -> Result<(), broker::Error> {
        // Nothing is taken from the queue that could not be stored: a delivery that is given back counts against its limit.
        db::inbox::probe(&self.pool).await.map_err(broker::Error::Database)?;
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
        self.handle(arrived).await.map_err(broker::Error::Database)?;
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

    /// Stores what arrived, whoever brought it. When it returns, each is in the inbox or among the rejected.
    ///
    /// # Errors
    /// If the database could not take all of them; some may be stored then, and are known when they come again.
    pub async fn handle(&self, arrived: Vec<Arrived>) -> Result<Tally, db::Error> {
        let mut tally = Tally::default();
        let mut events = Vec::with_capacity(arrived.len());
        let mut rejected = Vec::new();
        let came = self.clock.now();
        for one in arrived {
            match self.read(&one) {
                Ok(arrival) => events.push((arrival, one)),
                Err((reason, detail)) => {
                    // Only a producer's trace: nonsense begins none.
                    let followed = traces::header(&one.origin.headers).and_then(|parent| self.follow(Some(parent)));
                    rejected.push((self.rejected(one, reason, detail), followed));
                }
            }
        }
        let times = traces::Times { came, planned: self.clock.now() };
        for (one, followed) in &rejected {
            reject(&self.pool, one).await?;
            tally.rejected += 1;
            if let Some(followed) = followed {
                traces::rejected(&self.tracer, *followed, one.reason, came, self.clock.now());
            }
            tracing::warn!(reason = one.reason, routing_key = %one.routing_key, "event.rejected: kept with its bytes");
        }
        // An identity may come twice in one batch: the second is recorded after the first, as if it had come later.
        while !events.is_empty() {
            let mut seen = HashSet::new();
            let (first, later): (Vec<_>, Vec<_>) =
                events.into_iter().partition(|(arrival, _)| seen.insert((arrival.source.clone(), arrival.id.clone())));
            self.record_all(first, times, &mut tally).await?;
            events = later;
        }
        tally.tell();
        self.nudge.wake();
        Ok(tally)
    }

    fn read(&self, one: &Arrived) -> Result<Arrival, (&'static str, String)> {
        if one.body.len() > self.rules.max_event_bytes {
            let limit = self.rules.max_event_bytes;
            return Err(("too_large", format!("The message has {} bytes; an event may have {limit}.", one.body.len())));
        }
        if let Some(death) = &one.dead {
            return Err(("dead_lettered", death.clone()));
        }
        self.reader.read(&one.as_bytes(), self.clock.now())
    }

    fn follow(&self, traceparent: Option<&str>) -> Option<Followed> {
        self.tracer.is_on().then(|| self.tracer.follow(traceparent, v7(self.clock.now()))).flatten()
    }

    async fn record_all(
        &self,
        events: Vec<(Arrival, Arrived)>,
        times: traces::Times,
        tally: &mut Tally,
    ) -> Result<(), db::Error> {
        let (arrivals, origins): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        let mut followed = Vec::new();
        if self.tracer.is_on() {
            let parent = |arrival: &Arrival, origin: &Arrived| {
                let own = arrival.traceparent.as_deref();
                self.follow(own.or_else(|| traces::header(&origin.origin.headers)))
            };
            followed = arrivals.iter().zip(&origins).map(|(arrival, origin)| parent(arrival, origin)).collect();
            traces::remember(&self.pool, &arrivals, &followed).await;
        }
        let verdicts = match record(&self.pool, &arrivals).await {
            // Two processes met the same new person at once: the second time the person is known.
            Err(db::Error::Data { .. }) => record(&self.pool, &arrivals).await,
            other => other,
        };
        match verdicts {
            Ok(verdicts) => {
                tally.count(&arrivals, &verdicts);
                for ((arrival, verdict), followed) in arrivals.iter().zip(verdicts).zip(followed) {
                    if let Some(followed) = followed {
                        traces::recorded(&self.tracer, arrival, verdict, followed, times, self.clock.now());
                    }
                }
                Ok(())
            }
            // Row by row nobody follows them: what refuses one of them is a matter for the log.
            Err(db::Error::Data { .. }) => self.record_each(arrivals, origins, tally).await,
            Err(outage) => Err(outage),
        }
    }

    /// Some row of a batch is refused: each alone, so that it stands for itself.
    async fn record_each(
        &self,
        arrivals: Vec<Arrival>,
        origins: Vec<Arrived>,
        tally: &mut Tally,
    ) -> Result<(), db::Error> {
        for (arrival, origin) in arrivals.into_iter().zip(origins) {
            let one = [arrival];
            let verdict = match record(&self.pool, &one).await {
                Err(db::Error::Data { .. }) => record(&self.pool, &one).await,
                other => other,
            };
            match verdict {
                Ok(verdicts) => tally.count(&one, &verdicts),
                Err(db::Error::Data { code }) => {
                    let detail = format!("The database refuses it (SQLSTATE {code}).");
                    reject(&self.pool, &self.rejected(origin, "refused_by_database", detail)).await?;
                    tally.rejected += 1;
                }
                Err(outage) => return Err(outage),
            }
        }
        Ok(())
    }

    fn rejected(&self, one: Arrived, reason: &'static str, detail: String) -> Rejected {
        let whole = one.body.len() <= self.rules.max_event_bytes;
        let body_hash = Sha256::digest(&one.body).into();
        let size = i64::try_from(one.body.len()).unwrap_or(i64::MAX);
        let mut body = one.body;
        if !whole {
            body.truncate(KEPT_OF_OVERSIZE);
        }
        let headers = one.origin.headers.into_iter().map(|(name, text)| (clean(&name), clean(&text).into())).collect();
        Rejected {
            id: v7(self.clock.now()),
            reason,
            detail,
            exchange: clean(&one.origin.exchange),
            routing_key: clean(&one.origin.routing_key),
            headers: serde_json::Value::Object(headers),
            content_type: one.origin.content_type.as_deref().map(clean),
            size,
            body_hash,
            body,
            whole,
        }
    }
}

/// Bytes that arrived, and how.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub origin: Origin,
    pub body: Vec<u8>,
    /// Why the broker gave up on it, if it did.
    pub dead: Option<String>,
}

/// The envelope of a delivery.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub exchange: String,
    pub routing_key: String,
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
}

impl Arrived {
    /// A rejected event, as if it came now.
    #[must_use]
    pub fn again(kept: db::inbox::Kept) -> Arrived {
        let headers = kept.headers.as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        let origin =
            Origin { exchange: kept.exchange, routing_key: kept.routing_key, content_type: kept.content_type, headers };
        Arrived { origin, body: kept.body, dead: None }
    }

    fn as_bytes(&self) -> Bytes<'_> {
        Bytes {
            exchange: &self.origin.exchange,
            routing_key: &self.origin.routing_key,
            content_type: self.origin.content_type.as_deref(),
            headers: &self.origin.headers,
            body: &self.body,
        }
    }
}

/// What became of deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub accepted: u64,
    pub ignored: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub rejected: u64,
}

impl Tally {
    fn count(&mut self, arrivals: &[Arrival], verdicts: &[Verdict]) {
        for (arrival, verdict) in arrivals.iter().zip(verdicts) {
            match verdict {
                Verdict::New if arrival.ignored.is_some() => self.ignored += 1,
                Verdict::New => self.accepted += 1,
                Verdict::Repeat => self.duplicate += 1,
                Verdict::Conflict => {
                    tracing::warn!(event = %arrival.id, "event.conflict: the same identity came with another body; the first counts");
                    self.conflict += 1;
                }
            }
        }
    }

    fn tell(&self) {
        let counts = [
            ("accepted", self.accepted),
            ("ignored", self.ignored),
            ("duplicate", self.duplicate),
            ("conflict", self.conflict),
            ("rejected", self.rejected),
        ];
        for (verdict, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            telemetry::count_inbox(verdict, count);
        }
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

/// Postgres stores no NUL in a text.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A UUIDv7 of this moment.
#[must_use]
pub fn v7(at: Timestamp) -> Uuid {
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let nanos = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
    // One counter for the process, so that ids of one millisecond keep their order.
    static ORDER: std::sync::Mutex<uuid::ContextV7> = std::sync::Mutex::new(uuid::ContextV7::new());
    Uuid::new_v7(uuid::Timestamp::from_unix(&ORDER, seconds, nanos))
}
