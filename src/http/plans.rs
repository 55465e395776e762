//! Plans of operators, as the API makes, shows, runs and stops them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Desk, Problem, auth::Caller};
use crate::{
    db::{
        keys::Role,
        plans::{self, Made, Ordered, Plan, Wanted, Wish},
    },
    domain::{
        action::{Action, Course, DUPLICATES_OF_AN_OPERATOR, Estimate, FOUND_MAX, Kind, REASON_MAX, Skip},
        money::decimal,
        search::{Search, Target, Wrong},
    },
};

/// What a page has at most, and if nobody says otherwise.
const PAGE_MAX: i64 = 200;
const PAGE: i64 = 50;

/// A plan as it is shown: the API's answer, and `recado plans --json`.
#[derive(Debug, Serialize)]
pub struct Shown {
    id: i64,
    action: Action,
    /// What was looked for; a phone number is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<BTreeMap<String, String>>,
    /// What is held or released.
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    course: Course,
    made_at: Timestamp,
    made_by: String,
    estimate: Reckoned,
    reason: Option<String>,
    begun_at: Option<Timestamp>,
    begun_by: Option<String>,
    ended_at: Option<Timestamp>,
    ended_by: Option<String>,
    progress: Progress,
}

/// An estimate with amounts as decimal numbers.
#[derive(Debug, Serialize)]
struct Reckoned {
    found: u64,
    acts: u64,
    skipped: BTreeMap<Skip, u64>,
    duplicates: u64,
    stale: u64,
    no_consent: u64,
    not_confirmed: u64,
    goes: u64,
    cost: BTreeMap<String, String>,
    unpriced: u64,
    holds: u64,
    waiting: u64,
    needs_admin: bool,
}

#[derive(Debug, Serialize)]
struct Progress {
    done: u64,
    skipped: BTreeMap<Skip, u64>,
    left: u64,
}

impl Shown {
    #[must_use]
    pub fn of(plan: Plan) -> Shown {
        let left = plan.left();
        let is_search = plan.action.kind() != Kind::Sending;
        let (search, on) = if is_search { (Some(plan.search), None) } else { (None, Some(plan.search)) };
        Shown {
            id: plan.id,
            action: plan.action,
            search,
            on,
            course: plan.course,
            made_at: plan.made_at,
            made_by: plan.made_by,
            estimate: Reckoned::of(plan.estimate),
            reason: plan.reason,
            begun_at: plan.begun_at,
            begun_by: plan.begun_by,
            ended_at: plan.ended_at,
            ended_by: plan.ended_by,
            progress: Progress { done: plan.done, skipped: plan.skipped, left },
        }
    }
}

impl Reckoned {
    fn of(estimate: Estimate) -> Reckoned {
        Reckoned {
            needs_admin: estimate.needs_admin(),
            found: estimate.found,
            acts: estimate.acts,
            skipped: estimate.skipped,
            duplicates: estimate.duplicates,
            stale: estimate.stale,
            no_consent: estimate.no_consent,
            not_confirmed: estimate.not_confirmed,
            goes: estimate.goes,
            cost: estimate.cost.into_iter().map(|(currency, micros)| (currency, decimal(micros))).collect(),
            unpriced: estimate.unpriced,
            holds: estimate.holds,
            waiting: estimate.waiting,
        }
    }
}

/// What an action is to be done to, from keys and values: one reading for the API, the command line and the console.
///
/// # Errors
/// The key that makes no sense, with its cure.
pub fn wish<'a>(action: Action, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Wish, Wrong> {
    Ok(match action {
        Action::Hold => Wish::Hold(Target::read(pairs)?),
        Action::Release => {
            let target = Target::read(pairs)?;
            if target.lasts.is_some() {
                return Err(Wrong { key: "for", cure: "does not go with a release".to_owned() });
            }
            Wish::Release(target)
        }
        Action::Replay => {
            let search = Search::read(pairs)?;
            search.for_rejected()?;
            Wish::Found(action, search)
        }
        Action::Retry | Action::Resend | Action::Cancel | Action::GiveUp => {
            let search = Search::read(pairs)?;
            if search.is_everything() {
                let cure = "must say something, like state: everything at once is not acted on".to_owned();
                return Err(Wrong { key: "search", cure });
            }
            Wish::Found(action, search)
        }
    })
}

/// Why a plan is run, as it is kept. None if it is no reason.
#[must_use]
pub fn reason(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty() && text.chars().count() <= REASON_MAX && !text.contains('\0'))
}

