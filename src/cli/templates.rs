//! `recado templates`: how the catalogue's templates stand at the provider.

mod sync;

use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgPool;

use super::{catalogue, complain, database, say, settings};
use crate::{
    config::{Needs, Place},
    db::{
        senders,
        templates::{self, Key, News, Standing},
    },
    domain::{
        fact::Approval,
        template::{Catalogue, Template},
    },
};

const EXAMPLE: &str = "Examples:
  recado templates list
  recado templates sync                       # reads from the provider what is approved
  recado templates approve order_confirmed    # says so by hand
  recado templates approve --all";

/// How templates stand: list, approve, sync.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every template in every language, and whether it may go out.
    List {
        /// The same as JSON, for programs, with what no file describes.
        #[arg(long)]
        json: bool,
    },
    /// Says that the provider has approved templates. `sync` asks the provider instead.
    Approve {
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// Only this language, like es_MX.
        #[arg(long)]
        language: Option<String>,
        /// At this sender, if it is not the template's own.
        #[arg(long)]
        sender: Option<String>,
        /// The whole catalogue.
        #[arg(long)]
        all: bool,
    },
    /// Asks the provider how each template stands.
    Sync {
        /// Only this sender's account.
        #[arg(long)]
        sender: Option<String>,
    },
}

/// A template in one language, at a sender that sends it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    pub sender: String,
    pub template: String,
    pub language: String,
    /// As Meta writes it.
    pub category: &'static str,
}

/// Everything that the catalogue sends.
#[must_use]
pub fn wanted(catalogue: &Catalogue) -> Vec<Wanted> {
    let of = |template: &Template, sender: &str, language: &str| Wanted {
        sender: sender.to_owned(),
        template: template.name().to_owned(),
        language: language.to_owned(),
        category: template.category().as_str(),
    };
    let mut wanted = Vec::new();
    for template in catalogue.templates() {
        for sender in template.senders() {
            wanted.extend(template.languages().map(|language| of(template, sender, language)));
        }
    }
    wanted.sort();
    wanted
}

/// 0 if it was done.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::List { json } => list(place, json).await,
        What::Approve { name, language, sender, all: _ } => {
            let settings = settings(place, Needs { templates: true, ..Needs::DATABASE })?;
            let wanted = wanted(&catalogue(&settings)?.catalogue);
            let mut chosen = chosen(&wanted, name.as_deref(), language.as_deref())?;
            if let Some(sender) = sender {
                if !settings.senders.is_empty() && !settings.senders.contains_key(&sender) {
                    bail!("there is no sender of this name; there are {}", names(settings.senders.keys()));
                }
                chosen.iter_mut().for_each(|one| one.sender.clone_from(&sender));
            }
            let pools = database(&settings).await?;
            approve(&pools.ops, &chosen, "operator").await?;
            for one in &chosen {
                say(&format!("{} {} {}: approved", one.sender, one.template, one.language));
            }
            Ok(ExitCode::SUCCESS)
        }
        What::Sync { sender } => {
            let settings = settings(place, Needs { templates: true, senders: true, ..Needs::DATABASE })?;
            if let Some(sender) = &sender
                && !settings.senders.contains_key(sender)
            {
                bail!("there is no sender of this name; there are {}", names(settings.senders.keys()));
            }
            let wanted = wanted(&catalogue(&settings)?.catalogue);
            let pools = database(&settings).await?;
            let mut missing = 0;
            for (name, of) in &settings.senders {
                if sender.as_ref().is_none_or(|only| only == name) {
                    missing += sync::sync(&pools.ops, of, &wanted).await?;
                }
            }
            if missing > 0 {
                complain(&format!("{missing} of the catalogue's templates may not go out yet."));
            }
            Ok(ExitCode::SUCCESS)
        }
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
        let news = News {
            status: Approval::Approved,
            category: Some(one.category),
            quality: None,
            reason: None,
            at: None,
            lasts: None,
            by,
        };
        templates::set(pool, key, &news).await?;
    }
    Ok(())
}

fn chosen(wanted: &[Wanted], name: Option<&str>, language: Option<&str>) -> anyhow::Result<Vec<Wanted>> {
    let of_name = || wanted.iter().filter(|one| name.is_none_or(|name| one.template == name));
    if of_name().next().is_none() {
        let mut names: Vec<&str> = wanted.iter().map(|one| one.template.as_str()).collect();
        names.dedup();
        bail!("the catalogue has no template of this name; it has {}", names.join(", "));
    }
    let chosen: Vec<_> =
        of_name().filter(|one| language.is_none_or(|language| one.language == language)).cloned().collect();
    if chosen.is_empty() {
        bail!("it is not written in this language; it has {}", names(of_name().map(|one| &one.language)));
    }
    Ok(chosen)
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

async fn list(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { templates: true, ..Needs::DATABASE })?;
    let wanted = wanted(&catalogue(&settings)?.catalogue);
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
    for (what, told) in [("category", one.category), ("quality", one.quality), ("reason", one.reason)] {
        if let Some(told) = told {
            line += &format!(", {what} {told}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(template: &str, language: &str) -> Wanted {
        Wanted { sender: "main".into(), template: template.into(), language: language.into(), category: "UTILITY" }
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
}
