//! How the catalogue's templates stand at the providers: read on a schedule and when news makes it necessary, by one process at a
//! time, and compared with what our files say.
//!
//! What is not as the file says is held, and released when it is again. What must be done about it is the commands' to do.

pub mod desk;

use std::{collections::HashMap, time::Duration};

use sqlx::PgPool;
use uuid::Uuid;

use self::desk::{Desk, Trouble};
use super::{Nudge, versions::Versions};
use crate::{
    db::{
        self, approvals,
        holds::{self, Hold, InForce, Scope},
        outbox,
        templates::{self, Key, News, Standing},
        versions::{self, Said},
    },
    domain::{
        fact::Approval,
        message::Filled,
        remark::Remark,
        template::{Catalogue, Definition, Difference, Manner, Template, differences, places},
    },
    lifecycle::Lifecycle,
    provider::{reason, templates::Listed},
};

/// Why a template is held whose file says something else than its provider has.
const DRIFTED: &str = reason::TEMPLATE_DRIFTED.as_str();

/// A template in one language, at a sender that sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub sender: String,
    pub template: String,
    pub language: String,
    /// As Meta writes it.
    pub category: &'static str,
    /// What the file says.
    pub definition: Definition,
    /// Its example, filled in.
    pub example: Filled,
    /// Its id, if the versions are known.
    pub version: Option<i32>,
}

/// Everything that the catalogue sends, by sender, template and language.
#[must_use]
pub fn wanted(catalogue: &Catalogue, versions: &Versions) -> Vec<Wanted> {
    let of = |template: &Template, sender: &str, language: &str| {
        Some(Wanted {
            sender: sender.to_owned(),
            template: template.name().to_owned(),
            language: language.to_owned(),
            category: template.category().as_str(),
            definition: template.definition(language)?,
            example: catalogue.fill_example(template, language)?,
            version: versions.current(template.name(), language),
        })
    };
    let mut wanted = Vec::new();
    for template in catalogue.templates() {
        for sender in template.senders() {
            wanted.extend(template.languages().filter_map(|language| of(template, sender, language)));
        }
    }
    wanted.sort_by(|a, b| (&a.sender, &a.template, &a.language).cmp(&(&b.sender, &b.template, &b.language)));
    wanted
}

/// A sender whose provider can be asked.
#[derive(Debug, Clone)]
pub struct Account {
    pub sender: i16,
    pub name: String,
    pub desk: Desk,
}

/// How one of the wanted templates was found.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    pub wanted: &'a Wanted,
    /// None if the provider does not have it.
    pub status: Option<Approval>,
    /// In what the file and the provider differ.
    pub differences: Vec<Difference>,
    /// Why it is held now and was not.
    pub held: Vec<&'static str>,
    /// Why it is not held any more.
    pub released: Vec<&'static str>,
}

/// Why the templates could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Provider(#[from] Trouble),
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// Reads how the templates of an account stand, notes it, and holds or releases what follows from it. Gives those of `wanted` that
/// are this sender's, in their order.
///
/// # Errors
/// If the provider cannot be asked, or the database does not take it. What was noted stays; a later time finds the rest.
pub async fn sync<'a>(pool: &PgPool, account: &Account, wanted: &'a [Wanted]) -> Result<Vec<Found<'a>>, Error> {
    let begun = approvals::begin(pool, account.sender).await?;
    let found = match account.desk.list().await {
        Ok(listed) => Reading::new(pool, account, begun).await?.note(&listed, wanted).await,
        Err(trouble) => Err(trouble.into()),
    };
    let problem = found.as_ref().err().map(ToString::to_string);
    approvals::end(pool, account.sender, begun, problem.as_deref()).await?;
    found
}

/// What is known of a sender while its list is gone through.
struct Reading<'p> {
    pool: &'p PgPool,
    sender: i16,
    name: String,
    desk: &'p Desk,
    begun: jiff::Timestamp,
    known: HashMap<(String, String), Standing>,
    holds: Vec<InForce>,
}

