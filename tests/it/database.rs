//! Databases for the tests, on `DATABASE_URL`'s server: copies of one that was migrated, each gone with its test.

use std::str::FromStr;

use recado::{clock::Clock, db};
use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::harness::variable;

/// The server, with a database that is there.
pub fn server_url() -> String {
    variable("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
}

/// Of a database of that name.
pub fn url_of(name: &str) -> String {
    url_on(&server_url(), name)
}

fn url_on(server: &str, name: &str) -> String {
    let mut url = reqwest::Url::parse(server).expect("DATABASE_URL is a URL");
    url.set_path(name);
    url.to_string()
}

/// A migrated database of that name; gives its URL.
pub async fn make(name: &str) -> String {
    make_on(&server_url(), name).await
}

/// The same on another server.
pub async fn make_on(server: &str, name: &str) -> String {
    let mut connection = connect(server).await;
    let original = original(server, &mut connection).await;
    run(&mut connection, format!("create database {name} template {original}")).await.expect("a database");
    connection.close().await.expect("goodbye");
    url_on(server, name)
}

/// Ends it, whoever uses it.
pub async fn end(name: &str) {
    if let Err(error) = try_end(name).await {
        println!("the database {name} is left behind: {error}");
    }
}

async fn try_end(name: &str) -> Result<(), sqlx::Error> {
    run(&mut connect(&server_url()).await, format!("drop database if exists {name} with (force)")).await
}

/// The same where nothing can be awaited; a test that went well fails if it is left behind.
pub fn end_now(name: &str) {
    // In a thread of its own, since the test's runtime may be waiting for this.
    let ended = std::thread::scope(|scope| {
        let ending = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(try_end(name))
        });
        ending.join()
    });
    if !std::thread::panicking() {
        ended.expect("it does not panic").expect("the database goes");
    }
}

async fn connect(server: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(server).expect("DATABASE_URL is an address");
    options.connect().await.expect("the Postgres server of DATABASE_URL answers")
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// The one to copy from, made once for each state of the migrations, and each month since they make the partitions of two.
async fn original(server: &str, connection: &mut PgConnection) -> String {
    let mut hash = Sha256::new();
    db::pools::MIGRATOR.iter().for_each(|migration| hash.update(&migration.checksum));
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("recado_template_{hash}_{}", Clock::system().now().strftime("%Y%m"));
    let ready = "select exists (select from pg_database where datname = $1 and not datallowconn)";
    let ready = async |connection: &mut PgConnection| {
        sqlx::query_scalar(ready).bind(&name).fetch_one(connection).await.expect("Postgres knows its databases")
    };
    if ready(connection).await {
        return name;
    }
    run(connection, "select pg_advisory_lock(7262736302)".to_owned()).await.expect("the lock");
    if !ready(connection).await {
        run(connection, format!("drop database if exists {name} with (force)")).await.expect("none is there");
        run(connection, format!("create database {name}")).await.expect("a database");
        let pool = PgPoolOptions::new().max_connections(1).connect(&url_on(server, &name)).await.expect("the database");
        db::migrate(&pool).await.expect("the migrations apply");
        pool.close().await;
        // Nobody may be connected to what is copied from.
        run(connection, format!("alter database {name} allow_connections false")).await.expect("it is closed");
    }
    run(connection, "select pg_advisory_unlock(7262736302)".to_owned()).await.expect("the lock is let go");
    name
}
