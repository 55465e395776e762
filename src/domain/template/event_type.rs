//! What an event type's JSON file says: the schema of its data and, under `x-recado`, its stage of a journey and how people are told.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Journey,
    judge::{Judge, Kind},
    schema::{self, Schema},
};
use crate::domain::{
    expression::{Absence, Expression},
    locale::Locale,
    problem::Report,
};

/// Characters of what is said of a stage: three of them fit into one text with much to spare.
const SAYS_MAX: usize = 300;

/// A schema file, read.
#[derive(Debug)]
pub(super) struct EventFile {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) schema: Schema,
    stage: Option<Stage>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    journey: String,
    key: String,
    stage: i16,
    #[serde(default)]
    says: BTreeMap<String, String>,
}

/// Reads one file. Its name without `.json` is the event type.
pub(super) fn read(path: &str, text: &str, report: &mut Report<'_>) -> Option<(String, EventFile)> {
    let name = path.rsplit(['/', '\\']).next().and_then(|file| file.strip_suffix(".json")).unwrap_or_default();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 250 || !name.chars().all(fits) {
        report.add_at_line(1, "", "The file must be called after its event type, like order.confirmed.json (lower-case letters, digits, . _ -).");
        return None;
    }
    let root: Value = match serde_json::from_str(text) {
        Ok(root) => root,
        Err(error) => {
            report.add_at_line(error.line().max(1), "", format!("This is no JSON: {error}."));
            return None;
        }
    };
    let stage = match root.get("x-recado").cloned().map(serde_json::from_value) {
        None => None,
        Some(Ok(stage)) => Some(stage),
        Some(Err(error)) => {
            report.add(
                schema::place_of(text, "x-recado"),
                "x-recado",
                format!("{error}; it has journey, key (an expression), stage (a number) and says (texts by language)."),
            );
            None
        }
    };
    let schema = Schema::new(root, text, report);
    Some((name.to_owned(), EventFile { path: path.to_owned(), text: text.to_owned(), schema, stage }))
}

/// Compiles and checks the journey's key. `example` is a template's; else the schema's own first example serves.
pub(super) fn journey(
    event_type: &str,
    file: &EventFile,
    example: Option<&Value>,
    zone: &TimeZone,
    report: &mut Report<'_>,
) -> Option<Journey> {
    let stage = file.stage.as_ref()?;
    let at = || schema::place_of(&file.text, "x-recado");
    if stage.journey.is_empty() || stage.journey.len() > 64 {
        report.add(at(), "x-recado.journey", "A journey's name has 1 to 64 bytes.");
    }
    let key = match Expression::compile(&stage.key, Absence::Fails) {
        Ok(key) => key,
        Err(why) => {
            report.add(at(), "x-recado.key", format!("The expression {why}."));
            return None;
        }
    };
    let own = file.schema.root().get("examples").and_then(|examples| examples.get(0));
    if let Some(example) = example.or(own) {
        let locale = Locale::unknown();
        let judge = Judge { event_type, schema: Some(&file.schema), schema_path: &file.path, example, zone };
        for complaint in judge.complaints(&key, &locale, Kind::Text) {
            report.add(at(), "x-recado.key", complaint);
        }
    }
    for (language, words) in &stage.says {
        let place = format!("x-recado.says.{language}");
        if Locale::parse(language).is_none() {
            report.add(at(), place, "This is no language; one is called like es or pt_BR.");
        } else if words.trim().is_empty() || words.chars().count() > SAYS_MAX || words.contains(char::is_control) {
            report.add(at(), place, format!("This must be one line of 1 to {SAYS_MAX} characters."));
        }
    }
    Some(Journey { name: stage.journey.clone(), key, stage: stage.stage, says: stage.says.clone() })
}
