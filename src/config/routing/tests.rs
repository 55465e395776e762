use super::super::tests::{Desk, SECRETS, mistakes};
use super::*;
use crate::config::Settings;

const TWO: &str = r#"
[senders.main]
kind = "meta"
phone_number_id = "106540352242922"
[senders.luna]
kind = "meta"
phone_number_id = "106540352242923"
[senders.sms]
kind = "twilio_sms"
account_sid = "AC0123456789abcdef0123456789abcdef"
number = "+34600000001"
"#;

fn load(rules: &str, variables: &[(&str, &str)]) -> Settings {
    Desk::new().write("recado.toml", &format!("{TWO}{rules}")).load(Needs::NOTHING, variables).unwrap()
}

#[test]
fn rules_come_in_their_order_and_make_a_default_sender_unnecessary() {
    let settings = load(
        "[[routing]]\ncountry = [\"MX\", \"CO\"]\nsender = \"luna\"\n[[routing]]\nbrand = \"luna\"\nsender = \"luna\"\n[[routing]]\nsender = \"main\"\n",
        &[],
    );
    let rules = settings.routing.as_ref().unwrap();
    assert_eq!(rules.senders().collect::<Vec<_>>(), ["luna", "luna", "main"]);
    assert!(rules.are_complete());
    assert_eq!(rules.rules[1].place(), ("recado.toml", 17));
    assert_eq!(settings.templates.default_sender, None);
    let shown = settings.to_string();
    assert!(
        shown
            .contains("[routing.1]\ncountry = [\"MX\", \"CO\"]  # recado.toml:13\nsender = \"luna\"  # recado.toml:14"),
        "{shown}"
    );
}

#[test]
fn the_default_sender_is_the_last_resort_only_if_somebody_wrote_it() {
    let rule = "[[routing]]\ncountry = \"MX\"\nsender = \"luna\"\n";
    assert!(!load(rule, &[]).routing.unwrap().are_complete());
    let settings = load(rule, &[("RECADO_TEMPLATES__DEFAULT_SENDER", "main")]);
    assert_eq!(settings.routing.unwrap().last_resort.as_deref(), Some("main"));
    assert!(load("[templates]\ndefault_sender = \"main\"\n", &[]).routing.is_none());
}

#[test]
fn rules_may_stand_in_the_environment_alone() {
    let mut variables = SECRETS.to_vec();
    variables.push(("RECADO_ROUTING__1__COUNTRY", "MX, CO"));
    variables.push(("RECADO_ROUTING__1__SENDER", "luna"));
    variables.push(("RECADO_ROUTING__2__SENDER", "main"));
    let rules = load("", &variables).routing.unwrap();
    assert_eq!(rules.senders().collect::<Vec<_>>(), ["luna", "main"]);
    assert_eq!(rules.rules[0].to_string(), " (country MX or CO)");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let told = |rules: &str| mistakes(&format!("{TWO}{rules}"), &[]);
    assert_eq!(
        told("[[routing]]\nbrand = \"luna\"\nsender = \"lun\"\n"),
        "recado.toml:14: routing.1.sender = \"lun\": there is no sender of this name; did you mean `luna`?"
    );
    assert_eq!(
        told("[[routing]]\nsender = \"sms\"\n"),
        "recado.toml:13: routing.1.sender = \"sms\": this sender sends SMS and no templates; name one at WhatsApp"
    );
    assert_eq!(
        told("[[routing]]\ncountry = \"Mexico\"\nsender = \"luna\"\n"),
        "recado.toml:13: routing.1.country = \"Mexico\": has \"Mexico\", which is no country (two capital letters, like MX)"
    );
    assert!(
        told("[[routing]]\nwhen = \"data.brand ==\"\nsender = \"luna\"\n")
            .starts_with("recado.toml:13: routing.1.when = ")
    );
    assert_eq!(
        told("[[routing]]\ncountry = \"MX\"\n"),
        "recado.toml:12: routing.1.sender: is missing; name the sender whose messages these are"
    );
    assert_eq!(
        told("[[routing]]\nsender = \"luna\"\n[[routing]]\ncountry = \"MX\"\nsender = \"main\"\n"),
        "recado.toml:14: routing.2: is never reached: the rule above asks for nothing and fits always"
    );
    assert_eq!(
        told("[[routing]]\ncontry = \"MX\"\nsender = \"main\"\n"),
        "recado.toml:13: routing.1.contry: is no key of ours; did you mean `country`?"
    );
    assert!(told("[routing]\nsender = \"main\"\n").contains("routing"), "one section is no list of them");
    assert!(told("").contains("say by [[routing]] when which of them is meant"));
}
