//! Who consented to what: entries are appended to the ledger and never changed, and the contact's row says how it stands.
//!
//! The row is locked first, then entries are added, then what waits for the answer is woken: a claim sees all of it or nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::{Error, Time, audit, time};
use crate::domain::{
    ledger::{self, Act, BEGINNING, Draft, EVERYTHING, Entry, Hash, Idle, Standings, State},
    phone::Phone,
};

/// Whose consent it is. Somebody with a number who is not known becomes known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    Contact(i64),
    Phone(Phone),
}

/// One act and the evidence for it.
#[derive(Debug, Clone)]
pub struct Deed {
    pub who: Who,
    pub act: Act,
    /// A no to [`EVERYTHING`] concerns each purpose that stands, and all that there will be.
    pub purposes: Vec<String>,
    /// Who, what wording, which form, from where: everything that proves it. The same evidence counts once.
    pub evidence: Value,
    /// When it happened, not when we heard of it.
    pub at: Timestamp,
    /// The person's language, if they are new.
    pub locale: Option<String>,
}

/// What a deed came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The numbers of its entries.
    pub entries: Vec<i32>,
    /// Purposes for which the ledger had just this already.
    pub repeats: usize,
    /// Purposes for which it was not written down, and why.
    pub idle: Vec<(String, Idle)>,
}

/// Records one act and wakes what waited for it.
///
/// # Errors
/// If the database does not take it; nothing is written then.
pub async fn record(
    pool: &PgPool,
    who: Who,
    act: Act,
    purposes: &[&str],
    evidence: Value,
    at: Timestamp,
) -> Result<Recorded, Error> {
    let purposes = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
    let deed = Deed { who, act, purposes, evidence, at, locale: None };
    Ok(record_all(pool, vec![deed]).await?.pop().unwrap_or_default())
}

/// Records a no that `by`, who is no holder of the phone, brought in with a reason: the audit trail says so, unless it was said before.
///
/// # Errors
/// If the database does not take it; nothing is written then.
pub async fn revoke(
    pool: &PgPool,
    phone: Phone,
    purposes: &[&str],
    evidence: Value,
    (by, reason): (&str, &str),
    at: Timestamp,
) -> Result<Recorded, Error> {
    let purposes: Vec<_> = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
    let who = Who::Phone(phone.clone());
    let deed = Deed { who, act: Act::Revoked, purposes: purposes.clone(), evidence, at, locale: None };
    let (by, reason) = (by.to_owned(), reason.to_owned());
    super::alone(pool, move |tx| {
        Box::pin(async move {
            let recorded = record_in(tx, &[deed]).await?.pop().unwrap_or_default();
            if !recorded.entries.is_empty() {
                let on = format!("contact {}", known(tx, &phone, None).await?);
                let detail = json!({"purposes": purposes});
                let act = audit::Act { by: &by, what: "consent.revoked", on: Some(&on), reason: Some(&reason), detail };
                audit::note(&mut *tx, &act).await?;
            }
            Ok(recorded)
        })
    })
    .await
}

/// Records acts in their order, all or none, and wakes what waited for them.
///
/// # Errors
/// If the database does not take them; nothing is written then.
pub async fn record_all(pool: &PgPool, deeds: Vec<Deed>) -> Result<Vec<Recorded>, Error> {
    super::alone(pool, move |tx| Box::pin(async move { record_in(tx, &deeds).await })).await
}

/// The contact with this number, who becomes known if they are not.
pub(super) async fn known(tx: &mut PgConnection, phone: &Phone, locale: Option<&str>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- consents: known
        with new as (
          insert into contacts (phone, locale) select $1, $2
          where not exists (select from contacts where phone = $1)
          on conflict (phone) do update set locale = contacts.locale
          returning id
        )
        select id as "id!" from new union all select coalesce(merged_into, id) from contacts where phone = $1 limit 1
        "#,
        phone.reveal(),
        locale
    )
    .fetch_one(tx)
    .await?)
}

/// Those of the purposes that wait for an answer.
pub(super) async fn pending(tx: &mut PgConnection, contact: i64, purposes: &[String]) -> Result<Vec<String>, Error> {
    let row = sqlx::query!("select consents from contacts where id = $1 for no key update", contact)
        .fetch_optional(tx)
        .await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let standings = standings(&row.consents, contact)?;
    let waits = |purpose: &String| {
        standings.get(purpose).is_some_and(|standing| matches!(standing.state, State::Pending { .. }))
    };
    Ok(purposes.iter().filter(|purpose| waits(purpose)).cloned().collect())
}

