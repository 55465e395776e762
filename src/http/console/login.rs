//! Coming in and leaving. Whoever tries learns the same, as slowly, of a wrong password and of an account that is none.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::{Extension, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use minijinja::context;
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{
    Part, passwords, shell, template, texts,
    trouble::Trouble,
    visitor::{Visitor, csrf, field},
};
use crate::{
    config::{self, Network},
    db::{
        audit::{Act, note},
        sessions, users,
    },
    http::{
        Desk, auth,
        brake::Brake,
        optin::{Peer, behind, household},
    },
};

pub(super) const PART: Part = Part { name: "login", templates: &[template!("login.html")], texts: texts!("login") };

pub(super) fn routes(_: &Arc<Desk>) -> Router<Arc<Desk>> {
    Router::new().route("/console/login", get(show).post(enter))
}

/// How often somebody may try.
pub(super) struct Guard {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    accounts: DefaultKeyedRateLimiter<[u8; 32]>,
    tidying: Brake,
    trusted: Vec<Network>,
}

/// Above so many the old ones are forgotten.
const KEPT_MAX: usize = 20_000;

impl Guard {
    pub(super) fn new(rules: &config::Console, trusted: &[Network]) -> Guard {
        let hourly = |tries| Quota::per_hour(NonZeroU32::new(tries).unwrap_or(NonZeroU32::MIN));
        Guard {
            addresses: RateLimiter::keyed(hourly(rules.logins_per_address)),
            accounts: RateLimiter::keyed(hourly(rules.logins_per_account)),
            tidying: Brake::default(),
            trusted: trusted.to_vec(),
        }
    }

    pub(super) fn admits(&self, address: Option<IpAddr>, name: &str, now: Instant) -> bool {
        if self.addresses.len().max(self.accounts.len()) > KEPT_MAX && self.tidying.lets(now) {
            self.addresses.retain_recent();
            self.accounts.retain_recent();
        }
        // Who has no turn left for their address spoils none of the account's.
        address.is_none_or(|address| self.addresses.check_key(&household(address)).is_ok())
            && self.accounts.check_key(&auth::hash(name)).is_ok()
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
    #[serde(default)]
    said: String,
}

/// A page of the console, or its beginning.
fn safe(next: &str) -> &str {
    let ours = next == "/console" || next.starts_with("/console/") || next.starts_with("/console?");
    if ours && next.len() < 2_000 && next.bytes().all(|byte| byte.is_ascii_graphic()) { next } else { "/console" }
}

async fn show(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    query: Result<Query<Next>, QueryRejection>,
) -> Response {
    let Query(query) = query.unwrap_or_default();
    let key = if query.said == "left" { "left" } else { "" };
    form(&desk, &headers, StatusCode::OK, key, "", &query.next).await
}

/// The form, with a token that no session has if the browser holds none.
async fn form(desk: &Desk, headers: &HeaderMap, status: StatusCode, key: &str, name: &str, next: &str) -> Response {
    let language = shell::spoken(headers);
    let held = desk.console.cookies.held(headers);
    let (token, new) = match held {
        Some(token) => (token, false),
        None => {
            let Some(token) = new_token() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
            (token, true)
        }
    };
    let any = users::any(&desk.doors.pools.ops).await.unwrap_or(true);
    let values = context! { csrf => csrf(&token), key, name, next => safe(next), any };
    let mut response = desk.console.shell.render(status, language, "login", "login.html", values);
    if new {
        response.headers_mut().insert(header::SET_COOKIE, desk.console.cookies.give(&token));
    }
    response
}

fn new_token() -> Option<String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).ok()?;
    Some(auth::spell(&secret))
}

