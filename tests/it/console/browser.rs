//! The console in a real browser: the main ways, and every page's looks.

use std::path::Path;

use recado::db::keys::Role;

use super::visit::{PASSWORD, account};
use crate::{
    doors::hall::Hall,
    optin::driver::{Browser, ENTER},
};

/// Logs in with a new account and waits for the first page.
pub async fn enters(browser: &Browser, hall: &Hall, name: &str, role: Role) {
    account(hall, name, role).await;
    browser.go(&format!("http://{}/console", hall.address())).await;
    browser.write("#name", name).await;
    browser.write("#password", PASSWORD).await;
    browser.press(ENTER).await;
    browser.shows(".me", name).await;
}

/// Looks at a page on a phone and at a computer, in light and in dark: pictures under `tests/out/console`, and what is wrong.
pub async fn look(browser: &Browser, name: &str) -> Vec<String> {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/out/console");
    let mut found = Vec::new();
    for width in [360, 1280] {
        browser.screen(width).await;
        for scheme in ["light", "dark"] {
            browser.colours(scheme).await;
            let wide = browser.run("return document.documentElement.scrollWidth").await.as_u64().unwrap();
            if wide > u64::from(width) {
                found.push(format!("{name}: {wide} pixels wide on a screen of {width}"));
            }
            browser.picture(&pictures.join(format!("{name}-{width}-{scheme}.png"))).await;
            found.extend(browser.axe().await.into_iter().map(|breach| format!("{name}, {width}, {scheme}: {breach}")));
        }
    }
    // That a page says 403 or 422 is no complaint about it.
    found.extend(browser.complaints().await.into_iter().filter(|line| !line.contains("Failed to load resource")));
    found
}

#[tokio::test]
async fn every_page_is_accessible_in_light_and_dark_on_a_phone_and_at_a_computer() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    let at = |path: &str| format!("http://{}{path}", hall.address());
    browser.go(&at("/console/login")).await;
    browser.shows(".notice", "recado users create").await;
    let mut found = look(&browser, "login").await;
    enters(&browser, &hall, "ana", Role::Admin).await;
    for (name, path) in [("account", "/console/account"), ("audit", "/console/audit")] {
        browser.go(&at(path)).await;
        found.extend(look(&browser, name).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