/// What a person's row and ledger say while they are locked. A chain may be long, and everybody's messages wait meanwhile: of the ledger
/// only what the deeds need is read.
struct Person {
    id: i64,
    standings: Standings,
    entries: i32,
    head: Hash,
    /// What the ledger has already of the deeds' acts at their times: act, purpose, time and evidence.
    known: Vec<(String, String, Timestamp, String)>,
    woken: Vec<String>,
}

pub(super) async fn record_in(tx: &mut PgConnection, deeds: &[Deed]) -> Result<Vec<Recorded>, Error> {
    introduce(tx, deeds).await?;
    let mut found = lock(tx, deeds).await?;
    let mut fresh = Vec::new();
    let mut recorded = Vec::with_capacity(deeds.len());
    for deed in deeds {
        let person = found.whose(&deed.who).and_then(|id| found.people.get_mut(&id));
        recorded.push(match person {
            Some(person) => note(person, deed, &mut fresh)?,
            None => Recorded::default(),
        });
    }
    if !fresh.is_empty() {
        append(tx, &fresh).await?;
        let changed: HashSet<i64> = fresh.iter().map(|entry| entry.contact).collect();
        let touched: Vec<&Person> = found.people.values().filter(|person| changed.contains(&person.id)).collect();
        project(tx, &touched).await?;
        wake(tx, &touched).await?;
    }
    Ok(recorded)
}

fn note(person: &mut Person, deed: &Deed, fresh: &mut Vec<Entry>) -> Result<Recorded, Error> {
    let mut recorded = Recorded::default();
    let (at, evidence) = (ledger::to_the_microsecond(deed.at), ledger::canonical(&deed.evidence));
    for purpose in expanded(deed, &person.standings) {
        let known = (deed.act.as_str().to_owned(), purpose.clone(), at, evidence.clone());
        if person.known.contains(&known) {
            recorded.repeats += 1;
            continue;
        }
        let state = match ledger::follow(&person.standings, &purpose, deed.act, at) {
            Ok(state) => state,
            Err(idle) => {
                recorded.idle.push((purpose, idle));
                continue;
            }
        };
        let salt = salt()?;
        let draft = Draft { act: deed.act, purpose: &purpose, at, evidence: &deed.evidence, salt: &salt };
        let entry = ledger::append(person.id, person.entries + 1, person.head, &draft);
        person.entries = entry.number;
        person.head = entry.hash;
        person.known.push(known);
        recorded.entries.push(entry.number);
        fresh.push(entry);
        if let Some(state) = state {
            ledger::stand(&mut person.standings, &purpose, state, person.entries, at);
            if !matches!(state, State::Pending { .. }) {
                person.woken.push(purpose);
            }
        }
    }
    Ok(recorded)
}

/// A no to everything is said of each purpose that is not refused yet, and of everything.
fn expanded(deed: &Deed, standings: &Standings) -> Vec<String> {
    if !deed.act.is_no() || !deed.purposes.iter().any(|purpose| purpose == EVERYTHING) {
        return deed.purposes.clone();
    }
    let open = standings.iter().filter(|(purpose, s)| *purpose != EVERYTHING && s.state != State::Revoked);
    open.map(|(purpose, _)| purpose.clone()).chain([EVERYTHING.to_owned()]).collect()
}

pub(super) fn salt() -> Result<[u8; 16], Error> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|_| Error::Outage(sqlx::Error::Protocol("the system has no randomness".into())))?;
    Ok(salt)
}

