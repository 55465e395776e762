//! What the doors answer: the provider's webhooks, the health checks, the API.

pub mod hall;

use hmac::{Hmac, KeyInit, Mac};
use recado::db::keys::Role;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::Sha256;

use hall::Hall;

const NONE: [uuid::Uuid; 0] = [];
const BODY: &[u8] = include_bytes!("../fixtures/meta/statuses.json");

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn assert_problem(answer: &hall::Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status.as_u16());
    for key in ["type", "title", "detail"] {
        assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
}

#[tokio::test]
async fn the_provider_gets_its_challenge_back_if_it_knows_the_token() {
    let hall = Hall::open().await;
    let ask = async |query: &str| hall.get(&format!("/webhooks/main?{query}")).await;
    let right = ask("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=verify-me").await;
    assert_eq!((right.status, right.text()), (StatusCode::OK, "1158201444".to_owned()));
    assert!(right.header("content-type").unwrap().starts_with("text/plain"));
    for wrong in [
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=verify-m",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=",
        "hub.mode=subscribe&hub.challenge=1",
        "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=verify-me",
        "hub.mode=subscribe&hub.verify_token=verify-me",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=verify-me&hub.verify_token=verify-me",
        "",
    ] {
        assert_problem(&ask(wrong).await, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_sender_without_a_verify_token_verifies_nobody() {
    let hall = Hall::open().await;
    for token in ["", "verify-me"] {
        let asked = format!("/webhooks/bare?hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}");
        assert_problem(&hall.get(&asked).await, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_genuine_webhook_is_stored_byte_for_byte_and_answered_at_once() {
    let hall = Hall::open().await;
    let odd = b"{\"object\" :\"whatsapp_business_account\",\n \"entry\":[ ],\"x\":\"\\u00e9\xff\x00\" }";
    for body in [BODY, odd] {
        let answer = hall.webhook("main", body, &[&sign("app-secret", body)]).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, String::new()));
    }
    let stored = hall.webhooks().await;
    assert_eq!(stored, [("main".to_owned(), BODY.to_vec()), ("main".to_owned(), odd.to_vec())]);
    assert_eq!((hall.nudges(), hall.turned_away()), (2, 0), "whoever applies webhooks was told of each");
}

#[tokio::test]
async fn while_the_secret_is_changed_both_are_good() {
    let hall = Hall::open().await;
    for secret in ["app-secret", "previous-secret"] {
        assert_eq!(hall.webhook("main", BODY, &[&sign(secret, BODY)]).await.status, StatusCode::OK);
    }
    assert_problem(&hall.webhook("main", BODY, &[&sign("older-secret", BODY)]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(hall.webhooks().await.len(), 2);
}

#[tokio::test]
async fn a_forged_webhook_leaves_no_trace() {
    let hall = Hall::open().await;
    let (right, other) = (sign("app-secret", BODY), sign("app-secret", b"{}"));
    let forgeries: [&[&str]; 6] =
        [&[], &[""], &[&other], &[&right[..70]], &[right.trim_start_matches("sha256=")], &[&right, &right]];
    for signatures in forgeries {
        assert_problem(&hall.webhook("main", BODY, signatures).await, StatusCode::UNAUTHORIZED);
    }
    // A sender whose secret is not configured trusts nobody, be the secret empty.
    assert_problem(&hall.webhook("bare", BODY, &[&sign("", BODY)]).await, StatusCode::UNAUTHORIZED);
    // Another sender's secret opens nothing.
    assert_problem(&hall.webhook("second", BODY, &[&right]).await, StatusCode::UNAUTHORIZED);
    assert!(hall.webhooks().await.is_empty());
    assert_eq!(hall.nudges(), 0);
}

#[tokio::test]
async fn a_webhook_for_nobody_is_unknown() {
    let hall = Hall::open().await;
    assert_problem(&hall.webhook("nobody", BODY, &[&sign("app-secret", BODY)]).await, StatusCode::NOT_FOUND);
    assert_problem(&hall.get("/webhooks/nobody?hub.mode=subscribe").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn three_megabytes_are_read_and_not_a_byte_more() {
    let hall = Hall::open().await;
    let largest = vec![b' '; 3 * 1024 * 1024];
    assert_eq!(hall.webhook("main", &largest, &[&sign("app-secret", &largest)]).await.status, StatusCode::OK);
    let larger = vec![b' '; largest.len() + 1];
    assert_problem(
        &hall.webhook("main", &larger, &[&sign("app-secret", &larger)]).await,
        StatusCode::PAYLOAD_TOO_LARGE,
    );
    // Also if its length was not announced.
    assert_eq!(
        hall.webhook_in_chunks("main", &larger, &sign("app-secret", &larger)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(hall.webhook_in_chunks("main", BODY, &sign("app-secret", BODY)).await, StatusCode::OK);
    assert_eq!(hall.webhooks().await.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_stored_is_left_to_the_provider_to_repeat() {
    let hall = Hall::open().await;
    hall.lose_database().await;
    let answer = hall.webhook("main", BODY, &[&sign("app-secret", BODY)]).await;
    assert_problem(&answer, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(hall.turned_away(), 1, "whoever judges a silence has to know that one is on its way again");
    assert_problem(&hall.webhook("main", BODY, &[&sign("wrong", BODY)]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(hall.turned_away(), 1, "a forger keeps no doubt from being settled");
}

#[tokio::test]
async fn ready_is_who_has_its_database_and_says_what_is_held() {
    let hall = Hall::open().await;
    assert_eq!(hall.get("/healthz").await.status, StatusCode::OK);
    let operator = hall.key(Role::Operator).await;
    let hold = json!({"scope": "sender", "sender": "main", "reason": "moving"});
    assert_eq!(hall.post("/v1/holds", &operator, &hold).await.status, StatusCode::CREATED);
    let ready = hall.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    let said = ready.json();
    assert_eq!((&said["ready"], &said["database"], &said["broker"]), (&json!(true), &json!("ok"), &json!("ok")));
    assert_eq!(said["holds"], json!([{"on": "sender main", "reason": "operator", "until": null}]));
}

#[tokio::test]
async fn a_lost_broker_is_named_and_results_that_cannot_be_written_make_unready() {
    let hall = Hall::open().await;
    hall.stand(|standing| standing.broker_connected = Some(false));
    let ready = hall.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::OK, "webhooks must be taken in all the same");
    assert!(ready.json()["broker"].as_str().unwrap().starts_with("not connected"));
    hall.stand(|standing| standing.results_taken = false);
    let ready = hall.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    hall.stand(|standing| (standing.results_taken, standing.stopping) = (true, true));
    assert_eq!(hall.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn without_its_database_the_process_lives_and_is_not_ready() {
    let hall = Hall::open().await;
    hall.lose_database().await;
    assert_eq!(hall.get("/healthz").await.status, StatusCode::OK);
    let ready = hall.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json()["database"], "not reachable");
}

#[tokio::test]
async fn a_schema_that_does_not_fit_says_what_to_do() {
    for (change, cure) in [
        ("delete from _sqlx_migrations", "recado migrate"),
        ("insert into _sqlx_migrations values (9999, 'x', now(), true, '\\x00', 1)", "install the newer program"),
        ("update _sqlx_migrations set checksum = '\\x00'", "altered by another build"),
    ] {
        let hall = Hall::open().await;
        hall.sql(change).await;
        let ready = hall.get("/readyz").await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(ready.text().contains(cure), "{}", ready.text());
    }
}

#[tokio::test]
async fn the_api_asks_for_a_key_and_says_how() {
    let hall = Hall::open().await;
    let viewer = hall.key(Role::Viewer).await;
    let revoked = hall.key(Role::Admin).await;
    hall.sql("update api_keys set revoked_at = now() where role = 'admin'").await;
    let wrong = format!("Bearer rk_{}", "A".repeat(43));
    let bearer = format!("Bearer {viewer}");
    for authorization in ["", "Bearer", "Basic cmVjYWRvOng=", "Bearer x", &wrong, &format!("Bearer {revoked}"), &viewer]
    {
        let answer = hall.get_as("/v1/notifications", authorization).await;
        assert_problem(&answer, StatusCode::UNAUTHORIZED);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer "));
    }
    assert_problem(&hall.get("/v1/notifications").await, StatusCode::UNAUTHORIZED);
    assert_eq!(hall.get_as("/v1/notifications", &bearer).await.status, StatusCode::OK);
    assert_eq!(hall.get_as("/v1/notifications", &bearer.replace("Bearer", "bearer")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_viewer_may_look_and_not_touch() {
    let hall = Hall::open().await;
    let (viewer, operator) = (hall.key(Role::Viewer).await, hall.key(Role::Operator).await);
    let hold = json!({"scope": "everything", "reason": "typo", "for": "2h"});
    assert_problem(&hall.post("/v1/holds", &viewer, &hold).await, StatusCode::FORBIDDEN);
    assert_eq!(hall.read("/v1/holds", &viewer).await.json(), json!({"holds": []}));
    let placed = hall.post("/v1/holds", &operator, &hold).await;
    assert_eq!(placed.status, StatusCode::CREATED);
    let id = placed.json()["holds"][0]["id"].as_i64().unwrap();
    assert_eq!(placed.json()["holds"][0]["detail"], "typo");
    assert_eq!(placed.json()["holds"][0]["placed_by"], "key operator");
    assert_eq!(hall.post("/v1/holds", &operator, &hold).await.status, StatusCode::OK, "the same hold, not another");
    assert_eq!(hall.read("/v1/holds", &viewer).await.json()["holds"].as_array().unwrap().len(), 1);
    let address = format!("/v1/holds/{id}");
    let release = format!("{address}?reason=the%20prices%20are%20right");
    assert_problem(&hall.send(Method::DELETE, &release, &viewer, None).await, StatusCode::FORBIDDEN);
    let long = format!("?reason={}", "x".repeat(301));
    for silent in ["", "?reason=", "?reason=%20", "?reason=x&reason=y", "?reason=x&because=y", &long] {
        let refused = hall.send(Method::DELETE, &format!("{address}{silent}"), &operator, None).await;
        assert_problem(&refused, StatusCode::BAD_REQUEST);
    }
    let unkept = hall.send(Method::DELETE, &format!("{address}?reason=x%00y"), &operator, None).await;
    assert_problem(&unkept, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(hall.read("/v1/holds", &viewer).await.json()["holds"].as_array().unwrap().len(), 1);
    assert_eq!(hall.send(Method::DELETE, &release, &operator, None).await.status, StatusCode::NO_CONTENT);
    assert_problem(&hall.send(Method::DELETE, &release, &operator, None).await, StatusCode::NOT_FOUND);
    let kept = "select released_because || ', ' || (select reason from audit where what = 'hold.released') from holds";
    assert_eq!(hall.ask(kept).await.unwrap(), "the prices are right, the prices are right");
    assert_eq!(hall.read("/v1/holds", &viewer).await.json(), json!({"holds": []}));
}

#[tokio::test]
async fn a_hold_that_makes_no_sense_is_refused_with_its_mistake() {
    let hall = Hall::open().await;
    let operator = hall.key(Role::Operator).await;
    for hold in [
        json!({"scope": "everything"}),
        json!({"scope": "everything", "reason": " "}),
        json!({"scope": "everything", "reason": "x".repeat(301)}),
        json!({"scope": "everything", "reason": "x", "colour": "red"}),
        json!({"scope": "sender", "reason": "x"}),
        json!({"scope": "galaxy", "reason": "x"}),
        json!([]),
    ] {
        assert_problem(&hall.post("/v1/holds", &operator, &hold).await, StatusCode::BAD_REQUEST);
    }
    for lasts in ["soon", "-2h"] {
        let hold = json!({"scope": "everything", "reason": "x", "for": lasts});
        assert_problem(&hall.post("/v1/holds", &operator, &hold).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let nobody = json!({"scope": "sender", "sender": "nobody", "reason": "x"});
    assert_problem(&hall.post("/v1/holds", &operator, &nobody).await, StatusCode::NOT_FOUND);
    assert_eq!(hall.read("/v1/holds", &operator).await.json(), json!({"holds": []}));
}

#[tokio::test]
async fn what_is_not_there_is_told_as_a_problem() {
    let hall = Hall::open().await;
    let viewer = hall.key(Role::Viewer).await;
    for address in
        ["/v1/notifications/0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b44", "/v1/notifications/order-1", "/v1/nothing", "/"]
    {
        assert_problem(&hall.read(address, &viewer).await, StatusCode::NOT_FOUND);
    }
    for (method, address) in
        [(Method::POST, "/v1/notifications"), (Method::DELETE, "/webhooks/main"), (Method::PUT, "/readyz")]
    {
        let answer = hall.send(method, address, &viewer, None).await;
        assert_problem(&answer, StatusCode::METHOD_NOT_ALLOWED);
        assert!(answer.header("allow").is_some_and(|allowed| allowed.contains("GET")));
    }
}

#[tokio::test]
async fn a_viewer_sees_everything_but_people() {
    let hall = Hall::open().await;
    let id = hall.notification("order-1", "+34600111222").await;
    hall.attempt(id, "rejected", Some("34600111222 is not on WhatsApp")).await;
    let (viewer, operator) = (hall.key(Role::Viewer).await, hall.key(Role::Operator).await);
    let story = format!("/v1/notifications/{id}");
    for address in ["/v1/notifications", story.as_str()] {
        let seen = hall.read(address, &viewer).await;
        assert_eq!(seen.status, StatusCode::OK);
        assert!(!seen.text().contains("600111222"), "{}", seen.text());
        assert!(seen.text().contains("+34…22"), "{}", seen.text());
        let seen = hall.read(address, &operator).await;
        assert!(seen.text().contains("+34600111222"), "{}", seen.text());
    }
    // Nor can a viewer find out whose number it is by trying.
    assert_problem(&hall.read("/v1/notifications?phone=%2B34600111222", &viewer).await, StatusCode::FORBIDDEN);
    assert_eq!(hall.read(&story, &operator).await.json()["attempts"][0]["detail"], "34600111222 is not on WhatsApp");
}

#[tokio::test]
async fn a_story_says_state_timeline_consent_and_what_is_next() {
    let hall = Hall::open().await;
    let id = hall.notification("order-1", "+34600111222").await;
    hall.attempt(id, "accepted", None).await;
    let operator = hall.key(Role::Operator).await;
    let told = hall.read(&format!("/v1/notifications/{id}"), &operator).await.json();
    assert_eq!(told["state"], "accepted");
    assert_eq!(told["message_id"], "wamid.1");
    assert_eq!(told["consent"]["number"], 1);
    assert_eq!(told["consent"]["act"], "confirmed");
    assert_eq!(told["attempts"][0]["id"], format!("{}.1", id.simple()));
    assert_eq!(told["event"]["id"], "order-1");
    let lines: Vec<&str> = told["timeline"].as_array().unwrap().iter().map(|l| l["what"].as_str().unwrap()).collect();
    assert!(lines.iter().any(|line| line.contains("accepted by the provider as wamid.1")), "{lines:?}");
    assert!(told["next"].as_str().unwrap().contains("unconfirmed"));
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let hall = Hall::open().await;
    let mut all = Vec::new();
    for n in 0..7 {
        all.push(hall.notification(&format!("order-{n}"), "+34600111222").await.to_string());
    }
    all.reverse();
    let viewer = hall.key(Role::Viewer).await;
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = hall.read(&format!("/v1/notifications?limit=3{cursor}"), &viewer).await.json();
        seen.extend(page["notifications"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // What comes meanwhile moves nothing.
        hall.notification(&format!("later-{pages}"), "+34600111222").await;
    }
    assert_eq!((seen, pages), (all, 3));
}

#[tokio::test]
async fn who_sends_a_body_slowly_keeps_nobody_else_waiting() {
    let hall = Hall::open().await;
    let viewer = format!("Bearer {}", hall.key(Role::Viewer).await);
    let operator = hall.key(Role::Operator).await;
    let headers = [("Authorization", viewer.as_str()), ("Content-Type", "application/json")];
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(hall.begin_post("/v1/holds", &headers, 1_000).await);
        slow.push(hall.begin_post("/v1/plans", &[headers[0], headers[1], ("Idempotency-Key", "a")], 1_000).await);
    }
    for _ in 0..20 {
        assert_eq!(hall.read("/v1/holds", &operator).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn who_may_not_see_people_learns_no_number_from_an_id() {
    let hall = Hall::open().await;
    let id = hall.notification("order-1", "+34600111222").await;
    hall.attempt(id, "accepted", None).await;
    for table in ["attempts", "notifications"] {
        hall.sql(&format!("update {table} set message_id = 'wamid.HBgLMzQ2MDAxMTEyMjIVAgARGBIzODg4AA=='")).await;
    }
    let (viewer, operator) = (hall.key(Role::Viewer).await, hall.key(Role::Operator).await);
    for path in ["/v1/notifications".to_owned(), format!("/v1/notifications/{id}")] {
        let seen = hall.read(&path, &viewer).await.text();
        assert!(seen.contains("wamid.…") && !seen.contains("wamid.HB"), "{path}: {seen}");
        assert!(hall.read(&path, &operator).await.text().contains("wamid.HB"), "{path}");
    }
}

#[tokio::test]
async fn a_list_keeps_what_was_asked_for() {
    let hall = Hall::open().await;
    let first = hall.notification("order-1", "+34600111222").await;
    let second = hall.notification("order-2", "+34600333444").await;
    hall.attempt(second, "rejected", None).await;
    let operator = hall.key(Role::Operator).await;
    let list = async |query: &str| {
        let answer = hall.read(&format!("/v1/notifications?{query}"), &operator).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text());
        let ids =
            answer.json()["notifications"].as_array().unwrap().iter().map(|n| n["id"].clone()).collect::<Vec<_>>();
        ids.iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect::<Vec<uuid::Uuid>>()
    };
    assert_eq!(list("").await, [second, first]);
    assert_eq!(list("state=pending").await, [first]);
    assert_eq!(list("state=failed&reason=undeliverable").await, [second]);
    assert_eq!(list("reason=expired").await, NONE);
    for order in ["order-1", "subject-of-order-1", "key-of-order-1"] {
        assert_eq!(list(&format!("order={order}")).await, [first]);
    }
    assert_eq!(list("phone=%2B34600333444").await, [second]);
    assert_eq!(list("phone=+34600333444").await, [second], "a plus that was not escaped");
    assert_eq!(list("phone=%2B34600333444&order=order-1").await, NONE);
    assert_eq!(list("template=order_confirmed&limit=1").await, [second]);
    assert_eq!(list("template=other").await, NONE);
    assert_eq!(list("since=2020-01-01T00:00:00Z").await, [second, first]);
    assert_eq!(list("since=2099-01-01T00:00:00Z").await, NONE);
    for wrong in [
        "state=lost",
        "limit=0",
        "limit=201",
        "limit=x",
        "since=yesterday",
        "cursor=1",
        "order=",
        "until=%20",
        "colour=red",
    ] {
        let answer = hall.read(&format!("/v1/notifications?{wrong}"), &operator).await;
        assert_problem(&answer, StatusCode::BAD_REQUEST);
    }
    // In the form that is described, and it cannot be.
    for unfit in ["phone=12", "order=%2B34600111222", "since=2026-11-22T20:00:00Z&until=2026-11-22T19:00:00Z"] {
        let answer = hall.read(&format!("/v1/notifications?{unfit}"), &operator).await;
        assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn rejected_events_are_listed_without_their_bytes() {
    let hall = Hall::open().await;
    let viewer = hall.key(Role::Viewer).await;
    assert_problem(&hall.get("/v1/rejected-events").await, StatusCode::UNAUTHORIZED);
    assert_eq!(hall.read("/v1/rejected-events", &viewer).await.json(), json!({"rejected_events": [], "next": null}));
    hall.rejected(1, "bad_phone", "{\"phone\": \"+34600111222\"}").await;
    hall.rejected(2, "invalid_json", "no").await;
    hall.rejected(3, "bad_phone", "over").await;
    hall.sql("update rejected_events set replayed_at = now(), replay = 'accepted' where size = 4").await;
    let list = async |query: &str| {
        let answer = hall.read(&format!("/v1/rejected-events?{query}"), &viewer).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text());
        assert!(!answer.text().contains("600111222"));
        let page = answer.json();
        let reasons =
            page["rejected_events"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap().to_owned());
        (reasons.collect::<Vec<_>>(), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").await, (vec!["invalid_json".to_owned(), "bad_phone".to_owned()], None));
    assert_eq!(list("reason=bad_phone").await.0.len(), 1);
    assert_eq!(list("reason=bad_phone&replayed=true").await.0.len(), 2);
    let (first, next) = list("limit=1").await;
    assert_eq!(first, ["invalid_json"]);
    assert_eq!(list(&format!("limit=1&cursor={}", next.unwrap())).await, (vec!["bad_phone".to_owned()], None));
    for wrong in ["limit=0", "limit=x", "cursor=1", "replayed=perhaps", "colour=red"] {
        assert_problem(&hall.read(&format!("/v1/rejected-events?{wrong}"), &viewer).await, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn prometheus_is_told_at_a_door_of_its_own() {
    let hall = Hall::open().await;
    hall.webhook("main", BODY, &[]).await;
    let figures = hall.metrics().await;
    assert!(figures.contains("recado_webhooks_total{sender=\"main\",answer=\"bad_signature\"}"), "{figures}");
    assert_problem(&hall.get("/metrics").await, StatusCode::NOT_FOUND);
    assert_eq!(hall.get_inside("/healthz").await.status, StatusCode::OK);
    assert_eq!(hall.get_inside("/readyz").await.json(), hall.get("/readyz").await.json());
    for outside in ["/v1/notifications", "/webhooks/main"] {
        assert_problem(&hall.get_inside(outside).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_viewer_sees_how_the_senders_stand() {
    let hall = Hall::open().await;
    let viewer = hall.key(Role::Viewer).await;
    hall.sql(
        "insert into sender_health (sender, asked_at, answered_at, status, quality, can_send, tier, throughput)
         select id, now(), now(), 'FLAGGED', 'RED', 'AVAILABLE', 'TIER_2K', 'STANDARD' from senders where name = 'main';
         insert into holds (scope, sender, reason, placed_by) select 'sender', id, 'operator', 'ana' from senders where name = 'main'",
    )
    .await;
    let told = hall.read("/v1/senders", &viewer).await.json();
    let main = &told["senders"][0];
    assert_eq!((&main["sender"], &main["able"], &main["status"]), (&json!("main"), &json!(true), &json!("FLAGGED")));
    assert_eq!((&main["people_a_day"], &main["per_second"]), (&json!(2_000), &json!(80)));
    assert_eq!((&main["held"], &main["worries"].as_array().unwrap().len()), (&json!(["operator"]), &1));
    let second = &told["senders"][1];
    assert_eq!((&second["sender"], &second["able"], &second["held"]), (&json!("second"), &json!(null), &json!([])));
    assert_problem(&hall.read("/v1/senders", "nobody").await, StatusCode::UNAUTHORIZED);
}
