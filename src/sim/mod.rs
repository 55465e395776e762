//! The world outside: a simulator of Meta's WhatsApp Cloud API and of Twilio's WhatsApp and SMS, for development, demonstrations
//! and tests.
//!
//! It is a reading of the providers' documents of its own and imports nothing of the product, so that two readings must agree.
//! It models senders, templates, people and what was sent between them (`World`), answers as Meta and as Twilio do, reports by
//! signed webhooks, and breaks on request. People, their phones, paces, windows, faults and the ledger are the same for both.
//!
//! | module | what |
//! |---|---|
//! | `world` | who and what there is |
//! | `messages`, `templates`, `parameters` | what a request must look like |
//! | `accept`, `acts` | what happens when a business sends, and when a person does something |
//! | `people`, `pace`, `chance` | phones, limits, repeatable chance |
//! | `webhooks`, `outbox`, `post` | what Meta reports; what waits to be reported by either; how it is sent |
//! | `faults`, `broken`, `wire` | what goes wrong; what it leaves of an answer; the connections it goes wrong on |
//! | `ledger`, `feed` | what was accepted, on disk; what happened, for a live view |
//! | `graph`, `management`, `refusal` | Meta's addresses, answers and errors |
//! | `access` | the token, the app, the account, and what stands in a number's way |
//! | `twilio` | Twilio's addresses, content, errors, calls and words |
//! | `control` | the simulator's own addresses, under `/_sim` |
//!
//! What the documents leave open is decided for the strict side: a `to` without `+` gets the business number's country
//! code in front, media and interactive messages, groups, read receipts and typing indicators are refused as not simulated (131051). HTTP/2 is not spoken.

mod accept;
mod access;
mod acts;
mod broken;
mod chance;
mod control;
mod faults;
mod feed;
mod graph;
mod ledger;
mod management;
mod messages;
mod outbox;
mod pace;
mod parameters;
mod people;
mod post;
mod refusal;
mod review;
mod templates;
mod twilio;
mod webhooks;
mod wire;
mod world;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use access::{Access, Obstacle};
pub use acts::Unable;
pub use faults::{Fault, Garbage, On, Script};
pub use feed::{Happening, What};
pub use outbox::Tally;
pub use pace::Pair;
pub use people::{Person, Ways};
pub use templates::{Approval, Frame, Link, Press};
pub use twilio::{Post, Review, Stage, TwilioAccount, TwilioNumber, TwilioService};
pub use webhooks::{Rules, Webhook, sign};
pub use world::{Accepted, Clock, Counters, Manners, Sender, World};

/// How a simulator begins.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    pub waba_id: String,
    pub senders: Vec<Sender>,
    /// Templates as Meta's API has them; approved, unless they have a `status`.
    pub templates: Vec<Value>,
    pub webhooks: Rules,
    /// Webhooks are kept for `World::take_webhooks` instead of being sent.
    pub manual_webhooks: bool,
    /// A file for one JSON line a message accepted, synced before the answer. It is appended to.
    pub ledger: Option<PathBuf>,
    /// The world's time in Unix ms; the system's, if absent. Delays and latencies are real time all the same.
    pub clock: Option<Clock>,
    /// For repeatable chance. Simulators that share a ledger need different ones, or none: message ids come from it.
    pub seed: Option<u64>,
    /// An answer takes so long, and up to `jitter_ms` more. The message is processed at the beginning of it.
    pub latency_ms: u64,
    pub jitter_ms: u64,
    pub pair: Pair,
    /// People whom nobody introduced are on WhatsApp.
    pub strangers_on_whatsapp: bool,
    /// Codes about a recipient that come later as a `failed` status instead of as an answer (131026, 131050).
    pub late: BTreeSet<u32>,
    /// How many messages are remembered.
    pub kept: usize,
    /// How many happenings are remembered; 0 for none.
    pub feed: usize,
    /// The account at Twilio.
    pub twilio: TwilioAccount,
    /// Its content, as `World::add_content` takes it.
    pub contents: Vec<Value>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            waba_id: "100000000000001".into(),
            senders: vec![Sender::default()],
            templates: Vec::new(),
            webhooks: Rules::default(),
            manual_webhooks: false,
            ledger: None,
            clock: None,
            seed: None,
            latency_ms: 0,
            jitter_ms: 0,
            pair: Pair::default(),
            strangers_on_whatsapp: true,
            late: BTreeSet::from([131026]),
            kept: 200_000,
            feed: 10_000,
            twilio: TwilioAccount::default(),
            contents: Vec::new(),
        }
    }
}

/// Why a simulator cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot make the world (ledger or templates): {0}")]
    World(#[from] io::Error),
    #[error("cannot make the client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
    #[error("the system gives no randomness")]
    Randomness,
}

/// A simulator at work. Dropping it stops it.
pub struct Sim {
    address: SocketAddr,
    house: control::House,
    stop: CancellationToken,
}

impl Sim {
    /// Listens, and sends webhooks, until it is shut down or dropped.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let listener =
            TcpListener::bind(options.address).await.map_err(|error| Error::Listen(options.address, error))?;
        let address = listener.local_addr()?;
        let manual = options.manual_webhooks;
        let seed = match options.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|_| Error::Randomness)?,
        };
        let world = Arc::new(World::new(options, seed)?);
        let client = post::client()?;
        let stop = CancellationToken::new();
        let (open, watch_open) = watch::channel(true);
        let house = control::House { world: Arc::clone(&world), client: client.clone(), open: Arc::new(open) };
        let router = graph::router(Arc::clone(&world))
            .nest("/_sim", control::router(house.clone()))
            .merge(twilio::router(Arc::clone(&world)));
        let tasks = world.tasks.clone();
        tasks.spawn(wire::serve(listener, router, watch_open, stop.clone(), tasks.clone()));
        if !manual {
            tasks.spawn(post::pump(world, client, stop.clone()));
        }
        Ok(Self { address, house, stop })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, without a version and without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn world(&self) -> &Arc<World> {
        &self.house.world
    }

    /// Opens or closes the door: while closed, connections are refused and those that exist are ended.
    pub fn set_open(&self, open: bool) {
        self.house.set_open(open);
    }

    /// Makes Meta's verification call to the webhook's URL. `Ok(true)` if it was answered as it must be.
    pub async fn verify_webhook(&self) -> Result<bool, String> {
        post::verify(&self.house.world, &self.house.client).await
    }

    /// Waits until no webhook waits or is on its way. False if that takes longer than `limit`.
    pub async fn drained(&self, limit: Duration) -> bool {
        let outbox = &self.house.world.outbox;
        let drained = async {
            loop {
                let finished = outbox.idle.notified();
                tokio::pin!(finished);
                finished.as_mut().enable();
                if outbox.is_empty() {
                    return;
                }
                finished.await;
            }
        };
        timeout(limit, drained).await.is_ok()
    }

    /// Stops it: no connection, no webhook any more. What was accepted is in the ledger.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let tasks = self.house.world.tasks.clone();
        tasks.close();
        // Only a stalled request could still be waiting; it is not worth waiting for.
        drop(timeout(Duration::from_secs(1), tasks.wait()).await);
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
