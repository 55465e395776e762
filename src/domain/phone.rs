//! A telephone number, as E.164, that cannot be printed by accident.

use std::fmt;

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

impl Phone {
    /// Takes a number in international form as people and shops write it (`+34 600 11 12 22`).
    ///
    /// # Errors
    /// If it has no country code, or its country gives out no such number.
    pub fn parse(text: &str) -> Result<Phone, BadPhone> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadPhone::Empty);
        }
        if !text.starts_with('+') {
            return Err(BadPhone::NotANumber);
        }
        let number = phonenumber::parse(None, text).map_err(|_| BadPhone::NotANumber)?;
        if !phonenumber::is_valid(&number) {
            return Err(BadPhone::Invalid);
        }
        Ok(Phone(phonenumber::format(&number).mode(phonenumber::Mode::E164).to_string()))
    }

    /// The full number, `+` first. For the provider's request, the database and an authorised operator's eyes only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.len();
        write!(f, "{}…{}", &self.0[..3.min(digits)], &self.0[digits.saturating_sub(2)..])
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone({self})")
    }
}
