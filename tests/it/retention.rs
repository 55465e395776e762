//! What is too old goes, a month or a batch at a time; what is unfinished stays, and nobody waits for it.

use std::time::{Duration, Instant};

use recado::db::{
    decisions,
    inbox::Born,
    retention::{look, remove},
};
use recado::domain::action::Action;
use sqlx::{Connection, Row};

use crate::{
    doors::hall::Hall,
    house::{ANA, House, KEEP, reported, text},
    why::recado,
};

const DAY: u64 = 24 * 3_600;
const BATCH: i64 = 500;

#[tokio::test]
async fn a_month_that_is_old_enough_goes_as_a_whole_once_nothing_in_it_is_unfinished() {
    let house = House::start().await;
    let done = house.sending().await.attempt;
    house.accept(done, "wamid.1").await;
    house.hook(&reported(done, "wamid.1", "delivered")).await;
    let open = house.event(ANA, "shipping").await;
    house.claim().await;
    assert_eq!(house.stand(open).await.waiting_on.as_deref(), Some("consent"));

    // The month is over, but not for 400 days.
    house.advance(400 * DAY);
    house.make_partitions().await;
    let later = house.order(ANA).await;
    assert!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().months.is_empty());
    house.advance(41 * DAY);
    let old = look(&house.pools.ops, &KEEP).await.unwrap();
    let november = old.iter().find(|one| one.what.contains("2026-11")).unwrap();
    assert_eq!((november.rows, november.unfinished), (2, true));
    let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
    assert_eq!(removed.months, ["2026_12"], "in November something still waits");

    decisions::decide(&house.pools.ops, Action::Cancel, open, "test", "a test").await.unwrap();
    let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
    assert_eq!(removed.months, ["2026_11"]);
    let left = "select count(*) from pg_class where relname like '%\\_2026\\_11' and relkind = 'r'";
    assert_eq!(house.count(left).await, 0, "with everything that belongs to it");
    assert_eq!(house.count("select count(*) from receipts").await, 0);
    assert_eq!(house.state(later).await, "pending", "what is younger stays");
    assert_eq!(
        house.count("select count(*) from inbox").await,
        3,
        "and what makes an event count once is kept for longer"
    );
}

#[tokio::test]
async fn who_reads_for_long_is_left_in_peace_and_nobody_waits_for_them() {
    let house = House::start().await;
    let done = house.sending().await.attempt;
    house.accept(done, "wamid.1").await;
    house.advance(441 * DAY);
    house.make_partitions().await;
    let mut reader = house.connection().await;
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("select count(*) from notifications").fetch_one(&mut *reading).await.unwrap();
    let began = Instant::now();
    let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
    assert_eq!((removed.months.len(), removed.busy.len()), (0, 2), "{removed:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    house.order(ANA).await;
    house.claim_one().await;
    reading.rollback().await.unwrap();
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().months, ["2026_11", "2026_12"]);
}

