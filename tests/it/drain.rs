//! `recado drain`: a shop's own outbox table, as `docs/examples/producers/outbox.sql` makes it.

use std::process::Stdio;

use crate::{
    doors::hall::Hall,
    harness::{PATIENCE, until},
    why::{Ran, recado_with},
};

/// What makes a shop's tables, in a schema of its own.
pub fn schema() -> String {
    let script = include_str!("../../docs/examples/producers/outbox.sql");
    format!(
        "create schema shop;
         create table shop.orders (id bigint primary key, number text, status text, customer_phone text, customer_name text,
           customer_locale text, total numeric, currency text);
         set search_path = shop; {script}; set search_path = public"
    )
}

/// A shop in the same database.
async fn shop() -> Hall {
    let hall = Hall::open().await;
    hall.sql(&schema()).await;
    hall
}

async fn order(hall: &Hall, id: u32) {
    hall.sql(&format!(
        "insert into shop.orders values ({id}, '{id}', 'confirmed', '+34600111222', 'Ana', 'es', 59.90, 'EUR')"
    ))
    .await;
}

fn drain(hall: &Hall, crash: &str) -> Ran {
    let set = settings(hall);
    let set: Vec<_> = set.iter().map(|(key, value)| (*key, value.as_str())).chain([("RECADO_CRASH", crash)]).collect();
    recado_with(hall, &["drain", "--once"], &set)
}

fn settings(hall: &Hall) -> Vec<(&'static str, String)> {
    let root = env!("CARGO_MANIFEST_DIR");
    let url = format!("{}?options=-c%20search_path%3Dshop", hall.url);
    let templates = format!("{root}/templates");
    let set = [
        ("RECADO_DRAIN__URL", url.as_str()),
        ("RECADO_TEMPLATES__DIR", &templates),
        ("RECADO_SENDERS__MAIN__KIND", "meta"),
        ("RECADO_SENDERS__MAIN__PHONE_NUMBER_ID", "200000000000002"),
        ("RECADO_SENDERS__MAIN__WABA_ID", "100000000000001"),
        ("RECADO_SENDERS__MAIN__TOKEN", "t"),
        ("RECADO_SENDERS__MAIN__APP_SECRET", "s"),
        ("RECADO_SENDERS__MAIN__VERIFY_TOKEN", "v"),
    ];
    set.map(|(key, value)| (key, value.to_owned())).into()
}

async fn count(hall: &Hall, table: &str) -> String {
    hall.ask(&format!("select count(*)::text from {table}")).await.unwrap()
}

#[tokio::test]
async fn an_order_and_its_event_are_one_and_the_event_goes_into_the_inbox() {
    let hall = shop().await;
    hall.sql(
        "begin; insert into shop.orders values (1, '1', 'confirmed', '+34600111222', 'Ana', 'es', 1, 'EUR'); rollback",
    )
    .await;
    assert_eq!(count(&hall, "shop.recado_outbox").await, "0");
    order(&hall, 1001).await;
    hall.sql("update shop.orders set customer_name = 'Ana María'").await;
    hall.sql("update shop.orders set status = 'cancelled'").await;
    assert_eq!(count(&hall, "shop.recado_outbox").await, "1", "only what was confirmed");

    let drained = drain(&hall, "");
    assert_eq!((drained.code, drained.stdout.as_str()), (0, "Taken: 1 accepted.\n"), "{}", drained.stderr);
    assert_eq!(
        (count(&hall, "shop.recado_outbox").await, count(&hall, "notifications").await),
        ("0".into(), "1".into())
    );
    let event = hall.ask("select source || ' ' || id || ' ' || subject from inbox").await;
    assert_eq!(event.as_deref(), Some("/shop/orders order-1001-confirmed order:1001"));
    assert_eq!(drain(&hall, "").stdout, "The outbox is empty.\n");
}

#[tokio::test]
async fn whoever_dies_in_between_loses_nothing_and_doubles_nothing() {
    let hall = shop().await;
    for id in 1..=3 {
        order(&hall, id).await;
    }
    let died = drain(&hall, "drained:1");
    assert_ne!(died.code, 0);
    assert_eq!((count(&hall, "inbox").await, count(&hall, "shop.recado_outbox").await), ("3".into(), "3".into()));
    let again = drain(&hall, "");
    assert_eq!((again.code, again.stdout.as_str()), (0, "Taken: 3 duplicate.\n"), "{}", again.stderr);
    assert_eq!(
        (count(&hall, "notifications").await, count(&hall, "shop.recado_outbox").await),
        ("3".into(), "0".into())
    );
}

#[tokio::test]
async fn what_cannot_be_taken_stays_and_what_is_no_event_is_kept() {
    let hall = shop().await;
    order(&hall, 1).await;
    hall.sql("alter table inbox rename to elsewhere").await;
    let failed = drain(&hall, "");
    assert_eq!((failed.code, count(&hall, "shop.recado_outbox").await), (1, "1".into()), "{}", failed.stderr);
    hall.sql("alter table elsewhere rename to inbox").await;

    hall.sql(r#"insert into shop.recado_outbox (event) values ('{"type": "order.confirmed"}')"#).await;
    let drained = drain(&hall, "");
    assert_eq!((drained.code, drained.stdout.as_str()), (1, "Taken: 1 accepted, 1 rejected.\n"), "{}", drained.stderr);
    let kept = hall.ask("select exchange || ' ' || reason from rejected_events").await;
    assert_eq!(kept.as_deref(), Some("outbox wrong_specversion"));
    assert_eq!(count(&hall, "shop.recado_outbox").await, "0");
}

#[tokio::test]
async fn a_service_without_a_broker_empties_it_too() {
    let hall = shop().await;
    order(&hall, 7).await;
    let mut service = tokio::process::Command::new(env!("CARGO_BIN_EXE_recado"))
        .arg("run")
        .env_clear()
        .env("DATABASE_URL", &hall.url)
        .envs(settings(&hall))
        .env("RECADO_SENDERS__MAIN__BASE_URL", "http://127.0.0.1:9")
        .env("RECADO_CALLBACKS__SHOP__URL", "http://127.0.0.1:9/told")
        .env("RECADO_CALLBACKS__SHOP__SECRET", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        .env("RECADO_OUTWARD__PRIVATE_ADDRESSES", "allow")
        .env("RECADO_HTTP__LISTEN", "127.0.0.1:0")
        .env("RECADO_HTTP__METRICS_LISTEN", "127.0.0.1:0")
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the event is in the inbox", PATIENCE, async || {
        assert!(service.try_wait().unwrap().is_none(), "it runs");
        count(&hall, "inbox").await == "1"
    })
    .await;
    until("the outbox is empty", PATIENCE, async || count(&hall, "shop.recado_outbox").await == "0").await;
}

#[tokio::test]
async fn a_shop_without_the_table_is_told_where_its_table_stands() {
    let hall = shop().await;
    hall.sql("alter table shop.recado_outbox rename to elsewhere").await;
    let missing = drain(&hall, "");
    assert_eq!(missing.code, 1);
    for part in ["drain.url (RECADO_DRAIN__URL)", "recado_outbox", "docs/producers.md"] {
        assert!(missing.stderr.contains(part), "{part} is missing: {}", missing.stderr);
    }
}
