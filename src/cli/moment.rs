//! Moments and numbers as people write them on the command line: one reading for every `--since` and `--until`, one for each kind of id.

use jiff::{Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use uuid::Uuid;

use crate::clock::Clock;

const FORMS: &str = "is no time like 2026-11-22T20:00:00Z, no day like 2026-11-22 (which begins at midnight UTC) and no time ago like \
                     3d or 2h";

/// A time, a day, or how long ago.
pub fn moment(text: &str) -> Result<Timestamp, &'static str> {
    read(text.trim(), Clock::system().now())
}

fn read(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    // A time without its zone would be read as its day.
    if text.len() == "2026-11-22".len()
        && let Ok(day) = text.parse::<Date>()
    {
        return day.to_zoned(TimeZone::UTC).map(|at| at.timestamp()).map_err(|_| FORMS);
    }
    let ago = |span: Span| now.checked_sub(span.abs().to_duration(SpanRelativeTo::days_are_24_hours())?);
    text.parse().and_then(ago).map_err(|_| FORMS)
}

/// The id of a notification.
pub fn notification(text: &str) -> Result<Uuid, &'static str> {
    text.trim().parse().map_err(
        |_| "is no notification's id, which looks like 01a2056c-da85-7012-850d-3d88ae9c4023; recado why ORDER finds it",
    )
}

/// The id of a rejected event.
pub fn rejected_event(text: &str) -> Result<Uuid, &'static str> {
    text.trim().parse().map_err(|_| {
        "is no rejected event's id, which looks like 01a2056c-da85-7012-850d-3d88ae9c4023; recado rejected lists them"
    })
}

/// The number of a plan.
pub fn plan(text: &str) -> Result<i64, &'static str> {
    text.trim().parse().map_err(|_| "is no plan's number, which looks like 12; recado plans list shows them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_day_or_how_long_ago() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2026-11-22T20:00:00Z", "2026-11-22T20:00:00Z"),
            ("2026-11-22T20:00:00+01:00", "2026-11-22T19:00:00Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("2h", "2026-11-25T10:00:00Z"),
            ("3d", "2026-11-22T12:00:00Z"),
            ("1d12h", "2026-11-24T00:00:00Z"),
            ("90 minutes ago", "2026-11-25T10:30:00Z"),
        ] {
            assert_eq!(read(text, now), Ok(at.parse().unwrap()), "{text}");
        }
        for none in ["", "soon", "3", "2026-11-22T20:00:00", "2026-11-31", "2mo", "yesterday", "9999999999h"] {
            assert_eq!(read(none, now), Err(FORMS), "{none}");
        }
    }
}
