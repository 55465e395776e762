//! The console: who comes in, who may do what, and that nothing is done which one of its pages did not send.

use recado::{cli::users, db::keys::Role};
use reqwest::{Client, Response, StatusCode, redirect};

use crate::doors::hall::Hall;

const PASSWORD: &str = "correct horse battery";

/// A browser without a screen: it keeps one cookie and follows nothing.
struct Visit<'a> {
    hall: &'a Hall,
    client: Client,
    cookie: String,
}

impl Visit<'_> {
    fn begin(hall: &Hall) -> Visit<'_> {
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
        Visit { hall, client, cookie: String::new() }
    }

    async fn get(&self, path: &str) -> (StatusCode, String, String) {
        let request = self.client.get(format!("http://{}{path}", self.hall.address())).header("cookie", &self.cookie);
        said(request.send().await.unwrap()).await
    }

    /// As a page of ours would post it.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String, String) {
        let origin = format!("http://{}", self.hall.address());
        said(self.post_from(path, fields, &origin).await).await
    }

    async fn post_from(&self, path: &str, fields: &[(&str, &str)], origin: &str) -> Response {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(format!("http://{}{path}", self.hall.address())).header("cookie", &self.cookie);
        let request = request.header("origin", origin).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.unwrap()
    }

    async fn log_in(&mut self, name: &str, password: &str) -> StatusCode {
        let origin = format!("http://{}", self.hall.address());
        let fields = [("name", name), ("password", password)];
        let response = self.post_from("/console/login", &fields, &origin).await;
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        response.status()
    }

    /// What a form of the page at `path` sends along.
    async fn csrf(&self, path: &str) -> String {
        let (_, _, page) = self.get(path).await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// Status, where to, and the page.
async fn said(response: Response) -> (StatusCode, String, String) {
    let to = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status(), to, response.text().await.unwrap())
}

async fn account(hall: &Hall, name: &str, role: Role) {
    users::create(&hall.pools, name, role, &PASSWORD.to_owned().into()).await.unwrap();
}

async fn audited(hall: &Hall) -> Vec<String> {
    let acts = sqlx::query_scalar("select what || coalesce(' ' || \"on\", '') || ' by ' || by from audit order by id");
    acts.fetch_all(&hall.pools.ops).await.unwrap()
}

