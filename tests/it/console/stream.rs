//! What pages are told while somebody looks: over HTTP, and in a browser.

use recado::db::{keys::Role, plans};
use reqwest::{Client, Response, StatusCode};

use super::{browser::enters, visit::Visit};
use crate::{
    doors::hall::Hall,
    harness::{PATIENCE, until},
    optin::driver::Browser,
    plans::failed,
};

const ANA: &str = "+34600111222";
/// What a page is told last, when nothing moves any more.
pub const OVER: &str = "event: over\ndata:\n\nevent: ended\ndata:\n\n";

/// A stream as a browser has it, without the browser.
pub struct Stream {
    response: Response,
    told: String,
}

impl Stream {
    /// What is told there to this visitor.
    pub async fn of(hall: &Hall, visit: &Visit, path: &str) -> Stream {
        Stream::after(hall, visit, path, "").await
    }

    /// The same for somebody who lost the stream after this was told.
    async fn after(hall: &Hall, visit: &Visit, path: &str, last: &str) -> Stream {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut asked = client.get(format!("http://{}{path}", hall.address())).header("cookie", &visit.cookie);
        if !last.is_empty() {
            asked = asked.header("last-event-id", last);
        }
        let response = asked.send().await.unwrap();
        Stream { response, told: String::new() }
    }

    /// All that was told since this was last asked, as soon as it has these words and ends an event.
    pub async fn until(&mut self, words: &str) -> String {
        while !(self.told.contains(words) && self.told.ends_with("\n\n")) {
            assert!(self.more().await, "it ends: {}", self.told);
        }
        std::mem::take(&mut self.told)
    }

    /// All that was told since, to its end.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        std::mem::take(&mut self.told)
    }

    async fn more(&mut self) -> bool {
        let Some(chunk) = self.response.chunk().await.unwrap() else { return false };
        self.told += std::str::from_utf8(&chunk).unwrap();
        true
    }
}

