//! What becomes of bytes that arrive, whoever brings them: they are in the inbox, as an event with what it means, or among the rejected,
//! with the reason. The queue and the API's door meet here, so that the same rules hold for both; neither is known here.

pub mod reading;
mod traces;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    clock::{Clock, v7},
    db::{
        self,
        inbox::{Arrival, Verdict, record},
        plans::Means,
        rejected::{Kept, Rejected, reject},
    },
    domain::{action::Skip, cost::Prices},
    telemetry::{
        self,
        traces::{Followed, Tracer},
    },
};
use reading::{Bytes, Reader};

/// Of a body past the limit only so much is kept.
const KEPT_OF_OVERSIZE: usize = 4096;

/// Takes in what arrives.
#[derive(Debug, Clone)]
pub struct Inbox {
    pub reader: Arc<Reader>,
    pub pool: PgPool,
    pub clock: Clock,
    /// What is larger is no event.
    pub max_event_bytes: usize,
    /// Who is told of the way of what arrives.
    pub tracer: Tracer,
}

/// Bytes that arrived, and how.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub origin: Origin,
    pub body: Vec<u8>,
    /// Why the broker gave up on it, if it did.
    pub dead: Option<String>,
}

/// The envelope of what arrived.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub exchange: String,
    pub routing_key: String,
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
}

/// What became of one that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its source and id, if it could be read.
    pub identity: Option<(String, String)>,
    pub became: Became,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// These notifications follow.
    Accepted(Vec<Uuid>),
    /// Recorded, and nothing follows; why.
    Ignored(&'static str),
    /// It was there before.
    Duplicate,
    /// The same identity was there before with another body: the first one counts.
    Conflict,
    /// Kept among the rejected, by this id.
    Rejected { id: Uuid, reason: &'static str, detail: String },
}

impl Became {
    /// How a rejected event that is run again is marked. None if it was rejected once more.
    #[must_use]
    pub const fn came_to(&self) -> Option<&'static str> {
        match self {
            Became::Accepted(_) => Some("accepted"),
            Became::Ignored(_) => Some("ignored"),
            Became::Duplicate | Became::Conflict => Some("known"),
            Became::Rejected { .. } => None,
        }
    }

    /// Its name in the API and the metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Became::Accepted(_) => "accepted",
            Became::Ignored(_) => "ignored",
            Became::Duplicate => "duplicate",
            Became::Conflict => "conflict",
            Became::Rejected { .. } => "rejected",
        }
    }
}

/// One that was read, with its place among those that came with it.
struct Read {
    place: usize,
    arrival: Arrival,
    arrived: Arrived,
}

impl Inbox {
    /// Stores what arrived, and says what became of each, in order. When it returns, each is in the inbox or among the rejected.
    ///
    /// # Errors
    /// If the database could not take all of them; some may be stored then, and are known when they come again.
    pub async fn take(&self, arrived: Vec<Arrived>) -> Result<Vec<Taken>, db::Error> {
        let mut taken: Vec<Option<Taken>> = vec![None; arrived.len()];
        let mut events = Vec::with_capacity(arrived.len());
        let mut refused = Vec::new();
        let came = self.clock.now();
        for (place, one) in arrived.into_iter().enumerate() {
            match self.read(&one) {
                Ok(arrival) => events.push(Read { place, arrival, arrived: one }),
                Err((reason, detail)) => refused.push((place, one, reason, detail)),
            }
        }
        let times = traces::Times { came, planned: self.clock.now() };
        for (place, one, reason, detail) in refused {
            // Only a producer's trace: nonsense begins none.
            let followed = traces::header(&one.origin.headers).and_then(|parent| self.follow(Some(parent)));
            put(&mut taken, place, None, self.reject(one, reason, detail).await?);
            if let Some(followed) = followed {
                traces::rejected(&self.tracer, followed, reason, came, self.clock.now());
            }
        }
        // An identity may come twice in one batch: the second is recorded after the first, as if it had come later.
        while !events.is_empty() {
            let mut seen = HashSet::new();
            let (first, later) = events
                .into_iter()
                .partition(|read: &Read| seen.insert((read.arrival.source.clone(), read.arrival.id.clone())));
            self.record_all(first, times, &mut taken).await?;
            events = later;
        }
        let taken: Vec<Taken> = taken.into_iter().flatten().collect();
        tell(&taken);
        Ok(taken)
    }

    fn read(&self, one: &Arrived) -> Result<Arrival, (&'static str, String)> {
        if one.body.len() > self.max_event_bytes {
            let limit = self.max_event_bytes;
            return Err((TOO_LARGE, format!("The message has {} bytes; an event may have {limit}.", one.body.len())));
        }
        if let Some(death) = &one.dead {
            return Err(("dead_lettered", death.clone()));
        }
        self.reader.read(&one.as_bytes(), self.clock.now())
    }

    /// How plans are reckoned here: rejected events would be read as they are when they come.
    #[must_use]
    pub fn means(&self, prices: Arc<HashMap<i16, Prices>>) -> Means {
        let inbox = self.clone();
        let read = move |kept: Kept| {
            if kept.whole {
                inbox.read(&kept.into()).map_err(|_| Skip::RejectedAgain)
            } else {
                Err(Skip::BeginningOnly)
            }
        };
        Means { prices, read: Arc::new(read), clock: self.clock.clone() }
    }

