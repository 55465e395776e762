//! `recado cancel` and `recado retry`: what an operator may decide, and what nobody may.

use recado::db::keys::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{console::visit::Visit, doors::hall::Hall, why::recado};

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
    assert_eq!(recado(&hall, &["cancel", &id.to_string(), "--because", "a test"]).code, 0);
    assert_eq!(state(&hall, id).await, "suppressed cancelled 0");
    assert_eq!(hall.ask("select kind || ' ' || reason from outbox").await.unwrap(), "suppressed cancelled");
    let again = recado(&hall, &["cancel", &id.to_string(), "--because", "a test"]);
    assert!(again.code == 1 && again.stderr.contains("it has ended already"), "{}", again.stderr);
    assert_eq!(notes(&hall, id).await, "cancelled");
    assert_eq!(recado(&hall, &["cancel", &Uuid::from_u128(5).to_string(), "--because", "a test"]).code, 1);
    assert_eq!(recado(&hall, &["cancel", "evt-1", "--because", "a test"]).code, 2);
}

#[tokio::test]
async fn what_failed_for_a_known_reason_can_be_tried_again() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "rejected", None).await;
    assert_eq!(recado(&hall, &["retry", &id.to_string(), "--because", "a test"]).code, 0);
    assert_eq!(state(&hall, id).await, "pending 0", "not a resend: it is proven that nothing arrived");
    assert_eq!(notes(&hall, id).await, "retry_ordered");
    hall.sql("update notifications set state = 'suppressed', due_at = null, reason = 'expired', expires_at = now() - interval '1 s'").await;
    let late = recado(&hall, &["retry", &id.to_string(), "--because", "a test"]);
    assert!(late.code == 1 && late.stderr.contains("its time is over"), "{}", late.stderr);
    let cancelled = recado(&hall, &["cancel", &id.to_string(), "--because", "a test"]);
    assert!(cancelled.code == 1 && cancelled.stderr.contains("it has ended already"), "{}", cancelled.stderr);
}

#[tokio::test]
async fn what_may_have_been_received_goes_again_only_as_a_marked_resend() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "unclear", None).await;
    let refused = recado(&hall, &["retry", &id.to_string(), "--because", "a test"]);
    assert!(refused.code == 1 && refused.stderr.contains("--resend"), "{}", refused.stderr);
    // An operator's no leaves it open whether it was received.
    assert_eq!(recado(&hall, &["cancel", &id.to_string(), "--because", "a test"]).code, 0);
    assert_eq!(state(&hall, id).await, "failed unknown 0");
    let refused = recado(&hall, &["retry", &id.to_string(), "--because", "a test"]);
    assert!(refused.code == 1 && refused.stderr.contains("--resend"), "{}", refused.stderr);
    assert_eq!(recado(&hall, &["retry", &id.to_string(), "--resend", "--because", "a test"]).code, 0);
    assert_eq!(state(&hall, id).await, "pending 1");
    assert_eq!(notes(&hall, id).await, "cancelled resend_ordered");
}

#[tokio::test]
async fn what_the_provider_has_is_never_sent_again() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "accepted", None).await;
    for arguments in [vec!["retry"], vec!["retry", "--resend"], vec!["cancel"]] {
        let refused = recado(&hall, &[&arguments[..], &[&id.to_string(), "--because", "a test"]].concat());
        assert_eq!(refused.code, 1, "{arguments:?}");
        assert!(refused.stderr.contains("it is accepted"), "{}", refused.stderr);
    }
    assert_eq!(state(&hall, id).await, "accepted 0");
}

