//! What somebody gets, and how they stop it: behind a link that nobody can guess.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Extension, Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use minijinja::context;
use serde_json::json;

use super::{
    asking::{language, see_other, user_agent},
    guard::Peer,
    random, token_id,
};
use crate::{
    db::{
        consents::{self, Who},
        opt_ins, preferences,
    },
    domain::{
        form::Form,
        ledger::{Act, EVERYTHING, State as Standing},
        opt_in::{PREFERENCES_LAST, Token},
    },
    http::{Desk, Problem},
};

/// A new link to this person's preferences.
pub(super) async fn link(desk: &Desk, contact: i64) -> Result<String, Problem> {
    let token = Token::of(&random()?);
    let until = desk.doors.clock.now().saturating_add(PREFERENCES_LAST).unwrap_or(jiff::Timestamp::MAX);
    preferences::keep_link(&desk.doors.pools.public, contact, &token.hash(), until).await?;
    Ok(format!("{}/preferences/{}", desk.reception.public.base_url, token.reveal()))
}

/// The form by which this person was asked, or any.
async fn form(desk: &Desk, contact: i64) -> Option<&Form> {
    let forms = &desk.reception.public.forms;
    let last = opt_ins::last_form(&desk.doors.pools.public, &[contact]).await.ok().flatten();
    last.and_then(|(name, _)| forms.get(&name)).or_else(|| forms.iter().next())
}

pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(token): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let pages = &desk.reception.pages;
    let Some(secret) = Token::read(&token) else { return pages.unknown(&headers) };
    let found = match preferences::behind(&desk.doors.pools.public, &secret.hash()).await {
        Ok(found) => found,
        Err(_) => return pages.sorry(&headers, None),
    };
    let Some((contact, locale, standings)) = found else { return pages.unknown(&headers) };
    let form = form(&desk, contact).await;
    let language = locale.unwrap_or_else(|| {
        form.map_or_else(|| pages.spoken(&headers), |form| language(form, None, &headers).to_owned())
    });
    let wording = form.and_then(|form| form.wording(&language));
    let of_form = form.map(|form| form.purposes.clone()).unwrap_or_default();
    let others = standings.keys().filter(|purpose| *purpose != EVERYTHING && !of_form.contains(purpose)).cloned();
    let granted = |purpose: &str| standings.get(purpose).is_some_and(|standing| standing.state == Standing::Granted);
    let purposes: Vec<_> = of_form
        .iter()
        .cloned()
        .chain(others)
        .map(|purpose| {
            context! {
                label => wording.and_then(|wording| wording.purposes.get(&purpose)).unwrap_or(&purpose),
                granted => granted(&purpose), name => purpose,
            }
        })
        .collect();
    let values = context! {
        any => standings.keys().any(|purpose| granted(purpose)),
        whole => of_form.iter().all(|purpose| granted(purpose)),
        purposes,
        action => format!("/preferences/{token}"),
        stopped => uri.query() == Some("stopped"),
        form_url => form.map(|form| format!("/opt-in/{}?lang={language}", form.name)),
    };
    pages.page(StatusCode::OK, "preferences.html", &language, form, values)
}

/// Ends one purpose, or all of them.
pub(super) async fn stop(
    State(desk): State<Arc<Desk>>,
    Path(token): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let pages = &desk.reception.pages;
    let Some(secret) = Token::read(&token) else { return pages.unknown(&headers) };
    let found = match preferences::behind(&desk.doors.pools.public, &secret.hash()).await {
        Ok(found) => found,
        Err(_) => return pages.sorry(&headers, None),
    };
    let Some((contact, _, standings)) = found else { return pages.unknown(&headers) };
    let purposes: Vec<String> = form_urlencoded::parse(&body)
        .filter(|(name, value)| name == "stop" && (value == EVERYTHING || standings.contains_key(value.as_ref())))
        .map(|(_, value)| value.into_owned())
        .take(50)
        .collect();
    let purposes: Vec<&str> = purposes.iter().map(String::as_str).collect();
    let address = desk.reception.gate.address(&headers, peer.map(|Extension(peer)| peer));
    let evidence = json!({
        "by": "preferences", "token": token_id(&secret), "from": {"address": address, "user_agent": user_agent(&headers)},
    });
    let (pool, now) = (&desk.doors.pools.public, desk.doors.clock.now());
    match consents::record(pool, Who::Contact(contact), Act::Revoked, &purposes, evidence, now).await {
        Ok(recorded) => {
            tracing::info!(entries = recorded.entries.len(), by = "preferences", "consent.revoked");
            see_other(&format!("/preferences/{token}?stopped"))
        }
        Err(_) => pages.sorry(&headers, None),
    }
}
