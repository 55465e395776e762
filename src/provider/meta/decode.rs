//! What Meta's answer to a send means, and what an error in its webhooks means.
//!
//! The code decides, not the HTTP status, which Meta changes. Everything that leaves a doubt whether the message went
//! out is [`Outcome::Unclear`]: it is cheaper to wait for evidence than to send twice.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::codes::meaning;
use crate::{
    domain::notification::{Acceptance, Failure, Outcome},
    provider::{
        bare, reason,
        verdict::{
            ANSWER_MAX, DETAIL_MAX, Verdict, WAIT_MAX, held_sender, retry_after, shortened, slower, whole_id,
            without_a_code,
        },
    },
};

/// What the answer to a send came to.
#[must_use]
pub fn decode(response: &Response<Bytes>) -> Outcome {
    let (status, body) = (response.status(), response.body());
    if status.is_success() {
        return accepted(body);
    }
    if status.is_redirection() {
        return held_sender(reason::REDIRECTED);
    }
    let wait = wait_asked(response.headers());
    match Fault::of_answer(body) {
        Some(fault) => slower(fault.outcome(status), wait),
        None => slower(without_a_code(status), wait),
    }
}

/// What an error object in a webhook came to. `failed` there is the provider's word that the message did not go out, so
/// this is never [`Outcome::Unclear`]: a passing fault may be tried again.
pub(super) fn reported(error: &Value) -> Outcome {
    let Some(fault) = Fault::of(error) else {
        return Outcome::Rejected { failure: bare(reason::FAILED_WITHOUT_REASON), again: None };
    };
    match fault.outcome(StatusCode::OK) {
        Outcome::Unclear(failure) => Outcome::Rejected { failure, again: Some(Duration::ZERO) },
        other @ (Outcome::Accepted(_) | Outcome::Rejected { .. } | Outcome::NotSent(_) | Outcome::Busy { .. }) => other,
    }
}

/// How long a hold lasts of which Meta says that it is transient.
const TRANSIENT_HOLD: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct Taken {
    #[serde(default)]
    contacts: Vec<TakenContact>,
    messages: Vec<TakenMessage>,
}

#[derive(Deserialize)]
struct TakenContact {
    #[serde(default)]
    wa_id: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
}

/// `message_status` is left alone: paused or held for a quality assessment, Meta has the message all the same.
#[derive(Deserialize)]
struct TakenMessage {
    #[serde(default)]
    id: Option<String>,
}

fn accepted(body: &Bytes) -> Outcome {
    if body.len() > ANSWER_MAX {
        return Outcome::Unclear(bare(reason::ANSWER_UNREADABLE));
    }
    let Ok(taken) = serde_json::from_slice::<Taken>(body) else {
        return Outcome::Unclear(bare(reason::ANSWER_UNREADABLE));
    };
    let id = taken.messages.into_iter().next().and_then(|message| whole_id(message.id));
    let Some(message_id) = id else {
        return Outcome::Unclear(bare(reason::NO_MESSAGE_ID));
    };
    let (wa_id, user_id) = match taken.contacts.into_iter().next() {
        Some(contact) => (whole_id(contact.wa_id), whole_id(contact.user_id)),
        None => (None, None),
    };
    Outcome::Accepted(Acceptance { message_id, wa_id, user_id })
}

/// Meta's error object.
struct Fault {
    code: i64,
    transient: bool,
    detail: Option<String>,
}

impl Fault {
    fn of_answer(body: &Bytes) -> Option<Fault> {
        if body.len() > ANSWER_MAX {
            return None;
        }
        let answer = serde_json::from_slice::<Value>(body).ok()?;
        Fault::of(answer.get("error")?)
    }

    fn of(error: &Value) -> Option<Fault> {
        let code = error.get("code")?;
        let code = code.as_i64().or_else(|| code.as_str()?.parse().ok())?;
        let texts = [error.pointer("/error_data/details"), error.get("message"), error.get("title")];
        let detail = texts.into_iter().flatten().filter_map(Value::as_str).find_map(|text| shortened(text, DETAIL_MAX));
        let transient = error.get("is_transient").and_then(Value::as_bool).unwrap_or(false);
        Some(Fault { code, transient, detail })
    }

    /// `status` counts only where the code says nothing.
    fn outcome(self, status: StatusCode) -> Outcome {
        let transient = self.transient;
        let (reason, verdict) = meaning(self.code).unwrap_or_else(|| {
            let doubtful = transient || status.is_server_error();
            (reason::UNKNOWN_CODE, if doubtful { Verdict::Doubtful } else { Verdict::Never })
        });
        let failure = Failure { reason, code: Some(self.code), detail: self.detail };
        match verdict {
            Verdict::Never if transient => Verdict::Later(Duration::ZERO).outcome(failure),
            Verdict::Held(whose, wait) if transient => {
                let wait = wait.map_or(TRANSIENT_HOLD, |wait| wait.min(TRANSIENT_HOLD));
                Verdict::Held(whose, Some(wait)).outcome(failure)
            }
            Verdict::Throttled(..) | Verdict::Doubtful | Verdict::Later(_) | Verdict::Never | Verdict::Held(..) => {
                verdict.outcome(failure)
            }
        }
    }
}

/// The wait that the answer asks for, between 0 and 1 hour: `Retry-After` in seconds, or Graph's usage header in minutes.
fn wait_asked(headers: &HeaderMap) -> Option<Duration> {
    let minutes = headers.get("x-business-use-case-usage").and_then(|value| value.to_str().ok()).and_then(usage_wait);
    retry_after(headers).max(minutes).map(|wait| wait.min(WAIT_MAX))
}

/// `{"<account>": [{"estimated_time_to_regain_access": <minutes>, …}]}`
fn usage_wait(text: &str) -> Option<Duration> {
    let usage = serde_json::from_str::<Value>(text).ok()?;
    let accounts = usage.as_object()?.values().filter_map(Value::as_array).flatten();
    let minutes = accounts.filter_map(|entry| entry.get("estimated_time_to_regain_access")?.as_u64()).max()?;
    Some(Duration::from_secs(minutes.saturating_mul(60)))
}

#[cfg(test)]
mod tests;
