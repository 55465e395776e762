//! What Twilio's error codes mean for an SMS. The code decides, as Twilio asks; an unknown one ends the message.

use std::time::Duration;

use crate::{
    domain::notification::{Failure, Outcome, Reason, Whose},
    provider::reason,
};

/// What a code comes to. `later` says that it came in a report: the message had been taken, and is proven undelivered.
pub(super) fn outcome(code: i64, detail: Option<&str>, later: bool) -> Outcome {
    let failure = |reason: Reason| Failure { reason, code: Some(code), detail: detail.map(str::to_owned) };
    let ends = |reason| Outcome::Rejected { failure: failure(reason), again: None };
    let again =
        |reason, seconds| Outcome::Rejected { failure: failure(reason), again: Some(Duration::from_secs(seconds)) };
    let slow = |reason| Outcome::Busy {
        whose: Whose::Sender,
        hold: false,
        failure: failure(reason),
        wait: Some(Duration::from_secs(5)),
    };
    let held = |reason| Outcome::Busy { whose: Whose::Sender, hold: true, failure: failure(reason), wait: None };
    match code {
        20003 | 20404 => held(reason::TOKEN_INVALID),
        30002 => held(reason::ACCOUNT_RESTRICTED),
        21212 | 21603 | 21606 | 21659 | 21660 | 21703..=21705 | 30018 | 30024 | 30032 | 30034 => {
            held(reason::NUMBER_NOT_REGISTERED)
        }
        20429 | 21611 | 30001 | 30022 => slow(reason::SENDER_THROTTLED),
        30017 | 30023 => again(reason::PROVIDER_UNAVAILABLE, 60),
        // Whether it went is not known, unless it is a report that says that it did not.
        20500 | 30008 | 30410 if !later => Outcome::Unclear(failure(reason::PROVIDER_ERROR)),
        20500 | 30008 | 30410 => ends(reason::PROVIDER_ERROR),
        21610 => ends(reason::TEXTS_STOPPED),
        21211 | 21214 | 21217 | 21612 | 21614 | 30003 | 30005 | 30006 => ends(reason::TEXT_UNDELIVERABLE),
        30004 | 30007 | 30450 | 14107 => ends(reason::TEXT_FILTERED),
        21408 => ends(reason::RECIPIENT_COUNTRY),
        21608 => ends(reason::RECIPIENT_NOT_ALLOWED),
        30036 => ends(reason::TEXT_TOO_LATE),
        _ => ends(reason::UNKNOWN_CODE),
    }
}
