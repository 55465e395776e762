//! `recado consent`: who consented to what, brought in from elsewhere, shown, ended, and checked.

mod bundle;
mod end;
mod import;

use std::{collections::BTreeSet, fs::File, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

pub use bundle::{bundle, page};
pub use end::{erase_with, revoke_for};
pub use import::{Imported, import};

use super::{Misunderstood, complain, database, forms, hold::somebody, say, settings, templates_alone};
use crate::{
    clock::Clock,
    config::{Needs, Place},
    db::{
        anchors, audit,
        consents::{self, Told},
        erasure,
    },
    domain::{
        ledger::{self, EVERYTHING, Entry, State},
        phone::Phone,
    },
};

const EXAMPLE: &str = "Examples:
  recado consent import consents.csv --dry-run
  recado consent import consents.csv
  recado consent show +34600111222
  recado consent export +34600111222 --html > bundle.html
  recado consent revoke +34600111222 --reason \"told us on the phone\"
  recado consent erase +34600111222 --reason \"asked to be forgotten\" --yes
  recado consent verify";

const COLUMNS: &str = "The file has a header row. Columns:
  phone        with its country code, like +34600111222
  purpose      one or several, separated by | (orders|shipping)
  granted_at   when the person agreed, like 2026-03-04T10:20:30+01:00
  source       where: the form, the shop, the system
  wording      the text that the person agreed to, or its version; or
  proof        whatever else proves it: the id of a record, of a message, of a scan
  locale       optional: the person's language, like es_MX
Every other column is kept as evidence too. A line that cannot be used is named and left out, one with a purpose that no template
and no form has too; what is there already is not added again, so the mended file can be imported as a whole.

Examples:
  recado consent import consents.csv --dry-run
  recado consent import consents.csv";

const REVOKE_EXAMPLE: &str = "Examples:
  recado consent revoke +34600111222 --reason \"told us on the phone\"
  recado consent revoke +34600111222 --purpose shipping --reason \"letter of 2 November\"";

const ERASE_EXAMPLE: &str = "Examples:
  recado consent erase +34600111222 --reason \"asked to be forgotten\"
  recado consent erase +34600111222 --reason \"asked to be forgotten\" --yes";

/// Consents: import, show, export, revoke, erase, verify.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Takes over consents that people gave elsewhere, with their evidence, from a CSV file.
    #[command(after_help = COLUMNS)]
    Import {
        /// The CSV file, in UTF-8, with commas or semicolons.
        file: PathBuf,
        /// Only checks every line; takes no database.
        #[arg(long)]
        dry_run: bool,
    },
    /// Everything that is known of a person's consents.
    #[command(after_help = "Examples:\n  recado consent show +34600111222\n  recado consent show +34600111222 --json")]
    Show {
        /// The person's number with its country code, like +34600111222.
        phone: String,
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Everything about a person's consents, as one would hand it to them or to an authority: JSON, or a page to print.
    #[command(
        after_help = "Examples:\n  recado consent export +34600111222 > bundle.json\n  recado consent export +34600111222 --html > bundle.html"
    )]
    Export {
        /// The person's number with its country code, like +34600111222.
        phone: String,
        /// A page to print instead of JSON.
        #[arg(long)]
        html: bool,
    },
    /// Notes a no that the person gave in another way.
    #[command(after_help = REVOKE_EXAMPLE)]
    Revoke {
        /// The person's number with its country code, like +34600111222.
        phone: String,
        /// Only this purpose; may be given several times. Everything if not given.
        #[arg(long)]
        purpose: Vec<String>,
        /// How the person said it; a part of the evidence.
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// Removes a person everywhere. The chain of the ledger stays, without its evidence.
    #[command(after_help = ERASE_EXAMPLE)]
    Erase {
        /// The person's number with its country code, like +34600111222.
        phone: String,
        /// Who wanted it and why; it stays in the ledger, so name nobody.
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// Does it. Without this it only says what it would do.
        #[arg(long)]
        yes: bool,
    },
    /// Checks that no entry of the ledger was changed, removed or moved.
    #[command(after_help = "Examples:\n  recado consent verify")]
    Verify,
}

