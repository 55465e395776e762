//! From which sender a message goes, if there are several: rules in their order, of which the first that fits decides. Pure.
//!
//! Rules stand in the configuration, for all templates that say nothing themselves, or in a template's file. Whether they make sense
//! for the events that come is found out when the templates are loaded.

use std::{fmt, sync::Arc};

use super::{
    expression::{Absence, Expression, Scope},
    phone,
};

#[cfg(test)]
mod tests;

/// What of a rule's own expression is shown.
const SHOWN: usize = 80;

/// From whom a template's messages go.
#[derive(Debug, Clone)]
pub enum Route {
    /// Always from this one.
    Sender(String),
    ByRules(Arc<Rules>),
}

/// Rules in their order.
#[derive(Debug, Default)]
pub struct Rules {
    pub rules: Vec<Rule>,
    /// Whose messages go from it that no rule fits.
    pub last_resort: Option<String>,
    pub written: Written,
}

/// Where rules stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Written {
    /// `[[routing]]` and `templates.default_sender`.
    #[default]
    InSettings,
    /// `[[route]]` and `sender`.
    InTemplate,
}

/// One rule: everything that it says must hold. One that says nothing fits always.
#[derive(Debug)]
pub struct Rule {
    countries: Vec<String>,
    brands: Vec<String>,
    when: Option<Expression>,
    sender: String,
    /// The file and line that it begins in, for problems that show up later.
    place: (String, usize),
}

/// What a rule is made of, as a person wrote it.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// ISO 3166-1 alpha-2, of the recipient's number.
    pub countries: Vec<String>,
    /// Of the event: `data.brand`.
    pub brands: Vec<String>,
    /// An expression over the event and `country`. What is absent makes it not hold.
    pub when: Option<String>,
    pub sender: String,
    pub place: (String, usize),
}

/// What is known of a message when its sender is chosen.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    /// With `country`, see [`Scope::in_country`].
    pub scope: &'a Scope,
    pub country: Option<&'a str>,
    pub brand: Option<&'a str>,
}

/// The sender that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub sender: String,
    /// The rule that fitted, for people; none if there was nothing to choose.
    pub rule: Option<String>,
}

/// Why no sender was found. Shows nothing of the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nowhere {
    #[error("no rule of {0} fits")]
    NoRuleFits(Written),
    #[error("rule {number} of {written} {problem}")]
    Unevaluable { number: usize, written: Written, problem: String },
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Written::InSettings => "[[routing]]",
            Written::InTemplate => "its [[route]]",
        })
    }
}

impl Route {
    /// All that a message may go from, each once.
    #[must_use]
    pub fn senders(&self) -> Vec<&str> {
        let mut senders: Vec<&str> = match self {
            Route::Sender(sender) => vec![sender],
            Route::ByRules(rules) => rules.senders().collect(),
        };
        senders.sort_unstable();
        senders.dedup();
        senders
    }

    /// Whether it matters where the recipient's number is from.
    #[must_use]
    pub fn asks_country(&self) -> bool {
        match self {
            Route::Sender(_) => false,
            Route::ByRules(rules) => rules.rules.iter().any(|rule| !rule.countries.is_empty() || rule.when.is_some()),
        }
    }

    /// # Errors
    /// If no rule fits, or the first that might cannot be evaluated for this event.
    pub fn choose(&self, occasion: Occasion<'_>) -> Result<Chosen, Nowhere> {
        match self {
            Route::Sender(sender) => Ok(Chosen { sender: sender.clone(), rule: None }),
            Route::ByRules(rules) => rules.choose(occasion),
        }
    }
}

impl Rules {
    /// All that they name.
    pub fn senders(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(Rule::sender).chain(self.last_resort.as_deref())
    }

    /// Whether there is always one that fits.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.last_resort.is_some() || self.rules.iter().any(Rule::fits_always)
    }

    fn choose(&self, occasion: Occasion<'_>) -> Result<Chosen, Nowhere> {
        for (number, rule) in (1..).zip(&self.rules) {
            let fits = rule.fits(occasion).map_err(|problem| Nowhere::Unevaluable {
                number,
                written: self.written,
                problem,
            })?;
            if fits {
                let rule_said = format!("rule {number} of {}{rule}", self.written);
                return Ok(Chosen { sender: rule.sender.clone(), rule: Some(rule_said) });
            }
        }
        let Some(sender) = self.last_resort.clone() else { return Err(Nowhere::NoRuleFits(self.written)) };
        Ok(Chosen { sender, rule: Some(format!("the last resort: no rule of {} fits", self.written)) })
    }
}

impl Rule {
    /// # Errors
    /// What is wrong with it: the key, and what the value does that it must not.
    pub fn new(parts: Parts) -> Result<Rule, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        for country in &parts.countries {
            if !phone::is_country(country) {
                wrong.push(("country", format!("has {country:?}, which is no country (two capital letters, like MX)")));
            }
        }
        if parts.brands.iter().any(|brand| brand.trim().is_empty()) {
            wrong.push(("brand", "has an empty text; name the brand as events do in data.brand".to_owned()));
        }
        let when = parts.when.as_deref().map(|text| Expression::compile(text, Absence::Spreads)).transpose();
        match when {
            Ok(when) if wrong.is_empty() => Ok(Rule {
                countries: parts.countries,
                brands: parts.brands,
                when,
                sender: parts.sender,
                place: parts.place,
            }),
            Ok(_) => Err(wrong),
            Err(why) => {
                wrong.push(("when", why));
                Err(wrong)
            }
        }
    }

    #[must_use]
    pub fn sender(&self) -> &str {
        &self.sender
    }

    #[must_use]
    pub const fn when(&self) -> Option<&Expression> {
        self.when.as_ref()
    }

    /// The file and line that it begins in.
    #[must_use]
    pub fn place(&self) -> (&str, usize) {
        (&self.place.0, self.place.1)
    }

    /// Whether nothing gets past it.
    #[must_use]
    pub fn fits_always(&self) -> bool {
        self.countries.is_empty() && self.brands.is_empty() && self.when.is_none()
    }

    fn fits(&self, occasion: Occasion<'_>) -> Result<bool, String> {
        let is_one_of =
            |all: &[String], it: Option<&str>| all.is_empty() || it.is_some_and(|it| all.iter().any(|one| one == it));
        if !is_one_of(&self.countries, occasion.country) || !is_one_of(&self.brands, occasion.brand) {
            return Ok(false);
        }
        let Some(when) = &self.when else { return Ok(true) };
        when.evaluate(occasion.scope).map(|value| value.is_true()).map_err(|why| why.to_string())
    }
}

impl fmt::Display for Rule {
    /// What it asks for, in brackets; nothing if it asks for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        for (what, names) in [("country", &self.countries), ("brand", &self.brands)] {
            if !names.is_empty() {
                said.push(format!("{what} {}", names.join(" or ")));
            }
        }
        if let Some(when) = &self.when {
            let text: String = when.text().chars().take(SHOWN).collect();
            let more = if text.len() < when.text().len() { "…" } else { "" };
            said.push(format!("when {text}{more}"));
        }
        if said.is_empty() { Ok(()) } else { write!(f, " ({})", said.join(", ")) }
    }
}
