//! What is looked for among notifications or rejected events, and what a hold is on: read from keys and values, however they came,
//! by the API's JSON and addresses, the command line and the console. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{notification::Wait, phone::Phone};

/// The states that can be looked for, by their names.
pub const STATES: [&str; 6] = ["pending", "sending", "in_doubt", "accepted", "failed", "suppressed"];

/// What may be known of an accepted one, by its best receipt.
pub const RECEIPTS: [&str; 4] = ["none", "sent", "delivered", "read"];

/// The keys of a search.
pub const KEYS: [&str; 11] =
    ["id", "state", "reason", "waiting_on", "receipt", "order", "phone", "template", "sender", "since", "until"];

/// The keys of what a hold is on, and for how long.
pub const TARGET_KEYS: [&str; 5] = ["scope", "sender", "template", "language", "for"];

/// The longest value.
const VALUE_MAX: usize = 300;
/// The most ids that are named one by one, and their longest text.
const IDS_MAX: usize = 500;
const IDS_TEXT_MAX: usize = 40 * IDS_MAX;

/// What is looked for. What is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Just these, if there are any.
    pub ids: Vec<Uuid>,
    /// A state's name.
    pub state: Option<&'static str>,
    pub reason: Option<String>,
    /// What a pending one waits for.
    pub waiting_on: Option<Wait>,
    /// Of an accepted one, one of [`RECEIPTS`].
    pub receipt: Option<&'static str>,
    /// An event's id or subject, or the key of its journey.
    pub order: Option<String>,
    pub phone: Option<Phone>,
    pub template: Option<String>,
    /// A sender's name.
    pub sender: Option<String>,
    /// Planned (or received) at that time or later.
    pub since: Option<Timestamp>,
    /// Before that time.
    pub until: Option<Timestamp>,
}

/// A key that cannot be read, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {cure}")]
pub struct Wrong {
    pub key: &'static str,
    pub cure: String,
    /// Its value makes sense by itself, and does not go with what is looked for.
    pub misplaced: bool,
}

fn wrong<T>(key: &'static str, cure: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { key, cure: cure.into(), misplaced: false })
}

impl Search {
    /// Reads keys and values. An empty value is as none: forms send those.
    ///
    /// # Errors
    /// The first key that is not known, comes twice or makes no sense. What was given is not repeated.
    pub fn read<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Search, Wrong> {
        let given = Given::read("search", &KEYS, pairs)?;
        let state = given.get("state").map(|name| {
            let known = STATES.into_iter().find(|known| *known == name);
            known.map_or_else(|| wrong("state", format!("is one of {}", STATES.join(", "))), Ok)
        });
        let waiting_on = given.get("waiting_on").map(|name| {
            let names = Wait::ALL.map(Wait::as_str).join(", ");
            Wait::named(name).map_or_else(|| wrong("waiting_on", format!("is one of {names}")), Ok)
        });
        let receipt = given.get("receipt").map(|name| {
            let known = RECEIPTS.into_iter().find(|known| *known == name);
            known.map_or_else(|| wrong("receipt", format!("is one of {}", RECEIPTS.join(", "))), Ok)
        });
        let search = Search {
            ids: given.ids()?,
            state: state.transpose()?,
            waiting_on: waiting_on.transpose()?,
            receipt: receipt.transpose()?,
            reason: given.name("reason")?,
            order: given.name("order")?,
            phone: given.phone("phone")?,
            template: given.name("template")?,
            sender: given.name("sender")?,
            since: given.time("since")?,
            until: given.time("until")?,
        };
        if search.since.zip(search.until).is_some_and(|(since, until)| since >= until) {
            return wrong("until", "is later than since");
        }
        Ok(search)
    }

