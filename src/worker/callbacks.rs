//! Events delivered over HTTP: one loop for each callback, in one process at a time by lease, with its own place in the log.
//!
//! Each event at least once, and those of one key (a notification) in their order: one that is not taken is tried again later, and
//! those of its key wait behind it. If nothing is taken at all, the callback rests as a whole, and is asked with one late and one new
//! event from time to time. What is answered is neither kept nor logged.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{
    Request, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Nudge, Progress, wire::Wire};
use crate::{
    clock::Clock,
    db::{
        self,
        callbacks::{self, Event, Late, Standing, Step},
        outbox,
    },
    domain::callback::{self, Answer, Key},
    lifecycle::{Lifecycle, crash},
    provider::Silence,
    telemetry,
};

/// How it is delivered.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub at_once: usize,
    pub timeout: Duration,
    pub poll: Duration,
    pub retry_base: Duration,
    pub retry_cap: Duration,
    pub give_up_after: Duration,
}

impl Rules {
    /// For how long a process has its turn: longer than a step takes, whose requests go out at once or stop at the timeout.
    pub(super) fn lease(&self) -> Duration {
        (self.timeout * 3).max(Duration::from_secs(2))
    }
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub url: Uri,
    /// The present one, and the one before while it is being changed.
    pub keys: Vec<Key>,
    /// Types, or beginnings of types with a `*`.
    pub events: Vec<String>,
}

/// The loop of one callback in this process.
pub struct Callback {
    pub worker: Uuid,
    pub pool: PgPool,
    pub clock: Clock,
    pub rules: Rules,
    pub target: Target,
    /// Woken when something was put into the log.
    pub kept: Nudge,
    pub wire: Arc<Wire>,
    /// From 0 to 1.
    pub chance: fn() -> f64,
}

const TELL_EVERY: Duration = Duration::from_secs(15);
/// So many of the log are looked at in one step, wanted or not.
const LOOK: i64 = 200;
/// So many at most that there was no turn for are given up in one statement.
const GIVE_UP: i64 = 1_000;

