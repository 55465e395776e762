//! Plans: what is to be done to everything that a search finds, its numbers before it runs, and how far it is. How a plan is made and
//! run is `db::plans`'s; how a wish is read is the API's as well.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use jiff::tz::TimeZone;
use minijinja::{Value, context, value::Serde};
use serde::Deserialize;

use super::{
    Part,
    search::plain,
    stream::{Listener, Seen},
    template, texts,
    trouble::{Asks, Numbered, Trouble},
    visitor::Visitor,
    visitor::field,
};
use crate::{
    db::{
        self, contacts,
        plans::{self, Made, Ordered, Plan},
        senders,
    },
    domain::{
        action::{Action, Course, Failure, Kind, REASON_MAX, reason},
        notification::Wait,
        phone::Phone,
        role::Role,
        search::{self, RECEIPTS, STATES},
    },
    http::{Desk, plans as api, plans::Shown},
};

pub(super) const PART: Part = Part {
    name: "plans",
    templates: &[
        template!("plans.html"),
        template!("plans_rows.html"),
        template!("plan.html"),
        template!("plan_progress.html"),
        template!("plan_new.html"),
        template!("plan_words.html"),
        template!("act_on_all.html"),
    ],
    texts: texts!("plans"),
};

/// Rows of a page.
const PAGE: usize = 50;
/// How often it is looked at what moves.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/plans", get(list).post(make))
        .route("/console/plans/live", get(listen))
        .route("/console/plans/new", get(wish))
        .route("/console/plans/{id}", get(one))
        .route("/console/plans/{id}/live", get(follow))
        .route("/console/plans/{id}/run", post(run))
        .route("/console/plans/{id}/stop", post(stop))
}

#[derive(Debug, Deserialize)]
struct Asked {
    /// Only what was made before this one.
    before: Option<i64>,
}

async fn list(State(desk): State<Arc<Desk>>, visitor: Visitor, Asks(asked): Asks<Asked>) -> Result<Response, Trouble> {
    let (rows, moving) = rows(&desk, asked.before).await?;
    Ok(visitor.page(&desk, "plans", "plans.html", context! { moving, ..rows }))
}

/// Tells the same list as long as something in it moves.
async fn listen(
    State(desk): State<Arc<Desk>>,
    listener: Listener,
    Asks(asked): Asks<Asked>,
) -> Result<Response, Trouble> {
    Ok(listener.tell(desk, EVERY, move |desk, visitor| async move {
        let (rows, moving) = rows(&desk, asked.before).await?;
        Ok(Seen { parts: vec![("rows", visitor.part(&desk, "plans_rows.html", rows))], over: !moving })
    }))
}

/// What a page of the list has, and whether any of it moves.
async fn rows(desk: &Desk, before: Option<i64>) -> Result<(Value, bool), db::Error> {
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut found = plans::page(&desk.doors.pools.ops, before, limit).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let moving = found.iter().any(moves);
    let next = found.last().filter(|_| more).map(|plan| plan.id);
    let rows: Vec<Shown> = found.into_iter().map(Shown::of).collect();
    Ok((context! { rows => Serde(&rows), next, before }, moving))
}

/// Whether it changes by itself.
fn moves(plan: &Plan) -> bool {
    matches!(plan.course, Course::Reckoning | Course::Running)
}

/// A wish as a form or an address has it: what it does not understand is left out.
struct Form {
    action: Action,
    values: BTreeMap<&'static str, String>,
}

impl Form {
    /// The same fields as `GET /v1/notifications` has; `ids` as often as there are some; and a person's `contact`.
    fn read(fields: &[u8]) -> Form {
        let keys = || search::KEYS.into_iter().chain(search::TARGET_KEYS).chain(["contact"]);
        let mut action = Action::Retry;
        let mut values: BTreeMap<&'static str, String> = keys().map(|key| (key, String::new())).collect();
        for (key, value) in form_urlencoded::parse(fields) {
            let value = value.trim();
            if key == "action" {
                action = Action::named(value).unwrap_or(action);
            }
            let key = if key == "ids" { "id" } else { &*key };
            let Some(before) = values.get_mut(key) else { continue };
            if before.is_empty() {
                value.clone_into(before);
            } else if key == "id" && !value.is_empty() {
                *before += ",";
                *before += value;
            }
        }
        Form { action, values }
    }

    /// The contact of the person whom it means, if no number is given.
    fn contact(&self) -> Option<&str> {
        let of = |key| self.values.get(key).map(String::as_str).filter(|value| !value.is_empty());
        of("contact").filter(|_| of("phone").is_none() && self.action.kind() == Kind::Notifications)
    }

    /// What it means, where `person` is the contact's number; or the key that cannot be read.
    fn wish(&self, zone: &TimeZone, person: Option<&Phone>) -> Result<plans::Wish, &'static str> {
        let keys: &[&'static str] = match self.action.kind() {
            Kind::Notifications | Kind::RejectedEvents => &search::KEYS,
            Kind::Sending => &search::TARGET_KEYS,
        };
        let pairs = keys.iter().filter_map(|key| Some((*key, self.values.get(key)?.as_str())));
        let pairs = plain(pairs, zone)?;
        let pairs = pairs.iter().map(|(key, value)| (*key, value.as_str()));
        let pairs = pairs.chain(person.map(|phone| ("phone", phone.reveal())));
        api::wish(self.action, pairs).map_err(|wrong| wrong.key)
    }
}

