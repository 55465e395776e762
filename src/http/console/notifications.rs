//! The search: what can be asked for stands in the address, so that a list can be sent to somebody; of a person their contact stands there,
//! and never a number. Numbers stay masked here, and who looks for one is noted.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{context, value::Serde};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Part, search, template, texts,
    trouble::{Asks, Trouble},
    visitor::{Visitor, field},
};
use crate::{
    db::{
        audit, contacts,
        listing::{self, Filter, Item},
        senders, story,
        tallies::{self, OfReason},
    },
    domain::{
        notification::{State as Life, Wait},
        phone::Phone,
        role::Role,
        search::{RECEIPTS, STATES},
    },
    http::Desk,
};

pub(super) const PART: Part = Part {
    name: "notifications",
    templates: &[
        template!("notifications.html"),
        template!("notification.html"),
        template!("notification_standing.html"),
        template!("notification_next.html"),
        template!("notification_acts.html"),
        template!("notification_story.html"),
        template!("notification_costs.html"),
        template!("states.html"),
    ],
    texts: texts!("notifications"),
};

const AT: &str = "/console/notifications";
const PAGE: i64 = 50;
/// So many events are shown of what no message was found for.
const ELSEWHERE: i64 = 20;

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/notifications", get(show).post(seek))
}

/// What stands in the form and in the address. Empty is none.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Asked {
    order: String,
    /// Only in the form.
    phone: String,
    /// The person's, instead.
    contact: String,
    state: String,
    reason: String,
    waiting_on: String,
    receipt: String,
    template: String,
    sender: String,
    since: String,
    until: String,
    #[serde(skip_serializing)]
    cursor: String,
}

