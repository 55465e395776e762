//! The proof: what is kept of a consent, who finds out if it is touched, and what remains of somebody who is forgotten.

use std::collections::BTreeSet;

use recado::{
    cli::consent::{bundle, erase_with, import, page, revoke_for, verify},
    clock::Clock,
    db::{
        anchors, consents,
        decisions::{self, Decided},
        dispatch::Pace,
        merge,
    },
    domain::{action::Action, doubt::Patience, ledger::Act, phone::Phone},
    worker::{
        Nudge, settling,
        upkeep::{self, Upkeep},
    },
};
use sqlx::Row;

use super::{
    persons::{KNOWN, TYPED, learnt},
    street::Street,
};
use crate::house::{ANA, House, PACE, RETRY};

const BEA: &str = "+34600111333";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn ana() -> Phone {
    Phone::parse(ANA).unwrap()
}

/// Ana has agreed by the form, was answered, and her order went.
async fn everything(street: &Street) {
    let (_, form) = street.ask(ANA, "whatsapp").await;
    street.writes(ANA, &form.prepared()).await;
    street.deliver().await;
    street.house.order(ANA).await;
    let claim = street.house.claim_one().await;
    street.house.accept(claim.attempt, "wamid.HBgLMzQ2MDAxMTEyMjI").await;
    street.writes(ANA, "¿Cuándo llega? Soy Ana, calle Mayor 1").await;
}

#[tokio::test]
async fn the_bundle_has_the_whole_story_and_can_be_printed() {
    let street = Street::open().await;
    everything(&street).await;
    let bundle = bundle(&street.house.pools.ops, &ana(), street.house.clock.now()).await.unwrap().unwrap();
    assert_eq!(bundle["chain"]["holds"], true);
    assert_eq!(bundle["person"]["phone"], ANA);
    assert_eq!(bundle["entries"].as_array().unwrap().len(), 4);
    assert_eq!(bundle["notifications"][0]["consent_entry"], 3, "the message names the entry that allowed it");
    assert_eq!(bundle["texts_to_the_person"][0]["saying"], "confirmed");
    assert!(bundle.to_string().contains("calle Mayor 1"));
    let page = page(&bundle).unwrap();
    assert!(page.contains("Quiero que Tienda Ejemplo") && page.contains(ANA), "{page}");
}

