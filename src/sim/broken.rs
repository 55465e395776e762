//! What a fault leaves of a request and its answer, on either provider's addresses. Which fault it is, `faults` chose.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::sleep;

use super::faults::{Fault, Garbage};
use super::refusal::{Refusal, answer_json};
use super::twilio::{self, Refused};
use super::wire::Wire;
use super::world::World;

/// What a request may weigh.
pub(super) const BODY_MAX: usize = 1024 * 1024;

/// A request as it was decided: the answer, or the refusal as it goes over the wire.
pub(super) type Processed = Result<(StatusCode, Value), Response<Body>>;

/// Whose answers these are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Voice {
    Meta,
    Twilio,
}

impl Voice {
    fn answer(self, status: StatusCode, answer: &Value) -> Response<Body> {
        match self {
            Self::Meta => answer_json(status, answer),
            Self::Twilio => twilio::answer(status, answer),
        }
    }

    fn error(self, world: &World, code: u32) -> Response<Body> {
        match self {
            Self::Meta => Refusal::new(code, "").answer(world.trace()),
            Self::Twilio => Refused::new(code).answer(),
        }
    }

    /// The status of a message that was taken.
    fn accepted(self) -> StatusCode {
        match self {
            Self::Meta => StatusCode::OK,
            Self::Twilio => StatusCode::CREATED,
        }
    }

    /// Where an answer has the message's id, under which key, and an id that is nobody's.
    fn id(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Meta => ("/messages/0", "id", "wamid.OTHER"),
            Self::Twilio => ("", "sid", "SM00000000000000000000000000000000"),
        }
    }
}

/// Does a piece of work after a wait. Once begun it is finished, also if the client goes away meanwhile.
pub(super) async fn finished<T: Send + 'static>(
    world: &World,
    wait: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    if wait.is_zero() && world.ledger.is_none() {
        return Some(work.await);
    }
    let task = world.tasks.spawn(async move {
        sleep(wait).await;
        work.await
    });
    task.await.ok()
}

/// Processes a request and answers it, as far as the fault lets that happen.
pub(super) async fn act<F, W>(
    world: &World,
    fault: Option<Fault>,
    wire: &Wire,
    voice: Voice,
    process: F,
) -> Response<Body>
where
    F: FnOnce(Option<Fault>, Duration) -> W,
    W: Future<Output = Processed>,
{
    let Some(fault) = fault else {
        return match process(None, Duration::ZERO).await {
            Ok((status, answer)) => voice.answer(status, &answer),
            Err(refusal) => refusal,
        };
    };
    let processed = match &fault {
        Fault::Stall { ms, process: true } => Some(process(None, Duration::from_millis(*ms)).await),
        Fault::Stall { ms, process: false } => {
            sleep(Duration::from_millis(*ms)).await;
            None
        }
        Fault::CutAfter { .. } | Fault::Huge { .. } | Fault::Drip { .. } => Some(process(None, Duration::ZERO).await),
        Fault::Status { process: true, .. } | Fault::Garbage { process: true, .. } => {
            Some(process(None, Duration::ZERO).await)
        }
        Fault::FailLater { .. } | Fault::Hold { .. } | Fault::Silent => {
            Some(process(Some(fault.clone()), Duration::ZERO).await)
        }
        Fault::Refuse { .. }
        | Fault::CutBefore { .. }
        | Fault::Status { .. }
        | Fault::Error { .. }
        | Fault::Garbage { .. }
        | Fault::Redirect { .. } => None,
    };
    spoil(world, fault, processed, wire, voice).await
}

/// The answer that a fault leaves. `processed` is `None` if the request never was.
pub(super) async fn spoil(
    world: &World,
    fault: Fault,
    processed: Option<Processed>,
    wire: &Wire,
    voice: Voice,
) -> Response<Body> {
    if let Fault::CutBefore { reset } | Fault::CutAfter { reset } = fault {
        return wire.cut(reset).await;
    }
    if matches!(fault, Fault::Refuse { .. } | Fault::Stall { process: false, .. }) {
        return wire.cut(false).await;
    }
    let (good, answer) = match processed {
        Some(Err(refusal)) if !matches!(fault, Fault::Status { .. }) => return refusal,
        Some(Ok(good)) => good,
        Some(Err(_)) | None => (voice.accepted(), Value::Null),
    };
    match fault {
        Fault::Status { status, code, retry_after, .. } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = match code {
                Some(code) => voice.error(world, code),
                None => page(status),
            };
            *response.status_mut() = status;
            with_retry_after(response, retry_after)
        }
        Fault::Error { code, retry_after } => with_retry_after(voice.error(world, code), retry_after),
        Fault::Garbage { body, .. } => garbage(body, voice, good, &answer),
        Fault::Redirect { location } => {
            let mut response = page(StatusCode::TEMPORARY_REDIRECT);
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Fault::Huge { bytes } => with_status(good, huge(&answer, bytes)),
        Fault::Drip { ms } => with_status(good, drip(&answer, Duration::from_millis(ms))),
        Fault::Stall { .. }
        | Fault::FailLater { .. }
        | Fault::Hold { .. }
        | Fault::Silent
        | Fault::Refuse { .. }
        | Fault::CutBefore { .. }
        | Fault::CutAfter { .. } => voice.answer(good, &answer),
    }
}

/// Reads so many bytes of a body, and resets the connection.
pub(super) async fn refuse(wire: &Wire, mut body: Body, after_bytes: usize) -> Response<Body> {
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

fn with_status(status: StatusCode, mut response: Response<Body>) -> Response<Body> {
    *response.status_mut() = status;
    response
}

fn with_retry_after(mut response: Response<Body>, retry_after: Option<String>) -> Response<Body> {
    if let Some(value) = retry_after.and_then(|value| HeaderValue::from_str(&value).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn garbage(kind: Garbage, voice: Voice, status: StatusCode, answer: &Value) -> Response<Body> {
    let text = answer.to_string();
    let body = match kind {
        Garbage::Html => return page(status),
        Garbage::Empty => String::new(),
        Garbage::Truncated => text.chars().take(text.chars().count() / 2).collect(),
        Garbage::MissingId => {
            let (place, key, _) = voice.id();
            let mut answer = answer.clone();
            if let Some(message) = answer.pointer_mut(place).and_then(Value::as_object_mut) {
                message.remove(key);
            }
            answer.to_string()
        }
        Garbage::DuplicateKeys => {
            let (_, key, other) = voice.id();
            text.replacen(&format!("\"{key}\":"), &format!("\"{key}\":\"{other}\",\"{key}\":"), 1)
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
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