/// The names of the events in it.
fn events(told: &str) -> Vec<&str> {
    told.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

/// What the page has when all of this was told.
fn last_id(told: &str) -> String {
    told.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned()
}

/// Where a page's stream is, as the page says it.
fn live(page: &str) -> String {
    let (_, rest) = page.split_once("sse-connect=\"").unwrap_or_else(|| panic!("nothing is told: {page}"));
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn what_is_live_is_told_part_by_part_and_ends_with_the_process() {
    let hall = Hall::open().await;
    let viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let mut stream = Stream::of(&hall, &viewer, "/console/now/live").await;
    assert_eq!(stream.response.headers()["content-type"], "text/event-stream");
    let told = stream.until("event: work\n").await;
    for part in ["figures", "charts", "senders"] {
        assert!(told.contains(&format!("event: {part}\ndata: ")), "{part}: {told}");
    }
    hall.stand(|standing| standing.stopping = true);
    stream.rest().await;
}

#[tokio::test]
async fn a_story_tells_what_the_page_does_not_show_yet_and_no_more_when_nothing_moves() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", ANA).await;
    let page = format!("/console/notifications/{id}");
    let mut operator = Visit::of(&hall, "olga", Role::Operator).await;
    let at = live(&operator.get(&page).await.text);
    let mut stream = Stream::of(&hall, &operator, &at).await;
    assert_eq!(stream.until(":\n\n").await, ":\n\n", "the page has it all");
    hall.sql(&format!(
        "insert into timeline (notification_id, at, what, detail) values ('{id}', now(), 'waits', 'lane')"
    ))
    .await;
    let told = stream.until("event: ").await;
    assert_eq!(events(&told), ["story"], "what can be done is as it was, and a reason may be half written: {told}");
    assert!(told.contains("wait for its turn"), "{told}");

    // Who lost the stream has what was told, also if the page was loaded before.
    hall.attempt(id, "accepted", None).await;
    let mut again = Stream::after(&hall, &operator, &at, &last_id(&told)).await;
    let told = again.until("event: ").await;
    assert_eq!(events(&told)[..4], ["standing", "next", "acts", "story"], "{told}");
    assert!(told.contains("event: acts\ndata:\n") && told.contains("The provider took it"), "{told}");
    hall.sql("update notifications set receipt = 'read'").await;
    let told = again.rest().await;
    assert!(told.contains("event: standing\n") && told.ends_with(OVER), "{told}");
    assert!(!operator.get(&page).await.text.contains("sse-connect"), "nothing moves any more");
    assert_eq!(operator.get(&format!("{page}x/live")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_is_told_to_whose_session_ended_or_whose_role_is_another() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", ANA).await;
    let at = format!("/console/notifications/{id}/live");
    let operator = Visit::of(&hall, "olga", Role::Operator).await;
    let mut stream = Stream::of(&hall, &operator, &at).await;
    stream.until("event: story\n").await;
    hall.sql("update users set role = 'viewer'").await;
    hall.attempt(id, "rejected", Some("the number +34600111222 is unknown")).await;
    assert_eq!(events(&stream.rest().await), [""; 0], "it is asked for again, by a viewer");
    let mut stream = Stream::of(&hall, &operator, &at).await;
    let told = stream.until("event: story\n").await;
    assert!(told.contains("The provider refused it") && !told.contains("is unknown"), "{told}");

    let now = Visit::of(&hall, "vera", Role::Viewer).await;
    let mut stream = Stream::of(&hall, &now, "/console/now/live").await;
    stream.until("event: work\n").await;
    hall.sql("delete from sessions").await;
    let told = stream.rest().await;
    assert_eq!(events(&told).last(), Some(&"ended"), "{told}");
    assert!(told.contains("Log in again") && told.contains("next=%2Fconsole%2Fnow"), "{told}");
}

#[tokio::test]
async fn a_list_of_plans_is_told_as_long_as_one_of_them_moves() {
    let hall = Hall::open().await;
    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    assert!(!viewer.get("/console/plans").await.text.contains("sse-connect"));
    let told = viewer.get("/console/plans/live").await.text;
    assert!(told.contains("There is no plan yet") && told.ends_with(OVER), "{told}");
    failed(&hall.pools.ops, 500).await;
    let mut ana = Visit::of(&hall, "ana", Role::Operator).await;
    let wish = [("action", "retry"), ("state", "failed")];
    let address = ana.fill("/console/plans/new", "/console/plans", &wish).await.leads().to_owned();
    hall.reckoned().await;
    ana.fill(&address, &format!("{address}/run"), &[("reason", "a test")]).await.leads();
    let at = live(&viewer.get("/console/plans").await.text);
    let mut stream = Stream::of(&hall, &viewer, &at).await;
    assert!(stream.until("event: rows\n").await.contains("0 of 500 done"));
    let id = address.rsplit('/').next().unwrap().parse().unwrap();
    plans::act(&hall.pools.ops, id).await.unwrap();
    assert!(stream.until("event: rows\n").await.contains("200 of 500 done"));
    crate::plans::finish(&hall.pools.ops, id).await;
    let rest = stream.rest().await;
    assert!(rest.contains("500 of 500 done") && rest.ends_with(OVER), "{rest}");
}

#[tokio::test]
async fn so_many_listen_at_once_and_a_place_is_given_back() {
    let hall = Hall::open().await;
    let viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = Stream::of(&hall, &viewer, "/console/now/live").await;
        stream.more().await;
        streams.push(stream);
    }
    let status = async || Stream::of(&hall, &viewer, "/console/now/live").await.response.status();
    assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
    streams.pop();
    until("a place is free", PATIENCE, async || status().await == StatusCode::OK).await;
}

#[tokio::test]
async fn a_tab_that_nobody_looks_at_is_told_nothing_and_then_what_is_new() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    let id = hall.notification("evt-1", ANA).await;
    enters(&browser, &hall, "olga", Role::Operator).await;
    browser.go(&format!("http://{}/console/notifications/{id}", hall.address())).await;
    let source = "document.querySelector('[sse-connect]')['htmx-internal-data'].sseEventSource";
    let state = async || browser.run(&format!("return {source}.readyState")).await;
    until("it is told", PATIENCE, async || state().await == 1).await;
    let hidden = |so: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {so}, configurable: true }}); document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.write("#reason", "the customer").await;
    browser.run(&hidden(true)).await;
    assert_eq!(state().await, 2);
    hall.sql(&format!(
        "insert into timeline (notification_id, at, what, detail) values ('{id}', now(), 'waits', 'lane')"
    ))
    .await;
    browser.run(&hidden(false)).await;
    browser.shows("#story", "wait for its turn").await;
    assert_eq!(browser.run("return document.querySelector('#reason').value").await, "the customer");
    hall.attempt(id, "accepted", None).await;
    browser.shows("#standing", "accepted, unconfirmed").await;
    assert!(!browser.has("#reason").await, "nothing can be done any more");
    assert!(browser.complaints().await.is_empty());
}

#[tokio::test]
async fn who_watches_a_message_sees_what_becomes_of_it_and_loses_no_word_meanwhile() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    let id = hall.notification("evt-1", ANA).await;
    enters(&browser, &hall, "olga", Role::Operator).await;
    browser.go(&format!("http://{}/console/notifications/{id}", hall.address())).await;
    browser.write("#reason", "the customer").await;
    hall.sql(&format!(
        "insert into timeline (notification_id, at, what, detail) values ('{id}', now(), 'waits', 'lane')"
    ))
    .await;
    browser.shows("#story", "wait for its turn").await;
    browser.press(" called").await;
    let typed = "return document.querySelector('#reason').value";
    assert_eq!(browser.run(typed).await, "the customer called", "it is neither emptied nor left");

    hall.attempt(id, "accepted", None).await;
    browser.shows("#story", "The provider took it").await;
    browser.shows("#standing", "accepted, unconfirmed").await;
    browser.shows("#next", "has reported nothing yet").await;
    assert!(!browser.has("#reason").await, "nothing can be done any more");
    hall.sql("update notifications set receipt = 'read'").await;
    browser.shows("#standing .badge", "read").await;
    let source = "document.querySelector('[sse-connect]')['htmx-internal-data'].sseEventSource";
    assert_eq!(
        browser.run(&format!("return {source}.readyState")).await,
        2,
        "nothing more is told of what has arrived"
    );
    assert!(browser.complaints().await.is_empty());
}
