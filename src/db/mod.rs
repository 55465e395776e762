//! What is remembered: all SQL, one file a verb's noun.
//!
//! One verb is one statement or one transaction; a guarded write says how many rows it touched. Hot paths are single
//! autocommitted statements, because a `begin` whose future is dropped leaves its connection inside a transaction.
//! Whatever is read is parsed here: no text from a row means anything further up.

pub mod checkup;
pub mod consents;
pub mod contacts;
pub mod decisions;
pub mod dispatch;
pub mod doors;
pub mod doubt;
pub mod holds;
pub mod inbound;
pub mod inbox;
pub mod keys;
pub mod lanes;
pub mod listing;
pub mod outbox;
pub mod person;
pub mod pools;
pub mod progress;
pub mod receipts;
pub mod rejected;
pub mod retention;
pub mod senders;
pub mod settle;
pub mod story;
pub mod templates;
pub mod upkeep;
pub mod webhooks;

pub use jiff_sqlx::Timestamp as Time;
pub use pools::{Pools, connect, migrate};

/// What the database would not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be reached, was too slow or went away: the same call may work later.
    #[error("the database is out of reach: {0}")]
    Outage(#[source] sqlx::Error),
    /// It refused these very rows (SQLSTATE class 22 or 23), and will again.
    #[error("the database refused the row ({code})")]
    Data { code: String },
    /// A row says what no version of ours writes.
    #[error("the database holds an inconsistency: {table}.{column} of {row}")]
    Inconsistent { table: &'static str, column: &'static str, row: String },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
            Some(code) if code.starts_with("22") || code.starts_with("23") => Error::Data { code: code.into_owned() },
            _ => Error::Outage(error),
        }
    }
}

/// A moment as the database takes it.
#[must_use]
pub fn time(at: jiff::Timestamp) -> Time {
    jiff_sqlx::ToSqlx::to_sqlx(at)
}
