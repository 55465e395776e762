//! The claim itself: what it makes of rows that others change while it looks, and what it costs while very much is due.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use recado::db::dispatch::{Terms, claim};
use sqlx::PgPool;

use super::house::{ANA, House, PACE, at_every_provider};

/// The house's clock, for whose time a claim waits while somebody holds the lock 7: its snapshot is older then than what they do.
const SLOW_CLOCK: &str = "create or replace function recado_now() returns timestamptz language sql stable
    as $$ select coalesce(nullif(current_setting('recado.now', true), '')::timestamptz, now()) from pg_advisory_xact_lock_shared(7) $$";

async fn one_of_two_goes_also_if_the_person_changes_while_the_claim_looks(house: House) {
    house.agreed().await;
    let orders = [house.order(ANA).await, house.order(ANA).await];
    house.run(SLOW_CLOCK).await;
    let mut other = house.connection().await;
    sqlx::raw_sql("select pg_advisory_lock(7)").execute(&mut other).await.unwrap();

    let waits = async {
        let asked = "select count(*) from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())";
        while house.count(asked).await == 0 {
            tokio::task::yield_now().await;
        }
        // Each is committed before the claim may go on.
        for change in
            ["update contacts set locale = 'es'", "update lanes set backoffs = 1", "select pg_advisory_unlock(7)"]
        {
            sqlx::raw_sql(change).execute(&mut other).await.unwrap();
        }
    };
    let (claimed, ()) = tokio::join!(house.claim(), waits);

    assert_eq!(claimed.go.len(), 1, "{claimed:?}");
    let gone = claimed.go[0].attempt.notification;
    assert!(orders.contains(&gone));
    assert_eq!(house.state(gone).await, "sending");
    let in_flight = "select count(*) from lanes l join notifications n on n.id = l.in_flight where n.state = 'sending'";
    assert_eq!(house.count(in_flight).await, 1, "the lane knows whom it waits for");
}

const PEOPLE: &str = r#"
    with person as (
      insert into contacts (phone, consents, entries)
      select '+346' || lpad(i::text, 8, '0'), '{"orders": {"state": "granted", "entry": 1}}', 1 from generate_series(1, 20000) i
      returning id
    )
    insert into lanes (contact_id, sender) select id, 1 from person"#;

/// Ten thousand more that are due now, for as many people.
const DUE: &str = r#"
    insert into notifications (id, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language,
      subject, expires_at, grace_until, consent_until, doubt, filled, due_at)
    select (left(uuid_v7_floor(recado_now())::text, 24) || lpad(to_hex(c + i), 12, '0'))::uuid, 'shop', (c + i)::text, recado_now(), 1, 1,
      1 + (c + i) % 20000, 'orders', 'order_confirmed', 'es', 'order:' || (c + i), recado_now() + interval '1 day', recado_now(),
      recado_now(), 'resend_once', '{}', recado_now()
    from generate_series(1, 10000) i, (select count(*) as c from notifications) n"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute, and wants a machine for itself; `make soak`"]
async fn a_million_due_notifications_cost_a_claim_no_more_than_twice_what_ten_thousand_cost() {
    let (few, many) = (median_claim(1).await, median_claim(100).await);
    println!("a claim of 50 takes {few:?} of 10,000 due, {many:?} of 1,000,000 due");
    assert!(many <= few * 2, "{few:?} of 10,000, {many:?} of 1,000,000");
}

/// How long a claim of 50 takes with so many times ten thousand due; the middle one of sixty.
async fn median_claim(tens_of_thousands: usize) -> Duration {
    let house = House::start().await;
    house.run(PEOPLE).await;
    for _ in 0..tens_of_thousands {
        house.run(DUE).await;
    }
    let (took, fewest) = claims_of_50(&house.pools.dispatch, house.sender).await;
    assert_eq!(fewest, 50);
    took
}

/// The middle one of sixty claims of 50, and how many went in the one with the fewest.
pub async fn claims_of_50(pool: &PgPool, sender: i16) -> (Duration, usize) {
    let mut fewest = usize::MAX;
    let mut due_from = [Timestamp::UNIX_EPOCH; 2];
    let mut took = Vec::new();
    for _ in 0..60 {
        let terms = Terms {
            sender,
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
        let claimed = claim(pool, &terms).await.unwrap();
        took.push(began.elapsed());
        fewest = fewest.min(claimed.go.len());
        // As the dispatcher does it.
        for (from, first) in due_from.iter_mut().zip(claimed.first_due) {
            if let Some(first) = first {
                *from = first - SignedDuration::from_millis(100);
            }
        }
    }
    took.sort();
    (took[took.len() / 2], fewest)
}

at_every_provider! {
    one_of_two_goes_also_if_the_person_changes_while_the_claim_looks
}
