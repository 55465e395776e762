//! In what the files and what the providers have differ.

use std::{collections::HashMap, io::IsTerminal, process::ExitCode};

use anyhow::Context;
use serde::Serialize;

use super::{Which, accounts, catalogue, chosen, complain, only, say, settings, sync::hint};
use crate::{
    config::{Needs, Place},
    domain::template::{Difference, all_differences, lines},
    provider::templates::Listed,
    worker::{
        templates::{Error, Wanted, desk::Desk, wanted},
        versions::Versions,
    },
};

#[derive(Serialize)]
struct Compared<'a> {
    sender: &'a str,
    template: &'a str,
    language: &'a str,
    /// None if the provider does not have it.
    status: Option<&'static str>,
    differences: Vec<Difference>,
}

/// 0 if everything is the same, 1 if something differs or is missing there.
pub(super) async fn diff(place: &Place, which: &Which, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { templates: true, senders: true, ..Needs::NOTHING })?;
    only(&settings, which.sender.as_deref())?;
    let wanted = wanted(&catalogue(&settings)?.catalogue, &Versions::default());
    let wanted = chosen(&wanted, which.name.as_deref(), which.language.as_deref())?;
    // Nothing is written, so nobody need be known.
    let ids: HashMap<String, i16> = settings.senders.keys().map(|name| (name.clone(), 0)).collect();
    let mut all = Vec::new();
    for account in accounts(&settings, &ids, which.sender.as_deref())? {
        let mine: Vec<&Wanted> = wanted.iter().filter(|one| one.sender == account.name).collect();
        if mine.is_empty() {
            continue;
        }
        let listed = account.desk.list().await.map_err(Error::from).map_err(hint);
        let listed = listed.with_context(|| format!("sender {}", account.name))?;
        all.extend(mine.into_iter().map(|one| compared(&account.desk, one, &listed)));
    }
    let differ = all.iter().filter(|one| one.status.is_none() || !one.differences.is_empty()).count();
    if json {
        say(&serde_json::to_string_pretty(&all)?);
    } else {
        let colours = std::io::stdout().is_terminal();
        all.iter().flat_map(|one| told(one, colours)).for_each(|line| say(&line));
        complain(&match differ {
            0 => format!("All {} are at the provider as the files say.", all.len()),
            n => format!("{n} of {} differ.", all.len()),
        });
    }
    Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compared<'a>(desk: &Desk, one: &'a Wanted, listed: &[Listed]) -> Compared<'a> {
    let there = desk.find(one, listed);
    let differences = there.map(|there| against(desk, one, there)).unwrap_or_default();
    Compared {
        sender: &one.sender,
        template: &one.template,
        language: &one.language,
        status: there.map(|there| there.status.as_str()),
        differences,
    }
}

/// In what a file and what is there differ.
pub(super) fn against(desk: &Desk, one: &Wanted, there: &Listed) -> Vec<Difference> {
    let theirs = there.definition.clone().unwrap_or_default();
    let ours = desk.spoken(one).unwrap_or_else(|_| one.definition.clone());
    all_differences((&ours, one.category), (&theirs, there.category.as_deref()))
}

fn told(one: &Compared<'_>, colours: bool) -> Vec<String> {
    let name = format!("{} in {} at {}", one.template, one.language, one.sender);
    match (one.status, one.differences.as_slice()) {
        (None, _) => vec![format!("{name}: not at the provider")],
        (Some(status), []) => vec![format!("{name} ({status}): the same")],
        (Some(status), differences) => {
            let mut all = vec![format!("{name} ({status}): - is the provider's, + the file's")];
            all.extend(differences.iter().flat_map(|one| shown(one, colours)));
            all
        }
    }
}

/// A difference, line by line.
pub(super) fn shown(difference: &Difference, colours: bool) -> Vec<String> {
    let (provider, file) = (difference.provider.as_deref(), difference.file.as_deref());
    let swapped = if difference.is_another_order() {
        ": the same in another order, so that each value would stand where another is meant"
    } else {
        ""
    };
    let mut all = vec![format!("  {}{swapped}", difference.place)];
    for (sign, line) in lines(provider.unwrap_or_default(), file.unwrap_or_default()) {
        let colour = match sign {
            '-' => "31",
            '+' => "32",
            _ => "2",
        };
        all.push(if colours {
            format!("    \u{1b}[{colour}m{sign} {line}\u{1b}[0m")
        } else {
            format!("    {sign} {line}")
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::Place;

    #[test]
    fn a_difference_is_shown_line_by_line() {
        let body = Difference {
            place: Place::Body,
            file: Some("Hi {{name}}.\n\nYour order is on its way.".into()),
            provider: Some("Hi {{name}}.\n\nYour order {{order}} is on its way.".into()),
        };
        let footer = Difference { place: Place::Footer, file: None, provider: Some("Thanks.".into()) };
        let one = Compared {
            sender: "main",
            template: "on_its_way",
            language: "en",
            status: Some("approved"),
            differences: vec![body, footer],
        };
        insta::assert_snapshot!(told(&one, false).join("\n"), @r"
        on_its_way in en at main (approved): - is the provider's, + the file's
          body
              Hi {{name}}.
              
            - Your order {{order}} is on its way.
            + Your order is on its way.
          footer
            - Thanks.
        ");
        assert!(told(&one, true).iter().any(|line| line.contains("\u{1b}[32m+ Your order is on its way.\u{1b}[0m")));
    }
}
