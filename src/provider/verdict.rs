//! What a refusal means for the message that got it, in words that all providers share; and the parts of an answer that all read alike.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use super::{bare, reason};
use crate::domain::notification::{Failure, Outcome, Reason, Whose};

/// What a code means for the message that got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Refused before it was processed, because of somebody's pace. Wait at least that long; `None` leaves it to that somebody's back-off.
    Throttled(Whose, Option<Duration>),
    /// A passing fault on the provider's side; the message may have gone out.
    Doubtful,
    /// Refused for now; may be tried again after that long.
    Later(Duration),
    /// Refused for good.
    Never,
    /// The sender or the template cannot send at all; the message is not to blame. Ends by itself after that long, if given.
    Held(Whose, Option<Duration>),
}

impl Verdict {
    pub(super) fn outcome(self, failure: Failure) -> Outcome {
        match self {
            Verdict::Throttled(whose, wait) => Outcome::Busy { whose, hold: false, failure, wait },
            Verdict::Doubtful => Outcome::Unclear(failure),
            Verdict::Later(wait) => Outcome::Rejected { failure, again: Some(wait) },
            Verdict::Never => Outcome::Rejected { failure, again: None },
            Verdict::Held(whose, wait) => Outcome::Busy { whose, hold: true, failure, wait },
        }
    }
}

/// A code and its one meaning.
pub(super) type Row = (i64, Reason, Verdict);

/// A code's meaning in a table that is in the order of its codes.
pub(super) fn find(table: &[Row], code: i64) -> Option<(Reason, Verdict)> {
    let at = table.binary_search_by_key(&code, |row| row.0).ok()?;
    table.get(at).map(|row| (row.1, row.2))
}

/// Larger answers are not looked into; the providers' have a few KiB at most.
pub(super) const ANSWER_MAX: usize = 256 * 1_024;
/// Nobody is trusted to stop us for longer.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// The longest text of a provider's that is kept, in characters.
pub(super) const DETAIL_MAX: usize = 300;
/// The pause after a 429 that says nothing more.
const PAUSE: Duration = Duration::from_secs(1);
const ID_MAX: usize = 512;

/// An answer that the provider's own software did not write: a gateway, a proxy, or somebody else's server.
pub(super) fn without_a_code(status: StatusCode) -> Outcome {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::Busy {
            whose: Whose::Sender,
            hold: false,
            failure: bare(reason::SENDER_THROTTLED),
            wait: Some(PAUSE),
        },
        // These speak of the address or the credentials, which all messages share.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::GONE
        | StatusCode::MISDIRECTED_REQUEST => held_sender(reason::ENDPOINT_REFUSED),
        StatusCode::REQUEST_TIMEOUT => Outcome::Unclear(bare(reason::ANSWER_UNREADABLE)),
        status if status.is_client_error() => Outcome::Rejected { failure: bare(reason::REQUEST_REFUSED), again: None },
        _ => Outcome::Unclear(bare(reason::ANSWER_UNREADABLE)),
    }
}

pub(super) fn held_sender(reason: Reason) -> Outcome {
    Verdict::Held(Whose::Sender, None).outcome(bare(reason))
}

/// The same outcome, with the longer wait if it is about pace.
pub(super) fn slower(outcome: Outcome, asked: Option<Duration>) -> Outcome {
    match outcome {
        Outcome::Busy { whose, hold: false, failure, wait } => {
            Outcome::Busy { whose, hold: false, failure, wait: wait.max(asked) }
        }
        other @ (Outcome::Accepted(_)
        | Outcome::Rejected { .. }
        | Outcome::NotSent(_)
        | Outcome::Busy { .. }
        | Outcome::Unclear(_)) => other,
    }
}

/// The wait that `Retry-After` asks for in seconds, between 0 and 1 hour.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(whole_seconds)
}

fn whole_seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if negative {
        return Some(Duration::ZERO);
    }
    // More digits than fit are a wish for more than we grant.
    Some(digits.parse().map_or(WAIT_MAX, Duration::from_secs).min(WAIT_MAX))
}

/// `text`, at most `most` characters long, or `None` if nothing is left.
pub(super) fn shortened(text: &str, most: usize) -> Option<String> {
    let text = text.trim();
    let short = text.char_indices().nth(most).map_or(text, |(end, _)| text.get(..end).unwrap_or(text));
    (!short.is_empty()).then(|| short.replace('\0', "\u{fffd}"))
}

/// An id that can be stored and compared: neither empty nor absurd.
pub(super) fn whole_id(id: Option<String>) -> Option<String> {
    id.filter(|id| !id.is_empty() && id.len() <= ID_MAX && !id.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_an_hour_however_it_is_written(value in "[-+]?[0-9]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            prop_assert!(retry_after(&headers).unwrap_or_default() <= WAIT_MAX);
        }
    }
}
