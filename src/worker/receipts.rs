//! What comes back from the provider: stored bodies are read, and each fact in them is applied.
//!
//! Everything here may happen twice and in any order. An update that cannot be read or stored is noted beside its body and
//! spoils no other; only an outage stops the batch, which is then taken again as a whole.

mod news;
mod people;
mod strays;
mod words;

use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::{
    Nudge, Progress, chance, settling, stops,
    traces::{self, Reported as Told},
    versions::{Versions, weigh},
};
use crate::{
    clock::Clock,
    db::{
        self,
        dispatch::Pace,
        holds,
        receipts::{self, Bad, Good, Stray, Undelivered},
        replies, webhooks,
    },
    domain::{
        consent::Words,
        cost::{Bill, Prices},
        fact::{Fact, Place, Receipt, ReceiptKind},
        form::Forms,
        notification::{Failure, Next, Outcome, Policy, Whose, after},
        remark::Remark,
    },
    lifecycle::Lifecycle,
    provider::{Dialect, billing, reason},
    telemetry::{self, traces::Tracer},
};

/// A sender that webhooks may be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: i16,
    /// As in the webhook's address.
    pub name: String,
    pub phone_number_id: String,
    pub waba_id: Option<String>,
    /// How its provider writes.
    pub dialect: Dialect,
    /// Texts go through it and nothing else.
    pub sms: bool,
    pub prices: Prices,
}

/// How it is applied.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bodies at once, at most.
    pub batch: i64,
    pub poll: Duration,
    /// How often to look for the attempts of strays.
    pub sweep: Duration,
    pub keep_strays: Duration,
    pub retry: Policy,
    pub pace: Pace,
    /// What whole messages mean.
    pub words: Words,
    /// In whose words people are answered; without forms nobody is.
    pub forms: Forms,
    /// Whether somebody who asks where their order is gets an answer.
    pub tell_where: bool,
}

impl Rules {
    #[must_use]
    pub fn new(retry: Policy, pace: Pace) -> Rules {
        Rules {
            batch: 100,
            poll: Duration::from_millis(200),
            sweep: Duration::from_secs(1),
            keep_strays: Duration::from_secs(7 * 24 * 3_600),
            retry,
            pace,
            words: Words::shipped(),
            forms: Forms::default(),
            tell_where: false,
        }
    }
}

/// The role that applies webhooks in this process.
pub struct Receipts {
    pub pool: PgPool,
    pub rules: Rules,
    pub known: Vec<Known>,
    /// What this process plans with.
    pub versions: Versions,
    pub clock: Clock,
    /// Woken by the door that stores webhooks.
    pub nudge: Nudge,
    /// The dispatchers', woken when something may go or end.
    pub dispatch: Nudge,
    pub tracer: Tracer,
    chance: fn() -> f64,
    sweep_at: Option<Instant>,
}

/// The most receipts in one statement, and strays in one look: the statement joins them with themselves.
const AT_ONCE: usize = 200;

/// A receipt on its way into the database: its place among the bodies or the strays that it comes from, and to whose address it came.
struct Reported {
    place: usize,
    sender: String,
    receipt: Receipt,
    bill: Option<Bill>,
}

/// What became of a good receipt.
#[derive(Clone)]
enum Taken {
    /// It is noted with its attempt, or with its free text.
    In,
    /// There is nothing that it is about.
    Stray,
    /// It cannot be stored, ever; with what to note.
    Refused(String),
}

impl Receipts {
    #[must_use]
    pub fn new(pool: PgPool, rules: Rules, known: Vec<Known>, clock: Clock, nudge: Nudge, dispatch: Nudge) -> Receipts {
        let (versions, tracer) = (Versions::default(), Tracer::default());
        Receipts { pool, rules, known, versions, clock, nudge, dispatch, tracer, chance, sweep_at: None }
    }

