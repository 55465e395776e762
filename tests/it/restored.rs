//! A database that is not where its rows were written: nothing is sent until a person has made sure.

use std::{process::Command, str::FromStr};

use recado::db::{
    holds::{self, Scope},
    senders::check_timeline,
};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    database,
    harness::{make_database, unique},
    house::House,
};

async fn connect(name: &str) -> PgPool {
    let options = PgConnectOptions::from_str(&database::url_of(name)).unwrap();
    PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
}

async fn on_server(sql: String) {
    let server = connect("postgres").await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&server).await.unwrap();
    server.close().await;
}

/// It is noticed once, holds everything, and stays so until somebody releases it.
async fn is_held_until_released(pool: &PgPool) {
    assert!(check_timeline(pool).await.unwrap(), "it is noticed");
    assert!(!check_timeline(pool).await.unwrap(), "once");
    let held = holds::in_force(pool).await.unwrap();
    assert_eq!(
        held.iter().map(|hold| (hold.scope.as_str(), hold.reason.as_str())).collect::<Vec<_>>(),
        [("everything", "database_restored")]
    );
    assert_eq!(holds::release(pool, &Scope::Everything, None, "test").await.unwrap(), 1);
    assert!(!check_timeline(pool).await.unwrap());
    assert!(holds::in_force(pool).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_copy_in_the_same_cluster_is_noticed() {
    let (name, copy) = (unique("original"), unique("copy"));
    let (original, _) = make_database(&name).await;
    assert!(!check_timeline(&original).await.unwrap(), "the first to look notes where it is");
    assert!(!check_timeline(&original).await.unwrap());
    original.close().await;
    on_server(format!("create database {copy} template {name}")).await;
    let pool = connect(&copy).await;
    is_held_until_released(&pool).await;
    pool.close().await;
    let original = connect(&name).await;
    assert!(!check_timeline(&original).await.unwrap(), "the original goes on");
    original.close().await;
    database::end(&copy).await;
    database::end(&name).await;
}

#[tokio::test]
async fn a_dump_loaded_into_another_database_is_noticed() {
    let (name, copy) = (unique("dumped"), unique("loaded"));
    let (original, url) = make_database(&name).await;
    check_timeline(&original).await.unwrap();
    let loaded_into = url.replace(&name, &copy);
    on_server(format!("create database {copy}")).await;
    // The server's own programs are not on every machine; the copy above needs none.
    match Command::new("sh")
        .args(["-c", "pg_dump \"$0\" | psql -q -v ON_ERROR_STOP=1 \"$1\"", &url, &loaded_into])
        .output()
    {
        Ok(done) if done.status.success() && done.stderr.is_empty() => {
            let pool = connect(&copy).await;
            is_held_until_released(&pool).await;
            pool.close().await;
        }
        other => println!("there is no pg_dump that this server likes: {other:?}"),
    }
    original.close().await;
    database::end(&copy).await;
    database::end(&name).await;
}

#[tokio::test]
async fn tables_that_were_dropped_and_made_again_in_place_are_noticed_and_nothing_is_sent() {
    let house = House::start().await;
    let pool = &house.pools.ops;
    assert!(!check_timeline(pool).await.unwrap());
    house.agreed().await;
    house.order(crate::house::ANA).await;
    // As `pg_restore --clean` does.
    for step in [
        "create table kept as select * from written_by",
        "drop table written_by",
        "create table written_by (like kept)",
        "create unique index on written_by (one)",
        "insert into written_by select * from kept",
    ] {
        house.run(step).await;
    }
    assert!(check_timeline(pool).await.unwrap());
    assert!(house.claim().await.go.is_empty());
    assert_eq!(holds::release(pool, &Scope::Everything, None, "test").await.unwrap(), 1);
    house.claim_one().await;
}
