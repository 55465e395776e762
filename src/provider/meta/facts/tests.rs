use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    domain::notification::{Outcome, Whose},
    provider::reason,
};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/fixtures/meta/", $name))
    };
}

const TAG: &str = "0192f0c16d7e7c529a5e6f6a0f0e3b11";

fn receipts(raw: &[u8]) -> Vec<Receipt> {
    let receipt = |located: Located| match located.fact {
        Ok(Fact::Receipt(receipt)) => Some(receipt),
        _ => None,
    };
    facts(raw).into_iter().filter_map(receipt).collect()
}

fn inbounds(raw: &[u8]) -> Vec<Inbound> {
    let inbound = |located: Located| match located.fact {
        Ok(Fact::Inbound(inbound)) => Some(inbound),
        _ => None,
    };
    facts(raw).into_iter().filter_map(inbound).collect()
}

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn person(wa_id: Option<&str>, user_id: Option<&str>) -> Identity {
    Identity { wa_id: wa_id.map(str::to_owned), user_id: user_id.map(str::to_owned) }
}

/// A webhook with these lists in one change of field `messages`.
fn webhook(value: &Value) -> Vec<u8> {
    let change = json!({"field": "messages", "value": value});
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}).to_string().into_bytes()
}

fn sent(id: &str) -> Value {
    json!({"id": id, "status": "sent", "timestamp": "1793000001", "recipient_id": "34611000111"})
}

#[test]
fn every_update_says_whom_it_concerns() {
    for located in facts(fixture!("statuses.json")) {
        assert_eq!(located.place.account.as_deref(), Some("900000000000001"));
        assert_eq!(located.place.number.as_deref(), Some("800000000000001"));
        assert_eq!(located.place.display_number.as_deref(), Some("34910000000"));
    }
}

#[test]
fn statuses_become_receipts() {
    let receipts = receipts(fixture!("statuses.json"));
    let kinds = receipts.iter().map(|receipt| receipt.kind.as_str()).collect::<Vec<_>>();
    assert_eq!(kinds, ["sent", "delivered", "read", "read", "failed", "failed"]);

    let first = &receipts[0];
    assert_eq!(first.message_id, "wamid.TEST-OUT-1");
    assert_eq!(first.tag, Some(format!("{TAG}.1").parse().unwrap()));
    assert_eq!(first.at, second(1_793_000_001));
    assert_eq!(first.who, person(Some("34611000111"), Some("ES.7001")));
    assert_eq!(first.pricing.as_ref().unwrap()["category"], "utility");

    assert_eq!(receipts[1].tag, None, "a tag that is not ours is no evidence");
    assert_eq!(receipts[2].who, person(None, Some("ES.7001")), "an empty string is nobody");
}

#[test]
fn a_failed_status_says_why() {
    let receipts = receipts(fixture!("statuses.json"));
    let ReceiptKind::Failed(Outcome::Rejected { failure, again: None }) = &receipts[4].kind else { panic!() };
    assert_eq!(failure.reason, reason::UNDELIVERABLE);
    assert_eq!(failure.code, Some(131_026));
    assert_eq!(failure.detail.as_deref(), Some("The recipient cannot take it."));
    let ReceiptKind::Failed(Outcome::Rejected { failure, again: None }) = &receipts[5].kind else { panic!() };
    assert_eq!(failure.reason, reason::FAILED_WITHOUT_REASON);
}

#[test]
fn a_status_that_is_unknown_is_named_and_not_an_error() {
    let last = facts(fixture!("statuses.json")).pop().unwrap();
    assert_eq!(last.fact, Ok(Fact::Unknown { field: "messages.statuses.deleted".to_owned() }));
}

#[test]
fn what_people_write_and_press_is_read() {
    let inbounds = inbounds(fixture!("inbound.json"));
    let contents = inbounds.iter().map(|inbound| inbound.content.clone()).collect::<Vec<_>>();
    let other = |kind: &str| Content::Other { kind: kind.to_owned() };
    assert_eq!(
        contents,
        [
            Content::Text("Baja".to_owned()),
            Content::Button { payload: "optout:orders".to_owned(), text: "No quiero más".to_owned() },
            Content::Interactive { id: "yes".to_owned(), title: "Sí".to_owned() },
            Content::Interactive { id: "row-1".to_owned(), title: "Mañana".to_owned() },
            other("interactive"),
            other("reaction"),
            other("unsupported"),
        ]
    );
    assert_eq!(inbounds[0].from, person(Some("34611000111"), Some("ES.7001")), "the contacts complete the person");
    assert_eq!(inbounds[0].at, second(1_793_000_100));
    assert_eq!(inbounds[0].raw["text"]["body"], "Baja");
    assert_eq!(inbounds[1].answers.as_deref(), Some("wamid.TEST-OUT-1"));
    assert_eq!(inbounds[2].from, person(None, Some("ES.7002")));
}

