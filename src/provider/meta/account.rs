//! News of templates, numbers and accounts in Meta's webhooks.
//!
//! Rare, so it is read leniently from whole JSON values. What a hold does is decided elsewhere.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::facts::{filled_text, time, unknown};
use crate::{
    domain::fact::{AccountNews, Approval, BadFact, Effect, Fact, SenderQuality, TemplateCategory, TemplateStatus},
    provider::verdict::shortened,
};

/// The fact in one change of an account-level field; `at` is the entry's time.
pub(super) fn read(field: &str, value: &Value, at: Option<Timestamp>) -> Result<Fact, BadFact> {
    match field {
        "message_template_status_update" => template_status(value, at),
        "template_category_update" => template_category(value),
        "message_template_components_update" => {
            let (name, language) = template(value)?;
            Ok(Fact::TemplateChanged { name, language })
        }
        "message_template_quality_update" => {
            let (name, language) = template(value)?;
            let score = text(value, "new_quality_score").ok_or(BadFact::Shape("template news"))?;
            Ok(Fact::TemplateQuality { name, language, score })
        }
        "phone_number_quality_update" | "business_capability_update" => Ok(sender_quality(field, value)),
        "account_update" => account_update(value),
        "account_alerts" => Ok(account_alert(value)),
        other => Ok(unknown(other)),
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

fn template_status(value: &Value, at: Option<Timestamp>) -> Result<Fact, BadFact> {
    let (name, language) = template(value)?;
    let event = text(value, "event").ok_or(BadFact::Shape("template news"))?;
    let title = value.pointer("/other_info/title").and_then(Value::as_str);
    let status = approval(&event);
    let lasts = match (status, title) {
        (Some(Approval::Paused), Some("FIRST_PAUSE")) => Some(3 * HOUR),
        (Some(Approval::Paused), Some("SECOND_PAUSE")) => Some(6 * HOUR),
        // A pause for pacing ends by an act of the business.
        _ => None,
    };
    let told = [
        value.get("reason"),
        value.pointer("/rejection_info/reason"),
        value.pointer("/disable_info/disable_date"),
        value.pointer("/other_info/description"),
        value.pointer("/other_info/title"),
    ];
    let mut told = told.into_iter().flatten().filter_map(Value::as_str).filter(|text| *text != "NONE");
    let reason = told.find_map(|text| shortened(text, 300));
    Ok(Fact::TemplateStatus(TemplateStatus { name, language, status, event, reason, at, lasts }))
}

/// The standing after an event. Unknown events change nothing, and neither does a warning.
fn approval(event: &str) -> Option<Approval> {
    match event {
        "APPROVED" | "REINSTATED" => Some(Approval::Approved),
        // Out of the archive it has to be looked at first: a sync tells whether it is approved.
        "PENDING" | "UNARCHIVED" => Some(Approval::Pending),
        "REJECTED" => Some(Approval::Rejected),
        "PAUSED" => Some(Approval::Paused),
        "DISABLED" => Some(Approval::Disabled),
        "IN_APPEAL" => Some(Approval::InAppeal),
        "LOCKED" => Some(Approval::Locked),
        "LIMIT_EXCEEDED" => Some(Approval::LimitExceeded),
        "ARCHIVED" => Some(Approval::Archived),
        "DELETED" | "PENDING_DELETION" => Some(Approval::Deleted),
        _ => None,
    }
}

fn template_category(value: &Value) -> Result<Fact, BadFact> {
    let (name, language) = template(value)?;
    let category = text(value, "new_category").ok_or(BadFact::Shape("template news"))?;
    let since = value.get("category_update_timestamp").and_then(time);
    let impending = text(value, "correct_category").filter(|correct| *correct != category).map(|it| (it, since));
    let previous = text(value, "previous_category");
    Ok(Fact::TemplateCategory(TemplateCategory { name, language, category, previous, impending }))
}

fn template(value: &Value) -> Result<(String, String), BadFact> {
    let name = text(value, "message_template_name");
    // Meta writes a language's region with a dash here and with an underscore elsewhere.
    let language = text(value, "message_template_language").map(|language| language.replace('-', "_"));
    name.zip(language).ok_or(BadFact::Shape("template news"))
}

fn sender_quality(field: &str, value: &Value) -> Fact {
    let event = text(value, "event").unwrap_or_else(|| field.to_owned());
    let limits = ["max_daily_conversations_per_business", "max_daily_conversation_per_phone", "current_limit"];
    let limit = limits.into_iter().filter_map(|key| value.get(key)).find_map(|limit| match limit {
        Value::String(tier) => shortened(tier, 100),
        Value::Number(people) => Some(people.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    Fact::SenderQuality(SenderQuality { event, limit })
}

fn account_update(value: &Value) -> Result<Fact, BadFact> {
    let event = text(value, "event").ok_or(BadFact::Shape("account news"))?;
    let (effect, detail) = match event.as_str() {
        "ACCOUNT_RESTRICTION" => restriction(value),
        "ACCOUNT_DELETED" => (Effect::Holds { until: None }, None),
        "DISABLED_UPDATE" => {
            let state = value.pointer("/ban_info/waba_ban_state").and_then(Value::as_str);
            let effect = match state {
                Some("REINSTATE") => Effect::Releases,
                // A date in the future; sending goes on until then.
                Some("SCHEDULE_FOR_DISABLE") => Effect::Shown,
                _ => Effect::Holds { until: None },
            };
            (effect, state.and_then(|state| shortened(state, 300)))
        }
        _ => {
            let violation = value.pointer("/violation_info/violation_type").and_then(Value::as_str);
            (Effect::Shown, violation.and_then(|violation| shortened(violation, 300)))
        }
    };
    Ok(Fact::Account(AccountNews { event, effect, detail }))
}

/// Holds unless all of it is known to leave our own messages alone; until the last of it ends, if each has an end.
fn restriction(value: &Value) -> (Effect, Option<String>) {
    let listed = match value.get("restriction_info") {
        Some(Value::Array(listed)) => listed.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => Vec::new(),
    };
    let kind = |one: &Value| text(one, "restriction_type").unwrap_or_default();
    let kinds = listed.iter().map(|one| kind(one)).collect::<Vec<_>>().join(", ");
    let harmless = ["RESTRICTED_ADD_PHONE_NUMBER_ACTION", "RESTRICTED_CUSTOMER_INITIATED_MESSAGING"];
    let holding = listed.iter().filter(|one| !harmless.contains(&kind(one).as_str())).collect::<Vec<_>>();
    let effect = if holding.is_empty() && !listed.is_empty() {
        Effect::Shown
    } else {
        let ends = holding.iter().map(|one| one.get("expiration").and_then(time)).collect::<Option<Vec<_>>>();
        Effect::Holds { until: ends.and_then(|ends| ends.into_iter().max()) }
    };
    (effect, shortened(&kinds, 300))
}

fn account_alert(value: &Value) -> Fact {
    let told = |key: &str| {
        let nested = value.get("alert_info").and_then(|info| info.get(key));
        nested.or_else(|| value.get(key)).and_then(Value::as_str)
    };
    let detail = ["alert_type", "alert_description"].into_iter().filter_map(told).collect::<Vec<_>>().join(": ");
    Fact::Account(AccountNews {
        event: "account_alerts".to_owned(),
        effect: Effect::Shown,
        detail: shortened(&detail, 300),
    })
}

fn text(value: &Value, key: &str) -> Option<String> {
    filled_text(value.get(key)?)
}

#[cfg(test)]
mod tests;
