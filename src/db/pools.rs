//! Connections: separate small pools, so that a slow look-up can not starve sending; and the schema's version.

use std::{net::IpAddr, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use super::Error;
use crate::clock::Clock;

/// The schema's history, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// One pool a kind of work. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pools {
    pub intake: PgPool,
    pub dispatch: PgPool,
    pub receipts: PgPool,
    /// The opt-in's pages and API: whoever floods them waits for each other and for nobody else.
    pub public: PgPool,
    /// Operators' questions, upkeep, commands.
    pub ops: PgPool,
}

/// How many connections each pool may hold, and how long a statement may take.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub intake: u32,
    pub dispatch: u32,
    pub receipts: u32,
    pub public: u32,
    pub ops: u32,
    /// For all but `ops`.
    pub statement_timeout: Duration,
    /// For `ops`.
    pub slow_timeout: Duration,
    pub acquire_timeout: Duration,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            intake: 2,
            dispatch: 6,
            receipts: 2,
            public: 2,
            ops: 3,
            statement_timeout: Duration::from_secs(10),
            slow_timeout: Duration::from_secs(60),
            acquire_timeout: Duration::from_secs(3),
        }
    }
}

/// Opens the pools. Connections are made when they are first needed.
///
/// # Errors
/// If the address is none. It is not repeated, since it may hold a password.
pub fn connect(url: &str, sizes: Sizes, clock: &Clock) -> Result<Pools, Error> {
    let base = without_tls_at_home(PgConnectOptions::from_str(url)?)
        .options([("jit", "off"), ("idle_in_transaction_session_timeout", "10000")]);
    let limited = |timeout: Duration| {
        base.clone().options([
            ("statement_timeout", timeout.as_millis().to_string()),
            ("lock_timeout", (timeout / 2).as_millis().to_string()),
        ])
    };
    let options = limited(sizes.statement_timeout);
    // The hot statements look rows up by key, whatever the statistics say: a plan that reads a whole table because it was
    // small or never analysed when the statement was prepared would stay for as long as the connection does.
    let by_key = [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("plan_cache_mode", "force_generic_plan")];
    let looped = [("enable_hashjoin", "off"), ("enable_mergejoin", "off")];
    let dispatch = options.clone().application_name("recado dispatch").options(by_key).options(looped);
    let pool = |options: PgConnectOptions, size| pool(options, size, sizes.acquire_timeout, clock);
    Ok(Pools {
        intake: pool(options.clone().application_name("recado intake").options(by_key), sizes.intake),
        dispatch: pool(dispatch, sizes.dispatch),
        receipts: pool(options.clone().application_name("recado receipts").options(by_key), sizes.receipts),
        public: pool(options.application_name("recado public").options(by_key), sizes.public),
        ops: pool(limited(sizes.slow_timeout).application_name("recado ops"), sizes.ops),
    })
}

/// On this machine itself TLS protects nothing, and its small records wait for one another: 40 ms for each larger statement,
/// seen on loopback. A URL that asks for TLS gets it.
pub(super) fn without_tls_at_home(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let at_home = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let undecided = matches!(options.get_ssl_mode(), PgSslMode::Prefer);
    if at_home && undecided { options.ssl_mode(PgSslMode::Disable) } else { options }
}

fn pool(options: PgConnectOptions, size: u32, acquire_timeout: Duration, clock: &Clock) -> PgPool {
    let mut pool = PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(acquire_timeout)
        .max_lifetime(Duration::from_secs(1800))
        .idle_timeout(Duration::from_secs(300))
        // The statement itself finds out whether its connection still stands; a question before each would double the trips.
        .test_before_acquire(false);
    if clock.is_standing() {
        let (first, again) = (clock.clone(), clock.clone());
        pool = pool.after_connect(move |connection, _| Box::pin(show(connection, first.now())));
        pool = pool.before_acquire(move |connection, _| {
            let now = again.now();
            Box::pin(async move { show(connection, now).await.map(|()| true) })
        });
    }
    pool.connect_lazy_with(options)
}

/// Lets a test's connection tell the test's time.
async fn show(connection: &mut PgConnection, now: jiff::Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!("select set_config('recado.now', $1, false)", now.to_string()).fetch_one(connection).await?;
    Ok(())
}

/// How the database's schema stands to this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Fits,
    Empty,
    /// So many migrations are missing: `recado migrate`.
    Older(usize),
    /// It was made by a newer program, which has to be installed.
    Newer,
    /// A migration that both know has another text.
    Altered(i64),
}

/// Whether rows can be written there now: not on a replica, nor after somebody made it read-only.
///
/// # Errors
/// If the database cannot be asked.
pub async fn takes_writes(pool: &PgPool) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"select not (pg_is_in_recovery() or current_setting('transaction_read_only')::bool) as "takes!""#
    )
    .fetch_one(pool)
    .await?)
}

/// Compares the schema with the program.
///
/// # Errors
/// If the database cannot be asked.
pub async fn schema(pool: &PgPool) -> Result<Schema, Error> {
    let exists =
        sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "yes!""#).fetch_one(pool).await?;
    if !exists {
        return Ok(Schema::Empty);
    }
    // Not a checked query: the table is sqlx's own and no migration of ours makes it.
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success order by version")
            .fetch_all(pool)
            .await?;
    let known: Vec<_> = MIGRATOR.iter().collect();
    for (version, checksum) in &applied {
        match known.iter().find(|m| m.version == *version) {
            None => return Ok(Schema::Newer),
            Some(m) if m.checksum.as_ref() != checksum.as_slice() => return Ok(Schema::Altered(*version)),
            Some(_) => {}
        }
    }
    Ok(match known.len().saturating_sub(applied.len()) {
        0 => Schema::Fits,
        missing => Schema::Older(missing),
    })
}

/// Brings the schema up to this program's version.
///
/// # Errors
/// If a migration fails; those before it stay applied.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    // A migration may take long, and then the log would have the whole of it.
    let quiet = PgConnectOptions::clone(&pool.connect_options()).disable_statement_logging();
    let mut connection = quiet.connect().await?;
    MIGRATOR.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
