//! Opt-ins: who was asked, what they hold in their hands, and how they confirm. Secrets are here as hashes only.
//!
//! An ask and a confirmation are one transaction each with their entries in the ledger. The opt-in's row is locked before
//! the contact's.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, Time, consents, time};
use crate::domain::{
    form::{Way, says::Saying},
    ledger::Act,
    opt_in::{Hash, LINK_LASTS, Standing, State, Verdict, typed_code_hash},
    phone::Phone,
};

/// Whom an ask is about.
#[derive(Debug, Clone)]
pub enum Whom {
    Phone(Phone),
    /// Somebody who wrote to us.
    Contact(i64),
}

/// Somebody is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    pub id: Uuid,
    pub whom: Whom,
    pub form: String,
    pub locale: String,
    pub purposes: Vec<String>,
    pub way: Way,
    /// page, site, api, message.
    pub source: &'static str,
    /// What proves it: what was shown, from where.
    pub evidence: Value,
    /// What was shown, by its hash.
    pub wording: String,
    pub at: Timestamp,
    /// The waiting page's token and the code in a message from the phone itself.
    pub wait: Hash,
    pub message: Hash,
    /// What goes out because of it, if anything does.
    pub tells: Option<Tells>,
    pub limits: Limits,
}

/// A free text that an ask permits.
#[derive(Debug, Clone)]
pub struct Tells {
    pub saying: Saying,
    pub sender: i16,
    /// What permits it, once.
    pub because: String,
    pub until: Timestamp,
}

/// How often people are asked in a day.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From public doors, about one person.
    pub per_phone: i64,
    /// SMS to one person.
    pub texts: i64,
}

/// What came of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub contact: i64,
    /// It was one too many: nothing comes of it.
    pub limited: bool,
    /// A text is on its way.
    pub told: bool,
}

/// Asks, with the entries in the ledger, and has the text sent that belongs to it.
///
/// # Errors
/// If the database does not take it; nothing is written then.
pub async fn ask(pool: &PgPool, ask: Ask) -> Result<Asked, Error> {
    super::alone(pool, move |tx| Box::pin(async move { ask_in(tx, &ask).await })).await
}

