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

use super::{Posted, Refused, Visitor};
use crate::{
    db::{
        health,
        holds::{self, Hold, Scope},
        keys::Role,
        senders, templates,
    },
    http::{Desk, holds as api, senders::Shown},
};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/senders", get(show))
        .route("/console/holds", post(place))
        .route("/console/holds/{id}/release", post(release))
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Refused> {
    let pool = &desk.doors.pools.ops;
    let ours = |known: &health::Known| desk.doors.senders.contains_key(&known.sender);
    let senders: Vec<Shown> = health::all(pool).await?.into_iter().filter(ours).map(Shown::of).collect();
    let known = templates::list(pool).await?;
    let templates: BTreeSet<_> = known.into_iter().map(|standing| standing.template).collect();
    let values = context! {
        senders => Serde(&senders),
        templates => Serde(&templates),
        holds => Serde(holds::in_force(pool).await?),
    };
    Ok(visitor.page(&desk, StatusCode::OK, "senders.html", values))
}

async fn place(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Response, Refused> {
    posted.visitor.needs(&desk, Role::Operator)?;
    let pool = &desk.doors.pools.ops;
    let sender = match posted.field("sender") {
        "" => None,
        name => senders::find(pool, name).await?,
    };
    let hold = match read(&posted, sender) {
        Ok(hold) => hold,
        Err(key) => {
            let why = desk.console.pages.text(posted.visitor.language, "senders", key);
            return Err(posted.visitor.wrong(&desk, &why).into());
        }
    };
    holds::place(pool, &hold).await?;
    Ok(Redirect::to("/console/senders#holds").into_response())
}

/// The hold that a form means; the key of what is wrong with it otherwise.
fn read(posted: &Posted, sender: Option<i16>) -> Result<Hold, &'static str> {
    let scope = match (posted.field("scope"), sender, posted.field("template")) {
        ("everything", ..) => Scope::Everything,
        ("sender", Some(sender), _) => Scope::Sender(sender),
        ("template", Some(sender), template) if !template.is_empty() => {
            Scope::Template { sender, template: template.to_owned(), language: None }
        }
        _ => return Err("no_scope"),
    };
    let reason = posted.field("reason");
    if reason.is_empty() || reason.chars().count() > 300 {
        return Err("no_reason");
    }
    let lasts = match posted.field("for") {
        "" => None,
        text => Some(api::period(text).ok_or("no_period")?),
    };
    let by = posted.visitor.by();
    Ok(Hold { scope, reason: holds::BY_HAND.to_owned(), detail: Some(reason.to_owned()), lasts, by })
}

async fn release(State(desk): State<Arc<Desk>>, Path(id): Path<i64>, posted: Posted) -> Result<Response, Refused> {
    posted.visitor.needs(&desk, Role::Operator)?;
    if !holds::release_one(&desk.doors.pools.ops, id, &posted.visitor.by()).await? {
        return Err(posted.visitor.nothing(&desk).into());
    }
    Ok(Redirect::to("/console/senders#holds").into_response())
}
