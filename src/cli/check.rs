//! `recado check`: templates against Meta's rules, event schemas against templates, sources.
//!
//! What is wrong is found in `domain`; here it is gathered.

use crate::domain::{
    problem::Problem,
    source::Sources,
    template::{Catalogue, Settings},
};

/// Everything that a person wrote and that intake needs, read and without problems.
#[derive(Debug)]
pub struct Checked {
    pub catalogue: Catalogue,
    pub sources: Sources,
}

/// Reads and checks the files, pairs of path and text. Every language of every template is rendered with its example.
///
/// # Errors
/// All problems of all files, by file and line.
pub fn check(
    messages: &[(String, String)],
    schemas: &[(String, String)],
    sources: &[(String, String)],
    settings: &Settings,
) -> Result<Checked, Vec<Problem>> {
    match (Catalogue::load(messages, schemas, settings), Sources::load(sources)) {
        (Ok(catalogue), Ok(sources)) => Ok(Checked { catalogue, sources }),
        (catalogue, sources) => {
            let mut problems = catalogue.err().unwrap_or_default();
            problems.extend(sources.err().unwrap_or_default());
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::{shipped_events, shipped_messages};

    fn settings() -> Settings {
        Settings { senders: vec!["shop".into()], default_language: "es".into(), default_zone: "UTC".into() }
    }

    #[test]
    fn what_is_shipped_has_no_problems() {
        let checked = check(&shipped_messages(), &shipped_events(), &[], &settings()).unwrap();
        assert_eq!(checked.catalogue.templates().len(), 11);
        assert_eq!(checked.catalogue.event_types().count(), 11);
    }

    #[test]
    fn problems_of_all_files_come_together() {
        let bad = |path: &str| vec![(path.to_owned(), "= 1".to_owned())];
        let problems = check(&bad("a.toml"), &bad("b.json"), &bad("c.toml"), &settings()).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.file.as_str()).collect::<Vec<_>>(), ["a.toml", "b.json", "c.toml"]);
    }
}
