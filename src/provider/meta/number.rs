//! What Meta says of a business number, and of who is told what happens to it.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use super::decode;
use crate::domain::notification::{Failure, Outcome};

/// What to ask about a number: `GET /{version}/{phone-number-id}?fields=…`.
pub const FIELDS: &str = "display_phone_number,verified_name,status,quality_rating,throughput";

/// A number as Meta sees it. What Meta does not say is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Number {
    pub display_phone_number: String,
    pub verified_name: String,
    /// `CONNECTED`, or it cannot send.
    pub status: String,
    /// `GREEN`, `YELLOW`, `RED`, `NA` or `UNKNOWN`.
    pub quality_rating: String,
    throughput: Throughput,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Throughput {
    level: String,
}

impl Number {
    /// Messages a second that Meta takes from it, if it says so.
    #[must_use]
    pub fn per_second(&self) -> Option<u32> {
        match self.throughput.level.as_str() {
            "STANDARD" => Some(80),
            "HIGH" => Some(1_000),
            _ => None,
        }
    }
}

/// The answer to a question about a number.
///
/// # Errors
/// What Meta refused with; none of its reasons if the answer cannot be read.
pub fn number(response: &Response<Bytes>) -> Result<Number, Option<Failure>> {
    answer(response)
}

/// How many apps get the account's webhooks: the answer to `GET /{version}/{waba-id}/subscribed_apps`.
///
/// # Errors
/// As [`number`].
pub fn subscribers(response: &Response<Bytes>) -> Result<usize, Option<Failure>> {
    #[derive(Deserialize)]
    struct Apps {
        data: Vec<serde::de::IgnoredAny>,
    }
    answer::<Apps>(response).map(|apps| apps.data.len())
}

fn answer<T: for<'de> Deserialize<'de>>(response: &Response<Bytes>) -> Result<T, Option<Failure>> {
    if response.status().is_success() {
        return serde_json::from_slice(response.body()).map_err(|_| None);
    }
    match decode(response) {
        Outcome::Rejected { failure, .. }
        | Outcome::NotSent(failure)
        | Outcome::Busy { failure, .. }
        | Outcome::Unclear(failure) => Err(Some(failure)),
        Outcome::Accepted(_) => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &'static str) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_number_says_whether_it_can_send_and_how_fast() {
        let body = r#"{"id":"1","display_phone_number":"+1 555-000-1111","verified_name":"Tienda","status":"CONNECTED",
            "quality_rating":"GREEN","throughput":{"level":"HIGH"},"new_field":[1]}"#;
        let told = number(&response(200, body)).unwrap();
        assert_eq!(
            (told.status.as_str(), told.quality_rating.as_str(), told.per_second()),
            ("CONNECTED", "GREEN", Some(1_000))
        );
        assert_eq!(number(&response(200, "{}")).unwrap(), Number::default());
    }

    #[test]
    fn a_token_that_is_no_good_is_named_as_one() {
        let body = r#"{"error":{"message":"Error validating access token","type":"OAuthException","code":190}}"#;
        let failure = number(&response(401, body)).unwrap_err().unwrap();
        assert_eq!((failure.reason.as_str(), failure.code), ("token_invalid", Some(190)));
        assert_eq!(number(&response(200, "<html>")), Err(None));
    }

    #[test]
    fn subscribers_are_counted() {
        assert_eq!(subscribers(&response(200, r#"{"data":[{"whatsapp_business_api_data":{"id":"5"}}]}"#)), Ok(1));
        assert_eq!(subscribers(&response(200, r#"{"data":[]}"#)), Ok(0));
    }
}
