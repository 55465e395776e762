//! How fast everything answers that operators look at, among five million notifications; and that the claim is none the slower.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use recado::{clock::Clock, db::keys::Role};

use super::{
    many::{Amounts, MANY, fill},
    visit::Visit,
};
use crate::{claim::claims_of_50, doors::hall::Hall};

/// As much that is open as among the many, and nothing else.
const OPEN: Amounts = Amounts { notifications: 40_000, ..MANY };

const CALLS: usize = 50;
/// Each is reckoned to its end.
const PLANS: usize = 20;
const LONGEST: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, and wants a machine for itself; `make soak`"]
async fn everything_answers_at_once_among_five_million_notifications() {
    let few = Hall::open().await;
    fill(&few.pools.ops, OPEN).await;
    let hall = Hall::open().await;
    fill(&hall.pools.ops, MANY).await;
    let mut slow = Vec::new();
    let key = hall.key(Role::Admin).await;
    let mut visit = Visit::of(&hall, "ana", Role::Admin).await;
    let api = asked(&hall).await;
    let pages = pages(&hall, &api).await;
    for path in api.into_iter().chain(pages) {
        let mut took = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let began = Instant::now();
            let status = if path.starts_with("/console") {
                visit.get(&path).await.status
            } else {
                hall.read(&path, &key).await.status
            };
            took.push(began.elapsed());
            assert_eq!(status, 200, "{path}");
        }
        took.sort();
        let (middle, p95) = (took[CALLS / 2], took[CALLS * 95 / 100]);
        println!("{middle:>10.1?} {p95:>10.1?}  {path}");
        if p95 > LONGEST {
            slow.push((path, p95));
        }
    }
    for (action, of) in planned() {
        let wish = serde_json::json!({"action": action, (if of.get("scope").is_some() { "on" } else { "search" }): of});
        let mut took = Vec::with_capacity(PLANS);
        for _ in 0..PLANS {
            let began = Instant::now();
            let made = hall.post("/v1/plans", &key, &wish).await;
            took.push(began.elapsed());
            assert_eq!(made.status, 201, "{wish}");
            hall.reckoned().await;
        }
        let made =
            hall.ask("select concat_ws(' ', state, found, why) from plans order by id desc limit 1").await.unwrap();
        took.sort();
        let (middle, p95) = (took[PLANS / 2], took[PLANS * 95 / 100]);
        println!("{middle:>10.1?} {p95:>10.1?}  POST /v1/plans {wish}: {made}");
        if p95 > LONGEST {
            slow.push((format!("POST /v1/plans {wish}"), p95));
        }
        // More than a million are accepted.
        assert_eq!(made.ends_with("too_many"), wish["search"]["state"] == "accepted", "{wish}: {made}");
    }
    let (alone, among_many) = claims_in_turn(&few, &hall).await;
    println!("a claim of 50 takes {alone:?} of 40,000 notifications, {among_many:?} of 5,000,000");
    assert!(slow.is_empty(), "slower than {LONGEST:?}: {slow:?}");
    assert!(among_many <= alone.mul_f64(1.3), "a claim takes {alone:?} of few, {among_many:?} of many");
}

/// Plans that find little, much, and too much.
fn planned() -> Vec<(&'static str, serde_json::Value)> {
    use serde_json::json;
    vec![
        ("retry", json!({"state": "failed", "reason": "undeliverable"})),
        ("resend", json!({"state": "failed"})),
        ("cancel", json!({"state": "pending"})),
        ("give_up", json!({"state": "in_doubt"})),
        ("cancel", json!({"phone": "+34600200001"})),
        ("cancel", json!({"order": "order:777777"})),
        ("cancel", json!({"state": "accepted"})),
        ("replay", json!({})),
        ("hold", json!({"scope": "everything"})),
        ("release", json!({"scope": "sender", "sender": "main"})),
    ]
}

