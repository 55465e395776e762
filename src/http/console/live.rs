//! How things stand, looked at once for everybody who watches: by whom it is asked for first, and at most once a second.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::{
    db::{
        Error, costs, health,
        holds::{self, InForce},
        now::{self, Due},
        tallies::{self, Bin, OfReason},
    },
    domain::{
        backlog::{Outlook, Queue},
        doubt::Patience,
        health::{Standing, Worry},
        money::{Money, decimal},
    },
    http::Desk,
};

/// What is known of a sender by its settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bound {
    /// What it may send, less what is left for answers.
    pub per_second: f64,
    pub daily: Option<Money>,
    pub monthly: Option<Money>,
    /// Its provider has a list of messages that is asked about doubts.
    pub listed: bool,
}

/// What the settings say of senders and of doubts.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub senders: BTreeMap<String, Bound>,
    pub patience: Patience,
    /// A process that takes webhooks in has vanished if it was silent for this long.
    pub gone_after: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            senders: BTreeMap::new(),
            patience: Patience {
                window: Duration::from_secs(600),
                later_attempts: 3,
                max: Duration::from_secs(86_400),
            },
            gone_after: Duration::from_secs(10),
        }
    }
}

/// How things stand at one moment. Nothing in it is about a person.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Picture {
    pub at: Timestamp,
    /// In a minute, as it was in the last one and in the last five.
    pub came: Pair,
    pub left: Pair,
    pub delivered: Pair,
    /// Due now, where nothing is held; `more` if it is more than was counted.
    pub due: i64,
    pub more: bool,
    /// Due, where the sender or everything is held.
    pub held: i64,
    pub oldest: Option<Timestamp>,
    pub outlook: Said,
    pub in_doubt: i64,
    pub doubted_since: Option<Timestamp>,
    pub rejected: i64,
    pub senders: Vec<Sender>,
    pub waiting: Vec<Waiting>,
    pub waiting_in_all: i64,
    pub holds: Vec<InForce>,
    pub unapproved: Vec<Unapproved>,
    pub failures: Vec<OfReason>,
    #[serde(skip)]
    pub hour: Vec<Bin>,
    #[serde(skip)]
    pub day: Vec<Bin>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Pair {
    pub last_minute: i64,
    pub of_five: i64,
}

