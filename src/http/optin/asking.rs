//! The form: shown by us, or posted from the shop's own page.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Extension, Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use minijinja::context;
use serde_json::json;

use super::{
    Wish,
    guard::{Origin, Peer},
    open,
    pages::wishes,
    whatsapp_url,
};
use crate::{
    db::{self, opt_ins},
    domain::{
        form::{Form, Way},
        opt_in::Token,
        phone::Phone,
    },
    http::Desk,
};

/// An ask is answered after this, however soon it is done: the time tells nobody whether a number was known, or was asked about too often.
const ANSWERED_AFTER: Duration = Duration::from_millis(20);

/// What came with a form. Only what the form is made of is kept.
#[derive(Debug, Default)]
struct Posted {
    phone: String,
    language: Option<String>,
    way: Option<Way>,
    purposes: Vec<String>,
    csrf: String,
}

fn read(body: &[u8]) -> Posted {
    let mut posted = Posted::default();
    for (name, value) in form_urlencoded::parse(body) {
        match name.as_ref() {
            "phone" => posted.phone = value.into_owned(),
            "lang" => posted.language = Some(value.into_owned()),
            "way" => posted.way = Way::named(&value),
            "purpose" => posted.purposes.push(value.into_owned()),
            "csrf" => posted.csrf = value.into_owned(),
            _ => {}
        }
    }
    posted
}

/// The form's language that suits a person best: chosen, wished by the browser, or the form's own.
pub(super) fn language<'a>(form: &'a Form, chosen: Option<&str>, headers: &HeaderMap) -> &'a str {
    let wishes = wishes(headers);
    form.language(chosen.into_iter().chain(wishes.iter().map(String::as_str)))
}

pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(form) = desk.reception.public.forms.get(&name) else {
        return desk.reception.pages.unknown(&headers);
    };
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let chosen = query.into_iter().find(|(name, _)| name == "lang").map(|(_, value)| value.into_owned());
    let language = language(form, chosen.as_deref(), &headers).to_owned();
    page(&desk, form, &language, &headers, &Posted::default(), None)
}

