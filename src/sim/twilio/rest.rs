//! Twilio's side of HTTP: the addresses of the Messages and Content APIs, who may use them, and the faults on them. What is
//! accepted is decided in `send`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::broken::{self, Processed, Voice};
use super::super::faults::{Fault, On};
use super::super::feed::What;
use super::super::wire::Wire;
use super::super::world::World;
use super::refused::Refused;
use super::request::{Form, field};
use super::{catalogue, messages, send};

pub fn router(world: Arc<World>) -> Router {
    Router::new().route("/2010-04-01/{*path}", any(serve)).route("/v1/{*path}", any(serve)).with_state(world)
}

/// A request that is on its way through.
struct Call {
    world: Arc<World>,
    parts: Parts,
    form: Form,
    body: Bytes,
}

async fn serve(State(world): State<Arc<World>>, Extension(wire): Extension<Wire>, request: Request) -> Response<Body> {
    let sends = request.method() == Method::POST && request.uri().path().ends_with("/Messages.json");
    let on = if sends { On::Messages } else { On::Management };
    if let Some(Fault::Refuse { after_bytes }) = world.faults.at_head(on, wire.is_reused()) {
        world.count_fault("refuse", None);
        return broken::refuse(&wire, request.into_body(), after_bytes).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, broken::BODY_MAX).await else {
        return Refused::new(20422).saying("The request is too large").answer();
    };
    // What is not declared as a form has no parameters.
    let is_form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded"));
    let form: Form = if is_form { form_urlencoded::parse(&body).into_owned().collect() } else { Form::new() };
    let to = if sends && world.faults.any() { send::addressee(&form) } else { None };
    let fault = world.faults.at_body(on, wire.is_reused(), to.as_deref());
    if let Some(fault) = &fault {
        world.count_fault(fault.name(), to.as_deref());
    }
    let call = Call { world: Arc::clone(&world), parts, form, body };
    let answer = broken::act(&world, fault, &wire, Voice::Twilio, |fault, wait| call.process(fault, wait)).await;
    let latency = if sends { world.latency() } else { Duration::ZERO };
    if !latency.is_zero() {
        sleep(latency).await;
    }
    answer
}

impl Call {
    async fn process(self, fault: Option<Fault>, wait: Duration) -> Processed {
        let world = Arc::clone(&self.world);
        let decided = broken::finished(&world, wait, async move { self.decide(fault.as_ref()).await }).await;
        decided.unwrap_or_else(|| Err(Refused::new(20500))).map_err(|refused| refused.answer())
    }

    async fn decide(&self, fault: Option<&Fault>) -> Result<(StatusCode, Value), Refused> {
        let world = &self.world;
        let path: Vec<&str> = self.parts.uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let query: Form =
            form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let account = self.authorized()?;
        match (self.parts.method.as_str(), path.as_slice()) {
            (_, ["2010-04-01", "Accounts", sid, ..]) if sid.trim_end_matches(".json") != account => {
                Err(Refused::new(20003))
            }
            ("POST", ["2010-04-01", "Accounts", _, "Messages.json"]) => {
                let result = match send::take(world, &self.body, &self.form, fault) {
                    Ok(taken) => world.publish(taken).await.ok_or_else(|| Refused::new(20500)),
                    Err(refused) => Err(refused),
                };
                if let Err(refused) = &result {
                    world.feed.tell(world.now_ms(), || What::Refused {
                        code: refused.code,
                        details: refused.message.clone(),
                        to: field(&self.form, "To").ok().flatten(),
                    });
                }
                result.map(|answer| (StatusCode::CREATED, answer))
            }
            ("GET", ["2010-04-01", "Accounts", _, "Messages.json"]) => {
                messages::list(world, &query).map(|list| (StatusCode::OK, list))
            }
            ("GET", ["2010-04-01", "Accounts", _, "Messages", file]) if file.ends_with(".json") => {
                let message = messages::one(world, file.trim_end_matches(".json"));
                message.map(|message| (StatusCode::OK, message)).ok_or_else(|| self.unknown())
            }
            ("GET", ["2010-04-01", "Accounts", _]) => {
                let shown = json!({"sid": account, "friendly_name": "Tienda Prueba", "status": "active", "type": "Full",
                    "uri": format!("/2010-04-01/Accounts/{account}.json")});
                Ok((StatusCode::OK, shown))
            }
            (_, ["2010-04-01", "Accounts", _, "Messages.json"]) => Err(Refused::new(20004)),
            (_, ["v1", rest @ ..]) => {
                let ask = catalogue::Ask {
                    method: &self.parts.method,
                    path: rest,
                    query: &query,
                    body: &self.body,
                    base: &self.base(),
                };
                catalogue::reply(world, &ask)
            }
            _ => Err(self.unknown()),
        }
    }

    /// The sid of the account, if the request has its auth token or one of its API keys.
    fn authorized(&self) -> Result<String, Refused> {
        let given = self
            .parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|text| STANDARD.decode(text.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| Refused::new(20003))?;
        let (user, secret) = given.split_once(':').ok_or_else(|| Refused::new(20003))?;
        let state = self.world.state();
        let exchange = &state.exchange;
        let good = if user == exchange.sid {
            secret == exchange.token
        } else {
            exchange.keys.get(user).is_some_and(|known| secret == known)
        };
        if good { Ok(exchange.sid.clone()) } else { Err(Refused::new(20003)) }
    }

    /// Where the client found us.
    fn base(&self) -> String {
        let host = self.parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        format!("http://{}", host.unwrap_or("content.twilio.com"))
    }

    fn unknown(&self) -> Refused {
        Refused::new(20404).saying(format!("The requested resource {} was not found", self.parts.uri.path()))
    }
}
