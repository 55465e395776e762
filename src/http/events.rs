//! Events from producers without a broker: the same inbox and the same rules as for the queue. What is answered 202 is committed.
//!
//! Here is how CloudEvents and sources' webhooks look over HTTP; what they mean is read where the queue's are.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    Desk, Problem,
    auth::Bringer,
    openapi::{Event, NotFound, Unusable, example},
    webhooks, whole,
};
use crate::{
    domain::source::Door,
    inbox::{Arrived, Became, Inbox, Origin, TOO_LARGE, Taken},
};

/// So many events a batch may have.
const BATCH_MAX: usize = 1_000;
/// So many requests are recorded at once: the queue has its share of the same connections.
const AT_ONCE: usize = 2;
/// What the exchange of an event is called that came to no broker.
const EXCHANGE: &str = "http";
/// Where the request's trace goes on, for events that carry none themselves.
const TRACE: &str = "traceparent";
/// The longest greeting of a source, which is not signed.
const GREETING_MAX: usize = 64;
/// The longest topic of a source.
const TOPIC_MAX: usize = 255;

/// Where events go that are brought to the doors.
#[derive(Clone)]
pub struct Events {
    pub inbox: Inbox,
    /// What sources sign their webhooks with, by the source's name.
    pub secrets: BTreeMap<String, SecretString>,
    /// Called when events were recorded: whoever sends is to look.
    pub recorded: Arc<dyn Fn() + Send + Sync>,
}

/// Places in front of the inbox.
pub(super) struct Places(Semaphore);

impl Default for Places {
    fn default() -> Places {
        Places(Semaphore::new(AT_ONCE))
    }
}

/// What became of the events of a request, in their order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EventsReport)]
pub(super) struct Report {
    events: Vec<Entry>,
}

/// What became of one event.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = EventVerdict)]
pub(super) struct Entry {
    verdict: &'static str,
    /// The event's source and id, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Of one that was accepted: the notifications that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<Vec<Uuid>>,
    /// Of one that was ignored: why nothing follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// Of one that was rejected: a stable name, a sentence, and where it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_event: Option<Uuid>,
}

impl From<Taken> for Entry {
    fn from(taken: Taken) -> Entry {
        let (source, id) = taken.identity.unzip();
        let entry = Entry { verdict: taken.became.as_str(), source, id, ..Entry::default() };
        match taken.became {
            Became::Accepted(notifications) => Entry { notifications: Some(notifications), ..entry },
            Became::Ignored(why) => Entry { why: Some(why), ..entry },
            Became::Duplicate | Became::Conflict => entry,
            Became::Rejected { id, reason, detail } => {
                Entry { reason: Some(reason), detail: Some(detail), rejected_event: Some(id), ..entry }
            }
        }
    }
}

#[utoipa::path(post, path = "/v1/events", tag = "Events", operation_id = "publishEvents", summary = "Publishes events",
    description = "The same inbox and the same rules as for the queue: `(source, id)` counts once. One event as CloudEvents 1.0 in JSON, a batch of at most 1000, or one whose attributes stand in `ce-…` headers and whose data is the body. Whatever is answered 202 is stored. One event that is none is refused and kept among the rejected events; in a batch it has its verdict.",
    params(("ce-specversion" = Option<String>, Header, description = "`1.0`, if the attributes stand in headers: `ce-id`, `ce-source`, `ce-type`, and if you like `ce-subject`, `ce-time` …", example = "1.0"),
        ("traceparent" = Option<String>, Header, description = "The trace that these events belong to, for those that carry none themselves.")),
    request_body(content(
        (Event = "application/cloudevents+json", example = json!(example())),
        (Vec<Event> = "application/cloudevents-batch+json", example = json!([example()])),
        (Event = "application/json", example = json!(example())))),
    responses((status = 202, description = "Stored; what became of each, in order.", body = Report),
        (status = 422, response = Unusable), (status = 413, response = Unusable)))]
