//! The doors: who may ask, and what they are told. One listener for providers, people and backends; one for Prometheus and
//! whoever supervises.
//!
//! Nothing is decided here and nothing is done that outlives a request: the loops do that, and they and the doors meet in
//! Postgres. A request is answered within its time, also if a handler panics, and is logged without its query and body.

mod audit;
pub mod auth;
mod brake;
pub mod console;
pub mod costs;
mod events;
mod health;
pub mod holds;
mod idempotency;
pub mod notifications;
pub mod openapi;
pub mod optin;
mod paging;
pub mod plans;
mod problem;
mod rejected;
pub mod senders;
mod serving;
mod webhooks;

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Bytes, HttpBody},
    extract::{DefaultBodyLimit, FromRequest, MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use futures_util::FutureExt;
use secrecy::SecretString;
use tokio::sync::Semaphore;

pub use events::Events;
pub use health::Standing;
pub use problem::Problem;
pub use serving::serve;

use crate::{clock::Clock, config, db::Pools, domain::cost::Prices, provider::Dialect, telemetry::Figures};

/// What the doors need.
#[derive(Clone)]
pub struct Doors {
    pub pools: Pools,
    pub clock: Clock,
    /// The configured senders by name, as their webhooks are told from forgeries.
    pub senders: BTreeMap<String, Secrets>,
    pub limits: Limits,
    /// What messages cost, by sender.
    pub prices: Arc<HashMap<i16, Prices>>,
    /// The doors through which people say yes and no.
    pub public: optin::Public,
    /// What the operators' pages go by.
    pub console: config::Console,
    /// What they know of the senders and of doubts, by the settings.
    pub bounds: console::Bounds,
    /// Where events go that are brought here.
    pub events: Events,
    /// Called when a webhook was stored: whoever applies them is to look.
    pub stored: Arc<dyn Fn() + Send + Sync>,
    /// Called when a genuine webhook was not stored: the provider sends it again, but nobody knows when.
    pub turned_away: Arc<dyn Fn() + Send + Sync>,
    /// How this process stands, apart from its database.
    pub standing: Arc<dyn Fn() -> Standing + Send + Sync>,
}

/// What a sender's provider proves its webhooks with.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    pub dialect: Dialect,
    /// The present one, and the one before while it is being changed.
    pub app: Vec<SecretString>,
    /// What the provider presents when the address is set up; without it nobody can.
    pub verify: Option<SecretString>,
    /// What comes is handed on as well.
    pub relayed: bool,
}

impl Secrets {
    /// A sender's secrets, as far as they were given.
    #[must_use]
    pub fn of(sender: &config::Sender) -> Secrets {
        let given = |secret: &config::Secret| secret.reveal().ok().map(SecretString::from);
        let relayed = sender.relay.is_some();
        match &sender.provider {
            config::Provider::Meta(meta) => Secrets {
                dialect: Dialect::Meta,
                app: [&meta.app_secret, &meta.previous_app_secret].into_iter().filter_map(given).collect(),
                verify: given(&meta.verify_token),
                relayed,
            },
            config::Provider::Twilio(twilio) | config::Provider::TwilioSms(twilio) => {
                let app = given(&twilio.auth_token).into_iter().collect();
                Secrets { dialect: Dialect::Twilio, app, verify: None, relayed }
            }
        }
    }
}

/// How much a request may be and take. Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub webhook_body: usize,
    pub api_body: usize,
    pub request_timeout: Duration,
}

impl Limits {
    #[must_use]
    pub fn of(http: &config::Http) -> Limits {
        Limits {
            webhook_body: http.webhook_body_limit,
            api_body: http.api_body_limit,
            request_timeout: http.request_timeout,
        }
    }
}

/// What every handler can reach.
struct Desk {
    doors: Doors,
    health: health::Memory,
    large: webhooks::Large,
    /// The same for what shop systems sign.
    large_events: webhooks::Large,
    questions: Semaphore,
    /// One plan is reckoned at a time.
    reckoning: Semaphore,
    reception: optin::Reception,
    console: console::Console,
    places: events::Places,
}

/// So many questions of the API are asked of the database at once; it has other work to do with the same connections.
const QUESTIONS_AT_ONCE: usize = 2;