async fn ask_in(tx: &mut PgConnection, ask: &Ask) -> Result<Asked, Error> {
    let contact = match &ask.whom {
        Whom::Contact(id) => *id,
        Whom::Phone(phone) => consents::known(tx, phone, Some(&ask.locale)).await?,
    };
    // Only a message is applied twice, and its ask has the same id then.
    if ask.source == "message" {
        let repeated = sqlx::query_scalar!(r#"select exists (select from opt_ins where id = $1) as "yes!""#, ask.id);
        if repeated.fetch_one(&mut *tx).await? {
            return Ok(Asked { contact, limited: false, told: false });
        }
    }
    let public = matches!(ask.source, "page" | "site");
    let counted = sqlx::query!(
        r#"
        -- opt-ins: count
        with locked as materialized (select id from contacts where id = $1 for no key update)
        select (select count(*) from opt_ins o, locked l
                where o.contact_id = l.id and o.source in ('page', 'site') and o.asked_at > recado_now() - interval '1 day') as "asks!",
          (select count(*) from replies r
                where r.contact_id = $1 and r.saying = 'sms' and r.at > recado_now() - interval '1 day') as "texts!",
          exists (select from replies r
                where r.contact_id = $1 and r.saying = 'sms' and r.at > recado_now() - interval '1 min') as "just_now!"
        "#,
        contact,
    )
    .fetch_one(&mut *tx)
    .await?;
    let limited = public && counted.asks >= ask.limits.per_phone;
    let until = ask.at.saturating_add(LINK_LASTS).unwrap_or(Timestamp::MAX);
    let state = if limited { State::Limited } else { State::Pending };
    sqlx::query!(
        r#"
        -- opt-ins: ask
        with asked as (
          insert into opt_ins (id, form, locale, purposes, way, source, contact_id, expires_at, wording, state)
          values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        )
        insert into tokens (hash, kind, opt_in, until) values ($11, 'wait', $1, $8), ($12, 'message', $1, $8)
        "#,
        ask.id,
        ask.form,
        ask.locale,
        &ask.purposes,
        ask.way.as_str(),
        ask.source,
        contact,
        time(until) as _,
        ask.wording,
        state.as_str(),
        ask.wait.as_slice(),
        ask.message.as_slice(),
    )
    .execute(&mut *tx)
    .await?;
    if limited {
        return Ok(Asked { contact, limited, told: false });
    }
    let mut evidence = ask.evidence.clone();
    set(&mut evidence, "opt_in", ask.id.to_string().into());
    let deed = consents::Deed {
        who: consents::Who::Contact(contact),
        act: Act::Asked { until },
        purposes: ask.purposes.clone(),
        evidence,
        at: ask.at,
        locale: None,
    };
    consents::record_in(tx, &[deed]).await?;
    let too_many = counted.just_now || counted.texts >= ask.limits.texts;
    let told = match &ask.tells {
        Some(tells) if !(too_many && tells.saying == Saying::Sms) => {
            super::replies::add(tx, contact, Some(ask.id), &ask.form, &ask.locale, tells).await?
        }
        Some(_) | None => false,
    };
    Ok(Asked { contact, limited, told })
}

/// How somebody proves that a phone is theirs.
#[derive(Debug, Clone)]
pub enum Proof {
    /// The link that was sent to it.
    Link(Hash),
    /// The code that was sent to it, typed into the page of this waiting token; and its hash, if it can be one.
    Typed { wait: Hash, code: String },
    /// A message from the phone itself with a code; and whose phone that is, all that its ids lead to.
    Message { code: Hash, from: Vec<i64> },
    /// A yes from the phone itself to what one of its messages asked for.
    Yes { from: Vec<i64> },
}

/// What came of a confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    pub verdict: Verdict,
    /// The opt-in, if there is one.
    pub opt_in: Option<OptIn>,
    /// Whose consent was given: not always whose was asked.
    pub contact: Option<i64>,
    /// The consent was refused since it was asked, so it has to be asked again.
    pub withdrawn: bool,
}

/// An opt-in as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptIn {
    pub id: Uuid,
    pub form: String,
    pub locale: String,
    pub purposes: Vec<String>,
    pub way: Option<Way>,
    pub contact: i64,
    pub asked_at: Timestamp,
    pub expires_at: Timestamp,
    pub state: State,
    pub tries: i16,
    /// Until when a typed code is taken; none if none was sent.
    pub code_until: Option<Timestamp>,
    /// Somebody else confirmed it than was asked: the code came from another phone.
    pub elsewhere: bool,
    wording: String,
    code_hash: Option<Vec<u8>>,
}

impl OptIn {
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing { state: self.state, expires_at: self.expires_at }
    }
}

/// Confirms, if that can be done now. A second time changes nothing. `evidence` says how, from where and by which message.
///
/// # Errors
/// If the database does not take it; nothing is written then.
pub async fn confirm(pool: &PgPool, proof: Proof, evidence: Value, at: Timestamp) -> Result<Confirmed, Error> {
    super::alone(pool, move |tx| Box::pin(async move { confirm_in(tx, &proof, evidence, at).await })).await
}

const NOTHING: Confirmed = Confirmed { verdict: Verdict::Expired, opt_in: None, contact: None, withdrawn: false };

