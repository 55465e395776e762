//! The ledger of consents: what an act does to a standing, and the chain of hashes that shows whether an entry was changed,
//! removed or put elsewhere later.
//!
//! An entry's hash covers a salted commitment to its evidence, not the evidence: that can be erased with its salt and the chain
//! still holds. Nothing is stored here, and salts are given.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    str::FromStr,
};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

/// The purpose of an act that concerns all of them. Only a no does.
pub const EVERYTHING: &str = "*";

/// What happened to a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// The person was asked, and has this long to confirm.
    Asked {
        until: Timestamp,
    },
    /// The holder of the phone confirmed what had been asked.
    Confirmed,
    /// The person said no to what was asked.
    Refused,
    Revoked,
    /// Another system holds a consent that was given there.
    Imported,
    /// The person was forgotten: a no to everything.
    Erased,
    /// Another contact proved to be the same person; its chain goes on in this one.
    Merged,
}

impl Act {
    /// Its name in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Act::Asked { .. } => "asked",
            Act::Confirmed => "confirmed",
            Act::Refused => "refused",
            Act::Revoked => "revoked",
            Act::Imported => "imported",
            Act::Erased => "erased",
            Act::Merged => "merged",
        }
    }

    #[must_use]
    pub const fn is_no(self) -> bool {
        matches!(self, Act::Refused | Act::Revoked | Act::Erased)
    }
}

/// How one purpose stands for a person. A purpose without a standing is unknown: nobody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    /// The entry that says so.
    pub entry: i32,
    /// When it became so.
    pub at: Timestamp,
    /// The latest no, also if somebody was asked since: what was agreed to before it does not count any more.
    pub no: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending { until: Timestamp },
    Granted,
    Revoked,
}

impl State {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending { .. } => "pending",
            State::Granted => "granted",
            State::Revoked => "revoked",
        }
    }
}

/// All standings of a person, by purpose.
pub type Standings = BTreeMap<String, Standing>;

/// Whether a no can be to each of these purposes: to everything, or to one that there is, which are those that the person has a
/// standing in and those that `others` names. Else all that there are: a no to a name that nobody knows would count for nothing.
///
/// # Errors
/// With the purposes that there are, in the order of the alphabet.
pub fn can_be_refused<'a>(
    purposes: &[&str],
    standings: Option<&'a Standings>,
    others: impl Iterator<Item = &'a str>,
) -> Result<(), Vec<String>> {
    let known: BTreeSet<&str> = standings.into_iter().flatten().map(|(name, _)| name.as_str()).chain(others).collect();
    if purposes.iter().all(|purpose| *purpose == EVERYTHING || known.contains(purpose)) {
        return Ok(());
    }
    Err(known.into_iter().map(str::to_owned).collect())
}

/// Why an act changes nothing and is not written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Idle {
    #[error("a no that came later stands")]
    Overruled,
    #[error("nobody had asked, or the time to confirm was over")]
    NotAsked,
    #[error("only a no can concern everything")]
    TooWide,
}

/// What `act` makes of the standing of `purpose` at `at`. `Ok(None)`: worth an entry, changes nothing.
///
/// # Errors
/// If it must not be written down.
pub fn follow(standings: &Standings, purpose: &str, act: Act, at: Timestamp) -> Result<Option<State>, Idle> {
    if purpose == EVERYTHING && !act.is_no() && act != Act::Merged {
        return Err(Idle::TooWide);
    }
    let standing = standings.get(purpose);
    let refused_since = [purpose, EVERYTHING]
        .iter()
        .filter_map(|purpose| standings.get(*purpose))
        .any(|standing| standing.no.is_some_and(|no| no >= at));
    match (act, standing.map(|s| s.state)) {
        // An old no says nothing against a yes that came after it.
        (Act::Refused | Act::Revoked, Some(State::Granted)) if standing.is_some_and(|s| s.at > at) => {
            Err(Idle::Overruled)
        }
        (Act::Refused | Act::Revoked | Act::Erased, _) => Ok(Some(State::Revoked)),
        // What it brings is noted purpose by purpose.
        (Act::Merged, _) => Ok(None),
        (Act::Imported, _) if refused_since => Err(Idle::Overruled),
        (Act::Imported, _) => Ok(Some(State::Granted)),
        (Act::Asked { .. }, Some(State::Granted)) => Ok(None),
        (Act::Asked { .. }, _) if refused_since => Err(Idle::Overruled),
        (Act::Asked { until }, _) => Ok(Some(State::Pending { until })),
        (Act::Confirmed, Some(State::Pending { until })) if at <= until => Ok(Some(State::Granted)),
        (Act::Confirmed, Some(State::Granted)) => Ok(None),
        (Act::Confirmed, _) => Err(Idle::NotAsked),
    }
}

/// Notes that entry number `entry` gave `purpose` this state. A no keeps the latest time at which it was said.
pub fn stand(standings: &mut Standings, purpose: &str, state: State, entry: i32, at: Timestamp) {
    let before = standings.get(purpose);
    let no = before.and_then(|before| before.no).max((state == State::Revoked).then_some(at));
    let at = match before {
        Some(before) if before.state == State::Revoked && state == State::Revoked => before.at.max(at),
        _ => at,
    };
    standings.insert(purpose.to_owned(), Standing { state, entry, at, no });
}

