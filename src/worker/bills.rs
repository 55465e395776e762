//! What Twilio took for messages, asked for now and then: it is not reported by itself. One process does it at a time, by a lease.

use std::time::Duration;

use jiff::civil::Date;
use sqlx::PgPool;
use uuid::Uuid;

use super::wire::Wire;
use crate::{
    clock::Clock,
    db::{
        self,
        costs::{self, By, Priced},
        outbox,
    },
    domain::cost::{Prices, day},
    lifecycle::Lifecycle,
    provider::twilio::Twilio,
};

/// A sender at Twilio.
#[derive(Debug, Clone)]
pub struct Account {
    pub sender: i16,
    pub name: String,
    pub twilio: Twilio,
    pub prices: Prices,
}

/// The part of this process that asks.
pub struct Bills {
    pub worker: Uuid,
    pub pool: PgPool,
    pub clock: Clock,
    pub accounts: Vec<Account>,
    pub wire: Wire,
}

/// How often to ask, and how long whoever asks keeps the others from it.
const EVERY: Duration = Duration::from_secs(30 * 60);
const LEASE: &str = "bills";
const LEASE_LASTS: Duration = Duration::from_secs(45 * 60);
/// A page of a thousand messages is a megabyte or two.
const PAGE_LIMIT: usize = 16 * 1024 * 1024;
/// More than a day ever has.
const PAGES_MAX: usize = 10_000;

impl Bills {
    /// The wire to ask by: a page is larger than an answer to one message, and takes longer.
    ///
    /// # Errors
    /// If this system's certificates cannot be used.
    pub fn wire() -> Result<Wire, rustls::Error> {
        Ok(Wire::new(Duration::from_secs(60), Duration::from_secs(5), 1)?.reading(PAGE_LIMIT))
    }

    /// Asks until the soft token.
    ///
    /// # Errors
    /// Never by itself: an outage is waited out.
    pub async fn run(self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        while !life.soft().is_cancelled() {
            let turn = async {
                if outbox::hold_lease(&self.pool, LEASE, self.worker, LEASE_LASTS).await? {
                    self.step().await
                } else {
                    Ok(())
                }
            };
            tokio::select! {
                done = turn => if let Err(error) = done {
                    tracing::warn!(%error, "bills.interrupted: asked for again later");
                },
                () = life.soft().cancelled() => {}
            }
            life.rest(EVERY).await;
        }
        Ok(())
    }

    /// Asks for yesterday's and today's prices, of senders with messages of which something is not known.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn step(&self) -> Result<(), db::Error> {
        let today = day(self.clock.now());
        let yesterday = today.yesterday().unwrap_or(today);
        let sums = costs::sums(&self.pool, yesterday, today, By { day: true, sender: true, ..By::default() }).await?;
        for account in &self.accounts {
            let open = |on: Date| {
                let of = |sum: &&costs::Sum| sum.day == Some(on) && sum.sender.as_ref() == Some(&account.name);
                sums.iter().filter(of).any(|sum| sum.known < sum.messages)
            };
            let yesterdays = open(yesterday);
            if yesterdays {
                self.ask(account, yesterday).await?;
            }
            // What went at the end of a day may have been sent on the next one by Twilio's time.
            if yesterdays || open(today) {
                self.ask(account, today).await?;
            }
        }
        Ok(())
    }

    async fn ask(&self, account: &Account, on: Date) -> Result<(), db::Error> {
        let mut page: Option<String> = None;
        // What Twilio adds is in the prediction already; its own word takes that place.
        let added = account.prices.added(on);
        for _ in 0..PAGES_MAX {
            let Some(request) = account.twilio.ask_for_prices(on, page.as_deref()) else { break };
            let Some(priced) = self.wire.ask(request).await.ok().as_ref().and_then(Twilio::prices) else {
                tracing::warn!(sender = %account.name, "bills.unread: the provider gave no list of messages; asked for again later");
                break;
            };
            let told: Vec<Priced> = priced
                .messages
                .into_iter()
                .map(|(message_id, price)| Priced { message_id, price, instead_of: added })
                .collect();
            costs::bill(&self.pool, account.sender, &told, account.twilio.tells_all()).await?;
            page = priced.next;
            if page.is_none() {
                break;
            }
        }
        Ok(())
    }
}