impl Desk {
    fn new(doors: Doors) -> Arc<Desk> {
        let large = webhooks::Large::new(doors.limits.webhook_body);
        let large_events = webhooks::Large::new(doors.limits.api_body);
        let (health, questions) = (health::Memory::default(), Semaphore::new(QUESTIONS_AT_ONCE));
        let reception = optin::Reception::new(doors.public.clone());
        let console = console::Console::new(&doors.console, &doors.public.base_url, &doors.public.trusted_proxies);
        let places = events::Places::default();
        let reckoning = Semaphore::new(1);
        Arc::new(Desk { doors, health, large, large_events, questions, reckoning, reception, console, places })
    }
}

/// Everything for the world: all but `/metrics`.
pub fn router(doors: Doors) -> Router {
    let limits = doors.limits;
    let desk = Desk::new(doors);
    let webhooks = Router::new()
        .route("/webhooks/{sender}", get(webhooks::verify).post(webhooks::receive))
        .layer(DefaultBodyLimit::max(limits.webhook_body));
    let api = Router::new()
        .route("/v1/notifications", get(notifications::list))
        .route("/v1/notifications/{id}", get(notifications::one))
        .route("/v1/audit", get(audit::list))
        .route("/v1/costs", get(costs::list))
        .route("/v1/rejected-events", get(rejected::list))
        .route("/v1/senders", get(senders::list))
        .route("/v1/holds", get(holds::list).post(holds::place))
        .route("/v1/holds/{id}", delete(holds::release))
        .route("/v1/plans", get(plans::list).post(plans::make))
        .route("/v1/plans/{id}", get(plans::one))
        .route("/v1/plans/{id}/run", post(plans::run))
        .route("/v1/plans/{id}/stop", post(plans::stop))
        .merge(optin::api_routes())
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), idempotency::once))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), queue))
        .layer(DefaultBodyLimit::max(limits.api_body));
    let events = Router::new()
        .route("/v1/events", post(events::bring))
        .route("/v1/events/{source}", post(events::bring_own))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), idempotency::once))
        .layer(DefaultBodyLimit::max(limits.api_body));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/openapi.json", get(openapi::serve))
        .merge(webhooks)
        .merge(api)
        .merge(events)
        .merge(optin::routes(&desk))
        .merge(console::routes(&desk))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), attend))
        .with_state(desk)
}

/// `/metrics` and the health checks, for a listener of its own. Every process has it, whatever its roles.
pub fn inside(figures: Figures, doors: Doors) -> Router {
    let render = move || async move {
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], figures.render())
    };
    let desk = Desk::new(doors);
    Router::new()
        .route("/metrics", get(render))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), attend))
        .with_state(desk)
}

async fn nowhere() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing at this address.")
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This address does not take this method.")
}

/// Lets in as many as the database is to be asked by. A body is read before, of who has a key: who sends it slowly keeps nobody waiting.
async fn queue(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Result<Response, Problem> {
    // Never closed, so there is a place sooner or later; or the request's time is over.
    if !request.body().is_end_stream() {
        let (mut parts, body) = request.into_parts();
        let place = desk.questions.acquire().await;
        auth::recognise(&mut parts, &desk).await?;
        drop(place);
        let body = whole(Request::from_parts(parts.clone(), body)).await?;
        request = Request::from_parts(parts, body.into());
    }
    let place = desk.questions.acquire().await;
    let response = next.run(request).await;
    drop(place);
    Ok(response)
}

/// A request's body, within the limit that holds for its address.
async fn whole(request: Request) -> Result<Bytes, Problem> {
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "A request has at most http.api_body_limit bytes.")
        }
        _ => Problem::bad("The body could not be read to its end."),
    })
}

/// Answers in time and whatever happens, and says so in the log.
async fn attend(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let began = desk.doors.clock.instant();
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(desk.doors.limits.request_timeout, answer).await {
        Ok(Ok(response)) => response,
        // What a panic says may hold anything; the panic hook has told the place.
        Ok(Err(_)) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "This request met a mistake of ours.").into_response()
        }
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "This request took too long.").into_response(),
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let status = response.status().as_u16();
    let took_ms = u64::try_from((desk.doors.clock.instant() - began).as_millis()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(%method, path, status, took_ms, "http.answered");
    } else {
        tracing::debug!(%method, path, status, took_ms, "http.answered");
    }
    response
}

#[cfg(test)]
mod tests;
