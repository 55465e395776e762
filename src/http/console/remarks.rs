//! What our own code noted beside a reason, said in a page's language. What it can note is `domain::remark`'s; what others said stays in
//! their words.

use jiff::tz::TimeZone;
use minijinja::Value;

use crate::domain::{remark::Remark, template::Place};

/// The sentence in the language of these texts. None if it is not ours.
pub(super) fn said(text: &str, t: &Value, zone: &TimeZone) -> Option<String> {
    let remark = Remark::read(text)?;
    let say = |key: &str| {
        let words = t.get_attr("shell").and_then(|texts| texts.get_attr(&format!("remark_{key}")));
        words.map(|words| words.to_string()).unwrap_or_default()
    };
    Some(match remark {
        Remark::Answered(code) => say("answered").replace("{code}", &code.to_string()),
        Remark::Reported(code) => say("reported").replace("{code}", &code.to_string()),
        Remark::Differs { places, template } => {
            let places: Vec<String> = places.into_iter().map(|place| named(place, &say)).collect();
            say("differs").replace("{places}", &places.join(", ")).replace("{template}", &template)
        }
        Remark::Marketing => say("marketing"),
        Remark::Becomes { category, on: Some(on) } => {
            let on = on.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string();
            say("becomes_on").replace("{category}", &category).replace("{on}", &on)
        }
        Remark::Becomes { category, on: None } => say("becomes").replace("{category}", &category),
        Remark::TextsUsedUp => say("texts_used_up"),
        Remark::Number(state) => say("number").replace("{state}", &state),
        Remark::Unexplained => say("unexplained"),
    })
}

fn named(place: Place, say: &impl Fn(&str) -> String) -> String {
    let name = say(&format!("place_{}", place.name()));
    match place {
        Place::Button(n) => format!("{name} {n}"),
        Place::Header | Place::Body | Place::Footer | Place::Parameters | Place::Category => name,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use minijinja::{context, value::Serde};

    use super::*;
    use crate::http::console::shell;

    #[test]
    fn every_remark_is_said_in_every_language() {
        let texts: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(shell::PART.texts).unwrap();
        let mut said_in = BTreeMap::new();
        for (language, shell) in &texts {
            let t = context! { shell => Serde(shell) };
            let all: Vec<String> = [
                Remark::Answered(131_031),
                Remark::Reported(131_031),
                Remark::Differs {
                    places: vec![
                        Place::Header,
                        Place::Body,
                        Place::Footer,
                        Place::Button(2),
                        Place::Parameters,
                        Place::Category,
                    ],
                    template: "order_confirmed".to_owned(),
                },
                Remark::Marketing,
                Remark::Becomes { category: "MARKETING".to_owned(), on: Some("2026-12-01T00:00:00Z".parse().unwrap()) },
                Remark::Becomes { category: "MARKETING".to_owned(), on: None },
                Remark::TextsUsedUp,
                Remark::Number("BANNED".to_owned()),
                Remark::Unexplained,
            ]
            .iter()
            .map(|remark| said(&remark.to_string(), &t, &TimeZone::UTC).unwrap())
            .collect();
            for sentence in &all {
                assert!(sentence.ends_with('.') && !sentence.contains(['{', '}']), "{language}: {sentence}");
                assert!(!sentence.contains(", ,") && !sentence.contains("  "), "{language}: {sentence}");
            }
            said_in.insert(language.as_str(), all);
        }
        assert_eq!(said_in["es"][0], "El proveedor respondió con el código 131031.");
        assert_eq!(
            said_in["es"][2],
            "El archivo y el proveedor difieren en: encabezado, cuerpo, pie, botón 2, parámetros, categoría. Míralo con recado templates diff order_confirmed."
        );
        assert_eq!(said_in["pt_BR"][4], "Passa para a categoria MARKETING em 2026-12-01.");
        assert_eq!(said("There is no payment method.", &context! {}, &TimeZone::UTC), None);
    }
}
