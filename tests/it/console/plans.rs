//! Plans as operators make, run and stop them in the console; and in a real browser, from a search to its end.

use std::sync::Arc;

use recado::{
    clock::Clock,
    db::{
        keys::Role,
        plans::{self, Acted, Made, PIECE, Wish},
    },
    domain::{action::Action, search::Search},
};
use reqwest::StatusCode;

use super::{
    browser::enters,
    stream::{OVER, Stream},
    visit::{PASSWORD, Visit},
};
use crate::{
    doors::hall::{Hall, events},
    harness::{Fleet, order},
    optin::driver::{Browser, ENTER},
    plans::{failed, finish, paid_order},
};

/// The plan that a page is about.
fn number(address: &str) -> i64 {
    address.rsplit('/').next().unwrap().parse().unwrap_or_else(|_| panic!("{address} is no plan"))
}

#[tokio::test]
async fn a_viewer_sees_plans_and_an_operator_makes_runs_and_stops_them() {
    let hall = Hall::open().await;
    let mut ana = Visit::of(&hall, "ana", Role::Operator).await;
    let mut eva = Visit::of(&hall, "eva", Role::Viewer).await;
    failed(&hall.pools.ops, 500).await;
    assert!(ana.get("/console/plans").await.text.contains("There is no plan yet"));
    let wish = "/console/plans/new?action=retry&state=failed&cursor=x";
    let form = ana.get(wish).await;
    assert!(form.text.contains(r#"<option value="failed" selected>"#), "{}", form.text);
    let made = ana.fill(wish, "/console/plans", &[("action", "retry"), ("state", "failed"), ("template", "")]).await;
    hall.reckoned().await;
    let address = made.leads().to_owned();
    let plan = ana.get(&address).await.text;
    for part in [">500<", "Run it: 500", "Could be duplicates", "Without a price"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }

    let csrf = eva.get("/console/account").await.csrf();
    let seen = eva.get(&address).await;
    assert!(seen.text.contains("Operators run it.") && !seen.text.contains("id=\"run\""), "{}", seen.text);
    assert!(!eva.get("/console/plans").await.text.contains("/console/plans/new"));
    assert_eq!(eva.get(wish).await.status, StatusCode::FORBIDDEN);
    let (run, stop) = (format!("{address}/run"), format!("{address}/stop"));
    for (path, field) in [("/console/plans", ("state", "failed")), (&run, ("reason", "x")), (&stop, ("x", "x"))] {
        assert_eq!(eva.post(path, &[("csrf", &csrf), field]).await.status, StatusCode::FORBIDDEN, "{path}");
    }

    let silent = ana.fill(&address, &run, &[("reason", " ")]).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(silent.text.contains("Give a reason"), "{}", silent.text);
    let begun = ana.fill(&address, &run, &[("reason", "the outage is over")]).await;
    assert_eq!(begun.leads(), address);
    let id = number(&address);
    assert_eq!(plans::act(&hall.pools.ops, id).await.unwrap(), Acted::Piece { done: PIECE.unsigned_abs() });
    let mut told = Stream::of(&hall, &ana, &format!("{address}/live")).await;
    let part = told.until("event: progress\n").await;
    assert!(part.contains("200 of 500 done") && !part.contains("<html") && !part.contains("over"), "{part}");
    assert_eq!(ana.fill(&address, &stop, &[]).await.leads(), format!("{address}?said=halted"));
    assert!(told.rest().await.ends_with(OVER), "what can be done to it has changed, and nothing moves");
    assert_eq!(ana.part(&address).await.header("hx-refresh"), "true", "who is told so loads the page again");
    assert_eq!(plans::act(&hall.pools.ops, id).await.unwrap(), Acted::NotRunning);
    ana.fill(&address, &run, &[("reason", "all is well")]).await;
    finish(&hall.pools.ops, id).await;
    assert!(eva.get(&address).await.text.contains("500 of 500 done"));
    let csrf = ana.get("/console/account").await.csrf();
    assert_eq!(ana.post(&run, &[("csrf", &csrf), ("reason", "x")]).await.leads(), format!("{address}?said=not_now"));
    let noted = "select string_agg(what || ' ' || by || coalesce(': ' || reason, ''), ', ' order by id) from audit where what like 'plan.%'";
    assert_eq!(
        hall.ask(noted).await.unwrap(),
        "plan.made user ana, plan.begun user ana: the outage is over, plan.stopped user ana, plan.begun user ana: all is well, plan.ended recado"
    );
}

#[tokio::test]
async fn a_form_that_makes_no_sense_says_so_in_the_field_and_keeps_the_rest() {
    let hall = Hall::open().await;
    let mut ana = Visit::of(&hall, "ana", Role::Operator).await;
    hall.notification("evt-1", "+34600111222").await;
    for (fields, words) in [
        (&[("action", "retry")][..], "everything at once is not acted on"),
        (
            &[("action", "retry"), ("template", "kept-as-it-is"), ("since", "yesterday")],
            "The first time cannot be read",
        ),
        (&[("action", "retry"), ("template", "kept-as-it-is"), ("phone", "600")], "has its country code"),
        (&[("action", "retry"), ("template", "kept-as-it-is"), ("order", "34600111222")], "write it as one"),
        (&[("action", "hold"), ("scope", "template"), ("template", "kept-as-it-is")], "Name a sender"),
        (&[("action", "release"), ("scope", "sender"), ("sender", "nobody"), ("template", "")], "Name a sender"),
    ] {
        let page = ana.fill("/console/plans/new", "/console/plans", fields).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
        assert!(page.text.contains(words), "{words}: {}", page.text);
        let kept = fields.iter().all(|(_, value)| *value != "kept-as-it-is") || page.text.contains("kept-as-it-is");
        assert!(kept, "{}", page.text);
    }
    // A number is looked for as one wherever it is written, and kept nowhere.
    let made =
        ana.fill("/console/plans/new", "/console/plans", &[("action", "cancel"), ("order", "+34 600 111 222")]).await;
    hall.reckoned().await;
    let page = ana.get(made.leads()).await.text;
    assert!(page.contains("+34…22") && !page.contains("600 111 222"), "{page}");
    assert!(!ana.get("/console/plans/new?action=cancel&phone=%2B34600111222").await.text.contains("notice bad"));
    let kept = hall.ask("select string_agg(search::text, '') from plans").await.unwrap();
    assert_eq!(kept, r#"{"phone": "+34…22"}"#);
}

#[tokio::test]
async fn one_message_is_acted_on_by_its_id_and_every_kind_of_plan_has_its_page() {
    let hall = Hall::open().await;
    let mut ana = Visit::of(&hall, "ana", Role::Operator).await;
    let ids = failed(&hall.pools.ops, 3).await;
    let (one, two) = (ids[0].to_string(), ids[2].to_string());
    let fields = [("action", "retry"), ("ids", one.as_str()), ("ids", two.as_str())];
    let made = ana.fill("/console/plans/new", "/console/plans", &fields).await;
    hall.reckoned().await;
    let page = ana.get(made.leads()).await.text;
    assert!(page.contains("2 chosen ones") && page.contains("Run it: 2"), "{page}");
    let chosen = ana.get(&format!("/console/plans/new?action=retry&ids={one}&ids={two}")).await.text;
    assert!(chosen.contains(&format!("value=\"{one},{two}\"")), "{chosen}");

    hall.rejected(1, "no_phone", "{}").await;
    for action in Action::ALL.map(Action::as_str) {
        let fields: &[(&str, &str)] = match action {
            "hold" | "release" => &[("scope", "everything")],
            "replay" => &[("reason", "no_phone")],
            _ => &[("state", "failed")],
        };
        let made = ana.fill("/console/plans/new", "/console/plans", &[&[("action", action)], fields].concat()).await;
        hall.reckoned().await;
        let address = made.leads().to_owned();
        for language in ["en", "es", "pt_BR"] {
            ana.fill("/console/account", "/console/account/language", &[("language", language)]).await;
            for path in [&address, "/console/plans", &format!("/console/plans/new?action={action}")] {
                assert_eq!(ana.get(path).await.status, StatusCode::OK, "{path} in {language}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_are_tried_again_in_a_browser() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    let at = |path: &str| format!("http://{}{path}", hall.address());
    let mut ids = failed(&hall.pools.ops, 520).await;
    // The last that the plan comes to.
    ids.sort_unstable();
    let unknown = "update notifications set reason = 'unknown' where id = any ($1)";
    sqlx::query(unknown).bind(&ids[500..]).execute(&hall.pools.ops).await.unwrap();
    enters(&browser, &hall, "ana", Role::Operator).await;
    browser.go(&at("/console/plans")).await;
    let mut found = browser.look("console", "plans-none").await;
    for action in ["replay", "hold", "retry&state=failed&template=order_confirmed"] {
        browser.go(&at(&format!("/console/plans/new?action={action}"))).await;
        found.extend(browser.look("console", &format!("plans-new-{}", action.split('&').next().unwrap())).await);
    }
    browser.click("#reckon").await;
    browser.shows("#numbers", "500").await;
    browser.shows("main", "may have arrived").await;
    found.extend(browser.look("console", "plan-planned").await);
    browser.write("#reason", "the outage is over").await;
    browser.click("#run").await;
    browser.shows("#progress", "0 of 520 done").await;
    let id = number(&browser.url().await);

    // Nobody touches the page: it tells by itself.
    plans::act(&hall.pools.ops, id).await.unwrap();
    browser.shows("#progress", "200 of 520 done").await;
    found.extend(browser.look("console", "plan-running").await);
    browser.go(&at("/console/plans")).await;
    browser.shows("#plans", "200 of 520 done").await;
    found.extend(browser.look("console", "plans-running").await);
    plans::act(&hall.pools.ops, id).await.unwrap();
    browser.shows("#plans", "400 of 520 done").await;
    browser.click(&format!("#plans a[href='/console/plans/{id}']")).await;
    browser.shows("#progress", "400 of 520 done").await;
    assert!(browser.has("#stop").await);
    finish(&hall.pools.ops, id).await;
    browser.shows("#progress", "500 of 520 done").await;
    browser.shows("h1", "done").await;
    assert!(!browser.has("#stop").await, "there is nothing to be stopped any more");
    browser.shows("#progress", "may have arrived").await;
    found.extend(browser.look("console", "plan-done").await);
    let states = "select string_agg(s, ', ' order by s) from (select state || ' ' || count(*) as s from notifications group by state) x";
    assert_eq!(hall.ask(states).await.unwrap(), "failed 20, pending 500");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_being_worked_out_tells_its_numbers_by_itself_in_a_browser() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    let at = |path: &str| format!("http://{}{path}", hall.address());
    for n in 1..=3 {
        hall.rejected(n, "no_phone", &paid_order(&format!("again-{n}"), 1).to_string()).await;
    }
    hall.rejected(4, "no_phone", "{}").await;
    enters(&browser, &hall, "ana", Role::Operator).await;
    let wish = Wish::Found(Action::Replay, Search::read([("reason", "no_phone")]).unwrap());
    let Made::Plan(id) = plans::make(&hall.pools.ops, wish, "user ana").await.unwrap() else { panic!("no plan") };
    browser.go(&at("/console/plans")).await;
    browser.shows("#plans", "being worked out").await;
    let mut found = browser.look("console", "plans-reckoning").await;
    browser.click(&format!("#plans a[href='/console/plans/{id}']")).await;
    browser.shows("#progress", "being worked out").await;
    assert!(!browser.has("#numbers").await && !browser.has("#run").await, "there is nothing to decide on");
    found.extend(browser.look("console", "plan-reckoning").await);
    let means = events(&hall.pools, &Clock::system()).inbox.means(Arc::default());
    plans::reckon(&hall.pools.ops, id, &means).await.unwrap();
    browser.shows("#numbers", "rejected again").await;
    browser.shows("#numbers", "Without a price").await;
    found.extend(browser.look("console", "plan-replay").await);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_held_seen_waiting_and_released_in_a_browser() {
    Fleet::run(
        "held",
        |_| {},
        async |fleet| {
            fleet.start().await;
            let browser = Browser::open().await;
            recado::cli::users::create(&fleet.pool, "ana", Role::Operator, PASSWORD).await.unwrap();
            let console = format!("http://{}/console", fleet.settings["http.listen"]);
            browser
                .go(&format!("{console}/plans/new?action=hold&scope=template&sender=main&template=order_confirmed"))
                .await;
            browser.write("#name", "ana").await;
            browser.write("#password", PASSWORD).await;
            browser.press(ENTER).await;
            browser.click("#reckon").await;
            browser.write("#reason", "a wrong price").await;
            browser.click("#run").await;
            browser.shows("h1 .badge", "done").await;

            fleet.publish(&[order("held-1", 1)]).await;
            fleet.becomes("held-1", "waiting", |of| of.waiting_on.as_deref() == Some("template")).await;
            browser
                .go(&format!("{console}/plans/new?action=release&scope=template&sender=main&template=order_confirmed"))
                .await;
            browser.click("#reckon").await;
            browser.shows("#numbers", "Holds on it now\n1").await;
            browser.shows("#numbers", "Messages that wait or would\n1").await;
            browser.go(&format!("{console}/senders")).await;
            browser.shows("main", "a wrong price").await;
            browser.click("details:has(form[action$='/release']) summary").await;
            browser.write("form[action$='/release'] [name=reason]", "the price is right").await;
            browser.click("form[action$='/release'] button").await;
            browser.shows("main", "It is released.").await;
            fleet.reaches("held-1", "accepted").await;
            assert_eq!(
                fleet
                    .count("select count(*) from holds where placed_by = 'user ana' and released_by = 'user ana'")
                    .await,
                1
            );
        },
    )
    .await;
}
