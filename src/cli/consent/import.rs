//! Consents from a CSV file, each line with its evidence: whatever of it can be used, and for the rest the line and the cure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Read,
};

use anyhow::bail;
use csv::{ErrorKind, ReaderBuilder, StringRecord};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::PgPool;

use crate::{
    db::{
        consents::{self, Deed, Who},
        erasure,
    },
    domain::{
        ledger::{Act, Idle},
        phone::Phone,
    },
};

/// What became of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub lines: u64,
    pub recorded: u64,
    pub repeats: u64,
    /// The person said no after this yes.
    pub overruled: u64,
    /// Lines that were left out: their number in the file, what is wrong and the cure. Nothing personal.
    pub bad: Vec<(u64, String)>,
    /// How often each purpose stands in the file.
    pub purposes: BTreeMap<String, u64>,
}

/// Deeds in one transaction.
const BATCH: usize = 500;
/// Lines between two words about the progress.
const STEP: u64 = 5_000;
/// A field longer than this is no evidence that somebody wrote down.
const FIELD_MAX: usize = 4_000;

/// Reads consents to purposes that are `known` and records them, or only checks them if there is no `pool`. With the server's `key`,
/// whoever was erased after they had agreed is left out. `now` is the time that no consent can come after.
///
/// # Errors
/// If the file cannot be read or has no usable header, or the database does not take a batch; what came before it is recorded.
pub async fn import(
    pool: Option<&PgPool>,
    key: Option<&[u8]>,
    known: &BTreeSet<&str>,
    input: impl Read,
    now: Timestamp,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Imported> {
    let mut text = std::io::BufReader::new(input);
    let delimiter = delimiter(std::io::BufRead::fill_buf(&mut text)?);
    let mut reader = ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(text);
    let columns = Columns::of(reader.headers()?)?;
    let mut imported = Imported::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut record = StringRecord::new();
    loop {
        let line = reader.position().line();
        let read = reader.read_record(&mut record);
        let line = record.position().map_or(line, csv::Position::line);
        match read {
            Ok(false) => break,
            Ok(true) => match columns.deed(&record, known, now) {
                Ok(deed) => {
                    for purpose in &deed.purposes {
                        *imported.purposes.entry(purpose.clone()).or_default() += 1;
                    }
                    batch.push(deed);
                }
                Err(problem) => imported.bad.push((line, problem)),
            },
            Err(error) => imported.bad.push(unreadable(error, line)?),
        }
        imported.lines += 1;
        if imported.lines.is_multiple_of(STEP) {
            progress(imported.lines);
        }
        if batch.len() >= BATCH {
            record_batch(pool, key, &mut batch, &mut imported).await?;
        }
    }
    record_batch(pool, key, &mut batch, &mut imported).await?;
    Ok(imported)
}

async fn record_batch(
    pool: Option<&PgPool>,
    key: Option<&[u8]>,
    batch: &mut Vec<Deed>,
    imported: &mut Imported,
) -> anyhow::Result<()> {
    let mut deeds = std::mem::take(batch);
    let Some(pool) = pool else { return Ok(()) };
    if let Some(key) = key {
        imported.overruled += leave_erased(pool, key, &mut deeds).await?;
    }
    if deeds.is_empty() {
        return Ok(());
    }
    for recorded in consents::record_all(pool, deeds).await? {
        imported.recorded += recorded.entries.len() as u64;
        imported.repeats += recorded.repeats as u64;
        imported.overruled += recorded.idle.iter().filter(|(_, idle)| *idle == Idle::Overruled).count() as u64;
    }
    Ok(())
}

/// Leaves out whoever was erased after they had agreed. Says how many consents that were.
async fn leave_erased(pool: &PgPool, key: &[u8], deeds: &mut Vec<Deed>) -> anyhow::Result<u64> {
    let hash = |deed: &Deed| match &deed.who {
        Who::Phone(phone) => phone.keyed_hash(key).to_vec(),
        Who::Contact(_) => Vec::new(),
    };
    let hashes: Vec<Vec<u8>> = deeds.iter().map(hash).collect();
    let erased: HashMap<Vec<u8>, Timestamp> = erasure::suppressed(pool, &hashes).await?.into_iter().collect();
    let mut left = 0;
    deeds.retain(|deed| {
        let stays = erased.get(&hash(deed)).is_none_or(|at| *at < deed.at);
        left += if stays { 0 } else { deed.purposes.len() as u64 };
        stays
    });
    Ok(left)
}

/// Spreadsheets of half of the world separate by semicolons.
fn delimiter(beginning: &[u8]) -> u8 {
    let header = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if header.contains(&b',') || !header.contains(&b';') { b',' } else { b';' }
}

fn unreadable(error: csv::Error, line: u64) -> anyhow::Result<(u64, String)> {
    let at = error.position().map_or(line, csv::Position::line);
    if let ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        let problem = format!(
            "has {len} fields where the header has {expected_len}; put a text with the delimiter in it into quotes"
        );
        return Ok((at, problem));
    }
    if matches!(error.kind(), ErrorKind::Utf8 { .. }) {
        return Ok((at, "is not UTF-8; export the file as UTF-8".to_owned()));
    }
    Err(error.into())
}

