//! In and out: name and password against a session. Few tries for an address and for a name, and the same answer whatever was wrong.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use minijinja::context;
use secrecy::SecretString;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{HOME, Posted, visitor};
use crate::{
    db::users,
    domain::opt_in::Token,
    http::{
        Desk, Problem,
        optin::{Peer, wishes},
        password,
    },
};

/// Tries at once, of an address and of a name; then one a minute.
const TRIES: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Above so many the old ones are forgotten.
const REMEMBERED: usize = 10_000;

/// Who tried how often.
pub(super) struct Attempts {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    names: DefaultKeyedRateLimiter<[u8; 32]>,
}

impl Default for Attempts {
    fn default() -> Attempts {
        let quota = || Quota::per_minute(NonZeroU32::MIN).allow_burst(TRIES);
        Attempts { addresses: RateLimiter::keyed(quota()), names: RateLimiter::keyed(quota()) }
    }
}

impl Attempts {
    fn admit(&self, address: Option<IpAddr>, name: &str) -> bool {
        if self.addresses.len() + self.names.len() > REMEMBERED {
            self.addresses.retain_recent();
            self.names.retain_recent();
        }
        let name: [u8; 32] = Sha256::digest(name.trim().to_lowercase()).into();
        let address = address.is_none_or(|address| self.addresses.check_key(&address).is_ok());
        address && self.names.check_key(&name).is_ok()
    }
}

#[derive(Deserialize)]
pub(super) struct Way {
    #[serde(default)]
    next: String,
}

struct Given {
    name: String,
    password: SecretString,
    next: String,
}

impl Given {
    fn read(body: &[u8]) -> Given {
        let mut given = Given { name: String::new(), password: SecretString::default(), next: String::new() };
        for (key, value) in form_urlencoded::parse(body) {
            match key.as_ref() {
                "name" => given.name = value.trim().to_owned(),
                "password" => given.password = value.into_owned().into(),
                "next" => given.next = value.into_owned(),
                _ => {}
            }
        }
        given
    }
}

pub(super) async fn show(State(desk): State<Arc<Desk>>, Query(way): Query<Way>, headers: HeaderMap) -> Response {
    page(&desk, &headers, StatusCode::OK, &way.next, None)
}

fn page(desk: &Desk, headers: &HeaderMap, status: StatusCode, next: &str, wrong: Option<&str>) -> Response {
    let pages = &desk.console.pages;
    pages.render(status, "login.html", pages.spoken(&wishes(headers)), context! { next, wrong })
}

pub(super) async fn enter(
    State(desk): State<Arc<Desk>>,
    peer: Option<axum::Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let given = Given::read(&body);
    let refuse = |status, wrong| Ok(page(&desk, &headers, status, &given.next, Some(wrong)));
    if !visitor::is_ours(&desk.console, &headers) {
        return refuse(StatusCode::FORBIDDEN, "elsewhere");
    }
    let address = desk.reception.gate.address(&headers, peer.map(|peer| peer.0));
    if !desk.console.attempts.admit(address, &given.name) {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "too_often");
    }
    let pool = &desk.doors.pools.ops;
    let known = users::find(pool, &given.name).await?.filter(|known| !known.disabled);
    let fits = password::fits(given.password.clone(), known.as_ref().map(|known| known.password.clone())).await;
    let Some(known) = known.filter(|_| fits) else {
        // Only names that exist are repeated in the record.
        let name = users::find(pool, &given.name).await?.map(|known| known.name);
        users::refused(pool, name.as_deref()).await?;
        return refuse(StatusCode::UNAUTHORIZED, "wrong");
    };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The system gives no randomness; ask again."))?;
    let token = Token::of(&secret);
    users::begin(pool, known.id, &token.hash()).await?;
    let lasts = desk.doors.limits.console.lasts;
    let to = if is_here(&given.next) { given.next.as_str() } else { HOME };
    Ok(([(header::SET_COOKIE, cookie(&desk, token.reveal(), lasts))], Redirect::to(to)).into_response())
}

pub(super) async fn leave(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Response, Problem> {
    users::end(&desk.doors.pools.ops, &posted.visitor.session, desk.doors.limits.console.lasts).await?;
    let gone = cookie(&desk, "", Duration::ZERO);
    Ok(([(header::SET_COOKIE, gone)], Redirect::to("/console/login")).into_response())
}

pub(super) async fn speak(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Response, Problem> {
    let locale = desk.console.pages.known(posted.field("language"));
    users::speak(&desk.doors.pools.ops, &posted.visitor.name, locale).await?;
    let back = posted.field("next");
    Ok(Redirect::to(if is_here(back) { back } else { HOME }).into_response())
}

fn cookie(desk: &Desk, secret: &str, lasts: Duration) -> String {
    let secure = if desk.console.secure() { "; Secure" } else { "" };
    let name = visitor::cookie_name(&desk.console);
    format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", lasts.as_secs())
}

/// An address of the console, and of no other host.
fn is_here(path: &str) -> bool {
    let of_console = path == "/console" || path.starts_with("/console/") || path.starts_with("/console?");
    of_console && !path.contains(['\\', '\r', '\n']) && !path.starts_with("/console/login")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comes_back_to_the_console_and_nowhere_else() {
        assert!(is_here("/console/notifications?state=failed"));
        for path in
            ["", "//evil.example", "https://evil.example/console", "/console.evil", "/console/\\evil", "/console/login"]
        {
            assert!(!is_here(path), "{path}");
        }
    }

    #[test]
    fn the_eleventh_try_of_a_name_is_refused_from_wherever_it_comes() {
        let attempts = Attempts::default();
        let from = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        assert!((0..10).all(|n| attempts.admit(from(n), "Ana")));
        assert!(!attempts.admit(from(11), " ana"));
        assert!(attempts.admit(from(12), "eva"));
    }
}
