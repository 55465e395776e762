use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn standing(state: State, second: i64) -> Standing {
    Standing { state, entry: 1, at: at(second), no: (state == State::Revoked).then(|| at(second)) }
}

fn standings(of: &[(&str, Standing)]) -> Standings {
    of.iter().map(|(purpose, standing)| ((*purpose).to_owned(), *standing)).collect()
}

#[test]
fn only_what_was_asked_can_be_confirmed_and_only_in_time() {
    let until = at(100);
    assert_eq!(follow(&standings(&[]), "orders", Act::Confirmed, at(1)), Err(Idle::NotAsked));
    let asked = follow(&standings(&[]), "orders", Act::Asked { until }, at(1));
    assert_eq!(asked, Ok(Some(State::Pending { until })));
    let pending = standings(&[("orders", standing(State::Pending { until }, 1))]);
    assert_eq!(follow(&pending, "orders", Act::Confirmed, at(100)), Ok(Some(State::Granted)));
    assert_eq!(follow(&pending, "orders", Act::Confirmed, at(101)), Err(Idle::NotAsked));
    assert_eq!(follow(&pending, "marketing", Act::Confirmed, at(2)), Err(Idle::NotAsked));
}

#[test]
fn a_no_stands_against_every_yes_from_before_it_even_for_purposes_that_nobody_had_asked_for() {
    for purpose in ["orders", EVERYTHING] {
        let refused = standings(&[(purpose, standing(State::Revoked, 50))]);
        assert_eq!(follow(&refused, "orders", Act::Imported, at(50)), Err(Idle::Overruled), "{purpose}");
        assert_eq!(follow(&refused, "orders", Act::Imported, at(51)), Ok(Some(State::Granted)), "{purpose}");
        assert_eq!(follow(&refused, "orders", Act::Asked { until: at(99) }, at(49)), Err(Idle::Overruled), "{purpose}");
    }
    let granted = standings(&[("orders", standing(State::Granted, 50))]);
    assert_eq!(follow(&granted, "orders", Act::Revoked, at(50)), Ok(Some(State::Revoked)));
    assert_eq!(follow(&granted, "orders", Act::Revoked, at(49)), Err(Idle::Overruled), "told late, and answered since");
}

#[test]
fn nobody_can_agree_to_everything() {
    assert_eq!(follow(&standings(&[]), EVERYTHING, Act::Imported, at(1)), Err(Idle::TooWide));
    assert_eq!(follow(&standings(&[]), EVERYTHING, Act::Revoked, at(1)), Ok(Some(State::Revoked)));
}

#[test]
fn asking_again_takes_nothing_away() {
    let granted = standings(&[("orders", standing(State::Granted, 5))]);
    assert_eq!(follow(&granted, "orders", Act::Asked { until: at(100) }, at(10)), Ok(None));
}

#[test]
fn standings_survive_the_contacts_row() {
    let all = standings(&[
        ("orders", standing(State::Granted, 5)),
        ("marketing", standing(State::Pending { until: at(9) }, 6)),
        (EVERYTHING, standing(State::Revoked, 7)),
    ]);
    assert_eq!(from_json(&to_json(&all)), Some(all));
    assert_eq!(from_json(&json!({"orders": {"state": "maybe", "entry": 1}})), None);
}

#[test]
fn evidence_may_be_erased_and_the_chain_still_holds() {
    let mut chain = chain_of(4);
    let head = verify(&chain).unwrap();
    chain[1].evidence = None;
    assert_eq!(verify(&chain), Ok(head));
}

