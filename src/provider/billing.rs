//! What providers write about the price of a message: Meta says as what it was billed, Twilio how much.

use serde_json::Value;

use crate::domain::{
    cost::Billed,
    money::{Currency, Money, micros},
    rates::Category,
};

/// What a receipt's pricing means. None if it says nothing that we understand: then it is not known what the message cost.
#[must_use]
pub fn billed(pricing: &Value) -> Option<Billed> {
    let text = |name: &str| pricing.get(name).and_then(Value::as_str);
    if let (Some(price), Some(unit)) = (text("price"), text("price_unit")) {
        // Twilio writes what it takes as a negative number.
        let micros = micros(price.trim_start_matches('-'))?;
        return Some(Billed::Amount(Money { micros, currency: Currency::named(&unit.to_ascii_uppercase())? }));
    }
    match (text("type"), text("category")) {
        (Some(free), _) if free.starts_with("free_") => Some(Billed::Free),
        (_, Some("referral_conversion")) => Some(Billed::Free),
        // Before there was a type.
        (None, _) if pricing.get("billable") == Some(&Value::Bool(false)) => Some(Billed::Free),
        (_, category) => Category::named(category?).map(Billed::As),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_word_about_a_price_has_one_meaning() {
        let usd = |micros| Some(Billed::Amount(Money { micros, currency: Currency::named("USD").unwrap() }));
        for (pricing, meaning) in [
            (
                json!({"billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility"}),
                Some(Billed::As(Category::Utility)),
            ),
            (
                json!({"type": "regular", "category": "authentication-international"}),
                Some(Billed::As(Category::AuthenticationInternational)),
            ),
            (json!({"billable": false, "type": "free_customer_service", "category": "utility"}), Some(Billed::Free)),
            (json!({"type": "free_entry_point", "category": "marketing"}), Some(Billed::Free)),
            (json!({"type": "free_group_customer_service", "category": "service"}), Some(Billed::Free)),
            (json!({"billable": false, "pricing_model": "CBP", "category": "service"}), Some(Billed::Free)),
            (json!({"category": "referral_conversion"}), Some(Billed::Free)),
            (json!({"type": "regular", "category": "group_marketing"}), None),
            (json!({"price": "-0.00750", "price_unit": "USD"}), usd(7_500)),
            (json!({"price": "0.005", "price_unit": "usd"}), usd(5_000)),
            (json!({"price": null, "price_unit": "USD"}), None),
            (json!({}), None),
            (json!("utility"), None),
        ] {
            assert_eq!(billed(&pricing), meaning, "{pricing}");
        }
    }
}
