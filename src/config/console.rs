//! The console's section: how long somebody stays logged in, how often they may try, and in which time zone they read.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::reader::Reader;

/// What the console's doors go by.
#[derive(Debug, Clone)]
pub struct Console {
    /// A session ends after so long without a request.
    pub idle_timeout: Duration,
    /// And after so long in any case.
    pub session_timeout: Duration,
    /// Tries to log in from one address, an hour.
    pub logins_per_address: u32,
    /// Tries to log in to one account, an hour.
    pub logins_per_account: u32,
    /// In which the pages tell the time.
    pub zone: TimeZone,
}

impl Default for Console {
    fn default() -> Console {
        Console {
            idle_timeout: Duration::from_secs(3_600),
            session_timeout: Duration::from_secs(12 * 3_600),
            logins_per_address: 60,
            logins_per_account: 20,
            zone: TimeZone::UTC,
        }
    }
}

pub(super) fn console(r: &mut Reader) -> Console {
    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);
    const ZONE: &str = "console.time_zone";
    let named = r.text(ZONE);
    let zone = TimeZone::get(&named).unwrap_or_else(|_| {
        r.blame(ZONE, "must be a time zone's name, like \"Europe/Madrid\" or \"UTC\"");
        TimeZone::UTC
    });
    let console = Console {
        idle_timeout: r.duration("console.idle_timeout", MINUTE..=7 * DAY),
        session_timeout: r.duration("console.session_timeout", MINUTE..=30 * DAY),
        logins_per_address: r.integer("console.logins_per_address", 1..=100_000),
        logins_per_account: r.integer("console.logins_per_account", 1..=10_000),
        zone,
    };
    if console.idle_timeout > console.session_timeout {
        r.blame("console.idle_timeout", "must not be longer than console.session_timeout, which ends a session in any case");
    }
    console
}