/// Where the columns are.
struct Columns {
    names: Vec<String>,
    phone: usize,
    purpose: usize,
    granted_at: usize,
    source: usize,
    locale: Option<usize>,
    proofs: Vec<usize>,
}

impl Columns {
    fn of(header: &StringRecord) -> anyhow::Result<Columns> {
        let name = |name: &str| name.trim_start_matches('\u{feff}').trim().to_lowercase().replace([' ', '-'], "_");
        let names: Vec<String> = header.iter().map(name).collect();
        for (place, name) in names.iter().enumerate() {
            if name.is_empty() {
                bail!("column {} has no name in the header row", place + 1);
            }
            if names.iter().take(place).any(|other| other == name) {
                bail!("the column {name} is there twice");
            }
        }
        let find = |one: &[&str]| names.iter().position(|name| one.contains(&name.as_str()));
        let need = |one: &[&str]| {
            let first = one.first().copied().unwrap_or_default();
            find(one).ok_or_else(|| {
                anyhow::anyhow!("the header row has no column {first}; `recado consent import --help` shows them all")
            })
        };
        let proofs: Vec<usize> =
            ["wording", "wording_version", "proof"].iter().filter_map(|one| find(&[*one])).collect();
        if proofs.is_empty() {
            bail!(
                "the header row has neither a column wording nor a column proof, and a consent without evidence is none; \
                 `recado consent import --help` shows all columns"
            );
        }
        Ok(Columns {
            phone: need(&["phone"])?,
            purpose: need(&["purpose", "purposes"])?,
            granted_at: need(&["granted_at"])?,
            source: need(&["source"])?,
            locale: find(&["locale"]),
            proofs,
            names,
        })
    }

    /// What one line says.
    fn deed(&self, record: &StringRecord, known: &BTreeSet<&str>, now: Timestamp) -> Result<Deed, String> {
        let field = |place: usize| record.get(place).unwrap_or_default();
        for (name, text) in self.names.iter().zip(record) {
            if text.len() > FIELD_MAX {
                return Err(format!(
                    "{name} is longer than {FIELD_MAX} bytes; keep long texts elsewhere and name them here"
                ));
            }
            if text.contains('\0') {
                return Err(format!("{name} contains a NUL character, which no text has"));
            }
        }
        let phone = Phone::parse(field(self.phone)).map_err(|problem| format!("phone {problem}"))?;
        let purposes = purposes(field(self.purpose), known)?;
        let at: Timestamp = field(self.granted_at).parse().map_err(|_| {
            "granted_at is no time with its zone; write it like 2026-03-04T10:20:30+01:00 (a date alone proves too little)"
        })?;
        if at > now {
            return Err("granted_at is in the future; check the date and the zone".to_owned());
        }
        if field(self.source).is_empty() {
            return Err("source is empty; say where the person agreed: a form, a shop, a system".to_owned());
        }
        if self.proofs.iter().all(|place| field(*place).is_empty()) {
            return Err("wording and proof are empty; say what the person agreed to, or what proves it".to_owned());
        }
        let mut evidence = Map::new();
        evidence.insert("by".to_owned(), "import".into());
        for (place, (name, text)) in self.names.iter().zip(record).enumerate() {
            if !text.is_empty() && ![self.phone, self.purpose, self.granted_at].contains(&place) {
                evidence.insert(name.clone(), text.into());
            }
        }
        let locale = self.locale.map(field).filter(|locale| !locale.is_empty()).map(str::to_owned);
        let evidence = Value::Object(evidence);
        Ok(Deed { who: Who::Phone(phone), act: Act::Imported, purposes, evidence, at, locale })
    }
}

/// A consent to what nobody sends would look like one in the ledger and let nothing go: a misspelled name is to be mended first.
fn purposes(text: &str, known: &BTreeSet<&str>) -> Result<Vec<String>, String> {
    let mut purposes = Vec::new();
    for purpose in text.split(['|', ';', ',', ' ']).filter(|purpose| !purpose.is_empty()) {
        if !known.contains(purpose) {
            let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
            // What is no name may be anything, a person's number too.
            let name = purpose.len() <= 64 && purpose.starts_with(|c: char| c.is_ascii_lowercase());
            let purpose = if name && purpose.chars().all(ordinary) { format!(" {purpose}") } else { String::new() };
            let known = Vec::from_iter(known.iter().copied()).join(", ");
            return Err(format!(
                "purpose{purpose} is none that a template or a form has; mend it, or name it there first; there are {known}, and several are \
                 separated by |"
            ));
        }
        if !purposes.iter().any(|known| known == purpose) {
            purposes.push(purpose.to_owned());
        }
    }
    if purposes.is_empty() {
        return Err("purpose is empty; write what the person agreed to, as the templates name it".to_owned());
    }
    Ok(purposes)
}

#[cfg(test)]
mod tests;
