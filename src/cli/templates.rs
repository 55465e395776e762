//! `recado templates`: what the catalogue's templates say, how they stand at the provider, and how they get there.

mod diff;
mod lint;
mod preview;
mod push;
mod show;
mod sync;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::bail;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use sqlx::PgPool;

use super::{catalogue, complain, database, hold::somebody, say, settings};
use crate::{
    config::{Needs, Place, Settings},
    db::{
        senders,
        templates::{self, Key, Standing},
    },
    provider::{meta, twilio},
    worker::{
        templates::{
            Account, Wanted,
            desk::{At, Desk},
            wanted,
        },
        versions::Versions,
    },
};

const EXAMPLE: &str = "Examples:
  recado templates list
  recado templates show order_confirmed --language es --version 2
  recado templates diff                       # the files against what the provider has
  recado templates lint                       # the files against the provider's rules
  recado templates preview delivered --html delivered.html
  recado templates push order_confirmed       # brings it to the provider, after you said yes
  recado templates sync                       # notes what is approved there
  recado templates approve order_confirmed    # says so by hand
  recado templates approve --all
  recado templates approve order_confirmed --language es --content-sid HX0123456789abcdef0123456789abcdef";

const PREVIEW_EXAMPLE: &str = "Examples:
  recado templates preview delivered
  recado templates preview order_confirmed --language es --event order.json
  recado templates preview delivered --html delivered.html";

const PUSH_EXAMPLE: &str = "Examples:
  recado templates push --dry-run
  recado templates push order_confirmed --language es
  recado templates push --sender main --yes";

const SHOW_EXAMPLE: &str = "Examples:
  recado templates show order_confirmed
  recado templates show order_confirmed --language es --version 2";

const APPROVE_EXAMPLE: &str = "Examples:
  recado templates approve order_confirmed
  recado templates approve --all
  recado templates approve order_confirmed --language es --content-sid HX0123456789abcdef0123456789abcdef";