    fn follow(&self, traceparent: Option<&str>) -> Option<Followed> {
        self.tracer.is_on().then(|| self.tracer.follow(traceparent, v7(self.clock.now()))).flatten()
    }

    async fn record_all(
        &self,
        events: Vec<Read>,
        times: traces::Times,
        taken: &mut [Option<Taken>],
    ) -> Result<(), db::Error> {
        let (arrivals, rest): (Vec<_>, Vec<_>) =
            events.into_iter().map(|read| (read.arrival, (read.place, read.arrived))).unzip();
        let mut followed = Vec::new();
        if self.tracer.is_on() {
            let parent = |arrival: &Arrival, arrived: &Arrived| {
                let own = arrival.traceparent.as_deref();
                self.follow(own.or_else(|| traces::header(&arrived.origin.headers)))
            };
            followed = arrivals.iter().zip(&rest).map(|(arrival, (_, arrived))| parent(arrival, arrived)).collect();
            traces::remember(&self.pool, &arrivals, &followed).await;
        }
        match self.record(&arrivals).await {
            Ok(verdicts) => {
                for ((arrival, verdict), followed) in arrivals.iter().zip(&verdicts).zip(followed) {
                    if let Some(followed) = followed {
                        traces::recorded(&self.tracer, arrival, *verdict, followed, times, self.clock.now());
                    }
                }
                for ((arrival, verdict), (place, _)) in arrivals.into_iter().zip(verdicts).zip(rest) {
                    let became = became(&arrival, verdict);
                    put(taken, place, Some(arrival), became);
                }
                Ok(())
            }
            // Row by row nobody follows them: what refuses one of them is a matter for the log.
            Err(db::Error::Data { .. }) => self.record_each(arrivals, rest, taken).await,
            Err(outage) => Err(outage),
        }
    }

    /// Some row of a batch is refused: each alone, so that it stands for itself.
    async fn record_each(
        &self,
        arrivals: Vec<Arrival>,
        rest: Vec<(usize, Arrived)>,
        taken: &mut [Option<Taken>],
    ) -> Result<(), db::Error> {
        for (arrival, (place, arrived)) in arrivals.into_iter().zip(rest) {
            let one = [arrival];
            let recorded = self.record(&one).await;
            let [arrival] = one;
            let became = match recorded {
                Ok(verdicts) => became(&arrival, verdicts.first().copied().unwrap_or(Verdict::Repeat)),
                Err(db::Error::Data { code }) => {
                    let detail = format!("The database refuses it (SQLSTATE {code}).");
                    self.reject(arrived, "refused_by_database", detail).await?
                }
                Err(outage) => return Err(outage),
            };
            put(taken, place, Some(arrival), became);
        }
        Ok(())
    }

    async fn record(&self, arrivals: &[Arrival]) -> Result<Vec<Verdict>, db::Error> {
        match record(&self.pool, arrivals).await {
            // Two processes met the same new person at once: the second time the person is known.
            Err(db::Error::Data { .. }) => record(&self.pool, arrivals).await,
            other => other,
        }
    }

    async fn reject(&self, one: Arrived, reason: &'static str, detail: String) -> Result<Became, db::Error> {
        let whole = one.body.len() <= self.max_event_bytes;
        let body_hash = Sha256::digest(&one.body).into();
        let size = i64::try_from(one.body.len()).unwrap_or(i64::MAX);
        let mut body = one.body;
        if !whole {
            body.truncate(KEPT_OF_OVERSIZE);
        }
        let headers = one.origin.headers.into_iter().map(|(name, text)| (clean(&name), clean(&text).into())).collect();
        let rejected = Rejected {
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
        };
        let id = reject(&self.pool, &rejected).await?;
        tracing::warn!(reason, routing_key = %rejected.routing_key, "event.rejected: kept with its bytes");
        Ok(Became::Rejected { id, reason, detail: rejected.detail })
    }
}

/// Why something is rejected that is larger than an event may be.
pub const TOO_LARGE: &str = "too_large";

impl From<Kept> for Arrived {
    /// As it came when it was rejected.
    fn from(kept: Kept) -> Arrived {
        let headers = kept.headers.as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        let origin =
            Origin { exchange: kept.exchange, routing_key: kept.routing_key, content_type: kept.content_type, headers };
        Arrived { origin, body: kept.body, dead: None }
    }
}

impl Arrived {
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

fn became(arrival: &Arrival, verdict: Verdict) -> Became {
    match (verdict, arrival.ignored) {
        (Verdict::New, Some(why)) => Became::Ignored(why),
        (Verdict::New, None) => Became::Accepted(arrival.notifications.iter().map(|born| born.id).collect()),
        (Verdict::Repeat, _) => Became::Duplicate,
        (Verdict::Conflict, _) => {
            tracing::warn!(event = %arrival.id, "event.conflict: the same identity came with another body; the first counts");
            Became::Conflict
        }
    }
}

fn put(taken: &mut [Option<Taken>], place: usize, arrival: Option<Arrival>, became: Became) {
    if let Some(one) = taken.get_mut(place) {
        *one = Some(Taken { identity: arrival.map(|arrival| (arrival.source, arrival.id)), became });
    }
}

fn tell(taken: &[Taken]) {
    for verdict in ["accepted", "ignored", "duplicate", "conflict", "rejected"] {
        let count = taken.iter().filter(|one| one.became.as_str() == verdict).count();
        if count > 0 {
            telemetry::count_inbox(verdict, u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
}

/// Postgres stores no NUL in a text.
#[must_use]
pub fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