impl Callback {
    /// Delivers until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let (nudge, poll) = (self.kept.clone(), self.rules.poll);
        let mut told = None;
        while !life.soft().is_cancelled() {
            let now = self.clock.instant();
            if told.is_none_or(|at| now.duration_since(at) > TELL_EVERY) {
                told = Some(now);
                let _ = self.tell().await;
            }
            if let Err(error) = nudge.rest_if_idle(poll, life.soft(), self.turn()).await {
                tracing::warn!(%error, callback = self.target.name, "callback.interrupted: what is undelivered waits");
                life.rest(Duration::from_secs(2)).await;
            }
        }
        Ok(())
    }

    /// Every process tells it, so that it is known whoever has the lease.
    async fn tell(&self) -> Result<(), db::Error> {
        let reports = callbacks::reports(&self.pool, std::slice::from_ref(&self.target.name)).await?;
        let Some(report) = reports.first() else { return Ok(()) };
        let age = report.waiting_since.map(|since| self.clock.now().duration_since(since));
        let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default();
        let up = report.failing_since.is_none() && report.stopped_at.is_none();
        telemetry::tell_callback(&self.target.name, up, age, u32::try_from(report.undelivered).unwrap_or(u32::MAX));
        Ok(())
    }

    async fn turn(&self) -> Result<Progress, db::Error> {
        let lasts = self.rules.lease();
        let name = format!("callback {}", self.target.name);
        if !outbox::hold_lease(&self.pool, &name, self.worker, lasts).await? {
            return Ok(Progress::Idle);
        }
        self.step().await
    }

    /// Delivers what is next, if this callback's pause is over.
    ///
    /// # Errors
    /// If the database cannot be asked; what was delivered and not noted is delivered again, with the same id.
    pub async fn step(&self) -> Result<Progress, db::Error> {
        let name = &self.target.name;
        let Some(mut standing) = callbacks::standing(&self.pool, name).await? else { return Ok(Progress::Idle) };
        if standing.stopped || !standing.due {
            return Ok(Progress::Idle);
        }
        let given_up =
            callbacks::give_up(&self.pool, name, self.rules.give_up_after, &self.target.events, GIVE_UP).await?;
        if given_up > 0 {
            telemetry::count_callback(name, "given_up", given_up.unsigned_abs());
            tracing::error!(
                callback = name,
                events = given_up,
                "callback.gave_up: recado callbacks replay tells them again"
            );
            standing = callbacks::standing(&self.pool, name).await?.unwrap_or(standing);
        }
        let (events, mut step) = self.choose(&standing).await?;
        let outcomes = join_all(events.iter().map(|event| self.deliver(event))).await;
        if !events.is_empty() {
            crash::point("delivered");
        }
        self.weigh(&standing, events.iter().zip(outcomes), &mut step);
        if step.to == step.from && events.is_empty() {
            return Ok(Progress::Idle);
        }
        if !callbacks::note(&self.pool, name, &step).await? {
            // Somebody has begun it again meanwhile.
            return Ok(Progress::Made);
        }
        if step.stops {
            tracing::error!(
                callback = name,
                "callback.stopped: it answered 410; recado callbacks resume lets it go on"
            );
        } else if step.failed == Some(true) && standing.failures == 0 {
            tracing::warn!(callback = name, problem = step.problem, "callback.failing");
        } else if step.failed == Some(false) && standing.failures > 0 {
            tracing::info!(callback = name, "callback.recovered");
            callbacks::hurry(&self.pool, name).await?;
        }
        Ok(Progress::Made)
    }

    /// What to deliver now, no two of a key; and how far the log is passed with it.
    async fn choose(&self, standing: &Standing) -> Result<(Vec<Event>, Step), db::Error> {
        let name = &self.target.name;
        let probing = standing.failures > 0;
        let late_most = if probing { 1 } else { self.rules.at_once.div_ceil(2) };
        let most = if probing { 2 } else { self.rules.at_once };
        let late_most = i64::try_from(late_most).unwrap_or(1);
        let mut chosen = callbacks::late(&self.pool, name, probing, late_most).await?;
        let mut step = Step { from: standing.position, to: standing.position, ..Step::default() };
        if standing.full {
            return Ok((chosen, step));
        }
        let mut keys: HashSet<String> = chosen.iter().map(|event| event.key.clone()).collect();
        for event in callbacks::next(&self.pool, name, standing.position, LOOK).await? {
            let wanted = callback::wants(&self.target.events, &event.kind);
            if wanted && event.behind {
                step.late.push(Late {
                    position: event.position,
                    key: event.key,
                    tried: false,
                    wait: Duration::ZERO,
                    problem: None,
                });
            } else if wanted {
                if chosen.len() >= most || !keys.insert(event.key.clone()) {
                    break;
                }
                step.to = event.position;
                chosen.push(event);
                continue;
            }
            step.to = event.position;
        }
        Ok((chosen, step))
    }

    /// What follows from the outcomes.
    fn weigh<'a>(
        &self,
        standing: &Standing,
        outcomes: impl Iterator<Item = (&'a Event, Result<(u16, Answer), Silence>)>,
        step: &mut Step,
    ) {
        let (base, cap) = (self.rules.retry_base, self.rules.retry_cap);
        let (mut asked, mut later) = (0, Duration::ZERO);
        for (event, outcome) in outcomes {
            asked += 1;
            let counted = match &outcome {
                Ok((_, Answer::Taken)) => "delivered",
                Ok((_, Answer::Gone)) => "gone",
                Ok((_, Answer::Refused)) => "refused",
                Ok((_, Answer::Later(_))) | Err(_) => "failed",
            };
            telemetry::count_callback(&self.target.name, counted, 1);
            let (problem, asked_wait) = match outcome {
                Ok((_, Answer::Taken)) => {
                    step.delivered.push(event.position);
                    continue;
                }
                Ok((_, Answer::Gone)) => {
                    step.stops = true;
                    continue;
                }
                Ok((status, Answer::Refused)) => (format!("it answered {status}"), None),
                Ok((status, Answer::Later(wait))) => (format!("it answered {status}"), wait),
                Err(silence) => (unanswered(silence).to_owned(), None),
            };
            let tries = u32::try_from(event.tries).unwrap_or(0).saturating_add(1);
            let wait = callback::pause(tries, base, cap, (self.chance)()).max(asked_wait.unwrap_or_default());
            later = later.max(asked_wait.unwrap_or_default());
            step.problem = Some(problem.clone());
            let (position, key) = (event.position, event.key.clone());
            step.late.push(Late { position, key, tried: true, wait, problem: Some(problem) });
        }
        if step.stops {
            // Its other events may have been taken; they come again if it goes on.
            step.to = step.from;
            step.late.clear();
            step.delivered.clear();
            step.problem = Some("it answered 410: nothing is to be sent there any more".to_owned());
            return;
        }
        if asked > 0 {
            let failed = step.delivered.is_empty();
            step.failed = Some(failed);
            let failures = u32::try_from(standing.failures).unwrap_or(0).saturating_add(1);
            step.rest = if failed { callback::pause(failures, base, cap, (self.chance)()).max(later) } else { later };
        }
    }

    async fn deliver(&self, event: &Event) -> Result<(u16, Answer), Silence> {
        let id = callback::webhook_id(&event.id);
        post(&self.wire, &self.target, &id, self.clock.now().as_second(), &event.body).await
    }
}

/// Posts one signed event.
///
/// # Errors
/// How it went unanswered.
pub async fn post(wire: &Wire, to: &Target, id: &str, at: i64, body: &str) -> Result<(u16, Answer), Silence> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let request = Request::post(to.url.clone())
        .header(CONTENT_TYPE, "application/cloudevents+json")
        .header("webhook-id", id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", callback::signature(&to.keys, id, at, &body))
        .body(body)
        .map_err(|_| Silence::NotConnected)?;
    ask(wire, request).await
}

/// Sends a request to somebody who is told over HTTP: the status, and what it means.
///
/// # Errors
/// How it went unanswered.
pub(super) async fn ask(wire: &Wire, request: Request<Bytes>) -> Result<(u16, Answer), Silence> {
    let response = wire.ask(request).await?;
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let status = response.status().as_u16();
    Ok((status, callback::answer(status, retry_after)))
}

/// For people.
#[must_use]
pub const fn unanswered(silence: Silence) -> &'static str {
    match silence {
        Silence::NotConnected => "it could not be connected to, or its address is not public",
        Silence::TimedOut => "it did not answer in time",
        Silence::Cut => "the connection broke",
    }
}
