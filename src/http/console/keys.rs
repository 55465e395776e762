//! The API's keys, for admins: which there are, a new one, an end. A new key's text is in one answer and nowhere else.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use minijinja::{Value, context, value::Serde};

use super::{Part, template, texts, trouble::Trouble, visitor::Visitor, visitor::field};
use crate::{
    db::keys,
    domain::role::{Role, names_key},
    http::{Desk, auth},
};

pub(super) const PART: Part = Part { name: "keys", templates: &[template!("keys.html")], texts: texts!("keys") };

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/keys", get(show).post(create)).route("/console/keys/revoke", post(revoke))
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    page(&desk, &visitor, StatusCode::OK, context! {}).await
}

async fn page(desk: &Desk, visitor: &Visitor, status: StatusCode, more: Value) -> Result<Response, Trouble> {
    let keys = keys::list(&desk.doors.pools.ops).await?;
    let values = context! { keys => Serde(&keys), roles => Role::ALL.map(Role::as_str), ..more };
    Ok(visitor.page_with(status, desk, "keys", "keys.html", values))
}

async fn create(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    let name = field(&body, "name").unwrap_or_default().trim().to_owned();
    let role: Role = field(&body, "role").unwrap_or_default().parse().map_err(|_| Trouble::Unreadable)?;
    let wrong = |key| page(&desk, &visitor, StatusCode::UNPROCESSABLE_ENTITY, context! { wrong => key });
    if !names_key(&name) {
        return wrong("wrong_name").await;
    }
    let (id, key) = auth::fresh().map_err(|_| Trouble::Ours)?;
    if !keys::create(&desk.doors.pools.ops, id, &name, role, &auth::hash(&key), &visitor.caller.name).await? {
        return wrong("taken").await;
    }
    // No redirect: whatever led to the key would have to hold it.
    page(&desk, &visitor, StatusCode::CREATED, context! { made => context! { name, key } }).await
}

async fn revoke(State(desk): State<Arc<Desk>>, visitor: Visitor, body: Bytes) -> Result<Response, Trouble> {
    visitor.needs(Role::Admin)?;
    let name = field(&body, "name").unwrap_or_default();
    if !keys::revoke(&desk.doors.pools.ops, &name, &visitor.caller.name).await? {
        return Err(Trouble::Unknown);
    }
    Ok(Redirect::to("/console/keys?said=revoked").into_response())
}
