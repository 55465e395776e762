//! `recado check`: templates against Meta's rules, event schemas against templates, sources, forms.
//!
//! What is wrong is found in `domain`; here it is gathered.

use std::process::ExitCode;

use super::{catalogue, complain, say};
use crate::{
    config::{self, Needs, Place},
    domain::{
        form::Forms,
        problem::Problem,
        source::Sources,
        template::{Catalogue, Settings},
    },
};

/// Checks everything that can be checked without a connection. Fit for CI: exit code 1 if anything is wrong.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  recado check\n  recado check --settings --config recado.toml\n  recado check --templates    # in CI, which has no secrets"
)]
pub struct Args {
    /// Only the templates, event types and sources: no secrets are needed.
    #[arg(long)]
    templates: bool,
    /// Show each setting with where it comes from.
    #[arg(long)]
    settings: bool,
}

pub fn run(place: &Place, args: &Args) -> anyhow::Result<ExitCode> {
    let needs = if args.templates { Needs { templates: true, ..Needs::NOTHING } } else { Needs::ALL };
    let mut settings = config::Settings::load(place, needs)?;
    if args.settings {
        say(&settings.to_string());
    }
    if settings.senders.is_empty() && settings.templates.default_sender.is_none() {
        settings.templates.default_sender = Some("main".to_owned());
    }
    if settings.sources.dir.is_none() {
        complain(
            "Warning: sources.dir: there is no folder config/sources here and no /usr/share/recado/sources, so only CloudEvents are \
             read. Name the folder in sources.dir if other systems publish too.",
        );
    }
    if settings.routing.as_ref().is_some_and(|rules| !rules.are_complete()) {
        complain(
            "Warning: routing: an event that no rule fits is rejected (no_route) and can be run again. If another sender should take \
             it, name that in templates.default_sender, or in a last rule that asks for nothing.",
        );
    }
    let Checked { catalogue, sources } = catalogue(&settings)?;
    let forms = super::forms::load(&settings)?;
    super::rates::load(&settings)?;
    if !args.templates && settings.http.public_url.is_none() {
        for sender in settings.senders.values().filter(|sender| sender.twilio().is_some()) {
            complain(&format!(
                "Warning: senders.{}: http.public_url is not set, so Twilio cannot report what becomes of its messages.",
                sender.name
            ));
        }
    }
    if !args.templates {
        super::forms::notes(&settings, &forms).iter().for_each(|note| super::complain(note));
        unasked(&catalogue, &forms).iter().for_each(|note| super::complain(note));
    }
    let languages: usize = catalogue.templates().iter().map(|template| template.languages().count()).sum();
    say(&format!(
        "All right: {} templates in {languages} languages all told, {} event types, {} bindings of sources, {} forms.",
        catalogue.templates().len(),
        catalogue.event_types().count(),
        sources.bindings().count(),
        forms.iter().count()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The SMS to which nobody can agree by a form, a line each: consents may come from elsewhere.
fn unasked(catalogue: &Catalogue, forms: &Forms) -> Vec<String> {
    let asked = |purpose: &str| forms.iter().any(|form| form.purposes.iter().any(|known| known == purpose));
    let sms = catalogue.templates().iter().filter_map(|template| Some((template.name(), template.sms()?.1)));
    sms.filter(|(_, purpose)| !asked(purpose))
        .map(|(name, purpose)| {
            format!(
                "template {name}: its SMS needs a yes to {purpose}, for which no form asks; add it to the purposes of one"
            )
        })
        .collect()
}

/// Everything that a person wrote and that intake needs, read and without problems.
#[derive(Debug)]
pub struct Checked {
    pub catalogue: Catalogue,
    pub sources: Sources,
}

/// Reads and checks the files, pairs of path and text. Every language of every template is rendered with its example.
///
/// # Errors
/// All problems of all files, by file and line.
pub fn check(
    messages: &[(String, String)],
    schemas: &[(String, String)],
    sources: &[(String, String)],
    settings: &Settings,
) -> Result<Checked, Vec<Problem>> {
    match (Catalogue::load(messages, schemas, settings), Sources::load(sources)) {
        (Ok(catalogue), Ok(sources)) => Ok(Checked { catalogue, sources }),
        (catalogue, sources) => {
            let mut problems = catalogue.err().unwrap_or_default();
            problems.extend(sources.err().unwrap_or_default());
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::{shipped_events, shipped_messages};

    fn settings() -> Settings {
        Settings {
            senders: vec!["shop".into()],
            default_language: "es".into(),
            default_zone: "UTC".into(),
            ..Settings::default()
        }
    }

    #[test]
    fn what_is_shipped_has_no_problems() {
        let checked = check(&shipped_messages(), &shipped_events(), &[], &settings()).unwrap();
        assert_eq!(checked.catalogue.templates().len(), 11);
        assert_eq!(checked.catalogue.event_types().count(), 11);
    }

    #[test]
    fn problems_of_all_files_come_together() {
        let bad = |path: &str| vec![(path.to_owned(), "= 1".to_owned())];
        let problems = check(&bad("a.toml"), &bad("b.json"), &bad("c.toml"), &settings()).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.file.as_str()).collect::<Vec<_>>(), ["a.toml", "b.json", "c.toml"]);
    }
}
