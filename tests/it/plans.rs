//! Acting on everything that a search finds: planned first, then done piece by piece, to each once.

use std::{collections::BTreeMap, sync::Arc};

use recado::clock::Clock;
use recado::db::{
    keys::Role,
    plans::{self, Acted, Made, Means, PIECE, Wish},
};
use recado::domain::{
    action::{Action, Course, Failure, Skip},
    search::Search,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    doors::hall::Hall,
    harness::{Fleet, PATIENCE, event, order, until},
    why::recado,
};

/// So many people's messages failed at the provider, one each; their ids.
pub async fn failed(pool: &PgPool, people: i32) -> Vec<Uuid> {
    sqlx::query_scalar(
        "with person as (
           insert into contacts (phone, consents, entries)
           select '+346' || (10000000 + (select count(*) from contacts) + i), '{\"orders\": {\"state\": \"granted\", \"entry\": 1}}', 1
           from generate_series(1, $1) i returning id
         )
         insert into notifications (id, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language, expires_at,
           grace_until, consent_until, doubt, filled, state, reason, ended_at, attempt, consent_entry)
         select uuid_v7(now()), 'shop', 'evt-' || p.id, now(), s.id, 1, p.id, 'orders', 'order_confirmed', 'es', now() + interval '1 hour',
           now(), now(), 'resend_once', '{}', 'failed', 'undeliverable', now(), 1, 1
         from person p, senders s where s.name = 'main' returning id",
    )
    .bind(people)
    .fetch_all(pool)
    .await
    .unwrap()
}

/// To reckon by: nothing has a price, and rejected events are rejected for ever.
pub fn means(clock: &Clock) -> Means {
    Means { prices: Arc::default(), read: Arc::new(|_| Err(Skip::RejectedAgain)), clock: clock.clone() }
}

/// An order as the templates that are shipped want it.
pub fn paid_order(id: &str, who: usize) -> Value {
    let customer = json!({"phone": format!("+3460000000{who}"), "name": "Ana"});
    let order = json!({"number": id, "total": {"amount": "12.00", "currency": "EUR"}});
    event("order.confirmed", id, json!({"customer": customer, "order": order}))
}

/// Steps through a plan that runs, as the service does.
pub async fn finish(pool: &PgPool, id: i64) {
    while !matches!(plans::act(pool, id).await.unwrap(), Acted::Over { .. } | Acted::NotRunning) {}
}

/// How many notifications got how many orders to be tried again.
async fn orders(pool: &PgPool) -> BTreeMap<i64, i64> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "select times, count(*) from (select count(*) as times from timeline where what in ('retry_ordered', 'resend_ordered') group by notification_id) t
         group by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().collect()
}

async fn made(hall: &Hall, key: &str, wish: Value) -> Value {
    let answer = hall.post("/v1/plans", key, &wish).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let plan = answer.json();
    let address = format!("/v1/plans/{}", plan["id"]);
    assert_eq!(answer.header("location").unwrap(), address);
    hall.reckoned().await;
    hall.read(&address, key).await.json()
}

async fn run(hall: &Hall, key: &str, plan: &Value) -> StatusCode {
    let address = format!("/v1/plans/{}/run", plan["id"]);
    hall.post(&address, key, &json!({"reason": "the outage is over"})).await.status
}

