use super::*;

fn locale(text: &str) -> Locale {
    Locale::parse(text).unwrap()
}

fn money(amount: &str, currency: &str, place: &str) -> String {
    locale(place).write_money(amount.parse().unwrap(), currency).replace(NO_BREAK_SPACE, "_")
}

#[test]
fn reads_locales_as_shops_write_them() {
    for (text, shown) in [
        ("es", "es"),
        ("es-MX", "es_MX"),
        ("PT_br", "pt_BR"),
        ("pt_BR.UTF-8", "pt_BR"),
        ("zh-Hant-TW", "zh_TW"),
        ("es-419", "es_419"),
    ] {
        assert_eq!(locale(text).to_string(), shown);
    }
    for text in ["", "e", "español", "12", "_MX", "-"] {
        assert_eq!(Locale::parse(text), None, "{text}");
    }
}

#[test]
fn writes_money_as_people_there_do() {
    for (amount, currency, place, shown) in [
        ("49.9", "EUR", "es", "49,90_€"),
        ("1234.5", "EUR", "es", "1234,50_€"),
        ("12345.678", "EUR", "es_ES", "12.345,68_€"),
        ("1299", "MXN", "es_MX", "$1,299.00"),
        ("20", "USD", "es_MX", "US$20.00"),
        ("1299", "MXN", "es", "1299,00_MXN"),
        ("159900", "COP", "es_CO", "$_159.900,00"),
        ("12990", "CLP", "es_CL", "$12.990"),
        ("5.5", "PEN", "es_PE", "S/_5.50"),
        ("1234.5", "USD", "en", "$1,234.50"),
        ("1234567.891", "USD", "en_US", "$1,234,567.89"),
        ("10", "USD", "en_GB", "US$10.00"),
        ("10", "GBP", "en_GB", "£10.00"),
        ("10", "EUR", "en", "€10.00"),
        ("10", "CHF", "en", "CHF_10.00"),
        ("1234.5", "BRL", "pt_BR", "R$_1.234,50"),
        ("49.90", "EUR", "pt_PT", "49,90_€"),
        ("1000", "JPY", "en", "JPY_1,000"),
        ("1.2345", "KWD", "en", "KWD_1.235"),
        ("-3.5", "EUR", "es", "-3,50_€"),
        ("-0.001", "EUR", "es", "0,00_€"),
        ("49.9", "EUR", "de_DE", "49.90_EUR"),
    ] {
        assert_eq!(money(amount, currency, place), shown, "{amount} {currency} {place}");
    }
}

#[test]
fn writes_days_and_times() {
    let day = jiff::civil::date(2026, 12, 3);
    let cases = [
        ("es", "3 de diciembre de 2026", "3 dic 2026", "jueves 3 de diciembre", "18:05"),
        ("en", "December 3, 2026", "Dec 3, 2026", "Thursday, December 3", "6:05\u{a0}PM"),
        ("en_GB", "3 December 2026", "3 Dec 2026", "Thursday 3 December", "18:05"),
        ("pt_BR", "3 de dezembro de 2026", "3 dez 2026", "quinta-feira, 3 de dezembro", "18:05"),
        ("de", "2026-12-03", "2026-12-03", "2026-12-03", "18:05"),
    ];
    for (place, long, short, weekday, time) in cases {
        let locale = locale(place);
        assert_eq!(locale.write_date(day, DateStyle::Long), long);
        assert_eq!(locale.write_date(day, DateStyle::Short), short);
        assert_eq!(locale.write_date(day, DateStyle::Day), weekday);
        assert_eq!(locale.write_time(jiff::civil::time(18, 5, 0, 0)), time);
    }
    assert_eq!(locale("en").write_time(jiff::civil::time(0, 30, 0, 0)), "12:30\u{a0}AM");
    assert_eq!(locale("es").write_time(jiff::civil::time(9, 0, 0, 0)), "9:00");
    assert_eq!(locale("pt").write_date(jiff::civil::date(2026, 3, 1), DateStyle::Short), "1 mar 2026");
}

#[test]
fn reads_moments_on_the_persons_clock() {
    let zone = |name: &str| TimeZone::get(name).unwrap();
    let madrid = zone("Europe/Madrid");
    let read =
        |text: &str, person: Option<&TimeZone>| read_moment(text, person, &madrid).map(|moment| moment.to_string());
    assert_eq!(read("2026-12-03", None).unwrap(), "2026-12-03T00:00:00");
    assert_eq!(read("2026-12-03T18:30:00", None).unwrap(), "2026-12-03T18:30:00");
    assert_eq!(read("2026-12-03T18:30:00-05:00", None).unwrap(), "2026-12-03T18:30:00");
    assert_eq!(read("2026-12-03T18:30:00Z", None).unwrap(), "2026-12-03T19:30:00");
    assert_eq!(read("2026-12-03T18:30:00-05:00", Some(&zone("Europe/London"))).unwrap(), "2026-12-03T23:30:00");
    assert_eq!(read("next week", None), None);
}
