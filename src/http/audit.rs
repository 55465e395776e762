//! The audit trail as the API shows it, to admins.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Desk, Problem, auth::Caller};
use crate::db::{
    audit::{self, Entry, Filter},
    keys::Role,
};

/// What a page has at most, and if nobody says otherwise.
const PAGE_MAX: i64 = 200;
const PAGE: i64 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    by: Option<String>,
    what: Option<String>,
    on: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Page {
    entries: Vec<Entry>,
    /// Gives the next page as `cursor`; none on the last one.
    next: Option<String>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    caller.needs(Role::Admin)?;
    let Ok(Query(asked)) = asked else {
        return Err(Problem::bad("There are: by, what, on, since, until, limit (a number) and cursor, each once."));
    };
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad(format!("limit is a number from 1 to {PAGE_MAX}.")));
    }
    let at = |name: &str, text: Option<&str>| {
        let wrong = |_| Problem::bad(format!("{name} is a time like 2026-11-22T20:00:00Z."));
        text.map(|text| text.parse::<Timestamp>().map_err(wrong)).transpose()
    };
    let (since, until) = (at("since", asked.since.as_deref())?, at("until", asked.until.as_deref())?);
    let before = asked.cursor.as_deref().map(str::parse).transpose();
    let before = before.map_err(|_| Problem::bad("cursor is what the page before gave as next."))?;
    let filter = Filter { by: asked.by, what: asked.what, on: asked.on, since, until, before };
    let mut entries = audit::page(&desk.doors.pools.ops, &filter, limit + 1).await?;
    let more = i64::try_from(entries.len()).is_ok_and(|n| n > limit);
    entries.truncate(usize::try_from(limit).unwrap_or(0));
    let next = entries.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(Page { entries, next }))
}
