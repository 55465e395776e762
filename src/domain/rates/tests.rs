use super::*;

const HEAD: &str = "valid_from,market,calling_codes,currency,category,fee,sender\n";
const MAIN: Of<'static> = Of { sender: "main", kind: "meta" };

fn load(rows: &str) -> Result<Book, Vec<String>> {
    let files = [("config/rates/list.csv".to_owned(), format!("{HEAD}{rows}"))];
    Book::load(&files).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn shipped() -> Book {
    let read = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rates").join(name);
        (name.to_owned(), std::fs::read_to_string(path).unwrap())
    };
    Book::load(&[read("example-meta-usd-2026-10.csv"), read("example-twilio-usd.csv")]).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

/// The market and the fee in millionths.
fn rate<'a>(book: &'a Book, of: Of<'_>, category: Category, digits: &str, on: &str) -> Option<(&'a str, i64)> {
    book.rate(of, category, digits, day(on)).map(|rate| (rate.market, rate.fee.micros))
}

#[test]
fn the_list_that_is_shipped_knows_markets_by_the_longest_calling_code() {
    let book = shipped();
    assert_eq!(book.examples(), ["example-meta-usd-2026-10.csv", "example-twilio-usd.csv"]);
    let of = |digits| rate(&book, MAIN, Category::Utility, digits, "2026-11-22");
    assert_eq!(of("34600111222"), Some(("Spain", 20_000)));
    assert_eq!(of("5511912345678"), Some(("Brazil", 6_800)));
    assert_eq!(of("573001234567"), Some(("Colombia", 800)));
    // The United States and Canada are one market; the islands behind the same 1 are others.
    assert_eq!(of("12125550123"), Some(("North America", 3_400)));
    assert_eq!(of("16135550123"), Some(("North America", 3_400)));
    assert_eq!(of("18095550123"), Some(("Rest of Latin America", 11_300)));
    assert_eq!(of("12425550123"), Some(("Other", 7_700)));
    // Kazakhstan and Russia share the 7.
    assert_eq!(of("77012345678"), Some(("Kazakhstan", 18_000)));
    assert_eq!(of("79161234567"), Some(("Russia", 40_000)));
    assert_eq!(of("35699123456"), Some(("Other", 7_700)), "whom no market names");
    assert_eq!(rate(&book, MAIN, Category::Sms, "34600111222", "2026-11-22"), None);
    assert_eq!(rate(&book, MAIN, Category::Utility, "34600111222", "2026-09-30"), None, "before the list begins");
    for category in [Category::Marketing, Category::Utility, Category::Authentication, Category::Service] {
        assert!(rate(&book, MAIN, category, "85291234567", "2026-11-22").is_some(), "{category:?}");
    }
    let twilio = Of { sender: "second", kind: "twilio" };
    assert_eq!(rate(&book, twilio, Category::Utility, "34600111222", "2026-11-22"), Some(("Spain", 25_000)));
}

#[test]
fn a_new_list_counts_from_its_day_and_a_market_may_become_one_of_its_own() {
    let book = load(
        "2026-07-01,Rest of Middle East,964 965,USD,utility,0.0091\n\
         2026-10-01,Iraq,964,USD,utility,0.0079\n\
         2027-01-01,Iraq,,USD,utility,0.008\n",
    )
    .unwrap();
    let on = |day| rate(&book, MAIN, Category::Utility, "9647901234567", day);
    assert_eq!(on("2026-06-30"), None);
    assert_eq!(on("2026-09-30"), Some(("Rest of Middle East", 9_100)));
    assert_eq!(on("2026-10-01"), Some(("Iraq", 7_900)));
    assert_eq!(on("2027-03-01"), Some(("Iraq", 8_000)));
}

#[test]
fn the_nearest_list_wins_and_what_is_added_is_added() {
    let book = load(
        "2026-10-01,Spain,34,USD,utility,0.02,\n\
         2026-10-01,Spain,34,USD,utility,0.018,twilio\n\
         2026-10-01,Spain,34,USD,utility,0.015,brand\n\
         2026-10-01,All,*,USD,every_message,0.005,twilio\n",
    )
    .unwrap();
    let of = |sender, kind| {
        rate(&book, Of { sender, kind }, Category::Utility, "34600111222", "2026-11-22").map(|(_, micros)| micros)
    };
    assert_eq!(of("main", "meta"), Some(20_000));
    assert_eq!(of("second", "twilio"), Some(23_000));
    assert_eq!(of("brand", "twilio"), Some(20_000));
    assert_eq!(of("brand", "meta"), Some(15_000));
    assert!(book.of_nobody(&["main", "brand", "meta", "twilio"]).is_empty());
    let nobody = book.of_nobody(&["main", "meta", "twilio"]);
    assert_eq!(
        nobody[0].to_string(),
        "config/rates/list.csv:4: sender: \"brand\" is neither a sender nor a kind of sender; there are main, meta, twilio."
    );
}

#[test]
fn every_mistake_is_named_with_its_line_and_its_cure() {
    let problems = load(
        "# a remark does not count, but its line does\n\
         October,Spain,34,USD,utility,0.02\n\
         2026-10-01,France,,USD,utility,0.03\n\
         2026-10-01,Italy,3-9,usd,utilities,-1\n\
         2026-10-01,Peru,51,USD,utility,0.0000001\n\
         2026-10-01,Spain,34,USD,utility,0.02\n\
         2026-10-01,Iberia,34 351,USD,utility,0.02\n\
         2026-10-01,\"A, B\",1,USD,utility,1,main,more\n",
    )
    .unwrap_err();
    let names = "marketing, utility, authentication, authentication_international, service, sms, and every_message";
    let expected = [
        "3: valid_from: is no day; write it like 2026-10-01.".to_owned(),
        "4: calling_codes: is empty; the first row of a market in a file names its calling codes, like \"1809 1829\", or * for all others.".to_owned(),
        "5: calling_codes: \"3-9\" is no calling code; write 1 to 8 digits, or * for all others.".to_owned(),
        format!("5: category: \"utilities\" is no category; there are {names}."),
        "5: currency: is no currency; write its three letters, like USD.".to_owned(),
        "5: fee: \"-1\" is no fee; write a number like 0.0068, with at most six decimal places.".to_owned(),
        "6: fee: \"0.0000001\" is no fee; write a number like 0.0068, with at most six decimal places.".to_owned(),
        "8: calling_codes: 34 has a fee for this category from this day on already (config/rates/list.csv:7); take one of them out.".to_owned(),
        "9: has 8 fields where the header has 7; put a text with a comma into quotes.".to_owned(),
    ];
    assert_eq!(problems, expected.map(|problem| format!("config/rates/list.csv:{problem}")));
}

#[test]
fn a_header_that_is_none_is_named() {
    let load = |text: &str| {
        let problems = Book::load(&[("a.csv".to_owned(), text.to_owned())]).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        load("valid_from,market,calling_codes,currency,category,price\n"),
        [
            "a.csv:1: fee: this column is missing in the header.",
            "a.csv:1: price: is no column of a price list; there are valid_from, market, calling_codes, currency, category, fee, sender.",
        ]
    );
    assert_eq!(load("").len(), 6);
}
