//! `recado why`, as an operator meets it.

use std::process::Command;

use uuid::Uuid;

use crate::doors::hall::Hall;

pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program against this hall's database.
pub fn recado(hall: &Hall, arguments: &[&str]) -> Ran {
    recado_with(hall, arguments, &[])
}

/// The same with these variables. A program that was killed ends with -1.
pub fn recado_with(hall: &Hall, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_recado"))
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", &hall.url)
        .envs(variables.iter().copied().filter(|(_, value)| !value.is_empty()))
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn a_notification_is_found_by_every_name_that_somebody_may_know() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "accepted", None).await;
    let other = hall.notification("evt-2", "+34600333444").await;
    for word in
        [&id.to_string(), "evt-1", "subject-of-evt-1", "key-of-evt-1", "+34600111222", "+34 600 111 222", "wamid.1"]
    {
        let told = recado(&hall, &["why", word]);
        assert_eq!(told.code, 0, "{word}: {}", told.stderr);
        assert!(told.stdout.contains(&format!("Notification {id} to +34600111222")), "{word}: {}", told.stdout);
        assert!(!told.stdout.contains(&other.to_string()), "{word}: {}", told.stdout);
    }
}

#[tokio::test]
async fn the_story_goes_from_the_event_to_what_is_next() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "accepted", None).await;
    hall.sql(&format!(
        "insert into receipts (notification_id, number, kind, at) values ('{id}', 1, 'delivered', now() + interval '1 s');
         insert into timeline (notification_id, at, what, detail) values ('{id}', now() - interval '1 min', 'waits', 'consent');
         insert into inbox_conflicts (source, id, body_hash, body) values ('shop', 'evt-1', 'x', 'x');
         update notifications set receipt = 'delivered'"
    ))
    .await;
    let told = recado(&hall, &["why", "evt-1"]).stdout;
    let at = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part} is missing: {told}"));
    let order = [
        at("Consent entry 1: confirmed, for orders."),
        at("Put to wait for the person's consent."),
        at("Received: event evt-1 (order.confirmed) of shop"),
        at("Attempt 1: claimed, allowed by consent entry 1."),
        at("Attempt 1: accepted by the provider as wamid.1."),
        at("Attempt 1: reported as delivered."),
        at("Next: It arrived."),
    ];
    assert!(order.is_sorted(), "{told}");
    at("The same event came again with another body");
}

#[tokio::test]
async fn a_failure_is_explained_with_code_and_cause() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "rejected", Some("Message undeliverable")).await;
    let told = recado(&hall, &["why", "evt-1"]).stdout;
    let expected = "refused, undeliverable (code 131026): The number is not on WhatsApp, or its WhatsApp cannot take the message; \
                    the provider said \u{201c}Message undeliverable\u{201d}.";
    assert!(told.contains(expected), "{told}");
    assert!(told.contains("Ended as failed: undeliverable."), "{told}");
    assert!(told.contains(&format!("recado retry {id}")), "{told}");
}

#[tokio::test]
async fn what_waits_says_for_what_and_a_hold_comes_first() {
    let hall = Hall::open().await;
    let first = hall.notification("evt-1", "+34600111222").await;
    let second = hall.notification("evt-2", "+34600111222").await;
    hall.sql("update notifications set subject = 'order-7'").await;
    hall.sql(&format!("update notifications set waiting_on = 'subject' where id = '{second}'")).await;
    let told = recado(&hall, &["why", &second.to_string()]).stdout;
    assert!(told.contains(&format!("Next: It waits for the earlier message {first} about the same subject")), "{told}");
    assert_eq!(recado(&hall, &["hold", "sender", "main", "--reason", "moving"]).code, 0);
    let told = recado(&hall, &["why", &second.to_string()]).stdout;
    assert!(told.contains("Next: The sender main is held, until somebody releases it: operator"), "{told}");
    assert!(told.contains("The sender main is held by") && told.contains("(moving)"), "{told}");
    assert_eq!(recado(&hall, &["release", "1", "--because", "the new number works"]).code, 0);
    let told = recado(&hall, &["why", &second.to_string()]).stdout;
    assert!(told.contains("Hold 1: The sender main was held by cli") && told.contains("(moving)"), "{told}");
    assert!(told.contains("Hold 1: released by cli (the new number works)."), "{told}");
    let later = hall.notification("evt-3", "+34600111222").await;
    assert!(!recado(&hall, &["why", &later.to_string()]).stdout.contains("Hold 1"), "that was before its time");
}

