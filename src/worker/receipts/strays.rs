//! How a receipt is written down that has to wait for its attempt, and read again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    db::receipts::Stray,
    domain::{
        fact::{Identity, Receipt, ReceiptKind},
        notification::{Failure, Outcome, Whose},
    },
    provider::reason,
};

#[derive(Serialize, Deserialize)]
struct Kept {
    kind: String,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wa_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pricing: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    reason: String,
    code: Option<i64>,
    detail: Option<String>,
    /// Milliseconds after which to try again, or for which a busy one asked.
    wait: Option<u64>,
    /// If somebody is busy or held.
    busy: Option<String>,
    #[serde(default)]
    hold: bool,
}

/// The receipt as a stray of this sender.
pub(super) fn encode(sender: &str, receipt: &Receipt) -> Stray {
    let failed = match &receipt.kind {
        ReceiptKind::Failed(outcome) => Some(failed(outcome)),
        ReceiptKind::Sent | ReceiptKind::Delivered | ReceiptKind::Read => None,
    };
    let kept = Kept {
        kind: receipt.kind.as_str().to_owned(),
        at: receipt.at,
        tag: receipt.tag.map(|tag| tag.to_string()),
        wa_id: receipt.who.wa_id.clone(),
        user_id: receipt.who.user_id.clone(),
        pricing: receipt.pricing.clone(),
        failed,
    };
    Stray {
        sender: sender.to_owned(),
        message_id: receipt.message_id.clone(),
        fact: serde_json::to_value(kept).unwrap_or_default(),
    }
}

/// The receipt again. `None` if it is in no form that this version writes.
pub(super) fn decode(stray: &Stray) -> Option<Receipt> {
    let kept = Kept::deserialize(&stray.fact).ok()?;
    let kind = match (kept.kind.as_str(), kept.failed) {
        ("sent", _) => ReceiptKind::Sent,
        ("delivered", _) => ReceiptKind::Delivered,
        ("read", _) => ReceiptKind::Read,
        ("failed", Some(failed)) => ReceiptKind::Failed(outcome(failed)?),
        _ => return None,
    };
    Some(Receipt {
        message_id: stray.message_id.clone(),
        tag: kept.tag.and_then(|tag| tag.parse().ok()),
        kind,
        at: kept.at,
        who: Identity { wa_id: kept.wa_id, user_id: kept.user_id },
        pricing: kept.pricing,
    })
}

fn failed(outcome: &Outcome) -> Failed {
    let of = |failure: &Failure, wait: Option<Duration>| Failed {
        reason: failure.reason.as_str().to_owned(),
        code: failure.code,
        detail: failure.detail.clone(),
        wait: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        busy: None,
        hold: false,
    };
    match outcome {
        Outcome::Busy { whose, hold, failure, wait } => {
            Failed { busy: Some(name(*whose).to_owned()), hold: *hold, ..of(failure, *wait) }
        }
        Outcome::Rejected { failure, again } => of(failure, *again),
        Outcome::NotSent(failure) | Outcome::Unclear(failure) => of(failure, Some(Duration::ZERO)),
        Outcome::Accepted(_) => of(&without_reason(), None),
    }
}

fn outcome(failed: Failed) -> Option<Outcome> {
    let reason = reason::named(&failed.reason).unwrap_or(reason::UNKNOWN_CODE);
    let failure = Failure { reason, code: failed.code, detail: failed.detail };
    let wait = failed.wait.map(Duration::from_millis);
    Some(match failed.busy {
        Some(busy) => {
            let whose = [Whose::Recipient, Whose::Sender, Whose::Template].into_iter().find(|w| name(*w) == busy)?;
            Outcome::Busy { whose, hold: failed.hold, failure, wait }
        }
        None => Outcome::Rejected { failure, again: wait },
    })
}

fn name(whose: Whose) -> &'static str {
    match whose {
        Whose::Recipient => "recipient",
        Whose::Sender => "sender",
        Whose::Template => "template",
    }
}

fn without_reason() -> Failure {
    Failure { reason: reason::FAILED_WITHOUT_REASON, code: None, detail: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_receipt_that_waited_says_what_it_said() {
        let failure = Failure { reason: reason::TEMPLATE_PAUSED, code: Some(132_015), detail: Some("paused".into()) };
        let kinds = [
            ReceiptKind::Sent,
            ReceiptKind::Delivered,
            ReceiptKind::Read,
            ReceiptKind::Failed(Outcome::Rejected { failure: failure.clone(), again: None }),
            ReceiptKind::Failed(Outcome::Rejected { failure: failure.clone(), again: Some(Duration::from_secs(9)) }),
            ReceiptKind::Failed(Outcome::Busy { whose: Whose::Template, hold: true, failure, wait: None }),
        ];
        for kind in kinds {
            let receipt = Receipt {
                message_id: "wamid.1".into(),
                tag: "0198c0de000070008000000000000001.2".parse().ok(),
                kind,
                at: "2026-11-22T20:00:00Z".parse().unwrap(),
                who: Identity { wa_id: Some("34600111222".into()), user_id: None },
                pricing: Some(json!({"category": "utility"})),
            };
            assert!(receipt.tag.is_some());
            assert_eq!(decode(&encode("main", &receipt)), Some(receipt));
        }
    }

    #[test]
    fn what_another_version_wrote_is_no_receipt() {
        let stray = Stray { sender: "main".into(), message_id: "wamid.1".into(), fact: json!({"kind": "sent"}) };
        assert_eq!(decode(&stray), None);
    }
}