impl<'p> Reading<'p> {
    async fn new(pool: &'p PgPool, account: &'p Account, begun: jiff::Timestamp) -> Result<Reading<'p>, db::Error> {
        let (sender, name) = (account.sender, account.name.clone());
        let standings = templates::list(pool).await?.into_iter().filter(|standing| standing.sender_id == sender);
        let known = standings.map(|s| ((s.template.clone(), s.language.clone()), s)).collect();
        Ok(Reading { pool, sender, name, desk: &account.desk, begun, known, holds: holds::in_force(pool).await? })
    }

    async fn note<'a>(&self, listed: &[Listed], wanted: &'a [Wanted]) -> Result<Vec<Found<'a>>, Error> {
        let mut found = Vec::new();
        for one in wanted.iter().filter(|one| one.sender == self.name) {
            found.push(self.one(one, self.desk.find(one, listed)).await?);
        }
        let of_ours = |l: &Listed| {
            wanted.iter().any(|one| one.sender == self.name && one.template == l.name && one.language == l.language)
        };
        for other in listed.iter().filter(|l| !of_ours(l)) {
            self.stand(other, None).await?;
        }
        let listed: Vec<_> = listed.iter().map(|one| (one.name.clone(), one.language.clone())).collect();
        templates::forget_others(self.pool, self.sender, &listed).await?;
        Ok(found)
    }

    async fn one<'a>(&self, wanted: &'a Wanted, there: Option<&Listed>) -> Result<Found<'a>, Error> {
        let mut found = Found { wanted, status: None, differences: Vec::new(), held: Vec::new(), released: Vec::new() };
        let Some(there) = there else { return Ok(found) };
        found.status = Some(there.status);
        if self.stand(there, Some(wanted)).await? {
            found.held.push(templates::RECATEGORISED);
        }
        if there.category.as_deref() == Some(wanted.category) && self.release(wanted, templates::RECATEGORISED).await? {
            found.released.push(templates::RECATEGORISED);
        }
        let Some(definition) = &there.definition else { return Ok(found) };
        // What this provider cannot say differs from whatever it has.
        let ours = self.desk.spoken(wanted).unwrap_or_else(|_| wanted.definition.clone());
        found.differences = differences(&ours, definition);
        self.compare(&mut found, definition).await?;
        if found.differences.is_empty() {
            self.know_content(wanted, there).await?;
        }
        Ok(found)
    }

    /// Notes how a template stands, if that is news. Says whether it is held now because of its category.
    async fn stand(&self, there: &Listed, wanted: Option<&Wanted>) -> Result<bool, Error> {
        let key = Key { sender: self.sender, template: &there.name, language: &there.language };
        let known = self.known.get(&(there.name.clone(), there.language.clone()));
        let news = News {
            status: there.status,
            category: there.category.as_deref(),
            quality: there.quality.as_deref(),
            reason: there.reason.as_deref(),
            at: Some(self.begun),
            lasts: None,
            by: "sync",
        };
        let category = news.category.filter(|category| known.and_then(|k| k.category.as_deref()) != Some(category));
        let mut held = false;
        if let Some(category) = category {
            // What was known counts; of a template seen for the first time, what its file says.
            let file = wanted.map(|one| one.category).filter(|_| known.is_none());
            held = templates::set_category(self.pool, key, category, file).await?;
        }
        // What is as it was known stays who said it and when, unless it is approved and something was stopped since.
        let as_known = known
            .is_some_and(|k| k.status == there.status.as_str() && (k.reason == there.reason || there.reason.is_none()));
        let stopped = there.status.is_approved() && self.holds.iter().any(|hold| self.is_stop(hold, there));
        if !as_known || stopped {
            templates::set(self.pool, key, &news).await?;
        } else if let Some(quality) = news.quality.filter(|_| known.is_some_and(|k| k.quality != there.quality)) {
            templates::set_quality(self.pool, key, quality).await?;
        }
        Ok(held)
    }

    /// Where messages name a template by the provider's own id, that is the id of what says the same as the file.
    async fn know_content(&self, wanted: &Wanted, there: &Listed) -> Result<(), Error> {
        let known = self.known.get(&(wanted.template.clone(), wanted.language.clone()));
        if self.desk.manner() == Manner::Anew && known.is_none_or(|k| k.content_sid.as_deref() != Some(&there.id)) {
            let key = Key { sender: self.sender, template: &wanted.template, language: &wanted.language };
            templates::set_content(self.pool, key, &there.id, "sync").await?;
        }
        Ok(())
    }

    /// Whether the provider's own answers had stopped this template.
    fn is_stop(&self, hold: &InForce, there: &Listed) -> bool {
        hold.placed_by == "provider"
            && hold.reason != DRIFTED
            && hold.sender.as_deref() == Some(&self.name)
            && hold.template.as_deref() == Some(&there.name)
            && hold.language.as_ref().is_none_or(|language| *language == there.language)
    }

    /// Holds what differs, once for each difference, so that an operator's release counts; releases what is the same again.
    async fn compare(&self, found: &mut Found<'_>, definition: &Definition) -> Result<(), Error> {
        let wanted = found.wanted;
        let key = Key { sender: self.sender, template: &wanted.template, language: &wanted.language };
        let same = found.differences.is_empty();
        let theirs = match (same, wanted.version) {
            (true, Some(version)) => Some(version),
            _ => {
                let said = Said {
                    template: wanted.template.clone(),
                    language: wanted.language.clone(),
                    definition: definition.clone(),
                };
                versions::know(self.pool, &[said]).await?.first().copied()
            }
        };
        let ours = wanted.version.filter(|_| !same);
        let known = self.known.get(&(wanted.template.clone(), wanted.language.clone()));
        let is_news = known.is_none_or(|k| k.version != theirs || k.drifted_from != ours);
        if !same && is_news {
            let differs = Remark::Differs {
                places: found.differences.iter().map(|one| one.place).collect(),
                template: wanted.template.clone(),
            };
            let hold = Hold {
                scope: scope(key),
                reason: DRIFTED.to_owned(),
                detail: Some(differs.to_string()),
                lasts: None,
                by: "recado".to_owned(),
            };
            if holds::place(self.pool, &hold).await? {
                found.held.push(DRIFTED);
            }
        }
        if same && self.release(wanted, DRIFTED).await? {
            found.released.push(DRIFTED);
        }
        if is_news {
            approvals::compare(self.pool, key, theirs, ours).await?;
        }
        Ok(())
    }

    /// Releases the holds of this reason on a template, if there are some.
    async fn release(&self, wanted: &Wanted, reason: &'static str) -> Result<bool, Error> {
        let is_meant = |hold: &&InForce| {
            hold.reason == reason
                && hold.sender.as_deref() == Some(&self.name)
                && hold.template.as_deref() == Some(&wanted.template)
                && hold.language.as_deref() == Some(&wanted.language)
        };
        if !self.holds.iter().any(|hold| is_meant(&hold)) {
            return Ok(false);
        }
        let key = Key { sender: self.sender, template: &wanted.template, language: &wanted.language };
        Ok(holds::release(self.pool, &scope(key), Some(reason), "provider").await? > 0)
    }
}