async fn wish(State(desk): State<Arc<Desk>>, visitor: Visitor, RawQuery(query): RawQuery) -> Result<Response, Trouble> {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    asking(&desk, &visitor, StatusCode::OK, &form, "").await
}

/// The form; `wrong` is the key that has to be mended.
async fn asking(
    desk: &Desk,
    visitor: &Visitor,
    status: StatusCode,
    form: &Form,
    wrong: &str,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let kind = form.action.kind();
    let of_kind = Action::ALL.into_iter().filter(|action| action.kind() == kind).map(Action::as_str);
    let known = senders::all(&desk.doors.pools.ops).await?;
    let mut names: Vec<String> = known.into_iter().map(|(_, name)| name).collect();
    names.sort();
    let chosen = form.values.get("id").map_or(0, |ids| ids.split(',').filter(|id| !id.is_empty()).count());
    let values = context! {
        wrong,
        action => form.action.as_str(),
        kind => match kind {
            Kind::Notifications => "notifications",
            Kind::RejectedEvents => "rejected",
            Kind::Sending => "sending",
        },
        actions => of_kind.collect::<Vec<_>>(),
        of => Serde(&form.values),
        chosen,
        states => STATES,
        receipts => RECEIPTS,
        waits => Wait::ALL.map(Wait::as_str),
        senders => names,
    };
    Ok(visitor.page_with(status, desk, "plans", "plan_new.html", values))
}

async fn make(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let form = Form::read(&body);
    let mend = async |wrong: &str| asking(&desk, &visitor, StatusCode::UNPROCESSABLE_ENTITY, &form, wrong).await;
    let person = match form.contact() {
        None => None,
        Some(contact) => {
            let contact = contact.parse().map_err(|_| Trouble::Unreadable)?;
            match contacts::phone(&desk.doors.pools.ops, contact).await? {
                Some(phone) => Some(phone),
                None => return mend("contact").await,
            }
        }
    };
    let wish = match form.wish(&desk.console.rules.zone, person.as_ref()) {
        Ok(wish) => wish,
        Err(wrong) => return mend(wrong).await,
    };
    match plans::make(&desk.doors.pools.ops, wish, &visitor.caller.name).await? {
        Made::Plan(id) => {
            api::reckoned(&desk, id, &visitor.caller.name).await?;
            Ok(Redirect::to(&format!("/console/plans/{id}")).into_response())
        }
        Made::NoSuchSender => mend("sender").await,
        Made::IsAPhone => mend("order").await,
    }
}

async fn one(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Trouble> {
    let id = id.parse().map_err(|_| Trouble::Unknown)?;
    if visitor.partly {
        // The page asks so when it is over: what can be done to it has changed, so it is loaded again.
        return Ok([("hx-refresh", "true")].into_response());
    }
    let plan = plans::one(&desk.doors.pools.ops, id).await?.ok_or(Trouble::Unknown)?;
    Ok(page(&desk, &visitor, StatusCode::OK, plan, ""))
}

/// Tells how far it is, until nothing moves.
async fn follow(State(desk): State<Arc<Desk>>, listener: Listener, Numbered(id): Numbered) -> Response {
    listener.tell(desk, EVERY, move |desk, visitor| async move {
        let Some(plan) = plans::one(&desk.doors.pools.ops, id).await? else {
            return Ok(Seen { parts: Vec::new(), over: true });
        };
        let over = !moves(&plan);
        let progress = visitor.part(&desk, "plan_progress.html", context! { plan => Serde(Shown::of(plan)) });
        Ok(Seen { parts: vec![("progress", progress)], over })
    })
}

fn page(desk: &Desk, visitor: &Visitor, status: StatusCode, plan: Plan, wrong: &str) -> Response {
    let (admin, anew) = (visitor.caller.role >= Role::Admin, anew(&plan));
    // Which text says it; none if only the database's own words do.
    let failure = match &plan.course {
        Course::Failed { why: Failure::Other(_) } => None,
        Course::Failed { why } => Some(why.as_str().to_owned()),
        Course::Reckoning | Course::Planned { .. } | Course::Running | Course::Done | Course::Stopped => None,
    };
    let values = context! {
        anew,
        failure => failure.as_deref(),
        too_many => plan.estimate.needs_admin() && !admin,
        reason_max => REASON_MAX,
        moves => moves(&plan),
        plan => Serde(Shown::of(plan)),
        wrong,
    };
    visitor.page_with(status, desk, "plans", "plan.html", values)
}

/// Where the same can be asked for once more. A number is not kept, so it has to be written again.
fn anew(plan: &Plan) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("action", plan.action.as_str());
    for (key, value) in plan.search.iter().filter(|(key, _)| *key != "phone") {
        query.append_pair(key, value);
    }
    format!("/console/plans/new?{}", query.finish())
}

