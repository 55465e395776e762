use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const BODY: &[u8] = br#"{"object":"whatsapp_business_account","entry":[{"id":"1"}]}"#;
const FIRST: &str = "e5552b5295efa75db1f2c3fa06d4f494d6e7b2861dc34570abfdbc942b9adcd8";
const NEXT: &str = "f1b31fb232d807425a455030ac2b7c15db642e12ebb77b32871891b1e980c097";
const SPACED: &str = "8bb24b187f8d6fdaecee98c258e9682fb6671d2a8d214534567aebc796498db4";
/// Over `BODY` with an empty key is of no interest; this one is over `x`.
const WITHOUT_KEY: &str = "4cbc96099a6467ce002461f10549b4898265ebe6188b45efacc44293516e62c4";

fn signed(hex: &str) -> HeaderMap {
    headers(&[&format!("sha256={hex}")])
}

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(HEADER, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn secrets(secrets: &[&str]) -> Vec<SecretString> {
    secrets.iter().map(|secret| SecretString::from(*secret)).collect()
}

#[test]
fn metas_signature_over_the_raw_bytes_is_believed() {
    let one = secrets(&["first-app-secret"]);
    assert!(verify(&one, &signed(FIRST), BODY));
    assert!(verify(&one, &signed(&FIRST.to_uppercase()), BODY));
    let spaced = br#"{"object":"whatsapp_business_account", "entry":[{"id":"1"}]}"#;
    assert!(verify(&one, &signed(SPACED), spaced), "the bytes count, not the JSON");
    assert!(!verify(&one, &signed(FIRST), spaced));
    let escaped = "{\"texto\":\"\\u00a1Ad\\u00edos\",\"raw\":\"¡Adiós\"}".as_bytes();
    assert!(verify(&one, &signed("1a1fcbf8d59a5b282e9b888bc8264db4db0f55992df8f5d81aa7b61baf5137d6"), escaped));
    let unusual = secrets(&["clave-ñandú"]);
    assert!(verify(&unusual, &signed("5f512af16aca707ec1a80f288d41b594c0c8aba01f3c4eb3f6169d9b04141d9b"), b""));
}

#[test]
fn while_the_secret_changes_both_are_believed() {
    let both = secrets(&["first-app-secret", "next-app-secret"]);
    assert!(verify(&both, &signed(FIRST), BODY));
    assert!(verify(&both, &signed(NEXT), BODY));
    assert!(!verify(&both[..1], &signed(NEXT), BODY));
    assert!(!verify(&both, &signed(SPACED), BODY));
}

#[test]
fn no_secret_and_an_empty_secret_believe_nobody() {
    assert!(!verify(&[], &signed(FIRST), BODY));
    assert!(!verify(&secrets(&[""]), &signed(WITHOUT_KEY), b"x"));
}

#[test]
fn a_header_that_is_missing_repeated_or_odd_is_refused() {
    let one = secrets(&["first-app-secret"]);
    let good = format!("sha256={FIRST}");
    assert!(!verify(&one, &HeaderMap::new(), BODY));
    assert!(!verify(&one, &headers(&[&good, &good]), BODY));
    assert!(!verify(&one, &headers(&["sha256=", &good]), BODY));
    for odd in [
        "",
        "sha256",
        "sha256=",
        FIRST,
        &format!("sha1={FIRST}"),
        &format!("SHA256={FIRST}"),
        &format!("sha256={}", &FIRST[..63]),
        &format!("sha256={}", &FIRST[..62]),
        &format!("sha256={FIRST}0"),
        &format!("sha256={FIRST}00"),
        &format!("sha256= {FIRST}"),
        &format!("sha256={FIRST} "),
        &format!("sha256={FIRST},sha256={FIRST}"),
        &format!("sha256=g{}", &FIRST[1..]),
        &format!("sha256=+{}", &FIRST[1..]),
    ] {
        assert!(!verify(&one, &headers(&[odd]), BODY), "{odd:?}");
    }
}

proptest! {
    #[test]
    fn a_changed_bit_is_noticed(at in 0..BODY.len() * 8) {
        let mut body = BODY.to_vec();
        body[at / 8] ^= 1 << (at % 8);
        prop_assert!(!verify(&secrets(&["first-app-secret"]), &signed(FIRST), &body));
    }

    #[test]
    fn any_bytes_in_the_header_are_survived(value in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, value);
            prop_assert!(!verify(&secrets(&["first-app-secret"]), &headers, BODY));
        }
    }
}
