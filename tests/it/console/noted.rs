//! The audit trail: every act leaves one note that nobody can change, and so does every look at a whole number.

use recado::{
    db::{consents, keys::Role},
    domain::{ledger::Act, phone::Phone},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::visit::{PASSWORD, Visit, account, recado_typed_as};
use crate::{
    doors::hall::Hall,
    why::{Ran, recado_with},
};

/// Has a notification.
const ANA: &str = "+34600111222";
/// Has a ledger.
const BEA: &str = "+34600111333";

/// What was noted since this was last asked: what, on what, by whom.
struct Trail<'a> {
    hall: &'a Hall,
    seen: i64,
}

impl<'a> Trail<'a> {
    async fn of(hall: &'a Hall) -> Trail<'a> {
        let mut trail = Trail { hall, seen: 0 };
        trail.more().await;
        trail
    }

    async fn more(&mut self) -> Vec<String> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as(r#"select id, concat_ws(' ', what, "on", '|', by) from audit where id > $1 order by id"#)
                .bind(self.seen)
                .fetch_all(&self.hall.pools.ops)
                .await
                .unwrap();
        self.seen = rows.last().map_or(self.seen, |(id, _)| *id);
        rows.into_iter().map(|(_, note)| note).collect()
    }
}

fn root(hall: &Hall, arguments: &[&str]) -> Ran {
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let variables = [("USER", "root"), ("RECADO_HTTP__SERVER_KEY", key), ("RECADO_TEMPLATES__DIR", templates)];
    recado_with(hall, arguments, &variables)
}

/// Bea's contact, as notes name it.
async fn bea(hall: &Hall) -> String {
    let who = consents::Who::Phone(Phone::parse(BEA).unwrap());
    let evidence = json!({"way": "test"});
    consents::record(&hall.pools.ops, who, Act::Confirmed, &["orders"], evidence, jiff::Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    hall.ask(&format!("select 'contact ' || id from contacts where phone = '{BEA}'")).await.unwrap()
}

/// No note names a person.
async fn names_nobody(hall: &Hall) {
    let all: Vec<String> = sqlx::query_scalar("select a::text from audit a").fetch_all(&hall.pools.ops).await.unwrap();
    assert!(!all.is_empty() && all.iter().all(|note| !note.contains("600111")), "{all:?}");
    // Whoever changes what is sent says why.
    let silent = "select string_agg(what, ' ') from audit where reason is null
      and what ~ '^(hold|notification|consent\\.(revoked|erased)|rejected_event\\.(wanted|replayed))' and what !~ 'shown'";
    assert_eq!(hall.ask(silent).await, None);
}

#[tokio::test]
async fn every_act_on_the_command_line_leaves_one_note() {
    let hall = Hall::open().await;
    let id = hall.notification("order-1", ANA).await;
    let rejected = hall.rejected(1, "bad_phone", "{}").await;
    let bea = bea(&hall).await;
    let mut trail = Trail::of(&hall).await;
    let acts: [(&[&str], i32, &[&str]); 25] = [
        (&["hold", "everything", "--reason", "wrong prices"], 0, &["hold.placed hold 1 | cli root"]),
        (&["hold", "everything", "--reason", "still wrong"], 0, &["hold.prolonged hold 1 | cli root"]),
        (&["release", "everything", "--because", "a test"], 0, &["hold.released hold 1 | cli root"]),
        (&["release", "everything", "--because", "a test"], 1, &[]),
        (&["hold", "sender", "main", "--reason", "new number"], 0, &["hold.placed hold 3 | cli root"]),
        (&["release", "3", "--because", "a test"], 0, &["hold.released hold 3 | cli root"]),
        (&["release", "3", "--because", "a test"], 1, &[]),
        (&["keys", "create", "--name", "desk", "--role", "operator"], 0, &["key.created desk | cli root"]),
        (&["keys", "create", "--name", "desk"], 1, &[]),
        (&["keys", "revoke", "desk"], 0, &["key.revoked desk | cli root"]),
        (&["keys", "revoke", "desk"], 1, &[]),
        (
            &["templates", "approve", "order_confirmed", "--language", "es", "--sender", "main"],
            0,
            &["template.approved main order_confirmed es | cli root"],
        ),
        (&["why", "+34600999888"], 1, &[]),
        (&["why", ANA], 0, &["number.shown NOTIFICATION | cli root"]),
        (&["cancel", "NOTIFICATION", "--because", "a test"], 0, &["notification.cancelled NOTIFICATION | cli root"]),
        (&["cancel", "NOTIFICATION", "--because", "a test"], 1, &[]),
        (&["retry", "NOTIFICATION", "--because", "a test"], 0, &["notification.retried NOTIFICATION | cli root"]),
        (&["rejected", "show", "REJECTED"], 0, &["rejected_event.shown REJECTED | cli root"]),
        (&["consent", "show", BEA], 0, &["consent.shown CONTACT | cli root"]),
        (&["consent", "show", "+34600999888"], 1, &["consent.shown | cli root"]),
        (&["consent", "export", BEA], 0, &["consent.exported CONTACT | cli root"]),
        (&["consent", "revoke", BEA, "--reason", "told us"], 0, &["consent.revoked CONTACT | cli root"]),
        (&["consent", "erase", BEA, "--reason", "asked for it"], 1, &[]),
        (&["consent", "erase", BEA, "--reason", "asked for it", "--yes"], 0, &["consent.erased CONTACT | cli root"]),
        (&["audit"], 0, &[]),
    ];
    let full = |text: &str| {
        let text = text.replace("NOTIFICATION", &id.to_string()).replace("REJECTED", &rejected.to_string());
        text.replace("CONTACT", &bea)
    };
    for (arguments, code, notes) in acts {
        let arguments: Vec<String> = arguments.iter().map(|argument| full(argument)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = root(&hall, &arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert_eq!(trail.more().await, notes.iter().map(|note| full(note)).collect::<Vec<_>>(), "{arguments:?}");
    }
    names_nobody(&hall).await;
}

#[tokio::test]
async fn every_change_of_an_account_on_the_command_line_leaves_one_note() {
    let hall = Hall::open().await;
    account(&hall, "bea", Role::Admin).await;
    let mut trail = Trail::of(&hall).await;
    for (arguments, note) in [
        (&["users", "create", "ana", "--role", "admin"][..], "user.created ana | cli root"),
        (&["users", "password", "ana"], "user.password ana | cli root"),
        (&["users", "role", "ana", "viewer"], "user.role ana | cli root"),
        (&["users", "disable", "ana"], "user.disabled ana | cli root"),
        (&["users", "enable", "ana"], "user.enabled ana | cli root"),
    ] {
        assert_eq!(recado_typed_as(&hall, "root", arguments, PASSWORD).0, 0, "{arguments:?}");
        assert_eq!(trail.more().await, [note]);
        recado_typed_as(&hall, "root", arguments, PASSWORD);
        let again = trail.more().await;
        assert!(again.is_empty() || arguments[1] == "password", "{again:?}: nothing was changed");
    }
}

#[tokio::test]
async fn every_act_through_the_api_leaves_one_note() {
    let hall = Hall::open().await;
    let id = hall.notification("order-1", ANA).await;
    let (operator, viewer) = (hall.key(Role::Operator).await, hall.key(Role::Viewer).await);
    let bea = bea(&hall).await;
    let ana = hall.ask("select 'contact ' || id from contacts where phone = '+34600111222'").await.unwrap();
    let mut trail = Trail::of(&hall).await;
    let hold = json!({"scope": "everything", "reason": "wrong prices"});
    assert_eq!(hall.post("/v1/holds", &operator, &hold).await.status, StatusCode::CREATED);
    assert_eq!(trail.more().await, ["hold.placed hold 1 | key operator"]);
    assert_eq!(hall.post("/v1/holds", &viewer, &hold).await.status, StatusCode::FORBIDDEN);
    let released = hall.send(Method::DELETE, "/v1/holds/1?reason=a%20test", &operator, None).await;
    assert_eq!(released.status, StatusCode::NO_CONTENT);
    assert_eq!(trail.more().await, ["hold.released hold 1 | key operator"]);

    let story = format!("/v1/notifications/{id}");
    for (path, note) in [
        (story.as_str(), format!("number.shown {id} | key operator")),
        ("/v1/notifications?phone=%2B34600111222", format!("number.shown {ana} | key operator")),
        ("/v1/notifications", "number.shown | key operator".to_owned()),
    ] {
        assert!(hall.read(path, &operator).await.text().contains(ANA), "{path}");
        assert_eq!(trail.more().await, [note]);
        if !path.contains("phone") {
            assert!(!hall.read(path, &viewer).await.text().contains(ANA), "{path}");
        }
        assert!(trail.more().await.is_empty(), "a viewer was shown nothing");
    }
    let whose = "select count(*)::text from audit where what = 'number.shown' and detail -> 'notifications' ? (select id::text from notifications)";
    assert_eq!(hall.ask(whose).await.as_deref(), Some("3"), "each look says at whose number");
    assert_eq!(hall.read("/v1/notifications?phone=%2B34600999888", &operator).await.status, StatusCode::OK);
    assert!(trail.more().await.is_empty(), "nobody was shown");

    let no = json!({"phone": BEA, "reason": "told us"});
    assert_eq!(hall.post("/v1/consents/revoke", &operator, &no).await.status, StatusCode::OK);
    assert_eq!(trail.more().await, [format!("consent.revoked {bea} | key operator")]);
    let link = hall.post("/v1/preferences-links", &operator, &json!({"phone": BEA})).await;
    assert_eq!(link.status, StatusCode::CREATED, "{}", link.text());
    assert_eq!(trail.more().await, [format!("consent.link_made {bea} | key operator")]);
    names_nobody(&hall).await;
}

#[tokio::test]
async fn every_act_on_the_console_leaves_one_note_and_who_may_not_act_leaves_none() {
    let hall = Hall::open().await;
    let bea = bea(&hall).await;
    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let mut operator = Visit::of(&hall, "olga", Role::Operator).await;
    let mut admin = Visit::of(&hall, "ada", Role::Admin).await;
    let mut trail = Trail::of(&hall).await;
    let hold = [("scope", "everything"), ("reason", "wrong prices")];
    operator.fill("/console/senders", "/console/holds", &hold).await.leads();
    assert_eq!(trail.more().await, ["hold.placed hold 1 | user olga"]);
    operator.fill("/console/senders", "/console/holds/1/release", &[("reason", "a test")]).await.leads();
    assert_eq!(trail.more().await, ["hold.released hold 1 | user olga"]);

    for (who, status, note) in [
        ("+34 600 111 333", StatusCode::OK, Some(format!("consent.shown {bea} | user olga"))),
        (&bea, StatusCode::OK, Some(format!("consent.shown {bea} | user olga"))),
        ("+34600999888", StatusCode::OK, Some("consent.shown | user olga".to_owned())),
        ("ana", StatusCode::UNPROCESSABLE_ENTITY, None),
    ] {
        assert_eq!(operator.fill("/console/consents", "/console/consents", &[("who", who)]).await.status, status);
        assert_eq!(trail.more().await, note.into_iter().collect::<Vec<_>>(), "{who}");
    }

    let name = ("name", "eva");
    for (path, fields, note) in [
        ("/console/users", &[name, ("role", "viewer"), ("password", PASSWORD)][..], "user.created eva | user ada"),
        ("/console/users/role", &[name, ("role", "operator")], "user.role eva | user ada"),
        ("/console/users/password", &[name, ("password", "another good password")], "user.password eva | user ada"),
        ("/console/users/disable", &[name], "user.disabled eva | user ada"),
        ("/console/users/enable", &[name], "user.enabled eva | user ada"),
        ("/console/keys", &[("name", "desk"), ("role", "operator")], "key.created desk | user ada"),
        ("/console/keys/revoke", &[("name", "desk")], "key.revoked desk | user ada"),
    ] {
        for other in [&mut viewer, &mut operator] {
            let refused = other.fill("/console/account", path, fields).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        }
        assert!(trail.more().await.is_empty(), "{path}");
        let done = admin.fill("/console/account", path, fields).await.status;
        assert!(done == StatusCode::SEE_OTHER || done == StatusCode::CREATED, "{path}: {done}");
        assert_eq!(trail.more().await, [note], "{path}");
    }
    for path in ["/console/users", "/console/keys", "/console/audit"] {
        assert_eq!(operator.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(viewer.get("/console/consents").await.status, StatusCode::FORBIDDEN);
    names_nobody(&hall).await;
}

#[tokio::test]
async fn a_note_can_be_neither_changed_nor_removed_and_only_time_ends_it() {
    let hall = Hall::open().await;
    hall.key(Role::Viewer).await;
    let before = hall.ask("select string_agg(a::text, ' ') from audit a").await.unwrap();
    for change in [
        "update audit set by = 'user nobody'",
        "update audit set reason = 'another' where what = 'key.created'",
        "delete from audit",
        "truncate audit",
    ] {
        let refused = sqlx::raw_sql(change).execute(&hall.pools.ops).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{change}: {refused}");
    }
    assert_eq!(hall.ask("select string_agg(a::text, ' ') from audit a").await.unwrap(), before);
}

#[tokio::test]
async fn the_trail_is_read_by_admins_by_who_by_what_and_by_when() {
    let hall = Hall::open().await;
    let (admin, operator) = (hall.key(Role::Admin).await, hall.key(Role::Operator).await);
    for reason in ["one", "two", "three"] {
        hall.post("/v1/holds", &operator, &json!({"scope": "everything", "reason": reason})).await;
    }
    assert_eq!(hall.read("/v1/audit", &operator).await.status, StatusCode::FORBIDDEN);
    let read = async |query: &str| {
        let page: Value = hall.read(&format!("/v1/audit?{query}"), &admin).await.json();
        page["notes"].as_array().unwrap_or_else(|| panic!("{query}: {page}")).clone()
    };
    let reasons = |notes: &[Value]| notes.iter().map(|note| note["reason"].clone()).collect::<Vec<_>>();
    assert_eq!(reasons(&read("what=hold").await), ["three", "two", "one"]);
    assert_eq!(reasons(&read("what=hold.placed&by=operator").await), ["one"]);
    assert_eq!(read("by=key+operator&on=hold+1").await.len(), 3);
    assert!(read("what=hold&by=somebody").await.is_empty() && read("what=hol").await.is_empty());
    assert!(read("what=hold&until=2026-01-01T00:00:00Z").await.is_empty());
    assert_eq!(read("what=hold&since=2026-01-01T00:00:00Z").await.len(), 3);
    for wrong in ["since=yesterday", "limit=0", "cursor=x", "who=ana"] {
        assert_eq!(hall.read(&format!("/v1/audit?{wrong}"), &admin).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let first: Value = hall.read("/v1/audit?what=hold&limit=2", &admin).await.json();
    assert_eq!(reasons(first["notes"].as_array().unwrap()), ["three", "two"]);
    let rest: Value =
        hall.read(&format!("/v1/audit?what=hold&cursor={}", first["next"].as_str().unwrap()), &admin).await.json();
    assert_eq!((reasons(rest["notes"].as_array().unwrap()), &rest["next"]), (vec![json!("one")], &Value::Null));

    let told = root(&hall, &["audit", "--what", "hold", "--by", "operator"]).stdout;
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 3 && lines[0].contains("key operator") && lines[0].contains("hold 1: three"), "{told}");
    let limited = root(&hall, &["audit", "--limit", "1", "--json"]);
    assert!(limited.stderr.contains("There is more"), "{}", limited.stderr);
    assert_eq!(serde_json::from_str::<Value>(&limited.stdout).unwrap().as_array().unwrap().len(), 1);
    assert!(root(&hall, &["audit", "--since", "2099-01-01T00:00:00Z"]).stdout.contains("Nothing of the kind"));

    let mut visit = Visit::of(&hall, "ada", Role::Admin).await;
    let page = visit.get("/console/audit?what=hold&by=operator&from=2026-01-01T00%3A00").await.text;
    assert!(page.contains("hold.prolonged") && page.contains("three") && !page.contains("login.ok"), "{page}");
    assert!(visit.get("/console/audit?to=2026-01-01T00%3A00").await.text.contains("Nothing of this kind was noted"));
}

#[tokio::test]
async fn a_new_key_is_shown_once_and_works() {
    let hall = Hall::open().await;
    let mut admin = Visit::of(&hall, "ada", Role::Admin).await;
    let made = admin.fill("/console/keys", "/console/keys", &[("name", "desk"), ("role", "viewer")]).await;
    assert_eq!((made.status, made.header("cache-control")), (StatusCode::CREATED, "no-store"));
    let (_, rest) = made.text.split_once("<pre id=\"key\">").unwrap();
    let key = rest.split_once('<').unwrap().0;
    assert_eq!(hall.read("/v1/holds", key).await.status, StatusCode::OK);
    assert!(!admin.get("/console/keys").await.text.contains(key));
    for (name, words) in [("desk", "There is, or was, a key of this name"), (" ", "1 to 60 characters")] {
        let refused = admin.fill("/console/keys", "/console/keys", &[("name", name), ("role", "viewer")]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    admin.fill("/console/keys", "/console/keys/revoke", &[("name", "desk")]).await.leads();
    assert_eq!(hall.read("/v1/holds", key).await.status, StatusCode::UNAUTHORIZED);
    let again = admin.fill("/console/keys", "/console/keys/revoke", &[("name", "desk")]).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_admin_makes_changes_and_ends_accounts_but_not_the_last_of_their_kind() {
    let hall = Hall::open().await;
    let mut admin = Visit::of(&hall, "ada", Role::Admin).await;
    let users = "/console/users";
    let made = admin.fill(users, users, &[("name", "eva"), ("role", "viewer"), ("password", PASSWORD)]).await;
    assert_eq!(made.leads(), "/console/users?said=created");
    let mut eva = Visit::new(&hall);
    assert_eq!(eva.log_in("eva", PASSWORD, "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(eva.get("/console/consents").await.status, StatusCode::FORBIDDEN);
    admin.fill(users, "/console/users/role", &[("name", "eva"), ("role", "operator")]).await.leads();
    assert_eq!(eva.get("/console/consents").await.status, StatusCode::OK);
    admin
        .fill(users, "/console/users/password", &[("name", "eva"), ("password", "another good password")])
        .await
        .leads();
    assert_eq!(eva.get("/console/account").await.status, StatusCode::SEE_OTHER, "the session is over");
    assert_eq!(eva.log_in("eva", "another good password", "").await.status, StatusCode::SEE_OTHER);
    admin.fill(users, "/console/users/disable", &[("name", "eva")]).await.leads();
    assert_eq!(eva.get("/console/account").await.status, StatusCode::SEE_OTHER);
    let same = admin.fill(users, "/console/users/disable", &[("name", "eva")]).await;
    assert_eq!(same.leads(), "/console/users?said=same");

    for (path, fields, words) in [
        (users, &[("name", "eva"), ("role", "viewer"), ("password", PASSWORD)][..], "of this name already"),
        (users, &[("name", "Eva"), ("role", "viewer"), ("password", PASSWORD)], "lower-case"),
        (users, &[("name", "leo"), ("role", "viewer"), ("password", "short")], "12 to 200 characters"),
        ("/console/users/disable", &[("name", "ada")], "last admin"),
        ("/console/users/role", &[("name", "ada"), ("role", "viewer")], "last admin"),
    ] {
        let refused = admin.fill(users, path, fields).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert!(refused.text.contains(words), "{path}: {}", refused.text);
    }
    let producer = admin.fill(users, "/console/users/role", &[("name", "eva"), ("role", "producer")]).await;
    assert_eq!(producer.status, StatusCode::BAD_REQUEST, "only a key is a producer");
    let unknown = admin.fill(users, "/console/users/enable", &[("name", "nobody")]).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn templates_are_drawn_with_their_examples_and_how_they_stand() {
    let hall = Hall::open().await;
    hall.sql(
        "insert into template_states (sender, template, language, status, category, quality, changed_by)
         select id, 'order_confirmed', 'es', 'paused', 'UTILITY', 'RED', 'meta' from senders where name = 'main';
         insert into holds (scope, sender, template, reason, detail, placed_by)
         select 'template', id, 'order_confirmed', 'operator', 'a typo in it', 'user olga' from senders where name = 'main'",
    )
    .await;
    let mut visit = Visit::of(&hall, "vera", Role::Viewer).await;
    let list = visit.get("/console/templates").await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text);
    for part in
        ["href=\"/console/templates/order_confirmed\"", "href=\"/console/templates/delivered\"", "paused", "held"]
    {
        assert!(list.text.contains(part), "{part}: {}", list.text);
    }
    let of = visit.get("/console/templates/order_confirmed").await.text;
    for part in ["paused", "UTILITY", "RED", "a typo in it", "class=\"bubble\" lang=\"es\"", "not known"] {
        assert!(of.contains(part), "{part}: {of}");
    }
    assert!(!of.contains("{{") && !of.contains("<mark>"), "its example is not filled in: {of}");
    assert_eq!(visit.get("/console/templates/nothing").await.status, StatusCode::NOT_FOUND);
}
