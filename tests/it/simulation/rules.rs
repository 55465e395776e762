//! What the house on the stage is set to, whom it sends through, and what an operation's trouble is called there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use recado::{
    domain::{doubt::Patience, phone::Phone},
    provider::{
        Dialect, Provider,
        meta::Meta,
        twilio::{Account, Channel, Twilio},
    },
    sim::{Fault, Garbage},
    worker::{dispatch::Rules, rate::Backing, settling, upkeep},
};

use super::{
    Trouble,
    stage::{LEASE, NUMBER, PACE, RETRY, WINDOW},
};

pub fn provider(dialect: Dialect, url: &str) -> Arc<dyn Provider> {
    match dialect {
        Dialect::Meta => Arc::new(Meta::new(url, "v25.0", NUMBER, &"sim-token".to_owned().into()).expect("a provider")),
        Dialect::Twilio => Arc::new(twilio(Channel::Whatsapp, url)),
    }
}

/// Who sends SMS.
pub fn sms(url: &str) -> Arc<dyn Provider> {
    Arc::new(twilio(Channel::Sms, url))
}

pub fn twilio(channel: Channel, url: &str) -> Twilio {
    let sender = if channel == Channel::Sms { "sms" } else { "main" };
    let account = Account {
        base_url: url,
        account_sid: "AC0123456789abcdef0123456789abcdef",
        service_sid: None,
        number: Some(&Phone::parse("+34600000001").expect("a phone")),
        user: "AC0123456789abcdef0123456789abcdef",
        password: &"sim-auth-token".to_owned().into(),
        callback: &format!("https://recado.example/webhooks/{sender}"),
    };
    Twilio::new(channel, account).expect("a provider")
}

/// What Twilio says in place of Meta's code.
fn at_twilio(code: u32) -> u32 {
    match code {
        130_429 => 20_429,
        131_056 => 21_611,
        131_021 => 21_211,
        131_000 => 30_410,
        132_015 => 21_655,
        190 => 20_003,
        131_049 => 14_107,
        131_026 => 63_024,
        131_053 => 63_019,
        other => panic!("Twilio has no word for {other}"),
    }
}

pub fn fault(trouble: Trouble, dialect: Dialect) -> Fault {
    let trouble = match (trouble, dialect) {
        // What the channel says comes later.
        (Trouble::Code(131_026), Dialect::Twilio) => Trouble::FailLater(at_twilio(131_026)),
        (Trouble::Code(code), Dialect::Twilio) => Trouble::Code(at_twilio(code)),
        // What is ambiguous in an answer is not in a report, but for this one, which a report leaves open too.
        (Trouble::FailLater(131_000), Dialect::Twilio) => Trouble::FailLater(63_012),
        (Trouble::FailLater(code), Dialect::Twilio) => Trouble::FailLater(at_twilio(code)),
        (trouble, _) => trouble,
    };
    match trouble {
        Trouble::LoseRequest => Fault::CutBefore { reset: false },
        Trouble::LoseAnswer => Fault::CutAfter { reset: false },
        Trouble::Gateway => Fault::Status { status: 502, code: None, process: true, retry_after: None },
        Trouble::Gibberish => Fault::Garbage { body: Garbage::Html, process: true },
        Trouble::Silent => Fault::Silent,
        Trouble::Code(code) => Fault::Error { code, retry_after: None },
        Trouble::FailLater(code) => Fault::FailLater { code },
    }
}

pub fn dispatch_rules() -> Rules {
    Rules {
        slots: 50,
        batch: 50,
        lease: LEASE,
        send_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(3),
        poll: Duration::from_secs(1),
        pace: PACE,
        retry: RETRY,
        backing: Backing {
            pause: Duration::from_secs(2),
            pause_cap: Duration::from_secs(120),
            step: Duration::from_secs(5),
        },
        only_to: None,
        settling: settling_rules(),
    }
}

pub fn settling_rules() -> settling::Rules {
    settling::Rules { batch: 100, linger: Duration::ZERO, pace: PACE }
}

pub fn upkeep_rules(listed: Vec<i16>) -> upkeep::Rules {
    upkeep::Rules {
        every: Duration::from_secs(1),
        tidy_every: Duration::from_secs(600),
        batch: 500,
        patience: Patience { window: WINDOW, later_attempts: 3, max: Duration::from_secs(24 * 3_600) },
        by_content: listed.clone(),
        listed,
        gone_after: Duration::from_secs(20),
        retry: RETRY,
        settling: settling_rules(),
        keep: crate::house::KEEP,
        prices: HashMap::new(),
    }
}
