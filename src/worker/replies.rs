//! Free texts on their way: answers to people's messages, and the SMS of opt-ins. Each permitted by one act, sent once at most. Besides
//! `dispatch` nobody else speaks to a provider's send endpoint.
//!
//! One process does it at a time, by a lease, so that the pace is that of the fleet. A text is written only when it goes: its links
//! and codes are made then and kept as hashes. One whose outcome is unknown is not sent again; whoever waits for it asks again.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Progress, rate::SenderRate, stops, wire::Wire};
use crate::{
    clock::Clock,
    db::{
        self, holds, outbox, preferences,
        replies::{self, Claim, Fate},
    },
    domain::{
        consent::{Meaning, Words},
        form::{Forms, says::Saying},
        message::{Content, Outgoing, Recipient},
        notification::{AttemptId, Failure, Outcome, Whose},
        opt_in::{CODE_LASTS, LINK_LASTS, PREFERENCES_LAST, Token, typed_code, typed_code_hash},
        remark::Remark,
        whereabouts::Whereabouts,
    },
    lifecycle::Lifecycle,
    provider::Provider,
};

/// A sender of texts.
#[derive(Debug, Clone)]
pub struct Line {
    pub id: i16,
    pub name: String,
    pub provider: Arc<dyn Provider>,
    /// Texts a second.
    pub rate: u32,
    /// The rate of the same number's notifications in this process: what it lets out in a second is for both together.
    pub shared: Option<Arc<SenderRate>>,
    /// In 24 hours, if there is such a limit.
    pub daily: Option<u32>,
}

/// How texts go out.
#[derive(Debug, Clone)]
pub struct Rules {
    pub poll: Duration,
    pub lease: Duration,
    pub send_timeout: Duration,
    pub connect_timeout: Duration,
    /// Requests for one text, at most; only what is proven not sent is sent again.
    pub tries: i16,
    /// Only these numbers may be written to, if set.
    pub only_to: Option<Vec<String>>,
    /// How the world reaches our pages, without a slash at the end.
    pub base_url: String,
    pub words: Words,
    /// What is said of how far an order has come.
    pub whereabouts: Whereabouts,
}

/// The role that sends texts in this process.
pub struct Replies {
    pub worker: Uuid,
    pub pool: PgPool,
    pub clock: Clock,
    pub rules: Rules,
    pub forms: Forms,
    pub lines: Vec<Line>,
    wire: Wire,
    /// When each line may send again.
    free_at: HashMap<i16, Instant>,
}

const LEASE: &str = "replies";
/// How long a process that died keeps the others from sending texts.
const LEASE_LASTS: Duration = Duration::from_secs(15);
/// A link that comes an hour late is of no use to whoever waits for it.
const LIFE: Duration = Duration::from_secs(3_600);
/// Texts of one sender in a step; each is sent before the next is taken.
const AT_ONCE: i64 = 1;

impl Replies {
    /// # Errors
    /// If this system's certificates cannot be used.
    pub fn new(
        worker: Uuid,
        pool: PgPool,
        clock: Clock,
        rules: Rules,
        forms: Forms,
        lines: Vec<Line>,
    ) -> Result<Replies, rustls::Error> {
        let wire = Wire::new(rules.send_timeout, rules.connect_timeout, lines.len())?;
        Ok(Replies { worker, pool, clock, rules, forms, lines, wire, free_at: HashMap::new() })
    }

