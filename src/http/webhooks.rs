//! The provider's door: a webhook is verified over its raw bytes, stored, and answered. What it says is read later.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Path, Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Desk, Problem,
    openapi::{Described, NotFound},
};
use crate::{
    db::{self, webhooks::Original},
    provider::{Dialect, Post},
    telemetry,
};

/// Room for large bodies, so that nobody fills the memory before showing a signature. Small ones need none.
pub(super) struct Large {
    room: Semaphore,
    limit: usize,
}

/// A body above this is large; the provider's are a few kilobytes, mostly.
const SMALL: usize = 64 * 1024;
const LARGE_AT_ONCE: usize = 16;
/// The longest challenge that is given back.
const CHALLENGE_MAX: usize = 1_024;

impl Large {
    pub(super) fn new(limit: usize) -> Large {
        Large { room: Semaphore::new(LARGE_AT_ONCE), limit }
    }

    /// A place for the body that these headers announce; refuses what is announced as too large.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Option<SemaphorePermit<'_>>, StatusCode> {
        match announced(headers) {
            Some(length) if length > self.limit => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Some(length) if length <= SMALL => Ok(None),
            Some(_) | None => self.room.try_acquire().map(Some).map_err(|_| StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// How long the body is that these headers announce.
pub(super) fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[derive(Deserialize)]
pub(super) struct Handshake {
    #[serde(rename = "hub.mode")]
    mode: Option<String>,
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
    #[serde(rename = "hub.verify_token")]
    token: Option<String>,
}

/// The provider makes sure that the address is ours: it gets its challenge back if it knows the token.
#[utoipa::path(get, path = "/webhooks/{sender}", tag = "Webhooks", operation_id = "verifyWebhook",
    summary = "Meta makes sure that the address is ours", security(()),
    params(("sender" = String, Path, description = "The sender's name in the configuration.", example = "main"),
        ("hub.mode" = Option<String>, Query, example = "subscribe"), ("hub.challenge" = Option<String>, Query, example = "1158201444"),
        ("hub.verify_token" = Option<String>, Query, description = "The sender's `verify_token`.")),
    responses((status = 200, description = "The challenge.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 403, description = "The token is not this sender's.", body = Described, content_type = "application/problem+json"),
        (status = 404, response = NotFound)))]
pub(super) async fn verify(
    State(desk): State<Arc<Desk>>,
    Path(sender): Path<String>,
    asked: Result<Query<Handshake>, QueryRejection>,
) -> Result<Response, Problem> {
    let secrets = desk.doors.senders.get(&sender).ok_or_else(unknown_sender)?;
    let refused = || Problem::new(StatusCode::FORBIDDEN, "This is no verification that this sender expects.");
    let Ok(Query(Handshake { mode: Some(mode), challenge: Some(challenge), token: Some(token) })) = asked else {
        return Err(refused());
    };
    let ours = secrets.verify.as_ref().map(ExposeSecret::expose_secret).filter(|ours| !ours.is_empty());
    let known = ours.is_some_and(|ours| bool::from(ours.as_bytes().ct_eq(token.as_bytes())));
    if mode != "subscribe" || !known || challenge.len() > CHALLENGE_MAX {
        tracing::warn!(sender, "webhook.verification: refused");
        return Err(refused());
    }
    tracing::info!(sender, "webhook.verification: passed");
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], challenge).into_response())
}

/// 200 says that the webhook is stored, and nothing else: whatever cannot be stored is sent again by the provider.
#[utoipa::path(post, path = "/webhooks/{sender}", tag = "Webhooks", operation_id = "receiveWebhook",
    summary = "A provider reports", security(()),
    params(("sender" = String, Path, description = "The sender's name in the configuration.", example = "main")),
    request_body(content((Object = "application/json"), (Object = "application/x-www-form-urlencoded")),
        description = "As Meta or Twilio send and sign it: `X-Hub-Signature-256`, `X-Twilio-Signature`."),
    responses((status = 200, description = "It is stored."),
        (status = 401, description = "The signature is missing or not this sender's.", body = Described, content_type = "application/problem+json"),
        (status = 404, response = NotFound),
        (status = 413, description = "It is larger than `http.webhook_body_limit`.", body = Described, content_type = "application/problem+json")))]
pub(super) async fn receive(
    State(desk): State<Arc<Desk>>,
    Path(sender): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let secrets = desk.doors.senders.get(&sender).ok_or_else(unknown_sender)?;
    let refuse = |answer, status, detail| {
        telemetry::count_webhook(&sender, answer);
        tracing::warn!(sender, answer, "webhook.refused");
        Problem::new(status, detail)
    };
    let too_large = || refuse("too_large", StatusCode::PAYLOAD_TOO_LARGE, "A webhook is not that large.");
    let place = desk.large.admit(request.headers()).map_err(|status| match status {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => {
            (desk.doors.turned_away)();
            refuse("failed", status, "Too many large webhooks at once; send it again.").with(header::RETRY_AFTER, "1")
        }
    })?;
    let headers = request.headers().clone();
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().map(str::to_owned));
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => refuse("unreadable", StatusCode::BAD_REQUEST, "The body could not be read to its end."),
    })?;
    let base = &desk.reception.public.base_url;
    let url = query.as_ref().map_or_else(|| format!("{base}{path}"), |query| format!("{base}{path}?{query}"));
    let genuine = secrets.dialect.verify(&secrets.app, Post { url: &url, headers: &headers, body: &body });
    if !genuine {
        return Err(refuse(
            "bad_signature",
            StatusCode::UNAUTHORIZED,
            "The signature is missing or not this sender's.",
        ));
    }
    let came = secrets.relayed.then(|| with(secrets.dialect, &headers, query.as_deref(), &url));
    let (raw, body) = (body.clone(), secrets.dialect.kept(query.as_deref(), body));
    let mut genuine = Genuine { kept: false, turned_away: &*desk.doors.turned_away };
    let pool = &desk.doors.pools.receipts;
    let stored = match &came {
        Some(with) => {
            let original = Original { with, body: (raw != body).then_some(&*raw) };
            db::webhooks::store_to_relay(pool, &sender, &body, &original).await
        }
        None => db::webhooks::store(pool, &sender, &body).await,
    };
    if let Err(error) = stored {
        telemetry::count_webhook(&sender, "failed");
        return Err(Problem::from(error));
    }
    genuine.kept = true;
    drop(place);
    telemetry::count_webhook(&sender, "stored");
    (desk.doors.stored)();
    Ok(StatusCode::OK)
}

/// What proves a webhook to whom it is handed on, and says how to read it.
const HANDED_ON: [&str; 5] =
    ["content-type", "x-hub-signature-256", "x-hub-signature", "x-twilio-signature", "i-twilio-idempotency-token"];

fn with(dialect: Dialect, headers: &HeaderMap, query: Option<&str>, url: &str) -> Value {
    let text = |name: &str| Some((name.to_owned(), Value::from(headers.get(name)?.to_str().ok()?)));
    let headers: Map<String, Value> = HANDED_ON.into_iter().filter_map(text).collect();
    // Twilio signs the address with the body.
    let signed = (dialect == Dialect::Twilio).then_some(url);
    json!({ "headers": headers, "query": query, "url": signed })
}

/// A webhook of the provider's; says so if it was not kept, also if its time was over meanwhile.
struct Genuine<'a> {
    kept: bool,
    turned_away: &'a (dyn Fn() + Send + Sync),
}

impl Drop for Genuine<'_> {
    fn drop(&mut self) {
        if !self.kept {
            (self.turned_away)();
        }
    }
}

fn unknown_sender() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is no sender of this name here.")
}