    /// Whether it finds everything there is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Search::default()
    }

    /// Says which key does not go with rejected events, if one does not: they have an id, a reason and a time.
    ///
    /// # Errors
    /// That key.
    pub fn for_rejected(&self) -> Result<(), Wrong> {
        let strange = [
            ("state", self.state.is_some()),
            ("waiting_on", self.waiting_on.is_some()),
            ("receipt", self.receipt.is_some()),
            ("order", self.order.is_some()),
            ("phone", self.phone.is_some()),
            ("template", self.template.is_some()),
            ("sender", self.sender.is_some()),
        ];
        match strange.into_iter().find(|(_, given)| *given) {
            Some((key, _)) => {
                let cure = "says nothing about rejected events: they have id, reason, since and until".to_owned();
                Err(Wrong { key, cure, misplaced: true })
            }
            None => Ok(()),
        }
    }

    /// As people read it: keys and values, the phone masked.
    #[must_use]
    pub fn spelled(&self) -> BTreeMap<&'static str, String> {
        let pairs = [
            ("id", (!self.ids.is_empty()).then(|| self.ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(","))),
            ("state", self.state.map(str::to_owned)),
            ("reason", self.reason.clone()),
            ("waiting_on", self.waiting_on.map(|on| on.as_str().to_owned())),
            ("receipt", self.receipt.map(str::to_owned)),
            ("order", self.order.clone()),
            ("phone", self.phone.as_ref().map(Phone::to_string)),
            ("template", self.template.clone()),
            ("sender", self.sender.clone()),
            ("since", self.since.map(|at| at.to_string())),
            ("until", self.until.map(|at| at.to_string())),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// What a hold is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    Everything,
    /// A sender's name.
    Sender(String),
    /// In all languages if `language` is none.
    Template {
        sender: String,
        template: String,
        language: Option<String>,
    },
}

/// What is to be held or released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub on: On,
    /// How long; until somebody releases it if none. Says nothing about a release.
    pub lasts: Option<Duration>,
}

impl Target {
    /// Reads keys and values, as [`Search::read`] does.
    ///
    /// # Errors
    /// The first key that is not known, missing, comes twice or makes no sense.
    pub fn read<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Target, Wrong> {
        let given = Given::read("scope", &TARGET_KEYS, pairs)?;
        let needed = |key| given.name(key)?.map_or_else(|| wrong(key, "is missing: the scope needs it"), Ok);
        let none = |keys: &[&'static str]| match keys.iter().find(|key| given.get(key).is_some()) {
            Some(key) => wrong(key, "does not go with this scope"),
            None => Ok(()),
        };
        let on = match given.get("scope") {
            Some("everything") => {
                none(&["sender", "template", "language"])?;
                On::Everything
            }
            Some("sender") => {
                none(&["template", "language"])?;
                On::Sender(needed("sender")?)
            }
            Some("template") => On::Template {
                sender: needed("sender")?,
                template: needed("template")?,
                language: given.name("language")?,
            },
            Some(_) | None => return wrong("scope", "is everything, sender or template"),
        };
        let lasts = given.get("for").map(|text| {
            let length: Option<SignedDuration> = text.parse().ok();
            let length = length.and_then(|length| Duration::try_from(length).ok()).filter(|length| !length.is_zero());
            length.map_or_else(|| wrong("for", "is a time like 30m or 2h"), Ok)
        });
        Ok(Target { on, lasts: lasts.transpose()? })
    }

    /// As people read it, and as [`Target::read`] does.
    #[must_use]
    pub fn spelled(&self) -> BTreeMap<&'static str, String> {
        let (scope, sender, template, language) = match &self.on {
            On::Everything => ("everything", None, None, None),
            On::Sender(sender) => ("sender", Some(sender), None, None),
            On::Template { sender, template, language } => {
                ("template", Some(sender), Some(template), language.as_ref())
            }
        };
        let lasts = self.lasts.and_then(|lasts| SignedDuration::try_from(lasts).ok()).map(|lasts| format!("{lasts:#}"));
        let pairs = [
            ("scope", Some(scope.to_owned())),
            ("sender", sender.cloned()),
            ("template", template.cloned()),
            ("language", language.cloned()),
            ("for", lasts),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Everything => f.write_str("everything"),
            On::Sender(sender) => write!(f, "sender {sender}"),
            On::Template { sender, template, language: None } => write!(f, "template {template} of {sender}"),
            On::Template { sender, template, language: Some(language) } => {
                write!(f, "template {template} in {language} of {sender}")
            }
        }
    }
}

