//! The figures that are always in view: what the shop was told against what Postgres has, and what the simulator took against both.
//!
//! *Lost* is an event that RabbitMQ has confirmed to the shop and that has neither an end nor a place in a queue: Postgres does not know it,
//! and RabbitMQ's queue has been empty, with the worker consuming, for longer than anybody has an event in hand.
//! *Sent twice* is what the simulator's own list has more than once for one notification, without what is marked as a resend.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    board::Score,
    shop::{RUN, Shop},
};
use crate::{
    db::progress::{self, Aftermath, Tally},
    domain::notification::AttemptId,
    sim::World,
};

/// Nobody has an event in hand for longer, from the queue to the row.
const IN_HAND: Duration = Duration::from_secs(8);
/// So many events are asked about at once.
const CHUNK: usize = 5_000;

/// What was confirmed, taken and seen so far.
pub struct Audit {
    pool: PgPool,
    since: Timestamp,
    mark: String,
    queue: String,
    sources: Vec<String>,
    confirmed: u64,
    /// Of each source: what the shop was told that RabbitMQ has, and Postgres has not been seen to have.
    open: HashMap<String, HashMap<String, Instant>>,
    /// Since when the queue is seen empty and consumed.
    empty: Option<Instant>,
    seen: u64,
    /// Of each notification: the number of the first attempt that the provider took, and those of all others.
    taken: HashMap<Uuid, (i16, Vec<i16>)>,
}

impl Audit {
    pub fn new(pool: PgPool, since: Timestamp, shop: &Shop, queue: &str) -> Audit {
        Audit {
            pool,
            since,
            mark: shop.mark().to_owned(),
            queue: queue.to_owned(),
            sources: Vec::new(),
            confirmed: 0,
            open: HashMap::new(),
            empty: None,
            seen: 0,
            taken: HashMap::new(),
        }
    }

