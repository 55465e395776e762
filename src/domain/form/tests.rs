use super::*;

const SHIPPED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/forms/pedidos.toml"));

fn load(text: &str) -> Result<Forms, Vec<String>> {
    let files = [("config/forms/pedidos.toml".to_owned(), text.to_owned())];
    Forms::load(&files, &["stop".to_owned(), "baja".to_owned()])
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn pedidos() -> Form {
    load(SHIPPED).unwrap().get("pedidos").unwrap().clone()
}

#[test]
fn the_form_that_is_shipped_speaks_three_languages() {
    let form = pedidos();
    assert_eq!(form.languages().collect::<Vec<_>>(), ["en", "es", "pt_BR"]);
    assert!(form.wording("es").unwrap().consent.contains("Tienda Ejemplo"));
    assert_eq!(form.language(["fr", "pt-PT", "en"]), "pt_BR");
    assert_eq!(form.language(["fr"]), "es");
    for language in ["en", "es", "pt_BR"] {
        let says = &form.wording(language).unwrap().says;
        let sms = says.say(says::Saying::Sms, &[("link", "https://x.example/c/1"), ("code", "123456")]);
        assert!(sms.contains("https://x.example/c/1") && sms.contains("123456") && !sms.contains('{'), "{sms}");
    }
}

#[test]
fn the_sms_that_comes_with_the_program_is_one_sms() {
    let form = pedidos();
    let link = format!("https://recado.example.com/c/{}", "x".repeat(43));
    for language in form.languages() {
        let says = &form.wording(language).unwrap().says;
        let sms = says.say(says::Saying::Sms, &[("link", &link), ("code", "123456")]);
        // One letter outside of the old alphabet, be it an ó, and every part holds 67 letters instead of 153.
        assert!(sms.chars().all(|c| c.is_ascii() || "¡¿àäåÄÅÇèéÉìñÑòöÖùüÜ".contains(c)), "{sms}");
        assert!(sms.chars().count() <= 160, "{} letters: {sms}", sms.chars().count());
    }
}

#[test]
fn a_change_of_wording_is_another_version() {
    let before = pedidos();
    let after = load(&SHIPPED.replace("Puedo dejarlo", "Podré dejarlo")).unwrap();
    let after = after.get("pedidos").unwrap();
    assert_ne!(before.shown("es")["hash"], after.shown("es")["hash"]);
    assert_eq!(before.shown("en")["hash"], after.shown("en")["hash"]);
    assert_eq!(before.shown("es")["version"].as_str().unwrap().len(), 12);
    let elsewhere = load(&SHIPPED.replace("https://shop.example\"]", "https://other.example\"]")).unwrap();
    assert_eq!(before.shown("es"), elsewhere.get("pedidos").unwrap().shown("es"), "what nobody sees makes no version");
}

#[test]
fn a_mistake_is_named_with_its_place_and_its_cure() {
    for (from, to, said) in [
        (
            "word = \"ALTA\"",
            "word = \"Baja\"",
            "pedidos.toml:13: word: This word means that somebody wants no messages",
        ),
        ("country = \"ES\"", "country = \"Spain\"", "country: This must be a country of two letters"),
        ("\"https://shop.example\"]", "\"shop.example\"]", "allowed_origins: This must be scheme and host"),
        ("default_language = \"es\"", "default_language = \"fr\"", "There is no section [languages.fr]"),
        ("confirm = [\"whatsapp\", \"sms\"]", "confirm = []", "confirm: Name at least one way"),
        ("confirm = [\"whatsapp\", \"sms\"]", "confirm = [\"mail\"]", "unknown variant `mail`"),
        ("privacy_url = \"https://", "privacy_url = \"http://", "privacy_url: This must be an address that begins"),
        (
            "purposes = [\"orders\", \"shipping\"]",
            "purposes = [\"orders\", \"offers\"]",
            "The purpose offers needs a text",
        ),
        ("Quiero que {brand}", "Quiero que {shop}", "In braces there can be {brand} only"),
        ("brand = \"Tienda Ejemplo\"", "brnad = \"x\"", "unknown field `brnad`"),
    ] {
        let problems = load(&SHIPPED.replacen(from, to, 1)).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(said)), "{to}: {problems:?}");
    }
}

#[test]
fn a_language_that_the_program_does_not_speak_brings_its_own_texts() {
    let french =
        "\n[languages.fr]\ntitle = \"t\"\nconsent = \"{brand}\"\npurposes = { orders = \"a\", shipping = \"b\" }\n";
    let problems = load(&format!("{SHIPPED}{french}")).unwrap_err();
    assert!(problems[0].contains("languages.fr.says.ask: There is no such text for this language"), "{problems:?}");
    let own = "says = { ask = \"{brand} {consent}\", confirmed = \"{brand} {stop}\", stopped = \"{brand}\", \
               stopped_some = \"{brand}\", help = \"{brand} {stop}\", sms = \"{brand} {link} {code}\" }\n";
    assert!(load(&format!("{SHIPPED}{french}{own}")).is_ok());
}

#[test]
fn the_word_asks_alone_or_with_a_code() {
    let forms = load(SHIPPED).unwrap();
    let code = |text| forms.asked_by(text).map(|(_, code)| code);
    assert_eq!(code("Alta!"), Some(None));
    assert_eq!(code("ALTA K7Q2M9XX Quiero mensajes"), Some(Some("K7Q2M9XX")));
    assert_eq!(code("quiero el alta"), None);
    assert_eq!(code(""), None);
}
