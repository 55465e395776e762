//! `recado rejected` and `recado replay-rejected`, as an operator meets them.

use crate::{doors::hall::Hall, why::recado};

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
