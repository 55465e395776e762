//! What the demonstration's page says, language by language: `templates/demo/texts.toml`.

use std::{collections::BTreeMap, sync::OnceLock};

const FILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/demo/texts.toml"));

type Words = BTreeMap<String, String>;

/// All languages of the page, with the names under which a browser asks for them.
pub const LANGUAGES: [(&str, &str); 3] = [("en", "en"), ("es", "es"), ("pt_BR", "pt-BR")];

fn all() -> &'static BTreeMap<String, Words> {
    static ALL: OnceLock<BTreeMap<String, Words>> = OnceLock::new();
    ALL.get_or_init(|| toml::from_str(FILE).unwrap_or_default())
}

/// What is said in one language.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    pub language: &'static str,
    words: &'a Words,
}

impl Texts<'static> {
    /// The language that is asked for, by its name or a browser's wish list; English if it is none of ours.
    pub fn of(wanted: &str) -> Texts<'static> {
        static NONE: Words = Words::new();
        let fits = |wish: &str| {
            let short = wish.split([';', '-', '_']).next().unwrap_or_default().trim().to_ascii_lowercase();
            LANGUAGES.iter().find(|(name, _)| name.get(..2) == Some(short.as_str())).map(|(name, _)| *name)
        };
        let language = wanted.split(',').find_map(fits).unwrap_or("en");
        Texts { language, words: all().get(language).unwrap_or(&NONE) }
    }
}

impl<'a> Texts<'a> {
    pub fn all(self) -> &'a BTreeMap<String, String> {
        self.words
    }

    pub fn has(self, key: &str) -> bool {
        self.words.contains_key(key)
    }

    /// A text with its places filled: `{n}`.
    pub fn say(self, key: &str, places: &[(&str, &str)]) -> String {
        let text = self.words.get(key).map_or(key, String::as_str).to_owned();
        places.iter().fold(text, |text, (place, with)| text.replace(&format!("{{{place}}}"), with))
    }

    /// A reason, in words if it is one of those that are met here.
    pub fn reason(self, name: &str) -> String {
        self.words.get(&format!("reason_{name}")).cloned().unwrap_or_else(|| name.replace('_', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_says_everything() {
        let english: Vec<_> = Texts::of("en").all().keys().collect();
        assert!(english.len() > 100, "{}", english.len());
        for (language, _) in LANGUAGES {
            let texts = Texts::of(language);
            assert_eq!(texts.all().keys().collect::<Vec<_>>(), english, "{language}");
            for (key, text) in texts.all() {
                let places = |text: &str| {
                    let mut places: Vec<String> =
                        text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect();
                    places.sort();
                    places
                };
                assert_eq!(places(text), places(&Texts::of("en").all()[key]), "{language}: {key}");
            }
        }
    }

    #[test]
    fn every_text_that_is_named_is_there() {
        let texts = Texts::of("en");
        let (telling, page) = (include_str!("telling.rs"), include_str!("page.rs"));
        let names = |name: &&str| {
            ["told_", "next_", "state_", "note_", "wrong_"].iter().any(|kind| name.starts_with(kind))
                && !name.ends_with('_')
        };
        let named: Vec<&str> =
            telling.split('"').chain(page.split('"')).filter(names).filter(|name| !name.contains('{')).collect();
        assert!(named.len() > 40, "{}", named.len());
        let script = include_str!("../../../templates/demo/demo.js");
        let html = include_str!("../../../templates/demo/page.html");
        let word = |rest: &str| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
        };
        let after = |text: &str, before: &str| text.split(before).skip(1).map(word).collect::<Vec<_>>();
        let used = [after(script, "texts."), after(script, "say(\""), after(html, "{{ t.")].concat();
        assert!(used.len() > 40, "{}", used.len());
        for name in named.into_iter().map(str::to_owned).chain(used) {
            assert!(texts.has(&name), "{name}");
        }
    }

    #[test]
    fn the_best_language_is_taken() {
        for (wanted, spoken) in
            [("fr, pt-BR;q=0.8", "pt_BR"), ("es-AR,es;q=0.9", "es"), ("pt_BR", "pt_BR"), ("de", "en"), ("", "en")]
        {
            assert_eq!(Texts::of(wanted).language, spoken, "{wanted}");
        }
    }
}
