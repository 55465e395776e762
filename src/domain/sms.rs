//! How long a text is as an SMS: in which alphabet it travels, and in how many segments, each of which is paid.
//!
//! What an SMS says belongs to `template`.

use std::fmt;

/// The letters of GSM 03.38 that take one place.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// And those that take two.
const EXTENDED: &str = "^{}\\[~]|€\u{c}";

/// The places of a segment that stands alone, and of one of several.
const GSM7: (usize, usize) = (160, 153);
const UCS2: (usize, usize) = (70, 67);

/// How a text travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    pub segments: usize,
    /// The first letter that the short alphabet lacks: one of them makes every letter of the text take twice the room.
    pub costly: Option<char>,
}

impl Length {
    /// That of `text`.
    #[must_use]
    pub fn of(text: &str) -> Length {
        let costly = text.chars().find(|letter| gsm7(*letter).is_none());
        let (sizes, places): (_, fn(char) -> usize) = match costly {
            None => (GSM7, |letter| gsm7(letter).unwrap_or(1)),
            Some(_) => (UCS2, char::len_utf16),
        };
        Length { segments: segments(text.chars().map(places), sizes), costly }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.segments == 1 { "" } else { "s" };
        match self.costly {
            None => write!(f, "{} segment{plural} of GSM-7", self.segments),
            Some(letter) => write!(f, "{} segment{plural} of UCS-2, because of {letter:?}", self.segments),
        }
    }
}

/// How many places a letter takes in the short alphabet.
fn gsm7(letter: char) -> Option<usize> {
    if BASIC.contains(letter) { Some(1) } else { EXTENDED.contains(letter).then_some(2) }
}

/// No letter is cut in two.
fn segments(letters: impl Iterator<Item = usize> + Clone, (alone, of_several): (usize, usize)) -> usize {
    if letters.clone().sum::<usize>() <= alone {
        return 1;
    }
    let (mut segments, mut used) = (1, 0);
    for places in letters {
        if used + places > of_several {
            (segments, used) = (segments + 1, 0);
        }
        used += places;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        Length::of(text).segments
    }

    #[test]
    fn a_plain_text_has_160_letters_and_then_153_a_segment() {
        assert_eq!(count(""), 1);
        assert_eq!(count(&"a".repeat(160)), 1);
        assert_eq!(count(&"a".repeat(161)), 2);
        assert_eq!(count(&"a".repeat(306)), 2);
        assert_eq!(count(&"a".repeat(307)), 3);
    }

    #[test]
    fn some_letters_take_two_places_and_are_not_cut() {
        assert_eq!(count(&"€".repeat(80)), 1);
        assert_eq!(count(&"€".repeat(81)), 2);
        // 76 of them fill 152 of 153 places; the next begins another segment.
        assert_eq!((count(&"€".repeat(152)), count(&"€".repeat(153))), (2, 3));
    }

    #[test]
    fn one_letter_of_another_alphabet_makes_all_of_them_costly() {
        assert_eq!(Length::of("¿Cuándo? Mañana").costly, Some('á'));
        assert_eq!(count(&format!("á{}", "a".repeat(69))), 1);
        assert_eq!(count(&format!("á{}", "a".repeat(70))), 2);
        assert_eq!(count(&"🎉".repeat(35)), 1);
        assert_eq!((count(&"🎉".repeat(66)), count(&"🎉".repeat(67))), (2, 3));
    }

    #[test]
    fn the_letters_of_spanish_and_portuguese_that_are_free() {
        for letter in "ñÑüÜ¿¡éÉàèìòùÇ".chars() {
            assert_eq!(Length::of(&letter.to_string()).costly, None, "{letter}");
        }
        for letter in "áíóúçãõâê“…".chars() {
            assert_eq!(Length::of(&letter.to_string()).costly, Some(letter), "{letter}");
        }
    }

    #[test]
    fn it_is_said_why() {
        assert_eq!(Length::of("Hola").to_string(), "1 segment of GSM-7");
        assert_eq!(Length::of(&"ó".repeat(71)).to_string(), "2 segments of UCS-2, because of 'ó'");
    }
}
