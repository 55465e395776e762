//! The console's accounts, for admins: who has one, what they may do, a new password, an end.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::{context, value::Serde};
use uuid::{Builder, Uuid};

use super::{Part, passwords, template, texts, trouble::Trouble, visitor::Visitor, visitor::field};
use crate::{
    db::users::{self, Change, Changed},
    domain::role::{Role, names_account},
    http::Desk,
};

pub(super) const PART: Part = Part { name: "users", templates: &[template!("users.html")], texts: texts!("users") };

/// What an account may have.
const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/users", get(show).post(create))
        .route("/console/users/role", post(set_role))
        .route("/console/users/password", post(set_password))
        .route("/console/users/disable", post(disable))
        .route("/console/users/enable", post(enable))
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    page(&desk, &visitor, StatusCode::OK, "").await
}

async fn page(desk: &Desk, visitor: &Visitor, status: StatusCode, wrong: &str) -> Result<Response, Trouble> {
    let users = users::list(&desk.doors.pools.ops).await?;
    let values = context! {
        wrong,
        users => Serde(&users),
        roles => ROLES.map(Role::as_str),
        least => passwords::LENGTH.start(),
    };
    Ok(visitor.page_with(status, desk, "users", "users.html", values))
}

async fn wrong(desk: &Desk, visitor: &Visitor, key: &str) -> Result<Response, Trouble> {
    page(desk, visitor, StatusCode::UNPROCESSABLE_ENTITY, key).await
}

async fn create(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    let text = |name| field(&body, name).unwrap_or_default();
    let (name, password) = (text("name").trim().to_owned(), text("password"));
    let role = role(&body)?;
    if !names_account(&name) {
        return wrong(&desk, &visitor, "wrong_name").await;
    }
    if !passwords::is_good(&password) {
        return wrong(&desk, &visitor, "wrong_length").await;
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| Trouble::Ours)?;
    let id: Uuid = Builder::from_random_bytes(id).into_uuid();
    let hash = passwords::hash(password).await.ok_or(Trouble::Busy)?;
    if !users::create(&desk.doors.pools.ops, id, &name, role, &hash, &visitor.caller.name).await? {
        return wrong(&desk, &visitor, "taken").await;
    }
    Ok(Redirect::to("/console/users?said=created").into_response())
}

async fn set_role(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    let role = role(&body)?;
    change(&desk, &visitor, &body, Change::Role(role)).await
}

async fn set_password(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    let password = field(&body, "password").unwrap_or_default();
    if !passwords::is_good(&password) {
        return wrong(&desk, &visitor, "wrong_length").await;
    }
    let hash = passwords::hash(password).await.ok_or(Trouble::Busy)?;
    let own = name(&body) == visitor.name();
    change(&desk, &visitor, &body, Change::Password { hash, keep: own.then_some(visitor.session) }).await
}

async fn disable(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    change(&desk, &visitor, &body, Change::Disable).await
}

async fn enable(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    change(&desk, &visitor, &body, Change::Enable).await
}

async fn change(desk: &Desk, visitor: &Visitor, body: &Bytes, change: Change) -> Result<Response, Trouble> {
    let said = match users::change(&desk.doors.pools.ops, &name(body), change, &visitor.caller.name).await? {
        Changed::Done => "changed",
        Changed::Same => "same",
        Changed::Unknown => return Err(Trouble::Unknown),
        Changed::LastAdmin => return wrong(desk, visitor, "last_admin").await,
    };
    Ok(Redirect::to(&format!("/console/users?said={said}")).into_response())
}

fn name(body: &Bytes) -> String {
    field(body, "name").unwrap_or_default()
}

fn role(body: &Bytes) -> Result<Role, Trouble> {
    let role = field(body, "role").unwrap_or_default().parse().ok();
    role.filter(|role| ROLES.contains(role)).ok_or(Trouble::Unreadable)
}
