//! What Meta says of a business number: how it stands, and what that means for sending.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use super::decode;
use crate::{
    domain::{
        health::Health,
        notification::{Failure, Outcome},
    },
    provider::{bare, reason, verdict::shortened},
};

/// A number as Meta sees it. What Meta does not say is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Number {
    pub display_phone_number: Option<String>,
    pub verified_name: Option<String>,
    /// `CONNECTED`, or it cannot send.
    pub status: Option<String>,
    /// `GREEN`, `YELLOW`, `RED`, `NA` or `UNKNOWN`.
    pub quality_rating: Option<String>,
    pub name_status: Option<String>,
    /// `VERIFIED`, or nobody has proved that the number is theirs.
    pub code_verification_status: Option<String>,
    /// `CLOUD_API`, if it is registered there.
    pub platform_type: Option<String>,
    throughput: Option<Throughput>,
    #[serde(alias = "messaging_limit_tier")]
    whatsapp_business_manager_messaging_limit: Option<String>,
    health_status: Option<HealthStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Throughput {
    level: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct HealthStatus {
    can_send_message: Option<String>,
    entities: Vec<Entity>,
}

/// The number, its account, the business or the app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Entity {
    entity_type: Option<String>,
    can_send_message: Option<String>,
    errors: Vec<Obstacle>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Obstacle {
    error_code: Option<i64>,
    error_description: Option<String>,
    possible_solution: Option<String>,
}

/// The longest account of what stands in the way, in characters.
const OBSTACLES_MAX: usize = 600;

/// What to ask of a number. Asked for a field that its version does not have, Meta answers nothing at all.
pub(super) fn fields(version: &str) -> String {
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    let limit = match major {
        Some(0..=23) => "messaging_limit_tier",
        Some(_) | None => "whatsapp_business_manager_messaging_limit",
    };
    format!(
        "display_phone_number,verified_name,status,quality_rating,name_status,code_verification_status,platform_type,throughput,health_status,{limit}"
    )
}

impl Number {
    /// The same in our words.
    #[must_use]
    pub fn health(&self) -> Health {
        let said = |word: &Option<String>| word.as_deref().and_then(|word| shortened(word, 100));
        let obstacles = self.obstacles().join("; ");
        Health {
            status: said(&self.status),
            quality: said(&self.quality_rating),
            name_status: said(&self.name_status),
            can_send: self.health_status.as_ref().and_then(|health| said(&health.can_send_message)),
            obstacles: shortened(&obstacles, OBSTACLES_MAX),
            tier: said(&self.whatsapp_business_manager_messaging_limit),
            throughput: self.throughput.as_ref().and_then(|throughput| said(&throughput.level)),
        }
    }

    /// What stands in the way of sending, and what Meta says to do about it.
    fn obstacles(&self) -> Vec<String> {
        let entities = self.health_status.iter().flat_map(|health| &health.entities);
        let hindered = entities.filter(|entity| entity.can_send_message.as_deref() != Some("AVAILABLE"));
        let told = hindered.flat_map(|entity| {
            let whose = entity.entity_type.as_deref().unwrap_or("something").to_lowercase().replace('_', " ");
            let can = entity.can_send_message.as_deref().unwrap_or("unknown").to_lowercase();
            let begin = format!("the {whose} is {can}");
            match entity.errors.as_slice() {
                [] => vec![begin],
                errors => errors.iter().map(|error| format!("{begin}: {}", error.told())).collect(),
            }
        });
        told.collect()
    }
}

impl Obstacle {
    fn told(&self) -> String {
        let code = self.error_code.map(|code| format!(" (code {code})")).unwrap_or_default();
        let what = self.error_description.as_deref().unwrap_or("Meta does not say why").trim_end_matches('.');
        let cure = self.possible_solution.as_deref().map(|cure| format!(". {}", cure.trim_end_matches('.')));
        format!("{what}{code}{}", cure.unwrap_or_default())
    }
}

/// The answer to a question about a number.
///
/// # Errors
/// What Meta refused with.
pub fn number(response: &Response<Bytes>) -> Result<Number, Failure> {
    answer(response)
}

/// An answer of Meta's as what it should be.
pub(super) fn answer<T: for<'de> Deserialize<'de>>(response: &Response<Bytes>) -> Result<T, Failure> {
    let unreadable = || bare(reason::ANSWER_UNREADABLE);
    if response.status().is_success() {
        return serde_json::from_slice(response.body()).map_err(|_| unreadable());
    }
    match decode(response) {
        Outcome::Rejected { failure, .. }
        | Outcome::NotSent(failure)
        | Outcome::Busy { failure, .. }
        | Outcome::Unclear(failure) => Err(failure),
        Outcome::Accepted(_) => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_number_says_how_it_stands() {
        let body = r#"{"id":"1","display_phone_number":"+1 555-000-1111","verified_name":"Tienda","status":"CONNECTED",
            "quality_rating":"GREEN","name_status":null,"throughput":{"level":"HIGH"},"new_field":[1],
            "whatsapp_business_manager_messaging_limit":"TIER_2K"}"#;
        let health = number(&response(200, body)).unwrap().health();
        assert_eq!((health.status.as_deref(), health.quality.as_deref()), (Some("CONNECTED"), Some("GREEN")));
        assert_eq!((health.per_second(), health.people_a_day(), health.name_status), (Some(1_000), Some(2_000), None));
        assert_eq!(number(&response(200, "{}")).unwrap().health(), Health::default());
        let old = number(&response(200, r#"{"messaging_limit_tier":"TIER_250"}"#)).unwrap();
        assert_eq!(old.health().people_a_day(), Some(250));
    }

    #[test]
    fn what_stands_in_the_way_is_told_with_its_cure() {
        let body = r#"{"health_status":{"can_send_message":"BLOCKED","entities":[
            {"entity_type":"PHONE_NUMBER","id":"1","can_send_message":"AVAILABLE"},
            {"entity_type":"WABA","id":"2","can_send_message":"BLOCKED","errors":[{"error_code":141006,
              "error_description":"There is an error with the payment method.","possible_solution":"Please add a new one."}]},
            {"entity_type":"BUSINESS","id":"3","can_send_message":"LIMITED"}]}}"#;
        let health = number(&response(200, body)).unwrap().health();
        assert_eq!(health.can_send.as_deref(), Some("BLOCKED"));
        assert_eq!(
            health.obstacles.as_deref(),
            Some(
                "the waba is blocked: There is an error with the payment method (code 141006). Please add a new one; \
                 the business is limited"
            )
        );
    }

    #[test]
    fn a_version_is_asked_only_for_what_it_has() {
        assert!(fields("v25.0").ends_with(",whatsapp_business_manager_messaging_limit"));
        assert!(fields("v23.0").ends_with(",messaging_limit_tier"));
    }

    #[test]
    fn a_token_that_is_no_good_is_named_as_one() {
        let body = r#"{"error":{"message":"Error validating access token","type":"OAuthException","code":190}}"#;
        let failure = number(&response(401, body)).unwrap_err();
        assert_eq!((failure.reason.as_str(), failure.code), ("token_invalid", Some(190)));
        assert_eq!(number(&response(200, "<html>")).unwrap_err().reason, reason::ANSWER_UNREADABLE);
    }
}
