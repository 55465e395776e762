//! `POST Messages.json`, the reading half: what the form must look like before anything else is asked. Knows no world, no
//! content, no time.

use std::collections::BTreeMap;

use serde_json::Value;

use super::refused::Refused;
use super::{WHATSAPP, is_whatsapp};

const BODY_MAX: usize = 1_600;
const VARIABLES_MAX: usize = 100;

/// What the documents name and the simulator heeds.
const HEEDED: [&str; 8] =
    ["To", "From", "MessagingServiceSid", "Body", "ContentSid", "ContentVariables", "StatusCallback", "ValidityPeriod"];
/// What they name and what changes nothing here.
const IDLE: [&str; 12] = [
    "AddressRetention",
    "ApplicationSid",
    "Attempt",
    "ContentRetention",
    "FallbackFrom",
    "ForceDelivery",
    "MaxPrice",
    "ProvideFeedback",
    "RiskCheck",
    "ShortenUrls",
    "SmartEncoded",
    "TrafficType",
];

/// A form as it came.
pub(super) type Form = Vec<(String, String)>;

/// A request that is well formed.
#[derive(Debug)]
pub(super) struct Asked {
    /// The digits of the recipient.
    pub(super) to: String,
    pub(super) whatsapp: bool,
    /// An address.
    pub(super) from: Option<String>,
    pub(super) service: Option<String>,
    pub(super) content: Content,
    pub(super) callback: Option<String>,
    pub(super) valid_s: Option<u32>,
}

#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Template { sid: String, variables: BTreeMap<String, String> },
}

/// Reads the form of a request, or says what Twilio would say.
pub(super) fn read(form: &Form) -> Result<Asked, Refused> {
    for (name, _) in form {
        match name.as_str() {
            "MediaUrl" | "PersistentAction" | "SendAsMms" => {
                return Err(Refused::new(21620).saying(format!("{name} is not simulated")));
            }
            "ScheduleType" | "SendAt" => return Err(Refused::new(35114).saying(format!("{name} is not simulated"))),
            known if HEEDED.contains(&known) || IDLE.contains(&known) => {}
            _ => return Err(Refused::new(20001).saying(format!("Unknown parameter {name}"))),
        }
    }
    let to = field(form, "To")?.ok_or_else(|| Refused::new(21604))?;
    let digits = number(&to).ok_or_else(|| Refused::new(21211).saying("Invalid 'To' Phone Number"))?;
    let whatsapp = is_whatsapp(&to);
    let from = field(form, "From")?;
    if let Some(from) = &from {
        number(from).ok_or_else(|| Refused::new(21212))?;
        if is_whatsapp(from) != whatsapp {
            return Err(Refused::new(21910));
        }
        if *from == to {
            return Err(Refused::new(if whatsapp { 63031 } else { 21266 }));
        }
    }
    let service = field(form, "MessagingServiceSid")?;
    if service.as_deref().is_some_and(|sid| !is_sid(sid, "MG")) {
        return Err(Refused::new(21705));
    }
    if from.is_none() && service.is_none() {
        return Err(Refused::new(21603));
    }
    Ok(Asked {
        to: digits,
        whatsapp,
        from,
        service,
        content: content(form)?,
        callback: callback(form)?,
        valid_s: validity(form)?,
    })
}

fn content(form: &Form) -> Result<Content, Refused> {
    let variables = field(form, "ContentVariables")?;
    let Some(sid) = field(form, "ContentSid")? else {
        if variables.is_some() {
            return Err(Refused::new(21654));
        }
        let body = field(form, "Body")?.ok_or_else(|| Refused::new(21619))?;
        if body.chars().count() > BODY_MAX {
            return Err(Refused::new(21617));
        }
        return Ok(Content::Text(body));
    };
    if !is_sid(&sid, "HX") {
        return Err(Refused::new(21655));
    }
    let variables = variables.as_deref().map(read_variables).transpose()?.unwrap_or_default();
    Ok(Content::Template { sid, variables })
}

/// `{"1":"Ana"}`: a JSON object of strings.
fn read_variables(text: &str) -> Result<BTreeMap<String, String>, Refused> {
    let malformed = || Refused::new(21656);
    let json: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    let Value::Object(map) = json else { return Err(malformed()) };
    if map.len() > VARIABLES_MAX {
        return Err(malformed());
    }
    map.into_iter()
        .map(|(name, value)| match value {
            Value::String(text) if text.chars().count() > BODY_MAX => Err(Refused::new(21658)),
            Value::String(text) => Ok((name, text)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(malformed()),
        })
        .collect()
}

fn callback(form: &Form) -> Result<Option<String>, Refused> {
    let Some(url) = field(form, "StatusCallback")? else { return Ok(None) };
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    if host.is_none_or(|host| host.is_empty() || host.contains('_') || url.contains(char::is_whitespace)) {
        return Err(Refused::new(21609));
    }
    Ok(Some(url))
}

fn validity(form: &Form) -> Result<Option<u32>, Refused> {
    let Some(text) = field(form, "ValidityPeriod")? else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (1..=36_000).contains(seconds));
    seconds.map(Some).ok_or_else(|| Refused::new(90007))
}

/// A parameter that is there and not empty; twice is once too many.
pub(super) fn field(form: &Form, name: &str) -> Result<Option<String>, Refused> {
    let mut values = form.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
    let (value, more) = (values.next(), values.next());
    if more.is_some() {
        return Err(Refused::new(20422).saying(format!("{name} is there twice")));
    }
    Ok(value.filter(|value| !value.is_empty()).cloned())
}

/// The digits of an address in E.164, on either channel.
pub(super) fn number(address: &str) -> Option<String> {
    let digits = address.strip_prefix(WHATSAPP).unwrap_or(address).strip_prefix('+')?;
    let good =
        (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    good.then(|| digits.to_owned())
}

/// Whether this is a sid of that kind.
pub(super) fn is_sid(text: &str, kind: &str) -> bool {
    text.strip_prefix(kind).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}