    /// Applies until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(mut self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let (nudge, poll) = (self.nudge.clone(), self.rules.poll);
        let mut pause = poll;
        while !life.soft().is_cancelled() {
            match nudge.rest_if_idle(poll, life.soft(), self.step()).await {
                Ok(_) => pause = poll,
                Err(error) => {
                    tracing::warn!(%error, "receipts.interrupted: what was not applied is taken again");
                    life.rest(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
        Ok(())
    }

    /// Applies the next bodies, and now and then looks for the attempts of strays.
    ///
    /// # Errors
    /// If the database cannot be asked; what was not noted as applied is taken again.
    pub async fn step(&mut self) -> Result<Progress, db::Error> {
        let bodies = webhooks::take(&self.pool, self.rules.batch).await?;
        if !bodies.is_empty() {
            match self.apply(&bodies).await {
                Ok(applied) => webhooks::done(&self.pool, &applied).await?,
                Err(error) => {
                    let ids: Vec<i64> = bodies.iter().map(|body| body.id).collect();
                    // If this fails too, they are free again when their time is over.
                    let _ = webhooks::give_back(&self.pool, &ids).await;
                    return Err(error);
                }
            }
        }
        let now = self.clock.instant();
        if self.sweep_at.is_none_or(|due| due <= now) || self.clock.is_standing() {
            self.sweep_at = Some(now + self.rules.sweep);
            self.sweep().await?;
            telemetry::tell_webhook_lag(Duration::from_secs_f64(webhooks::lag(&self.pool).await?.max(0.0)));
        }
        Ok(if bodies.is_empty() { Progress::Idle } else { Progress::Made })
    }

    async fn apply(&self, bodies: &[webhooks::Body]) -> Result<Vec<(i64, Vec<String>)>, db::Error> {
        let mut problems = vec![Vec::new(); bodies.len()];
        let mut reported = Vec::new();
        for (place, body) in bodies.iter().enumerate() {
            let dialect = self.known.iter().find(|known| known.name == body.sender).map(|known| known.dialect);
            for located in dialect.unwrap_or_default().facts(&body.bytes, self.clock.now()) {
                let problem = match located.fact {
                    Ok(Fact::Receipt(receipt)) => {
                        let bill = self.bill(self.numbered(&located.place, &body.sender).ok(), &receipt);
                        reported.push(Reported { place, sender: body.sender.clone(), receipt, bill });
                        None
                    }
                    // People's and accounts' news before the receipts: a stop should not wait for anything.
                    Ok(fact) => noted(self.heed(&body.sender, &located.place, fact).await)?,
                    Err(bad) => Some(bad.to_string()),
                };
                note(&mut problems, place, problem);
            }
        }
        let (bad, good): (Vec<_>, Vec<_>) =
            reported.into_iter().partition(|r| matches!(r.receipt.kind, ReceiptKind::Failed(_)));
        for chunk in good.chunks(AT_ONCE) {
            let mut unmatched = Vec::new();
            for (one, taken) in chunk.iter().zip(self.apply_good(chunk).await?) {
                match taken {
                    Taken::In => {}
                    Taken::Stray => unmatched.push(strays::encode(&one.sender, &one.receipt)),
                    Taken::Refused(problem) => note(&mut problems, one.place, Some(problem)),
                }
            }
            self.keep(&unmatched).await?;
        }
        for one in &bad {
            let problem = noted(self.apply_bad(&one.sender, &one.receipt, true).await)?;
            note(&mut problems, one.place, problem);
        }
        Ok(bodies.iter().map(|body| body.id).zip(problems).collect())
    }

    async fn heed(&self, sender: &str, place: &Place, fact: Fact) -> Result<(), Trouble> {
        match fact {
            Fact::Inbound(inbound) => self.hear(self.numbered(place, sender)?, &inbound).await,
            Fact::IdentityChanged { message_id, old, new, at } => {
                self.part(&message_id, &old, &new, at).await.map_err(Trouble::from)
            }
            Fact::Preference(preference) => self.respect(&preference).await.map_err(Trouble::from),
            Fact::TemplateStatus(news) => self.template_status(&self.of_account(place, sender)?, &news).await,
            Fact::TemplateCategory(news) => self.template_category(&self.of_account(place, sender)?, &news).await,
            Fact::TemplateChanged { name, language } => {
                self.template_changed(&self.of_account(place, sender)?, &name, &language).await
            }
            Fact::TemplateQuality { name, language, score } => {
                self.template_quality(&self.of_account(place, sender)?, &name, &language, &score).await
            }
            Fact::SenderQuality(news) => self.sender_quality(&self.of_account(place, sender)?, sender, &news).await,
            Fact::Account(news) => self.account(&self.of_account(place, sender)?, &news).await,
            Fact::SenderError(outcome) => self.sender_error(self.numbered(place, sender)?, &outcome).await,
            Fact::Unknown { field } => {
                tracing::debug!(sender, field = plain(&field), "webhook.ignored");
                Ok(())
            }
            Fact::Receipt(_) => Ok(()),
        }
    }

    /// Applies receipts that are no failures, and says of each what became of it.
    async fn apply_good(&self, chunk: &[Reported]) -> Result<Vec<Taken>, db::Error> {
        let began = self.clock.now();
        let goods: Vec<Good> = chunk.iter().map(|one| good(&one.receipt, one.bill)).collect();
        let applied = match receipts::apply(&self.pool, &goods).await {
            Ok(applied) => applied,
            Err(db::Error::Data { .. }) if chunk.len() > 1 => {
                // One of them cannot be stored; alone it spoils no other.
                let mut taken = Vec::with_capacity(chunk.len());
                for one in chunk {
                    taken.extend(Box::pin(self.apply_good(std::slice::from_ref(one))).await?);
                }
                return Ok(taken);
            }
            Err(error) => match Trouble::from(error) {
                Trouble::Update(problem) => return Ok(vec![Taken::Refused(problem); chunk.len()]),
                Trouble::Outage(error) => return Err(error),
            },
        };
        let mut taken = Vec::with_capacity(chunk.len());
        for (one, matched) in chunk.iter().zip(&applied.matched) {
            if *matched {
                telemetry::count_receipt(&one.sender, one.receipt.kind.as_str());
            }
            let known = *matched || self.reported(&one.sender, &one.receipt).await?;
            taken.push(if known { Taken::In } else { Taken::Stray });
        }
        let told =
            chunk.iter().zip(&applied.matched).filter(|(_, matched)| **matched).map(|(one, _)| told(&one.receipt));
        self.trace(told, began).await;
        settling::wake_lanes(&self.pool, &applied.wake, self.rules.pace, &self.dispatch).await;
        Ok(taken)
    }

    /// Applies a failure. One that has no attempt yet, or one that is still on the wire, becomes a stray if it is `fresh`. Says
    /// whether it found its attempt.
    async fn apply_bad(&self, sender: &str, receipt: &Receipt, fresh: bool) -> Result<bool, Trouble> {
        let began = self.clock.now();
        let ReceiptKind::Failed(outcome) = &receipt.kind else { return Ok(true) };
        let Some(failure) = outcome.failure() else { return Ok(true) };
        let concerned = receipts::concerned(&self.pool, &receipt.message_id, receipt.tag).await?;
        if let Some(purpose) = stops::purpose(failure) {
            self.opted_out(receipt, failure, purpose, concerned.as_ref().map(|c| c.contact)).await?;
        }
        if concerned.is_none() && self.reported(sender, receipt).await? {
            return Ok(true);
        }
        let settled = concerned.filter(|concerned| !concerned.sending);
        let Some(concerned) = settled else { return self.stray(sender, receipt, fresh).await };
        let template = (concerned.template.as_str(), concerned.language.as_str());
        let outcome = weigh(&self.versions, &self.pool, concerned.attempt, template, outcome.clone()).await?;
        let failure = outcome.failure().unwrap_or(failure);
        let next = after(costing(outcome.clone()), concerned.behind, &self.rules.retry, (self.chance)());
        let bad = Bad { message_id: &receipt.message_id, at: receipt.at, failure, pricing: receipt.pricing.as_ref() };
        let undelivered = receipts::fail(&self.pool, concerned.attempt, &bad, &next).await?;
        if matches!(next, Next::Impossible(_)) {
            self.dispatch.wake();
        }
        match undelivered {
            Undelivered::Sending => return self.stray(sender, receipt, fresh).await,
            Undelivered::Repeated => return Ok(true),
            Undelivered::Followed | Undelivered::Noted => {}
        }
        telemetry::count_receipt(sender, "failed");
        let known = Told { tag: Some(concerned.attempt), failure: Some(failure), ..told(receipt) };
        self.trace(std::iter::once(known), began).await;
        let retried = undelivered == Undelivered::Followed && matches!(next, Next::Pending { .. });
        tracing::info!(attempt = %concerned.attempt, sender, reason = failure.reason.as_str(), code = failure.code, retried,
            "attempt.undelivered");
        if let Outcome::Busy { whose: Whose::Sender, hold: false, wait, .. } = &outcome {
            self.slow_down(concerned.sender, *wait).await?;
        }
        if let Outcome::Busy { whose, hold: true, wait, .. } = &outcome {
            let scope = match whose {
                Whose::Recipient => return Ok(true),
                Whose::Sender => holds::Scope::Sender(concerned.sender),
                Whose::Template => holds::Scope::Template {
                    sender: concerned.sender,
                    template: concerned.template,
                    language: Some(concerned.language),
                },
            };
            if failure.reason == reason::TEMPLATE_DRIFTED {
                db::approvals::want(&self.pool, concerned.sender).await?;
            }
            self.hold(scope, failure, *wait).await?;
        }
        Ok(true)
    }

    /// Notes a receipt of a free text of ours. False if it is of none.
    async fn reported(&self, sender: &str, receipt: &Receipt) -> Result<bool, db::Error> {
        let failure = match &receipt.kind {
            ReceiptKind::Failed(outcome) => outcome.failure(),
            ReceiptKind::Sent | ReceiptKind::Delivered | ReceiptKind::Read => None,
        };
        let report = replies::Report {
            message_id: &receipt.message_id,
            tag: receipt.tag.map(|tag| tag.notification),
            kind: receipt.kind.as_str(),
            reason: failure.map(|failure| failure.reason.as_str()),
            code: failure.and_then(|failure| failure.code).and_then(|code| i32::try_from(code).ok()),
        };
        let Some(contact) = replies::reported(&self.pool, &report).await? else { return Ok(false) };
        if let Some((failure, purpose)) = failure.and_then(|failure| Some((failure, stops::purpose(failure)?))) {
            let evidence = serde_json::json!({
                "by": "provider", "reason": failure.reason.as_str(), "sender": sender, "message_id": receipt.message_id,
            });
            stops::record(&self.pool, contact, purpose, evidence, receipt.at).await?;
            self.dispatch.wake();
        }
        Ok(true)
    }

    async fn stray(&self, sender: &str, receipt: &Receipt, fresh: bool) -> Result<bool, Trouble> {
        if fresh {
            self.keep(&[strays::encode(sender, receipt)]).await?;
        }
        Ok(false)
    }

    async fn keep(&self, unmatched: &[Stray]) -> Result<(), db::Error> {
        for stray in unmatched {
            telemetry::count_receipt(&stray.sender, "unknown");
        }
        receipts::keep(&self.pool, unmatched).await
    }

    /// Looks once more for the attempts of receipts that had none.
    async fn sweep(&self) -> Result<(), db::Error> {
        let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        let due = receipts::strays(&self.pool, limit, self.rules.sweep, self.rules.keep_strays).await?;
        let mut found = Vec::new();
        let (mut ids, mut good) = (Vec::new(), Vec::new());
        for (id, stray) in due {
            match strays::decode(&stray) {
                None => found.push(id),
                Some(receipt) if matches!(receipt.kind, ReceiptKind::Failed(_)) => {
                    match self.apply_bad(&stray.sender, &receipt, false).await {
                        Ok(true) | Err(Trouble::Update(_)) => found.push(id),
                        Ok(false) => {}
                        Err(Trouble::Outage(error)) => return Err(error),
                    }
                }
                Some(receipt) => {
                    let known = self.known.iter().find(|known| known.name == stray.sender);
                    let bill = self.bill(known, &receipt);
                    good.push(Reported { place: ids.len(), sender: stray.sender, receipt, bill });
                    ids.push(id);
                }
            }
        }
        for (id, taken) in ids.into_iter().zip(self.apply_good(&good).await?) {
            match taken {
                Taken::In => found.push(id),
                Taken::Stray => {}
                Taken::Refused(problem) => {
                    tracing::warn!(problem, "webhook.update_not_applied");
                    found.push(id);
                }
            }
        }
        receipts::found(&self.pool, &found).await
    }

    /// Tells the traces of what was applied.
    async fn trace<'a>(&self, told: impl Iterator<Item = Told<'a>>, began: jiff::Timestamp) {
        if self.tracer.is_on() {
            let told: Vec<Told<'_>> = told.collect();
            traces::applied(&self.pool, &self.tracer, &told, began, self.clock.now()).await;
        }
    }

    async fn hold(&self, scope: holds::Scope, failure: &Failure, lasts: Option<Duration>) -> Result<(), db::Error> {
        let hold = holds::Hold {
            scope,
            reason: failure.reason.as_str().to_owned(),
            detail: failure.code.map(|code| Remark::Reported(code).to_string()),
            lasts,
            by: "provider".to_owned(),
        };
        if holds::place(&self.pool, &hold).await? {
            tracing::error!(reason = %hold.reason, code = failure.code, "hold.placed");
        }
        Ok(())
    }

    /// What a receipt says of its message's price, by the price lists of its sender.
    fn bill(&self, known: Option<&Known>, receipt: &Receipt) -> Option<Bill> {
        let billed = billing::billed(receipt.pricing.as_ref()?)?;
        Some(known?.prices.bill(billed, receipt.who.wa_id.as_deref(), receipt.at))
    }

    /// The number that an update is about.
    fn numbered(&self, place: &Place, sender: &str) -> Result<&Known, Trouble> {
        let known = match &place.number {
            Some(number) => self.known.iter().find(|known| known.phone_number_id == *number),
            None => self.known.iter().find(|known| known.name == sender),
        };
        known.ok_or(Trouble::Update("an update is about a number that is none of ours".to_owned()))
    }

    /// All numbers of the account that an update is about.
    fn of_account(&self, place: &Place, sender: &str) -> Result<Vec<&Known>, Trouble> {
        let account = place.account.as_deref();
        let mut known: Vec<_> =
            self.known.iter().filter(|known| account.is_some() && known.waba_id.as_deref() == account).collect();
        if known.is_empty() {
            // Whose account is not configured can only be told by the address.
            let unsaid = |known: &&Known| known.name == sender && (known.waba_id.is_none() || account.is_none());
            known.extend(self.known.iter().find(unsaid));
        }
        if known.is_empty() {
            return Err(Trouble::Update("an update is about an account that is none of ours".to_owned()));
        }
        Ok(known)
    }
}

/// Why an update was not applied.
enum Trouble {
    /// It cannot be, ever; with what to note.
    Update(String),
    /// It may be later.
    Outage(db::Error),
}

impl From<db::Error> for Trouble {
    fn from(error: db::Error) -> Trouble {
        match error {
            db::Error::Data { .. } | db::Error::Inconsistent { .. } => {
                Trouble::Update(format!("an update could not be stored: {error}"))
            }
            db::Error::Outage(_) => Trouble::Outage(error),
        }
    }
}

fn noted<T>(result: Result<T, Trouble>) -> Result<Option<String>, db::Error> {
    match result {
        Ok(_) => Ok(None),
        Err(Trouble::Update(problem)) => Ok(Some(problem)),
        Err(Trouble::Outage(error)) => Err(error),
    }
}

/// A field's name, if it can be nothing else: what nobody knows may be anything.
fn plain(field: &str) -> &str {
    let is_name = field.len() <= 64 && field.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
    if is_name { field } else { "(other)" }
}

/// So many problems are noted beside a body; they are rarely of many kinds.
const PROBLEMS_MAX: usize = 20;

fn note(problems: &mut [Vec<String>], body: usize, problem: Option<String>) {
    if let (Some(problems), Some(problem)) = (problems.get_mut(body), problem)
        && problems.len() < PROBLEMS_MAX
    {
        tracing::warn!(problem, "webhook.update_not_applied");
        problems.push(problem);
    }
}

fn good(receipt: &Receipt, bill: Option<Bill>) -> Good {
    Good {
        message_id: receipt.message_id.clone(),
        tag: receipt.tag,
        kind: receipt.kind.as_str(),
        at: receipt.at,
        wa_id: receipt.who.wa_id.clone(),
        user_id: receipt.who.user_id.clone(),
        pricing: receipt.pricing.clone(),
        bill,
    }
}

fn told(receipt: &Receipt) -> Told<'_> {
    Told {
        message_id: &receipt.message_id,
        tag: receipt.tag,
        kind: receipt.kind.as_str(),
        at: receipt.at,
        failure: None,
    }
}

/// A message that was accepted and failed afterwards has cost an attempt, whatever the reason: else one that is always too busy
/// later would go round for ever. Only a hold ends that by itself.
fn costing(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Busy { hold: false, failure, wait, .. } => {
            Outcome::Rejected { failure, again: Some(wait.unwrap_or_default()) }
        }
        Outcome::Unclear(failure) | Outcome::NotSent(failure) => {
            Outcome::Rejected { failure, again: Some(Duration::ZERO) }
        }
        other @ (Outcome::Accepted(_) | Outcome::Rejected { .. } | Outcome::Busy { .. }) => other,
    }
}
