//! Meta's error codes, as data: each code has one reason and one verdict.
//!
//! Nothing here knows HTTP or JSON. A code's numeric range means nothing, with the one exception that Meta made: 200 to
//! 299 are missing permissions. Codes and meanings are from Meta's page "Error codes" and Graph API's error handling.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    domain::notification::{Reason, Whose},
    provider::{
        reason,
        verdict::{
            Row,
            Verdict::{self, Doubtful, Held, Later, Never, Throttled},
            find,
        },
    },
};

use Whose::{Recipient, Sender, Template};

/// The meaning of a code. `None` if Meta has documented none that we know of.
pub(super) fn meaning(code: i64) -> Option<(Reason, Verdict)> {
    let permission = || PERMISSIONS.contains(&code).then_some((reason::PERMISSION_MISSING, Held(Sender, None)));
    find(CODES, code).or_else(permission)
}

/// Graph API reserves these for permissions that are missing.
const PERMISSIONS: RangeInclusive<i64> = 200..=299;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Limits that are counted by the hour: a minute's pause before the next try.
const SLOWLY: Option<Duration> = Some(MINUTE);

/// In the order of the codes.
const CODES: &[Row] = &[
    (0, reason::TOKEN_INVALID, Held(Sender, None)),
    (1, reason::PROVIDER_ERROR, Doubtful),
    (2, reason::PROVIDER_UNAVAILABLE, Doubtful),
    (3, reason::PERMISSION_MISSING, Held(Sender, None)),
    (4, reason::ACCOUNT_THROTTLED, Throttled(Sender, SLOWLY)),
    (10, reason::PERMISSION_MISSING, Held(Sender, None)),
    (17, reason::ACCOUNT_THROTTLED, Throttled(Sender, SLOWLY)),
    (32, reason::ACCOUNT_THROTTLED, Throttled(Sender, SLOWLY)),
    (33, reason::NUMBER_DELETED, Held(Sender, None)),
    (100, reason::PARAMETER_INVALID, Never),
    (190, reason::TOKEN_INVALID, Held(Sender, None)),
    (368, reason::ACCOUNT_RESTRICTED, Held(Sender, None)),
    (506, reason::DUPLICATE_POST, Never),
    (613, reason::ACCOUNT_THROTTLED, Throttled(Sender, SLOWLY)),
    (80_007, reason::ACCOUNT_THROTTLED, Throttled(Sender, SLOWLY)),
    (80_008, reason::ACCOUNT_THROTTLED, Throttled(Sender, SLOWLY)),
    (130_403, reason::RECIPIENT_BLOCKED, Never),
    (130_429, reason::SENDER_THROTTLED, Throttled(Sender, Some(Duration::from_secs(1)))),
    (130_472, reason::RECIPIENT_IN_EXPERIMENT, Never),
    (130_497, reason::RECIPIENT_COUNTRY, Never),
    (131_000, reason::PROVIDER_ERROR, Doubtful),
    (131_005, reason::PERMISSION_MISSING, Held(Sender, None)),
    (131_008, reason::PARAMETER_MISSING, Never),
    (131_009, reason::PARAMETER_INVALID, Never),
    (131_016, reason::PROVIDER_UNAVAILABLE, Doubtful),
    (131_021, reason::RECIPIENT_IS_SENDER, Never),
    (131_026, reason::UNDELIVERABLE, Never),
    (131_030, reason::RECIPIENT_NOT_ALLOWED, Never),
    (131_031, reason::ACCOUNT_LOCKED, Held(Sender, None)),
    (131_037, reason::DISPLAY_NAME_NOT_APPROVED, Held(Sender, None)),
    (131_042, reason::PAYMENT_MISSING, Held(Sender, None)),
    (131_045, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (131_047, reason::WINDOW_CLOSED, Never),
    // Looks like a throttle and is none: each further try makes it worse.
    (131_048, reason::SPAM_RESTRICTED, Held(Sender, None)),
    (131_049, reason::MARKETING_CAPPED, Later(Duration::from_secs(24 * 3_600))),
    (131_050, reason::MARKETING_OPTED_OUT, Never),
    (131_051, reason::MESSAGE_TYPE_UNSUPPORTED, Never),
    (131_052, reason::MEDIA_NOT_FETCHED, Never),
    (131_053, reason::MEDIA_NOT_FETCHED, Never),
    (131_055, reason::TEMPLATE_UNAVAILABLE, Never),
    // 4^x seconds for this pair alone, where x is on the lane: it cannot be known here.
    (131_056, reason::RECIPIENT_THROTTLED, Throttled(Recipient, None)),
    (131_057, reason::NUMBER_IN_MAINTENANCE, Doubtful),
    (131_059, reason::CURSOR_EXPIRED, Never),
    (131_061, reason::MAX_PRICE_TEMPLATE, Never),
    (131_062, reason::RECIPIENT_NEEDS_PHONE, Never),
    // Only marketing templates are concerned, so the sender goes on with the others.
    (131_063, reason::MARKETING_ELSEWHERE, Held(Template, None)),
    // Lifts itself at a time that Meta does not tell; limits are reviewed within 6 hours.
    (131_064, reason::MESSAGING_LIMIT_REDUCED, Held(Sender, Some(Duration::from_secs(6 * 3_600)))),
    // Every message of it would be refused: the template was changed at the provider, or the file was.
    (132_000, reason::TEMPLATE_DRIFTED, Held(Template, None)),
    (132_001, reason::TEMPLATE_NOT_APPROVED, Held(Template, None)),
    (132_005, reason::TEMPLATE_TOO_LONG, Never),
    (132_007, reason::TEMPLATE_AGAINST_POLICY, Held(Template, None)),
    (132_008, reason::PARAMETER_INVALID, Never),
    (132_012, reason::PARAMETER_FORMAT, Never),
    // The first pause lasts 3 hours; the webhook that tells of a longer one prolongs the hold.
    (132_015, reason::TEMPLATE_PAUSED, Held(Template, Some(Duration::from_secs(3 * 3_600)))),
    (132_016, reason::TEMPLATE_DISABLED, Held(Template, None)),
    (132_018, reason::PARAMETER_INVALID, Never),
    (132_068, reason::FLOW_BLOCKED, Held(Template, None)),
    (132_069, reason::FLOW_THROTTLED, Later(HOUR)),
    (133_000, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (133_004, reason::PROVIDER_UNAVAILABLE, Doubtful),
    (133_005, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (133_006, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (133_008, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (133_009, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (133_010, reason::NUMBER_NOT_REGISTERED, Held(Sender, None)),
    (133_015, reason::NUMBER_DELETED, Held(Sender, Some(Duration::from_secs(300)))),
    (133_016, reason::REGISTRATION_LIMIT, Held(Sender, Some(Duration::from_secs(72 * 3_600)))),
    (134_011, reason::TERMS_NOT_ACCEPTED, Held(Sender, None)),
    (134_100, reason::NOT_A_MARKETING_TEMPLATE, Never),
    (134_101, reason::TEMPLATE_NOT_READY, Later(Duration::from_secs(600))),
    (134_102, reason::TEMPLATE_UNAVAILABLE, Never),
    (135_000, reason::PARAMETER_INVALID, Never),
    (136_024, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (136_025, reason::NUMBER_REGISTRATION, Held(Sender, None)),
    (137_000, reason::RECIPIENT_IDENTITY, Never),
    (139_200, reason::DIRECT_SEND_BLOCKED, Never),
    (141_008, reason::ACCOUNT_LOCKED, Held(Sender, None)),
    (141_014, reason::ACCOUNT_LOCKED, Held(Sender, None)),
    (1_752_041, reason::ALREADY_ONBOARDED, Never),
    (2_388_019, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_024, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_039, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_040, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_047, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_072, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_073, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_293, reason::TEMPLATE_MANAGEMENT, Never),
    (2_388_299, reason::TEMPLATE_MANAGEMENT, Never),
    (2_494_100, reason::NUMBER_IN_MAINTENANCE, Doubtful),
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
    fn a_person_is_slowed_down_but_never_held() {
        assert!(CODES.iter().all(|row| !matches!(row.2, Held(Recipient, _))));
    }

    proptest! {
        #[test]
        fn a_code_outside_the_table_means_nothing(code in any::<i64>()) {
            let listed = CODES.iter().any(|row| row.0 == code) || PERMISSIONS.contains(&code);
            prop_assert_eq!(meaning(code).is_some(), listed);
        }
    }
}
