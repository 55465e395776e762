//! What an operator's plan would come to: whom it would be done to, who may get something twice, too late or against their will, and
//! what it costs. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    action::{Action, Skip, Standing, judge, needs_admin},
    money::Money,
};

/// How a person's consent to a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Agreed {
    Yes,
    /// They were asked, or may yet be.
    NotYet,
    No,
}

/// Notifications that stand alike.
#[derive(Debug, Clone)]
pub struct Group {
    pub standing: Standing,
    /// A later stage of its journey is true already.
    pub stale: bool,
    pub agreed: Agreed,
    /// What one of them is expected to cost.
    pub price: Option<Money>,
    pub count: u64,
}

/// What a rejected event would come to if it were run again.
#[derive(Debug, Clone)]
pub enum Foreseen {
    /// It was taken in meanwhile: nothing follows.
    Known,
    /// It asks for nothing.
    Ignored,
    /// These follow, at least one.
    Messages(Vec<Message>),
}

/// A message that a rejected event asks for.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its time would be over already.
    pub expired: bool,
    /// As [`Group::stale`].
    pub stale: bool,
    pub agreed: Agreed,
    pub price: Option<Money>,
}

/// What a plan would come to if it were run now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimate {
    pub found: u64,
    /// How many it would be done to.
    pub acts: u64,
    /// Why it would not be done to the others.
    pub skipped: BTreeMap<Skip, u64>,
    /// Of rejected events that it would be done to: taken in meanwhile, and asking for nothing. Nothing follows.
    pub known: u64,
    pub ignored: u64,
    /// Of those that may go: people who may get it twice.
    pub duplicates: u64,
    /// The time of the message that would follow is over: it ends at once.
    pub expired: u64,
    /// A later stage is true already: they end at once, as superseded.
    pub stale: u64,
    /// Nobody agreed to them now: they end at once.
    pub no_consent: u64,
    /// The person has not answered yet: they wait.
    pub not_confirmed: u64,
    /// How many messages may go.
    pub goes: u64,
    /// What those are expected to cost, in millionths, by currency.
    pub cost: BTreeMap<String, i64>,
    /// Of those, the ones that no price list knows.
    pub unpriced: u64,
    /// Of a hold or a release: the holds there are, and how many wait or would.
    pub holds: u64,
    pub waiting: u64,
}

impl Estimate {
    /// Counts groups together.
    #[must_use]
    pub fn of(action: Action, groups: &[Group]) -> Estimate {
        let mut estimate = Estimate::default();
        for group in groups {
            estimate.add(action, group);
        }
        estimate
    }

    fn add(&mut self, action: Action, group: &Group) {
        let n = group.count;
        self.found += n;
        if let Err(skip) = judge(action, &group.standing) {
            *self.skipped.entry(skip).or_default() += n;
            return;
        }
        self.acts += n;
        if !action.sends() {
            return;
        }
        let goes = self.send(n, group.stale, group.agreed, group.price);
        if goes && group.standing.may_have_arrived() {
            self.duplicates += n;
        }
    }

    /// Counts `n` messages that would be due again. Says whether they may go.
    fn send(&mut self, n: u64, stale: bool, agreed: Agreed, price: Option<Money>) -> bool {
        if stale {
            self.stale += n;
            return false;
        }
        match agreed {
            Agreed::No => {
                self.no_consent += n;
                return false;
            }
            Agreed::NotYet => self.not_confirmed += n,
            Agreed::Yes => {}
        }
        self.goes += n;
        match price {
            Some(price) => {
                let sum = self.cost.entry(price.currency.to_string()).or_default();
                *sum = sum.saturating_add(price.micros.saturating_mul(i64::try_from(n).unwrap_or(i64::MAX)));
            }
            None => self.unpriced += n,
        }
        true
    }

    /// Counts a rejected event.
    pub fn event(&mut self, event: Result<Foreseen, Skip>) {
        self.found += 1;
        let foreseen = match event {
            Ok(foreseen) => foreseen,
            Err(skip) => {
                *self.skipped.entry(skip).or_default() += 1;
                return;
            }
        };
        self.acts += 1;
        match foreseen {
            Foreseen::Known => self.known += 1,
            Foreseen::Ignored => self.ignored += 1,
            Foreseen::Messages(messages) => {
                for message in messages {
                    if message.expired {
                        self.expired += 1;
                    } else {
                        self.send(1, message.stale, message.agreed, message.price);
                    }
                }
            }
        }
    }

    /// Whether an operator may not run it, since so many people may get something twice.
    #[must_use]
    pub fn needs_admin(&self) -> bool {
        needs_admin(self.duplicates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::action::tests::standing;

    fn group() -> impl Strategy<Value = Group> {
        let agreed = proptest::sample::select(vec![Agreed::Yes, Agreed::NotYet, Agreed::No]);
        (standing(), any::<bool>(), agreed, proptest::option::of(0i64..1_000_000), 0u64..100_000).prop_map(
            |(standing, stale, agreed, price, count)| {
                let price =
                    price.map(|micros| format!("{} USD", crate::domain::money::decimal(micros)).parse().unwrap());
                Group { standing, stale, agreed, price, count }
            },
        )
    }

    proptest! {
        #[test]
        fn an_estimate_adds_up(groups in proptest::collection::vec(group(), 0..12)) {
            for action in Action::ALL {
                let all = Estimate::of(action, &groups);
                prop_assert_eq!(all.found, groups.iter().map(|group| group.count).sum::<u64>());
                prop_assert_eq!(all.found, all.acts + all.skipped.values().sum::<u64>());
                if action.sends() {
                    prop_assert_eq!(all.acts, all.goes + all.stale + all.no_consent);
                }
                prop_assert!(all.duplicates <= all.goes && all.not_confirmed <= all.goes && all.unpriced <= all.goes);
                if action == Action::Retry {
                    prop_assert_eq!(all.duplicates, 0);
                }
                let kept: Estimate = serde_json::from_value(serde_json::to_value(&all).unwrap()).unwrap();
                prop_assert_eq!(kept, all);
            }
        }
    }

    #[test]
    fn a_rejected_event_is_counted_with_the_messages_that_follow_it() {
        let message = |expired, stale, agreed| Message { expired, stale, agreed, price: "0.02 USD".parse().ok() };
        let mut all = Estimate::default();
        for event in [
            Err(Skip::RejectedAgain),
            Err(Skip::BeginningOnly),
            Ok(Foreseen::Known),
            Ok(Foreseen::Ignored),
            Ok(Foreseen::Messages(vec![message(true, true, Agreed::No), message(false, true, Agreed::Yes)])),
            Ok(Foreseen::Messages(vec![message(false, false, Agreed::No), message(false, false, Agreed::NotYet)])),
            Ok(Foreseen::Messages(vec![message(false, false, Agreed::Yes)])),
        ] {
            all.event(event);
        }
        let expected = Estimate {
            found: 7,
            acts: 5,
            skipped: BTreeMap::from([(Skip::RejectedAgain, 1), (Skip::BeginningOnly, 1)]),
            known: 1,
            ignored: 1,
            expired: 1,
            stale: 1,
            no_consent: 1,
            not_confirmed: 1,
            goes: 2,
            cost: BTreeMap::from([("USD".to_owned(), 40_000)]),
            ..Estimate::default()
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn a_hundred_duplicates_are_an_operators_and_more_an_administrators() {
        let estimate = |duplicates| Estimate { duplicates, ..Estimate::default() };
        assert!(!estimate(100).needs_admin() && estimate(101).needs_admin());
    }
}
