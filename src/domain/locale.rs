//! How amounts and dates are written where a person lives: Spanish, English and Portuguese, with a plain form for the rest.
//!
//! Filters call this; what a locale means for choosing a language is decided in `template`.

use std::fmt;

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    fmt::temporal::Pieces,
    tz::TimeZone,
};
use rust_decimal::{Decimal, RoundingStrategy};

#[cfg(test)]
mod tests;

const NO_BREAK_SPACE: &str = "\u{a0}";

/// A language and, if it is known, a country: `es`, `es_MX`. Scripts and variants are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Locale {
    language: String,
    region: Option<String>,
}

impl Locale {
    /// Reads `es`, `es_MX`, `es-mx`, `pt_BR.UTF-8`, `zh-Hant-TW`. `None` if it does not begin with a language of two or three letters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Locale> {
        let text = text.trim().split(['.', '@']).next()?;
        let mut tags = text.split(['_', '-']);
        let language =
            tags.next().filter(|t| matches!(t.len(), 2 | 3) && t.bytes().all(|b| b.is_ascii_alphabetic()))?;
        let region = tags.take(3).find(|t| match t.len() {
            2 => t.bytes().all(|b| b.is_ascii_alphabetic()),
            3 => t.bytes().all(|b| b.is_ascii_digit()),
            _ => false,
        });
        Some(Locale { language: language.to_ascii_lowercase(), region: region.map(str::to_ascii_uppercase) })
    }

    /// No particular language (`und`, as ISO 639 calls it): the plain forms.
    #[must_use]
    pub fn unknown() -> Locale {
        Locale { language: "und".into(), region: None }
    }

    #[must_use]
    pub fn language(&self) -> &str {
        &self.language
    }

    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Writes an amount with its currency (ISO 4217), rounded to what the currency has: `1.234,50 €`, `$1,234.50`, `R$ 12,00`.
    #[must_use]
    pub fn write_money(&self, amount: Decimal, currency: &str) -> String {
        let amount = amount.round_dp_with_strategy(minor_units(currency), RoundingStrategy::MidpointAwayFromZero);
        let number = self.write_number(amount.abs(), minor_units(currency));
        let sign = if amount.is_sign_negative() && !amount.is_zero() { "-" } else { "" };
        let symbol = self.symbol(currency);
        let spelled = symbol.ends_with(|c: char| c.is_ascii_alphabetic());
        match self.symbol_place() {
            SymbolPlace::After => format!("{sign}{number}{NO_BREAK_SPACE}{symbol}"),
            SymbolPlace::Before if !spelled => format!("{sign}{symbol}{number}"),
            SymbolPlace::Before | SymbolPlace::BeforeWithSpace => format!("{sign}{symbol}{NO_BREAK_SPACE}{number}"),
        }
    }

    /// Writes a day.
    #[must_use]
    pub fn write_date(&self, date: Date, style: DateStyle) -> String {
        let (day, year) = (date.day(), date.year());
        let month = |names: &'static [&'static str]| name_of(names, date.month());
        let weekday = |names: &'static [&'static str]| name_of(names, date.weekday().to_monday_one_offset());
        match (self.language.as_str(), style) {
            ("es", DateStyle::Long) => format!("{day} de {} de {year}", month(&ES_MONTHS)),
            ("es", DateStyle::Short) => format!("{day} {} {year}", start(month(&ES_MONTHS))),
            ("es", DateStyle::Day) => format!("{} {day} de {}", weekday(&ES_DAYS), month(&ES_MONTHS)),
            ("pt", DateStyle::Long) => format!("{day} de {} de {year}", month(&PT_MONTHS)),
            ("pt", DateStyle::Short) => format!("{day} {} {year}", start(month(&PT_MONTHS))),
            ("pt", DateStyle::Day) => format!("{}, {day} de {}", weekday(&PT_DAYS), month(&PT_MONTHS)),
            ("en", DateStyle::Long) if self.is_american() => format!("{} {day}, {year}", month(&EN_MONTHS)),
            ("en", DateStyle::Short) if self.is_american() => format!("{} {day}, {year}", start(month(&EN_MONTHS))),
            ("en", DateStyle::Day) if self.is_american() => {
                format!("{}, {} {day}", weekday(&EN_DAYS), month(&EN_MONTHS))
            }
            ("en", DateStyle::Long) => format!("{day} {} {year}", month(&EN_MONTHS)),
            ("en", DateStyle::Short) => format!("{day} {} {year}", start(month(&EN_MONTHS))),
            ("en", DateStyle::Day) => format!("{} {day} {}", weekday(&EN_DAYS), month(&EN_MONTHS)),
            (_, DateStyle::Long | DateStyle::Short | DateStyle::Day) => date.to_string(),
        }
    }

    /// Writes a time of day, to the minute.
    #[must_use]
    pub fn write_time(&self, time: Time) -> String {
        let (hour, minute) = (time.hour(), time.minute());
        if self.language == "en" && self.is_american() {
            let half = if hour < 12 { "AM" } else { "PM" };
            let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
            return format!("{hour}:{minute:02}{NO_BREAK_SPACE}{half}");
        }
        format!("{hour}:{minute:02}")
    }

    /// English as written in the United States, which is also what plain `en` means at Meta.
    fn is_american(&self) -> bool {
        matches!(self.region(), None | Some("US" | "CA"))
    }

    fn write_number(&self, amount: Decimal, decimals: u32) -> String {
        let digits = format!("{amount:.*}", decimals as usize);
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let (group, point, least) = self.separators();
        let mut text = String::with_capacity(digits.len() + 4);
        for (i, digit) in whole.chars().enumerate() {
            if i > 0 && whole.len() >= least && (whole.len() - i).is_multiple_of(3) {
                text.push_str(group);
            }
            text.push(digit);
        }
        if !fraction.is_empty() {
            text.push_str(point);
            text.push_str(fraction);
        }
        text
    }

    /// What stands between groups, what before the fraction, and from how many digits on groups are made.
    fn separators(&self) -> (&'static str, &'static str, usize) {
        match (self.language.as_str(), self.region()) {
            ("es", None | Some("ES")) => (".", ",", 5),
            ("es", Some("AR" | "BO" | "CL" | "CO" | "CR" | "EC" | "PY" | "UY" | "VE")) => (".", ",", 4),
            ("pt", Some("PT")) => (NO_BREAK_SPACE, ",", 5),
            ("pt", _) => (".", ",", 4),
            ("en" | "es", _) => (",", ".", 4),
            _ => ("", ".", usize::MAX),
        }
    }

    fn symbol_place(&self) -> SymbolPlace {
        match (self.language.as_str(), self.region()) {
            ("es", None | Some("ES")) | ("pt", Some("PT")) => SymbolPlace::After,
            ("es", Some("AR" | "CO" | "PE" | "UY" | "PY")) | ("pt", _) => SymbolPlace::BeforeWithSpace,
            ("es" | "en", _) => SymbolPlace::Before,
            _ => SymbolPlace::After,
        }
    }

    /// A dollar sign alone only where it can mean nothing else.
    fn symbol<'a>(&self, currency: &'a str) -> &'a str {
        let known = matches!(self.language.as_str(), "es" | "en" | "pt");
        match (currency, self.region()) {
            _ if !known => currency,
            ("EUR", _) => "€",
            ("GBP", _) => "£",
            ("BRL", _) => "R$",
            ("PEN", Some("PE")) => "S/",
            ("MXN", Some("MX"))
            | ("ARS", Some("AR"))
            | ("COP", Some("CO"))
            | ("CLP", Some("CL"))
            | ("UYU", Some("UY"))
            | ("CAD", Some("CA"))
            | ("AUD", Some("AU"))
            | ("USD", Some("US" | "PR" | "EC" | "SV")) => "$",
            ("USD", None) if self.language == "en" => "$",
            ("USD", _) => "US$",
            _ => currency,
        }
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.region {
            Some(region) => write!(f, "{}_{region}", self.language),
            None => f.write_str(&self.language),
        }
    }
}

