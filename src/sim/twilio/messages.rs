//! Messages as Twilio's API shows them: one, and the list with its filters and pages. What people wrote is among them, and what
//! Twilio answered by itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::world::{Accepted, World};
use super::refused::{Refused, usual_message};
use super::request::{Form, field};
use super::{Exchange, Said, is_whatsapp, written};

const RFC_2822: &str = "%a, %d %b %Y %H:%M:%S +0000";

/// A message of either direction.
enum Entry {
    Sent(Arc<Accepted>),
    Said(Arc<Said>),
}

impl Entry {
    fn sid(&self) -> &str {
        match self {
            Self::Sent(accepted) => &accepted.wamid,
            Self::Said(said) => &said.sid,
        }
    }

    /// Unix ms.
    fn created(&self) -> i64 {
        match self {
            Self::Sent(accepted) => accepted.received_us / 1_000,
            Self::Said(said) => said.at,
        }
    }

    fn from(&self) -> &str {
        match self {
            Self::Sent(accepted) => &accepted.phone_number_id,
            Self::Said(said) => &said.from,
        }
    }

    fn to(&self) -> String {
        match self {
            Self::Sent(accepted) => dialled(accepted),
            Self::Said(said) => said.to.clone(),
        }
    }

    /// When it left Twilio, if it has.
    fn sent(&self, now: i64) -> Option<i64> {
        match self {
            Self::Sent(accepted) => {
                let mut happened = accepted.statuses.iter().filter(|(_, at)| *at <= now);
                happened.find(|(status, _)| *status != "queued").map(|(_, at)| *at)
            }
            Self::Said(said) => Some(said.at),
        }
    }

    fn show(&self, exchange: &Exchange, now: i64) -> Value {
        match self {
            Self::Sent(accepted) => show_sent(exchange, accepted, now),
            Self::Said(said) => show_said(exchange, said),
        }
    }
}

/// The message with this sid.
pub(super) fn one(world: &World, sid: &str) -> Option<Value> {
    let now = world.now_ms();
    let sent = world.message(sid);
    let state = world.state();
    let exchange = &state.exchange;
    if let Some(accepted) = sent.filter(|accepted| exchange.has(&accepted.phone_number_id)) {
        return Some(show_sent(exchange, &accepted, now));
    }
    exchange.said.iter().find(|said| said.sid == sid).map(|said| show_said(exchange, said))
}

/// A page of the messages that fit the question, newest first.
pub(super) fn list(world: &World, query: &Form) -> Result<Value, Refused> {
    let page = page_of(query)?;
    let (from, to) = (field(query, "From")?, field(query, "To")?);
    let day = |name: &str| -> Result<Option<String>, Refused> {
        let Some(text) = field(query, name)? else { return Ok(None) };
        let day: Option<String> = text.get(..10).map(str::to_owned);
        let good = day.filter(|day| day.parse::<jiff::civil::Date>().is_ok());
        good.map(Some).ok_or_else(|| Refused::new(20422).saying(format!("{name} is not a date")))
    };
    let (on, until, since) = (day("DateSent")?, day("DateSent<")?, day("DateSent>")?);
    let now = world.now_ms();
    let accepted = world.accepted();
    let state = world.state();
    let exchange = &state.exchange;
    let mut entries: Vec<Entry> = accepted
        .into_iter()
        .filter(|accepted| exchange.has(&accepted.phone_number_id))
        .map(Entry::Sent)
        .chain(exchange.said.iter().cloned().map(Entry::Said))
        .filter(|entry| entry.created() + exchange.list_lag_ms <= now)
        .filter(|entry| from.as_deref().is_none_or(|from| entry.from() == from))
        .filter(|entry| to.as_deref().is_none_or(|to| entry.to() == to))
        .filter(|entry| {
            if on.is_none() && until.is_none() && since.is_none() {
                return true;
            }
            let Some(sent) = entry.sent(now).map(|at| written(at, "%Y-%m-%d")) else { return false };
            on.as_ref().is_none_or(|on| sent == *on)
                && until.as_ref().is_none_or(|until| sent <= *until)
                && since.as_ref().is_none_or(|since| sent >= *since)
        })
        .collect();
    // The order of those of one moment is turned as well.
    entries.reverse();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.created()));
    let (shown, next) = paged(&entries, Entry::sid, &page);
    let items: Vec<Value> = shown.into_iter().map(|entry| entry.show(exchange, now)).collect();
    let uri = |number: usize, token: Option<&str>| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let asked = query.iter().filter(|(name, _)| !name.starts_with("Page"));
        text.extend_pairs(asked);
        text.append_pair("PageSize", &page.size.to_string()).append_pair("Page", &number.to_string());
        if let Some(token) = token {
            text.append_pair("PageToken", token);
        }
        format!("/2010-04-01/Accounts/{}/Messages.json?{}", exchange.sid, text.finish())
    };
    let start = page.number * page.size;
    Ok(json!({
        "messages": items,
        "page": page.number,
        "page_size": page.size,
        "start": start,
        "end": (start + items.len()).saturating_sub(1).max(start),
        "uri": uri(page.number, None),
        "first_page_uri": uri(0, None),
        "previous_page_uri": page.number.checked_sub(1).map(|before| uri(before, None)),
        "next_page_uri": next.map(|token| uri(page.number + 1, Some(&token))),
    }))
}

/// Which page is asked for.
pub(super) struct Page {
    pub(super) size: usize,
    pub(super) number: usize,
    /// Behind the item with this sid.
    after: Option<String>,
}

