//! Tells Meta's webhooks from forgeries: `X-Hub-Signature-256` over the raw bytes.
//!
//! The bytes are never parsed or re-serialised here; repetition and replay are the inbox's business, since Meta signs
//! no time.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

const HEADER: &str = "x-hub-signature-256";
const PREFIX: &[u8] = b"sha256=";

/// Whether one of `secrets` (the app's secret, and the next one while it is being changed) signed `raw`. Compares in
/// constant time and says no to a header that is missing, repeated or malformed. An empty secret verifies nothing.
#[must_use]
pub fn verify(secrets: &[SecretString], headers: &HeaderMap, raw: &[u8]) -> bool {
    let Some(claimed) = claimed(headers) else { return false };
    let mut genuine = Choice::from(0);
    for secret in secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty()) {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { continue };
        mac.update(raw);
        genuine |= mac.finalize().into_bytes().as_slice().ct_eq(&claimed);
    }
    genuine.into()
}

/// The 32 bytes that the one header names.
fn claimed(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut values = headers.get_all(HEADER).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let hex = value.as_bytes().strip_prefix(PREFIX)?;
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
