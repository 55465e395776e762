//! In what a file and what a provider has differ.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Definition, Heading, definition::Pressable};

/// One difference. What is none is not there on that side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub place: Place,
    pub file: Option<String>,
    pub provider: Option<String>,
}

/// Where they differ; of buttons the first is 1. In words: `header`, `body`, `footer`, `button 1`, `parameters`, `category`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Header,
    Body,
    Footer,
    Button(usize),
    Parameters,
    Category,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Button(n) => write!(f, "button {n}"),
            Place::Header | Place::Body | Place::Footer | Place::Parameters | Place::Category => {
                f.write_str(self.name())
            }
        }
    }
}

impl Place {
    /// Its name; a button's is without its number.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Place::Header => "header",
            Place::Body => "body",
            Place::Footer => "footer",
            Place::Button(_) => "button",
            Place::Parameters => "parameters",
            Place::Category => "category",
        }
    }

    /// The place that is written so.
    #[must_use]
    pub fn read(text: &str) -> Option<Place> {
        if let Some(n) = text.strip_prefix("button ") {
            return n.parse().ok().map(Place::Button);
        }
        [Place::Header, Place::Body, Place::Footer, Place::Parameters, Place::Category]
            .into_iter()
            .find(|place| place.name() == text)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Difference {
    /// Whether both have the same parameters in another order: numbers have no meaning of their own, so a message would be taken and would
    /// say the wrong things.
    #[must_use]
    pub fn is_another_order(&self) -> bool {
        let sorted = |list: &Option<String>| {
            let mut names: Vec<String> = list.iter().flat_map(|list| list.split(", ")).map(str::to_owned).collect();
            names.sort();
            names
        };
        self.place == Place::Parameters && sorted(&self.file) == sorted(&self.provider)
    }
}

/// Where two definitions differ, from top to bottom; then in which parameters, if in those.
#[must_use]
pub fn differences(file: &Definition, provider: &Definition) -> Vec<Difference> {
    let heading = |definition: &Definition| {
        definition.header.as_ref().map(|header| match header {
            Heading::Text(text) => text.clone(),
            Heading::Media(kind) => format!("[{kind}]"),
        })
    };
    let button = |definition: &Definition, n: usize| definition.buttons.get(n).map(described);
    let mut found = Vec::new();
    let mut compare = |place: Place, file: Option<String>, provider: Option<String>| {
        if file != provider {
            found.push(Difference { place, file, provider });
        }
    };
    compare(Place::Header, heading(file), heading(provider));
    compare(Place::Body, Some(file.body.clone()), Some(provider.body.clone()));
    compare(Place::Footer, file.footer.clone(), provider.footer.clone());
    for n in 0..file.buttons.len().max(provider.buttons.len()) {
        compare(Place::Button(n + 1), button(file, n), button(provider, n));
    }
    let listed = |definition: &Definition| Some(definition.parameters().join(", ")).filter(|list| !list.is_empty());
    compare(Place::Parameters, listed(file), listed(provider));
    found
}

/// The same with the category, which is no part of a definition.
#[must_use]
pub fn all_differences(
    (file, category): (&Definition, &str),
    (provider, theirs): (&Definition, Option<&str>),
) -> Vec<Difference> {
    let mut found = differences(file, provider);
    if let Some(theirs) = theirs.filter(|theirs| *theirs != category) {
        let (file, provider) = (Some(category.to_owned()), Some(theirs.to_owned()));
        found.push(Difference { place: Place::Category, file, provider });
    }
    found
}

/// A line of two texts laid over each other: only the provider's (`-`), only the file's (`+`), or in both (a space).
#[must_use]
pub fn lines<'a>(provider: &'a str, file: &'a str) -> Vec<(char, &'a str)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (provider.lines().collect(), file.lines().collect());
    // How many lines are common to what follows `old[i..]` and `new[j..]`.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    let at = |common: &[Vec<usize>], i: usize, j: usize| common.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let most =
                if a == b { at(&common, i + 1, j + 1) + 1 } else { at(&common, i + 1, j).max(at(&common, i, j + 1)) };
            if let Some(place) = common.get_mut(i).and_then(|row| row.get_mut(j)) {
                *place = most;
            }
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                all.push((' ', *a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                all.push(('-', *a));
                i += 1;
            }
            (_, Some(b)) => {
                all.push(('+', *b));
                j += 1;
            }
            (_, None) => return all,
        }
    }
}

/// Where the differences are, for a sentence.
#[must_use]
pub fn places(differences: &[Difference]) -> String {
    differences.iter().map(|difference| difference.place.to_string()).collect::<Vec<_>>().join(", ")
}

fn described(button: &Pressable) -> String {
    format!("{}: {button}", button.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(body: &str) -> Definition {
        Definition { body: body.to_owned(), ..Definition::default() }
    }

    #[test]
    fn the_same_does_not_differ() {
        assert_eq!(differences(&definition("Hi {{name}}."), &definition("Hi {{name}}.")), []);
    }

    #[test]
    fn each_difference_is_told_with_its_place() {
        let mut file = definition("Your order {{order}} is on its way, {{name}}.");
        file.header = Some(Heading::Text("Order".to_owned()));
        let track = |target: &str| Pressable {
            kind: "url".to_owned(),
            text: "Track".to_owned(),
            target: Some(target.to_owned()),
        };
        file.buttons = vec![track("https://shop.example/{{1}}")];
        let mut provider = definition("Your order {{order}} is on its way today.");
        provider.header = Some(Heading::Media("image".to_owned()));
        provider.footer = Some("Thanks.".to_owned());
        provider.buttons = vec![track("https://shop.example/orders")];
        let found = all_differences((&file, "UTILITY"), (&provider, Some("MARKETING")));
        assert_eq!(places(&found), "header, body, footer, button 1, parameters, category");
        let of = |place: &str| found.iter().find(|d| d.place.to_string() == place).unwrap();
        assert_eq!(of("parameters").file.as_deref(), Some("order, name, button 1"));
        assert_eq!(of("parameters").provider.as_deref(), Some("header image, order"));
        assert_eq!(of("footer").file, None);
        assert_eq!(of("button 1").provider.as_deref(), Some("url: Track → https://shop.example/orders"));
    }

    #[test]
    fn numbers_that_are_swapped_are_told_from_others() {
        let of = |there: &str| {
            let found = differences(&definition("Hi {{1}}, your order {{2}} is on its way."), &definition(there));
            (places(&found), found.iter().any(Difference::is_another_order))
        };
        let body_and_parameters = || "body, parameters".to_owned();
        assert_eq!(of("Hi {{2}}, your order {{1}} is on its way."), (body_and_parameters(), true));
        assert_eq!(of("Hi {{1}}, your order is on its way."), (body_and_parameters(), false));
        assert_eq!(of("Hi {{1}}, your parcel {{2}} is on its way."), ("body".to_owned(), false));
    }

    #[test]
    fn lines_that_both_have_stay_together() {
        let told =
            |old, new| lines(old, new).into_iter().map(|(sign, line)| format!("{sign}{line}")).collect::<Vec<_>>();
        assert_eq!(told("a\nb\nc", "a\nx\nc\nd"), [" a", "-b", "+x", " c", "+d"]);
        assert_eq!(told("", "a"), ["+a"]);
        assert_eq!(told("a", ""), ["-a"]);
    }

    #[test]
    fn an_unknown_category_is_no_difference() {
        assert_eq!(all_differences((&definition("Hi."), "UTILITY"), (&definition("Hi."), None)), []);
    }
}
