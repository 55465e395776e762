//! The layers, each an absence: what the crate docs say of who knows whom is held here.

use std::path::{Path, PathBuf};

use recado::provider::reason;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, without tests, with its text and the lines that are no comments.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|n| n != "tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let code =
                    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
                found.push((path, code));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

fn nowhere(folder: &str, words: &[&str]) {
    for (path, code) in sources(folder) {
        for word in words {
            assert!(!code.contains(word), "{} says `{word}`, which {folder} must not", path.display());
        }
    }
}

#[test]
fn what_is_true_and_how_providers_speak_is_pure() {
    for folder in ["src/domain", "src/provider"] {
        nowhere(folder, &["async fn", "tokio::", "sqlx::", "std::net", "Timestamp::now", "Instant::now", "getrandom"]);
    }
    nowhere("src/domain", &["crate::db", "crate::worker", "crate::http", "crate::provider", "crate::config"]);
    nowhere("src/provider", &["crate::db", "crate::worker", "crate::http", "crate::sim"]);
}

#[test]
fn only_the_database_speaks_sql() {
    for folder in ["src/worker", "src/http", "src/inbox", "src/cli", "src/domain", "src/provider", "src/sim"] {
        nowhere(folder, &["query!(", "query_as!(", "query_scalar!(", "sqlx::query"]);
    }
}

#[test]
fn the_loops_and_the_doors_meet_in_the_database_only() {
    nowhere("src/worker", &["crate::http"]);
    nowhere("src/http", &["crate::worker"]);
    nowhere("src/inbox", &["crate::worker", "crate::http", "lapin", "axum"]);
    nowhere("src/db", &["crate::worker", "crate::http", "crate::provider", "crate::sim"]);
}

#[test]
fn the_database_knows_of_the_process_only_where_a_test_kills_it() {
    for (path, code) in sources("src/db") {
        for (at, _) in code.match_indices("lifecycle::") {
            assert!(code[at..].starts_with("lifecycle::crash"), "{} knows more of lifecycle", path.display());
        }
    }
    nowhere("src/lifecycle", &["crate::"]);
    let head = std::fs::read_to_string(root().join("src/lifecycle/crash.rs")).expect("a source");
    let head: String = head.lines().take_while(|line| line.starts_with("//!")).collect();
    let mut steps = 0;
    for (path, code) in sources("src") {
        for call in ["crash::point(\"", "crash::meanwhile(\""] {
            for (at, _) in code.match_indices(call) {
                let step = code[at + call.len()..].split('"').next().expect("a step");
                assert!(
                    head.contains(&format!("`{step}`")),
                    "{} dies at {step}, of which nobody is told",
                    path.display()
                );
                steps += 1;
            }
        }
    }
    assert!(steps >= 11, "{steps}");
}

#[test]
fn what_the_queries_compare_reasons_with_are_reasons() {
    let known: Vec<&str> = recado::http::notifications::reasons().map(|(name, _)| name).collect();
    let mut compared = Vec::new();
    for (path, code) in sources("src/db") {
        for word in ["reason = '", "reason <> '", "reason in ('"] {
            for (at, _) in code.match_indices(word) {
                let name = code[at + word.len()..].split('\'').next().expect("a name");
                // A template's reason is a sentence.
                let is_known = name.contains(' ') || known.contains(&name);
                assert!(is_known, "{} compares a reason with {name}, which is none", path.display());
                compared.push(name.to_owned());
            }
        }
    }
    for reason in [reason::TEMPLATE_DRIFTED, reason::TEMPLATE_AGAINST_POLICY] {
        assert!(compared.iter().any(|name| name == reason.as_str()), "the claim does not ask for {reason:?}");
    }
}

#[test]
fn the_simulator_knows_none_of_ours() {
    for folder in ["domain", "provider", "db", "worker", "http", "config", "cli", "clock"] {
        nowhere("src/sim", &[&format!("crate::{folder}")]);
    }
}

#[test]
fn no_file_is_a_drawer_for_everything_and_none_is_too_long() {
    for (path, _) in sources("src") {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        for drawer in ["util", "utils", "common", "types", "models", "service", "manager", "helper", "helpers"] {
            assert_ne!(name, drawer, "{}", path.display());
        }
        let lines = std::fs::read_to_string(&path).expect("a source").lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_figure_that_is_described_is_told_by_somebody() {
    let telemetry = std::fs::read_to_string(root().join("src/telemetry.rs")).expect("a source");
    let all: String = sources("src").into_iter().map(|(_, code)| code).collect();
    let named =
        |line: &str| line.strip_prefix("pub fn ").and_then(|rest| rest.split(['(', '<']).next()).map(str::to_owned);
    let tellers: Vec<String> = telemetry.lines().filter_map(named).filter(|name| name != "begin_logging").collect();
    assert!(tellers.len() >= 19, "{tellers:?}");
    for teller in tellers {
        assert!(all.contains(&format!("telemetry::{teller}(")), "nobody calls telemetry::{teller}");
    }
}
