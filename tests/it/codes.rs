//! Each of the providers' error codes means one thing, the thing that the provider's documentation asks for, wherever it comes from.
//! The lists under tests/fixtures are a reading of those pages of their own.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use proptest::prelude::*;
use recado::{
    domain::{
        fact::{Fact, ReceiptKind},
        notification::{Failure, Outcome, Whose},
    },
    provider::{self, Dialect, reason},
};
use serde_json::{Value, json};

/// What is to be done about a message, from what the codec says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It was not processed: the sender is too fast.
    Slower,
    SlowerPerson,
    Doubt,
    Later,
    StopSender,
    StopTemplate,
    Never,
}

use Verdict::{Doubt, Later, Never, Slower, SlowerPerson, StopSender, StopTemplate};

/// What the documentation's action leaves open: who has to mend something may stop at once or message by message.
fn allowed(action: &str) -> &'static [Verdict] {
    match action {
        // Refused before it was processed: the pace is slowed down, or the message is tried again.
        "slower" => &[Slower, Later],
        "slower_person" => &[SlowerPerson],
        "doubt" => &[Doubt],
        "doubt_once" => &[Doubt, Later],
        "later" => &[Later],
        // The account is full until the day turns.
        "later_or_stop" => &[Later, StopSender],
        "stop_sender" => &[StopSender],
        "stop_or_mend" => &[StopSender, Never],
        "stop_template" => &[StopTemplate],
        "mend" => &[StopSender, StopTemplate, Never],
        "never" | "never_and_no_consent" | "listing" => &[Never],
        "never_or_mend" => &[Never, StopTemplate],
        other => panic!("no action {other}"),
    }
}

fn verdict(outcome: &Outcome) -> (Verdict, &Failure) {
    match outcome {
        Outcome::Rejected { failure, again: None } => (Never, failure),
        Outcome::Rejected { failure, again: Some(_) } => (Later, failure),
        Outcome::Busy { whose: Whose::Recipient, hold: false, failure, .. } => (SlowerPerson, failure),
        Outcome::Busy { hold: false, failure, .. } => (Slower, failure),
        Outcome::Busy { whose: Whose::Sender, hold: true, failure, .. } => (StopSender, failure),
        Outcome::Busy { whose: Whose::Template, hold: true, failure, .. } => (StopTemplate, failure),
        Outcome::Unclear(failure) => (Doubt, failure),
        other @ (Outcome::Accepted(_) | Outcome::NotSent(_) | Outcome::Busy { .. }) => panic!("{other:?}"),
    }
}

/// Every code with its action.
fn actions(text: &str) -> BTreeMap<i64, String> {
    let lists: BTreeMap<String, Value> = serde_json::from_str(text).expect("lists of codes");
    let mut actions = BTreeMap::new();
    for (action, codes) in lists.iter().filter(|(action, _)| *action != "about") {
        for code in codes.as_array().expect("codes") {
            let code = code.as_i64().expect("a code");
            assert_eq!(actions.insert(code, action.clone()), None, "{code} is there twice");
        }
    }
    actions
}