#[tokio::test]
async fn all_that_a_search_finds_is_tried_again_once_and_nothing_else() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    failed(&hall.pools.ops, 520).await;
    // Of these the outcome was never learnt; those may be had already.
    hall.sql("update notifications set reason = 'unknown' where id in (select id from notifications limit 20)").await;
    let plan =
        made(&hall, &key, json!({"action": "retry", "search": {"state": "failed", "template": "order_confirmed"}}))
            .await;
    let estimate = &plan["estimate"];
    assert_eq!(
        (estimate["found"].as_i64(), estimate["acts"].as_i64(), estimate["goes"].as_i64()),
        (Some(520), Some(500), Some(500))
    );
    assert_eq!(estimate["skipped"], json!({"may_have_arrived": 20}));
    assert_eq!(plan["state"], "planned");
    // What fails later is another plan's.
    failed(&hall.pools.ops, 5).await;
    let id = plan["id"].as_i64().unwrap();
    assert_eq!(
        plans::act(&hall.pools.ops, id).await.unwrap(),
        Acted::NotRunning,
        "nothing is done to a plan that nobody runs"
    );
    assert_eq!(run(&hall, &key, &plan).await, StatusCode::ACCEPTED);
    assert_eq!(run(&hall, &key, &plan).await, StatusCode::CONFLICT);
    // Two processes at once.
    tokio::join!(finish(&hall.pools.ops, id), finish(&hall.pools.ops, id));
    finish(&hall.pools.ops, id).await;
    let done = hall.read(&format!("/v1/plans/{id}"), &key).await.json();
    assert_eq!(
        (&done["state"], &done["progress"]),
        (&json!("done"), &json!({"done": 500, "skipped": {"may_have_arrived": 20}, "duplicates": 0, "left": 0}))
    );
    assert_eq!((&done["reason"], &done["begun_by"]), (&json!("the outage is over"), &json!("key operator")));
    assert_eq!(orders(&hall.pools.ops).await, BTreeMap::from([(1, 500)]));
    let states = "select string_agg(s, ', ' order by s) from (select state || coalesce(' ' || reason, '') || ' ' || count(*) as s from notifications group by state, reason) x";
    assert_eq!(hall.ask(states).await.unwrap(), "failed undeliverable 5, failed unknown 20, pending 500");
    let trail = hall
        .ask("select string_agg(what || ' by ' || by, ', ' order by id) from audit where what like 'plan.%'")
        .await
        .unwrap();
    assert_eq!(trail, "plan.made by key operator, plan.begun by key operator, plan.ended by recado");
}

