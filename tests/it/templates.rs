//! What the provider has approved, as `recado templates` reads it from there.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lapin::{
    options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use recado::{
    provider::Dialect,
    sim::{Approval, Stage},
};
use serde_json::{Value, json};

use super::harness::{Fleet, PATIENCE, Plan, catalogue, catalogue_dir, event, order, phone, templates_at_meta, until};

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
        assert!(told.contains("sender main: the provider refused (HTTP 401, code 190)"), "{told}");
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

/// The tests' catalogue in a folder of its own, with another body for `order_confirmed`.
fn edited(fleet: &Fleet, body: &str) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&fleet.name);
    for part in ["messages", "events"] {
        let (from, to) = (catalogue_dir().join(part), to.join(part));
        std::fs::create_dir_all(&to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("the catalogue") {
            let path = entry.expect("a file").path();
            std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    let file = to.join("messages/order_confirmed.toml");
    let text = std::fs::read_to_string(&file).expect("a template");
    let (before, after) = text.split_once("body = ").expect("a body");
    let after = after.split_once('\n').map_or("", |(_, after)| after);
    let used =
        |line: &&str| line.split_once(" = \"data").is_none_or(|(name, _)| body.contains(&format!("{{{{{name}}}}}")));
    let before = before.lines().filter(used).collect::<Vec<_>>().join("\n");
    std::fs::write(&file, format!("{before}\nbody = {body:?}\n{after}")).expect("a template");
    to
}

fn at_meta(name: &str) -> Value {
    templates_at_meta(&catalogue()).into_iter().find(|template| template["name"] == name).expect("a template")
}

/// The template as the provider has it, with another body.
fn saying(body: &str, example: &Value) -> Value {
    let mut template = at_meta("order_confirmed");
    template["components"] = json!([{"type": "BODY", "text": body, "example": {"body_text_named_params": example}}]);
    template
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_an_older_version_ends_alone_and_holds_nobody() {
    Fleet::run("outdated", often, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        let shorter = "Hola {{name}}, tu pedido está confirmado.";
        world.add_template(&saying(shorter, &json!([{"param_name": "name", "example": "Ana"}]))).expect("a template");
        let no = fleet.start().await;
        fleet.publish(&[order("old", 0)]).await;
        let held = "select count(*) from holds where reason = 'template_drifted' and released_at is null";
        until("the template is held", PATIENCE, async || fleet.count(held).await == 1).await;
        fleet.becomes("old", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
        fleet.stop(no).await;

        // The file is corrected, so the template goes on; what was made before cannot be made to fit.
        let dir = edited(fleet, shorter);
        fleet.settings.insert("templates.dir".to_owned(), dir.display().to_string());
        let no = fleet.start().await;
        until("it is released by itself", PATIENCE, async || fleet.count(held).await == 0).await;
        fleet.publish(&[order("new", 1)]).await;
        fleet.reaches("new", "accepted").await;
        let old = fleet.reaches("old", "failed").await;
        assert_eq!((old.reason.as_deref(), old.code), (Some("template_outdated"), Some(132_000)));
        assert_eq!(fleet.count(held).await, 0, "the new version is not to blame");

        let told = text(&fleet.command(&["why", "old"]).await.stdout);
        assert!(told.contains("order_confirmed (version 1) in es"), "{told}");
        assert!(told.contains("made from an older version of its template"), "{told}");
        let told = text(&fleet.command(&["why", "new"]).await.stdout);
        assert!(told.contains("order_confirmed (version 2) in es"), "{told}");
        let shown = fleet.command(&["templates", "show", "order_confirmed", "--version", "1"]).await;
        assert!(text(&shown.stdout).contains("tu pedido {{order}} está confirmado"), "{}", text(&shown.stderr));
        let shown = text(&fleet.command(&["templates", "show", "order_confirmed"]).await.stdout);
        assert!(shown.contains(shorter) && shown.contains("version 2") && !shown.contains("{{order}}"), "{shown}");
        fleet.stop(no).await;
        std::fs::remove_dir_all(dir).expect("the folder goes");
    })
    .await;
}

/// Everything that is told on the status exchange from now on.
async fn listening(fleet: &Fleet) -> String {
    let queue = format!("{}.told", fleet.name);
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    fleet.channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.expect("a queue");
    let exchange = fleet.topology.status_exchange.as_str().into();
    let bound = fleet.channel.queue_bind(
        queue.as_str().into(),
        exchange,
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("a binding");
    queue
}

/// Waits until news of this type with these data is told.
async fn told(fleet: &Fleet, queue: &str, kind: &str, data: &[(&str, &str)]) {
    let mut seen = Vec::new();
    let began = std::time::Instant::now();
    loop {
        let got = fleet.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.expect("an answer");
        match got {
            Some(message) => {
                let event: Value = serde_json::from_slice(&message.delivery.data).expect("JSON");
                if event["type"] == kind && data.iter().all(|(key, value)| event["data"][*key] == *value) {
                    return;
                }
                seen.push(event);
            }
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(began.elapsed() < PATIENCE, "{kind} {data:?} is not told: {seen:#?}");
    }
}

/// The templates are read often.
fn often(plan: &mut Plan) {
    plan.set("templates.sync_every", "2s");
}

const IN_FORCE: &str = "select count(*) from holds where scope = 'template' and released_at is null";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_goes_out_once_it_is_approved() {
    let without = |plan: &mut Plan| {
        often(plan);
        plan.sim.templates.retain(|template| template["name"] != "order_confirmed");
    };
    Fleet::run("pushed", without, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        let no = fleet.start().await;
        until("it is found missing", PATIENCE, async || {
            status(fleet, "order_confirmed").await.as_deref() == Some("deleted")
        })
        .await;
        fleet.publish(&[order("waiting", 0)]).await;
        fleet.becomes("waiting", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;

        let diff = fleet.command(&["templates", "diff"]).await;
        assert_eq!(diff.status.code(), Some(1));
        assert!(text(&diff.stdout).contains("order_confirmed in es at main: not at the provider"));
        let unasked = fleet.command(&["templates", "push"]).await;
        assert_eq!(unasked.status.code(), Some(1));
        assert!(text(&unasked.stdout).contains("order_confirmed in es at main: create, as UTILITY"));
        assert!(text(&unasked.stderr).contains("nobody can be asked here; say --yes"), "{}", text(&unasked.stderr));
        let dry = fleet.command(&["templates", "push", "--dry-run"]).await;
        assert!(dry.status.success() && text(&dry.stderr).contains("1 would be pushed; nothing was changed"));
        let pushed = fleet.command(&["templates", "push", "order_confirmed", "--yes"]).await;
        assert!(pushed.status.success(), "{}", text(&pushed.stderr));
        assert!(text(&pushed.stdout).contains("order_confirmed in es at main: created, pending, UTILITY"));
        assert_eq!(
            fleet.count("select count(*) from template_pushes where act = 'create' and provider_id <> ''").await,
            1
        );
        let noted = "select count(*) from audit where what like 'template.%' and \"on\" = 'main order_confirmed es' and by like 'cli%'";
        assert_eq!(fleet.count(noted).await, 1);
        let again = fleet.command(&["templates", "push", "--yes"]).await;
        assert!(
            again.status.success() && text(&again.stderr).contains("Everything is there"),
            "{}",
            text(&again.stderr)
        );

        world.set_template_status("order_confirmed", "es", Approval::Approved);
        fleet.reaches("waiting", "accepted").await;
        assert!(fleet.command(&["templates", "diff"]).await.status.success());
        fleet.stop(no).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_waits_for_its_review_and_there_is_one_a_day() {
    Fleet::run("edited", often, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        world.review_after(Some(200));
        let dir = edited(fleet, "Hola {{name}}, hemos recibido tu pedido {{order}} y lo preparamos.");
        fleet.settings.insert("templates.dir".to_owned(), dir.display().to_string());
        let no = fleet.start().await;
        until("it is held", PATIENCE, async || fleet.count(IN_FORCE).await == 1).await;
        fleet.publish(&[order("new", 0)]).await;
        fleet.becomes("new", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
        let pushed = fleet.command(&["templates", "push", "order_confirmed", "--yes"]).await;
        let told = text(&pushed.stdout);
        assert!(pushed.status.success(), "{}", text(&pushed.stderr));
        assert!(told.contains("edit; its messages wait until it is approved again"), "{told}");
        assert!(told.contains("- Hola {{name}}, tu pedido {{order}} está confirmado."), "{told}");
        assert!(told.contains("+ Hola {{name}}, hemos recibido"), "{told}");
        // The review ends by itself, and with it the difference.
        fleet.reaches("new", "accepted").await;
        until("it is released", PATIENCE, async || fleet.count(IN_FORCE).await == 0).await;

        std::fs::remove_dir_all(&dir).expect("the folder goes");
        edited(fleet, "Hola {{name}}, tu pedido {{order}} está en marcha.");
        let refused = fleet.command(&["templates", "push", "order_confirmed", "--yes"]).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stdout).contains("can be edited once in 24 hours; possible again at"));
        // Whoever has forgotten that it was edited is told so by the provider.
        sqlx::query("delete from template_pushes").execute(&fleet.pool).await.expect("a loss");
        let refused = fleet.command(&["templates", "push", "order_confirmed", "--yes"]).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            text(&refused.stderr).contains("the provider refused (HTTP 400, code 100)"),
            "{}",
            text(&refused.stderr)
        );
        fleet.stop(no).await;
        std::fs::remove_dir_all(dir).expect("the folder goes");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_as_marketing_is_held_until_it_is_not() {
    Fleet::run("recategorised", often, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        let no = fleet.start().await;
        until("the templates are read", PATIENCE, async || {
            fleet.count("select count(*) from template_states where version is not null").await == 4
        })
        .await;
        let queue = listening(fleet).await;
        world.recategorise("order_confirmed", "es", "MARKETING");
        let about =
            [("template", "order_confirmed"), ("language", "es"), ("sender", "main"), ("reason", "recategorised")];
        told(fleet, &queue, "hold.placed", &about).await;
        fleet.publish(&[order("waiting", 0)]).await;
        fleet.becomes("waiting", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
        let why = text(&fleet.command(&["why", "waiting"]).await.stdout);
        assert!(why.contains("held") && why.contains("recategorised"), "{why}");
        world.recategorise("order_confirmed", "es", "UTILITY");
        told(fleet, &queue, "hold.released", &about).await;
        fleet.reaches("waiting", "accepted").await;
        fleet.stop(no).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_from_its_file_is_held_until_it_is_the_same_again() {
    Fleet::run(
        "drift",
        often,
        async |fleet| {
            let world = std::sync::Arc::clone(fleet.sim.world());
            let no = fleet.start().await;
            let queue = listening(fleet).await;
            let example = json!([{"param_name": "name", "example": "Ana"}, {"param_name": "order", "example": "A-1"}]);
            let other = saying("Hola {{name}}, compra más: tu pedido {{order}} está confirmado.", &example);
            world.add_template(&other).expect("a template");
            let edited = json!({"message_template_id": 1, "message_template_name": "order_confirmed", "message_template_language": "es"});
            world.news("message_template_components_update", edited.clone());
            let about = [("template", "order_confirmed"), ("language", "es"), ("reason", "template_drifted")];
            told(fleet, &queue, "hold.placed", &about).await;
            fleet.publish(&[order("waiting", 0)]).await;
            fleet.becomes("waiting", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
            let why = text(&fleet.command(&["why", "waiting"]).await.stdout);
            assert!(why.contains("differ in body. See: recado templates diff order_confirmed"), "{why}");
            let diff = fleet.command(&["templates", "diff", "order_confirmed", "--json"]).await;
            let diff: Value = serde_json::from_slice(&diff.stdout).expect("JSON");
            assert_eq!((&diff[0]["status"], &diff[0]["differences"][0]["place"]), (&json!("approved"), &json!("body")));
            world.add_template(&at_meta("order_confirmed")).expect("a template");
            world.news("message_template_components_update", edited.clone());
            told(fleet, &queue, "hold.released", &about).await;
            fleet.reaches("waiting", "accepted").await;

            // Whoever releases what differs has seen it: the same difference holds nothing any more.
            world.add_template(&other).expect("a template");
            world.news("message_template_components_update", edited);
            told(fleet, &queue, "hold.placed", &about).await;
            let released = fleet.command(&["release", "template", "order_confirmed", "--language", "es", "--because", "a test"]).await;
            assert!(released.status.success(), "{}", text(&released.stderr));
            let synced = fleet.command(&["templates", "sync"]).await;
            assert!(text(&synced.stdout).contains("approved, differs from the file in body"), "{}", text(&synced.stdout));
            assert_eq!(fleet.count(IN_FORCE).await, 0);
            fleet.publish(&[order("released", 1)]).await;
            fleet.reaches("released", "accepted").await;
            fleet.stop(no).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_a_template_and_its_end_releases_it() {
    Fleet::run("pause", often, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        let no = fleet.start().await;
        let queue = listening(fleet).await;
        world.set_template_status("order_confirmed", "es", Approval::Paused);
        told(
            fleet,
            &queue,
            "template.changed",
            &[("template", "order_confirmed"), ("status", "paused"), ("was", "approved")],
        )
        .await;
        fleet.publish(&[order("waiting", 0)]).await;
        fleet.becomes("waiting", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
        world.set_template_status("order_confirmed", "es", Approval::Approved);
        told(fleet, &queue, "template.changed", &[("status", "approved"), ("was", "paused")]).await;
        fleet.reaches("waiting", "accepted").await;
        fleet.stop(no).await;
    })
    .await;
}

/// Runs a command that needs no services, in the tests' own folder.
fn alone(arguments: &[&str], dir: &Path) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_recado"));
    command.args(arguments).env_clear().env("RECADO_TEMPLATES__DIR", dir).current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.output().expect("it runs")
}

#[test]
fn lint_names_file_line_and_cure() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let good = alone(&["templates", "lint", "--strict"], &shipped);
    assert!(good.status.success(), "{}{}", text(&good.stdout), text(&good.stderr));

    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lint-{}", std::process::id()));
    for part in ["messages", "events"] {
        std::fs::create_dir_all(dir.join(part)).expect("a folder");
    }
    let copy = |name: &str| std::fs::copy(catalogue_dir().join(name), dir.join(name)).expect("a copy");
    copy("events/order.confirmed.json");
    copy("messages/order_confirmed.toml");
    let file = dir.join("messages/order_confirmed.toml");
    let whole = std::fs::read_to_string(&file).expect("a template");
    std::fs::write(&file, whole.replace("está confirmado", "está confirmado, con un descuento")).expect("a template");
    let warned = alone(&["templates", "lint"], &dir);
    assert!(warned.status.success());
    assert!(
        text(&warned.stdout)
            .contains("order_confirmed.toml:20: warning: languages.es.body: \"descuento\" sounds like selling"),
        "{}",
        text(&warned.stdout)
    );
    assert_eq!(alone(&["templates", "lint", "--strict"], &dir).status.code(), Some(1));

    std::fs::write(&file, whole.replace("está confirmado.", "está confirmado: {{order}}")).expect("a template");
    let wrong = alone(&["templates", "lint", "--json"], &dir);
    assert_eq!(wrong.status.code(), Some(1));
    let found: Vec<Value> = serde_json::from_slice(&wrong.stdout).expect("JSON");
    assert_eq!(
        (&found[0]["line"], &found[0]["severity"], &found[0]["key"]),
        (&json!(20), &json!("error"), &json!("languages.es.body"))
    );
    assert!(found[0]["message"].as_str().expect("a text").contains("put words around it"));
    std::fs::remove_dir_all(dir).expect("the folder goes");
}

#[test]
fn a_preview_is_filled_from_an_event_or_the_example() {
    let shown = alone(&["templates", "preview", "order_confirmed"], &catalogue_dir());
    let drawn = text(&shown.stdout);
    assert!(
        drawn.contains("order_confirmed in es\n╭──") && drawn.contains("│ Hola Ana, tu pedido A-1 está confirmado."),
        "{drawn}"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("preview-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (file, page) = (folder.join("event.json"), folder.join("page.html"));
    std::fs::write(&file, order("B-<7>", 0).to_string()).expect("an event");
    let (file, page) = (file.to_str().expect("a path"), page.to_str().expect("a path"));
    let written =
        alone(&["templates", "preview", "order_confirmed", "--event", file, "--html", page], &catalogue_dir());
    assert!(written.status.success(), "{}", text(&written.stderr));
    let html = std::fs::read_to_string(page).expect("a page");
    assert!(html.contains("Hola Ana, tu pedido B-&lt;7&gt; está confirmado."), "{html}");
    let other = alone(&["templates", "preview", "gate_opened", "--event", file], &catalogue_dir());
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("of the type order.confirmed, and gate_opened is for gate.opened"));
    std::fs::remove_dir_all(folder).expect("the folder goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_is_pushed_to_twilio_and_goes_out_by_its_own_id() {
    let twilio = |plan: &mut Plan| {
        plan.at(Dialect::Twilio);
        often(plan);
        plan.sim.contents.retain(|content| content["friendly_name"] != "order_confirmed");
    };
    Fleet::run("pushed_twilio", twilio, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        fleet.settings.insert("senders.main.content_base_url".to_owned(), fleet.sim.url());
        let no = fleet.start().await;
        until("it is found missing", PATIENCE, async || {
            status(fleet, "order_confirmed").await.as_deref() == Some("deleted")
        })
        .await;
        assert_eq!(status(fleet, "gate_opened").await.as_deref(), Some("approved"));
        fleet.publish(&[order("waiting", 0)]).await;
        fleet.becomes("waiting", "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
        let pushed = fleet.command(&["templates", "push", "--yes"]).await;
        assert!(pushed.status.success(), "{}", text(&pushed.stderr));
        let told = text(&pushed.stdout);
        assert!(told.contains("order_confirmed in es at main: created, pending"), "{told}");
        let known: String =
            sqlx::query_scalar("select content_sid from template_states where template = 'order_confirmed'")
                .fetch_one(&fleet.pool)
                .await
                .expect("an id");
        assert!(world.contents().iter().any(|(sid, _, review)| *sid == known && review.is_some()));
        // Nobody tells; it is read.
        assert!(world.set_content_stage(&known, Stage::Approved));
        fleet.reaches("waiting", "accepted").await;
        assert!(fleet.command(&["templates", "diff"]).await.status.success());

        // Another text is another content, under a name of its own.
        let dir = edited(fleet, "Hola {{name}}, hemos recibido tu pedido {{order}} y lo preparamos.");
        fleet.settings.insert("templates.dir".to_owned(), dir.display().to_string());
        let diff = text(&fleet.command(&["templates", "diff", "order_confirmed"]).await.stdout);
        assert!(diff.contains("- Hola {{1}}, tu pedido {{2}} está confirmado."), "{diff}");
        assert!(diff.contains("+ Hola {{1}}, hemos recibido tu pedido {{2}} y lo preparamos."), "{diff}");
        let pushed = fleet.command(&["templates", "push", "order_confirmed", "--yes"]).await;
        assert!(pushed.status.success(), "{}", text(&pushed.stderr));
        let later: String =
            sqlx::query_scalar("select content_sid from template_states where template = 'order_confirmed'")
                .fetch_one(&fleet.pool)
                .await
                .expect("an id");
        assert_ne!(known, later);
        fleet.stop(no).await;
        std::fs::remove_dir_all(dir).expect("the folder goes");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_with_media_is_refused_by_name_and_the_others_are_pushed() {
    for (dialect, there) in [(Dialect::Meta, "WhatsApp Manager"), (Dialect::Twilio, "Twilio's console")] {
        let plan = |plan: &mut Plan| {
            plan.at(dialect);
            let missing = |name: &Value| name == "order_confirmed" || name == "parcel_arrived";
            plan.sim.templates.retain(|template| !missing(&template["name"]));
            plan.sim.contents.retain(|content| !missing(&content["friendly_name"]));
        };
        Fleet::run("pushed_media", plan, async |fleet| {
            fleet.settings.insert("senders.main.content_base_url".to_owned(), fleet.sim.url());
            if dialect == Dialect::Meta {
                fleet.settings.remove("senders.main.content_base_url");
            }
            let dir = edited(fleet, "Hola {{name}}, tu pedido {{order}} está confirmado.");
            let file = dir.join("messages/order_confirmed.toml");
            let picture = "[header]\nkind = \"image\"\nlink = \"'https://shop.example/boxes.png'\"\n\n[languages.es]";
            let whole = std::fs::read_to_string(&file).expect("a template").replace("[languages.es]", picture);
            std::fs::write(&file, whole).expect("a template");
            fleet.settings.insert("templates.dir".to_owned(), dir.display().to_string());
            let pushed = fleet.command(&["templates", "push", "--yes"]).await;
            let told = text(&pushed.stdout);
            let refused = "order_confirmed in es at main: cannot be pushed: its header is of the kind image";
            let line = told.lines().find(|line| line.starts_with(refused));
            assert!(line.is_some_and(|line| line.contains(there) && line.contains("recado templates sync")), "{told}");
            assert!(told.contains("parcel_arrived in es at main: created, pending"), "{told}{}", text(&pushed.stderr));
            assert_eq!(pushed.status.code(), Some(1), "something is left to do by hand");
            std::fs::remove_dir_all(dir).expect("the folder goes");
        })
        .await;
    }
}
