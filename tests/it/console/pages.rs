//! The pages that operators look at all day: what they show, to whom, and what can be done there.

use jiff::SignedDuration;
use recado::{clock::Clock, db::keys::Role};
use reqwest::StatusCode;

use super::{
    browser::enters,
    many::{FEW, fill},
    visit::Visit,
};
use crate::{
    doors::hall::Hall,
    harness::{Fleet, PATIENCE, until},
    optin::driver::{Browser, ENTER},
    why::recado,
};

const ANA: &str = "+34600111222";

#[tokio::test]
async fn an_order_is_found_by_its_name_and_leads_to_its_whole_story() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", ANA).await;
    hall.attempt(id, "rejected", Some("the number +34600111222 is unknown")).await;
    hall.sql(&said(&id.to_string())).await;
    let mut operator = Visit::of(&hall, "ana", Role::Operator).await;
    let list = operator.get("/console/notifications?order=subject-of-evt-1").await;
    assert!(list.text.contains(&format!("/console/notifications/{id}")), "{}", list.text);
    assert!(!list.text.contains(ANA) && !list.text.contains("600111222"), "a number is masked in a list");
    let story = operator.get(&format!("/console/notifications/{id}")).await;
    for word in [
        "Event received",
        "Planned",
        "Consent: confirmed",
        "The provider refused it",
        "131026",
        "is unknown",
        "Hola Ana, tu pedido <b>A-1042</b>",
    ] {
        assert!(story.text.contains(word), "{word} is missing in {}", story.text);
    }
    // By its own id, or by a provider's, one comes straight there.
    let led = operator.get(&format!("/console/notifications?order={id}")).await;
    assert_eq!(led.leads(), format!("/console/notifications/{id}"));

    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let story = viewer.get(&format!("/console/notifications/{id}")).await;
    assert!(!story.text.contains("is unknown"), "the provider's words may name the person");
    assert!(!story.text.contains("Hola Ana"), "and so may the message's");
    assert!(!story.text.contains("Try again"), "a viewer changes nothing");
    let looked = viewer.get("/console/notifications?phone=%2B34600111222").await;
    assert_eq!(looked.status, StatusCode::FORBIDDEN, "who may try numbers would see whose they are");
}

#[tokio::test]
async fn a_number_is_shown_whole_only_to_who_asks_and_may_and_that_is_noted() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", ANA).await;
    let page = format!("/console/notifications/{id}");
    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    assert!(!viewer.get(&page).await.text.contains("Show number"), "what a viewer may not do is not offered");
    let csrf = viewer.get("/console/account").await.csrf();
    let refused = viewer.post(&format!("{page}/number"), &[("csrf", &csrf)]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!refused.text.contains(ANA));
    let noted = "select string_agg(what || ' ' || by || ' ' || \"on\", ', ' order by id) from audit where what = 'number.shown'";
    assert_eq!(hall.ask(noted).await, None, "nobody has seen it yet");

    let mut operator = Visit::of(&hall, "olga", Role::Operator).await;
    assert!(!operator.get(&page).await.text.contains(ANA), "not before it is asked for");
    let unposted = operator.get(&format!("{page}/number")).await;
    assert_eq!(unposted.status, StatusCode::METHOD_NOT_ALLOWED, "an address alone shows nothing");
    let shown = operator.fill(&page, &format!("{page}/number"), &[]).await;
    assert!(shown.text.contains(ANA), "{}", shown.text);
    assert_eq!(shown.header("cache-control"), "no-store");
    assert_eq!(hall.ask(noted).await.unwrap(), format!("number.shown user olga {id}"));
    assert!(!operator.get(&page).await.text.contains(ANA), "and it is masked again");
}

