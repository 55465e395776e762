//! The demonstration's story: each message as it happens, a progress line, and the score at the end.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgPool;

use super::{
    board::{Score, Tale},
    shop::{RUN, Shop, Wish},
};
use crate::{
    cli::say,
    db::progress::{self, Step},
    sim::World,
};

/// What is told of one published thing.
struct Line {
    wish: Wish,
    told: String,
    step: Option<Step>,
    over: bool,
}

/// The teller.
pub struct Story {
    pool: PgPool,
    source: String,
    began: Instant,
    lines: Vec<Line>,
    published: u64,
    poisoned: usize,
    terminal: bool,
    progress_shown: bool,
}

impl Story {
    pub fn new(pool: PgPool, source: String, note: &str) -> Story {
        say(&format!("The shop {source} opens, with {note}."));
        Story {
            pool,
            source,
            began: Instant::now(),
            lines: Vec::new(),
            published: 0,
            poisoned: 0,
            terminal: std::io::stdout().is_terminal(),
            progress_shown: false,
        }
    }

    /// Something is about to be published.
    pub fn expect(&mut self, wish: &Wish) {
        self.published += 1;
        let note = if wish.label.is_empty() { String::new() } else { format!("  ({})", wish.label) };
        if wish.again {
            self.tell(wish, &format!("published again{note}"));
            return;
        }
        self.tell(wish, &format!("published{note}"));
        if wish.ends == "rejected" {
            self.poisoned += 1;
        }
        self.lines.push(Line { wish: wish.clone(), told: String::new(), step: None, over: false });
    }

    /// Looks what has changed, and tells it.
    pub async fn look(&mut self) -> anyhow::Result<()> {
        let ids: Vec<String> = self.lines.iter().filter(|line| !line.over).map(|line| line.wish.id.clone()).collect();
        let mut steps: HashMap<String, Step> = progress::of(&self.pool, &self.source, &ids)
            .await?
            .into_iter()
            .map(|step| (step.event_id.clone(), step))
            .collect();
        let poisoned = self.poisoned > 0 && !self.lines.iter().any(|line| line.wish.ends == "rejected" && line.over);
        let mark = self.source.rsplit('/').next().unwrap_or_default().to_owned();
        let rejected = poisoned && progress::rejected_with(&self.pool, RUN, &mark).await? > 0;
        let mut news = Vec::new();
        for line in self.lines.iter_mut().filter(|line| !line.over) {
            let told = match steps.remove(&line.wish.id) {
                Some(step) => {
                    let told = words(&step);
                    line.over = is_over(&step);
                    line.step = Some(step);
                    told
                }
                None if rejected && line.wish.ends == "rejected" => {
                    line.over = true;
                    "rejected: kept with its bytes and the reason".to_owned()
                }
                None => continue,
            };
            if told != line.told {
                line.told.clone_from(&told);
                news.push((line.wish.clone(), told));
            }
        }
        for (wish, told) in news {
            self.tell(&wish, &told);
        }
        self.show_progress();
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        self.lines.iter().all(|line| line.over)
    }

    /// The score: what was published against the database, and what the simulator took against both; and whether all ended as it must.
    pub async fn end(&mut self, world: &Arc<World>, shop: &Shop) -> anyhow::Result<(Score, bool)> {
        self.look().await?;
        self.clear_progress();
        let mut score = Score { events: self.published, ..Score::default() };
        score.rejected = progress::rejected_with(&self.pool, RUN, shop.mark()).await?.unsigned_abs();
        let mut as_expected = true;
        for line in &self.lines {
            let state = line.step.as_ref().and_then(|step| step.state.as_deref());
            match state {
                Some("accepted") => score.accepted += 1,
                Some("suppressed") => score.suppressed += 1,
                Some("failed") => score.failed += 1,
                Some("in_doubt") => score.in_doubt += 1,
                _ => {}
            }
            let receipt = line.step.as_ref().and_then(|step| step.receipt.as_deref());
            score.delivered += u64::from(state == Some("accepted") && matches!(receipt, Some("delivered" | "read")));
            let known = line.step.is_some() || line.wish.ends == "rejected" && line.over;
            score.lost += u64::from(!known);
        }
        let mut taken: HashMap<(String, String), usize> = HashMap::new();
        for message in world.accepted() {
            *taken
                .entry((
                    message.to.clone(),
                    format!("{:?}", message.tag.as_deref().and_then(|tag| tag.split('.').next())),
                ))
                .or_default() += 1;
        }
        score.twice = taken.values().filter(|times| **times > 1).count() as u64;
        say("");
        for line in &self.lines {
            let ended = ending(line);
            let right = ended == line.wish.ends;
            as_expected &= right || line.wish.label.is_empty();
            if !line.wish.label.is_empty() {
                let verdict = if right { "as it must".to_owned() } else { format!("must be {}", line.wish.ends) };
                say(&format!("{} {:<34} {:<12} {verdict}", if right { "✓" } else { "✗" }, line.wish.label, ended));
            }
        }
        as_expected &= score.lost == 0 && score.twice == 0 && score.in_doubt == 0;
        say(&format!("\n{}", score.sum()));
        Ok((score, as_expected))
    }

