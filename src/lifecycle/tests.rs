use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::oneshot;

use super::*;

/// Long enough that a test which waits for it is seen to hang.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn the_first_signal_lets_what_is_in_flight_finish() {
    let (life, vigil) = Lifecycle::begin(LONG);
    let (answer, answered) = oneshot::channel::<()>();
    let (settled, soft) = (Arc::new(AtomicBool::new(false)), life.soft().clone());
    let done = settled.clone();
    life.role("dispatch", async move {
        soft.cancelled().await;
        answered.await.unwrap();
        done.store(true, Ordering::SeqCst);
        Ok::<_, Infallible>(())
    });
    life.signal("SIGTERM");
    let watch = tokio::spawn(vigil.watch());
    tokio::task::yield_now().await;
    assert!(!watch.is_finished(), "ended although something is in flight");
    answer.send(()).unwrap();
    assert_eq!(watch.await.unwrap(), Ending::Clean);
    assert!(settled.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut() {
    let grace = Duration::from_millis(20);
    let (life, vigil) = Lifecycle::begin(grace);
    life.role("dispatch", std::future::pending::<Result<(), Infallible>>());
    let began = tokio::time::Instant::now();
    life.signal("SIGTERM");
    assert_eq!(vigil.watch().await, Ending::Cut);
    assert!(began.elapsed() >= grace);
    assert!(life.hard().is_cancelled());
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_grace() {
    let (life, vigil) = Lifecycle::begin(LONG);
    life.role("dispatch", std::future::pending::<Result<(), Infallible>>());
    life.signal("SIGTERM");
    life.signal("SIGINT");
    assert_eq!(vigil.watch().await, Ending::Cut);
}

#[tokio::test]
async fn a_role_that_fails_stops_the_others_softly_and_is_named() {
    let (life, vigil) = Lifecycle::begin(LONG);
    let soft = life.soft().clone();
    life.role("intake", async { Err("the queue is not ours") });
    life.role("upkeep", async move {
        soft.cancelled().await;
        Ok::<_, Infallible>(())
    });
    let ending = vigil.watch().await;
    assert_eq!(ending, Ending::Failed { role: "intake", why: "the queue is not ours".into() });
    assert_eq!(format!("{:?}", ending.exit_code()), format!("{:?}", ExitCode::FAILURE));
}

#[tokio::test]
async fn a_role_that_ends_early_without_an_error_has_failed_too() {
    let (life, vigil) = Lifecycle::begin(LONG);
    life.role("outbox", async { Ok::<_, Infallible>(()) });
    assert_eq!(vigil.watch().await, Ending::Failed { role: "outbox", why: "ended by itself".into() });
}

#[tokio::test]
async fn a_panic_is_a_failure_that_does_not_repeat_what_the_panic_said() {
    let (life, vigil) = Lifecycle::begin(LONG);
    life.role("receipts", async {
        assert_eq!(std::hint::black_box(1), 2, "+34600111222");
        Ok::<_, Infallible>(())
    });
    assert_eq!(vigil.watch().await, Ending::Failed { role: "receipts", why: "panicked".into() });
}

#[tokio::test]
async fn a_request_on_the_wire_is_waited_for_after_its_role_has_ended() {
    let (life, vigil) = Lifecycle::begin(LONG);
    let (answer, answered) = oneshot::channel::<()>();
    let (soft, wire) = (life.soft().clone(), life.clone());
    let (left, has_left) = oneshot::channel();
    life.role("dispatch", async move {
        let _request = wire.spawn(answered);
        soft.cancelled().await;
        left.send(()).unwrap();
        Ok::<_, Infallible>(())
    });
    life.stop();
    has_left.await.unwrap();
    let watch = tokio::spawn(vigil.watch());
    tokio::task::yield_now().await;
    assert!(!watch.is_finished());
    answer.send(()).unwrap();
    assert_eq!(watch.await.unwrap(), Ending::Clean);
}
