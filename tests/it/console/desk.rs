//! Templates, consents, the audit trail, users and keys in a real browser.

use recado::{
    db::{consents, keys::Role},
    domain::{ledger::Act, phone::Phone},
};
use serde_json::json;

use super::{browser::enters, visit::account};
use crate::{
    doors::hall::Hall,
    optin::driver::{Browser, ENTER, TAB},
};

/// Something to look at on every page.
async fn furnish(hall: &Hall) {
    let ana = || consents::Who::Phone(Phone::parse("+34600111222").unwrap());
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let pool = &hall.pools.ops;
    let asked = Act::Asked { until: at("2099-01-01T00:00:00Z") };
    let evidence = json!({"form": "pedidos", "wording": {"version": 3, "text": "Quiero recibir por WhatsApp el estado de mis pedidos."},
        "from": {"ip": "192.0.2.7", "browser": "Mozilla/5.0 (Android 14; Mobile)"}});
    for (act, purposes, when, evidence) in [
        (asked, &["orders", "shipping"][..], "2026-11-20T10:00:00Z", evidence.clone()),
        (
            Act::Confirmed,
            &["orders", "shipping"],
            "2026-11-20T10:00:31Z",
            json!({"way": "whatsapp", "message": "wamid.7"}),
        ),
        (
            Act::Revoked,
            &["shipping"],
            "2026-11-22T18:30:00Z",
            json!({"by": "operator", "reason": "told us on the phone"}),
        ),
        (asked, &["marketing"], "2026-11-23T09:00:00Z", evidence),
    ] {
        consents::record(pool, ana(), act, purposes, evidence, at(when)).await.unwrap();
    }
    hall.sql(
        "with said as (
           insert into template_versions (template, language, number, hash, definition)
           values ('order_confirmed', 'es', 7, decode(repeat('07', 32), 'hex'),
             '{\"body\": \"Hola {{name}}, tu pedido *{{number}}* está confirmado.\", \"footer\": \"Tienda\"}') returning id
         )
         insert into template_states (sender, template, language, status, category, quality, reason, version, drifted_from, changed_by)
         select s.id, t.template, t.language, t.status, 'UTILITY', t.quality, t.reason,
           case when t.drifts then v.id end, case when t.drifts then v.id end, 'meta'
         from senders s, said v, (values
           ('main', 'order_confirmed', 'es', 'approved', 'GREEN', null, true),
           ('second', 'order_confirmed', 'es', 'pending', null, null, false),
           ('main', 'order_confirmed', 'en', 'paused', 'RED', 'LOW_QUALITY', false),
           ('main', 'spring_sale', 'es', 'rejected', null, 'TAG_CONTENT_MISMATCH', false)
         ) as t (sender, template, language, status, quality, reason, drifts) where s.name = t.sender;
         insert into holds (scope, sender, template, reason, detail, placed_by)
         select 'template', id, 'order_confirmed', 'operator', 'a typo in the second line', 'user olga' from senders where name = 'main'",
    )
    .await;
    hall.key(Role::Operator).await;
    hall.key(Role::Producer).await;
    hall.sql("update api_keys set revoked_at = now() where name = 'producer'").await;
    account(hall, "olga", Role::Operator).await;
    account(hall, "eva.martinez@tienda.example", Role::Viewer).await;
    hall.sql("update users set disabled_at = now() where name = 'eva.martinez@tienda.example'").await;
}

#[tokio::test]
async fn the_pages_for_templates_people_and_rights_are_accessible_on_a_phone_and_at_a_computer() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    furnish(&hall).await;
    enters(&browser, &hall, "ada", Role::Admin).await;
    let at = |path: &str| format!("http://{}{path}", hall.address());
    let mut found = Vec::new();
    for name in ["templates", "senders", "consents", "users", "keys", "audit", "nothing-here"] {
        browser.go(&at(&format!("/console/{name}"))).await;
        found.extend(browser.look("console", name).await);
    }

    for name in ["order_confirmed", "spring_sale"] {
        browser.go(&at(&format!("/console/templates/{name}"))).await;
        found.extend(browser.look("console", &format!("templates-{name}")).await);
    }

    for language in ["es", "pt-BR"] {
        browser.speaks(language).await;
        for path in ["templates/order_confirmed", "senders", "users", "account"] {
            browser.go(&at(&format!("/console/{path}"))).await;
            if path == "senders" {
                browser.click("details:has(form[action$='/release']) summary").await;
            }
            found.extend(browser.fits(&format!("{path} in {language}"), &[360, 1024, 1280]).await);
        }
        if language == "es" {
            browser.go(&at("/console/templates/order_confirmed")).await;
            browser.shows("main", "La gente la bloquea o la denuncia.").await;
            browser.go(&at("/console/consents")).await;
            browser.write("#who", "+34600111222").await;
            browser.click(".filters .primary").await;
            browser.shows("#entry-1", "desde › navegador").await;
            browser.go(&at("/console/account")).await;
        }
        browser.shows("body", if language == "es" { "Tu cuenta" } else { "Sua conta" }).await;
    }
    browser.speaks("en").await;

    browser.go(&at("/console/consents")).await;
    browser.write("#who", "+34 600 111 222").await;
    browser.click(".filters .primary").await;
    browser.shows("#purposes", "Contact").await;
    assert_eq!(browser.url().await, at("/console/consents"), "the number is in no address");
    found.extend(browser.look("console", "consents-of").await);

    browser.screen(1280).await;
    browser.go(&at("/console/keys")).await;
    browser.write("#name", "support-desk").await;
    browser.click(".filters .primary").await;
    browser.shows("#made", "support-desk").await;
    found.extend(browser.look("console", "keys-made").await);

    browser.screen(1280).await;
    browser.go(&at("/console/senders")).await;
    browser.click("details:has(form[action$='/release']) summary").await;
    browser.press(TAB).await;
    browser.press("the typo is gone").await;
    found.extend(browser.look("console", "senders-release").await);
    browser.press(ENTER).await;
    browser.shows(".notice", "It is released.").await;
    let kept = "select released_because from holds where released_by = 'user ada'";
    assert_eq!(hall.ask(kept).await.unwrap(), "the typo is gone");

    browser.screen(1280).await;
    browser.go(&at("/console/users")).await;
    browser.click("tbody tr:nth-child(3) summary").await;
    found.extend(browser.look("console", "users-change").await);
    browser.click("tbody tr:nth-child(3) .danger").await;
    browser.shows(".notice", "The account is changed.").await;
    browser.shows("tbody tr:nth-child(3)", "disabled").await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn a_viewer_sees_no_number_and_is_refused_what_they_may_not_do() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    furnish(&hall).await;
    let id = hall.notification("A-1042", "+34600111222").await;
    enters(&browser, &hall, "vera", Role::Viewer).await;
    let at = |path: &str| format!("http://{}{path}", hall.address());
    browser.go(&at(&format!("/console/notifications/{id}"))).await;
    browser.shows("h1", "A-1042").await;
    let page = browser.run("return document.documentElement.outerHTML").await;
    assert!(!page.as_str().unwrap().contains("600111222"));
    assert!(!browser.has("form[action*='/notifications/'] .primary").await, "nothing to act with");
    browser.go(&at("/console/audit")).await;
    browser.shows("main", "You may not do this").await;
    let found = browser.look("console", "refused").await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}
