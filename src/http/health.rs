//! Whether the process lives, and whether it can do its work.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::sync::Mutex;

use super::{Desk, openapi::Described};
use crate::db::{
    holds::{self, InForce},
    pools::{Schema, schema, takes_writes},
};

/// How this process stands, as its loops know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether all who use the broker (the intake, the publisher of status events) are connected; none if nobody here does.
    pub broker_connected: Option<bool>,
    /// Whether the database takes results; if not, nothing new is sent.
    pub results_taken: bool,
    /// No new work is begun any more.
    pub stopping: bool,
}

/// The database is asked no oftener than this, and given no longer than [`PATIENCE`].
const FRESH: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found last.
#[derive(Default)]
pub(super) struct Memory(Mutex<Option<(Instant, Database)>>);

/// What is asked of the database.
#[derive(Debug, Clone)]
struct Database {
    /// What is wrong, and what to do about it.
    trouble: Option<&'static str>,
    holds: Vec<Held>,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = HeldNow)]
struct Held {
    on: String,
    reason: String,
    until: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Readiness)]
struct Report {
    ready: bool,
    /// One word each: `ok`, or what is wrong.
    database: &'static str,
    broker: &'static str,
    results: &'static str,
    /// What is held is not sent, but a process with holds is ready.
    holds: Vec<Held>,
}

#[utoipa::path(get, path = "/healthz", tag = "Health", operation_id = "alive", summary = "Whether the process lives", security(()),
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain; charset=utf-8")))]
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Ready is who can be given requests and keeps what it is told: the database answers and fits. A broker that is away is named,
/// but makes nobody unready: webhooks must be taken in all the same.
#[utoipa::path(get, path = "/readyz", tag = "Health", operation_id = "ready", summary = "Whether it can do its work", security(()),
    responses((status = 200, description = "It can.", body = Report),
        (status = 503, description = "It cannot, and says why; or the question took too long.",
            content((Report = "application/json"), (Described = "application/problem+json")))))]
pub(super) async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    let standing = (desk.doors.standing)();
    let found = desk.ask().await;
    let ready = found.trouble.is_none() && standing.results_taken && !standing.stopping;
    let report = Report {
        ready,
        database: found.trouble.unwrap_or("ok"),
        broker: match standing.broker_connected {
            Some(true) => "ok",
            Some(false) => "not connected; it is tried again and again",
            None => "not used by this process",
        },
        results: match standing {
            Standing { stopping: true, .. } => "stopping",
            Standing { results_taken: false, .. } => {
                "kept in memory until the database takes them; nothing new is sent"
            }
            Standing { .. } => "ok",
        },
        holds: found.holds,
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

impl Desk {
    async fn ask(&self) -> Database {
        // The lock is held over the question: those who come meanwhile share the answer.
        let mut memory = self.health.0.lock().await;
        let now = self.doors.clock.instant();
        if let Some((at, found)) = &*memory
            && now.duration_since(*at) < FRESH
        {
            return found.clone();
        }
        let nothing = |trouble| Database { trouble: Some(trouble), holds: Vec::new() };
        let pool = &self.doors.pools.ops;
        let asked = async {
            Ok::<_, crate::db::Error>((schema(pool).await?, takes_writes(pool).await?, holds::in_force(pool).await))
        };
        let found = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok((_, false, _))) => nothing("read-only: it is a replica, or somebody made it so"),
            Ok(Ok((Schema::Fits, true, Ok(holds)))) => {
                Database { trouble: None, holds: holds.into_iter().map(Held::from).collect() }
            }
            Ok(Ok((Schema::Empty | Schema::Older(_), ..))) => nothing("older than this program: run recado migrate"),
            Ok(Ok((Schema::Newer, ..))) => nothing("newer than this program: install the newer program"),
            Ok(Ok((Schema::Altered(_), ..))) => nothing("altered by another build of this program: install that one"),
            Ok(Ok((Schema::Fits, true, Err(_))) | Err(_)) | Err(_) => nothing("not reachable"),
        };
        *memory = Some((self.doors.clock.instant(), found.clone()));
        found
    }
}

impl From<InForce> for Held {
    fn from(hold: InForce) -> Held {
        let on = match (hold.sender, hold.template) {
            (Some(sender), Some(template)) => format!("template {template} of {sender}"),
            (Some(sender), None) => format!("sender {sender}"),
            (None, _) => "everything".to_owned(),
        };
        Held { on, reason: hold.reason, until: hold.until }
    }
}
