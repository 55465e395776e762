//! How providers speak: pure codecs, one folder a provider. No `async`, no clock, no socket, no randomness.
//!
//! A codec is four things: `encode` makes the request for one message, `decode` says what an answer means, `verify`
//! tells the provider's webhooks from forgeries, `facts` reads them. What a message needs is [`Provider`], so that whoever sends
//! does not know through whom; what a webhook needs is [`Dialect`]. [`meta`] speaks WhatsApp, [`twilio`] WhatsApp and SMS.
//!
//! What an outcome leads to is not decided here, see `domain::notification`.

pub mod billing;
pub mod meta;
pub mod reason;
pub mod templates;
pub mod twilio;
mod verdict;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

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

    /// What settles a doubt about one of its requests.
    fn evidence(&self) -> Evidence;

    /// The request that looks for a message at the provider, if it can be asked.
    fn look(&self, sought: &Sought<'_>) -> Option<Request<Bytes>>;

    /// What the answer to that says of the message.
    fn seen(&self, sought: &Sought<'_>, answer: &Response<Bytes>) -> Sight;
}

/// What a provider has that settles a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// What it reports by itself, with the attempt's id.
    Reports,
    /// That, and a list of messages that can be asked for.
    ReportsAndList,
}

/// A message of which nothing is known but that it was tried, as it can be recognised at the provider.
#[derive(Clone, Copy)]
pub struct Sought<'a> {
    /// `+` and digits.
    pub to: &'a str,
    /// When the provider can have made it: between these, both included.
    pub from: Timestamp,
    pub until: Timestamp,
    /// What it says, in a template its body with the values.
    pub text: &'a str,
    /// Messages that are known to be others.
    pub others: &'a [String],
    /// Among so many of the person's latest messages.
    pub latest: usize,
}

/// What can be seen of a message at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is there, and no other can be meant; with what it came to, if it failed.
    Found { message_id: String, failed: Option<Outcome> },
    /// Nothing at all went to this person then, apart from what is known; or it is not there yet.
    Nothing,
    /// Something went to them that may be it or not.
    Unsure,
    /// The provider has not said.
    Unreadable,
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

    /// What is kept of a verified post. At Twilio the query, which names what a form is about, stands before it.
    #[must_use]
    pub fn kept(self, query: Option<&str>, body: Bytes) -> Bytes {
        match (self, query) {
            (Dialect::Twilio, Some(query)) if !twilio::is_json(&body) => {
                [query.as_bytes(), b"&", &body].concat().into()
            }
            (Dialect::Meta | Dialect::Twilio, _) => body,
        }
    }

    /// The facts in what was kept of a post. `received_at` is when it came, for what says no time itself.
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

/// The answer to a question as what it should be, or what the provider refused with, as `decode` reads it.
fn answered<T: for<'de> Deserialize<'de>>(
    response: &Response<Bytes>,
    decode: impl Fn(&Response<Bytes>) -> Outcome,
) -> Result<T, Failure> {
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

/// A failure of which the provider said nothing.
fn bare(reason: Reason) -> Failure {
    Failure { reason, code: None, detail: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_post_says_what_it_is_about() {
        let kept = |dialect: Dialect, query, body: &'static [u8]| dialect.kept(query, Bytes::from_static(body));
        assert_eq!(kept(Dialect::Twilio, Some("attempt=1"), b"MessageSid=SM1"), "attempt=1&MessageSid=SM1");
        assert_eq!(kept(Dialect::Twilio, Some("bodySHA256=0"), b"[{}]"), "[{}]");
        assert_eq!(kept(Dialect::Twilio, None, b"MessageSid=SM1"), "MessageSid=SM1");
        assert_eq!(kept(Dialect::Meta, Some("x=1"), b"{}"), "{}");
    }

    #[test]
    fn only_a_connection_that_never_stood_proves_that_nothing_was_sent() {
        assert!(matches!(unanswered(Silence::NotConnected), Outcome::NotSent(_)));
        for silence in [Silence::TimedOut, Silence::Cut] {
            assert!(matches!(unanswered(silence), Outcome::Unclear(_)), "{silence:?}");
        }
    }
}
