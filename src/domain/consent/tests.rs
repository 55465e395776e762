use proptest::prelude::*;

use super::*;

fn means(text: &str) -> Option<Meaning> {
    Words::shipped().meaning(text).map(|(meaning, _)| meaning)
}

fn means_stop(text: &str) -> bool {
    means(text) == Some(Meaning::Stop)
}

#[test]
fn a_word_tells_the_language_if_only_one_has_it() {
    let words = Words::shipped();
    assert_eq!(words.meaning("¡Baja!"), Some((Meaning::Stop, vec!["es"])));
    assert_eq!(words.meaning("cancelar"), Some((Meaning::Stop, vec!["es", "pt_BR"])));
    assert_eq!(words.meaning("Sí"), Some((Meaning::Yes, vec!["es"])));
    assert_eq!(means("AJUDA"), Some(Meaning::Help));
    assert_eq!(means("alta"), Some(Meaning::Start));
    assert_eq!(means("gracias"), None);
    assert_eq!(words.name(Meaning::Stop, "pt"), Some("sair"));
    assert_eq!(words.name(Meaning::Stop, "es_MX"), Some("baja"));
    assert_eq!(words.name(Meaning::Stop, "fr"), None);
}

#[test]
fn people_say_no_in_many_ways() {
    for text in [
        "STOP",
        "stop",
        " Stop. ",
        "¡BAJA!",
        "baja",
        "Dar de baja",
        "DARME  DE\nBAJA",
        "No más",
        "no mas",
        "no ma\u{301}s",
        "SAIR",
        "Sair!!",
        "opt-out",
        "OPTOUT",
        "Stop all",
        "stop 🙏",
        "“stop”",
        "\u{200b}stop",
        "ＳＴＯＰ",
    ] {
        assert!(means_stop(text), "{text:?}");
    }
}

#[test]
fn a_word_inside_a_sentence_is_no_order() {
    for text in [
        "",
        "   ",
        "🙏",
        "please stop by tomorrow",
        "quiero dar de baja mi pedido",
        "stop 2",
        "stopp",
        "no",
        "gracias",
        "the end of the street",
        "baja el precio",
    ] {
        assert!(!means_stop(text), "{text:?}");
    }
}

#[test]
fn an_empty_word_stops_nobody() {
    assert!(!is_one_of("", &[""]));
    assert!(!is_one_of("…", &["…"]));
    assert!(!is_one_of("stop", &[] as &[&str]));
}

proptest! {
    #[test]
    fn case_accents_and_punctuation_do_not_count(
        word in prop::sample::select(Words::shipped().stops()),
        capitals in any::<[bool; 16]>(),
        marks in prop::collection::vec(prop::sample::select(&[" ", ".", "!", "¡", "-", "\n", "\u{301}", "👍", "\u{200d}"][..]), 32),
    ) {
        let mut text = String::new();
        for (at, letter) in word.chars().enumerate() {
            text.push_str(marks[at % marks.len()]);
            if capitals[at % capitals.len()] {
                text.extend(letter.to_uppercase());
            } else {
                text.push(letter);
            }
        }
        prop_assert!(means_stop(&text), "{:?}", text);
    }

    #[test]
    fn one_more_letter_makes_it_another_word(word in prop::sample::select(Words::shipped().stops()), letter in "[qxz0-9]") {
        let (behind, before) = (format!("{word}{letter}"), format!("{letter} {word}"));
        prop_assert!(!means_stop(&behind));
        prop_assert!(!means_stop(&before));
    }

    #[test]
    fn whatever_people_write_it_answers(text in any::<String>()) {
        let _ = means_stop(&text);
    }
}
