//! What goes wrong on the wire, seen from the client, and what was processed all the same.

use serde_json::json;

use super::*;
use crate::sim::{Fault, Garbage, On, Script};

impl Shop {
    fn accepted_count(&self) -> usize {
        self.sim.world().accepted().len()
    }

    fn breaks(&self, script: Script) {
        self.sim.world().fault(script).unwrap();
    }
}

#[tokio::test]
async fn connections_are_cut_before_or_after_processing() {
    let shop = Shop::open().await;
    for (fault, processed) in [
        (Fault::Refuse { after_bytes: 0 }, false),
        (Fault::Refuse { after_bytes: 10 }, false),
        (Fault::CutBefore { reset: false }, false),
        (Fault::CutBefore { reset: true }, false),
        (Fault::CutAfter { reset: false }, true),
        (Fault::CutAfter { reset: true }, true),
        (Fault::Stall { ms: 1, process: false }, false),
    ] {
        let before = shop.accepted_count();
        shop.breaks(Script::next(1, fault.clone()));
        let error = shop.try_send(&hello(ANA)).await.expect_err("no answer");
        assert!(!error.is_connect(), "{fault:?}: the connection had been made");
        assert_eq!(shop.accepted_count() - before, usize::from(processed), "{fault:?}");
        shop.accepted(&hello(ANA)).await;
    }
}

#[tokio::test]
async fn what_stalls_is_processed_although_the_client_has_gone() {
    let shop = Shop::open().await;
    shop.breaks(Script::next(1, Fault::Stall { ms: 1_500, process: true }));
    let impatient = shop
        .client
        .post(format!("{}/v25.0/{NUMBER}/messages", shop.sim.url()))
        .header("authorization", "Bearer sim-token")
        .header("content-type", "application/json")
        .timeout(Duration::from_millis(500))
        .body(shipping(ANA).to_string());
    assert!(impatient.send().await.expect_err("no answer in time").is_timeout());
    assert_eq!(shop.accepted_count(), 0);
    eventually("the message is accepted", || shop.accepted_count() == 1).await;
    assert_eq!(shop.statuses().len(), 3, "its statuses come as well");
}

#[tokio::test]
async fn answers_are_garbage_but_the_message_is_accepted() {
    let shop = Shop::open().await;
    for (body, readable) in [
        (Garbage::Html, false),
        (Garbage::Empty, false),
        (Garbage::Truncated, false),
        (Garbage::MissingId, true),
        (Garbage::DuplicateKeys, true),
    ] {
        let before = shop.accepted_count();
        shop.breaks(Script::next(1, Fault::Garbage { body, process: true }));
        let (status, text) = shop.try_send(&hello(ANA)).await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), readable, "{body:?}: {text}");
        let ids = text.matches("\"id\"").count();
        assert!(!readable || ids == if body == Garbage::DuplicateKeys { 2 } else { 0 }, "{body:?}: {text}");
        assert_eq!(shop.accepted_count() - before, 1);
    }
}

#[tokio::test]
async fn errors_come_as_json_or_as_a_page() {
    let shop = Shop::open().await;
    let status = |status, code, process| Fault::Status { status, code, process, retry_after: None };
    shop.breaks(Script::next(1, status(503, None, false)));
    let (code, text) = shop.try_send(&hello(ANA)).await.unwrap();
    assert!(code == 503 && text.starts_with("<!DOCTYPE"), "{code} {text}");
    shop.breaks(Script::next(1, status(500, Some(131000), true)));
    assert_eq!(shop.refused(&hello(ANA)).await, (500, 131000));
    assert_eq!(shop.accepted_count(), 1, "this one was processed");
    shop.breaks(Script::next(1, Fault::Error { code: 131057, retry_after: Some("-5".into()) }));
    assert_eq!(shop.refused(&hello(ANA)).await, (503, 131057));
    shop.breaks(Script::next(1, Fault::Hold { message_status: "held_for_quality_assessment".into() }));
    let (_, answer) = shop.send(&hello(ANA)).await;
    assert_eq!(answer["messages"][0]["message_status"], "held_for_quality_assessment");
}

