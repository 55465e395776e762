//! What the provider has approved, as `recado templates` reads it from there.

use recado::sim::Approval;
use serde_json::{Value, json};

use super::harness::{Fleet, Plan, event, order, phone};

/// The templates of an account are more than one page.
fn crowded(plan: &mut Plan) {
    plan.sim.templates.retain(|template| template["name"] != "parcel_arrived");
    plan.sim.templates.extend((0..150).map(|n| {
        json!({"name": format!("other_{n}"), "language": "es", "category": "MARKETING",
            "components": [{"type": "BODY", "text": "Ofertas del día."}]})
    }));
    plan.sim.webhooks.url = None;
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn status(fleet: &Fleet, template: &str) -> Option<String> {
    sqlx::query_scalar("select status from template_states where template = $1 and language = 'es'")
        .bind(template)
        .fetch_optional(&fleet.pool)
        .await
        .expect("a status")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_provider_lists_is_what_goes_out() {
    Fleet::run("sync", crowded, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        world.set_template_status("order_confirmed", "es", Approval::Rejected);
        world.set_template_status("parcel_left", "es", Approval::Paused);
        let synced = fleet.command(&["templates", "sync"]).await;
        assert!(synced.status.success(), "{}", text(&synced.stderr));
        let told = text(&synced.stdout);
        assert_eq!(told.lines().count(), 4, "{told}");
        assert!(
            told.lines().any(|line| line.contains("parcel_arrived") && line.ends_with("not at the provider")),
            "{told}"
        );
        assert!(text(&synced.stderr).contains("3 of the catalogue's templates may not go out yet"));
        for (template, expected) in [
            ("order_confirmed", "rejected"),
            ("parcel_left", "paused"),
            ("gate_opened", "approved"),
            ("parcel_arrived", "deleted"),
            ("other_149", "approved"),
        ] {
            assert_eq!(status(fleet, template).await.as_deref(), Some(expected), "{template}");
        }

        // The list for programs has what the one for people has, and what no file describes.
        let listed = fleet.command(&["templates", "list", "--json"]).await;
        let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("JSON");
        let ours: Vec<&Value> = listed.iter().filter(|one| one["in_catalogue"] == true).collect();
        assert_eq!((ours.len(), listed.len()), (4, 154));
        let lines = text(&fleet.command(&["templates", "list"]).await.stdout);
        for (line, one) in lines.lines().zip(&ours) {
            for key in ["sender", "template", "language", "status"] {
                assert!(line.contains(one[key].as_str().expect("a text")), "{key}: {line}");
            }
        }

        // Only what is approved goes out; what waits goes when it is.
        let no = fleet.start().await;
        let gate = event("gate.opened", "gate", json!({"customer": {"phone": phone(1)}, "order": {"number": "1"}}));
        fleet.publish(&[order("order", 0), gate]).await;
        fleet.reaches("gate", "accepted").await;
        fleet.becomes("order", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
        world.set_template_status("order_confirmed", "es", Approval::Approved);
        assert!(fleet.command(&["templates", "sync", "--sender", "main"]).await.status.success());
        fleet.reaches("order", "accepted").await;

        // What the provider counts as something else is not what people agreed to.
        let mut other = super::harness::templates_at_meta(&super::harness::catalogue())
            .into_iter()
            .find(|template| template["name"] == "order_confirmed")
            .expect("a template");
        other["category"] = json!("MARKETING");
        world.add_template(&other).expect("a template");
        let synced = fleet.command(&["templates", "sync"]).await;
        assert!(text(&synced.stderr).contains("the provider counts it as marketing"), "{}", text(&synced.stderr));
        assert_eq!(
            fleet.count("select count(*) from holds where reason = 'recategorised' and released_at is null").await,
            1
        );
        fleet.publish(&[order("later", 2)]).await;
        fleet.becomes("later", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
        fleet.stop(no).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_will_not_say_changes_nothing() {
    Fleet::run("sync_refused", crowded, async |fleet| {
        fleet.settings.insert("senders.main.token".to_owned(), "a-wrong-token".to_owned());
        let refused = fleet.command(&["templates", "sync"]).await;
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            told.contains("sender main: the provider refused to list the templates (HTTP 401, code 190)"),
            "{told}"
        );
        assert!(!told.contains("a-wrong-token"), "{told}");
        assert_eq!(status(fleet, "parcel_arrived").await.as_deref(), Some("approved"));
        fleet.settings.remove("senders.main.waba_id");
        let unasked = fleet.command(&["templates", "sync"]).await;
        assert!(text(&unasked.stderr).contains("senders.main.waba_id is not set"), "{}", text(&unasked.stderr));
        let unknown = fleet.command(&["templates", "sync", "--sender", "nobody"]).await;
        assert!(unknown.status.code() == Some(1) && text(&unknown.stderr).contains("there are main"));
    })
    .await;
}