#[tokio::test]
async fn a_person_is_looked_for_by_a_number_that_is_in_no_address_and_that_is_noted() {
    let hall = Hall::open().await;
    let mut ids = Vec::new();
    for n in 0..52 {
        ids.push(hall.notification(&format!("evt-{n}"), ANA).await.to_string());
    }
    let other = hall.notification("evt-other", "+34600111333").await.to_string();
    let contact = hall.ask(&format!("select id::text from contacts where phone = '{ANA}'")).await.unwrap();
    let search = "/console/notifications";
    let mut operator = Visit::of(&hall, "olga", Role::Operator).await;
    for typed in [("phone", "+34 600 111 222"), ("phone", "34600111222"), ("order", "+34600111222")] {
        let led = operator.fill(search, search, &[typed, ("state", "pending"), ("reason", "")]).await;
        assert_eq!(led.leads(), format!("{search}?contact={contact}&state=pending"), "{typed:?}");
    }
    let noted = "select string_agg(concat_ws(' ', what, \"on\", by, detail ->> 'found'), ', ' order by id) from audit where what like 'number.%'";
    let sought = format!("number.sought contact {contact} user olga true");
    assert_eq!(hall.ask(noted).await.unwrap(), [sought.as_str(); 3].join(", "));

    // The address has all that was asked for, page by page, and nobody's number.
    let first = operator.get(&format!("{search}?contact={contact}&state=pending")).await.text;
    let last = &format!("{search}/{}\"", ids[51]);
    assert!(first.contains(last) && !first.contains(&other) && first.contains("+34…22"), "{first}");
    assert!(!first.contains("600111222"), "a number is masked in a list: {first}");
    let (_, more) = first.split_once("rel=\"next\" href=\"").unwrap();
    let more = more.split_once('"').unwrap().0.replace("&amp;", "&").replace("&#x2f;", "/");
    assert!(more.contains(&format!("contact={contact}")), "{more}");
    let rest = operator.get(&more).await.text;
    assert!(rest.contains(&format!("{search}/{}\"", ids[0])) && !rest.contains(&ids[51]) && !rest.contains(&other));
    let narrowed = operator.fill(search, search, &[("contact", contact.as_str()), ("state", "failed")]).await;
    assert_eq!(narrowed.leads(), format!("{search}?contact={contact}&state=failed"));
    assert!(operator.get(narrowed.leads()).await.text.contains("Nothing found"));

    // A plan is for the same messages.
    assert!(first.contains(&format!("name=\"contact\" value=\"{contact}\"")), "{first}");
    let wish = [("action", "cancel"), ("contact", contact.as_str()), ("state", "pending")];
    let made = operator.fill("/console/plans/new", "/console/plans", &wish).await;
    hall.reckoned().await;
    let plan = operator.get(made.leads()).await.text;
    assert!(plan.contains(">52<") && plan.contains("+34…22"), "{plan}");
    let wrong = [&wish[..], &[("since", "yesterday")]].concat();
    let mended = operator.fill("/console/plans/new", "/console/plans", &wrong).await;
    assert!(mended.text.contains(&format!("name=\"contact\" value=\"{contact}\"")), "a form to be mended keeps it");

    let nobody = operator.fill(search, search, &[("phone", "+34600999888")]).await;
    assert!(nobody.status == StatusCode::OK && nobody.text.contains("Nothing found"), "{}", nobody.text);
    assert_eq!(hall.ask(noted).await.unwrap(), format!("{sought}, {sought}, {sought}, number.sought user olga false"));
    let unread = operator.fill(search, search, &[("phone", "600"), ("template", "kept-as-it-is")]).await;
    assert_eq!(unread.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(unread.text.contains("has its country code") && unread.text.contains("kept-as-it-is"), "{}", unread.text);
    let unposted = operator.get(&format!("{search}?phone=%2B34600111222&state=failed")).await.text;
    assert!(unposted.contains("in no address") && !unposted.contains(last), "{unposted}");
    assert_eq!(hall.ask(noted).await.unwrap().matches("number.").count(), 4, "nothing was looked for");
    let mut nobody = Visit::new(&hall);
    let login = nobody.get(&format!("{search}?phone=%2B34600111222&state=failed")).await;
    assert_eq!(login.leads(), "/console/login?next=%2Fconsole%2Fnotifications%3Fstate%3Dfailed");

    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let csrf = viewer.get("/console/account").await.csrf();
    for typed in [("phone", ANA), ("order", ANA), ("phone", "600")] {
        let refused = viewer.post(search, &[("csrf", csrf.as_str()), typed]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{typed:?}");
    }
    assert_eq!(viewer.get(&format!("{search}?contact={contact}")).await.status, StatusCode::FORBIDDEN);
    let found = viewer.post(search, &[("csrf", csrf.as_str()), ("order", "evt-1")]).await;
    assert_eq!(found.leads(), format!("{search}?order=evt-1"), "a search for anything else is anybody's");
}

#[tokio::test]
async fn a_search_that_finds_no_message_shows_the_event_and_what_was_rejected() {
    let hall = Hall::open().await;
    hall.notification("evt-1", ANA).await;
    hall.sql("update inbox set notifications = '{}', ignored = 'no_template'; delete from notifications").await;
    let rejected = hall.rejected(7, "unfillable_template", r#"{"order":"A-2001","customer":"Ana"}"#).await;
    let mut operator = Visit::of(&hall, "olga", Role::Operator).await;
    let ignored = operator.get("/console/notifications?order=evt-1").await.text;
    assert!(ignored.contains("No message:") && ignored.contains("no_template"), "{ignored}");
    let found = operator.get("/console/notifications?order=A-2001").await.text;
    assert!(found.contains(&format!("/console/rejected/{rejected}")), "{found}");
    assert!(operator.get("/console/notifications?order=A-9").await.text.contains("Nothing found"));

    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let found = viewer.get("/console/notifications?order=Ana").await.text;
    assert!(!found.contains("/console/rejected/"), "whoever may try words would learn who is named where: {found}");
    let by_number = viewer.get("/console/notifications?order=%2B34600111222").await;
    assert_eq!(by_number.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_reason_leads_to_what_ended_so_and_from_there_to_another() {
    let hall = Hall::open().await;
    fill(&hall.pools.ops, FEW).await;
    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let mut page = viewer.get("/console/notifications?state=failed&sender=main&reason=undeliverable").await.text;
    for _ in 0..2 {
        assert!(page.contains("Why, in the last 24 hours"), "{page}");
        let (_, reasons) = page.split_once("<ul class=\"reasons\">").unwrap();
        let (_, link) = reasons.rsplit_once("</ul>").unwrap().0.rsplit_once("href=\"").unwrap();
        let link = link.split_once('"').unwrap().0.replace("&amp;", "&");
        assert_eq!(link.matches("reason=").count(), 1, "{link}");
        let led = viewer.get(&link).await;
        assert_eq!(led.status, StatusCode::OK, "{link}: {}", led.text);
        assert!(led.text.contains("aria-current=\"true\""), "{}", led.text);
        page = led.text;
    }
    // What is not counted so says nothing.
    for more in ["template=delivered", "order=order:7"] {
        let page = viewer.get(&format!("/console/notifications?state=failed&{more}")).await.text;
        assert!(!page.contains("class=\"reasons\""), "{more}: {page}");
    }
    let bounded = |bounds: &str| format!("/console/notifications?state=failed&{bounds}");
    assert!(viewer.get(&bounded("since=2020-01-01T00:00")).await.text.contains("Why, in this time"));
    let hour = (Clock::system().now() - SignedDuration::from_hours(1)).to_string();
    assert!(viewer.get(&bounded(&format!("until={hour}"))).await.text.contains("Why, in the 24 hours before"));
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_answered_by_a_page_of_ours() {
    let hall = Hall::open().await;
    let mut ana = Visit::of(&hall, "ana", Role::Admin).await;
    for path in [
        "/console/plans?before=abc",
        "/console/notifications?state=failed&state=pending",
        "/console/rejected?reason=a&reason=b",
        "/console/audit?by=a&by=b",
        "/console/now/table?span=a&span=b",
    ] {
        let answer = ana.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.text.contains("<h1>That could not be read</h1>"), "{path}: {}", answer.text);
    }
    let csrf = ana.get("/console/account").await.csrf();
    for path in ["/console/plans/abc/run", "/console/plans/abc/stop", "/console/holds/abc/release"] {
        let answer = ana.post(path, &[("csrf", &csrf), ("reason", "x")]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("<h1>There is nothing here</h1>"), "{path}: {}", answer.text);
    }
    let login = Visit::new(&hall).get("/console/login?next=a&next=b").await;
    assert_eq!(login.status, StatusCode::OK, "{}", login.text);
}

#[tokio::test]
async fn what_a_hold_keeps_is_counted_where_one_looks_for_what_is_due() {
    let hall = Hall::open().await;
    hall.notification("evt-1", ANA).await;
    hall.notification("evt-2", ANA).await;
    let id = hall.notification("evt-3", ANA).await;
    hall.sql("insert into holds (scope, sender, reason, placed_by) select 'sender', id, 'operator', 'user olga' from senders where name = 'main'").await;
    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let now = viewer.get("/console/now").await.text;
    assert!(now.contains("<span class=\"number\">3</span> held: they go when the hold is released"), "{now}");
    assert!(now.contains("<a id=\"to-due\" href=\"#senders\">") && now.contains("<h2 id=\"senders\""), "{now}");

    hall.sql("update users set language = 'es'; update holds set detail = 'un precio equivocado'").await;
    let story = viewer.get(&format!("/console/notifications/{id}")).await.text;
    assert!(story.contains("Retenida</span> <span class=\"soft\">main</span>"), "{story}");
    assert!(story.contains("un precio equivocado"), "{story}");
    for page in [story, viewer.get("/console/now").await.text] {
        assert!(!page.contains("The sender") && !page.contains(">operator<"), "{page}");
    }
}

/// Has this notification made from a version of its template, with values.
fn said(id: &str) -> String {
    format!(
        r#"with version as (
          insert into template_versions (template, language, number, hash, definition) values ('order_confirmed', 'es', 1, '\\x01',
            '{{"header": {{"text": "Pedido {{{{1}}}}"}}, "body": "Hola {{{{1}}}}, tu pedido *{{{{2}}}}* está confirmado. Te avisamos cuando salga.",
              "footer": "Gracias por tu compra", "buttons": [{{"kind": "url", "text": "Ver el pedido", "target": "https://shop.example/{{{{1}}}}"}}]}}')
          returning id
        )
        update notifications set version = (select id from version), filled = '{{"header": {{"text": {{"text": "A-1042"}}}},
          "body": [{{"text": "Ana"}}, {{"text": "A-1042"}}]}}' where id = '{id}'"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_event_that_is_wanted_is_run_again() {
    Fleet::run("wanted", |plan| plan.people = 2, async |fleet| {
        let service = fleet.start().await;
        let wanted = "with kept as (
            insert into rejected_events (id, reason, detail, exchange, routing_key, headers, size, body_hash, body, whole, wanted_at, wanted_by)
            select gen_random_uuid(), 'unfillable_template', 'It was so.', 'shop.events', 'order.confirmed', '{}', 1, '\\x01', convert_to(jsonb_build_object(
              'specversion', '1.0', 'id', 'again', 'source', '/shop', 'type', 'order.confirmed', 'time', to_json(now()),
              'data', jsonb_build_object('customer', jsonb_build_object('phone', '+34600100000', 'name', 'Ana'),
                'order', jsonb_build_object('number', 'again')))::text, 'UTF8'), true, now(), 'user ana'
            returning 1)
            select count(*) from kept";
        assert_eq!(fleet.count(wanted).await, 1);
        let replayed = "select count(*) from rejected_events where replay = 'accepted'";
        until("it is run again", PATIENCE, async || fleet.count(replayed).await == 1).await;
        assert_eq!(fleet.count("select count(*) from notifications where event_id = 'again'").await, 1);
        fleet.stop(service).await;
    })
    .await;
}

#[tokio::test]
async fn what_an_operator_decides_is_done_with_a_reason_and_written_down() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", ANA).await;
    let page = format!("/console/notifications/{id}");
    let mut operator = Visit::of(&hall, "ana", Role::Operator).await;
    let refused = operator.fill(&page, &format!("{page}/cancel"), &[("reason", " ")]).await;
    assert_eq!(refused.leads(), format!("{page}?said=needs_reason"));
    let done = operator.fill(&page, &format!("{page}/cancel"), &[("reason", "the customer called")]).await;
    assert_eq!(done.leads(), format!("{page}?said=done"));
    assert!(operator.get(done.leads()).await.text.contains("Cancelled"));
    let state = format!("select state::text || ' ' || reason from notifications where id = '{id}'");
    assert_eq!(hall.ask(&state).await.unwrap(), "suppressed cancelled");
    let again = operator.fill(&page, &format!("{page}/retry"), &[("reason", "a mistake")]).await;
    assert_eq!(again.leads(), format!("{page}?said=done"));
    let noted = hall.ask("select string_agg(what || ' ' || by || ': ' || reason, ', ' order by id) from audit where what like 'notification.%'");
    assert_eq!(
        noted.await.unwrap(),
        "notification.cancelled user ana: the customer called, notification.retried user ana: a mistake"
    );

    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    let csrf = viewer.get("/console/account").await.csrf();
    let refused = viewer.post(&format!("{page}/cancel"), &[("csrf", &csrf), ("reason", "for fun")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(hall.ask(&format!("select state::text from notifications where id = '{id}'")).await.unwrap(), "pending");
}

#[tokio::test]
async fn what_is_offered_is_what_would_be_done() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", ANA).await;
    let page = format!("/console/notifications/{id}");
    let mut operator = Visit::of(&hall, "ana", Role::Operator).await;
    let pending = "state = 'pending', due_at = now(), reason = null, ended_at = null, doubt_since = null";
    let failed = "state = 'failed', due_at = null, reason = 'undeliverable', ended_at = now(), doubt_since = null";
    let elsewhere =
        "state = 'suppressed', due_at = null, reason = 'delivered_elsewhere', ended_at = now(), doubt_since = null";
    let doubtful = "state = 'in_doubt', due_at = null, reason = null, ended_at = null, doubt_since = now()";
    let (kept, forgotten) = ("filled = '{}', expires_at = now() + interval '1 hour'", "filled = null");
    let over = "filled = '{}', expires_at = now() - interval '1 s'";
    for (state, of, offered) in [
        (pending, kept, &["cancel"][..]),
        (failed, kept, &["retry"]),
        (failed, forgotten, &[]),
        (failed, over, &[]),
        (elsewhere, kept, &["resend"]),
        (elsewhere, forgotten, &[]),
        (doubtful, kept, &["resend", "give_up"]),
        (doubtful, forgotten, &["give_up"]),
        (doubtful, over, &["give_up"]),
    ] {
        let becomes = format!(
            "update notifications set expires_at = now() + interval '1 hour', {state}; update notifications set {of}"
        );
        hall.sql(&becomes).await;
        let told = operator.get(&page).await.text;
        let acts: Vec<&str> = told
            .split("formaction=\"")
            .skip(1)
            .filter_map(|rest| rest.split_once('"').and_then(|(address, _)| address.rsplit('/').next()))
            .map(|act| act.rsplit("&#x2f;").next().unwrap())
            .collect();
        assert_eq!(acts, offered, "{becomes}");
        for act in acts {
            hall.sql(&becomes).await;
            let done = operator.fill(&page, &format!("{page}/{act}"), &[("reason", "a test")]).await;
            assert_eq!(done.leads(), format!("{page}?said=done"), "{act} after {becomes}");
        }
        hall.sql(&becomes).await;
        let why = recado(&hall, &["why", &id.to_string()]).stdout;
        assert_eq!(
            why.contains("recado retry"),
            offered.iter().any(|act| *act == "retry" || *act == "resend"),
            "{why}"
        );
        assert_eq!(why.contains("--resend"), offered.contains(&"resend"), "{why}");
    }
}

#[tokio::test]
async fn the_bytes_of_a_rejected_event_are_for_operators_and_who_looks_is_noted() {
    let hall = Hall::open().await;
    let id = hall.rejected(7, "unfillable_template", r#"{"customer":"Ana"}"#).await;
    let page = format!("/console/rejected/{id}");
    let mut viewer = Visit::of(&hall, "vera", Role::Viewer).await;
    assert!(viewer.get("/console/rejected").await.text.contains("unfillable_template"));
    assert!(!viewer.get(&page).await.text.contains("Ana"));
    let csrf = viewer.get("/console/account").await.csrf();
    assert_eq!(viewer.post(&format!("{page}/body"), &[("csrf", &csrf)]).await.status, StatusCode::FORBIDDEN);

    let mut operator = Visit::of(&hall, "olga", Role::Operator).await;
    assert!(!operator.get(&page).await.text.contains("Ana"), "not before it is asked for");
    let shown = operator.fill(&page, &format!("{page}/body"), &[]).await;
    assert!(shown.text.contains("&quot;customer&quot;: &quot;Ana&quot;"), "{}", shown.text);
    let wanted = operator.fill(&page, &format!("{page}/replay"), &[("reason", "the template is mended")]).await;
    assert_eq!(wanted.leads(), format!("{page}?said=wanted"));
    let by = hall.ask("select wanted_by from rejected_events where wanted_at is not null").await;
    assert_eq!(by.unwrap(), "user olga");
    let noted =
        hall.ask("select string_agg(what, ', ' order by id) from audit where what like 'rejected_event.%'").await;
    assert_eq!(noted.unwrap(), "rejected_event.shown, rejected_event.wanted");
}

#[tokio::test]
async fn a_doubt_says_what_it_waits_for_and_can_be_decided() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", ANA).await;
    hall.attempt(id, "unclear", None).await;
    let mut operator = Visit::of(&hall, "ana", Role::Operator).await;
    let list = operator.get("/console/doubt").await;
    assert!(list.text.contains("silence proves nothing"), "{}", list.text);
    assert!(list.text.contains("It ends as failed; it may have been received."));
    assert!(list.text.contains(r#"href="/console/notifications?state=in_doubt""#));
    let on_all = [("state", "in_doubt"), ("action", "give_up")];
    for (name, value) in on_all {
        assert!(list.text.contains(&format!("value=\"{value}\"")), "{name}: {}", list.text);
    }
    let plan = operator.fill("/console/doubt", "/console/plans", &on_all).await;
    hall.reckoned().await;
    assert!(operator.get(plan.leads()).await.text.contains("Run it: 1"));
    let resend = format!("/console/notifications/{id}/resend");
    let done = operator.fill("/console/doubt", &resend, &[("reason", "asked for"), ("from", "doubt")]).await;
    assert_eq!(done.leads(), "/console/doubt?said=done");
    assert!(operator.get("/console/doubt").await.text.contains("Nothing is in doubt."));
}

#[tokio::test]
async fn an_operator_finds_an_order_by_its_number_and_reads_what_became_of_it() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    let id = hall.notification("evt-1", ANA).await;
    hall.attempt(id, "accepted", None).await;
    hall.sql("update inbox set subject = 'order:A-1042', journey_key = 'A-1042'; update notifications set subject = 'order:A-1042'").await;
    hall.sql(&said(&id.to_string())).await;
    enters(&browser, &hall, "olga", Role::Operator).await;
    browser.shows("h1", "Now").await;
    browser.click("nav a[href='/console/notifications']").await;
    browser.write("#order", "A-1042").await;
    browser.press(ENTER).await;
    browser.shows("#found", "order:A-1042").await;
    browser.click("#found tbody a").await;
    browser.shows("h1", "order:A-1042").await;
    for step in
        ["Event received", "Planned", "Consent: confirmed", "Allowed by consent entry 1", "The provider took it"]
    {
        browser.shows("#story", step).await;
    }
    browser.shows(".bubble", "Hola Ana, tu pedido A-1042 está confirmado.").await;
    assert!(!browser.text("#number").await.contains("600111222"));
    browser.click("#show-number").await;
    browser.shows("#number", ANA).await;
    assert_eq!(hall.ask("select by from audit where what = 'number.shown'").await.unwrap(), "user olga");
}

#[tokio::test]
async fn the_pages_of_the_day_are_accessible_and_change_by_themselves() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    fill(&hall.pools.ops, FEW).await;
    hall.sql("insert into holds (scope, sender, template, reason, placed_by) select 'template', id, 'delivered', 'a typo', 'ana' from senders where name = 'main'").await;
    let at = |path: &str| format!("http://{}{path}", hall.address());
    enters(&browser, &hall, "olga", Role::Operator).await;

    // A message is delivered, and whoever watches sees it.
    browser.go(&at("/console/now")).await;
    // The part may be replaced between finding and reading it, so that the page itself is asked.
    let delivered = async || browser.run("return document.querySelector('#delivered').textContent").await;
    let before = delivered().await;
    hall.sql("insert into outbox (notification_id, kind, sender) select id, 'delivered', 1 from notifications order by id limit 5000").await;
    until("the page has changed", PATIENCE, async || delivered().await != before).await;

    let one = hall
        .ask(
            "select id::text from notifications where state = 'accepted' and receipt = 'read' order by id desc limit 1",
        )
        .await;
    let doubt = hall.ask("select id::text from notifications where state = 'in_doubt' order by id desc limit 1").await;
    let failed =
        hall.ask("select id::text from notifications where reason = 'undeliverable' order by id desc limit 1").await;
    let waiting =
        hall.ask("select id::text from notifications where waiting_on = 'template' order by id desc limit 1").await;
    let rejected = hall.ask("select id::text from rejected_events limit 1").await;
    let one = one.unwrap();
    hall.sql(&said(&one)).await;
    hall.sql("update attempts set detail = 'Message undeliverable.' where reason = 'undeliverable'").await;
    let pages = [
        ("now", "/console/now".to_owned()),
        ("now-table", "/console/now/table?span=day".to_owned()),
        ("notifications", "/console/notifications?state=failed".to_owned()),
        ("notification", format!("/console/notifications/{one}")),
        ("notification-doubt", format!("/console/notifications/{}", doubt.unwrap())),
        ("notification-failed", format!("/console/notifications/{}", failed.unwrap())),
        ("notification-waiting", format!("/console/notifications/{}", waiting.unwrap())),
        ("search-nothing", "/console/notifications?order=A-9".to_owned()),
        ("rejected", "/console/rejected".to_owned()),
        ("rejected-one", format!("/console/rejected/{}", rejected.unwrap())),
        ("doubt", "/console/doubt".to_owned()),
    ];
    let mut found = Vec::new();
    for (name, path) in pages {
        browser.go(&at(&path)).await;
        found.extend(browser.look("console", name).await);
    }
    // Longer words have to fit as well.
    for language in ["es", "pt-BR"] {
        browser.speaks(language).await;
        let story = format!("/console/notifications/{one}");
        for path in ["/console/now", "/console/notifications?state=failed", &story, "/console/doubt", "/console/plans"]
        {
            browser.go(&at(path)).await;
            found.extend(browser.fits(&format!("{path} in {language}"), &[360, 1024, 1280]).await);
            assert_eq!(browser.run("return document.documentElement.lang").await, language);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
