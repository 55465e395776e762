//! Who looks at a page: a session by its cookie. And the gate before all pages: nobody passes without a session, and nothing changes
//! that was not posted from a page of that very session.
//!
//! The cookie holds 32 random bytes, the database their hash. A page's forms hold what only the cookie's holder could compute.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use minijinja::{Value, context};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{shell, stream, trouble::Trouble};
use crate::{
    db::sessions,
    domain::role::Role,
    http::{Desk, auth, auth::Caller},
};

/// The largest form, as `routes` has it.
const FORM_MAX: usize = 64 * 1024;

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(in crate::http) struct Visitor {
    /// What goes into records: `user NAME` and the role.
    pub caller: Caller,
    /// One of [`shell::LANGUAGES`].
    pub language: &'static str,
    /// What a form must hold.
    pub csrf: String,
    /// When the request came.
    pub now: Timestamp,
    /// The session's hash.
    pub session: [u8; 32],
    /// A part of a page was asked for, not the whole.
    pub partly: bool,
    /// What the last page's action came to, by its text's key.
    pub said: Option<String>,
}

impl Visitor {
    /// The account's name.
    pub fn name(&self) -> &str {
        self.caller.name.strip_prefix("user ").unwrap_or(&self.caller.name)
    }

    /// Refuses whose role is below `least`.
    pub fn needs(&self, least: Role) -> Result<(), Trouble> {
        if self.caller.role >= least { Ok(()) } else { Err(Trouble::Refused(least)) }
    }

    /// A page, or what htmx puts into one.
    pub fn page(&self, desk: &Desk, section: &str, template: &str, values: Value) -> Response {
        self.page_with(StatusCode::OK, desk, section, template, values)
    }

    /// A page with a status of its own: 422 for a form that has to be mended.
    pub fn page_with(&self, status: StatusCode, desk: &Desk, section: &str, template: &str, values: Value) -> Response {
        desk.console.shell.page(status, self, section, template, values)
    }

    /// A part of a page that is told by itself.
    pub fn part(&self, desk: &Desk, template: &str, values: Value) -> String {
        desk.console.shell.part(self, template, values)
    }
}

impl FromRequestParts<Arc<Desk>> for Visitor {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Desk>) -> Result<Visitor, Trouble> {
        // A route that `admit` does not stand before is a mistake of ours.
        parts.extensions.get::<Visitor>().cloned().ok_or(Trouble::Ours)
    }
}

/// How the session's cookie is written and read, and which origin is ours.
pub(super) struct Cookies {
    origin: String,
    secure: bool,
}

impl Cookies {
    pub(super) fn new(base_url: &str) -> Cookies {
        let origin = reqwest::Url::parse(base_url).map(|url| url.origin().ascii_serialization());
        Cookies { origin: origin.unwrap_or_default(), secure: base_url.starts_with("https://") }
    }

    fn name(&self) -> &'static str {
        if self.secure { "__Host-recado_console" } else { "recado_console" }
    }

    /// Hands out a token; an empty one takes it back.
    pub(super) fn give(&self, token: &str) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let ends = if token.is_empty() { "; Max-Age=0" } else { "" };
        let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{ends}{secure}", self.name());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// The token that the browser holds.
    pub(super) fn held(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, token) = pairs.find(|(name, _)| *name == self.name())?;
        let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        (token.len() == 46 && plain).then(|| token.to_owned())
    }

    /// Whether a post comes from a page of ours, as far as the browser says.
    pub(super) fn is_ours(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        match (text(header::ORIGIN), text(header::HOST)) {
            (Some(origin), _) if origin == self.origin => true,
            (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, named)| named == host),
            (Some(_), None) => false,
            (None, _) => headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none"),
        }
    }
}

/// What a page's forms hold: only who has the cookie's token can tell it.
pub(super) fn csrf(token: &str) -> String {
    auth::spell(&Sha256::digest(format!("recado form {token}")).into())
}

