//! A telephone number, as E.164, that cannot be printed by accident.

use std::{borrow::Cow, fmt};

#[cfg(test)]
mod tests;

/// A valid telephone number in E.164: `+` and 7 to 15 digits. `Debug` and `Display` mask it; the digits take a call
/// to [`Phone::reveal`], which one can search for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(String);

/// Why a text is no telephone number. Never carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPhone {
    #[error("is empty")]
    Empty,
    #[error("is no telephone number with its country code (like +34600111222)")]
    NotANumber,
    #[error("is not a number that its country could give out")]
    Invalid,
}

/// Longest text that is looked at; people write numbers with many separators, but not with that many.
const MAX_TEXT: usize = 64;

impl Phone {
    /// Takes a number in international form as people and shops write it (`+34 600 11 12 22`, `0034…`).
    ///
    /// # Errors
    /// If it has no country code, or its country gives out no such number.
    pub fn parse(text: &str) -> Result<Phone, BadPhone> {
        if is_plain_mobile(text) {
            return Ok(Phone(text.to_owned()));
        }
        let text = text.trim();
        if text.is_empty() {
            return Err(BadPhone::Empty);
        }
        let text = match text.strip_prefix("00") {
            Some(rest) => Cow::Owned(format!("+{rest}")),
            None => Cow::Borrowed(text),
        };
        if !text.starts_with('+') {
            return Err(BadPhone::NotANumber);
        }
        parse_slowly(None, &text)
    }

    /// Takes a number in international form, or as it is dialled within `region` (ISO 3166-1 alpha-2, any case).
    /// An unknown region leaves only the international form.
    ///
    /// # Errors
    /// If it is neither, or no such number is given out.
    pub fn parse_in(text: &str, region: &str) -> Result<Phone, BadPhone> {
        // Some keyboards have digits of their own width.
        let plain = |c: char| match c {
            '０'..='９' | '＋' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            other => other,
        };
        let text: String = text.trim().chars().map(plain).collect();
        let text = text.as_str();
        if text.starts_with('+') || text.starts_with("00") {
            return Phone::parse(text);
        }
        if text.is_empty() {
            return Err(BadPhone::Empty);
        }
        let region = region.trim().to_ascii_uppercase().parse().map_err(|_| BadPhone::NotANumber)?;
        parse_slowly(Some(region), text)
    }

    /// The number as it is dialled within its country, without any prefix.
    #[must_use]
    pub fn national(&self) -> Option<String> {
        phonenumber::parse(None, &self.0).ok().map(|number| number.national().to_string())
    }

    /// The full number with its blanks, for people's eyes.
    #[must_use]
    pub fn spaced(&self) -> String {
        match phonenumber::parse(None, &self.0) {
            Ok(number) => phonenumber::format(&number).mode(phonenumber::Mode::International).to_string(),
            Err(_) => self.0.clone(),
        }
    }

    /// Whether both are spellings of one line in countries that changed their numbers: Brazil put a 9 before mobile numbers, Mexico
    /// dropped the 1 after its code, Argentina has a 9 there for mobiles only; accounts and address books keep the old ones. That is
    /// a likeness and proves nothing: who asks knows something more.
    #[must_use]
    pub fn is_like(&self, other: &str) -> bool {
        let digits = |text: &str| text.trim_start_matches('+').to_owned();
        plainest(&digits(&self.0)) == plainest(&digits(other))
    }

