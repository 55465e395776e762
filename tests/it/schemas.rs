//! What is told to others is what docs/schemas says. The part of JSON Schema that those files use, and stricter in one point: what a
//! schema says with a word that is not known here is a mistake.

use std::{collections::BTreeSet, path::Path};

use recado::{
    db::{holds, outbox},
    domain::ledger::Act,
    worker::outbox::event::{self, INBOUND},
};
use regex::Regex;
use serde_json::{Value, json};

use crate::house::{ANA, House, Mishap, text};

/// A document of docs/schemas.
pub struct Schema(Value);

impl Schema {
    /// The schema of what is told on `recado.status` or `recado.inbound`.
    pub fn open(name: &str) -> Schema {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schemas/{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Schema(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// Of whichever of the two an event is told on.
    pub fn of(event: &Value) -> Schema {
        Schema::open(if event["type"] == INBOUND { "recado.inbound" } else { "recado.status" })
    }

    /// What is wrong with a value; nothing, if it keeps to the schema.
    pub fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check("", &self.0, value, &mut faults);
        faults
    }

    fn check(&self, at: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
        for (word, says) in schema.as_object().expect("a schema") {
            let good = match word.as_str() {
                "$schema" | "title" | "description" | "$defs" | "properties" | "additionalProperties" => true,
                "$ref" => {
                    let place = says.as_str().unwrap().trim_start_matches('#');
                    self.check(at, self.0.pointer(place).expect("what is referred to"), value, faults);
                    true
                }
                "oneOf" => {
                    let of = |branch| {
                        let mut own = Vec::new();
                        self.check(at, branch, value, &mut own);
                        own
                    };
                    let all: Vec<Vec<String>> = says.as_array().unwrap().iter().map(of).collect();
                    let fit = all.iter().filter(|faults| faults.is_empty()).count();
                    if fit != 1 {
                        faults.push(format!("{at}: {fit} alternatives fit: {all:?}"));
                    }
                    true
                }
                "type" => {
                    says.as_array().map_or_else(|| is(says, value), |kinds| kinds.iter().any(|kind| is(kind, value)))
                }
                "const" => says == value,
                "enum" => says.as_array().unwrap().contains(value),
                "minimum" => value.as_i64().is_none_or(|number| number >= says.as_i64().unwrap()),
                "pattern" => {
                    value.as_str().is_none_or(|text| Regex::new(says.as_str().unwrap()).unwrap().is_match(text))
                }
                "format" => value.as_str().is_none_or(|text| match says.as_str() {
                    Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
                    Some("uuid") => text.parse::<uuid::Uuid>().is_ok(),
                    other => panic!("the format {other:?}"),
                }),
                "required" => {
                    let missing =
                        says.as_array().unwrap().iter().find(|key| value.get(key.as_str().unwrap()).is_none());
                    missing.is_none() || !value.is_object()
                }
                other => panic!("{at}: the word {other}"),
            };
            if !good {
                faults.push(format!("{at}: {value} is not {word} {says}"));
            }
        }
        for (key, inner) in value.as_object().into_iter().flatten() {
            match schema["properties"].get(key) {
                Some(of) => self.check(&format!("{at}/{key}"), of, inner, faults),
                None if schema["additionalProperties"] == false => faults.push(format!("{at}: there is no {key}")),
                None => {}
            }
        }
    }
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("null") => value.is_null(),
        other => panic!("the type {other:?}"),
    }
}

/// Everything that the outbox has to tell.
async fn told(house: &House) -> Vec<Value> {
    let rows = house.count("select count(*) from outbox").await;
    loop {
        // Other tests' transactions count as well.
        let found = outbox::next(&house.pools.ops, 0, 1_000).await.unwrap().rows;
        if found.len() as i64 == rows {
            return found.iter().map(|row| serde_json::from_str(&event::of(row).body).unwrap()).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn everything_that_is_told_keeps_to_its_schema() {
    let house = House::start().await;
    // Accepted, delivered and read; undelivered; in doubt; without consent.
    let attempt = house.sending().await.attempt;
    house.accept(attempt, "wamid.1").await;
    house.report(attempt, "wamid.1", "delivered").await;
    house.report(attempt, "wamid.1", "read").await;
    house.advance(60);
    house.order(ANA).await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.2").await;
    house.undeliver(attempt, "wamid.2", Mishap::NotOnWhatsapp).await;
    house.advance(60);
    house.order(ANA).await;
    let attempt = house.claim_one().await.attempt;
    house.lose_answer(attempt).await;
    house.tell(ANA, Act::Revoked, "orders").await;
    house.order(ANA).await;
    house.claim().await;

    let scope = holds::Scope::Template { sender: house.sender, template: "order_confirmed".into(), language: None };
    let hold = holds::Hold {
        scope,
        reason: "operator".into(),
        detail: Some("wrong".into()),
        lasts: Some(std::time::Duration::from_secs(60)),
        by: "cli ana".into(),
    };
    holds::place(&house.pools.ops, &hold).await.unwrap();
    house.run("update holds set released_at = recado_now(), released_by = 'cli ana'").await;
    house.run("update template_states set status = 'paused', category = 'UTILITY', until = recado_now()").await;
    house.hook(&text("34600111222", "wamid.in.1", "BAJA")).await;

    let told = told(&house).await;
    let mut kinds = BTreeSet::new();
    for event in &told {
        let faults = Schema::of(event).faults(event);
        assert!(faults.is_empty(), "{event:#}: {faults:#?}");
        kinds.insert(event["type"].as_str().unwrap().to_owned());
    }
    let all = [
        "hold.placed",
        "hold.released",
        "message.received",
        "notification.accepted",
        "notification.delivered",
        "notification.failed",
        "notification.in_doubt",
        "notification.read",
        "notification.suppressed",
        "template.changed",
    ];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), all, "{told:#?}");
}

#[test]
fn what_breaks_a_schema_is_found() {
    let schema = Schema::open("recado.inbound");
    let good = json!({
        "specversion": "1.0", "id": "inbound.7", "source": "/recado", "type": "message.received", "time": "2026-11-22T20:00:00Z",
        "datacontenttype": "application/json",
        "data": {"sender": "main", "message_id": "w", "at": "2026-11-22T20:00:00Z", "kind": "text", "contact": 1,
            "from": {"wa_id": "1", "user_id": null}, "answers": null, "notification": null, "did": null, "message": {}},
    });
    assert_eq!(schema.faults(&good), Vec::<String>::new());
    for (place, wrong) in [
        ("/id", json!("inbound.x")),
        ("/time", json!("yesterday")),
        ("/data/did", json!("sold")),
        ("/data/contact", json!("1")),
        ("/data/from", json!({"wa_id": "1"})),
        ("/data/from", json!({"wa_id": "1", "user_id": null, "name": "Ana"})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = wrong;
        assert_ne!(schema.faults(&bad), Vec::<String>::new(), "{bad}");
    }
}
