//! Looks for messages whose answer was lost in the lists of those providers that have one. What is found settles the doubt. That nothing is
//! found is written down, and says something only later, since lists lag behind: silence is judged in `upkeep`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Nudge, wire::Wire};
use crate::{
    clock::Clock,
    db::{
        self,
        doubt::{self, Lost},
        outbox,
        receipts::{self, Bad},
        settle,
    },
    domain::notification::{AttemptId, Behind, Outcome, Policy, after},
    inbox::reading::Reader,
    lifecycle::Lifecycle,
    provider::{Evidence, Provider, Sight, Sought},
};

/// How to look.
#[derive(Debug, Clone)]
pub struct Rules {
    pub every: Duration,
    /// How long after it was claimed a request may still have been answered. A process that died keeps the others from looking as long.
    pub lease: Duration,
    /// When the silence of reports begins to mean something: by then each message was looked for several times.
    pub window: Duration,
    pub retry: Policy,
}

/// The role that looks for lost messages; one process at a time does.
pub struct Lookout {
    pub worker: Uuid,
    pub pool: PgPool,
    pub rules: Rules,
    pub reader: Arc<Reader>,
    pub clock: Clock,
    pub nudge: Nudge,
    wire: Wire,
    /// The senders whose providers can be asked.
    providers: HashMap<i16, Arc<dyn Provider>>,
    /// How often a message was looked for.
    looks: HashMap<AttemptId, u32>,
    /// Where the last step ended, if there are more, and those that were in doubt since the first of them.
    after: Option<(Timestamp, Uuid)>,
    seen: HashSet<AttemptId>,
}

const LEASE: &str = "doubts";
/// Messages among which a step looks for those whose time it is; the oldest doubts come first, and the next step goes on behind them.
const AT_ONCE: i64 = 50;
/// The first look comes after this part of the window, and each further one after twice the time, so that one comes soon after it.
const FIRST_PART: u32 = 60;
const DOUBLINGS: u32 = 9;
/// So many of the person's latest messages are looked through at first, and twice as many each further time: more may have followed.
const LATEST: usize = 50;
/// A thousand messages take about one megabyte.
const LIST_LIMIT: usize = 8 * 1_024 * 1_024;
/// How far the provider's clock and ours may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

impl Lookout {
    /// `None` if no provider can be asked.
    pub fn new(
        worker: Uuid,
        pool: PgPool,
        rules: Rules,
        reader: Arc<Reader>,
        (clock, nudge): (Clock, Nudge),
        wire: Wire,
        providers: impl IntoIterator<Item = (i16, Arc<dyn Provider>)>,
    ) -> Option<Lookout> {
        let listed = |of: &(i16, Arc<dyn Provider>)| of.1.evidence() == Evidence::ReportsAndList;
        let providers: HashMap<_, _> = providers.into_iter().filter(listed).collect();
        let (looks, wire) = (HashMap::new(), wire.reading(LIST_LIMIT));
        let (after, seen) = (None, HashSet::new());
        let some = !providers.is_empty();
        some.then_some(Lookout { worker, pool, rules, reader, clock, nudge, wire, providers, looks, after, seen })
    }

    /// The senders whose providers it asks.
    #[must_use]
    pub fn listed(&self) -> Vec<i16> {
        self.providers.keys().copied().collect()
    }

    /// Looks until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(mut self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "doubt.not_looked_into: tried again");
            }
            life.rest(self.rules.every).await;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), db::Error> {
        if outbox::hold_lease(&self.pool, LEASE, self.worker, self.rules.lease).await? {
            self.step().await
        } else {
            Ok(())
        }
    }

    /// Looks once for each message for which it is time.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn step(&mut self) -> Result<(), db::Error> {
        let around = self.rules.lease + Duration::from_secs(60);
        let first = SignedDuration::try_from(self.rules.window / FIRST_PART).unwrap_or_default();
        let (lost, now) = doubt::lost(&self.pool, &self.listed(), around, self.after, AT_ONCE).await?;
        self.seen.extend(lost.iter().map(|lost| lost.attempt));
        let whole = i64::try_from(lost.len()).is_ok_and(|looked| looked >= AT_ONCE);
        self.after = lost.last().filter(|_| whole).map(|lost| (lost.since, lost.attempt.notification));
        if self.after.is_none() {
            let seen = std::mem::take(&mut self.seen);
            self.looks.retain(|attempt, _| seen.contains(attempt));
        }
        for lost in lost {
            let looks = self.looks.get(&lost.attempt).copied().unwrap_or_default();
            let due = first.saturating_mul(2_i32.saturating_pow(looks.min(DOUBLINGS)));
            if now.duration_since(lost.since) < due || lost.rivalled {
                continue;
            }
            self.looks.insert(lost.attempt, looks + 1);
            self.look(&lost, LATEST << looks.min(DOUBLINGS)).await?;
        }
        Ok(())
    }

    async fn look(&self, lost: &Lost, latest: usize) -> Result<(), db::Error> {
        let Some(provider) = self.providers.get(&lost.sender) else { return Ok(()) };
        let Some(text) = self.text(lost) else { return Ok(()) };
        let lease = SignedDuration::try_from(self.rules.lease).unwrap_or_default();
        let sought = Sought {
            to: &lost.phone,
            from: lost.claimed_at.saturating_sub(SKEW).unwrap_or(Timestamp::MIN),
            until: lost.claimed_at.saturating_add(lease + SKEW).unwrap_or(Timestamp::MAX),
            text: &text,
            others: &lost.others,
            latest,
        };
        let Some(request) = provider.look(&sought) else { return Ok(()) };
        let Ok(answer) = self.wire.ask(request).await else { return Ok(()) };
        match provider.seen(&sought, &answer) {
            Sight::Found { message_id, failed: None } => {
                if settle::adopt(&self.pool, lost.attempt, &message_id).await? {
                    tracing::info!(attempt = %lost.attempt, "doubt.found: the provider's list has its message");
                    self.nudge.wake();
                }
            }
            Sight::Found { message_id, failed: Some(outcome) } => self.fail(lost, &message_id, outcome).await?,
            Sight::Nothing => doubt::looked_in_vain(&self.pool, lost.attempt).await?,
            Sight::Unsure | Sight::Unreadable => {
                tracing::debug!(attempt = %lost.attempt, "doubt.unclear: the provider's list does not tell");
            }
        }
        Ok(())
    }

    async fn fail(&self, lost: &Lost, message_id: &str, outcome: Outcome) -> Result<(), db::Error> {
        let Outcome::Rejected { failure, .. } = &outcome else { return Ok(()) };
        let bad = Bad { message_id, at: self.clock.now(), failure, pricing: None };
        let behind = Behind { as_text: lost.free_text.is_some(), ..Behind::default() };
        let next = after(outcome.clone(), behind, &self.rules.retry, 0.5);
        receipts::fail(&self.pool, lost.attempt, &bad, &next).await?;
        tracing::info!(attempt = %lost.attempt, reason = failure.reason.as_str(), "attempt.undelivered: so the provider's list says");
        Ok(())
    }

    /// What the message says: its own words, or its template's if that still says them.
    fn text(&self, lost: &Lost) -> Option<String> {
        if let Some(text) = &lost.free_text {
            return Some(text.clone());
        }
        let filled = serde_json::from_str(lost.filled.as_deref()?).ok()?;
        Some(self.reader.catalogue.template(&lost.template)?.reading(&lost.language, &filled)?.body)
    }
}
