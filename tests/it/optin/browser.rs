//! The pages as people meet them: in a real browser, by hand, by keyboard, without scripts, in light and in dark.

use std::path::Path;

use recado::{cli::consent::bundle, domain::phone::Phone};
use reqwest::StatusCode;

use super::{
    driver::{Browser, ENTER, SPACE, TAB},
    street::Street,
};
use crate::{harness::PATIENCE, harness::until, house::ANA};

/// Ana, as she writes her number.
const BY_HAND: &str = "600 111 222";

async fn met() -> (Street, Browser) {
    (Street::open().await, Browser::open().await)
}

impl Street {
    fn form(&self) -> String {
        format!("{}/opt-in/pedidos?lang=es", self.address)
    }

    fn here(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

/// Fills in the form with what a person would touch.
async fn asks(browser: &Browser, street: &Street, way: &str) {
    browser.go(&street.form()).await;
    browser.write("#phone", BY_HAND).await;
    browser.click("label[for=purpose-orders]").await;
    browser.click("label[for=purpose-shipping]").await;
    browser.click(&format!("#way-{way}")).await;
    browser.click("main button").await;
    browser.shows("h1", "Un paso más").await;
}

#[tokio::test]
async fn the_form_speaks_three_languages() {
    let (street, browser) = met().await;
    browser.go(&street.form()).await;
    for (lang, title, label, button) in [
        ("en", "Get news of your order on WhatsApp", "Your mobile number", "Continue"),
        ("pt-BR", "Receba as notícias do seu pedido pelo WhatsApp", "Seu número de celular", "Continuar"),
        ("es", "Recibe las noticias de tu pedido por WhatsApp", "Tu número de móvil", "Continuar"),
    ] {
        browser.click(&format!("nav a[lang={lang}]")).await;
        browser.shows("h1", title).await;
        assert_eq!(browser.attribute("html", "lang").await.as_deref(), Some(lang));
        assert_eq!(browser.title().await, format!("{title} · Tienda Ejemplo"));
        assert_eq!(browser.text("label[for=phone]").await, label);
        assert_eq!(browser.text("main button").await, button);
        let chosen = browser.attribute("nav a[aria-current]", "lang").await;
        assert_eq!(chosen.as_deref(), Some(lang));
        assert!(browser.text(".consent").await.contains("Tienda Ejemplo"), "what is agreed to is there to be read");
    }
}

#[tokio::test]
async fn the_waiting_page_turns_to_done_by_itself_when_the_phone_sends_the_code() {
    let (street, browser) = met().await;
    asks(&browser, &street, "whatsapp").await;
    let wait = browser.url().await;
    let link = browser.attribute("a.chat", "href").await.unwrap();
    assert!(link.starts_with("https://wa.me/34600000000?text=ALTA%20"), "{link}");
    assert!(browser.has(".scan svg").await, "and a code for whoever sits at a computer");
    let message = browser.text(".bubble strong").await;

    street.writes(ANA, &message).await;

    browser.shows("h1", "¡Listo!").await;
    assert_eq!(browser.url().await, wait);
    let focused = browser.run("return document.activeElement.textContent").await;
    assert_eq!(focused, "¡Listo!", "who does not see it is told");
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn a_wrong_code_is_said_and_the_right_one_confirms() {
    let (street, browser) = met().await;
    asks(&browser, &street, "sms").await;
    street.deliver().await;
    let (_, code) = street.sms_to(ANA);
    let wrong = if code == "111111" { "222222" } else { "111111" };
    browser.write("#code", wrong).await;
    browser.click("main button").await;
    browser.shows("#error", "Te quedan intentos: 4").await;
    assert_eq!(browser.attribute("#code", "aria-describedby").await.as_deref(), Some("error"));
    assert_eq!(browser.run("return document.activeElement.id").await, "code");
    browser.write("#code", &code).await;
    browser.press(ENTER).await;
    browser.shows("h1", "¡Listo!").await;
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn after_a_wrong_code_the_page_still_turns_by_itself_and_sends_nothing_twice() {
    let (street, browser) = met().await;
    asks(&browser, &street, "sms").await;
    street.deliver().await;
    let (link, code) = street.sms_to(ANA);
    browser.write("#code", if code == "111111" { "222222" } else { "111111" }).await;
    browser.click("main button").await;
    browser.shows("#error", "Te quedan intentos: 4").await;
    assert_eq!(street.post(&link, &[], &[]).await.status, StatusCode::OK);
    browser.shows("h1", "¡Listo!").await;
}

#[tokio::test]
async fn the_preferences_stop_one_purpose_and_leave_the_other() {
    let (street, browser) = met().await;
    street.ask(ANA, "sms").await;
    street.deliver().await;
    let (link, _) = street.sms_to(ANA);
    browser.go(&link).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"), "looking changes nothing");
    browser.click("form:not([action$='/no']) button").await;
    browser.shows("h1", "¡Listo!").await;
    browser.click("a[href*='/preferences/']").await;
    browser.shows("#purpose-shipping", "Lo recibes").await;
    browser.click("#purpose-shipping button").await;
    browser.shows("#stopped", "Ya no lo recibirás").await;
    browser.shows("#purpose-shipping", "No lo recibes").await;
    assert!(!browser.has("#purpose-shipping button").await);
    assert_eq!(browser.text("#purpose-orders span").await, "Lo recibes");
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("revoked"));
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn without_scripts_everything_works_too() {
    let (street, browser) = met().await;
    browser.without_scripts().await;
    asks(&browser, &street, "sms").await;
    street.deliver().await;
    let (_, code) = street.sms_to(ANA);
    browser.write("#code", &code).await;
    browser.click("main button").await;
    browser.shows("h1", "¡Listo!").await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));

    street.house.advance(61);
    asks(&browser, &street, "whatsapp").await;
    assert!(browser.has("noscript meta[http-equiv=refresh]").await, "this browser runs no scripts");
    let message = browser.text(".bubble strong").await;
    street.writes(ANA, &message).await;
    // The page looks again by itself after a while; nobody has to wait for that.
    browser.click(".others a").await;
    browser.shows("h1", "¡Listo!").await;
}

#[tokio::test]
async fn the_keyboard_is_enough_and_shows_where_it_is() {
    let (street, browser) = met().await;
    browser.go(&street.form()).await;
    let visible = "const at = document.activeElement, around = at.closest('.pick') ?? at;
        return at.matches(':focus-visible') && getComputedStyle(around).outlineStyle === 'solid'
            && parseFloat(getComputedStyle(around).outlineWidth) >= 2";
    let until_at = async |id: &str| {
        for _ in 0..20 {
            browser.press(TAB).await;
            assert_eq!(browser.run(visible).await, true, "one sees where the keyboard is");
            if browser.run("return document.activeElement.id").await == id {
                return;
            }
        }
        panic!("the keyboard does not come to {id}");
    };
    until_at("phone").await;
    browser.press(BY_HAND).await;
    until_at("purpose-orders").await;
    browser.press(SPACE).await;
    until_at("way-whatsapp").await;
    browser.press(TAB).await;
    assert_eq!(browser.run("return document.activeElement.textContent").await, "Continuar");
    browser.press(ENTER).await;
    browser.shows("h1", "Un paso más").await;
    let asked = async || street.house.consent(ANA, "orders").await;
    until("it is asked for", PATIENCE, async || asked().await.as_deref() == Some("pending")).await;
    assert_eq!(street.house.consent(ANA, "shipping").await, None, "that was not ticked");
}

#[tokio::test]
async fn what_is_wrong_gets_the_focus_and_leads_to_its_field() {
    let (street, browser) = met().await;
    browser.go(&street.form()).await;
    browser.write("#phone", "12").await;
    browser.click("main button").await;
    browser.shows("#error", "no parece correcto").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "error");
    assert!(browser.title().await.starts_with("Error: "));
    assert_eq!(browser.attribute("#phone", "aria-invalid").await.as_deref(), Some("true"));
    browser.click("#error a").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "phone");
}

