//! What the doctor says about price lists and budgets.

use super::{Findings, counted};
use crate::{
    cli::rates,
    config::Settings,
    db::{Pools, costs, senders},
    domain::money::{Money, decimal},
};

pub(super) fn check_rates(found: &mut Findings, settings: &Settings) {
    const WHAT: &str = "price lists";
    match rates::load(settings) {
        Ok(book) if book.is_empty() => {
            found.warn(
                WHAT,
                "there are none, so nobody knows what messages cost",
                "put them into rates.dir, see docs/costs.md",
            );
        }
        Ok(book) if !book.examples().is_empty() => found.warn(
            WHAT,
            format!(
                "{} counted with, which are examples",
                counted(&book.examples().iter().map(String::as_str).collect::<Vec<_>>(), "file")
            ),
            "put your account's own in their place (rates.dir), see docs/costs.md",
        ),
        Ok(_) => found.ok(WHAT, "they can be used"),
        Err(error) => found.wrong(WHAT, error.to_string(), "each mistake is named with its file and line"),
    }
}

pub(super) async fn check_budgets(found: &mut Findings, settings: &Settings, pools: &Pools) {
    for sender in settings.senders.values() {
        let (Some(currency), Ok(Some(id))) = (sender.budget.currency(), senders::find(&pools.ops, &sender.name).await)
        else {
            continue;
        };
        let what = format!("budget of {}", sender.name);
        let spent = match costs::spent(&pools.ops, id, currency).await {
            Ok(spent) => spent,
            Err(error) => {
                found.wrong(what, error.to_string(), "the database's log says more");
                continue;
            }
        };
        let periods = [
            ("budget_daily", "today", sender.budget.daily, spent.today, spent.tomorrow),
            ("budget_monthly", "this month", sender.budget.monthly, spent.this_month, spent.next_month),
        ];
        for (key, when, limit, used, until) in periods {
            let Some(limit) = limit else { continue };
            let said = format!("{} of {limit} spent {when}", decimal(used));
            let cure = format!("raise senders.{}.{key} if it is too low", sender.name);
            if used >= limit.micros {
                found.warn(&what, format!("{said}: what is not urgent waits until {until}"), cure);
            } else if used >= nine_tenths(limit) {
                found.warn(&what, said, cure);
            } else {
                found.ok(&what, said);
            }
        }
    }
}

fn nine_tenths(of: Money) -> i64 {
    of.micros - of.micros / 10
}
