//! Accepting a message by Twilio's API: what the API refuses at once, what the channel fails later, and what a person then gets.
//! The record of it is `accept`'s.

use std::sync::Arc;

use super::super::accept::{Draft, Fit, Taken, course};
use super::super::faults::Fault;
use super::super::people::{Person, wa_id};
use super::super::world::{Accepted, State, World};
use super::callbacks::{Call, reports};
use super::content::{Stage, Unfit};
use super::messages::show_sent;
use super::refused::Refused;
use super::request::{Asked, Content, Form, field, number, read};
use super::{Exchange, is_whatsapp, on_whatsapp, opt_out};

/// From this code on an error is the carrier's or the channel's, and reported later.
const LATER: u32 = 30_000;

/// Decides on a message and records it. What it gives must be published.
pub(super) fn take(world: &World, body: &[u8], form: &Form, fault: Option<&Fault>) -> Result<Taken, Refused> {
    world.end_reviews();
    let now_us = world.now_us();
    let delays = world.outbox.delays();
    let mut state = world.state();
    let result = read(form).and_then(|asked| decide(world, &mut state, asked, fault, now_us, body, delays));
    if let Err(refused) = &result {
        *state.refused.entry(refused.code).or_default() += 1;
    }
    result
}

/// The recipient's WhatsApp id, as far as a form names one; for faults that concern one person.
pub(super) fn addressee(form: &Form) -> Option<String> {
    let to = field(form, "To").ok()??;
    number(&to).map(|digits| wa_id(&digits))
}

fn decide(
    world: &World,
    state: &mut State,
    asked: Asked,
    fault: Option<&Fault>,
    now_us: i64,
    body: &[u8],
    delays: [u64; 3],
) -> Result<Taken, Refused> {
    let now = now_us / 1_000;
    let address = sender(&state.exchange, &asked)?;
    let (pair, strangers) = (state.pair, state.strangers);
    let desk = state.exchange.desks.get_mut(&address).ok_or_else(|| Refused::new(20500))?;
    if !desk.second.has_room(desk.number.mps, now) {
        return Err(Refused::new(20429));
    }
    let trouble = desk.number.trouble;
    if let Some(code) = trouble.filter(|code| *code < LATER) {
        return Err(Refused::new(code));
    }
    let id = wa_id(&asked.to);
    let scope = opt_out::scope(&state.exchange, &address);
    if state.person(&id, strangers).opted_out.contains(&scope) {
        return Err(Refused::new(21610));
    }
    let open = state.person(&id, strangers).windows.get(&address).is_some_and(|end| *end > now);
    let (fit, unfit) = fit(&state.exchange, &asked, open)?;
    let person = state.person(&id, strangers);
    let paid_until = pair.pass(person.paid_until.get(&address).copied(), now);
    let fails = match fault {
        Some(Fault::FailLater { code }) => Some(*code),
        _ if trouble.is_some() => trouble,
        _ if asked.whatsapp => channel_refuses(person, fit.category.as_deref(), unfit, paid_until.is_some()),
        _ => None,
    };
    if let Some(desk) = state.exchange.desks.get_mut(&address) {
        desk.second.count(now);
    }
    state.taken += 1;
    let no = state.taken;
    let sid = state.sid("SM");
    let person = state.person(&id, strangers);
    if asked.whatsapp {
        if let Some(paid_until) = paid_until {
            person.paid_until.insert(address.clone(), paid_until);
        }
        person.last_sender = Some(address.clone());
    }
    let course = statuses(person, asked.whatsapp, asked.service.is_some(), fails, delays);
    if fails.is_none() && person.ways.offline && !(asked.whatsapp && person.ways.blocked) {
        person.waiting.push(no);
    }
    let draft = Draft {
        no,
        id: sid,
        tag: asked.callback,
        sender: &address,
        service: asked.service,
        valid_s: asked.valid_s,
        dialled: Some(&asked.to),
        wa_id: &id,
        fit,
        fails,
        course: &course,
        now_us,
        body,
    };
    let (accepted, on_disk) = world.record(state, draft);
    let calls = match fault {
        Some(Fault::Silent) => Vec::new(),
        _ => reports(&state.exchange, &accepted, &course, fails, now),
    };
    // As it stood at the moment it was taken, also where its statuses come without a delay.
    let fresh = Accepted { statuses: Vec::new(), ..Accepted::clone(&accepted) };
    Ok(Taken { answer: show_sent(&state.exchange, &fresh, now), updates: Vec::new(), calls, on_disk })
}

