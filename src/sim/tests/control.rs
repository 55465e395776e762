//! The simulator's own addresses, as a test in another process uses them.

use serde_json::json;

use super::*;

#[tokio::test]
async fn what_happened_can_be_followed_with_cursors() {
    let shop = Shop::open().await;
    for _ in 0..3 {
        shop.accepted(&shipping(ANA)).await;
    }
    shop.refused(&json!({})).await;
    assert_eq!(shop.reported().len(), 9);
    let (_, page) = shop.get("/_sim/messages?since=1&limit=1").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);
    assert_eq!((&page["messages"][0]["no"], &page["messages"][0]["tag"]), (&json!(2), &json!("att:1")));

    let (_, events) = shop.get("/_sim/events").await;
    let events = events["events"].as_array().unwrap();
    let count = |what: &str| events.iter().filter(|event| event["what"] == what).count();
    assert_eq!([count("accepted"), count("status"), count("refused")], [3, 9, 1]);
    let last = events.last().unwrap()["no"].as_u64().unwrap();
    let (_, later) = shop.get(&format!("/_sim/events?since={last}")).await;
    assert_eq!(later["events"], json!([]));

    let (_, state) = shop.get("/_sim/state").await;
    assert_eq!(state["counters"]["accepted"], 3);
    assert!(!state.to_string().contains("sim-token"), "a token is not shown");
    assert_eq!(shop.control("reset", json!({})).await.0, 200);
    assert_eq!(shop.get("/_sim/state").await.1["counters"]["accepted"], 0);
}

#[tokio::test]
async fn a_test_in_another_process_can_be_the_recipient() {
    let shop = Shop::open().await;
    let wamid = shop.accepted(&shipping(ANA)).await;
    shop.reported();
    for (act, given) in [
        ("reply", json!({"text": "hola"})),
        ("press", json!({"wamid": wamid, "payload": "optout:orders"})),
        ("stop", json!({})),
        ("block", json!({})),
    ] {
        let (status, answer) = shop.control(&format!("people/{ANA}/{act}"), given).await;
        assert_eq!(status, 200, "{act}: {answer}");
    }
    assert_eq!(shop.reported().len(), 3);
    assert_eq!(shop.control(&format!("people/{ANA}/press"), json!({"wamid": "none"})).await.0, 409);
    assert_eq!(shop.control(&format!("people/{ANA}/dance"), json!({})).await.0, 404);
    let (_, person) = shop.get(&format!("/_sim/people/{ANA}")).await;
    assert_eq!((&person["blocked"], &person["stopped_marketing"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn rules_numbers_templates_and_faults_are_set_from_outside() {
    let shop = Shop::open().await;
    let cases = [
        ("webhooks", json!({"duplicates": 1, "drop_to": ["+34600999888"]}), 200),
        ("webhooks", json!({"duplicate": 1}), 400),
        ("faults", json!([{"fault": {"kind": "error", "code": 131056}, "next": 1, "to": ANA}]), 200),
        ("faults", json!({"fault": {"kind": "explode"}}), 400),
        ("templates", shipped(), 200),
        ("templates", json!({"name": "x"}), 400),
        ("templates/status", json!({"name": "greeting", "language": "es", "status": "PAUSED"}), 200),
        ("templates/status", json!({"name": "greeting", "language": "en", "status": "PAUSED"}), 404),
        ("manners", json!({"pair": {"period_ms": 6000, "burst": 1}}), 200),
        ("manners", json!({"latency": 5}), 400),
        ("news", json!({"field": "account_update", "value": {"event": "ACCOUNT_RESTRICTION"}}), 200),
        (&format!("senders/{NUMBER}"), json!({"mps": 3}), 200),
        (&format!("people/{ANA}"), json!({"name": "Ana María"}), 200),
        (&format!("people/{ANA}"), json!({"mood": "good"}), 400),
    ];
    for (path, body, status) in cases {
        assert_eq!(shop.control(path, body.clone()).await.0, status, "{path} {body}");
    }
    shop.reported();
    assert_eq!(shop.refused(&shipping(ANA)).await, (429, 131056), "the script");
    shop.accepted(&shipping(ANA)).await;
    assert_eq!(shop.statuses().len(), 6, "each comes twice");
    assert_eq!(shop.refused(&shipping(ANA)).await, (429, 131056), "the pair limit");
    assert_eq!(shop.refused(&hello("+34600999888")).await, (400, 132015));
    assert_eq!(shop.sim.world().person(ANA).ways.name, "Ana María");
}