#[tokio::test]
async fn a_decision_says_why_and_the_story_and_the_audit_trail_keep_it() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    let one = id.to_string();
    for act in [&["cancel", &one][..], &["retry", &one], &["retry", &one, "--resend"]] {
        let silent = recado(&hall, act);
        assert!(silent.code == 2 && silent.stderr.contains("--because <TEXT>"), "{act:?}: {}", silent.stderr);
        for because in [" ", &"x".repeat(301)] {
            let refused = recado(&hall, &[act, &["--because", because]].concat());
            assert_eq!(refused.code, 2, "{act:?}: {}", refused.stderr);
            assert!(refused.stderr.contains("--because is a text of 1 to 300 characters"), "{}", refused.stderr);
        }
    }
    assert_eq!(notes(&hall, id).await, "", "nothing was done without");

    assert_eq!(recado(&hall, &["cancel", &one, "--because", " the shop has called Ana "]).code, 0);
    let why = "select string_agg(reason, '; ' order by id) from audit where what like 'notification.%'";
    assert_eq!(hall.ask(why).await.unwrap(), "the shop has called Ana");
    let told = recado(&hall, &["why", &one]).stdout;
    assert!(told.contains("Cancelled (by cli: the shop has called Ana)."), "{told}");

    let (operator, viewer) = (hall.key(Role::Operator).await, hall.key(Role::Viewer).await);
    let address = format!("/v1/notifications/{id}");
    let shown = hall.read(&address, &operator).await.json();
    assert_eq!(shown["notes"][0]["reason"], "the shop has called Ana");
    let masked = hall.read(&address, &viewer).await;
    assert_eq!(masked.json()["notes"][0]["reason"], Value::Null, "it may name somebody");
    assert!(!masked.text().contains("Ana"), "{}", masked.text());
    let page = format!("/console/notifications/{id}");
    let mut olga = Visit::of(&hall, "olga", Role::Operator).await;
    let seen = olga.get(&page).await.text;
    assert!(seen.contains("the shop has called Ana"), "{seen}");
    assert!(!Visit::of(&hall, "vera", Role::Viewer).await.get(&page).await.text.contains("Ana"));

    for reason in ["", " ", &"x".repeat(301), "a\0b"] {
        let refused = olga.fill(&page, &format!("{page}/retry"), &[("reason", reason)]).await;
        assert_eq!(refused.leads(), format!("{page}?said=needs_reason"), "{reason:?}");
    }
    let done = olga.fill(&page, &format!("{page}/retry"), &[("reason", "she was <b>wrong</b>")]).await;
    assert_eq!(done.leads(), format!("{page}?said=done"));
    assert!(olga.get(&page).await.text.contains("she was &lt;b&gt;wrong&lt;&#x2f;b&gt;"));
    let told = recado(&hall, &["why", &one]).stdout;
    assert!(told.contains("To be tried again by order (by user olga: she was <b>wrong</b>)."), "{told}");
}

#[tokio::test]
async fn what_a_plan_did_to_a_message_is_told_with_why_it_was_run() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "rejected", None).await;
    let key = hall.key(Role::Operator).await;
    let plan = json!({"action": "retry", "search": {"state": "failed"}});
    let number = hall.post("/v1/plans", &key, &plan).await.json()["id"].as_i64().unwrap();
    hall.reckoned().await;
    let run = hall.post(&format!("/v1/plans/{number}/run"), &key, &json!({"reason": "the outage is over"})).await;
    assert_eq!(run.status, 202, "{}", run.text());
    crate::plans::finish(&hall.pools.ops, number).await;
    let told = recado(&hall, &["why", &id.to_string()]).stdout;
    let expected = format!("To be tried again by order of plan {number} (by key operator: the outage is over).");
    assert!(told.contains(&expected), "{told}");
    let mut olga = Visit::of(&hall, "olga", Role::Operator).await;
    let page = olga.get(&format!("/console/notifications/{id}")).await.text;
    assert!(page.contains("the outage is over"), "{page}");
    assert!(page.contains(&format!("href=\"/console/plans/{number}\">plan {number}</a>")), "{page}");

    let cancel = json!({"action": "cancel", "search": {"state": "pending"}});
    let number = hall.post("/v1/plans", &key, &cancel).await.json()["id"].as_i64().unwrap();
    hall.reckoned().await;
    let run = hall.post(&format!("/v1/plans/{number}/run"), &key, &json!({"reason": "too late"})).await;
    assert_eq!(run.status, 202, "{}", run.text());
    crate::plans::finish(&hall.pools.ops, number).await;
    let told = recado(&hall, &["why", &id.to_string()]).stdout;
    assert!(told.contains(&format!("Cancelled by order of plan {number} (by key operator: too late).")), "{told}");
}