pub(super) async fn bring(
    State(desk): State<Arc<Desk>>,
    _: Bringer,
    request: Request,
) -> Result<(StatusCode, Json<Report>), Problem> {
    let headers = request.headers().clone();
    let shape = Shape::of(&headers)?;
    let body = whole(request).await?;
    let mut attributes = match shape {
        Shape::Binary => attributes(&headers),
        Shape::Structured | Shape::Batch => Vec::new(),
    };
    attributes.extend(text(&headers, TRACE).map(|trace| (TRACE.to_owned(), trace)));
    let arrived = |body: &[u8]| {
        let origin = Origin {
            exchange: EXCHANGE.to_owned(),
            routing_key: event_type(&attributes, body),
            content_type: text(&headers, header::CONTENT_TYPE.as_str()),
            headers: attributes.clone(),
        };
        Arrived { origin, body: body.to_vec(), dead: None }
    };
    // What is no list is read as one event, and rejected as such.
    let many: Option<Vec<&RawValue>> = (shape == Shape::Batch).then(|| serde_json::from_slice(&body).ok()).flatten();
    let Some(many) = many else {
        let taken = take(&desk, vec![arrived(&body)]).await?;
        return match taken.into_iter().next() {
            Some(Taken { became: Became::Rejected { id, reason, detail }, .. }) => Err(refused(id, reason, detail)),
            taken => Ok(answer(taken)),
        };
    };
    if many.len() > BATCH_MAX {
        let detail = format!("A batch has at most {BATCH_MAX} events; send the rest in another.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let arrived = many.into_iter().map(|one| arrived(one.get().as_bytes())).collect();
    Ok(answer(take(&desk, arrived).await?))
}

/// A source's own webhook. Whoever sends it cannot mend it, and gives up on an address that refuses: what could be kept is answered 202.
#[utoipa::path(post, path = "/v1/events/{source}", tag = "Events", operation_id = "publishOwn",
    summary = "A shop system's own webhook", security((), ("key" = [])),
    description = "For sources whose file in `sources.dir` has `[http]`: Shopify and WooCommerce are shipped. Signed with `sources.http.NAME.secret`, or sent with an API key. What could be stored is answered 202, also if it is no event: it is among the rejected then.",
    params(("source" = String, Path, description = "The source's name.", example = "shopify"),
        ("x-shopify-topic" = Option<String>, Header, description = "What it is about: the header that the source's file names as `topic`.", example = "orders/create")),
    request_body(content = Object, content_type = "application/json"),
    responses((status = 202, description = "Stored; what became of it.", body = Report), (status = 404, response = NotFound)))]
pub(super) async fn bring_own(
    State(desk): State<Arc<Desk>>,
    Path(source): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Report>), Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "There is no source of this name with [http] in its file.");
    let events = &desk.doors.events;
    let door = events.inbox.reader.sources.door(&source).ok_or_else(unknown)?;
    let (mut parts, body) = request.into_parts();
    let by_key = parts.headers.contains_key(header::AUTHORIZATION);
    if by_key {
        Bringer::from_request_parts(&mut parts, &desk).await?;
    }
    let headers = parts.headers.clone();
    let secret = events.secrets.get(&source);
    // What cannot be genuine is not read.
    if !by_key && (is_signed(door, &headers) && secret.is_none() || !is_signed(door, &headers) && !is_short(&headers)) {
        return Err(unsigned(&source));
    }
    let place = if by_key { None } else { desk.large_events.admit(&headers).map_err(crowded)? };
    let body = whole(Request::from_parts(parts, body)).await?;
    if !by_key {
        if is_greeting(door, &headers, &body) {
            return Ok(answer(None));
        }
        if !is_genuine(door, secret, &headers, &body) {
            return Err(unsigned(&source));
        }
    }
    drop(place);
    let topic = text(&headers, &door.topic).filter(|topic| !topic.is_empty() && topic.len() <= TOPIC_MAX);
    let topic = topic.ok_or_else(|| Problem::unfit(format!("The header {} says what this is about.", door.topic)))?;
    let Some(exchange) = events.inbox.reader.sources.exchange(&source, &topic) else {
        let ignored = Taken { identity: None, became: Became::Ignored("unwanted_by_source") };
        return Ok(answer([ignored]));
    };
    let origin = Origin {
        exchange: exchange.to_owned(),
        routing_key: topic,
        content_type: text(&headers, header::CONTENT_TYPE.as_str()),
        headers: told(&headers, door),
    };
    Ok(answer(take(&desk, vec![Arrived { origin, body: body.to_vec(), dead: None }]).await?))
}

async fn take(desk: &Desk, arrived: Vec<Arrived>) -> Result<Vec<Taken>, Problem> {
    // Never closed, so there is a place sooner or later; or the request's time is over.
    let place = desk.places.0.acquire().await;
    let taken = desk.doors.events.inbox.take(arrived).await?;
    drop(place);
    (desk.doors.events.recorded)();
    Ok(taken)
}

fn answer(taken: impl IntoIterator<Item = Taken>) -> (StatusCode, Json<Report>) {
    (StatusCode::ACCEPTED, Json(Report { events: taken.into_iter().map(Entry::from).collect() }))
}

fn refused(id: Uuid, reason: &'static str, detail: String) -> Problem {
    let status = if reason == TOO_LARGE { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::UNPROCESSABLE_ENTITY };
    Problem::new(status, detail).and("reason", reason.into()).and("rejected_event", id.to_string().into())
}

/// How a request says its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Structured,
    Batch,
    /// The attributes stand in headers.
    Binary,
}

impl Shape {
    fn of(headers: &HeaderMap) -> Result<Shape, Problem> {
        let kind = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/cloudevents+json" => Ok(Shape::Structured),
            "application/cloudevents-batch+json" => Ok(Shape::Batch),
            _ if headers.contains_key("ce-specversion") => Ok(Shape::Binary),
            "application/json" => Ok(Shape::Structured),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send an event as Content-Type: application/cloudevents+json, several as application/cloudevents-batch+json, or one with its attributes in headers (ce-specversion …).",
            )),
        }
    }
}

