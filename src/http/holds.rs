//! Holds as the API shows, places and releases them.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{Desk, Problem, auth::Caller, openapi::NotFound, problem::json_body};
use crate::{
    db::{
        holds::{self, BY_HAND, Hold, InForce, Scope},
        keys::Role,
        senders,
    },
    domain::action::{self, REASON_MAX},
};

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Holds {
    holds: Vec<InForce>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = HoldWanted)]
pub(super) enum Wanted {
    Everything {
        #[schema(min_length = 1, max_length = 300, pattern = "\\S")]
        reason: String,
        #[schema(example = "2h")]
        r#for: Option<String>,
    },
    Sender {
        sender: String,
        #[schema(min_length = 1, max_length = 300, pattern = "\\S")]
        reason: String,
        #[schema(example = "2h")]
        r#for: Option<String>,
    },
    Template {
        sender: String,
        template: String,
        language: Option<String>,
        #[schema(min_length = 1, max_length = 300, pattern = "\\S")]
        reason: String,
        #[schema(example = "2h")]
        r#for: Option<String>,
    },
}

#[utoipa::path(get, path = "/v1/holds", tag = "Holds", operation_id = "listHolds", summary = "The holds in force",
    responses((status = 200, description = "All of them.", body = Holds)))]
pub(super) async fn list(State(desk): State<Arc<Desk>>, _: Caller) -> Result<Json<Holds>, Problem> {
    Ok(Json(Holds { holds: holds::in_force(&desk.doors.pools.ops).await? }))
}

/// The same hold asked for again is the same hold: a repeated request does no harm, and prolongs it at most.
#[utoipa::path(post, path = "/v1/holds", tag = "Holds", operation_id = "placeHold", summary = "Stops sending, with a reason",
    request_body(content = Wanted, example = json!({"scope": "sender", "sender": "main", "reason": "wrong prices", "for": "2h"})),
    responses((status = 200, description = "It was in force already, and lasts for the longer of both times.", body = Holds),
        (status = 201, description = "It is in force. All that are, are shown.", body = Holds),
        (status = 404, response = NotFound)))]
pub(super) async fn place(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Holds>), Problem> {
    caller.needs(Role::Operator)?;
    let what = "A hold has scope (everything, sender or template), sender and template as its scope needs, reason, and if you like language and for (like 2h).";
    let wanted = json_body(wanted, what, "A hold is not that large.")?;
    let pool = &desk.doors.pools.ops;
    let (scope, reason, lasts) = match wanted {
        Wanted::Everything { reason, r#for } => (Scope::Everything, reason, r#for),
        Wanted::Sender { sender, reason, r#for } => (Scope::Sender(known(&desk, &sender).await?), reason, r#for),
        Wanted::Template { sender, template, language, reason, r#for } => {
            (Scope::Template { sender: known(&desk, &sender).await?, template, language }, reason, r#for)
        }
    };
    let hold = by_hand(scope, &reason, lasts.as_deref(), &caller.name).map_err(|unfit| match unfit {
        Unfit::Reason => Problem::bad(format!("reason is a text of 1 to {REASON_MAX} characters.")),
        Unfit::Period => Problem::unfit("for is a time like 30m or 2h."),
    })?;
    let new = holds::place(pool, &hold).await?;
    tracing::info!(by = caller.name, new, "hold.placed");
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Holds { holds: holds::in_force(pool).await? })))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    /// Why it is released, for the audit trail and the stories of what was held.
    #[param(min_length = 1, max_length = 300, pattern = "\\S", example = "the prices are right")]
    reason: String,
}

#[utoipa::path(delete, path = "/v1/holds/{id}", tag = "Holds", operation_id = "releaseHold", summary = "Ends a hold, with a reason",
    params(("id" = i64, Path, description = "The hold's number.", example = 7), Because),
    responses((status = 204, description = "It is released."), (status = 404, response = NotFound)))]
pub(super) async fn release(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Path(id): Path<String>,
    because: Result<Query<Because>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    caller.needs(Role::Operator)?;
    let Ok(Query(Because { reason })) = because else {
        return Err(Problem::bad("A hold is released with a reason, once in the query, and nothing else."));
    };
    if reason.contains('\0') {
        return Err(Problem::unfit("reason has a character that is not kept (NUL)."));
    }
    let reason = action::reason(&reason)
        .ok_or_else(|| Problem::bad(format!("reason is a text of 1 to {REASON_MAX} characters.")))?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "There is no hold of this number in force.");
    let id = id.parse().map_err(|_| unknown())?;
    if !holds::release_one(&desk.doors.pools.ops, id, &caller.name, reason).await? {
        return Err(unknown());
    }
    tracing::info!(by = caller.name, hold = id, "hold.released");
    Ok(StatusCode::NO_CONTENT)
}

/// What is wrong with a hold that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    Reason,
    Period,
}

/// The hold that somebody places by hand, for so long as `lasts` says.
pub(super) fn by_hand(scope: Scope, reason: &str, lasts: Option<&str>, by: &str) -> Result<Hold, Unfit> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return Err(Unfit::Reason);
    }
    let lasts = lasts.map(|text| period(text).ok_or(Unfit::Period)).transpose()?;
    Ok(Hold { scope, reason: BY_HAND.to_owned(), detail: Some(reason.to_owned()), lasts, by: by.to_owned() })
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
