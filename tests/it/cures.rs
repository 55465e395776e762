//! What the command line says when something is missing or misspelled: which thing, and what to do.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use uuid::Uuid;

use crate::{
    doors::hall::Hall,
    harness::amqp_url,
    why::{Ran, recado, recado_with},
};

const TEMPLATES: (&str, &str) = ("RECADO_TEMPLATES__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/templates"));

/// Fails unless it ended with this code and said all of these.
#[track_caller]
fn says(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "{part} is missing: {}", ran.stderr);
    }
}

/// A file that is gone with its test.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> File {
        let path = std::env::temp_dir().join(format!("recado_it_{}", Uuid::now_v7().simple()));
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// The broker's address with another password, or with another vhost.
fn broker(change: impl FnOnce(&mut reqwest::Url)) -> String {
    let mut url = reqwest::Url::parse(&amqp_url()).unwrap();
    change(&mut url);
    url.to_string()
}

#[tokio::test]
async fn who_publishes_before_anything_is_declared_is_told_to_declare_it() {
    let hall = Hall::open().await;
    let event = File::new(r#"{"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.confirmed"}"#);
    let name = format!("recado_it_cures_{}", Uuid::now_v7().simple());
    let publish = |url: &str| {
        let set = [("AMQP_URL", url), ("RECADO_BROKER__EXCHANGE", &name)];
        recado_with(&hall, &["publish", event.path()], &set)
    };
    let early = publish(&amqp_url());
    says(&early, 1, &["broker.url (AMQP_URL)", &name, "recado topology", "recado run"]);
    assert_eq!(early.stderr.lines().count(), 1, "the driver's own words are left out: {}", early.stderr);

    let elsewhere = publish(&broker(|url| url.set_path("nowhere")));
    says(&elsewhere, 1, &["broker.url (AMQP_URL)", "vhost nowhere not found", "rabbitmqctl add_vhost"]);
    let stranger = publish(&broker(|url| url.set_password(Some("wrong-password")).unwrap()));
    says(&stranger, 1, &["broker.url (AMQP_URL)", "Login was refused", "user and password"]);
    assert!(!stranger.stderr.contains("wrong-password"));
    says(&publish("amqp://127.0.0.1:9/"), 1, &["broker.url (AMQP_URL)", "Is RabbitMQ running there?"]);
    for refused in [elsewhere, stranger] {
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
    says(&publish("http://127.0.0.1/"), 2, &["AMQP_URL: broker.url: must begin with amqp://"]);
}

#[tokio::test]
async fn a_database_that_is_missing_empty_or_not_ours_is_told_apart() {
    let hall = Hall::open().await;
    let at = |url: &str| recado_with(&hall, &["holds"], &[("DATABASE_URL", url)]);
    let other = |name: &str| {
        let mut url = reqwest::Url::parse(&hall.url).unwrap();
        url.set_path(name);
        url.to_string()
    };
    says(&at(&other("recado_it_no_such")), 1, &["database.url (DATABASE_URL)", "does not exist", "createdb"]);
    says(&at("postgres://127.0.0.1:9/recado"), 1, &["database.url (DATABASE_URL)", "Is Postgres running there?"]);
    says(&at("mysql://127.0.0.1/recado"), 2, &["DATABASE_URL: database.url: must begin with postgres://"]);
    hall.sql("alter table holds rename to elsewhere").await;
    says(&at(&hall.url), 1, &["database.url (DATABASE_URL)", "relation \"holds\" does not exist", "recado migrate"]);
}

#[tokio::test]
async fn what_is_no_id_and_what_is_no_time_is_refused_with_what_would_be_one() {
    let hall = Hall::open().await;
    for command in [&["cancel", "A-1042", "--because", "a test"][..], &["retry", "+34600111222", "--because", "a test"]]
    {
        says(&recado(&hall, command), 2, &["is no notification's id", "recado why ORDER finds it"]);
    }
    says(&recado(&hall, &["rejected", "show", "7"]), 2, &["is no rejected event's id", "recado rejected lists them"]);
    says(&recado(&hall, &["replay-rejected", "7", "--because", "a test"]), 2, &["is no rejected event's id"]);
    says(&recado(&hall, &["plans", "show", "x"]), 2, &["is no plan's number", "recado plans list"]);
    for command in [
        &["audit", "--since", "soon"][..],
        &["plans", "new", "retry", "--until", "soon"],
        &["callbacks", "replay", "shop", "--since", "soon"],
    ] {
        says(&recado(&hall, command), 2, &["2026-11-22T20:00:00Z", "like 3d or 2h"]);
    }

    hall.sql("insert into audit (at, by, what) values ('2026-11-01T00:00:00Z', 'user ana', 'hold.placed')").await;
    let found = |arguments: &[&str]| {
        let told = recado(&hall, &[&["audit", "--by", "ana"], arguments].concat());
        assert_eq!(told.code, 0, "{}", told.stderr);
        told.stdout.contains("hold.placed")
    };
    assert!(found(&["--since", "2026-11-01"]) && found(&["--since", "36500d"]));
    assert!(!found(&["--until", "2026-11-01"]) && !found(&["--since", "0s"]));
}

#[tokio::test]
async fn a_reason_for_which_nothing_is_rejected_is_refused_with_those_that_there_are() {
    let hall = Hall::open().await;
    for command in [&["rejected"][..], &["replay-rejected", "--dry-run"]] {
        let misspelled = recado(&hall, &[command, &["--reason", "unfilable_template"]].concat());
        says(&misspelled, 2, &["bad_phone", "unfillable_template"]);
    }
    assert_eq!(recado(&hall, &["rejected", "--reason", "unfillable_template"]).code, 0);
}

#[tokio::test]
async fn a_plan_for_everything_at_once_is_told_how_to_say_which() {
    let hall = Hall::open().await;
    says(
        &recado(&hall, &["plans", "new", "retry"]),
        2,
        &["--state, --reason", "recado plans new retry --state failed"],
    );
    let nobody = recado(&hall, &["plans", "new", "retry", "--sender", "nobody"]);
    says(&nobody, 2, &["--sender", "main, second"]);
    let none = recado(&hall, &["plans", "new", "retry", "--since", "2h"]);
    assert!(none.code == 0 && none.stdout.contains("nothing to run"), "{}", none.stdout);
    says(&recado(&hall, &["plans", "stop", "7"]), 1, &["no plan of this number", "recado plans list"]);
}

#[tokio::test]
async fn a_hold_on_what_nobody_has_is_refused_with_what_there_is() {
    let hall = Hall::open().await;
    let hold = |on: &[&str]| recado_with(&hall, &[&["hold"], on, &["--reason", "typo"]].concat(), &[TEMPLATES]);
    says(&hold(&["sender", "mian"]), 2, &["no sender mian", "there are main, second"]);
    says(
        &hold(&["template", "order_confirmd", "--sender", "main"]),
        2,
        &["no template order_confirmd", "order_confirmed"],
    );
    let french = hold(&["template", "order_confirmed", "--language", "fr", "--sender", "main"]);
    says(&french, 2, &["not written in fr", "en, es, pt_BR"]);
    let on = ["--scope", "template", "--sender", "main", "--template", "order_confirmd"];
    let planned = recado_with(&hall, &[&["plans", "new", "hold"][..], &on].concat(), &[TEMPLATES]);
    says(&planned, 2, &["no template order_confirmd"]);
    assert_eq!(recado(&hall, &["holds"]).stdout, "Nothing is held.\n");

    // What only the provider has can be held too.
    hall.sql(
        "insert into template_states (sender, template, language, status, changed_by)
         select id, 'older', 'es', 'approved', 'sync' from senders where name = 'main'",
    )
    .await;
    says(&hold(&["template", "older", "--sender", "second"]), 2, &["no template older"]);
    assert_eq!(hold(&["template", "older", "--sender", "main"]).code, 0);
    // Where the templates cannot be read, the provider's are known.
    let blind = |name| recado(&hall, &["hold", "template", name, "--sender", "main", "--reason", "x"]);
    says(&blind("order_confirmed"), 2, &["there are older"]);
    hall.sql("delete from template_states").await;
    assert_eq!(blind("order_confirmed").code, 0, "whoever has to stop something is let");
}

#[tokio::test]
async fn a_consent_to_what_nobody_sends_is_named_and_left_out() {
    let hall = Hall::open().await;
    let file = File::new(
        "phone,purpose,granted_at,source,wording\n\
         +34600111222,orders,2026-03-04T10:20:30+01:00,checkout,v3\n\
         +34600111333,orders|ordres,2026-03-04T10:20:30+01:00,checkout,v3\n",
    );
    for dry in [&["--dry-run"][..], &[]] {
        let imported = recado_with(&hall, &[&["consent", "import", file.path()], dry].concat(), &[TEMPLATES]);
        says(&imported, 1, &["line 3: purpose ordres is none", "there are orders, shipping"]);
        assert!(!imported.stderr.contains("600111"), "{}", imported.stderr);
    }
    let known = hall.ask("select string_agg(phone || ' ' || consents::text, '; ') from contacts").await.unwrap();
    assert!(known.contains("+34600111222") && !known.contains("ordres") && !known.contains("+34600111333"), "{known}");
    says(&recado(&hall, &["consent", "import", file.path()]), 2, &["templates.dir"]);
}

#[tokio::test]
async fn what_an_argument_cannot_be_ends_with_2() {
    let hall = Hall::open().await;
    for (command, says_so) in [
        (&["consent", "show", "600111222"][..], "country code"),
        (&["consent", "revoke", "600111222", "--reason", "x"], "country code"),
        (&["costs", "--by", "person"], "--by has one or more of day, sender"),
        (&["costs", "--from", "yesterday"], "--from is a day like"),
        (&["keys", "create", "--name", ""], "1 to 60 characters"),
        (&["users", "create", "Ana"], "lower-case letters"),
        (&["hold", "everything", "--reason", " "], "1 to 300 characters"),
        (&["plans", "run", "1", "--because", " "], "--because is a text"),
        (&["replay-rejected", "--all", "--because", " "], "--because is a text"),
        (&["replay-rejected", "--all"], "--because <TEXT>"),
        (&["replay-rejected", "--because", "x"], "--all"),
    ] {
        says(&recado(&hall, command), 2, &[says_so]);
    }
}

#[tokio::test]
async fn an_account_has_none_of_the_roles_of_keys() {
    let hall = Hall::open().await;
    for command in [&["users", "create", "ana", "--role", "producer"][..], &["users", "role", "ana", "producer"]] {
        says(&recado(&hall, command), 2, &["there are viewer, operator and admin"]);
    }
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_fault_of_any_command() {
    let hall = Hall::open().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for arguments in [
        &["--help"][..],
        &["plans", "new", "--help"],
        &["openapi"],
        &["templates", "list"],
        &["templates", "lint", "--json"],
        &["templates", "preview", "delivered"],
        &["holds"],
        &["audit", "--json"],
        &["keys", "list"],
        &["costs"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_recado"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &hall.url)
            .current_dir(root)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(0) && !told.contains("panicked"), "{arguments:?}: {told}");
    }
}
