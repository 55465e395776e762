//! `recado costs`: what messages cost, predicted and as far as it is known.

use std::process::ExitCode;

use anyhow::bail;
use jiff::civil::Date;

use super::{Misunderstood, complain, database, say, settings};
use crate::{
    clock::Clock,
    config::{Needs, Place, Settings},
    db::{Pools, costs, senders},
    domain::{cost::day, money::decimal},
    http::costs::{Costs, GROUPS, Line, by, range},
};

const EXAMPLE: &str = "Examples:
  recado costs                                         # this month, day by day
  recado costs --by template,country --from 2026-10-01 --to 2026-10-31
  recado costs --by sender --json
  recado costs recompute --from 2026-11-01             # makes the sums anew from the attempts";

/// Shows what messages cost. Days are UTC's; a message counts on the day on which it went.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    days: Days,
    /// What to tell apart: day, sender, template, country, category, with commas between them.
    #[arg(long, value_name = "WHAT", default_value = "day")]
    by: String,
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Args)]
struct Days {
    /// The first day (of UTC), like 2026-11-01; the month's if not given.
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day; today if not given.
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes the sums of these days anew from the attempts, as far as those are kept.
    #[command(after_help = "Examples:\n  recado costs recompute --from 2026-11-01 --to 2026-11-24")]
    Recompute {
        #[command(flatten)]
        days: Days,
    },
}

/// 0 if it was shown or done; 2 if it was not understood.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs::DATABASE)?;
    let pools = database(&settings).await?;
    let today = day(Clock::system().now());
    let of = |days: &Days| range(days.from.as_deref(), days.to.as_deref(), today);
    if let Some(What::Recompute { days }) = &args.what {
        return match of(days) {
            Ok((from, to)) => recompute(&pools, from, to).await,
            Err(why) => bail!(not_understood(&why)),
        };
    }
    let (from, to, by) = match (of(&args.days), by(&args.by)) {
        (Ok((from, to)), Ok(by)) => (from, to, by),
        (Err(why), _) | (_, Err(why)) => bail!(not_understood(&why)),
    };
    let costs = Costs::of(from, to, costs::sums(&pools.ops, from, to, by).await?);
    if args.json {
        say(&serde_json::to_string_pretty(&costs)?);
        return Ok(ExitCode::SUCCESS);
    }
    if costs.costs.is_empty() {
        say(&format!("No message went from {from} to {to}."));
    } else {
        print(&costs);
    }
    tell_budgets(&settings, &pools).await?;
    for file in super::rates::load(&settings)?.examples() {
        complain(&format!("Prices of {file} are an example: put your account's own list in its place (rates.dir)."));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with an option, which the sentence begins with.
fn not_understood(why: &str) -> Misunderstood {
    Misunderstood(format!("--{}", why.trim_end_matches('.')))
}

async fn recompute(pools: &Pools, from: Date, to: Date) -> anyhow::Result<ExitCode> {
    let mut on = from;
    while on <= to {
        let messages = costs::recompute(&pools.ops, on).await?;
        say(&format!("{on}: {messages} messages"));
        on = on.tomorrow()?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell_budgets(settings: &Settings, pools: &Pools) -> anyhow::Result<()> {
    for sender in settings.senders.values() {
        let Some(currency) = sender.budget.currency() else { continue };
        let Some(id) = senders::find(&pools.ops, &sender.name).await? else { continue };
        let spent = costs::spent(&pools.ops, id, currency).await?;
        for (limit, what, used) in
            [(sender.budget.daily, "today", spent.today), (sender.budget.monthly, "this month", spent.this_month)]
        {
            if let Some(limit) = limit {
                say(&format!("{}: {} of {limit} spent {what}", sender.name, decimal(used)));
            }
        }
    }
    Ok(())
}

const NUMBERS: [&str; 7] = ["currency", "messages", "unpriced", "predicted", "known", "predicted of known", "actual"];

/// A table: what is told apart on the left, numbers on the right.
fn print(costs: &Costs) {
    let shown: Vec<usize> = (0..GROUPS.len())
        .filter(|at| costs.costs.iter().any(|line| told_apart(line).get(*at).is_some_and(Option::is_some)))
        .collect();
    let row = |line: &Line| {
        let names = told_apart(line);
        let name = |at: &usize| names.get(*at).cloned().flatten().filter(|name| !name.is_empty());
        let names = shown.iter().map(|at| name(at).unwrap_or_else(|| "-".to_owned()));
        names.chain(numbers(line)).collect::<Vec<String>>()
    };
    let head = shown.iter().filter_map(|at| GROUPS.get(*at)).chain(&NUMBERS);
    let mut rows = vec![head.map(|name| (*name).to_owned()).collect::<Vec<String>>()];
    rows.extend(costs.costs.iter().map(row));
    if costs.costs.len() > costs.total.len() {
        for total in &costs.total {
            let mut names = vec![String::new(); shown.len()];
            if let Some(first) = names.first_mut() {
                "total".clone_into(first);
            }
            rows.push(names.into_iter().chain(numbers(total)).collect());
        }
    }
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..shown.len() + NUMBERS.len()).map(width).collect();
    for row in &rows {
        let place = |(at, (text, width)): (usize, (&String, &usize))| match at < shown.len() {
            true => format!("{text:width$}"),
            false => format!("{text:>width$}"),
        };
        let cells: Vec<String> = row.iter().zip(&widths).enumerate().map(place).collect();
        say(cells.join("  ").trim_end());
    }
}

/// In the order of `GROUPS`.
fn told_apart(line: &Line) -> [Option<String>; 5] {
    [
        line.day.map(|day| day.to_string()),
        line.sender.clone(),
        line.template.clone(),
        line.country.clone(),
        line.category.clone(),
    ]
}

fn numbers(line: &Line) -> [String; 7] {
    [
        line.currency.clone().unwrap_or_else(|| "no price".to_owned()),
        line.messages.to_string(),
        if line.unpriced > 0 { line.unpriced.to_string() } else { "-".to_owned() },
        line.predicted.clone(),
        format!("{:.0} %", line.known_share * 100.0),
        line.predicted_of_known.clone(),
        line.actual.clone(),
    ]
}