/// A queue's outlook: the name of its text, and until when.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Said {
    pub key: &'static str,
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Sender {
    pub name: String,
    pub due: i64,
    pub more: bool,
    pub later: i64,
    pub sending: i64,
    pub held: bool,
    pub outlook: Said,
    /// Messages a second, in the last minute, and the share of what it may send.
    pub per_second: String,
    pub most: Option<u32>,
    pub share: u32,
    /// able, unable or unknown.
    pub standing: &'static str,
    pub why: Option<String>,
    pub quality: Option<String>,
    pub worries: Vec<Worry>,
    pub budgets: Vec<Budget>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Budget {
    /// day or month.
    pub period: &'static str,
    pub spent: String,
    pub limit: String,
    pub currency: String,
    pub share: u32,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Waiting {
    pub on: String,
    pub n: i64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Unapproved {
    pub sender: String,
    pub template: String,
    pub language: String,
    pub status: String,
    pub reason: Option<String>,
    pub drifted: bool,
}

/// A picture is as good as new for so long.
const FRESH: Duration = Duration::from_millis(900);
/// So many of each kind are counted for whoever comes; and so many now and then, if it takes that.
const COUNTED: i64 = 20_000;
const COUNTED_MAX: i64 = 2_000_000;
/// Counting very many takes at most this share of the time.
const SHARE: u32 = 30;
/// The slower half: charts, health, budgets.
const SLOW: Duration = Duration::from_secs(5);

/// The last picture.
#[derive(Default)]
pub(super) struct Live {
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    taken: Option<(Instant, Arc<Picture>)>,
    slow: Option<(Instant, Slow)>,
    deep: Option<(Instant, Vec<Due>)>,
}

#[derive(Clone)]
struct Slow {
    known: Vec<health::Known>,
    budgets: BTreeMap<String, Vec<Budget>>,
    unapproved: Vec<Unapproved>,
    failures: Vec<OfReason>,
    day: Vec<Bin>,
}

impl Live {
    /// How things stand now. Whoever comes while somebody looks gets what they see.
    pub(super) async fn picture(&self, desk: &Desk) -> Result<Arc<Picture>, Error> {
        let mut last = self.last.lock().await;
        let now = desk.doors.clock.instant();
        if let Some((at, picture)) = &last.taken
            && now.saturating_duration_since(*at) < FRESH
        {
            return Ok(Arc::clone(picture));
        }
        let picture = Arc::new(look(desk, &mut last, now).await?);
        last.taken = Some((now, Arc::clone(&picture)));
        Ok(picture)
    }
}

async fn look(desk: &Desk, last: &mut Last, now: Instant) -> Result<Picture, Error> {
    let (pool, bounds) = (&desk.doors.pools.ops, &desk.doors.bounds);
    let at = desk.doors.clock.now();
    let slow = match &last.slow {
        Some((until, slow)) if now < *until => slow.clone(),
        _ => {
            let slow = look_slowly(desk, at).await?;
            last.slow = Some((now + SLOW, slow.clone()));
            slow
        }
    };
    let dues = counted(desk, last, now).await?;
    let rates = tallies::rates(pool).await?;
    let sum = |kinds: &[&str], sender: Option<&str>| {
        let of = rates.iter().filter(|rate| kinds.contains(&rate.kind.as_str()));
        let of = of.filter(|rate| sender.is_none_or(|name| rate.sender.as_deref() == Some(name)));
        of.fold((0.0, 0.0), |(one, five), rate| (one + rate.last_minute, five + rate.last_five))
    };
    let pair = |kinds: &[&str]| {
        let (one, five) = sum(kinds, None);
        Pair { last_minute: one.round() as i64, of_five: (five / 5.0).round() as i64 }
    };
    let mut senders = Vec::new();
    for due in &dues {
        let Some(bound) =
            bounds.senders.get(&due.sender).copied().or_else(|| (due.due + due.sending > 0).then(Bound::default))
        else {
            continue;
        };
        let sent = sum(&["accepted", "failed", "in_doubt"], Some(&due.sender));
        let ended = sum(&["accepted", "failed", "in_doubt", "suppressed"], Some(&due.sender));
        let came = sum(&["planned"], Some(&due.sender));
        let known = slow.known.iter().find(|known| known.sender == due.sender);
        senders.push(sender(due, bound, known, (came.1 / 300.0, ended.1 / 300.0, sent.0 / 60.0), at, &slow));
    }
    let waiting = now::waiting(pool, COUNTED).await?;
    let (in_doubt, doubted_since) = now::in_doubt(pool, COUNTED).await?;
    let free = || dues.iter().filter(|due| !due.held);
    let worst = senders.iter().filter(|sender| sender.due > 0).max_by_key(|sender| rank(sender.outlook.key));
    Ok(Picture {
        at,
        came: pair(&["planned"]),
        left: pair(&["accepted"]),
        delivered: pair(&["delivered"]),
        due: free().map(|due| due.due).sum(),
        more: free().any(|due| due.more),
        held: dues.iter().filter(|due| due.held).map(|due| due.due).sum(),
        oldest: dues.iter().filter_map(|due| due.oldest).min(),
        outlook: worst.map_or(Said { key: "empty", until: None }, |sender| sender.outlook),
        in_doubt,
        doubted_since,
        rejected: now::rejected(pool, COUNTED).await?,
        senders,
        waiting_in_all: waiting.iter().map(|waiting| waiting.n).sum(),
        waiting: waiting.into_iter().map(|waiting| Waiting { on: waiting.on, n: waiting.n }).collect(),
        holds: holds::in_force(pool).await?,
        unapproved: slow.unapproved,
        failures: slow.failures,
        hour: tallies::bins(pool, minutes_ago(at, 59), 1).await?,
        day: slow.day,
    })
}

/// What is due, counted as far as it may cost.
async fn counted(desk: &Desk, last: &mut Last, now: Instant) -> Result<Vec<Due>, Error> {
    let pool = &desk.doors.pools.ops;
    let quick = now::due(pool, COUNTED).await?;
    if !quick.iter().any(|due| due.more) {
        last.deep = None;
        return Ok(quick);
    }
    match &last.deep {
        // The first look is for somebody who waits for a page.
        None => {
            last.deep = Some((now, quick.clone()));
            Ok(quick)
        }
        Some((until, known)) if now < *until => {
            // Only what was counted to its end is newer.
            let newest =
                |known: &Due| quick.iter().find(|due| due.id == known.id && !due.more).unwrap_or(known).clone();
            Ok(known.iter().map(newest).collect())
        }
        Some(_) => {
            let deep = now::due(pool, COUNTED_MAX).await?;
            let took = desk.doors.clock.instant().saturating_duration_since(now);
            last.deep = Some((now + took * SHARE, deep.clone()));
            Ok(deep)
        }
    }
}

async fn look_slowly(desk: &Desk, at: Timestamp) -> Result<Slow, Error> {
    const SHOWN: i64 = 50;
    let (pool, bounds) = (&desk.doors.pools.ops, &desk.doors.bounds);
    let known = health::all(pool).await?;
    let mut budgets = BTreeMap::new();
    for (name, bound) in &bounds.senders {
        let id = known.iter().find(|known| known.sender == *name).map(|known| known.id);
        let (Some(id), Some(money)) = (id, bound.daily.or(bound.monthly)) else { continue };
        let spent = costs::spent(pool, id, money.currency).await?;
        let periods = [("day", bound.daily, spent.today), ("month", bound.monthly, spent.this_month)];
        let of = periods.into_iter().filter_map(|(period, limit, used)| {
            let limit = limit?;
            Some(Budget {
                period,
                spent: decimal(used),
                limit: decimal(limit.micros),
                currency: limit.currency.as_str().to_owned(),
                share: percent(used as f64, limit.micros as f64),
            })
        });
        budgets.insert(name.clone(), of.collect());
    }
    let unapproved = now::unapproved(pool, SHOWN).await?.into_iter().map(|of| Unapproved {
        sender: of.sender,
        template: of.template,
        language: of.language,
        status: of.status,
        reason: of.reason,
        drifted: of.drifted,
    });
    let mut failures = tallies::by_reason(pool, minutes_ago(at, 24 * 60), None, None).await?;
    failures.truncate(10);
    let day = tallies::bins(pool, day_begins(at), DAY_BIN).await?;
    Ok(Slow { known, budgets, unapproved: unapproved.collect(), failures, day })
}

fn sender(
    due: &Due,
    bound: Bound,
    known: Option<&health::Known>,
    (comes, leaves, sent): (f64, f64, f64),
    at: Timestamp,
    slow: &Slow,
) -> Sender {
    let said = known.and_then(|known| known.health.per_second()).map_or(f64::MAX, f64::from);
    let pace = bound.per_second.min(said);
    let waits = due.oldest.map(|oldest| Duration::try_from(at.duration_since(oldest)).unwrap_or_default());
    let queue = Queue {
        due: u32::try_from(due.due).unwrap_or(u32::MAX),
        more: due.more,
        oldest: waits.unwrap_or_default(),
        held: due.held,
        comes,
        leaves,
        pace,
    };
    let (standing, why) = match known.map(|known| known.health.standing()) {
        Some(Standing::Able) => ("able", None),
        Some(Standing::Unable { detail, .. }) => ("unable", Some(detail)),
        Some(Standing::Unknown) | None => ("unknown", None),
    };
    Sender {
        name: due.sender.clone(),
        due: due.due,
        more: due.more,
        later: due.later,
        sending: due.sending,
        held: due.held,
        outlook: outlook(queue.outlook(), at),
        per_second: format!("{sent:.1}"),
        most: (pace > 0.0).then_some(pace as u32),
        share: percent(sent, pace),
        standing,
        why,
        quality: known.and_then(|known| known.health.quality.clone()),
        worries: known.map(|known| known.health.worries()).unwrap_or_default(),
        budgets: slow.budgets.get(&due.sender).cloned().unwrap_or_default(),
    }
}

fn outlook(outlook: Outlook, at: Timestamp) -> Said {
    let until = |takes: Duration| at.checked_add(SignedDuration::try_from(takes).unwrap_or_default()).ok();
    let (key, until) = match outlook {
        Outlook::Empty => ("empty", None),
        Outlook::Held => ("held", None),
        Outlook::Clears(takes) => ("clears", until(takes)),
        Outlook::NotBefore(takes) => ("not_before", until(takes)),
        Outlook::Standing(takes) => ("stands", until(takes)),
        Outlook::Grows(takes) => ("grows", until(takes)),
    };
    Said { key, until }
}

/// What an operator wants to know first.
fn rank(key: &str) -> usize {
    ["empty", "held", "clears", "not_before", "stands", "grows"].iter().position(|known| *known == key).unwrap_or(0)
}

fn percent(part: f64, whole: f64) -> u32 {
    if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0).round() as u32 } else { 0 }
}

/// Minutes in a bin of the day's chart.
pub(super) const DAY_BIN: i32 = 15;

/// When the minute begins that was so many minutes ago.
pub(super) fn minutes_ago(at: Timestamp, minutes: i64) -> Timestamp {
    let second = at.as_second() - at.as_second().rem_euclid(60) - minutes * 60;
    Timestamp::from_second(second).unwrap_or(at)
}

/// When the day's chart begins: at a whole bin, so that what is over does not move.
pub(super) fn day_begins(at: Timestamp) -> Timestamp {
    let bin = i64::from(DAY_BIN) * 60;
    let second = at.as_second() - at.as_second().rem_euclid(bin) - 95 * bin;
    Timestamp::from_second(second).unwrap_or(at)
}
