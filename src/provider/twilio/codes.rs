//! Twilio's error codes, as data: each code has one reason and one verdict, on WhatsApp as in an SMS.
//!
//! Nothing here knows HTTP or forms. Codes and meanings are from Twilio's dictionary of errors; its first digits mean nothing.

use std::time::Duration;

use crate::{
    domain::notification::{Failure, Outcome, Reason, Whose},
    provider::{
        bare, reason,
        verdict::{
            Row,
            Verdict::{self, Doubtful, Held, Later, Never, Throttled},
            find,
        },
    },
};

use Whose::{Sender, Template};

/// The meaning of a code. `None` if Twilio has documented none that we know of.
pub(super) fn meaning(code: i64) -> Option<(Reason, Verdict)> {
    find(CODES, code)
}

/// What a code in an answer comes to. One that is not known ends the message, unless it leaves a doubt.
pub(super) fn answered(code: i64, detail: Option<String>, doubtful: bool) -> Outcome {
    let (reason, verdict) = meaning(code).unwrap_or((reason::UNKNOWN_CODE, Never));
    let verdict = if doubtful { Doubtful } else { verdict };
    verdict.outcome(Failure { reason, code: Some(code), detail })
}

/// What a code in a report comes to. That the message `failed` is Twilio's word that it did not arrive, so this is never
/// [`Outcome::Unclear`]: a passing fault may be tried again, except where Twilio itself does not know what became of it.
pub(super) fn reported(code: Option<i64>, detail: Option<String>) -> Outcome {
    let Some(code) = code.filter(|code| *code != 0) else {
        return Outcome::Rejected { failure: Failure { detail, ..bare(reason::FAILED_WITHOUT_REASON) }, again: None };
    };
    let again = (!NOT_KNOWN_TO_TWILIO.contains(&code)).then_some(Duration::ZERO);
    match answered(code, detail, false) {
        Outcome::Unclear(failure) => Outcome::Rejected { failure, again },
        other @ (Outcome::Accepted(_) | Outcome::Rejected { .. } | Outcome::NotSent(_) | Outcome::Busy { .. }) => other,
    }
}

