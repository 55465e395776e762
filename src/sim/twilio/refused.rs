//! Twilio's errors: which code has which message and which HTTP status, and the envelope that carries them.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// A request that Twilio does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: u32,
    pub message: String,
    status: u16,
}

impl Refused {
    /// An error with the usual message and HTTP status of its code.
    pub fn new(code: u32) -> Self {
        Self { code, message: usual_message(code).to_owned(), status: usual_status(code) }
    }

    /// The same with a message of its own.
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The answer as it goes over the wire.
    pub fn answer(&self) -> Response<Body> {
        let more = format!("https://www.twilio.com/docs/errors/{}", self.code);
        let body = json!({"code": self.code, "message": self.message, "more_info": more, "status": self.status});
        let mut response = answer(StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST), &body);
        if self.status == 401 {
            let realm = HeaderValue::from_static(r#"Basic realm="Twilio API""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

/// A JSON answer with the headers that Twilio sends. `null` is an empty body.
pub fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("twilio-concurrent-requests", HeaderValue::from_static("1"));
    response
}

/// The short English message of a code.
pub fn usual_message(code: u32) -> &'static str {
    match code {
        14107 => "SMS send rate limit exceeded",
        20001 => "Unknown parameters",
        20003 => "Authenticate",
        20004 => "Method not allowed",
        20404 => "The requested resource was not found",
        20409 => "Conflict",
        20422 => "Invalid parameter",
        20429 => "Too Many Requests",
        20500 => "An internal server error has occurred",
        20503 => "Service unavailable",
        21211 => "Invalid 'To' Phone Number",
        21212 => "Invalid 'From' Phone Number",
        21266 => "'To' and 'From' number cannot be the same",
        21408 => "Permission to send an SMS has not been enabled for the region indicated by the 'To' number",
        21603 => "A 'From' phone number is required",
        21604 => "A 'To' phone number is required",
        21606 => {
            "The 'From' phone number provided is not a valid message-capable Twilio phone number for this destination"
        }
        21608 => "The 'to' phone number provided is not yet verified for this account",
        21609 => "Invalid 'StatusCallback' URL",
        21610 => "Attempt to send to unsubscribed recipient",
        21611 => "This 'From' number has exceeded the maximum number of queued messages",
        21614 => "'To' number is not a valid mobile number",
        21617 => "The concatenated message body exceeds the 1600 character limit",
        21619 => "A text message body or media urls must be specified",
        21620 => "Invalid media URL(s)",
        21654 => "ContentSid Required",
        21655 => "The ContentSid is Invalid",
        21656 => "The ContentVariables Parameter is invalid",
        21658 => "Parameter exceeded character limit",
        21703 => "The Messaging Service does not have a phone number available to send a message",
        21705 => "The Messaging Service is invalid",
        21910 => "Invalid From and To pair. From and To should be of the same channel",
        30002 => "Account suspended",
        30003 => "Unreachable destination handset",
        30005 => "Unknown destination handset",
        30007 => "Message filtered",
        30008 => "Unknown error",
        30036 => "Validity Period Expired",
        30410 => "Provider Timeout Error",
        35114 => "Scheduling does not support this timestamp",
        63003 => "Channel could not find To address",
        63005 => "Channel did not accept given content",
        63007 => "Twilio could not find a Channel with the specified From address",
        63010 => "Twilio's platform encountered an internal error processing this message",
        63013 => "Channel policy violation",
        63014 => "Channel message blocked by user action",
        63016 => "Failed to send freeform message because you are outside the allowed window",
        63017 => "Rate limit exceeded",
        63018 => "Rate limit exceeded for Channel",
        63021 => "Channel invalid content error",
        63024 => "Invalid message recipient",
        63027 => "Template does not exist for a language and locale",
        63028 => "Number of parameters provided does not match the expected number of parameters",
        63031 => "Channels message cannot have same From and To",
        63040 => "Template Rejected",
        63041 => "Template paused",
        63042 => "Template disabled",
        63049 => "Meta chose not to deliver this message",
        63051 => "WhatsApp Business Account is Locked",
        90007 => "Invalid validity period value",
        _ => "Error",
    }
}

/// The HTTP status that goes with a code.
fn usual_status(code: u32) -> u16 {
    match code {
        20003 => 401,
        20404 => 404,
        20004 => 405,
        20409 => 409,
        14107 | 20429 | 21611 => 429,
        20500 => 500,
        20503 => 503,
        _ => 400,
    }
}
