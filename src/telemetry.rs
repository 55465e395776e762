//! What Recado says about itself: logs to standard error, every metric, by name and meaning, in one place, and [`traces`].
//!
//! No phone, name, text, token or body in any of them. `sender` is a sender's configured name; every other label has few values,
//! known in advance.

pub mod traces;

use std::{collections::BTreeMap, io::Write, sync::OnceLock, time::Duration};

use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Telemetry could not begin; some other part of the process began it already, or the level makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotBegun(String);

/// Starts logging to standard error, as `log` says.
///
/// # Errors
/// If logging was started already.
pub fn begin_logging(log: &Log) -> Result<(), NotBegun> {
    // What lapin logs, our errors say as well; and a returned message it logs whole, with the phone and the name in it.
    let lapin = if log.level.contains("lapin") { "lapin::returned_messages" } else { "lapin" };
    let level = format!("{},{lapin}=off", log.level);
    let filter = EnvFilter::try_new(level).map_err(|error| NotBegun(format!("log.level: {error}")))?;
    let registry = tracing_subscriber::registry().with(filter);
    let begun = match log.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colours)).try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
    begun.map_err(|error| NotBegun(format!("logging: {error}")))
}

/// A panic is told by its place alone: what it says may hold anything, a person's name and number too.
pub fn mind_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        let seen = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        let backtrace = seen.then(|| backtrace.to_string());
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, thread = thread.name(), backtrace, "process.panicked: a fault of Recado's own");
        } else {
            let _ = writeln!(
                std::io::stderr(),
                "recado: panicked at {place}: a fault of Recado's own. {}",
                backtrace.unwrap_or_default()
            );
        }
    }));
}

/// What Prometheus is told.
#[derive(Clone)]
pub struct Figures(PrometheusHandle);

impl Figures {
    /// The recorder of this process; begun once, the same for everybody who asks.
    ///
    /// # Errors
    /// If another recorder was installed first.
    pub fn begin() -> Result<Figures, NotBegun> {
        static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
        let handle = HANDLE.get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
                .and_then(PrometheusBuilder::install_recorder)
                .map_err(|error| error.to_string())?;
            describe();
            Ok(handle)
        });
        handle.clone().map(Figures).map_err(|error| NotBegun(format!("metrics: {error}")))
    }

    /// Everything, in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Takes the samples in, so that memory stays small if nobody asks. To be called every few seconds.
    pub fn settle(&self) {
        self.0.run_upkeep();
    }
}

/// Bounds for durations: from a claim's milliseconds to a queue's hour.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0,
];

const INBOX: &str = "recado_inbox_events_total";
const INTAKE_BATCH: &str = "recado_intake_batch_duration_seconds";
const BROKER_UP: &str = "recado_broker_connected";
const CLAIM: &str = "recado_claim_duration_seconds";
const CLAIMED: &str = "recado_claimed_total";
const IN_FLIGHT: &str = "recado_in_flight";
const ATTEMPTS: &str = "recado_attempts_total";
const ATTEMPT: &str = "recado_attempt_duration_seconds";
const LATENCY: &str = "recado_event_to_send_seconds";
const LOST_LEASES: &str = "recado_leases_lost_total";
const ENDED: &str = "recado_notifications_ended_total";
const QUEUE_AGE: &str = "recado_queue_age_seconds";
const BACKLOG: &str = "recado_notifications";
const IN_DOUBT: &str = "recado_in_doubt";
const HOLDS: &str = "recado_holds";
const SENDER_RATE: &str = "recado_sender_rate_per_second";
const DAILY: &str = "recado_daily_recipients";
const SPENT: &str = "recado_budget_spent";
const BUDGET: &str = "recado_budget_limit";
const DAILY_LIMIT: &str = "recado_daily_limit";
const SENDER_ABLE: &str = "recado_sender_able";
const WEBHOOKS: &str = "recado_webhooks_total";
const RECEIPTS: &str = "recado_receipts_total";
const WEBHOOK_LAG: &str = "recado_webhook_unapplied_age_seconds";
const OUTBOX_LAG: &str = "recado_outbox_age_seconds";
const PUBLISHED: &str = "recado_status_events_published_total";
const CALLBACKS: &str = "recado_callback_events_total";
const CALLBACK_AGE: &str = "recado_callback_age_seconds";
const CALLBACK_UP: &str = "recado_callback_up";
const CALLBACK_UNDELIVERED: &str = "recado_callback_undelivered_events";
const RELAYED: &str = "recado_relayed_webhooks_total";
const RELAY_AGE: &str = "recado_relay_age_seconds";
const REJECTED: &str = "recado_rejected_events";
const SPANS: &str = "recado_trace_spans_total";

