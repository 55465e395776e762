//! `recado hold`, `release` and `holds`: stops with a reason and an end.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::{Misunderstood, because, complain, database, say, settings, templates_alone};
use crate::{
    config::{Needs, Place, Settings},
    db::{
        Pools,
        holds::{self, BY_HAND, Hold, InForce, Scope},
        senders, templates,
    },
    http::holds::period,
};

const EXAMPLE: &str = "Examples:
  recado hold everything --reason \"wrong prices in the shop\" --for 2h
  recado hold sender main --reason \"moving to a new number\"
  recado hold template order_confirmed --language es_MX --reason \"typo\"";

/// Stops sending, until it is released or its time is over. What was due goes then.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct HoldArgs {
    /// What to stop: everything, a sender, or a template.
    what: What,
    #[command(flatten)]
    which: Which,
    /// Why, for whoever finds it; up to 300 characters.
    #[arg(long, visible_alias = "because", value_name = "TEXT")]
    reason: String,
    /// How long, like 30m or 2h; until it is released if not given.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_period)]
    lasts: Option<Duration>,
}

const RELEASE_EXAMPLE: &str = "Examples:
  recado release 12 --because \"the prices are right\"   # the hold of this number (recado holds)
  recado release everything --because \"the prices are right\"
  recado release sender main --because \"it has a new token\"
  recado release template order_confirmed --because \"the typo is gone\"";

/// Ends holds: one by its number, or all of a scope, also those that Recado placed itself.
#[derive(Debug, clap::Args)]
#[command(after_help = RELEASE_EXAMPLE)]
pub struct ReleaseArgs {
    /// A hold's number, or everything, sender or template.
    what: String,
    #[command(flatten)]
    which: Which,
    /// Why, for the stories of what was held and the audit trail; up to 300 characters.
    #[arg(long, visible_alias = "reason", value_name = "TEXT")]
    because: String,
}

/// What narrows a scope.
#[derive(Debug, clap::Args)]
struct Which {
    /// The sender's or the template's name.
    name: Option<String>,
    /// Only this language of the template, like es_MX; all of them if not given.
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// Only this sender's template; needed if there are several senders.
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
}

impl Which {
    /// Whether it goes with this scope, or with a hold's number: what did not count would stop or release more than was meant.
    fn fits(&self, what: Option<What>) -> Result<(), &'static str> {
        let narrow = self.sender.is_some() || self.language.is_some();
        match (what, &self.name) {
            (None, None) | (Some(What::Everything), None) | (Some(What::Sender), Some(_)) if narrow => {
                Err("--sender and --language say which template; they go with nothing else.")
            }
            (Some(What::Sender | What::Template), None) => Err("A name is missing: sender NAME, or template NAME."),
            (None, Some(_)) => Err("A hold's number says which one; nothing goes with it."),
            (Some(What::Everything), Some(_)) => {
                Err("Everything has no name: everything, sender NAME, or template NAME.")
            }
            (None | Some(What::Everything), None) | (Some(What::Sender | What::Template), Some(_)) => Ok(()),
        }
    }
}

/// Shows the holds in force.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  recado holds\n  recado holds --json")]
pub struct ListArgs {
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Everything,
    Sender,
    Template,
}

/// What is to be released: the hold of a number, or all of a scope.
#[derive(Debug, Clone, Copy)]
enum Released {
    One(i64),
    All(What),
}

impl Released {
    fn read(text: &str) -> Option<Released> {
        let one = text.parse().ok().map(Released::One);
        one.or_else(|| What::from_str(text, true).ok().map(Released::All))
    }
}

/// 0 if it is held now, be it since before.
pub async fn hold(place: &Place, args: HoldArgs) -> anyhow::Result<ExitCode> {
    if let Err(misfit) = args.which.fits(Some(args.what)) {
        complain(misfit);
        return Ok(ExitCode::from(2));
    }
    let reason = args.reason.trim();
    if reason.is_empty() || reason.chars().count() > 300 {
        bail!(Misunderstood("--reason is a text of 1 to 300 characters".to_owned()));
    }
    let settings = settings(place, Needs::DATABASE)?;
    let pools = database(&settings).await?;
    let scope = scope(&pools, args.what, args.which).await?;
    if let Scope::Template { sender, template, language } = &scope {
        written(&settings, &pools, *sender, template, language.as_deref()).await?;
    }
    let hold =
        Hold { scope, reason: BY_HAND.to_owned(), detail: Some(reason.to_owned()), lasts: args.lasts, by: somebody() };
    let new = holds::place(&pools.ops, &hold).await?;
    say(if new { "Held." } else { "It was held already, and stays so for the longer of the two times." });
    Ok(ExitCode::SUCCESS)
}

