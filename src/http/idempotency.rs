//! `Idempotency-Key`: a write that is asked for twice with the same key is done once, and its answer given again.
//!
//! What is kept can be read only with the API key that asked: a key of its own, derived from that, seals the answer. An answer is kept
//! after what it tells of was done, so that a process that dies in between lets it be done once more; all that takes such keys bears
//! that.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use uuid::{Builder, Uuid};

use super::{Desk, Problem, auth, whole};
use crate::db::idempotency::{self, Standing};

pub(super) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Says of an answer that it was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key.
pub(super) const KEY_MAX: usize = 255;
/// The largest answer that is kept.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// So long after a request's time is over, whoever was answering it is gone for certain.
const SLACK: Duration = Duration::from_secs(5);
/// What is kept of an answer besides its body.
const HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// A layer over writes: does nothing without the header.
pub(super) async fn once(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Result<Response, Problem> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if reads || !request.headers().contains_key(HEADER) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let key = given(&parts.headers)?;
    auth::recognise(&mut parts, &desk).await?;
    let secret = Secret(Hmac::new_from_slice(auth::presented(&parts)?.as_bytes()).map_err(|_| broken())?);
    let body = whole(Request::from_parts(parts.clone(), body)).await?;
    let (id, print) = (secret.derive(&[b"key", key.as_bytes()]), fingerprint(&secret, &parts, &body));
    let (pool, attempt) = (&desk.doors.pools.ops, chance()?);
    let lease = desk.doors.limits.request_timeout + SLACK;
    match idempotency::begin(pool, &id, &print, attempt, lease).await? {
        Standing::Ours => {}
        Standing::BeingAnswered => {
            let detail = "A request with this Idempotency-Key is being answered; ask again for its answer.";
            return Err(Problem::new(StatusCode::CONFLICT, detail).with(header::RETRY_AFTER, "1"));
        }
        Standing::Other => {
            let detail = "This Idempotency-Key was used for another request; take a new one for each.";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        Standing::Answered { attempt, status, answer } => {
            return again(&secret.sealing(&key, attempt)?, status, answer);
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let size = response.body().size_hint().upper().and_then(|size| usize::try_from(size).ok());
    if !is_final(response.status()) || size.is_none_or(|size| size > ANSWER_MAX) {
        if let Err(error) = idempotency::give_up(pool, &id, attempt).await {
            tracing::warn!(%error, "idempotency.given_up: not written down; it is by itself after a while");
        }
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_MAX).await.map_err(|_| broken())?;
    let sealed = secret.sealing(&key, attempt)?.seal(&spelled(&head.headers, &body))?;
    if let Err(error) = idempotency::finish(pool, &id, attempt, head.status.as_u16(), &sealed).await {
        tracing::warn!(%error, "idempotency.unkept: the answer was given and is not kept");
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

/// Whether asking again would bring the same: what went wrong on our side, or came at a bad time, may go well next time.
fn is_final(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
    !status.is_server_error() && !passing.contains(&status)
}

fn given(headers: &HeaderMap) -> Result<String, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let (Some(key), None) = (given.next(), given.next()) else {
        return Err(Problem::bad("Idempotency-Key stands there once."));
    };
    let key = key.to_str().ok().map(str::trim).filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
    let key = key.ok_or_else(|| Problem::bad(format!("Idempotency-Key has 1 to {KEY_MAX} printable characters.")))?;
    Ok(key.to_owned())
}

/// What makes a request another one: address, content type, CloudEvents' attributes and body.
fn fingerprint(secret: &Secret, parts: &http::request::Parts, body: &[u8]) -> [u8; 32] {
    let mut said: Vec<(&[u8], &[u8])> = parts
        .headers
        .iter()
        .filter(|(name, _)| *name == header::CONTENT_TYPE || name.as_str().starts_with("ce-"))
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
        .collect();
    said.sort_unstable();
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let head = [b"request".as_slice(), parts.method.as_str().as_bytes(), address.as_bytes()];
    let said = said.into_iter().flat_map(|(name, value)| [name, value]);
    secret.derive(&head.into_iter().chain(said).chain([body]).collect::<Vec<_>>())
}

/// The caller's key, from which everything else is derived.
struct Secret(Hmac<Sha256>);

impl Secret {
    fn derive(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// What seals the answer of one attempt.
    fn sealing(&self, key: &str, attempt: Uuid) -> Result<Sealing, Problem> {
        let key = self.derive(&[b"seal", key.as_bytes(), attempt.as_bytes()]);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| broken())?;
        Ok(Sealing(LessSafeKey::new(key)))
    }
}

/// Used for one answer, so that one number is enough.
struct Sealing(LessSafeKey);

impl Sealing {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, Problem> {
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        self.0.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).map_err(|_| broken())?;
        Ok(sealed)
    }

    fn open(&self, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let plain = self.0.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

/// The headers that are kept, a line each, an empty line, and the body.
fn spelled(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in HEADERS.iter().filter_map(|name| Some((name, headers.get(name)?))) {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b':');
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(body);
    text
}

fn again(sealing: &Sealing, status: u16, answer: Vec<u8>) -> Result<Response, Problem> {
    let answer = sealing.open(answer).ok_or_else(broken)?;
    let status = StatusCode::from_u16(status).map_err(|_| broken())?;
    let (mut headers, mut rest) = (HeaderMap::new(), answer.as_slice());
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).map_err(|_| broken())?;
        headers.insert(name, HeaderValue::from_bytes(value.get(1..).unwrap_or_default()).map_err(|_| broken())?);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok((status, headers, Bytes::copy_from_slice(rest)).into_response())
}

fn chance() -> Result<Uuid, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| broken())?;
    Ok(Builder::from_random_bytes(bytes).into_uuid())
}

fn broken() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "This request met a mistake of ours.")
}
