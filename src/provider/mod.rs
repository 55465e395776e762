//! How providers speak: pure codecs, one folder a provider. No `async`, no clock, no socket, no randomness.
//!
//! A codec is four things: `encode` makes the request for one message, `decode` says what an answer means, `verify`
//! tells the provider's webhooks from forgeries, `facts` reads them. [`meta`] sends templates and free texts on WhatsApp; [`twilio`]
//! sends the SMS of opt-ins, and no notifications: they share words, not a trait.
//!
//! What an outcome leads to is not decided here, see `domain::notification`.

pub mod billing;
pub mod meta;
pub mod reason;
pub mod twilio;

use crate::domain::notification::{Failure, Outcome, Reason};

/// How a request ended that got no complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Silence {
    /// Name resolution, TCP, TLS or the connect timeout: not one byte of the request was written.
    NotConnected,
    /// The connection stood, the answer did not come in time.
    TimedOut,
    /// The connection broke after the request, or a part of it, was written.
    Cut,
}

/// What a request without an answer comes to: only [`Silence::NotConnected`] proves that nothing was processed.
#[must_use]
pub fn unanswered(silence: Silence) -> Outcome {
    match silence {
        Silence::NotConnected => Outcome::NotSent(bare(reason::NOT_CONNECTED)),
        Silence::TimedOut => Outcome::Unclear(bare(reason::ANSWER_TIMED_OUT)),
        Silence::Cut => Outcome::Unclear(bare(reason::CONNECTION_CUT)),
    }
}

/// A failure of which the provider said nothing.
fn bare(reason: Reason) -> Failure {
    Failure { reason, code: None, detail: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_never_stood_proves_that_nothing_was_sent() {
        assert!(matches!(unanswered(Silence::NotConnected), Outcome::NotSent(_)));
        for silence in [Silence::TimedOut, Silence::Cut] {
            assert!(matches!(unanswered(silence), Outcome::Unclear(_)), "{silence:?}");
        }
    }
}