#[tokio::test]
async fn an_estimate_tells_whom_it_would_reach_twice_too_late_or_against_their_will() {
    let hall = Hall::open().await;
    let (operator, admin) = (hall.key(Role::Operator).await, hall.key(Role::Admin).await);
    let ids = failed(&hall.pools.ops, 10).await;
    let change = async |at: usize, what: &str| {
        hall.sql(&format!("update notifications set {what} where id = '{}'", ids[at])).await;
    };
    change(0, "state = 'in_doubt', reason = null, ended_at = null, doubt_since = now()").await;
    change(1, "reason = 'unknown'").await;
    change(2, "journey = 'order', journey_key = 'k', stage = 1").await;
    hall.sql(
        "insert into inbox (source, id, body_hash, type, time, journey, journey_key, stage, ignored)
         values ('shop', 'later', '', 'order.delivered', now() + interval '1 s', 'order', 'k', 2, 'no_template')",
    )
    .await;
    hall.sql(&format!(
        "update contacts set consents = '{{}}' where id = (select contact_id from notifications where id = '{}')",
        ids[3]
    ))
    .await;
    change(4, "expires_at = now() - interval '1 s'").await;
    change(5, "filled = null").await;
    change(6, "state = 'accepted', reason = null, ended_at = null, message_id = 'wamid.6'").await;
    change(7, "state = 'pending', reason = null, ended_at = null, due_at = now()").await;
    let search = json!({"sender": "main"});
    let estimate = async |action: &str| {
        let plan = made(&hall, &operator, json!({"action": action, "search": search})).await;
        let of = &plan["estimate"];
        let number = |name: &str| of[name].as_u64().unwrap();
        let counted = (number("acts"), number("goes"), number("duplicates"), number("stale"), number("no_consent"));
        (counted, of["skipped"].clone())
    };
    let skipped = json!({"accepted": 1, "expired": 1, "not_kept": 1, "on_its_way": 1});
    assert_eq!(estimate("resend").await, ((6, 4, 2, 1, 1), skipped));
    let skipped = json!({"accepted": 1, "expired": 1, "may_have_arrived": 2, "not_kept": 1, "on_its_way": 1});
    assert_eq!(estimate("retry").await, ((4, 2, 0, 1, 1), skipped));
    assert_eq!(estimate("cancel").await, ((2, 0, 0, 0, 0), json!({"accepted": 1, "ended": 7})));
    assert_eq!(estimate("give_up").await, ((1, 0, 0, 0, 0), json!({"accepted": 1, "ended": 7, "not_in_doubt": 1})));

    // Many duplicates are for an administrator.
    failed(&hall.pools.ops, 101).await;
    hall.sql("update notifications set reason = 'unknown' where state = 'failed'").await;
    let plan = made(&hall, &operator, json!({"action": "resend", "search": {"reason": "unknown"}})).await;
    assert_eq!(plan["estimate"]["needs_admin"], true);
    assert_eq!(run(&hall, &operator, &plan).await, StatusCode::FORBIDDEN);
    assert_eq!(run(&hall, &admin, &plan).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_plan_is_stopped_between_two_pieces_and_gone_on_with() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    failed(&hall.pools.ops, 500).await;
    let plan = made(&hall, &key, json!({"action": "retry", "search": {"state": "failed"}})).await;
    let (id, address) = (plan["id"].as_i64().unwrap(), format!("/v1/plans/{}", plan["id"]));
    let stop = async || hall.send(Method::POST, &format!("{address}/stop"), &key, None).await;
    assert_eq!(stop().await.status, StatusCode::CONFLICT, "it has not been begun");
    run(&hall, &key, &plan).await;
    assert_eq!(plans::act(&hall.pools.ops, id).await.unwrap(), Acted::Piece { done: PIECE.unsigned_abs() });
    let stopped = stop().await.json();
    assert_eq!(
        (&stopped["state"], &stopped["progress"]),
        (&json!("stopped"), &json!({"done": 200, "skipped": {}, "duplicates": 0, "left": 300}))
    );
    assert_eq!(plans::act(&hall.pools.ops, id).await.unwrap(), Acted::NotRunning);
    assert_eq!(orders(&hall.pools.ops).await, BTreeMap::from([(1, 200)]));
    assert_eq!(run(&hall, &key, &plan).await, StatusCode::ACCEPTED);
    finish(&hall.pools.ops, id).await;
    assert_eq!(orders(&hall.pools.ops).await, BTreeMap::from([(1, 500)]));
    assert_eq!(hall.read(&address, &key).await.json()["progress"]["done"], 500);

    // Numbers that are an hour old are no ground to act on.
    let old = made(&hall, &key, json!({"action": "cancel", "search": {"state": "pending"}})).await;
    hall.sql("update plans set made_at = now() - interval '61 min' where state = 'planned'").await;
    assert_eq!(run(&hall, &key, &old).await, StatusCode::CONFLICT);
    assert_eq!(hall.read(&format!("/v1/plans/{}", old["id"]), &key).await.json()["out_of_date"], true);
}

#[tokio::test]
async fn what_somebody_has_in_hand_is_come_back_to() {
    let hall = Hall::open().await;
    let ids = failed(&hall.pools.ops, 3).await;
    let key = hall.key(Role::Operator).await;
    let plan = made(&hall, &key, json!({"action": "retry", "search": {"state": "failed"}})).await;
    run(&hall, &key, &plan).await;
    let id = plan["id"].as_i64().unwrap();
    let mut other = hall.pools.dispatch.begin().await.unwrap();
    sqlx::query("select from notifications where id = $1 for update").bind(ids[1]).execute(&mut *other).await.unwrap();
    assert_eq!(plans::act(&hall.pools.ops, id).await.unwrap(), Acted::Piece { done: 2 });
    assert_eq!(plans::act(&hall.pools.ops, id).await.unwrap(), Acted::Busy);
    other.rollback().await.unwrap();
    hall.sql(&format!("delete from notifications where id = '{}'", ids[1])).await;
    finish(&hall.pools.ops, id).await;
    let done = hall.read(&format!("/v1/plans/{id}"), &key).await.json();
    assert_eq!(done["progress"], json!({"done": 2, "skipped": {"gone": 1}, "duplicates": 0, "left": 0}));
}

#[tokio::test]
async fn a_viewer_looks_on_and_nonsense_is_answered_with_its_cure() {
    let hall = Hall::open().await;
    let (viewer, operator) = (hall.key(Role::Viewer).await, hall.key(Role::Operator).await);
    hall.notification("evt-1", "+34600111222").await;
    let wish = json!({"action": "cancel", "search": {"phone": "+34600111222"}});
    assert_eq!(hall.post("/v1/plans", &viewer, &wish).await.status, StatusCode::FORBIDDEN);
    let plan = made(&hall, &operator, wish).await;
    assert_eq!((&plan["search"], &plan["estimate"]["acts"]), (&json!({"phone": "+34…22"}), &json!(1)));
    assert!(!hall.ask("select string_agg(detail::text, '') from audit").await.unwrap().contains("34"));
    for path in ["run", "stop"] {
        let answer = hall.post(&format!("/v1/plans/{}/{path}", plan["id"]), &viewer, &json!({"reason": "x"})).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(hall.read("/v1/plans", &viewer).await.json()["plans"].as_array().unwrap().len(), 1);
    let (bad, unfit) = (StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY);
    for (wish, status, cure) in [
        (json!({"action": "retry"}), unfit, "search"),
        (json!({"action": "retry", "search": {"stat": "failed"}}), unfit, "search has the keys"),
        (json!({"action": "retry", "search": {"state": "lost"}}), bad, "state is one of"),
        (json!({"action": "retry", "search": {"order": "+34600111222"}}), unfit, "order is no phone number"),
        (json!({"action": "retry", "search": {"order": "34600111222"}}), unfit, "order finds nothing and reads like"),
        (
            json!({"action": "retry", "search": {"order": "34 600-111-222"}}),
            unfit,
            "order finds nothing and reads like",
        ),
        (json!({"action": "retry", "search": {"order": "(600) 111.222"}}), unfit, "order finds nothing and reads like"),
        (json!({"action": "retry", "search": {"template": "0034 600 111 222"}}), unfit, "template is no phone number"),
        (json!({"action": "retry", "search": {"reason": "34600111222"}}), unfit, "reason is no phone number"),
        (
            json!({"action": "hold", "on": {"scope": "template", "sender": "main", "template": "34 600 111 222"}}),
            unfit,
            "template is no phone number",
        ),
        (json!({"action": "retry", "search": {"id": "34600111222"}}), bad, "id is the id of"),
        (json!({"action": "explode", "search": {"state": "failed"}}), bad, "A plan has action"),
        (json!({"action": "hold", "search": {"scope": "everything"}}), unfit, "hold and release have on"),
        (json!({"action": "hold", "on": {"scope": "sender"}}), unfit, "sender is missing"),
        (json!({"action": "replay", "search": {"template": "x"}}), unfit, "template says nothing"),
        (json!({"action": "replay", "search": {"state": "failed"}}), unfit, "state says nothing"),
    ] {
        let answer = hall.post("/v1/plans", &operator, &wish).await;
        assert_eq!(answer.status, status, "{wish}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(cure), "{}", answer.text());
    }
    let hold = json!({"scope": "sender", "sender": "main\0", "reason": "in form, and no text that is kept"});
    assert_eq!(hall.post("/v1/holds", &operator, &hold).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let nobody = json!({"action": "retry", "search": {"sender": "nobody"}});
    assert_eq!(hall.post("/v1/plans", &operator, &nobody).await.status, StatusCode::NOT_FOUND);
    assert_eq!(hall.read("/v1/plans/77", &operator).await.status, StatusCode::NOT_FOUND);
    assert_eq!(hall.ask("select string_agg(detail::text, '') from audit").await.unwrap().matches("34").count(), 0);
    let kept = hall.ask("select string_agg(search::text, ' ') from plans").await.unwrap();
    assert_eq!(kept, r#"{"phone": "+34…22"}"#, "what is refused is not kept either");
    let silent = hall.post(&format!("/v1/plans/{}/run", plan["id"]), &operator, &json!({"reason": " "})).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_hold_is_a_plan_of_one_step() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    hall.notification("evt-1", "+34600111222").await;
    let on = json!({"scope": "template", "sender": "main", "template": "order_confirmed"});
    let mut wish = json!({"action": "hold", "on": on});
    wish["on"]["for"] = json!("2h");
    let plan = made(&hall, &key, wish).await;
    assert_eq!((&plan["estimate"]["waiting"], &plan["estimate"]["holds"]), (&json!(1), &json!(0)));
    run(&hall, &key, &plan).await;
    assert_eq!(plans::switch(&hall.pools.ops, plan["id"].as_i64().unwrap()).await.unwrap(), Acted::Over { done: 1 });
    let held = hall
        .ask(
            "select concat_ws(' ', template, reason, detail, placed_by, until > now() + interval '119 min') from holds",
        )
        .await;
    assert_eq!(held.unwrap(), "order_confirmed operator the outage is over key operator t");
    let plan = made(&hall, &key, json!({"action": "release", "on": on})).await;
    assert_eq!(plan["estimate"]["holds"], 1);
    run(&hall, &key, &plan).await;
    plans::switch(&hall.pools.ops, plan["id"].as_i64().unwrap()).await.unwrap();
    assert_eq!(hall.ask("select released_by from holds").await.unwrap(), "key operator");
}

#[tokio::test]
async fn the_command_line_shows_what_it_would_come_to_before_anything_is_done() {
    let hall = Hall::open().await;
    failed(&hall.pools.ops, 7).await;
    hall.sql("update notifications set reason = 'unknown' where id in (select id from notifications limit 2)").await;
    let search = ["plans", "new", "retry", "--state", "failed", "--since", "2020-01-01T00:00:00Z"];
    let new = recado(&hall, &search);
    assert_eq!(new.code, 0, "{}", new.stderr);
    for part in [
        "of these it is done to",
        "may go",
        "5 without a price",
        "may have arrived",
        "Nothing is done yet",
        "recado plans run 1",
    ] {
        assert!(new.stdout.contains(part), "{part}: {}", new.stdout);
    }
    let silent = recado(&hall, &[&search[..], &["--run", "--because", "x"]].concat());
    assert!(silent.code == 1 && silent.stderr.contains("--yes"), "{}", silent.stderr);
    assert_eq!(recado(&hall, &[&search[..], &["--run", "--yes"]].concat()).code, 2, "no reason, no run");
    let wrong = recado(&hall, &["plans", "new", "retry", "--waiting-on", "godot"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("--waiting-on is one of"), "{}", wrong.stderr);
    let begun = recado(&hall, &["plans", "run", "1", "--because", "the outage is over", "--detach"]);
    assert_eq!(begun.code, 0, "{}", begun.stderr);
    finish(&hall.pools.ops, 1).await;
    let shown = recado(&hall, &["plans", "show", "1"]);
    assert!(
        shown.stdout.contains("done: 5 of 7, 2 left as they were") && shown.stdout.contains("the outage is over"),
        "{}",
        shown.stdout
    );
    let listed = recado(&hall, &["plans", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&json!(1), &json!("done")));
    let over = recado(&hall, &["plans", "stop", "1"]);
    assert!(over.code == 1 && over.stderr.contains("It is done already"), "{}", over.stderr);
    let id = hall.ask("select id::text from notifications where reason = 'unknown' limit 1").await.unwrap();
    assert_eq!(recado(&hall, &["retry", &id, "--resend", "--because", "a test"]).code, 0);
    let trail = format!("select string_agg(what, ' ') from audit where \"on\" = '{id}'");
    assert_eq!(hall.ask(&trail).await.unwrap(), "notification.resent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_goes_on_where_a_killed_process_left_it() {
    Fleet::run(
        "plans",
        |_| {},
        async |fleet| {
            failed(&fleet.pool, 500).await;
            let retry = begin(&fleet.pool, Action::Retry, &[("state", "failed")]).await;
            // Dies with two pieces done and the third in hand.
            let no = fleet.spawn_as(&["--roles", "upkeep"], &[("RECADO_CRASH", "acted:3")]);
            fleet.ended(no, PATIENCE).await.expect("it dies");
            let plan = plans::one(&fleet.pool, retry).await.unwrap().unwrap();
            assert_eq!((plan.course.clone(), plan.done, plan.left()), (Course::Running, 400, 100));
            assert_eq!(orders(&fleet.pool).await, BTreeMap::from([(1, 400)]));

            // Rejected events too: one is run as the process dies, and is known when it is run again.
            let body = |n: usize| order(&format!("again-{n}"), n).to_string();
            let bodies: Vec<String> = (0..3).map(body).chain(["no event".to_owned()]).collect();
            for body in &bodies {
                let reject = "insert into rejected_events (id, reason, detail, exchange, routing_key, headers, content_type, size, body_hash, body, whole)
                     values (uuid_v7(now()), 'no_route', 'x', 'shop', 'order.confirmed', '{}', 'application/cloudevents+json', 1, sha256($1), $1, true)";
                sqlx::query(reject).bind(body.as_bytes()).execute(&fleet.pool).await.unwrap();
            }
            let replay = begin(&fleet.pool, Action::Replay, &[("reason", "no_route")]).await;
            let no = fleet.spawn_as(&["--roles", "upkeep"], &[("RECADO_CRASH", "replayed:2")]);
            fleet.ended(no, PATIENCE).await.expect("it dies");
            let plan = plans::one(&fleet.pool, retry).await.unwrap().unwrap();
            assert_eq!((plan.course, plan.done, plan.skipped.len()), (Course::Done, 500, 0));
            assert_eq!(orders(&fleet.pool).await, BTreeMap::from([(1, 500)]));

            // The dead one's lease runs out by itself; so long need nobody wait here.
            sqlx::query("delete from leases where name = 'plans'").execute(&fleet.pool).await.unwrap();
            let no = fleet.spawn_as(&["--roles", "upkeep"], &[]);
            let pool = fleet.pool.clone();
            until("the events were run", PATIENCE, async || {
                plans::one(&pool, replay).await.unwrap().unwrap().course == Course::Done
            })
            .await;
            let plan = plans::one(&fleet.pool, replay).await.unwrap().unwrap();
            assert_eq!((plan.done, plan.left()), (3, 0));
            assert_eq!(serde_json::to_value(plan.skipped).unwrap(), json!({"rejected_again": 1}));
            assert_eq!(fleet.count("select count(*) from inbox where id like 'again-%'").await, 3);
            assert_eq!(fleet.count("select count(*) from notifications where event_id like 'again-%'").await, 3);
            // Whoever made this one died before it was reckoned.
            let wish = Wish::Found(Action::Cancel, Search::read([("state", "pending")]).unwrap());
            let Made::Plan(left) = plans::make(&fleet.pool, wish, "test").await.unwrap() else { panic!("no plan") };
            sqlx::query("update plans set made_at = made_at - interval '5 s' where id = $1")
                .bind(left)
                .execute(&fleet.pool)
                .await
                .unwrap();
            until("it is reckoned", PATIENCE, async || {
                plans::one(&pool, left).await.unwrap().unwrap().course == Course::Planned { out_of_date: false }
            })
            .await;
            assert_eq!(plans::one(&pool, left).await.unwrap().unwrap().estimate.acts, 503);
            fleet.stop(no).await;
        },
    )
    .await;
}

/// A plan that runs.
async fn begin(pool: &PgPool, action: Action, search: &[(&str, &str)]) -> i64 {
    let wish = Wish::Found(action, Search::read(search.iter().copied()).unwrap());
    let Made::Plan(id) = plans::make(pool, wish, "test").await.unwrap() else { panic!("no plan") };
    assert!(plans::reckon(pool, id, &means(&Clock::system())).await.unwrap());
    plans::run(pool, id, "test", "so that it is seen", false).await.unwrap();
    id
}

#[tokio::test]
async fn what_became_doubtful_since_it_was_planned_counts_when_it_is_run() {
    let hall = Hall::open().await;
    let (operator, admin) = (hall.key(Role::Operator).await, hall.key(Role::Admin).await);
    failed(&hall.pools.ops, 120).await;
    let plan = made(&hall, &operator, json!({"action": "resend", "search": {"state": "failed"}})).await;
    assert_eq!((&plan["estimate"]["duplicates"], &plan["estimate"]["needs_admin"]), (&json!(0), &json!(false)));
    hall.sql("update notifications set reason = 'unknown'").await;
    assert_eq!(run(&hall, &operator, &plan).await, StatusCode::ACCEPTED);
    finish(&hall.pools.ops, plan["id"].as_i64().unwrap()).await;
    let failed = hall.read(&format!("/v1/plans/{}", plan["id"]), &operator).await.json();
    assert_eq!((&failed["state"], &failed["progress"]["done"]), (&json!("failed"), &json!(0)));
    assert!(failed["why"].as_str().unwrap().contains("more than 100 people may get a message twice"), "{failed}");
    assert_eq!(orders(&hall.pools.ops).await, BTreeMap::new(), "nothing was done");

    let plan = made(&hall, &admin, json!({"action": "resend", "search": {"state": "failed"}})).await;
    assert_eq!(run(&hall, &operator, &plan).await, StatusCode::FORBIDDEN);
    assert_eq!(run(&hall, &admin, &plan).await, StatusCode::ACCEPTED);
    finish(&hall.pools.ops, plan["id"].as_i64().unwrap()).await;
    let done = hall.read(&format!("/v1/plans/{}", plan["id"]), &operator).await.json();
    assert_eq!((&done["progress"]["done"], &done["progress"]["duplicates"]), (&json!(120), &json!(120)));
    let noted = hall.ask("select string_agg(by || ': ' || reason || ' ' || (detail ->> 'duplicates'), ', ' order by id) from audit where what = 'plan.begun'");
    assert_eq!(noted.await.unwrap(), "key operator: the outage is over 0, key admin: the outage is over 120");
}

#[tokio::test]
async fn until_its_numbers_are_known_a_plan_is_looked_at_and_not_run() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    failed(&hall.pools.ops, 3).await;
    let wish = Wish::Found(Action::Retry, Search::read([("state", "failed")]).unwrap());
    let Made::Plan(id) = plans::make(&hall.pools.ops, wish, "test").await.unwrap() else { panic!("no plan") };
    let plan = hall.read(&format!("/v1/plans/{id}"), &key).await.json();
    assert_eq!((&plan["state"], &plan["estimate"]["found"]), (&json!("reckoning"), &json!(0)));
    let refused = hall.post(&format!("/v1/plans/{id}/run"), &key, &json!({"reason": "now"})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text().contains("being worked out"), "{}", refused.text());
    assert_eq!(plans::unreckoned(&hall.pools.ops).await.unwrap(), None, "whoever made it is at it");
    hall.sql("update plans set made_at = made_at - interval '5 s'").await;
    assert_eq!(plans::unreckoned(&hall.pools.ops).await.unwrap(), Some(id));
    let by = means(&Clock::system());
    let (one, other) =
        tokio::join!(plans::reckon(&hall.pools.ops, id, &by), plans::reckon(&hall.pools.intake, id, &by));
    assert!(one.unwrap() != other.unwrap(), "one of two does it");
    assert_eq!(plans::unreckoned(&hall.pools.ops).await.unwrap(), None);
    assert_eq!(hall.read(&format!("/v1/plans/{id}"), &key).await.json()["estimate"]["acts"], 3);

    // What cannot be worked out says so.
    let wish = Wish::Found(Action::Retry, Search::read([("state", "failed")]).unwrap());
    let Made::Plan(id) = plans::make(&hall.pools.ops, wish, "test").await.unwrap() else { panic!("no plan") };
    hall.sql(&format!("update plans set search = '{{\"sender\": \"gone\"}}' where id = {id}")).await;
    assert!(plans::reckon(&hall.pools.ops, id, &by).await.unwrap());
    let plan = plans::one(&hall.pools.ops, id).await.unwrap().unwrap();
    assert!(matches!(&plan.course, Course::Failed { why: Failure::Other(_) }), "{:?}", plan.course);
    assert_eq!(run(&hall, &key, &json!({"id": id})).await, StatusCode::CONFLICT);
}

#[tokio::test]
async fn rejected_events_are_reckoned_as_they_would_be_read_now() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    hall.sql(
        "insert into contacts (phone, consents, entries) values ('+34600000001', '{\"orders\": {\"state\": \"granted\", \"entry\": 1}}', 1),
           ('+34600000002', '{\"orders\": {\"state\": \"revoked\", \"entry\": 1}}', 1)",
    )
    .await;
    let mut late = paid_order("late", 1);
    late["time"] = json!("2020-01-01T00:00:00Z");
    let mut nobody = paid_order("nobody", 1);
    nobody["data"]["customer"]["phone"] = json!("12");
    let mut unknown = paid_order("unknown", 1);
    unknown["type"] = json!("order.admired");
    // Its order was delivered meanwhile.
    let stale = paid_order("stale", 4);
    hall.sql(&format!(
        "insert into inbox (source, id, body_hash, type, time, journey, journey_key, stage, ignored)
         values ('shop', 'later', '', 'shipment.delivered', now() + interval '1 s', 'order', '{}', 90, 'no_template'),
                ('{}', 'known', '', 'order.confirmed', now(), null, null, null, 'no_template')",
        stale["data"]["order"]["number"].as_str().unwrap(),
        stale["source"].as_str().unwrap(),
    ))
    .await;
    let events = [
        paid_order("agreed", 1),
        paid_order("agreed", 1),
        paid_order("refused", 2),
        paid_order("asked", 3),
        late,
        nobody,
        unknown,
        stale,
        paid_order("known", 1),
    ];
    for (n, event) in (1..).zip(&events) {
        hall.rejected(n, "unfillable_template", &event.to_string()).await;
    }
    hall.rejected(20, "unfillable_template", "{\"only\": \"the beg").await;
    hall.sql("update rejected_events set whole = false where id = '00000000-0000-0000-0000-000000000014'").await;
    let plan = made(&hall, &key, json!({"action": "replay", "search": {"reason": "unfillable_template"}})).await;
    let of = &plan["estimate"];
    let number = |name: &str| (name.to_owned(), of[name].as_u64().unwrap());
    let names =
        ["found", "acts", "known", "ignored", "expired", "stale", "no_consent", "not_confirmed", "goes", "unpriced"];
    let expected = [10, 8, 2, 1, 1, 1, 1, 1, 2, 2];
    assert_eq!(names.map(number).to_vec(), names.map(str::to_owned).into_iter().zip(expected).collect::<Vec<_>>());
    assert_eq!(of["skipped"], json!({"beginning_only": 1, "rejected_again": 1}));
    assert_eq!(hall.ask("select count(*)::text from notifications").await.unwrap(), "0", "nothing is done yet");
}

#[tokio::test]
async fn what_changed_since_it_was_planned_is_left_as_it_is() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    let ids = failed(&hall.pools.ops, 4).await;
    let plan = made(&hall, &key, json!({"action": "retry", "search": {"state": "failed"}})).await;
    run(&hall, &key, &plan).await;
    for (id, change) in [
        (ids[0], "state = 'accepted', reason = null, ended_at = null, message_id = 'wamid.1'"),
        (ids[1], "reason = 'unknown'"),
        (ids[2], "expires_at = now() - interval '1 s'"),
    ] {
        hall.sql(&format!("update notifications set {change} where id = '{id}'")).await;
    }
    let id = plan["id"].as_i64().unwrap();
    finish(&hall.pools.ops, id).await;
    let done = hall.read(&format!("/v1/plans/{id}"), &key).await.json();
    let skipped = json!({"accepted": 1, "expired": 1, "may_have_arrived": 1});
    assert_eq!(done["progress"], json!({"done": 1, "skipped": skipped, "duplicates": 0, "left": 0}));
    assert_eq!(orders(&hall.pools.ops).await, BTreeMap::from([(1, 1)]));
    let states = "select string_agg(state || coalesce(' ' || reason, ''), ', ' order by id) from notifications";
    let ids_in_order = "accepted, failed undeliverable, failed unknown, pending";
    let mut found: Vec<_> = hall.ask(states).await.unwrap().split(", ").map(str::to_owned).collect();
    found.sort();
    assert_eq!(found.join(", "), ids_in_order);
}

#[tokio::test]
async fn a_plan_that_is_asked_for_twice_with_one_key_is_one() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    failed(&hall.pools.ops, 3).await;
    let body = json!({"action": "retry", "search": {"state": "failed"}}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "last-night")];
    let first = hall.bring("/v1/plans", &key, &headers, body.clone()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text());
    // What failed since makes no other plan of it.
    failed(&hall.pools.ops, 1).await;
    let again = hall.bring("/v1/plans", &key, &headers, body).await;
    assert_eq!((again.status, again.text()), (StatusCode::CREATED, first.text()));
    assert_eq!(hall.ask("select count(*)::text from plans").await.unwrap(), "1");
}

#[tokio::test]
async fn only_the_chosen_ones_are_acted_on() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    let ids = failed(&hall.pools.ops, 5).await;
    let chosen = format!("{},{},{}", ids[1], ids[3], ids[1]);
    let plan = made(&hall, &key, json!({"action": "retry", "search": {"id": chosen}})).await;
    assert_eq!(plan["estimate"]["found"], 2);
    run(&hall, &key, &plan).await;
    finish(&hall.pools.ops, plan["id"].as_i64().unwrap()).await;
    let mut pending: Vec<Uuid> = sqlx::query_scalar("select id from notifications where state = 'pending'")
        .fetch_all(&hall.pools.ops)
        .await
        .unwrap();
    pending.sort();
    let mut wanted = vec![ids[1], ids[3]];
    wanted.sort();
    assert_eq!(pending, wanted);
}
