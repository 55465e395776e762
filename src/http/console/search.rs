//! What is looked for as a form or an address has it: with local times, and with numbers where people write them. What the words mean is
//! `domain::search`'s.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::domain::{phone::Phone, search::Search};

/// Keys and values with their times in UTC, and a number that was written as an order as a phone; those without a value are left out.
///
/// # Errors
/// The key of a time that cannot be read.
pub(super) fn plain<'a>(
    pairs: impl IntoIterator<Item = (&'static str, &'a str)>,
    zone: &TimeZone,
) -> Result<Vec<(&'static str, String)>, &'static str> {
    let mut plain = Vec::new();
    for (key, value) in pairs {
        match (key, value.trim()) {
            (_, "") => {}
            ("since" | "until", at) => plain.push((key, moment(at, zone).ok_or(key)?.to_string())),
            (_, value) => plain.push((key, value.to_owned())),
        }
    }
    // People write a number where they look for anything.
    let phone_is_given = plain.iter().any(|(key, _)| *key == "phone");
    let typed = plain.iter_mut().find(|(key, value)| *key == "order" && Phone::parse(value).is_ok());
    if let Some((key, _)) = typed.filter(|_| !phone_is_given) {
        *key = "phone";
    }
    Ok(plain)
}

/// The search; or the key that cannot be read.
///
/// # Errors
/// That key.
pub(super) fn read<'a>(
    pairs: impl IntoIterator<Item = (&'static str, &'a str)>,
    zone: &TimeZone,
) -> Result<Search, &'static str> {
    let plain = plain(pairs, zone)?;
    Search::read(plain.iter().map(|(key, value)| (*key, value.as_str()))).map_err(|wrong| wrong.key)
}

/// A moment as a browser's field gives it, in the console's time zone; or with a zone of its own.
fn moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let at: DateTime = text.parse().ok()?;
    Some(at.to_zoned(zone.clone()).ok()?.timestamp())
}
