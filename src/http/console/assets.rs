//! Style and scripts, from memory. Each address names its content, so that a browser asks once.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::template;
use crate::http::Desk;

const FILES: [(&str, &str); 4] =
    [template!("console.css"), template!("console.js"), template!("vendor/htmx.min.js"), template!("vendor/sse.min.js")];

struct Asset {
    text: &'static str,
    kind: &'static str,
    /// The beginning of its hash.
    version: String,
}

/// All files by the last part of their name.
pub(super) struct Assets(BTreeMap<&'static str, Asset>);

impl Assets {
    pub(super) fn new() -> Assets {
        let files = FILES.map(|(path, text)| {
            let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
            let style = name.ends_with(".css");
            let kind = if style { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
            let mut version = String::new();
            for byte in Sha256::digest(text).iter().take(6) {
                let _ = write!(version, "{byte:02x}");
            }
            (name, Asset { text, kind, version })
        });
        Assets(BTreeMap::from(files))
    }

    /// Where a page finds the file.
    pub(super) fn address(&self, name: &str) -> String {
        let version = self.0.get(name).map_or("", |asset| asset.version.as_str());
        format!("/console/assets/{name}?v={version}")
    }
}

pub(super) async fn give(
    State(desk): State<Arc<Desk>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(asset) = desk.console.assets.0.get(file.as_str()) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = format!("\"{}\"", asset.version);
    let held = headers.get(header::IF_NONE_MATCH).is_some_and(|held| held.as_bytes() == tag.as_bytes());
    let mut response = if held { StatusCode::NOT_MODIFIED.into_response() } else { asset.text.into_response() };
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, kept);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