/// Why an order was not followed, for people; none if it was.
#[must_use]
pub fn refusal(ordered: &Ordered) -> Option<String> {
    Some(match ordered {
        Ordered::Done => return None,
        Ordered::Unknown => "There is no plan of this number.".to_owned(),
        Ordered::NotNow(course) => match course {
            Course::Planned { out_of_date: false } => "It has not been begun.".to_owned(),
            Course::Planned { out_of_date: true } => {
                "Its numbers are more than an hour old: make it anew, and look at them again.".to_owned()
            }
            Course::Running => "It runs already.".to_owned(),
            Course::Done => "It is done already.".to_owned(),
            Course::Stopped => {
                "It was stopped, and its numbers are more than an hour old: make a new one for what is left.".to_owned()
            }
            Course::Failed { why } => format!("It failed: {why}. Make a new one."),
        },
        Ordered::NeedsAdmin { duplicates } => format!(
            "{duplicates} people may get a message twice; more than {DUPLICATES_OF_AN_OPERATOR} are for the role admin to decide."
        ),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wished {
    action: Action,
    #[serde(default)]
    search: BTreeMap<String, String>,
    #[serde(default)]
    on: BTreeMap<String, String>,
}

pub(super) async fn make(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    wished: Result<Json<Wished>, JsonRejection>,
) -> Result<Response, Problem> {
    caller.needs(Role::Operator)?;
    let Json(wished) = wished.map_err(|rejection| {
        unreadable(
            &rejection,
            "A plan has action (retry, resend, cancel, give_up, replay, hold or release), and search or on: texts by their keys.",
        )
    })?;
    let (pairs, other) = match wished.action.kind() {
        Kind::Notifications | Kind::RejectedEvents => (&wished.search, &wished.on),
        Kind::Sending => (&wished.on, &wished.search),
    };
    if !other.is_empty() {
        return Err(Problem::bad("hold and release have on, the other actions have search."));
    }
    let pairs = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let wish = wish(wished.action, pairs).map_err(|wrong| Problem::bad(format!("{wrong}.")))?;
    let plan = plan(&desk, wish, caller.signature()).await?;
    tracing::info!(by = caller.name, plan = plan.id, action = plan.action.as_str(), found = plan.found, "plan.made");
    let location = HeaderValue::try_from(format!("/v1/plans/{}", plan.id))
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "This plan has no address."))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Shown::of(plan))).into_response())
}

/// Makes a plan, whoever wants it.
pub(super) async fn plan(desk: &Desk, wish: Wish, by: String) -> Result<Plan, Problem> {
    let wanted = Wanted { wish, by, prices: Arc::clone(&desk.doors.prices), now: desk.doors.clock.now() };
    match plans::make(&desk.doors.pools.ops, wanted).await? {
        Made::Plan(plan) => Ok(*plan),
        Made::NoSuchSender => Err(Problem::new(StatusCode::NOT_FOUND, "There is no sender of this name here.")),
        Made::TooMany => Err(Problem::bad(format!(
            "search finds more than {FOUND_MAX}: narrow it, for example with since and until."
        ))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    limit: Option<i64>,
    cursor: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct Page {
    plans: Vec<Shown>,
    /// Gives the next page as `cursor`; none on the last one.
    next: Option<i64>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    _: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Ok(Query(asked)) = asked else {
        return Err(Problem::bad("There are: limit and cursor, numbers, each once."));
    };
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad(format!("limit is a number from 1 to {PAGE_MAX}.")));
    }
    let mut found = plans::page(&desk.doors.pools.ops, asked.cursor, limit + 1).await?;
    let more = i64::try_from(found.len()).is_ok_and(|n| n > limit);
    found.truncate(usize::try_from(limit).unwrap_or(0));
    let next = found.last().filter(|_| more).map(|last| last.id);
    Ok(Json(Page { plans: found.into_iter().map(Shown::of).collect(), next }))
}

fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is no plan of this number.")
}

pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    shown(&desk, number(&id)?).await
}

async fn shown(desk: &Desk, id: i64) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown::of(plans::one(&desk.doors.pools.ops, id).await?.ok_or_else(unknown)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    reason: String,
}

pub(super) async fn run(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Path(id): Path<String>,
    begun: Result<Json<Begun>, JsonRejection>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    caller.needs(Role::Operator)?;
    let id = number(&id)?;
    let Json(begun) = begun.map_err(|rejection| unreadable(&rejection, "A plan is run with a reason."))?;
    let reason = reason(&begun.reason)
        .ok_or_else(|| Problem::bad(format!("reason is a text of 1 to {REASON_MAX} characters.")))?;
    let admin = caller.role >= Role::Admin;
    follow(plans::run(&desk.doors.pools.ops, id, &caller.signature(), reason, admin).await?)?;
    tracing::info!(by = caller.name, plan = id, "plan.begun");
    Ok((StatusCode::ACCEPTED, shown(&desk, id).await?))
}

pub(super) async fn stop(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    caller.needs(Role::Operator)?;
    let id = number(&id)?;
    follow(plans::stop(&desk.doors.pools.ops, id, &caller.signature()).await?)?;
    tracing::info!(by = caller.name, plan = id, "plan.stopped");
    shown(&desk, id).await
}

#[expect(clippy::needless_pass_by_value, reason = "what was ordered is over with its answer")]
fn follow(ordered: Ordered) -> Result<(), Problem> {
    let Some(detail) = refusal(&ordered) else { return Ok(()) };
    let status = match ordered {
        Ordered::Unknown => StatusCode::NOT_FOUND,
        Ordered::NeedsAdmin { .. } => StatusCode::FORBIDDEN,
        Ordered::NotNow(_) | Ordered::Done => StatusCode::CONFLICT,
    };
    Err(Problem::new(status, detail))
}

fn unreadable(rejection: &JsonRejection, what: &str) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "A plan is not that large."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send JSON, as Content-Type: application/json.")
        }
        _ => Problem::bad(what),
    }
}
