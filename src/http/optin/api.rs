//! Opt-ins and refusals for the shop's backend.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Wish, open, preferences, whatsapp_url};
use crate::{
    db::{
        audit::{self, Act as Noted},
        consents,
        keys::Role,
        opt_ins,
    },
    domain::{
        form::Way,
        ledger::{EVERYTHING, can_be_refused},
        opt_in::Verdict,
        phone::Phone,
    },
    http::{Desk, Problem, auth::Caller, openapi::NotFound, problem::json_body},
};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OptInWanted)]
pub(super) struct Asked {
    form: String,
    phone: String,
    locale: Option<String>,
    /// All of the form's, if absent.
    purposes: Option<Vec<String>>,
    way: Option<String>,
    /// What the shop knows: the customer's address and browser, the order, the checkbox.
    #[serde(default)]
    evidence: Value,
}

/// Somebody is asked.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = OptInOpened)]
pub(super) struct Opened {
    id: Uuid,
    #[schema(pattern = "^pending$")]
    state: &'static str,
    /// whatsapp or sms.
    way: &'static str,
    /// A page that shows the person how to confirm, and that it worked.
    wait_url: String,
    /// A `wa.me` link that sends `whatsapp_message` with one tap.
    whatsapp_url: Option<String>,
    whatsapp_message: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct OptIn {
    id: Uuid,
    /// pending, confirmed, refused or expired.
    state: &'static str,
    form: String,
    locale: String,
    purposes: Vec<String>,
    asked_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Revoked {
    /// The ledger's entries that say so, by their numbers.
    entries: Vec<i32>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PreferencesLink)]
pub(super) struct Link {
    url: String,
}

const TOO_LARGE: &str = "This is too large.";

#[utoipa::path(post, path = "/v1/opt-ins", tag = "Opt-ins", operation_id = "askOptIn", summary = "Asks somebody whether they want messages",
    request_body(content = Asked, example = json!({"form": "pedidos", "phone": "+34600111222", "locale": "es", "evidence": {"order": "1001"}})),
    responses((status = 201, description = "They are asked; this is how they confirm.", body = Opened), (status = 404, response = NotFound)))]
pub(super) async fn ask(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<(StatusCode, Json<Opened>), Problem> {
    caller.needs(Role::Operator)?;
    let what =
        "An opt-in has form and phone, and if you like locale, purposes (a list), way (whatsapp or sms) and evidence.";
    let asked = json_body(asked, what, TOO_LARGE)?;
    let public = &desk.reception.public;
    let form = public.forms.get(&asked.form).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "There is no form of this name; forms are files in forms.dir.")
    })?;
    let phone = Phone::parse_in(&asked.phone, &form.country).map_err(|why| Problem::unfit(format!("phone {why}.")))?;
    let purposes = asked.purposes.unwrap_or_else(|| form.purposes.clone());
    if purposes.is_empty() || !purposes.iter().all(|purpose| form.purposes.contains(purpose)) {
        return Err(Problem::unfit(format!("purposes are some of {}.", form.purposes.join(", "))));
    }
    let ways = public.ways(form);
    let way = match asked.way.as_deref() {
        Some(name) => Way::named(name).filter(|way| ways.contains(way)),
        None => ways.first().copied(),
    };
    let Some(way) = way else {
        return Err(Problem::unfit(
            "way is one by which this form can be confirmed: whatsapp needs `number` at its sender, sms a sender of the kind twilio_sms.",
        ));
    };
    let language = form.language(asked.locale.as_deref()).to_owned();
    let from = json!({"key": caller.name, "evidence": asked.evidence});
    let opened = open(&desk, Wish { form, phone, language: &language, purposes, way, source: "api", from }).await?;
    let message = format!("{} {}", form.word, opened.token.message_code());
    let number = public.lines.get(&form.name).and_then(|lines| lines.whatsapp.as_ref());
    let told = Opened {
        id: opened.id,
        state: "pending",
        way: way.as_str(),
        wait_url: format!("{}/opt-in/{}/wait/{}", public.base_url, form.name, opened.token.reveal()),
        whatsapp_url: number.filter(|_| way == Way::Whatsapp).map(|number| whatsapp_url(number, &message)),
        whatsapp_message: (way == Way::Whatsapp).then_some(message),
    };
    Ok((StatusCode::CREATED, Json(told)))
}

#[utoipa::path(get, path = "/v1/opt-ins/{id}", tag = "Opt-ins", operation_id = "getOptIn", summary = "How an opt-in stands",
    params(("id" = String, Path, description = "The opt-in's id.", example = "0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b44")),
    responses((status = 200, description = "Its state.", body = OptIn), (status = 404, response = NotFound)))]
pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<OptIn>, Problem> {
    let unknown = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "There is no opt-in of this id (unconfirmed ones are deleted after a week).",
        )
    };
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let opt_in = opt_ins::of(&desk.doors.pools.ops, id).await?.ok_or_else(unknown)?;
    let state = match opt_in.standing().judge(desk.doors.clock.now()) {
        Verdict::Confirm | Verdict::WrongCode { .. } | Verdict::TooManyTries => "pending",
        Verdict::Already => "confirmed",
        Verdict::Refused => "refused",
        Verdict::Expired => "expired",
    };
    Ok(Json(OptIn {
        id: opt_in.id,
        state,
        form: opt_in.form,
        locale: opt_in.locale,
        purposes: opt_in.purposes,
        asked_at: opt_in.asked_at,
        expires_at: opt_in.expires_at,
    }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Revocation)]
pub(super) struct Refused {
    phone: String,
    /// Everything, if absent.
    #[schema(min_items = 1, max_items = 50)]
    purposes: Option<Vec<String>>,
    #[schema(min_length = 1, max_length = 300, pattern = "\\S")]
    reason: String,
}

/// The longest reason, in characters.
const REASON_MAX: usize = 300;

#[utoipa::path(post, path = "/v1/consents/revoke", tag = "Opt-ins", operation_id = "revokeConsent", summary = "Somebody wants no more messages",
    request_body(content = Refused, example = json!({"phone": "+34600111222", "reason": "told the shop by telephone"})),
    responses((status = 200, description = "It holds from the next message on.", body = Revoked)))]
pub(super) async fn revoke(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    refused: Result<Json<Refused>, JsonRejection>,
) -> Result<Json<Revoked>, Problem> {
    caller.needs(Role::Operator)?;
    let what = "A revocation has phone, reason, and if you like purposes (a list; all if absent).";
    let refused = json_body(refused, what, TOO_LARGE)?;
    let phone = international(&refused.phone)?;
    let reason = refused.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return Err(Problem::bad(format!("reason is a text of 1 to {REASON_MAX} characters.")));
    }
    let purposes = refused.purposes.unwrap_or_else(|| vec![EVERYTHING.to_owned()]);
    let named: Vec<&str> = purposes.iter().map(String::as_str).collect();
    if named.is_empty() || named.len() > 50 {
        return Err(Problem::bad("purposes is a list of 1 to 50 names."));
    }
    let (pool, now) = (&desk.doors.pools.ops, desk.doors.clock.now());
    let (told, templates) = (consents::of(pool, &phone).await?, &desk.doors.events.inbox.reader.catalogue);
    let others = templates.purposes().chain(desk.reception.public.forms.purposes());
    can_be_refused(&named, told.as_ref().map(|told| &told.standings), others).map_err(|there_are| {
        Problem::unfit(format!("purposes names what nobody can agree to; there are {}.", there_are.join(", ")))
    })?;
    let evidence = json!({"by": "api", "key": caller.name, "reason": reason});
    let recorded = consents::revoke(pool, phone, &named, evidence, (&caller.name, reason), now).await?;
    tracing::info!(by = caller.name, entries = recorded.entries.len(), "consent.revoked");
    Ok(Json(Revoked { entries: recorded.entries }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreferencesLinkWanted)]
pub(super) struct LinkWanted {
    phone: String,
}

#[utoipa::path(post, path = "/v1/preferences-links", tag = "Opt-ins", operation_id = "makePreferencesLink",
    summary = "A link by which somebody sees and ends what they agreed to",
    request_body(content = LinkWanted, example = json!({"phone": "+34600111222"})),
    responses((status = 201, description = "The link, for this person alone.", body = Link), (status = 404, response = NotFound)))]
pub(super) async fn preferences_link(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    wanted: Result<Json<LinkWanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Link>), Problem> {
    caller.needs(Role::Operator)?;
    let phone = international(&json_body(wanted, "This has phone.", TOO_LARGE)?.phone)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "Nobody with this number is known.");
    let told = consents::of(&desk.doors.pools.ops, &phone).await?.ok_or_else(unknown)?;
    let url = preferences::link(&desk, told.contact).await?;
    let on = format!("contact {}", told.contact);
    let act = Noted { by: &caller.name, what: "consent.link_made", on: Some(&on), reason: None, detail: json!({}) };
    audit::note(&desk.doors.pools.ops, &act).await?;
    Ok((StatusCode::CREATED, Json(Link { url })))
}

fn international(text: &str) -> Result<Phone, Problem> {
    Phone::parse(text).map_err(|why| Problem::unfit(format!("phone {why}.")))
}
