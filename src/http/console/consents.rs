//! The page *Consents*: what somebody agreed to, and what proves it. For operators; each look is in the audit trail, and the number that
//! was looked for is in no address.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use super::{Posted, Refused, Visitor};
use crate::{
    db::{
        audit::{self, Act},
        consents::{self, Told},
        keys::Role,
        opt_ins,
    },
    domain::{
        ledger::{self, State as Standing},
        phone::Phone,
    },
    http::Desk,
};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/consents", get(ask).post(find))
}

async fn ask(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Refused> {
    visitor.needs(&desk, Role::Operator)?;
    Ok(visitor.page(&desk, StatusCode::OK, "consents.html", context! {}))
}

async fn find(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Response, Refused> {
    let visitor = &posted.visitor;
    visitor.needs(&desk, Role::Operator)?;
    let typed: String = posted.field("phone").chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    let Ok(phone) = Phone::parse(&typed) else {
        let values = context! { typed => posted.field("phone"), wrong => true };
        return Ok(visitor.page(&desk, StatusCode::UNPROCESSABLE_ENTITY, "consents.html", values));
    };
    let pool = &desk.doors.pools.ops;
    let told = consents::of(pool, &phone).await?;
    let on = told.as_ref().map(|told| format!("contact {}", told.contact));
    let detail = serde_json::json!({"found": told.is_some(), "through": "console"});
    let by = visitor.by();
    audit::note(pool, &Act { by: &by, what: "consent.looked_up", on: on.as_deref(), reason: None, detail }).await?;
    let asked = match &told {
        Some(told) => opt_ins::open_of(pool, told.contact).await?,
        None => Vec::new(),
    };
    let person = told.as_ref().map(|told| shown(told));
    let values = context! { typed => phone.reveal(), searched => true, person, asked => Serde(&asked) };
    Ok(visitor.page(&desk, StatusCode::OK, "consents.html", values))
}

#[derive(Serialize)]
struct Purpose<'a> {
    name: &'a str,
    state: &'static str,
    at: jiff::Timestamp,
    until: Option<jiff::Timestamp>,
    entry: i32,
}

#[derive(Serialize)]
struct Line<'a> {
    number: i32,
    at: jiff::Timestamp,
    act: &'a str,
    purpose: &'a str,
    evidence: Vec<(String, String)>,
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
        .map(|entry| Line {
            number: entry.number,
            at: entry.at,
            act: &entry.act,
            purpose: &entry.purpose,
            evidence: entry.evidence.as_ref().map(|(evidence, _)| facts(evidence)).unwrap_or_default(),
            erased: entry.evidence.is_none(),
        })
        .collect();
    let broken = ledger::verify(&told.chain).err().map(|broken| broken.to_string());
    context! {
        contact => told.contact,
        locale => told.locale.as_deref(),
        purposes => Serde(&purposes),
        entries => Serde(&entries),
        broken,
    }
}

/// What evidence says, a line each.
fn facts(evidence: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match evidence.as_object() {
        Some(all) => all.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
        None => vec![(String::new(), text(evidence))],
    }
}