async fn run(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Numbered(id): Numbered,
    body: Bytes,
) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    let pool = &desk.doors.pools.ops;
    let mend = async |wrong: &str| {
        let plan = plans::one(pool, id).await?.ok_or(Trouble::Unknown)?;
        Ok(page(&desk, &visitor, StatusCode::UNPROCESSABLE_ENTITY, plan, wrong))
    };
    let given = field(&body, "reason").unwrap_or_default();
    let Some(reason) = reason(&given) else {
        return mend("no_reason").await;
    };
    let admin = visitor.caller.role >= Role::Admin;
    match plans::run(pool, id, &visitor.caller.name, reason, admin).await? {
        // Its progress says it; and the page is loaded again when it is over, when that would be wrong.
        Ordered::Done => {
            tracing::info!(by = visitor.caller.name, plan = id, "plan.begun");
            Ok(Redirect::to(&format!("/console/plans/{id}")).into_response())
        }
        Ordered::Unknown => Err(Trouble::Unknown),
        Ordered::NotNow(_) => Ok(to(id, "not_now")),
        // Its page says so instead of asking for a reason.
        Ordered::NeedsAdmin { .. } => Ok(to(id, "not_now")),
    }
}

async fn stop(State(desk): State<Arc<Desk>>, visitor: Visitor, Numbered(id): Numbered) -> Result<Response, Trouble> {
    visitor.needs(Role::Operator)?;
    match plans::stop(&desk.doors.pools.ops, id, &visitor.caller.name).await? {
        Ordered::Done => {
            tracing::info!(by = visitor.caller.name, plan = id, "plan.stopped");
            Ok(to(id, "halted"))
        }
        Ordered::Unknown => Err(Trouble::Unknown),
        Ordered::NotNow(_) | Ordered::NeedsAdmin { .. } => Ok(to(id, "not_now")),
    }
}

fn to(id: i64, said: &str) -> Response {
    Redirect::to(&format!("/console/plans/{id}?said={said}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::action::Skip;

    fn form(fields: &str) -> Form {
        Form::read(fields.as_bytes())
    }

    #[test]
    fn everything_that_a_plan_can_say_has_words() {
        let texts: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(PART.texts).unwrap();
        let actions = Action::ALL.map(|action| format!("act_{}", action.as_str())).into_iter();
        let skips = Skip::ALL.map(|skip| format!("skip_{}", skip.as_str()));
        let keys = search::KEYS.into_iter().chain(search::TARGET_KEYS).map(|key| format!("key_{key}"));
        let wrong = search::KEYS.into_iter().chain(search::TARGET_KEYS).chain(["search", "contact"]);
        let wrong = wrong.map(|key| format!("wrong_{key}"));
        let waits = Wait::ALL.map(|wait| format!("wait_{}", wait.as_str()));
        let receipts = RECEIPTS.map(|receipt| format!("receipt_{receipt}"));
        let states = STATES.map(|state| format!("state_{state}"));
        let courses =
            ["reckoning", "planned", "running", "done", "stopped", "failed"].map(|name| format!("course_{name}"));
        let failures = ["too_many", "too_slow", "too_many_twice"].map(|name| format!("failed_{name}"));
        let all = actions
            .chain(skips)
            .chain(keys)
            .chain(wrong)
            .chain(waits)
            .chain(states)
            .chain(receipts)
            .chain(courses)
            .chain(failures);
        for key in all {
            assert!(texts["en"].contains_key(&key), "{key}");
        }
    }

    #[test]
    fn a_wish_is_read_as_the_search_has_it() {
        let wish = |fields: &str| {
            form(fields).wish(&TimeZone::fixed(jiff::tz::offset(1)), None).map(|wish| match wish {
                plans::Wish::Found(action, search) => (action, search.spelled()),
                plans::Wish::Hold(target) | plans::Wish::Release(target) => (Action::Hold, target.spelled()),
            })
        };
        let (action, search) = wish("action=retry&state=failed&since=2026-11-22T20%3A00&cursor=x&csrf=y").unwrap();
        assert_eq!(
            (action, search["state"].as_str(), search["since"].as_str()),
            (Action::Retry, "failed", "2026-11-22T19:00:00Z")
        );
        let (_, search) = wish("order=%2B34600111222").unwrap();
        assert_eq!(search.into_iter().collect::<Vec<_>>(), [("phone", "+34…22".to_owned())]);
        let (one, two) = ("0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b44", "0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b45");
        let (action, search) = wish(&format!("action=cancel&ids={one}&ids={two}&state=")).unwrap();
        assert_eq!((action, search["id"].as_str()), (Action::Cancel, format!("{one},{two}").as_str()));
        assert_eq!(wish("action=retry").unwrap_err(), "search");
        assert_eq!(wish("action=retry&since=yesterday").unwrap_err(), "since");
        assert_eq!(wish("action=hold&scope=sender").unwrap_err(), "sender");
    }
}