#[tokio::test]
async fn identities_rejected_events_and_webhooks_go_in_batches_when_their_time_is_over() {
    let house = House::start().await;
    house.run(
        "insert into inbox (source, id, body_hash, type, time, received_at, ignored)
           select 'shop', 'evt-' || n, '', 'order.viewed', recado_now(), recado_now(), 'no_template' from generate_series(1, 1200) n",
    )
    .await;
    house.run(
        "insert into inbox_conflicts (source, id, body_hash, body, received_at) select 'shop', 'evt-1', 'x', 'x', recado_now()",
    )
    .await;
    house.advance(469 * DAY);
    let rejected = "insert into rejected_events (id, reason, detail, exchange, routing_key, headers, size, body_hash, body, whole, received_at)
       select uuid_v7_floor(recado_now()), 'bad_phone', 'x', '', '', '{}', 1, recado_now()::text::bytea, 'x', true, recado_now()";
    house.run(rejected).await;
    house.advance(24 * DAY);
    house.run("insert into webhooks (sender, body, applied_at) values ('main', 'done', recado_now()), ('main', 'not yet', null)").await;
    house.run("insert into stray_receipts (sender, message_id, fact) values ('main', 'wamid.1', '{}')").await;
    house.advance(8 * DAY);
    house.run("insert into webhooks (sender, body, applied_at) values ('main', 'new', recado_now())").await;
    house.run(rejected).await;
    house.run("insert into inbox (source, id, body_hash, type, time, ignored) values ('shop', 'new', '', 'x', recado_now(), 'no_template')").await;
    house.advance(60);

    let old = look(&house.pools.ops, &KEEP).await.unwrap();
    let counted: Vec<i64> = old.iter().filter(|one| !one.what.contains("attempts")).map(|one| one.rows).collect();
    assert_eq!(counted, [0, 1_200, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], "{old:?}");
    let mut rows = Vec::new();
    loop {
        let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
        rows.push((removed.identities, removed.conflicts, removed.rejected, removed.webhooks, removed.strays));
        if !removed.more {
            break;
        }
    }
    assert_eq!(rows, [(500, 1, 1, 1, 1), (500, 0, 0, 0, 0), (200, 0, 0, 0, 0)]);
    assert_eq!(house.count("select count(*) from inbox where id = 'new'").await, 1);
    assert_eq!(house.count("select count(*) from inbox").await, 1);
    assert_eq!(house.count("select count(*) from rejected_events").await, 1);
    assert_eq!(house.count("select count(*) from webhooks").await, 2, "what is not applied stays, however old");
}

#[tokio::test]
async fn what_was_said_goes_long_before_the_rest_and_only_of_what_has_ended() {
    let house = House::start().await;
    house.agreed().await;
    let text = Born { free_text: Some("Hola Ana".to_owned()), ..house.born(ANA, "orders") };
    let done = text.id;
    house.bring(text).await;
    let claim = house.claim_one().await;
    house.accept(claim.attempt, "wamid.1").await;
    let open = house.event(ANA, "shipping").await;
    house.run("insert into inbox_conflicts (source, id, body_hash, body, received_at) select 'shop', 'evt-1', 'x', 'x', recado_now()").await;
    let said = async |id: uuid::Uuid| -> (bool, bool, bool) {
        let query = "select n.filled is not null, n.free_text is not null, i.body is not null
            from notifications n join inbox i on i.id = n.event_id and i.source = n.event_source where n.id = $1";
        sqlx::query_as(query).bind(id).fetch_one(&house.pools.ops).await.unwrap()
    };
    house.advance(89 * DAY);
    let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
    assert_eq!((removed.payloads, removed.parameters, removed.conflicts), (0, 0, 0));
    house.advance(2 * DAY);
    let later = house.order(ANA).await;

    let old = look(&house.pools.ops, &KEEP).await.unwrap();
    let of = |what: &str| old.iter().find(|one| one.what == what).unwrap();
    let (bodies, values) = (of("bodies of events"), of("values and texts of notifications"));
    assert_eq!((bodies.rows, values.rows, of("conflicting bodies").rows), (2, 1, 1), "{old:?}");
    assert!(bodies.bytes > 0 && values.bytes > 0, "{old:?}");
    assert!(bodies.oldest < bodies.oldest_kept && values.oldest < values.oldest_kept, "{old:?}");

    let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
    assert_eq!((removed.payloads, removed.parameters, removed.conflicts), (2, 1, 1));
    assert_eq!(said(done).await, (false, false, false));
    assert_eq!(said(open).await, (true, false, false), "what has not ended may still go");
    assert_eq!(said(later).await, (true, false, true));
    assert_eq!(house.state(done).await, "accepted", "that it went is known");
    assert_eq!(house.count("select count(*) from inbox").await, 3, "and the event counts no second time");
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().rows().map(|(_, rows)| rows), [0; 13]);
    assert!(look(&house.pools.ops, &KEEP).await.unwrap().iter().all(|one| one.rows == 0));
    let again = decisions::decide(&house.pools.ops, Action::Resend, done, "test", "a test").await.unwrap();
    assert!(
        matches!(again, decisions::Decided::Refused(decisions::Refused { kept: false, .. })),
        "nobody can send it again"
    );
}