/// Providers write numbers without their plus. Orders are numbered so as well: that one is none is known when nothing is found.
fn reads_as_a_number(key: &str, text: &str) -> bool {
    let bare = key != "order" && !text.starts_with('+') && !text.chars().any(char::is_alphabetic);
    Phone::parse(text).is_ok() || bare && Phone::parse(&format!("+{text}")).is_ok()
}

/// Keys and values, each key once and known.
struct Given<'a>(BTreeMap<&'static str, &'a str>);

impl<'a> Given<'a> {
    fn read(
        what: &'static str,
        keys: &[&'static str],
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Given<'a>, Wrong> {
        let mut given = BTreeMap::new();
        for (key, value) in pairs {
            let Some(key) = keys.iter().copied().find(|known| *known == key) else {
                return wrong(what, format!("has the keys {}", keys.join(", ")));
            };
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let longest = if key == "id" { IDS_TEXT_MAX } else { VALUE_MAX };
            if value.chars().count() > longest || value.contains('\0') {
                return wrong(key, format!("is a text of at most {longest} characters"));
            }
            if given.insert(key, value).is_some() {
                return wrong(key, "is given once");
            }
        }
        Ok(Given(given))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).copied()
    }

    /// Something's name. It is kept and shown as it is, so it must be nobody's number.
    fn name(&self, key: &'static str) -> Result<Option<String>, Wrong> {
        match self.get(key) {
            Some(text) if reads_as_a_number(key, text) => wrong(key, "is no phone number: look for that as phone"),
            name => Ok(name.map(str::to_owned)),
        }
    }