    fn tell(&mut self, wish: &Wish, told: &str) {
        self.clear_progress();
        let seconds = self.began.elapsed().as_secs_f64();
        say(&format!("{seconds:6.1}s  {:<10} {:<7} {:<26} {told}", wish.what, wish.who, wish.kind));
    }

    fn show_progress(&mut self) {
        if !self.terminal {
            return;
        }
        let over = self.lines.iter().filter(|line| line.over).count();
        let doubt = self
            .lines
            .iter()
            .filter(|l| l.step.as_ref().is_some_and(|s| s.state.as_deref() == Some("in_doubt")))
            .count();
        print_raw(&format!("\r\x1b[2K{over} of {} done, in doubt {doubt}", self.lines.len()));
        self.progress_shown = true;
    }

    fn clear_progress(&mut self) {
        if std::mem::take(&mut self.progress_shown) {
            print_raw("\r\x1b[2K");
        }
    }
}

/// The story on a terminal while there is a page: everything as long as nobody looks at it, and then only how it stands.
pub struct Terminal {
    began: Instant,
    viewed: bool,
    /// What was told last of each.
    told: HashMap<usize, String>,
    scored: Instant,
    score: Score,
}

impl Terminal {
    pub fn new() -> Terminal {
        let now = Instant::now();
        Terminal { began: now, viewed: false, told: HashMap::new(), scored: now, score: Score::default() }
    }

    /// Somebody looks at the page: whether they are the first.
    pub fn first_viewer(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.viewed, true);
        if first {
            say("The page is open, and the story goes on there. Here is only how it stands.");
        }
        first
    }

    pub fn tell(&mut self, news: &[Tale], viewed: bool) {
        for tale in news.iter().filter(|_| !viewed) {
            let Some(told) = tale.step.as_ref().map(words) else { continue };
            if self.told.get(&tale.no) != Some(&told) {
                let seconds = self.began.elapsed().as_secs_f64();
                say(&format!("{seconds:6.1}s  {:<10} {:<7} {:<26} {told}", tale.order, tale.who, tale.kind));
                self.told.insert(tale.no, told);
            }
        }
    }

    /// Now and then, if it has changed.
    pub fn score(&mut self, score: &Score, viewed: bool) {
        const EVERY: Duration = Duration::from_secs(5);
        if viewed && self.scored.elapsed() >= EVERY && self.score != *score {
            (self.scored, self.score) = (Instant::now(), *score);
            say(&format!("{:6.1}s  {}", self.began.elapsed().as_secs_f64(), score.sum()));
        }
    }
}

fn print_raw(text: &str) {
    let mut out = std::io::stdout();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Whether nothing more is to be expected, but that it is read.
pub fn is_over(step: &Step) -> bool {
    match step.state.as_deref() {
        Some("accepted") => step.receipt.as_deref() == Some("read") || step.receipt.as_deref() == Some("delivered"),
        Some("failed" | "suppressed") => true,
        Some(_) => false,
        None => step.ignored.is_some(),
    }
}

/// How it stands, on a terminal.
pub fn words(step: &Step) -> String {
    let reason = step.reason.as_deref().unwrap_or("");
    let again = if step.resends > 0 { ", sent once more" } else { "" };
    match (step.state.as_deref(), step.receipt.as_deref()) {
        (Some("pending"), _) => match step.waiting_on.as_deref() {
            Some(on) => format!("waits on {on}"),
            None if step.attempts > 0 => format!("to be tried again after attempt {}", step.attempts),
            None => "recorded".to_owned(),
        },
        (Some("sending"), _) => format!("on the wire, attempt {}{again}", step.attempts),
        (Some("in_doubt"), _) => "in doubt: the answer was lost; waiting for evidence".to_owned(),
        (Some("accepted"), None) => "accepted by the provider".to_owned(),
        (Some("accepted"), Some(receipt)) => receipt.to_owned(),
        (Some("failed"), _) => format!("failed: {reason}"),
        (Some("suppressed"), _) => format!("not sent: {reason}"),
        (Some(other), _) => other.to_owned(),
        (None, _) => format!("ignored: {}", step.ignored.as_deref().unwrap_or("?")),
    }
}

fn ending(line: &Line) -> String {
    let Some(step) = &line.step else {
        return if line.over { line.wish.ends.to_owned() } else { "lost".to_owned() };
    };
    match (step.state.as_deref(), step.receipt.as_deref()) {
        (Some("accepted"), Some("delivered" | "read")) => "delivered".to_owned(),
        (Some("failed"), _) => "failed".to_owned(),
        (Some("suppressed"), _) => step.reason.clone().unwrap_or_default(),
        (Some(state), _) => state.to_owned(),
        (None, _) => step.ignored.clone().unwrap_or_default(),
    }
}
