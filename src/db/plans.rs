//! Plans of operators: what a search found is written down piece by piece, and each piece goes in the transaction that acts on it. So a
//! plan that was interrupted goes on where it was, what came since is not swept in, and nothing is acted on twice.

mod acting;
mod making;
mod reading;
mod reckoning;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::{Error, alone, audit, dispatch::millis};
use crate::domain::{
    action::{self, Action, Course, DUPLICATES_OF_AN_OPERATOR, Skip},
    estimate::Estimate,
};

pub use acting::{Acted, Awaiting, act, awaiting, fail, next, replayed, switch};
pub use making::{Made, Wish, make};
pub use reading::{one, page};
pub use reckoning::{Means, reckon, unreckoned};

/// So many are acted on at once.
pub const PIECE: i64 = 200;

/// A plan as it stands.
#[derive(Debug, Clone)]
pub struct Plan {
    pub id: i64,
    pub action: Action,
    /// What was asked for, for people; a phone number is masked.
    pub search: BTreeMap<String, String>,
    pub made_at: Timestamp,
    pub made_by: String,
    pub estimate: Estimate,
    pub course: Course,
    /// Why it is run, and by whom.
    pub reason: Option<String>,
    pub begun_at: Option<Timestamp>,
    pub begun_by: Option<String>,
    pub ended_at: Option<Timestamp>,
    pub ended_by: Option<String>,
    pub found: u64,
    pub done: u64,
    pub skipped: BTreeMap<Skip, u64>,
    /// Of those it was done to: people who may get something twice.
    pub repeats: u64,
    /// The most of them that whoever runs it decides; any if none.
    pub repeats_max: Option<u64>,
}

impl Plan {
    /// How many it has not come to yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.found.saturating_sub(self.done + self.skipped.values().sum::<u64>())
    }
}

/// What became of an order to run or stop a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    Done,
    Unknown,
    /// It is not in a state for that.
    NotNow(Course),
    /// So many people may get something twice that an administrator has to say so.
    NeedsAdmin {
        duplicates: u64,
    },
}

/// Begins a plan, or goes on with one that was stopped. `admin` says whether whoever orders it is one.
///
/// # Errors
/// If the database does not take it.
pub async fn run(pool: &PgPool, id: i64, by: &str, reason: &str, admin: bool) -> Result<Ordered, Error> {
    let (by, reason) = (by.to_owned(), reason.to_owned());
    alone(pool, move |tx| {
        Box::pin(async move {
            let Some(plan) = reading::lock(tx, id).await? else { return Ok(Ordered::Unknown) };
            let begins = match &plan.course {
                Course::Planned { out_of_date } => !out_of_date,
                // Its numbers are as old as it is.
                Course::Stopped => reading::is_fresh(tx, id).await?,
                Course::Reckoning | Course::Running | Course::Done | Course::Failed { .. } => false,
            };
            if !begins {
                return Ok(Ordered::NotNow(plan.course));
            }
            if plan.estimate.needs_admin() && !admin {
                return Ok(Ordered::NeedsAdmin { duplicates: plan.estimate.duplicates });
            }
            sqlx::query!(
                r#"
                -- plans: run
                update plans set state = 'running', reason = $2, begun_by = $3, begun_at = coalesce(begun_at, recado_now()),
                  ended_at = null, ended_by = null, repeats_max = $4
                where id = $1
                "#,
                id,
                reason,
                by,
                // The world may move on until it comes to somebody.
                (!admin).then(|| signed(DUPLICATES_OF_AN_OPERATOR))
            )
            .execute(&mut *tx)
            .await?;
            let detail = json!({
                "action": plan.action, "found": plan.found, "left": plan.left(), "duplicates": plan.estimate.duplicates
            });
            note(tx, id, &by, "plan.begun", Some(&reason), detail).await?;
            Ok(Ordered::Done)
        })
    })
    .await
}

/// Stops a plan that runs, after the piece that is in hand.
///
/// # Errors
/// If the database does not take it.
pub async fn stop(pool: &PgPool, id: i64, by: &str) -> Result<Ordered, Error> {
    let by = by.to_owned();
    alone(pool, move |tx| {
        Box::pin(async move {
            let Some(plan) = reading::lock(tx, id).await? else { return Ok(Ordered::Unknown) };
            if plan.course != Course::Running {
                return Ok(Ordered::NotNow(plan.course));
            }
            sqlx::query!(
                "update plans set state = 'stopped', ended_at = recado_now(), ended_by = $2 where id = $1",
                id,
                by
            )
            .execute(&mut *tx)
            .await?;
            note(tx, id, &by, "plan.stopped", None, json!({"done": plan.done, "left": plan.left()})).await?;
            Ok(Ordered::Done)
        })
    })
    .await
}

/// Removes what can not be run any more, and plans older than `keep`, at most `batch` of each. Says how many plans went.
///
/// # Errors
/// If the database does not take it.
pub async fn forget(pool: &PgPool, keep: Duration, batch: i64) -> Result<u64, Error> {
    sqlx::query!(
        r#"
        -- plans: forget pieces
        delete from plan_chunks where (plan, number) in (
          select c.plan, c.number from plans p join plan_chunks c on c.plan = p.id
          where p.state in ('reckoning', 'planned', 'stopped', 'failed') and p.made_at < recado_now() - $1 * interval '1 ms' limit $2
        )
        "#,
        millis(action::FRESH * 2) as _,
        batch
    )
    .execute(pool)
    .await?;
    let done = sqlx::query!(
        r#"
        -- plans: forget
        delete from plans where id in (
          select id from plans where state <> 'running' and made_at < recado_now() - $1 * interval '1 ms' order by made_at limit $2
        )
        "#,
        millis(keep) as _,
        batch
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

async fn note(
    tx: &mut PgConnection,
    id: i64,
    by: &str,
    what: &'static str,
    reason: Option<&str>,
    detail: Value,
) -> Result<(), Error> {
    let on = format!("plan {id}");
    audit::note(&mut *tx, &audit::Act { by, what, on: Some(&on), reason, detail }).await
}

fn inconsistent(column: &'static str, id: i64) -> Error {
    Error::Inconsistent { table: "plans", column, row: id.to_string() }
}

/// As the database counts.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
