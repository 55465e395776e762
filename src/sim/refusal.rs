//! Meta's errors: which code has which title and which HTTP status, and the envelope that carries them, in an answer and
//! in a webhook. Who refuses, and why, is decided elsewhere.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// Where the error objects of webhooks point to.
const HELP: &str = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/";

/// A request that Meta does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Meta's error code; the only thing that a client should decide on.
    pub code: u32,
    /// What is wrong in this case (`error_data.details`).
    pub details: String,
    kind: &'static str,
    status: Option<u16>,
    subcode: Option<u32>,
    message: Option<String>,
}

impl Refusal {
    /// An error with the usual title and HTTP status of its code.
    pub fn new(code: u32, details: impl Into<String>) -> Self {
        Self { code, details: details.into(), kind: "OAuthException", status: None, subcode: None, message: None }
    }

    /// The same with a message of its own in place of the title.
    pub(super) fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    pub(super) fn subcode(mut self, subcode: u32) -> Self {
        self.subcode = Some(subcode);
        self
    }

    pub(super) fn graph_method(mut self, status: u16) -> Self {
        self.kind = "GraphMethodException";
        self.status = Some(status);
        self
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        self.status.unwrap_or_else(|| usual_status(self.code))
    }

    /// `{"error": {…}}` as the Graph API answers it. `trace` becomes the `fbtrace_id`.
    pub(super) fn envelope(&self, trace: u64) -> Value {
        let text = self.message.clone().unwrap_or_else(|| format!("(#{}) {}", self.code, title(self.code)));
        let mut error = json!({
            "message": text,
            "type": self.kind,
            "code": self.code,
            "fbtrace_id": format!("Asim{trace:020}"),
        });
        if let Some(map) = error.as_object_mut() {
            if !self.details.is_empty() {
                map.insert(
                    "error_data".into(),
                    json!({"messaging_product": "whatsapp", "details": self.details.as_str()}),
                );
            }
            if let Some(subcode) = self.subcode {
                map.insert("error_subcode".into(), subcode.into());
            }
            if matches!(self.code, 2 | 4 | 17 | 80007) {
                map.insert("is_transient".into(), true.into());
            }
        }
        json!({ "error": error })
    }

    /// The answer as it goes over the wire.
    pub(super) fn answer(&self, trace: u64) -> Response<Body> {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = answer_json(status, &self.envelope(trace));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"OAuth "Facebook Platform" "invalid_token" "Invalid OAuth access token""#),
            );
        }
        response
    }

    /// The error object of a `failed` status or of a value-level error.
    pub(super) fn in_webhook(&self) -> Value {
        let title = title(self.code);
        json!({
            "code": self.code,
            "title": title,
            "message": title,
            "error_data": {"details": if self.details.is_empty() { title } else { self.details.as_str() }},
            "href": HELP,
        })
    }
}

/// A JSON answer with the headers that the Graph API sends.
pub(super) fn answer_json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    headers.insert("facebook-api-version", HeaderValue::from_static("v25.0"));
    response
}

/// The short English title of a code.
pub(super) fn title(code: u32) -> &'static str {
    match code {
        0 => "Unable to authenticate the app user",
        1 => "Invalid request or possible server error",
        2 => "Service temporarily unavailable",
        3 => "Capability or permissions issue",
        4 => "Application request limit reached",
        10 => "Permission denied",
        33 => "Business phone number has been deleted",
        100 => "Invalid parameter",
        190 => "Access token has expired",
        200 => "Permission missing",
        368 => "Temporarily blocked for policies violations",
        80007 => "Rate limit issues",
        130403 => "Business blocked this user",
        130429 => "Rate limit hit",
        130472 => "User's number is part of an experiment",
        130497 => "Business account is restricted from messaging users in this country",
        131000 => "Something went wrong",
        131005 => "Access denied",
        131008 => "Required parameter is missing",
        131009 => "Parameter value is not valid",
        131016 => "Service unavailable",
        131021 => "Recipient cannot be sender",
        131026 => "Message undeliverable",
        131030 => "Recipient phone number not in allowed list",
        131031 => "Account has been locked",
        131037 => "Display name approval needed",
        131042 => "Business eligibility payment issue",
        131045 => "Incorrect certificate",
        131047 => "Re-engagement message",
        131048 => "Spam rate limit hit",
        131049 => "Meta chose not to deliver",
        131050 => "User has stopped marketing messages from this business",
        131051 => "Unsupported message type",
        131052 => "Media download error",
        131053 => "Media upload error",
        131056 => "(Business Account, Consumer Account) pair rate limit hit",
        131057 => "Account in maintenance mode",
        131059 => "Invalid paging cursor",
        131062 => "This message needs a phone number",
        131064 => "Messaging limit reduced",
        132000 => "Number of parameters does not match the expected number of params",
        132001 => "Template name does not exist in the translation",
        132005 => "Translated text too long",
        132007 => "Template format character policy violated",
        132012 => "Parameter format does not match format in the created template",
        132015 => "Template is paused",
        132016 => "Template is disabled",
        132018 => "There is an issue with the parameters in your template",
        133004 => "Server temporarily unavailable",
        133010 => "Phone number not registered",
        133015 => "Please wait a few minutes before registering this number again",
        135000 => "Generic user error",
        137000 => "Identity key hash mismatch",
        _ => "Error",
    }
}

/// The HTTP status that goes with a code. Meta does not document it any more, so nothing may depend on it.
pub(super) fn usual_status(code: u32) -> u16 {
    match code {
        0 | 190 | 200 => 401,
        3 | 10 | 368 | 130403 | 130497 | 131005 | 131031 => 403,
        33 => 404,
        4 | 80007 | 130429 | 131047 | 131048 | 131049 | 131056 | 131064 => 429,
        131042 => 402,
        131000 | 133000 | 134102 => 500,
        2 | 131016 | 131057 | 133004 | 2494100 => 503,
        _ => 400,
    }
}
