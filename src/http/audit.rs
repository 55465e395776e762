//! The audit trail as the API shows it, to admins.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Desk, Problem, auth::Caller, paging::Paging};
use crate::{
    db::audit::{self, Filter, Noted},
    domain::role::Role,
};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Who did it: `user ana`, `key desk`, `cli root`, or the name alone.
    #[param(example = "ana")]
    by: Option<String>,
    /// What was done: `hold.placed`, or `hold` for all that was done to holds.
    #[param(example = "hold")]
    what: Option<String>,
    /// To what it was done: a notification's id, `hold 12`, `contact 7`, an account's name.
    #[param(example = "hold 12")]
    on: Option<String>,
    /// At that time or later.
    #[param(format = DateTime, example = "2026-11-22T20:00:00Z")]
    since: Option<String>,
    /// Before that time.
    #[param(format = DateTime, example = "2026-11-23T20:00:00Z")]
    until: Option<String>,
    /// So many at most; 50 if nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// What the page before gave as `next`.
    #[param(pattern = "^[0-9]{1,18}$", example = "1041")]
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditPage)]
pub(super) struct Page {
    notes: Vec<Noted>,
    /// Gives the next page as `cursor`; none on the last one.
    next: Option<String>,
}

#[utoipa::path(get, path = "/v1/audit", tag = "Audit", operation_id = "listAudit",
    summary = "Who did what, and who looked at whom, the latest first", params(Asked),
    responses((status = 200, description = "A page of notes. This needs a key whose role is admin.", body = Page)))]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    caller.needs(Role::Admin)?;
    let Ok(Query(asked)) = asked else {
        return Err(Problem::bad("There are: by, what, on, since, until, limit (a number) and cursor, each once."));
    };
    let paging = Paging::of(asked.limit)?;
    let at = |name: &str, text: Option<String>| {
        let wrong = || Problem::bad(format!("{name} is a time like 2026-11-22T20:00:00Z."));
        text.map(|text| text.parse::<Timestamp>().map_err(|_| wrong())).transpose()
    };
    let cursor = |text: String| {
        let is_one = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_one.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| Problem::bad("cursor is what the page before gave as next."))
    };
    let before = asked.cursor.map(cursor).transpose()?;
    let (from, to) = (at("since", asked.since)?, at("until", asked.until)?);
    let filter = Filter { by: asked.by, what: asked.what, on: asked.on, from, to, before };
    let mut notes = audit::page(&desk.doors.pools.ops, &filter, paging.sought()).await?;
    let next = paging.cut(&mut notes, |last| last.id.to_string());
    Ok(Json(Page { notes, next }))
}
