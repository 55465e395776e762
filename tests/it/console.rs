//! The console as operators meet it: who comes in, what each may do, and that it is written down.

mod acting;
mod browser;
mod desk;
mod many;
mod noted;
mod pages;
mod plans;
mod search;
mod speed;
mod stream;
pub mod visit;
mod words;

use recado::{db::keys::Role, http::auth};
use reqwest::StatusCode;

use crate::{doors::hall::Hall, why::recado};
use visit::{PASSWORD, Visit};

#[tokio::test]
async fn who_is_not_logged_in_is_led_to_the_login_and_from_there_where_they_wanted() {
    let hall = Hall::open().await;
    visit::account(&hall, "ana", Role::Admin).await;
    let mut visit = Visit::new(&hall);
    let sent = visit.get("/console/audit?by=x").await;
    assert_eq!(sent.leads(), "/console/login?next=%2Fconsole%2Faudit%3Fby%3Dx");
    let page = visit.get(sent.leads()).await;
    assert_eq!(page.status, StatusCode::OK);
    let entered = visit.log_in("ana", PASSWORD, "/console/audit?by=x").await;
    assert_eq!(entered.leads(), "/console/audit?by=x");
    assert_eq!(visit.get("/console/audit?by=x").await.status, StatusCode::OK);

    let part = visit::Visit::new(&hall).part("/console/audit").await;
    assert_eq!((part.status, part.header("hx-redirect")), (StatusCode::UNAUTHORIZED, "/console/login"));
}

#[tokio::test]
async fn a_wrong_password_an_unknown_name_and_a_disabled_account_are_answered_alike() {
    let hall = Hall::open().await;
    visit::account(&hall, "ana", Role::Viewer).await;
    visit::account(&hall, "eva", Role::Viewer).await;
    assert_eq!(recado(&hall, &["users", "disable", "eva"]).code, 0);
    let mut said = Vec::new();
    for (name, password) in [("ana", "not her password"), ("nobody-here", PASSWORD), ("eva", PASSWORD)] {
        let mut visit = Visit::new(&hall);
        let answer = visit.log_in(name, password, "").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        assert!(answer.text.contains("Name or password is wrong."), "{}", answer.text);
        said.push(answer.text.replace(name, "NAME").replace(&answer.csrf(), "CSRF"));
    }
    assert!(said.iter().all(|text| *text == said[0]), "they differ");
    let noted = hall.ask("select string_agg(by || ' ' || coalesce(\"on\", '-'), ', ' order by id) from audit where what = 'login.refused'");
    assert_eq!(noted.await.unwrap(), "user ana ana, user ? -, user ? -");
}

#[tokio::test]
async fn a_form_that_is_not_of_the_session_changes_nothing() {
    let hall = Hall::open().await;
    visit::account(&hall, "ana", Role::Admin).await;
    let mut visit = Visit::new(&hall);
    visit.log_in("ana", PASSWORD, "").await;
    let own = visit.get("/console/account").await.csrf();
    for csrf in ["", "rk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"] {
        let answer = visit.post("/console/account/language", &[("csrf", csrf), ("language", "es")]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("This form has expired"), "{}", answer.text);
    }
    let given = [("csrf", own.as_str()), ("language", "es")];
    let from_elsewhere = visit.post_from("https://evil.example", "/console/account/language", &given);
    assert_eq!(from_elsewhere.await.status, StatusCode::FORBIDDEN);
    assert_eq!(hall.ask("select language from users").await, None);
    let answer = visit.post("/console/account/language", &[("csrf", &own), ("language", "es")]).await;
    assert_eq!(answer.leads(), "/console/account?said=language_done");
    assert!(visit.get(answer.leads()).await.text.contains("El idioma se ha cambiado."));
}