async fn confirm_in(
    tx: &mut PgConnection,
    proof: &Proof,
    mut evidence: Value,
    at: Timestamp,
) -> Result<Confirmed, Error> {
    let found = match proof {
        Proof::Link(hash) => by_token(tx, "link", hash, true).await?,
        Proof::Typed { wait, .. } => by_token(tx, "wait", wait, true).await?,
        Proof::Message { code, .. } => by_token(tx, "message", code, true).await?,
        Proof::Yes { from } => latest_by_message(tx, from).await?,
    };
    let Some(opt_in) = found else { return Ok(NOTHING) };
    let verdict = match proof {
        Proof::Typed { code, .. } => {
            let sent = code_sent(tx, &opt_in).await?;
            let right = sent
                .as_ref()
                .is_some_and(|sent| typed_code_hash(sent.opt_in, code).is_some_and(|given| same(&sent.hash, &given)));
            if let Some(sent) = sent.as_ref().filter(|sent| sent.opt_in != opt_in.id) {
                set(&mut evidence, "code_of", json!(sent.opt_in));
            }
            opt_in.standing().judge_code(right, opt_in.tries, sent.map(|sent| sent.until), at)
        }
        Proof::Link(_) | Proof::Message { .. } | Proof::Yes { .. } => opt_in.standing().judge(at),
    };
    if let Verdict::WrongCode { .. } = verdict {
        sqlx::query!("update opt_ins set tries = tries + 1 where id = $1", opt_in.id).execute(&mut *tx).await?;
    }
    let contact = match proof {
        Proof::Message { from, .. } | Proof::Yes { from } if !from.contains(&opt_in.contact) => from.first().copied(),
        Proof::Message { .. } | Proof::Yes { .. } | Proof::Link(_) | Proof::Typed { .. } => Some(opt_in.contact),
    };
    let (Verdict::Confirm, Some(contact)) = (verdict, contact) else {
        return Ok(Confirmed { verdict, opt_in: Some(opt_in), contact, withdrawn: false });
    };
    for (key, value) in [
        ("opt_in", json!(opt_in.id)),
        ("form", json!(opt_in.form)),
        ("locale", json!(opt_in.locale)),
        ("wording", json!(opt_in.wording)),
        ("asked_at", json!(opt_in.asked_at)),
    ] {
        set(&mut evidence, key, value);
    }
    let mut acts = vec![Act::Confirmed];
    if contact != opt_in.contact {
        // Somebody else's number had been typed. Whoever sent the code has asked and confirmed with this message, for their own.
        set(&mut evidence, "asked_for_another_number", true.into());
        acts.insert(0, Act::Asked { until: opt_in.expires_at });
    }
    let deed = |act| consents::Deed {
        who: consents::Who::Contact(contact),
        act,
        purposes: opt_in.purposes.clone(),
        evidence: evidence.clone(),
        at,
        locale: None,
    };
    let deeds: Vec<_> = acts.into_iter().map(deed).collect();
    let recorded = consents::record_in(tx, &deeds).await?;
    let withdrawn = recorded.last().is_some_and(|last| last.entries.is_empty() && last.repeats == 0);
    if withdrawn {
        return Ok(Confirmed { verdict: Verdict::Expired, opt_in: Some(opt_in), contact: Some(contact), withdrawn });
    }
    sqlx::query!(
        "update opt_ins set state = 'confirmed', ended_at = $2, confirmed_by = $3 where id = $1",
        opt_in.id,
        time(at) as _,
        contact
    )
    .execute(&mut *tx)
    .await?;
    Ok(Confirmed { verdict, opt_in: Some(opt_in), contact: Some(contact), withdrawn })
}

/// A code that was sent to a phone.
struct Sent {
    opt_in: Uuid,
    hash: Vec<u8>,
    until: Timestamp,
}