/// What the templates say, how they stand at the provider, and how they get there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every template in every language, and whether it may go out.
    #[command(after_help = "Examples:\n  recado templates list\n  recado templates list --json")]
    List {
        /// The same as JSON, for programs, with what no file describes.
        #[arg(long)]
        json: bool,
    },
    /// Holds the files against all of the provider's rules; ends with 1 if one is broken.
    #[command(after_help = "Examples:\n  recado templates lint\n  recado templates lint --strict")]
    Lint {
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
        /// A warning counts as an error.
        #[arg(long)]
        strict: bool,
    },
    /// Shows what people will see, in each language.
    #[command(after_help = PREVIEW_EXAMPLE)]
    Preview {
        /// The template's name.
        name: String,
        /// Only this language, like es_MX.
        #[arg(long, value_name = "CODE")]
        language: Option<String>,
        /// A CloudEvent in JSON to fill it from; its own example if not given.
        #[arg(long, value_name = "FILE")]
        event: Option<PathBuf>,
        /// Writes a page into this file instead.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Makes or changes templates at the provider, as the files say. Shows what it will do and asks.
    #[command(after_help = PUSH_EXAMPLE)]
    Push {
        #[command(flatten)]
        which: Which,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
        /// Only says what it would do.
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
    /// What a template says, and which versions of it there were.
    #[command(disable_version_flag = true, after_help = SHOW_EXAMPLE)]
    Show {
        /// The template's name.
        name: String,
        /// Only this language, like es_MX.
        #[arg(long, value_name = "CODE")]
        language: Option<String>,
        /// This version, as `recado why` names it.
        #[arg(long, value_name = "N")]
        version: Option<i32>,
        /// The same as JSON, for programs, with the text of every version.
        #[arg(long)]
        json: bool,
    },
    /// In what the files and what the provider has differ. Asks the provider; ends with 1 if something differs.
    #[command(after_help = "Examples:\n  recado templates diff\n  recado templates diff order_confirmed --language es")]
    Diff {
        #[command(flatten)]
        which: Which,
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Says that the provider has approved templates. `sync` asks the provider instead.
    #[command(after_help = APPROVE_EXAMPLE)]
    Approve {
        /// The template's name.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// Only this language, like es_MX.
        #[arg(long, value_name = "CODE")]
        language: Option<String>,
        /// At this sender, if it is not the template's own.
        #[arg(long, value_name = "NAME")]
        sender: Option<String>,
        /// By which id Twilio knows the content of this language, HX…: a sender at Twilio sends it by that.
        #[arg(long, value_name = "SID", conflicts_with = "all")]
        content_sid: Option<String>,
        /// The whole catalogue.
        #[arg(long)]
        all: bool,
    },
    /// Asks the provider how each template stands and what it says. The service does so by itself, every templates.sync_every.
    #[command(after_help = "Examples:\n  recado templates sync\n  recado templates sync --sender main")]
    Sync {
        /// Only this sender's account.
        #[arg(long, value_name = "NAME")]
        sender: Option<String>,
    },
}

/// Which of the catalogue's templates are meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only this template.
    name: Option<String>,
    /// Only this language, like es_MX.
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// Only this sender's account.
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
}

/// 0 if it was done.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::List { json } => list(place, json).await,
        What::Lint { json, strict } => lint::lint(place, json, strict),
        What::Preview { name, language, event, html } => {
            preview::preview(place, &name, language.as_deref(), event.as_deref(), html.as_ref())
        }
        What::Push { which, yes, dry_run } => push::push(place, &which, yes, dry_run).await,
        What::Show { name, language, version, json } => {
            show::show(place, &name, language.as_deref(), version, json).await
        }
        What::Diff { which, json } => diff::diff(place, &which, json).await,
        What::Approve { name, language, sender, content_sid, all: _ } => {
            let settings = settings(place, Needs { templates: true, ..Needs::DATABASE })?;
            let wanted = wanted(&catalogue(&settings)?.catalogue, &Versions::default());
            let mut chosen = chosen(&wanted, name.as_deref(), language.as_deref())?;
            if let Some(sender) = sender {
                if !settings.senders.is_empty() {
                    only(&settings, Some(&sender))?;
                }
                chosen.iter_mut().for_each(|one| one.sender.clone_from(&sender));
            }
            if let Some(content_sid) = &content_sid {
                check_content_sid(content_sid, &chosen)?;
            }
            let (pools, by) = (database(&settings).await?, somebody());
            if let (Some(content_sid), [one]) = (&content_sid, chosen.as_slice()) {
                let sender = senders::register(&pools.ops, &one.sender).await?;
                let key = Key { sender, template: &one.template, language: &one.language };
                templates::set_content(&pools.ops, key, content_sid, &by).await?;
            }
            approve(&pools.ops, &chosen, &by).await?;
            let known = templates::list(&pools.ops).await?;
            for one in &chosen {
                say(&format!("{} {} {}: approved", one.sender, one.template, one.language));
                if lacks_content(&settings, &known, one) {
                    complain(&format!(
                        "{} {} {}: goes out only when Twilio's id of its content is known: --content-sid HX…",
                        one.sender, one.template, one.language
                    ));
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        What::Sync { sender } => sync::sync(place, sender.as_deref()).await,
    }
}

/// The senders whose providers can be asked about templates; only this one, if given. Says of the others why not.
///
/// # Errors
/// If a sender's settings make no request.
pub fn accounts(settings: &Settings, ids: &HashMap<String, i16>, only: Option<&str>) -> anyhow::Result<Vec<Account>> {
    let mut accounts = Vec::new();
    for sender in settings.senders.values().filter(|sender| only.is_none_or(|only| sender.name == only)) {
        let Some(id) = ids.get(&sender.name) else { continue };
        let at = match (sender.meta(), sender.twilio().filter(|_| sender.sends_templates())) {
            (Some(of), _) => {
                let Some(account) = &of.waba_id else {
                    complain(&format!(
                        "{}: senders.{}.waba_id is not set, so the provider cannot be asked about templates",
                        sender.name, sender.name
                    ));
                    continue;
                };
                let token = SecretString::from(of.token.reveal()?);
                At::Meta(meta::Templates::new(&of.base_url, &of.version, account, &token)?)
            }
            (None, Some(of)) => {
                let (user, password) = of.user();
                let password = SecretString::from(password.reveal()?);
                At::Twilio(twilio::templates::Contents::new(&of.content_base_url, user, &password)?)
            }
            (None, None) => continue,
        };
        accounts.push(Account { sender: *id, name: sender.name.clone(), desk: Desk::new(at)? });
    }
    Ok(accounts)
}

/// Complains if there is no sender of this name.
fn only(settings: &Settings, sender: Option<&str>) -> anyhow::Result<()> {
    match sender {
        Some(sender) if !settings.senders.contains_key(sender) => {
            bail!("there is no sender {sender}; there are {}", names(settings.senders.keys()))
        }
        _ => Ok(()),
    }
}

/// Says that these are approved, so that they go out.
///
/// # Errors
/// If the database does not take it.
pub async fn approve(pool: &PgPool, chosen: &[Wanted], by: &str) -> anyhow::Result<()> {
    for one in chosen {
        let sender = senders::register(pool, &one.sender).await?;
        let key = Key { sender, template: &one.template, language: &one.language };
        templates::approve(pool, key, one.category, by).await?;
    }
    Ok(())
}

/// A content's id belongs to one template in one language.
fn check_content_sid(content_sid: &str, chosen: &[Wanted]) -> anyhow::Result<()> {
    let digits = content_sid.strip_prefix("HX").unwrap_or_default();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        bail!("--content-sid {content_sid}: must be HX and 32 hexadecimal digits, as Twilio's console shows it");
    }
    if chosen.len() > 1 {
        let languages = names(chosen.iter().map(|one| &one.language));
        bail!("--content-sid names the content of one language; name that with --language, one of {languages}");
    }
    Ok(())
}

/// Whether a template waits for the id of its content at a sender at Twilio.
fn lacks_content(settings: &Settings, known: &[Standing], one: &Wanted) -> bool {
    let at_twilio = settings.senders.get(&one.sender).is_some_and(|sender| sender.twilio().is_some());
    let has = |k: &Standing| {
        k.sender == one.sender && k.template == one.template && k.language == one.language && k.content_sid.is_some()
    };
    at_twilio && !known.iter().any(has)
}

fn chosen(wanted: &[Wanted], name: Option<&str>, language: Option<&str>) -> anyhow::Result<Vec<Wanted>> {
    let of_name = || wanted.iter().filter(|one| name.is_none_or(|name| one.template == name));
    if of_name().next().is_none() {
        let mut names: Vec<&str> = wanted.iter().map(|one| one.template.as_str()).collect();
        names.dedup();
        let name = name.unwrap_or_default();
        bail!("the catalogue has no template {name}; it has {}", names.join(", "));
    }
    let chosen: Vec<_> =
        of_name().filter(|one| language.is_none_or(|language| one.language == language)).cloned().collect();
    if chosen.is_empty() {
        let (what, language) = (name.unwrap_or("the catalogue"), language.unwrap_or_default());
        let there_are: BTreeSet<&str> = of_name().map(|one| one.language.as_str()).collect();
        bail!("{what} is not written in {language}; it has {}", Vec::from_iter(there_are).join(", "));
    }
    Ok(chosen)
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

async fn list(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { templates: true, ..Needs::DATABASE })?;
    let wanted = wanted(&catalogue(&settings)?.catalogue, &Versions::default());
    let pools = database(&settings).await?;
    let known = templates::list(&pools.ops).await?;
    let listed = listed(&wanted, &known);
    if json {
        say(&serde_json::to_string_pretty(&listed)?);
        return Ok(ExitCode::SUCCESS);
    }
    for one in listed.iter().filter(|one| one.in_catalogue) {
        say(&line(one));
    }
    let others = listed.iter().filter(|one| !one.in_catalogue).count();
    if others > 0 {
        complain(&format!("The provider has {others} more that no file describes (--json shows them)."));
    }
    Ok(ExitCode::SUCCESS)
}

/// A template in one language as it is listed: all that the catalogue sends, then what else the provider has.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    sender: &'a str,
    template: &'a str,
    language: &'a str,
    /// Whether a file describes it.
    in_catalogue: bool,
    /// `unknown` if nobody ever told; only `approved` goes out.
    status: &'a str,
    category: Option<&'a str>,
    quality: Option<&'a str>,
    /// The provider's own id of its content, where it has one.
    content_sid: Option<&'a str>,
    reason: Option<&'a str>,
    until: Option<Timestamp>,
    changed_at: Option<Timestamp>,
    changed_by: Option<&'a str>,
}

