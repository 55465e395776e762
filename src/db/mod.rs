//! What is remembered: all SQL, one file a verb's noun.
//!
//! One verb is one statement or one transaction; a guarded write says how many rows it touched. Hot paths are single
//! autocommitted statements, because a `begin` whose future is dropped leaves its connection inside a transaction.
//! Whatever is read is parsed here: no text from a row means anything further up.

pub mod anchors;
pub mod approvals;
pub mod audit;
pub mod callbacks;
pub mod checkup;
pub mod consents;
pub mod contacts;
pub mod costs;
pub mod decisions;
pub mod dispatch;
pub mod doors;
pub mod doubt;
pub mod erasure;
pub mod evidence;
pub mod health;
pub mod holds;
pub mod idempotency;
pub mod inbound;
pub mod inbox;
pub mod keys;
pub mod lanes;
pub mod listing;
pub mod merge;
pub mod now;
pub mod opt_ins;
pub mod outbox;
pub mod person;
pub mod plans;
pub mod pools;
pub mod preferences;
pub mod progress;
pub mod receipts;
pub mod rejected;
pub mod relay;
pub mod replies;
pub mod retention;
pub mod senders;
pub mod sessions;
pub mod settle;
pub mod shop;
pub mod story;
pub mod tallies;
pub mod templates;
pub mod traces;
pub mod upkeep;
pub mod users;
pub mod versions;
pub mod webhooks;

use std::borrow::Cow;

pub use jiff_sqlx::Timestamp as Time;
pub use pools::{Pools, connect, migrate};

/// What the database would not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be reached, was too slow or went away: the same call may work later.
    #[error("{}", outage(.0))]
    Outage(#[source] sqlx::Error),
    /// It refused these very rows (SQLSTATE class 22 or 23), and will again.
    #[error("the database refused the row ({code})")]
    Data { code: String },
    /// A row says what no version of ours writes.
    #[error("the database holds an inconsistency: {table}.{column} of {row}")]
    Inconsistent { table: &'static str, column: &'static str, row: String },
}

impl Error {
    /// What to do about a database that does not let us in.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self.code().as_deref() {
            Some("3D000") => "Make the database that the address names (createdb), or name another",
            Some("28000" | "28P01") => {
                "Look at the address's user and password, and whether Postgres lets this user in from here"
            }
            Some("42501") => "Let this user own Recado's database, or name its owner in the address",
            Some("42P01" | "42703" | "42883") => "Is it Recado's database, and up to date? recado migrate --dry-run",
            Some("53300") => {
                "All of Postgres's connections are in use: raise max_connections, or lower database.*_connections"
            }
            Some("57P03") => "Postgres is starting or stopping: try again in a moment",
            Some("25006") => "This Postgres is a replica: name the primary",
            Some("55P03" | "57014") => "Somebody keeps it busy: try again, and look at pg_stat_activity",
            _ => "Is Postgres running there?",
        }
    }

    /// Postgres's own code of what it says.
    #[must_use]
    pub fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Error::Outage(error) => error.as_database_error().and_then(sqlx::error::DatabaseError::code),
            Error::Data { .. } | Error::Inconsistent { .. } => None,
        }
    }
}

/// What Postgres itself said, or why it said nothing.
fn outage(error: &sqlx::Error) -> String {
    let said = match error.as_database_error() {
        // It answers, and not as we asked.
        Some(said) if said.code().is_some_and(|code| code.starts_with("42")) => {
            return format!("the database says: {}", said.message());
        }
        Some(said) => said.message().to_owned(),
        None if matches!(error, sqlx::Error::PoolTimedOut) => "no connection came about in time".to_owned(),
        None => error.to_string(),
    };
    format!("the database is out of reach: {}", said.trim_start_matches("error communicating with database: "))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
            Some(code) if code.starts_with("22") || code.starts_with("23") => Error::Data { code: code.into_owned() },
            _ => Error::Outage(error),
        }
    }
}

/// Runs one transaction in a task of its own: one whose future is dropped half-way would leave its connection inside it.
async fn alone<T, W>(pool: &sqlx::PgPool, work: W) -> Result<T, Error>
where
    T: Send + 'static,
    W: for<'c> FnOnce(&'c mut sqlx::PgConnection) -> futures_util::future::BoxFuture<'c, Result<T, Error>>
        + Send
        + 'static,
{
    let pool = pool.clone();
    let task = tokio::spawn(async move {
        let mut tx = pool.begin().await?;
        let done = work(&mut tx).await?;
        tx.commit().await?;
        Ok(done)
    });
    task.await.unwrap_or_else(|_| Err(Error::Outage(sqlx::Error::WorkerCrashed)))
}

/// A moment as the database takes it.
#[must_use]
pub fn time(at: jiff::Timestamp) -> Time {
    jiff_sqlx::ToSqlx::to_sqlx(at)
}