fn scope(key: Key<'_>) -> Scope {
    Scope::Template { sender: key.sender, template: key.template.to_owned(), language: Some(key.language.to_owned()) }
}

/// How often the templates are read.
#[derive(Debug, Clone)]
pub struct Rules {
    pub every: Duration,
    /// Not more often than this, whatever the news: providers take few such questions an hour.
    pub gap: Duration,
    /// How long a process that died keeps others from taking over.
    pub lease: Duration,
}

/// The role that reads the templates, in whichever process has the lease.
pub struct Templates {
    pub worker: Uuid,
    pub pool: PgPool,
    pub rules: Rules,
    pub accounts: Vec<Account>,
    pub wanted: Vec<Wanted>,
    /// The dispatchers', woken when something may go.
    pub dispatch: Nudge,
}

impl Templates {
    /// Reads until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let pause = self.rules.gap.clamp(Duration::from_millis(50), Duration::from_secs(2));
        if self.accounts.is_empty() {
            // Nobody can be asked; but a role that ended by itself would end the process.
            life.soft().cancelled().await;
        }
        while !life.soft().is_cancelled() {
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "templates.interrupted: tried again");
            }
            life.rest(pause).await;
        }
        Ok(())
    }

    /// Reads the accounts that are due, if no other process does.
    ///
    /// # Errors
    /// If the database cannot be asked. A provider that cannot is noted and asked again later.
    pub async fn step(&self) -> Result<(), db::Error> {
        let senders: Vec<i16> = self.accounts.iter().map(|account| account.sender).collect();
        let due = approvals::due(&self.pool, &senders, self.rules.every, self.rules.gap).await?;
        if due.is_empty() || !outbox::hold_lease(&self.pool, "templates", self.worker, self.rules.lease).await? {
            return Ok(());
        }
        for account in self.accounts.iter().filter(|account| due.contains(&account.sender)) {
            match sync(&self.pool, account, &self.wanted).await {
                Ok(found) => found.iter().for_each(|one| self.tell(one)),
                Err(Error::Database(error)) => return Err(error),
                Err(Error::Provider(trouble)) => {
                    tracing::warn!(sender = %account.name, %trouble, "templates.not_read: how they stand is as it was known");
                }
            }
        }
        Ok(())
    }

    fn tell(&self, found: &Found<'_>) {
        let Wanted { sender, template, language, .. } = found.wanted;
        for reason in &found.held {
            tracing::error!(%sender, %template, %language, reason, differs = places(&found.differences), "hold.placed");
        }
        for reason in &found.released {
            tracing::info!(%sender, %template, %language, reason, "hold.released");
            self.dispatch.wake();
        }
    }
}
