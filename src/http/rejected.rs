//! Rejected events as the API lists them: why, from where and when, without their bytes.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Desk, Problem, auth::Caller, paging::Paging};
use crate::db::rejected::{self, Filter, Listed};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[param(example = "unfillable_template")]
    reason: Option<String>,
    /// Also those that were run again.
    replayed: Option<bool>,
    /// So many at most; 50 if nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// What the page before gave as `next`.
    #[param(pattern = "^[0-9a-f]{32}$", example = "0193f2c48d1e7a309b1d2f0c5a1e7b44")]
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = RejectedEventsPage)]
pub(super) struct Page {
    rejected_events: Vec<Listed>,
    /// Gives the next page as `cursor`; none on the last one.
    next: Option<String>,
}

#[utoipa::path(get, path = "/v1/rejected-events", tag = "Events", operation_id = "listRejectedEvents",
    summary = "Events that could not be used, the latest first", params(Asked),
    responses((status = 200, description = "A page of them, without their bytes.", body = Page)))]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    _: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Ok(Query(asked)) = asked else {
        return Err(Problem::bad(
            "There are: reason, replayed (true or false), limit (a number) and cursor, each once.",
        ));
    };
    let paging = Paging::of(asked.limit)?;
    let before = asked
        .cursor
        .as_deref()
        .map(|text| Uuid::try_parse(text).map_err(|_| Problem::bad("cursor is what the page before gave as next.")));
    let filter =
        Filter { reason: asked.reason, replayed: asked.replayed.unwrap_or(false), before: before.transpose()? };
    let mut found = rejected::page(&desk.doors.pools.ops, &filter, paging.sought()).await?;
    let next = paging.cut(&mut found, |last| last.id.simple().to_string());
    Ok(Json(Page { rejected_events: found, next }))
}