#[tokio::test]
async fn contents_go_a_batch_at_a_time_and_rows_stay_where_they_are() {
    let house = House::start().await;
    house.agreed().await;
    // Bodies as shops have them, that do not shrink.
    house.run(
        "with body as (select n, uuid_v7(recado_now() + n * interval '1 ms') as id,
             (select string_agg(md5(n::text || k::text), '') from generate_series(1, 30) k) as body from generate_series(1, 1200) n),
           event as (insert into inbox (source, id, body_hash, type, time, received_at, notifications, body)
             select '/shop/it', 'order-' || n, decode(md5(n::text), 'hex'), 'order.confirmed', recado_now(), recado_now(), array[id], body from body)
         insert into notifications (id, created_at, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language,
           expires_at, grace_until, consent_until, doubt, filled, state, message_id, accepted_at)
         select id, recado_now(), '/shop/it', 'order-' || n, recado_now(), 1, 1, 1, 'orders', 'order_confirmed', 'es', recado_now(), recado_now(),
           recado_now(), 'never', json_build_object('body', body), 'accepted', 'wamid.' || n, recado_now() from body",
    )
    .await;
    house.run("create table stood as select id, (ctid::text::point)[0] as page from inbox").await;
    house.advance(91 * DAY);
    let mut rows = Vec::new();
    loop {
        let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
        rows.push((removed.payloads, removed.parameters));
        if !removed.more {
            break;
        }
    }
    assert_eq!(rows, [(500, 500), (500, 500), (200, 200)]);
    let moved = "select count(*) from inbox i join stood s using (id) where (i.ctid::text::point)[0] <> s.page";
    assert_eq!(house.count(moved).await, 0, "no index is touched, and pages keep to one time");
    assert_eq!(house.count("select count(*) from notifications where filled is not null").await, 0);
}

#[tokio::test]
async fn the_audit_trail_and_traces_have_times_of_their_own() {
    let house = House::start().await;
    house.run(r#"insert into audit (by, what, "on") select 'cli test', 'number.shown', n::text from generate_series(1, 3) n"#).await;
    house.run("insert into traces values (uuid_v7(recado_now()), gen_random_uuid())").await;
    house.advance(7 * DAY);
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().traces, 0);
    house.advance(2 * DAY);
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().traces, 1);
    house.advance(1_090 * DAY);
    let none = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
    assert_eq!(none.audit, 0);
    house.advance(2 * DAY);
    house.run(r#"insert into audit (by, what, "on") values ('cli test', 'number.shown', 'new')"#).await;
    let old = look(&house.pools.ops, &KEEP).await.unwrap();
    let trail = old.iter().find(|one| one.what == "audit trail").unwrap();
    assert_eq!((trail.rows, trail.table, trail.oldest < trail.oldest_kept), (3, "audit", true));
    assert_eq!(remove(&house.pools.ops, &KEEP, 2).await.unwrap().audit, 2, "a batch at a time");
    assert_eq!(remove(&house.pools.ops, &KEEP, 2).await.unwrap().audit, 1);
    let cut = sqlx::query("delete from audit").execute(&house.pools.ops).await;
    assert!(cut.is_err(), "nobody else can");
    assert_eq!(house.count("select count(*) from audit").await, 1);
}

#[tokio::test]
async fn what_people_wrote_goes_after_its_time_and_with_it_whoever_is_known_by_nothing_else() {
    let house = House::start().await;
    house.agreed().await;
    house.hook(&text("34600111222", "wamid.in.1", "¿Cuándo llega?")).await;
    house.hook(&text("34600111333", "wamid.in.2", "Hola, soy Bea")).await;
    house.hook(&text("34600111444", "wamid.in.3", "BAJA")).await;
    house.advance(29 * DAY);
    house.hook(&text("34600111333", "wamid.in.4", "¿Hola?")).await;
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().inbound, 0);
    house.advance(2 * DAY);
    let old = look(&house.pools.ops, &KEEP).await.unwrap();
    assert_eq!(old.iter().find(|one| one.what == "messages from people").unwrap().rows, 3);
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().inbound, 3);
    let known = async || {
        let rows = house.rows("select phone from contacts where erased_at is null order by phone").await;
        rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>()
    };
    assert_eq!(known().await, [ANA, "+34600111333", "+34600111444"], "Bea wrote again since");
    house.advance(30 * DAY);
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().inbound, 1);
    assert_eq!(known().await, [ANA, "+34600111444"], "a yes is known, and a no above all");
    let said = "select count(*) from consent_entries where payload ->> 'said' = 'BAJA'";
    assert_eq!(house.count(said).await, 1, "what proves the no is evidence and stays");
}

