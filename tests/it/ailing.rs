//! Servers that are there and do not do their work, and a process without what it needs of its machine. Nothing is lost by it, nothing
//! goes twice, and it goes on by itself. What is killed is `killed`'s affair.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{net::TcpStream, process::Command};

use super::{
    audit::audit,
    harness::{Fleet, PATIENCE, order, until},
    killed::{Own, Server},
};

fn orders(hint: &str, n: usize) -> Vec<Value> {
    (0..n).map(|i| order(&format!("{hint}-{i}"), i)).collect()
}

/// Everything that was published was sent once.
async fn all_went_once(fleet: &mut Fleet, no: usize) {
    fleet.settle().await;
    fleet.stop(no).await;
    let audit = audit(fleet).await;
    println!("{audit:?}");
    assert_eq!(audit.events, fleet.published.len());
    assert_eq!(audit.twice, 0, "{audit:?}");
}

async fn readiness(fleet: &Fleet) -> (StatusCode, String) {
    let address = format!("http://{}/readyz", fleet.settings["http.listen"]);
    let answer = reqwest::get(address).await.expect("it answers");
    (answer.status(), answer.text().await.expect("a text"))
}

async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_writes_stops_everything_and_loses_nothing() {
    let Some((_own, plan)) = Own::start(&[Server::Postgres]).await else { return };
    Fleet::run("read_only", plan, async |fleet| {
        let no = fleet.start().await;
        fleet.publish(&orders("before", 20)).await;
        fleet.reaches("before-19", "accepted").await;
        run(&fleet.pool, "alter system set default_transaction_read_only = on").await;
        run(&fleet.pool, "select pg_reload_conf()").await;
        let pool = fleet.pool.clone();
        until("it is read-only", PATIENCE, async || {
            let on: String =
                sqlx::query_scalar("show default_transaction_read_only").fetch_one(&pool).await.expect("an answer");
            on == "on"
        })
        .await;
        let sent = fleet.sim.world().counters().accepted;
        fleet.publish(&orders("meanwhile", 40)).await;
        until("it says that it cannot", PATIENCE, async || {
            fleet.log(no).contains("read-only") && readiness(fleet).await.0 == StatusCode::SERVICE_UNAVAILABLE
        })
        .await;
        assert!(fleet.services_run(), "{}", fleet.log(no));
        let counters = fleet.sim.world().counters();
        assert_eq!(counters.accepted, sent, "nothing is sent that could not be written down");
        run(&fleet.pool, "alter system reset default_transaction_read_only").await;
        run(&fleet.pool, "select pg_reload_conf()").await;
        fleet.reaches("meanwhile-39", "accepted").await;
        all_went_once(fleet, no).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_somebody_locks_is_waited_for_and_nothing_goes_twice() {
    let impatient = |plan: &mut super::harness::Plan| plan.set("database.statement_timeout", "1s");
    Fleet::run("locked", impatient, async |fleet| {
        let no = fleet.start().await;
        fleet.publish(&orders("before", 20)).await;
        fleet.reaches("before-19", "accepted").await;
        let mut locking = fleet.pool.begin().await.expect("a transaction");
        sqlx::raw_sql("lock table notifications in access exclusive mode")
            .execute(&mut *locking)
            .await
            .expect("a lock");
        fleet.publish(&orders("meanwhile", 40)).await;
        until("it has been tried again and again", PATIENCE, async || {
            fleet.log(no).matches("intake.interrupted").count() >= 3
        })
        .await;
        assert!(fleet.services_run(), "{}", fleet.log(no));
        locking.rollback().await.expect("the lock is let go");
        fleet.reaches("meanwhile-39", "accepted").await;
        all_went_once(fleet, no).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_file_descriptors_rests_and_goes_on_when_it_has_some() {
    Fleet::run(
        "descriptors",
        |_| {},
        async |fleet| {
            let no = fleet.start().await;
            fleet.publish(&orders("before", 20)).await;
            fleet.reaches("before-19", "accepted").await;
            let pid = fleet.pid(no);
            let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("Linux").count();
            limit(&pid, open + 4).await;
            let door = fleet.settings["http.listen"].clone();
            let mut crowd = Vec::new();
            for _ in 0..40 {
                crowd.push(TcpStream::connect(&door).await.expect("the system takes it"));
            }
            until("it says so", PATIENCE, async || fleet.log(no).contains("http.accept")).await;
            let before = busy(&pid);
            fleet.publish(&orders("meanwhile", 20)).await;
            fleet.reaches("meanwhile-19", "accepted").await;
            let worked = busy(&pid) - before;
            assert!(worked < Duration::from_secs(5), "it turned round in place for {worked:?}");
            limit(&pid, 1_024).await;
            drop(crowd);
            assert_eq!(readiness(fleet).await.0, StatusCode::OK);
            all_went_once(fleet, no).await;
        },
    )
    .await;
}

async fn limit(pid: &str, files: usize) {
    let nofile = format!("--nofile={files}:4096");
    let done = Command::new("prlimit").args([&nofile, "--pid", pid]).status().await.expect("prlimit of util-linux");
    assert!(done.success());
}

/// How long a process has used a processor.
fn busy(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("a line").split(' ').collect();
    let ticks: u64 = [11, 12].iter().map(|n| fields[*n].parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
