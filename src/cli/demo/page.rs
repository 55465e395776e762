//! The page's door: the page itself, what it shows as it changes (server-sent events), and what is done on it.
//!
//! It can do things, so it answers only whoever names this machine as its own, and heeds only posts that come from its own page.
//! Nothing is decided here.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, post},
};
use futures_util::Stream;
use minijinja::{Environment, context};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    board::Item,
    stage::{Stage, Thing, Whose, Wrong},
    telling,
    texts::{LANGUAGES, Texts},
};
use crate::lifecycle::Lifecycle;

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/demo/", $name))
    };
}

const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

#[derive(Clone)]
struct Door {
    stage: Arc<Stage>,
    life: Lifecycle,
}

pub fn router(stage: Arc<Stage>, life: Lifecycle) -> Router {
    const ACT_MAX: usize = 16 * 1024;
    Router::new()
        .route("/", get(page))
        .route("/demo.css", get(async || asset("text/css; charset=utf-8", file!("demo.css"))))
        .route("/demo.js", get(async || asset("text/javascript; charset=utf-8", file!("demo.js"))))
        .route("/events", get(events))
        .route("/do", post(act))
        .layer(DefaultBodyLimit::max(ACT_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(Door { stage, life })
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text)
}

/// Lets in who calls us by a name of this machine alone: a page of somebody else whose name was made to lead here does not.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_ours(request.method(), request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "Open this page by its own address, http://127.0.0.1 with its port.\n").into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn is_ours(method: &Method, headers: &HeaderMap) -> bool {
    let said = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(host) = said(header::HOST) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    if !["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        return false;
    }
    let from_here = said(header::ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") == Some(host));
    from_here || *method == Method::GET
}

#[derive(Deserialize)]
struct Wanted {
    lang: Option<String>,
}

impl Wanted {
    fn texts(&self, headers: &HeaderMap) -> Texts<'static> {
        let wish = || headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Texts::of(self.lang.as_deref().unwrap_or_else(wish))
    }
}

async fn page(State(door): State<Door>, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    let t = wanted.texts(&headers);
    let form = door.stage.form.as_ref();
    let wording = form.and_then(|form| form.wording(t.language));
    let spoken = |language: &str| Texts::of(language).say("language", &[]);
    let values = context! {
        t => t.all(),
        texts => json!(t.all()).to_string(),
        language => t.language,
        lang => t.language.replace('_', "-"),
        languages => LANGUAGES.map(|(name, lang)| context! { name, lang, label => spoken(name), current => name == t.language }),
        brand => form.map_or("Tienda Ejemplo", |form| form.brand.as_str()),
        title => wording.map(|wording| wording.title.as_str()),
        consent => wording.map(|wording| wording.consent.as_str()),
        sms => form.is_some(),
        phone => door.stage.owner.phone.as_str(),
        name => door.stage.owner.name,
    };
    let mut pages = Environment::new();
    let rendered = pages
        .add_template("page.html", file!("page.html"))
        .and_then(|()| pages.get_template("page.html")?.render(values));
    match rendered {
        Ok(html) => asset_of(html),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("The page cannot be made: {error}\n")).into_response()
        }
    }
}

fn asset_of(html: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], html).into_response()
}

