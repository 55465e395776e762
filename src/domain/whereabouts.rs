//! "Where is my order?": how far each order of a person has come, in words for people.
//!
//! The words of a stage come with its event type (`x-recado.says`). Who may ask, and how it is sent, is told elsewhere.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use super::locale::{DateStyle, Locale};

/// The last stage that an order has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The event's subject, like `order:1001`.
    pub subject: String,
    pub event_type: String,
    /// When it happened, by the event's own time.
    pub at: Timestamp,
}

/// What is said of each event type, by type and language.
#[derive(Debug, Clone, Default)]
pub struct Whereabouts {
    says: BTreeMap<String, BTreeMap<String, String>>,
    zone: Option<TimeZone>,
}

impl Whereabouts {
    /// Days are told as they were in `zone`.
    #[must_use]
    pub fn new(says: BTreeMap<String, BTreeMap<String, String>>, zone: TimeZone) -> Whereabouts {
        Whereabouts { says, zone: Some(zone) }
    }

    /// The event types of which something is said.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        self.says.keys().cloned().collect()
    }

    /// A line an order, like `A-3001: on its way to you (Thursday 26 November)`. Empty if nothing can be said.
    #[must_use]
    pub fn tell(&self, orders: &[Reached], language: &str) -> String {
        let locale = Locale::parse(language).unwrap_or_else(Locale::unknown);
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let line = |order: &Reached| {
            let words = self.words(&order.event_type, &locale)?;
            let day = locale.write_date(order.at.to_zoned(zone.clone()).date(), DateStyle::Day);
            Some(format!("{}: {words} ({day})", name(&order.subject)))
        };
        orders.iter().filter_map(line).collect::<Vec<_>>().join("\n")
    }

    /// The words in this language, else in its relative, else in English, else in any.
    fn words(&self, event_type: &str, locale: &Locale) -> Option<&str> {
        let says = self.says.get(event_type)?;
        let known = || says.iter().filter_map(|(name, words)| Some((Locale::parse(name)?, words)));
        let of = |language: &str| known().find(|(one, _)| one.language() == language);
        let exact = known().find(|(one, _)| one == locale);
        let found = exact.or_else(|| of(locale.language())).or_else(|| of("en")).or_else(|| known().next());
        found.map(|(_, words)| words.as_str())
    }
}

/// What people call the order: what stands behind the kind in `order:1001` or `orders/1001`.
fn name(subject: &str) -> &str {
    subject.rsplit([':', '/']).next().filter(|name| !name.is_empty()).unwrap_or(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whereabouts() -> Whereabouts {
        let of = |texts: &[(&str, &str)]| texts.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let says = BTreeMap::from([
            (
                "shipment.dispatched".to_owned(),
                of(&[("en", "on its way"), ("es", "en camino"), ("es_MX", "va en camino")]),
            ),
            ("order.confirmed".to_owned(), of(&[("pt_BR", "confirmado")])),
        ]);
        Whereabouts::new(says, TimeZone::get("America/Bogota").unwrap_or(TimeZone::UTC))
    }

    fn reached(subject: &str, event_type: &str) -> Reached {
        let at = "2026-11-26T03:00:00Z".parse().unwrap_or(Timestamp::MAX);
        Reached { subject: subject.to_owned(), event_type: event_type.to_owned(), at }
    }

    #[test]
    fn each_order_has_a_line_in_the_nearest_language() {
        let orders = [reached("order:A-3001", "shipment.dispatched"), reached("7", "order.confirmed")];
        let told = |language| whereabouts().tell(&orders, language);
        assert_eq!(
            told("es_AR"),
            "A-3001: en camino (miércoles 25 de noviembre)\n7: confirmado (miércoles 25 de noviembre)"
        );
        assert!(told("es_MX").starts_with("A-3001: va en camino"));
        assert!(told("de").starts_with("A-3001: on its way"));
    }

    #[test]
    fn of_a_type_without_words_nothing_is_said() {
        assert_eq!(whereabouts().tell(&[reached("order:1", "order.viewed")], "en"), "");
    }

    #[test]
    fn an_order_is_called_as_its_customer_calls_it() {
        let names = ["order:1", "orders/eu/2", "3", "order:"].map(name);
        assert_eq!(names, ["1", "2", "3", "order:"]);
    }
}
