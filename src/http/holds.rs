//! Holds as the API shows, places and releases them.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{Desk, Problem, auth::Caller};
use crate::db::{
    holds::{self, BY_HAND, Hold, InForce, Scope},
    keys::Role,
    senders,
};

/// The longest text that a hold carries, in characters.
const DETAIL_MAX: usize = 300;

#[derive(Serialize)]
pub(super) struct Holds {
    holds: Vec<InForce>,
}

#[derive(Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Wanted {
    Everything { reason: String, r#for: Option<String> },
    Sender { sender: String, reason: String, r#for: Option<String> },
    Template { sender: String, template: String, language: Option<String>, reason: String, r#for: Option<String> },
}

pub(super) async fn list(State(desk): State<Arc<Desk>>, _: Caller) -> Result<Json<Holds>, Problem> {
    Ok(Json(Holds { holds: holds::in_force(&desk.doors.pools.ops).await? }))
}

/// The same hold asked for again is the same hold: a repeated request does no harm, and prolongs it at most.
pub(super) async fn place(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Holds>), Problem> {
    caller.needs(Role::Operator)?;
    let Json(wanted) = wanted.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "A hold is not that large."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send JSON, as Content-Type: application/json.")
        }
        _ => Problem::bad(
            "A hold has scope (everything, sender or template), sender and template as its scope needs, reason, and if you like language and for (like 2h).",
        ),
    })?;
    let pool = &desk.doors.pools.ops;
    let (scope, reason, lasts) = match wanted {
        Wanted::Everything { reason, r#for } => (Scope::Everything, reason, r#for),
        Wanted::Sender { sender, reason, r#for } => (Scope::Sender(known(&desk, &sender).await?), reason, r#for),
        Wanted::Template { sender, template, language, reason, r#for } => {
            (Scope::Template { sender: known(&desk, &sender).await?, template, language }, reason, r#for)
        }
    };
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > DETAIL_MAX {
        return Err(Problem::bad(format!("reason is a text of 1 to {DETAIL_MAX} characters.")));
    }
    let lasts = lasts.as_deref().map(|text| period(text).ok_or_else(|| Problem::bad("for is a time like 30m or 2h.")));
    let hold = Hold {
        scope,
        reason: BY_HAND.to_owned(),
        detail: Some(reason.to_owned()),
        lasts: lasts.transpose()?,
        by: caller.name.clone(),
    };
    let new = holds::place(pool, &hold).await?;
    tracing::info!(by = caller.name, new, "hold.placed");
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Holds { holds: holds::in_force(pool).await? })))
}

pub(super) async fn release(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(Role::Operator)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "There is no hold of this number in force.");
    let id = id.parse().map_err(|_| unknown())?;
    if !holds::release_one(&desk.doors.pools.ops, id, &caller.name).await? {
        return Err(unknown());
    }
    tracing::info!(by = caller.name, hold = id, "hold.released");
    Ok(StatusCode::NO_CONTENT)
}

async fn known(desk: &Desk, sender: &str) -> Result<i16, Problem> {
    let found = senders::find(&desk.doors.pools.ops, sender).await?;
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "There is no sender of this name here."))
}

/// A positive length of time as people write it (`90s`, `2h`, `1h30m`). None if it is none.
#[must_use]
pub fn period(text: &str) -> Option<Duration> {
    let length: SignedDuration = text.trim().parse().ok()?;
    length.try_into().ok().filter(|length: &Duration| !length.is_zero())
}
