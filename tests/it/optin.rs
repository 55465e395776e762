//! The doors through which people say yes: form, tap, and what happens if somebody is too late, somebody else, or twice.

mod answers;
mod backend;
mod browser;
pub mod driver;
mod evidence;
mod load;
mod persons;
mod street;
mod texts;

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use sqlx::Row;

use crate::house::ANA;
use street::Street;

const BEA: &str = "+34600111333";

#[tokio::test]
async fn one_tap_after_the_form_and_the_order_that_waited_goes() {
    let street = Street::open().await;
    let order = street.house.order(ANA).await;
    assert!(street.house.claim().await.go.is_empty());
    let (wait, page) = street.ask("600 111 222", "whatsapp").await;
    assert_eq!(street.state(&wait).await, "pending");
    assert!(street.house.claim().await.go.is_empty(), "asked is not agreed");

    street.writes(ANA, &page.prepared()).await;

    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("granted"));
    assert_eq!(street.house.claim_one().await.attempt.notification, order);
    assert_eq!(street.state(&wait).await, "confirmed");
    let done = street.get(&wait).await;
    assert!(done.text.contains("¡Listo!"), "{}", done.text);
    assert!(done.text.contains("tus preferencias está en el mensaje"), "{}", done.text);
    assert!(!done.text.contains("/preferences/"), "who waits need not be who holds the phone");
    let window = street.house.count("select count(*) from lanes where window_until > recado_now()").await;
    assert_eq!(window, 1, "the message opened the window");
}

#[tokio::test]
async fn the_first_order_waits_for_the_tap_and_ends_without_it() {
    let street = Street::open().await;
    street.ask(ANA, "whatsapp").await;
    let order = street.house.order(ANA).await;
    assert!(street.house.claim().await.go.is_empty());
    assert_eq!(street.house.stand(order).await.waiting_on.as_deref(), Some("consent"));
    street.house.advance(2 * 3_600 + 1);
    street.house.run("update notifications set waiting_on = null").await;
    street.house.claim().await;
    assert_eq!(street.house.stand(order).await.reason.as_deref(), Some("not_confirmed"));
}

#[tokio::test]
async fn the_evidence_says_what_was_shown_where_and_how_it_was_confirmed() {
    let street = Street::open().await;
    let (_, page) = street.ask(ANA, "whatsapp").await;
    street.writes(ANA, &page.prepared()).await;
    let rows =
        street.house.rows("select act, payload from consent_entries where purpose = 'orders' order by number").await;
    let acts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(acts, ["asked", "confirmed"]);
    let (asked, confirmed): (Value, Value) = (rows[0].get(1), rows[1].get(1));
    assert!(asked["shown"]["text"]["consent"].as_str().unwrap().contains("Tienda Ejemplo"));
    assert_eq!(asked["shown"]["locale"], "es");
    assert_eq!(asked["from"]["address"], "127.0.0.1");
    assert_eq!(asked["source"], "page");
    assert_eq!(confirmed["by"], "message");
    assert_eq!(confirmed["wording"], asked["shown"]["hash"]);
    assert_eq!(confirmed["opt_in"], asked["opt_in"]);
    assert!(confirmed["message_id"].as_str().unwrap().starts_with("wamid."));
    let secrets = street.house.rows("select t.hash from tokens t").await;
    assert!(secrets.iter().all(|row| row.get::<Vec<u8>, _>(0).len() == 32), "only hashes are kept");
}

#[tokio::test]
async fn somebody_elses_number_gets_nothing_from_a_tap() {
    let street = Street::open().await;
    let (wait, page) = street.ask(BEA, "whatsapp").await;
    street.writes(ANA, &page.prepared()).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"), "for the phone that sent it");
    assert_eq!(street.house.consent(BEA, "orders").await.as_deref(), Some("pending"), "and nothing for the other");
    assert_eq!(street.state(&wait).await, "confirmed");
    let done = street.get(&wait).await;
    assert!(done.text.contains("que no es el que escribiste"), "{}", done.text);
    let order = street.house.order(BEA).await;
    assert!(street.house.claim().await.go.is_empty());
    assert_eq!(street.house.stand(order).await.waiting_on.as_deref(), Some("consent"));
}

#[tokio::test]
async fn a_code_confirms_once_and_not_after_a_no() {
    let street = Street::open().await;
    let (_, page) = street.ask(ANA, "whatsapp").await;
    let message = page.prepared();
    street.writes(ANA, &message).await;
    street.house.advance(60);
    street.writes(ANA, "BAJA").await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    street.house.advance(60);
    street.writes(ANA, &message).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"), "a used code is used");
}