/// An event was recorded, or not: `accepted`, `duplicate`, `conflict`, `ignored`, `rejected`.
pub fn count_inbox(verdict: &'static str, events: u64) {
    counter!(INBOX, "verdict" => verdict).increment(events);
}

/// How long a batch of events took from its first byte to its acknowledgement.
pub fn time_intake(took: Duration) {
    histogram!(INTAKE_BATCH).record(took.as_secs_f64());
}

/// Whether the intake has its consumer: 1 or 0.
pub fn tell_broker(connected: bool) {
    gauge!(BROKER_UP).set(f64::from(u8::from(connected)));
}

/// How long one claim statement took, and how many notifications it claimed.
pub fn time_claim(took: Duration, claimed: u64) {
    histogram!(CLAIM).record(took.as_secs_f64());
    counter!(CLAIMED).increment(claimed);
}

/// Requests on the wire in this process, or waiting for their result to be written.
pub fn tell_in_flight(sender: &str, requests: u32) {
    gauge!(IN_FLIGHT, "sender" => sender.to_owned()).set(f64::from(requests));
}

/// One sender's attempts, counted without looking the metric up each time.
pub struct Attempts {
    ended: [(&'static str, Counter); 5],
    took: Histogram,
}

impl Attempts {
    #[must_use]
    pub fn of(sender: &str) -> Attempts {
        let ended = |outcome| (outcome, counter!(ATTEMPTS, "sender" => sender.to_owned(), "outcome" => outcome));
        Attempts {
            ended: ["accepted", "rejected", "not_sent", "busy", "unclear"].map(ended),
            took: histogram!(ATTEMPT, "sender" => sender.to_owned()),
        }
    }

    /// One attempt ended: `accepted`, `rejected`, `not_sent`, `busy`, `unclear`. `took` is the request alone.
    pub fn count(&self, outcome: &'static str, took: Duration) {
        if let Some((_, counter)) = self.ended.iter().find(|(name, _)| *name == outcome) {
            counter.increment(1);
        }
        self.took.record(took.as_secs_f64());
    }
}

/// From an event's arrival to its first request, waits included.
pub fn time_to_send(sender: &str, took: Duration) {
    histogram!(LATENCY, "sender" => sender.to_owned()).record(took.as_secs_f64());
}

/// A result came after its lease was lost; it is kept as evidence.
pub fn count_lost_lease() {
    counter!(LOST_LEASES).increment(1);
}

/// Status events that the broker has confirmed, each by its kind and reason; those that tell of an end are counted as that:
/// `accepted`, `failed` or `suppressed`, with one of our reasons.
pub fn count_published<'a>(told: impl Iterator<Item = (&'a str, Option<&'a str>)>) {
    let mut events = 0;
    let mut ends: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (kind, reason) in told {
        events += 1;
        if matches!(kind, "accepted" | "failed" | "suppressed") {
            *ends.entry((kind, reason.unwrap_or_default())).or_default() += 1;
        }
    }
    counter!(PUBLISHED).increment(events);
    for ((state, reason), notifications) in ends {
        counter!(ENDED, "state" => state.to_owned(), "reason" => reason.to_owned()).increment(notifications);
    }
}

/// How long the oldest notification has been due. The one to alert on.
pub fn tell_queue_age(sender: &str, age: Duration) {
    gauge!(QUEUE_AGE, "sender" => sender.to_owned()).set(age.as_secs_f64());
}

/// How many notifications are in an unfinished `state`, as last counted, up to 10,000: `due`, `later`, `sending`, or what they wait on.
pub fn tell_backlog(state: &'static str, notifications: u32) {
    gauge!(BACKLOG, "state" => state).set(f64::from(notifications));
}

/// How many notifications are in doubt.
pub fn tell_in_doubt(sender: &str, notifications: u32) {
    gauge!(IN_DOUBT, "sender" => sender.to_owned()).set(f64::from(notifications));
}

/// How many holds are in force: on a `sender`, a `template`, or `everything`.
pub fn tell_holds(on: &'static str, holds: u32) {
    gauge!(HOLDS, "on" => on).set(f64::from(holds));
}

/// This process's present share of a sender's rate.
pub fn tell_sender_rate(sender: &str, per_second: f64) {
    gauge!(SENDER_RATE, "sender" => sender.to_owned()).set(per_second);
}

/// Unique recipients of the last 24 hours that count against a portfolio's limit.
pub fn tell_daily_recipients(portfolio: &str, recipients: u32) {
    gauge!(DAILY, "portfolio" => portfolio.to_owned()).set(f64::from(recipients));
}

/// What a sender has spent in the present `day` or `month`, and what it may; both in millionths.
pub fn tell_budget(sender: &str, period: &'static str, currency: &str, spent: i64, limit: i64) {
    let labels = [("sender", sender.to_owned()), ("period", period.to_owned()), ("currency", currency.to_owned())];
    gauge!(SPENT, &labels).set(spent as f64 / 1e6);
    gauge!(BUDGET, &labels).set(limit as f64 / 1e6);
}

/// How many a portfolio may have of them before the others wait: the least of what is set and what the provider allows, less the share
/// that is kept free.
pub fn tell_daily_limit(portfolio: &str, recipients: u32) {
    gauge!(DAILY_LIMIT, "portfolio" => portfolio.to_owned()).set(f64::from(recipients));
}

/// Whether a sender may send, as its provider last said: 1 or 0.
pub fn tell_sender_able(sender: &str, able: bool) {
    gauge!(SENDER_ABLE, "sender" => sender.to_owned()).set(f64::from(u8::from(able)));
}

/// A webhook was answered: `stored`, `bad_signature`, `too_large`, `unreadable`, `failed`.
pub fn count_webhook(sender: &str, answer: &'static str) {
    counter!(WEBHOOKS, "sender" => sender.to_owned(), "answer" => answer).increment(1);
}

/// A receipt was applied: `sent`, `delivered`, `read`, `failed`; or `unknown` if it matches nothing yet.
pub fn count_receipt(sender: &str, receipt: &'static str) {
    counter!(RECEIPTS, "sender" => sender.to_owned(), "receipt" => receipt).increment(1);
}

/// How old the oldest webhook is that is stored and not applied.
pub fn tell_webhook_lag(age: Duration) {
    gauge!(WEBHOOK_LAG).set(age.as_secs_f64());
}

/// How old the oldest status event is that is not published.
pub fn tell_outbox_lag(age: Duration) {
    gauge!(OUTBOX_LAG).set(age.as_secs_f64());
}

/// Events were `delivered` to a callback, `refused` by it, or it `failed`, was `gone`; or they were `given_up`.
pub fn count_callback(callback: &str, outcome: &'static str, events: u64) {
    counter!(CALLBACKS, "callback" => callback.to_owned(), "outcome" => outcome).increment(events);
}

/// How a callback stands: whether it takes events (1 or 0), how old the oldest is that it has to get, and how many were given up and can
/// be replayed.
pub fn tell_callback(callback: &str, up: bool, age: Duration, undelivered: u32) {
    gauge!(CALLBACK_UP, "callback" => callback.to_owned()).set(f64::from(u8::from(up)));
    gauge!(CALLBACK_AGE, "callback" => callback.to_owned()).set(age.as_secs_f64());
    gauge!(CALLBACK_UNDELIVERED, "callback" => callback.to_owned()).set(f64::from(undelivered));
}

/// Webhooks of a sender were `delivered` to its relay's target, or it `failed`; or they were `given_up`.
pub fn count_relayed(sender: &str, outcome: &'static str, webhooks: u64) {
    counter!(RELAYED, "sender" => sender.to_owned(), "outcome" => outcome).increment(webhooks);
}

/// How old the oldest webhook of a sender is that is to be handed on.
pub fn tell_relay_age(sender: &str, age: Duration) {
    gauge!(RELAY_AGE, "sender" => sender.to_owned()).set(age.as_secs_f64());
}

/// Rejected events that nobody has replayed, counted up to 10,000.
pub fn tell_rejected(events: u32) {
    gauge!(REJECTED).set(f64::from(events));
}

/// Spans of traces, by their fate: `exported`, `dropped` for want of room, `refused` by a collector that is away or does not want them.
pub fn count_spans(fate: &'static str, spans: u64) {
    counter!(SPANS, "fate" => fate).increment(spans);
}

fn describe() {
    describe_counter!(INBOX, "Events received, by what became of them.");
    describe_histogram!(INTAKE_BATCH, "From a batch's first event to its acknowledgement.");
    describe_gauge!(BROKER_UP, "1 if the intake has its consumer.");
    describe_histogram!(CLAIM, "One claim statement.");
    describe_counter!(CLAIMED, "Notifications claimed.");
    describe_gauge!(IN_FLIGHT, "Requests on the wire in this process, or waiting for their result to be written.");
    describe_counter!(ATTEMPTS, "Requests to providers, by outcome.");
    describe_histogram!(ATTEMPT, "One request to a provider.");
    describe_histogram!(LATENCY, "From an event's arrival to its first request, waits included.");
    describe_counter!(LOST_LEASES, "Results that came after their lease was lost.");
    describe_counter!(ENDED, "Notifications that reached an end, as told by the outbox.");
    describe_gauge!(QUEUE_AGE, "How long the oldest notification has been due. Alert on this.");
    describe_gauge!(BACKLOG, "Unfinished notifications, by state; counted up to 10000.");
    describe_gauge!(IN_DOUBT, "Notifications whose outcome is unknown.");
    describe_gauge!(HOLDS, "Holds in force.");
    describe_gauge!(SENDER_RATE, "This process's share of a sender's rate.");
    describe_gauge!(DAILY, "Unique recipients in 24 hours that count against a portfolio's limit.");
    describe_gauge!(SPENT, "What a sender has spent in this day or month (UTC), predicted where it is not known.");
    describe_gauge!(BUDGET, "What a sender may spend in a day or month before what is not urgent waits.");
    describe_gauge!(DAILY_LIMIT, "Recipients of 24 hours at which a portfolio's other messages wait.");
    describe_gauge!(SENDER_ABLE, "1 if the provider lets the sender send, 0 if not; absent if it has not said.");
    describe_counter!(WEBHOOKS, "Webhooks, by answer.");
    describe_counter!(RECEIPTS, "Receipts applied.");
    describe_gauge!(WEBHOOK_LAG, "Age of the oldest stored webhook that is not applied.");
    describe_gauge!(OUTBOX_LAG, "Age of the oldest status event that is not published.");
    describe_counter!(PUBLISHED, "Status events that the broker has confirmed.");
    describe_counter!(CALLBACKS, "Requests to callbacks by outcome, and events that were given up.");
    describe_gauge!(CALLBACK_UP, "1 if the callback takes events.");
    describe_gauge!(CALLBACK_AGE, "Age of the oldest event that a callback has to get.");
    describe_gauge!(
        CALLBACK_UNDELIVERED,
        "Events that a callback was not given, and that can be replayed; counted up to 10000."
    );
    describe_counter!(RELAYED, "Webhooks handed on, by outcome.");
    describe_gauge!(RELAY_AGE, "Age of the oldest webhook that is to be handed on.");
    describe_gauge!(REJECTED, "Rejected events that nobody has replayed; counted up to 10000.");
    describe_counter!(SPANS, "Spans of traces, by what became of them.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_show_what_was_counted_with_its_meaning() {
        let figures = Figures::begin().unwrap();
        Attempts::of("main").count("accepted", Duration::from_millis(180));
        tell_queue_age("main", Duration::from_secs(7));
        let page = Figures::begin().unwrap().render();
        figures.settle();
        assert!(page.contains(r#"recado_attempts_total{sender="main",outcome="accepted"} 1"#), "{page}");
        assert!(page.contains(r#"recado_attempt_duration_seconds_bucket{sender="main",le="0.25"} 1"#), "{page}");
        assert!(page.contains(r#"recado_queue_age_seconds{sender="main"} 7"#), "{page}");
        assert!(
            page.contains("# HELP recado_queue_age_seconds How long the oldest notification has been due."),
            "{page}"
        );
    }
}
