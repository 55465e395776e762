//! Who did what, and who looked at whom.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use jiff::{civil::DateTime, tz::TimeZone};
use minijinja::{context, value::Serde};
use serde::{Deserialize, Serialize};

use super::{
    Part, template, texts,
    trouble::{Asks, Trouble},
    visitor::Visitor,
};
use crate::{
    db::audit::{self, Filter},
    domain::role::Role,
    http::Desk,
};

pub(super) const PART: Part =
    Part { name: "audit", templates: &[template!("audit.html"), template!("audit_rows.html")], texts: texts!("audit") };

/// Rows of a page.
const PAGE: usize = 100;

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/audit", get(show))
}

/// What the form above the list says.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Wanted {
    by: String,
    what: String,
    on: String,
    from: String,
    to: String,
    before: Option<i64>,
}

async fn show(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Asks(wanted): Asks<Wanted>,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    let filter = wanted.filter(&desk.console.rules.zone);
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut rows = audit::page(&desk.doors.pools.ops, &filter, limit).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| more).map(|row| wanted.address(row.id));
    let template = if visitor.partly { "audit_rows.html" } else { "audit.html" };
    let values = context! { rows => Serde(&rows), wanted => Serde(&wanted), next };
    Ok(visitor.page(&desk, "audit", template, values))
}

impl Wanted {
    fn filter(&self, zone: &TimeZone) -> Filter {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let moment = |text: &str| {
            let local: DateTime = text.trim().parse().ok()?;
            Some(local.to_zoned(zone.clone()).ok()?.timestamp())
        };
        Filter {
            by: text(&self.by),
            what: text(&self.what),
            on: text(&self.on),
            from: moment(&self.from),
            to: moment(&self.to),
            before: self.before,
        }
    }

    /// Where the rows before this one are.
    fn address(&self, before: i64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in
            [("by", &self.by), ("what", &self.what), ("on", &self.on), ("from", &self.from), ("to", &self.to)]
        {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        query.append_pair("before", &before.to_string());
        format!("/console/audit?{}", query.finish())
    }
}
