//! What one event leads to: the messages that it asks for, or the reason why there are none. Pure.
//!
//! Whether and when a planned message goes is decided in the claim, from the database.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::{
    event::{Event, Rejection},
    expression::{self, Scope, Zones},
    locale::Locale,
    message::Filled,
    phone::{BadPhone, Phone},
    quiet,
    route::{self, Chosen},
    template::{Catalogue, Class, EventType, InDoubt, Template},
};

#[cfg(test)]
mod tests;

const MAX_KEY: usize = 256;

/// What an event leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Recorded also if there is no message.
    pub stage: Option<Stage>,
    pub fate: Fate,
}

/// How far the thing with this key has come. A later stage makes messages of earlier ones stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub journey: String,
    pub key: String,
    pub number: i16,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// At least one message.
    Planned(Vec<Planned>),
    Ignored(Ignored),
}

/// Why an event leads to no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// No template or journey knows the event's type.
    UnknownType,
    /// The type is known, but no template asks for it.
    NoTemplate,
    /// No template's condition holds.
    NoConditionHolds,
    /// The event names nobody to write to.
    NoRecipient,
}

impl Ignored {
    /// A stable snake_case name, for the database and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Ignored::UnknownType => "unknown_type",
            Ignored::NoTemplate => "no_template",
            Ignored::NoConditionHolds => "no_condition_holds",
            Ignored::NoRecipient => "no_recipient",
        }
    }
}

/// One message to one person.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub template: String,
    /// As it is sent; one of the template's.
    pub language: String,
    pub sender: String,
    /// The rule that chose the sender, for people; none if there was nothing to choose.
    pub route: Option<String>,
    pub purpose: String,
    pub class: Class,
    pub to: Phone,
    /// The person's, as the event says; else the language's.
    pub locale: String,
    /// Messages about one subject go out in order. The event's subject; else its journey and key.
    pub subject: Option<String>,
    /// May be past already; the claim ends it then.
    pub expires_at: Timestamp,
    /// Intervals up to `expires_at` in which it must not go, in order; each end is spread.
    pub quiet: Vec<(Timestamp, Timestamp)>,
    pub in_doubt: InDoubt,
    /// How long it waits if nobody has asked for consent.
    pub grace: Duration,
    /// How long it waits for an answer to that question.
    pub pending: Duration,
    pub filled: Filled,
    /// The same as a free text, if it may go so.
    pub free_text: Option<String>,
    /// What follows if WhatsApp is proven unable to deliver it.
    pub sms: Option<Sms>,
}

/// An SMS that may follow a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sms {
    pub sender: String,
    /// What the person must have agreed to for it.
    pub purpose: String,
    pub text: String,
}

/// Decides what `event` leads to. `spread` (0 to 1) is this event's place in the time after quiet hours over which
/// waiting messages are spread.
///
/// # Errors
/// If the recipient is no telephone number, or a template that wants the event cannot be filled or has no sender for it: then nothing
/// of it goes.
pub fn plan(event: &Event, catalogue: &Catalogue, now: Timestamp, spread: f64) -> Result<Plan, Rejection> {
    let Some(event_type) = catalogue.event_type(&event.r#type) else {
        return Ok(Plan { stage: None, fate: Fate::Ignored(Ignored::UnknownType) });
    };
    let customer = Customer::of(event);
    let neutral = Names::of(event, customer.zone.as_ref(), catalogue.default_zone());
    let stage = stage(event, event_type, &neutral);
    let ignored = |why, stage: Result<Option<Stage>, Rejection>| {
        // Without a message a missing key harms nobody.
        Ok(Plan { stage: stage.unwrap_or_default(), fate: Fate::Ignored(why) })
    };
    if event_type.templates.is_empty() {
        return ignored(Ignored::NoTemplate, stage);
    }
    let mut wanted = Vec::with_capacity(event_type.templates.len());
    for template in event_type.templates.iter().filter_map(|position| catalogue.templates().get(*position)) {
        if holds(template, &neutral)? {
            wanted.push(template);
        }
    }
    if wanted.is_empty() {
        return ignored(Ignored::NoConditionHolds, stage);
    }
    let Some(to) = customer.phone()? else { return ignored(Ignored::NoRecipient, stage) };
    let stage = stage?;
    let country = wanted.iter().any(|template| template.route.asks_country()).then(|| to.country()).flatten();
    let (customer, names, stage_of) = (&customer, &neutral, stage.as_ref());
    let occasion = Occasion { event, customer, names, to, country, stage: stage_of, now, spread, catalogue };
    let planned = wanted.into_iter().map(|template| occasion.plan(template)).collect::<Result<_, _>>()?;
    Ok(Plan { stage, fate: Fate::Planned(planned) })
}

/// What the event says about the person.
struct Customer<'a> {
    phone: (&'static str, Option<&'a Value>),
    recipient: Option<&'a str>,
    locale: Option<Locale>,
    zone: Option<TimeZone>,
}

