//! The reasons that come from providers: their stable names and a sentence for people.
//!
//! Names are kept in the database: add, never rename. The claim's own reasons (consent, expiry, supersession) are the
//! domain's.

use crate::domain::notification::Reason;

macro_rules! reasons {
    ($($constant:ident = $name:literal, $sentence:literal;)+) => {
        $(#[doc = $sentence] pub const $constant: Reason = Reason::new($name);)+

        /// Every reason with its sentence.
        pub const ALL: &[(Reason, &str)] = &[$(($constant, $sentence)),+];
    };
}

reasons! {
    // Nobody answered, or the answer cannot be read.
    NOT_CONNECTED = "not_connected", "The provider could not be reached; nothing was sent.";
    ANSWER_TIMED_OUT = "answer_timed_out", "The provider did not answer in time; it may have taken the message.";
    CONNECTION_CUT = "connection_cut", "The connection broke before the answer; the provider may have taken the message.";
    ANSWER_UNREADABLE = "answer_unreadable", "The provider answered in a way that cannot be read; it may have taken the message.";
    NO_MESSAGE_ID = "no_message_id", "The provider said yes but gave no message id; it probably took the message.";
    REDIRECTED = "redirected", "The provider's address answers with a redirect; check the sender's base URL.";
    ENDPOINT_REFUSED = "endpoint_refused", "Something in front of the provider refused the request; check the sender's base URL, version and number id.";
    CALLBACK_REFUSED = "callback_refused", "The provider does not take the address that it is to report to; check http.public_url.";
    REQUEST_REFUSED = "request_refused", "Something in front of the provider refused this request without giving a code.";
    UNKNOWN_CODE = "unknown_code", "The provider refused with a code that Recado does not know; the code and the text say more.";
    FAILED_WITHOUT_REASON = "failed_without_reason", "The provider reported that the message failed and gave no reason.";

    // The provider's own trouble.
    PROVIDER_ERROR = "provider_error", "The provider had an error of its own.";
    PROVIDER_UNAVAILABLE = "provider_unavailable", "The provider is temporarily unavailable.";
    NUMBER_IN_MAINTENANCE = "number_in_maintenance", "The provider is upgrading the sender's number.";

    // Pace.
    SENDER_THROTTLED = "sender_throttled", "The sender's number reached its messages a second.";
    ACCOUNT_THROTTLED = "account_throttled", "The account or the app reached its calls an hour.";
    RECIPIENT_THROTTLED = "recipient_throttled", "Too many messages to this person in a short time.";
    MESSAGING_LIMIT_REDUCED = "messaging_limit_reduced", "The provider reduced the number of people that may be messaged in a day.";

    // The sender, its token and its account.
    TOKEN_INVALID = "token_invalid", "The access token is invalid or has expired; give the sender a new one.";
    PERMISSION_MISSING = "permission_missing", "The access token lacks a permission that sending needs.";
    NUMBER_DELETED = "number_deleted", "The sender's number was deleted, or is being deleted, at the provider.";
    NUMBER_NOT_REGISTERED = "number_not_registered", "The sender's number is not registered with the provider.";
    NUMBER_REGISTRATION = "number_registration", "The registration of the sender's number failed or is incomplete.";
    REGISTRATION_LIMIT = "registration_limit", "The sender's number was registered too often; the provider locks it for 72 hours.";
    DISPLAY_NAME_NOT_APPROVED = "display_name_not_approved", "The sender's display name is not approved.";
    ACCOUNT_RESTRICTED = "account_restricted", "The provider restricted the account for a breach of its policy.";
    ACCOUNT_LOCKED = "account_locked", "The provider locked the account.";
    SPAM_RESTRICTED = "spam_restricted", "The provider restricted the sender because people blocked it or reported spam.";
    PAYMENT_MISSING = "payment_missing", "The account has no valid payment method.";
    TERMS_NOT_ACCEPTED = "terms_not_accepted", "The account has not accepted terms of the provider's that this needs.";
    ACCOUNT_DAY_FULL = "account_day_full", "The account has used up the messages that it may send in a day.";

    // The template.
    TEMPLATE_NOT_APPROVED = "template_not_approved", "The template does not exist or is not approved in this language.";
    TEMPLATE_PAUSED = "template_paused", "The provider paused the template because of its quality.";
    TEMPLATE_DISABLED = "template_disabled", "The provider disabled the template for good.";
    TEMPLATE_AGAINST_POLICY = "template_against_policy", "The template's content breaks the provider's policy.";
    CONTENT_AGAINST_POLICY = "content_against_policy", "The message with its values breaks the provider's policy, or one of them is empty or has a line break.";
    TEMPLATE_NOT_READY = "template_not_ready", "The provider is still taking the template over.";
    TEMPLATE_DRIFTED = "template_drifted", "The number of parameters is not that of the approved template: the file and the template at the provider differ.";
    TEMPLATE_TOO_LONG = "template_too_long", "The message is too long with its values filled in.";
    TEMPLATE_UNAVAILABLE = "template_unavailable", "The template cannot be used in this way.";
    CONTENT_UNKNOWN = "content_unknown", "The provider's id of the template's content is not known here; sync the templates, or name it with `recado templates approve --content-sid`.";
    TEMPLATE_MANAGEMENT = "template_management", "The provider refused to create or change a template.";
    MAX_PRICE_TEMPLATE = "max_price_template", "A template with a price limit must go through the provider's marketing endpoint.";
    MARKETING_ELSEWHERE = "marketing_elsewhere", "Marketing templates are switched off here; they must go through the provider's marketing endpoint.";
    NOT_A_MARKETING_TEMPLATE = "not_a_marketing_template", "The provider's marketing endpoint takes marketing templates only.";
    FLOW_BLOCKED = "flow_blocked", "The provider blocked the form that the template opens.";
    FLOW_THROTTLED = "flow_throttled", "The provider slowed the form that the template opens down.";

    // The message.
    PARAMETER_MISSING = "parameter_missing", "A parameter is missing in the request.";
    PARAMETER_INVALID = "parameter_invalid", "A parameter of the request is invalid.";
    PARAMETER_FORMAT = "parameter_format", "A parameter has not the format that the template wants.";
    MESSAGE_TYPE_UNSUPPORTED = "message_type_unsupported", "The provider does not support this type of message.";
    MEDIA_NOT_FETCHED = "media_not_fetched", "The provider could not fetch or store the message's media.";
    DUPLICATE_POST = "duplicate_post", "The provider takes this for a repetition of an earlier request.";
    CURSOR_EXPIRED = "cursor_expired", "A page of a listing has expired; begin again.";
    DIRECT_SEND_BLOCKED = "direct_send_blocked", "The account may not send free-form messages directly.";
    ALREADY_ONBOARDED = "already_onboarded", "The account was set up already.";

    // The recipient.
    UNDELIVERABLE = "undeliverable", "The number is not on WhatsApp, or its WhatsApp cannot take the message.";
    RECIPIENT_IS_SENDER = "recipient_is_sender", "The recipient is the sender's own number.";
    RECIPIENT_NOT_ALLOWED = "recipient_not_allowed", "A test number may write only to the numbers on its list.";
    RECIPIENT_BLOCKED = "recipient_blocked", "The business itself blocked this person.";
    RECIPIENT_IN_EXPERIMENT = "recipient_in_experiment", "The provider keeps this person out of marketing for an experiment.";
    RECIPIENT_COUNTRY = "recipient_country", "The business may not message people in this country.";
    RECIPIENT_NEEDS_PHONE = "recipient_needs_phone", "This message needs the person's phone number.";
    RECIPIENT_IDENTITY = "recipient_identity", "The person's identity changed; verify it first.";
    MARKETING_CAPPED = "marketing_capped", "The provider holds marketing back from this person for now.";
    MARKETING_OPTED_OUT = "marketing_opted_out", "The person stopped marketing messages from this business.";
    RECIPIENT_INVALID = "recipient_invalid", "The provider does not take this number as that of a recipient.";
    BLOCKED_BY_PERSON = "blocked_by_person", "The person has blocked the sender.";
    TEXT_UNDELIVERABLE = "text_undeliverable", "The number cannot take an SMS, or its phone could not be reached.";
    TEXTS_STOPPED = "texts_stopped", "The person stopped messages from this number at the provider.";
    TEXT_FILTERED = "text_filtered", "The carrier or the provider filtered the message out.";
    TEXT_TOO_LATE = "text_too_late", "The provider could not hand the message over in time and dropped it.";
    WINDOW_CLOSED = "window_closed", "More than 24 hours passed since the person wrote; only a template may be sent.";
}

/// The sentence for the reason of that name. `None` if it is none of the providers' reasons.
#[must_use]
pub fn explain(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(reason, _)| reason.as_str() == name).map(|(_, sentence)| *sentence)
}

/// The reason of that name, as the database gives it back.
#[must_use]
pub fn named(name: &str) -> Option<Reason> {
    ALL.iter().find(|(reason, _)| reason.as_str() == name).map(|(reason, _)| *reason)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_sentence() {
        let mut names = HashSet::new();
        for (reason, sentence) in ALL {
            let name = reason.as_str();
            assert!(names.insert(name), "{name} twice");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(sentence.ends_with('.') && sentence.len() > 20, "{name}");
            assert_eq!(explain(name), Some(*sentence));
            assert_eq!(named(name), Some(*reason));
        }
        assert_eq!(explain("no_such_reason"), None);
    }

    #[test]
    fn what_the_domain_depends_on_exists_by_that_name() {
        use crate::domain::notification::reason;
        for reason in reason::IMPOSSIBLE.into_iter().chain([reason::WINDOW_CLOSED]) {
            assert!(named(reason.as_str()).is_some(), "{}", reason.as_str());
        }
    }
}
