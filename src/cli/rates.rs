//! The price lists: read from their folder, and held against the senders and their budgets.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use super::{files, run};
use crate::{
    clock::Clock,
    config::{Provider, Sender, Settings},
    db::Pools,
    domain::{
        cost::Prices,
        money::Currency,
        rates::{Book, Of},
    },
    worker::bills::{Account, Bills},
};

/// The price lists, checked.
///
/// # Errors
/// With every problem, a line each: file, line, key, what is wrong and the cure.
pub fn load(settings: &Settings) -> anyhow::Result<Book> {
    let files = settings.rates.dir.as_deref().map_or_else(|| Ok(Vec::new()), |dir| files(dir, "csv"))?;
    let problems = match Book::load(&files) {
        Ok(book) => {
            let problems = strange(settings, &book);
            if problems.is_empty() {
                return Ok(book);
            }
            problems
        }
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    anyhow::bail!("{} problem(s) in the price lists:\n{}", problems.len(), problems.join("\n"))
}

/// What does not fit the senders. Without any nothing is compared.
fn strange(settings: &Settings, book: &Book) -> Vec<String> {
    if settings.senders.is_empty() {
        return Vec::new();
    }
    let mut known: Vec<&str> = settings.senders.keys().map(String::as_str).collect();
    known.extend(["meta", "twilio", "twilio_sms"]);
    let mut problems: Vec<String> = book.of_nobody(&known).iter().map(ToString::to_string).collect();
    for sender in settings.senders.values() {
        let currencies = book.currencies(of(sender));
        let names: Vec<&str> = currencies.iter().map(Currency::as_str).collect();
        let at = format!("senders.{}", sender.name);
        if names.len() > 1 {
            problems.push(format!(
                "rates.dir: the price lists of the sender {} are in {}; leave those of one currency, or name the sender in the column sender.",
                sender.name,
                names.join(" and ")
            ));
        }
        match sender.budget.currency() {
            Some(_) if names.is_empty() => problems.push(format!(
                "{at}.budget_daily, budget_monthly: a budget needs prices, and no list in rates.dir has any for this sender; see docs/costs.md."
            )),
            Some(currency) if !currencies.contains(&currency) => problems.push(format!(
                "{at}.budget_daily, budget_monthly: must be in {}, as its price lists are.",
                names.join(" or ")
            )),
            Some(_) | None => {}
        }
    }
    problems
}

/// The prices of each sender, by name.
#[must_use]
pub fn prices(settings: &Settings, book: Book) -> HashMap<String, Prices> {
    let book = Arc::new(book);
    let of = |sender: &Sender| Prices::new(Arc::clone(&book), &sender.name, sender.kind());
    settings.senders.iter().map(|(name, sender)| (name.clone(), of(sender))).collect()
}

/// Who asks Twilio what it took; none if no sender is there.
///
/// # Errors
/// If a sender's settings make no request.
pub fn bills(
    settings: &Settings,
    pools: &Pools,
    ids: &HashMap<String, i16>,
    prices: &HashMap<String, Prices>,
    (clock, worker): (&Clock, Uuid),
) -> anyhow::Result<Option<Bills>> {
    let mut accounts = Vec::new();
    for sender in settings.senders.values() {
        let (Provider::Twilio(of) | Provider::TwilioSms(of)) = &sender.provider else { continue };
        let (Some(id), Some(prices)) = (ids.get(&sender.name), prices.get(&sender.name)) else { continue };
        let (name, twilio) = (sender.name.clone(), run::twilio(settings, sender, of)?);
        accounts.push(Account { sender: *id, name, twilio, prices: prices.clone() });
    }
    if accounts.is_empty() {
        return Ok(None);
    }
    let (pool, clock, wire) = (pools.ops.clone(), clock.clone(), Bills::wire()?);
    Ok(Some(Bills { worker, pool, clock, accounts, wire }))
}

fn of(sender: &Sender) -> Of<'_> {
    Of { sender: &sender.name, kind: sender.kind() }
}
