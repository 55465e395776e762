//! How senders stand at their provider: it is asked, shown, and heeded.

use std::time::Duration;

use recado::{
    db::{
        health::{self, Known},
        holds::{self, Hold, Scope},
    },
    provider::meta::Inquiry,
    sim::{Obstacle, Options, Sender, Sim},
    worker::{
        Nudge,
        health::{Rules, Watch, Watched},
        wire::Wire,
    },
};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use crate::{
    figures::figures,
    harness::{Fleet, Plan, free_port, order},
    house::{ACCOUNT, House, NUMBER_ID, body},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A house whose number somebody looks after.
struct Ward {
    house: House,
    sim: Sim,
    watch: Watch,
}

impl Ward {
    async fn open() -> Ward {
        let house = House::start().await;
        let sim = Sim::start(Options { manual_webhooks: true, ..Options::default() }).await.unwrap();
        let watch = Ward::watch(&house, &sim, 1);
        Ward { house, sim, watch }
    }

    fn watch(house: &House, sim: &Sim, worker: u128) -> Watch {
        let token = SecretString::from("sim-token");
        let inquiry = Inquiry::new(&sim.url(), "v25.0", NUMBER_ID, Some(ACCOUNT), &token).unwrap();
        Watch {
            worker: Uuid::from_u128(worker),
            pool: house.pools.ops.clone(),
            rules: Rules { every: 10 * MINUTE, poll: Duration::from_secs(5), lease: MINUTE },
            watched: vec![Watched { id: house.sender, name: "main".to_owned(), inquiry }],
            wire: Wire::new(Duration::from_secs(10), Duration::from_secs(5), 1).unwrap(),
            dispatch: Nudge::default(),
        }
    }

    fn becomes(&self, change: impl FnOnce(&mut Sender)) {
        assert!(self.sim.world().change_sender(NUMBER_ID, change));
    }

    async fn known(&self) -> Known {
        health::all(&self.house.pools.ops).await.unwrap().remove(0)
    }

    async fn held(&self) -> Vec<String> {
        holds::in_force(&self.house.pools.ops).await.unwrap().into_iter().map(|hold| hold.reason).collect()
    }
}

#[tokio::test]
async fn what_the_provider_says_of_a_number_is_kept() {
    let ward = Ward::open().await;
    ward.becomes(|sender| sender.messaging_limit = "TIER_2K".to_owned());
    ward.watch.step().await.unwrap();
    let known = ward.known().await;
    let said = |word: &Option<String>| word.clone().unwrap_or_default();
    assert_eq!(said(&known.health.status), "CONNECTED");
    assert_eq!(said(&known.health.can_send), "AVAILABLE");
    assert_eq!((known.health.people_a_day(), known.health.per_second()), (Some(2_000), Some(80)));
    assert!(known.answered_at.is_some() && known.trouble.is_none() && !known.due);
}

#[tokio::test]
async fn a_number_that_may_not_send_is_held_and_goes_on_by_itself_when_it_may_again() {
    let ward = Ward::open().await;
    let id = ward.house.sending().await.attempt.notification;
    ward.house.run("update notifications set state = 'pending', lease_until = null, due_at = recado_now()").await;
    ward.house.run("update lanes set in_flight = null").await;
    ward.becomes(|sender| sender.obstacle = Some(Obstacle::default()));
    ward.watch.step().await.unwrap();
    assert_eq!(ward.held().await, ["sending_blocked"]);
    let holds = holds::in_force(&ward.house.pools.ops).await.unwrap();
    assert!(holds[0].detail.as_deref().unwrap().contains("error with the payment method (code 141006). Please add"));
    assert!(ward.house.claim().await.go.is_empty());

    // It is not asked at once, but five times as often as one that is well.
    ward.becomes(|sender| sender.obstacle = None);
    ward.watch.step().await.unwrap();
    assert_eq!(ward.held().await.len(), 1);
    ward.house.advance(2 * 60 + 1);
    ward.watch.step().await.unwrap();
    assert!(ward.held().await.is_empty());
    assert_eq!(ward.house.claim_one().await.attempt.notification, id);
}

#[tokio::test]
async fn another_obstacle_takes_the_place_of_the_first_and_holds_of_others_stay() {
    let ward = Ward::open().await;
    let hold = Hold {
        scope: Scope::Sender(ward.house.sender),
        reason: "operator".to_owned(),
        detail: None,
        lasts: None,
        by: "ana".to_owned(),
    };
    holds::place(&ward.house.pools.ops, &hold).await.unwrap();
    ward.becomes(|sender| sender.obstacle = Some(Obstacle::default()));
    ward.watch.step().await.unwrap();
    assert_eq!(ward.held().await, ["operator", "sending_blocked"]);
    ward.becomes(|sender| {
        sender.obstacle = Some(Obstacle { can_send: "LIMITED".to_owned(), ..Obstacle::default() });
        sender.status = "DISCONNECTED".to_owned();
    });
    ward.house.advance(121);
    ward.watch.step().await.unwrap();
    // The number itself counts as blocked then.
    assert_eq!(ward.held().await, ["operator", "sending_blocked"]);
    ward.becomes(|sender| {
        sender.obstacle = None;
        sender.status = "CONNECTED".to_owned();
    });
    ward.house.advance(121);
    ward.watch.step().await.unwrap();
    assert_eq!(ward.held().await, ["operator"]);
}

#[tokio::test]
async fn an_operator_may_let_it_go_until_the_provider_says_it_again() {
    let ward = Ward::open().await;
    ward.becomes(|sender| sender.obstacle = Some(Obstacle::default()));
    ward.watch.step().await.unwrap();
    let scope = Scope::Sender(ward.house.sender);
    holds::release(&ward.house.pools.ops, &scope, None, "ana").await.unwrap();
    ward.watch.step().await.unwrap();
    assert!(ward.held().await.is_empty());
    ward.house.advance(121);
    ward.watch.step().await.unwrap();
    assert_eq!(ward.held().await, ["sending_blocked"]);
}

#[tokio::test]
async fn news_of_a_number_have_it_asked_at_once() {
    let ward = Ward::open().await;
    ward.watch.step().await.unwrap();
    ward.becomes(|sender| sender.status = "RESTRICTED".to_owned());
    ward.watch.step().await.unwrap();
    assert!(ward.held().await.is_empty(), "nobody asked");
    let news = json!({"event": "THROUGHPUT_UPGRADE", "display_phone_number": "15550001111", "current_limit": "TIER_10K",
        "max_daily_conversations_per_business": "TIER_10K"});
    ward.house.hook(&body("phone_number_quality_update", &news)).await;
    let known = ward.known().await;
    assert_eq!((known.health.people_a_day(), known.health.per_second(), known.due), (Some(10_000), Some(1_000), true));
    ward.watch.step().await.unwrap();
    assert_eq!(ward.held().await, ["sending_blocked"]);
    assert_eq!(ward.known().await.health.per_second(), Some(80), "an answer says more than news");
}

#[tokio::test]
async fn who_cannot_be_asked_keeps_what_was_known() {
    let ward = Ward::open().await;
    ward.watch.step().await.unwrap();
    ward.becomes(|sender| sender.trouble = Some(190));
    ward.house.advance(601);
    ward.watch.step().await.unwrap();
    let known = ward.known().await;
    assert_eq!(known.trouble.as_deref(), Some("token_invalid"));
    assert_eq!(known.health.status.as_deref(), Some("CONNECTED"));
    assert!(ward.held().await.is_empty(), "the next message's own answer holds it");
    ward.becomes(|sender| sender.trouble = None);
    ward.house.advance(601);
    ward.watch.step().await.unwrap();
    assert_eq!(ward.known().await.trouble, None);
}

#[tokio::test]
async fn one_process_asks_for_all() {
    let ward = Ward::open().await;
    ward.watch.step().await.unwrap();
    ward.becomes(|sender| sender.obstacle = Some(Obstacle::default()));
    ward.house.advance(601);
    Ward::watch(&ward.house, &ward.sim, 2).step().await.unwrap();
    assert!(ward.held().await.is_empty());
    ward.watch.step().await.unwrap();
    assert_eq!(ward.held().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_sends_no_faster_than_the_provider_takes_whatever_is_set() {
    let port = free_port();
    let plan = |plan: &mut Plan| {
        plan.set("http.metrics_listen", &format!("127.0.0.1:{port}"));
        plan.sim.senders[0].mps = 80;
        plan.sim.senders[0].messaging_limit = "TIER_250".to_owned();
    };
    Fleet::run("health", plan, async |fleet| {
        fleet.start().await;
        fleet.publish(&[order("one", 0)]).await;
        fleet.reaches("one", "accepted").await;
        figures(
            port,
            &[
                "recado_sender_rate_per_second{sender=\"main\"} 76",
                "recado_daily_limit{portfolio=\"main\"} 237",
                "recado_sender_able{sender=\"main\"} 1",
            ],
        )
        .await;
        let told = String::from_utf8(fleet.command(&["senders"]).await.stdout).unwrap();
        assert!(told.starts_with("main         CONNECTED, sending AVAILABLE, quality GREEN"), "{told}");
        assert!(told.contains("250 people a day, 80 a second (1000 set); said "), "{told}");
        let told = fleet.command(&["senders", "--json"]).await.stdout;
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!((&told[0]["able"], &told[0]["people_a_day"]), (&json!(true), &json!(250)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_blocked_at_the_start_sends_nothing_until_it_is_not() {
    let plan = |plan: &mut Plan| plan.sim.senders[0].obstacle = Some(Obstacle::default());
    Fleet::run("blocked", plan, async |fleet| {
        fleet.start().await;
        let held = "select count(*) from holds where reason = 'sending_blocked' and released_at is null";
        crate::harness::until("it is held", crate::harness::PATIENCE, async || fleet.count(held).await == 1).await;
        fleet.publish(&[order("one", 0)]).await;
        fleet.becomes("one", "there", |standing| standing.state == "pending").await;
        let told = fleet.command(&["why", "one"]).await;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(
            told.contains("The sender main is held, until its provider lets it send again: sending_blocked"),
            "{told}"
        );
        assert!(fleet.ledger().is_empty());
        fleet.sim.world().change_sender(NUMBER_ID, |sender| sender.obstacle = None);
        fleet
            .sim
            .world()
            .news("business_capability_update", json!({"max_daily_conversations_per_business": "TIER_2K"}));
        fleet.reaches("one", "accepted").await;
    })
    .await;
}
