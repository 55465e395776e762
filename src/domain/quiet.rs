//! Quiet hours: when a message must not go out, where its recipient is awake or asleep.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Time, tz::TimeZone};

use super::phone::Phone;

#[cfg(test)]
mod tests;

/// Days that are looked at at most; nothing waits longer.
const MAX_DAYS: i32 = 40;

/// A daily time in which nothing may be sent, like 21:00 to 08:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    pub from: Time,
    pub until: Time,
    /// Over how long a time what waited goes out when they end.
    pub spread: Duration,
}

impl QuietHours {
    /// The intervals between `now` and `expires_at` that are quiet in at least one of `zones`, in order, apart from each other.
    /// Each end is later by the share `spread` (0 to 1) of the time over which waiting messages are spread.
    #[must_use]
    pub fn intervals(
        &self,
        zones: &[TimeZone],
        now: Timestamp,
        expires_at: Timestamp,
        spread: f64,
    ) -> Vec<(Timestamp, Timestamp)> {
        if expires_at <= now {
            return Vec::new();
        }
        let mut quiet: Vec<(Timestamp, Timestamp)> =
            zones.iter().flat_map(|zone| self.nights(zone, now, expires_at)).collect();
        quiet.sort_unstable();
        let share = if spread.is_nan() { 0.0 } else { spread.clamp(0.0, 1.0) };
        let shift = SignedDuration::try_from(self.spread.mul_f64(share)).unwrap_or_default();
        let merged = merge(&quiet);
        let later: Vec<_> = merged.iter().map(|(s, e)| (*s, e.checked_add(shift).unwrap_or(Timestamp::MAX))).collect();
        merge(&later).into_iter().filter(|(start, end)| *end > now && *start < expires_at).collect()
    }

    fn nights(&self, zone: &TimeZone, now: Timestamp, expires_at: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let last = zone.to_datetime(expires_at).date();
        let mut nights = Vec::new();
        // Yesterday's night may not be over, and what is spread at its end even less.
        let Ok(mut day) = zone.to_datetime(now).date().checked_sub(1.day()) else { return nights };
        for _ in 0..MAX_DAYS {
            if day > last {
                break;
            }
            let Ok(tomorrow) = day.checked_add(1.day()) else { break };
            let end_day = if self.until <= self.from { tomorrow } else { day };
            // A time that the clocks skip or repeat is taken as the calendar's rules say ("compatible").
            let start = zone.to_timestamp(day.to_datetime(self.from));
            let end = zone.to_timestamp(end_day.to_datetime(self.until));
            if let (Ok(start), Ok(end)) = (start, end)
                && start < end
            {
                nights.push((start, end));
            }
            day = tomorrow;
        }
        nights
    }
}

fn merge(sorted: &[(Timestamp, Timestamp)]) -> Vec<(Timestamp, Timestamp)> {
    let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (start, end) in sorted {
        match merged.last_mut() {
            Some((_, last)) if *start <= *last => *last = (*last).max(*end),
            _ => merged.push((*start, *end)),
        }
    }
    merged
}

/// The zones in which a person may be awake: the one that is known of them, and their country's if it lies elsewhere
/// (somebody who travels, or a wrong setting: then both must be awake). A country's are its outermost ones.
#[must_use]
pub fn zones_of(known: Option<&TimeZone>, phone: &Phone, default: &TimeZone) -> Vec<TimeZone> {
    let country: Vec<TimeZone> = country_zones(phone).iter().filter_map(|name| TimeZone::get(name).ok()).collect();
    match known {
        Some(known) if country.is_empty() || is_among(known, &country) => vec![known.clone()],
        Some(known) => country.into_iter().chain([known.clone()]).collect(),
        None if country.is_empty() => vec![default.clone()],
        None => country,
    }
}

/// Whether a zone's winter and summer offsets lie between those of a country's outermost zones.
fn is_among(zone: &TimeZone, country: &[TimeZone]) -> bool {
    [1_736_899_200, 1_752_537_600].iter().filter_map(|second| Timestamp::from_second(*second).ok()).all(|moment| {
        let offset = zone.to_offset(moment);
        let offsets = || country.iter().map(|zone| zone.to_offset(moment));
        offsets().min().is_some_and(|least| least <= offset) && offsets().max().is_some_and(|most| offset <= most)
    })
}

