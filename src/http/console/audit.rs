//! The page *Audit*: who did what, and who looked at whose number. For admins.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use jiff::Timestamp;
use minijinja::{context, value::Serde};
use serde::{Deserialize, Serialize};

use super::{Refused, Visitor};
use crate::{
    db::{
        audit::{self, Filter},
        keys::Role,
    },
    http::Desk,
};

/// So many on a page; one more is asked for, to see whether there is another page.
const SHOWN: usize = 50;
const PAGE: i64 = 51;

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/audit", get(show))
}

/// The form's fields, empty if they do not matter.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Asked {
    by: String,
    what: String,
    on: String,
    since: String,
    until: String,
    cursor: String,
}

async fn show(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    visitor.needs(&desk, Role::Admin)?;
    let wrong = |key: &str| visitor.wrong(&desk, &desk.console.pages.text(visitor.language, "audit", key));
    let (Ok(since), Ok(until), Ok(before)) = (day(&asked.since), day(&asked.until), cursor(&asked.cursor)) else {
        return Err(wrong("no_time").into());
    };
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = Filter { by: text(&asked.by), what: text(&asked.what), on: text(&asked.on), since, until, before };
    let mut entries = audit::page(&desk.doors.pools.ops, &filter, PAGE).await?;
    let more = entries.len() > SHOWN;
    entries.truncate(SHOWN);
    let next = entries.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let fields = [("by", &asked.by), ("what", &asked.what), ("on", &asked.on), ("since", &asked.since)];
        query.extend_pairs(fields).append_pair("until", &asked.until).append_pair("cursor", &last.id.to_string());
        query.finish()
    });
    let values = context! { entries => Serde(&entries), asked => Serde(&asked), next };
    Ok(visitor.page(&desk, StatusCode::OK, "audit.html", values))
}

/// A day's beginning or a moment, in UTC.
fn day(text: &str) -> Result<Option<Timestamp>, jiff::Error> {
    let text = text.trim();
    match text.len() {
        0 => Ok(None),
        10 => format!("{text}T00:00:00Z").parse().map(Some),
        _ => text.parse().map(Some),
    }
}

fn cursor(text: &str) -> Result<Option<i64>, std::num::ParseIntError> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}
