//! `recado plans`: what is to be done to everything that a search finds, worked out first and run in the background.

use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use jiff::Timestamp;

use super::{
    Misunderstood, because, complain, database, hold,
    moment::{moment, plan},
    say, settings,
};
use crate::{
    clock::Clock,
    config::{Needs, Place, Settings},
    db::{
        Pools,
        plans::{self, Made, Means, Ordered, Plan, Wish},
        senders,
    },
    domain::{
        action::{Action, Course, Kind, Skip},
        estimate::Estimate,
        money::decimal,
        search::{self, On, Target, Wrong},
    },
    http::plans::{NO_ORDER, Shown, refusal, wish},
    inbox::reading::Reader,
    telemetry::traces::Tracer,
};

const EXAMPLE: &str = "Examples:
  recado plans new retry --state failed --reason undeliverable --since 2026-11-22
  recado plans new give_up --state in_doubt --sender main --run --because \"the shop has called them\"
  recado plans new replay --reason unfillable_template
  recado plans new hold --scope template --sender main --template order_confirmed --for 2h
  recado plans run 12 --because \"Meta's outage is over\"
  recado plans show 12
  recado plans stop 12";

const NEW_EXAMPLE: &str = "Examples:
  recado plans new retry --state failed --reason undeliverable --since 2026-11-22
  recado plans new retry --state failed --since 2h --run --because \"Meta's outage is over\"
  recado plans new give_up --state in_doubt --sender main
  recado plans new cancel --order A-1042
  recado plans new replay --reason unfillable_template
  recado plans new hold --scope template --sender main --template order_confirmed --for 2h";

const RUN_EXAMPLE: &str = "Examples:
  recado plans run 12 --because \"Meta's outage is over\"
  recado plans run 12 --because \"Meta's outage is over\" --detach";

