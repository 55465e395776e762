//! Postgres and RabbitMQ themselves killed, again and again, at any moment, and the service with them: servers of these tests' own, as
//! `scripts/services` starts them. What a broken way to them does is `broker`'s affair.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use lapin::{
    options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::Value;
use tokio::process::Command;

use super::{
    audit::audit,
    broker::database_address,
    callbacks::{complete, told},
    harness::{Chance, Fleet, PATIENCE, Plan, order, seed, unique, until},
    proxy::Proxy,
    schemas::Schema,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Postgres,
    RabbitMq,
}

use Server::{Postgres, RabbitMq};

/// Servers that nobody else uses, gone with this.
pub struct Own {
    state: PathBuf,
}

impl Own {
    /// Starts these, with their URLs in the plan, unless this machine has no programs to start.
    pub async fn start(servers: &[Server]) -> Option<(Own, impl Fn(&mut Plan))> {
        let state = Path::new(env!("CARGO_MANIFEST_DIR")).join(".services/other").join(unique("killed"));
        let own = Own { state };
        let mut urls = Vec::new();
        for server in servers {
            let started = own.ask("start", *server).await;
            if started.status.code() == Some(NO_PROGRAMS) {
                let why = "there are no programs of Postgres and RabbitMQ here that could be started and killed";
                // Also where the output of tests that pass is not shown.
                writeln!(std::io::stderr(), "Not run: {why}.").expect("an output");
                return None;
            }
            assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
            urls.push((*server, String::from_utf8(started.stdout).expect("a URL").trim().to_owned()));
        }
        let plan = move |plan: &mut Plan| {
            for (server, url) in &urls {
                match server {
                    Postgres => plan.postgres.clone_from(url),
                    RabbitMq => plan.rabbitmq.clone_from(url),
                }
            }
        };
        Some((own, plan))
    }

    async fn kill(&self, server: Server) {
        let killed = self.ask("kill", server).await;
        assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
    }

    async fn again(&self, server: Server) {
        let started = self.ask("start", server).await;
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    }

