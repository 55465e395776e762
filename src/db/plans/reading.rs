//! Plans as they stand.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::{Error, Plan, inconsistent};
use crate::{
    db::{Time, dispatch::millis},
    domain::action::{self, Action, Course, Failure},
};

struct Row {
    id: i64,
    action: String,
    search: Value,
    made_at: Time,
    made_by: String,
    found: i64,
    estimate: Value,
    state: String,
    fresh: bool,
    reason: Option<String>,
    begun_at: Option<Time>,
    begun_by: Option<String>,
    ended_at: Option<Time>,
    ended_by: Option<String>,
    why: Option<String>,
    done: i64,
    skipped: Value,
    repeats: i64,
    repeats_max: Option<i64>,
}

fn plan(row: Row) -> Result<Plan, Error> {
    let id = row.id;
    let course = match (row.state.as_str(), row.why) {
        ("reckoning", _) => Course::Reckoning,
        ("planned", _) => Course::Planned { out_of_date: !row.fresh },
        ("running", _) => Course::Running,
        ("done", _) => Course::Done,
        ("stopped", _) => Course::Stopped,
        ("failed", Some(why)) => Course::Failed { why: Failure::kept(&why) },
        _ => return Err(inconsistent("state", id)),
    };
    let search: BTreeMap<String, String> =
        serde_json::from_value(row.search).map_err(|_| inconsistent("search", id))?;
    Ok(Plan {
        id,
        action: Action::named(&row.action).ok_or_else(|| inconsistent("action", id))?,
        search,
        made_at: row.made_at.to_jiff(),
        made_by: row.made_by,
        estimate: serde_json::from_value(row.estimate).map_err(|_| inconsistent("estimate", id))?,
        course,
        reason: row.reason,
        begun_at: row.begun_at.map(Time::to_jiff),
        begun_by: row.begun_by,
        ended_at: row.ended_at.map(Time::to_jiff),
        ended_by: row.ended_by,
        found: row.found.unsigned_abs(),
        done: row.done.unsigned_abs(),
        skipped: serde_json::from_value(row.skipped).map_err(|_| inconsistent("skipped", id))?,
        repeats: row.repeats.unsigned_abs(),
        repeats_max: row.repeats_max.map(i64::unsigned_abs),
    })
}

/// One plan.
///
/// # Errors
/// If the database cannot be asked, or the row makes no sense.
pub async fn one(executor: impl PgExecutor<'_>, id: i64) -> Result<Option<Plan>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        -- plans: one
        select id, action, search, made_at as "made_at: Time", made_by, found, estimate, state,
          made_at > recado_now() - $2::int8 * interval '1 ms' as "fresh!", reason, begun_at as "begun_at: Time", begun_by,
          ended_at as "ended_at: Time", ended_by, why, done, skipped, repeats, repeats_max
        from plans where id = $1
        "#,
        id,
        millis(action::FRESH)
    )
    .fetch_optional(executor)
    .await?;
    row.map(plan).transpose()
}

/// At most `limit` plans, the latest first; before this one, if one is named.
///
/// # Errors
/// As [`one`].
pub async fn page(pool: &PgPool, before: Option<i64>, limit: i64) -> Result<Vec<Plan>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        -- plans: page
        select id, action, search, made_at as "made_at: Time", made_by, found, estimate, state,
          made_at > recado_now() - $3::int8 * interval '1 ms' as "fresh!", reason, begun_at as "begun_at: Time", begun_by,
          ended_at as "ended_at: Time", ended_by, why, done, skipped, repeats, repeats_max
        from plans where $1::int8 is null or id < $1 order by id desc limit $2
        "#,
        before,
        limit,
        millis(action::FRESH)
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(plan).collect()
}

/// The contacts of the person whom it is about, if it is about one.
pub(super) async fn people(tx: &mut PgConnection, id: i64) -> Result<Option<Vec<i64>>, Error> {
    Ok(sqlx::query_scalar!("select people from plans where id = $1", id).fetch_one(tx).await?)
}

/// One plan, and nobody else's until the transaction is over.
pub(super) async fn lock(tx: &mut PgConnection, id: i64) -> Result<Option<Plan>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        -- plans: lock
        select id, action, search, made_at as "made_at: Time", made_by, found, estimate, state,
          made_at > recado_now() - $2::int8 * interval '1 ms' as "fresh!", reason, begun_at as "begun_at: Time", begun_by,
          ended_at as "ended_at: Time", ended_by, why, done, skipped, repeats, repeats_max
        from plans where id = $1 for no key update
        "#,
        id,
        millis(action::FRESH)
    )
    .fetch_optional(tx)
    .await?;
    row.map(plan).transpose()
}

/// Whether its numbers are young enough for it to be run.
pub(super) async fn is_fresh(tx: &mut PgConnection, id: i64) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"select made_at > recado_now() - $2::int8 * interval '1 ms' as "fresh!" from plans where id = $1"#,
        id,
        millis(action::FRESH)
    )
    .fetch_one(tx)
    .await?)
}