    /// RabbitMQ has confirmed these to the shop. The same event again is the same event.
    pub fn confirm<'a>(&mut self, source: &str, ids: impl IntoIterator<Item = &'a str>) {
        if !self.sources.iter().any(|known| known == source) {
            self.sources.push(source.to_owned());
        }
        let open = self.open.entry(source.to_owned()).or_default();
        for id in ids {
            self.confirmed += 1;
            open.insert(id.to_owned(), Instant::now());
        }
    }

    /// Looks, and says what it comes to; with how each source stands.
    ///
    /// # Errors
    /// If Postgres cannot be asked. RabbitMQ not answering means that nothing is called lost.
    pub async fn look(&mut self, shop: &Shop, world: &World, works: bool) -> anyhow::Result<(Score, Vec<Tally>)> {
        self.strike_off().await?;
        let tallies = progress::tally(&self.pool, &self.sources, self.since).await?;
        let of = |field: fn(&Tally) -> i64| u64::try_from(tallies.iter().map(field).sum::<i64>()).unwrap_or_default();
        let rejected = progress::rejected_with(&self.pool, RUN, &self.mark).await?;
        let rejected = u64::try_from(rejected).unwrap_or_default();
        let missing: u64 = self.open.values().map(|ids| ids.len() as u64).sum();
        let lost = if missing == 0 { 0 } else { self.lost(shop, works).await.saturating_sub(rejected) };
        let twice = self.twice(world).await?;
        let score = Score {
            events: self.confirmed,
            in_queue: missing.saturating_sub(lost).saturating_sub(rejected),
            waiting: of(|tally| tally.waiting),
            accepted: of(|tally| tally.accepted),
            delivered: of(|tally| tally.delivered),
            suppressed: of(|tally| tally.suppressed),
            failed: of(|tally| tally.failed),
            rejected,
            in_doubt: of(|tally| tally.in_doubt),
            resent: of(|tally| tally.resent),
            lost,
            twice,
        };
        Ok((score, tallies))
    }

    /// What of all that is stopped or was left without an answer.
    ///
    /// # Errors
    /// If Postgres cannot be asked.
    pub async fn aftermath(&self) -> anyhow::Result<Aftermath> {
        Ok(progress::aftermath(&self.pool, &self.sources, self.since).await?)
    }

    /// What Postgres has is accounted for.
    async fn strike_off(&mut self) -> anyhow::Result<()> {
        for (source, open) in &mut self.open {
            let ids: Vec<String> = open.keys().cloned().collect();
            for chunk in ids.chunks(CHUNK) {
                for id in progress::accounted(&self.pool, source, chunk).await? {
                    open.remove(&id);
                }
            }
        }
        Ok(())
    }

    async fn lost(&mut self, shop: &Shop, works: bool) -> u64 {
        let empty = works && matches!(shop.depth(&self.queue).await, Ok(0));
        let since = *self.empty.get_or_insert_with(Instant::now);
        if !empty {
            self.empty = None;
            return 0;
        }
        if since.elapsed() < IN_HAND {
            return 0;
        }
        self.open.values().flat_map(HashMap::values).filter(|at| at.elapsed() > IN_HAND).count() as u64
    }

    async fn twice(&mut self, world: &World) -> anyhow::Result<u64> {
        loop {
            let page = world.accepted_since(self.seen, CHUNK);
            let Some(last) = page.last() else { break };
            self.seen = last.no;
            // What the provider itself reports as failed, nobody has.
            for message in page.iter().filter(|message| message.fails.is_none()) {
                let Some(attempt) = message.tag.as_deref().and_then(attempt) else { continue };
                self.taken
                    .entry(attempt.notification)
                    .and_modify(|(_, more)| more.push(attempt.number))
                    .or_insert((attempt.number, Vec::new()));
            }
        }
        let doubled: Vec<Uuid> = self
            .taken
            .iter()
            .filter(|(_, (_, more))| !more.is_empty())
            .map(|(notification, _)| *notification)
            .collect();
        if doubled.is_empty() {
            return Ok(0);
        }
        let marked = progress::marked_resends(&self.pool, &doubled).await?;
        Ok(doubled
            .iter()
            .filter_map(|id| Some((id, self.taken.get(id)?)))
            .map(|(id, took)| unmarked(*id, took, &marked))
            .sum())
    }
}

/// How often one notification was taken beyond the first time without being marked as a resend.
fn unmarked(id: Uuid, (first, more): &(i16, Vec<i16>), marked: &[(Uuid, i16)]) -> u64 {
    let mut seen = vec![*first];
    let mut unmarked = 0;
    for number in more {
        unmarked += u64::from(seen.contains(number) || !marked.contains(&(id, *number)));
        seen.push(*number);
    }
    unmarked
}

/// The attempt that a message's tag names: at Meta the tag is it, at Twilio it ends the callback's address.
fn attempt(tag: &str) -> Option<AttemptId> {
    tag.rsplit_once("attempt=").map_or(tag, |(_, id)| id).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_marked_as_a_resend_may_be_taken_again_and_once() {
        let (id, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for (more, marked, twice) in [
            (vec![], vec![], 0),
            (vec![2], vec![(id, 2)], 0),
            (vec![2], vec![], 1),
            (vec![2], vec![(other, 2)], 1),
            (vec![1], vec![(id, 1)], 1),
            (vec![2, 2, 3], vec![(id, 2)], 2),
        ] {
            assert_eq!(unmarked(id, &(1, more.clone()), &marked), twice, "{more:?} with {marked:?}");
        }
    }

    #[test]
    fn the_attempt_is_found_in_either_providers_tag() {
        let id = "0193f2c48d1e7a309b1d2f0c5a1e7b44.2";
        for tag in [id.to_owned(), format!("http://127.0.0.1:1/webhooks/sms?attempt={id}")] {
            assert_eq!(attempt(&tag).unwrap().number, 2);
        }
        assert_eq!(attempt("something else"), None);
    }
}