impl Asked {
    fn fields(&self) -> [(&'static str, &str); 10] {
        [
            ("order", &self.order),
            ("phone", &self.phone),
            ("state", &self.state),
            ("reason", &self.reason),
            ("waiting_on", &self.waiting_on),
            ("receipt", &self.receipt),
            ("template", &self.template),
            ("sender", &self.sender),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    fn posted(body: &Bytes) -> Asked {
        let text = |name| field(body, name).unwrap_or_default();
        Asked {
            order: text("order"),
            phone: text("phone"),
            contact: text("contact"),
            state: text("state"),
            reason: text("reason"),
            waiting_on: text("waiting_on"),
            receipt: text("receipt"),
            template: text("template"),
            sender: text("sender"),
            since: text("since"),
            until: text("until"),
            cursor: String::new(),
        }
    }

    /// The same as an address' question, without what is empty and without a number.
    fn query(&self) -> String {
        self.query_but("")
    }

    /// Without this field, too: a link says it anew.
    fn query_but(&self, but: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("contact", self.contact.as_str())].into_iter().chain(self.fields()) {
            let value = value.trim();
            if name != but && !value.is_empty() && name != "phone" && !(name == "order" && Phone::parse(value).is_ok())
            {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    fn address(&self) -> String {
        let query = self.query();
        if query.is_empty() { AT.to_owned() } else { format!("{AT}?{query}") }
    }

    /// What it means; or the name of what cannot be read.
    fn filter(&self, zone: &TimeZone) -> Result<Filter, &'static str> {
        let search = search::read(self.fields(), zone).map_err(|key| match key {
            "order" | "reason" | "template" | "sender" => "name",
            key => key,
        })?;
        let cursor = Some(self.cursor.trim()).filter(|cursor| !cursor.is_empty());
        let before = cursor.map(|text| Uuid::try_parse(text).map_err(|_| "cursor"));
        Ok(Filter::of(search, before.transpose()?))
    }
}

#[derive(Serialize)]
struct Row {
    id: Uuid,
    #[serde(flatten)]
    chip: Chip,
    at: Timestamp,
    phone: Option<String>,
    template: String,
    language: String,
    sender: String,
    subject: Option<String>,
    event_id: String,
    duplicate: bool,
}

/// A state as it is shown: its text's name, and how it looks.
#[derive(Debug, Serialize)]
pub(super) struct Chip {
    pub state: &'static str,
    pub look: &'static str,
    pub reason: Option<String>,
    pub due_at: Option<Timestamp>,
}

impl Chip {
    pub(super) fn of(state: &Life) -> Chip {
        use crate::domain::notification::Best;
        let plain = |state, look| Chip { state, look, reason: None, due_at: None };
        let ended = |state, look, reason: &str| Chip { reason: Some(reason.to_owned()), ..plain(state, look) };
        match state {
            Life::Pending { due_at, waiting_on: None } => Chip { due_at: Some(*due_at), ..plain("due", "info") },
            Life::Pending { due_at, waiting_on: Some(wait) } => Chip {
                due_at: Some(*due_at),
                ..plain(
                    match wait {
                        Wait::Lane => "waits_lane",
                        Wait::Subject => "waits_subject",
                        Wait::Template => "waits_template",
                        Wait::Consent => "waits_consent",
                        Wait::Quiet => "waits_quiet",
                        Wait::DayLimit => "waits_day_limit",
                        Wait::Budget => "waits_budget",
                    },
                    "mute",
                )
            },
            Life::Sending { .. } => plain("sending", "info"),
            Life::InDoubt { .. } => plain("in_doubt", "warn"),
            Life::Accepted { receipt: None, .. } => plain("unconfirmed", "info"),
            Life::Accepted { receipt: Some(Best::Sent), .. } => plain("sent", "info"),
            Life::Accepted { receipt: Some(Best::Delivered), .. } => plain("delivered", "ok"),
            Life::Accepted { receipt: Some(Best::Read), .. } => plain("read", "ok"),
            Life::Failed { reason } => ended("failed", "bad", reason),
            Life::Suppressed { reason } => ended("suppressed", "mute", reason),
        }
    }
}

impl Row {
    fn of(item: Item) -> Row {
        Row {
            id: item.id,
            chip: Chip::of(&item.state),
            at: item.created_at,
            phone: item.phone.as_ref().map(Phone::to_string),
            template: item.template,
            language: item.language,
            sender: item.sender,
            subject: item.subject,
            event_id: item.event_id,
            duplicate: item.duplicate,
        }
    }
}

/// Whose messages are wanted.
enum Whose {
    Anybodys,
    /// Of a number or a contact that nobody has.
    Nobodys,
    Theirs(Phone),
}

/// Leads to the address of what was asked for. Of a number that is somebody's contact, which is noted like a look at their consents.
async fn seek(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    let mut asked = Asked::posted(&body);
    let filter = match asked.filter(&desk.console.rules.zone) {
        Ok(filter) => filter,
        Err(wrong) => {
            if wrong == "phone" {
                visitor.needs(Role::Operator)?;
            }
            let mut response = list(&desk, &visitor, &asked, Err(wrong), Whose::Anybodys).await?;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            return Ok(response);
        }
    };
    if let Some(phone) = &filter.phone {
        // A viewer who may try numbers would see whose they are.
        visitor.needs(Role::Operator)?;
        let pool = &desk.doors.pools.ops;
        let contact = contacts::with(pool, phone).await?;
        audit::sought(pool, &visitor.caller.name, contact, "console").await?;
        let Some(contact) = contact else { return list(&desk, &visitor, &asked, Ok(filter), Whose::Nobodys).await };
        asked.contact = contact.to_string();
    }
    Ok(Redirect::to(&asked.address()).into_response())
}

async fn show(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Asks(mut asked): Asks<Asked>,
) -> Result<Response, Trouble> {
    let filter = asked.filter(&desk.console.rules.zone);
    if filter.as_ref().is_ok_and(|filter| filter.phone.is_some()) || filter.as_ref().is_err_and(|key| *key == "phone") {
        visitor.needs(Role::Operator)?;
        if asked.phone.is_empty() {
            asked.phone = std::mem::take(&mut asked.order);
        }
        return list(&desk, &visitor, &asked, Err("in_address"), Whose::Anybodys).await;
    }
    let whose = match asked.contact.trim() {
        "" => Whose::Anybodys,
        contact => {
            visitor.needs(Role::Operator)?;
            let contact = contact.parse().map_err(|_| Trouble::Unknown)?;
            contacts::phone(&desk.doors.pools.ops, contact).await?.map_or(Whose::Nobodys, Whose::Theirs)
        }
    };
    list(&desk, &visitor, &asked, filter, whose).await
}

/// The page; instead of a filter there may be the name of what cannot be read.
async fn list(
    desk: &Desk,
    visitor: &Visitor,
    asked: &Asked,
    filter: Result<Filter, &'static str>,
    whose: Whose,
) -> Result<Response, Trouble> {
    let pool = &desk.doors.pools.ops;
    let (mut filter, wrong) = match filter {
        Ok(filter) => (filter, None),
        Err(wrong) => (Filter::default(), Some(wrong)),
    };
    let person = match &whose {
        Whose::Theirs(phone) => Some(phone.to_string()),
        Whose::Anybodys | Whose::Nobodys => None,
    };
    let found = match (wrong, whose) {
        (Some(_), _) => None,
        (None, Whose::Nobodys) => Some(listing::Page::default()),
        (None, Whose::Anybodys) => Some(listing::page(pool, &filter, PAGE).await?),
        (None, Whose::Theirs(phone)) => {
            filter.phone = Some(phone);
            Some(listing::page(pool, &filter, PAGE).await?)
        }
    };
    let mut elsewhere = story::Found::default();
    if found.as_ref().is_some_and(|found| found.items.is_empty())
        && let Some(word) = &filter.order
    {
        elsewhere = story::find(pool, word, ELSEWHERE).await?;
        if let ([id, ..], []) = (elsewhere.notifications.as_slice(), elsewhere.events.as_slice()) {
            // A notification's own id, or a provider's.
            return Ok(Redirect::to(&format!("{AT}/{id}")).into_response());
        }
        if visitor.caller.role < Role::Operator {
            // They are found by what stands in their bytes: whoever may try words would learn who is named there.
            elsewhere.rejected.clear();
        }
    }
    let (rows, next, looked_back_to) = match found {
        Some(found) => (found.items.into_iter().map(Row::of).collect(), found.next, found.looked_back_to),
        None => (Vec::new(), None, None),
    };
    let names = senders::all(pool).await?.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    let reasons = if counted(&filter) { reasons(desk, visitor, &filter).await? } else { Vec::new() };
    let query = asked.query();
    let more = next.map(|next| {
        let mark = if query.is_empty() { "" } else { "&" };
        format!("{AT}?{query}{mark}cursor={}", next.simple())
    });
    let values = context! {
        all => Serde(wish(&filter, asked)),
        asked => Serde(asked),
        person,
        wrong,
        rows => Serde(&rows),
        more,
        query,
        first => asked.cursor.is_empty(),
        looked_back_to => looked_back_to.map(|at| at.to_string()),
        states => STATES,
        receipts => RECEIPTS,
        waits => Wait::ALL.map(Wait::as_str),
        senders => names,
        reasons => Serde(&reasons),
        reasons_title => match (filter.since, filter.until) {
            (Some(_), _) => "reasons",
            (None, Some(_)) => "reasons_day_before",
            (None, None) => "reasons_last_day",
        },
        any_reason => asked.query_but("reason"),
        events => Serde(elsewhere.events.into_iter().map(Event::of).collect::<Vec<_>>()),
        rejected => Serde(&elsewhere.rejected),
    };
    Ok(visitor.page(desk, "notifications", "notifications.html", values))
}

/// The same as a plan is asked for it, by the names of its keys; a person by their contact.
fn wish(filter: &Filter, asked: &Asked) -> BTreeMap<&'static str, String> {
    let pairs = [
        ("order", filter.order.clone()),
        ("contact", filter.phone.as_ref().map(|_| asked.contact.trim().to_owned())),
        ("state", filter.state.map(str::to_owned)),
        ("reason", filter.reason.clone()),
        ("waiting_on", filter.waiting_on.map(|wait| wait.as_str().to_owned())),
        ("receipt", filter.receipt.map(str::to_owned)),
        ("template", filter.template.clone()),
        ("sender", filter.sender.clone()),
        ("since", filter.since.map(|at| at.to_string())),
        ("until", filter.until.map(|at| at.to_string())),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// An event that was looked for, whatever came of it.
#[derive(Serialize)]
struct Event {
    id: String,
    source: String,
    r#type: String,
    subject: Option<String>,
    received_at: Timestamp,
    /// Why no message followed.
    ignored: Option<String>,
    messages: usize,
}

impl Event {
    fn of(event: crate::domain::story::Event) -> Event {
        Event {
            id: event.id,
            source: event.source,
            r#type: event.r#type,
            subject: event.subject,
            received_at: event.received_at,
            ignored: event.ignored,
            messages: event.notifications.len(),
        }
    }
}

/// Whether the reasons of what is looked for are counted: by state, sender and time, and by nothing else.
fn counted(filter: &Filter) -> bool {
    let Filter {
        state,
        reason: _,
        waiting_on,
        receipt,
        order,
        phone,
        template,
        sender: _,
        since: _,
        until: _,
        before: _,
    } = filter;
    let others = waiting_on.is_some() || receipt.is_some() || order.is_some() || phone.is_some() || template.is_some();
    matches!(state, Some("failed" | "suppressed")) && !others
}

/// Why things ended so in the time that is asked for; in a day, if it has no beginning.
async fn reasons(desk: &Desk, visitor: &Visitor, filter: &Filter) -> Result<Vec<OfReason>, Trouble> {
    let until = filter.until.unwrap_or(visitor.now);
    let day = until.saturating_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(until);
    let since = filter.since.unwrap_or(day);
    let of = tallies::by_reason(&desk.doors.pools.ops, since, filter.until, filter.sender.as_deref()).await?;
    Ok(of.into_iter().filter(|of| Some(of.state.as_str()) == filter.state).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_a_browser_asks_it() {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        let asked = Asked {
            order: " order:7 ".into(),
            phone: " 34600111222".into(),
            state: "failed".into(),
            since: "2026-11-25T10:00".into(),
            until: "2026-11-25T10:00:00Z".into(),
            ..Asked::default()
        };
        let filter = asked.filter(&zone).unwrap();
        assert_eq!(filter.order.as_deref(), Some("order:7"));
        assert_eq!(filter.phone.unwrap().reveal(), "+34600111222");
        assert_eq!(filter.since.unwrap().to_string(), "2026-11-25T09:00:00Z");
        assert_eq!(filter.until.unwrap().to_string(), "2026-11-25T10:00:00Z");
        assert_eq!(
            asked.query(),
            "order=order%3A7&state=failed&since=2026-11-25T10%3A00&until=2026-11-25T10%3A00%3A00Z"
        );
        let of_person = Asked { order: "+34 600 111 222".into(), contact: "7".into(), ..Asked::default() };
        assert_eq!(of_person.address(), "/console/notifications?contact=7", "a number is in no address");
        assert_eq!(Asked::default().address(), "/console/notifications");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let zone = TimeZone::UTC;
        let wrong = |asked: Asked| asked.filter(&zone).unwrap_err();
        let typed = Asked { order: "+34 600 111 222".into(), ..Asked::default() }.filter(&zone).unwrap();
        assert!(typed.phone.is_some() && typed.order.is_none(), "a number where anything is looked for");
        assert_eq!(wrong(Asked { phone: "12".into(), ..Asked::default() }), "phone");
        assert_eq!(wrong(Asked { state: "lost".into(), ..Asked::default() }), "state");
        assert_eq!(wrong(Asked { since: "yesterday".into(), ..Asked::default() }), "since");
        assert_eq!(wrong(Asked { reason: "+34 600 111 222".into(), ..Asked::default() }), "name");
        assert!(Asked::default().filter(&zone).unwrap().order.is_none());
    }
}