    /// One id, or several with commas between them; each once, in their order.
    fn ids(&self) -> Result<Vec<Uuid>, Wrong> {
        let parts = self.get("id").unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty());
        let read =
            |text| Uuid::try_parse(text).or_else(|_| wrong("id", "is the id of a notification or of a rejected event"));
        let ids = parts.map(read).collect::<Result<BTreeSet<_>, _>>()?;
        if ids.len() > IDS_MAX {
            return wrong("id", format!("has at most {IDS_MAX} ids"));
        }
        Ok(ids.into_iter().collect())
    }

    fn time(&self, key: &'static str) -> Result<Option<Timestamp>, Wrong> {
        let read = |text: &str| text.parse().or_else(|_| wrong(key, "is a time like 2026-11-22T20:00:00Z"));
        self.get(key).map(read).transpose()
    }

    fn phone(&self, key: &'static str) -> Result<Option<Phone>, Wrong> {
        // A plus that was not escaped came as a space, and was trimmed.
        let read = |text: &str| {
            let text = if text.starts_with('+') { text.to_owned() } else { format!("+{text}") };
            Phone::parse(&text).or_else(|why| wrong(key, why.to_string()))
        };
        self.get(key).map(read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Search, String> {
        Search::read(pairs.iter().copied()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_search_is_read_from_keys_and_values() {
        let search = read(&[
            ("state", "failed"),
            ("reason", " undeliverable "),
            ("since", "2026-11-22T20:00:00Z"),
            ("order", ""),
        ]);
        let search = search.unwrap();
        assert_eq!(
            (search.state, search.reason.as_deref(), search.order.as_deref()),
            (Some("failed"), Some("undeliverable"), None)
        );
        assert!(read(&[("template", "")]).unwrap().is_everything());
        assert_eq!(read(&[("phone", " 34600111222")]).unwrap().phone.unwrap().reveal(), "+34600111222");
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_cure_and_not_repeated() {
        for (pairs, key) in [
            (&[("state", "lost-secret")][..], "state"),
            (&[("stat", "failed")], "search"),
            (&[("reason", "a"), ("reason", "b")], "reason"),
            (&[("since", "yesterday-secret")], "since"),
            (&[("since", "2026-11-22T20:00:00Z"), ("until", "2026-11-22T20:00:00Z")], "until"),
            (&[("phone", "+1secret")], "phone"),
            (&[("id", "secret")], "id"),
            (&[("waiting_on", "secret")], "waiting_on"),
            (&[("receipt", "secret")], "receipt"),
            (&[("order", "+34600111222")], "order"),
            (&[("order", " 0034 600 111 222")], "order"),
            (&[("template", "+34 600 111 222")], "template"),
            (&[("sender", "34600111222")], "sender"),
        ] {
            let wrong = read(pairs).unwrap_err();
            assert!(wrong.starts_with(key) && !wrong.contains("secret"), "{wrong}");
        }
        // An order or a template may be named so.
        let named = read(&[("order", "34600111222"), ("template", "20261122")]).unwrap();
        assert_eq!(named.spelled().into_values().collect::<Vec<_>>(), ["34600111222", "20261122"]);
        assert_eq!(read(&[("template", "x")]).unwrap().for_rejected().unwrap_err().key, "template");
    }

    #[test]
    fn a_phone_is_spelled_masked() {
        let search = read(&[("phone", "+34600111222")]).unwrap();
        assert_eq!(search.spelled()["phone"], "+34…22");
    }

    #[test]
    fn a_target_needs_what_its_scope_says_and_nothing_else() {
        let read = |pairs: &[(&str, &str)]| Target::read(pairs.iter().copied()).map_err(|wrong| wrong.key);
        assert_eq!(read(&[("scope", "everything"), ("for", "2h")]).unwrap().lasts, Some(Duration::from_secs(7_200)));
        assert_eq!(read(&[("scope", "sender")]), Err("sender"));
        assert_eq!(read(&[("scope", "everything"), ("sender", "main")]), Err("sender"));
        assert_eq!(read(&[("scope", "sender"), ("sender", "main"), ("for", "-1h")]), Err("for"));
        assert_eq!(read(&[]), Err("scope"));
    }

    proptest! {
        #[test]
        fn what_is_spelled_reads_as_the_same(
            state in proptest::option::of(proptest::sample::select(STATES.to_vec())),
            receipt in proptest::option::of(proptest::sample::select(RECEIPTS.to_vec())),
            reason in proptest::option::of("[a-z_]{1,20}"),
            order in proptest::option::of("[A-Za-z0-9:#-]{1,20}"),
            since in proptest::option::of(0i64..2_000_000_000),
            lasts in proptest::option::of(1u64..1_000_000),
        ) {
            let since = since.map(|at| Timestamp::from_second(at).unwrap());
            let search = Search { state, receipt, reason, order: order.clone(), since, ..Search::default() };
            let spelled = search.spelled();
            prop_assert_eq!(Search::read(spelled.iter().map(|(key, value)| (*key, value.as_str()))).unwrap(), search);
            let on = order.map_or(On::Everything, On::Sender);
            let target = Target { on, lasts: lasts.map(Duration::from_secs) };
            let spelled = target.spelled();
            prop_assert_eq!(Target::read(spelled.iter().map(|(key, value)| (*key, value.as_str()))).unwrap(), target);
        }

        #[test]
        fn no_text_is_too_strange_to_be_read(key in "\\PC{0,12}", value in "\\PC{0,400}") {
            let _ = Search::read([(key.as_str(), value.as_str())]);
            for known in KEYS {
                let _ = Search::read([(known, value.as_str())]);
            }
            let _ = Target::read([("scope", "template"), ("for", value.as_str())]);
        }
    }
}
