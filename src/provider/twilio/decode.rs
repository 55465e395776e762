//! What Twilio's answer to a send means. What leaves a doubt whether the SMS went out is [`Outcome::Unclear`].

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;

use super::codes;
use crate::{
    domain::notification::{Acceptance, Failure, Outcome, Whose},
    provider::{bare, reason},
};

#[derive(Deserialize)]
struct Created {
    sid: String,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: Option<String>,
}

/// The longest text of Twilio's that is kept, in characters.
const DETAIL_MAX: usize = 300;

/// What the answer to a send came to.
#[must_use]
pub fn decode(response: &Response<Bytes>) -> Outcome {
    let (status, body) = (response.status(), response.body());
    if status.is_success() {
        return match serde_json::from_slice::<Created>(body) {
            Ok(created) if !created.sid.is_empty() => {
                Outcome::Accepted(Acceptance { message_id: created.sid, ..Acceptance::default() })
            }
            Ok(_) => Outcome::Unclear(bare(reason::NO_MESSAGE_ID)),
            Err(_) => Outcome::Unclear(bare(reason::ANSWER_UNREADABLE)),
        };
    }
    if status.is_redirection() {
        return Outcome::Busy { whose: Whose::Sender, hold: true, failure: bare(reason::REDIRECTED), wait: None };
    }
    // A server's error may come after the message was made, whatever code it names.
    if status.is_server_error() {
        let code = serde_json::from_slice::<Refusal>(body).ok().map(|refusal| refusal.code);
        return Outcome::Unclear(Failure { reason: reason::PROVIDER_ERROR, code, detail: None });
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => {
            let detail: Option<String> = refusal.message.map(|text| text.chars().take(DETAIL_MAX).collect());
            codes::outcome(refusal.code, detail.as_deref(), false)
        }
        Err(_) if status == StatusCode::TOO_MANY_REQUESTS => codes::outcome(20429, None, false),
        Err(_) if status == StatusCode::REQUEST_TIMEOUT => Outcome::Unclear(bare(reason::ANSWER_UNREADABLE)),
        Err(_) => Outcome::Rejected { failure: bare(reason::REQUEST_REFUSED), again: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &'static str) -> Outcome {
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        decode(&response)
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
            (201, r#"{"sid": ""}"#),
            (500, ""),
            (503, r#"{"code": 20503, "message": "x", "status": 503}"#),
            (400, r#"{"code": 30410, "message": "timeout"}"#),
            (408, ""),
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
        assert!(matches!(answered(429, ""), Outcome::Busy { hold: false, .. }));
        let Outcome::Rejected { failure, again: None } =
            answered(400, r#"{"code": 21610, "message": "unsubscribed", "status": 400}"#)
        else {
            panic!("not refused")
        };
        assert_eq!(failure.reason, reason::TEXTS_STOPPED);
        assert!(matches!(answered(400, r#"{"code": 99999}"#), Outcome::Rejected { again: None, .. }));
    }
}
