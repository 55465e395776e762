//! How pages are made: templates with their values, escaped, in the person's language. What they look like is in `templates/pages`.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use minijinja::{Environment, Value, context};

use crate::domain::{form::Form, locale::Locale};

macro_rules! page {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/pages/", $name)))
    };
}

const PAGES: [(&str, &str); 6] = [
    page!("base.html"),
    page!("form.html"),
    page!("waiting.html"),
    page!("confirm.html"),
    page!("message.html"),
    page!("preferences.html"),
];
const TEXTS: &str = page!("texts.toml").1;
const STYLE: &str = page!("pages.css").1;
const SCRIPT: &str = page!("waiting.js").1;

type Texts = BTreeMap<String, String>;

/// All pages and what they say.
pub(super) struct Pages {
    templates: Environment<'static>,
    texts: BTreeMap<String, Texts>,
}

impl Pages {
    pub(super) fn new() -> Pages {
        let mut templates = Environment::new();
        for (name, text) in PAGES {
            if let Err(error) = templates.add_template(name, text) {
                tracing::error!(%error, name, "pages: a template cannot be read");
            }
        }
        Pages { templates, texts: toml::from_str(TEXTS).unwrap_or_default() }
    }

    /// What pages say in the language that suits best; English if none does.
    pub(super) fn texts(&self, language: &str) -> &Texts {
        static NONE: Texts = Texts::new();
        let short = |name: &str| Locale::parse(name).map(|locale| locale.language().to_owned());
        let close = || self.texts.iter().find(|(name, _)| short(name) == short(language)).map(|(_, texts)| texts);
        self.texts.get(language).or_else(close).or_else(|| self.texts.get("en")).unwrap_or(&NONE)
    }

    /// One text.
    pub(super) fn text(&self, language: &str, key: &str) -> String {
        self.texts(language).get(key).cloned().unwrap_or_default()
    }

    /// A page of this form. `values` are its own; every page has `t`, `lang`, `language`, and of the form `brand` and
    /// `privacy_url`.
    pub(super) fn page(
        &self,
        status: StatusCode,
        name: &str,
        language: &str,
        form: Option<&Form>,
        values: Value,
    ) -> Response {
        let all = context! {
            t => self.texts(language),
            lang => language.replace('_', "-"),
            language,
            brand => form.map(|form| form.brand.as_str()),
            privacy_url => form.map(|form| form.privacy_url.as_str()),
            ..values
        };
        let rendered = self.templates.get_template(name).and_then(|page| page.render(all));
        match rendered {
            Ok(html) => {
                let kind = HeaderValue::from_static("text/html; charset=utf-8");
                (status, [(header::CONTENT_TYPE, kind)], html).into_response()
            }
            Err(error) => {
                tracing::error!(%error, name, "pages: a page cannot be made");
                (StatusCode::INTERNAL_SERVER_ERROR, "This page met a mistake of ours.\n").into_response()
            }
        }
    }

    /// A page with one heading and one sentence: `{key}_title` and `{key}`.
    pub(super) fn message(
        &self,
        status: StatusCode,
        key: &str,
        language: &str,
        form: Option<&Form>,
        values: Value,
    ) -> Response {
        let values = context! {
            heading => self.text(language, &format!("{key}_title")),
            message => self.text(language, key),
            ..values
        };
        self.page(status, "message.html", language, form, values)
    }

    /// There is nothing at this address, in the language that the browser wants.
    pub(super) fn unknown(&self, language: &str) -> Response {
        self.message(StatusCode::NOT_FOUND, "unknown", language, None, context! {})
    }

    /// Our mistake, or the database's.
    pub(super) fn sorry(&self, language: &str, form: Option<&Form>) -> Response {
        self.message(StatusCode::SERVICE_UNAVAILABLE, "sorry", language, form, context! {})
    }
}

/// A QR code as an SVG image that takes its size from the page.
pub(super) fn qr(text: &str) -> String {
    use std::fmt::Write;
    const QUIET: usize = 4;
    let Ok(code) = qrcode::QrCode::new(text) else { return String::new() };
    let width = code.width();
    let whole = width + 2 * QUIET;
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == qrcode::Color::Dark {
            let _ = write!(path, "M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {whole}\" class=\"qr\" aria-hidden=\"true\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{whole}v{whole}H0z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    )
}

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_says_everything() {
        let pages = Pages::new();
        let all: Vec<_> = pages.texts.values().map(|texts| texts.keys().collect::<Vec<_>>()).collect();
        assert_eq!(pages.texts.keys().collect::<Vec<_>>(), ["en", "es", "pt_BR"]);
        assert!(all.iter().all(|keys| keys == &all[0]), "a text is missing in a language");
        assert_eq!(pages.text("es_MX", "language"), "Español");
        assert_eq!(pages.text("fr", "language"), "English");
        for (name, _) in PAGES {
            assert!(pages.templates.get_template(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_qr_code_is_an_image_without_style_or_script() {
        let image = qr("https://wa.me/34600000000?text=ALTA%20K7Q2M9XX");
        assert!(image.starts_with("<svg") && image.contains("h1v1h-1z"));
        assert!(!image.contains("style") && !image.contains("script"));
    }
}