/// The code that somebody at this opt-in's page can have. Who asks twice within a minute gets one SMS: its code is good on both pages.
async fn code_sent(tx: &mut PgConnection, opt_in: &OptIn) -> Result<Option<Sent>, Error> {
    if let (Some(hash), Some(until)) = (&opt_in.code_hash, opt_in.code_until) {
        return Ok(Some(Sent { opt_in: opt_in.id, hash: hash.clone(), until }));
    }
    let row = sqlx::query!(
        r#"
        -- opt-ins: code sent
        select id, code_hash as "hash!", code_until as "until!: Time" from opt_ins
        where contact_id = $1 and way = 'sms' and code_hash is not null and state = 'pending'
        order by asked_at desc limit 1
        "#,
        opt_in.contact
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Sent { opt_in: row.id, hash: row.hash, until: row.until.to_jiff() }))
}

fn same(kept: &[u8], given: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    kept.ct_eq(given).into()
}

fn set(evidence: &mut Value, key: &str, value: Value) {
    if let Some(object) = evidence.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Somebody with the link says that it was not them: nothing of it will be confirmed, and the ledger says no.
///
/// # Errors
/// If the database does not take it; nothing is written then.
pub async fn refuse(pool: &PgPool, link: Hash, evidence: Value, at: Timestamp) -> Result<Confirmed, Error> {
    super::alone(pool, move |tx| Box::pin(async move { refuse_in(tx, &link, evidence, at).await })).await
}

async fn refuse_in(tx: &mut PgConnection, link: &Hash, mut evidence: Value, at: Timestamp) -> Result<Confirmed, Error> {
    let Some(opt_in) = by_token(tx, "link", link, true).await? else { return Ok(NOTHING) };
    let verdict = opt_in.standing().judge(at);
    if verdict == Verdict::Confirm {
        set(&mut evidence, "opt_in", json!(opt_in.id));
        // An earlier yes stays: this says no to what is asked now.
        let deed = consents::Deed {
            who: consents::Who::Contact(opt_in.contact),
            act: Act::Refused,
            purposes: consents::pending(tx, opt_in.contact, &opt_in.purposes).await?,
            evidence,
            at,
            locale: None,
        };
        consents::record_in(tx, &[deed]).await?;
        sqlx::query!("update opt_ins set state = 'refused', ended_at = $2 where id = $1", opt_in.id, time(at) as _)
            .execute(&mut *tx)
            .await?;
    }
    Ok(Confirmed { verdict, contact: Some(opt_in.contact), opt_in: Some(opt_in), withdrawn: false })
}

/// The opt-in that a link leads to.
///
/// # Errors
/// If the database cannot be asked.
pub async fn linked(pool: &PgPool, link: &Hash) -> Result<Option<OptIn>, Error> {
    by_token(&mut *pool.acquire().await?, "link", link, false).await
}

/// The opt-in whose waiting page this is.
///
/// # Errors
/// If the database cannot be asked.
pub async fn awaited(pool: &PgPool, wait: &Hash) -> Result<Option<OptIn>, Error> {
    by_token(&mut *pool.acquire().await?, "wait", wait, false).await
}

/// The opt-in of this id.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of(pool: &PgPool, id: Uuid) -> Result<Option<OptIn>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        -- opt-ins: of
        select id, form, locale, purposes, way, contact_id, asked_at as "asked_at: Time", expires_at as "expires_at: Time", state, tries,
          code_until as "code_until: Time", wording, code_hash, confirmed_by
        from opt_ins where id = $1
        "#,
        id
    )
    .fetch_optional(pool)
    .await?;
    row.map(Row::parse).transpose()
}

struct Row {
    id: Uuid,
    form: String,
    locale: String,
    purposes: Vec<String>,
    way: String,
    contact_id: i64,
    asked_at: Time,
    expires_at: Time,
    state: String,
    tries: i16,
    code_until: Option<Time>,
    wording: String,
    code_hash: Option<Vec<u8>>,
    confirmed_by: Option<i64>,
}

