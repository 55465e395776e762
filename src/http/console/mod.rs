//! The console: pages for operators, made here and sent whole; what moves is fetched by htmx. Whoever is not logged in is sent to the
//! login page; who may not do something is told so on a page.
//!
//! A page is a module of its own with `routes()`, merged below, a template in `templates/console` that begins with
//! `{% extends "shell.html" %}`, its texts in `templates/console/texts` (a file for each page, all languages in it), and, if it is to be
//! found, a line in [`NAV`]. Its handlers take a [`Visitor`], those of a POST a [`Posted`], which has seen to it that the request comes
//! from a page of ours; [`Visitor::needs`] says who may; what they do not do is a
//! [`Refused`]. `senders` is an example of all of that.

mod audit;
mod consents;
mod login;
mod senders;
mod shell;
mod templates;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::Redirect,
    routing::{get, post},
};

pub(super) use shell::Pages;
pub(super) use visitor::{Posted, Refused, Visitor};

use super::{Desk, optin::guard};
use crate::db::keys::Role;

/// Of what every page tells: the key of its name, its address, who may see it.
pub(super) const NAV: &[(&str, &str, Role)] = &[
    ("templates", "/console/templates", Role::Viewer),
    ("senders", "/console/senders", Role::Viewer),
    ("consents", "/console/consents", Role::Operator),
    ("audit", "/console/audit", Role::Admin),
];

/// Where whoever came in begins.
const HOME: &str = "/console/senders";

/// What the console's pages share.
pub(super) struct Console {
    pub pages: Pages,
    attempts: login::Attempts,
    /// How browsers name us, if that was configured.
    origin: Option<String>,
}

impl Console {
    pub(super) fn new(base_url: &str) -> Console {
        let origin = reqwest::Url::parse(base_url).ok().map(|url| url.origin().ascii_serialization());
        Console { pages: Pages::new(), attempts: login::Attempts::default(), origin }
    }

    /// Browsers reach us by https only.
    fn secure(&self) -> bool {
        self.origin.as_deref().is_some_and(|origin| origin.starts_with("https://"))
    }
}

/// All addresses below `/console`.
pub(super) fn routes(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    const FORM_MAX: usize = 64 * 1024;
    Router::new()
        .route("/console", get(home))
        .route("/console/login", get(login::show).post(login::enter))
        .route("/console/logout", post(login::leave))
        .route("/console/language", post(login::speak))
        .merge(audit::routes())
        .merge(consents::routes())
        .merge(senders::routes())
        .merge(templates::routes())
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(desk), guard::harden))
        .route("/console/assets/{name}", get(shell::asset))
}

async fn home(_: Visitor) -> Redirect {
    Redirect::to(HOME)
}
