//! The page *Senders*: how each stands at its provider, and the holds in force; an operator places and releases them.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::{context, value::Serde};

use super::{Posted, Visitor};
use crate::{
    db::{
        self, health,
        holds::{self, Hold, Scope},
        keys::Role,
        senders,
    },
    http::{Desk, Problem, holds as api, senders::Shown},
};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/senders", get(show))
        .route("/console/holds", post(place))
        .route("/console/holds/{id}/release", post(release))
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Problem> {
    let pool = &desk.doors.pools.ops;
    let ours = |known: &health::Known| desk.doors.senders.contains_key(&known.sender);
    let senders: Vec<Shown> = health::all(pool).await?.into_iter().filter(ours).map(Shown::of).collect();
    let known = db::templates::list(pool).await?;
    let templates: BTreeSet<_> = known.into_iter().map(|standing| standing.template).collect();
    let values = context! {
        senders => Serde(&senders),
        templates => Serde(&templates),
        holds => Serde(holds::in_force(pool).await?),
    };
    Ok(visitor.page(&desk, StatusCode::OK, "senders.html", values))
}

async fn place(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Response, Response> {
    posted.visitor.needs(&desk, Role::Operator)?;
    let pool = &desk.doors.pools.ops;
    let wrong = |key| {
        let why = desk.console.pages.text(posted.visitor.language, "senders", key);
        Err(posted.visitor.wrong(&desk, &why))
    };
    let failed = |error: db::Error| Problem::from(error).into_response();
    let sender = match posted.field("sender") {
        "" => None,
        name => senders::find(pool, name).await.map_err(failed)?,
    };
    let scope = match (posted.field("scope"), sender, posted.field("template")) {
        ("everything", ..) => Scope::Everything,
        ("sender", Some(sender), _) => Scope::Sender(sender),
        ("template", Some(sender), template) if !template.is_empty() => {
            let language = Some(posted.field("language")).filter(|text| !text.is_empty()).map(str::to_owned);
            Scope::Template { sender, template: template.to_owned(), language }
        }
        _ => return wrong("no_scope"),
    };
    let reason = posted.field("reason");
    if reason.is_empty() || reason.chars().count() > 300 {
        return wrong("no_reason");
    }
    let lasts = match posted.field("for") {
        "" => None,
        text => match api::period(text) {
            Some(lasts) => Some(lasts),
            None => return wrong("no_period"),
        },
    };
    let hold = Hold {
        scope,
        reason: api::BY_HAND.to_owned(),
        detail: Some(reason.to_owned()),
        lasts,
        by: posted.visitor.by(),
    };
    holds::place(pool, &hold).await.map_err(failed)?;
    Ok(Redirect::to("/console/senders#holds").into_response())
}

async fn release(State(desk): State<Arc<Desk>>, Path(id): Path<i64>, posted: Posted) -> Result<Response, Response> {
    posted.visitor.needs(&desk, Role::Operator)?;
    let released = holds::release_one(&desk.doors.pools.ops, id, &posted.visitor.by()).await;
    if !released.map_err(|error| Problem::from(error).into_response())? {
        return Err(posted.visitor.nothing(&desk));
    }
    Ok(Redirect::to("/console/senders#holds").into_response())
}
