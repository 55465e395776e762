//! Why a page is not the one that was asked for. [`super::visitor::admit`] makes a page of it.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

use crate::{db, domain::role::Role};

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Trouble {
    /// It needs this role or a higher one.
    Refused(Role),
    /// The form was not of this session: too old, or from elsewhere.
    Stranger,
    /// There is no such thing.
    Unknown,
    /// The form cannot be read: nobody's fault who used the page.
    Unreadable,
    /// The database does not answer.
    Busy,
    /// A mistake of ours.
    Ours,
}

impl Trouble {
    /// Its answer's status, and the name of its texts.
    pub(super) fn says(self) -> (StatusCode, &'static str) {
        match self {
            Trouble::Refused(_) => (StatusCode::FORBIDDEN, "refused"),
            Trouble::Stranger => (StatusCode::FORBIDDEN, "stranger"),
            Trouble::Unknown => (StatusCode::NOT_FOUND, "unknown"),
            Trouble::Unreadable => (StatusCode::BAD_REQUEST, "unreadable"),
            Trouble::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Trouble::Ours => (StatusCode::INTERNAL_SERVER_ERROR, "ours"),
        }
    }
}

impl From<db::Error> for Trouble {
    fn from(error: db::Error) -> Trouble {
        match error {
            db::Error::Outage(_) => {
                tracing::warn!(%error, "http.database: no answer for a page");
                Trouble::Busy
            }
            db::Error::Data { .. } => Trouble::Unreadable,
            db::Error::Inconsistent { .. } => {
                tracing::error!(%error, "http.database: a row makes no sense");
                Trouble::Ours
            }
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let mut response = self.says().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What an address asks for after its question mark; [`Trouble::Unreadable`] if that makes no sense.
pub(super) struct Asks<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asks<T> {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asks<T>, Trouble> {
        let read = Query::from_request_parts(parts, state).await;
        read.map(|Query(asked)| Asks(asked)).map_err(|_| Trouble::Unreadable)
    }
}

/// The number that an address names something by; there is no such thing if it is none.
pub(super) struct Numbered(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Numbered {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Numbered, Trouble> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(id)| Numbered(id)).map_err(|_| Trouble::Unknown)
    }
}
