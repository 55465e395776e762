//! `recado doctor` and `recado healthcheck`, as an operator meets them.

use std::process::Command;

use recado::{
    domain::template::{Catalogue, Settings},
    sim::{Options, Rules, Sender, Sim},
};
use serde_json::Value;

use crate::doors::hall::Hall;

/// A patient: the hall's database, the simulator as its provider, and a queue that nobody has declared.
struct Patient {
    hall: Hall,
    sim: Sim,
    variables: Vec<(String, String)>,
}

struct Told {
    code: i32,
    findings: Vec<Value>,
}

impl Told {
    /// What was said under this name, with its verdict.
    fn of(&self, what: &str) -> (&str, &str) {
        let finding = self.findings.iter().find(|finding| finding["what"] == what);
        let finding = finding.unwrap_or_else(|| panic!("{what}: {:#?}", self.findings));
        (finding["verdict"].as_str().unwrap(), finding["said"].as_str().unwrap())
    }

    fn wrong(&self) -> Vec<&str> {
        let wrong = self.findings.iter().filter(|finding| finding["verdict"] == "wrong");
        wrong.map(|finding| finding["what"].as_str().unwrap()).collect()
    }
}

impl Patient {
    async fn admit() -> Patient {
        let hall = Hall::open().await;
        let sender = Sender {
            phone_number_id: "200000000000002".to_owned(),
            display_phone_number: "+15550001111".to_owned(),
            token: "right-token".to_owned(),
            mps: 80,
            ..Sender::default()
        };
        let sim = Sim::start(Options {
            address: "127.0.0.1:0".parse().unwrap(),
            waba_id: "100000000000001".to_owned(),
            senders: vec![sender],
            webhooks: Rules::default(),
            manual_webhooks: true,
            ..Options::default()
        })
        .await
        .unwrap();
        let broker = std::env::vars().find(|(name, _)| name == "AMQP_URL").map(|(_, url)| url);
        let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
        let mut patient = Patient { hall, sim, variables: Vec::new() };
        for (name, value) in [
            ("DATABASE_URL", patient.hall.url.clone()),
            ("AMQP_URL", broker.unwrap_or_else(|| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned())),
            ("RECADO_BROKER__QUEUE", format!("recado.nobody.{}", std::process::id())),
            ("RECADO_META__BASE_URL", patient.sim.url()),
            ("RECADO_SENDERS__MAIN__KIND", "meta".to_owned()),
            ("RECADO_SENDERS__MAIN__PHONE_NUMBER_ID", "200000000000002".to_owned()),
            ("RECADO_SENDERS__MAIN__WABA_ID", "100000000000001".to_owned()),
            ("RECADO_SENDERS__MAIN__TOKEN", "right-token".to_owned()),
            ("RECADO_SENDERS__MAIN__APP_SECRET", "app-secret".to_owned()),
            ("RECADO_SENDERS__MAIN__VERIFY_TOKEN", "verify-me".to_owned()),
            ("RECADO_TEMPLATES__DIR", templates.to_owned()),
        ] {
            patient.set(name, &value);
        }
        patient
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    async fn approve_all(&self) {
        let catalogue = Patient::catalogue();
        for template in catalogue.templates() {
            for language in template.languages() {
                self.approve(template.name(), language).await;
            }
        }
    }

    fn approve_at_meta(&self) {
        let catalogue = Patient::catalogue();
        for template in catalogue.templates() {
            for language in template.languages() {
                self.sim.world().add_template(&catalogue.meta_template(template, language).unwrap()).unwrap();
            }
        }
    }

    fn catalogue() -> Catalogue {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let files = |of: &str, ending| recado::cli::files(&folder.join(of), ending).unwrap();
        let settings = Settings {
            senders: vec!["main".to_owned()],
            default_language: "es".to_owned(),
            default_zone: "UTC".to_owned(),
            ..Settings::default()
        };
        Catalogue::load(&files("messages", "toml"), &files("events", "json"), &settings).unwrap()
    }

    async fn approve(&self, template: &str, language: &str) {
        let approve = format!(
            "insert into template_states (sender, template, language, status, changed_by)
             select id, '{template}', '{language}', 'approved', 'test' from senders where name = 'main'"
        );
        self.hall.sql(&approve).await;
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_recado"))
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn examine(&self) -> Told {
        self.told(&["doctor", "--json"])
    }

    /// Each step of the sender `main`.
    fn steps(&self) -> Told {
        self.told(&["doctor", "--sender", "main", "--json"])
    }

    /// Everything that a shop has to do is done, and the hall is its public address.
    async fn all_set_up() -> Patient {
        let mut patient = Patient::admit().await;
        patient.set("RECADO_HTTP__PUBLIC_URL", &format!("http://{}", patient.hall.address()));
        let url = format!("http://{}/webhooks/main", patient.hall.address());
        patient.sim.world().set_webhooks(|rules| {
            rules.url = Some(url);
            rules.secret = "app-secret".to_owned();
        });
        patient.approve_at_meta();
        patient.approve_all().await;
        let id = patient.hall.notification("evt-1", "+34600111222").await;
        patient.hall.attempt(id, "accepted", None).await;
        patient.hall.sql("insert into webhooks (sender, body, applied_at) values ('main', 'x', now())").await;
        patient
    }

    fn told(&self, arguments: &[&str]) -> Told {
        let (code, out, err) = self.run(arguments);
        Told { code, findings: serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}")) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_well_is_told_so_and_what_is_still_to_do() {
    let patient = Patient::admit().await;
    patient.approve("order_confirmed", "es").await;
    let told = patient.examine();
    assert_eq!((told.code, told.wrong()), (0, vec![]), "{:#?}", told.findings);
    assert_eq!(told.of("configuration").0, "ok");
    assert_eq!(told.of("database").0, "ok");
    assert_eq!(told.of("templates").0, "ok");
    assert_eq!(told.of("sender main").0, "ok");
    assert_eq!(told.of("webhooks of main").0, "ok");
    let (verdict, said) = told.of("broker");
    assert!(verdict == "warning" && said.contains("is not there yet"), "{said}");
    assert_eq!(told.of("reports on main").0, "warning");
    let (_, out, _) = patient.run(&["doctor"]);
    assert!(out.contains("ok       database: reachable") && out.ends_with("Nothing is wrong.\n"), "{out}");
    assert!(!out.contains("right-token") && !out.contains("app-secret"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_comes_in_the_order_in_which_to_put_it_right() {
    let mut patient = Patient::admit().await;
    patient.set("RECADO_SENDERS__MAIN__TOKEN", "wrong-token");
    patient.set("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    patient.hall.sql("delete from _sqlx_migrations").await;
    let told = patient.examine();
    assert_eq!(told.code, 1);
    assert_eq!(told.wrong(), ["database", "broker", "sender main"]);
    assert!(told.findings.iter().all(|finding| finding["verdict"] == "ok" || finding["cure"].is_string()));
    assert!(told.of("sender main").1.contains("token_invalid (code 190)"), "{}", told.of("sender main").1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_configuration_comes_first_and_the_rest_is_looked_at_all_the_same() {
    let mut patient = Patient::admit().await;
    patient.variables.retain(|(name, _)| name != "RECADO_SENDERS__MAIN__APP_SECRET");
    let told = patient.examine();
    assert_eq!(told.code, 1);
    assert_eq!(told.findings[0]["what"], "configuration");
    assert!(told.findings[0]["said"].as_str().unwrap().contains("senders.main.app_secret"));
    assert_eq!(told.of("database").0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_named_without_its_address() {
    let patient = Patient::admit().await;
    patient.hall.lose_database().await;
    let told = patient.examine();
    assert_eq!(told.wrong(), ["database"]);
    assert!(told.of("database").1.contains("out of reach"), "{}", told.of("database").1);
    assert!(!told.of("database").1.contains("postgres://"));
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_doubts_backlog_and_silence_are_seen() {
    let patient = Patient::admit().await;
    patient.approve_all().await;
    let hall = &patient.hall;
    let late = hall.notification("evt-1", "+34600111222").await;
    let doubtful = hall.notification("evt-2", "+34600111333").await;
    let taken = hall.notification("evt-3", "+34600111444").await;
    hall.attempt(doubtful, "unclear", None).await;
    hall.attempt(taken, "accepted", None).await;
    hall.sql(&format!("update notifications set due_at = now() - interval '1 hour' where id = '{late}'")).await;
    hall.sql(
        "insert into holds (scope, reason, placed_by) values ('everything', 'database_restored', 'recado');
         insert into webhooks (sender, received_at, body) values ('second', now() - interval '1 hour', 'x')",
    )
    .await;
    let told = patient.examine();
    assert_eq!(told.of("approvals of main").0, "ok");
    assert!(told.of("hold").1.contains("everything, database_restored"), "{}", told.of("hold").1);
    assert!(told.of("backlog of main").1.contains("due for 60 minutes"), "{}", told.of("backlog of main").1);
    assert!(told.of("doubts of main").1.starts_with("1 messages"), "{}", told.of("doubts of main").1);
    assert_eq!(told.of("reports on main"), ("wrong", "1 messages were taken and no webhook ever came"));
    assert_eq!(told.of("webhooks"), ("wrong", "1 are stored and not applied, the oldest for 60 minutes"));
    assert_eq!(told.wrong(), ["reports on main", "webhooks"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_settings_is_found_and_left_alone() {
    let patient = Patient::admit().await;
    let value = |wanted: &str| patient.variables.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
    let (url, queue) = (value("AMQP_URL"), format!("{}.classic", value("RECADO_BROKER__QUEUE")));
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.queue_declare(queue.as_str().into(), Default::default(), Default::default()).await.unwrap();
    let mut patient = patient;
    patient.set("RECADO_BROKER__QUEUE", &queue);
    let told = patient.examine();
    let (verdict, said) = told.of("broker");
    assert!(verdict == "wrong" && said.contains("exists already with other settings"), "{said}");
    channel.queue_delete(queue.as_str().into(), Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_of_a_container_asks_the_doors() {
    let mut patient = Patient::admit().await;
    let address = patient.hall.address().to_owned();
    patient.set("RECADO_HTTP__LISTEN", &address);
    let (code, out, err) = patient.run(&["healthcheck"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("\"ready\":true"), "{out}");
    patient.hall.stand(|standing| standing.results_taken = false);
    assert_eq!(patient.run(&["healthcheck"]).0, 1);
    assert_eq!(patient.run(&["healthcheck", "--alive"]).0, 0);
    // A process without the role http answers where Prometheus asks.
    patient.set("RECADO_HTTP__LISTEN", "127.0.0.1:1");
    patient.set("RECADO_HTTP__METRICS_LISTEN", &address);
    assert_eq!(patient.run(&["healthcheck", "--alive"]).0, 0);
    patient.set("RECADO_HTTP__METRICS_LISTEN", "127.0.0.1:2");
    let (code, _, err) = patient.run(&["healthcheck"]);
    assert!(code == 1 && err.contains("nobody answers at http://127.0.0.1:1/readyz"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_all_set_up_is_told_so_step_by_step() {
    let patient = Patient::all_set_up().await;
    let told = patient.steps();
    assert_eq!((told.code, told.wrong()), (0, vec![]), "{:#?}", told.findings);
    for step in [
        "configuration",
        "templates",
        "token",
        "business",
        "number",
        "name",
        "sending",
        "callback",
        "subscription",
        "template",
        "consent",
        "message",
    ] {
        assert_eq!(told.of(step).0, "ok", "{step}: {}", told.of(step).1);
    }
    let (verdict, said) = told.of("webhook");
    assert!(verdict == "warning" && said.contains("answers, but Meta posts to https:// only"), "{said}");
    let (_, out, _) = patient.run(&["doctor", "--sender", "main"]);
    for secret in ["right-token", "app-secret", "verify-me"] {
        assert!(!out.contains(secret), "{out}");
    }
    let (code, out, _) = patient.run(&["doctor", "--sender", "man"]);
    assert!(code == 1 && out.contains("there is no sender man; there are main"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_that_is_missing_is_named_with_its_cure_and_its_section() {
    use recado::sim::{Access, Obstacle, World};
    type Break = fn(&World);
    let patient = Patient::all_set_up().await;
    let world = patient.sim.world();
    let sender = |world: &World, change: fn(&mut Sender)| assert!(world.change_sender("200000000000002", change));
    let sound = world.webhook_rules();
    let cases: [(&str, &str, &str, Break); 13] = [
        ("token", "it lacks the permission whatsapp_business_messaging", "4-a-token", |world| {
            world.change_access(|access| access.scopes.retain(|scope| scope != "whatsapp_business_messaging"));
        }),
        ("token", "Meta says that it is not valid any more", "4-a-token", |world| {
            world.change_access(|access| access.token_expires_at = 1_700_000_000);
        }),
        ("business", "the business is not verified (not_verified)", "1-a-business", |world| {
            world.change_access(|access| access.business_verification_status = "not_verified".to_owned());
        }),
        ("business", "Meta's review of the account is REJECTED", "1-a-business", |world| {
            world.change_access(|access| access.account_review_status = "REJECTED".to_owned());
        }),
        ("number", "nobody has proved that it is yours (NOT_VERIFIED)", "2-an-app", |world| {
            world.change_sender("200000000000002", |sender| {
                sender.status = "PENDING".to_owned();
                sender.code_verification_status = "NOT_VERIFIED".to_owned();
            });
        }),
        ("number", "it is not registered with the Cloud API (PENDING)", "2-an-app", |world| {
            world.change_sender("200000000000002", |sender| sender.status = "PENDING".to_owned());
        }),
        ("name", "the display name is DECLINED", "3-the-name", |world| {
            world.change_sender("200000000000002", |sender| sender.name_status = "DECLINED".to_owned());
        }),
        ("sending", "error with the payment method (code 141006)", "7-a-way-to-pay", |world| {
            world.change_sender("200000000000002", |sender| sender.obstacle = Some(Obstacle::default()));
        }),
        ("callback", "the app secret is not that of the token's app", "6-the-webhook", |world| {
            world.set_webhooks(|rules| rules.secret = "another".to_owned());
        }),
        ("callback", "has no webhook for WhatsApp", "6-the-webhook", |world| {
            world.set_webhooks(|rules| rules.url = None);
        }),
        ("callback", "the app's webhooks go to https://elsewhere.example/hook", "6-the-webhook", |world| {
            world.set_webhooks(|rules| rules.url = Some("https://elsewhere.example/hook".to_owned()));
        }),
        ("callback", "the app is not subscribed to messages", "6-the-webhook", |world| {
            world.change_access(|access| access.webhook_fields.retain(|field| field != "messages"));
        }),
        ("subscription", "no app is subscribed to the account", "6-the-webhook", |world| world.set_subscribed(false)),
    ];
    for (step, says, section, break_it) in cases {
        break_it(world);
        let told = patient.steps();
        let finding = told.findings.iter().find(|finding| finding["what"] == step).unwrap();
        assert!(finding["said"].as_str().unwrap().contains(says), "{step}: {finding:#}");
        assert!(finding["cure"].is_string() && finding["see"].as_str().unwrap().contains(section), "{finding:#}");
        let expected = if says.contains("not verified (") { ("warning", 0) } else { ("wrong", 1) };
        assert_eq!((finding["verdict"].as_str().unwrap(), told.code), expected, "{finding:#}");
        world.change_access(|access| *access = Access::default());
        world.set_subscribed(true);
        sender(world, |sender| {
            *sender = Sender {
                token: "right-token".to_owned(),
                display_phone_number: "+15550001111".to_owned(),
                ..Sender::default()
            };
        });
        let rules = sound.clone();
        world.set_webhooks(|known| *known = rules);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_we_know_is_a_step_too() {
    let mut patient = Patient::all_set_up().await;
    patient.hall.sql("update contacts set consents = '{}'; delete from webhooks; delete from template_states").await;
    let told = patient.steps();
    assert_eq!(told.wrong(), ["consent", "approval", "message"], "{:#?}", told.findings);
    assert!(told.of("message").1.contains("no webhook ever came"));
    patient.set("RECADO_HTTP__PUBLIC_URL", "http://127.0.0.1:1");
    let told = patient.steps();
    assert!(
        told.of("webhook").1.contains("nobody answers at http://127.0.0.1:1/webhooks/main"),
        "{}",
        told.of("webhook").1
    );
    patient.variables.retain(|(name, _)| name != "RECADO_HTTP__PUBLIC_URL");
    assert_eq!(patient.steps().of("webhook"), ("wrong", "it has no public address"));
    patient.set("RECADO_SENDERS__MAIN__TOKEN", "wrong-token");
    let told = patient.steps();
    assert_eq!(told.wrong()[0], "token", "{:#?}", told.findings);
    assert_eq!(told.of("callback").0, "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_at_twilio_has_its_own_steps() {
    let mut patient = Patient::all_set_up().await;
    let url = patient.sim.url();
    for (key, value) in [
        ("KIND", "twilio"),
        ("ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef"),
        ("NUMBER", "+34600000001"),
        ("AUTH_TOKEN", "sim-auth-token"),
        ("BASE_URL", &url),
        ("CONTENT_BASE_URL", &url),
    ] {
        patient.set(&format!("RECADO_SENDERS__SECOND__{key}"), value);
    }
    patient.set("RECADO_TEMPLATES__DEFAULT_SENDER", "second");
    let steps = |patient: &Patient| patient.told(&["doctor", "--sender", "second", "--json"]);
    let told = steps(&patient);
    assert_eq!(told.of("account"), ("ok", "it is active and takes its credentials"), "{:#?}", told.findings);
    assert_eq!(told.of("webhook").0, "ok");
    assert!(
        told.of("template").1.starts_with("none of the catalogue's 33 is approved there"),
        "{}",
        told.of("template").1
    );
    assert_eq!(told.wrong(), ["template", "approval"]);
    let content = serde_json::json!({"friendly_name": "order_confirmed", "language": "es",
        "variables": {"1": "Ana"}, "types": {"twilio/text": {"body": "Hola {{1}}, tu pedido está confirmado."}},
        "approval": {"name": "order_confirmed", "category": "UTILITY", "status": "approved"}});
    patient.sim.world().add_content(&content).unwrap();
    let told = steps(&patient);
    assert!(told.of("template").1.starts_with("1 approved, not yet: "), "{}", told.of("template").1);
    patient.set("RECADO_SENDERS__SECOND__AUTH_TOKEN", "another");
    let told = steps(&patient);
    assert_eq!(told.wrong()[0], "account");
    assert!(told.of("account").1.starts_with("Twilio refuses, token_invalid"), "{}", told.of("account").1);
}
