//! What somebody agreed to, and what proves it. For operators; each look is noted, and whom it was at is in no address.

use std::sync::Arc;

use axum::{Router, body::Bytes, extract::State, http::StatusCode, response::Response, routing::get};
use jiff::Timestamp;
use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use super::{Part, template, texts, trouble::Trouble, visitor::Visitor, visitor::field};
use crate::{
    db::{
        audit,
        consents::{self, Told},
        opt_ins,
    },
    domain::{
        ledger::{self, State as Standing},
        phone::Phone,
        role::Role,
    },
    http::Desk,
};

pub(super) const PART: Part =
    Part { name: "consents", templates: &[template!("consents.html")], texts: texts!("consents") };

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/consents", get(ask).post(find))
}

async fn ask(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    Ok(visitor.page(&desk, "consents", "consents.html", context! {}))
}

async fn find(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let typed = field(&body, "who").unwrap_or_default();
    let pool = &desk.doors.pools.ops;
    let told = match wanted(&typed) {
        Some(Wanted::Phone(phone)) => consents::of(pool, &phone).await?,
        Some(Wanted::Contact(contact)) => consents::of_contact(pool, contact).await?,
        None => {
            let values = context! { typed, wrong => true };
            return Ok(visitor.page_with(StatusCode::UNPROCESSABLE_ENTITY, &desk, "consents", "consents.html", values));
        }
    };
    audit::looked(pool, &visitor.caller.name, told.as_ref().map(|told| told.contact), "console").await?;
    let asked = match &told {
        Some(told) => opt_ins::open_of(pool, told.contact).await?,
        None => Vec::new(),
    };
    let person = told.as_ref().map(shown);
    let values = context! { typed, searched => true, person, asked => Serde(&asked) };
    Ok(visitor.page(&desk, "consents", "consents.html", values))
}

/// Whom a search means.
enum Wanted {
    Phone(Phone),
    Contact(i64),
}

fn wanted(typed: &str) -> Option<Wanted> {
    let text: String = typed.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '(' | ')' | '.')).collect();
    if let Ok(phone) = Phone::parse(&text) {
        return Some(Wanted::Phone(phone));
    }
    text.trim_start_matches("contact").parse().ok().filter(|contact| *contact > 0).map(Wanted::Contact)
}

#[derive(Serialize)]
struct Purpose<'a> {
    name: &'a str,
    state: &'static str,
    at: Timestamp,
    until: Option<Timestamp>,
    entry: i32,
}

#[derive(Serialize)]
struct Line<'a> {
    number: i32,
    at: Timestamp,
    act: &'a str,
    purpose: &'a str,
    evidence: Vec<(Vec<String>, String)>,
    erased: bool,
}

fn shown(told: &Told) -> Value {
    let purposes: Vec<_> = told
        .standings
        .iter()
        .map(|(name, standing)| Purpose {
            name,
            state: standing.state.as_str(),
            at: standing.at,
            until: match standing.state {
                Standing::Pending { until } => Some(until),
                Standing::Granted | Standing::Revoked => None,
            },
            entry: standing.entry,
        })
        .collect();
    let entries: Vec<_> = told
        .chain
        .iter()
        .rev()
        .map(|entry| Line {
            number: entry.number,
            at: entry.at,
            act: &entry.act,
            purpose: &entry.purpose,
            evidence: entry.evidence.as_ref().map(|(evidence, _)| facts(evidence)).unwrap_or_default(),
            erased: entry.evidence.is_none(),
        })
        .collect();
    context! {
        contact => told.contact,
        locale => told.locale.as_deref(),
        purposes => Serde(&purposes),
        entries => Serde(&entries),
        broken => ledger::verify(&told.chain).err().map(|broken| broken.to_string()),
    }
}

/// What evidence says, one fact a line, with the keys that lead to it.
fn facts(evidence: &serde_json::Value) -> Vec<(Vec<String>, String)> {
    fn add(way: &[String], value: &serde_json::Value, facts: &mut Vec<(Vec<String>, String)>) {
        match value {
            serde_json::Value::Object(all) => {
                for (key, value) in all {
                    add(&[way, std::slice::from_ref(key)].concat(), value, facts);
                }
            }
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => facts.push((way.to_owned(), text.clone())),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::Array(_) => {
                facts.push((way.to_owned(), value.to_string()));
            }
        }
    }
    let mut all = Vec::new();
    add(&[], evidence, &mut all);
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn somebody_is_wanted_by_number_as_people_write_it_or_by_contact() {
        let phone = |text| matches!(wanted(text), Some(Wanted::Phone(phone)) if phone.reveal() == "+34600111222");
        assert!(phone("+34600111222") && phone(" +34 600-111 (222)"));
        let contact = |text| matches!(wanted(text), Some(Wanted::Contact(7)));
        assert!(contact("7") && contact("contact 7"));
        assert!(wanted("").is_none() && wanted("ana").is_none() && wanted("0").is_none());
    }

    #[test]
    fn evidence_is_told_fact_by_fact() {
        let evidence = json!({"by": "form", "from": {"ip": "192.0.2.1", "agent": null}, "purposes": ["orders"]});
        let told: Vec<String> =
            facts(&evidence).into_iter().map(|(way, value)| format!("{}={value}", way.join("."))).collect();
        assert_eq!(told, ["by=form", "from.ip=192.0.2.1", "purposes=[\"orders\"]"]);
    }
}
