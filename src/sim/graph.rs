//! Meta's side of HTTP: the addresses of the Graph API. What is accepted is decided in `accept`; the questions about numbers and
//! templates are `management`'s; what a fault leaves of an answer, `broken`'s.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::routing::{any, get};
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use serde_json::Value;
use tokio::time::sleep;

use super::accept::addressee;
use super::broken::{self, Processed, Voice};
use super::faults::{Fault, On};
use super::feed::What;
use super::management;
use super::messages;
use super::refusal::{Refusal, answer_json};
use super::wire::Wire;
use super::world::World;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/{version}/{node}", get(ask_node).post(ask_node).fallback(unsupported))
        .route("/{version}/{node}/{edge}", any(edge))
        .fallback(unsupported)
        .with_state(world)
}

/// A request that is on its way through.
struct Call {
    world: Arc<World>,
    node: String,
    token: Option<String>,
    body: Bytes,
    json: Option<Value>,
}

async fn ask_node(
    State(world): State<Arc<World>>,
    Path((version, node)): Path<(String, String)>,
    Extension(wire): Extension<Wire>,
    request: Request,
) -> Response<Body> {
    management_call(world, wire, version, node, String::new(), request).await
}

async fn edge(
    State(world): State<Arc<World>>,
    Path((version, node, edge)): Path<(String, String, String)>,
    Extension(wire): Extension<Wire>,
    request: Request,
) -> Response<Body> {
    if edge == "messages" && request.method() == Method::POST {
        return send(world, &wire, &version, node, request).await;
    }
    management_call(world, wire, version, node, edge, request).await
}

async fn unsupported(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    Refusal::new(100, "")
        .graph_method(400)
        .saying(format!("Unsupported {} request.", request.method().as_str().to_ascii_lowercase()))
        .answer(world.trace())
}

async fn send(world: Arc<World>, wire: &Wire, version: &str, node: String, request: Request) -> Response<Body> {
    if let Some(Fault::Refuse { after_bytes }) = world.faults.at_head(On::Messages, wire.is_reused()) {
        world.count_fault("refuse", None);
        return broken::refuse(wire, request.into_body(), after_bytes).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, broken::BODY_MAX).await else {
        return Refusal::new(100, "The request is too large").answer(world.trace());
    };
    // What is not declared as JSON is read as a form, in which none of the parameters are found.
    let is_json = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/json"));
    let json = if is_json { serde_json::from_slice(&body).ok() } else { Some(Value::Object(serde_json::Map::new())) };
    let to = json.as_ref().filter(|_| world.faults.any()).and_then(|json| addressee(&world, &node, json));
    let fault = world.faults.at_body(On::Messages, wire.is_reused(), to.as_deref());
    if let Some(fault) = &fault {
        world.count_fault(fault.name(), to.as_deref());
    }
    let call = Call { world: Arc::clone(&world), node, token: token(&parts.headers), body, json };
    let answer = match check_version(version) {
        Ok(()) => broken::act(&world, fault, wire, Voice::Meta, |fault, wait| call.process(fault, wait)).await,
        Err(refusal) => refusal.answer(world.trace()),
    };
    let latency = world.latency();
    if !latency.is_zero() {
        sleep(latency).await;
    }
    answer
}

impl Call {
    /// Decides on the request after a wait. Once begun it is finished, also if the client goes away meanwhile.
    async fn process(self, fault: Option<Fault>, wait: Duration) -> Processed {
        let world = Arc::clone(&self.world);
        let decided = broken::finished(&world, wait, async move { self.decide(fault.as_ref()).await }).await;
        decided
            .unwrap_or_else(|| Err(Refusal::new(131000, "")))
            .map(|answer| (StatusCode::OK, answer))
            .map_err(|refusal| refusal.answer(world.trace()))
    }

    async fn decide(&self, fault: Option<&Fault>) -> Result<Value, Refusal> {
        let result = match self.read(fault) {
            Ok(taken) => {
                let lost = || Refusal::new(131000, "The ledger cannot be written");
                self.world.publish(taken).await.ok_or_else(lost)
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &result {
            self.world.feed.tell(self.world.now_ms(), || What::Refused {
                code: refusal.code,
                details: refusal.details.clone(),
                to: self.json.as_ref().and_then(|json| json.get("to")?.as_str().map(str::to_owned)),
            });
        }
        result
    }

    fn read(&self, fault: Option<&Fault>) -> Result<super::accept::Taken, Refusal> {
        self.world.authorize(&self.node, self.token.as_deref())?;
        let json = self.json.as_ref().ok_or_else(|| Refusal::new(100, "The body is not valid JSON"))?;
        self.world.take(&self.node, &self.body, &messages::read(json)?, fault)
    }
}

async fn management_call(
    world: Arc<World>,
    wire: Wire,
    version: String,
    node: String,
    edge: String,
    request: Request,
) -> Response<Body> {
    if let Some(Fault::Refuse { after_bytes }) = world.faults.at_head(On::Management, wire.is_reused()) {
        world.count_fault("refuse", None);
        return broken::refuse(&wire, request.into_body(), after_bytes).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, broken::BODY_MAX).await else {
        return Refusal::new(100, "The request is too large").answer(world.trace());
    };
    let fault = world.faults.at_body(On::Management, wire.is_reused(), None);
    if let Some(fault) = &fault {
        world.count_fault(fault.name(), None);
    }
    let ask = management::Ask {
        version: &version,
        node: &node,
        edge: &edge,
        query: parts.uri.query().unwrap_or_default(),
        method: &parts.method,
        token: token(&parts.headers),
        body: &body,
    };
    if let Some(Fault::Stall { ms, .. }) = &fault {
        sleep(Duration::from_millis(*ms)).await;
    }
    let result = check_version(&version)
        .and_then(|()| management::answer(&world, &ask))
        .map(|answer| (StatusCode::OK, answer))
        .map_err(|refusal| refusal.answer(world.trace()));
    match (fault, result) {
        (Some(fault), result) => broken::spoil(&world, fault, Some(result), &wire, Voice::Meta).await,
        (None, Ok((_, answer))) => answer_json(StatusCode::OK, &answer),
        (None, Err(refusal)) => refusal,
    }
}

fn check_version(version: &str) -> Result<(), Refusal> {
    let good = version
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok());
    if good {
        return Ok(());
    }
    Err(Refusal::new(100, "").saying("Invalid version format. Use format like 'v23.0'"))
}

fn token(headers: &http::HeaderMap) -> Option<String> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