/// How a day is written: with its year (`Long`, `Short`), or with its weekday and without a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateStyle {
    Long,
    Short,
    Day,
}

enum SymbolPlace {
    After,
    Before,
    BeforeWithSpace,
}

/// Reads a day or a moment as a person in `zone` would see it on a calendar and a clock. Without a zone the moment's own
/// offset counts, or `fallback` if it is written in UTC. A text without an offset is taken as it stands.
#[must_use]
pub fn read_moment(text: &str, zone: Option<&TimeZone>, fallback: &TimeZone) -> Option<DateTime> {
    let pieces = Pieces::parse(text).ok()?;
    let written = DateTime::from_parts(pieces.date(), pieces.time().unwrap_or_default());
    let Some(offset) = pieces.to_numeric_offset() else { return Some(written) };
    let moment: Timestamp = offset.to_timestamp(written).ok()?;
    match zone {
        Some(zone) => Some(zone.to_datetime(moment)),
        None if offset.is_zero() => Some(fallback.to_datetime(moment)),
        None => Some(written),
    }
}

/// Decimals that a currency has (ISO 4217).
fn minor_units(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
        | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// `number` counts from 1.
fn name_of(names: &'static [&'static str], number: i8) -> &'static str {
    usize::try_from(number - 1).ok().and_then(|i| names.get(i)).copied().unwrap_or_default()
}

/// A month's first three letters; none of the names has another kind of letter among them.
fn start(month: &str) -> &str {
    month.get(..3).unwrap_or(month)
}

const ES_MONTHS: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];
const EN_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const PT_MONTHS: [&str; 12] = [
    "janeiro",
    "fevereiro",
    "março",
    "abril",
    "maio",
    "junho",
    "julho",
    "agosto",
    "setembro",
    "outubro",
    "novembro",
    "dezembro",
];
const ES_DAYS: [&str; 7] = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"];
const EN_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const PT_DAYS: [&str; 7] =
    ["segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"];
