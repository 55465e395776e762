//! How each sender stands at its provider, and the holds in force; an operator places and releases them here.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::{context, value::Serde};
use serde::Serialize;

use super::{
    Part, template, texts,
    trouble::{Numbered, Trouble},
    visitor::Visitor,
    visitor::field,
};
use crate::{
    db::{
        health,
        holds::{self, Hold, Scope},
        senders, templates,
    },
    domain::{action::reason, health::Worry, role::Role},
    http::{Desk, holds as api, senders::Shown},
};

pub(super) const PART: Part =
    Part { name: "senders", templates: &[template!("senders.html")], texts: texts!("senders") };

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/senders", get(show))
        .route("/console/holds", post(place))
        .route("/console/holds/{id}/release", post(release))
}

/// A sender, with what somebody should look at in a form that every language has words for.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    sender: Shown,
    concerns: Vec<Worry>,
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    page(&desk, &visitor, StatusCode::OK, "").await
}

async fn page(desk: &Desk, visitor: &Visitor, status: StatusCode, wrong: &str) -> Result<Response, Trouble> {
    let pool = &desk.doors.pools.ops;
    let ours = |known: &health::Known| desk.doors.senders.contains_key(&known.sender);
    let known = health::all(pool).await?.into_iter().filter(ours);
    let senders: Vec<Row> =
        known.map(|known| Row { concerns: known.health.worries(), sender: Shown::of(known) }).collect();
    let known = templates::list(pool).await?;
    let templates: BTreeSet<_> = known.into_iter().map(|standing| standing.template).collect();
    let values = context! {
        wrong,
        senders => Serde(&senders),
        templates => Serde(&templates),
        holds => Serde(holds::in_force(pool).await?),
    };
    Ok(visitor.page_with(status, desk, "senders", "senders.html", values))
}

async fn place(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let pool = &desk.doors.pools.ops;
    let sender = match field(&body, "sender") {
        Some(name) => senders::find(pool, &name).await?,
        None => None,
    };
    match read(&body, sender, &visitor.caller.name) {
        Ok(hold) => {
            holds::place(pool, &hold).await?;
            Ok(Redirect::to("/console/senders?said=placed").into_response())
        }
        Err(wrong) => page(&desk, &visitor, StatusCode::UNPROCESSABLE_ENTITY, wrong).await,
    }
}

/// The hold that a form means; the key of what is wrong with it otherwise.
fn read(body: &Bytes, sender: Option<i16>, by: &str) -> Result<Hold, &'static str> {
    let text = |name| field(body, name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let scope = match (text("scope").as_str(), sender, text("template")) {
        ("everything", ..) => Scope::Everything,
        ("sender", Some(sender), _) => Scope::Sender(sender),
        ("template", Some(sender), template) if !template.is_empty() => {
            Scope::Template { sender, template, language: None }
        }
        _ => return Err("no_scope"),
    };
    let lasts = Some(text("for")).filter(|text| !text.is_empty());
    api::by_hand(scope, &text("reason"), lasts.as_deref(), by).map_err(|unfit| match unfit {
        api::Unfit::Reason => "no_reason",
        api::Unfit::Period => "no_period",
    })
}

async fn release(
    State(desk): State<Arc<Desk>>,
    Numbered(id): Numbered,
    visitor: Visitor,
    body: Bytes,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let given = field(&body, "reason").unwrap_or_default();
    let Some(reason) = reason(&given) else {
        return page(&desk, &visitor, StatusCode::UNPROCESSABLE_ENTITY, "no_reason").await;
    };
    if !holds::release_one(&desk.doors.pools.ops, id, &visitor.caller.name, reason).await? {
        return Err(Trouble::Unknown);
    }
    Ok(Redirect::to("/console/senders?said=done").into_response())
}