/// Everything that is on the board, and then what changes.
async fn events(
    State(door): State<Door>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let t = wanted.texts(&headers);
    let moved = door.stage.board.look();
    let stream = futures_util::stream::unfold((door, moved, 0), move |(door, mut moved, seen)| async move {
        loop {
            moved.mark_unchanged();
            let (now, news) = door.stage.board.since(seen);
            if now > seen {
                let shown: Vec<Value> = news.iter().map(|item| show(item, t)).collect();
                return Some((Ok(Event::default().data(Value::from(shown).to_string())), (door, moved, now)));
            }
            tokio::select! {
                moved = moved.changed() => moved.ok()?,
                () = door.life.soft().cancelled() => return None,
            }
            // What comes together is told together.
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn show(item: &Item, t: Texts<'_>) -> Value {
    let (is, what) = match item {
        Item::Score(score) => ("score", json!(score)),
        Item::Worker(worker) => ("worker", json!(worker)),
        Item::Breaks(breaks) => ("breaks", json!(breaks)),
        Item::Owner(owner) => ("owner", json!(owner)),
        Item::Rush(rush) => ("rush", json!(rush)),
        Item::Bubble(bubble) => ("bubble", json!(bubble)),
        Item::Tale(tale) => ("tale", json!(telling::tell(tale, t))),
        Item::Letter(written) => ("tale", json!(telling::tell_letter(written, t))),
    };
    json!({"is": is, "what": what})
}

/// What can be done on the page.
#[derive(Debug, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
enum Act {
    Order { kind: Kind, whose: Whose, language: String },
    Rush { orders: usize },
    OptIn { sms: bool, language: String },
    Say { text: String, sms: bool },
    Press { message: String, payload: String },
    LoseAnswers { answers: u64 },
    Set { thing: Thing, on: bool },
    Kill,
    Start,
}

/// The events that the shop's buttons publish.
#[derive(Debug, Clone, Copy, Deserialize)]
enum Kind {
    #[serde(rename = "order.confirmed")]
    Confirmed,
    #[serde(rename = "shipment.dispatched")]
    Dispatched,
    #[serde(rename = "shipment.out_for_delivery")]
    OutForDelivery,
    #[serde(rename = "shipment.delivered")]
    Delivered,
    #[serde(rename = "shipment.arriving")]
    Arriving,
    #[serde(rename = "order.payment_failed")]
    PaymentFailed,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Confirmed => "order.confirmed",
            Kind::Dispatched => "shipment.dispatched",
            Kind::OutForDelivery => "shipment.out_for_delivery",
            Kind::Delivered => "shipment.delivered",
            Kind::Arriving => "shipment.arriving",
            Kind::PaymentFailed => "order.payment_failed",
        }
    }
}

/// Orders at once, at most.
const RUSH_MAX: usize = 5_000;

async fn act(State(door): State<Door>, Json(act): Json<Act>) -> Response {
    let stage = &door.stage;
    let done = match act {
        Act::Order { kind, whose, language } => {
            // Other people keep the language that they speak.
            let language = (whose == Whose::Own).then(|| Texts::of(&language).language);
            stage.order(kind.as_str(), whose, language).await
        }
        Act::Rush { orders } => {
            stage.rush(orders.clamp(1, RUSH_MAX)).await;
            Ok(())
        }
        Act::OptIn { sms, language } => stage.opt_in(sms, Texts::of(&language).language).await,
        Act::Say { text, sms } => stage.say(text.trim(), sms),
        Act::Press { message, payload } => stage.press(&message, &payload),
        Act::LoseAnswers { answers } => {
            stage.set(Thing::Going, true);
            stage.lose_answers(answers.clamp(1, 100))
        }
        Act::Set { thing, on } => {
            stage.set(thing, on);
            Ok(())
        }
        Act::Kill => {
            // A shop does not stand still meanwhile; what is reported of later messages is what settles doubts.
            stage.set(Thing::Going, true);
            stage.worker.kill().await.map(drop).map_err(|_| Wrong::Impossible)
        }
        Act::Start => stage.worker.start().await.map_err(|_| Wrong::Impossible),
    };
    match done {
        Ok(()) => Json(json!({"done": true})).into_response(),
        Err(wrong) => {
            let key = match wrong {
                Wrong::NoDoor => "wrong_no_door",
                Wrong::NoBroker => "wrong_no_broker",
                Wrong::Impossible => "wrong_impossible",
            };
            (StatusCode::CONFLICT, Json(json!({"wrong": key}))).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_s_own_page_is_heeded() {
        let asks = |method: Method, host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            is_ours(&method, &headers)
        };
        assert!(asks(Method::GET, "127.0.0.1:8025", None));
        assert!(asks(Method::GET, "localhost:8025", None));
        assert!(asks(Method::GET, "[::1]:8025", None));
        assert!(!asks(Method::GET, "rebound.example:8025", None));
        assert!(!asks(Method::GET, "127.0.0.1.example:8025", None));
        assert!(asks(Method::POST, "127.0.0.1:8025", Some("http://127.0.0.1:8025")));
        assert!(!asks(Method::POST, "127.0.0.1:8025", None));
        assert!(!asks(Method::POST, "127.0.0.1:8025", Some("null")));
        assert!(!asks(Method::POST, "127.0.0.1:8025", Some("http://localhost:8025")));
        assert!(!asks(Method::POST, "127.0.0.1:8025", Some("http://shop.example")));
        assert!(!is_ours(&Method::GET, &HeaderMap::new()));
    }
}