/// Acts on everything that a search finds: says first what that would come to, then runs it in the background.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Finds what the search says, and shows what the action would come to. Nothing is done yet.
    #[command(after_help = NEW_EXAMPLE)]
    New(Box<New>),
    /// Shows the plans, the latest first.
    #[command(after_help = "Examples:\n  recado plans list\n  recado plans list --limit 100 --json")]
    List {
        /// So many at most.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1_000))]
        limit: i64,
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Shows one plan, and how far it is.
    #[command(after_help = "Examples:\n  recado plans show 12\n  recado plans show 12 --json")]
    Show {
        /// The plan's number; recado plans list shows it.
        #[arg(value_parser = plan)]
        id: i64,
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Runs a plan that is not older than an hour, and shows how far it is. Interrupted here, it goes on in the service.
    #[command(after_help = RUN_EXAMPLE)]
    Run {
        /// The plan's number; recado plans list shows it.
        #[arg(value_parser = plan)]
        id: i64,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        because: String,
        /// Does not wait for its end.
        #[arg(long)]
        detach: bool,
    },
    /// Stops a plan after the piece that is in hand. What was done is done.
    #[command(after_help = "Examples:\n  recado plans stop 12")]
    Stop {
        /// The plan's number; recado plans list shows it.
        #[arg(value_parser = plan)]
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
struct New {
    /// retry, resend, cancel, give_up, replay, hold or release.
    #[arg(value_parser = parse_action)]
    action: Action,
    /// Only this notification or rejected event, or these with commas between them.
    #[arg(long, value_name = "IDS")]
    id: Option<String>,
    /// Only those in this state: pending, sending, in_doubt, accepted, failed or suppressed.
    #[arg(long)]
    state: Option<String>,
    /// Only those that ended, or were rejected, for this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Only those that wait for this, like consent or template.
    #[arg(long)]
    waiting_on: Option<String>,
    /// Only accepted ones of which this is the best report: none, sent, delivered or read.
    #[arg(long)]
    receipt: Option<String>,
    /// Only those of this event, order or shipment.
    #[arg(long)]
    order: Option<String>,
    /// Only those to this number, with its country code, like +34600111222.
    #[arg(long)]
    phone: Option<String>,
    /// Only those of this template; or what is held.
    #[arg(long)]
    template: Option<String>,
    /// Only those of this sender; or what is held.
    #[arg(long)]
    sender: Option<String>,
    /// Only those planned (or received) then or later: a time like 2026-11-22T20:00:00Z, a day like 2026-11-22 (UTC), or how
    /// long ago, like 3d or 2h.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those before then, in the same forms.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// What to hold or release: everything, sender or template.
    #[arg(long)]
    scope: Option<String>,
    /// Only this language of the held template, like es_MX.
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// How long to hold, like 30m or 2h; until it is released if not given.
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Runs it at once, after a question.
    #[arg(long, requires = "because")]
    run: bool,
    /// Why it is run, for the record.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    /// Asks no question.
    #[arg(long)]
    yes: bool,
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl New {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let given = [
            ("id", self.id.clone()),
            ("state", self.state.clone()),
            ("reason", self.reason.clone()),
            ("waiting_on", self.waiting_on.clone()),
            ("receipt", self.receipt.clone()),
            ("order", self.order.clone()),
            ("phone", self.phone.clone()),
            ("template", self.template.clone()),
            ("sender", self.sender.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
            ("scope", self.scope.clone()),
            ("language", self.language.clone()),
            ("for", self.lasts.clone()),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

fn parse_action(text: &str) -> Result<Action, String> {
    let names = || Action::ALL.map(Action::as_str).join(", ");
    Action::named(&text.replace('-', "_")).ok_or_else(|| format!("there are {}", names()))
}

/// 0 if it was done; 1 if it could not be, or was stopped or failed.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs::DATABASE)?;
    let pools = database(&settings).await?;
    match args.what {
        What::New(new) => make(&settings, &pools, &new).await,
        What::List { limit, json } => list(&pools, limit, json).await,
        What::Show { id, json } => show(&pools, id, json).await,
        What::Run { id, because, detach } => begin(&pools, id, &because, detach).await,
        What::Stop { id } => {
            let ordered = plans::stop(&pools.ops, id, &hold::somebody()).await?;
            Ok(answer(&ordered, &format!("Plan {id} is stopped.")))
        }
    }
}

async fn make(settings: &Settings, pools: &Pools, new: &New) -> anyhow::Result<ExitCode> {
    if new.run {
        because(new.because.as_deref().unwrap_or_default())?;
    }
    if new.run && !new.yes && !std::io::stdin().is_terminal() {
        bail!("--run asks before it acts, and there is nobody to be asked: --yes says yes");
    }
    let given = new.pairs();
    let wish = match wish(new.action, given.iter().map(|(key, value)| (*key, value.as_str()))) {
        Ok(wish) => wish,
        Err(wrong) => bail!(misfit(new.action, &wrong)),
    };
    if let Wish::Hold(Target { on: On::Template { sender, template, language }, .. }) = &wish
        && let Some(sender) = senders::find(&pools.ops, sender).await?
    {
        hold::written(settings, pools, sender, template, language.as_deref()).await?;
    }
    let means = means(settings, pools, new.action).await?;
    let id = match plans::make(&pools.ops, wish, &hold::somebody()).await? {
        Made::Plan(id) => id,
        Made::NoSuchSender => {
            let all = senders::all(&pools.ops).await?;
            let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
            bail!(Misunderstood(format!("--sender is none of those in this database: {}", names.join(", "))))
        }
        Made::IsAPhone => bail!("{}", NO_ORDER.trim_end_matches('.')),
    };
    let plan = reckoned(pools, id, &means).await?;
    if let Course::Failed { why } = &plan.course {
        bail!("{why}");
    }
    if new.json && !new.run {
        say(&serde_json::to_string_pretty(&Shown::of(plan))?);
        return Ok(ExitCode::SUCCESS);
    }
    if !new.json {
        say(&table(&plan));
    }
    if !new.run && plan.found == 0 && new.action.kind() != Kind::Sending {
        say("\nNothing is found, so there is nothing to run.");
        return Ok(ExitCode::SUCCESS);
    }
    if !new.run {
        say(&format!("\nNothing is done yet. To run it within an hour: recado plans run {id} --because TEXT"));
        return Ok(ExitCode::SUCCESS);
    }
    if !new.yes && !confirmed() {
        say(&format!("Not run. It stays planned for an hour: recado plans run {id} --because TEXT"));
        return Ok(ExitCode::FAILURE);
    }
    let code = begin(pools, id, new.because.as_deref().unwrap_or_default(), false).await?;
    if new.json {
        show(pools, id, true).await?;
    }
    Ok(code)
}

/// What is wrong with a wish, by the names that its keys have here.
fn misfit(action: Action, wrong: &Wrong) -> Misunderstood {
    let option = [&search::KEYS[..], &search::TARGET_KEYS].concat().contains(&wrong.key);
    Misunderstood(if option {
        format!("--{} {}", wrong.key.replace('_', "-"), wrong.cure)
    } else {
        // Everything at once.
        format!(
            "say which: with --id, --state, --reason, --order, --phone, --template, --sender, --waiting-on or --since, like \
             recado plans new {} --state failed --since 2h. Everything at once is not acted on",
            action.as_str()
        )
    })
}

fn confirmed() -> bool {
    complain("Run it? Type yes.");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim().eq_ignore_ascii_case("yes")
}

/// What plans are reckoned by, as far as the settings here say. Only rejected events are read by the templates.
async fn means(settings: &Settings, pools: &Pools, action: Action) -> anyhow::Result<Means> {
    let known = senders::all(&pools.ops).await?;
    let reader = if action == Action::Replay {
        let ids = known.iter().map(|(id, name)| (name.clone(), *id)).collect();
        super::reader(settings, ids)?
    } else {
        Reader::default()
    };
    let prices = super::rates::prices(settings, super::rates::load(settings)?);
    let prices = known.into_iter().filter_map(|(id, name)| Some((id, prices.get(&name)?.clone()))).collect();
    let inbox = super::run::inbox(settings, pools, &Clock::system(), &Arc::new(reader), &Tracer::default());
    Ok(inbox.means(Arc::new(prices)))
}

/// The plan with its numbers, whoever works them out.
async fn reckoned(pools: &Pools, id: i64, means: &Means) -> anyhow::Result<Plan> {
    const LONG: Duration = Duration::from_secs(1);
    const LOOK: Duration = Duration::from_millis(250);
    let work = plans::reckon(&pools.ops, id, means);
    tokio::pin!(work);
    if tokio::time::timeout(LONG, &mut work).await.map_or(Ok(None), |done| done.map(Some))?.is_none() {
        complain("Working it out: that much takes a while.");
        work.await?;
    }
    loop {
        let Some(plan) = plans::one(&pools.ops, id).await? else { bail!("the plan was removed meanwhile") };
        if plan.course != Course::Reckoning {
            return Ok(plan);
        }
        // The service is at it.
        tokio::time::sleep(LOOK).await;
    }
}

async fn list(pools: &Pools, limit: i64, json: bool) -> anyhow::Result<ExitCode> {
    let found = plans::page(&pools.ops, None, limit).await?;
    if json {
        say(&serde_json::to_string_pretty(&found.into_iter().map(Shown::of).collect::<Vec<_>>())?);
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        say("There is no plan.");
    }
    for plan in &found {
        say(&format!("{}  {}  {} by {}: {}", plan.id, title(plan), clock(plan), plan.made_by, standing(plan)));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(pools: &Pools, id: i64, json: bool) -> anyhow::Result<ExitCode> {
    let Some(plan) = plans::one(&pools.ops, id).await? else {
        complain("There is no plan of this number; recado plans list shows those that are.");
        return Ok(ExitCode::FAILURE);
    };
    say(&if json { serde_json::to_string_pretty(&Shown::of(plan))? } else { table(&plan) });
    Ok(ExitCode::SUCCESS)
}

async fn begin(pools: &Pools, id: i64, why: &str, detach: bool) -> anyhow::Result<ExitCode> {
    let why = because(why)?;
    // Who has the database's address may do everything.
    let ordered = plans::run(&pools.ops, id, &hold::somebody(), why, true).await?;
    if let Some(why) = unfollowed(&ordered) {
        complain(&why);
        return Ok(ExitCode::FAILURE);
    }
    if detach {
        say(&format!("Plan {id} is being run; recado plans show {id} says how far it is."));
        return Ok(ExitCode::SUCCESS);
    }
    watch(pools, id).await
}

/// Tells how far a plan is until it is over.
async fn watch(pools: &Pools, id: i64) -> anyhow::Result<ExitCode> {
    const LOOK: Duration = Duration::from_millis(250);
    const LONG: u32 = 40;
    let (mut told, mut still) = (String::new(), 0);
    loop {
        let Some(plan) = plans::one(&pools.ops, id).await? else { bail!("the plan was removed meanwhile") };
        let now = standing(&plan);
        if plan.course != Course::Running {
            say(&format!("Plan {id}: {now}."));
            return Ok(if plan.course == Course::Done { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        still = if now == told { still + 1 } else { 0 };
        if still == 0 {
            complain(&format!("Plan {id}: {now}"));
        } else if still == LONG {
            complain(
                "Nothing has moved for a while. Is a recado run with the role upkeep there? It goes on by itself once there is.",
            );
        }
        told = now;
        tokio::time::sleep(LOOK).await;
    }
}

/// Why an order was not followed, and how to find one that can be.
fn unfollowed(ordered: &Ordered) -> Option<String> {
    let why = refusal(ordered)?;
    let unknown = matches!(ordered, Ordered::Unknown);
    Some(if unknown { format!("{why} recado plans list shows those that are.") } else { why })
}

fn answer(ordered: &Ordered, done: &str) -> ExitCode {
    match unfollowed(ordered) {
        None => {
            say(done);
            ExitCode::SUCCESS
        }
        Some(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn title(plan: &Plan) -> String {
    let of: Vec<String> = plan.search.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let of = if of.is_empty() { "everything".to_owned() } else { of.join(", ") };
    format!("{} ({of})", plan.action.as_str().replace('_', " "))
}

fn clock(plan: &Plan) -> String {
    plan.made_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// How far it is, in words.
fn standing(plan: &Plan) -> String {
    let skipped: u64 = plan.skipped.values().sum();
    let progress =
        format!("{} of {} done, {skipped} left as they were, {} to come", plan.done, plan.found, plan.left());
    match &plan.course {
        Course::Reckoning => "being worked out".to_owned(),
        Course::Planned { out_of_date: false } => {
            format!("planned, {} of {} would be done", plan.estimate.acts, plan.found)
        }
        Course::Planned { out_of_date: true } => "planned more than an hour ago, out of date".to_owned(),
        Course::Running => progress,
        Course::Done => format!("done: {} of {}, {skipped} left as they were", plan.done, plan.found),
        Course::Stopped => format!("stopped: {progress}"),
        Course::Failed { why } => format!("failed ({why}): {progress}"),
    }
}

/// The plan with its numbers, for people.
fn table(plan: &Plan) -> String {
    let mut rows = vec![(0, "found".to_owned(), plan.found.to_string(), String::new())];
    rows = if plan.action.kind() == Kind::Sending { held(&plan.estimate) } else { found(plan, rows) };
    if !matches!(plan.course, Course::Planned { .. }) {
        rows.push((0, "done".to_owned(), plan.done.to_string(), String::new()));
        rows.extend(left_alone(&plan.skipped, 1));
        rows.push((0, "to come".to_owned(), plan.left().to_string(), String::new()));
    }
    let wide = rows.iter().map(|(depth, name, ..)| depth * 2 + name.chars().count()).max().unwrap_or(0);
    let long = rows.iter().map(|(_, _, number, _)| number.len()).max().unwrap_or(0);
    let mut text =
        format!("Plan {}: {}\n  {} by {}: {}\n", plan.id, title(plan), clock(plan), plan.made_by, standing(plan));
    if let (Some(reason), Some(by)) = (&plan.reason, &plan.begun_by) {
        text += &format!("  run by {by}: {reason}\n");
    }
    for (depth, name, number, more) in rows {
        let name = format!("{}{name}", "  ".repeat(depth));
        text += format!("\n  {name:wide$}  {number:>long$}  {more}").trim_end();
    }
    text
}

type Row = (usize, String, String, String);

fn found(plan: &Plan, mut rows: Vec<Row>) -> Vec<Row> {
    let of = &plan.estimate;
    let row = |depth, name: &str, number: u64| (depth, name.to_owned(), number.to_string(), String::new());
    rows.push(row(0, "of these it is done to", of.acts));
    let replays = plan.action == Action::Replay;
    if replays {
        rows.push(row(1, "taken in meanwhile: nothing follows", of.known));
        rows.push(row(1, "ask for no message", of.ignored));
        rows.push(row(1, "messages whose time is over", of.expired));
    }
    if plan.action.sends() {
        rows.push(row(1, "a later stage is true already: they end at once", of.stale));
        rows.push(row(1, "no consent now: they end at once", of.no_consent));
        let mut costs: Vec<String> =
            of.cost.iter().map(|(currency, micros)| format!("{} {currency}", decimal(*micros))).collect();
        if of.unpriced > 0 {
            costs.push(format!("{} without a price", of.unpriced));
        }
        rows.push((1, "may go".to_owned(), of.goes.to_string(), costs.join(", ")));
        if !replays {
            rows.push(row(2, "could be duplicates, marked as resends", of.duplicates));
        }
        rows.push(row(2, "wait until the person confirms", of.not_confirmed));
    }
    rows.push(row(0, "left as they are", of.skipped.values().sum()));
    rows.extend(left_alone(&of.skipped, 1));
    rows
}

fn held(of: &Estimate) -> Vec<Row> {
    vec![
        (0, "holds on it now".to_owned(), of.holds.to_string(), String::new()),
        (0, "notifications that wait or would".to_owned(), of.waiting.to_string(), String::new()),
    ]
}

fn left_alone(skipped: &BTreeMap<Skip, u64>, depth: usize) -> Vec<Row> {
    skipped.iter().map(|(skip, n)| (depth, skip.explain().to_owned(), n.to_string(), String::new())).collect()
}
