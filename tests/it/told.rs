//! What became of notifications, told to a broker that is killed again and again: everything arrives, in order per notification.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use lapin::{
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::Value;

use super::{
    callbacks::{complete, told},
    harness::{Chance, Fleet, PATIENCE, amqp_url, order, seed, until},
    proxy::Proxy,
    schemas::Schema,
    target::{SECRET, Target},
};

type Heard = Arc<Mutex<Vec<Value>>>;

/// A consumer of everything on the status exchange.
async fn listening(fleet: &Fleet) -> Heard {
    let queue = format!("{}.told", fleet.name);
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    fleet.channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.expect("a queue");
    let exchange = fleet.topology.status_exchange.as_str().into();
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    fleet.channel.queue_bind(queue.as_str().into(), exchange, "#".into(), bind, none).await.expect("a binding");
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer =
        fleet.channel.basic_consume(queue.as_str().into(), "told".into(), options, FieldTable::default()).await;
    let (mut consumer, heard) = (consumer.expect("a consumer"), Heard::default());
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = consumer.next().await {
            let event: Value = serde_json::from_slice(&delivery.data).expect("JSON");
            assert_eq!(delivery.routing_key.as_str(), event["type"]);
            kept.lock().unwrap().push(event);
        }
    });
    heard
}

/// The publisher, alone in its process, reaches the broker over a way that breaks in every manner, so often.
async fn broken(rounds: usize, events: usize, with_callback: bool) {
    let mut chance = Chance::new(seed());
    let url = reqwest::Url::parse(&amqp_url()).expect("an address");
    let broker = tokio::net::lookup_host((url.host_str().expect("a host"), url.port().unwrap_or(5672))).await;
    let proxy = Proxy::start(broker.expect("an address").next().expect("an address")).await;
    let target = Target::start().await;
    let plan = |plan: &mut super::harness::Plan| {
        if with_callback {
            plan.set("callbacks.shop.url", &target.url());
            plan.set("callbacks.shop.secret", SECRET);
            plan.set("outward.private_addresses", "allow");
        }
    };
    Fleet::run("told", plan, async |fleet| {
        let heard = listening(fleet).await;
        let mut through = url.clone();
        through.set_host(Some("127.0.0.1")).expect("a host");
        through.set_port(Some(proxy.port())).expect("a port");
        fleet.spawn_as(&["--roles", "outbox"], &[("AMQP_URL", through.as_str())]);
        let no = fleet.spawn_as(&["--roles", "intake,dispatch,receipts,upkeep,http"], &[]);
        fleet.ready(no).await;
        for round in 0..rounds {
            let orders: Vec<Value> = (0..events).map(|n| order(&format!("r{round}-{n}"), n % 50)).collect();
            fleet.publish(&orders).await;
            let before = heard.lock().unwrap().len();
            match chance.below(4) {
                0 => proxy.cut(),
                1 => proxy.reset(),
                2 => proxy.shut(),
                _ => proxy.lose_answers(),
            }
            // Not a time that is waited out: it is dead for as long as it takes the others to go on.
            fleet.quiet(PATIENCE, false).await;
            tokio::time::sleep(chance.millis(0, 200)).await;
            proxy.reset();
            proxy.open();
            until("something is told again", PATIENCE, async || heard.lock().unwrap().len() > before).await;
        }
        until("everything is told", PATIENCE, async || {
            let told = told(fleet).await;
            fleet.count("select count(*) from outbox").await == 0 && complete(&heard.lock().unwrap(), &told).is_ok()
        })
        .await;
        let heard = heard.lock().unwrap().clone();
        let told = told(fleet).await;
        assert_eq!(complete(&heard, &told), Ok(()));
        assert_eq!(told.len(), rounds * events);
        for event in &heard {
            assert_eq!(Schema::of(event).faults(event), Vec::<String>::new(), "{event}");
        }
        let distinct: i64 = told.values().sum();
        println!(
            "{} events of {} notifications, {} of them twice",
            distinct,
            told.len(),
            heard.len() as i64 - distinct
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_again_and_again_is_told_everything_in_order() {
    broken(6, 12, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_again_and_again_is_told_everything_in_order_beside_a_callback() {
    broken(3, 12, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make soak`"]
async fn a_broker_killed_hundreds_of_times_is_told_everything_in_order() {
    for with_callback in [false, true] {
        broken(150, 40, with_callback).await;
    }
}