#[tokio::test]
async fn a_forgotten_person_is_nowhere_and_the_chain_holds() {
    let street = Street::open().await;
    everything(&street).await;
    let house = &street.house;
    let id = house.order(ANA).await;
    for action in [Action::Cancel, Action::Retry] {
        let decided =
            decisions::decide(&house.pools.ops, action, id, "user olga", "600111222 called us").await.unwrap();
        assert_eq!(decided, Decided::Done);
    }
    house.run("update inbox set body = '{\"phone\": \"+34600111222\"}'").await;
    rejected(house, &[r#"{"p": "+34600111222"}"#]).await;
    let erased =
        erase_with(&house.pools.ops, KEY, ana(), "asked to be forgotten", house.clock.now()).await.unwrap().unwrap();
    assert_eq!((erased.rejected_events, erased.opt_ins, erased.evidence > 0), (1, 1, true));

    nowhere(house, &["600111222", "MzQ2MDAxMTEyMjI", "Mayor", "127.0.0.1"]).await;
    let checked = verify(&house.pools.ops).await.unwrap();
    assert!(checked.broken.is_empty(), "{checked:?}");
    let acts: Vec<String> =
        house.rows("select act from consent_entries order by number").await.iter().map(|r| r.get(0)).collect();
    assert!(acts.contains(&"erased".to_owned()));
    assert!(house.claim().await.go.is_empty(), "what was on its way ends");
    assert!(consents::of(&house.pools.ops, &ana()).await.unwrap().is_none());
}

/// Nothing that is kept of persons has any of these.
async fn nowhere(house: &House, traces: &[&str]) {
    let tables = [
        "contacts",
        "consent_entries",
        "opt_ins",
        "tokens",
        "replies",
        "inbox",
        "rejected_events",
        "notifications",
        "attempts",
        "receipts",
        "timeline",
        "inbound",
        "outbox",
        "stray_receipts",
        "suppressions",
    ];
    for table in tables {
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select row_to_json(t)::text from {table} t")))
                .fetch_all(&house.pools.ops)
                .await
                .unwrap();
        for row in rows {
            for trace in traces {
                assert!(!row.contains(trace), "{table} still says {trace}: {row}");
            }
        }
    }
}

async fn rejected(house: &House, bodies: &[&str]) {
    for body in bodies {
        sqlx::query(
            "insert into rejected_events (id, reason, detail, exchange, routing_key, headers, size, body_hash, body, whole)
             values (gen_random_uuid(), 'x', 'x', 'x', 'x', '{}', 1, $1, $1, true)",
        )
        .bind(body.as_bytes())
        .execute(&house.pools.ops)
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn whoever_is_forgotten_by_either_of_their_numbers_is_forgotten_whole() {
    for by in [ANA, BEA] {
        let street = Street::open().await;
        let house = &street.house;
        for phone in [ANA, BEA] {
            house.tell(phone, Act::Imported, "orders").await;
            house.order(phone).await;
            street.writes(phone, "ayuda").await;
        }
        street.deliver().await;
        let ids: Vec<i64> =
            sqlx::query_scalar("select id from contacts order by id").fetch_all(&house.pools.ops).await.unwrap();
        merge::merge(&house.pools.ops, &ids, "wa_id", house.clock.now()).await.unwrap();
        rejected(house, &[r#"{"phone": "600 111 222"}"#, r#"{"phone": "600 111 333"}"#]).await;
        let erased = erase_with(&house.pools.ops, KEY, Phone::parse(by).unwrap(), "asked", house.clock.now()).await;
        let erased = erased.unwrap().unwrap();
        assert_eq!((&erased.contacts, erased.rejected_events), (&ids, 2), "by {by}");
        nowhere(house, &["600111222", "600111333", "ayuda"]).await;
        assert_eq!(house.count("select count(*) from contacts where erased_at is null").await, 0);
        assert!(verify(&house.pools.ops).await.unwrap().broken.is_empty());
        let file = format!(
            "phone,purpose,granted_at,source,wording\n{ANA},orders,2026-03-04T10:20:30+01:00,checkout,v3\n\
             {BEA},orders,2026-03-04T10:20:30+01:00,checkout,v3\n"
        );
        let (pool, orders) = (&house.pools.ops, BTreeSet::from(["orders"]));
        let imported =
            import(Some(pool), Some(KEY), &orders, file.as_bytes(), house.clock.now(), &mut |_| {}).await.unwrap();
        assert_eq!((imported.recorded, imported.overruled), (0, 2), "neither number brings them back");
    }
}

#[tokio::test]
async fn a_spelling_that_only_the_provider_has_is_forgotten_too() {
    let street = Street::open().await;
    let house = &street.house;
    street.writes(KNOWN, "Soy Ana, calle Mayor 1").await;
    house.tell(TYPED, Act::Imported, "orders").await;
    learnt(&street).await;
    street.writes(KNOWN, "ayuda").await;
    street.deliver().await;
    assert_eq!(house.count("select count(*) from contacts where merged_into is not null").await, 1);
    rejected(house, &[r#"{"phone": "(41) 99999-9999"}"#, r#"{"phone": "(41) 9999-9999"}"#]).await;
    let typed = Phone::parse(TYPED).unwrap();
    let erased = erase_with(&house.pools.ops, KEY, typed, "asked", house.clock.now()).await.unwrap().unwrap();
    assert_eq!((erased.contacts.len(), erased.rejected_events), (2, 2));
    nowhere(house, &["4199999", "9999-9999", "Mayor"]).await;
}

#[tokio::test]
async fn an_event_that_could_not_be_used_is_forgotten_however_it_writes_the_number() {
    let street = Street::open().await;
    everything(&street).await;
    let house = &street.house;
    let bodies = [
        r#"{"phone": "600 111 222"}"#,
        r#"{"phone": "600.11.12.22", "name": "Ana"}"#,
        r#"{"phone": 600111222}"#,
        r#"{"phone": "(+34) 600-111-222"}"#,
        r#"{"phone": "34600111222"}"#,
        r#"{"phone": "600 111 223", "order": "1600111222"}"#,
    ];
    rejected(house, &bodies).await;
    let erased = erase_with(&house.pools.ops, KEY, ana(), "asked", house.clock.now()).await.unwrap().unwrap();
    assert_eq!(erased.rejected_events, 5);
    assert_eq!(house.count("select count(*) from rejected_events").await, 1, "another number is another person's");
}

#[tokio::test]
async fn an_old_file_does_not_bring_a_forgotten_person_back_but_their_own_yes_does() {
    let street = Street::open().await;
    everything(&street).await;
    let house = &street.house;
    erase_with(&house.pools.ops, KEY, ana(), "asked", house.clock.now()).await.unwrap().unwrap();
    let file = "phone,purpose,granted_at,source,wording\n+34600111222,orders,2026-03-04T10:20:30+01:00,checkout,v3\n\
                +34600111333,orders,2026-03-04T10:20:30+01:00,checkout,v3\n";
    let (pool, orders) = (&house.pools.ops, BTreeSet::from(["orders"]));
    let imported =
        import(Some(pool), Some(KEY), &orders, file.as_bytes(), house.clock.now(), &mut |_| {}).await.unwrap();
    assert_eq!((imported.recorded, imported.overruled), (1, 1));
    house.advance(60);
    let (_, form) = street.ask(ANA, "whatsapp").await;
    street.writes(ANA, &form.prepared()).await;
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn a_removed_last_entry_shows_against_the_anchor() {
    let street = Street::open().await;
    street.house.tell(ANA, Act::Imported, "orders").await;
    street.house.tell(ANA, Act::Revoked, "orders").await;
    let pool = &street.house.pools.ops;
    assert_eq!(anchors::drop_next(pool).await.unwrap(), None, "what is just being written is left for the next");
    street.house.advance(3_600);
    assert_eq!(anchors::drop_next(pool).await.unwrap().unwrap().entries, 2);
    street.house.tell("+34600111333", Act::Imported, "orders").await;
    street.house.advance(3_600);
    assert_eq!(anchors::drop_next(pool).await.unwrap(), None, "once a day");
    street.house.advance(24 * 3_600);
    assert_eq!(anchors::drop_next(pool).await.unwrap().unwrap().entries, 1);
    assert_eq!(anchors::broken(pool).await.unwrap(), None);
    // Somebody takes a no away and mends the count.
    street.house.run("delete from consent_entries where contact_id = 1 and number = 2").await;
    street.house.run("update contacts set entries = 1 where id = 1").await;
    assert!(verify(pool).await.unwrap().broken.is_empty(), "the chain alone does not tell");
    assert_eq!(anchors::broken(pool).await.unwrap().unwrap().1, 1);
}

fn upkeep(street: &Street, clock: &Clock) -> Upkeep {
    let hour = std::time::Duration::from_secs(3_600);
    let rules = upkeep::Rules {
        every: hour,
        tidy_every: hour,
        batch: 100,
        listed: Vec::new(),
        by_content: Vec::new(),
        gone_after: hour,
        patience: Patience { window: hour, later_attempts: 3, max: hour },
        retry: RETRY,
        settling: settling::Rules { batch: 1, linger: std::time::Duration::ZERO, pace: Pace { ..PACE } },
        keep: recado::db::retention::Keep {
            notifications: hour * 24 * 400,
            identities: hour * 24 * 500,
            rejected: hour * 24 * 30,
            webhooks: hour * 24 * 8,
            inbound: hour * 24 * 30,
            callbacks: hour * 24 * 8,
            payloads: hour * 24 * 90,
            parameters: hour * 24 * 90,
            audit: hour * 24 * 1_100,
        },
        prices: std::collections::HashMap::new(),
    };
    Upkeep::new(street.house.pools.ops.clone(), rules, clock.clone(), Nudge::default())
}

#[tokio::test]
async fn what_nobody_confirms_within_a_week_is_deleted() {
    let street = Street::open().await;
    street.ask(ANA, "whatsapp").await;
    let (_, form) = street.ask("+34600111333", "whatsapp").await;
    street.writes("+34600111333", &form.prepared()).await;
    let clock = street.house.clock.clone();
    street.house.advance(6 * 24 * 3_600);
    upkeep(&street, &clock).step().await.unwrap();
    assert_eq!(street.house.count("select count(*) from opt_ins").await, 2);
    street.house.advance(24 * 3_600 + 60);
    upkeep(&street, &clock).step().await.unwrap();
    assert_eq!(street.house.count("select count(*) from opt_ins").await, 1, "the confirmed one stays");
    assert_eq!(
        street.house.count("select count(*) from contacts where phone = '+34600111222'").await,
        0,
        "nothing else knew her"
    );
    let evidence = "select count(*) from consent_entries where payload::text like '%127.0.0.1%' and contact_id = 1";
    assert_eq!(street.house.count(evidence).await, 0);
    assert!(verify(&street.house.pools.ops).await.unwrap().broken.is_empty());
    assert_eq!(street.house.consent("+34600111333", "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn an_operator_can_say_no_for_somebody() {
    let street = Street::open().await;
    street.house.agreed().await;
    let house = &street.house;
    house.advance(60);
    revoke_for(&house.pools.ops, ana(), &[], "told us on the phone", house.clock.now()).await.unwrap();
    assert_eq!(house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
}
