//! Callbacks by Standard Webhooks: how an event is signed, what an answer means, when it is tried again.
//!
//! How a request goes out and what is kept of it is told elsewhere.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret begins with when people handle it.
const PREFIX: &str = "whsec_";
/// The longest wait that an answer may ask for.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// A secret that signs. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A text that is no secret of Standard Webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be whsec_ and the base64 of 24 to 64 random bytes; make one with: echo \"whsec_$(openssl rand -base64 32)\""
)]
pub struct NoKey;

impl Key {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// If it is none, or too short to be one.
    pub fn parse(text: &str) -> Result<Key, NoKey> {
        let bytes = text.trim().strip_prefix(PREFIX).and_then(|rest| STANDARD.decode(rest).ok()).ok_or(NoKey)?;
        if (24..=64).contains(&bytes.len()) { Ok(Key(bytes)) } else { Err(NoKey) }
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

/// What stands in `webhook-signature`: one signature of each key.
#[must_use]
pub fn signature(keys: &[Key], id: &str, timestamp: i64, body: &[u8]) -> String {
    keys.iter().filter_map(|key| key.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

/// What stands in `webhook-id`: the event's id, without the dots, which separate what is signed.
#[must_use]
pub fn webhook_id(event: &str) -> String {
    event.replace('.', "_")
}

/// Whether an event's type is one of those wanted, of which a `*` at the end stands for anything.
#[must_use]
pub fn wants(wanted: &[String], kind: &str) -> bool {
    wanted.iter().any(|one| one.strip_suffix('*').map_or(one == kind, |begin| kind.starts_with(begin)))
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// Nothing is to be sent there any more.
    Gone,
    /// Not now, and not before this wait if there is one.
    Later(Option<Duration>),
    /// Not this body, and most likely never.
    Refused,
}

/// Reads an answer's status and its `Retry-After`.
#[must_use]
pub fn answer(status: u16, retry_after: Option<&str>) -> Answer {
    match status {
        200..=299 => Answer::Taken,
        410 => Answer::Gone,
        400 | 405 | 406 | 409 | 411..=417 | 422 | 431 => Answer::Refused,
        _ => {
            let seconds = retry_after.and_then(|text| text.trim().parse().ok());
            Answer::Later(seconds.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX)))
        }
    }
}

/// How long to wait after so many failures in a row: doubled each time up to the cap, half of it by chance (from 0 to 1).
#[must_use]
pub fn pause(failures: u32, base: Duration, cap: Duration, chance: f64) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).and_then(|times| base.checked_mul(times));
    doubled.unwrap_or(cap).min(cap).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_that_of_the_specification() {
        let key = Key::parse(SECRET).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(std::slice::from_ref(&key), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{key:?}"), "Key(…)");
    }

    #[test]
    fn while_a_secret_is_changed_both_sign() {
        let other = Key::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        let both = signature(&[Key::parse(SECRET).unwrap(), other], "1", 2, b"{}");
        let both: Vec<&str> = both.split(' ').collect();
        assert_eq!(both.len(), 2);
        assert!(both.iter().all(|one| one.starts_with("v1,")) && both[0] != both[1], "{both:?}");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for text in ["", "whsec_", "whsec_YWJj", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!"] {
            assert_eq!(Key::parse(text), Err(NoKey), "{text}");
        }
    }

    #[test]
    fn types_are_wanted_by_name_or_by_their_beginning() {
        let wanted = ["notification.*".to_owned(), "message.received".to_owned()];
        assert!(wants(&wanted, "notification.read") && wants(&wanted, "message.received"));
        assert!(!wants(&wanted, "hold.placed") && !wants(&wanted, "message.received.twice"));
        assert!(wants(&["*".to_owned()], "hold.placed"));
    }

    #[test]
    fn an_answer_says_whether_and_when_to_come_again() {
        assert_eq!(answer(204, None), Answer::Taken);
        assert_eq!(answer(410, None), Answer::Gone);
        assert_eq!(answer(302, None), Answer::Later(None));
        assert_eq!(answer(404, None), Answer::Later(None));
        assert_eq!(answer(422, Some("5")), Answer::Refused);
        assert_eq!(answer(503, Some("7")), Answer::Later(Some(Duration::from_secs(7))));
        assert_eq!(answer(429, Some("999999")), Answer::Later(Some(WAIT_MAX)));
        assert_eq!(answer(503, Some("Wed, 21 Oct 2026 07:28:00 GMT")), Answer::Later(None));
    }

    #[test]
    fn pauses_grow_to_their_cap() {
        let (base, cap) = (Duration::from_secs(5), Duration::from_secs(600));
        assert_eq!(pause(1, base, cap, 1.0), base);
        assert_eq!(pause(1, base, cap, 0.0), base / 2);
        assert_eq!(pause(3, base, cap, 1.0), base * 4);
        assert_eq!(pause(60, base, cap, 1.0), cap);
    }
}
