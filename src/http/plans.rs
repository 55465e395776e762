//! Plans of operators, as the API makes, shows, runs and stops them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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

use super::{
    Desk, Problem,
    auth::Caller,
    openapi::{Described, NotFound},
    paging::Paging,
    problem::json_body,
};
use crate::{
    db::{
        self,
        keys::Role,
        plans::{self, Made, Ordered, Plan, Wish},
    },
    domain::{
        action::{Action, Course, DUPLICATES_OF_AN_OPERATOR, Kind, REASON_MAX, Skip, reason},
        estimate::Estimate,
        money::decimal,
        search::{Search, Target, Wrong},
    },
};

/// Of something that nobody ordered and that somebody could be called by.
pub const NO_ORDER: &str = "order finds nothing and reads like a phone number: look for that as phone.";

const TOO_LARGE: &str = "A plan is not that large.";

/// A plan as it is shown: the API's answer, and `recado plans --json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Plan)]
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
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlanEstimate)]
struct Reckoned {
    found: u64,
    /// How many it would be done to.
    acts: u64,
    /// Why it would not be done to the others.
    #[schema(value_type = BTreeMap<String, u64>)]
    skipped: BTreeMap<Skip, u64>,
    /// Of rejected events that it would be done to: taken in meanwhile, and asking for nothing. Nothing follows.
    known: u64,
    ignored: u64,
    /// Of those that may go: people who may get it twice.
    duplicates: u64,
    /// The time of the message that would follow is over: it ends at once.
    expired: u64,
    /// A later stage is true already: they end at once, as superseded.
    stale: u64,
    /// Nobody agreed to them now: they end at once.
    no_consent: u64,
    /// The person has not answered yet: they wait.
    not_confirmed: u64,
    /// How many messages may go.
    goes: u64,
    /// What those are expected to cost, by currency.
    cost: BTreeMap<String, String>,
    /// Of those, the ones that no price list knows.
    unpriced: u64,
    /// Of a hold or a release: the holds there are, and how many wait or would.
    holds: u64,
    waiting: u64,
    /// So many may get it twice that only the role admin runs it.
    needs_admin: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlanProgress)]
struct Progress {
    done: u64,
    #[schema(value_type = BTreeMap<String, u64>)]
    skipped: BTreeMap<Skip, u64>,
    /// Of what was done: people who may get something twice.
    duplicates: u64,
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
            progress: Progress { done: plan.done, skipped: plan.skipped, duplicates: plan.repeats, left },
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
            known: estimate.known,
            ignored: estimate.ignored,
            duplicates: estimate.duplicates,
            expired: estimate.expired,
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
                return Err(Wrong { key: "for", cure: "does not go with a release".to_owned(), misplaced: true });
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
                return Err(Wrong { key: "search", cure, misplaced: false });
            }
            Wish::Found(action, search)
        }
    })
}

/// Why an order was not followed, for people; none if it was.
#[must_use]
pub fn refusal(ordered: &Ordered) -> Option<String> {
    Some(match ordered {
        Ordered::Done => return None,
        Ordered::Unknown => "There is no plan of this number.".to_owned(),
        Ordered::NotNow(course) => match course {
            Course::Reckoning => "It is being worked out still: look at its numbers first.".to_owned(),
            Course::Planned { out_of_date: false } => "It has not been begun.".to_owned(),
            Course::Planned { out_of_date: true } => {
                "Its numbers are more than an hour old: make it anew, and look at them again.".to_owned()
            }
            Course::Running => "It runs already.".to_owned(),
            Course::Done => "It is done already.".to_owned(),
            Course::Stopped => {
                "It was stopped. Within an hour of its numbers it can be run on; later make a new one for what is left."
                    .to_owned()
            }
            Course::Failed { why } => format!("It failed: {why}. Make a new one."),
        },
        Ordered::NeedsAdmin { duplicates } => format!(
            "{duplicates} people may get a message twice; more than {DUPLICATES_OF_AN_OPERATOR} are for the role admin to decide."
        ),
    })
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PlanWanted)]
pub(super) struct Wished {
    action: Action,
    /// What it is done to; of hold and release, `on` says it.
    #[serde(default)]
    #[schema(value_type = SearchDescribed)]
    search: BTreeMap<String, Option<String>>,
    #[serde(default)]
    #[schema(value_type = TargetDescribed)]
    on: BTreeMap<String, Option<String>>,
}

