//! The console in a real browser: the main ways, and every page's looks.

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

#[tokio::test]
async fn every_page_is_accessible_in_light_and_dark_on_a_phone_and_at_a_computer() {
    let (hall, browser) = (Hall::open().await, Browser::open().await);
    let at = |path: &str| format!("http://{}{path}", hall.address());
    browser.go(&at("/console/login")).await;
    browser.shows(".notice", "recado users create").await;
    let mut found = browser.look("console", "login").await;
    enters(&browser, &hall, "ana", Role::Admin).await;
    for (name, path) in [("account", "/console/account"), ("audit", "/console/audit")] {
        browser.go(&at(path)).await;
        found.extend(browser.look("console", name).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
