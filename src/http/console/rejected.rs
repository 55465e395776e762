//! Events that could not be used: the list, one of them with its bytes for operators, and the wish to have it run again.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::{context, value::Serde};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    Part, template, texts,
    trouble::{Asks, Trouble},
    visitor::Visitor,
    visitor::field,
};
use crate::{
    db::{
        audit::{Act, note},
        rejected::{self, Filter, Whole},
    },
    domain::{action::reason, role::Role},
    http::Desk,
};

pub(super) const PART: Part = Part {
    name: "rejected",
    templates: &[template!("rejected.html"), template!("rejected_one.html")],
    texts: texts!("rejected"),
};

const PAGE: i64 = 50;

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/rejected", get(list))
        .route("/console/rejected/{id}", get(show))
        .route("/console/rejected/{id}/body", post(look))
        .route("/console/rejected/{id}/replay", post(replay))
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct Asked {
    reason: String,
    replayed: String,
    cursor: String,
}

#[derive(Serialize)]
struct Reason {
    reason: String,
    n: i64,
}

async fn list(State(desk): State<Arc<Desk>>, visitor: Visitor, Asks(asked): Asks<Asked>) -> Result<Response, Trouble> {
    let pool = &desk.doors.pools.ops;
    let filter = Filter {
        reason: Some(asked.reason.clone()).filter(|reason| !reason.is_empty()),
        replayed: asked.replayed == "yes",
        before: Uuid::try_parse(&asked.cursor).ok(),
    };
    let mut rows = rejected::page(pool, &filter, PAGE + 1).await?;
    let more = rows.len() > usize::try_from(PAGE).unwrap_or(0);
    rows.truncate(usize::try_from(PAGE).unwrap_or(0));
    let more = rows.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("reason", &asked.reason).append_pair("replayed", &asked.replayed);
        format!("/console/rejected?{}&cursor={}", query.finish(), last.id.simple())
    });
    let reasons: Vec<Reason> =
        rejected::reasons(pool).await?.into_iter().map(|(reason, n)| Reason { reason, n }).collect();
    let values = context! { asked => Serde(&asked), rows => Serde(&rows), more, reasons => Serde(&reasons) };
    Ok(visitor.page(&desk, "rejected", "rejected.html", values))
}

async fn found(desk: &Desk, id: &str) -> Result<Whole, Trouble> {
    let id = Uuid::try_parse(id).map_err(|_| Trouble::Unknown)?;
    rejected::one(&desk.doors.pools.ops, id).await?.ok_or(Trouble::Unknown)
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Trouble> {
    let whole = found(&desk, &id).await?;
    let values =
        context! { row => Serde(&whole.listed), content_type => whole.content_type, body => (), headers => () };
    Ok(visitor.page(&desk, "rejected", "rejected_one.html", values))
}

/// The same with its bytes, which may say whom the event is about. Who looked is noted.
async fn look(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let whole = found(&desk, &id).await?;
    let on = whole.listed.id.to_string();
    let act =
        Act { by: &visitor.caller.name, what: "rejected_event.shown", on: Some(&on), reason: None, detail: json!({}) };
    note(&desk.doors.pools.ops, &act).await?;
    let text = String::from_utf8_lossy(&whole.body);
    let pretty = serde_json::from_str::<serde_json::Value>(&text).and_then(|json| serde_json::to_string_pretty(&json));
    let values = context! {
        row => Serde(&whole.listed),
        content_type => whole.content_type,
        body => pretty.unwrap_or_else(|_| text.into_owned()),
        headers => Serde(&whole.headers),
    };
    Ok(visitor.page(&desk, "rejected", "rejected_one.html", values))
}

async fn replay(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let id = Uuid::try_parse(&id).map_err(|_| Trouble::Unknown)?;
    let back = |said: &str| Ok(Redirect::to(&format!("/console/rejected/{id}?said={said}")).into_response());
    let given = field(&body, "reason").unwrap_or_default();
    let Some(reason) = reason(&given) else { return back("needs_reason") };
    if !rejected::want(&desk.doors.pools.ops, id, &visitor.caller.name, reason).await? {
        return back("not_done");
    }
    back("wanted")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{domain::event::REASONS, inbox::Became};

    #[test]
    fn every_reason_and_what_may_become_of_it_have_words() {
        let texts: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(PART.texts).unwrap();
        for reason in REASONS {
            assert!(texts["en"].contains_key(&format!("why_{reason}")), "{reason}");
        }
        let came_to =
            [Became::Accepted(Vec::new()), Became::Ignored("no_template"), Became::Duplicate, Became::Conflict];
        for name in came_to.iter().filter_map(Became::came_to) {
            assert!(texts["en"].contains_key(&format!("became_{name}")), "{name}");
        }
    }
}