impl<'a> Customer<'a> {
    fn of(event: &'a Event) -> Customer<'a> {
        let customer = event.data.get("customer");
        let text = |name: &str| customer.and_then(|c| c.get(name)).and_then(Value::as_str);
        Customer {
            phone: ("data.customer.phone", customer.and_then(|c| c.get("phone")).filter(|phone| !phone.is_null())),
            recipient: event.recipient.as_deref(),
            locale: text("locale").and_then(Locale::parse),
            // A zone that does not exist is no reason to keep a message back.
            zone: text("timezone").and_then(|name| TimeZone::get(name).ok()),
        }
    }

    fn phone(&self) -> Result<Option<Phone>, Rejection> {
        let (field, text) = match (self.recipient, self.phone) {
            (Some(recipient), _) => ("recipient", Some(recipient)),
            (None, (field, Some(Value::String(phone)))) => {
                (field, Some(phone.as_str()).filter(|p| !p.trim().is_empty()))
            }
            (None, (field, Some(_))) => return Err(Rejection::BadPhone { field, problem: BadPhone::NotANumber }),
            (None, (field, None)) => (field, None),
        };
        text.map(Phone::parse).transpose().map_err(|problem| Rejection::BadPhone { field, problem })
    }
}

/// The event as expressions see it, converted once.
struct Names {
    attributes: minijinja::Value,
    data: minijinja::Value,
    zones: Zones,
}

impl Names {
    fn of(event: &Event, zone: Option<&TimeZone>, default: &TimeZone) -> Names {
        let zones = Zones { person: zone.cloned(), default: default.clone() };
        Names { attributes: expression::attributes(event), data: expression::value_of(&event.data), zones }
    }

    fn scope(&self, locale: &Locale) -> Scope {
        Scope::of_event(self.attributes.clone(), self.data.clone(), locale, &self.zones)
    }
}

fn stage(event: &Event, event_type: &EventType, names: &Names) -> Result<Option<Stage>, Rejection> {
    let Some(journey) = &event_type.journey else { return Ok(None) };
    let bad = |problem: String| Rejection::BadJourneyKey { event_type: event.r#type.clone(), problem };
    let key = journey.key.evaluate_text(&names.scope(&Locale::unknown())).map_err(|why| bad(why.to_string()))?;
    let key = key.filter(|key| !key.trim().is_empty()).ok_or_else(|| bad("gives nothing".into()))?;
    if key.len() > MAX_KEY || key.chars().any(char::is_control) {
        return Err(bad(format!("is longer than {MAX_KEY} bytes or has control characters")));
    }
    Ok(Some(Stage { journey: journey.name.clone(), key, number: journey.stage }))
}

fn holds(template: &Template, names: &Names) -> Result<bool, Rejection> {
    let Some(when) = &template.when else { return Ok(true) };
    let value = when.evaluate(&names.scope(&Locale::unknown())).map_err(|why| Rejection::Unfillable {
        template: template.name.clone(),
        language: "any language".into(),
        place: "trigger.when".into(),
        problem: why.to_string(),
    })?;
    Ok(value.is_true())
}

/// All that planning a message needs besides its template.
struct Occasion<'a> {
    event: &'a Event,
    customer: &'a Customer<'a>,
    names: &'a Names,
    to: Phone,
    /// The recipient's, if a sender's choice may depend on it.
    country: Option<String>,
    stage: Option<&'a Stage>,
    now: Timestamp,
    spread: f64,
    catalogue: &'a Catalogue,
}

impl Occasion<'_> {
    fn plan(&self, template: &Template) -> Result<Planned, Rejection> {
        let theirs = self.customer.locale.as_ref();
        let language = template.choose(theirs).ok_or_else(|| Rejection::Unfillable {
            template: template.name.clone(),
            language: "any language".into(),
            place: "languages".into(),
            problem: "has none".into(),
        })?;
        // Amounts and dates as at home, unless the text is in another language.
        let manner = theirs.filter(|l| l.language() == language.locale.language()).unwrap_or(&language.locale);
        let scope = self.names.scope(manner);
        let filled = template.fill(language, &scope)?;
        let sms = template.sms_text(language, &filled, &scope)?;
        let Chosen { sender, rule: route } = self.sender(template)?;
        // An event cannot prolong its messages' life by coming from the future.
        let from = self.event.time.min(self.now);
        let expiry = from.checked_add(template.expires_after).unwrap_or(Timestamp::MAX);
        let expires_at = self.event.expires.map_or(expiry, |expires| expires.min(expiry));
        let subject = self.event.subject.clone().or_else(|| self.stage.map(|s| format!("{}:{}", s.journey, s.key)));
        Ok(Planned {
            template: template.name.clone(),
            language: language.code.clone(),
            sender,
            route,
            purpose: template.purpose.clone(),
            class: template.class,
            to: self.to.clone(),
            locale: theirs.unwrap_or(&language.locale).to_string(),
            subject,
            expires_at,
            quiet: self.quiet(template, expires_at),
            in_doubt: template.in_doubt,
            grace: template.grace,
            pending: template.pending,
            free_text: template.free_text(language, &filled),
            sms: template.sms.as_ref().zip(sms).map(|(by, text)| Sms {
                sender: by.sender.clone(),
                purpose: by.purpose.clone(),
                text,
            }),
            filled,
        })
    }

    fn sender(&self, template: &Template) -> Result<Chosen, Rejection> {
        let country = self.country.as_deref();
        let scope = self.names.scope(&Locale::unknown()).in_country(country);
        let brand = self.event.data.get("brand").and_then(Value::as_str);
        let chosen = template.route.choose(route::Occasion { scope: &scope, country, brand });
        chosen.map_err(|why| Rejection::NoRoute { template: template.name.clone(), why })
    }

    fn quiet(&self, template: &Template, expires_at: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let Some(hours) = template.quiet.as_ref().filter(|_| template.class != Class::Urgent) else {
            return Vec::new();
        };
        let zones = quiet::zones_of(self.customer.zone.as_ref(), &self.to, self.catalogue.default_zone());
        hours.intervals(&zones, self.now, expires_at, self.spread)
    }
}
