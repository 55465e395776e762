//! What waits to be reported, by either provider: when it is due, and which of it is lost, doubled, mixed or late. What it says
//! is `webhooks`' and `twilio`'s affair; sending is `post`'s.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::chance::Chance;
use super::people::wa_id;
use super::twilio::Call;
use super::webhooks::{BATCH_MAX, Rules, Update};

/// What may wait at most; what comes on top is dropped and counted.
const QUEUE_MAX: usize = 4_000_000;

/// What waits to be sent.
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// Something changed: look again.
    pub(super) wake: Notify,
    /// Something was finished.
    pub(super) idle: Notify,
}

struct Queue {
    rules: Rules,
    manual: bool,
    /// Meta's, which share POSTs.
    updates: Pile<Update>,
    /// Twilio's, each a POST to an address of its own.
    calls: Pile<Arc<Call>>,
    no: u64,
    in_flight: usize,
    /// Batches that wait for their next try.
    retrying: usize,
    chance: Chance,
    tally: Tally,
}

/// What waits of one kind: until it is due, or until it is taken by hand.
struct Pile<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    held: Vec<T>,
}

/// What became of updates, in numbers.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tally {
    pub waiting: usize,
    pub delivered: u64,
    pub failed_posts: u64,
    pub given_up: u64,
    pub dropped: u64,
}

struct Due<T> {
    at: Instant,
    no: u64,
    what: T,
}

/// What the pump does next.
pub(super) enum Next {
    Post(Vec<Update>),
    Call(Arc<Call>),
    Wait(Instant),
    Idle,
}

impl Outbox {
    pub(super) fn new(rules: Rules, manual: bool, seed: u64) -> Self {
        Self {
            queue: Mutex::new(Queue {
                rules,
                manual,
                updates: Pile::default(),
                calls: Pile::default(),
                no: 0,
                in_flight: 0,
                retrying: 0,
                chance: Chance::new(seed),
                tally: Tally::default(),
            }),
            wake: Notify::new(),
            idle: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rules(&self) -> Rules {
        self.queue().rules.clone()
    }

    /// The delays to `sent`, `delivered` and `read`.
    pub(super) fn delays(&self) -> [u64; 3] {
        let queue = self.queue();
        [queue.rules.sent_ms, queue.rules.delivered_ms, queue.rules.read_ms]
    }

    pub(super) fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        let mut queue = self.queue();
        change(&mut queue.rules);
        queue.rules.batch = queue.rules.batch.clamp(1, BATCH_MAX);
        queue.rules.parallel = queue.rules.parallel.max(1);
        let canonical = |phone: &String| wa_id(&phone.chars().filter(char::is_ascii_digit).collect::<String>());
        queue.rules.drop_to = queue.rules.drop_to.iter().map(canonical).collect();
        drop(queue);
        self.wake.notify_one();
    }

    /// Queues Meta's updates, each due after its delay (ms). Losing, doubling and mixing happen here.
    pub(super) fn schedule(&self, updates: Vec<(u64, Update)>) {
        let mut guard = self.queue();
        let queue = &mut *guard;
        if queue.rules.url.is_none() && !queue.manual {
            queue.tally.dropped += updates.len() as u64;
            return;
        }
        for (delay, update) in queue.chosen(updates, concerns_update) {
            let due = queue.due(delay, update);
            queue.updates.lay(due, queue.manual);
        }
        drop(guard);
        self.wake.notify_one();
    }

    /// Queues Twilio's calls likewise.
    pub(super) fn schedule_calls(&self, calls: Vec<(u64, Arc<Call>)>) {
        let mut guard = self.queue();
        let queue = &mut *guard;
        for (delay, call) in queue.chosen(calls, concerns_call) {
            let due = queue.due(delay, call);
            queue.calls.lay(due, queue.manual);
        }
        drop(guard);
        self.wake.notify_one();
    }

    /// Puts back what could not be sent, due now.
    pub(super) fn put_back(&self, updates: Vec<Update>) {
        let mut guard = self.queue();
        let queue = &mut *guard;
        for update in updates {
            queue.no += 1;
            queue.updates.heap.push(Reverse(Due { at: Instant::now(), no: queue.no, what: update }));
        }
        drop(guard);
        self.wake.notify_one();
    }

    /// The same for a call.
    pub(super) fn put_back_call(&self, call: Arc<Call>) {
        let mut guard = self.queue();
        let queue = &mut *guard;
        queue.no += 1;
        queue.calls.heap.push(Reverse(Due { at: Instant::now(), no: queue.no, what: call }));
        drop(guard);
        self.wake.notify_one();
    }

    /// What to do now; a batch or a call counts as in flight until `finished`.
    pub(super) fn next(&self) -> Next {
        let mut guard = self.queue();
        let queue = &mut *guard;
        if !queue.rules.on || queue.in_flight >= queue.rules.parallel {
            return Next::Idle;
        }
        let now = Instant::now();
        let linger = Duration::from_millis(queue.rules.linger_ms);
        let update = queue.updates.first().filter(|_| queue.rules.url.is_some()).map(|at| at + linger);
        let call = queue.calls.first();
        if call.is_some_and(|call| call <= now && update.is_none_or(|update| call <= update)) {
            let Some(Reverse(due)) = queue.calls.heap.pop() else { return Next::Idle };
            queue.in_flight += 1;
            return Next::Call(due.what);
        }
        let Some(due) = update.into_iter().chain(call).min() else { return Next::Idle };
        if due > now {
            return Next::Wait(due);
        }
        let mut batch = Vec::new();
        while batch.len() < queue.rules.batch && queue.updates.first().is_some_and(|at| at <= now) {
            batch.extend(queue.updates.heap.pop().map(|Reverse(due)| due.what));
        }
        if queue.rules.shuffle {
            queue.chance.shuffle(&mut batch);
        }
        queue.in_flight += 1;
        Next::Post(batch)
    }

    pub(super) fn finished(&self, tell: impl FnOnce(&mut Tally)) {
        let mut queue = self.queue();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        tell(&mut queue.tally);
        drop(queue);
        self.wake.notify_one();
        self.idle.notify_waiters();
    }

    /// A batch was not taken and waits for its next try. Others may go meanwhile: it holds nobody up.
    pub(super) fn step_aside(&self) {
        let mut queue = self.queue();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        queue.retrying += 1;
        queue.tally.failed_posts += 1;
        drop(queue);
        self.wake.notify_one();
    }

    /// It is tried again.
    pub(super) fn step_back(&self) {
        let mut queue = self.queue();
        queue.retrying = queue.retrying.saturating_sub(1);
        queue.in_flight += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        let queue = self.queue();
        queue.in_flight == 0 && queue.retrying == 0 && queue.updates.heap.is_empty() && queue.calls.heap.is_empty()
    }

    pub(super) fn tally(&self) -> Tally {
        let queue = self.queue();
        Tally { waiting: queue.waiting(), ..queue.tally }
    }

    pub(super) fn forget(&self) {
        let mut queue = self.queue();
        queue.updates = Pile::default();
        queue.calls = Pile::default();
        queue.tally = Tally::default();
    }

    /// Manual mode: takes the updates that wait, and the secret to sign them with.
    pub(super) fn take(&self) -> (Vec<Update>, String) {
        let mut guard = self.queue();
        let queue = &mut *guard;
        let mut held = std::mem::take(&mut queue.updates.held);
        if queue.rules.shuffle {
            queue.chance.shuffle(&mut held);
        }
        (held, queue.rules.secret.clone())
    }

    /// Manual mode: takes the calls that wait.
    pub(super) fn take_calls(&self) -> Vec<Arc<Call>> {
        let mut guard = self.queue();
        let queue = &mut *guard;
        let mut held = std::mem::take(&mut queue.calls.held);
        if queue.rules.shuffle {
            queue.chance.shuffle(&mut held);
        }
        held
    }
}

/// Whose message a report is about, and its tag, if it is about one.
type Concerned<'a> = Option<(&'a str, Option<&'a str>)>;

fn concerns_update(update: &Update) -> Concerned<'_> {
    match update {
        Update::Status(sent, _) => Some((&sent.who.wa_id, sent.tag.as_deref())),
        Update::Inbound { .. } | Update::Field { .. } => None,
    }
}

