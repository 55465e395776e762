//! How providers speak: pure codecs, one folder a provider. No `async`, no clock, no socket, no randomness.
//!
//! A codec is four things: `encode` makes the request for one message, `decode` says what an answer means, `verify`
//! tells the provider's webhooks from forgeries, `facts` reads them. What a message needs is [`Provider`], so that whoever sends
//! does not know through whom; what a webhook needs is [`Dialect`]. [`meta`] speaks WhatsApp, [`twilio`] WhatsApp and SMS.
//!
//! What an outcome leads to is not decided here, see `domain::notification`.

pub mod meta;
pub mod reason;
pub mod templates;
pub mod twilio;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::domain::{
    fact::Located,
    message::Outgoing,
    notification::{Failure, Outcome, Reason},
};

/// One sender at its provider, as a codec: its address and its credentials. Prints without secrets.
pub trait Provider: fmt::Debug + Send + Sync {
    /// The request that sends `outgoing`.
    ///
    /// # Errors
    /// Why this provider can make no such request. Nothing was sent then.
    fn encode(&self, outgoing: &Outgoing) -> Result<Request<Bytes>, Reason>;

    /// What the answer to such a request came to.
    fn decode(&self, response: &Response<Bytes>) -> Outcome;

    /// Whether an approved template is asked for by an id of the provider's own, without which it cannot go out.
    fn wants_content_id(&self) -> bool;
}

/// How a provider writes what it posts to us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    #[default]
    Meta,
    Twilio,
}

/// A post as it came, with the public address that it was sent to, query included.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    pub url: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Dialect {
    /// Whether the holder of one of these secrets made this post.
    #[must_use]
    pub fn verify(self, secrets: &[SecretString], post: Post<'_>) -> bool {
        match self {
            Dialect::Meta => meta::verify(secrets, post.headers, post.body),
            Dialect::Twilio => twilio::verify(secrets, post.url, post.headers, post.body),
        }
    }

    /// The facts in the stored body of a verified post. `received_at` is when it came, for what says no time itself.
    #[must_use]
    pub fn facts(self, body: &[u8], received_at: Timestamp) -> Vec<Located> {
        match self {
            Dialect::Meta => meta::facts(body),
            Dialect::Twilio => twilio::facts(body, received_at),
        }
    }

    /// The words of a person's message that was kept as it came, if it has some.
    #[must_use]
    pub fn said(raw: &serde_json::Value) -> Option<&str> {
        meta::said(raw).or_else(|| twilio::said(raw))
    }
}

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
    let failure = unasked(silence);
    match silence {
        Silence::NotConnected => Outcome::NotSent(failure),
        Silence::TimedOut | Silence::Cut => Outcome::Unclear(failure),
    }
}

/// Why a question got no answer.
#[must_use]
pub fn unasked(silence: Silence) -> Failure {
    bare(match silence {
        Silence::NotConnected => reason::NOT_CONNECTED,
        Silence::TimedOut => reason::ANSWER_TIMED_OUT,
        Silence::Cut => reason::CONNECTION_CUT,
    })
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
