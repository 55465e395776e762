//! Every address of the router is in the document, and nothing else is.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use regex::Regex;

use super::*;

/// Pages for people, and what belongs to them: they are not described.
const PAGES: [&str; 6] = ["/opt-in/", "/c/", "/preferences/", "/assets/", "/console", "/metrics"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs")
            && path.file_stem().is_some_and(|name| name != "tests")
        {
            found.push(path);
        }
    }
}

/// The text between the parenthesis that `text` begins with and the one that closes it.
fn inside(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 1 => return &text[1..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("a parenthesis is not closed: {text}");
}

/// Every `.route("…", …)` in the sources of the doors, as method and address.
fn routes() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut files);
    let (route, method) =
        (Regex::new(r#"^\(\s*"([^"]+)""#).unwrap(), Regex::new(r"\b(get|post|put|patch|delete)\(").unwrap());
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices(".route(") {
            let call = &text[at + ".route".len()..];
            let said = inside(call);
            let path = &route.captures(call).unwrap_or_else(|| panic!("a route whose address is no text: {said}"))[1];
            for one in method.captures_iter(said) {
                found.insert(format!("{} {path}", one[1].to_uppercase()));
            }
        }
    }
    found.retain(|route| !PAGES.iter().any(|page| route.split(' ').nth(1).unwrap().starts_with(page)));
    found
}

fn described() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&text()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect::<Vec<_>>();
    paths.iter().flat_map(|(path, item)| methods(item).into_iter().map(move |name| format!("{name} {path}"))).collect()
}

#[test]
fn the_document_has_every_address_of_the_router_and_no_other() {
    let (there, told) = (routes(), described());
    assert!(there.len() >= 19, "{there:?}");
    let (untold, invented): (Vec<_>, Vec<_>) = (there.difference(&told).collect(), told.difference(&there).collect());
    assert!(untold.is_empty(), "describe with #[utoipa::path] and name in http/openapi.rs: {untold:?}");
    assert!(invented.is_empty(), "described and not there: {invented:?}");
}

#[test]
fn the_document_says_how_requests_fail_and_has_its_parts() {
    let document: Value = serde_json::from_str(&text()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{name}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key("500"), "{name}");
            assert_eq!(
                path.starts_with("/v1/") && path != "/v1/openapi.json",
                answers.contains_key("401") && answers.contains_key("403"),
                "{name}"
            );
        }
    }
    let whole = document.to_string();
    for (at, _) in whole.match_indices("\"#/components/") {
        let pointer = whole[at + 2..].split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
}