fn concerns_call(call: &Arc<Call>) -> Concerned<'_> {
    call.status.as_ref().map(|_| (call.wa_id.as_str(), Some(call.url.as_str())))
}

impl Queue {
    fn waiting(&self) -> usize {
        self.updates.len() + self.calls.len()
    }

    /// What comes of these reports, each as often as it comes, with its delay.
    fn chosen<T: Clone>(&mut self, mut reports: Vec<(u64, T)>, concerns: fn(&T) -> Concerned<'_>) -> Vec<(u64, T)> {
        if self.rules.shuffle {
            let mut delays: Vec<u64> = reports.iter().map(|(delay, _)| *delay).collect();
            self.chance.shuffle(&mut delays);
            for (slot, delay) in reports.iter_mut().zip(delays) {
                slot.0 = delay;
            }
        }
        let mut chosen = Vec::with_capacity(reports.len());
        for (delay, report) in reports {
            if self.loses(concerns(&report)) || self.waiting() + chosen.len() >= QUEUE_MAX {
                self.tally.dropped += 1;
                continue;
            }
            for _ in 0..=self.rules.duplicates {
                chosen.push((delay, report.clone()));
            }
        }
        chosen
    }

    fn loses(&mut self, concerned: Concerned<'_>) -> bool {
        if let Some((wa_id, tag)) = concerned
            && (self.rules.drop_to.contains(wa_id) || tag.is_some_and(|tag| self.rules.drop_tags.contains(tag)))
        {
            return true;
        }
        self.rules.drop_permille > 0 && self.chance.below(1000) < u64::from(self.rules.drop_permille)
    }

    fn due<T>(&mut self, delay: u64, what: T) -> Due<T> {
        let jitter = if self.manual { 0 } else { self.chance.below(self.rules.jitter_ms + 1) };
        self.no += 1;
        Due { at: Instant::now() + Duration::from_millis(delay + jitter), no: self.no, what }
    }
}

impl<T> Pile<T> {
    fn lay(&mut self, due: Due<T>, by_hand: bool) {
        if by_hand {
            self.held.push(due.what);
        } else {
            self.heap.push(Reverse(due));
        }
    }

    fn first(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    fn len(&self) -> usize {
        self.heap.len() + self.held.len()
    }
}

impl<T> Default for Pile<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), held: Vec::new() }
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.no == other.no
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.no).cmp(&(other.at, other.no))
    }
}