#[tokio::test]
async fn a_redirect_points_elsewhere_and_processes_nothing() {
    let shop = Shop::open().await;
    shop.breaks(Script::next(1, Fault::Redirect { location: "https://elsewhere.example/".into() }));
    let (status, _) = shop.try_send(&hello(ANA)).await.unwrap();
    assert_eq!((status, shop.accepted_count()), (307, 0));
}

#[tokio::test]
async fn an_answer_can_be_huge_or_drip() {
    let shop = Shop::open().await;
    shop.breaks(Script::next(1, Fault::Huge { bytes: 3_000_000 }));
    let (_, text) = shop.try_send(&hello(ANA)).await.unwrap();
    assert!(text.len() >= 3_000_000);
    assert!(serde_json::from_str::<Value>(&text).unwrap()["messages"][0]["id"].is_string());
    shop.breaks(Script::next(1, Fault::Drip { ms: 1 }));
    let (_, text) = within("the last drop", shop.try_send(&hello(ANA))).await.unwrap();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["messages"][0]["id"].is_string());
    assert_eq!(shop.accepted_count(), 2);
}

#[tokio::test]
async fn faults_choose_their_requests() {
    let shop = Shop::open().await;
    let error = || Fault::Error { code: 131016, retry_after: None };
    shop.breaks(Script { skip: 1, ..Script::next(2, error()).to(ANA) });
    shop.accepted(&hello("+34600999888")).await;
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.refused(&hello(ANA)).await.1, 131016);
    shop.accepted(&hello("+34600999888")).await;
    assert_eq!(shop.refused(&hello(ANA)).await.1, 131016);
    shop.accepted(&hello(ANA)).await;

    shop.breaks(Script { on: On::Management, ..Script::next(1, error()) });
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.get(&format!("/v25.0/{NUMBER}")).await.0, 503);
    assert_eq!(shop.get(&format!("/v25.0/{NUMBER}")).await.0, 200);

    shop.breaks(Script::share(300, error()));
    let mut refused = 0;
    for person in 0..100 {
        shop.pass(1_000);
        refused += u32::from(shop.send(&hello(&format!("+346000000{person:02}"))).await.0 == 503);
    }
    assert!((15..45).contains(&refused), "{refused} of 100");
    shop.sim.world().clear_faults();
    shop.accepted(&hello(ANA)).await;

    let impossible = Script::next(1, Fault::Refuse { after_bytes: 0 }).to(ANA);
    assert!(shop.sim.world().fault(impossible).is_err(), "a refusal cannot know the recipient");
}

#[tokio::test]
async fn a_kept_connection_is_reset_exactly_when_it_is_used_again() {
    let shop = Shop::open().await;
    shop.breaks(Script { reused_only: true, ..Script::next(1, Fault::Refuse { after_bytes: 0 }) });
    shop.accepted(&hello(ANA)).await;
    shop.try_send(&hello(ANA)).await.expect_err("the second request on the connection");
    shop.accepted(&hello(ANA)).await;
    assert_eq!(shop.sim.world().counters().faults, [("refuse", 1)].into());
}

#[tokio::test]
async fn a_closed_door_refuses_connections_until_it_is_open() {
    let shop = Shop::open().await;
    shop.accepted(&hello(ANA)).await;
    shop.sim.set_open(false);
    within("the door is closed", async {
        loop {
            match shop.try_send(&hello(ANA)).await {
                Err(error) if error.is_connect() => break,
                _ => {}
            }
        }
    })
    .await;
    let before = shop.accepted_count();
    shop.sim.set_open(true);
    within("the door is open", async { while shop.try_send(&hello(ANA)).await.is_err() {} }).await;
    assert_eq!(shop.accepted_count(), before + 1);
}

#[tokio::test]
async fn a_script_with_a_typing_error_is_not_taken() {
    for wrong in [
        json!({"fault": {"kind": "cut_afer"}}),
        json!({"fault": {"kind": "cut_after"}, "nxt": 3}),
        json!({"fault": {"kind": "stall", "millis": 3}}),
    ] {
        assert!(serde_json::from_value::<Script>(wrong.clone()).is_err(), "{wrong}");
    }
}
