//! The pages for operators, under `/console`: rendered here, moved by htmx, told news by server-sent events. No build step.
//!
//! [`visitor`] lets in who is logged in and what came from a page of ours; [`shell`] is what all pages have in common. A page never
//! asks who may come in, only what the [`visitor::Visitor`] may do.
//!
//! # To add a page
//!
//! 1. A template in `templates/console`, like `account.html`: it extends `layout.html` and fills the blocks `title` and `main`. What
//!    htmx replaces is a template of its own that extends nothing and is included where it stands. `kit.html` has the small things:
//!    a time, a badge, an empty list.
//! 2. Its texts in `templates/console/texts`, one file a section, in English, Spanish and Portuguese: `[en]`, `[es]`, `[pt_BR]` with the
//!    same keys. A page says them as `{{ t.account.title }}`; a test compares the languages and a text that is missing breaks the page.
//! 3. A module here, like [`account`], with a [`Part`] and `routes()`, and a line for each in [`PARTS`] and [`pages`]. A handler takes
//!    `State<Arc<Desk>>` and a `Visitor`, calls `visitor.needs(Role::Operator)?` for what not all may, and gives
//!    `visitor.page(&desk, "account", "account.html", context! { … })`. It fails with a [`trouble::Trouble`], which becomes a page.
//!    Every change is a POST. Forms have `<input type="hidden" name="csrf" value="{{ csrf }}">`; htmx sends it by itself. Whoever
//!    forgets it gets a 403 from [`visitor::admit`], not a hole.
//!    What changes while somebody looks is told as [`stream`] says.
//! 4. The section's name in [`shell::SECTIONS`] puts it into the navigation, if it is one of those.
//!
//! Every page has `t`, `lang`, `user` (`name`, `role`), `may` (`operate`, `admin`), `csrf`, `section` and `now`; filters `moment`, `ago`,
//! `thousands`, `in_address`; the function `asset`. What serde can write goes in as `rows => minijinja::value::Serde(&rows)`, moments as text in it. After a POST redirect with `?said=KEY` to show `t.SECTION.KEY`.

mod account;
mod assets;
mod audit;
mod chart;
mod consents;
mod doubt;
mod keys;
mod live;
mod login;
mod notification;
mod notifications;
mod now;
pub mod passwords;
mod plans;
mod reasons;
mod rejected;
mod remarks;
mod search;
mod senders;
mod shell;
mod stream;
mod templates;
mod trouble;
mod users;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, header},
    middleware,
    response::{Redirect, Response},
    routing::get,
};

pub use live::{Bound, Bounds};

use super::{Desk, optin};
use crate::{config, config::Network};

/// What a page brings with it.
struct Part {
    /// Its section: the name of its texts, and of its address under `/console`.
    name: &'static str,
    /// Its templates, by file name.
    templates: &'static [(&'static str, &'static str)],
    /// Its texts' file.
    texts: &'static str,
}

/// A template's name and text.
macro_rules! template {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/console/", $name)))
    };
}
/// A section's texts.
macro_rules! texts {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/console/texts/", $name, ".toml"))
    };
}
use {template, texts};

const PARTS: &[Part] = &[
    shell::PART,
    login::PART,
    account::PART,
    audit::PART,
    now::PART,
    notifications::PART,
    rejected::PART,
    doubt::PART,
    plans::PART,
    senders::PART,
    templates::PART,
    consents::PART,
    users::PART,
    keys::PART,
];

/// The pages that one must be logged in for.
fn pages() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console", get(home))
        .route("/console/{*elsewhere}", get(nowhere))
        .merge(account::routes())
        .merge(audit::routes())
        .merge(now::routes())
        .merge(notifications::routes())
        .merge(notification::routes())
        .merge(rejected::routes())
        .merge(doubt::routes())
        .merge(plans::routes())
        .merge(senders::routes())
        .merge(templates::routes())
        .merge(consents::routes())
        .merge(users::routes())
        .merge(keys::routes())
}

/// What is made once for all visits.
pub(super) struct Console {
    rules: config::Console,
    shell: shell::Shell,
    assets: Arc<assets::Assets>,
    guard: login::Guard,
    cookies: visitor::Cookies,
    live: live::Live,
    listeners: stream::Listeners,
}

impl Console {
    pub(super) fn new(rules: &config::Console, base_url: &str, trusted: &[Network]) -> Console {
        let assets = Arc::new(assets::Assets::new());
        Console {
            shell: shell::Shell::new(rules.zone.clone(), Arc::clone(&assets)),
            guard: login::Guard::new(rules, trusted),
            cookies: visitor::Cookies::new(base_url),
            live: live::Live::default(),
            listeners: stream::Listeners::default(),
            rules: rules.clone(),
            assets,
        }
    }
}

/// Everything under `/console`.
pub(super) fn routes(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    /// The largest form.
    const FORM_MAX: usize = 64 * 1024;
    let inner = pages().layer(middleware::from_fn_with_state(Arc::clone(desk), visitor::admit));
    Router::new()
        .merge(inner)
        .merge(login::routes(desk))
        .route("/console/assets/{file}", get(assets::give))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(desk), optin::harden))
        .layer(middleware::map_response(tell_ourselves))
}

/// The strict `no-referrer` of the public pages would make a browser post its forms from nowhere.
async fn tell_ourselves(mut response: Response) -> Response {
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

async fn nowhere(_: visitor::Visitor) -> trouble::Trouble {
    trouble::Trouble::Unknown
}

/// Leads to the first page that there is.
async fn home(State(desk): State<Arc<Desk>>) -> Redirect {
    Redirect::to(desk.console.shell.home())
}
