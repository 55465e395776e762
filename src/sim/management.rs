//! The management half of Meta's API: what a business asks about its numbers, its templates, its subscriptions and the
//! history of its messages.

use http::Method;
use serde_json::{Map, Value, json};

use super::accept::{bearer, invalid_token, unknown_object};
use super::access;
use super::refusal::Refusal;
use super::review;
use super::world::{Accepted, Sender, World};

/// A question, as HTTP brought it.
pub(super) struct Ask<'a> {
    pub(super) version: &'a str,
    pub(super) node: &'a str,
    pub(super) edge: &'a str,
    pub(super) query: &'a str,
    pub(super) method: &'a Method,
    pub(super) token: Option<String>,
    pub(super) body: &'a [u8],
}

/// Answers it with Meta's JSON.
pub(super) fn answer(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    if ask.edge == "subscriptions" && *ask.method == Method::GET {
        return access::subscriptions(world, ask);
    }
    let sender = authorize(world, ask)?;
    world.end_reviews();
    let read = *ask.method == Method::GET;
    match (ask.edge, sender, read) {
        ("", Some(sender), true) => number(world, &sender, ask.param("fields").as_deref(), ask.major()),
        ("", None, true) if ask.node == "debug_token" => access::token(world, ask),
        ("message_history", Some(_), true) => history(world, ask),
        ("", None, true) if ask.node == world.waba_id => Ok(access::account(world, ask.param("fields").as_deref())),
        ("", None, true) => one_template(world, ask),
        ("events", None, true) => events(world, ask),
        ("message_templates", None, true) => list_templates(world, ask),
        ("message_templates", None, false) if *ask.method == Method::POST => review::create(world, ask),
        ("message_templates", None, false) if *ask.method == Method::DELETE => review::delete(world, ask),
        ("" | "unpause", None, false) if *ask.method == Method::POST => review::change(world, ask),
        ("phone_numbers", None, true) => {
            let senders: Vec<Sender> = world.state().senders.values().map(|line| line.sender.clone()).collect();
            let data: Result<Vec<Value>, Refusal> = senders
                .iter()
                .map(|sender| number(world, sender, ask.param("fields").as_deref(), ask.major()))
                .collect();
            Ok(json!({"data": data?}))
        }
        ("subscribed_apps", None, true) => {
            let state = world.state();
            let id = &state.access.app_id;
            let app = json!({"whatsapp_business_api_data": {"id": id, "name": "Recado",
                "link": format!("https://www.facebook.com/games/?app_id={id}")}});
            Ok(json!({"data": if state.subscribed { vec![app] } else { Vec::new() }}))
        }
        ("subscribed_apps", None, false) => {
            world.state().subscribed = *ask.method == Method::POST;
            Ok(json!({"success": true}))
        }
        _ => Err(unknown_object(ask.node)),
    }
}

impl Ask<'_> {
    pub(super) fn param(&self, key: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name == key).then(|| decode(value))
        })
    }

    fn major(&self) -> u32 {
        self.version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }
}

/// Whose token it is; gives the business number if the node is one.
fn authorize(world: &World, ask: &Ask<'_>) -> Result<Option<Sender>, Refusal> {
    let token = bearer(ask.token.as_deref())?;
    let known = {
        let state = world.state();
        if !state.senders.values().any(|line| line.sender.token == token) {
            return Err(invalid_token());
        }
        let dead = state
            .senders
            .values()
            .find(|line| line.sender.token == token)
            .and_then(|line| line.sender.trouble)
            .filter(|code| matches!(code, 0 | 190));
        if let Some(code) = dead {
            return Err(Refusal::new(code, ""));
        }
        state.senders.get(ask.node).map(|line| line.sender.clone())
    };
    match known {
        Some(sender) if sender.token != token => Err(Refusal::new(10, "The token may not use this phone number")),
        known => Ok(known),
    }
}

fn number(world: &World, sender: &Sender, fields: Option<&str>, major: u32) -> Result<Value, Refusal> {
    let stopped = sender.trouble.is_some() || !matches!(sender.status.as_str(), "CONNECTED" | "FLAGGED");
    let mut shown = Map::new();
    shown.insert("id".into(), sender.phone_number_id.as_str().into());
    let fields = fields.unwrap_or("verified_name,display_phone_number,quality_rating");
    for field in fields.split(',').map(|field| field.split('{').next().unwrap_or_default().trim()) {
        let value = match field {
            "id" => continue,
            "display_phone_number" => json!(sender.display_phone_number),
            "verified_name" => json!(sender.verified_name),
            "quality_rating" => json!(sender.quality_rating),
            "status" => json!(sender.status),
            "name_status" => json!(sender.name_status),
            "code_verification_status" => json!(sender.code_verification_status),
            "platform_type" => json!("CLOUD_API"),
            "account_mode" => json!("LIVE"),
            "throughput" => json!({"level": match sender.mps {
                0..=80 => "STANDARD",
                81..=1_000 => "HIGH",
                // Faster than Meta ever is: nobody is to be held to a figure.
                _ => "NOT_APPLICABLE",
            }}),
            "health_status" => access::health(world, sender, stopped),
            "whatsapp_business_manager_messaging_limit" if major >= 24 => json!(sender.messaging_limit),
            "messaging_limit_tier" if major < 24 => json!(sender.messaging_limit),
            other => {
                return Err(Refusal::new(100, "").saying(format!(
                    "(#100) Tried accessing nonexisting field ({other}) on node type (WhatsAppBusinessPhoneNumber)"
                )));
            }
        };
        shown.insert(field.to_owned(), value);
    }
    Ok(Value::Object(shown))
}

