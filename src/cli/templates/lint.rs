//! The templates against all of the provider's rules.

use std::process::ExitCode;

use serde::Serialize;

use super::{complain, say};
use crate::{
    cli::{files, understood},
    config::{Needs, Place},
    domain::{
        problem::Problem,
        template::{Catalogue, Settings as Rules},
    },
};

#[derive(Serialize)]
struct Finding<'a> {
    file: &'a str,
    line: usize,
    key: &'a str,
    /// `error`: it cannot be used; `warning`: a review may refuse or recategorise it.
    severity: &'static str,
    message: &'a str,
}

/// 0 if nothing is wrong; 1 if something is, or with `strict` if something is worth a warning.
pub(super) fn lint(place: &Place, json: bool, strict: bool) -> anyhow::Result<ExitCode> {
    let mut settings = understood(place, Needs { templates: true, ..Needs::NOTHING })?;
    if settings.senders.is_empty() && settings.templates.default_sender.is_none() {
        settings.templates.default_sender = Some("main".to_owned());
    }
    let dir = &settings.templates.dir;
    let (messages, schemas) = (files(&dir.join("messages"), "toml")?, files(&dir.join("events"), "json")?);
    let rules: Rules = crate::cli::template_settings(&settings);
    let loaded = Catalogue::load(&messages, &schemas, &rules);
    let nothing = Vec::new();
    let (errors, warnings) = match &loaded {
        Ok(catalogue) => (&nothing, catalogue.notes().to_vec()),
        Err(problems) => (problems, Vec::new()),
    };
    let found: Vec<Finding<'_>> = errors
        .iter()
        .map(|problem| finding("error", problem))
        .chain(warnings.iter().map(|problem| finding("warning", problem)))
        .collect();
    if json {
        say(&serde_json::to_string_pretty(&found)?);
    } else {
        for one in &found {
            let key = if one.key.is_empty() { String::new() } else { format!("{}: ", one.key) };
            say(&format!("{}:{}: {}: {key}{}", one.file, one.line, one.severity, one.message));
        }
        complain(&format!(
            "{} files: {} error(s), {} warning(s).",
            messages.len() + schemas.len(),
            errors.len(),
            warnings.len()
        ));
    }
    let good = errors.is_empty() && (!strict || warnings.is_empty());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finding<'a>(severity: &'static str, problem: &'a Problem) -> Finding<'a> {
    Finding { file: &problem.file, line: problem.line, key: &problem.key, severity, message: &problem.message }
}
