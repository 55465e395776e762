//! Acting on all that a search finds: what it would come to, then how far it is. What may be acted on and how is `domain::action`'s.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::{Value, context, value::Serde};
use serde::Deserialize;

use super::{Part, template, texts, trouble::Trouble, visitor::Visitor, visitor::field};
use crate::{
    db::plans::{self, Made, Wanted},
    domain::{action::Action, role::Role, search::KEYS},
    http::{
        Desk,
        plans::{Shown, reason, wish},
    },
};

pub(super) const PART: Part = Part {
    name: "plans",
    templates: &[
        template!("plans.html"),
        template!("plan.html"),
        template!("plan_progress.html"),
        template!("act_on_all.html"),
    ],
    texts: texts!("plans"),
};

const PAGE: i64 = 50;

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/plans", get(list).post(make))
        .route("/console/plans/{id}", get(show))
        .route("/console/plans/{id}/progress", get(progress))
        .route("/console/plans/{id}/run", post(run))
        .route("/console/plans/{id}/stop", post(stop))
}

#[derive(Deserialize)]
struct Asked {
    cursor: Option<i64>,
}

async fn list(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, Trouble> {
    listed(&desk, &visitor, StatusCode::OK, asked.cursor, None).await
}

/// The list; above it what stood in the way of a plan, as a key of the texts and a sentence for the operator.
async fn listed(
    desk: &Desk,
    visitor: &Visitor,
    status: StatusCode,
    cursor: Option<i64>,
    wrong: Option<String>,
) -> Result<Response, Trouble> {
    let mut rows = plans::page(&desk.doors.pools.ops, cursor, PAGE + 1).await?;
    let more = rows.len() > usize::try_from(PAGE).unwrap_or(0);
    rows.truncate(usize::try_from(PAGE).unwrap_or(0));
    let more = rows.last().filter(|_| more).map(|last| last.id);
    let rows: Vec<Shown> = rows.into_iter().map(Shown::of).collect();
    Ok(visitor.page_with(status, desk, "plans", "plans.html", context! { rows => Serde(&rows), more, wrong }))
}

/// Works out what it would come to. Nothing is done yet.
async fn make(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let action = field(&body, "action").and_then(|name| Action::named(&name)).ok_or(Trouble::Unknown)?;
    let given: BTreeMap<&str, String> = KEYS.into_iter().filter_map(|key| Some((key, field(&body, key)?))).collect();
    let refused =
        async |what: String| listed(&desk, &visitor, StatusCode::UNPROCESSABLE_ENTITY, None, Some(what)).await;
    let wish = match wish(action, given.iter().map(|(key, value)| (*key, value.as_str()))) {
        Ok(wish) => wish,
        Err(wrong) => return refused(format!("{wrong}.")).await,
    };
    let (by, prices) = (visitor.caller.name.clone(), Arc::clone(&desk.doors.prices));
    match plans::make(&desk.doors.pools.ops, Wanted { wish, by, prices, now: visitor.now }).await? {
        Made::Plan(plan) => {
            tracing::info!(by = visitor.caller.name, plan = plan.id, action = action.as_str(), "plan.made");
            Ok(Redirect::to(&format!("/console/plans/{}", plan.id)).into_response())
        }
        Made::NoSuchSender => refused("There is no sender of this name.".to_owned()).await,
        Made::TooMany => refused("It finds more than a plan takes: narrow it in time.".to_owned()).await,
    }
}

async fn values(desk: &Desk, id: &str) -> Result<Value, Trouble> {
    let id = id.parse().map_err(|_| Trouble::Unknown)?;
    let plan = plans::one(&desk.doors.pools.ops, id).await?.ok_or(Trouble::Unknown)?;
    Ok(context! { course => plan.course.name(), plan => Serde(Shown::of(plan)) })
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Trouble> {
    let values = values(&desk, &id).await?;
    Ok(visitor.page(&desk, "plans", "plan.html", values))
}

/// The part of the page that moves.
async fn progress(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Trouble> {
    let may = context! { operate => visitor.caller.role >= Role::Operator };
    let values = context! { csrf => visitor.csrf.as_str(), may, ..values(&desk, &id).await? };
    Ok(Html(desk.console.shell.fragment(visitor.language, "plan_progress.html", values)).into_response())
}

async fn run(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<i64>,
    body: Bytes,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let given = field(&body, "reason").unwrap_or_default();
    let back = |said: &str| Ok(Redirect::to(&format!("/console/plans/{id}?said={said}")).into_response());
    let Some(reason) = reason(&given) else { return back("needs_reason") };
    let (pool, by) = (&desk.doors.pools.ops, visitor.caller.name.as_str());
    let admin = visitor.caller.role >= Role::Admin;
    match plans::run(pool, id, by, reason, admin).await? {
        plans::Ordered::Done => {
            tracing::info!(by, plan = id, "plan.begun");
            back("begun")
        }
        plans::Ordered::Unknown => Err(Trouble::Unknown),
        plans::Ordered::NotNow(_) => back("not_now"),
        plans::Ordered::NeedsAdmin { .. } => back("needs_admin"),
    }
}

async fn stop(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(id): Path<i64>) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let by = visitor.caller.name.as_str();
    let said = match plans::stop(&desk.doors.pools.ops, id, by).await? {
        plans::Ordered::Done => {
            tracing::info!(by, plan = id, "plan.stopped");
            "stopped"
        }
        plans::Ordered::Unknown => return Err(Trouble::Unknown),
        plans::Ordered::NotNow(_) | plans::Ordered::NeedsAdmin { .. } => "not_now",
    };
    Ok(Redirect::to(&format!("/console/plans/{id}?said={said}")).into_response())
}
