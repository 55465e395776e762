//! A shop with two brands: each writes from its own number.

use serde_json::{Value, json};

use crate::harness::{Fleet, Plan, event, phone};

const MAIN: &str = "200000000000002";
const LUNA: &str = "200000000000003";

fn two_brands(plan: &mut Plan) {
    let luna = recado::sim::Sender {
        phone_number_id: LUNA.to_owned(),
        display_phone_number: "+1 555 000 2222".to_owned(),
        mps: 1_000,
        ..recado::sim::Sender::default()
    };
    plan.sim.senders.push(luna);
    for (key, value) in [
        ("kind", "meta"),
        ("phone_number_id", LUNA),
        ("waba_id", "100000000000001"),
        ("token", "sim-token"),
        ("app_secret", "sim-app-secret"),
        ("verify_token", "sim-verify-token"),
        ("rate_per_second", "1000"),
    ] {
        plan.set(&format!("senders.luna.{key}"), value);
    }
    plan.set("routing.1.brand", "luna");
    plan.set("routing.1.sender", "luna");
    plan.set("routing.2.country", "ES");
    plan.set("routing.2.sender", "main");
}

fn order(id: &str, phone: &str, brand: Option<&str>) -> Value {
    let mut data = json!({"customer": {"phone": phone, "name": "Ana"}, "order": {"number": id}});
    if let Some(brand) = brand {
        data["brand"] = brand.into();
    }
    event("order.confirmed", id, data)
}

async fn why(fleet: &Fleet, word: &str) -> String {
    String::from_utf8(fleet.command(&["why", word]).await.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_brand_writes_from_its_own_number_and_what_no_rule_fits_is_kept_until_one_does() {
    Fleet::run("routing", two_brands, async |fleet| {
        let url = fleet.sim.url();
        fleet.settings.insert("senders.luna.base_url".to_owned(), url);
        let luna = recado::db::senders::register(&fleet.pool, "luna").await.unwrap();
        sqlx::query(
            "insert into template_states (sender, template, language, status, changed_by)
             select $1, template, language, status, changed_by from template_states",
        )
        .bind(luna)
        .execute(&fleet.pool)
        .await
        .unwrap();
        fleet.start().await;
        let mexican = "+525512345678";
        let orders = [
            order("of-luna", &phone(1), Some("luna")),
            order("of-main", &phone(2), None),
            order("of-luna-too", &phone(2), Some("luna")),
            order("of-nobody", mexican, None),
        ];
        fleet.publish(&orders).await;
        for id in ["of-luna", "of-main", "of-luna-too"] {
            fleet.reaches(id, "accepted").await;
        }
        let from = |number: &str| {
            let accepted = fleet.sim.world().accepted();
            let mut to: Vec<String> =
                accepted.iter().filter(|a| a.phone_number_id == number).map(|a| a.to.clone()).collect();
            to.sort();
            to
        };
        assert_eq!(from(LUNA), [phone(1), phone(2)]);
        assert_eq!(from(MAIN), [phone(2)]);
        assert!(
            why(fleet, "of-luna").await.contains("from luna, chosen by rule 1 of [[routing]] (brand luna), purpose")
        );
        assert!(
            why(fleet, "of-main").await.contains("from main, chosen by rule 2 of [[routing]] (country ES), purpose")
        );
        crate::harness::until("it is rejected", crate::harness::PATIENCE, async || {
            fleet.count("select count(*) from rejected_events where reason = 'no_route'").await == 1
        })
        .await;
        let told = why(fleet, "of-nobody").await;
        assert!(
            told.contains(
                "no_route: Template order_confirmed has no sender for this event: no rule of [[routing]] fits."
            ),
            "{told}"
        );

        // A last resort, and it is run again.
        fleet.settings.insert("templates.default_sender".to_owned(), "main".to_owned());
        let again = fleet.command(&["replay-rejected", "--all", "--because", "a test"]).await;
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        fleet.becomes("of-nobody", "a notification", |_| true).await;
        assert!(why(fleet, "of-nobody").await.contains("chosen by the last resort: no rule of [[routing]] fits"));
    })
    .await;
}