fn country_zones(phone: &Phone) -> &'static [&'static str] {
    let digits = phone.reveal().trim_start_matches('+');
    COUNTRY_ZONES
        .iter()
        .filter(|(code, _)| digits.starts_with(code))
        .max_by_key(|(code, _)| code.len())
        .map_or(&[], |(_, zones)| zones)
}

/// Country calling codes with the country's westernmost and easternmost zones in use (or its only one). Of overseas
/// territories only those that share the number range count.
const COUNTRY_ZONES: &[(&str, &[&str])] = &[
    ("1", &["Pacific/Honolulu", "America/New_York"]),
    ("1787", &["America/Puerto_Rico"]),
    ("1939", &["America/Puerto_Rico"]),
    ("1809", &["America/Santo_Domingo"]),
    ("1829", &["America/Santo_Domingo"]),
    ("1849", &["America/Santo_Domingo"]),
    ("20", &["Africa/Cairo"]),
    ("212", &["Africa/Casablanca"]),
    ("234", &["Africa/Lagos"]),
    ("244", &["Africa/Luanda"]),
    ("258", &["Africa/Maputo"]),
    ("27", &["Africa/Johannesburg"]),
    ("30", &["Europe/Athens"]),
    ("31", &["Europe/Amsterdam"]),
    ("32", &["Europe/Brussels"]),
    ("33", &["Europe/Paris"]),
    ("34", &["Atlantic/Canary", "Europe/Madrid"]),
    ("351", &["Atlantic/Azores", "Europe/Lisbon"]),
    ("352", &["Europe/Luxembourg"]),
    ("353", &["Europe/Dublin"]),
    ("358", &["Europe/Helsinki"]),
    ("36", &["Europe/Budapest"]),
    ("376", &["Europe/Andorra"]),
    ("380", &["Europe/Kyiv"]),
    ("39", &["Europe/Rome"]),
    ("40", &["Europe/Bucharest"]),
    ("41", &["Europe/Zurich"]),
    ("420", &["Europe/Prague"]),
    ("43", &["Europe/Vienna"]),
    ("44", &["Europe/London"]),
    ("45", &["Europe/Copenhagen"]),
    ("46", &["Europe/Stockholm"]),
    ("47", &["Europe/Oslo"]),
    ("48", &["Europe/Warsaw"]),
    ("49", &["Europe/Berlin"]),
    ("501", &["America/Belize"]),
    ("502", &["America/Guatemala"]),
    ("503", &["America/El_Salvador"]),
    ("504", &["America/Tegucigalpa"]),
    ("505", &["America/Managua"]),
    ("506", &["America/Costa_Rica"]),
    ("507", &["America/Panama"]),
    ("51", &["America/Lima"]),
    ("52", &["America/Tijuana", "America/Cancun"]),
    ("53", &["America/Havana"]),
    ("54", &["America/Argentina/Buenos_Aires"]),
    ("55", &["America/Rio_Branco", "America/Sao_Paulo"]),
    ("56", &["Pacific/Easter", "America/Santiago"]),
    ("57", &["America/Bogota"]),
    ("58", &["America/Caracas"]),
    ("591", &["America/La_Paz"]),
    ("593", &["Pacific/Galapagos", "America/Guayaquil"]),
    ("595", &["America/Asuncion"]),
    ("598", &["America/Montevideo"]),
    ("60", &["Asia/Kuala_Lumpur"]),
    ("61", &["Australia/Perth", "Australia/Sydney"]),
    ("62", &["Asia/Jakarta", "Asia/Jayapura"]),
    ("63", &["Asia/Manila"]),
    ("64", &["Pacific/Auckland"]),
    ("65", &["Asia/Singapore"]),
    ("66", &["Asia/Bangkok"]),
    ("81", &["Asia/Tokyo"]),
    ("82", &["Asia/Seoul"]),
    ("84", &["Asia/Ho_Chi_Minh"]),
    ("86", &["Asia/Shanghai"]),
    ("90", &["Europe/Istanbul"]),
    ("91", &["Asia/Kolkata"]),
    ("92", &["Asia/Karachi"]),
    ("94", &["Asia/Colombo"]),
    ("966", &["Asia/Riyadh"]),
    ("971", &["Asia/Dubai"]),
    ("972", &["Asia/Jerusalem"]),
];