/// The same as `GET /v1/notifications` looks for. Of rejected events: id, reason, since and until.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Search)]
#[expect(dead_code, reason = "it describes what domain::search reads")]
struct SearchDescribed {
    /// Just this one; or several, with commas between them.
    #[schema(
        pattern = "^(([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(,([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})){0,499})?$"
    )]
    id: Option<String>,
    #[schema(pattern = "^(pending|sending|in_doubt|accepted|failed|suppressed)?$")]
    state: Option<String>,
    #[schema(max_length = 300)]
    reason: Option<String>,
    #[schema(pattern = "^(lane|subject|template|consent|quiet|day_limit|budget)?$")]
    waiting_on: Option<String>,
    #[schema(pattern = "^(none|sent|delivered|read)?$")]
    receipt: Option<String>,
    #[schema(max_length = 300)]
    order: Option<String>,
    #[schema(max_length = 300)]
    phone: Option<String>,
    #[schema(max_length = 300)]
    template: Option<String>,
    #[schema(max_length = 300)]
    sender: Option<String>,
    #[schema(format = DateTime)]
    since: Option<String>,
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// What is held or released.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HoldTarget)]
#[expect(dead_code, reason = "it describes what domain::search reads")]
struct TargetDescribed {
    #[schema(pattern = "^(everything|sender|template)$")]
    scope: Option<String>,
    #[schema(max_length = 300)]
    sender: Option<String>,
    #[schema(max_length = 300)]
    template: Option<String>,
    #[schema(max_length = 300)]
    language: Option<String>,
    /// A time like 2h.
    #[schema(max_length = 300)]
    r#for: Option<String>,
}

/// The numbers of what it would come to. Nothing is done yet. Where much is found its `state` is `reckoning` at first: its address tells the
/// numbers when it is `planned`.
#[utoipa::path(post, path = "/v1/plans", tag = "Plans", operation_id = "makePlan", summary = "Plans to act on all that a search finds",
    request_body(content = Wished, example = json!({"action": "retry", "search": {"state": "failed", "reason": "undeliverable"}})),
    responses((status = 201, description = "What it would come to, or that this is being worked out; nothing is done yet.", body = Shown,
        headers(("Location" = String, description = "The plan's address."))), (status = 404, response = NotFound)))]
pub(super) async fn make(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    wished: Result<Json<Wished>, JsonRejection>,
) -> Result<Response, Problem> {
    caller.needs(Role::Operator)?;
    let what = "A plan has action (retry, resend, cancel, give_up, replay, hold or release), and search or on: texts by their keys.";
    let wished = json_body(wished, what, TOO_LARGE)?;
    let (pairs, other) = match wished.action.kind() {
        Kind::Notifications | Kind::RejectedEvents => (&wished.search, &wished.on),
        Kind::Sending => (&wished.on, &wished.search),
    };
    if !other.is_empty() {
        return Err(Problem::unfit("hold and release have on, the other actions have search."));
    }
    let pairs = pairs.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)));
    let wish = wish(wished.action, pairs)?;
    let plan = match plans::make(&desk.doors.pools.ops, wish, &caller.name).await? {
        Made::Plan(id) => reckoned(&desk, id, &caller.name).await?.ok_or_else(unknown)?,
        Made::NoSuchSender => return Err(Problem::new(StatusCode::NOT_FOUND, "There is no sender of this name here.")),
        Made::IsAPhone => return Err(Problem::unfit(NO_ORDER)),
    };
    let location = HeaderValue::try_from(format!("/v1/plans/{}", plan.id))
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "This plan has no address."))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Shown::of(plan))).into_response())
}

/// Whoever made a plan is answered after this long at the latest, whether it is reckoned or not.
const PROMPTLY: Duration = Duration::from_millis(75);

