//! The senders as the API shows them: how each stands at its provider.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use super::{Desk, Problem, auth::Caller};
use crate::{
    db::health::{self, Known},
    domain::health::Standing,
};

/// A sender as it is shown: the API's answer, and `recado senders --json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Sender)]
pub struct Shown {
    #[serde(flatten)]
    pub known: Known,
    /// Whether it may send, as its provider last said; none if it has not.
    pub able: Option<bool>,
    /// Whom the provider lets it write to in a day, outside of their windows; none if there is no limit, or none is known.
    pub people_a_day: Option<u32>,
    /// What the provider takes of it in a second, if it says so.
    pub per_second: Option<u32>,
    /// What does not stop it and somebody should look at.
    pub worries: Vec<String>,
}

impl Shown {
    #[must_use]
    pub fn of(known: Known) -> Shown {
        let able = match known.health.standing() {
            Standing::Able => Some(true),
            Standing::Unable { .. } => Some(false),
            Standing::Unknown => None,
        };
        Shown {
            able,
            people_a_day: known.health.people_a_day(),
            per_second: known.health.per_second(),
            worries: known.health.worries().iter().map(ToString::to_string).collect(),
            known,
        }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Senders {
    senders: Vec<Shown>,
}

#[utoipa::path(get, path = "/v1/senders", tag = "Senders", operation_id = "listSenders",
    summary = "How the senders stand at their providers",
    responses((status = 200, description = "All senders.", body = Senders)))]
pub(super) async fn list(State(desk): State<Arc<Desk>>, _: Caller) -> Result<Json<Senders>, Problem> {
    let known = health::all(&desk.doors.pools.ops).await?;
    let ours = known.into_iter().filter(|known| desk.doors.senders.contains_key(&known.sender));
    Ok(Json(Senders { senders: ours.map(Shown::of).collect() }))
}
