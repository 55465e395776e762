//! What people will see: each language as a bubble in the terminal, or as a page.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use minijinja::{Environment, context};

use super::{catalogue, complain, say, settings};
use crate::{
    clock::Clock,
    config::{Needs, Place},
    domain::{
        event::Event,
        template::{Catalogue, Reading, Template, bubble, formatted},
    },
};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/pages/preview.html"));

/// 0 if it could be shown.
pub(super) fn preview(
    place: &Place,
    name: &str,
    language: Option<&str>,
    event: Option<&Path>,
    html: Option<&PathBuf>,
) -> anyhow::Result<ExitCode> {
    let mut settings = settings(place, Needs { templates: true, ..Needs::NOTHING })?;
    if settings.senders.is_empty() && settings.templates.default_sender.is_none() {
        settings.templates.default_sender = Some("main".to_owned());
    }
    let catalogue = catalogue(&settings)?.catalogue;
    let Some(template) = catalogue.template(name) else {
        let known: Vec<&str> = catalogue.templates().iter().map(Template::name).collect();
        bail!("the catalogue has no template {name}; it has {}", known.join(", "));
    };
    let event = event.map(|file| read(file, template)).transpose()?;
    let mut readings = Vec::new();
    for code in template.languages().filter(|code| language.is_none_or(|language| *code == language)) {
        readings.push((code, reading(&catalogue, template, code, event.as_ref())?));
    }
    if readings.is_empty() {
        let known: Vec<&str> = template.languages().collect();
        bail!("{name} is not written in {}; it has {}", language.unwrap_or_default(), known.join(", "));
    }
    let Some(file) = html else {
        let colours = std::io::stdout().is_terminal();
        for (code, reading) in &readings {
            say(&format!("{name} in {code}\n{}\n", bubble(reading, colours)));
        }
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::write(file, page(name, &readings)?).with_context(|| format!("--html: cannot write {}", file.display()))?;
    complain(&format!("Written to {}.", file.display()));
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path, template: &Template) -> anyhow::Result<Event> {
    let text = std::fs::read(file).with_context(|| format!("--event: cannot read {}", file.display()))?;
    let event = Event::parse(&text, Clock::system().now())
        .map_err(|why| anyhow::anyhow!("{}: this is no event of ours: {why}", file.display()))?;
    if event.r#type != template.event_type() {
        bail!(
            "{}: the event is of the type {}, and {} is for {}",
            file.display(),
            event.r#type,
            template.name(),
            template.event_type()
        );
    }
    Ok(event)
}

fn reading(
    catalogue: &Catalogue,
    template: &Template,
    language: &str,
    event: Option<&Event>,
) -> anyhow::Result<Reading> {
    let filled = match event {
        Some(event) => {
            catalogue.fill_event(template, language, event).transpose().map_err(|why| anyhow::anyhow!("{why}"))?
        }
        None => catalogue.fill_example(template, language),
    };
    filled
        .and_then(|filled| template.reading(language, &filled))
        .with_context(|| format!("{} in {language} cannot be filled", template.name()))
}

fn page(name: &str, readings: &[(&str, Reading)]) -> anyhow::Result<String> {
    let mut pages = Environment::new();
    pages.add_template("preview.html", PAGE)?;
    let languages: Vec<_> = readings
        .iter()
        .map(|(language, reading)| {
            let buttons: Vec<String> = reading.buttons.iter().map(|button| button.text.clone()).collect();
            context! {
                language => *language,
                buttons,
                header => reading.header.clone(),
                footer => reading.footer.clone(),
                body => formatted(&reading.body),
            }
        })
        .collect();
    Ok(pages.get_template("preview.html")?.render(context! { template => name, languages })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::{Settings, shipped_events, shipped_messages};

    fn shipped() -> Catalogue {
        let settings = Settings { senders: vec!["main".into()], default_language: "es".into(), ..Settings::default() };
        Catalogue::load(&shipped_messages(), &shipped_events(), &settings).unwrap()
    }

    #[test]
    fn every_language_is_drawn() {
        let catalogue = shipped();
        let template = catalogue.template("shipment_dispatched").unwrap();
        let drawn: Vec<String> = template
            .languages()
            .map(|code| format!("{code}\n{}", bubble(&reading(&catalogue, template, code, None).unwrap(), false)))
            .collect();
        insta::assert_snapshot!(drawn.join("\n\n"));
    }

    #[test]
    fn a_page_has_every_language() {
        let catalogue = shipped();
        let template = catalogue.template("delivered").unwrap();
        let readings: Vec<_> =
            template.languages().map(|code| (code, reading(&catalogue, template, code, None).unwrap())).collect();
        let page = page("delivered", &readings).unwrap();
        let (_, shown) = page.split_once("<body>").unwrap();
        insta::assert_snapshot!(shown);
    }
}