#[tokio::test]
async fn a_code_from_before_a_no_asks_again_instead_of_confirming() {
    let street = Street::open().await;
    let (_, page) = street.ask(ANA, "whatsapp").await;
    street.house.advance(60);
    street.writes(ANA, "stop").await;
    street.house.advance(60);
    street.writes(ANA, &page.prepared()).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"), "asked, by their own message");
    street.writes(ANA, "Sí!").await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn a_code_is_too_old_after_two_days() {
    let street = Street::open().await;
    let (wait, page) = street.ask(ANA, "whatsapp").await;
    street.house.clock.advance(Duration::from_secs(48 * 3_600 + 1));
    assert_eq!(street.state(&wait).await, "expired");
    street.writes(ANA, &page.prepared()).await;
    assert_ne!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn the_word_alone_asks_and_a_yes_confirms() {
    let street = Street::open().await;
    street.writes(ANA, "sí").await;
    assert_eq!(street.house.count("select count(*) from consent_entries").await, 0, "a yes to nothing is nothing");
    street.writes(ANA, "Alta").await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"));
    street.writes(BEA, "sí").await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"), "that was somebody else");
    street.writes(ANA, "SI").await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn who_asks_looks_the_same_whether_or_not_the_number_is_known() {
    let street = Street::open().await;
    street.house.agreed().await;
    let (_, known) = street.ask(ANA, "whatsapp").await;
    let (_, unknown) = street.ask(BEA, "whatsapp").await;
    let plain = |page: &street::Page| {
        let code = page.prepared();
        let picture = page.text.find("<svg").unwrap()..page.text.find("</svg>").unwrap();
        let mut text = page.text.clone();
        text.replace_range(picture, "");
        let wait = page.attribute("data-state-url").unwrap();
        let token = wait.split('/').rev().nth(1).unwrap().to_owned();
        text.replace(&code, "").replace(&code.replace(' ', "%20"), "").replace(&token, "")
    };
    assert_eq!(plain(&known), plain(&unknown));
    for _ in 0..10 {
        let began = std::time::Instant::now();
        assert_eq!(street.fill_in(BEA, "whatsapp").await.status, StatusCode::SEE_OTHER);
        assert!(began.elapsed() >= Duration::from_millis(20), "also what leads to nothing takes its time");
    }
    let entries = street.house.count("select count(*) from consent_entries where purpose = 'orders'").await;
    assert_eq!(entries, 1 + 1 + 5, "the import, Ana's ask, and five of Bea's: more lead to nothing");
}

#[tokio::test]
async fn only_our_form_and_the_shops_pages_may_post() {
    let street = Street::open().await;
    let fields = [("phone", ANA), ("purpose", "orders"), ("way", "whatsapp")];
    let post = async |headers: &[(&str, &str)]| street.post("/opt-in/pedidos", &fields, headers).await;
    for headers in [
        &[][..],
        &[("origin", "null")][..],
        &[("origin", "https://evil.example")][..],
        &[("origin", "https://shop.example.evil.example")][..],
    ] {
        assert_eq!(post(headers).await.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(street.house.count("select count(*) from opt_ins").await, 0);
    let shop = post(&[("origin", "https://shop.example")]).await;
    assert_eq!(shop.status, StatusCode::SEE_OTHER);
    assert_eq!(shop.header("access-control-allow-origin"), Some("https://shop.example"));
    assert!(shop.header("location").unwrap().starts_with(&street.address));
    let script = post(&[("origin", "https://shop.example"), ("accept", "application/json")]).await;
    assert_eq!(script.status, StatusCode::ACCEPTED);
    let told: Value = serde_json::from_str(&script.text).unwrap();
    assert!(told["whatsapp_url"].as_str().unwrap().starts_with("https://wa.me/34600000000?text=ALTA%20"));
    let form = street.get("/opt-in/pedidos").await;
    let stolen = [("csrf", form.csrf()), ("phone", ANA.to_owned()), ("purpose", "orders".to_owned())];
    let stolen: Vec<(&str, &str)> = stolen.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let without_cookie = street.post("/opt-in/pedidos", &stolen, &[("origin", "null")]).await;
    assert_eq!(without_cookie.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_shops_script_may_ask_and_hear_and_nobody_elses() {
    let street = Street::open().await;
    let before = street
        .options("/opt-in/pedidos", &[("origin", "https://shop.example"), ("access-control-request-method", "POST")])
        .await;
    assert_eq!(before.status, StatusCode::NO_CONTENT);
    assert_eq!(before.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(before.header("access-control-allow-methods"), Some("POST"));
    let fields = [("phone", ANA), ("purpose", "orders"), ("way", "whatsapp")];
    let shop = [("origin", "https://shop.example"), ("accept", "application/json")];
    let told: Value = serde_json::from_str(&street.post("/opt-in/pedidos", &fields, &shop).await.text).unwrap();
    let state = street.get_with(told["state_url"].as_str().unwrap(), &shop[..1]).await;
    assert_eq!(state.header("access-control-allow-origin"), Some("https://shop.example"));
    assert!(state.text.contains("pending"), "{}", state.text);
    let wrong = street.post("/opt-in/pedidos", &[("phone", "12"), ("purpose", "orders")], &shop).await;
    assert_eq!(
        (wrong.status, wrong.header("access-control-allow-origin")),
        (StatusCode::UNPROCESSABLE_ENTITY, shop[0].1.into())
    );
    assert!(wrong.text.contains("bad_phone"), "{}", wrong.text);
    for origin in ["https://evil.example", "http://shop.example", "null"] {
        let foreign = [("origin", origin)];
        for page in [
            street.options("/opt-in/pedidos", &foreign).await,
            street.post("/opt-in/pedidos", &fields, &foreign).await,
            street.get_with(told["state_url"].as_str().unwrap(), &foreign).await,
        ] {
            assert_eq!(page.header("access-control-allow-origin"), None, "{origin}");
        }
    }
}

#[tokio::test]
async fn two_tabs_of_the_form_are_both_good_and_so_is_a_browser_without_cookies() {
    let street = Street::open().await;
    let first = street.get("/opt-in/pedidos").await;
    let cookie = first.header("set-cookie").unwrap();
    assert!(
        cookie.contains("SameSite=Lax") && cookie.contains("HttpOnly"),
        "a link from the shop brings it along: {cookie}"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let second = street.get_with("/opt-in/pedidos", &[("cookie", &cookie)]).await;
    let ask = async |csrf: &str, headers: &[(&str, &str)]| {
        let fields = [("csrf", csrf), ("phone", ANA), ("purpose", "orders"), ("way", "whatsapp")];
        street.post("/opt-in/pedidos", &fields, headers).await.status
    };
    for page in [&first, &second] {
        assert_eq!(ask(&page.csrf(), &[("cookie", &cookie), ("origin", "null")]).await, StatusCode::SEE_OTHER);
    }
    let csrf = first.csrf();
    assert_eq!(ask(&csrf, &[("origin", "null"), ("sec-fetch-site", "same-origin")]).await, StatusCode::SEE_OTHER);
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(ask(&csrf, &[("origin", "null"), ("sec-fetch-site", site)]).await, StatusCode::FORBIDDEN, "{site}");
    }
}

#[tokio::test]
async fn a_form_whose_day_is_full_says_so_and_takes_nobody_in() {
    let street = Street::open_with(recado::config::Forms { asks_per_form: 2, ..street::limits() }).await;
    for phone in [ANA, BEA] {
        assert_eq!(street.fill_in(phone, "whatsapp").await.status, StatusCode::SEE_OTHER);
    }
    let late = street.fill_in("+34600111444", "whatsapp").await;
    assert_eq!(late.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(late.text.contains("no está disponible"), "{}", late.text);
    assert_eq!(street.house.count("select count(*) from opt_ins").await, 2);
    street.house.advance(24 * 3_600 + 1);
    assert_eq!(street.fill_in("+34600111444", "whatsapp").await.status, StatusCode::SEE_OTHER, "tomorrow it has room");
}

#[tokio::test]
async fn a_page_keeps_itself_to_itself() {
    let street = Street::open().await;
    let (wait, _) = street.ask(ANA, "whatsapp").await;
    for path in ["/opt-in/pedidos", wait.as_str(), "/opt-in/nobody", "/preferences/x", "/c/x"] {
        let page = street.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(!page.text.contains("<style") && !page.text.contains("style="), "{path}");
        assert!(!page.text.contains("<script>"), "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_in_the_form_is_said_in_the_persons_language() {
    let street = Street::open().await;
    let bad = street.fill_in("12", "whatsapp").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.text.contains("no parece correcto") && bad.text.contains("value=\"12\""), "{}", bad.text);
    let portuguese = street.get_with("/opt-in/pedidos", &[("accept-language", "fr, pt-BR;q=0.8, en;q=0.5")]).await;
    assert!(portuguese.text.contains("lang=\"pt-BR\"") && portuguese.text.contains("Seu número"));
    let chosen = street.get("/opt-in/pedidos?lang=en").await;
    assert!(chosen.text.contains("Your mobile number"));
}

#[tokio::test]
async fn who_comes_too_often_is_asked_to_come_later() {
    let street = Street::open_with(recado::config::Forms { asks_per_address: 3, ..street::limits() }).await;
    for _ in 0..3 {
        assert_eq!(street.fill_in(ANA, "whatsapp").await.status, StatusCode::SEE_OTHER);
    }
    let late = street.fill_in(ANA, "whatsapp").await;
    assert_eq!(late.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(late.text.contains("Prueba más tarde"));
}