/// Has a plan that was made here reckoned, one after another, and says how it stands.
pub(super) async fn reckoned(desk: &Arc<Desk>, id: i64, by: &str) -> Result<Option<Plan>, db::Error> {
    let (of, pool) = (Arc::clone(desk), &desk.doors.pools.ops);
    let reckoning = tokio::spawn(async move {
        let means = of.doors.events.inbox.means(Arc::clone(&of.doors.prices));
        let _one_at_a_time = of.reckoning.acquire().await;
        if let Err(error) = plans::reckon(&of.doors.pools.ops, id, &means).await {
            tracing::warn!(plan = id, %error, "plan.unreckoned: upkeep does it");
        }
    });
    // Beyond that it goes on by itself.
    let _ = tokio::time::timeout(PROMPTLY, reckoning).await;
    let plan = plans::one(pool, id).await?;
    if let Some(plan) = &plan {
        tracing::info!(by, plan = id, action = plan.action.as_str(), state = plan.course.name(), "plan.made");
    }
    Ok(plan)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// So many at most; 50 if nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// What the page before gave as `next`.
    cursor: Option<i64>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PlansPage)]
pub(super) struct Page {
    plans: Vec<Shown>,
    /// Gives the next page as `cursor`; none on the last one.
    next: Option<i64>,
}

#[utoipa::path(get, path = "/v1/plans", tag = "Plans", operation_id = "listPlans", summary = "Plans, the latest first", params(Asked),
    responses((status = 200, description = "A page of them.", body = Page)))]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    _: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Ok(Query(asked)) = asked else {
        return Err(Problem::bad("There are: limit and cursor, numbers, each once."));
    };
    let paging = Paging::of(asked.limit)?;
    let mut found = plans::page(&desk.doors.pools.ops, asked.cursor, paging.sought()).await?;
    let next = paging.cut(&mut found, |last| last.id);
    Ok(Json(Page { plans: found.into_iter().map(Shown::of).collect(), next }))
}

fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is no plan of this number.")
}

#[utoipa::path(get, path = "/v1/plans/{id}", tag = "Plans", operation_id = "getPlan", summary = "A plan and how far it is",
    params(("id" = i64, Path, description = "The plan's number.", example = 7)),
    responses((status = 200, description = "As it stands.", body = Shown), (status = 404, response = NotFound)))]
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

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PlanBegun)]
pub(super) struct Begun {
    /// For the trail.
    #[schema(min_length = 1, max_length = 300, pattern = "\\S")]
    reason: String,
}

/// It is done in the background, piece by piece; also one that was stopped goes on. Each is judged again as it stands then.
#[utoipa::path(post, path = "/v1/plans/{id}/run", tag = "Plans", operation_id = "runPlan", summary = "Begins a plan",
    params(("id" = i64, Path, description = "The plan's number.", example = 7)),
    request_body(content = Begun, example = json!({"reason": "the provider is back"})),
    responses((status = 202, description = "It runs.", body = Shown), (status = 404, response = NotFound),
        (status = 409, description = "It is not in a state for that, or its numbers are too old.", body = Described, content_type = "application/problem+json")))]
pub(super) async fn run(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Path(id): Path<String>,
    begun: Result<Json<Begun>, JsonRejection>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    caller.needs(Role::Operator)?;
    let id = number(&id)?;
    let begun = json_body(begun, "A plan is run with a reason.", TOO_LARGE)?;
    let reason = reason(&begun.reason)
        .ok_or_else(|| Problem::unfit(format!("reason is a text of 1 to {REASON_MAX} characters.")))?;
    let admin = caller.role >= Role::Admin;
    follow(plans::run(&desk.doors.pools.ops, id, &caller.name, reason, admin).await?)?;
    tracing::info!(by = caller.name, plan = id, "plan.begun");
    Ok((StatusCode::ACCEPTED, shown(&desk, id).await?))
}

#[utoipa::path(post, path = "/v1/plans/{id}/stop", tag = "Plans", operation_id = "stopPlan", summary = "Stops a plan after the piece that is in hand",
    params(("id" = i64, Path, description = "The plan's number.", example = 7)),
    responses((status = 200, description = "It is stopped.", body = Shown), (status = 404, response = NotFound),
        (status = 409, description = "It does not run.", body = Described, content_type = "application/problem+json")))]
pub(super) async fn stop(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    caller.needs(Role::Operator)?;
    let id = number(&id)?;
    follow(plans::stop(&desk.doors.pools.ops, id, &caller.name).await?)?;
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