/// Lets in who is logged in, lets change what comes from their own page, and makes pages of what went wrong.
pub(super) async fn admit(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let partly = headers.contains_key("hx-request") && !headers.contains_key("hx-boosted");
    let language = shell::spoken(headers);
    let token = desk.console.cookies.held(headers);
    let holder = match &token {
        Some(token) => {
            let (idle, acts) = (desk.console.rules.idle_timeout, !stream::is_at(&parts.uri));
            sessions::recognise(&desk.doors.pools.ops, &auth::hash(token), idle, acts).await
        }
        None => Ok(None),
    };
    let (token, holder) = match (token, holder) {
        (Some(token), Ok(Some(holder))) => (token, holder),
        (_, Ok(_)) if stream::is_at(&parts.uri) => return stream::refused(&desk, language, &parts.uri),
        (_, Ok(_)) => return to_login(&parts, partly),
        (_, Err(error)) => {
            let (status, key) = Trouble::from(error).says();
            return desk.console.shell.render(status, language, "shell", "bare.html", context! { key });
        }
    };
    let chosen = holder.language.and_then(|wanted| shell::LANGUAGES.into_iter().find(|known| *known == wanted));
    let visitor = Visitor {
        caller: Caller { name: format!("user {}", holder.name), role: holder.role },
        language: chosen.unwrap_or(language),
        csrf: csrf(&token),
        now: desk.doors.clock.now(),
        session: auth::hash(&token),
        partly,
        said: said(parts.uri.query()),
    };
    let mut response = match changes_rightly(&desk, &visitor, parts, body).await {
        Ok(mut request) => {
            request.extensions_mut().insert(visitor.clone());
            next.run(request).await
        }
        Err(trouble) => trouble.into_response(),
    };
    let Some(trouble) = response.extensions_mut().remove::<Trouble>() else { return response };
    let (status, key) = trouble.says();
    let needed = match trouble {
        Trouble::Refused(role) => Some(role.as_str()),
        Trouble::Stranger | Trouble::Unknown | Trouble::Unreadable | Trouble::Busy | Trouble::Ours => None,
    };
    visitor.page_with(status, &desk, "shell", "trouble.html", context! { key, needed, partly })
}

/// The request, if it changes nothing or was posted from a page of this session.
async fn changes_rightly(desk: &Desk, visitor: &Visitor, parts: Parts, body: Body) -> Result<Request, Trouble> {
    if parts.method == Method::GET || parts.method == Method::HEAD {
        return Ok(Request::from_parts(parts, body));
    }
    if !desk.console.cookies.is_ours(&parts.headers) {
        return Err(Trouble::Stranger);
    }
    let bytes = axum::body::to_bytes(body, FORM_MAX).await.map_err(|_| Trouble::Unreadable)?;
    let header = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let given = header.or_else(|| field(&bytes, "csrf")).unwrap_or_default();
    if !bool::from(given.as_bytes().ct_eq(visitor.csrf.as_bytes())) {
        return Err(Trouble::Stranger);
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A form's first field of this name.
pub(super) fn field(bytes: &Bytes, name: &str) -> Option<String> {
    form_urlencoded::parse(bytes).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn said(query: Option<&str>) -> Option<String> {
    let (_, key) = form_urlencoded::parse(query?.as_bytes()).find(|(key, _)| key == "said")?;
    let plain = key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    plain.then(|| key.into_owned())
}

/// A page's address without the phone number that somebody wrote into it.
fn numberless(uri: &Uri) -> String {
    let pairs: Vec<&str> = uri.query().into_iter().flat_map(|query| query.split('&')).collect();
    let kept: Vec<&str> = pairs.into_iter().filter(|pair| !pair.starts_with("phone=")).collect();
    if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) }
}

fn to_login(parts: &Parts, partly: bool) -> Response {
    // Back to the page, not to a part of it or to what was posted.
    let back = (parts.method == Method::GET && !partly).then(|| numberless(&parts.uri));
    let next: String = form_urlencoded::byte_serialize(back.unwrap_or_default().as_bytes()).collect();
    let login = if next.is_empty() { "/console/login".to_owned() } else { format!("/console/login?next={next}") };
    if !partly {
        return Redirect::to(&login).into_response();
    }
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    response.headers_mut().insert("hx-redirect", HeaderValue::from_static("/console/login"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_post_is_ours_from_our_address_or_from_the_one_that_was_asked() {
        let cookies = Cookies::new("https://recado.example.com");
        for (given, ours) in [
            (&[("origin", "https://recado.example.com"), ("host", "10.0.0.5:8080")][..], true),
            (&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")], true),
            (&[("origin", "https://evil.example"), ("host", "recado.example.com")], false),
            (&[("origin", "null"), ("host", "recado.example.com")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[], true),
        ] {
            assert_eq!(cookies.is_ours(&headers(given)), ours, "{given:?}");
        }
    }

    #[test]
    fn the_cookie_is_for_us_alone_and_only_a_token_is_read() {
        let (far, near) = (Cookies::new("https://recado.example.com"), Cookies::new("http://127.0.0.1:8080"));
        let given = far.give("rk_x").to_str().unwrap().to_owned();
        assert_eq!(given, "__Host-recado_console=rk_x; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert!(!near.give("rk_x").to_str().unwrap().contains("Secure"));
        let token = auth::spell(&[7; 32]);
        let mut held = HeaderMap::new();
        held.insert(header::COOKIE, HeaderValue::from_str(&format!("a=b; recado_console={token}")).unwrap());
        assert_eq!(near.held(&held), Some(token));
        assert_eq!(far.held(&held), None);
        assert_eq!(near.held(&headers(&[("cookie", "recado_console=short")])), None);
    }

    #[test]
    fn only_a_plain_key_is_said() {
        assert_eq!(said(Some("x=1&said=done")), Some("done".to_owned()));
        assert_eq!(said(Some("said=%3Cb%3E")), None);
        assert_eq!(said(None), None);
    }
}