fn listed<'a>(wanted: &'a [Wanted], known: &'a [Standing]) -> Vec<Listed<'a>> {
    let is =
        |one: &Wanted, k: &Standing| k.sender == one.sender && k.template == one.template && k.language == one.language;
    let ours = wanted.iter().map(|one| {
        let unknown = Listed {
            sender: &one.sender,
            template: &one.template,
            language: &one.language,
            in_catalogue: true,
            status: "unknown",
            category: None,
            quality: None,
            content_sid: None,
            reason: None,
            until: None,
            changed_at: None,
            changed_by: None,
        };
        known.iter().find(|k| is(one, k)).map_or(unknown, |standing| Listed::of(standing, true))
    });
    let others = known.iter().filter(|k| !wanted.iter().any(|one| is(one, k)));
    ours.chain(others.map(|standing| Listed::of(standing, false))).collect()
}

impl<'a> Listed<'a> {
    fn of(standing: &'a Standing, in_catalogue: bool) -> Listed<'a> {
        Listed {
            sender: &standing.sender,
            template: &standing.template,
            language: &standing.language,
            in_catalogue,
            status: &standing.status,
            category: standing.category.as_deref(),
            quality: standing.quality.as_deref(),
            content_sid: standing.content_sid.as_deref(),
            reason: standing.reason.as_deref(),
            until: standing.until,
            changed_at: Some(standing.changed_at),
            changed_by: Some(&standing.changed_by),
        }
    }
}

fn line(one: &Listed<'_>) -> String {
    let name = format!("{:<12} {:<32} {:<7}", one.sender, one.template, one.language);
    if one.changed_at.is_none() {
        return format!("{name} unknown: sync, or approve it by hand; it does not go out");
    }
    let mut line = format!("{name} {}", one.status);
    if let Some(until) = one.until {
        line += &format!(" until {until}");
    }
    for (what, told) in
        [("category", one.category), ("quality", one.quality), ("content", one.content_sid), ("reason", one.reason)]
    {
        if let Some(told) = told {
            line += &format!(", {what} {told}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{message::Filled, template::Definition};

    fn one(template: &str, language: &str) -> Wanted {
        Wanted {
            sender: "main".into(),
            template: template.into(),
            language: language.into(),
            category: "UTILITY",
            definition: Definition::default(),
            example: Filled { header: None, body: Vec::new(), buttons: Vec::new() },
            version: None,
        }
    }

    #[test]
    fn what_is_not_in_the_catalogue_cannot_be_approved() {
        let wanted = [one("order_confirmed", "en"), one("order_confirmed", "es"), one("refund_issued", "es")];
        assert_eq!(chosen(&wanted, None, None).unwrap().len(), 3);
        assert_eq!(chosen(&wanted, Some("order_confirmed"), Some("es")).unwrap(), [one("order_confirmed", "es")]);
        let unknown = chosen(&wanted, Some("order_confirmd"), None).unwrap_err().to_string();
        assert!(unknown.contains("order_confirmed, refund_issued"), "{unknown}");
        let unwritten = chosen(&wanted, Some("refund_issued"), Some("en")).unwrap_err().to_string();
        assert!(unwritten.contains("it has es"), "{unwritten}");
    }

    #[test]
    fn a_contents_id_is_one_and_belongs_to_one_language() {
        let both = [one("order_confirmed", "en"), one("order_confirmed", "es")];
        let sid = "HX0123456789abcdef0123456789abcdef";
        assert!(check_content_sid(sid, &both[..1]).is_ok());
        assert!(check_content_sid(sid, &both).unwrap_err().to_string().contains("one of en, es"));
        for wrong in ["HX0123", "SM0123456789abcdef0123456789abcdef", "HX0123456789abcdef0123456789abcdeg"] {
            assert!(check_content_sid(wrong, &both[..1]).is_err(), "{wrong}");
        }
    }
}