fn of_meta() -> BTreeMap<i64, String> {
    actions(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/meta/codes.json")))
}

fn of_twilio() -> BTreeMap<i64, String> {
    actions(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/twilio/codes.json")))
}

fn answer(status: u16, body: &Value) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() = status.try_into().expect("a status");
    answer
}

fn from_meta(status: u16, code: i64, transient: bool) -> Outcome {
    let error = json!({"message": "(#) Something", "type": "OAuthException", "code": code, "is_transient": transient,
        "error_data": {"messaging_product": "whatsapp", "details": "Something"}});
    provider::meta::decode(&answer(status, &json!({ "error": error })))
}

fn from_twilio(status: u16, code: i64) -> Outcome {
    provider::twilio::decode(&answer(status, &json!({"code": code, "message": "Something", "status": status})))
}

/// What a report of a failure with this code says.
fn reported(dialect: Dialect, body: &str) -> Outcome {
    let facts = dialect.facts(body.as_bytes(), Timestamp::UNIX_EPOCH);
    let [located] = facts.as_slice() else { panic!("{} facts", facts.len()) };
    match &located.fact {
        Ok(Fact::Receipt(receipt)) => match &receipt.kind {
            ReceiptKind::Failed(outcome) => outcome.clone(),
            other @ (ReceiptKind::Sent | ReceiptKind::Delivered | ReceiptKind::Read) => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn reported_by_meta(code: i64) -> Outcome {
    let status = json!({"id": "wamid.1", "status": "failed", "timestamp": "1790416800", "recipient_id": "34600111222",
        "errors": [{"code": code, "title": "Something", "message": "Something"}]});
    let value = json!({"messaging_product": "whatsapp", "statuses": [status],
        "metadata": {"display_phone_number": "15550001111", "phone_number_id": "200000000000002"}});
    let changes = json!([{"field": "messages", "value": value}]);
    let webhook = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]});
    reported(Dialect::Meta, &webhook.to_string())
}

fn reported_by_twilio(code: i64, status: &str) -> Outcome {
    let sid = "SM0123456789abcdef0123456789abcdef";
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs([("MessageSid", sid), ("SmsSid", sid), ("MessageStatus", status), ("SmsStatus", status)]);
    form.extend_pairs([
        ("To", "whatsapp:+34600111222"),
        ("From", "whatsapp:+34600000001"),
        ("ApiVersion", "2010-04-01"),
    ]);
    form.append_pair("ErrorCode", &code.to_string());
    reported(Dialect::Twilio, &form.finish())
}

#[test]
fn each_code_of_meta_has_one_meaning_whatever_the_status_and_where_it_comes_from() {
    for (code, action) in of_meta() {
        let first = from_meta(400, code, false);
        let (meaning, failure) = verdict(&first);
        assert!(allowed(&action).contains(&meaning), "{code} is {meaning:?}, to be {action}");
        assert_ne!(failure.reason, reason::UNKNOWN_CODE, "{code}");
        assert_eq!(failure.code, Some(code));
        for status in [401, 403, 404, 429, 500, 503] {
            assert_eq!(from_meta(status, code, false), first, "{code} with {status}");
        }
        let report = reported_by_meta(code);
        let (told, same) = verdict(&report);
        assert_eq!((same.reason, same.code), (failure.reason, failure.code), "{code} in a webhook");
        // A report says that it did not arrive, so it leaves no doubt.
        let expected: &[Verdict] = if meaning == Doubt { &[Later, Never] } else { &[meaning] };
        assert!(expected.contains(&told), "{code} in a webhook is {told:?}");
    }
}

#[test]
fn each_code_of_twilio_has_one_meaning_whatever_the_status_and_where_it_comes_from() {
    for (code, action) in of_twilio() {
        let first = from_twilio(400, code);
        let (meaning, failure) = verdict(&first);
        assert!(allowed(&action).contains(&meaning), "{code} is {meaning:?}, to be {action}");
        assert_ne!(failure.reason, reason::UNKNOWN_CODE, "{code}");
        assert_eq!(failure.code, Some(code));
        for status in [401, 403, 404, 429] {
            assert_eq!(from_twilio(status, code), first, "{code} with {status}");
        }
        for status in ["failed", "undelivered"] {
            let report = reported_by_twilio(code, status);
            let (told, same) = verdict(&report);
            assert_eq!((same.reason, same.code), (failure.reason, failure.code), "{code} as {status}");
            let expected: &[Verdict] = if meaning == Doubt { &[Later, Never] } else { &[meaning] };
            assert!(expected.contains(&told), "{code} as {status} is {told:?}");
        }
    }
}

#[test]
fn no_code_that_means_something_is_missing_in_the_lists() {
    let known = of_meta();
    let ranges =
        [0..1_000, 80_000..80_100, 130_000..143_000, 1_752_000..1_752_100, 2_388_000..2_388_400, 2_494_000..2_494_200];
    for code in ranges.into_iter().flatten().filter(|code| !known.contains_key(code) && !(200..300).contains(code)) {
        assert_eq!(verdict(&from_meta(400, code, false)).1.reason, reason::UNKNOWN_CODE, "{code} of Meta");
    }
    let known = of_twilio();
    let ranges = [10_000..16_000, 20_000..23_000, 30_000..36_000, 60_000..65_000, 90_000..91_000];
    for code in ranges.into_iter().flatten().filter(|code| !known.contains_key(code)) {
        assert_eq!(verdict(&from_twilio(400, code)).1.reason, reason::UNKNOWN_CODE, "{code} of Twilio");
    }
}

proptest! {
    #[test]
    fn an_unknown_code_ends_the_message_unless_it_leaves_a_doubt(code in 1_000_000_000_i64..i64::MAX) {
        for (outcome, expected) in [
            (from_meta(400, code, false), Never),
            (from_meta(400, code, true), Doubt),
            (from_meta(500, code, false), Doubt),
            (reported_by_meta(code), Never),
            (from_twilio(400, code), Never),
            (from_twilio(500, code), Doubt),
            (reported_by_twilio(code, "failed"), Never),
        ] {
            let (meaning, failure) = verdict(&outcome);
            prop_assert_eq!(meaning, expected);
            prop_assert!(meaning == Doubt || failure.reason == reason::UNKNOWN_CODE, "{:?}", failure);
        }
    }
}
