//! People and their phones: how a number is read, which WhatsApp account it leads to, and what a person does with
//! messages. Nothing about the wire.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Somebody with a phone.
#[derive(Debug, Clone, Serialize)]
pub struct Person {
    /// The WhatsApp id: digits, not always those that one dials.
    pub wa_id: String,
    /// The business-scoped user id.
    pub user_id: String,
    #[serde(flatten)]
    pub ways: Ways,
    /// When the 24-hour window to each sender ends (Unix ms), by phone number id or Twilio's address.
    pub windows: BTreeMap<String, i64>,
    /// The sender that wrote last on WhatsApp.
    pub last_sender: Option<String>,
    /// What Twilio does not let through to them since they said a word for a stop: numbers, or services with a channel.
    pub opted_out: BTreeSet<String>,
    /// The state of the pair limit (theoretical arrival time, Unix ms), likewise.
    #[serde(skip)]
    pub(super) paid_until: BTreeMap<String, i64>,
    /// Messages that wait until the phone is on again.
    #[serde(skip)]
    pub(super) waiting: Vec<u64>,
}

/// How a person behaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ways {
    /// The profile name.
    pub name: String,
    /// Has an account at all; otherwise 131026.
    pub on_whatsapp: bool,
    /// Blocked the business: messages stay `sent` forever, nobody is told.
    pub blocked: bool,
    /// The phone is off: messages stay `sent` until it is on.
    pub offline: bool,
    /// Reads what arrives.
    pub reads: bool,
    /// Has the chat open: `read` comes without a `delivered`.
    pub chat_open: bool,
    /// Goes by a username: webhooks carry the user id and no phone.
    pub hidden: bool,
    /// Stopped marketing messages: 131050 for marketing templates.
    pub stopped_marketing: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            name: "Ana Prueba".into(),
            on_whatsapp: true,
            blocked: false,
            offline: false,
            reads: true,
            chat_open: false,
            hidden: false,
            stopped_marketing: false,
        }
    }
}

impl Person {
    pub(super) fn new(wa_id: &str, on_whatsapp: bool) -> Self {
        Self {
            wa_id: wa_id.to_owned(),
            user_id: user_id(wa_id, 0),
            ways: Ways { on_whatsapp, ..Ways::default() },
            windows: BTreeMap::new(),
            last_sender: None,
            opted_out: BTreeSet::new(),
            paid_until: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }
}

/// Reads a phone as Meta does: `+ - ( )` and spaces are accepted, and without the `+` the business number's own country
/// code is put in front. Gives 7 to 15 digits, or nothing.
pub(super) fn read_phone(input: &str, country_code: &str) -> Option<String> {
    let trimmed = input.trim();
    let mut digits = String::with_capacity(16);
    if !trimmed.starts_with('+') {
        digits.push_str(country_code);
    }
    for (at, c) in trimmed.chars().enumerate() {
        match c {
            '0'..='9' => digits.push(c),
            '+' if at == 0 => {}
            '-' | '(' | ')' | ' ' => {}
            _ => return None,
        }
    }
    ((7..=15).contains(&digits.len()) && !digits.starts_with('0')).then_some(digits)
}

/// The WhatsApp id that a dialled number leads to: Brazil has numbers with and without the ninth digit, Mexico with and
/// without a 1 after the country code; in both cases two spellings are one account.
pub(super) fn wa_id(digits: &str) -> String {
    if let Some(rest) = digits.strip_prefix("55")
        && rest.len() == 11
        && rest.get(2..3) == Some("9")
        && rest.get(..2).is_some_and(|area| area >= "31")
    {
        return format!("55{}{}", rest.get(..2).unwrap_or_default(), rest.get(3..).unwrap_or_default());
    }
    if let Some(rest) = digits.strip_prefix("521")
        && rest.len() == 10
    {
        return format!("52{rest}");
    }
    digits.to_owned()
}

/// A business-scoped user id: a country, a dot, and digits that tell nothing. It is new after each change of number.
pub(super) fn user_id(wa_id: &str, generation: u32) -> String {
    let hash = Sha256::digest(format!("{wa_id}/{generation}").as_bytes());
    let number = hash.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    format!("{}.{number:020}", country(wa_id))
}

fn country(wa_id: &str) -> &'static str {
    const CODES: [(&str, &str); 14] = [
        ("351", "PT"),
        ("34", "ES"),
        ("33", "FR"),
        ("39", "IT"),
        ("44", "GB"),
        ("49", "DE"),
        ("51", "PE"),
        ("52", "MX"),
        ("54", "AR"),
        ("55", "BR"),
        ("56", "CL"),
        ("57", "CO"),
        ("593", "EC"),
        ("1", "US"),
    ];
    CODES.iter().find(|(code, _)| wa_id.starts_with(code)).map_or("ZZ", |(_, country)| country)
}
