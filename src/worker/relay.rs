//! The providers' webhooks handed on byte for byte, with the headers by which the provider proves them: one loop for each sender that
//! has a relay, in one process at a time by lease, one request after the other in the order in which they were stored.
//!
//! Nothing of ours waits for it: webhooks are stored and applied whether or not they are handed on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Progress,
    callbacks::{Rules, Target, ask, unanswered},
    wire::Wire,
};
use crate::{
    clock::Clock,
    db::{
        self, outbox,
        relay::{self, Due, Step},
    },
    domain::callback::{self, Answer},
    lifecycle::{Lifecycle, crash},
    provider::Silence,
    telemetry,
};

/// The loop of one sender in this process.
pub struct Relay {
    pub worker: Uuid,
    pub pool: PgPool,
    pub clock: Clock,
    pub rules: Rules,
    /// Its name is the sender's; without keys nothing is signed by us.
    pub target: Target,
    pub wire: Arc<Wire>,
    /// From 0 to 1.
    pub chance: fn() -> f64,
}

/// Webhooks handed on in one step, one after the other.
const AT_ONCE: i64 = 20;
/// Requests for one that the target refuses: then it is passed over, or one that it cannot read would hold up all others.
const REFUSALS: i32 = 5;
const TELL_EVERY: Duration = Duration::from_secs(15);

impl Relay {
    /// Hands on until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let mut told = None;
        while !life.soft().is_cancelled() {
            let pause = match self.turn().await {
                Ok(Some(Progress::Made)) => Duration::ZERO,
                Ok(_) => self.rules.poll,
                Err(error) => {
                    tracing::warn!(%error, sender = self.target.name, "relay.interrupted: what is not handed on waits");
                    Duration::from_secs(2)
                }
            };
            let now = self.clock.instant();
            if told.is_none_or(|at| now.duration_since(at) > TELL_EVERY) {
                told = Some(now);
                let _ = self.tell().await;
            }
            life.rest(pause).await;
        }
        Ok(())
    }

    async fn turn(&self) -> Result<Option<Progress>, db::Error> {
        let lasts = self.rules.lease();
        if !outbox::hold_lease(&self.pool, &format!("relay {}", self.target.name), self.worker, lasts).await? {
            return Ok(None);
        }
        self.step().await.map(Some)
    }

    async fn tell(&self) -> Result<(), db::Error> {
        let reports = relay::reports(&self.pool, std::slice::from_ref(&self.target.name)).await?;
        let since = reports.first().and_then(|report| report.waiting_since);
        let age = since.and_then(|since| Duration::try_from(self.clock.now().duration_since(since)).ok());
        telemetry::tell_relay_age(&self.target.name, age.unwrap_or_default());
        Ok(())
    }

    /// Hands on what is next, if the pause is over.
    ///
    /// # Errors
    /// If the database cannot be asked; what was handed on and not noted is handed on again.
    pub async fn step(&self) -> Result<Progress, db::Error> {
        let sender = &self.target.name;
        let standing = relay::standing(&self.pool, sender).await?;
        if !standing.due {
            return Ok(Progress::Idle);
        }
        let given_up = relay::give_up(&self.pool, sender, self.rules.give_up_after).await?;
        if given_up > 0 {
            telemetry::count_relayed(sender, "given_up", given_up.unsigned_abs());
            tracing::error!(sender, webhooks = given_up, "relay.gave_up: they were too old");
        }
        let due = relay::next(&self.pool, sender, AT_ONCE).await?;
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        let began = self.clock.instant();
        let mut step = Step::default();
        let failures = u32::try_from(standing.failures).unwrap_or(0);
        for webhook in &due {
            // Well within the lease, so that nobody else begins while this goes on.
            if self.clock.instant().duration_since(began) > self.rules.timeout {
                break;
            }
            let tries = if step.delivered.is_empty() { standing.tries + 1 } else { 1 };
            let (problem, wait, refused) = match self.hand_on(webhook).await {
                Ok((_, Answer::Taken)) => {
                    step.delivered.push(webhook.id);
                    continue;
                }
                Ok((status, Answer::Refused)) => (format!("it answered {status}"), None, true),
                Ok((status, Answer::Later(wait))) => (format!("it answered {status}"), wait, false),
                Ok((status, Answer::Gone)) => (format!("it answered {status}"), None, false),
                Err(silence) => (unanswered(silence).to_owned(), None, false),
            };
            telemetry::count_relayed(sender, "failed", 1);
            if refused && tries >= REFUSALS {
                step.given_up = Some(webhook.id);
                telemetry::count_relayed(sender, "given_up", 1);
                tracing::error!(sender, webhook = webhook.id, "relay.gave_up: it was refused again and again");
                break;
            }
            let failures = if step.delivered.is_empty() { failures + 1 } else { 1 };
            let pause = callback::pause(failures, self.rules.retry_base, self.rules.retry_cap, (self.chance)());
            if failures == 1 {
                tracing::warn!(sender, problem, "relay.failing");
            }
            step.failed = Some((pause.max(wait.unwrap_or_default()), problem));
            break;
        }
        crash::point("relayed");
        telemetry::count_relayed(sender, "delivered", step.delivered.len() as u64);
        relay::note(&self.pool, sender, &step).await?;
        Ok(Progress::Made)
    }

    async fn hand_on(&self, webhook: &Due) -> Result<(u16, Answer), Silence> {
        ask(&self.wire, self.request(webhook).ok_or(Silence::NotConnected)?).await
    }

    /// The body as it came, with what came with it.
    fn request(&self, webhook: &Due) -> Option<Request<Bytes>> {
        let mut request =
            Request::post(with_query(&self.target.url, webhook.with.get("query").and_then(|q| q.as_str()))?);
        for (name, value) in webhook.with.get("headers").and_then(|headers| headers.as_object()).into_iter().flatten() {
            let name: HeaderName = name.parse().ok()?;
            request = request.header(name, HeaderValue::from_str(value.as_str()?).ok()?);
        }
        if let Some(url) = webhook.with.get("url").and_then(|url| url.as_str()) {
            request = request.header("recado-signed-url", HeaderValue::from_str(url).ok()?);
        }
        if !self.target.keys.is_empty() {
            let (id, at) = (format!("relay_{}_{}", self.target.name, webhook.id), self.clock.now().as_second());
            let signature = callback::signature(&self.target.keys, &id, at, &webhook.body);
            request =
                request.header("webhook-id", id).header("webhook-timestamp", at).header("webhook-signature", signature);
        }
        request.body(webhook.body.clone().into()).ok()
    }
}

/// The address with the query that the webhook came with.
fn with_query(url: &Uri, query: Option<&str>) -> Option<Uri> {
    let Some(query) = query else { return Some(url.clone()) };
    let joint = if url.query().is_some() { '&' } else { '?' };
    format!("{url}{joint}{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_handed_on_beside_the_targets_own() {
        let with = |url: &str, query| with_query(&url.parse().unwrap(), query).unwrap().to_string();
        assert_eq!(with("https://inbox.example/a", None), "https://inbox.example/a");
        assert_eq!(with("https://inbox.example/a", Some("attempt=7")), "https://inbox.example/a?attempt=7");
        assert_eq!(with("https://inbox.example/a?key=1", Some("b=%2B")), "https://inbox.example/a?key=1&b=%2B");
    }
}