/// An unknown failure of a carrier, and a provider behind Twilio that did not answer it.
const NOT_KNOWN_TO_TWILIO: [i64; 2] = [30_008, 30_410];

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// In the order of the codes.
const CODES: &[Row] = &[
    // More than 15 answers in 30 seconds between two numbers: a guard against machines that answer each other.
    (14_107, reason::RECIPIENT_THROTTLED, Later(MINUTE)),
    (20_003, reason::TOKEN_INVALID, Held(Sender, None)),
    (20_404, reason::ENDPOINT_REFUSED, Held(Sender, None)),
    (20_429, reason::ACCOUNT_THROTTLED, Throttled(Sender, None)),
    (20_500, reason::PROVIDER_ERROR, Doubtful),
    (21_211, reason::RECIPIENT_INVALID, Never),
    (21_212, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (21_214, reason::RECIPIENT_INVALID, Never),
    (21_217, reason::RECIPIENT_INVALID, Never),
    (21_408, reason::RECIPIENT_COUNTRY, Never),
    (21_603, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (21_606, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (21_608, reason::RECIPIENT_NOT_ALLOWED, Never),
    // Each message has one, and all have the same beginning.
    (21_609, reason::CALLBACK_REFUSED, Held(Sender, None)),
    (21_610, reason::TEXTS_STOPPED, Never),
    (21_611, reason::SENDER_THROTTLED, Throttled(Sender, Some(MINUTE))),
    (21_612, reason::TEXT_UNDELIVERABLE, Never),
    (21_614, reason::TEXT_UNDELIVERABLE, Never),
    (21_617, reason::TEMPLATE_TOO_LONG, Never),
    (21_619, reason::PARAMETER_MISSING, Never),
    (21_620, reason::MEDIA_NOT_FETCHED, Never),
    (21_623, reason::MEDIA_NOT_FETCHED, Never),
    // Every message of it would be refused: the content's id is not the right one.
    (21_654, reason::CONTENT_UNKNOWN, Held(Template, None)),
    (21_655, reason::CONTENT_UNKNOWN, Held(Template, None)),
    (21_656, reason::PARAMETER_FORMAT, Never),
    (21_658, reason::TEMPLATE_TOO_LONG, Never),
    (21_659, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (21_660, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (21_703, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (21_704, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (21_705, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (30_001, reason::SENDER_THROTTLED, Throttled(Sender, Some(MINUTE))),
    (30_002, reason::ACCOUNT_RESTRICTED, Held(Sender, None)),
    (30_003, reason::TEXT_UNDELIVERABLE, Later(HOUR)),
    (30_004, reason::TEXT_FILTERED, Never),
    (30_005, reason::TEXT_UNDELIVERABLE, Never),
    (30_006, reason::TEXT_UNDELIVERABLE, Never),
    (30_007, reason::TEXT_FILTERED, Never),
    (30_008, reason::PROVIDER_ERROR, Doubtful),
    (30_017, reason::PROVIDER_UNAVAILABLE, Later(MINUTE)),
    (30_018, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (30_022, reason::SENDER_THROTTLED, Throttled(Sender, None)),
    // A carrier's cap for the day, which ends at a midnight that is not told.
    (30_023, reason::SENDER_THROTTLED, Later(Duration::from_secs(6 * 3_600))),
    (30_024, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (30_032, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (30_034, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    // We gave it all the life that the message had.
    (30_036, reason::TEXT_TOO_LATE, Never),
    (30_410, reason::PROVIDER_UNAVAILABLE, Doubtful),
    (30_450, reason::TEXT_FILTERED, Later(Duration::from_secs(1_800))),
    (63_001, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (63_002, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (63_003, reason::UNDELIVERABLE, Never),
    (63_005, reason::MESSAGE_TYPE_UNSUPPORTED, Never),
    (63_006, reason::PARAMETER_FORMAT, Never),
    (63_007, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (63_008, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (63_009, reason::PROVIDER_ERROR, Doubtful),
    (63_010, reason::PROVIDER_ERROR, Doubtful),
    (63_011, reason::PARAMETER_INVALID, Never),
    (63_012, reason::PROVIDER_ERROR, Doubtful),
    (63_013, reason::CONTENT_AGAINST_POLICY, Never),
    (63_014, reason::TEXTS_STOPPED, Never),
    (63_015, reason::RECIPIENT_NOT_ALLOWED, Never),
    (63_016, reason::WINDOW_CLOSED, Never),
    (63_017, reason::ACCOUNT_THROTTLED, Throttled(Sender, None)),
    // The number's pace, the person's, or the day's people: which, is not told.
    (63_018, reason::SENDER_THROTTLED, Throttled(Sender, Some(MINUTE))),
    (63_019, reason::MEDIA_NOT_FETCHED, Never),
    (63_020, reason::ACCOUNT_RESTRICTED, Held(Sender, None)),
    (63_021, reason::PARAMETER_INVALID, Never),
    (63_022, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (63_023, reason::PROVIDER_ERROR, Doubtful),
    (63_024, reason::UNDELIVERABLE, Never),
    (63_026, reason::SPAM_RESTRICTED, Held(Sender, None)),
    (63_027, reason::TEMPLATE_NOT_APPROVED, Held(Template, None)),
    (63_028, reason::TEMPLATE_DRIFTED, Held(Template, None)),
    (63_029, reason::PROVIDER_ERROR, Doubtful),
    (63_030, reason::PARAMETER_INVALID, Never),
    (63_031, reason::RECIPIENT_IS_SENDER, Never),
    (63_032, reason::RECIPIENT_IN_EXPERIMENT, Never),
    (63_033, reason::BLOCKED_BY_PERSON, Never),
    (63_034, reason::MEDIA_NOT_FETCHED, Never),
    (63_037, reason::MEDIA_NOT_FETCHED, Never),
    // Until the day turns, at an hour that is not told.
    (63_038, reason::ACCOUNT_DAY_FULL, Held(Sender, Some(HOUR))),
    (63_040, reason::TEMPLATE_NOT_APPROVED, Held(Template, None)),
    // The first pause lasts 3 hours; news of a longer one prolongs the hold.
    (63_041, reason::TEMPLATE_PAUSED, Held(Template, Some(Duration::from_secs(3 * 3_600)))),
    (63_042, reason::TEMPLATE_DISABLED, Held(Template, None)),
    (63_049, reason::MARKETING_CAPPED, Later(DAY)),
    (63_051, reason::ACCOUNT_LOCKED, Held(Sender, None)),
    // Only marketing templates are concerned, so the sender goes on with the others.
    (63_062, reason::TERMS_NOT_ACCEPTED, Held(Template, None)),
    (63_101, reason::ACCOUNT_RESTRICTED, Held(Sender, None)),
    (63_112, reason::ACCOUNT_RESTRICTED, Held(Sender, None)),
    (63_119, reason::ACCOUNT_THROTTLED, Throttled(Sender, None)),
    (63_124, reason::DISPLAY_NAME_NOT_APPROVED, Held(Sender, None)),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_every_code_has_one_meaning() {
        assert!(CODES.is_sorted_by(|a, b| a.0 < b.0));
        for (code, reason, verdict) in CODES {
            assert_eq!(meaning(*code), Some((*reason, *verdict)), "{code}");
        }
    }

    #[test]
    fn a_report_is_never_in_doubt() {
        for (code, ..) in CODES {
            assert!(!matches!(reported(Some(*code), None), Outcome::Unclear(_)), "{code}");
        }
        assert!(matches!(reported(Some(63_012), None), Outcome::Rejected { again: Some(_), .. }));
        for code in NOT_KNOWN_TO_TWILIO {
            assert!(matches!(answered(code, None, false), Outcome::Unclear(_)), "{code}");
            assert!(matches!(reported(Some(code), None), Outcome::Rejected { again: None, .. }), "{code}");
        }
        assert!(matches!(reported(None, None), Outcome::Rejected { again: None, .. }));
    }

    proptest! {
        #[test]
        fn a_code_outside_the_table_ends_the_message_unless_it_leaves_a_doubt(code in any::<i64>()) {
            let listed = CODES.iter().any(|row| row.0 == code);
            prop_assert_eq!(meaning(code).is_some(), listed);
            if !listed {
                let ends = matches!(answered(code, None, false), Outcome::Rejected { again: None, failure } if failure.reason == reason::UNKNOWN_CODE);
                prop_assert!(ends);
                prop_assert!(matches!(answered(code, None, true), Outcome::Unclear(_)));
            }
        }
    }
}
