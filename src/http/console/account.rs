//! One's own account: language, password, leaving.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::context;

use super::{Part, login, passwords, shell, template, texts, trouble::Trouble, visitor::Visitor, visitor::field};
use crate::{
    db::users::{self, Change},
    http::Desk,
};

pub(super) const PART: Part =
    Part { name: "account", templates: &[template!("account.html")], texts: texts!("account") };

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/account", get(show))
        .route("/console/account/language", post(speak))
        .route("/console/account/password", post(set_password))
        .route("/console/logout", post(login::leave))
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Response {
    page(&desk, &visitor, StatusCode::OK, "")
}

fn page(desk: &Desk, visitor: &Visitor, status: StatusCode, wrong: &str) -> Response {
    let values = context! { wrong, least => passwords::LENGTH.start(), languages => shell::LANGUAGES };
    visitor.page_with(status, desk, "account", "account.html", values)
}

async fn speak(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Redirect, Trouble> {
    let wanted = field(&body, "language").unwrap_or_default();
    let language = shell::LANGUAGES.into_iter().find(|known| *known == wanted).map(str::to_owned);
    users::change(&desk.doors.pools.ops, visitor.name(), Change::Language(language), &visitor.caller.name).await?;
    Ok(Redirect::to("/console/account?said=language_done"))
}

async fn set_password(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    let text = |name| field(&body, name).unwrap_or_default();
    let (old, new, again) = (text("old"), text("new"), text("again"));
    let wrong = |key| Ok(page(&desk, &visitor, StatusCode::UNPROCESSABLE_ENTITY, key));
    if !passwords::is_good(&new) {
        return wrong("wrong_length");
    }
    if new != again {
        return wrong("wrong_again");
    }
    let pool = &desk.doors.pools.ops;
    // A session that somebody left open is not to be made theirs for good by trying out passwords.
    if !desk.console.guard.admits(None, visitor.name(), desk.doors.clock.instant()) {
        return wrong("wrong_often");
    }
    let stored = users::find(pool, visitor.name()).await?;
    if !passwords::is(old, stored.map(|stored| stored.password)).await {
        return wrong("wrong_old");
    }
    let hash = passwords::hash(new).await.ok_or(Trouble::Busy)?;
    let change = Change::Password { hash, keep: Some(visitor.session) };
    users::change(pool, visitor.name(), change, &visitor.caller.name).await?;
    Ok(Redirect::to("/console/account?said=password_done").into_response())
}
