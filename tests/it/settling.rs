//! Results on their way into the database: what is known is never undone by what is not, and a message that went is never forgotten.

use std::time::Duration;

use recado::{
    db::{doubt, settle::Settlement},
    domain::{
        notification::{self, Acceptance, Behind, Outcome},
        rates::Category,
    },
    worker::{Flag, Nudge, settling},
};

use super::house::{ANA, House, PACE, RETRY, failure, prices};

#[tokio::test]
async fn a_lease_that_is_found_lapsed_after_its_answer_was_written_changes_nothing() {
    let house = House::start().await;
    let attempt = house.sending().await.attempt;
    house.settle(attempt, Outcome::Rejected { failure: failure("invalid_recipient"), again: None }).await;
    house.settle(attempt, Outcome::Unclear(failure("lease_lost"))).await;
    let kept = "select count(*) from attempts where outcome = 'rejected' and reason = 'invalid_recipient'";
    assert_eq!(house.count(kept).await, 1);
    assert_eq!(house.state(attempt.notification).await, "failed");
}

#[tokio::test]
async fn an_answer_that_comes_when_it_is_to_be_sent_again_is_written_however_long_that_takes() {
    let house = House::start().await;
    let attempt = house.sending().await.attempt;
    house.settle(attempt, Outcome::Unclear(failure("lease_lost"))).await;
    assert!(doubt::resend(&house.pools.ops, attempt, "recado").await.unwrap());
    house.run("alter table timeline add constraint none check (false) not valid").await;

    let acceptance = Acceptance { message_id: "wamid.late".to_owned(), ..Acceptance::default() };
    let next = notification::after(Outcome::Accepted(acceptance), Behind::default(), &RETRY, 0.5);
    let charge = prices().expect("order_confirmed", ANA, Category::Utility, house.clock.now());
    let late = [Settlement { attempt, outcome: "accepted", next, charge }];
    let rules = settling::Rules { batch: 100, linger: Duration::ZERO, pace: PACE };
    let (stuck, nudge) = (Flag::default(), Nudge::default());
    let writing = settling::write(&house.pools.dispatch, &rules, &stuck, &nudge, &late);
    let mending = async {
        while !stuck.is_up() {
            tokio::task::yield_now().await;
        }
        house.run("alter table timeline drop constraint none").await;
    };
    tokio::join!(writing, mending);

    let stand = house.stand(attempt.notification).await;
    assert_eq!((stand.state.as_str(), stand.message_id.as_deref()), ("accepted", Some("wamid.late")));
    assert!(house.claim().await.go.is_empty(), "it is not sent twice");
}
