//! The second step: the page that waits for it, and the link of an SMS, whose GET changes nothing.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use minijinja::{Value, context};
use serde_json::json;

use super::{
    asking::{allow, see_other, user_agent},
    guard::{Origin, Peer},
    pages::qr,
    preferences, token_id, whatsapp_url,
};
use crate::{
    db::{
        self,
        opt_ins::{self, Confirmed, OptIn, Proof},
    },
    domain::{
        form::{Form, Way},
        opt_in::{Token, Verdict},
        phone::Phone,
    },
    http::Desk,
};

/// The opt-in behind a waiting page of this form.
async fn awaited(desk: &Desk, form: &str, token: &str) -> Result<Option<(Token, OptIn)>, db::Error> {
    let Some(token) = Token::read(token) else { return Ok(None) };
    let found = opt_ins::awaited(&desk.doors.pools.public, &token.hash()).await?;
    Ok(found.filter(|opt_in| opt_in.form == form).map(|opt_in| (token, opt_in)))
}

/// How an opt-in stands for whoever waits for it: pending, confirmed, refused, expired. One that was asked for too often looks
/// like any other that nobody answers.
fn stands(opt_in: &OptIn, now: jiff::Timestamp) -> &'static str {
    match opt_in.standing().judge(now) {
        Verdict::Already => "confirmed",
        Verdict::Refused => "refused",
        Verdict::Expired if now > opt_in.expires_at => "expired",
        Verdict::Expired | Verdict::Confirm | Verdict::WrongCode { .. } | Verdict::TooManyTries => "pending",
    }
}