#[tokio::test]
async fn nothing_is_ticked_beforehand_and_what_was_typed_stays() {
    let (street, browser) = met().await;
    browser.go(&street.form()).await;
    assert!(!browser.has("input[name=purpose]:checked").await, "who does nothing agrees to nothing");
    browser.write("#phone", BY_HAND).await;
    browser.click("main button").await;
    browser.shows("#error", "Marca al menos una opción").await;
    assert_eq!(browser.attribute("#phone", "value").await.as_deref(), Some(BY_HAND));
    browser.click("#error a").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "purpose-orders");
    browser.press(SPACE).await;
    browser.click("main button").await;
    browser.shows("h1", "Un paso más").await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"));
    assert_eq!(street.house.consent(ANA, "shipping").await, None);
}

#[tokio::test]
async fn every_page_is_accessible_in_light_and_dark_on_a_phone_and_at_a_computer() {
    let (street, browser) = met().await;
    let mut found = Vec::new();
    for language in ["es", "en", "pt_BR"] {
        browser.go(&street.here(&format!("/opt-in/pedidos?lang={language}"))).await;
        found.extend(browser.look("pages", &format!("form-{language}")).await);
    }
    browser.go(&street.here("/opt-in/uno")).await;
    browser.shows(".ticks", "Mis pedidos").await;
    assert!(!browser.has("input[type=checkbox]").await, "there is nothing to choose");
    found.extend(browser.look("pages", "form-one-purpose").await);
    browser.go(&street.here("/opt-in/zzz-closed")).await;
    browser.shows("h1", "Ahora no es posible").await;
    found.extend(browser.look("pages", "closed").await);
    browser.go(&street.form()).await;
    browser.write("#phone", "12").await;
    browser.click("main button").await;
    browser.shows("#error", "no parece correcto").await;
    found.extend(browser.look("pages", "form-wrong").await);
    browser.go(&street.form()).await;
    browser.write("#phone", BY_HAND).await;
    browser.click("main button").await;
    browser.shows("#error", "Marca al menos una opción").await;
    found.extend(browser.look("pages", "form-nothing-ticked").await);

    // A scanned or tapped page waits; the answer would replace it under the eye.
    asks(&browser, &street, "whatsapp").await;
    found.extend(browser.look("pages", "wait-whatsapp").await);
    let message = browser.text(".bubble strong").await;
    street.writes(ANA, &message).await;
    browser.shows("h1", "¡Listo!").await;
    browser.shows(".note", "tus preferencias").await;
    found.extend(browser.look("pages", "done-whatsapp").await);
    street.house.advance(61);
    asks(&browser, &street, "whatsapp").await;
    let message = browser.text(".bubble strong").await;
    street.writes("+34600111333", &message).await;
    browser.shows("#message", "que no es el que escribiste").await;
    found.extend(browser.look("pages", "done-other-number").await);

    street.house.advance(61);
    asks(&browser, &street, "sms").await;
    found.extend(browser.look("pages", "wait-sms").await);
    street.deliver().await;
    let (link, code) = street.sms_to(ANA);
    browser.write("#code", if code == "111111" { "222222" } else { "111111" }).await;
    browser.click("main button").await;
    browser.shows("#error", "intentos").await;
    found.extend(browser.look("pages", "wait-wrong").await);
    browser.go(&link).await;
    found.extend(browser.look("pages", "confirm").await);
    browser.click("form:not([action$='/no']) button").await;
    browser.shows("h1", "¡Listo!").await;
    found.extend(browser.look("pages", "done").await);
    browser.click("a[href*='/preferences/']").await;
    browser.shows("#purpose-shipping", "Lo recibes").await;
    found.extend(browser.look("pages", "preferences").await);
    browser.click("#purpose-shipping button").await;
    browser.shows("#stopped", "Hecho").await;
    found.extend(browser.look("pages", "preferences-stopped").await);
    browser.click("button[value='*']").await;
    browser.shows("#purpose-orders", "No lo recibes").await;
    found.extend(browser.look("pages", "preferences-nothing").await);

    street.house.advance(61);
    street.ask(ANA, "sms").await;
    street.deliver().await;
    let (link, _) = street.sms_to(ANA);
    browser.go(&link).await;
    browser.click("form[action$='/no'] button").await;
    browser.shows("h1", "De acuerdo").await;
    found.extend(browser.look("pages", "refused").await);
    street.house.advance(24 * 3_600);
    asks(&browser, &street, "whatsapp").await;
    street.house.advance(48 * 3_600 + 1);
    browser.shows("h1", "Este enlace ya no vale").await;
    found.extend(browser.look("pages", "expired").await);
    browser.go(&street.here("/preferences/x")).await;
    found.extend(browser.look("pages", "unknown").await);

    let phone = Phone::parse(ANA).unwrap();
    let bundle = bundle(&street.house.pools.ops, &phone, street.house.clock.now()).await.unwrap().unwrap();
    let printed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/out/pages/evidence.html");
    std::fs::write(&printed, recado::cli::consent::page(&bundle).unwrap()).unwrap();
    browser.go(&format!("file://{}", printed.display())).await;
    browser.shows("h1", ANA).await;
    found.extend(browser.look("pages", "evidence").await);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
