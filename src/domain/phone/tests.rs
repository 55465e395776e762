use proptest::prelude::*;

use super::*;

#[test]
fn takes_a_number_as_people_write_it() {
    for text in ["+34600111222", "+34 600 11 12 22", " +34 (600) 111-222 ", "0034600111222"] {
        assert_eq!(Phone::parse(text).unwrap().reveal(), "+34600111222", "{text}");
    }
}

#[test]
fn takes_a_national_number_with_its_country() {
    for (text, region, number) in [
        ("600 111 222", "ES", "+34600111222"),
        ("(11) 96123-4567", "br", "+5511961234567"),
        ("55 1234 5678", "MX", "+525512345678"),
        ("+34600111222", "MX", "+34600111222"),
        ("(212) 555-0123", "US", "+12125550123"),
    ] {
        assert_eq!(Phone::parse_in(text, region).unwrap().reveal(), number, "{text}");
    }
}

#[test]
fn says_which_country_a_number_is_from() {
    for (number, country) in [
        ("+34600111222", "ES"),
        ("+525512345678", "MX"),
        ("+14155552671", "US"),
        ("+16135550123", "CA"),
        ("+447400123456", "GB"),
        ("+77012345678", "KZ"),
        ("+5511961234567", "BR"),
    ] {
        assert_eq!(Phone::parse(number).unwrap().country().as_deref(), Some(country), "{number}");
    }
    assert!(is_country("MX") && !is_country("mx") && !is_country("MEX") && !is_country("XX"));
}

#[test]
fn drops_the_one_that_mexico_dropped() {
    assert_eq!(Phone::parse("+5215512345678").unwrap().reveal(), "+525512345678");
}

#[test]
fn takes_numbers_as_people_write_them_in_the_countries_that_we_serve() {
    for (region, number, texts) in [
        (
            "ES",
            "+34600111222",
            &[
                "600111222",
                "600 11 12 22",
                "600-111-222",
                "600.11.12.22",
                "34600111222",
                "34 600 111 222",
                "0034 600 111 222",
                "(+34) 600 111 222",
                "+34 (600) 111-222",
                "tel:+34600111222",
                "\u{202a}+34 600 11 12 22\u{202c}",
                "600\u{a0}111\u{a0}222",
                "600\u{2011}111\u{2011}222",
                "６００１１１２２２",
                "＋34 600 111 222",
            ][..],
        ),
        (
            "MX",
            "+525512345678",
            &[
                "5512345678",
                "55 1234 5678",
                "(55) 1234-5678",
                "52 55 1234 5678",
                "521 55 1234 5678",
                "+52 1 55 1234 5678",
                "044 55 1234 5678",
                "045 55 1234 5678",
                "01 55 1234 5678",
                "1 55 1234 5678",
            ],
        ),
        (
            "BR",
            "+5511961234567",
            &[
                "11 96123-4567",
                "(11) 96123-4567",
                "(011) 96123-4567",
                "011 96123-4567",
                "0 11 96123 4567",
                "55 11 96123-4567",
                "5511961234567",
                "+55 (11) 96123-4567",
                "+55 (011) 96123-4567",
                "0 15 11 96123-4567",
            ],
        ),
        (
            "AR",
            "+5491123456789",
            &[
                "11 15 2345-6789",
                "011 15 2345 6789",
                "(011) 15-2345-6789",
                "9 11 2345 6789",
                "54 9 11 2345 6789",
                "549 11 2345-6789",
                "+54 9 11 2345-6789",
                "+54 11 15 2345-6789",
                "0 11 15 2345 6789",
            ],
        ),
    ] {
        for text in texts {
            let read = Phone::parse_in(text, region);
            assert_eq!(read.as_ref().map(Phone::reveal), Ok(number), "{text:?} in {region}");
        }
    }
}

#[test]
fn knows_the_spellings_of_one_line_and_no_others() {
    let like = |one: &str, other: &str| Phone::parse(one).unwrap().is_like(other);
    for (one, other) in [
        ("+5541999999999", "554199999999"),
        ("+525512345678", "5215512345678"),
        ("+541123456789", "5491123456789"),
        ("+5491123456789", "541123456789"),
        ("+34600111222", "34600111222"),
    ] {
        assert!(like(one, other), "{one} {other}");
    }
    for (one, other) in [
        ("+5541999999999", "554199999998"),
        ("+5541999999999", "5541899999999"),
        ("+525512345678", "5215512345679"),
        ("+34600111222", "34600111223"),
        ("+34600111222", ""),
    ] {
        assert!(!like(one, other), "{one} {other}");
    }
}

#[test]
fn a_number_is_also_known_as_it_is_dialled_at_home() {
    for (number, national) in
        [("+34600111222", "600111222"), ("+5511961234567", "11961234567"), ("+393331234567", "3331234567")]
    {
        assert_eq!(Phone::parse(number).unwrap().national().as_deref(), Some(national));
    }
}

#[test]
fn is_shown_to_people_with_blanks() {
    assert_eq!(Phone::parse("+34600111222").unwrap().spaced(), "+34 600 11 12 22");
    assert_eq!(Phone::parse("+5511961234567").unwrap().spaced(), "+55 11 96123-4567");
}

#[test]
fn refuses_what_is_no_number() {
    assert_eq!(Phone::parse("  "), Err(BadPhone::Empty));
    assert_eq!(Phone::parse("600111222"), Err(BadPhone::NotANumber));
    assert_eq!(Phone::parse("+34300111222"), Err(BadPhone::Invalid));
    assert!(Phone::parse("+341234567890123456").is_err());
    assert!(Phone::parse("+34600").is_err());
    assert!(Phone::parse("call me").is_err());
    assert!(Phone::parse_in("600111222", "Spain").is_err());
    assert!(Phone::parse(&"+".repeat(10_000)).is_err());
}

#[test]
fn does_not_print_its_digits() {
    let phone = Phone::parse("+34600111222").unwrap();
    assert_eq!(format!("{phone} {phone:?}"), "+34…22 Phone(+34…22)");
}

/// Country code, beginning and length of every range that is taken without a closer look.
fn ranges() -> Vec<(String, usize)> {
    let others = PLAIN_MOBILES
        .iter()
        .flat_map(|(country, length, starts)| starts.iter().map(move |s| (format!("+{country}{s}"), length - s.len())));
    let brazil = BRAZIL.iter().flat_map(|(first, seconds)| {
        seconds.iter().map(move |second| (format!("+55{}{}9", char::from(*first), char::from(*second)), 8))
    });
    others.chain(brazil).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_fast_way_takes_only_what_the_slow_way_takes((start, length) in prop::sample::select(ranges()), digits in "[0-9]{12}") {
        let number = format!("{start}{}", &digits[..length]);
        prop_assert!(is_plain_mobile(&number));
        prop_assert_eq!(parse_slowly(None, &number).map(|p| p.reveal().to_owned()), Ok(number));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", region in "[A-Za-z]{0,3}") {
        let _ = Phone::parse(&text);
        let _ = Phone::parse_in(&text, &region);
    }
}