#[test]
fn the_order_of_keys_in_the_evidence_says_nothing() {
    let (one, two) =
        (json!({"a": 1, "b": {"c": [1, {"y": 2, "x": 3}]}}), json!({"b": {"c": [1, {"x": 3, "y": 2}]}, "a": 1}));
    assert_eq!(canonical(&one), canonical(&two));
    assert_eq!(canonical(&one), r#"{"a":1,"b":{"c":[1,{"x":3,"y":2}]}}"#);
    assert_ne!(commit(b"salt", &one), commit(b"sal", &one), "the same evidence of two people does not look the same");
}

fn chain_of(length: usize) -> Vec<Entry> {
    let mut chain: Vec<Entry> = Vec::new();
    for i in 0..length {
        let previous = chain.last().map_or(BEGINNING, |entry| entry.hash);
        let evidence = json!({"source": "shop", "n": i});
        let act = if i % 2 == 0 { Act::Imported } else { Act::Revoked };
        let draft = Draft { act, purpose: "orders", at: at(i as i64), evidence: &evidence, salt: &[7; 16] };
        chain.push(append(1, i32::try_from(i).unwrap() + 1, previous, &draft));
    }
    chain
}

fn change(entry: &mut Entry, what: u8) {
    match what {
        0 => entry.at += jiff::SignedDuration::from_micros(1),
        1 => entry.act.push('x'),
        2 => entry.purpose = "marketing".into(),
        3 => entry.commitment[5] ^= 1,
        4 => entry.previous[31] ^= 1,
        5 => entry.hash[0] ^= 1,
        6 => entry.number += 1,
        7 => entry.contact += 1,
        8 => entry.evidence = Some((json!({"source": "forged"}), vec![7; 16])),
        _ => entry.evidence.as_mut().unwrap().1[0] ^= 1,
    }
}

proptest! {
    #[test]
    fn any_change_is_found_where_it_is_or_right_after(length in 1usize..12, place: prop::sample::Index, what in 0u8..10) {
        let mut chain = chain_of(length);
        let place = place.index(length);
        change(&mut chain[place], what);
        let broken = verify(&chain).unwrap_err();
        let (Broken::Missing(n) | Broken::Cut(n) | Broken::Changed(n) | Broken::Evidence(n)) = broken;
        prop_assert_eq!(usize::try_from(n).unwrap(), place + 1);
    }

    #[test]
    fn an_entry_that_was_taken_out_is_missed_if_another_came_after_it(length in 2usize..12, place: prop::sample::Index) {
        let mut chain = chain_of(length);
        chain.remove(place.index(length - 1));
        prop_assert!(verify(&chain).is_err());
    }

    #[test]
    fn no_two_entries_can_change_places(length in 2usize..12, one: prop::sample::Index, other: prop::sample::Index) {
        let (one, other) = (one.index(length), other.index(length));
        prop_assume!(one != other);
        let mut chain = chain_of(length);
        chain.swap(one, other);
        prop_assert!(verify(&chain).is_err());
    }

    #[test]
    fn taking_the_last_entries_away_changes_the_head(length in 2usize..12) {
        let chain = chain_of(length);
        prop_assert_ne!(verify(&chain).unwrap(), verify(&chain[..length - 1]).unwrap());
    }
}

mod laws {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Ask(i64),
        Confirm,
        Refuse,
        Revoke,
        RevokeAll,
        /// A yes from a file, so many seconds before now.
        Import(i64),
        Erase,
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_i64..200).prop_map(Step::Ask),
            Just(Step::Confirm),
            Just(Step::Refuse),
            Just(Step::Revoke),
            Just(Step::RevokeAll),
            (0_i64..500).prop_map(Step::Import),
            Just(Step::Erase),
            (0_i64..100).prop_map(Step::Wait),
        ]
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_377_600 + second).unwrap()
    }

    proptest! {
        /// After a no, a purpose is granted only if it was asked since and confirmed after that, or a yes from elsewhere is later than
        /// the no.
        #[test]
        fn a_withdrawal_is_undone_only_by_asking_and_confirming_again(steps in prop::collection::vec(step(), 1..40)) {
            let mut standings = Standings::new();
            let (mut now, mut number) = (1_000, 0);
            let (mut refused_at, mut asked_since) = (None, false);
            for step in steps {
                let (act, purpose, at) = match step {
                    Step::Wait(seconds) => {
                        now += seconds;
                        continue;
                    }
                    Step::Ask(lasts) => (Act::Asked { until: second(now + lasts) }, "orders", now),
                    Step::Confirm => (Act::Confirmed, "orders", now),
                    Step::Refuse => (Act::Refused, "orders", now),
                    Step::Revoke => (Act::Revoked, "orders", now),
                    Step::RevokeAll => (Act::Revoked, EVERYTHING, now),
                    Step::Import(before) => (Act::Imported, "orders", now - before),
                    Step::Erase => (Act::Erased, EVERYTHING, now),
                };
                let granted = |standings: &Standings| standings.get("orders").is_some_and(|s| s.state == State::Granted);
                let before = granted(&standings);
                // A no to everything is said of each purpose too, as the database does it.
                let mut purposes = vec![purpose];
                if purpose == EVERYTHING && standings.contains_key("orders") {
                    purposes.insert(0, "orders");
                }
                for purpose in purposes {
                    if let Ok(Some(state)) = follow(&standings, purpose, act, second(at)) {
                        number += 1;
                        stand(&mut standings, purpose, state, number, second(at));
                    }
                }
                match act {
                    Act::Refused | Act::Revoked | Act::Erased => {
                        prop_assert!(!granted(&standings));
                        refused_at = Some(at);
                        asked_since = false;
                    }
                    Act::Asked { .. } => asked_since |= standings.get("orders").is_some_and(|s| matches!(s.state, State::Pending { .. })),
                    Act::Confirmed | Act::Imported | Act::Merged => {}
                }
                if granted(&standings) && !before && refused_at.is_some() {
                    let allowed = match act {
                        Act::Confirmed => asked_since,
                        Act::Imported => refused_at.is_some_and(|no| at > no),
                        Act::Asked { .. } | Act::Refused | Act::Revoked | Act::Erased | Act::Merged => false,
                    };
                    prop_assert!(allowed, "granted by {act:?} at {at} after a no at {refused_at:?}");
                }
            }
        }
    }
}