#[test]
fn a_person_whom_only_the_batchs_one_contact_names_is_known() {
    let raw = webhook(&json!({
        "contacts": [{"wa_id": "34611000111"}],
        "messages": [{"id": "wamid.1", "timestamp": "1793000100", "type": "text", "text": {"body": "hola"}}]
    }));
    assert_eq!(inbounds(&raw)[0].from, person(Some("34611000111"), None));
    let raw = webhook(&json!({
        "contacts": [{"wa_id": "34611000111"}, {"wa_id": "34611000222"}],
        "messages": [{"id": "wamid.1", "timestamp": "1793000100", "type": "text", "text": {"body": "hola"}}]
    }));
    assert_eq!(facts(&raw)[0].fact, Err(BadFact::Shape("message")), "of two it could be either");
}

#[test]
fn another_persons_contact_completes_nobody() {
    let raw = webhook(&json!({
        "contacts": [{"wa_id": "34611000222", "user_id": "ES.9"}],
        "messages": [{"from": "34611000111", "id": "wamid.1", "timestamp": "1793000100", "type": "image"}]
    }));
    assert_eq!(inbounds(&raw)[0].from, person(Some("34611000111"), None));
}

#[test]
fn a_person_who_changes_number_or_id_stays_the_same_person() {
    let facts = facts(fixture!("identity_changes.json")).into_iter().map(|located| located.fact).collect::<Vec<_>>();
    assert_eq!(
        facts,
        [
            Ok(Fact::IdentityChanged {
                message_id: "wamid.TEST-SYS-1".to_owned(),
                old: person(Some("34611000111"), Some("ES.7001")),
                new: person(Some("34622000333"), Some("ES.8001")),
                at: second(1_793_000_200),
            }),
            Ok(Fact::IdentityChanged {
                message_id: "wamid.TEST-SYS-2".to_owned(),
                old: person(None, Some("ES.7002")),
                new: person(None, Some("ES.8002")),
                at: second(1_793_000_201),
            }),
            Ok(Fact::Unknown { field: "messages.system.customer_identity_changed".to_owned() }),
            Err(BadFact::Shape("identity change")),
        ]
    );
}

#[test]
fn preferences_are_read_one_by_one() {
    let facts = facts(fixture!("user_preferences.json")).into_iter().map(|located| located.fact).collect::<Vec<_>>();
    let preference = |who, choice, at| {
        let category = "marketing_messages".to_owned();
        Ok(Fact::Preference(Preference { who, choice, category, at: second(at) }))
    };
    assert_eq!(
        facts,
        [
            preference(person(Some("34611000111"), None), Choice::Stop, 1_793_000_300),
            preference(person(None, Some("ES.7002")), Choice::Resume, 1_793_000_301),
            Ok(Fact::Unknown { field: "user_preferences.signup".to_owned() }),
            Err(BadFact::Shape("preference")),
        ]
    );
}

#[test]
fn one_bad_update_spoils_no_other() {
    let facts = facts(fixture!("one_bad_among_good.json"));
    let (good, bad): (Vec<_>, Vec<_>) = facts.into_iter().map(|located| located.fact).partition(Result::is_ok);
    assert!(matches!(good[0], Ok(Fact::Receipt(Receipt { kind: ReceiptKind::Delivered, .. }))), "{good:?}");
    let Ok(Fact::SenderError(Outcome::Busy { whose: Whose::Sender, hold: false, .. })) = good[1] else { panic!() };
    assert_eq!(good.len(), 2);
    let whats = bad.into_iter().map(|bad| bad.unwrap_err().to_string()).collect::<Vec<_>>().join("\n");
    for (what, times) in [("(entry)", 1), ("(change)", 1), ("(status)", 5), ("(message)", 1)] {
        assert_eq!(whats.matches(what).count(), times, "{what} in\n{whats}");
    }
}

