//! The doors through which people say yes and no: the hosted form, the shop's own form, the waiting page, the link of an SMS, the
//! preferences, and the API for the shop's backend.
//!
//! Nobody learns here whether a number is known: an ask does the same and looks the same for all. What is said becomes a consent in
//! `db::opt_ins` and the ledger; messages go out elsewhere.

pub(super) mod api;
mod asking;
mod confirming;
mod guard;
mod pages;
mod preferences;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Desk, Problem};
use crate::{
    config::{self, Network},
    db::opt_ins::{self, Ask, Tells, Whom},
    domain::{
        form::{Form, Forms, Way, says::Saying},
        opt_in::{Token, message_code_hash},
        phone::Phone,
    },
};

pub(super) use guard::{Peer, behind, harden, household};
pub(super) use pages::wishes;

/// What these doors need. Without forms they are there and say that there is nothing.
#[derive(Clone)]
pub struct Public {
    /// How the world reaches us, without a slash at the end.
    pub base_url: String,
    pub forms: Forms,
    /// Over which numbers each form's people confirm, by the form's name.
    pub lines: BTreeMap<String, Lines>,
    pub limits: config::Forms,
    pub trusted_proxies: Vec<Network>,
}

/// The numbers of one form.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// The WhatsApp number that people write to.
    pub whatsapp: Option<Phone>,
    /// The sender of SMS.
    pub sms: Option<i16>,
}

impl Public {
    /// Doors without a form.
    #[must_use]
    pub fn closed(limits: config::Forms) -> Public {
        Public {
            base_url: String::new(),
            forms: Forms::default(),
            lines: BTreeMap::new(),
            limits,
            trusted_proxies: Vec::new(),
        }
    }

    /// The ways by which people can really confirm, in the form's order.
    fn ways(&self, form: &Form) -> Vec<Way> {
        let Some(lines) = self.lines.get(&form.name) else { return Vec::new() };
        let open = |way: &Way| match way {
            Way::Whatsapp => lines.whatsapp.is_some(),
            Way::Sms => lines.sms.is_some(),
        };
        form.ways.iter().copied().filter(open).collect()
    }
}

/// What is made of [`Public`] once.
pub(super) struct Reception {
    pub public: Public,
    pages: pages::Pages,
    pub gate: guard::Gate,
}

impl Reception {
    pub(super) fn new(public: Public) -> Reception {
        let gate = guard::Gate::new(&public);
        Reception { public, pages: pages::Pages::new(), gate }
    }
}

/// The pages' addresses; the API's are [`api_routes`].
pub(super) fn routes(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    const FORM_MAX: usize = 16 * 1024;
    Router::new()
        .route("/opt-in/{form}", get(asking::show).post(asking::ask).options(asking::preflight))
        .route("/opt-in/{form}/wait/{token}", get(confirming::wait).post(confirming::type_code))
        .route("/opt-in/{form}/wait/{token}/state", get(confirming::state))
        .route("/c/{token}", get(confirming::show_link).post(confirming::confirm_link))
        .route("/c/{token}/no", post(confirming::refuse_link))
        .route("/preferences/{token}", get(preferences::show).post(preferences::stop))
        .route("/assets/pages.css", get(pages::style))
        .route("/assets/waiting.js", get(pages::script))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(desk), guard::harden))
}

/// The API's addresses for opt-ins and consents.
pub(super) fn api_routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/opt-ins", post(api::ask))
        .route("/v1/opt-ins/{id}", get(api::one))
        .route("/v1/consents/revoke", post(api::revoke))
        .route("/v1/preferences-links", post(api::preferences_link))
}

/// Somebody is to be asked.
struct Wish<'a> {
    form: &'a Form,
    phone: Phone,
    language: &'a str,
    purposes: Vec<String>,
    way: Way,
    source: &'static str,
    /// Where it came from: address, browser, the shop's own evidence.
    from: Value,
}

/// What somebody holds in their hands after an ask.
struct Opened {
    id: uuid::Uuid,
    token: Token,
}

/// Asks. It looks the same to whoever asks, whatever comes of it.
async fn open(desk: &Desk, wish: Wish<'_>) -> Result<Opened, Problem> {
    let public = &desk.reception.public;
    let now = desk.doors.clock.now();
    let token = Token::of(&random()?);
    let id = new_id(now)?;
    let shown = wish.form.shown(wish.language);
    let hash = shown.get("hash").and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = message_code_hash(&token.message_code()).unwrap_or(token.hash());
    let sms = public.lines.get(&wish.form.name).and_then(|lines| lines.sms);
    let tells = sms.filter(|_| wish.way == Way::Sms).map(|sender| Tells {
        saying: Saying::Sms,
        sender,
        because: format!("opt-in {id}"),
        until: now.saturating_add(SignedDuration::from_hours(1)).unwrap_or(now),
    });
    let evidence = json!({
        "by": "form", "source": wish.source, "way": wish.way.as_str(), "shown": shown, "from": wish.from, "token": token_id(&token),
    });
    let asked = opt_ins::ask(
        &desk.doors.pools.public,
        Ask {
            id,
            whom: Whom::Phone(wish.phone),
            form: wish.form.name.clone(),
            locale: wish.form.language([wish.language]).to_owned(),
            purposes: wish.purposes,
            way: wish.way,
            source: wish.source,
            evidence,
            wording: hash,
            at: now,
            wait: token.hash(),
            message,
            tells,
            limits: limits(&public.limits),
        },
    )
    .await?;
    tracing::info!(
        form = wish.form.name,
        source = wish.source,
        limited = asked.limited,
        texted = asked.told,
        "opt_in.asked"
    );
    Ok(Opened { id, token })
}

fn limits(limits: &config::Forms) -> opt_ins::Limits {
    opt_ins::Limits { per_phone: limits.asks_per_phone.into(), texts: limits.texts_per_phone.into() }
}

/// What evidence names a token by: enough to tell it from others, not enough to use it.
fn token_id(token: &Token) -> String {
    token.hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn random() -> Result<[u8; 32], Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| {
        Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, "The system gives no randomness; ask again.")
    })?;
    Ok(bytes)
}

fn new_id(now: jiff::Timestamp) -> Result<uuid::Uuid, Problem> {
    let random = random()?;
    let bytes: [u8; 10] = std::array::from_fn(|at| random.get(at).copied().unwrap_or(0));
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
}

/// The address that opens WhatsApp with a message to this number.
fn whatsapp_url(number: &Phone, message: &str) -> String {
    let text: String = form_urlencoded::byte_serialize(message.as_bytes()).collect();
    format!("https://wa.me/{}?text={}", number.reveal().trim_start_matches('+'), text.replace('+', "%20"))
}
