//! Who is in the console: known by a cookie whose hash is in the database, and proven to post from our own pages.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use minijinja::{Value, context};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Console, NAV};
use crate::{
    db::{self, keys::Role, users},
    domain::opt_in::Token,
    http::{Desk, Problem, optin::wishes},
};

/// Somebody who logged in.
#[derive(Debug, Clone)]
pub(in crate::http) struct Visitor {
    pub name: String,
    pub role: Role,
    /// Of the pages: `en`, `es`, `pt_BR`.
    pub language: &'static str,
    /// What a form of ours sends along.
    pub csrf: String,
    /// The address that was asked for, to mark it in the navigation.
    path: String,
    pub(super) session: [u8; 32],
}

/// Why a handler does not do what was asked: a page that says so, or a problem of the database.
pub(in crate::http) struct Refused(Box<Response>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Response> for Refused {
    fn from(page: Response) -> Refused {
        Refused(Box::new(page))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        problem.into_response().into()
    }
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Refused {
        Problem::from(error).into()
    }
}

/// What was posted by a page of ours, by somebody who is logged in.
pub(in crate::http) struct Posted {
    pub visitor: Visitor,
    fields: Vec<(String, String)>,
}

impl Visitor {
    /// For the record of what they did.
    pub(in crate::http) fn by(&self) -> String {
        format!("user {}", self.name)
    }

    /// Refuses whose role is below `least`, with a page that says so.
    pub(in crate::http) fn needs(&self, desk: &Desk, least: Role) -> Result<(), Refused> {
        if self.role >= least {
            return Ok(());
        }
        let needed = desk.console.pages.text(self.language, "shell", least.as_str());
        let values = context! { heading_key => "refused_title", message_key => "refused", needed };
        Err(self.page(desk, StatusCode::FORBIDDEN, "message.html", values).into())
    }

    /// A page with the shell around it. `values` are its own; every page has `t` (texts by file and key), `lang`, `visitor`, `role`,
    /// `csrf`, `operator`, `admin` and `nav`.
    pub(in crate::http) fn page(&self, desk: &Desk, status: StatusCode, name: &str, values: Value) -> Response {
        let nav: Vec<_> = NAV
            .iter()
            .filter(|(.., least)| self.role >= *least)
            .map(|(key, path, _)| {
                let here = self.path == *path || self.path.starts_with(&format!("{path}/"));
                context! { key => *key, path => *path, here }
            })
            .collect();
        let all = context! {
            visitor => self.name.as_str(),
            role => self.role.as_str(),
            operator => self.role >= Role::Operator,
            admin => self.role >= Role::Admin,
            csrf => self.csrf.as_str(),
            nav,
            ..values
        };
        desk.console.pages.render(status, name, self.language, all)
    }

    /// A page that says that there is nothing at this address.
    pub(in crate::http) fn nothing(&self, desk: &Desk) -> Response {
        let values = context! { heading_key => "nothing_title", message_key => "nothing" };
        self.page(desk, StatusCode::NOT_FOUND, "message.html", values)
    }

    /// A page that says that something was not as it has to be; `why` is a sentence.
    pub(in crate::http) fn wrong(&self, desk: &Desk, why: &str) -> Response {
        let values = context! { heading_key => "wrong_title", why };
        self.page(desk, StatusCode::UNPROCESSABLE_ENTITY, "message.html", values)
    }
}

impl Posted {
    /// A field's text without blanks around it; empty if it is not there.
    pub(in crate::http) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }
}

/// The name of the session's cookie. One that only https may set cannot be planted by a neighbour.
pub(super) fn cookie_name(console: &Console) -> &'static str {
    if console.secure() { "__Host-recado-console" } else { "recado-console" }
}

/// The session that a browser holds.
pub(super) fn held(console: &Console, headers: &HeaderMap) -> Option<Token> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, secret) = pairs.find(|(name, _)| *name == cookie_name(console))?;
    Token::read(secret)
}

/// Whether a request that changes something was made by a page of ours, as far as the browser says where it was made.
pub(super) fn is_ours(console: &Console, headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), host) => {
            let named =
                host.is_some_and(|host| origin == format!("http://{host}") || origin == format!("https://{host}"));
            named || console.origin.as_deref() == Some(origin)
        }
        (None, _) => headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin"),
    }
}

fn csrf(session: &Token) -> String {
    let mut hash = Sha256::new();
    hash.update(b"recado console form ");
    hash.update(session.reveal());
    Token::of(&hash.finalize().into()).reveal().to_owned()
}

/// To the login page, and back afterwards.
fn away(method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
    let path =
        if method == Method::GET { uri.path_and_query().map_or("/console", |path| path.as_str()) } else { "/console" };
    let back: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    let to = format!("/console/login?next={back}");
    if headers.contains_key("hx-request") {
        let to = HeaderValue::from_str(&to).unwrap_or(HeaderValue::from_static("/console/login"));
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", to)]).into_response();
    }
    Redirect::to(&to).into_response()
}

impl FromRequestParts<Arc<Desk>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Visitor, Response> {
        let out = |parts: &Parts| away(&parts.method, &parts.uri, &parts.headers);
        let Some(token) = held(&desk.console, &parts.headers) else { return Err(out(parts)) };
        let session = token.hash();
        let rules = desk.doors.limits.console;
        let present = users::recognise(&desk.doors.pools.ops, &session, rules.idle, rules.lasts).await;
        let Some(present) = present.map_err(|error| Problem::from(error).into_response())? else {
            return Err(out(parts));
        };
        let pages = &desk.console.pages;
        let language = present.locale.as_deref().and_then(|locale| pages.known(locale));
        let language = language.unwrap_or_else(|| pages.spoken(&wishes(&parts.headers)));
        let path = parts.uri.path().to_owned();
        Ok(Visitor { name: present.name, role: present.role, language, csrf: csrf(&token), path, session })
    }
}

impl FromRequest<Arc<Desk>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Posted, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, desk).await?;
        let ours = is_ours(&desk.console, &parts.headers);
        let body =
            Bytes::from_request(Request::from_parts(parts, body), desk).await.map_err(IntoResponse::into_response)?;
        let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        let given = fields.iter().find(|(key, _)| key == "csrf").map_or("", |(_, value)| value.as_str());
        if !ours || !bool::from(given.as_bytes().ct_eq(visitor.csrf.as_bytes())) {
            let values = context! { heading_key => "stale_title", message_key => "stale" };
            return Err(visitor.page(desk, StatusCode::FORBIDDEN, "message.html", values));
        }
        Ok(Posted { visitor, fields })
    }
}