async fn enter(
    State(desk): State<Arc<Desk>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name| field(&body, name).unwrap_or_default();
    let (name, next) = (text("name").trim().to_ascii_lowercase(), text("next"));
    // Without a cookie anybody knows what a form would hold.
    let held = desk.console.cookies.held(&headers).filter(|held| {
        let own: bool = text("csrf").as_bytes().ct_eq(csrf(held).as_bytes()).into();
        own && desk.console.cookies.is_ours(&headers)
    });
    let Some(held) = held else {
        return form(&desk, &headers, StatusCode::FORBIDDEN, "stranger", &name, &next).await;
    };
    let address = behind(&desk.console.guard.trusted, &headers, peer.map(|Extension(peer)| peer));
    if !desk.console.guard.admits(address, &name, desk.doors.clock.instant()) {
        tracing::warn!("console.login: too many tries");
        return form(&desk, &headers, StatusCode::TOO_MANY_REQUESTS, "often", &name, &next).await;
    }
    match log_in(&desk, &name, text("password"), address).await {
        Ok(Some(token)) => {
            let _ = sessions::end(&desk.doors.pools.ops, &auth::hash(&held)).await;
            let mut response = Redirect::to(safe(&next)).into_response();
            response.headers_mut().insert(header::SET_COOKIE, desk.console.cookies.give(&token));
            response
        }
        Ok(None) => form(&desk, &headers, StatusCode::UNPROCESSABLE_ENTITY, "wrong", &name, &next).await,
        Err(trouble) => {
            let (status, _) = trouble.says();
            form(&desk, &headers, status, "busy", &name, &next).await
        }
    }
}

/// A new session's token, if the password is the account's.
async fn log_in(desk: &Desk, name: &str, password: String, address: Option<IpAddr>) -> Result<Option<String>, Trouble> {
    let pool = &desk.doors.pools.ops;
    let from = address.map(|address| address.to_string());
    let stored = users::find(pool, name).await?;
    let right = password.len() <= 4 * passwords::LENGTH.end()
        && passwords::is(password, stored.as_ref().map(|stored| stored.password.clone())).await;
    if let (true, Some(stored)) = (right, &stored) {
        let token = new_token().ok_or(Trouble::Busy)?;
        let lasts = desk.console.rules.session_timeout;
        sessions::begin(pool, stored.id, &stored.name, auth::hash(&token), lasts, from).await?;
        tracing::info!("console.login");
        return Ok(Some(token));
    }
    // What was typed as a name may be a password.
    let on = stored.as_ref().map(|stored| stored.name.as_str());
    let by = on.map_or("user ?".to_owned(), |name| format!("user {name}"));
    note(pool, &Act { by: &by, what: "login.refused", on, reason: None, detail: json!({"from": from}) }).await?;
    tracing::warn!("console.login: refused");
    Ok(None)
}

/// Ends the session.
pub(super) async fn leave(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    sessions::end(&desk.doors.pools.ops, &visitor.session).await?;
    let mut response = Redirect::to("/console/login?said=left").into_response();
    response.headers_mut().insert(header::SET_COOKIE, desk.console.cookies.give(""));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_ours_and_nowhere_else() {
        for (next, leads) in [
            ("/console/audit?who=x", "/console/audit?who=x"),
            ("/console", "/console"),
            ("//evil.example", "/console"),
            ("https://evil.example/console/", "/console"),
            ("/consolevil", "/console"),
            ("/console/\r\nx: y", "/console"),
        ] {
            assert_eq!(safe(next), leads);
        }
    }

    #[test]
    fn one_address_and_one_account_have_so_many_tries() {
        let rules = config::Console { logins_per_address: 2, logins_per_account: 1, ..config::Console::default() };
        let guard = Guard::new(&rules, &[]);
        let (address, now) = (|text: &str| Some(text.parse().unwrap()), Instant::now());
        assert!(guard.admits(address("198.51.100.1"), "ana", now));
        assert!(!guard.admits(address("198.51.100.2"), "ana", now), "an account has its own limit");
        assert!(guard.admits(address("198.51.100.1"), "bea", now));
        assert!(!guard.admits(address("198.51.100.1"), "eva", now), "an address too");
        assert!(guard.admits(address("198.51.100.3"), "eva", now), "who was stopped at the address spoilt nothing");
    }
}
