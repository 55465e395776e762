use serde_json::json;

use super::*;

const AT: i64 = 1_793_000_000;

fn at() -> Option<Timestamp> {
    Timestamp::from_second(AT).ok()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(AT + seconds).unwrap()
}

fn template_news(event: &str, title: Option<&str>) -> TemplateStatus {
    let value = json!({
        "event": event,
        "message_template_id": 700_000_000_000_001_i64,
        "message_template_name": "order_shipped",
        "message_template_language": "es-MX",
        "reason": "NONE",
        "other_info": {"title": title}
    });
    match read("message_template_status_update", &value, at()) {
        Ok(Fact::TemplateStatus(news)) => news,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_template_is_named_by_its_name_and_its_language_with_an_underscore() {
    let news = template_news("APPROVED", None);
    assert_eq!((news.name.as_str(), news.language.as_str()), ("order_shipped", "es_MX"));
    assert_eq!((news.status, news.at, news.reason), (Some(Approval::Approved), at(), None));
}

#[test]
fn pauses_for_quality_end_by_themselves() {
    assert_eq!(template_news("PAUSED", Some("FIRST_PAUSE")).lasts, Some(3 * HOUR));
    assert_eq!(template_news("PAUSED", Some("SECOND_PAUSE")).lasts, Some(6 * HOUR));
    assert_eq!(template_news("PAUSED", Some("RATE_LIMITING_PAUSE")).lasts, None);
    assert_eq!(template_news("PAUSED", None).lasts, None);
    assert_eq!(template_news("APPROVED", Some("FIRST_PAUSE")).lasts, None);
}

#[test]
fn every_event_that_meta_documents_has_its_standing() {
    use Approval::{Approved, Archived, Deleted, Disabled, InAppeal, LimitExceeded, Locked, Paused, Pending, Rejected};
    for (event, status) in [
        ("APPROVED", Some(Approved)),
        ("REINSTATED", Some(Approved)),
        ("REJECTED", Some(Rejected)),
        ("PENDING", Some(Pending)),
        ("UNARCHIVED", Some(Pending)),
        ("PAUSED", Some(Paused)),
        ("DISABLED", Some(Disabled)),
        ("ARCHIVED", Some(Archived)),
        ("DELETED", Some(Deleted)),
        ("PENDING_DELETION", Some(Deleted)),
        ("IN_APPEAL", Some(InAppeal)),
        ("LOCKED", Some(Locked)),
        ("LIMIT_EXCEEDED", Some(LimitExceeded)),
        ("FLAGGED", None),
        ("SOMETHING_NEW", None),
    ] {
        let news = template_news(event, None);
        assert_eq!(news.status, status, "{event}");
        if let Some(status) = status {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
    }
}

#[test]
fn a_rejection_says_why() {
    let value = json!({
        "event": "REJECTED", "message_template_name": "t", "message_template_language": "en_US", "reason": "INVALID_FORMAT"
    });
    let Ok(Fact::TemplateStatus(news)) = read("message_template_status_update", &value, None) else { panic!() };
    assert_eq!(news.reason.as_deref(), Some("INVALID_FORMAT"));
}

#[test]
fn a_change_of_category_is_told_before_and_after() {
    let read = |value: Value| match read("template_category_update", &value, at()) {
        Ok(Fact::TemplateCategory(news)) => (news.category, news.previous, news.impending),
        other => panic!("{other:?}"),
    };
    let before = json!({"message_template_name": "t", "message_template_language": "es_ES", "new_category": "UTILITY",
        "correct_category": "MARKETING", "category_update_timestamp": AT + 60});
    assert_eq!(read(before), ("UTILITY".to_owned(), None, Some(("MARKETING".to_owned(), Some(later(60))))));
    let after = json!({"message_template_name": "t", "message_template_language": "es_ES",
        "previous_category": "UTILITY", "new_category": "MARKETING"});
    assert_eq!(read(after), ("MARKETING".to_owned(), Some("UTILITY".to_owned()), None));
}

#[test]
fn an_edited_template_and_its_quality_are_news() {
    let value = json!({"message_template_name": "t", "message_template_language": "es", "new_quality_score": "RED"});
    assert_eq!(
        read("message_template_components_update", &value, at()),
        Ok(Fact::TemplateChanged { name: "t".to_owned(), language: "es".to_owned() })
    );
    assert!(matches!(
        read("message_template_quality_update", &value, at()),
        Ok(Fact::TemplateQuality { score, .. }) if score == "RED"
    ));
    assert!(read("message_template_components_update", &json!({"message_template_name": "t"}), at()).is_err());
}

#[test]
fn limits_are_read_as_tiers_and_as_numbers() {
    let limit = |field: &str, value: Value| match read(field, &value, at()) {
        Ok(Fact::SenderQuality(news)) => (news.event, news.limit.unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        limit(
            "phone_number_quality_update",
            json!({"event": "THROUGHPUT_UPGRADE", "max_daily_conversations_per_business": "TIER_100K", "current_limit": "TIER_1K"})
        ),
        ("THROUGHPUT_UPGRADE".to_owned(), "TIER_100K".to_owned())
    );
    assert_eq!(
        limit("business_capability_update", json!({"max_daily_conversations_per_business": 2_000})),
        ("business_capability_update".to_owned(), "2000".to_owned())
    );
}

fn effect(value: &Value) -> Effect {
    match read("account_update", value, at()) {
        Ok(Fact::Account(news)) => news.effect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restriction_of_what_we_send_holds_until_it_ends() {
    let restricted = |listed: Value| effect(&json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": listed}));
    let ours = |end: Value| json!({"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": end});
    assert_eq!(restricted(json!([ours(json!(AT + 60))])), Effect::Holds { until: Some(later(60)) });
    assert_eq!(
        restricted(json!([ours(json!(AT + 60)), ours(json!((AT + 90).to_string()))])),
        Effect::Holds { until: Some(later(90)) }
    );
    assert_eq!(restricted(json!([ours(json!(AT + 60)), ours(Value::Null)])), Effect::Holds { until: None });
    assert_eq!(
        restricted(ours(json!("2026-12-12T07:09:27.000Z"))),
        Effect::Holds { until: "2026-12-12T07:09:27Z".parse().ok() }
    );
    assert_eq!(restricted(json!([{"restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION"}])), Effect::Shown);
    assert_eq!(restricted(json!([{"restriction_type": "SOMETHING_NEW"}])), Effect::Holds { until: None });
    assert_eq!(restricted(Value::Null), Effect::Holds { until: None });
}

#[test]
fn a_ban_holds_and_its_end_releases() {
    let ban = |state: &str| effect(&json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state}}));
    assert_eq!(ban("DISABLE"), Effect::Holds { until: None });
    assert_eq!(ban("REINSTATE"), Effect::Releases);
    assert_eq!(ban("SCHEDULE_FOR_DISABLE"), Effect::Shown);
    assert_eq!(effect(&json!({"event": "ACCOUNT_DELETED"})), Effect::Holds { until: None });
    for event in ["ACCOUNT_VIOLATION", "VOLUME_BASED_PRICING_TIER_UPDATE", "PARTNER_ADDED", "SOMETHING_NEW"] {
        assert_eq!(effect(&json!({"event": event})), Effect::Shown, "{event}");
    }
}

#[test]
fn alerts_are_shown_and_other_fields_are_named() {
    let value =
        json!({"entity_type": "WABA", "alert_info": {"alert_type": "OBA_APPROVED", "alert_description": "Approved"}});
    let Ok(Fact::Account(news)) = read("account_alerts", &value, at()) else { panic!() };
    assert_eq!((news.effect, news.detail.as_deref()), (Effect::Shown, Some("OBA_APPROVED: Approved")));
    assert_eq!(read("security", &json!({}), at()), Ok(Fact::Unknown { field: "security".to_owned() }));
}

#[test]
fn news_that_is_no_object_is_bad_and_survived() {
    for field in ["message_template_status_update", "template_category_update", "account_update"] {
        for value in [Value::Null, json!([]), json!("x"), json!({"event": 7})] {
            assert!(read(field, &value, at()).is_err(), "{field} {value}");
        }
    }
}
