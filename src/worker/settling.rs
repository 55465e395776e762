//! Results on their way into the database: kept in memory until it has them, batched while others are on their way.
//!
//! A slot of the dispatcher is free again only when its result is written, so a database that takes no results lets
//! nothing new be sent.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Flag, Nudge, purse::Spending, traces::Followable};
use crate::db::{
    self,
    dispatch::Pace,
    lanes,
    settle::{Settlement, adopt_late, settle},
};
use crate::lifecycle::crash;

/// A result, the slot that it holds and the money.
pub struct Result {
    pub settlement: Settlement,
    pub slot: OwnedSemaphorePermit,
    pub spending: Spending,
    /// If its trace is followed.
    pub followable: Option<Followable>,
}

/// How results are written.
#[derive(Debug, Clone)]
pub struct Rules {
    pub batch: usize,
    pub linger: Duration,
    pub pace: Pace,
}

/// Writes results until nobody can send any more. At most two statements are under way at once. While the database takes none,
/// `stuck` is up, and nothing new is claimed.
pub async fn run(pool: PgPool, rules: Rules, stuck: Flag, nudge: Nudge, mut results: mpsc::Receiver<Result>) {
    let writers = Arc::new(tokio::sync::Semaphore::new(2));
    let mut writing = tokio::task::JoinSet::new();
    loop {
        let mut batch = Vec::with_capacity(rules.batch);
        if results.recv_many(&mut batch, rules.batch).await == 0 {
            break;
        }
        let Ok(writer) = Arc::clone(&writers).acquire_owned().await else { break };
        if batch.len() < rules.batch && !rules.linger.is_zero() {
            let more =
                async { while batch.len() < rules.batch && results.recv_many(&mut batch, rules.batch).await > 0 {} };
            let _ = tokio::time::timeout(rules.linger, more).await;
        }
        let (pool, rules, stuck, nudge) = (pool.clone(), rules.clone(), stuck.clone(), nudge.clone());
        writing.spawn(async move {
            // By key, as everybody locks them who writes many at once.
            batch.sort_unstable_by_key(|result| result.settlement.attempt);
            let mut followed = Vec::new();
            let (settlements, held): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .map(|Result { settlement, slot, spending, followable }| {
                    followed.extend(followable);
                    (settlement, (slot, spending))
                })
                .unzip();
            write(&pool, &rules, &stuck, &nudge, &settlements).await;
            crash::point("settled");
            followed.into_iter().for_each(Followable::settled);
            drop((held, writer));
            nudge.wake();
        });
        while writing.try_join_next().is_some() {}
    }
    while writing.join_next().await.is_some() {}
}

/// Writes these results, however long that takes, and wakes the lanes that waited for them.
pub async fn write(pool: &PgPool, rules: &Rules, stuck: &Flag, nudge: &Nudge, settlements: &[Settlement]) {
    let settled = taken(stuck, settlements.len(), || settle(pool, settlements)).await;
    for attempt in &settled.overtaken {
        crate::telemetry::count_lost_lease();
        tracing::warn!(%attempt, "attempt.overtaken: its lease was lost; the result is kept as evidence");
    }
    // Before its notification knows, it may be sent again.
    taken(stuck, settled.overtaken.len(), || adopt_late(pool, settlements, &settled.overtaken)).await;
    wake_lanes(pool, &settled.wake, rules.pace, nudge).await;
}

/// What comes of writing these, once the database takes them.
async fn taken<T, W>(stuck: &Flag, results: usize, write: impl Fn() -> W) -> T
where
    W: Future<Output = std::result::Result<T, db::Error>>,
{
    let mut pause = Duration::from_millis(50);
    loop {
        match write().await {
            Ok(taken) => {
                stuck.set(false);
                return taken;
            }
            Err(error) => {
                stuck.set(true);
                tracing::warn!(%error, results, "results.kept: nothing new is sent until the database takes them");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}

/// Wakes lanes; what fails is found again by upkeep.
pub async fn wake_lanes(pool: &PgPool, of: &[(i64, i16)], pace: Pace, nudge: &Nudge) {
    match lanes::wake(pool, of, pace).await {
        Ok(0) => {}
        Ok(_) => nudge.wake(),
        Err(error) => report(&error),
    }
}

fn report(error: &db::Error) {
    tracing::warn!(%error, "lanes.not_woken: upkeep will find them");
}
