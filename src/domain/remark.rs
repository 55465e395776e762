//! What our own code notes beside a reason, in English: the sentence as it is kept and as the command line and the API have it, and what was
//! meant by it, for who tells it in another language. What providers and people say is in their own words and none of these.

use std::fmt;

use jiff::Timestamp;

use super::template::Place;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// The provider answered a message with this code.
    Answered(i64),
    /// The provider reported this code of a message that it had taken.
    Reported(i64),
    /// A template's file and the provider have different texts.
    Differs { places: Vec<Place>, template: String },
    /// A template's category became one that nobody agreed to.
    Marketing,
    /// A template's category will be this one, from then on if that is known.
    Becomes { category: String, on: Option<Timestamp> },
    /// As many texts were sent as a day may have.
    TextsUsedUp,
    /// The provider has the number in this state.
    Number(String),
    /// The provider lets it not send and gives no reason.
    Unexplained,
}

const ANSWERED: &str = "the provider answered with code ";
const REPORTED: &str = "the provider reported code ";
const DIFFER: &str = "The file and the provider differ in ";
const SEE: &str = ". See: recado templates diff ";
const MARKETING: &str = "The provider counts it as marketing now, to which people have not agreed.";
const BECOMES: &str = "becomes ";
const ON: &str = " on ";
const TEXTS_USED_UP: &str = "forms.texts_per_day is used up for 24 hours";
const NUMBER: &str = "the provider has the number as ";
const UNEXPLAINED: &str = "the provider does not say why";

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::Answered(code) => write!(f, "{ANSWERED}{code}"),
            Remark::Reported(code) => write!(f, "{REPORTED}{code}"),
            Remark::Differs { places, template } => {
                let places: Vec<String> = places.iter().map(Place::to_string).collect();
                write!(f, "{DIFFER}{}{SEE}{template}", places.join(", "))
            }
            Remark::Marketing => f.write_str(MARKETING),
            Remark::Becomes { category, on: Some(on) } => write!(f, "{BECOMES}{category}{ON}{on}"),
            Remark::Becomes { category, on: None } => write!(f, "{BECOMES}{category}"),
            Remark::TextsUsedUp => f.write_str(TEXTS_USED_UP),
            Remark::Number(state) => write!(f, "{NUMBER}{state}"),
            Remark::Unexplained => f.write_str(UNEXPLAINED),
        }
    }
}

impl Remark {
    /// What this sentence says. None unless it is exactly one that is written here.
    #[must_use]
    pub fn read(text: &str) -> Option<Remark> {
        let after = |beginning| text.strip_prefix(beginning);
        let read = if let Some(code) = after(ANSWERED) {
            Remark::Answered(code.parse().ok()?)
        } else if let Some(code) = after(REPORTED) {
            Remark::Reported(code.parse().ok()?)
        } else if let Some((places, template)) = after(DIFFER).and_then(|rest| rest.split_once(SEE)) {
            let places: Option<Vec<Place>> = places.split(", ").map(Place::read).collect();
            Remark::Differs { places: places?, template: template.to_owned() }
        } else if let Some(what) = after(BECOMES) {
            match what.split_once(ON) {
                Some((category, on)) => Remark::Becomes { category: category.to_owned(), on: Some(on.parse().ok()?) },
                None => Remark::Becomes { category: what.to_owned(), on: None },
            }
        } else if let Some(state) = after(NUMBER) {
            Remark::Number(state.to_owned())
        } else {
            match text {
                MARKETING => Remark::Marketing,
                TEXTS_USED_UP => Remark::TextsUsedUp,
                UNEXPLAINED => Remark::Unexplained,
                _ => return None,
            }
        };
        // What only looks like it is somebody else's.
        (read.to_string() == text).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_meant() {
        for (remark, sentence) in [
            (Remark::Answered(131_031), "the provider answered with code 131031"),
            (Remark::Reported(-1), "the provider reported code -1"),
            (
                Remark::Differs {
                    places: vec![Place::Body, Place::Button(2), Place::Category],
                    template: "order_confirmed".to_owned(),
                },
                "The file and the provider differ in body, button 2, category. See: recado templates diff order_confirmed",
            ),
            (Remark::Marketing, MARKETING),
            (
                Remark::Becomes { category: "MARKETING".to_owned(), on: Some("2026-12-01T00:00:00Z".parse().unwrap()) },
                "becomes MARKETING on 2026-12-01T00:00:00Z",
            ),
            (Remark::Becomes { category: "MARKETING".to_owned(), on: None }, "becomes MARKETING"),
            (Remark::TextsUsedUp, TEXTS_USED_UP),
            (Remark::Number("BANNED".to_owned()), "the provider has the number as BANNED"),
            (Remark::Unexplained, UNEXPLAINED),
        ] {
            assert_eq!(remark.to_string(), sentence);
            assert_eq!(Remark::read(sentence), Some(remark));
        }
    }

    #[test]
    fn what_others_say_is_in_their_own_words() {
        for text in [
            "",
            "There is no payment method.",
            "the provider answered with code +7",
            "the provider answered with code seven",
            "the provider reported code 7.",
            "The file and the provider differ in spirit. See: recado templates diff order_confirmed",
            "The file and the provider differ in body",
            "becomes MARKETING on a Monday",
            "The provider does not say why",
        ] {
            assert_eq!(Remark::read(text), None, "{text}");
        }
    }
}
