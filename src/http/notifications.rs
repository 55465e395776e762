//! Notifications as the API shows them. Who may not see people gets their numbers masked.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Desk, Problem, auth::Caller, openapi::NotFound, paging::Paging};
use crate::{
    db::{
        audit, contacts,
        listing::{self, Filter, Item},
        story,
    },
    domain::{
        notification,
        phone::Phone,
        search::Search,
        story::{Line, Story},
    },
    provider,
};

/// A story as it is shown: the API's answer, and `recado why --json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotificationStory)]
pub struct Shown {
    phone: Option<String>,
    #[serde(flatten)]
    story: Story,
    explanation: Option<&'static str>,
    timeline: Vec<Line>,
    next: String,
}

impl Shown {
    /// `persons` says whether the reader may see whom it is about.
    #[must_use]
    pub fn of(story: Story, persons: bool, now: Timestamp) -> Shown {
        let story = if persons { story } else { story.without_persons() };
        Shown {
            phone: story.phone.as_ref().map(|phone| show(phone, persons)),
            explanation: story.state.reason().and_then(explain),
            timeline: story.tell(&explain),
            next: story.next(now),
            story,
        }
    }
}

/// Every reason of ours and of the providers', with its sentence. Ours come last: where both have one, ours counts.
pub fn reasons() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = provider::reason::ALL.iter().chain(&notification::reason::ALL);
    all.map(|(reason, sentence)| (reason.as_str(), *sentence))
}

/// The sentence for a reason of ours or of a provider's.
#[must_use]
pub fn explain(reason: &str) -> Option<&'static str> {
    notification::reason::explain(reason).or_else(|| provider::reason::explain(reason))
}

fn show(phone: &Phone, persons: bool) -> String {
    if persons { phone.reveal().to_owned() } else { phone.to_string() }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// pending, sending, in_doubt, accepted, failed or suppressed.
    #[param(pattern = "^(pending|sending|in_doubt|accepted|failed|suppressed)$", example = "failed")]
    state: Option<String>,
    /// Why it ended without delivery.
    #[param(min_length = 1, max_length = 300, pattern = "\\S", example = "not_on_whatsapp")]
    reason: Option<String>,
    /// An event's id or subject, or the key of its journey.
    #[param(min_length = 1, max_length = 300, pattern = "\\S", example = "order:1001")]
    order: Option<String>,
    /// Of whom it is for, with its country code; needs an operator.
    #[param(min_length = 1, max_length = 300, pattern = "\\S", example = "+34600111222")]
    phone: Option<String>,
    #[param(min_length = 1, max_length = 300, pattern = "\\S", example = "order_confirmed")]
    template: Option<String>,
    /// The sender's name in the configuration.
    #[param(min_length = 1, max_length = 300, pattern = "\\S", example = "main")]
    sender: Option<String>,
    /// What a pending one waits for.
    #[param(pattern = "^(lane|subject|template|consent|quiet|day_limit|budget)$", example = "consent")]
    waiting_on: Option<String>,
    /// The best that is reported of an accepted one.
    #[param(pattern = "^(none|sent|delivered|read)$", example = "none")]
    receipt: Option<String>,
    /// Planned at that time or later.
    #[param(format = DateTime, example = "2026-11-22T20:00:00Z")]
    since: Option<String>,
    /// Planned before that time.
    #[param(format = DateTime, example = "2026-11-23T20:00:00Z")]
    until: Option<String>,
    /// So many at most; 50 if nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// What the page before gave as `next`.
    #[param(pattern = "^[0-9a-f]{32}$", example = "0193f2c48d1e7a309b1d2f0c5a1e7b44")]
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = NotificationsPage)]
pub(super) struct Page {
    notifications: Vec<Listed>,
    /// Gives the next page as `cursor`; none on the last one. A page may be shorter than asked for, or empty, and not the last.
    next: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = NotificationListed)]
struct Listed {
    phone: Option<String>,
    #[serde(flatten)]
    item: Item,
}

#[utoipa::path(get, path = "/v1/notifications", tag = "Notifications", operation_id = "listNotifications",
    summary = "Notifications, the latest first", params(Asked),
    responses((status = 200, description = "A page of them.", body = Page)))]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Ok(Query(asked)) = asked else {
        return Err(Problem::bad(
            "There are: state, reason, waiting_on, receipt, order, phone, template, sender, since, until, limit (a number) and cursor, each once.",
        ));
    };
    let paging = Paging::of(asked.limit)?;
    if asked.phone.is_some() && !caller.sees_persons() {
        // A viewer who may try numbers would see whose they are.
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Looking for a phone number needs a key whose role is operator or more.",
        ));
    }
    let filter = filter(&asked)?;
    let found = listing::page(&desk.doors.pools.ops, &filter, paging.limit).await?;
    let next = found.next.map(|last| last.simple().to_string());
    let persons = caller.sees_persons();
    if persons {
        let pool = &desk.doors.pools.ops;
        let of: Vec<Uuid> = found.items.iter().filter(|item| item.phone.is_some()).map(|item| item.id).collect();
        let contact = match &filter.phone {
            Some(phone) => contacts::with(pool, phone).await?.map(|contact| format!("contact {contact}")),
            None => None,
        };
        let through = "GET /v1/notifications";
        audit::shown(pool, &caller.name, contact.as_deref(), (of.len(), &of), through).await?;
    }
    let listed = |item: Item| {
        let phone = item.phone.as_ref().map(|phone| show(phone, persons));
        let state = if persons { item.state } else { item.state.without_number() };
        Listed { phone, item: Item { state, ..item } }
    };
    Ok(Json(Page { notifications: found.items.into_iter().map(listed).collect(), next }))
}

fn filter(asked: &Asked) -> Result<Filter, Problem> {
    let given = [
        ("state", &asked.state),
        ("reason", &asked.reason),
        ("waiting_on", &asked.waiting_on),
        ("receipt", &asked.receipt),
        ("order", &asked.order),
        ("phone", &asked.phone),
        ("template", &asked.template),
        ("sender", &asked.sender),
        ("since", &asked.since),
        ("until", &asked.until),
    ];
    let given = given.map(|(key, value)| (key, value.as_deref()));
    // Forms send what is empty; here it is a variable that somebody forgot to fill, and everything would be found.
    if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some_and(|value| value.trim().is_empty())) {
        return Err(Problem::bad(format!("{key} is empty: leave it out, or say what is looked for.")));
    }
    let search = Search::read(given.into_iter().filter_map(|(key, value)| Some((key, value?))))?;
    let before = asked
        .cursor
        .as_deref()
        .map(|text| Uuid::try_parse(text).map_err(|_| Problem::bad("cursor is what the page before gave as next.")));
    Ok(Filter::of(search, before.transpose()?))
}

#[utoipa::path(get, path = "/v1/notifications/{id}", tag = "Notifications", operation_id = "getNotification",
    summary = "The whole story of one notification",
    params(("id" = String, Path, description = "The notification's id.", example = "0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b44")),
    responses((status = 200, description = "All that is known of it.", body = Shown), (status = 404, response = NotFound)))]
pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "There is no notification of this id.");
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let story = story::of(&desk.doors.pools.ops, id).await?.ok_or_else(unknown)?;
    if caller.sees_persons() {
        let (on, numbers) = (id.to_string(), usize::from(story.phone.is_some()));
        let through = "GET /v1/notifications/{id}";
        audit::shown(&desk.doors.pools.ops, &caller.name, Some(&on), (numbers, &[id]), through).await?;
    }
    Ok(Json(Shown::of(story, caller.sees_persons(), desk.doors.clock.now())))
}