#[tokio::test]
async fn answers_to_people_go_with_the_notifications_of_their_time() {
    let house = House::start().await;
    house.agreed().await;
    house.run(
        "insert into replies (id, sender, contact_id, saying, because, form, locale, until, state, due_at, ended_at)
         select gen_random_uuid(), 1, 1, 'help', 'wamid.' || n, 'pedidos', 'es', recado_now(),
           case n when 1 then 'pending' else 'accepted' end, case n when 1 then recado_now() end, case when n > 1 then recado_now() end
         from generate_series(1, 3) n",
    )
    .await;
    house.advance(399 * DAY);
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().replies, 0);
    house.advance(2 * DAY);
    assert_eq!(remove(&house.pools.ops, &KEEP, BATCH).await.unwrap().replies, 2, "what is unfinished stays");
}

#[tokio::test]
async fn what_has_a_time_that_makes_no_sense_is_kept_beside_the_months_and_goes_with_its_age() {
    let house = House::start().await;
    house.agreed().await;
    // No partition was made in time for where the clock stands.
    house.advance(3_650 * DAY);
    house.order(ANA).await;
    let attempt = house.claim_one().await.attempt;
    house.accept(attempt, "wamid.1").await;
    assert_eq!(house.count("select count(*) from notifications_rest").await, 1);
    house.make_partitions().await;
    house.order(ANA).await;
    house.advance(441 * DAY);
    let removed = remove(&house.pools.ops, &KEEP, BATCH).await.unwrap();
    assert_eq!(removed.strangers, 1, "the other one still waits");
    assert_eq!(house.count("select count(*) from attempts_rest").await, 0);
}

#[tokio::test]
async fn an_operator_is_told_what_would_go_and_lets_it_go() {
    let hall = Hall::open().await;
    let nothing = recado(&hall, &["upkeep", "--dry-run"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, "Nothing would go.\n"), "{}", nothing.stderr);
    hall.sql(
        "insert into inbox (source, id, body_hash, type, time, received_at, ignored)
           select 'shop', 'evt-' || n, '', 'order.viewed', now(), now() - interval '501 days', 'no_template' from generate_series(1, 700) n;
         insert into webhooks (sender, body, applied_at, received_at) values ('main', 'x', now(), now() - interval '9 days');
         select make_partitions(now() - interval '500 days')",
    )
    .await;
    let told = recado(&hall, &["upkeep", "--dry-run"]);
    assert!(told.stdout.contains("identities of events: 700 would go, the oldest of 20"), "{}", told.stdout);
    assert!(told.stdout.contains("raw webhooks: 1 would go"), "{}", told.stdout);
    assert_eq!(hall.ask("select count(*)::text from inbox").await.as_deref(), Some("700"));
    let all: serde_json::Value =
        serde_json::from_str(&recado(&hall, &["upkeep", "--dry-run", "--json"]).stdout).unwrap();
    let all = all["would_go"].as_array().unwrap();
    let inbox = all.iter().find(|one| one["table"] == "inbox" && one["rows"] == 700).unwrap();
    assert!(inbox["bytes"].as_i64().unwrap() > 50_000, "{inbox}");
    assert!(all.iter().any(|one| one["what"] == "audit trail" && one["rows"] == 0), "every table is there");
    let done = recado(&hall, &["upkeep"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("identities of events: 700 removed"), "{}", done.stdout);
    assert!(done.stdout.starts_with("notifications of 20"), "{}", done.stdout);
    assert_eq!(hall.ask("select count(*)::text from inbox").await.as_deref(), Some("0"));
    assert_eq!(recado(&hall, &["upkeep"]).stdout, "Nothing was removed.\n");
}