pub(super) fn page_of(query: &Form) -> Result<Page, Refused> {
    let number = |name: &str, usual: usize, least: usize| match field(query, name)? {
        None => Ok(usual),
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|number| (least..=1_000_000).contains(number))
            .ok_or_else(|| Refused::new(20422).saying(format!("{name} is not valid"))),
    };
    let size = number("PageSize", 50, 1)?.min(1_000);
    let after = field(query, "PageToken")?.map(|token| token.trim_start_matches("PA").to_owned());
    Ok(Page { size, number: number("Page", 0, 0)?, after })
}

/// The items of a page, and the token of the next one if there is one.
pub(super) fn paged<'a, T>(all: &'a [T], sid: impl Fn(&T) -> &str, page: &Page) -> (Vec<&'a T>, Option<String>) {
    let start = match &page.after {
        Some(last) => all.iter().position(|item| sid(item) == last).map_or(all.len(), |at| at + 1),
        None => page.number * page.size,
    };
    let items: Vec<&T> = all.iter().skip(start).take(page.size).collect();
    let next = items.last().filter(|_| start + items.len() < all.len()).map(|last| format!("PA{}", sid(last)));
    (items, next)
}

/// The address that a message was sent to.
fn dialled(accepted: &Accepted) -> String {
    if is_whatsapp(&accepted.phone_number_id) { format!("whatsapp:{}", accepted.to) } else { accepted.to.clone() }
}

/// A message that a business sent.
pub(super) fn show_sent(exchange: &Exchange, accepted: &Accepted, now: i64) -> Value {
    let created = accepted.received_us / 1_000;
    let latest = accepted.statuses.iter().filter(|(_, at)| *at <= now).max_by_key(|(_, at)| *at);
    let first = if accepted.service.is_some() { "accepted" } else { "queued" };
    let (status, updated) = latest.map_or((first, created), |(status, at)| (*status, *at));
    let code = accepted.fails.filter(|_| matches!(status, "failed" | "undelivered"));
    let whatsapp = is_whatsapp(&accepted.phone_number_id);
    let assigned = status != "accepted";
    let sent = accepted.statuses.iter().find(|(status, at)| *status != "queued" && *at <= now).map(|(_, at)| *at);
    let price = if whatsapp { "-0.00500" } else { "-0.07500" };
    let mut shown = show(exchange, &accepted.wamid, [created, updated], sent);
    let Some(map) = shown.as_object_mut() else { return shown };
    map.insert("status".into(), status.into());
    map.insert("direction".into(), "outbound-api".into());
    map.insert("to".into(), dialled(accepted).into());
    map.insert("from".into(), assigned.then_some(accepted.phone_number_id.as_str()).into());
    map.insert("body".into(), accepted.text.as_str().into());
    map.insert("error_code".into(), code.into());
    map.insert("error_message".into(), code.map(usual_message).into());
    map.insert("messaging_service_sid".into(), accepted.service.as_deref().into());
    let segments = if assigned { segments(whatsapp, &accepted.text) } else { 0 };
    map.insert("num_segments".into(), segments.to_string().into());
    // Nothing was sent that failed; the price of the rest comes later than its statuses.
    let priced = code.is_none() && sent.is_some_and(|sent| sent + exchange.price_lag_ms <= now);
    map.insert("price".into(), priced.then_some(price).into());
    shown
}

fn show_said(exchange: &Exchange, said: &Said) -> Value {
    let mut shown = show(exchange, &said.sid, [said.at, said.at], Some(said.at));
    let Some(map) = shown.as_object_mut() else { return shown };
    map.insert("status".into(), if said.direction == "inbound" { "received" } else { "delivered" }.into());
    map.insert("direction".into(), said.direction.into());
    map.insert("to".into(), said.to.as_str().into());
    map.insert("from".into(), said.from.as_str().into());
    map.insert("body".into(), said.body.as_str().into());
    map.insert("num_segments".into(), "1".into());
    shown
}

/// What all messages have, with nothing where it depends.
fn show(exchange: &Exchange, sid: &str, [created, updated]: [i64; 2], sent: Option<i64>) -> Value {
    let uri = format!("/2010-04-01/Accounts/{}/Messages/{sid}", exchange.sid);
    json!({
        "sid": sid,
        "account_sid": exchange.sid,
        "api_version": "2010-04-01",
        "date_created": written(created, RFC_2822),
        "date_updated": written(updated, RFC_2822),
        "date_sent": sent.map(|at| written(at, RFC_2822)),
        "error_code": null,
        "error_message": null,
        "messaging_service_sid": null,
        "num_media": "0",
        "price": null,
        "price_unit": "USD",
        "uri": format!("{uri}.json"),
        "subresource_uris": {"media": format!("{uri}/Media.json")},
    })
}

/// In how many pieces a text travels; on WhatsApp in one.
fn segments(whatsapp: bool, text: &str) -> usize {
    const EXTENDED: &str = "€[]{}\\^~|";
    const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
    if whatsapp {
        return 1;
    }
    let is_basic = |c: char| c.is_ascii_alphanumeric() || BASIC.contains(c);
    let (length, alone, joined) = if text.chars().all(|c| is_basic(c) || EXTENDED.contains(c)) {
        (text.chars().map(|c| if is_basic(c) { 1 } else { 2 }).sum::<usize>(), 160, 153)
    } else {
        (text.encode_utf16().count(), 70, 67)
    };
    if length <= alone { 1 } else { length.div_ceil(joined) }
}
