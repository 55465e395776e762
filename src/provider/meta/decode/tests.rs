use http::header;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    domain::notification::{Reason, Whose},
    provider::reason::*,
};

fn answer(status: u16, body: &str) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn refused(status: u16, code: i64) -> Outcome {
    refused_as(status, &json!({"message": format!("(#{code}) refused"), "code": code}))
}

fn refused_as(status: u16, error: &Value) -> Outcome {
    decode(&answer(status, &json!({"error": error}).to_string()))
}

fn reason_of(outcome: &Outcome) -> Reason {
    match outcome {
        Outcome::Accepted(_) => panic!("was accepted"),
        Outcome::Rejected { failure, .. }
        | Outcome::NotSent(failure)
        | Outcome::Busy { failure, .. }
        | Outcome::Unclear(failure) => failure.reason,
    }
}

const TAKEN: &str = include_str!("../../../../tests/fixtures/meta/answer_accepted.json");

#[test]
fn an_accepted_message_has_its_id_and_the_persons_own_number() {
    let Outcome::Accepted(acceptance) = decode(&answer(200, TAKEN)) else { panic!() };
    assert_eq!(acceptance.message_id, "wamid.TEST-OUT-1");
    assert_eq!(acceptance.wa_id.as_deref(), Some("554187654321"));
    assert_eq!(acceptance.user_id, None);
}

#[test]
fn held_back_or_paused_by_meta_is_accepted_all_the_same() {
    for status in ["accepted", "held_for_quality_assessment", "paused", "something_new"] {
        let body = json!({"messages": [{"id": "wamid.1", "message_status": status}]}).to_string();
        assert!(matches!(decode(&answer(200, &body)), Outcome::Accepted(_)), "{status}");
    }
}

#[test]
fn a_yes_without_a_usable_id_leaves_doubt() {
    let control = json!({"messages": [{"id": "wamid.\u{0}"}]}).to_string();
    let long = json!({"messages": [{"id": "w".repeat(513)}]}).to_string();
    for body in [
        "",
        "<html>ok</html>",
        r#"{"messages":[{"id":"wamid.1"#,
        r#"{"messages":[]}"#,
        r#"{"messages":[{}]}"#,
        r#"{"messages":[{"id":""}]}"#,
        r#"{"messages":[{"id":7}]}"#,
        r#"{"messages":[{"id":"wamid.1","id":"wamid.2"}]}"#,
        r#"{"error":{"code":100}}"#,
        "null",
        &control,
        &long,
        &"[".repeat(100_000),
        &format!("{TAKEN}{}", " ".repeat(ANSWER_MAX)),
    ] {
        assert!(matches!(decode(&answer(200, body)), Outcome::Unclear(_)), "{body:.60}");
    }
}

#[test]
fn an_empty_id_of_the_person_is_none() {
    let body = r#"{"contacts":[{"input":"+34600111222","wa_id":"","user_id":"ES.1"}],"messages":[{"id":"wamid.1"}]}"#;
    let Outcome::Accepted(acceptance) = decode(&answer(200, body)) else { panic!() };
    assert_eq!((acceptance.wa_id, acceptance.user_id.as_deref()), (None, Some("ES.1")));
}

#[test]
fn the_code_decides_and_not_the_http_status() {
    for status in [400, 401, 403, 404, 429, 500, 503] {
        assert!(
            matches!(refused(status, 130_429), Outcome::Busy { whose: Whose::Sender, hold: false, .. }),
            "{status}"
        );
        assert!(matches!(refused(status, 131_026), Outcome::Rejected { again: None, .. }), "{status}");
        assert!(matches!(refused(status, 131_016), Outcome::Unclear(_)), "{status}");
        assert!(
            matches!(refused(status, 190), Outcome::Busy { whose: Whose::Sender, hold: true, wait: None, .. }),
            "{status}"
        );
    }
}

#[test]
fn a_pair_that_is_too_fast_slows_down_alone() {
    let outcome = refused(400, 131_056);
    assert!(matches!(outcome, Outcome::Busy { whose: Whose::Recipient, hold: false, wait: None, .. }), "{outcome:?}");
}

#[test]
fn a_paused_template_is_held_for_three_hours() {
    let Outcome::Busy { whose: Whose::Template, hold: true, wait, .. } = refused(400, 132_015) else { panic!() };
    assert_eq!(wait, Some(Duration::from_secs(3 * 3_600)));
}

#[test]
fn a_capped_person_is_tried_again_a_day_later() {
    let Outcome::Rejected { again, .. } = refused(429, 131_049) else { panic!() };
    assert_eq!(again, Some(Duration::from_secs(86_400)));
}

#[test]
fn an_unknown_code_is_doubtful_only_if_something_says_that_it_passes() {
    assert!(matches!(refused(400, 999_999), Outcome::Rejected { again: None, .. }));
    assert!(matches!(refused(500, 999_999), Outcome::Unclear(_)));
    let transient = refused_as(400, &json!({"code": 999_999, "is_transient": true}));
    assert!(matches!(transient, Outcome::Unclear(_)));
    assert_eq!(reason_of(&transient), UNKNOWN_CODE);
}

#[test]
fn what_meta_calls_transient_is_never_final() {
    let outcome = |code| refused_as(400, &json!({"code": code, "is_transient": true}));
    assert!(matches!(outcome(131_026), Outcome::Rejected { again: Some(_), .. }));
    assert!(matches!(outcome(190), Outcome::Busy { hold: true, wait: Some(_), .. }));
    assert!(
        matches!(outcome(132_015), Outcome::Busy { hold: true, wait: Some(wait), .. } if wait <= Duration::from_secs(300))
    );
}

