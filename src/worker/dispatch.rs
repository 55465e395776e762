//! Permit, claim, send, settle: the only place from which notifications go to a provider's send endpoint. Free texts go from `replies`.
//!
//! A claim never waits in memory: a free slot and a rate token are in hand before anything is claimed, so what a crash puts
//! in doubt is at most what the slots hold.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    Flag, Nudge, Progress, chance,
    purse::{Purse, Room, Spending},
    rate::{Backing, SenderRate},
    settling, stops,
    traces::{self, Followable},
    versions::{Versions, weigh},
    wire::Wire,
};
use crate::{
    clock::Clock,
    db::{
        self,
        dispatch::{Claim, Frozen, Pace, Terms, claim},
        holds,
        settle::Settlement,
    },
    domain::{
        cost::{Charge, Prices},
        message::{Content, Outgoing, Recipient},
        notification::{self, Behind, Failure, Outcome, Policy, Whose, reason},
        phone::Phone,
        remark::Remark,
    },
    lifecycle::{Lifecycle, crash},
    provider::{Provider, reason as provider_reason},
    telemetry::{self, Attempts, traces::Tracer},
};

/// How one sender's notifications are sent.
#[derive(Debug, Clone)]
pub struct Rules {
    pub slots: usize,
    pub batch: u32,
    pub lease: Duration,
    /// The whole request; less than half of the lease.
    pub send_timeout: Duration,
    pub connect_timeout: Duration,
    pub poll: Duration,
    pub pace: Pace,
    pub retry: Policy,
    pub backing: Backing,
    pub only_to: Option<Vec<String>>,
    pub settling: settling::Rules,
}

/// One sender's dispatcher in this process.
pub struct Dispatcher {
    pub sender: i16,
    pub name: String,
    pub provider: Arc<dyn Provider>,
    pub rules: Rules,
    pub rate: Arc<SenderRate>,
    /// What this process plans with.
    pub versions: Versions,
    pool: PgPool,
    wire: Wire,
    figures: Attempts,
    clock: Clock,
    nudge: Nudge,
    /// Up while the database takes no results.
    pub stuck: Flag,
    slots: Arc<Semaphore>,
    day: Flag,
    /// What messages are expected to cost, and what may be spent: nothing is known and nothing limited, if nobody says otherwise.
    pub prices: Prices,
    pub purse: Purse,
    pub tracer: Tracer,
    chance: fn() -> f64,
}

/// Where a claim's look at the due index begins. Only the step that owns it moves it.
#[derive(Debug, Clone)]
pub struct Cursor {
    due_from: [Timestamp; 2],
    scan: i64,
    /// Whether the last claim took all that it was permitted to: then there is more, and fuller claims cost less.
    backlog: bool,
    rewind_at: std::time::Instant,
}

/// How far behind the first due row a look begins, for rows that are committed late.
const MARGIN: SignedDuration = SignedDuration::from_millis(100);
/// How often it begins at the beginning; more rarely if that takes long, so that it costs a twentieth of the time at most: while
/// somebody's snapshot is open, every index entry since then is read again.
const REWIND: Duration = Duration::from_secs(10);
const REWIND_SHARE: u32 = 20;
/// How long a claim waits for more slots while there is a backlog.
const FULLER: Duration = Duration::from_millis(5);

impl Cursor {
    #[must_use]
    pub fn new(clock: &Clock) -> Cursor {
        Cursor { due_from: [Timestamp::UNIX_EPOCH; 2], scan: 1, backlog: false, rewind_at: clock.instant() }
    }
}

/// A request with a claim behind it, and when it may start at the latest.
struct Ready {
    claim: Claim,
    charge: Charge,
    spending: Spending,
    start_before: std::time::Instant,
    followable: Option<Followable>,
}

