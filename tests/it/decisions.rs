//! `recado cancel` and `recado retry`: what an operator may decide, and what nobody may.

use uuid::Uuid;

use crate::{doors::hall::Hall, why::recado};

async fn state(hall: &Hall, id: Uuid) -> String {
    hall.ask(&format!("select concat_ws(' ', state, reason, resends) from notifications where id = '{id}'"))
        .await
        .unwrap()
}

async fn notes(hall: &Hall, id: Uuid) -> String {
    let asked =
        format!("select coalesce(string_agg(what, ' ' order by id), '') from timeline where notification_id = '{id}'");
    hall.ask(&asked).await.unwrap()
}

#[tokio::test]
async fn what_has_not_gone_can_be_cancelled_once() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    assert_eq!(recado(&hall, &["cancel", &id.to_string()]).code, 0);
    assert_eq!(state(&hall, id).await, "suppressed cancelled 0");
    assert_eq!(hall.ask("select kind || ' ' || reason from outbox").await.unwrap(), "suppressed cancelled");
    let again = recado(&hall, &["cancel", &id.to_string()]);
    assert!(again.code == 1 && again.stderr.contains("it has ended already"), "{}", again.stderr);
    assert_eq!(notes(&hall, id).await, "cancelled");
    assert_eq!(recado(&hall, &["cancel", &Uuid::from_u128(5).to_string()]).code, 1);
    assert_eq!(recado(&hall, &["cancel", "evt-1"]).code, 2);
}

#[tokio::test]
async fn what_failed_for_a_known_reason_can_be_tried_again() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "rejected", None).await;
    assert_eq!(recado(&hall, &["retry", &id.to_string()]).code, 0);
    assert_eq!(state(&hall, id).await, "pending 0", "not a resend: it is proven that nothing arrived");
    assert_eq!(notes(&hall, id).await, "retry_ordered");
    hall.sql("update notifications set state = 'suppressed', due_at = null, reason = 'expired', expires_at = now() - interval '1 s'").await;
    let late = recado(&hall, &["retry", &id.to_string()]);
    assert!(late.code == 1 && late.stderr.contains("its time is over"), "{}", late.stderr);
    let cancelled = recado(&hall, &["cancel", &id.to_string()]);
    assert!(cancelled.code == 1 && cancelled.stderr.contains("it has ended already"), "{}", cancelled.stderr);
}

#[tokio::test]
async fn what_may_have_been_received_goes_again_only_as_a_marked_resend() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "unclear", None).await;
    let refused = recado(&hall, &["retry", &id.to_string()]);
    assert!(refused.code == 1 && refused.stderr.contains("--resend"), "{}", refused.stderr);
    // An operator's no leaves it open whether it was received.
    assert_eq!(recado(&hall, &["cancel", &id.to_string()]).code, 0);
    assert_eq!(state(&hall, id).await, "failed unknown 0");
    let refused = recado(&hall, &["retry", &id.to_string()]);
    assert!(refused.code == 1 && refused.stderr.contains("--resend"), "{}", refused.stderr);
    assert_eq!(recado(&hall, &["retry", &id.to_string(), "--resend"]).code, 0);
    assert_eq!(state(&hall, id).await, "pending 1");
    assert_eq!(notes(&hall, id).await, "cancelled resend_ordered");
}

#[tokio::test]
async fn what_the_provider_has_is_never_sent_again() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "accepted", None).await;
    for arguments in [vec!["retry"], vec!["retry", "--resend"], vec!["cancel"]] {
        let refused = recado(&hall, &[&arguments[..], &[&id.to_string()]].concat());
        assert_eq!(refused.code, 1, "{arguments:?}");
        assert!(refused.stderr.contains("it is accepted"), "{}", refused.stderr);
    }
    assert_eq!(state(&hall, id).await, "accepted 0");
}