/// The address that the message goes out from.
fn sender(exchange: &Exchange, asked: &Asked) -> Result<String, Refused> {
    if let Some(service) = &asked.service
        && !exchange.services.contains_key(service)
    {
        return Err(Refused::new(21705));
    }
    let in_pool = |address: &str| {
        let number = exchange.desks.get(address).map(|desk| &desk.number);
        asked.service.is_none() || number.is_some_and(|number| number.service == asked.service)
    };
    match &asked.from {
        Some(from) if exchange.has(from) && in_pool(from) => Ok(from.clone()),
        Some(_) => Err(Refused::new(if asked.whatsapp { 63007 } else { 21606 })),
        None => {
            let mut pool = exchange.desks.keys().filter(|address| is_whatsapp(address) == asked.whatsapp);
            let chosen = pool.find(|address| in_pool(address)).ok_or_else(|| Refused::new(21703))?;
            let to = if asked.whatsapp { on_whatsapp(&asked.to) } else { format!("+{}", asked.to) };
            if *chosen == to {
                return Err(Refused::new(if asked.whatsapp { 63031 } else { 21266 }));
            }
            Ok(chosen.clone())
        }
    }
}

/// What the person reads, and the code with which WhatsApp refuses the content.
fn fit(exchange: &Exchange, asked: &Asked, open: bool) -> Result<(Fit, Option<u32>), Refused> {
    let (sid, variables) = match &asked.content {
        Content::Text(body) => {
            let closed = (asked.whatsapp && !open).then_some(63016);
            return Ok((Fit { text: body.clone(), ..Fit::default() }, closed));
        }
        Content::Template { sid, variables } => (sid, variables),
    };
    let content = exchange.contents.get(sid).ok_or_else(|| Refused::new(21655))?;
    let review = content.review.as_ref();
    let name = review.map_or(&content.friendly_name, |review| &review.name);
    let mut fit = Fit {
        template: Some(name.clone()),
        language: Some(content.language.clone()),
        category: review.map(|review| review.category.clone()),
        ..Fit::default()
    };
    let filled = match content.fill(asked.whatsapp, variables) {
        Ok(filled) => filled,
        Err(Unfit::Unknown) => return Err(Refused::new(21656)),
        Err(Unfit::Kind) => return Err(Refused::new(21655)),
        Err(Unfit::Missing) if asked.whatsapp => return Ok((fit, Some(63028))),
        Err(Unfit::Missing) => return Err(Refused::new(21656)),
    };
    (fit.parameters, fit.text, fit.buttons) = (filled.parameters, filled.text, filled.buttons);
    let code = match content.stage() {
        Stage::Approved => filled.fails,
        Stage::Rejected => Some(63040),
        Stage::Paused => Some(63041),
        Stage::Disabled => Some(63042),
        Stage::Unsubmitted | Stage::Received | Stage::Pending => {
            (!open || content.kind() == "whatsapp/authentication").then_some(63016)
        }
    };
    Ok((fit, code))
}

fn channel_refuses(person: &Person, category: Option<&str>, unfit: Option<u32>, in_pace: bool) -> Option<u32> {
    if !person.ways.on_whatsapp {
        return Some(63024);
    }
    if person.ways.stopped_marketing && category == Some("MARKETING") {
        return Some(63014);
    }
    unfit.or((!in_pace).then_some(63018))
}

/// The statuses that a message will have, with their delays in ms.
fn statuses(
    person: &Person,
    whatsapp: bool,
    by_service: bool,
    fails: Option<u32>,
    delays: [u64; 3],
) -> Vec<(&'static str, u64)> {
    let [sent, delivered, _] = delays;
    let mut statuses = match fails {
        Some(code) if left_twilio(code) => vec![("sent", sent), ("undelivered", delivered)],
        Some(_) => vec![("failed", sent)],
        None if whatsapp => course(person, false, delays),
        None if person.ways.offline => vec![("sent", sent)],
        None => vec![("sent", sent), ("delivered", delivered)],
    };
    if by_service {
        statuses.insert(0, ("queued", 0));
    }
    statuses
}

/// Whether a message with this code got as far as the carrier or the channel.
fn left_twilio(code: u32) -> bool {
    matches!(code, 30003..=30008 | 30017..=30034 | 63003 | 63013 | 63014 | 63024 | 63028 | 63029 | 63032 | 63033 | 63049)
}

/// The calls that tell that a message arrived which waited for the phone to be on.
pub fn arrival(state: &mut State, accepted: &Accepted, now: i64) -> Vec<(u64, Arc<Call>)> {
    let whatsapp = is_whatsapp(&accepted.phone_number_id);
    let person = state.person(&accepted.wa_id, true);
    let left = statuses(person, whatsapp, false, None, [0, 0, 100]);
    reports(&state.exchange, accepted, &left[1.min(left.len())..], None, now)
}