/// The attributes in `ce-…` headers, under the names that they have at the broker.
fn attributes(headers: &HeaderMap) -> Vec<(String, String)> {
    let attribute =
        |name: &str, value: &[u8]| Some((format!("cloudEvents:{}", name.strip_prefix("ce-")?), decoded(value)));
    headers.iter().filter_map(|(name, value)| attribute(name.as_str(), value.as_bytes())).collect()
}

/// Percent-encoded UTF-8, as CloudEvents' HTTP binding writes attributes.
fn decoded(value: &[u8]) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (byte, next) = match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => (u8::try_from(high * 16 + low).unwrap_or(b'?'), after.get(2..)),
            _ => (*first, Some(after)),
        };
        bytes.push(byte);
        rest = next.unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The event's type as far as it can be seen from outside, for the list of what was rejected.
fn event_type(attributes: &[(String, String)], body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        r#type: String,
    }
    let named = attributes.iter().find(|(name, _)| name == "cloudEvents:type").map(|(_, value)| value.clone());
    let named = named.or_else(|| serde_json::from_slice(body).ok().map(|Typed { r#type }| r#type));
    named.filter(|name| name.len() <= TOPIC_MAX).unwrap_or_default()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What a source's expressions can see of its headers: its own, without the signature and without what proxies say of the sender.
fn told(headers: &HeaderMap, door: &Door) -> Vec<(String, String)> {
    let is_own = |name: &str| {
        let proxy = name.starts_with("x-forwarded") || name == "x-real-ip";
        name.starts_with("x-") && !proxy && Some(name) != door.signature.as_deref()
    };
    headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| is_own(name))
        .filter_map(|name| Some((name.to_owned(), text(headers, name)?)))
        .collect()
}

fn unsigned(source: &str) -> Problem {
    tracing::warn!(source, "event.refused: the signature is missing or wrong, or sources.http has no secret for it");
    let detail = "The signature is missing or not this source's, and there is no API key instead.";
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

fn crowded(status: StatusCode) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "A request has at most http.api_body_limit bytes."),
        status => Problem::new(status, "Too many large ones at once; send it again.").with(header::RETRY_AFTER, "1"),
    }
}

fn is_signed(door: &Door, headers: &HeaderMap) -> bool {
    door.signature.as_deref().is_some_and(|name| headers.contains_key(name))
}

/// Whether it can be a greeting.
fn is_short(headers: &HeaderMap) -> bool {
    webhooks::announced(headers).is_some_and(|length| length <= GREETING_MAX)
}

/// WooCommerce asks whether anybody is there before it keeps an address, without a signature: `webhook_id=7`.
fn is_greeting(door: &Door, headers: &HeaderMap, body: &[u8]) -> bool {
    let id = body.strip_prefix(b"webhook_id=");
    !is_signed(door, headers)
        && id.is_some_and(|id| !id.is_empty() && id.len() <= 20 && id.iter().all(u8::is_ascii_digit))
}

/// Whether the source signed these bytes. Compares in constant time; without a secret nothing is genuine.
fn is_genuine(door: &Door, secret: Option<&SecretString>, headers: &HeaderMap, body: &[u8]) -> bool {
    let (Some(header), Some(secret)) = (&door.signature, secret) else { return false };
    let mut claimed = headers.get_all(header).iter();
    let (Some(claimed), None) = (claimed.next(), claimed.next()) else { return false };
    let (Ok(claimed), Ok(mut mac)) =
        (STANDARD.decode(claimed.as_bytes()), Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()))
    else {
        return false;
    };
    mac.update(body);
    !secret.expose_secret().is_empty() && mac.verify_slice(&claimed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_percent_encoded() {
        assert_eq!(decoded(b"Euro%20%E2%82%AC%20%F0%9F%98%80"), "Euro € 😀");
        assert_eq!(decoded(b"100%, 5%2"), "100%, 5%2");
        assert_eq!(decoded(b"%ff"), "\u{fffd}");
    }

    #[test]
    fn the_shape_is_told_by_the_headers() {
        let shape = |pairs: &[(&'static str, &str)]| {
            let headers: HeaderMap =
                pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            Shape::of(&headers).ok()
        };
        assert_eq!(shape(&[("content-type", "application/CloudEvents+json; charset=utf-8")]), Some(Shape::Structured));
        assert_eq!(shape(&[("content-type", "application/cloudevents-batch+json")]), Some(Shape::Batch));
        assert_eq!(shape(&[("content-type", "application/json"), ("ce-specversion", "1.0")]), Some(Shape::Binary));
        assert_eq!(shape(&[("content-type", "application/json")]), Some(Shape::Structured));
        assert_eq!(shape(&[("content-type", "application/x-www-form-urlencoded")]), None);
        assert_eq!(shape(&[]), None);
    }
}
