//! The page *Templates*: how each stands at its sender in each language, and what it says there.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use minijinja::{Value, context, value::Serde};

use super::{Refused, Visitor};
use crate::{
    db::{
        holds,
        templates::{self, Standing},
        versions::{self, Version},
    },
    domain::template::{Heading, formatted},
    http::Desk,
};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/templates", get(show))
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Refused> {
    let pool = &desk.doors.pools.ops;
    let standings: Vec<Standing> =
        templates::list(pool).await?.into_iter().filter(|one| desk.doors.senders.contains_key(&one.sender)).collect();
    let versions: BTreeMap<i32, Version> =
        versions::shown(pool).await?.into_iter().map(|version| (version.id, version)).collect();
    let holds = holds::in_force(pool).await?;
    let mut groups: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for one in &standings {
        let latest = || {
            let same = |version: &&Version| version.template == one.template && version.language == one.language;
            versions.values().filter(same).max_by_key(|version| version.number)
        };
        let version = one.version.and_then(|id| versions.get(&id)).or_else(latest);
        let held: Vec<_> = holds
            .iter()
            .filter(|hold| {
                let language = hold.language.as_ref().is_none_or(|language| *language == one.language);
                hold.template.as_ref() == Some(&one.template) && hold.sender.as_ref() == Some(&one.sender) && language
            })
            .collect();
        groups.entry(&one.template).or_default().push(context! {
            standing => Serde(one),
            drifted => one.drifted_from.is_some(),
            lang => one.language.replace('_', "-"),
            number => version.map(|version| version.number),
            bubble => version.map(bubble),
            held => Serde(&held),
        });
    }
    Ok(visitor.page(&desk, StatusCode::OK, "templates.html", context! { groups }))
}

/// What a person reads, as HTML; what a message fills in is marked.
fn bubble(version: &Version) -> Value {
    let of = &version.definition;
    let marked = |text: &str| {
        let text = formatted(text).replace("{{", "<mark>").replace("}}", "</mark>");
        Value::from_safe_string(text)
    };
    let buttons: Vec<_> = of.buttons.iter().map(|button| button.text.clone()).collect();
    context! {
        header => of.header.as_ref().map(|header| match header {
            Heading::Text(text) => marked(text),
            Heading::Media(kind) => Value::from(format!("[{kind}]")),
        }),
        body => marked(&of.body),
        footer => of.footer.clone(),
        buttons,
    }
}
