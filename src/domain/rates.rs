//! What a message costs by the price lists in `config/rates`: which market a number belongs to, and its fee on a day. Pure.
//!
//! What is predicted and what was billed is `cost`'s.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use jiff::civil::Date;

use super::{
    money::{Currency, Money, micros},
    problem::{Problem, Report},
};

#[cfg(test)]
mod tests;

/// What a message is to the one who charges for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    Marketing,
    Utility,
    Authentication,
    AuthenticationInternational,
    /// Free text inside a service window.
    Service,
    Sms,
}

impl Category {
    pub const ALL: [Category; 6] = [
        Category::Marketing,
        Category::Utility,
        Category::Authentication,
        Category::AuthenticationInternational,
        Category::Service,
        Category::Sms,
    ];

    /// Its name in price lists and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::Marketing => "marketing",
            Category::Utility => "utility",
            Category::Authentication => "authentication",
            Category::AuthenticationInternational => "authentication_international",
            Category::Service => "service",
            Category::Sms => "sms",
        }
    }

    /// The category of that name, however it is spelled: `UTILITY`, `authentication-international`.
    #[must_use]
    pub fn named(name: &str) -> Option<Category> {
        let same = |known: &Category| known.as_str().eq_ignore_ascii_case(&name.replace('-', "_"));
        Category::ALL.into_iter().find(same)
    }
}

/// What a row of a list has a fee for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    Category(Category),
    /// On top of whatever the category costs.
    EveryMessage,
}

const EVERY_MESSAGE: &str = "every_message";

impl Item {
    fn named(name: &str) -> Option<Item> {
        if name == EVERY_MESSAGE { Some(Item::EveryMessage) } else { Category::named(name).map(Item::Category) }
    }
}

/// Whose messages are priced.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    pub sender: &'a str,
    /// The kind of its provider, as the settings name it.
    pub kind: &'a str,
}

/// A fee and the market that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate<'a> {
    pub market: &'a str,
    pub fee: Money,
}

/// All price lists together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// By the sender or kind that they are of; those of everybody under the empty name.
    lists: BTreeMap<String, List>,
    examples: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct List {
    /// By calling code, digits alone; the empty one is every number's. Each in the order of time.
    fees: HashMap<Item, HashMap<String, Vec<Fee>>>,
    currencies: BTreeSet<Currency>,
    /// Where it was named first.
    file: String,
    line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fee {
    from: Date,
    market: String,
    fee: Money,
}

impl List {
    /// By the longest calling code that has a fee on that day.
    fn rate(&self, item: Item, digits: &str, day: Date) -> Option<Rate<'_>> {
        let codes = self.fees.get(&item)?;
        let longest = digits.len().min(CODE_MAX);
        let fees = (0..=longest).rev().filter_map(|length| codes.get(digits.get(..length)?));
        let valid = |fees: &'_ Vec<Fee>| fees.iter().rposition(|fee| fee.from <= day);
        fees.into_iter().find_map(|fees| fees.get(valid(fees)?)).map(|fee| Rate { market: &fee.market, fee: fee.fee })
    }
}

impl Book {
    /// Reads lists, pairs of path and text.
    ///
    /// # Errors
    /// All problems of all files, by file and line.
    pub fn load(files: &[(String, String)]) -> Result<Book, Vec<Problem>> {
        let mut book = Book::default();
        let mut known = HashMap::new();
        let mut problems = Vec::new();
        for (path, text) in files {
            let mut report = Report::of(path, text);
            read(path, text, &mut book, &mut known, &mut report);
            problems.extend(report.into_problems());
            let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
            if name.starts_with("example") {
                book.examples.push(name.to_owned());
            }
        }
        if !problems.is_empty() {
            problems.sort();
            return Err(problems);
        }
        for codes in book.lists.values_mut().flat_map(|list| list.fees.values_mut()) {
            codes.values_mut().for_each(|fees| fees.sort_by_key(|fee| fee.from));
        }
        Ok(book)
    }