async fn introduce(tx: &mut PgConnection, deeds: &[Deed]) -> Result<(), Error> {
    let by_phone = |deed: &Deed| match &deed.who {
        Who::Phone(phone) => Some((phone.reveal().to_owned(), deed.locale.clone())),
        Who::Contact(_) => None,
    };
    // In the order of the phones, as the inbox does it, so that two that meet do not wait for each other.
    let people: BTreeMap<String, Option<String>> = deeds.iter().filter_map(by_phone).collect();
    if people.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        -- consents: introduce
        insert into contacts (phone, locale)
        select p.phone, p.locale from unnest($1::text[], $2::text[]) as p(phone, locale)
        where not exists (select from contacts c where c.phone = p.phone)
        order by p.phone
        on conflict (phone) do nothing
        "#,
        &people.keys().cloned().collect::<Vec<_>>() as _,
        &people.values().cloned().collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The people of some deeds, locked; who is meant by a phone, and by a contact.
struct Found {
    people: HashMap<i64, Person>,
    phones: HashMap<String, i64>,
    same: HashMap<i64, i64>,
}

impl Found {
    fn whose(&self, who: &Who) -> Option<i64> {
        match who {
            Who::Contact(id) => self.same.get(id).copied(),
            Who::Phone(phone) => self.phones.get(phone.reveal()).copied(),
        }
    }
}

async fn lock(tx: &mut PgConnection, deeds: &[Deed]) -> Result<Found, Error> {
    let mut ids = Vec::new();
    let mut numbers = Vec::new();
    for deed in deeds {
        match &deed.who {
            Who::Contact(id) => ids.push(*id),
            Who::Phone(phone) => numbers.push(phone.reveal()),
        }
    }
    // Who proved to be another contact is that one. Whoever proves it meanwhile holds the row that is waited for here.
    let mut rows = Vec::new();
    let (mut phones, mut same) = (HashMap::new(), HashMap::new());
    for _ in 0..3 {
        let names = sqlx::query!(
            r#"
            -- consents: who
            select id, phone, coalesce(merged_into, id) as "is!" from contacts where id = any ($1) or phone = any ($2::text[])
            "#,
            &ids,
            &numbers as _
        )
        .fetch_all(&mut *tx)
        .await?;
        phones = names.iter().filter_map(|name| Some((name.phone.clone()?, name.is))).collect();
        same = names.iter().map(|name| (name.id, name.is)).collect();
        let meant: Vec<i64> = names.iter().map(|name| name.is).collect();
        rows = sqlx::query!(
            r#"
            -- consents: lock
            select id, consents, entries, merged_into from contacts where id = any ($1) order by id for no key update
            "#,
            &meant
        )
        .fetch_all(&mut *tx)
        .await?;
        if rows.iter().all(|row| row.merged_into.is_none()) {
            break;
        }
    }
    let mut people = HashMap::new();
    for row in rows {
        let standings = standings(&row.consents, row.id)?;
        let (known, woken) = (Vec::new(), Vec::new());
        people.insert(row.id, Person { id: row.id, standings, entries: row.entries, head: BEGINNING, known, woken });
    }
    let mut found = Found { people, phones, same };
    for (contact, head) in heads(tx, &found.people.keys().copied().collect::<Vec<_>>()).await? {
        if let Some(person) = found.people.get_mut(&contact) {
            person.head = head;
        }
    }
    recall(tx, deeds, &mut found).await?;
    Ok(found)
}

/// What the ledger has already of these acts at these times.
async fn recall(tx: &mut PgConnection, deeds: &[Deed], found: &mut Found) -> Result<(), Error> {
    let whose =
        |deed: &Deed| found.whose(&deed.who).map(|id| (id, ledger::to_the_microsecond(deed.at), deed.act.as_str()));
    let wanted: HashSet<(i64, Timestamp, &str)> = deeds.iter().filter_map(whose).collect();
    let rows = sqlx::query!(
        r#"
        -- consents: said before
        select e.contact_id, e.at as "at: Time", e.act, e.purpose, e.payload as "payload!"
        from unnest($1::int8[], $2::timestamptz[], $3::text[]) as d(contact_id, at, act)
        join consent_entries e on e.contact_id = d.contact_id and e.at = d.at and e.act = d.act
        where e.payload is not null
        "#,
        &wanted.iter().map(|(id, _, _)| *id).collect::<Vec<_>>() as _,
        &wanted.iter().map(|(_, at, _)| time(*at)).collect::<Vec<Time>>() as _,
        &wanted.iter().map(|(_, _, act)| *act).collect::<Vec<_>>() as _,
    )
    .fetch_all(tx)
    .await?;
    for row in rows {
        if let Some(person) = found.people.get_mut(&row.contact_id) {
            person.known.push((row.act, row.purpose, row.at.to_jiff(), ledger::canonical(&row.payload)));
        }
    }
    Ok(())
}

pub(super) fn standings(json: &Value, contact: i64) -> Result<Standings, Error> {
    ledger::from_json(json).ok_or(Error::Inconsistent {
        table: "contacts",
        column: "consents",
        row: contact.to_string(),
    })
}

pub(super) async fn append(tx: &mut PgConnection, fresh: &[Entry]) -> Result<(), Error> {
    let evidence = |entry: &Entry| entry.evidence.as_ref().map(|(evidence, _)| evidence.clone());
    let salt = |entry: &Entry| entry.evidence.as_ref().map(|(_, salt)| salt.clone());
    sqlx::query!(
        r#"
        -- consents: append
        insert into consent_entries (contact_id, number, at, act, purpose, payload, salt, commitment, previous, hash)
        select * from unnest($1::int8[], $2::int4[], $3::timestamptz[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[], $8::bytea[],
          $9::bytea[], $10::bytea[])
        "#,
        &fresh.iter().map(|e| e.contact).collect::<Vec<_>>() as _,
        &fresh.iter().map(|e| e.number).collect::<Vec<_>>() as _,
        &fresh.iter().map(|e| time(e.at)).collect::<Vec<Time>>() as _,
        &fresh.iter().map(|e| e.act.as_str()).collect::<Vec<_>>() as _,
        &fresh.iter().map(|e| e.purpose.as_str()).collect::<Vec<_>>() as _,
        &fresh.iter().map(evidence).collect::<Vec<_>>() as _,
        &fresh.iter().map(salt).collect::<Vec<_>>() as _,
        &fresh.iter().map(|e| e.commitment.as_slice()).collect::<Vec<_>>() as _,
        &fresh.iter().map(|e| e.previous.as_slice()).collect::<Vec<_>>() as _,
        &fresh.iter().map(|e| e.hash.as_slice()).collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn project(tx: &mut PgConnection, people: &[&Person]) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- consents: project
        update contacts c set consents = p.consents, entries = p.entries
        from unnest($1::int8[], $2::jsonb[], $3::int4[]) as p(id, consents, entries)
        where c.id = p.id
        "#,
        &people.iter().map(|p| p.id).collect::<Vec<_>>() as _,
        &people.iter().map(|p| ledger::to_json(&p.standings)).collect::<Vec<_>>() as _,
        &people.iter().map(|p| p.entries).collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A yes and a no both bring back what waits: the claim decides what becomes of it.
async fn wake(tx: &mut PgConnection, people: &[&Person]) -> Result<(), Error> {
    let woken: Vec<(i64, &str)> =
        people.iter().flat_map(|p| p.woken.iter().map(|purpose| (p.id, purpose.as_str()))).collect();
    if woken.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        -- consents: wake
        update notifications n set waiting_on = null, due_at = least(n.expires_at, recado_now())
        from (
          select w.id from (select distinct * from unnest($1::int8[], $2::text[]) as p(contact_id, purpose)) p
          join notifications w on w.contact_id = p.contact_id and w.waiting_on = 'consent' and (p.purpose = '*' or p.purpose = w.purpose)
          order by w.id for no key update of w
        ) w
        where n.id = w.id
        "#,
        &woken.iter().map(|(id, _)| *id).collect::<Vec<_>>() as _,
        &woken.iter().map(|(_, purpose)| *purpose).collect::<Vec<_>>() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn entries_of(connection: &mut PgConnection, contacts: &[i64]) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query!(
        r#"
        -- consents: entries
        select contact_id, number, at as "at: Time", act, purpose, payload, salt, commitment, previous, hash
        from consent_entries where contact_id = any ($1) order by contact_id, number
        "#,
        contacts
    )
    .fetch_all(connection)
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let hash = |bytes, column| hash(bytes, column, row.contact_id, row.number);
        entries.push(Entry {
            contact: row.contact_id,
            number: row.number,
            at: row.at.to_jiff(),
            act: row.act,
            purpose: row.purpose,
            evidence: row.payload.zip(row.salt),
            commitment: hash(row.commitment, "commitment")?,
            previous: hash(row.previous, "previous")?,
            hash: hash(row.hash, "hash")?,
        });
    }
    Ok(entries)
}

fn hash(bytes: Vec<u8>, column: &'static str, contact: i64, number: i32) -> Result<Hash, Error> {
    let row = || format!("{contact}.{number}");
    Hash::try_from(bytes).map_err(|_| Error::Inconsistent { table: "consent_entries", column, row: row() })
}

/// The hashes of the last entries of those of these contacts that have any.
async fn heads(tx: &mut PgConnection, contacts: &[i64]) -> Result<Vec<(i64, Hash)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- consents: heads
        select e.contact_id, e.number, e.hash from unnest($1::int8[]) as p(contact)
        cross join lateral (select contact_id, number, hash from consent_entries where contact_id = p.contact order by number desc limit 1) e
        "#,
        contacts
    )
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(|row| Ok((row.contact_id, hash(row.hash, "hash", row.contact_id, row.number)?))).collect()
}

/// The hash of a contact's last entry.
pub(super) async fn head(tx: &mut PgConnection, contact: i64) -> Result<Hash, Error> {
    Ok(heads(tx, &[contact]).await?.first().map_or(BEGINNING, |(_, head)| *head))
}

/// What is known of a person's consents.
#[derive(Debug, Clone)]
pub struct Told {
    pub contact: i64,
    pub locale: Option<String>,
    pub standings: Standings,
    pub chain: Vec<Entry>,
}

/// All about one person. `None` if nobody has this number.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of(pool: &PgPool, phone: &Phone) -> Result<Option<Told>, Error> {
    let row = sqlx::query!(
        r#"
        -- consents: of
        select c.id, c.locale, c.consents from contacts p join contacts c on c.id = coalesce(p.merged_into, p.id) where p.phone = $1
        "#,
        phone.reveal()
    )
    .fetch_optional(pool)
    .await?;
    match row {
        Some(row) => Ok(Some(told(pool, row.id, row.locale, &row.consents).await?)),
        None => Ok(None),
    }
}

