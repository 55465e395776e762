use super::*;
use crate::domain::template::{Catalogue, shipped_events, shipped_messages};

fn settings() -> Settings {
    Settings {
        senders: vec!["main".into(), "luna".into()],
        other_senders: vec!["sms".into()],
        default_language: "en".into(),
        ..Settings::default()
    }
}

fn by_rule(parts: Parts) -> Settings {
    let rules = vec![Rule::new(parts).unwrap()];
    let routing = Rules { rules, last_resort: Some("main".into()), written: Written::InSettings };
    Settings { routing: Some(Arc::new(routing)), ..settings() }
}

/// The shipped messages, `order_confirmed` with these lines in front.
fn load(lines: &str, settings: &Settings) -> Result<Catalogue, Vec<String>> {
    let messages = shipped_messages().into_iter().map(|(path, text)| {
        let begin = if path.ends_with("/order_confirmed.toml") { lines } else { "" };
        (path, text.replacen("\n[trigger]", &format!("\n{begin}\n[trigger]"), 1))
    });
    let messages: Vec<_> = messages.collect();
    Catalogue::load(&messages, &shipped_events(), settings)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn senders(lines: &str, settings: &Settings) -> Vec<String> {
    let catalogue = load(lines, settings).unwrap();
    let template = catalogue.template("order_confirmed").unwrap();
    template.senders().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_template_goes_from_its_own_sender_by_its_own_rules_by_the_configurations_or_from_the_default() {
    let routing = by_rule(Parts { brands: vec!["luna".into()], sender: "luna".into(), ..Parts::default() });
    assert_eq!(senders("", &settings()), ["main"]);
    assert_eq!(senders("", &routing), ["luna", "main"]);
    assert_eq!(senders("sender = \"luna\"", &routing), ["luna"]);
    assert_eq!(senders("[[route]]\ncountry = \"MX\"\nsender = \"luna\"", &routing), ["luna"]);
    assert_eq!(
        senders("sender = \"main\"\n[[route]]\nbrand = [\"luna\", \"sol\"]\nsender = \"luna\"", &routing),
        ["luna", "main"]
    );
}

#[test]
fn mistakes_in_a_templates_rules_are_named_with_their_line() {
    let shipped = shipped_messages().into_iter().find(|(path, _)| path.ends_with("/order_confirmed.toml")).unwrap().1;
    let before = shipped.lines().position(|line| line == "[trigger]").unwrap();
    let says = |lines: &str, line: usize, says: &str| {
        let wrong = load(lines, &settings()).unwrap_err();
        let place = format!("order_confirmed.toml:{}: ", line + before);
        assert!(wrong.iter().any(|it| it.contains(&place) && it.contains(says)), "{lines}: {wrong:#?}");
    };
    says("[[route]]\nsender = \"lnua\"", 2, "route.sender: There is no sender \"lnua\"");
    says("[[route]]\nsender = \"sms\"", 2, "route.sender: The sender \"sms\" sends SMS and no templates");
    says("sender = \"sms\"", 1, "sender: The sender \"sms\" sends SMS and no templates");
    says("[[route]]\ncountry = \"Mexico\"\nsender = \"luna\"", 2, "route.country: This has \"Mexico\"");
    says("[[route]]\nwhen = \"data.brand ==\"\nsender = \"luna\"", 2, "route.when: This is no expression");
    says("[[route]]\nwhen = \"data.brnd == 'luna'\"\nsender = \"luna\"", 2, "does not describe data.brnd");
    says(
        "[[route]]\nwhen = \"data.customer.name | float > 2\"\nsender = \"luna\"",
        2,
        "with the template's own example",
    );
    says("[[route]]\nsender = \"luna\"\n[[route]]\ncountry = \"MX\"\nsender = \"main\"", 3, "never reached");
    says("sender = \"main\"\n[[route]]\nsender = \"luna\"", 1, "never used");
    says("[[route]]\nsendr = \"luna\"", 2, "sendr");
}

#[test]
fn a_condition_may_ask_for_the_country_and_for_what_an_event_may_lack() {
    let lines = "[[route]]\nwhen = \"data.brand == 'luna' and country in ['MX', 'CO']\"\nsender = \"luna\"";
    assert_eq!(senders(lines, &settings()), ["luna"]);
}

#[test]
fn the_configurations_rules_are_held_against_the_events_of_all_templates() {
    let when = |text: &str| {
        let place = ("recado.toml".to_owned(), 12);
        by_rule(Parts { when: Some(text.into()), sender: "luna".into(), place, ..Parts::default() })
    };
    // Only some types have a shipment; the others just do not fit.
    assert!(load("", &when("data.shipment.carrier == 'MRW'")).is_ok());
    let wrong = load("", &when("data.shipmnt.carrier == 'MRW'")).unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert!(
        wrong[0].starts_with("recado.toml:12: routing.1.when: ") && wrong[0].contains("data.shipmnt"),
        "{wrong:#?}"
    );
    let wrong = load("", &when("data.order.number | float > 5")).unwrap_err();
    assert!(wrong.iter().any(|it| it.starts_with("recado.toml:12: routing.1.when: For order.")), "{wrong:#?}");
}