#[tokio::test]
async fn whoever_is_not_in_is_led_in_and_back() {
    let hall = Hall::open().await;
    account(&hall, "ana", Role::Operator).await;
    let mut visit = Visit::begin(&hall);
    let (status, to, _) = visit.get("/console/senders?x=1").await;
    assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, "/console/login?next=%2Fconsole%2Fsenders%3Fx%3D1"));
    assert_eq!(visit.log_in("ana", "not the password").await, StatusCode::UNAUTHORIZED);
    assert_eq!(visit.log_in("nobody", PASSWORD).await, StatusCode::UNAUTHORIZED);
    assert_eq!(visit.log_in("Ana", PASSWORD).await, StatusCode::SEE_OTHER);
    let (status, _, page) = visit.get("/console/senders").await;
    assert!(status == StatusCode::OK && page.contains("main") && page.contains("second"), "{page}");

    let csrf = visit.csrf("/console/senders").await;
    assert_eq!(visit.post("/console/logout", &[("csrf", &csrf)]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(visit.get("/console/senders").await.0, StatusCode::SEE_OTHER);
    let acts = audited(&hall).await;
    let acts: Vec<_> = acts.iter().map(String::as_str).collect();
    assert!(acts[0].starts_with("user.made ana by "), "{acts:?}");
    assert_eq!(
        acts[1..],
        [
            "session.refused ana by nobody",
            "session.refused by nobody",
            "session.begun ana by user ana",
            "session.ended ana by user ana"
        ]
    );
}

#[tokio::test]
async fn a_viewer_sees_and_is_refused_what_changes_something() {
    let hall = Hall::open().await;
    account(&hall, "vera", Role::Viewer).await;
    let mut visit = Visit::begin(&hall);
    visit.log_in("vera", PASSWORD).await;
    let csrf = visit.csrf("/console/senders").await;
    let hold = [("csrf", csrf.as_str()), ("scope", "everything"), ("reason", "because")];
    let (status, _, page) = visit.post("/console/holds", &hold).await;
    assert!(status == StatusCode::FORBIDDEN && page.contains("This needs the role operator"), "{page}");
}

#[tokio::test]
async fn an_operator_holds_and_releases_and_only_from_a_page_of_ours() {
    let hall = Hall::open().await;
    account(&hall, "olga", Role::Operator).await;
    let mut visit = Visit::begin(&hall);
    visit.log_in("olga", PASSWORD).await;
    let csrf = visit.csrf("/console/senders").await;
    let hold = [("csrf", csrf.as_str()), ("scope", "sender"), ("sender", "main"), ("reason", "a strange complaint")];
    let elsewhere = visit.post_from("/console/holds", &hold, "https://evil.example").await;
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    let without = [("scope", "sender"), ("sender", "main"), ("reason", "a strange complaint")];
    assert_eq!(visit.post("/console/holds", &without).await.0, StatusCode::FORBIDDEN);
    let (.., page) = visit.get("/console/senders").await;
    assert!(!page.contains("a strange complaint"));

    assert_eq!(visit.post("/console/holds", &hold).await.0, StatusCode::SEE_OTHER);
    let (.., page) = visit.get("/console/senders").await;
    assert!(page.contains("a strange complaint") && page.contains("user olga"), "{page}");
    let (_, rest) = page.split_once("/console/holds/").unwrap();
    let release = format!("/console/holds/{}/release", rest.split_once('/').unwrap().0);
    assert_eq!(visit.post(&release, &[("csrf", &csrf)]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(visit.post(&release, &[("csrf", &csrf)]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_password_is_not_guessed_at_leisure_and_a_disabled_account_is_out() {
    let hall = Hall::open().await;
    account(&hall, "ana", Role::Admin).await;
    let mut visit = Visit::begin(&hall);
    assert_eq!(visit.log_in("ana", PASSWORD).await, StatusCode::SEE_OTHER);
    let changed = recado::db::users::change(&hall.pools.ops, "ANA", &recado::db::users::Change::Disable, "cli test");
    assert!(changed.await.unwrap());
    assert_eq!(visit.get("/console/senders").await.0, StatusCode::SEE_OTHER);
    assert_eq!(visit.log_in("ana", PASSWORD).await, StatusCode::UNAUTHORIZED);
    for _ in 0..8 {
        assert_eq!(visit.log_in("ana", "x").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(visit.log_in("ana", "x").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn every_act_leaves_one_note_that_nobody_can_change() {
    let hall = Hall::open().await;
    account(&hall, "ana", Role::Operator).await;
    account(&hall, "vera", Role::Viewer).await;
    let mut visit = Visit::begin(&hall);
    visit.log_in("ana", PASSWORD).await;
    let csrf = visit.csrf("/console/senders").await;
    let hold = [("csrf", csrf.as_str()), ("scope", "everything"), ("reason", "wrong prices")];
    assert_eq!(visit.post("/console/holds", &hold).await.0, StatusCode::SEE_OTHER);
    assert_eq!(visit.post("/console/holds/1/release", &[("csrf", &csrf)]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(visit.post("/console/holds/1/release", &[("csrf", &csrf)]).await.0, StatusCode::NOT_FOUND);
    let search = [("csrf", csrf.as_str()), ("phone", "+34 600 111 222")];
    let (status, _, page) = visit.post("/console/consents", &search).await;
    assert!(status == StatusCode::OK && page.contains("Nobody with this number is known"), "{page}");
    assert_eq!(visit.get("/console/audit").await.0, StatusCode::FORBIDDEN);
    let acts = audited(&hall).await;
    let done: Vec<_> = acts.iter().filter(|act| act.ends_with("by user ana")).map(String::as_str).collect();
    assert_eq!(
        done,
        [
            "session.begun ana by user ana",
            "hold.placed hold 1 by user ana",
            "hold.released hold 1 by user ana",
            "consent.looked_up by user ana"
        ]
    );
    let all: Vec<String> = sqlx::query_scalar("select a::text from audit a").fetch_all(&hall.pools.ops).await.unwrap();
    assert!(all.iter().all(|entry| !entry.contains("600111222")), "{all:?}");
    for change in ["update audit set by = 'x'", "delete from audit", "truncate audit"] {
        assert!(sqlx::raw_sql(change).execute(&hall.pools.ops).await.is_err(), "{change}");
    }

    let mut visit = Visit::begin(&hall);
    visit.log_in("vera", PASSWORD).await;
    assert_eq!(visit.get("/console/consents").await.0, StatusCode::FORBIDDEN);
    assert_eq!(visit.get("/console/templates").await.0, StatusCode::OK);
    assert_eq!(hall.get_as("/v1/audit", &format!("Bearer {}", hall.key(Role::Viewer).await)).await.status, 403);
    let admin = format!("Bearer {}", hall.key(Role::Admin).await);
    assert_eq!(hall.get_as("/v1/audit?what=hold&by=ana", &admin).await.status, 200);
}