/// 0 if something was released, 1 if nothing was held.
pub async fn release(place: &Place, args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    let Some(released) = Released::read(&args.what) else {
        complain("What is released is a hold's number, or everything, sender NAME, or template NAME.");
        return Ok(ExitCode::from(2));
    };
    let what = match released {
        Released::One(_) => None,
        Released::All(what) => Some(what),
    };
    if let Err(misfit) = args.which.fits(what) {
        complain(misfit);
        return Ok(ExitCode::from(2));
    }
    let why = because(&args.because)?;
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let released = match released {
        Released::One(id) => u64::from(holds::release_one(&pools.ops, id, &somebody(), why).await?),
        Released::All(what) => {
            let scope = scope(&pools, what, args.which).await?;
            holds::release_by_hand(&pools.ops, &scope, &somebody(), why).await?
        }
    };
    if released == 0 {
        complain("Nothing of the kind is held; recado holds shows what is.");
        return Ok(ExitCode::FAILURE);
    }
    say(&format!("Released {released}."));
    Ok(ExitCode::SUCCESS)
}

/// 0, held or not.
pub async fn list(place: &Place, args: ListArgs) -> anyhow::Result<ExitCode> {
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let held = holds::in_force(&pools.ops).await?;
    if args.json {
        say(&serde_json::to_string_pretty(&held)?);
    } else if held.is_empty() {
        say("Nothing is held.");
    }
    for hold in held.iter().filter(|_| !args.json) {
        say(&describe(hold));
    }
    Ok(ExitCode::SUCCESS)
}

/// A hold in one line.
#[must_use]
pub fn describe(hold: &InForce) -> String {
    let on = match (&hold.sender, &hold.template) {
        (Some(sender), Some(template)) => {
            let language = hold.language.as_deref().map(|language| format!(" in {language}")).unwrap_or_default();
            format!("template {template}{language} of {sender}")
        }
        (Some(sender), None) => format!("sender {sender}"),
        (None, _) => "everything".to_owned(),
    };
    let until = hold.until.map_or("until released".to_owned(), |until| format!("until {until}"));
    let detail = hold.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{}: {on}, {}{detail}, by {} since {}, {until}", hold.id, hold.reason, hold.placed_by, hold.placed_at)
}

async fn scope(pools: &Pools, what: What, which: Which) -> anyhow::Result<Scope> {
    let Which { name, language, sender } = which;
    let needed = |name: Option<String>| name.context("a name is missing; see recado help hold");
    Ok(match what {
        What::Everything => Scope::Everything,
        What::Sender => Scope::Sender(known(pools, &needed(name)?).await?),
        What::Template => {
            let sender = match sender {
                Some(sender) => known(pools, &sender).await?,
                None => only(pools).await?,
            };
            Scope::Template { sender, template: needed(name)?, language }
        }
    })
}

/// Whether there is such a template, by its file or at this sender's provider. Where none is known at all nobody can say, and the
/// hold is taken: whoever has to stop something must not first mend the templates.
pub(super) async fn written(
    settings: &Settings,
    pools: &Pools,
    sender: i16,
    template: &str,
    language: Option<&str>,
) -> anyhow::Result<()> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in templates::list(&pools.ops).await?.into_iter().filter(|one| one.sender_id == sender) {
        known.entry(one.template).or_default().insert(one.language);
    }
    if let Ok(catalogue) = templates_alone(settings) {
        for one in catalogue.templates() {
            known.entry(one.name().to_owned()).or_default().extend(one.languages().map(str::to_owned));
        }
    }
    let join = |names: Vec<&str>| names.join(", ");
    let problem = match (known.get(template), language) {
        (Some(languages), Some(language)) if !languages.contains(language) => {
            let there_are = join(languages.iter().map(String::as_str).collect());
            format!("the template {template} is not written in {language}; it has {there_are}")
        }
        (None, _) if !known.is_empty() => {
            let there_are = join(known.keys().map(String::as_str).collect());
            format!("there is no template {template}; there are {there_are}")
        }
        (Some(_) | None, _) => return Ok(()),
    };
    bail!(Misunderstood(problem))
}

async fn known(pools: &Pools, sender: &str) -> anyhow::Result<i16> {
    if let Some(found) = senders::find(&pools.ops, sender).await? {
        return Ok(found);
    }
    let all = senders::all(&pools.ops).await?;
    if all.is_empty() {
        bail!("{NONE_YET}");
    }
    let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    bail!(Misunderstood(format!("there is no sender {sender} in this database; there are {}", names.join(", "))))
}

const NONE_YET: &str = "there is no sender in this database yet; recado run makes those that the settings have";

async fn only(pools: &Pools) -> anyhow::Result<i16> {
    match senders::all(&pools.ops).await?.as_slice() {
        [(id, _)] => Ok(*id),
        [] => bail!("{NONE_YET}"),
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name)| name.as_str()).collect();
            bail!(Misunderstood(format!("name the template's sender: --sender {}", names.join(" or "))))
        }
    }
}

/// Who gives the order, for the record: the name of the user on this machine.
#[must_use]
pub fn somebody() -> String {
    let user =
        std::env::var_os("SUDO_USER").or_else(|| std::env::var_os("USER")).and_then(|name| name.into_string().ok());
    user.filter(|name| !name.is_empty()).map_or("cli".to_owned(), |name| format!("cli {name}"))
}

fn parse_period(text: &str) -> Result<Duration, &'static str> {
    period(text).ok_or("is no time like 30m or 2h")
}