fn list_templates(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let fields = ask.param("fields");
    let (name, language) = (ask.param("name"), ask.param("language"));
    let (status, category) = (ask.param("status"), ask.param("category"));
    let state = world.state();
    let total: usize = state.templates.values().map(std::collections::BTreeMap::len).sum();
    let found: Vec<Value> = state
        .templates
        .values()
        .flat_map(std::collections::BTreeMap::values)
        .filter(|template| name.as_deref().is_none_or(|name| template.name == name))
        .filter(|template| language.as_deref().is_none_or(|language| template.language == language))
        .filter(|template| category.as_deref().is_none_or(|category| template.category == category))
        .filter(|template| status.as_deref().is_none_or(|status| json!(template.status) == status))
        .map(|template| template.show(fields.as_deref()))
        .collect();
    drop(state);
    let mut page = paged(ask, &found, 25)?;
    if fields.is_some_and(|fields| fields.contains("summary")) || ask.param("summary").is_some() {
        let summary = json!({"total_count": found.len(), "message_template_count": total,
            "message_template_limit": 250, "are_translations_complete": true});
        super::webhooks::put(&mut page, "summary", summary);
    }
    Ok(page)
}

/// One page with its cursors. A cursor is the number of items before it, in a form that nobody should read.
fn paged(ask: &Ask<'_>, items: &[Value], usual: usize) -> Result<Value, Refusal> {
    let limit =
        match ask.param("limit") {
            None => usual,
            Some(text) => text.parse().ok().filter(|limit| (1..=1000).contains(limit)).ok_or_else(|| {
                Refusal::new(100, "").saying("(#100) Param limit must be a number between 1 and 1000")
            })?,
        };
    let start = match ask.param("after") {
        None => 0,
        Some(cursor) => cursor
            .strip_prefix("QVFI")
            .and_then(|rest| usize::from_str_radix(rest, 16).ok())
            .filter(|start| *start <= items.len())
            .ok_or_else(|| Refusal::new(131059, "The cursor is not valid any more"))?,
    };
    let page: Vec<&Value> = items.iter().skip(start).take(limit).collect();
    let end = start + page.len();
    let mut paging = json!({"cursors": {"before": format!("QVFI{start:X}"), "after": format!("QVFI{end:X}")}});
    if end < items.len() {
        let next = format!(
            "https://graph.facebook.com/{}/{}/{}?limit={limit}&after=QVFI{end:X}",
            ask.version, ask.node, ask.edge
        );
        super::webhooks::put(&mut paging, "next", next.into());
    }
    if page.is_empty() {
        return Ok(json!({"data": []}));
    }
    Ok(json!({"data": page, "paging": paging}))
}

fn one_template(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let state = world.state();
    state
        .templates
        .values()
        .flat_map(std::collections::BTreeMap::values)
        .find(|template| template.id.to_string() == ask.node)
        .map(|template| template.show(ask.param("fields").as_deref()))
        .ok_or_else(|| unknown_object(ask.node))
}

fn history(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let now = world.now_ms();
    let wanted = ask.param("message_id");
    let with_events = ask.param("fields").is_some_and(|fields| fields.contains("events"));
    let entries: Vec<Value> = world
        .accepted()
        .iter()
        .rev()
        .filter(|accepted| accepted.phone_number_id == ask.node)
        .filter(|accepted| wanted.as_deref().is_none_or(|wanted| accepted.wamid == wanted))
        .map(|accepted| {
            let mut entry = json!({"id": history_id(accepted), "message_id": accepted.wamid});
            if with_events {
                super::webhooks::put(&mut entry, "events", json!({"data": happened(accepted, now, None)}));
            }
            entry
        })
        .collect();
    paged(ask, &entries, 25)
}

fn events(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let now = world.now_ms();
    let filter = ask.param("status_filter");
    let accepted = world
        .accepted()
        .into_iter()
        .find(|accepted| history_id(accepted) == ask.node)
        .ok_or_else(|| unknown_object(ask.node))?;
    let edges: Vec<Value> = happened(&accepted, now, filter.as_deref())
        .into_iter()
        .enumerate()
        .map(|(at, event)| {
            json!({"cursor": format!("QVFI{at:X}"), "node": {"id": event["id"],
                "delivery_status": event["delivery_status"], "occurrence_timestamp": event["timestamp"]}})
        })
        .collect();
    paged(ask, &edges, 25)
}

fn history_id(accepted: &Accepted) -> String {
    format!("{}", 700_000_000_000_000_u64 + accepted.no)
}

fn happened(accepted: &Accepted, now: i64, filter: Option<&str>) -> Vec<Value> {
    accepted
        .statuses
        .iter()
        .filter(|(_, at)| *at <= now)
        .filter(|(status, _)| filter.is_none_or(|filter| filter.eq_ignore_ascii_case(status)))
        .enumerate()
        .map(|(at, (status, when))| {
            json!({"id": format!("{}{at}", 80_000_000_000_000_u64 + accepted.no),
                "delivery_status": status.to_ascii_uppercase(), "timestamp": when / 1_000})
        })
        .collect()
}

/// Undoes percent-encoding and `+`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'+' => b' ',
            b'%' => {
                let pair: Vec<u8> = rest.by_ref().take(2).collect();
                std::str::from_utf8(&pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(b'?')
            }
            other => other,
        };
        bytes.push(decoded);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