pub(super) async fn wait(
    State(desk): State<Arc<Desk>>,
    Path((name, token)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    waiting(&desk, &name, &token, &headers, None).await
}

async fn waiting(
    desk: &Desk,
    name: &str,
    token: &str,
    headers: &HeaderMap,
    wrong: Option<(StatusCode, String)>,
) -> Response {
    let (pages, public) = (&desk.reception.pages, &desk.reception.public);
    let Some(form) = public.forms.get(name) else { return pages.unknown(headers) };
    let (token, opt_in) = match awaited(desk, name, token).await {
        Ok(Some(found)) => found,
        Ok(None) => return pages.unknown(headers),
        Err(_) => return pages.sorry(headers, Some(form)),
    };
    let language = &opt_in.locale;
    match stands(&opt_in, desk.doors.clock.now()) {
        "confirmed" => return seen_done(desk, form, &opt_in),
        "refused" => return pages.message(StatusCode::OK, "refused", language, Some(form), context! {}),
        "expired" => return over(desk, form, language),
        _ => {}
    }
    let path = format!("/opt-in/{name}/wait/{}", token.reveal());
    let way = opt_in.way.unwrap_or(Way::Whatsapp);
    let message = format!("{} {}", form.word, token.message_code());
    let number = public.lines.get(name).and_then(|lines| lines.whatsapp.as_ref());
    let link = number.filter(|_| way == Way::Whatsapp).map(|number| whatsapp_url(number, &message));
    let status = wrong.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let values = context! {
        way => way.as_str(),
        qr => link.as_deref().map(qr),
        whatsapp_url => link,
        whatsapp_number => number.map(Phone::spaced),
        whatsapp_message => message,
        error => wrong.map(|(_, text)| text),
        action => path.as_str(),
        state_url => format!("{path}/state"),
        form_url => format!("/opt-in/{name}?lang={language}"),
    };
    pages.page(status, "waiting.html", language, Some(form), values)
}

pub(super) async fn state(
    State(desk): State<Arc<Desk>>,
    Path((name, token)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let now = desk.doors.clock.now();
    let mut response = match awaited(&desk, &name, &token).await {
        Ok(Some((_, opt_in))) => Json(json!({"state": stands(&opt_in, now)})).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, Json(json!({"state": "unknown"}))).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    if let Some(form) = desk.reception.public.forms.get(&name)
        && let Origin::Shop(origin) = desk.reception.gate.origin(form, &headers)
    {
        allow(&mut response, &origin);
    }
    response
}

/// Somebody types the code of the SMS into the waiting page.
pub(super) async fn type_code(
    State(desk): State<Arc<Desk>>,
    Path((name, token)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let pages = &desk.reception.pages;
    let Some(secret) = Token::read(&token) else { return pages.unknown(&headers) };
    let code = form_urlencoded::parse(&body).find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
    let address = desk.reception.gate.address(&headers, peer.map(|Extension(peer)| peer));
    let evidence = json!({
        "by": "code", "token": token_id(&secret), "from": {"address": address, "user_agent": user_agent(&headers)},
    });
    let proof = Proof::Typed { wait: secret.hash(), code: code.unwrap_or_default() };
    let confirmed = match opt_ins::confirm(&desk.doors.pools.public, proof, evidence, desk.doors.clock.now()).await {
        Ok(confirmed) => confirmed,
        Err(_) => return pages.sorry(&headers, None),
    };
    let language = confirmed.opt_in.as_ref().map_or_else(|| pages.spoken(&headers), |opt_in| opt_in.locale.clone());
    let form = confirmed.opt_in.as_ref().and_then(|opt_in| desk.reception.public.forms.get(&opt_in.form));
    let wrong = match confirmed.verdict {
        Verdict::Confirm => {
            tell(&confirmed, "code");
            if let (Some(opt_in), Some(form)) = (&confirmed.opt_in, form) {
                return done(&desk, form, opt_in, confirmed.contact).await;
            }
            None
        }
        Verdict::Already | Verdict::Refused => None,
        Verdict::WrongCode { left } if left > 0 => Some(format!("{} {left}", pages.text(&language, "wrong_code"))),
        Verdict::WrongCode { .. } | Verdict::TooManyTries | Verdict::Expired => {
            Some(pages.text(&language, "code_over"))
        }
    };
    match wrong {
        None => see_other(&format!("/opt-in/{name}/wait/{token}")),
        Some(wrong) => waiting(&desk, &name, &token, &headers, Some((StatusCode::UNPROCESSABLE_ENTITY, wrong))).await,
    }
}

fn tell(confirmed: &Confirmed, how: &'static str) {
    let form = confirmed.opt_in.as_ref().map_or("-", |opt_in| opt_in.form.as_str());
    tracing::info!(form, how, "opt_in.confirmed");
}

/// The page of an SMS's link. Link scanners see it too: nothing happens here.
pub(super) async fn show_link(
    State(desk): State<Arc<Desk>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let (pages, public) = (&desk.reception.pages, &desk.reception.public);
    let Some(secret) = Token::read(&token) else { return pages.unknown(&headers) };
    let opt_in = match opt_ins::linked(&desk.doors.pools.public, &secret.hash()).await {
        Ok(Some(opt_in)) => opt_in,
        Ok(None) => return pages.unknown(&headers),
        Err(_) => return pages.sorry(&headers, None),
    };
    let Some(form) = public.forms.get(&opt_in.form) else { return pages.unknown(&headers) };
    match opt_in.standing().judge(desk.doors.clock.now()) {
        Verdict::Confirm | Verdict::WrongCode { .. } | Verdict::TooManyTries => {}
        Verdict::Already => return used(&desk, form, &opt_in),
        Verdict::Refused => return pages.message(StatusCode::OK, "refused", &opt_in.locale, Some(form), context! {}),
        Verdict::Expired => return over(&desk, form, &opt_in.locale),
    }
    let wording = form.wording(&opt_in.locale);
    let label = |purpose: &String| wording.and_then(|wording| wording.purposes.get(purpose)).unwrap_or(purpose).clone();
    let values = context! {
        consent => wording.map(|wording| wording.consent.as_str()),
        purposes => opt_in.purposes.iter().map(label).collect::<Vec<_>>(),
        action => format!("/c/{token}"),
        refuse_action => format!("/c/{token}/no"),
    };
    pages.page(StatusCode::OK, "confirm.html", &opt_in.locale, Some(form), values)
}

pub(super) async fn confirm_link(
    State(desk): State<Arc<Desk>>,
    Path(token): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    press(&desk, &token, peer, &headers, true).await
}

pub(super) async fn refuse_link(
    State(desk): State<Arc<Desk>>,
    Path(token): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    press(&desk, &token, peer, &headers, false).await
}

async fn press(desk: &Desk, token: &str, peer: Option<Extension<Peer>>, headers: &HeaderMap, yes: bool) -> Response {
    let (pages, public) = (&desk.reception.pages, &desk.reception.public);
    let Some(secret) = Token::read(token) else { return pages.unknown(headers) };
    let address = desk.reception.gate.address(headers, peer.map(|Extension(peer)| peer));
    let evidence = json!({
        "by": "link", "token": token_id(&secret), "from": {"address": address, "user_agent": user_agent(headers)},
    });
    let (pool, now) = (&desk.doors.pools.public, desk.doors.clock.now());
    let done_so = if yes {
        opt_ins::confirm(pool, Proof::Link(secret.hash()), evidence, now).await
    } else {
        opt_ins::refuse(pool, secret.hash(), evidence, now).await
    };
    let Ok(confirmed) = done_so else { return pages.sorry(headers, None) };
    let Some(opt_in) = &confirmed.opt_in else { return pages.unknown(headers) };
    let Some(form) = public.forms.get(&opt_in.form) else { return pages.unknown(headers) };
    match confirmed.verdict {
        Verdict::Confirm if yes => {
            tell(&confirmed, "link");
            done(desk, form, opt_in, confirmed.contact).await
        }
        Verdict::Confirm => {
            tracing::info!(form = form.name, "opt_in.refused");
            pages.message(StatusCode::OK, "refused", &opt_in.locale, Some(form), context! {})
        }
        Verdict::Already => used(desk, form, opt_in),
        Verdict::Refused => pages.message(StatusCode::OK, "refused", &opt_in.locale, Some(form), context! {}),
        Verdict::Expired | Verdict::WrongCode { .. } | Verdict::TooManyTries => over(desk, form, &opt_in.locale),
    }
}

/// It is confirmed. Whoever pressed the link's button or typed the code gets a link to their preferences, since the phone is theirs.
async fn done(desk: &Desk, form: &Form, opt_in: &OptIn, holder: Option<i64>) -> Response {
    let preferences_url = match holder {
        Some(contact) => preferences::link(desk, contact).await.ok(),
        None => None,
    };
    let values: Value = context! { preferences_url, return_url => form.return_url.as_deref() };
    desk.reception.pages.message(StatusCode::OK, "done", &opt_in.locale, Some(form), values)
}

/// What the waiting page shows once it is confirmed. Whoever waits need not be whoever holds the phone, so the way to the preferences is
/// not here: it is in the message that the phone has got.
fn seen_done(desk: &Desk, form: &Form, opt_in: &OptIn) -> Response {
    let pages = &desk.reception.pages;
    let written = opt_in.way == Some(Way::Whatsapp)
        && form.wording(&opt_in.locale).is_some_and(|wording| wording.says.confirmed.contains("{preferences}"));
    let values = context! {
        return_url => form.return_url.as_deref(),
        note => written.then(|| pages.text(&opt_in.locale, "preferences_there")),
    };
    let key = if opt_in.elsewhere { "done_other" } else { "done" };
    pages.message(StatusCode::OK, key, &opt_in.locale, Some(form), values)
}

/// The link was used before: nothing happens, and nothing is wrong. Much may have been said since.
fn used(desk: &Desk, form: &Form, opt_in: &OptIn) -> Response {
    let values = context! { return_url => form.return_url.as_deref() };
    desk.reception.pages.message(StatusCode::OK, "used", &opt_in.locale, Some(form), values)
}

fn over(desk: &Desk, form: &Form, language: &str) -> Response {
    let values = context! { form_url => format!("/opt-in/{}?lang={language}", form.name) };
    desk.reception.pages.message(StatusCode::GONE, "expired", language, Some(form), values)
}