/// 0 if it was done and nothing was wrong.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Import { file, dry_run } => import_file(place, &file, dry_run).await,
        What::Show { phone, json } => show(place, &phone, json).await,
        What::Export { phone, html } => export(place, &phone, html).await,
        What::Revoke { phone, purpose, reason } => end::revoke(place, &phone, &purpose, &reason).await,
        What::Erase { phone, reason, yes } => end::erase(place, &phone, &reason, yes).await,
        What::Verify => {
            let pools = database(&settings(place, Needs::DATABASE)?).await?;
            let checked = verify(&pools.ops).await?;
            for (contact, broken) in &checked.broken {
                complain(&format!("contact {contact}: {broken}"));
            }
            let (people, entries) = (checked.people, checked.entries);
            if let Some((anchor, entries)) = anchors::broken(&pools.ops).await? {
                complain(&format!(
                    "The ledger does not agree with its anchor of {}: it covers {} entries up to number {} of all, and there are {entries} \
                     there, or others. An entry was removed or changed.",
                    anchor.at, anchor.entries, anchor.upto
                ));
                return Ok(ExitCode::FAILURE);
            }
            if checked.broken.is_empty() {
                say(&format!("{entries} entries of {people} people: every chain holds."));
                say(&format!("Anchor: {}", checked.anchor));
                complain(
                    "Keep the anchor outside of this database: as long as nothing is added, the next check gives the same.",
                );
                return Ok(ExitCode::SUCCESS);
            }
            complain(&format!("{} of {people} chains do not hold.", checked.broken.len()));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// So many bad lines are named; the others are counted.
const NAMED_MAX: usize = 100;

async fn import_file(place: &Place, path: &std::path::Path, dry_run: bool) -> anyhow::Result<ExitCode> {
    let input = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Checking a file takes no database.
    let needs = if dry_run { Needs::NOTHING } else { Needs::DATABASE };
    let settings = settings(place, Needs { templates: true, ..needs })?;
    let (catalogue, forms) = (templates_alone(&settings)?, forms::load(&settings)?);
    let known: BTreeSet<&str> = catalogue.purposes().chain(forms.purposes()).collect();
    let (mut pools, mut key) = (None, None);
    if !dry_run {
        let opened = database(&settings).await?;
        // Without the key nobody could tell whom an old file brings back.
        key = if erasure::any(&opened.ops).await? { Some(end::key(&settings)?) } else { None };
        pools = Some(opened);
    }
    let pool = pools.as_ref().map(|pools| &pools.ops);
    let mut progress = |lines: u64| complain(&format!("{lines} lines …"));
    let imported = import(pool, key.as_deref(), &known, input, Clock::system().now(), &mut progress).await;
    if let Some(pool) = pool {
        // Also of one that broke off: what it had recorded stays.
        let detail = match &imported {
            Ok(all) => json!({"lines": all.lines, "recorded": all.recorded, "repeats": all.repeats}),
            Err(_) => json!({"broke_off": true}),
        };
        noted(pool, "consent.imported", None, detail).await?;
    }
    let imported = imported.with_context(|| path.display().to_string())?;
    for (line, problem) in imported.bad.iter().take(NAMED_MAX) {
        complain(&format!("line {line}: {problem}"));
    }
    let unnamed = imported.bad.len().saturating_sub(NAMED_MAX);
    if unnamed > 0 {
        complain(&format!("and {unnamed} more lines"));
    }
    let purposes: Vec<_> = imported.purposes.iter().map(|(purpose, count)| format!("{purpose} {count}")).collect();
    let (lines, bad) = (imported.lines, imported.bad.len());
    if dry_run {
        say(&format!("{lines} lines, {bad} of them cannot be used. Consents: {}.", purposes.join(", ")));
    } else {
        say(&format!(
            "{lines} lines: {} consents recorded, {} were there already, {} left out because the person said no later, {bad} lines \
             left out. Consents in the file: {}.",
            imported.recorded,
            imported.repeats,
            imported.overruled,
            purposes.join(", ")
        ));
    }
    if bad > 0 {
        complain("Mend these lines and import the file again; what is there already is not added twice.");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose consents are meant.
fn person(phone: &str) -> Result<Phone, Misunderstood> {
    Phone::parse(phone).map_err(|problem| Misunderstood(format!("the phone {problem}")))
}

async fn show(place: &Place, phone: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let phone = person(phone)?;
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let told = consents::of(&pools.ops, &phone).await?;
    let contact = told.as_ref().map(|told| told.contact);
    audit::looked(&pools.ops, &somebody(), contact, "recado consent show").await?;
    let Some(told) = told else {
        complain("Nobody with this number is known. Is its country code right?");
        return Ok(ExitCode::FAILURE);
    };
    if as_json {
        say(&serde_json::to_string_pretty(&shown(&told))?);
    } else {
        describe(&told).iter().for_each(|line| say(line));
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(place: &Place, phone: &str, html: bool) -> anyhow::Result<ExitCode> {
    let phone = person(phone)?;
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let Some(bundle) = bundle(&pools.ops, &phone, Clock::system().now()).await? else {
        complain("Nobody with this number is known. Is its country code right?");
        return Ok(ExitCode::FAILURE);
    };
    let contact = consents::of(&pools.ops, &phone).await?.map(|told| format!("contact {}", told.contact));
    noted(&pools.ops, "consent.exported", contact.as_deref(), json!({})).await?;
    say(&if html { page(&bundle)? } else { serde_json::to_string_pretty(&bundle)? });
    Ok(ExitCode::SUCCESS)
}

/// Puts into the audit trail what the user of this machine did.
async fn noted(pool: &PgPool, what: &'static str, on: Option<&str>, detail: Value) -> anyhow::Result<()> {
    Ok(audit::note(pool, &audit::Act { by: &somebody(), what, on, reason: None, detail }).await?)
}

fn shown(told: &Told) -> Value {
    let entry = |entry: &Entry| {
        json!({
            "number": entry.number, "at": entry.at, "act": entry.act, "purpose": entry.purpose,
            "evidence": entry.evidence.as_ref().map(|(evidence, _)| evidence), "hash": hex(&entry.hash),
        })
    };
    json!({
        "contact": told.contact, "locale": told.locale, "consents": ledger::to_json(&told.standings),
        "entries": told.chain.iter().map(entry).collect::<Vec<_>>(),
        "broken": ledger::verify(&told.chain).err().map(|broken| broken.to_string()),
    })
}

fn describe(told: &Told) -> Vec<String> {
    let mut lines =
        vec![format!("Contact {}{}", told.contact, told.locale.as_deref().map_or(String::new(), |l| format!(", {l}")))];
    if told.standings.is_empty() {
        lines.push("Nobody has asked this person yet.".to_owned());
    }
    for (purpose, standing) in &told.standings {
        let purpose = if purpose == EVERYTHING { "everything" } else { purpose };
        let until = match standing.state {
            State::Pending { until } => format!(", to be confirmed until {until}"),
            State::Granted | State::Revoked => String::new(),
        };
        let (state, at, entry) = (standing.state.as_str(), standing.at, standing.entry);
        lines.push(format!("  {purpose:<20} {state} since {at}{until} (entry {entry})"));
    }
    for entry in &told.chain {
        let evidence = match &entry.evidence {
            Some((evidence, _)) => evidence.to_string(),
            None => "(erased)".to_owned(),
        };
        lines.push(format!("  {:>3}. {} {} {}: {evidence}", entry.number, entry.at, entry.act, entry.purpose));
    }
    lines.push(match ledger::verify(&told.chain) {
        Ok(_) => "The chain of these entries holds.".to_owned(),
        Err(broken) => format!("The chain of these entries does NOT hold: {broken}."),
    });
    lines
}

/// What a check of the whole ledger found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub people: u64,
    pub entries: u64,
    /// Contacts whose chain does not hold, and why.
    pub broken: Vec<(i64, String)>,
    /// One hash over the last hash of everybody: whoever kept it elsewhere sees also that a last entry was removed.
    pub anchor: String,
}

/// Checks every chain.
///
/// # Errors
/// If the database cannot be asked.
pub async fn verify(pool: &PgPool) -> anyhow::Result<Checked> {
    const AT_ONCE: i64 = 500;
    let (mut checked, mut anchor, mut after) = (Checked::default(), Sha256::new(), 0);
    loop {
        let chains = consents::chains(pool, after, AT_ONCE).await?;
        let Some((last, ..)) = chains.last() else { break };
        after = *last;
        for (contact, entries, chain) in &chains {
            checked.people += 1;
            checked.entries += chain.len() as u64;
            match ledger::verify(chain) {
                // More than expected were added while we looked.
                Ok(head) if chain.len() as u64 >= u64::from(entries.unsigned_abs()) => {
                    anchor.update(contact.to_be_bytes());
                    anchor.update(head);
                }
                Ok(_) => checked.broken.push((*contact, "its last entries are missing".to_owned())),
                Err(broken) => checked.broken.push((*contact, broken.to_string())),
            }
        }
    }
    checked.anchor = hex(&anchor.finalize());
    Ok(checked)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