#[tokio::test]
async fn a_persons_number_tells_also_what_they_agreed_to_and_wrote() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.sql(
        "insert into consent_entries (contact_id, number, at, act, purpose, commitment, previous, hash)
           select id, 2, now(), 'revoked', '*', '', '', '' from contacts;
         insert into inbound (message_id, sender, contact_id, at, kind, content, did)
           select 'wamid.in', s.id, c.id, now() - interval '1 s', 'text', '{\"text\": {\"body\": \"BAJA\"}}', 'revoked' from senders s, contacts c
           where s.name = 'main'",
    )
    .await;
    let told = recado(&hall, &["why", "+34 600 111 222"]).stdout;
    let at = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part} is missing: {told}"));
    let order = [
        at("Person +34600111222"),
        at("Consent entry 1: confirmed, for orders."),
        at("The person wrote “BAJA”. It was taken as a no."),
        at("Consent entry 2: revoked, for everything."),
        at(&format!("Notification {id}")),
    ];
    assert!(order.is_sorted(), "{told}");
    let told: serde_json::Value =
        serde_json::from_str(&recado(&hall, &["why", "+34600111222", "--json"]).stdout).unwrap();
    assert_eq!(told["person"]["phone"], "+34600111222");
    assert_eq!(told["person"]["messages"][0]["said"], "BAJA");
    let other: serde_json::Value = serde_json::from_str(&recado(&hall, &["why", "evt-1", "--json"]).stdout).unwrap();
    assert!(other.get("person").is_none());
    hall.sql("insert into contacts (phone) values ('+34600999888')").await;
    let known = recado(&hall, &["why", "+34600999888"]);
    assert!(known.code == 0 && known.stdout.contains("Has agreed to nothing"), "{}", known.stdout);
}

#[tokio::test]
async fn events_that_meant_nothing_and_bytes_that_were_no_event_are_told_as_well() {
    let hall = Hall::open().await;
    let rejected = Uuid::from_u128(77);
    hall.sql(&format!(
        "insert into inbox (source, id, body_hash, type, subject, time, ignored) values ('shop', 'evt-9', 'x', 'order.viewed', 'order-9', now(), 'no_template');
         insert into rejected_events (id, reason, detail, exchange, routing_key, headers, size, body_hash, body, whole)
         values ('{rejected}', 'bad_phone', 'data.customer.phone is no telephone number', 'shop.events', 'order.confirmed', '{{}}', 30, 'x',
           '{{\"id\": \"evt-10\", \"subject\": \"order-9\"}}', true)"
    ))
    .await;
    let told = recado(&hall, &["why", "order-9"]);
    assert_eq!(told.code, 0);
    assert!(told.stdout.contains("Event evt-9 of shop (order.viewed)"), "{}", told.stdout);
    assert!(told.stdout.contains("no message follows: no template."), "{}", told.stdout);
    for word in ["order-9", "evt-10", &rejected.to_string()] {
        let told = recado(&hall, &["why", word]).stdout;
        assert!(told.contains("bad_phone: data.customer.phone is no telephone number"), "{word}: {told}");
    }
    assert_eq!(recado(&hall, &["why", "evt-1"]).code, 1, "a part of a name is another name");
}

#[tokio::test]
async fn programs_get_the_same_as_from_the_api() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    let operator = hall.key(recado::db::keys::Role::Operator).await;
    let told = recado(&hall, &["why", "evt-1", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let asked = hall.read(&format!("/v1/notifications/{id}"), &operator).await.json();
    assert_eq!(told["notifications"][0], asked);
    assert_eq!(asked["phone"], "+34600111222");
}

#[tokio::test]
async fn what_is_unknown_says_so_and_ends_with_1() {
    let hall = Hall::open().await;
    let told = recado(&hall, &["why", "order-404"]);
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    assert!(told.stderr.contains("Nothing is known by this name"), "{}", told.stderr);
    assert_eq!(recado(&hall, &["why"]).code, 2);
}
