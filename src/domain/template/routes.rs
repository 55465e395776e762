//! From a template's file to the sender that its messages go from, and whether rules for senders work for the events that come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    Settings, Template,
    event_type::EventFile,
    file::{self, File},
    judge::{Judge, Kind},
};
use crate::domain::{
    locale::Locale,
    problem::{Problem, Report},
    route::{Parts, Route, Rule, Rules, Written},
};

/// The sender of a template's messages: the one that it names, by its own rules, by the configuration's, or the default one.
pub(super) fn read(file: &File, settings: &Settings, judge: &Judge<'_>, report: &mut Report<'_>) -> Route {
    if let Some(sender) = &file.sender {
        check_sender(sender, "sender", settings, report);
    }
    let named = file.sender.as_ref().map(|sender| sender.get_ref().clone());
    if file.route.is_empty() {
        return match (named, &settings.routing) {
            (Some(sender), _) => Route::Sender(sender),
            (None, Some(rules)) => Route::ByRules(Arc::clone(rules)),
            (None, None) => Route::Sender(settings.senders.first().cloned().unwrap_or_default()),
        };
    }
    let mut rules: Vec<Rule> = Vec::new();
    for route in &file.route {
        if rules.last().is_some_and(Rule::fits_always) {
            report.add(
                route.span(),
                "route",
                "The rule above asks for nothing and fits always; this one is never reached.",
            );
        }
        rules.extend(rule(route, settings, judge, report));
    }
    if let (Some(sender), true) = (&file.sender, rules.last().is_some_and(Rule::fits_always)) {
        report.add(
            sender.span(),
            "sender",
            "The last [[route]] fits always, so this last resort is never used; remove one of them.",
        );
    }
    Route::ByRules(Arc::new(Rules { rules, last_resort: named, written: Written::InTemplate }))
}

fn rule(
    route: &toml::Spanned<file::Route>,
    settings: &Settings,
    judge: &Judge<'_>,
    report: &mut Report<'_>,
) -> Option<Rule> {
    let span = route.span();
    let route = route.get_ref();
    check_sender(&route.sender, "route.sender", settings, report);
    let names = |of: &Option<toml::Spanned<file::Names>>| {
        of.as_ref().map(|names| names.get_ref().clone().into_list()).unwrap_or_default()
    };
    let parts = Parts {
        countries: names(&route.country),
        brands: names(&route.brand),
        when: route.when.as_ref().map(|when| when.get_ref().clone()),
        sender: route.sender.get_ref().clone(),
        place: (String::new(), 0),
    };
    match Rule::new(parts) {
        Ok(rule) => {
            if let (Some(when), Some(written)) = (rule.when(), &route.when) {
                for complaint in judge.complaints(when, &Locale::unknown(), Kind::Choice) {
                    report.add(written.span(), "route.when", complaint);
                }
            }
            Some(rule)
        }
        Err(wrong) => {
            for (key, what) in wrong {
                let of_key = match key {
                    "country" => route.country.as_ref().map(toml::Spanned::span),
                    "brand" => route.brand.as_ref().map(toml::Spanned::span),
                    _ => route.when.as_ref().map(toml::Spanned::span),
                };
                report.add(of_key.unwrap_or_else(|| span.clone()), format!("route.{key}"), format!("This {what}."));
            }
            None
        }
    }
}

fn check_sender(sender: &file::Text, key: &str, settings: &Settings, report: &mut Report<'_>) {
    let name = sender.get_ref();
    if settings.senders.contains(name) {
        return;
    }
    let known = settings.senders.join(", ");
    let message = if settings.other_senders.contains(name) {
        format!("The sender {name:?} sends SMS and no templates; those that do are: {known}.")
    } else {
        format!("There is no sender {name:?}; the configuration has: {known}.")
    };
    report.add(sender.span(), key, message);
}

/// Holds the configuration's rules against the event types of the templates that go by them: one that looks for what no type has is a
/// slip of the pen; one that cannot be evaluated for a type would reject its events.
pub(super) fn check(
    settings: &Settings,
    templates: &[Template],
    files: &BTreeMap<String, EventFile>,
    zone: &TimeZone,
) -> Vec<Problem> {
    let Some(routing) = &settings.routing else { return Vec::new() };
    let by_them =
        |template: &&Template| matches!(&template.route, Route::ByRules(rules) if Arc::ptr_eq(rules, routing));
    let mut types: Vec<&Template> = templates.iter().filter(by_them).collect();
    let mut seen = BTreeSet::new();
    types.retain(|template| seen.insert(template.event_type.as_str()));
    let mut problems = Vec::new();
    for (number, rule) in (1..).zip(&routing.rules) {
        let Some(when) = rule.when() else { continue };
        let mut told = |message: String| {
            let (file, line) = rule.place();
            let key = format!("routing.{number}.when");
            problems.push(Problem { file: file.to_owned(), line, key, message });
        };
        let mut strange = Vec::new();
        for template in &types {
            let file = files.get(&template.event_type);
            let judge = Judge {
                event_type: &template.event_type,
                schema: file.map(|file| &file.schema),
                schema_path: file.map_or("", |file| &file.path),
                example: &template.example,
                zone,
            };
            let strangers = judge.strangers(when, Kind::Choice);
            if !strangers.is_empty() {
                strange.push(strangers);
                continue;
            }
            for failure in judge.failures(when, &Locale::unknown(), Kind::Choice) {
                told(format!("For {}: {failure}", template.event_type));
            }
        }
        if strange.len() == types.len() {
            strange.into_iter().next().unwrap_or_default().into_iter().for_each(told);
        }
    }
    problems
}

#[cfg(test)]
mod tests;
