//! What Twilio's answer to a send means. What leaves a doubt whether the message went out is [`Outcome::Unclear`].

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;

use super::codes;
use crate::{
    domain::notification::{Acceptance, Failure, Outcome},
    provider::{
        bare, reason,
        verdict::{ANSWER_MAX, DETAIL_MAX, held_sender, retry_after, shortened, slower, whole_id, without_a_code},
    },
};

#[derive(Deserialize)]
struct Created {
    #[serde(default)]
    sid: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    #[serde(default)]
    message: Option<String>,
}

/// What the answer to a send came to.
#[must_use]
pub fn decode(response: &Response<Bytes>) -> Outcome {
    let (status, body) = (response.status(), response.body());
    if status.is_success() {
        return accepted(body);
    }
    if status.is_redirection() {
        return held_sender(reason::REDIRECTED);
    }
    let refusal = if body.len() > ANSWER_MAX { None } else { serde_json::from_slice::<Refusal>(body).ok() };
    let outcome = match refusal {
        // A server's error may come after the message was made, whatever code it names.
        Some(Refusal { code, .. }) if status.is_server_error() => {
            Outcome::Unclear(Failure { code: Some(code), ..bare(reason::PROVIDER_ERROR) })
        }
        // Too many requests are refused before they are looked into, whatever code says so.
        Some(Refusal { code, .. }) if status == StatusCode::TOO_MANY_REQUESTS && codes::meaning(code).is_none() => {
            codes::answered(20_429, None, false)
        }
        Some(Refusal { code, message }) => {
            let detail = message.and_then(|text| shortened(&text, DETAIL_MAX));
            codes::answered(code, detail, status == StatusCode::REQUEST_TIMEOUT)
        }
        None => without_a_code(status),
    };
    slower(outcome, retry_after(response.headers()))
}

fn accepted(body: &Bytes) -> Outcome {
    if body.len() > ANSWER_MAX {
        return Outcome::Unclear(bare(reason::ANSWER_UNREADABLE));
    }
    let Ok(created) = serde_json::from_slice::<Created>(body) else {
        return Outcome::Unclear(bare(reason::ANSWER_UNREADABLE));
    };
    match whole_id(created.sid) {
        Some(message_id) => Outcome::Accepted(Acceptance { message_id, ..Acceptance::default() }),
        None => Outcome::Unclear(bare(reason::NO_MESSAGE_ID)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, header::RETRY_AFTER};

    use super::*;
    use crate::domain::notification::Whose;

    fn response(status: u16, body: &'static str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    fn answered(status: u16, body: &'static str) -> Outcome {
        decode(&response(status, body))
    }

    #[test]
    fn a_sid_is_a_yes() {
        let Outcome::Accepted(accepted) = answered(201, r#"{"sid": "SM1", "status": "queued", "error_code": null}"#)
        else {
            panic!("not accepted")
        };
        assert_eq!(accepted.message_id, "SM1");
    }

    #[test]
    fn what_may_have_been_sent_is_unclear() {
        for (status, body) in [
            (201, "{"),
            (201, "{}"),
            (201, r#"{"sid": ""}"#),
            (500, ""),
            (503, r#"{"code": 20503, "message": "x", "status": 503}"#),
            (500, r#"{"code": 21610, "message": "x", "status": 500}"#),
            (400, r#"{"code": 30410, "message": "timeout"}"#),
            (408, ""),
            (408, r#"{"code": 20408, "message": "timeout"}"#),
        ] {
            assert!(matches!(answered(status, body), Outcome::Unclear(_)), "{status} {body}");
        }
    }

    #[test]
    fn a_code_says_who_is_concerned() {
        assert!(matches!(
            answered(401, r#"{"code": 20003, "message": "Authenticate"}"#),
            Outcome::Busy { whose: Whose::Sender, hold: true, .. }
        ));
        assert!(matches!(answered(403, "<html>"), Outcome::Busy { whose: Whose::Sender, hold: true, .. }));
        assert!(matches!(answered(302, ""), Outcome::Busy { whose: Whose::Sender, hold: true, .. }));
        let Outcome::Rejected { failure, again: None } =
            answered(400, r#"{"code": 21610, "message": "unsubscribed", "status": 400}"#)
        else {
            panic!("not refused")
        };
        assert_eq!((failure.reason, failure.detail.as_deref()), (reason::TEXTS_STOPPED, Some("unsubscribed")));
        assert!(matches!(answered(400, r#"{"code": 99999}"#), Outcome::Rejected { again: None, .. }));
        assert!(matches!(answered(400, "what?"), Outcome::Rejected { again: None, .. }));
    }

    #[test]
    fn too_many_requests_are_never_processed_and_say_how_long_to_wait() {
        for body in ["", r#"{"code": 20429, "message": "Too many requests"}"#, r#"{"code": 77777}"#] {
            let mut refused = response(429, body);
            refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("7"));
            let Outcome::Busy { whose: Whose::Sender, hold: false, wait, .. } = decode(&refused) else {
                panic!("{body}")
            };
            assert_eq!(wait, Some(Duration::from_secs(7)));
        }
    }
}
