//! What went wrong with a request, as problem+json (RFC 9457). Never repeats what the request said.

use axum::{
    Json,
    extract::rejection::JsonRejection,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{db, domain::search::Wrong};

/// An answer that is no success.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, &'static str)>,
    members: Vec<(&'static str, Value)>,
}

impl Problem {
    /// `detail` is a sentence for whoever asked.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), header: None, members: Vec::new() }
    }

    /// For something wrong with what was asked.
    #[must_use]
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// For something in the form that the document describes, and which cannot be here: a number that no phone has, days in the wrong order.
    #[must_use]
    pub fn unfit(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// With a header of its own.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Problem {
        self.header = Some((name, value));
        self
    }

    /// With a member besides those that every problem has.
    #[must_use]
    pub fn and(mut self, name: &'static str, value: Value) -> Problem {
        self.members.push((name, value));
        self
    }
}

/// What a request says in JSON. `what` is told to whoever sent something else, `too_large` to whoever sent too much.
pub(super) fn json_body<T>(
    given: Result<Json<T>, JsonRejection>,
    what: &'static str,
    too_large: &'static str,
) -> Result<T, Problem> {
    given.map(|Json(given)| given).map_err(|rejection| match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, too_large),
        status @ StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(status, "Send JSON, as Content-Type: application/json.")
        }
        _ => Problem::bad(what),
    })
}

impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Problem {
        match error {
            db::Error::Outage(_) => {
                tracing::warn!(%error, "http.database: no answer for a request");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The database does not answer just now; ask again.")
                    .with(header::RETRY_AFTER, "5")
            }
            db::Error::Data { .. } => Problem::unfit("The database refused a value of this request."),
            db::Error::Inconsistent { .. } => {
                tracing::error!(%error, "http.database: a row makes no sense");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        }
    }
}

impl From<Wrong> for Problem {
    /// What has the form of its key and cannot be is told from what has not.
    fn from(wrong: Wrong) -> Problem {
        match wrong.key {
            "id" | "state" | "waiting_on" | "since" if !wrong.misplaced => Problem::bad(format!("{wrong}.")),
            _ => Problem::unfit(format!("{wrong}.")),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Problem");
        let name = title.to_ascii_lowercase().replace(' ', "-");
        let mut body = json!({
            "type": format!("urn:recado:problem:{name}"),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        for (name, value) in self.members {
            body[name] = value;
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