/// All about the person with this contact's number, as the audit trail and the timeline name them. `None` if there is none.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of_contact(pool: &PgPool, contact: i64) -> Result<Option<Told>, Error> {
    let row = sqlx::query!(
        r#"
        -- consents: of a contact
        select c.id, c.locale, c.consents from contacts p join contacts c on c.id = coalesce(p.merged_into, p.id) where p.id = $1
        "#,
        contact
    )
    .fetch_optional(pool)
    .await?;
    match row {
        Some(row) => Ok(Some(told(pool, row.id, row.locale, &row.consents).await?)),
        None => Ok(None),
    }
}

async fn told(pool: &PgPool, contact: i64, locale: Option<String>, consents: &Value) -> Result<Told, Error> {
    let chain = entries_of(&mut *pool.acquire().await?, &[contact]).await?;
    Ok(Told { contact, locale, standings: standings(consents, contact)?, chain })
}

/// The chains of the contacts that proved to be this one.
///
/// # Errors
/// If the database cannot be asked.
pub async fn merged(pool: &PgPool, contact: i64) -> Result<Vec<(i64, Vec<Entry>)>, Error> {
    let ids = sqlx::query_scalar!("select id from contacts where merged_into = $1 order by id", contact)
        .fetch_all(pool)
        .await?;
    let mut chains: BTreeMap<i64, Vec<Entry>> = ids.iter().map(|id| (*id, Vec::new())).collect();
    for entry in entries_of(&mut *pool.acquire().await?, &ids).await? {
        chains.entry(entry.contact).or_default().push(entry);
    }
    Ok(chains.into_iter().collect())
}

/// The chains of the next contacts that have one, with how many entries each should have; in order, from above `after`.
///
/// # Errors
/// If the database cannot be asked.
pub async fn chains(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<(i64, i32, Vec<Entry>)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- consents: chains
        select id, entries from contacts
        where id > $1 and (entries > 0 or exists (select from consent_entries e where e.contact_id = id))
        order by id limit $2
        "#,
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut chains: BTreeMap<i64, (i32, Vec<Entry>)> =
        rows.into_iter().map(|row| (row.id, (row.entries, Vec::new()))).collect();
    for entry in entries_of(&mut *pool.acquire().await?, &ids).await? {
        if let Some((_, chain)) = chains.get_mut(&entry.contact) {
            chain.push(entry);
        }
    }
    Ok(chains.into_iter().map(|(id, (entries, chain))| (id, entries, chain)).collect())
}