    /// What one message of this category to this number (digits alone) costs on that day: the fee of the sender's own list, else of
    /// its kind's, else of everybody's, and what is added to every message. None if no list says.
    #[must_use]
    pub fn rate(&self, of: Of<'_>, category: Category, digits: &str, day: Date) -> Option<Rate<'_>> {
        let base = self.nearest(of, Item::Category(category), digits, day)?;
        let Some(added) = self.added(of, digits, day) else { return Some(base) };
        if added.currency != base.fee.currency {
            return None;
        }
        let micros = base.fee.micros.checked_add(added.micros)?;
        Some(Rate { fee: Money { micros, ..base.fee }, ..base })
    }

    /// What is added to every message, be the rest of it free.
    #[must_use]
    pub fn added(&self, of: Of<'_>, digits: &str, day: Date) -> Option<Money> {
        self.nearest(of, Item::EveryMessage, digits, day).map(|rate| rate.fee)
    }

    fn nearest(&self, of: Of<'_>, item: Item, digits: &str, day: Date) -> Option<Rate<'_>> {
        self.lists_of(of).find_map(|list| list.rate(item, digits, day))
    }

    fn lists_of(&self, of: Of<'_>) -> impl Iterator<Item = &List> {
        [of.sender, of.kind, ""].into_iter().filter_map(|name| self.lists.get(name))
    }

    /// The currencies of all the lists that a sender's prices come from.
    #[must_use]
    pub fn currencies(&self, of: Of<'_>) -> BTreeSet<Currency> {
        self.lists_of(of).flat_map(|list| list.currencies.iter().copied()).collect()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Files that say by their name that they are examples.
    #[must_use]
    pub fn examples(&self) -> &[String] {
        &self.examples
    }

    /// Lists that are of nobody among these, each where it is named first.
    #[must_use]
    pub fn of_nobody(&self, known: &[&str]) -> Vec<Problem> {
        let strange = self.lists.iter().filter(|(name, _)| !name.is_empty() && !known.contains(&name.as_str()));
        let problem = |(name, list): (&String, &List)| Problem {
            file: list.file.clone(),
            line: list.line,
            key: "sender".to_owned(),
            message: format!("{name:?} is neither a sender nor a kind of sender; there are {}.", known.join(", ")),
        };
        strange.map(problem).collect()
    }
}

const COLUMNS: [&str; 7] = ["valid_from", "market", "calling_codes", "currency", "category", "fee", "sender"];
/// The longest calling code, area codes included.
const CODE_MAX: usize = 8;
/// A message that costs more than this is a slip of somebody's pen.
const FEE_MAX: i64 = 100_000_000_000;

/// Where a fee was given, so that it is not given twice.
type Known = HashMap<(String, Item, String, Date), (String, usize)>;

fn read(path: &str, text: &str, book: &mut Book, known: &mut Known, report: &mut Report<'_>) {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return report.add_at_line(1, "", format!("cannot be read as CSV: {error}.")),
    };
    let header_line = header.position().map_or(1, |position| line_of(text, position));
    let mut places = [None; COLUMNS.len()];
    for (place, name) in header.iter().enumerate() {
        match COLUMNS.iter().position(|column| *column == name).and_then(|at| places.get_mut(at)) {
            Some(slot @ None) => *slot = Some(place),
            Some(_) => report.add_at_line(header_line, name, "stands twice in the header."),
            None => report.add_at_line(
                header_line,
                name,
                format!("is no column of a price list; there are {}.", COLUMNS.join(", ")),
            ),
        }
    }
    for (column, place) in COLUMNS.iter().zip(places) {
        if place.is_none() && *column != "sender" {
            report.add_at_line(header_line, *column, "this column is missing in the header.");
        }
    }
    if !report.is_empty() {
        return;
    }
    let mut codes: HashMap<String, Vec<String>> = HashMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(1, |position| line_of(text, position));
                report.add_at_line(line, "", "cannot be read: is a quote left open, or is it not UTF-8?");
                return;
            }
        };
        let line = record.position().map_or(1, |position| line_of(text, position));
        if record.len() > header.len() {
            report.add_at_line(
                line,
                "",
                format!(
                    "has {} fields where the header has {}; put a text with a comma into quotes.",
                    record.len(),
                    header.len()
                ),
            );
            continue;
        }
        let fields = places.map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
        let Some(row) =
            row(fields, &mut codes, &mut |key: &str, message: String| report.add_at_line(line, key, message))
        else {
            continue;
        };
        keep(path, line, row, book, known, report);
    }
}

