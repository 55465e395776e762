//! What a template says, and what it said before.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use super::{catalogue, database, names, say, settings};
use crate::{
    config::{Needs, Place},
    db::{
        templates::{self, Standing},
        versions::{self, Version},
    },
    domain::template::Definition,
    worker::versions::Versions,
};

#[derive(Serialize)]
struct Shown<'a> {
    template: &'a str,
    language: &'a str,
    version: i32,
    first_seen: jiff::Timestamp,
    /// Whether messages are made from it now.
    in_file: bool,
    /// The senders whose provider has it.
    at: Vec<&'a str>,
    definition: &'a Definition,
}

/// 0 if there is such a version.
pub(super) async fn show(
    place: &Place,
    name: &str,
    language: Option<&str>,
    version: Option<i32>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { templates: true, ..Needs::DATABASE })?;
    let catalogue = catalogue(&settings)?.catalogue;
    let pools = database(&settings).await?;
    let current = Versions::of(&pools.ops, &catalogue).await?;
    let known = versions::of_template(&pools.ops, name).await?;
    if known.is_empty() {
        let all: Vec<String> = catalogue.templates().iter().map(|template| template.name().to_owned()).collect();
        bail!("there is and was no template {name}; there are {}", names(all.iter()));
    }
    let standings = templates::list(&pools.ops).await?;
    let shown: Vec<Shown<'_>> = known
        .iter()
        .filter(|one| language.is_none_or(|language| one.language == language))
        .filter(|one| version.is_none_or(|version| one.number == version))
        .map(|one| of(one, current.current(name, &one.language), &standings))
        .collect();
    if shown.is_empty() {
        let known: Vec<String> = known.iter().map(|one| format!("{} {}", one.language, one.number)).collect();
        bail!("{name} has no such language or version; it has {}", names(known.iter()));
    }
    if json {
        say(&serde_json::to_string_pretty(&shown)?);
        return Ok(ExitCode::SUCCESS);
    }
    for (place, one) in shown.iter().enumerate() {
        say(&heading(one));
        // Of a language's versions only the one that messages are made from, or the last, unless one is asked for.
        let later = shown.iter().skip(place + 1).any(|other| other.language == one.language);
        let meant = shown.iter().any(|other| other.language == one.language && other.in_file);
        if version.is_some() || one.in_file || !meant && !later {
            let text = one.definition.to_string();
            say(&text.lines().fold(String::new(), |all, line| format!("{all}\n    {line}")));
            say("");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn of<'a>(one: &'a Version, current: Option<i32>, standings: &'a [Standing]) -> Shown<'a> {
    let has = |s: &&Standing| s.template == one.template && s.language == one.language && s.version == Some(one.id);
    Shown {
        template: &one.template,
        language: &one.language,
        version: one.number,
        first_seen: one.first_seen,
        in_file: current == Some(one.id),
        at: standings.iter().filter(has).map(|standing| standing.sender.as_str()).collect(),
        definition: &one.definition,
    }
}

fn heading(one: &Shown<'_>) -> String {
    let mut line = format!(
        "{} in {}, version {}, first seen {}",
        one.template,
        one.language,
        one.version,
        one.first_seen.strftime("%Y-%m-%d %H:%M:%SZ")
    );
    if one.in_file {
        line += "; what the file says";
    }
    if !one.at.is_empty() {
        line += &format!("; what {} has", one.at.join(", "));
    }
    line
}
