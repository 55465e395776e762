//! The parameters of a send, one by one: what kind they are, what they show, and what may not be in them. Which ones a
//! template wants is `templates`' affair.

use serde_json::Value;

use super::refusal::Refusal;

pub(super) fn parameters(component: Option<&Value>) -> Result<&[Value], Refusal> {
    match component.and_then(|component| component.get("parameters")) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Refusal::new(131009, "template.components: parameters must be an array")),
    }
}

pub(super) fn kind_of(parameter: &Value) -> Result<&str, Refusal> {
    parameter
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::new(131008, "template.components: a parameter without type"))
}

pub(super) fn count(place: &str, given: usize, expected: usize) -> Refusal {
    Refusal::new(
        132000,
        format!(
            "{place}: number of localizable_params ({given}) does not match the expected number of params ({expected})"
        ),
    )
}

/// What a text, currency or date parameter shows.
pub(super) fn shown(place: &str, parameter: &Value) -> Result<String, Refusal> {
    let missing = |what: &str| Refusal::new(131008, format!("{place}: {what} is missing"));
    let text = match kind_of(parameter)? {
        "text" => match parameter.get("text") {
            None => return Err(missing("text")),
            Some(Value::String(text)) => text,
            Some(_) => return Err(Refusal::new(131009, format!("{place}: text must be a string"))),
        },
        "currency" => {
            let currency = parameter.get("currency").ok_or_else(|| missing("currency"))?;
            let code = currency.get("code").and_then(Value::as_str).ok_or_else(|| missing("currency.code"))?;
            if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(Refusal::new(131009, format!("{place}: currency.code is not an ISO 4217 code")));
            }
            match currency.get("amount_1000") {
                None => return Err(missing("currency.amount_1000")),
                Some(amount) if amount.is_i64() => {}
                Some(_) => {
                    return Err(Refusal::new(131009, format!("{place}: currency.amount_1000 must be an integer")));
                }
            }
            fallback(currency).ok_or_else(|| missing("currency.fallback_value"))?
        }
        "date_time" => {
            let date = parameter.get("date_time").ok_or_else(|| missing("date_time"))?;
            fallback(date).ok_or_else(|| missing("date_time.fallback_value"))?
        }
        other => {
            return Err(Refusal::new(
                132012,
                format!("{place}: Format mismatch, expected TEXT, received {}", other.to_uppercase()),
            ));
        }
    };
    plain(place, text)?;
    Ok(text.clone())
}

fn fallback(of: &Value) -> Option<&String> {
    match of.get("fallback_value") {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn plain(place: &str, text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::new(132012, format!("{place}: Param text is empty")));
    }
    if text.contains(['\n', '\r', '\t']) || text.contains("     ") {
        return Err(Refusal::new(
            132012,
            format!("{place}: Param text cannot have new-line/tab characters or more than 4 consecutive spaces"),
        ));
    }
    Ok(())
}

pub(super) fn fit_media(kind: &str, media: Option<&Value>) -> Result<(), Refusal> {
    let media = media.ok_or_else(|| Refusal::new(131008, format!("header: {kind} is missing")))?;
    if kind == "location" {
        for key in ["latitude", "longitude", "name", "address"] {
            if media.get(key).is_none_or(Value::is_null) {
                return Err(Refusal::new(131008, format!("header: location.{key} is missing")));
            }
        }
        return Ok(());
    }
    let id = media.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let link = media.get("link").and_then(Value::as_str);
    match (id, link) {
        (Some(_), None) => Ok(()),
        (None, Some(link)) if link.starts_with("https://") || link.starts_with("http://") => Ok(()),
        (None, Some(_)) => Err(Refusal::new(131009, format!("header: {kind}.link is not a URL"))),
        (Some(_), Some(_)) => Err(Refusal::new(131009, format!("header: {kind} has id and link"))),
        (None, None) => Err(Refusal::new(131008, format!("header: {kind} needs id or link"))),
    }
}

pub(super) fn argument<'a>(index: usize, parameter: &'a Value, kind: &str, max: usize) -> Result<&'a str, Refusal> {
    let received = kind_of(parameter)?;
    if received != kind {
        return Err(Refusal::new(
            132012,
            format!("buttons: Button at index {index} wants {kind}, received {received}"),
        ));
    }
    let text = parameter
        .get(kind)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Refusal::new(131008, format!("buttons: {kind} of button at index {index} is missing")))?;
    if text.chars().count() > max {
        return Err(Refusal::new(131009, format!("buttons: {kind} of button at index {index} is longer than {max}")));
    }
    Ok(text)
}
