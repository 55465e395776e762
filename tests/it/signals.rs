//! The metrics have one dictionary, and dashboards and alerts name nothing that is not in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use regex::Regex;
use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// A metric: its kind and labels, with the values that the dictionary lists.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Metric {
    fn names(&self) -> BTreeSet<&str> {
        self.labels.keys().map(String::as_str).collect()
    }
}

fn captures<'t>(pattern: &str, text: &'t str) -> Vec<Vec<&'t str>> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|c| c.iter().skip(1).map(|m| m.map_or("", |m| m.as_str())).collect()).collect()
}

/// The rows of the dictionary: name, kind, unit, labels, meaning, what to do.
fn dictionary() -> BTreeMap<String, Metric> {
    let text = read("docs/metrics.md");
    let mut metrics = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `recado_")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 6, "a row has name, kind, unit, labels, meaning and what to do: {line}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
        let mut labels = BTreeMap::new();
        // `label`, or `label` (`value` `value`).
        for found in captures(r"`(\w+)`(?: \(([^)]*)\))?", cells[3]) {
            let values = captures(r"`(\w+)`", found[1]).iter().map(|value| value[0].to_owned()).collect();
            labels.insert(found[0].to_owned(), values);
        }
        let name = cells[0].trim_matches('`').to_owned();
        let twice = metrics.insert(name.clone(), Metric { kind: cells[1].to_owned(), labels });
        assert_eq!(twice, None, "{name} stands there twice");
    }
    metrics
}

/// What the code has: each described metric with its kind, and the labels of every place that tells it.
fn code() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = read("src/telemetry.rs");
    let text = text.split("#[cfg(test)]").next().unwrap();
    let names: BTreeMap<&str, &str> = captures(r#"const (\w+): &str = "(recado_\w+)";"#, text)
        .into_iter()
        .map(|found| (found[0], found[1]))
        .collect();
    let mut metrics = BTreeMap::new();
    for found in captures(r"describe_(counter|gauge|histogram)!\(\s*(\w+),", text) {
        metrics.insert(names[found[1]].to_owned(), (found[0].to_owned(), BTreeSet::new()));
    }
    assert_eq!(metrics.len(), names.len(), "every metric is described");
    for function in text.split("\npub fn ") {
        let shared: Vec<&str> = captures(r#"\("(\w+)", \w+"#, function).into_iter().map(|found| found[0]).collect();
        for told in ["counter", "gauge", "histogram"] {
            for rest in function.split(&format!(" {told}!(")).skip(1) {
                let (name, arguments) = call(rest);
                let Some((kind, labels)) = names.get(name).and_then(|name| metrics.get_mut(*name)) else { continue };
                assert_eq!(kind, told, "{name} is told as what it is described as");
                labels.extend(captures(r#""(\w+)" =>"#, arguments).into_iter().map(|label| label[0].to_owned()));
                if arguments.contains("&labels") {
                    labels.extend(shared.iter().map(|label| (*label).to_owned()));
                }
            }
        }
    }
    metrics
}

/// The first argument of a call, and all of them, up to its end.
fn call(text: &str) -> (&str, &str) {
    let mut depth = 1;
    let end = text.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    let arguments = &text[..end.unwrap()];
    (arguments.split(',').next().unwrap(), arguments)
}

#[test]
fn the_dictionary_has_every_metric_as_the_code_has_it() {
    let (dictionary, code) = (dictionary(), code());
    assert_eq!(dictionary.keys().collect::<Vec<_>>(), code.keys().collect::<Vec<_>>());
    for (name, (kind, labels)) in &code {
        let written = &dictionary[name];
        assert_eq!(&written.kind, kind, "{name}");
        assert_eq!(written.names(), labels.iter().map(String::as_str).collect(), "{name}");
    }
    // A value that the dictionary lists is written somewhere in the code as that word.
    let all = all_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for (name, metric) in &dictionary {
        for value in metric.labels.values().flatten() {
            assert!(all.contains(&format!("\"{value}\"")), "{name}: nobody tells {value}");
        }
    }
}

fn all_sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &all_sources(&path);
        } else {
            all += &std::fs::read_to_string(path).unwrap();
        }
    }
    all
}

