//! Tells Twilio's posts from forgeries: `X-Twilio-Signature` over the address as Twilio knows it and the form's fields.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

const HEADER: &str = "x-twilio-signature";

/// Whether one of the account's tokens signed this body, which was posted to `url`, the public address with its query. Of a form its
/// fields are signed with the address; of any other body its hash, which stands in the query. Compares in constant time. An empty
/// token verifies nothing.
#[must_use]
pub fn verify(tokens: &[SecretString], url: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let mut values = headers.get_all(HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(claimed) = STANDARD.decode(value.as_bytes()) else { return false };
    let fields = match hash_in(url) {
        Some(hash) if is_hash_of(&hash, body) => String::new(),
        Some(_) => return false,
        None => fields(body),
    };
    let mut genuine = Choice::from(0);
    for token in tokens.iter().map(ExposeSecret::expose_secret).filter(|token| !token.is_empty()) {
        // Twilio may have signed with the port or without it.
        for url in [Some(url.to_owned()), with_port(url), without_port(url)].into_iter().flatten() {
            let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else { continue };
            mac.update(url.as_bytes());
            mac.update(fields.as_bytes());
            genuine |= mac.finalize().into_bytes().as_slice().ct_eq(&claimed);
        }
    }
    genuine.into()
}

/// The hash of the body, if the query says one.
fn hash_in(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "bodySHA256").map(|(_, hash)| hash.into_owned())
}

fn is_hash_of(hash: &str, body: &[u8]) -> bool {
    let hex: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.as_bytes().ct_eq(hash.to_ascii_lowercase().as_bytes()).into()
}

/// Names and values, sorted, the values of a repeated name sorted and each once.
fn fields(form: &[u8]) -> String {
    let mut sorted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(form).into_owned() {
        sorted.entry(name).or_default().push(value);
    }
    let mut text = String::new();
    for (name, mut values) in sorted {
        values.sort_unstable();
        values.dedup();
        for value in values {
            text.push_str(&name);
            text.push_str(&value);
        }
    }
    text
}

/// The address in three parts: scheme, host and port, the rest.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at_checked(end)?;
    Some((scheme, host, rest))
}

fn with_port(url: &str) -> Option<String> {
    let (scheme, host, rest) = split(url)?;
    let port = if scheme == "https" { 443 } else { 80 };
    (!has_port(host)).then(|| format!("{scheme}://{host}:{port}{rest}"))
}

fn without_port(url: &str) -> Option<String> {
    let (scheme, host, rest) = split(url)?;
    let (bare, _) = host.rsplit_once(':').filter(|_| has_port(host))?;
    Some(format!("{scheme}://{bare}{rest}"))
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/twilio/signatures.json"));

    fn signed(signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(signature).unwrap());
        headers
    }

    #[test]
    fn the_known_signatures_hold_and_others_do_not() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let token = [SecretString::from(vectors["auth_token"].as_str().unwrap())];
        let all = ["vectors", "bodies"].into_iter().flat_map(|list| vectors[list].as_array().unwrap());
        for vector in all {
            let form = match vector["body"].as_str() {
                Some(body) => body.to_owned(),
                None => {
                    let mut form = form_urlencoded::Serializer::new(String::new());
                    for pair in vector["form"].as_array().unwrap() {
                        form.append_pair(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
                    }
                    form.finish()
                }
            };
            let url = vector["url"].as_str().unwrap();
            let headers = signed(vector["signature"].as_str().unwrap());
            let name = &vector["name"];
            assert!(verify(&token, url, &headers, form.as_bytes()), "{name}");
            assert!(!verify(&token, url, &headers, format!("{form}&x=1").as_bytes()), "{name}");
            assert!(!verify(&token, &format!("{url}3"), &headers, form.as_bytes()), "{name}");
            assert!(!verify(&[SecretString::from("54321")], url, &headers, form.as_bytes()), "{name}");
            assert!(!verify(&[SecretString::from("")], url, &headers, form.as_bytes()), "{name}");
        }
    }

    #[test]
    fn without_one_signature_nothing_is_genuine() {
        let token = [SecretString::from("12345")];
        assert!(!verify(&token, "https://r.example/", &HeaderMap::new(), b""));
        assert!(!verify(&token, "https://r.example/", &signed("not base64!"), b""));
    }
}
