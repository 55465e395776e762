//! Who asks. API keys: `Authorization: Bearer rk_…`, 32 random bytes of which only the hash is kept.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{Desk, Problem};
use crate::{db::keys, domain::role::Role};

const PREFIX: &str = "rk_";

/// The key's text for these random bytes: `rk_` and base64url without padding.
#[must_use]
pub fn spell(secret: &[u8; 32]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
}

/// A new key's id and text.
///
/// # Errors
/// If the system gives no randomness.
pub fn fresh() -> Result<(Uuid, String), getrandom::Error> {
    let (mut secret, mut id) = ([0; 32], [0; 16]);
    getrandom::fill(&mut secret)?;
    getrandom::fill(&mut id)?;
    Ok((Builder::from_random_bytes(id).into_uuid(), spell(&secret)))
}

/// What is kept of a key.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Who asks: a key of the API, or somebody who is logged in to the console; never a producer, which sees nothing.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// `key NAME` or `user NAME`, for the record of what it did.
    pub name: String,
    pub role: Role,
}

impl Caller {
    /// Refuses whose role is below `least`.
    pub(super) fn needs(&self, least: Role) -> Result<(), Problem> {
        if self.role >= least {
            return Ok(());
        }
        let detail = format!("This needs a key whose role is {} or more.", least.as_str());
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    pub(super) fn sees_persons(&self) -> bool {
        self.role >= Role::Operator
    }
}

impl FromRequestParts<Arc<Desk>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Caller, Problem> {
        let caller = recognise(parts, desk).await?;
        if caller.role == Role::Producer {
            let detail =
                "This key may only publish events (POST /v1/events); this needs one whose role is viewer or more.";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(caller)
    }
}

/// Who brings events: a producer, or who may act anyway.
#[derive(Debug, Clone)]
pub(super) struct Bringer;

impl FromRequestParts<Arc<Desk>> for Bringer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Bringer, Problem> {
        let caller = recognise(parts, desk).await?;
        if caller.role != Role::Producer {
            caller.needs(Role::Operator)?;
        }
        Ok(Bringer)
    }
}

/// Who asks, whatever they may do. Asked of the database once for each request.
pub(super) async fn recognise(parts: &mut Parts, desk: &Desk) -> Result<Caller, Problem> {
    if let Some(known) = parts.extensions.get::<Caller>() {
        return Ok(known.clone());
    }
    let known = keys::recognise(&desk.doors.pools.ops, &hash(presented(parts)?)).await?;
    let (name, role) = known.ok_or_else(wrong_key)?;
    let caller = Caller { name: format!("key {name}"), role };
    parts.extensions.insert(caller.clone());
    Ok(caller)
}

/// The text of the key that a request presents, genuine or not.
pub(super) fn presented(parts: &Parts) -> Result<&str, Problem> {
    let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else { return Err(no_key()) };
    let text = given.to_str().map_err(|_| wrong_key())?;
    let (scheme, key) = text.split_once(' ').ok_or_else(no_key)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(no_key());
    }
    let key = key.trim();
    // 43 letters are 32 bytes. What is no key of ours need not be asked for.
    if !key.starts_with(PREFIX) || key.len() != PREFIX.len() + 43 {
        return Err(wrong_key());
    }
    Ok(key)
}

fn no_key() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "This needs an API key: Authorization: Bearer rk_… (made with recado keys create).",
    )
    .with(header::WWW_AUTHENTICATE, "Bearer realm=\"recado\"")
}

fn wrong_key() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "This API key is not known, or was revoked.")
        .with(header::WWW_AUTHENTICATE, "Bearer realm=\"recado\", error=\"invalid_token\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_spelled_in_base64url_and_no_two_secrets_alike() {
        assert_eq!(spell(&[0; 32]), format!("rk_{}", "A".repeat(43)));
        assert_eq!(spell(&[0xff; 32]), format!("rk_{}8", "_".repeat(42)));
        let counted: [u8; 32] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        assert_eq!(spell(&counted), "rk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    }
}
