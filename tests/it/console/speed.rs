//! How fast everything answers that operators look at, among five million notifications; and that the claim is none the slower.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use recado::{
    clock::Clock,
    db::{
        dispatch::{Terms, claim},
        keys::Role,
    },
};

use super::{
    many::{Amounts, MANY, fill},
    visit::Visit,
};
use crate::{doors::hall::Hall, house::PACE};

/// As much that is open as among the many, and nothing else.
const OPEN: Amounts = Amounts { notifications: 40_000, ..MANY };

const CALLS: usize = 50;
const LONGEST: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, and wants a machine for itself; `make soak`"]
async fn everything_answers_at_once_among_five_million_notifications() {
    let few = Hall::open().await;
    fill(&few.pools.ops, OPEN).await;
    let alone = median_claim(&few).await;
    drop(few);

    let hall = Hall::open().await;
    fill(&hall.pools.ops, MANY).await;
    let mut slow = Vec::new();
    let key = hall.key(Role::Operator).await;
    let mut visit = Visit::of(&hall, "ana", Role::Admin).await;
    let api = asked(&hall).await;
    // Every list of the API has its page, and there are more.
    let mut pages: Vec<String> =
        ["now", "now/table", "doubt", "rejected", "audit"].map(|page| format!("/console/{page}")).into();
    pages.extend(
        api.iter()
            .filter_map(|path| Some(format!("/console/notifications{}", path.strip_prefix("/v1/notifications")?))),
    );
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
    let among_many = median_claim(&hall).await;
    println!("a claim of 50 takes {alone:?} of 40,000 notifications, {among_many:?} of 5,000,000");
    assert!(slow.is_empty(), "slower than {LONGEST:?}: {slow:?}");
    assert!(among_many <= alone.mul_f64(1.3), "a claim takes {alone:?} of few, {among_many:?} of many");
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
    all.push("/v1/costs?by=template".to_owned());
    all
}

/// How long a claim of 50 takes; the middle one of sixty.
async fn median_claim(hall: &Hall) -> Duration {
    let mut due_from = [Timestamp::UNIX_EPOCH; 2];
    let mut took = Vec::new();
    for _ in 0..60 {
        let terms = Terms {
            sender: 1,
            permits: 50,
            scan: 50,
            due_from,
            lease: Duration::from_secs(30),
            pace: PACE,
            only_to: None,
            day_full: false,
            budget_spent: None,
            content_ids: false,
        };
        let began = Instant::now();
        let claimed = claim(&hall.pools.dispatch, &terms).await.unwrap();
        took.push(began.elapsed());
        assert!(!claimed.go.is_empty());
        // As the dispatcher does it.
        for (from, first) in due_from.iter_mut().zip(claimed.first_due) {
            if let Some(first) = first {
                *from = first - SignedDuration::from_millis(100);
            }
        }
    }
    took.sort();
    took[took.len() / 2]
}