#[test]
fn the_detail_is_metas_best_text_and_not_too_long() {
    let detail = |error: Value| {
        let Outcome::Rejected { failure, .. } = refused_as(400, &error) else { panic!() };
        failure.detail
    };
    assert_eq!(detail(json!({"code": 100, "message": "m", "error_data": {"details": "d"}})).as_deref(), Some("d"));
    assert_eq!(detail(json!({"code": 100, "message": "m", "error_data": "d"})).as_deref(), Some("m"));
    assert_eq!(detail(json!({"code": 100})), None);
    let long = detail(json!({"code": 100, "message": "ñ".repeat(1_000)})).unwrap();
    assert_eq!(long.chars().count(), 300);
    assert_eq!(detail(json!({"code": 100, "message": "a\u{0}b"})).as_deref(), Some("a\u{fffd}b"));
}

#[test]
fn an_answer_that_is_not_metas_is_read_by_its_status() {
    for status in [408, 500, 502, 503, 504, 520] {
        for body in ["", "<html>Bad gateway</html>", "{\"error\":\"down\"}", "{\"error\":{\"message\":\"down\"}}"] {
            assert!(matches!(decode(&answer(status, body)), Outcome::Unclear(_)), "{status} {body}");
        }
    }
    assert!(matches!(decode(&answer(429, "slow down")), Outcome::Busy { whose: Whose::Sender, hold: false, .. }));
    for status in [301, 302, 307, 308] {
        let outcome = decode(&answer(status, ""));
        assert!(matches!(outcome, Outcome::Busy { whose: Whose::Sender, hold: true, .. }), "{status}");
        assert_eq!(reason_of(&outcome), REDIRECTED);
    }
    for status in [401, 403, 404, 405] {
        let outcome = decode(&answer(status, "<html>no</html>"));
        assert!(matches!(outcome, Outcome::Busy { whose: Whose::Sender, hold: true, .. }), "{status}");
    }
    for status in [400, 413, 422] {
        assert!(matches!(decode(&answer(status, "no")), Outcome::Rejected { again: None, .. }), "{status}");
    }
}

#[test]
fn a_wish_to_wait_is_granted_up_to_an_hour() {
    let wait = |name: &str, value: &str, code: i64| {
        let mut response = answer(429, &json!({"error": {"code": code}}).to_string());
        response.headers_mut().insert(header::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        let Outcome::Busy { hold: false, wait, .. } = decode(&response) else { panic!("{value}") };
        wait.map(|wait| wait.as_secs())
    };
    assert_eq!(wait("retry-after", "7", 130_429), Some(7));
    assert_eq!(wait("retry-after", "7", 131_056), Some(7));
    assert_eq!(wait("retry-after", "7", 80_007), Some(60), "not less than the code asks for");
    assert_eq!(wait("retry-after", "86400", 130_429), Some(3_600));
    assert_eq!(wait("retry-after", "99999999999999999999999999", 130_429), Some(3_600));
    assert_eq!(wait("retry-after", "-5", 131_056), Some(0));
    assert_eq!(wait("retry-after", "-99999999999999999999999999", 130_429), Some(1));
    for odd in ["", "soon", "1.5", "--1", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT"] {
        assert_eq!(wait("retry-after", odd, 131_056), None, "{odd}");
    }
    let usage = r#"{"1001":[{"type":"whatsapp","call_count":100,"estimated_time_to_regain_access":19}],"1002":[]}"#;
    assert_eq!(wait("x-business-use-case-usage", usage, 80_008), Some(19 * 60));
    assert_eq!(wait("x-business-use-case-usage", "{", 80_008), Some(60));
}

#[test]
fn a_hold_is_not_shortened_or_lengthened_by_a_wish_to_wait() {
    let mut response = answer(400, r#"{"error":{"code":190}}"#);
    response.headers_mut().insert(header::RETRY_AFTER, "5".parse().unwrap());
    assert!(matches!(decode(&response), Outcome::Busy { hold: true, wait: None, .. }));
}

#[test]
fn a_reported_failure_is_never_in_doubt() {
    let outcome = reported(&json!({"code": 131_000, "title": "Something went wrong"}));
    assert!(matches!(outcome, Outcome::Rejected { again: Some(_), .. }));
    assert!(matches!(reported(&json!({"code": 131_026})), Outcome::Rejected { again: None, .. }));
    assert!(matches!(reported(&json!({"code": 131_056})), Outcome::Busy { whose: Whose::Recipient, .. }));
    assert!(matches!(reported(&json!({"code": 999_999})), Outcome::Rejected { again: None, .. }));
    assert_eq!(reason_of(&reported(&Value::Null)), FAILED_WITHOUT_REASON);
}

proptest! {
    #[test]
    fn any_answer_has_one_outcome_and_only_a_message_id_is_a_yes(
        status in 100_u16..=999,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let response = Response::builder().status(status).body(Bytes::from(body)).unwrap();
        prop_assert!(!matches!(decode(&response), Outcome::Accepted(_) | Outcome::NotSent(_)));
    }

    #[test]
    fn every_code_with_every_status_has_a_stable_reason(status in 400_u16..=599, code in any::<i64>()) {
        let outcome = refused(status, code);
        prop_assert!(crate::provider::reason::explain(reason_of(&outcome).as_str()).is_some());
        let doubtful = matches!(outcome, Outcome::Unclear(_));
        if meaning(code).is_none() {
            prop_assert_eq!(doubtful, status >= 500);
        }
    }
}
