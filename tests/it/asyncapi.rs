//! `docs/asyncapi.yaml` says of the broker what the code does: names, types, arguments, schemas.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

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