    /// What stands for the number where it must not be known: only whoever has the key can tell whose it is, or try numbers out.
    #[must_use]
    pub fn keyed_hash(&self, key: &[u8]) -> [u8; 32] {
        use hmac::{Hmac, KeyInit, Mac};
        let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(key) else { return [0; 32] };
        mac.update(b"recado suppression 1 ");
        mac.update(self.0.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The country that the number is from, as ISO 3166-1 alpha-2, if one can tell.
    #[must_use]
    pub fn country(&self) -> Option<String> {
        let id = phonenumber::parse(None, &self.0).ok()?.country().id()?;
        Some(id.as_ref().to_owned())
    }

    /// The full number, `+` first. For the provider's request, the database and an authorised operator's eyes only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.get(..3).unwrap_or_default();
        let end = self.0.get(self.0.len().saturating_sub(2)..).unwrap_or_default();
        write!(f, "{start}…{end}")
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone({self})")
    }
}

/// Whether this is a country as [`Phone::country`] names it.
#[must_use]
pub fn is_country(text: &str) -> bool {
    text.parse::<phonenumber::country::Id>().is_ok()
}

fn parse_slowly(region: Option<phonenumber::country::Id>, text: &str) -> Result<Phone, BadPhone> {
    if text.len() > MAX_TEXT {
        return Err(BadPhone::NotANumber);
    }
    let number = phonenumber::parse(region, text).map_err(|_| BadPhone::NotANumber)?;
    // Mexico dropped the 1 between country code and mobile number in 2019, and what one dialled before it (044, 045, 01); address books
    // and habits still have them.
    let digits = number.national().value().to_string();
    let dropped = match digits.len() {
        11 => &["1"][..],
        12 => &["44", "45"],
        _ => &[],
    };
    if number.code().value() == 52
        && let Some(rest) = dropped.iter().find_map(|prefix| digits.strip_prefix(prefix))
    {
        return Phone::parse(&format!("+52{rest}"));
    }
    if !phonenumber::is_valid(&number) {
        return Err(BadPhone::Invalid);
    }
    let e164 = phonenumber::format(&number).mode(phonenumber::Mode::E164).to_string();
    let plain =
        e164.strip_prefix('+').is_some_and(|d| (7..=15).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()));
    if plain { Ok(Phone(e164)) } else { Err(BadPhone::Invalid) }
}

/// The shortest spelling of the line with these digits.
fn plainest(digits: &str) -> String {
    let without = |country: &str, at: usize, mark: u8, length: usize| {
        let national = digits.strip_prefix(country)?;
        let marked = national.len() == length && national.as_bytes().get(at) == Some(&mark);
        let (before, after) = national.split_at_checked(at).filter(|_| marked)?;
        Some(format!("{country}{before}{}", after.get(1..)?))
    };
    without("55", 2, b'9', 11)
        .or_else(|| without("52", 0, b'1', 11))
        .or_else(|| without("54", 0, b'9', 11))
        .unwrap_or_else(|| digits.to_owned())
}

/// Mobile ranges that need no closer look: country code, national length, and the beginnings that are in use throughout.
/// A part of what `phonenumber` knows (a test compares them): it takes tens of microseconds, and most numbers are these.
const PLAIN_MOBILES: &[(&str, usize, &[&str])] = &[
    ("34", 9, &["6", "71", "72", "73", "74"]),
    ("52", 10, &["55", "56", "33", "81"]),
    ("57", 10, &["300", "301", "302", "303", "304", "305", "31"]),
    ("54", 11, &["9111", "9112", "9113", "9114", "9115", "9116", "9117", "9118"]),
    ("56", 9, &["92", "94", "95", "98"]),
    ("51", 9, &["9"]),
    ("593", 9, &["98", "99"]),
    ("598", 8, &["91", "92", "93", "94", "95", "96", "97", "98", "99"]),
    ("351", 9, &["91", "92", "93", "96"]),
    ("44", 10, &["71", "72", "73"]),
    ("33", 9, &["60", "61", "62", "64", "65", "66", "67", "68", "73", "74", "75", "76", "77", "78", "79"]),
    ("39", 10, &["32", "33", "34", "35", "36", "37", "38", "39"]),
    ("49", 11, &["150", "151", "152", "155", "156", "157", "158", "159"]),
    ("31", 9, &["61", "62", "63", "64", "65", "68"]),
];
/// Brazil's area codes: first digit, second digits.
const BRAZIL: &[(u8, &[u8])] = &[
    (b'1', b"123456789"),
    (b'2', b"12478"),
    (b'3', b"1234578"),
    (b'4', b"123456789"),
    (b'5', b"1345"),
    (b'6', b"123456789"),
    (b'7', b"13579"),
    (b'8', b"123456789"),
    (b'9', b"123456789"),
];

fn is_plain_mobile(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    if let Some(national) = digits.strip_prefix("55") {
        let [area, second, b'9', rest @ ..] = national.as_bytes() else { return false };
        return rest.len() == 8 && BRAZIL.iter().any(|(first, seconds)| first == area && seconds.contains(second));
    }
    PLAIN_MOBILES.iter().any(|(country, length, beginnings)| {
        digits.strip_prefix(country).is_some_and(|national| {
            national.len() == *length && beginnings.iter().any(|beginning| national.starts_with(beginning))
        })
    })
}