    /// Sends until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(mut self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            let pause = match self.turn().await {
                Ok(Progress::Made) => continue,
                Ok(Progress::Idle) => self.rules.poll,
                Err(error) => {
                    tracing::warn!(%error, "replies.interrupted: tried again");
                    Duration::from_secs(2)
                }
            };
            life.rest(pause).await;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<Progress, db::Error> {
        if !outbox::hold_lease(&self.pool, LEASE, self.worker, LEASE_LASTS).await? {
            return Ok(Progress::Idle);
        }
        self.step().await
    }

    /// Sends the next text of each line that is free.
    ///
    /// # Errors
    /// If the database cannot be asked; a text that was on its way then is in doubt.
    pub async fn step(&mut self) -> Result<Progress, db::Error> {
        let mut progress = Progress::Idle;
        for line in self.lines.clone() {
            let now = self.clock.instant();
            if !self.clock.is_standing() && self.free_at.get(&line.id).is_some_and(|free| *free > now) {
                continue;
            }
            let claims = replies::claim(&self.pool, line.id, AT_ONCE, self.rules.lease).await?;
            for claim in claims {
                progress = Progress::Made;
                self.free_at.insert(line.id, now + Duration::from_secs(1) / line.rate.max(1));
                let fate = self.send(&line, &claim).await?;
                let ended = match &fate {
                    Fate::Accepted { .. } => "accepted",
                    Fate::Again { .. } => "again",
                    Fate::Failed { .. } => "failed",
                    Fate::InDoubt { .. } => "in_doubt",
                    Fate::Suppressed { .. } => "suppressed",
                };
                tracing::info!(reply = %claim.id, sender = line.name, saying = claim.saying.as_str(), outcome = ended, "reply.settled");
                replies::settle(&self.pool, claim.id, &fate).await?;
            }
        }
        Ok(progress)
    }

    async fn send(&self, line: &Line, claim: &Claim) -> Result<Fate, db::Error> {
        if let Some(wait) = self.full(line).await? {
            return Ok(Fate::Again { after: wait });
        }
        let Some(to) = recipient(claim) else { return Ok(Fate::Suppressed { reason: "nobody_to_write_to" }) };
        if !self.allowed(&to) {
            return Ok(Fate::Suppressed { reason: "not_in_only_to" });
        }
        let Some(body) = self.write(claim).await? else { return Ok(Fate::Suppressed { reason: "nothing_to_say" }) };
        let tag = AttemptId { notification: claim.id, number: 1 };
        let outgoing = Outgoing { to, content: Content::Text(body), tag, life: LIFE };
        let outcome = match line.provider.encode(&outgoing) {
            Ok(request) => {
                if let Some(rate) = &line.shared {
                    rate.let_out(1).await;
                }
                self.wire.send(&*line.provider, request).await
            }
            Err(reason) => Outcome::Rejected { failure: Failure { reason, code: None, detail: None }, again: None },
        };
        self.follow(line, claim, outcome).await
    }

    /// What an outcome leads to. Only what is proven not sent is sent again.
    async fn follow(&self, line: &Line, claim: &Claim, outcome: Outcome) -> Result<Fate, db::Error> {
        let more = claim.tries < self.rules.tries;
        let code = |failure: &Failure| failure.code.and_then(|code| i32::try_from(code).ok());
        let failed =
            |failure: &Failure| Fate::Failed { reason: failure.reason.as_str().to_owned(), code: code(failure) };
        Ok(match outcome {
            Outcome::Accepted(acceptance) => Fate::Accepted { message_id: acceptance.message_id },
            Outcome::Unclear(failure) => Fate::InDoubt { reason: failure.reason.as_str().to_owned() },
            Outcome::NotSent(_) if more => Fate::Again { after: Duration::from_secs(5) },
            Outcome::Rejected { again: Some(wait), .. } if more => {
                Fate::Again { after: wait.max(Duration::from_secs(5)) }
            }
            Outcome::Busy { hold: true, whose: Whose::Sender, failure, wait } => {
                self.hold(line, failure.reason.as_str(), wait).await?;
                Fate::Again { after: Duration::from_secs(30) }
            }
            Outcome::Busy { wait, .. } if more => Fate::Again { after: wait.unwrap_or(Duration::from_secs(10)) },
            Outcome::Rejected { failure, .. } | Outcome::NotSent(failure) | Outcome::Busy { failure, .. } => {
                if let Some(purpose) = stops::purpose(&failure) {
                    let evidence = serde_json::json!({
                        "by": "provider", "reason": failure.reason.as_str(), "sender": line.name, "reply": claim.id,
                    });
                    stops::record(&self.pool, claim.contact, purpose, evidence, self.clock.now()).await?;
                }
                failed(&failure)
            }
        })
    }

    /// How long this line has to wait because its day is full. Operators hear of it as of a hold.
    async fn full(&self, line: &Line) -> Result<Option<Duration>, db::Error> {
        let Some(cap) = line.daily else { return Ok(None) };
        // The one that is just being sent is counted.
        let Some(until) = replies::full_until(&self.pool, line.id, cap.saturating_add(1)).await? else {
            return Ok(None);
        };
        let wait = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default();
        let wait = wait.max(Duration::from_secs(1));
        self.hold(line, "texts_per_day", Some(wait)).await?;
        Ok(Some(wait))
    }

    async fn hold(&self, line: &Line, reason: &str, lasts: Option<Duration>) -> Result<(), db::Error> {
        let hold = holds::Hold {
            scope: holds::Scope::Sender(line.id),
            reason: reason.to_owned(),
            detail: (reason == "texts_per_day").then(|| Remark::TextsUsedUp.to_string()),
            lasts,
            by: "recado".to_owned(),
        };
        if holds::place(&self.pool, &hold).await? {
            tracing::error!(sender = line.name, reason, "hold.placed");
        }
        Ok(())
    }

    fn allowed(&self, to: &Recipient) -> bool {
        match (&self.rules.only_to, to) {
            (None, _) => true,
            (Some(only), Recipient::Number(number)) => only.contains(number),
            (Some(_), Recipient::User(_)) => false,
        }
    }

    /// The text, with its links made and kept. None if there is nothing to say any more.
    async fn write(&self, claim: &Claim) -> Result<Option<String>, db::Error> {
        let Some(form) = self.forms.get(&claim.form) else { return Ok(None) };
        let Some(wording) = form.wording(&claim.locale) else { return Ok(None) };
        let now = self.clock.now();
        let later = |lasts: Duration| now.saturating_add(lasts).unwrap_or(Timestamp::MAX);
        let name = |meaning| self.rules.words.name(meaning, &claim.locale).unwrap_or("STOP").to_uppercase();
        let (stop, yes) = (name(Meaning::Stop), name(Meaning::Yes));
        let (mut link, mut code, mut preferences) = (String::new(), String::new(), String::new());
        let (mut saying, mut orders) = (claim.saying, String::new());
        match claim.saying {
            Saying::Ask | Saying::Sms => {
                let (Some(opt_in), Some(token), Ok(chance)) = (claim.opt_in, token(), getrandom::u64()) else {
                    return Ok(None);
                };
                let until = later(LINK_LASTS);
                let typed = typed_code(chance);
                let hash = typed_code_hash(opt_in, &typed).filter(|_| claim.saying == Saying::Sms);
                let lasts = later(CODE_LASTS);
                let code_kept = hash.as_ref().map(|hash| (hash, lasts));
                if !replies::arm(&self.pool, opt_in, &token.hash(), until, code_kept).await? {
                    return Ok(None);
                }
                link = format!("{}/c/{}", self.rules.base_url, token.reveal());
                code = typed;
            }
            Saying::Confirmed | Saying::StoppedSome | Saying::Help => {
                let Some(token) = token() else { return Ok(None) };
                let until = later(PREFERENCES_LAST);
                preferences::keep_link(&self.pool, claim.contact, &token.hash(), until).await?;
                preferences = format!("{}/preferences/{}", self.rules.base_url, token.reveal());
            }
            Saying::Where => {
                let reached = replies::reached(&self.pool, claim.contact, &self.rules.whereabouts.types()).await?;
                orders = self.rules.whereabouts.tell(&reached, form.language([claim.locale.as_str()]));
                if orders.is_empty() {
                    saying = Saying::Nowhere;
                }
            }
            Saying::Stopped | Saying::Nowhere => {}
        }
        let text = wording.says.say(
            saying,
            &[
                ("consent", &wording.consent),
                ("word", &form.word),
                ("stop", &stop),
                ("yes", &yes),
                ("link", &link),
                ("code", &code),
                ("preferences", &preferences),
                ("privacy", &form.privacy_url),
                ("orders", &orders),
            ],
        );
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// As the provider knows the person best.
fn recipient(claim: &Claim) -> Option<Recipient> {
    let number = claim.wa_id.as_ref().map(|digits| format!("+{digits}"));
    claim.phone.clone().or(number).map(Recipient::Number).or_else(|| claim.user_id.clone().map(Recipient::User))
}

fn token() -> Option<Token> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok().map(|()| Token::of(&bytes))
}
