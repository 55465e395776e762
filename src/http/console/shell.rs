//! How the console's pages are made: templates with their values, escaped, in the operator's language; and the files that belong to
//! them. What they look like is in `templates/console`.

use std::collections::BTreeMap;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use minijinja::{Environment, Value, context, value::ValueKind};
use sha2::{Digest, Sha256};

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/console/", $name)))
    };
}
macro_rules! texts {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/console/texts/", $name, ".toml")))
    };
}

const PAGES: &[(&str, &str)] = &[
    file!("shell.html"),
    file!("login.html"),
    file!("message.html"),
    file!("senders.html"),
    file!("audit.html"),
    file!("consents.html"),
    file!("templates.html"),
];

/// A file for each page; `texts.FILE.KEY` in a template is `t.FILE.KEY`.
const TEXTS: &[(&str, &str)] =
    &[texts!("shell"), texts!("senders"), texts!("audit"), texts!("consents"), texts!("templates")];

const ASSETS: &[(&str, &str, &str)] = &[
    ("console.css", "text/css; charset=utf-8", file!("console.css").1),
    ("htmx.js", "text/javascript; charset=utf-8", file!("vendor/htmx.min.js").1),
    ("htmx-sse.js", "text/javascript; charset=utf-8", file!("vendor/htmx-sse.min.js").1),
];

const LANGUAGES: [&str; 3] = ["en", "es", "pt_BR"];

/// By language, file and key.
type Texts = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

/// All pages and what they say.
pub(in crate::http) struct Pages {
    templates: Environment<'static>,
    texts: Texts,
}

impl Pages {
    pub(super) fn new() -> Pages {
        let mut templates = Environment::new();
        for (name, text) in PAGES {
            if let Err(error) = templates.add_template(name, text) {
                tracing::error!(%error, name, "console: a template cannot be read");
            }
        }
        templates.add_filter("when", when);
        templates.add_filter("fill", fill);
        let version: String =
            ASSETS.iter().fold(Sha256::new(), |hash, (_, _, text)| hash.chain_update(text)).finalize()[..6]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
        templates.add_global("version", version);
        Pages { templates, texts: read_texts() }
    }

    /// The language of ours that a name of one means.
    pub(super) fn known(&self, name: &str) -> Option<&'static str> {
        let short = name.get(..2)?.to_ascii_lowercase();
        LANGUAGES.into_iter().find(|language| language.starts_with(&short))
    }

    /// The first of the wishes that pages can speak; English if none is.
    pub(super) fn spoken(&self, wishes: &[String]) -> &'static str {
        wishes.iter().find_map(|wish| self.known(wish)).unwrap_or("en")
    }

    /// One text; empty if there is none.
    pub(in crate::http) fn text(&self, language: &str, file: &str, key: &str) -> String {
        let texts = self.texts.get(language).and_then(|files| files.get(file));
        texts.and_then(|texts| texts.get(key)).cloned().unwrap_or_default()
    }

    /// A page or a part of one.
    pub(in crate::http) fn render(&self, status: StatusCode, name: &str, language: &str, values: Value) -> Response {
        let all = context! {
            t => self.texts.get(language),
            lang => language.replace('_', "-"),
            language,
            languages => LANGUAGES,
            ..values
        };
        match self.templates.get_template(name).and_then(|page| page.render(all)) {
            Ok(html) => {
                let kind = HeaderValue::from_static("text/html; charset=utf-8");
                (status, [(header::CONTENT_TYPE, kind)], html).into_response()
            }
            Err(error) => {
                tracing::error!(%error, name, "console: a page cannot be made");
                (StatusCode::INTERNAL_SERVER_ERROR, "This page met a mistake of ours.\n").into_response()
            }
        }
    }
}

fn read_texts() -> Texts {
    let mut all = Texts::new();
    for (file, text) in TEXTS {
        match toml::from_str::<BTreeMap<String, BTreeMap<String, String>>>(text) {
            Ok(languages) => {
                for (language, texts) in languages {
                    all.entry(language).or_default().insert((*file).to_owned(), texts);
                }
            }
            Err(_) => tracing::error!(file, "console: texts cannot be read"),
        }
    }
    all
}

/// A moment, to be read by people and machines; nothing for none.
fn when(value: &Value) -> Value {
    if matches!(value.kind(), ValueKind::None | ValueKind::Undefined) {
        return Value::from("");
    }
    let text = value.to_string();
    match text.parse::<Timestamp>() {
        Ok(at) => {
            let shown = at.strftime("%Y-%m-%d %H:%M:%S");
            Value::from_safe_string(format!("<time datetime=\"{at}\">{shown}</time>"))
        }
        Err(_) => Value::from(""),
    }
}

/// Puts values in the places `{name}` of a text.
#[expect(clippy::needless_pass_by_value, reason = "a filter of minijinja takes its arguments so")]
fn fill(text: String, values: minijinja::value::Kwargs) -> Result<String, minijinja::Error> {
    let mut filled = text;
    for name in values.args() {
        filled = filled.replace(&format!("{{{name}}}"), &values.get::<Value>(name)?.to_string());
    }
    values.assert_all_used()?;
    Ok(filled)
}

/// A file that belongs to the pages; its address changes with it, so that it is kept for good.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, text)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag: String = Sha256::digest(text)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == tag.as_bytes());
    let kept = [
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], *text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_says_everything_and_every_page_can_be_read() {
        let pages = Pages::new();
        assert_eq!(pages.texts.keys().collect::<Vec<_>>(), LANGUAGES);
        let keys = |language: &str| {
            let files = &pages.texts[language];
            files.iter().map(|(file, texts)| (file, texts.keys().collect::<Vec<_>>())).collect::<Vec<_>>()
        };
        for language in LANGUAGES {
            assert_eq!(keys(language), keys("en"), "{language}");
        }
        assert_eq!(keys("en").len(), TEXTS.len());
        for (name, _) in PAGES {
            assert!(pages.templates.get_template(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_language_is_the_browsers_if_we_speak_it() {
        let pages = Pages::new();
        let wishes = |text: &[&str]| text.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(pages.spoken(&wishes(&["fr", "pt-PT", "en"])), "pt_BR");
        assert_eq!(pages.spoken(&wishes(&["es-MX"])), "es");
        assert_eq!(pages.spoken(&wishes(&["fr", "x"])), "en");
    }

    #[test]
    fn moments_and_places_are_filled() {
        assert_eq!(
            when(&Value::from("2026-11-25T10:46:03.5Z")).to_string(),
            "<time datetime=\"2026-11-25T10:46:03.5Z\">2026-11-25 10:46:03</time>"
        );
        assert_eq!(when(&Value::from(())).to_string(), "");
        let template = Environment::new().render_str("{{ 'a {n} b'|fill(n=3) }}", ());
        assert!(template.is_err(), "only the console knows the filter");
        assert_eq!(Pages::new().templates.render_str("{{ 'a {n} b'|fill(n=3) }}", ()).unwrap(), "a 3 b");
    }
}
