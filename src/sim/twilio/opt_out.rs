//! The words that Twilio heeds by itself: who says stop is not written to from there (21610) until they say start. On SMS
//! always, in English; on WhatsApp and in other languages only with Advanced Opt-Out on the number's messaging service.

use super::{Exchange, TwilioService, is_whatsapp};

/// What a word means to Twilio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptOut {
    Stop,
    Start,
    Help,
}

impl OptOut {
    /// As `OptOutType` says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Start => "START",
            Self::Help => "HELP",
        }
    }

    /// What Twilio answers by itself.
    pub(super) fn reply(self) -> &'static str {
        match self {
            Self::Stop => {
                "You have successfully been unsubscribed. You will not receive any more messages from this number. Reply \
                 START to resubscribe."
            }
            Self::Start => {
                "You have successfully been re-subscribed to messages from this number. Reply HELP for help. Reply STOP \
                 to unsubscribe."
            }
            Self::Help => "Reply STOP to unsubscribe. Msg&Data Rates May Apply.",
        }
    }
}

const STOP: [&str; 8] = ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
const START: [&str; 3] = ["START", "YES", "UNSTOP"];
const HELP: [&str; 2] = ["HELP", "INFO"];

/// What a message to this number means, and whether inbound says so. It must be the whole message.
pub(super) fn heeded(exchange: &Exchange, address: &str, text: &str) -> Option<(OptOut, bool)> {
    let advanced = exchange.service_of(address).filter(|service| service.advanced_opt_out);
    if is_whatsapp(address) && advanced.is_none() {
        return None;
    }
    let word = text.trim().to_uppercase();
    let among = |usual: &[&str], more: fn(&TwilioService) -> &Vec<String>| {
        usual.contains(&word.as_str())
            || advanced.is_some_and(|service| more(service).iter().any(|known| known.to_uppercase() == word))
    };
    let meaning = if among(&STOP, |service| &service.stop) {
        OptOut::Stop
    } else if among(&START, |service| &service.start) {
        OptOut::Start
    } else if among(&HELP, |service| &service.help) {
        OptOut::Help
    } else {
        return None;
    };
    Some((meaning, advanced.is_some()))
}

/// What a stop concerns: the number, or on its channel the whole service that it is in.
pub(super) fn scope(exchange: &Exchange, address: &str) -> String {
    let channel = if is_whatsapp(address) { "whatsapp" } else { "sms" };
    exchange.service_of(address).map_or_else(|| address.to_owned(), |service| format!("{}/{channel}", service.sid))
}
