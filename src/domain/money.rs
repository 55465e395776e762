//! Amounts of money: exact, in millionths of a unit, never without their currency.

use std::{fmt, str::FromStr};

use rust_decimal::{Decimal, prelude::ToPrimitive};

const MILLION: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

/// A currency by its three capital letters (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency of that name. None if it has not three capital letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Currency> {
        let letters: [u8; 3] = name.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Currency(letters))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    pub micros: i64,
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", decimal(self.micros), self.currency)
    }
}

/// A text that is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no amount with its currency, like \"50 USD\" or \"12.50 EUR\"")]
pub struct NotMoney;

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Money, NotMoney> {
        let (amount, currency) = text.trim().split_once(char::is_whitespace).ok_or(NotMoney)?;
        let currency = Currency::named(currency.trim()).ok_or(NotMoney)?;
        Ok(Money { micros: micros(amount).ok_or(NotMoney)?, currency })
    }
}

/// A decimal number in millionths. None if it is none, has more than six decimal places or is too large.
#[must_use]
pub fn micros(text: &str) -> Option<i64> {
    let micros = Decimal::from_str_exact(text).ok()?.checked_mul(MILLION)?;
    if micros.fract().is_zero() { micros.to_i64() } else { None }
}

/// Millionths as a decimal number, with two decimal places or as many as it needs.
#[must_use]
pub fn decimal(micros: i64) -> String {
    let mut number = Decimal::new(micros, 6).normalize();
    if number.scale() < 2 {
        number.rescale(2);
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_and_written_exactly() {
        for (text, amount, shown) in [
            ("0.0068 USD", 6_800, "0.0068 USD"),
            ("50 EUR", 50_000_000, "50.00 EUR"),
            (" 12.5\tMXN ", 12_500_000, "12.50 MXN"),
            ("0.000001 COP", 1, "0.000001 COP"),
            ("-0.005 USD", -5_000, "-0.005 USD"),
        ] {
            let money: Money = text.parse().unwrap();
            assert_eq!((money.micros, money.to_string().as_str()), (amount, shown));
        }
        for text in
            ["50", "USD", "50 usd", "50 DOLLARS", "1,5 EUR", "0.0000001 USD", "1e3 USD", "99999999999999 USD", ""]
        {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }
}