/// Every list of the API, by everything that can be asked for.
async fn asked(hall: &Hall) -> Vec<String> {
    let one =
        hall.ask("select id::text from notifications where state = 'failed' order by id desc limit 1").await.unwrap();
    let old = hall.ask("select id::text from notifications order by id offset 100000 limit 1").await.unwrap();
    let ago = |days: i64| Clock::system().now() - SignedDuration::from_hours(24 * days);
    let (since, until) = (ago(20), ago(10));
    let mut all: Vec<String> =
        ["notifications", "rejected-events", "senders", "holds", "costs"].map(|list| format!("/v1/{list}")).into();
    let lists = [
        "state=pending".to_owned(),
        "state=sending".to_owned(),
        "state=in_doubt".to_owned(),
        "state=accepted".to_owned(),
        "state=failed".to_owned(),
        "state=suppressed".to_owned(),
        "waiting_on=consent".to_owned(),
        "receipt=read".to_owned(),
        "receipt=none&template=refund_issued".to_owned(),
        "reason=undeliverable".to_owned(),
        "reason=text_too_late".to_owned(),
        "reason=no_such_reason".to_owned(),
        "template=order_confirmed".to_owned(),
        "template=refund_issued".to_owned(),
        "template=no_such_template".to_owned(),
        "sender=second".to_owned(),
        "sender=second&template=refund_issued&state=accepted".to_owned(),
        "sender=second&template=refund_issued&reason=expired".to_owned(),
        format!("since={since}&until={until}"),
        format!("since={since}&until={until}&state=failed"),
        format!("since={since}&until={until}&template=refund_issued"),
        format!("cursor={old}"),
        format!("cursor={old}&state=suppressed"),
        "order=order:777777".to_owned(),
        "order=evt-1000000".to_owned(),
        "phone=%2B34600000777".to_owned(),
        // Of that person there are twenty thousand.
        "phone=%2B34600200001".to_owned(),
        "phone=%2B34600200001&state=failed".to_owned(),
    ];
    all.extend(lists.map(|query| format!("/v1/notifications?{query}")));
    all.push(format!("/v1/notifications/{one}"));
    all.push("/v1/rejected-events?reason=no_phone".to_owned());
    all.extend(["costs?by=template", "plans", "audit"].map(|list| format!("/v1/{list}")));
    all
}

/// Every page: those of the API's lists and stories, and what there is besides.
async fn pages(hall: &Hall, api: &[String]) -> Vec<String> {
    let rejected = hall.ask("select id::text from rejected_events order by id desc limit 1").await.unwrap();
    let mut all: Vec<String> = [
        "now",
        "now/table?span=hour",
        "now/table?span=day",
        "doubt",
        "rejected",
        "rejected?replayed=yes",
        "senders",
        "audit",
        "account",
        "plans",
        "plans/new?action=retry&state=failed",
        "templates",
        "templates/order_confirmed",
        "users",
        "keys",
    ]
    .map(|page| format!("/console/{page}"))
    .into();
    all.push(format!("/console/rejected/{rejected}"));
    all.push("/console/rejected?reason=no_phone".to_owned());
    // Nothing has this name: events and what was rejected are looked through as well.
    all.push("/console/notifications?order=no-such-order".to_owned());
    all.extend(
        api.iter()
            .filter_map(|path| Some(format!("/console/notifications{}", path.strip_prefix("/v1/notifications")?))),
    );
    all
}

/// How long a claim of 50 takes here and there: the middle one of sixty, of three rounds in turn.
async fn claims_in_turn(few: &Hall, many: &Hall) -> (Duration, Duration) {
    // What was just written for the tests is on the disk before: who reads a page may have to write another one out.
    sqlx::query("checkpoint").execute(&many.pools.ops).await.expect("a checkpoint, which a superuser may ask for");
    let mut took = [few, many].map(|hall| (hall, Vec::new()));
    for round in 0..4 {
        for (hall, took) in &mut took {
            let (middle, fewest) = claims_of_50(&hall.pools.dispatch, 1).await;
            assert!(fewest > 0);
            // The first one fetches what is needed.
            if round > 0 {
                took.push(middle);
            }
        }
    }
    let [alone, among_many] = took.map(|(_, mut took)| {
        took.sort();
        took[took.len() / 2]
    });
    (alone, among_many)
}