/// The form, empty or with what was wrong in it.
fn page(
    desk: &Desk,
    form: &Form,
    language: &str,
    headers: &HeaderMap,
    posted: &Posted,
    wrong: Option<(StatusCode, &str)>,
) -> Response {
    let (pages, gate) = (&desk.reception.pages, &desk.reception.gate);
    let ways = desk.reception.public.ways(form);
    let (Some(wording), Some(first)) = (form.wording(language), ways.first()) else {
        return pages.message(StatusCode::SERVICE_UNAVAILABLE, "closed", language, Some(form), context! {});
    };
    let secret = match gate.held(headers) {
        Some(held) => held,
        None => match super::random() {
            Ok(random) => Token::of(&random).reveal().to_owned(),
            Err(problem) => return problem.into_response(),
        },
    };
    let way = posted.way.unwrap_or(*first);
    // Nothing is ticked beforehand: what somebody left as it was is no consent.
    let asked = |purpose: &str| posted.purposes.iter().any(|one| one == purpose);
    let label = |way: Way| match way {
        Way::Whatsapp => pages.text(language, "by_whatsapp"),
        Way::Sms => pages.text(language, "by_sms"),
    };
    let values = context! {
        title => wording.title.as_str(),
        intro => wording.intro.as_str(),
        consent => wording.consent.as_str(),
        purposes => form.purposes.iter().map(|purpose| context! {
            name => purpose, label => wording.purposes.get(purpose), checked => asked(purpose),
        }).collect::<Vec<_>>(),
        ways => ways.iter().map(|one| context! {
            name => one.as_str(), label => label(*one), checked => *one == way,
        }).collect::<Vec<_>>(),
        languages => form.languages().map(|one| context! {
            href => format!("/opt-in/{}?lang={one}", form.name), lang => one.replace('_', "-"), label => pages.text(one, "language"),
            current => one == language,
        }).collect::<Vec<_>>(),
        action => format!("/opt-in/{}", form.name),
        csrf => secret.as_str(),
        phone => posted.phone.as_str(),
        error => wrong.map(|(_, key)| pages.text(language, key)),
    };
    let status = wrong.map_or(StatusCode::OK, |(status, _)| status);
    let mut response = pages.page(status, "form.html", language, Some(form), values);
    if let Ok(cookie) = HeaderValue::try_from(gate.cookie(&secret)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

pub(super) async fn ask(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let reception = &desk.reception;
    let Some(form) = reception.public.forms.get(&name) else {
        return reception.pages.unknown(&headers);
    };
    let posted = read(&body);
    let origin = reception.gate.origin(form, &headers);
    let mut response = heed(&desk, form, &posted, &origin, peer.map(|Extension(peer)| peer), &headers).await;
    if let Origin::Shop(origin) = origin {
        allow(&mut response, &origin);
    }
    response
}

async fn heed(
    desk: &Desk,
    form: &Form,
    posted: &Posted,
    origin: &Origin,
    peer: Option<Peer>,
    headers: &HeaderMap,
) -> Response {
    let (public, gate) = (&desk.reception.public, &desk.reception.gate);
    let language = language(form, posted.language.as_deref(), headers).to_owned();
    let refuse = |status, key| {
        if wants_json(headers) {
            let error = desk.reception.pages.text(&language, key);
            return (status, axum::Json(json!({"error": key, "message": error}))).into_response();
        }
        page(desk, form, &language, headers, posted, Some((status, key)))
    };
    let source = match origin {
        Origin::Shop(_) => "site",
        Origin::Ours | Origin::Unsaid if gate.is_own_form(headers, &posted.csrf) => "page",
        Origin::Ours | Origin::Unsaid | Origin::Stranger => return refuse(StatusCode::FORBIDDEN, "stale"),
    };
    let address = gate.address(headers, peer);
    if !gate.admits(address, desk.doors.clock.instant()) {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "too_often");
    }
    let ways = public.ways(form);
    let Some(way) = posted.way.filter(|way| ways.contains(way)).or(ways.first().copied()) else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "closed");
    };
    let Ok(phone) = Phone::parse_in(&posted.phone, &form.country) else {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "bad_phone");
    };
    let purposes: Vec<String> = form.purposes.iter().filter(|one| posted.purposes.contains(one)).cloned().collect();
    if purposes.is_empty() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "no_purpose");
    }
    match has_room(desk, form).await {
        Ok(true) => {}
        Ok(false) => return refuse(StatusCode::TOO_MANY_REQUESTS, "closed"),
        Err(_) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "sorry"),
    }
    let from = json!({
        "address": address, "user_agent": user_agent(headers), "origin": headers.get(header::ORIGIN).and_then(|o| o.to_str().ok()),
    });
    let wish = Wish { form, phone, language: &language, purposes, way, source, from };
    let answered = tokio::time::Instant::now() + ANSWERED_AFTER;
    let opened = open(desk, wish).await;
    tokio::time::sleep_until(answered).await;
    let Ok(opened) = opened else { return refuse(StatusCode::SERVICE_UNAVAILABLE, "sorry") };
    let wait = format!("/opt-in/{}/wait/{}", form.name, opened.token.reveal());
    if wants_json(headers) {
        let message = format!("{} {}", form.word, opened.token.message_code());
        let number = public.lines.get(&form.name).and_then(|lines| lines.whatsapp.as_ref());
        let told = json!({
            "wait_url": format!("{}{wait}", public.base_url), "state_url": format!("{}{wait}/state", public.base_url),
            "way": way.as_str(),
            "whatsapp_url": number.filter(|_| way == Way::Whatsapp).map(|number| whatsapp_url(number, &message)),
        });
        return (StatusCode::ACCEPTED, axum::Json(told)).into_response();
    }
    // Relative for our own page, so that it also works where the public address is not known.
    let place = if matches!(origin, Origin::Shop(_)) { format!("{}{wait}", public.base_url) } else { wait };
    see_other(&place)
}

/// Whether a form takes one more today. How many there were is counted in the database only now and then.
async fn has_room(desk: &Desk, form: &Form) -> Result<bool, db::Error> {
    let (days, most) = (&desk.reception.gate.days, desk.reception.public.limits.asks_per_form);
    if days.is_due(&form.name, desk.doors.clock.instant()) {
        let asks = opt_ins::asked_by_form(&desk.doors.pools.public, &form.name, most.into()).await?;
        days.counted(&form.name, asks);
    }
    let admitted = days.admits(&form.name, most.into());
    if !admitted && days.is_news(&form.name, most.into()) {
        tracing::error!(form = form.name, "opt_in.form_full: forms.asks_per_form is used up for 24 hours");
    }
    Ok(admitted)
}

pub(super) fn see_other(place: &str) -> Response {
    match HeaderValue::try_from(place) {
        Ok(place) => (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// As much of it as evidence needs.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(300).collect())
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|a| a.starts_with("application/json"))
}

/// Before a shop's script may post.
pub(super) async fn preflight(State(desk): State<Arc<Desk>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(form) = desk.reception.public.forms.get(&name)
        && let Origin::Shop(origin) = desk.reception.gate.origin(form, &headers)
    {
        allow(&mut response, &origin);
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("accept, content-type"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Lets the shop's page read the answer.
pub(super) fn allow(response: &mut Response, origin: &str) {
    if let Ok(origin) = HeaderValue::try_from(origin) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
}
