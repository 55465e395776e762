//! A trace as W3C's Trace Context knows it, and the ids of our spans in it.
//!
//! Whoever knows a notification's id knows the ids of its spans, in whatever process: they are derived, and nobody has to tell them. Only to
//! which trace it belongs has to be remembered.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::notification::AttemptId;

/// The id of a span, not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// One for what these bytes name, as good as random, and the same each time.
    #[must_use]
    pub fn of(name: &[u8]) -> SpanId {
        let hash = Sha256::digest(name);
        let mut id = [0; 8];
        id.copy_from_slice(hash.get(..8).unwrap_or(&[1; 8]));
        if id == [0; 8] { SpanId([1; 8]) } else { SpanId(id) }
    }

    /// Of the plan of a notification.
    #[must_use]
    pub fn plan(notification: Uuid) -> SpanId {
        SpanId::of(&[b"plan".as_slice(), notification.as_bytes()].concat())
    }

    /// Of one step of an attempt: its claim, its request, its settling, a receipt of a kind.
    #[must_use]
    pub fn step(step: &str, attempt: AttemptId) -> SpanId {
        SpanId::of(&[step.as_bytes(), attempt.notification.as_bytes(), &attempt.number.to_be_bytes()].concat())
    }
}

/// As Trace Context and OTLP write it: sixteen hexadecimal digits.
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where somebody's trace goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Sixteen bytes, not all zero.
    pub trace: Uuid,
    pub span: SpanId,
    /// Whether its spans are kept where it began.
    pub sampled: bool,
}

impl Parent {
    /// Reads a `traceparent`: `version-trace-parent-flags` in lower-case hexadecimal digits. None if it is malformed, since a trace that
    /// nobody can follow is none.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Parent> {
        let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut parts = traceparent.splitn(5, '-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lengths = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2);
        // Later versions may say more at the end; this one may not, and `ff` is none.
        let more = parts.next().is_some();
        let known = version != "ff" && !(more && version == "00") && is_hex(version);
        if !lengths || !known || !is_hex(trace) || !is_hex(span) || !is_hex(flags) {
            return None;
        }
        let trace = Uuid::parse_str(trace).ok().filter(|trace| !trace.is_nil())?;
        let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Parent { trace, span: SpanId(span.to_be_bytes()), sampled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_it_is_written_and_no_other() {
        let parent = Parent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(parent.trace.simple().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span.to_string(), "b7ad6b7169203331");
        assert!(parent.sampled);
        assert!(!Parent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().sampled);
        assert!(Parent::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later").is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-+7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_process_finds_the_same_spans() {
        let attempt = AttemptId { notification: Uuid::from_u128(7), number: 2 };
        assert_eq!(SpanId::step("attempt", attempt), SpanId::step("attempt", attempt));
        let others = [
            SpanId::step("claim", attempt),
            SpanId::step("attempt", AttemptId { number: 3, ..attempt }),
            SpanId::plan(attempt.notification),
        ];
        assert!(others.iter().all(|other| *other != SpanId::step("attempt", attempt)));
    }
}