#[tokio::test]
async fn a_login_is_of_a_page_that_this_browser_was_given() {
    let hall = Hall::open().await;
    visit::account(&hall, "ana", Role::Admin).await;
    // What a page would hold for a browser that holds nothing: anybody can compute it.
    let of_nobody = auth::spell(&auth::hash("recado form "));
    let mut stranger = Visit::new(&hall);
    let fields = [("csrf", of_nobody.as_str()), ("name", "ana"), ("password", PASSWORD), ("next", "/console/audit")];
    let refused = stranger.post("/console/login", &fields).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    assert!(refused.text.contains("This page had expired. Please try again."), "{}", refused.text);
    assert_eq!(hall.ask("select count(*)::text from sessions").await.unwrap(), "0");

    // The page that says so is one to try again from.
    let csrf = refused.csrf();
    let fields = [("csrf", csrf.as_str()), ("name", "ana"), ("password", PASSWORD), ("next", "/console/audit")];
    assert_eq!(stranger.post("/console/login", &fields).await.leads(), "/console/audit");
}

#[tokio::test]
async fn a_session_ends_by_leaving_by_a_new_password_and_by_an_end_of_the_account() {
    let hall = Hall::open().await;
    visit::account(&hall, "ana", Role::Admin).await;
    visit::account(&hall, "root", Role::Admin).await;
    let enter = async |password: &str| {
        let mut visit = Visit::new(&hall);
        assert_eq!(visit.log_in("ana", password, "").await.status, StatusCode::SEE_OTHER);
        visit
    };
    let is_in = async |visit: &mut Visit| visit.get("/console/account").await.status == StatusCode::OK;

    let mut one = enter(PASSWORD).await;
    let cookie = one.cookie.clone();
    let csrf = one.get("/console/account").await.csrf();
    one.post("/console/logout", &[("csrf", &csrf)]).await;
    one.cookie = cookie;
    assert!(!is_in(&mut one).await, "the token is worth nothing any more");

    let (mut here, mut there) = (enter(PASSWORD).await, enter(PASSWORD).await);
    let csrf = here.get("/console/account").await.csrf();
    let new = "an even better password";
    let fields = [("csrf", csrf.as_str()), ("old", PASSWORD), ("new", new), ("again", new)];
    assert_eq!(here.post("/console/account/password", &fields).await.leads(), "/console/account?said=password_done");
    assert!(is_in(&mut here).await && !is_in(&mut there).await);
    assert_eq!(recado(&hall, &["users", "disable", "ana"]).code, 0);
    assert!(!is_in(&mut here).await);

    hall.sql("update users set disabled_at = null").await;
    let mut idle = enter(new).await;
    hall.sql("update sessions set used_at = now() - interval '2 hours'").await;
    assert!(!is_in(&mut idle).await);
    let mut gone = enter(new).await;
    let used = "select (used_at > now() - interval '1 min')::text from sessions order by used_at desc limit 1";
    hall.sql("update sessions set used_at = now() - interval '50 min'").await;
    gone.get("/console/plans/live").await;
    assert_eq!(hall.ask(used).await.as_deref(), Some("false"), "a page that renews itself keeps nobody logged in");
    assert!(is_in(&mut gone).await);
    assert_eq!(hall.ask(used).await.as_deref(), Some("true"));
    hall.sql("update sessions set used_at = now() - interval '2 hours'").await;
    let story = "/console/notifications/0193f2c4-8d1e-7a30-9b1d-2f0c5a1e7b44";
    for page in ["/console/now", "/console/plans", "/console/plans/1", story] {
        let stream = gone.get(&format!("{page}/live")).await;
        assert_eq!((stream.status, stream.header("content-type")), (StatusCode::OK, "text/event-stream"));
        let login = format!("/console/login?next={}", page.replace('/', "%2F"));
        assert!(
            stream.text.starts_with("event: ended\ndata: <p")
                && stream.text.contains("Log in again")
                && stream.text.contains(&login),
            "{}",
            stream.text
        );
    }
    let mut old = enter(new).await;
    hall.sql("update sessions set ends_at = now()").await;
    assert!(!is_in(&mut old).await);
}

#[tokio::test]
async fn a_viewer_is_refused_with_a_page_that_says_why() {
    let hall = Hall::open().await;
    visit::account(&hall, "vera", Role::Viewer).await;
    let mut visit = Visit::new(&hall);
    visit.log_in("vera", PASSWORD, "").await;
    let refused = visit.get("/console/audit").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("You may not do this") && refused.text.contains("<strong>Admin</strong>"));
    let part = visit.part("/console/audit").await;
    assert_eq!(part.status, StatusCode::FORBIDDEN);
    assert!(part.text.contains("You may not do this") && !part.text.contains("<html"), "{}", part.text);
    assert!(!refused.text.contains("/console/audit\""), "nor is it in the navigation");
}

