use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy { max_tries: 3, base: Duration::from_secs(2), cap: Duration::from_secs(600) };

fn failure() -> Failure {
    Failure { reason: reason::NO_ANSWER, code: None, detail: None }
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let whose = prop_oneof![Just(Whose::Recipient), Just(Whose::Sender), Just(Whose::Template)];
    let pause = proptest::option::of((0u64..100_000).prop_map(Duration::from_secs));
    prop_oneof![
        Just(Outcome::Accepted(Acceptance::default())),
        pause.clone().prop_map(|again| Outcome::Rejected { failure: failure(), again }),
        Just(Outcome::NotSent(failure())),
        (whose, any::<bool>(), pause).prop_map(|(whose, hold, wait)| Outcome::Busy {
            whose,
            hold,
            failure: failure(),
            wait
        }),
        Just(Outcome::Unclear(failure())),
    ]
}

proptest! {
    #[test]
    fn an_unclear_outcome_is_the_only_way_into_doubt_and_has_no_other(outcome in any_outcome(), tries in 0u16..9, attempts in 0u16..99, backoffs in 0u16..99, chance in 0.0..1.0f64) {
        let unclear = matches!(outcome, Outcome::Unclear(_));
        let next = after(outcome, Behind { tries, attempts, backoffs, as_text: false }, &POLICY, chance);
        prop_assert_eq!(unclear, matches!(next, Next::InDoubt(_)));
    }

    #[test]
    fn a_busy_answer_costs_no_try_and_ends_nothing(tries in 0u16..9, backoffs in 0u16..99, chance in 0.0..1.0f64) {
        for whose in [Whose::Recipient, Whose::Sender, Whose::Template] {
            let outcome = Outcome::Busy { whose, hold: false, failure: failure(), wait: None };
            let next = after(outcome, Behind { tries, attempts: tries, backoffs, as_text: false }, &POLICY, chance);
            let free = matches!(next, Next::Pending { counts: false, .. });
            prop_assert!(free);
        }
    }

    #[test]
    fn pauses_are_bounded(tries in 0u16..2, chance in 0.0..1.0f64) {
        let outcome = Outcome::Rejected { failure: failure(), again: Some(Duration::ZERO) };
        let Next::Pending { delay, .. } = after(outcome, Behind { tries, ..Behind::default() }, &POLICY, chance) else {
            return Err(TestCaseError::fail("not tried again"));
        };
        prop_assert!(delay <= POLICY.cap);
        prop_assert!(delay <= POLICY.base * (1 << tries));
    }

    #[test]
    fn an_attempt_id_survives_its_travel(bits in any::<u128>(), number in 1i16..) {
        let id = AttemptId { notification: Uuid::from_u128(bits), number };
        prop_assert_eq!(id.to_string().parse::<AttemptId>(), Ok(id));
    }
}

#[test]
fn a_message_is_tried_no_more_often_than_allowed() {
    let refused = || Outcome::Rejected { failure: failure(), again: Some(Duration::ZERO) };
    let at = |tries| after(refused(), Behind { tries, ..Behind::default() }, &POLICY, 0.5);
    assert!(matches!(at(1), Next::Pending { counts: true, .. }));
    assert!(matches!(at(2), Next::Failed(_)));
}

#[test]
fn a_closed_window_costs_a_free_text_nothing_and_ends_everything_else() {
    let closed = || {
        let failure = Failure { reason: reason::WINDOW_CLOSED, code: Some(131_047), detail: None };
        Outcome::Rejected { failure, again: None }
    };
    let behind = |as_text| Behind { tries: 2, as_text, ..Behind::default() };
    let Next::Pending { delay, counts, lane, .. } = after(closed(), behind(true), &POLICY, 0.5) else {
        panic!("ended")
    };
    assert_eq!((delay, counts, lane), (Duration::ZERO, false, false));
    assert!(matches!(after(closed(), behind(false), &POLICY, 0.5), Next::Failed(_)));
}

#[test]
fn only_proof_that_nobody_can_be_reached_there_leads_elsewhere() {
    let next = |name, again| {
        let failure = Failure { reason: Reason::new(name), code: None, detail: None };
        after(Outcome::Rejected { failure, again }, Behind::default(), &POLICY, 0.5)
    };
    assert!(matches!(next("undeliverable", None), Next::Impossible(_)));
    assert!(matches!(next("undeliverable", Some(Duration::ZERO)), Next::Pending { .. }));
    for name in ["recipient_blocked", "texts_stopped", "marketing_opted_out", "unknown_code", "window_closed"] {
        assert!(matches!(next(name, None), Next::Failed(_)), "{name}");
    }
}

#[test]
fn a_busy_recipient_is_left_alone_for_powers_of_four() {
    let delay = |backoffs| {
        let busy = Outcome::Busy { whose: Whose::Recipient, hold: false, failure: failure(), wait: None };
        let next = after(busy, Behind { backoffs, ..Behind::default() }, &POLICY, 0.5);
        let Next::Pending { delay, lane: true, .. } = next else { panic!("{next:?}") };
        delay.as_secs()
    };
    assert_eq!([delay(0), delay(1), delay(2), delay(9)], [1, 4, 16, 1024]);
}

#[test]
fn an_attempt_knows_when_its_message_was_planned() {
    let notification = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    let planned = AttemptId { notification, number: 3 }.planned_at().unwrap();
    assert_eq!(planned.as_millisecond(), 0x0198_c0de_0000);
    assert_eq!(AttemptId { notification: Uuid::nil(), number: 1 }.planned_at(), None);
}
