use jiff::civil::time;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn hours(from: i8, until: i8, spread: u64) -> QuietHours {
    QuietHours { from: time(from, 0, 0, 0), until: time(until, 0, 0, 0), spread: Duration::from_secs(spread) }
}

fn shown(intervals: &[(Timestamp, Timestamp)]) -> Vec<String> {
    intervals.iter().map(|(start, end)| format!("{start} {end}")).collect()
}

#[test]
fn a_night_is_quiet_in_the_persons_zone() {
    let quiet = hours(21, 8, 0).intervals(
        &[zone("Europe/Madrid")],
        at("2026-01-10T12:00:00Z"),
        at("2026-01-12T12:00:00Z"),
        0.0,
    );
    assert_eq!(
        shown(&quiet),
        ["2026-01-10T20:00:00Z 2026-01-11T07:00:00Z", "2026-01-11T20:00:00Z 2026-01-12T07:00:00Z"]
    );
}

#[test]
fn a_night_that_has_begun_counts() {
    let quiet = hours(21, 8, 0).intervals(
        &[zone("Europe/Madrid")],
        at("2026-01-11T02:00:00Z"),
        at("2026-01-11T10:00:00Z"),
        0.0,
    );
    assert_eq!(shown(&quiet), ["2026-01-10T20:00:00Z 2026-01-11T07:00:00Z"]);
}

#[test]
fn a_siesta_lies_within_a_day() {
    let quiet =
        hours(14, 16, 0).intervals(&[TimeZone::UTC], at("2026-01-10T12:00:00Z"), at("2026-01-11T12:00:00Z"), 0.0);
    assert_eq!(shown(&quiet), ["2026-01-10T14:00:00Z 2026-01-10T16:00:00Z"]);
}

#[test]
fn nights_are_as_long_as_the_clocks_make_them() {
    // Spain loses an hour in the night to 29 March 2026 and gains one in the night to 25 October.
    let spring = hours(21, 8, 0).intervals(
        &[zone("Europe/Madrid")],
        at("2026-03-28T12:00:00Z"),
        at("2026-03-29T12:00:00Z"),
        0.0,
    );
    assert_eq!(shown(&spring), ["2026-03-28T20:00:00Z 2026-03-29T06:00:00Z"]);
    let autumn = hours(21, 8, 0).intervals(
        &[zone("Europe/Madrid")],
        at("2026-10-24T12:00:00Z"),
        at("2026-10-25T12:00:00Z"),
        0.0,
    );
    assert_eq!(shown(&autumn), ["2026-10-24T19:00:00Z 2026-10-25T07:00:00Z"]);
    // An end that the clocks skip.
    let skipped = QuietHours { from: time(22, 0, 0, 0), until: time(2, 30, 0, 0), spread: Duration::ZERO };
    let quiet =
        skipped.intervals(&[zone("Europe/Madrid")], at("2026-03-28T12:00:00Z"), at("2026-03-29T12:00:00Z"), 0.0);
    assert_eq!(shown(&quiet), ["2026-03-28T21:00:00Z 2026-03-29T01:30:00Z"]);
}

#[test]
fn ends_are_spread() {
    let quiet = |spread| {
        hours(21, 8, 1_800).intervals(&[TimeZone::UTC], at("2026-01-10T22:00:00Z"), at("2026-01-11T12:00:00Z"), spread)
    };
    assert_eq!(shown(&quiet(0.5)), ["2026-01-10T21:00:00Z 2026-01-11T08:15:00Z"]);
    assert_eq!(shown(&quiet(f64::MAX)), ["2026-01-10T21:00:00Z 2026-01-11T08:30:00Z"]);
    assert_eq!(quiet(f64::NAN), quiet(0.0));
    // Between the end and the spread end it still waits.
    let late =
        hours(21, 8, 1_800).intervals(&[TimeZone::UTC], at("2026-01-11T08:10:00Z"), at("2026-01-11T12:00:00Z"), 0.5);
    assert_eq!(shown(&late), ["2026-01-10T21:00:00Z 2026-01-11T08:15:00Z"]);
}

#[test]
fn of_several_zones_all_must_be_awake() {
    let zones = [zone("America/Los_Angeles"), zone("America/New_York")];
    let quiet = hours(21, 8, 0).intervals(&zones, at("2026-01-10T18:00:00Z"), at("2026-01-11T18:00:00Z"), 0.0);
    assert_eq!(shown(&quiet), ["2026-01-11T02:00:00Z 2026-01-11T16:00:00Z"]);
}

#[test]
fn what_has_expired_has_no_nights() {
    assert!(
        hours(21, 8, 0)
            .intervals(&[TimeZone::UTC], at("2026-01-10T22:00:00Z"), at("2026-01-10T21:00:00Z"), 0.0)
            .is_empty()
    );
}

#[test]
fn zones_come_from_what_is_known() {
    let phone = |text: &str| Phone::parse(text).unwrap();
    let names = |known: Option<&TimeZone>, text: &str| -> Vec<String> {
        let zones = zones_of(known, &phone(text), &TimeZone::UTC);
        zones.iter().map(|zone| zone.iana_name().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(None, "+34600111222"), ["Atlantic/Canary", "Europe/Madrid"]);
    assert_eq!(names(Some(&zone("Europe/Madrid")), "+34600111222"), ["Europe/Madrid"]);
    assert_eq!(names(None, "+593991234567"), ["Pacific/Galapagos", "America/Guayaquil"]);
    assert_eq!(names(None, "+17872345678"), ["America/Puerto_Rico"]);
    // Somebody with a Spanish number in Bogotá: both must be awake.
    assert_eq!(
        names(Some(&zone("America/Bogota")), "+34600111222"),
        ["Atlantic/Canary", "Europe/Madrid", "America/Bogota"]
    );
    assert_eq!(names(None, "+67570123456"), ["UTC"]);
}

#[test]
fn every_zone_of_the_table_exists() {
    for (code, zones) in COUNTRY_ZONES {
        for name in *zones {
            assert!(TimeZone::get(name).is_ok(), "{code}: {name}");
        }
    }
}
