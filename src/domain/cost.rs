//! What one message is expected to cost, and what the provider says that it was billed. Pure.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{
    money::{Currency, Money},
    phone::Phone,
    rates::{Book, Category, Of},
};

/// What a message is expected to cost, and what else its cost is counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub template: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<&'static str>,
    pub category: Category,
    /// None if no price list says.
    pub price: Option<Money>,
}

/// A provider's word about what a message was billed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billed {
    Free,
    As(Category),
    Amount(Money),
}

/// What was billed, as far as it is known without the message itself: an amount, or the category, of which the predicted price is
/// right if it was of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bill {
    pub micros: Option<i64>,
    /// None if it is the predicted one's.
    pub currency: Option<Currency>,
    pub category: Option<Category>,
}

/// The price lists as one sender reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    book: Arc<Book>,
    sender: String,
    kind: &'static str,
}

impl Prices {
    /// `kind` is the sender's in the settings.
    #[must_use]
    pub fn new(book: Arc<Book>, sender: &str, kind: &'static str) -> Prices {
        Prices { book, sender: sender.to_owned(), kind }
    }

    /// Prices of nothing: everything is counted, nothing is known.
    #[must_use]
    pub fn none(sender: &str) -> Prices {
        Prices::new(Arc::default(), sender, "")
    }

    fn of(&self) -> Of<'_> {
        Of { sender: &self.sender, kind: self.kind }
    }

    /// What a message to this number (E.164) is expected to cost if it goes now.
    #[must_use]
    pub fn expect(&self, template: &str, phone: &str, category: Category, now: Timestamp) -> Charge {
        let digits = phone.trim_start_matches('+');
        let category = if self.kind == "twilio_sms" { Category::Sms } else { category };
        let rate = self.book.rate(self.of(), category, digits, day(now));
        let country = Phone::country_of(digits);
        Charge { template: template.to_owned(), country, category, price: rate.map(|rate| rate.fee) }
    }

    /// What is added to every message of that day, as far as it does not depend on the number.
    #[must_use]
    pub fn added(&self, on: Date) -> Option<Money> {
        self.book.added(self.of(), "", on)
    }

    /// What a provider's word means. `digits` are the recipient's number, if the word came with it.
    #[must_use]
    pub fn bill(&self, billed: Billed, digits: Option<&str>, at: Timestamp) -> Bill {
        let of_money =
            |money: Money| Bill { micros: Some(money.micros), currency: Some(money.currency), category: None };
        match billed {
            Billed::Amount(money) => of_money(money),
            Billed::Free => self
                .book
                .added(self.of(), digits.unwrap_or_default(), day(at))
                .map_or(Bill { micros: Some(0), ..Bill::default() }, of_money),
            Billed::As(category) => digits
                .and_then(|digits| self.book.rate(self.of(), category, digits, day(at)))
                .map_or(Bill { category: Some(category), ..Bill::default() }, |rate| of_money(rate.fee)),
        }
    }
}

/// The day by which everything is counted: UTC's.
#[must_use]
pub fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &str = "valid_from,market,calling_codes,currency,category,fee,sender
2026-10-01,Spain,34,USD,utility,0.02,
2026-10-01,Spain,,USD,marketing,0.0707,
2026-10-01,All,*,USD,every_message,0.005,twilio
";

    fn prices(kind: &'static str) -> Prices {
        Prices::new(Arc::new(Book::load(&[("a.csv".to_owned(), LISTS.to_owned())]).unwrap()), "main", kind)
    }

    fn now() -> Timestamp {
        "2026-11-22T20:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_message_is_expected_to_cost_what_the_list_says() {
        let charge = prices("meta").expect("order_confirmed", "+34600111222", Category::Utility, now());
        assert_eq!((charge.country, charge.price.unwrap().to_string().as_str()), (Some("ES"), "0.02 USD"));
        let through_twilio = prices("twilio").expect("order_confirmed", "+34600111222", Category::Utility, now());
        assert_eq!(through_twilio.price.unwrap().to_string(), "0.025 USD");
        let unknown = Prices::none("main").expect("order_confirmed", "+33600111222", Category::Utility, now());
        assert_eq!((unknown.country, unknown.price), (Some("FR"), None));
    }

    #[test]
    fn what_was_billed_is_priced_by_its_category() {
        let bill = |kind, billed, digits| prices(kind).bill(billed, digits, now()).micros;
        assert_eq!(bill("meta", Billed::As(Category::Marketing), Some("34600111222")), Some(70_700));
        assert_eq!(bill("meta", Billed::Free, None), Some(0));
        assert_eq!(bill("twilio", Billed::Free, None), Some(5_000), "the provider between is not free");
        let nobody = prices("meta").bill(Billed::As(Category::Utility), None, now());
        assert_eq!(nobody, Bill { category: Some(Category::Utility), ..Bill::default() });
    }
}
