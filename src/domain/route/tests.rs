use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::*;
use crate::domain::{
    expression::{Zones, value_of},
    locale::Locale,
};

fn rule(countries: &[&str], brands: &[&str], when: Option<&str>, sender: &str) -> Rule {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    let parts = Parts {
        countries: owned(countries),
        brands: owned(brands),
        when: when.map(str::to_owned),
        sender: sender.to_owned(),
        place: ("recado.toml".to_owned(), 1),
    };
    Rule::new(parts).unwrap()
}

fn rules(rules: Vec<Rule>, last_resort: Option<&str>) -> Route {
    let last_resort = last_resort.map(str::to_owned);
    Route::ByRules(Arc::new(Rules { rules, last_resort, written: Written::InSettings }))
}

fn choose(route: &Route, country: Option<&str>, data: &Value) -> Result<Chosen, Nowhere> {
    let zones = Zones { person: None, default: TimeZone::UTC };
    let event = minijinja::Value::from(());
    let scope = Scope::of_event(event, value_of(data), &Locale::unknown(), &zones).in_country(country);
    route.choose(Occasion { scope: &scope, country, brand: data.get("brand").and_then(Value::as_str) })
}

#[test]
fn the_first_rule_that_fits_decides() {
    let route = rules(
        vec![
            rule(&["MX", "CO"], &["luna"], None, "luna_americas"),
            rule(&[], &["luna"], None, "luna"),
            rule(&["MX", "CO"], &[], None, "americas"),
            rule(&[], &[], Some("data.order.total | float > 500 and country == 'ES'"), "premium"),
        ],
        Some("main"),
    );
    let luna = json!({"brand": "luna"});
    let sender = |country, data: &Value| choose(&route, Some(country), data).unwrap().sender;
    assert_eq!(sender("MX", &luna), "luna_americas");
    assert_eq!(sender("ES", &luna), "luna");
    assert_eq!(sender("CO", &json!({"order": {"total": 9}})), "americas");
    assert_eq!(sender("ES", &json!({"order": {"total": "501"}})), "premium");
    assert_eq!(sender("ES", &json!({"order": {"total": 2}})), "main");
    assert_eq!(route.senders(), ["americas", "luna", "luna_americas", "main", "premium"]);
}

#[test]
fn the_choice_names_its_rule() {
    let route = rules(vec![rule(&["MX", "CO"], &["luna"], Some("data.vip"), "luna")], Some("main"));
    let data = json!({"brand": "luna", "vip": true});
    assert_eq!(
        choose(&route, Some("CO"), &data).unwrap().rule.unwrap(),
        "rule 1 of [[routing]] (country MX or CO, brand luna, when data.vip)"
    );
    assert_eq!(
        choose(&route, Some("ES"), &data).unwrap().rule.unwrap(),
        "the last resort: no rule of [[routing]] fits"
    );
    assert_eq!(choose(&Route::Sender("main".into()), None, &data).unwrap().rule, None);
}

#[test]
fn an_event_that_no_rule_fits_goes_nowhere() {
    let route = rules(vec![rule(&["MX"], &[], None, "mexico")], None);
    assert_eq!(choose(&route, Some("ES"), &json!({})), Err(Nowhere::NoRuleFits(Written::InSettings)));
    assert_eq!(choose(&route, None, &json!({})), Err(Nowhere::NoRuleFits(Written::InSettings)));
}

#[test]
fn what_is_absent_does_not_fit_and_what_cannot_be_evaluated_stops() {
    let absent = rules(vec![rule(&[], &[], Some("data.shop.region == 'north'"), "north")], Some("main"));
    assert_eq!(choose(&absent, None, &json!({})).unwrap().sender, "main");
    let broken = rules(vec![rule(&[], &[], Some("data.total | float > 3"), "rich")], Some("main"));
    let Err(Nowhere::Unevaluable { number: 1, problem, .. }) = choose(&broken, None, &json!({"total": "Ana"})) else {
        panic!("it was evaluated");
    };
    assert!(!problem.contains("Ana"), "{problem}");
}

#[test]
fn a_rule_that_makes_no_sense_says_what_is_wrong_with_which_key() {
    let parts = Parts {
        countries: vec!["MEX".into(), "mx".into()],
        brands: vec![" ".into()],
        when: Some("data.brand ==".into()),
        ..Parts::default()
    };
    let keys: Vec<&str> = Rule::new(parts).unwrap_err().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["country", "country", "brand", "when"]);
}