/// The line of a record, whose position is that of the remarks and empty lines before it.
fn line_of(text: &str, position: &csv::Position) -> usize {
    let rest = usize::try_from(position.byte()).ok().and_then(|at| text.get(at..)).unwrap_or_default();
    let passed = rest.lines().take_while(|line| line.trim().is_empty() || line.starts_with('#')).count();
    usize::try_from(position.line()).unwrap_or(usize::MAX).saturating_add(passed)
}

struct Row {
    sender: String,
    item: Item,
    codes: Vec<String>,
    fee: Fee,
}

/// One row, or None after saying what is wrong with it. `known` has the calling codes of the file's markets so far.
fn row(
    [from, market, codes, currency, category, fee, sender]: [&str; 7],
    known: &mut HashMap<String, Vec<String>>,
    blame: &mut dyn FnMut(&str, String),
) -> Option<Row> {
    let from: Option<Date> = from.parse().ok();
    if from.is_none() {
        blame("valid_from", "is no day; write it like 2026-10-01.".to_owned());
    }
    if market.is_empty() {
        blame("market", "is empty; name the market as the provider does.".to_owned());
    }
    let codes = calling_codes(codes, market, known, blame);
    let named = Currency::named(currency);
    if named.is_none() {
        blame("currency", "is no currency; write its three letters, like USD.".to_owned());
    }
    let item = Item::named(category);
    if item.is_none() {
        let names = Category::ALL.map(Category::as_str).join(", ");
        blame("category", format!("{category:?} is no category; there are {names}, and {EVERY_MESSAGE}."));
    }
    let micros = micros(fee).filter(|fee| (0..=FEE_MAX).contains(fee));
    if micros.is_none() {
        blame("fee", format!("{fee:?} is no fee; write a number like 0.0068, with at most six decimal places."));
    }
    let fee = Fee { from: from?, market: market.to_owned(), fee: Money { micros: micros?, currency: named? } };
    Some(Row { sender: sender.to_owned(), item: item?, codes: codes?, fee })
}

fn calling_codes(
    text: &str,
    market: &str,
    known: &mut HashMap<String, Vec<String>>,
    blame: &mut dyn FnMut(&str, String),
) -> Option<Vec<String>> {
    if text.is_empty() {
        let codes = known.get(market).cloned();
        if codes.is_none() {
            let what = "is empty; the first row of a market in a file names its calling codes, like \"1809 1829\", or * for all others.";
            blame("calling_codes", what.to_owned());
        }
        return codes;
    }
    let mut codes = Vec::new();
    for code in text.split_whitespace() {
        let digits = code.trim_start_matches('+');
        if code == "*" {
            codes.push(String::new());
        } else if (1..=CODE_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            codes.push(digits.to_owned());
        } else {
            let what = format!("{code:?} is no calling code; write 1 to {CODE_MAX} digits, or * for all others.");
            blame("calling_codes", what);
            return None;
        }
    }
    known.insert(market.to_owned(), codes.clone());
    Some(codes)
}

fn keep(path: &str, line: usize, row: Row, book: &mut Book, known: &mut Known, report: &mut Report<'_>) {
    let Row { sender, item, codes, fee } = row;
    let first = || List { file: path.to_owned(), line, ..List::default() };
    let list = book.lists.entry(sender.clone()).or_insert_with(first);
    list.currencies.insert(fee.fee.currency);
    let fees = list.fees.entry(item).or_default();
    for code in codes {
        match known.entry((sender.clone(), item, code.clone(), fee.from)) {
            Entry::Occupied(other) => {
                let (file, at) = other.get();
                let code = if code.is_empty() { "*" } else { &code };
                let message = format!(
                    "{code} has a fee for this category from this day on already ({file}:{at}); take one of them out."
                );
                report.add_at_line(line, "calling_codes", message);
            }
            Entry::Vacant(place) => {
                place.insert((path.to_owned(), line));
                fees.entry(code).or_default().push(fee.clone());
            }
        }
    }
}