/// One entry of a person's chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub contact: i64,
    /// Counts a contact's entries, from 1.
    pub number: i32,
    /// To the microsecond.
    pub at: Timestamp,
    pub act: String,
    pub purpose: String,
    /// The evidence and its salt; gone if the person was erased.
    pub evidence: Option<(Value, Vec<u8>)>,
    pub commitment: Hash,
    pub previous: Hash,
    pub hash: Hash,
}

/// What a new entry says.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    pub act: Act,
    pub purpose: &'a str,
    pub at: Timestamp,
    pub evidence: &'a Value,
    /// Random, at least 16 bytes.
    pub salt: &'a [u8],
}

/// The hash before a person's first entry.
pub const BEGINNING: Hash = [0; 32];

/// The entry of `draft` with `number`, after the entry with the hash `previous`.
#[must_use]
pub fn append(contact: i64, number: i32, previous: Hash, draft: &Draft<'_>) -> Entry {
    let commitment = commit(draft.salt, draft.evidence);
    let mut entry = Entry {
        contact,
        number,
        at: to_the_microsecond(draft.at),
        act: draft.act.as_str().to_owned(),
        purpose: draft.purpose.to_owned(),
        evidence: Some((draft.evidence.clone(), draft.salt.to_vec())),
        commitment,
        previous,
        hash: BEGINNING,
    };
    entry.hash = seal(&entry);
    entry
}

/// Where a chain is broken, and how it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("entry {0} is missing or not in its place")]
    Missing(i32),
    #[error("entry {0} does not follow the entry before it")]
    Cut(i32),
    #[error("entry {0} was changed")]
    Changed(i32),
    #[error("the evidence of entry {0} was changed")]
    Evidence(i32),
}

/// Checks a person's whole chain, in order, and gives its last hash.
///
/// # Errors
/// With the first link that does not hold.
pub fn verify(chain: &[Entry]) -> Result<Hash, Broken> {
    let mut previous = BEGINNING;
    for (number, entry) in (1..).zip(chain) {
        if entry.number != number {
            return Err(Broken::Missing(number));
        }
        if entry.previous != previous {
            return Err(Broken::Cut(number));
        }
        if entry.hash != seal(entry) {
            return Err(Broken::Changed(number));
        }
        if let Some((evidence, salt)) = &entry.evidence
            && commit(salt, evidence) != entry.commitment
        {
            return Err(Broken::Evidence(number));
        }
        previous = entry.hash;
    }
    Ok(previous)
}

/// The moment as the database keeps it.
#[must_use]
pub fn to_the_microsecond(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

fn commit(salt: &[u8], evidence: &Value) -> Hash {
    digest(b"recado consent evidence 1", &[salt, canonical(evidence).as_bytes()])
}

fn seal(entry: &Entry) -> Hash {
    digest(
        b"recado consent entry 1",
        &[
            &entry.previous,
            &entry.contact.to_be_bytes(),
            &entry.number.to_be_bytes(),
            &entry.at.as_microsecond().to_be_bytes(),
            entry.act.as_bytes(),
            entry.purpose.as_bytes(),
            &entry.commitment,
        ],
    )
}

/// Each part with its length before it, so that no two lists of parts look alike.
fn digest(domain: &[u8], parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in std::iter::once(&domain).chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// JSON in one way of several: keys sorted, no spaces.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            text.push('{');
            for (place, (key, value)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (place, value) in list.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(value, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

/// Standings as the contact's row keeps them.
#[must_use]
pub fn to_json(standings: &Standings) -> Value {
    let of = |standing: &Standing| {
        let mut json = serde_json::Map::new();
        json.insert("state".into(), standing.state.as_str().into());
        json.insert("entry".into(), standing.entry.into());
        json.insert("at".into(), standing.at.to_string().into());
        if let State::Pending { until } = standing.state {
            json.insert("until".into(), until.to_string().into());
        }
        if let Some(no) = standing.no {
            json.insert("no".into(), no.to_string().into());
        }
        Value::Object(json)
    };
    standings
        .iter()
        .map(|(purpose, standing)| (purpose.clone(), of(standing)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Standings from a contact's row. `None` if it says what [`to_json`] never writes.
#[must_use]
pub fn from_json(json: &Value) -> Option<Standings> {
    let time = |value: Option<&Value>| Timestamp::from_str(value?.as_str()?).ok();
    let mut standings = Standings::new();
    for (purpose, json) in json.as_object()? {
        let state = match json.get("state")?.as_str()? {
            "pending" => State::Pending { until: time(json.get("until"))? },
            "granted" => State::Granted,
            "revoked" => State::Revoked,
            _ => return None,
        };
        let entry = i32::try_from(json.get("entry")?.as_i64()?).ok()?;
        let at = time(json.get("at")).unwrap_or(Timestamp::UNIX_EPOCH);
        let no = time(json.get("no")).or((state == State::Revoked).then_some(at));
        standings.insert(purpose.clone(), Standing { state, entry, at, no });
    }
    Some(standings)
}

#[cfg(test)]
mod tests;
