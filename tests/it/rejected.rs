//! `recado rejected` and `recado replay-rejected`, as an operator meets them.

use std::time::Duration;

use recado::{
    clock::Clock,
    db::rejected,
    worker::{Nudge, replays::Replays},
};

use crate::{
    doors::hall::{Hall, events},
    why::recado,
};

#[tokio::test]
async fn rejected_events_are_listed_with_their_reasons_and_shown_with_their_bytes() {
    let hall = Hall::open().await;
    let nothing = recado(&hall, &["rejected"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, "No event is rejected.\n"));
    let phone = hall.rejected(1, "bad_phone", "{\"phone\": \"12\", \"order\": \"A-1\u{1b}[2J\"}").await;
    let json = hall.rejected(2, "invalid_json", "no").await;
    hall.sql("update rejected_events set copies = 3 where reason = 'invalid_json'").await;

    let told = recado(&hall, &["rejected"]);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", told.stdout);
    assert!(lines[0].starts_with(&json.to_string()) && lines[0].contains(", 3 times"), "{}", told.stdout);
    assert!(lines[1].contains("order.confirmed  bad_phone: What is wrong."), "{}", told.stdout);
    hall.sql("update rejected_events set routing_key = e'order.\\x1b[2J' where reason = 'bad_phone'").await;
    let told = recado(&hall, &["rejected"]).stdout + &recado(&hall, &["why", &phone.to_string()]).stdout;
    assert!(told.contains("order.\\u{1b}[2J") && !told.contains('\u{1b}'), "{told}");
    assert_eq!(recado(&hall, &["rejected", "--reason", "bad_phone"]).stdout.lines().count(), 1);
    let limited = recado(&hall, &["rejected", "--limit", "1"]);
    assert_eq!(limited.stdout.lines().count(), 1);
    assert!(limited.stderr.contains("There are more"), "{}", limited.stderr);
    let listed: serde_json::Value = serde_json::from_str(&recado(&hall, &["rejected", "--json"]).stdout).unwrap();
    assert_eq!(listed[1]["id"], phone.to_string());
    assert_eq!(listed[0]["copies"], 3);

    let shown = recado(&hall, &["rejected", "show", &phone.to_string()]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for part in
        ["bad_phone: What is wrong.", "x-trace: 7", "\"order\": \"A-1\\u{1b}[2J\"", &format!("replay-rejected {phone}")]
    {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let shown = recado(&hall, &["rejected", "show", "--json", &phone.to_string()]);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["headers"]["x-trace"], "7");
    assert!(shown["body"].as_str().unwrap().starts_with("{\"phone\""));
    let unknown = recado(&hall, &["rejected", "show", "0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b44"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("no rejected event of this id"), "{}", unknown.stderr);
}

#[tokio::test]
async fn a_wish_to_run_one_again_outlives_who_took_it_and_ends_when_it_is_rejected_once_more() {
    let hall = Hall::open().await;
    let id = hall.rejected(1, "invalid_json", "no").await;
    let pool = &hall.pools.ops;
    let wants = "select count(*)::text from rejected_events where wanted_at is not null";
    assert!(rejected::want(pool, id, "user olga", "mended").await.unwrap());
    assert!(rejected::want(pool, id, "user olga", "mended").await.unwrap(), "pressed twice");
    let noted = "select string_agg(by || ': ' || reason, ', ') from audit where what = 'rejected_event.wanted'";
    assert_eq!(hall.ask(noted).await.as_deref(), Some("user olga: mended"));
    let minute = Duration::from_secs(60);
    assert_eq!(rejected::take_wanted(pool, 10, minute).await.unwrap(), [id]);
    assert!(rejected::take_wanted(pool, 10, minute).await.unwrap().is_empty(), "another process runs it");
    // Whoever took it died, and its time is over.
    hall.sql("update rejected_events set wanted_at = now() - interval '1 s'").await;

    let inbox = events(&hall.pools, &Clock::system()).inbox;
    let replays = Replays { pool: pool.clone(), inbox, every: minute, nudge: Nudge::default() };
    replays.step().await.unwrap();
    assert_eq!(hall.ask(wants).await.unwrap(), "0", "it would be run again for ever");
    let open =
        hall.ask("select count(*)::text from rejected_events where replayed_at is null and reason = 'invalid_json'");
    assert_ne!(open.await.unwrap(), "0", "it is still among the rejected");
    assert!(rejected::want(pool, id, "user olga", "mended").await.unwrap(), "and may be wanted again");
}

#[tokio::test]
async fn what_the_audit_trail_does_not_take_is_not_run_again() {
    let hall = Hall::open().await;
    let id = hall.rejected(1, "invalid_json", "no").await;
    hall.sql("alter table audit add check (what <> 'rejected_event.wanted') not valid").await;
    assert!(rejected::want(&hall.pools.ops, id, "user olga", "mended").await.is_err());
    let wanted = "select count(*)::text from rejected_events where wanted_at is not null";
    assert_eq!(hall.ask(wanted).await.unwrap(), "0");
}
