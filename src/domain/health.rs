//! How a sender stands at its provider, and what follows from that for sending. Pure.
//!
//! The words are the provider's. What it does not say, or in a word that nobody knows, changes nothing.

use std::fmt;

use serde::Serialize;

use super::remark::Remark;

/// A sender as its provider last told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `CONNECTED`, or why not.
    pub status: Option<String>,
    /// `GREEN`, `YELLOW`, `RED`.
    pub quality: Option<String>,
    /// Of the name that people see.
    pub name_status: Option<String>,
    /// `AVAILABLE`, `LIMITED` or `BLOCKED`, all that it needs (account, business, app) included.
    pub can_send: Option<String>,
    /// What stands in the way, as the provider explains it.
    pub obstacles: Option<String>,
    /// How many people may be written to in a day: `TIER_2K`.
    pub tier: Option<String>,
    /// How fast it may send: `STANDARD`, `HIGH`.
    pub throughput: Option<String>,
}

/// What a sender's health means for sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Able,
    /// It cannot: a hold's reason and what to say of it.
    Unable {
        reason: &'static str,
        detail: String,
    },
    /// Nobody said.
    Unknown,
}

/// Who places such holds and releases them.
pub const HOLDER: &str = "health";
/// Why a sender is held whose provider says that it may not send.
pub const BLOCKED: &str = "sending_blocked";
/// Why a sender is held whose number is not connected.
pub const NOT_CONNECTED: &str = "number_not_connected";
/// All reasons for which a sender's health holds it.
pub const REASONS: [&str; 2] = [BLOCKED, NOT_CONNECTED];

/// What does not stop a sender and somebody should look at. What is in it are the provider's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "key", content = "with")]
pub enum Worry {
    LowQuality,
    /// Why.
    Limited(Option<String>),
    /// How the name stands that people see.
    Name(String),
}

impl fmt::Display for Worry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Worry::LowQuality => f.write_str("its quality is low: people block or report it"),
            Worry::Limited(Some(why)) => write!(f, "it may send within limits: {why}"),
            Worry::Limited(None) => f.write_str("it may send within limits: the provider does not say why"),
            Worry::Name(status) => write!(f, "the name that people see is {status}"),
        }
    }
}

impl Health {
    /// Whether it can send.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.can_send.as_deref() == Some("BLOCKED") {
            let why = self.obstacles.clone().unwrap_or_else(|| Remark::Unexplained.to_string());
            return Standing::Unable { reason: BLOCKED, detail: why };
        }
        match self.status.as_deref() {
            // A number of low quality is flagged for a week. That is a warning: it goes on sending.
            Some("CONNECTED" | "FLAGGED") => Standing::Able,
            None | Some("UNKNOWN") if self.can_send.is_some() => Standing::Able,
            None | Some("UNKNOWN") => Standing::Unknown,
            Some(other) => {
                Standing::Unable { reason: NOT_CONNECTED, detail: Remark::Number(other.to_owned()).to_string() }
            }
        }
    }

    /// How many people may be written to in 24 hours outside their windows; none if there is no limit, or none is known.
    #[must_use]
    pub fn people_a_day(&self) -> Option<u32> {
        people(self.tier.as_deref()?)
    }

    /// How many messages a second the provider takes, if it says so.
    #[must_use]
    pub fn per_second(&self) -> Option<u32> {
        match self.throughput.as_deref()? {
            "STANDARD" => Some(80),
            "HIGH" => Some(1_000),
            _ => None,
        }
    }

    /// What does not stop it and somebody should look at.
    #[must_use]
    pub fn worries(&self) -> Vec<Worry> {
        let mut worries = Vec::new();
        if self.quality.as_deref() == Some("RED") || self.status.as_deref() == Some("FLAGGED") {
            worries.push(Worry::LowQuality);
        }
        if self.can_send.as_deref() == Some("LIMITED") {
            worries.push(Worry::Limited(self.obstacles.clone()));
        }
        worries.extend(self.name_status.clone().filter(|name| !is_name_good(name)).map(Worry::Name));
        worries
    }
}

/// Whether a display name in this status may be used.
#[must_use]
pub fn is_name_good(status: &str) -> bool {
    matches!(status, "APPROVED" | "AVAILABLE_WITHOUT_REVIEW")
}

fn people(tier: &str) -> Option<u32> {
    let number = tier.strip_prefix("TIER_").unwrap_or(tier);
    match number.strip_suffix('K') {
        Some(thousands) => thousands.parse::<u32>().ok()?.checked_mul(1_000),
        None => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(status: &str, can_send: &str) -> Health {
        let said = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
        Health { status: said(status), can_send: said(can_send), ..Health::default() }
    }

    #[test]
    fn who_is_blocked_or_not_connected_cannot_send() {
        for (status, can_send, standing) in [
            ("CONNECTED", "AVAILABLE", Standing::Able),
            ("CONNECTED", "LIMITED", Standing::Able),
            ("CONNECTED", "", Standing::Able),
            ("FLAGGED", "AVAILABLE", Standing::Able),
            ("", "AVAILABLE", Standing::Able),
            ("UNKNOWN", "", Standing::Unknown),
            ("", "", Standing::Unknown),
        ] {
            assert_eq!(health(status, can_send).standing(), standing, "{status} {can_send}");
        }
        for (status, can_send, why) in [
            ("CONNECTED", "BLOCKED", BLOCKED),
            ("BANNED", "BLOCKED", BLOCKED),
            ("RESTRICTED", "AVAILABLE", NOT_CONNECTED),
            ("PENDING", "", NOT_CONNECTED),
            ("DISCONNECTED", "", NOT_CONNECTED),
        ] {
            let Standing::Unable { reason, .. } = health(status, can_send).standing() else {
                panic!("{status} {can_send} can send");
            };
            assert_eq!(reason, why, "{status} {can_send}");
            assert!(REASONS.contains(&reason));
        }
        let blocked =
            Health { obstacles: Some("There is no payment method.".into()), ..health("CONNECTED", "BLOCKED") };
        assert_eq!(
            blocked.standing(),
            Standing::Unable { reason: BLOCKED, detail: "There is no payment method.".into() }
        );
    }

    #[test]
    fn a_tier_is_a_number_of_people() {
        for (tier, most) in [
            ("TIER_250", Some(250)),
            ("TIER_2K", Some(2_000)),
            ("TIER_100K", Some(100_000)),
            ("2000", Some(2_000)),
            ("TIER_UNLIMITED", None),
            ("TIER_NOT_SET", None),
            ("-1", None),
            ("99999999999K", None),
        ] {
            assert_eq!(Health { tier: Some(tier.into()), ..Health::default() }.people_a_day(), most, "{tier}");
        }
        assert_eq!(Health::default().people_a_day(), None);
    }

    #[test]
    fn what_does_not_stop_it_is_worth_a_look() {
        let said = |word: &str| Some(word.to_owned());
        let fine = Health { quality: said("GREEN"), name_status: said("APPROVED"), ..health("CONNECTED", "AVAILABLE") };
        assert_eq!(fine.worries(), []);
        let poor = Health { quality: said("RED"), name_status: said("DECLINED"), ..health("FLAGGED", "LIMITED") };
        assert_eq!(poor.worries(), [Worry::LowQuality, Worry::Limited(None), Worry::Name("DECLINED".to_owned())]);
        assert_eq!(poor.standing(), Standing::Able);
    }
}