    async fn rabbitmqctl(&self, arguments: &[&str]) -> String {
        let done = self.command().arg("rabbitmqctl").args(arguments).output().await.expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    async fn ask(&self, what: &str, server: Server) -> Output {
        let server = if server == Postgres { "postgres" } else { "rabbitmq" };
        self.command().args([what, server]).output().await.expect("it runs")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services"));
        command.env("RECADO_SERVICES", &self.state).stdin(Stdio::null());
        command
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let down = self.command().arg("down").as_std_mut().output();
        if !std::thread::panicking() {
            assert!(down.expect("it runs").status.success());
        }
    }
}

/// What `scripts/services start` ends with then.
const NO_PROGRAMS: i32 = 3;

/// A queue that outlives the broker, with everything on the status exchange.
async fn statuses(fleet: &Fleet) -> String {
    let queue = format!("{}.statuses", fleet.name);
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    fleet.channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.expect("a queue");
    let exchange = fleet.topology.status_exchange.as_str().into();
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    fleet.channel.queue_bind(queue.as_str().into(), exchange, "#".into(), bind, none).await.expect("a binding");
    queue
}

/// What came to such a queue is all that there was to tell, in order per notification, and keeps to its schema.
async fn were_told(fleet: &Fleet, queue: &str) {
    let mut heard: Vec<Value> = Vec::new();
    let no_ack = BasicGetOptions { no_ack: true };
    until("everything is told", PATIENCE, async || {
        // Reports may come still, of which there is more to tell.
        let told = told(fleet).await;
        let untold = fleet.count("select count(*) from outbox").await;
        while let Some(message) = fleet.channel.basic_get(queue.into(), no_ack).await.expect("a channel") {
            heard.push(serde_json::from_slice(&message.data).expect("JSON"));
        }
        untold == 0 && complete(&heard, &told).is_ok()
    })
    .await;
    for event in &heard {
        assert_eq!(Schema::of(event).faults(event), Vec::<String>::new(), "{event}");
    }
}

/// How long the service may take to go on, once a server is back.
const BACK: Duration = Duration::from_secs(20);

/// While a shop publishes, these are killed and started again, so often; and the service with them, if so.
async fn killed(hint: &str, servers: &'static [Server], and_the_service: bool, rounds: usize) {
    let mut chance = Chance::new(seed());
    let Some((own, plan)) = Own::start(servers).await else { return };
    Fleet::run(hint, plan, async |fleet| {
        let queue = statuses(fleet).await;
        if servers.contains(&RabbitMq) {
            // RabbitMQ writes down which quorum queues it has some time after it declared one; killed before, it never finds it again.
            own.rabbitmqctl(&["stop_app"]).await;
            own.rabbitmqctl(&["start_app"]).await;
        }
        let mut no = fleet.start().await;
        for round in 0..rounds {
            let orders: Vec<Value> = (0..40).map(|n| order(&format!("r{round}-{n}"), n)).collect();
            let (before, meanwhile) = (chance.millis(0, 150), chance.millis(0, 1_000));
            let in_turn = chance.below(2) == 0;
            let service = fleet.pid(no);
            let killing = async {
                tokio::time::sleep(before).await;
                if and_the_service {
                    let sent = Command::new("kill").args(["-KILL", &service]).status().await.expect("kill");
                    assert!(sent.success());
                }
                for server in servers {
                    own.kill(*server).await;
                }
                tokio::time::sleep(meanwhile).await;
                for n in 0..servers.len() {
                    own.again(servers[if in_turn { n } else { servers.len() - 1 - n }]).await;
                }
            };
            tokio::join!(fleet.publish_until_taken(&orders), killing);
            if and_the_service {
                fleet.ended(no, PATIENCE).await.expect("it was killed");
                no = fleet.start().await;
            }
            let began = Instant::now();
            let after = format!("after-{round}");
            fleet.publish_until_taken(&[order(&after, 45)]).await;
            fleet.reaches(&after, "accepted").await;
            assert!(began.elapsed() < BACK, "round {round}: it took {:?} to go on", began.elapsed());
        }
        fleet.settle().await;
        were_told(fleet, &queue).await;
        fleet.stop(no).await;
        let audit = audit(fleet).await;
        println!("{audit:?}");
        assert_eq!(audit.events, fleet.published.len());
        assert_eq!(audit.twice, 0, "every message that was sent was heard of: {audit:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "RabbitMQ takes its time to start; `make soak`"]
async fn a_broker_that_is_killed_keeps_what_it_took_and_is_told_everything_in_order() {
    killed("broker", &[RabbitMq], false, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_has_what_it_committed_and_nothing_is_sent_twice() {
    killed("database", &[Postgres], false, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "RabbitMQ takes its time to start; `make soak`"]
async fn everything_killed_at_once_goes_on_where_it_was() {
    killed("everything", &[Postgres, RabbitMq], true, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_short_of_memory_is_consumed_and_hears_what_became_of_it_later() {
    let Some((own, plan)) = Own::start(&[RabbitMq]).await else { return };
    Fleet::run("alarm", plan, async |fleet| {
        let queue = statuses(fleet).await;
        fleet.publish(&(0..30).map(|n| order(&format!("o{n}"), n)).collect::<Vec<_>>()).await;
        own.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
        // It looks only now and then how much it uses.
        until("the alarm is on", PATIENCE, async || {
            own.rabbitmqctl(&["eval", "rabbit_alarm:get_alarms()."]).await.contains("memory")
        })
        .await;
        let no = fleet.start().await;
        // What the first frame held may have been taken; what became of the messages later is not.
        let arrived = "select count(*) from notifications where receipt in ('delivered', 'read')";
        until("all have arrived", PATIENCE, async || fleet.count(arrived).await == 30).await;
        assert!(fleet.count("select count(*) from outbox").await > 0, "nobody may publish");
        own.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]).await;
        fleet.quiet(PATIENCE, true).await;
        were_told(fleet, &queue).await;
        fleet.stop(no).await;
        assert!(!fleet.log(no).contains("intake.interrupted"), "{}", fleet.log(no));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_the_broker_no_longer_takes_is_named_and_tried_again() {
    let Some((own, plan)) = Own::start(&[RabbitMq]).await else { return };
    Fleet::run("login", plan, async |fleet| {
        let no = fleet.start().await;
        own.rabbitmqctl(&["change_password", "guest", "another"]).await;
        own.rabbitmqctl(&["close_all_connections", "test"]).await;
        until("it says so, more than once", PATIENCE, async || fleet.log(no).matches("broker.url").count() > 3).await;
        assert!(fleet.services_run(), "{}", fleet.log(no));
        own.rabbitmqctl(&["change_password", "guest", "guest"]).await;
        fleet.publish_until_taken(&[order("after", 0)]).await;
        fleet.reaches("after", "accepted").await;
        fleet.stop(no).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "RabbitMQ takes its time to start; `make soak`"]
async fn a_broker_that_waits_for_no_acknowledgement_closes_nothing_while_the_database_is_gone() {
    let Some((own, plan)) = Own::start(&[RabbitMq]).await else { return };
    let impatient =
        "application:set_env(rabbit, consumer_timeout, 3000), application:set_env(rabbit, channel_tick_interval, 500).";
    own.rabbitmqctl(&["eval", impatient]).await;
    let proxy = Proxy::start(database_address()).await;
    let through = |given: &mut Plan| {
        plan(given);
        given.database_through = Some(proxy.port());
    };
    Fleet::run("impatient", through, async |fleet| {
        let no = fleet.start().await;
        proxy.shut();
        fleet.publish(&(0..30).map(|n| order(&format!("o{n}"), n)).collect::<Vec<_>>()).await;
        until("it has tried again and again", PATIENCE, async || {
            fleet.log(no).matches("intake.interrupted").count() >= 12
        })
        .await;
        proxy.open();
        fleet.quiet(PATIENCE, true).await;
        fleet.stop(no).await;
        println!("{}", fleet.log(no));
        assert!(fleet.log(no).matches("PRECONDITION").count() <= 1, "{}", fleet.log(no));
        assert_eq!(audit(fleet).await.sent, 30);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make soak`"]
async fn servers_and_the_service_killed_dozens_of_times_lose_nothing_and_send_nothing_twice() {
    killed("broker", &[RabbitMq], false, 15).await;
    killed("database", &[Postgres], false, 60).await;
    killed("everything", &[Postgres, RabbitMq], true, 15).await;
}