#[test]
fn what_is_no_webhook_of_ours_is_said_once() {
    for raw in [&b""[..], b"{", b"[]", b"null", br#"{"object":"whatsapp_business_account"}"#, br#"{"entry":[]}"#] {
        let fact = facts(raw).into_iter().map(|located| located.fact).collect::<Vec<_>>();
        assert_eq!(fact, [Err(BadFact::NotAWebhook)]);
    }
    assert_eq!(facts(br#"{"object":"page","entry":[]}"#)[0].fact, Err(BadFact::OtherProduct));
    assert_eq!(facts(br#"{"object":"whatsapp_business_account","entry":[]}"#), []);
}

#[test]
fn a_change_without_updates_and_a_field_that_is_new_are_named() {
    let name = |located: &Located| match &located.fact {
        Ok(Fact::Unknown { field }) => field.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(name(&facts(&webhook(&json!({"metadata": {}})))[0]), "messages");
    let raw = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [
        {"field": "ñ".repeat(5_000), "value": [1]}
    ]}]});
    assert_eq!(name(&facts(raw.to_string().as_bytes())[0]).chars().count(), 100);
}

#[test]
fn a_batch_has_a_limit_and_the_rest_is_counted() {
    let batch = |updates: usize| webhook(&json!({"statuses": vec![sent("wamid.1"); updates]}));
    assert_eq!(facts(&batch(UPDATES_MAX)).len(), UPDATES_MAX);
    let above = facts(&batch(UPDATES_MAX + 7));
    assert_eq!(above.len(), UPDATES_MAX + 1);
    assert_eq!(above.last().unwrap().fact, Err(BadFact::TooMany { left: 7 }));
}

#[test]
fn what_postgres_cannot_keep_is_replaced_and_the_rest_survives() {
    let message = |body: &str| {
        let text = r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{
            "messages":[{"from":"34611000111","id":"wamid.1","timestamp":"1793000100","type":"text","text":{"body":"@"}}]}}]}]}"#;
        let inbounds = inbounds(text.replace('@', body).as_bytes());
        let Content::Text(text) = &inbounds[0].content else { panic!() };
        assert_eq!(inbounds[0].raw["text"]["body"], **text);
        text.clone()
    };
    assert_eq!(message(r"ba\u0000ja"), "ba\u{fffd}ja");
    assert_eq!(message(r"\\u0000"), r"\u0000", "an escaped backslash and four digits are only text");
    assert_eq!(message(r"\\\u0000"), "\\\u{fffd}");
    assert_eq!(message(r"\ud83d\ude9a"), "🚚");
    assert_eq!(message(r"\uD83D\uDE9A ok \u00a1"), "🚚 ok ¡");
    assert_eq!(message(r"\ud83d"), "\u{fffd}");
    assert_eq!(message(r"\ud83d\ud83d\ude9a"), "\u{fffd}🚚");
    assert_eq!(message(r"\ude9a\n\/"), "\u{fffd}\n/");
    assert_eq!(message("plain"), "plain");
}

#[test]
fn bytes_that_are_no_text_spoil_only_themselves() {
    let mut raw = webhook(&json!({"statuses": [sent("wamid.@"), sent("wamid.2")]}));
    let at = raw.iter().position(|byte| *byte == b'@').unwrap();
    raw[at] = 0xff;
    let ids = receipts(&raw).into_iter().map(|receipt| receipt.message_id).collect::<Vec<_>>();
    assert_eq!(ids, ["wamid.\u{fffd}", "wamid.2"]);
}

#[test]
fn deep_nesting_is_no_reason_to_fall() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let raw = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{
        "statuses":[{{"id":"wamid.1","status":"sent","timestamp":"1793000001","pricing":{deep}}},{}]}}}}]}}]}}"#,
        sent("wamid.2")
    );
    let facts = facts(raw.as_bytes());
    assert_eq!(facts[0].fact, Err(BadFact::Shape("status")));
    assert!(matches!(&facts[1].fact, Ok(Fact::Receipt(receipt)) if receipt.message_id == "wamid.2"));
}

#[test]
fn an_error_never_carries_what_a_person_wrote() {
    let raw = webhook(&json!({"messages": [{"id": "wamid.1", "from": 34611000111_i64, "type": "my secret"}]}));
    let fact = facts(&raw).remove(0).fact.unwrap_err();
    assert!(!format!("{fact} {fact:?}").contains("34611"));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(raw in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = facts(&raw);
    }

    #[test]
    fn a_webhook_with_any_damage_is_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut raw = fixture!("inbound.json").to_vec();
        let at = at.index(raw.len());
        if cut {
            raw.truncate(at);
        } else {
            raw[at] = byte;
        }
        prop_assert!(facts(&raw).len() <= 8);
    }

    #[test]
    fn cleaning_changes_no_text_that_postgres_can_keep(text in "[^\u{0}]*") {
        let json = serde_json::to_string(&text).unwrap();
        let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        prop_assert_eq!(serde_json::from_str::<String>(&storable(json.as_bytes())).unwrap(), text.clone());
        prop_assert_eq!(serde_json::from_str::<String>(&storable(format!("\"{escaped}\"").as_bytes())).unwrap(), text);
    }
}
