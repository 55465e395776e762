//! A shop's own outbox table, in the shop's own database: `docs/examples/producers/outbox.sql` makes it.
//!
//! No query here is checked when Recado is compiled: the table is not in Recado's schema.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Error, pools::without_tls_at_home};

/// An event that the shop wrote down.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Written {
    pub position: i64,
    pub event: String,
}

/// One connection to a shop's database, made when it is first needed.
///
/// # Errors
/// If the address is none. It is not repeated, since it may hold a password.
pub fn connect(url: &str) -> Result<PgPool, Error> {
    let options = without_tls_at_home(PgConnectOptions::from_str(url)?)
        .application_name("recado drain")
        .options([("statement_timeout", "10000"), ("lock_timeout", "5000")]);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(5));
    Ok(pool.connect_lazy_with(options))
}

/// The first events of the outbox, at most `limit`. Of one that is longer than `most` characters, only the beginning.
///
/// # Errors
/// If the shop's database cannot be asked.
pub async fn waiting(pool: &PgPool, limit: i64, most: i32) -> Result<Vec<Written>, Error> {
    let query = "
        -- shop: waiting
        select position, left(event::text, $2) as event from recado_outbox order by position limit $1";
    Ok(sqlx::query_as(query).bind(limit).bind(most).fetch_all(pool).await?)
}

/// Removes events that are safe elsewhere. Says how many were still there.
///
/// # Errors
/// If the shop's database does not take it: they are read again then.
pub async fn remove(pool: &PgPool, positions: &[i64]) -> Result<u64, Error> {
    let query = "
        -- shop: remove
        delete from recado_outbox where position = any($1)";
    Ok(sqlx::query(query).bind(positions).execute(pool).await?.rows_affected())
}