impl Dispatcher {
    /// # Errors
    /// If this system's certificates cannot be used.
    #[expect(clippy::too_many_arguments, reason = "everything that one sender is made of, named once, at the start")]
    pub fn new(
        sender: i16,
        name: String,
        provider: Arc<dyn Provider>,
        rules: Rules,
        rate: SenderRate,
        pool: PgPool,
        clock: Clock,
        nudge: Nudge,
        day: Flag,
    ) -> Result<Dispatcher, rustls::Error> {
        let wire = Wire::new(rules.send_timeout, rules.connect_timeout, rules.slots)?;
        let figures = Attempts::of(&name);
        let prices = Prices::none(&name);
        let slots = Arc::new(Semaphore::new(rules.slots));
        Ok(Dispatcher {
            sender,
            name,
            provider,
            rules,
            rate: Arc::new(rate),
            versions: Versions::default(),
            pool,
            wire,
            figures,
            clock,
            nudge,
            stuck: Flag::default(),
            slots,
            day,
            prices,
            purse: Purse::default(),
            tracer: Tracer::default(),
            chance,
        })
    }

    /// Claims and sends until the soft token; then finishes what is in flight.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self: Arc<Self>, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let (results, received) = mpsc::channel(self.rules.slots);
        let settling = life.spawn(settling::run(
            self.pool.clone(),
            self.rules.settling.clone(),
            self.stuck.clone(),
            self.nudge.clone(),
            received,
        ));
        let mut cursor = Cursor::new(&self.clock);
        while !life.soft().is_cancelled() {
            let step = self.step(&mut cursor, &results, &life);
            if let Err(error) = self.nudge.rest_if_idle(self.rules.poll, life.soft(), step).await {
                tracing::warn!(sender = %self.name, %error, "dispatch.claim_failed");
                self.wait_for_database(&life).await;
            }
        }
        drop(results);
        // Whoever is in flight holds a slot until the result is written.
        let all = u32::try_from(self.rules.slots).unwrap_or(u32::MAX);
        let _finished = self.slots.acquire_many(all).await;
        let _ = settling.await;
        Ok(())
    }

    /// One claim, and a request in a task of its own for each notification that goes.
    async fn step(
        self: &Arc<Self>,
        cursor: &mut Cursor,
        results: &mpsc::Sender<settling::Result>,
        life: &Lifecycle,
    ) -> Result<Progress, db::Error> {
        if self.stuck.is_up() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Ok(Progress::Idle);
        }
        // Only what waits is left at the soft token; a claim that was begun is sent out.
        let permit = async {
            let slots = self.free_slots(cursor.backlog).await?;
            let tokens = self.rate.take(u32::try_from(slots.num_permits()).unwrap_or(1)).await;
            Some((slots, tokens))
        };
        let permit = tokio::select! {
            permit = permit => permit,
            () = life.soft().cancelled() => None,
        };
        let Some((mut slots, tokens)) = permit else { return Ok(Progress::Idle) };
        let (ready, progress) = self.claim(cursor, tokens).await?;
        if !ready.is_empty() {
            crash::point("claimed");
        }
        let mut left = u32::try_from(ready.len()).unwrap_or(0);
        self.rate.put_back(tokens.saturating_sub(left));
        let mut ready = ready.into_iter();
        while left > 0 {
            let now = self.rate.let_out(left).await;
            left -= now;
            for one in ready.by_ref().take(now as usize) {
                let Some(slot) = slots.split(1) else { break };
                let (dispatcher, results) = (Arc::clone(self), results.clone());
                life.spawn(async move {
                    let (settlement, spending, followable) = dispatcher.send(one).await;
                    crash::point("answered");
                    // Nobody takes results any more only when the process ends hard: the lease will tell.
                    let _ = results.send(settling::Result { settlement, slot, spending, followable }).await;
                });
            }
        }
        Ok(progress)
    }

    /// One claim with everything that follows, one after the other: what tests call. Says how many went.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn round(&self, cursor: &mut Cursor, most: u32) -> Result<(usize, Progress), db::Error> {
        let (ready, progress) = self.claim(cursor, most).await?;
        let went = ready.len();
        let sent = futures_util::future::join_all(ready.into_iter().map(|one| self.send(one))).await;
        // What was spent is given back when the results are written.
        let (settlements, _spending): (Vec<_>, Vec<_>) =
            sent.into_iter().map(|(settlement, spending, _)| (settlement, spending)).unzip();
        if !settlements.is_empty() {
            settling::write(&self.pool, &self.rules.settling, &self.stuck, &self.nudge, &settlements).await;
        }
        Ok((went, progress))
    }

    /// After a lost connection the database may be another one than before: it is asked before anything is claimed again.
    async fn wait_for_database(&self, life: &Lifecycle) {
        let mut pause = Duration::from_millis(200);
        while !life.soft().is_cancelled() {
            tokio::time::sleep(pause).await;
            match db::senders::check_timeline(&self.pool).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(sender = %self.name, %error, "dispatch.waits: the database is out of reach");
                }
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Slots that are taken: requests on the wire, and results that are not written yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.rules.slots.saturating_sub(self.slots.available_permits())
    }

    /// All slots that are free, up to a batch: at least one; in a backlog half a batch, if that many are free soon.
    async fn free_slots(&self, backlog: bool) -> Option<OwnedSemaphorePermit> {
        let half = self.rules.batch.min(u32::try_from(self.rules.slots).unwrap_or(u32::MAX)) / 2;
        let many = Arc::clone(&self.slots).acquire_many_owned(half.max(1));
        let mut slots = match backlog {
            true => match tokio::time::timeout(FULLER, many).await {
                Ok(slots) => slots.ok()?,
                Err(_) => Arc::clone(&self.slots).acquire_owned().await.ok()?,
            },
            false => Arc::clone(&self.slots).acquire_owned().await.ok()?,
        };
        let missing = (self.rules.batch as usize).saturating_sub(slots.num_permits());
        let more = self.slots.available_permits().min(missing);
        if let Ok(more) = Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            slots.merge(more);
        }
        Some(slots)
    }

    async fn claim(&self, cursor: &mut Cursor, permits: u32) -> Result<(Vec<Ready>, Progress), db::Error> {
        let (began, began_at) = (self.clock.instant(), self.clock.now());
        let rewinds = began >= cursor.rewind_at || self.clock.is_standing();
        if rewinds {
            cursor.due_from = [Timestamp::UNIX_EPOCH; 2];
        }
        let permits = i64::from(self.purse.permits(permits));
        let mut due_from = cursor.due_from;
        let budget_spent = match self.purse.room() {
            Room::Free => None,
            Room::Waits => {
                // Until the fleet is counted again only what is urgent is looked at.
                due_from[1] = Timestamp::MAX;
                None
            }
            Room::Spent { until } => Some(until),
        };
        let terms = Terms {
            sender: self.sender,
            permits,
            scan: cursor.scan.max(permits),
            due_from,
            lease: self.rules.lease,
            pace: self.rules.pace,
            only_to: self.rules.only_to.as_deref(),
            day_full: self.day.is_up(),
            budget_spent,
            content_ids: self.provider.wants_content_id(),
        };
        let claimed = claim(&self.pool, &terms).await?;
        let took = began.elapsed();
        telemetry::time_claim(took, claimed.go.len() as u64);
        if rewinds {
            cursor.rewind_at = began + REWIND.max(took * REWIND_SHARE);
        }
        for (from, first) in cursor.due_from.iter_mut().zip(claimed.first_due) {
            if let Some(first) = first {
                *from = first.saturating_sub(MARGIN).unwrap_or(Timestamp::UNIX_EPOCH);
            }
        }
        cursor.backlog = claimed.left > 0 || claimed.go.len() as i64 == permits;
        // Rows that can only be put aside cost no permit: look further ahead until there are some that go.
        // What somebody holds, or cannot be judged yet, is passed over: it must not hide what is due behind it.
        let passed_over = claimed.seen.saturating_sub(claimed.go.len() + claimed.put_aside + claimed.left);
        cursor.scan = if claimed.put_aside + passed_over > claimed.go.len() { (terms.scan * 2).min(200) } else { 1 };
        if !claimed.wake.is_empty() {
            let lanes: Vec<_> = claimed.wake.iter().map(|contact| (*contact, self.sender)).collect();
            settling::wake_lanes(&self.pool, &lanes, self.rules.pace, &self.nudge).await;
        }
        let progress = if claimed.go.is_empty() && claimed.put_aside == 0 { Progress::Idle } else { Progress::Made };
        // Counted from before the claim was sent, so later than the lease by nothing but safety.
        let start_before = began + self.rules.lease.saturating_sub(self.rules.send_timeout * 2);
        let traced = traces::of_claims(&self.pool, &self.tracer, &claimed.go).await;
        let now = self.clock.now();
        let ready = claimed.go.into_iter().map(|claim| {
            let charge = self.prices.expect(&claim.template, &claim.phone, claim.category, now);
            let spending = self.purse.spend(charge.price.map_or(0, |price| price.micros));
            let traced = traced.get(&claim.attempt.notification);
            let followable = traced.map(|traced| traces::claimed(&self.tracer, &self.clock, &claim, *traced, began_at));
            Ready { claim, charge, spending, start_before, followable }
        });
        Ok((ready.collect(), progress))
    }

    async fn send(&self, ready: Ready) -> (Settlement, Spending, Option<Followable>) {
        let Ready { claim, charge, spending, start_before, mut followable } = ready;
        let (began, began_at) = (std::time::Instant::now(), followable.as_ref().map(|_| self.clock.now()));
        if let (1, Some(planned_at)) = (claim.attempt.number, claim.attempt.planned_at()) {
            let took = self.clock.now().duration_since(planned_at);
            telemetry::time_to_send(&self.name, Duration::try_from(took).unwrap_or_default());
        }
        let request = outgoing(&claim, self.clock.now()).and_then(|outgoing| self.provider.encode(&outgoing));
        let outcome = match request {
            Ok(_) if self.clock.instant() > start_before => not_sent(reason::TOO_LATE_TO_SEND),
            Ok(request) => self.post(request).await,
            Err(reason) => not_sendable(reason),
        };
        let outcome = self.weighed(&claim, outcome).await;
        let took = began.elapsed();
        let name = outcome_name(&outcome);
        self.figures.count(name, took);
        let failure = outcome.failure();
        tracing::info!(notification = %claim.attempt.notification, attempt = claim.attempt.number, sender = %self.name,
            template = %claim.template, outcome = name, reason = failure.map(|f| f.reason.as_str()), code = failure.and_then(|f| f.code),
            resend = claim.resend, took_ms = took.as_millis() as u64, "attempt.ended");
        if let (Some(followable), Some(began)) = (&mut followable, began_at) {
            let (sender, template, resend) = (self.name.as_str(), claim.template.as_str(), claim.resend);
            followable.ended(traces::Ended { sender, template, outcome: name, failure, resend, began });
        }
        self.heed(&claim, &outcome).await;
        self.obey(&claim, &outcome).await;
        let behind = Behind {
            tries: claim.tries,
            attempts: claim.attempt.number.unsigned_abs().saturating_sub(1),
            backoffs: claim.backoffs,
            as_text: matches!(claim.content, Frozen::Text(_)),
        };
        if let Outcome::Accepted(acceptance) = &outcome {
            self.learn(&claim, acceptance).await;
        }
        // The system is asked for randomness only if something is to be spread.
        let chance = if matches!(outcome, Outcome::Accepted(_)) { 0.0 } else { (self.chance)() };
        let next = notification::after(outcome, behind, &self.rules.retry, chance);
        (Settlement { attempt: claim.attempt, outcome: name, next, charge }, spending, followable)
    }

    async fn post(&self, request: Request<Bytes>) -> Outcome {
        let outcome = self.wire.send(&*self.provider, request).await;
        match &outcome {
            Outcome::Unclear(_) if self.rate.unclear(self.rules.backing) => {
                tracing::error!(sender = %self.name, "sender.in_trouble: its provider answers nothing clear; one message goes at a time until it does");
            }
            Outcome::Accepted(_) | Outcome::Rejected { .. } | Outcome::Busy { .. } if self.rate.answered() => {
                tracing::info!(sender = %self.name, "sender.answered: its provider answers clearly again");
            }
            Outcome::Accepted(_)
            | Outcome::Rejected { .. }
            | Outcome::NotSent(_)
            | Outcome::Busy { .. }
            | Outcome::Unclear(_) => {}
        }
        outcome
    }

    /// What an answer about the template means for this message, which may be older than the template. Unknown, it is taken at its word.
    async fn weighed(&self, claim: &Claim, outcome: Outcome) -> Outcome {
        if !matches!(outcome, Outcome::Busy { whose: Whose::Template, .. }) {
            return outcome;
        }
        let template = (claim.template.as_str(), claim.language.as_str());
        weigh(&self.versions, &self.pool, claim.attempt, template, outcome.clone()).await.unwrap_or(outcome)
    }

    /// An answer about the sender or the template concerns more than this message.
    async fn heed(&self, claim: &Claim, outcome: &Outcome) {
        let Outcome::Busy { whose, hold, failure, wait } = outcome else { return };
        match (whose, hold) {
            (Whose::Recipient, _) => {}
            (_, false) => self.rate.back_off(self.rules.backing, *wait),
            (Whose::Sender, true) => self.hold(holds::Scope::Sender(self.sender), failure, *wait).await,
            (Whose::Template, true) => {
                let scope = holds::Scope::Template {
                    sender: self.sender,
                    template: claim.template.clone(),
                    language: Some(claim.language.clone()),
                };
                self.hold(scope, failure, *wait).await;
            }
        }
    }

    /// A refusal that says that the person has said no is their no. If it cannot be written down, the next refusal says it again.
    async fn obey(&self, claim: &Claim, outcome: &Outcome) {
        let Some(failure) = outcome.failure() else { return };
        let Some(purpose) = stops::purpose(failure) else { return };
        let evidence = serde_json::json!({
            "by": "provider", "reason": failure.reason.as_str(), "sender": self.name, "attempt": claim.attempt.to_string(),
        });
        if let Err(error) = stops::record(&self.pool, claim.contact_id, purpose, evidence, self.clock.now()).await {
            tracing::warn!(sender = %self.name, %error, "consent.not_revoked");
        }
    }

    /// The provider has another template than we thought: it is to be read.
    async fn look_again(&self, failure: &Failure) {
        if failure.reason == provider_reason::TEMPLATE_DRIFTED
            && let Err(error) = db::approvals::want(&self.pool, self.sender).await
        {
            tracing::debug!(%error, "templates.not_wanted: they are read on schedule");
        }
    }

    async fn hold(&self, scope: holds::Scope, failure: &Failure, wait: Option<Duration>) {
        let hold = holds::Hold {
            scope,
            reason: failure.reason.as_str().to_owned(),
            detail: failure.code.map(|code| Remark::Answered(code).to_string()),
            lasts: wait,
            by: "provider".to_owned(),
        };
        self.look_again(failure).await;
        match holds::place(&self.pool, &hold).await {
            Ok(true) => tracing::error!(sender = %self.name, reason = %hold.reason, code = failure.code, "hold.placed"),
            Ok(false) => {}
            Err(error) => {
                // The next answer will say it again; until then at least this process slows down.
                tracing::warn!(sender = %self.name, %error, "hold.not_placed");
                self.rate.back_off(self.rules.backing, wait);
            }
        }
    }

    async fn learn(&self, claim: &Claim, acceptance: &notification::Acceptance) {
        let wa_id = acceptance.wa_id.as_deref().filter(|wa_id| claim.phone.strip_prefix('+') != Some(wa_id));
        if wa_id.is_none() && acceptance.user_id.is_none() {
            return;
        }
        if let Err(error) =
            db::contacts::learn(&self.pool, claim.contact_id, wa_id, acceptance.user_id.as_deref()).await
        {
            tracing::debug!(%error, "contact.not_learnt: the next answer or receipt will tell again");
        }
    }
}

