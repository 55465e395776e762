//! Acting in a browser: on all that a search finds, and on what is being sent.

use std::time::Duration;

use recado::{
    cli::users,
    db::{keys::Role, plans},
};

use super::{browser::enters, visit::PASSWORD};
use crate::{
    doors::hall::Hall,
    harness::{Fleet, order},
    optin::driver::{Browser, ENTER, TAB},
    plans::failed,
};

#[tokio::test]
async fn an_operator_plans_and_runs_a_retry_of_five_hundred_that_stand_on_many_pages() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    failed(&hall.pools.ops, 500).await;
    let at = |path: &str| format!("http://{}{path}", hall.address());
    enters(&browser, &hall, "olga", Role::Operator).await;
    browser.go(&at("/console/notifications?state=failed")).await;
    assert!(browser.has("a[rel=next]").await, "there are more than one page shows");
    browser.click("#act-on-all button").await;
    browser.shows("h1", "Try again").await;
    browser.shows("#numbers", "500").await;
    browser.click("#run").await;
    assert!(browser.has("#run").await, "without a reason nothing begins");
    browser.write("#reason", "the provider is back").await;
    browser.click("#run").await;
    browser.shows("#progress", "0 of 500 done").await;
    browser.go(&at("/console/plans")).await;
    let focus = async || browser.run("return document.activeElement.id").await;
    let mut tabs = 0;
    while focus().await != "plan-1" {
        assert!(tabs < 30, "the plan is not reached by Tab, but {}", focus().await);
        browser.press(TAB).await;
        tabs += 1;
    }
    browser.run("document.querySelector('#plans').dataset.seen = 'yes'").await;
    let id: i64 = hall.ask("select id::text from plans").await.unwrap().parse().unwrap();
    let piece = plans::act(&hall.pools.ops, id).await.unwrap();
    assert_eq!(piece, plans::Acted::Piece { done: 200 });
    browser.shows("#plans:not([data-seen])", "200 of 500").await;
    assert_eq!(focus().await, "plan-1", "the list is renewed, and the focus is kept");
    browser.press(ENTER).await;
    browser.shows("#progress", "200 of 500 done").await;
    plans::act(&hall.pools.ops, id).await.unwrap();
    browser.shows("#progress", "400 of 500 done").await;
    crate::plans::finish(&hall.pools.ops, id).await;
    browser.shows("h1 .badge", "done").await;
    browser.shows("#progress", "500 of 500 done").await;
    let by = "select begun_by || ': ' || reason from plans";
    assert_eq!(hall.ask(by).await.unwrap(), "user olga: the provider is back");
    assert_eq!(hall.ask("select count(*)::text from notifications where state = 'pending'").await.unwrap(), "500");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_holds_a_template_sees_what_waits_for_it_and_releases_it() {
    Fleet::run("console_hold", |plan| plan.people = 1, async |fleet| {
        let (service, browser) = (fleet.start().await, Browser::open().await);
        users::create(&fleet.pool, "olga", Role::Operator, PASSWORD).await.unwrap();
        let url = fleet.settings["http.public_url"].clone();
        let at = |path: &str| format!("{url}{path}");
        browser.go(&at("/console")).await;
        browser.write("#name", "olga").await;
        browser.write("#password", PASSWORD).await;
        browser.press(ENTER).await;
        browser.shows(".me", "olga").await;

        browser.go(&at("/console/senders")).await;
        browser.run("document.querySelector('#scope').value = 'template'; document.querySelector('#template').value = 'order_confirmed'").await;
        browser.write("#reason", "a wrong price").await;
        browser.click("form[action='/console/holds'] button").await;
        browser.shows("table:has(form)", "a wrong price").await;

        fleet.publish(&[order("A-1042", 0)]).await;
        fleet.becomes("A-1042", "waiting for the template", |standing| standing.waiting_on.as_deref() == Some("template")).await;
        browser.go(&at("/console/notifications?waiting_on=template")).await;
        browser.shows("#found", "order_confirmed").await;
        browser.click("#found tbody a").await;
        browser.shows("#story", "a wrong price").await;

        browser.go(&at("/console/senders")).await;
        browser.click("details:has(form[action$='/release']) summary").await;
        browser.click("form[action$='/release'] button").await;
        assert!(browser.has("form[action$='/release']").await, "without a reason nothing is released");
        browser.write("form[action$='/release'] [name=reason]", "the price is right").await;
        browser.click("form[action$='/release'] button").await;
        browser.shows(".notice", "It is released.").await;
        fleet.reaches("A-1042", "accepted").await;
        browser.go(&at("/console/notifications?order=A-1042")).await;
        browser.click("#found tbody a").await;
        browser.shows("#story", "the price is right").await;
        fleet.quiet(Duration::from_secs(60), true).await;
        fleet.stop(service).await;
    })
    .await;
}
