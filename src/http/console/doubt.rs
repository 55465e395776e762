//! What is in doubt, as a list of work: since when, which evidence is missing, what follows by itself and when.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, response::Response, routing::get};
use jiff::Timestamp;
use minijinja::{context, value::Serde};
use serde::Serialize;
use uuid::Uuid;

use super::{Part, template, texts, trouble::Trouble, visitor::Visitor};
use crate::{
    db::{
        doubt::{self, Terms},
        listing::{self, Item},
        senders,
    },
    domain::{
        action::{Action, Standing, StateName, judge},
        doubt::{Missing, Verdict, foretell},
        phone::Phone,
    },
    http::Desk,
};

pub(super) const PART: Part = Part { name: "doubt", templates: &[template!("doubt.html")], texts: texts!("doubt") };

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/doubt", get(list))
}

/// The oldest so many are shown.
const SHOWN: i64 = 50;

#[derive(Serialize)]
struct Row {
    id: Uuid,
    since: Timestamp,
    attempt: i16,
    phone: Option<String>,
    template: String,
    sender: String,
    subject: Option<String>,
    event_id: String,
    /// The name of the text that says what is missing.
    missing: &'static str,
    then: &'static str,
    at: Timestamp,
    /// It may be sent once more.
    resend: bool,
}

async fn list(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    let (pool, bounds) = (&desk.doors.pools.ops, &desk.doors.bounds);
    let listed: Vec<i16> = senders::all(pool)
        .await?
        .into_iter()
        .filter(|(_, name)| bounds.senders.get(name).is_some_and(|bound| bound.listed))
        .map(|(id, _)| id)
        .collect();
    let terms = Terms {
        mark: doubt::last_webhook(pool).await?,
        later_attempts: i64::try_from(bounds.patience.later_attempts).unwrap_or(i64::MAX),
        gone_after: bounds.gone_after,
        listed: &listed,
        limit: SHOWN,
        after: None,
    };
    let (cases, now) = doubt::cases(pool, terms).await?;
    let ids: Vec<Uuid> = cases.iter().map(|(attempt, _)| attempt.notification).collect();
    let mut items: BTreeMap<Uuid, Item> =
        listing::items(pool, &ids).await?.into_iter().map(|item| (item.id, item)).collect();
    let mut rows = Vec::with_capacity(cases.len());
    for (attempt, case) in &cases {
        let Some(item) = items.remove(&attempt.notification) else { continue };
        let outlook = foretell(case, &bounds.patience, now);
        let standing = Standing {
            state: StateName::InDoubt,
            reason: None,
            expired: case.expires_at <= now,
            kept: item.kept,
            followed: false,
        };
        rows.push(Row {
            id: item.id,
            since: case.since,
            attempt: attempt.number,
            phone: item.phone.as_ref().map(Phone::to_string),
            template: item.template,
            sender: item.sender,
            subject: item.subject,
            event_id: item.event_id,
            missing: match outlook.missing {
                Missing::Others => "missing_others",
                Missing::Door => "missing_door",
                Missing::Unread => "missing_unread",
                Missing::Look => "missing_look",
                Missing::Nothing => "missing_nothing",
            },
            then: match outlook.then {
                Verdict::Resend => "then_resend",
                Verdict::GiveUp | Verdict::Wait => "then_give_up",
            },
            at: outlook.at,
            resend: judge(Action::Resend, &standing).is_ok(),
        });
    }
    let more = i64::try_from(cases.len()).is_ok_and(|n| n >= SHOWN);
    Ok(visitor.page(&desk, "doubt", "doubt.html", context! { rows => Serde(&rows), more, shown => SHOWN }))
}
