//! Meta's side of HTTP: the addresses of the Graph API, and the faults that happen on them. What is accepted is decided in
//! `accept`; the questions about numbers and templates are `management`'s.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::sleep;

use super::accept::addressee;
use super::faults::{Fault, Garbage, On};
use super::feed::What;
use super::management;
use super::messages;
use super::refusal::{Refusal, answer_json};
use super::wire::Wire;
use super::world::World;

/// What a request may weigh.
const BODY_MAX: usize = 1024 * 1024;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/{version}/{node}", get(ask_node).fallback(unsupported))
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
        return refuse(wire, request.into_body(), after_bytes).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
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
        Ok(()) => act(call, fault, wire).await,
        Err(refusal) => refusal.answer(world.trace()),
    };
    let latency = world.latency();
    if !latency.is_zero() {
        sleep(latency).await;
    }
    answer
}

/// Processes a request and answers it, as far as the fault lets that happen.
async fn act(call: Call, fault: Option<Fault>, wire: &Wire) -> Response<Body> {
    let world = Arc::clone(&call.world);
    let Some(fault) = fault else {
        return match call.process(None, Duration::ZERO).await {
            Ok(answer) => answer_json(StatusCode::OK, &answer),
            Err(refusal) => refusal.answer(world.trace()),
        };
    };
    let processed = match &fault {
        Fault::Stall { ms, process: true } => Some(call.process(None, Duration::from_millis(*ms)).await),
        Fault::Stall { ms, process: false } => {
            sleep(Duration::from_millis(*ms)).await;
            None
        }
        Fault::CutAfter { .. } | Fault::Huge { .. } | Fault::Drip { .. } => {
            Some(call.process(None, Duration::ZERO).await)
        }
        Fault::Status { process, .. } | Fault::Garbage { process, .. } if *process => {
            Some(call.process(None, Duration::ZERO).await)
        }
        Fault::FailLater { .. } | Fault::Hold { .. } | Fault::Silent => {
            Some(call.process(Some(fault.clone()), Duration::ZERO).await)
        }
        Fault::Refuse { .. }
        | Fault::CutBefore { .. }
        | Fault::Status { .. }
        | Fault::Error { .. }
        | Fault::Garbage { .. }
        | Fault::Redirect { .. } => None,
    };
    spoil(&world, fault, processed, wire).await
}

/// The answer that a fault leaves. `processed` is `None` if the request never was.
async fn spoil(world: &World, fault: Fault, processed: Option<Result<Value, Refusal>>, wire: &Wire) -> Response<Body> {
    if let Fault::CutBefore { reset } | Fault::CutAfter { reset } = fault {
        return wire.cut(reset).await;
    }
    if matches!(fault, Fault::Refuse { .. } | Fault::Stall { process: false, .. }) {
        return wire.cut(false).await;
    }
    if let (Some(Err(refusal)), false) = (&processed, matches!(fault, Fault::Status { .. })) {
        return refusal.answer(world.trace());
    }
    let answer = processed.and_then(Result::ok).unwrap_or_default();
    match fault {
        Fault::Status { status, code, retry_after, .. } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = match code {
                Some(code) => Refusal::new(code, "").answer(world.trace()),
                None => page(status),
            };
            *response.status_mut() = status;
            with_retry_after(response, retry_after)
        }
        Fault::Error { code, retry_after } => {
            with_retry_after(Refusal::new(code, "").answer(world.trace()), retry_after)
        }
        Fault::Garbage { body, .. } => garbage(body, &answer),
        Fault::Redirect { location } => {
            let mut response = page(StatusCode::TEMPORARY_REDIRECT);
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Fault::Huge { bytes } => huge(&answer, bytes),
        Fault::Drip { ms } => drip(&answer, Duration::from_millis(ms)),
        Fault::Stall { .. }
        | Fault::FailLater { .. }
        | Fault::Hold { .. }
        | Fault::Silent
        | Fault::Refuse { .. }
        | Fault::CutBefore { .. }
        | Fault::CutAfter { .. } => answer_json(StatusCode::OK, &answer),
    }
}

impl Call {
    /// Decides on the request after a wait. Once begun it is finished, also if the client goes away meanwhile.
    async fn process(self, fault: Option<Fault>, wait: Duration) -> Result<Value, Refusal> {
        if wait.is_zero() && self.world.ledger.is_none() {
            return self.decide(fault.as_ref()).await;
        }
        let tasks = self.world.tasks.clone();
        let task = tasks.spawn(async move {
            sleep(wait).await;
            self.decide(fault.as_ref()).await
        });
        task.await.unwrap_or_else(|_| Err(Refusal::new(131000, "")))
    }

    async fn decide(&self, fault: Option<&Fault>) -> Result<Value, Refusal> {
        let result = match self.read(fault) {
            Ok(taken) => self.world.publish(taken).await,
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
        return refuse(&wire, request.into_body(), after_bytes).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
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
    let result = check_version(&version).and_then(|()| management::answer(&world, &ask));
    match fault {
        Some(fault) => spoil(&world, fault, Some(result), &wire).await,
        None => match result {
            Ok(answer) => answer_json(StatusCode::OK, &answer),
            Err(refusal) => refusal.answer(world.trace()),
        },
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

/// Reads so many bytes of a body, and resets the connection.
async fn refuse(wire: &Wire, mut body: Body, after_bytes: usize) -> Response<Body> {
    let mut seen = 0;
    while seen < after_bytes {
        match body.frame().await {
            Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => break,
        }
    }
    wire.cut(true).await
}

fn page(status: StatusCode) -> Response<Body> {
    let text = format!("<!DOCTYPE html><html><body><h1>{status}</h1><p>Sorry, something went wrong.</p></body></html>");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn with_retry_after(mut response: Response<Body>, retry_after: Option<String>) -> Response<Body> {
    if let Some(value) = retry_after.and_then(|value| HeaderValue::from_str(&value).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn garbage(kind: Garbage, answer: &Value) -> Response<Body> {
    let text = answer.to_string();
    let body = match kind {
        Garbage::Html => return page(StatusCode::OK),
        Garbage::Empty => String::new(),
        Garbage::Truncated => text.chars().take(text.chars().count() / 2).collect(),
        Garbage::MissingId => {
            let mut answer = answer.clone();
            if let Some(message) = answer.pointer_mut("/messages/0").and_then(Value::as_object_mut) {
                message.remove("id");
            }
            answer.to_string()
        }
        Garbage::DuplicateKeys => text.replacen("\"id\":", "\"id\":\"wamid.OTHER\",\"id\":", 1),
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    response
}

fn huge(answer: &Value, bytes: usize) -> Response<Body> {
    const CHUNK: usize = 64 * 1024;
    let tail = answer.to_string();
    let head = Bytes::from_static(br#"{"padding":""#);
    let tail = Bytes::from(format!("\",{}", tail.trim_start_matches('{')));
    let padding = Bytes::from(vec![b'x'; CHUNK]);
    let chunks = std::iter::once(head)
        .chain(std::iter::repeat_n(padding, bytes.div_ceil(CHUNK)))
        .chain(std::iter::once(tail))
        .map(Ok::<_, Infallible>);
    Response::new(Body::from_stream(stream::iter(chunks)))
}

fn drip(answer: &Value, pause: Duration) -> Response<Body> {
    let text = Bytes::from(answer.to_string());
    let drops = stream::unfold(text, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(pause).await;
        let drop = rest.split_to(1);
        Some((Ok::<_, Infallible>(drop), rest))
    });
    Response::new(Body::from_stream(drops))
}