impl Row {
    fn parse(self) -> Result<OptIn, Error> {
        let state = State::named(&self.state).ok_or_else(|| Error::Inconsistent {
            table: "opt_ins",
            column: "state",
            row: self.id.to_string(),
        })?;
        Ok(OptIn {
            id: self.id,
            elsewhere: self.confirmed_by.is_some_and(|by| by != self.contact_id),
            form: self.form,
            locale: self.locale,
            purposes: self.purposes,
            way: Way::named(&self.way),
            contact: self.contact_id,
            asked_at: self.asked_at.to_jiff(),
            expires_at: self.expires_at.to_jiff(),
            state,
            tries: self.tries,
            code_until: self.code_until.map(Time::to_jiff),
            wording: self.wording,
            code_hash: self.code_hash,
        })
    }
}

async fn by_token(tx: &mut PgConnection, kind: &str, hash: &Hash, lock: bool) -> Result<Option<OptIn>, Error> {
    if lock {
        let lock = sqlx::query!(
            "select id from opt_ins where id = (select opt_in from tokens where hash = $1 and kind = $2) for update",
            hash.as_slice(),
            kind
        );
        lock.fetch_optional(&mut *tx).await?;
    }
    let row = sqlx::query_as!(
        Row,
        r#"
        -- opt-ins: by token
        select id, form, locale, purposes, way, contact_id, asked_at as "asked_at: Time", expires_at as "expires_at: Time", state, tries,
          code_until as "code_until: Time", wording, code_hash, confirmed_by
        from opt_ins where id = (select opt_in from tokens where hash = $1 and kind = $2)
        "#,
        hash.as_slice(),
        kind
    )
    .fetch_optional(tx)
    .await?;
    row.map(Row::parse).transpose()
}

/// One that waits for its confirmation, as it is listed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Open {
    pub form: String,
    pub way: String,
    pub source: String,
    pub purposes: Vec<String>,
    pub asked_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The opt-ins of a person that can still be confirmed, the latest first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn open_of(pool: &PgPool, contact: i64) -> Result<Vec<Open>, Error> {
    let rows = sqlx::query!(
        r#"
        -- opt-ins: open
        select form, way, source, purposes, asked_at as "asked_at: Time", expires_at as "expires_at: Time" from opt_ins
        where contact_id = $1 and state = 'pending' and expires_at > recado_now() order by asked_at desc limit 20
        "#,
        contact
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Open {
            form: row.form,
            way: row.way,
            source: row.source,
            purposes: row.purposes,
            asked_at: row.asked_at.to_jiff(),
            expires_at: row.expires_at.to_jiff(),
        })
        .collect())
}

/// How many asked by a form from public doors in 24 hours, counted up to `most`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn asked_by_form(pool: &PgPool, form: &str, most: i64) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- opt-ins: asked by form
        select count(*) as "n!" from (select from opt_ins
          where form = $1 and source in ('page', 'site') and asked_at > recado_now() - interval '1 day' limit $2) f
        "#,
        form,
        most
    )
    .fetch_one(pool)
    .await?)
}

/// What one of these people asked for by a message last.
async fn latest_by_message(tx: &mut PgConnection, from: &[i64]) -> Result<Option<OptIn>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        -- opt-ins: latest by message
        select id, form, locale, purposes, way, contact_id, asked_at as "asked_at: Time", expires_at as "expires_at: Time", state, tries,
          code_until as "code_until: Time", wording, code_hash, confirmed_by
        from opt_ins where contact_id = any ($1) and source = 'message' and state = 'pending' and expires_at >= recado_now()
        order by asked_at desc limit 1 for update
        "#,
        from
    )
    .fetch_optional(tx)
    .await?;
    row.map(Row::parse).transpose()
}

/// The latest form and language by which one of these people was asked.
///
/// # Errors
/// If the database cannot be asked.
pub async fn last_form(pool: &PgPool, contacts: &[i64]) -> Result<Option<(String, String)>, Error> {
    let row = sqlx::query!(
        "select form, locale from opt_ins where contact_id = any ($1) order by asked_at desc limit 1",
        contacts
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| (row.form, row.locale)))
}