/// Fails if a query names a metric, label or value that there is not.
fn understood(place: &str, query: &str, dictionary: &BTreeMap<String, Metric>) {
    for found in captures(r"\b(recado_\w+)(?:\{([^}]*)\})?", query) {
        let name = dictionary.keys().find(|name| {
            found[0] == *name
                || dictionary[*name].kind == "histogram"
                    && ["_bucket", "_sum", "_count"].iter().any(|end| found[0].strip_suffix(end) == Some(name))
        });
        let Some(name) = name else { panic!("{place}: there is no {} in {query}", found[0]) };
        let metric = &dictionary[name];
        for matcher in captures(r#"(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)""#, found[1]) {
            if ["instance", "job"].contains(&matcher[0]) {
                continue;
            }
            let values = metric.labels.get(matcher[0]);
            let values = values.unwrap_or_else(|| panic!("{place}: {name} has no label {}", matcher[0]));
            for value in matcher[1].split('|').filter(|value| !values.is_empty() && !value.starts_with('$')) {
                assert!(values.contains(value), "{place}: {name} has no {}=\"{value}\"", matcher[0]);
            }
        }
    }
    let own: BTreeSet<&str> =
        dictionary.iter().filter(|(name, _)| query.contains(*name)).flat_map(|(_, m)| m.names()).collect();
    for grouping in captures(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)", query) {
        for label in grouping[0].split(',').map(str::trim).filter(|label| !label.is_empty()) {
            assert!(own.contains(label) || ["le", "instance"].contains(&label), "{place}: {query} groups by {label}");
        }
    }
}

const RULES: &str = "deploy/prometheus/recado.rules.yml";
const RULES_TEST: &str = "deploy/prometheus/recado.rules.test.yml";
const DASHBOARD: &str = "deploy/grafana/recado.json";

/// The alerts: each with its query and the rest of its text. The file is written so that this can be read without YAML.
fn alerts() -> Vec<(String, String, String)> {
    let text = read(RULES);
    let blocks: Vec<&str> = text.split("\n      - alert: ").skip(1).collect();
    let alert = |block: &&str| {
        let name = block.lines().next().unwrap().trim().to_owned();
        let (_, rest) = block.split_once("expr: ").unwrap();
        let (query, _) = rest.split_once("\n        for: ").unwrap();
        (name, query.to_owned(), (*block).to_owned())
    };
    blocks.iter().map(alert).collect()
}

#[test]
fn every_alert_asks_for_what_there_is_and_names_what_to_do() {
    let (dictionary, operating) = (dictionary(), read("docs/operating.md"));
    let alerts = alerts();
    assert!(alerts.len() >= 12, "{}", alerts.len());
    let tests = read(RULES_TEST);
    for (name, query, rest) in &alerts {
        understood(name, query, &dictionary);
        assert!(operating.contains(&format!("\n### {name}\n")), "docs/operating.md has no section {name}");
        let runbook = format!("runbook: docs/operating.md#{}\n", name.to_lowercase());
        assert!(format!("{rest}\n").contains(&runbook), "{name} leads to its section");
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(rest.contains(part), "{name} has no {part}");
        }
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} is not tried in {RULES_TEST}");
        let own: BTreeSet<&str> =
            dictionary.iter().filter(|(metric, _)| query.contains(*metric)).flat_map(|(_, m)| m.names()).collect();
        for label in captures(r"\$labels\.(\w+)", rest) {
            assert!(own.contains(label[0]) || label[0] == "instance", "{name} tells {}", label[0]);
        }
    }
    for section in captures(r"(?m)^### (Recado\w+)$", &operating) {
        assert!(alerts.iter().any(|(name, ..)| name == section[0]), "there is no alert {}", section[0]);
    }
}

#[test]
fn every_panel_of_the_dashboard_asks_for_what_there_is() {
    let dictionary = dictionary();
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut queries = 0;
    let mut shown = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{title}: every panel has its own id");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            understood(title, query, &dictionary);
            queries += 1;
            let own: BTreeSet<&str> =
                dictionary.iter().filter(|(name, _)| query.contains(*name)).flat_map(|(_, m)| m.names()).collect();
            for label in captures(r"\{\{(\w+)\}\}", target["legendFormat"].as_str().unwrap_or_default()) {
                assert!(own.contains(label[0]) || label[0] == "instance", "{title} is drawn by {}", label[0]);
            }
            shown.extend(dictionary.keys().filter(|name| query.contains(*name)).cloned());
        }
    }
    assert!(queries > 20, "{queries}");
    let unseen: Vec<&String> = dictionary.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(unseen.is_empty(), "the dashboard shows everything; not {unseen:?}");
}

#[test]
fn promtool_finds_the_rules_right_and_sees_each_alert_come_and_go() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for arguments in [["check", "rules", "recado.rules.yml"], ["test", "rules", "recado.rules.test.yml"]] {
        let Ok(done) = Command::new("promtool").args(arguments).current_dir(&folder).output() else {
            println!("promtool is not here: the rules are read, and not tried (Debian: apt-get install prometheus)");
            return;
        };
        let told = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&told));
    }
}
