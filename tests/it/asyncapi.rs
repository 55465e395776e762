//! `docs/asyncapi.yaml` says of the broker what the code does: names, types, arguments, schemas.

use std::{collections::BTreeSet, path::Path};

use recado::domain::event::Event;
use serde_json::{Value, json};

use crate::harness::now;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn document() -> Value {
    yaml_serde::from_str(&text("docs/asyncapi.yaml")).expect("YAML")
}

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().expect("a list").iter().map(|item| item.as_str().expect("a text")).collect()
}

/// Everything under a key of this name, wherever it is.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found.push(member);
                }
                all(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_names_and_arguments_are_those_that_are_declared() {
    let document = document();
    let settings: toml::Value = toml::from_str(&text("config/default.toml")).unwrap();
    let of = |key: &str| settings["broker"][key].as_str().unwrap().to_owned();
    let exchange = |channel: &str| document["channels"][channel]["bindings"]["amqp"]["exchange"].clone();
    let topic = |name: String| json!({"name": name, "type": "topic", "durable": true, "autoDelete": false});
    assert_eq!(exchange("events"), topic(of("exchange")));
    assert_eq!(exchange("status"), topic(of("status_exchange")));
    assert_eq!(exchange("inbound"), topic(of("inbound_exchange")));
    let queue =
        |channel: &str| document["channels"][channel]["bindings"]["amqp"]["queue"]["name"].as_str().unwrap().to_owned();
    assert_eq!((queue("queue"), queue("dead")), (of("queue"), of("dead_exchange")));

    let declared = text("src/worker/broker.rs");
    for channel in ["queue", "dead"] {
        for (name, value) in document["channels"][channel]["x-arguments"].as_object().unwrap() {
            assert!(declared.contains(&format!("\"{name}\"")), "{name} is not declared");
            let said = value
                .as_str()
                .is_none_or(|value| value == of("dead_exchange") || declared.contains(&format!("\"{value}\"")));
            assert!(said, "{name} is not declared as {value}");
        }
    }
    let arguments = declared.matches("\"x-").count();
    let told = ["queue", "dead"].map(|channel| document["channels"][channel]["x-arguments"].as_object().unwrap().len());
    assert_eq!(arguments, told.iter().sum::<usize>(), "every argument is told");
    let limit = &document["channels"]["queue"]["x-arguments"]["x-delivery-limit"];
    assert_eq!(limit.as_i64(), settings["broker"]["delivery_limit"].as_integer());
}

#[test]
fn every_event_type_has_its_message_and_every_reference_leads_somewhere() {
    let document = document();
    let files = std::fs::read_dir(root().join("templates/events")).unwrap();
    let types: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(
        texts(&document["channels"]["events"]["parameters"]["type"]["enum"]),
        types.iter().map(String::as_str).collect()
    );
    let messages = document["components"]["messages"].as_object().unwrap();
    let mut names = BTreeSet::new();
    for (key, message) in messages.iter().filter(|(_, message)| message["name"].is_string()) {
        let name = message["name"].as_str().unwrap();
        let schema: Value = serde_json::from_str(&text(&format!("templates/events/{name}.json"))).unwrap();
        assert_eq!(message["title"], schema["title"], "{name}");
        let own = &message["payload"]["allOf"][1]["properties"];
        assert_eq!(own["type"]["const"], name);
        assert_eq!(own["data"]["$ref"], format!("../templates/events/{name}.json"));
        for channel in ["events", "queue"] {
            let there = &document["channels"][channel]["messages"][key]["$ref"];
            assert_eq!(there, &format!("#/components/messages/{key}"), "{channel}");
        }
        names.insert(name.to_owned());
    }
    assert_eq!(names, types);

    let mut references = Vec::new();
    all(&document, "$ref", &mut references);
    assert!(references.len() > 40);
    for reference in references.into_iter().map(|reference| reference.as_str().unwrap()) {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference}"),
            None => assert!(root().join("docs").join(reference).exists(), "{reference}"),
        }
    }
}

#[test]
fn the_types_that_are_told_are_those_of_the_schemas() {
    let document = document();
    let schema: Value = serde_json::from_str(&text("docs/schemas/recado.status.json")).unwrap();
    let mut told = BTreeSet::new();
    for kind in schema["$defs"].as_object().unwrap().values() {
        let r#type = &kind["properties"]["type"];
        told.extend(r#type["const"].as_str().map(str::to_owned));
        told.extend(
            r#type["enum"].as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)),
        );
    }
    let listed = texts(&document["channels"]["status"]["parameters"]["type"]["enum"]);
    assert_eq!(listed, told.iter().map(String::as_str).collect());
    assert_eq!(document["channels"]["inbound"]["address"], "message.received");
}

#[test]
fn an_event_is_taken_or_refused_as_its_schema_says() {
    let document = document();
    let schema = &document["components"]["schemas"]["event"];
    let example: Value = serde_json::from_str(&text("docs/examples/producers/event.json")).unwrap();
    let taken = |event: &Value| Event::parse(event.to_string().as_bytes(), now()).is_ok();
    assert!(taken(&example));
    let required = texts(&schema["required"]);
    for (name, of) in schema["properties"].as_object().unwrap() {
        let taken_with = |value: Value| {
            let mut event = example.clone();
            event[name] = value;
            taken(&event)
        };
        let mut without = example.clone();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(taken(&without), !required.contains(name.as_str()), "without {name}");
        // A trace that cannot be followed is no reason to lose an event.
        let any = of["type"].is_null() && of["const"].is_null() || name == "traceparent";
        assert_eq!(taken_with(json!(["of another type"])), any, "{name} of another type");
        if let Some(only) = of["const"].as_str() {
            assert!(taken_with(json!(only)) && !taken_with(json!(format!("{only}.1"))), "{name}");
        }
        if let Some(most) = of["maxLength"].as_u64() {
            let of_length = |length: u64| taken_with(json!("x".repeat(usize::try_from(length).unwrap())));
            assert!(of_length(most) && !of_length(most + 1), "{name} of {most}");
            assert_eq!(of_length(0), of["minLength"].is_null(), "an empty {name}");
        }
        if of["format"] == "date-time" {
            assert!(taken_with(json!("2026-12-03T18:30:00Z")) && !taken_with(json!("yesterday")), "{name}");
        }
    }
}
