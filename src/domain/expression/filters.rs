//! What expressions can do with values beyond minijinja's own filters: `money`, `date`, `time`, `short`, `first_word`,
//! `urlencode`, `phone`.

use std::str::FromStr;

use jiff::tz::TimeZone;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use rust_decimal::Decimal;

use super::{MANNER, Manner};
use crate::domain::{
    locale::{DateStyle, Locale, read_moment},
    phone::Phone,
};

/// Why a filter refused its input. A constant text, so that it cannot show the value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) &'static str);

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("money", money);
    environment.add_filter("date", date);
    environment.add_filter("time", time);
    environment.add_filter("short", short);
    environment.add_filter("first_word", first_word);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("phone", phone);
}

fn refuse<T>(why: &'static str) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, why).with_source(Refusal(why)))
}

/// `{amount, currency} | money` or `amount | money("EUR")`.
fn money(state: &State<'_, '_>, value: &Value, currency: Option<&str>) -> Result<String, Error> {
    let (amount, currency) = match currency {
        Some(currency) => (value.clone(), Value::from(currency)),
        None => (value.get_attr("amount")?, value.get_attr("currency")?),
    };
    let Some(amount) = read_decimal(&amount) else { return refuse("gives money an amount that is no decimal number") };
    let currency = currency.as_str().map(str::to_ascii_uppercase).unwrap_or_default();
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_alphabetic()) {
        return refuse("gives money no currency of three letters");
    }
    Ok(with_manner(state, |manner| manner.locale.write_money(amount, &currency)))
}

fn read_decimal(value: &Value) -> Option<Decimal> {
    let text =
        value.as_str().map(|text| text.trim().to_owned()).or_else(|| value.is_number().then(|| value.to_string()))?;
    Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text)).ok()
}

/// `"2026-12-03" | date`, `moment | date("day")`; styles `long`, `short`, `day`.
fn date(state: &State<'_, '_>, value: &Value, style: Option<&str>) -> Result<String, Error> {
    let style = match style {
        None | Some("long") => DateStyle::Long,
        Some("short") => DateStyle::Short,
        Some("day") => DateStyle::Day,
        Some(_) => return refuse("asks date for a style that is none of long, short, day"),
    };
    let moment = value.as_str().and_then(|text| {
        with_manner(state, |manner| read_moment(text, manner.zones.person.as_ref(), &manner.zones.default))
    });
    match moment {
        Some(moment) => Ok(with_manner(state, |manner| manner.locale.write_date(moment.date(), style))),
        None => refuse("gives date no day or moment (like 2026-12-03 or 2026-12-03T18:30:00Z)"),
    }
}

/// `moment | time`: hours and minutes.
fn time(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let moment = value.as_str().filter(|text| text.contains(['T', 't', ' '])).and_then(|text| {
        with_manner(state, |manner| read_moment(text, manner.zones.person.as_ref(), &manner.zones.default))
    });
    match moment {
        Some(moment) => Ok(with_manner(state, |manner| manner.locale.write_time(moment.time()))),
        None => refuse("gives time no moment (like 2026-12-03T18:30:00Z)"),
    }
}

/// At most `limit` characters, cut between words where possible, with an ellipsis.
fn short(value: &Value, limit: usize) -> Result<String, Error> {
    if limit == 0 {
        return refuse("asks short for no characters");
    }
    let text = text_of(value)?.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= limit {
        return Ok(text);
    }
    let kept: String = text.chars().take(limit - 1).collect();
    let at_word = text.chars().nth(limit - 1) == Some(' ');
    let cut = kept.rfind(' ').filter(|end| !at_word && *end * 2 >= kept.len()).unwrap_or(kept.len());
    Ok(format!("{}…", kept.get(..cut).unwrap_or(&kept).trim_end()))
}

/// What a greeting needs of a full name.
fn first_word(value: &Value) -> Result<String, Error> {
    Ok(text_of(value)?.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Percent-encodes all but the characters that need no encoding anywhere in an address (RFC 3986, unreserved).
fn urlencode(value: &Value) -> Result<String, Error> {
    let mut encoded = String::new();
    for byte in text_of(value)?.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(encoded)
}

/// A national number with its country: `"600 111 222" | phone("ES")`. What is no number stays as it is, so that
/// planning can say so; absent stays absent.
fn phone(value: &Value, region: Option<&Value>) -> Result<Value, Error> {
    if value.is_undefined() || value.is_none() {
        return Ok(value.clone());
    }
    let text = text_of(value)?;
    if text.trim().is_empty() {
        return Ok(Value::UNDEFINED);
    }
    let phone = match region.and_then(Value::as_str) {
        Some(region) => Phone::parse_in(&text, region),
        None => Phone::parse(&text),
    };
    Ok(Value::from(phone.map_or(text, |phone| phone.reveal().to_owned())))
}

fn text_of(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    if value.is_number() {
        return Ok(value.to_string());
    }
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    refuse("gives a filter something that is neither text nor number")
}

/// Calls `then` with the person's manner; where there is none (sources), with a neutral one.
fn with_manner<T>(state: &State<'_, '_>, then: impl FnOnce(&Manner) -> T) -> T {
    let found = state.lookup(MANNER);
    if let Some(manner) = found.as_ref().and_then(|value| value.downcast_object_ref::<Manner>()) {
        return then(manner);
    }
    let locale = Locale::unknown();
    then(&Manner::new(locale, super::Zones { person: None, default: TimeZone::UTC }))
}