/// The message of a claim as its provider gets it.
///
/// # Errors
/// If what the database keeps cannot be read.
pub fn outgoing(claim: &Claim, now: Timestamp) -> Result<Outgoing, notification::Reason> {
    let to = Phone::parse(&claim.phone).map_err(|_| notification::Reason::new("phone_unreadable"))?;
    let content = match &claim.content {
        Frozen::Text(text) => Content::Text(text.clone()),
        Frozen::Template { content_id, filled } => Content::Template {
            name: claim.template.clone(),
            language: claim.language.clone(),
            content_id: content_id.clone(),
            filled: serde_json::from_str(filled).map_err(|_| notification::Reason::new("values_unreadable"))?,
        },
    };
    let life = Duration::try_from(claim.expires_at.duration_since(now)).unwrap_or_default();
    Ok(Outgoing { to: Recipient::Number(to.reveal().to_owned()), content, tag: claim.attempt, life })
}

fn not_sent(reason: notification::Reason) -> Outcome {
    Outcome::NotSent(Failure { reason, code: None, detail: None })
}

fn not_sendable(reason: notification::Reason) -> Outcome {
    Outcome::Rejected { failure: Failure { reason, code: None, detail: None }, again: None }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Rejected { .. } => "rejected",
        Outcome::NotSent(_) => "not_sent",
        Outcome::Busy { .. } => "busy",
        Outcome::Unclear(_) => "unclear",
    }
}
