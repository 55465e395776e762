//! How pages are made: templates with their values, escaped, in the person's language. What they look like is in `templates/pages`.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
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
        self.known(language).or_else(|| self.texts.get("en")).unwrap_or(&NONE)
    }

    fn known(&self, language: &str) -> Option<&Texts> {
        let short = |name: &str| Locale::parse(name).map(|locale| locale.language().to_owned());
        let wanted = short(language)?;
        let close =
            || self.texts.iter().find(|(name, _)| short(name).as_ref() == Some(&wanted)).map(|(_, texts)| texts);
        self.texts.get(language).or_else(close)
    }

    /// The best of the browser's wishes that pages can speak; English if none is.
    pub(super) fn spoken(&self, headers: &HeaderMap) -> String {
        let speaks = |wish: &String| self.known(wish).is_some();
        wishes(headers).into_iter().find(speaks).unwrap_or_else(|| "en".to_owned())
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
    pub(super) fn unknown(&self, headers: &HeaderMap) -> Response {
        self.message(StatusCode::NOT_FOUND, "unknown", &self.spoken(headers), None, context! {})
    }

    /// Our mistake, or the database's.
    pub(super) fn sorry(&self, headers: &HeaderMap, form: Option<&Form>) -> Response {
        self.message(StatusCode::SERVICE_UNAVAILABLE, "sorry", &self.spoken(headers), form, context! {})
    }
}

/// The languages that a browser wants, best first.
pub(in crate::http) fn wishes(headers: &HeaderMap) -> Vec<String> {
    let header = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut wishes: Vec<(f32, String)> = header
        .split(',')
        .take(20)
        .filter_map(|part| {
            let (tag, quality) = part.split_once(";q=").unwrap_or((part, "1"));
            Some((quality.trim().parse().ok()?, tag.trim().to_owned()))
        })
        .collect();
    wishes.sort_by(|one, other| other.0.total_cmp(&one.0));
    wishes.into_iter().map(|(_, tag)| tag).collect()
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
    fn a_page_without_a_form_speaks_the_best_language_that_it_can() {
        let pages = Pages::new();
        for (wanted, spoken) in [
            ("fr, pt-BR;q=0.8, en;q=0.5", "pt-BR"),
            ("es-AR,es;q=0.9", "es-AR"),
            ("fr, de;q=0.9, *;q=0.1", "en"),
            ("", "en"),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(wanted))]);
            assert_eq!(pages.spoken(&headers), spoken, "{wanted}");
        }
    }

    #[test]
    fn a_qr_code_is_an_image_without_style_or_script() {
        let image = qr("https://wa.me/34600000000?text=ALTA%20K7Q2M9XX");
        assert!(image.starts_with("<svg") && image.contains("h1v1h-1z"));
        assert!(!image.contains("style") && !image.contains("script"));
    }
}