#[tokio::test]
async fn accounts_are_made_changed_and_ended_on_the_command_line() {
    let hall = Hall::open().await;
    let with = |arguments: &[&str], typed: &str| visit::recado_typed(&hall, arguments, typed);
    assert_eq!(with(&["users", "create", "ana", "--role", "admin"], PASSWORD).0, 0);
    let (code, said) = with(&["users", "create", "ana"], PASSWORD);
    assert!(code == 1 && said.contains("there is an account ana already"), "{said}");
    let (code, said) = with(&["users", "create", "Ana"], PASSWORD);
    assert!(code == 2 && said.contains("lower-case"), "{said}");
    let (code, said) = with(&["users", "create", "eva"], "short");
    assert!(code == 1 && said.contains("12 to 200 characters") && !said.contains("short"), "{said}");
    let last = recado(&hall, &["users", "disable", "ana"]);
    assert!(last.code == 1 && last.stderr.contains("last admin"), "{}", last.stderr);
    assert_eq!(recado(&hall, &["users", "role", "ana", "viewer"]).code, 1);
    assert_eq!(with(&["users", "create", "bea", "--role", "admin"], PASSWORD).0, 0);
    assert_eq!(recado(&hall, &["users", "role", "ana", "viewer"]).code, 0);
    assert_eq!(with(&["users", "password", "ana"], "another long password").0, 0);
    assert_eq!(recado(&hall, &["users", "disable", "ana"]).code, 0);
    let listed = recado(&hall, &["users", "list"]).stdout;
    assert!(listed.contains("bea") && listed.contains("viewer") && listed.contains("disabled"), "{listed}");
    assert!(!listed.contains("argon2"));
    let noted = hall.ask("select string_agg(what, ' ' order by id) from audit").await.unwrap();
    assert_eq!(noted, "user.created user.created user.role user.password user.disabled");
}

#[tokio::test]
async fn an_operator_holds_a_sender_and_releases_it_and_a_viewer_is_refused() {
    let hall = Hall::open().await;
    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let mut operator = Visit::of(&hall, "olga", Role::Operator).await;
    let own = operator.get("/console/senders").await.csrf();
    let hold = [("csrf", own.as_str()), ("scope", "sender"), ("sender", "main"), ("reason", "a strange complaint")];
    assert_eq!(operator.post("/console/holds", &hold).await.leads(), "/console/senders?said=placed");
    let seen = viewer.get("/console/senders").await;
    assert!(seen.text.contains("a strange complaint") && seen.text.contains("user olga"), "{}", seen.text);
    assert!(!seen.text.contains("/release"), "a viewer is offered to release it");

    let page = operator.get("/console/senders").await.text;
    let (_, rest) = page.split_once("/console/holds/").unwrap();
    let release = format!("/console/holds/{}/release", rest.split_once('/').unwrap().0);
    let theirs = viewer.get("/console/account").await.csrf();
    let why = ("reason", "it was a mistake");
    assert_eq!(viewer.post(&release, &[("csrf", &theirs), why]).await.status, StatusCode::FORBIDDEN);
    for reason in ["", " ", &"x".repeat(301)] {
        let silent = operator.post(&release, &[("csrf", &own), ("reason", reason)]).await;
        assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            silent.text.contains("Give a reason") && silent.text.contains("a strange complaint"),
            "{}",
            silent.text
        );
    }
    assert_eq!(operator.post(&release, &[("csrf", &own), why]).await.leads(), "/console/senders?said=done");
    assert_eq!(operator.post(&release, &[("csrf", &own), why]).await.status, StatusCode::NOT_FOUND);
    let kept = "select released_because from holds where released_by = 'user olga'";
    assert_eq!(hall.ask(kept).await.unwrap(), "it was a mistake");
    let unwell = operator.post("/console/holds", &[("csrf", &own), ("scope", "everything"), ("reason", " ")]).await;
    assert!(
        unwell.status == StatusCode::UNPROCESSABLE_ENTITY && unwell.text.contains("Give a reason"),
        "{}",
        unwell.text
    );
}
