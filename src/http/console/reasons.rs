//! What a reason means, in the languages of the pages: `t.reasons[name]`. In English what the command line and the API say too, else
//! what `templates/console/texts/reasons.toml` says.

use std::collections::BTreeMap;

use super::texts;
use crate::http::notifications;

/// The sentences by the reason's name, by language.
pub(super) fn sentences() -> Result<BTreeMap<String, BTreeMap<String, String>>, toml::de::Error> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(texts!("reasons"))?;
    let english = notifications::reasons().map(|(name, sentence)| (name.to_owned(), sentence.to_owned()));
    all.insert("en".to_owned(), english.collect());
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::console::shell::LANGUAGES;

    #[test]
    fn every_reason_is_explained_in_every_language() {
        let all = sentences().unwrap();
        assert!(all.keys().map(String::as_str).eq(LANGUAGES));
        for (language, sentences) in &all {
            let missing: Vec<_> = all["en"].keys().filter(|name| !sentences.contains_key(*name)).collect();
            let unknown: Vec<_> = sentences.keys().filter(|name| !all["en"].contains_key(*name)).collect();
            assert!(missing.is_empty() && unknown.is_empty(), "{language}: missing {missing:?}, unknown {unknown:?}");
            assert!(sentences.values().all(|sentence| sentence.ends_with('.')), "{language}");
        }
    }
}
