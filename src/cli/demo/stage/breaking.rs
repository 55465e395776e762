//! What can be broken and mended, and how that stands: what was asked for, whether the worker knows of it yet, and what came of it.

use super::{
    super::{SENDER, cable::Cable},
    Item, Stage, Wrong,
};
use crate::{
    db::templates,
    domain::{fact, template::Template},
    sim::{Approval, Fault, Script},
};

/// The template that can be paused, in all its languages.
const PAUSED: &str = "order_confirmed";
/// How long the provider takes to answer, in ms: usually, and while it is slow; and up to so much more.
pub const USUAL: (u64, u64) = (60, 80);
const SLOW: (u64, u64) = (1_100, 500);
/// After how many ms the provider reports that a message was sent, delivered and read: usually, and of those whose answer is lost. A
/// doubt that a report ends at once is not seen.
pub const REPORTS: [u64; 3] = [80, 300, 900];
const LATE: [u64; 3] = [2_000, 2_200, 2_800];

/// What can be broken and mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    Slow,
    Paused,
    Cut,
    Going,
}

impl Stage {
    /// The next answers of the provider are lost on their way.
    pub fn lose_answers(&self, answers: u64) -> Result<(), Wrong> {
        let script = Script::next(answers, Fault::CutAfter { reset: false });
        let mut books = self.books();
        self.house.sim.world().fault(script).map_err(|_| Wrong::Impossible)?;
        books.late = true;
        self.report_after(LATE);
        drop(books);
        Ok(())
    }

    fn report_after(&self, after: [u64; 3]) {
        self.house.sim.world().set_webhooks(|rules| [rules.sent_ms, rules.delivered_ms, rules.read_ms] = after);
    }

    /// Breaks or mends something.
    pub fn set(&self, thing: Thing, on: bool) {
        let world = self.house.sim.world();
        match thing {
            Thing::Slow => {
                let (latency, jitter) = if on { SLOW } else { USUAL };
                world.change_manners(|manners| (manners.latency_ms, manners.jitter_ms) = (latency, jitter));
                self.books().breaks.slow = on;
            }
            Thing::Paused => {
                let status = if on { Approval::Paused } else { Approval::Approved };
                let template = self.house.catalogue.templates().iter().find(|template| template.name() == PAUSED);
                for language in template.into_iter().flat_map(Template::languages) {
                    world.set_template_status(PAUSED, language, status);
                }
                let mut books = self.books();
                (books.breaks.paused, books.breaks.heard) = (on, false);
            }
            Thing::Cut => {
                if let Some(cable) = &self.cable {
                    cable.cut(on);
                }
            }
            Thing::Going => self.books().breaks.going = on,
        }
    }

    /// Looks how it stands.
    pub(super) async fn show_breaks(&self) -> anyhow::Result<()> {
        let aftermath = self.audit.lock().await.aftermath().await?;
        let known = templates::list(&self.house.pools.ops).await?;
        let consumed = self.shop.read().await.is_consumed(&self.house.settings.broker.queue).await;
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        let mut books = self.books();
        let answers = self.house.sim.world().scripts().iter().filter_map(|script| script.next).sum();
        if answers == 0 && std::mem::take(&mut books.late) {
            self.report_after(REPORTS);
        }
        let breaks = &mut books.breaks;
        breaks.answers = answers;
        breaks.unanswered = count(aftermath.unanswered);
        breaks.in_doubt = count(aftermath.in_doubt);
        breaks.found = count(aftermath.found);
        breaks.held = count(aftermath.held);
        let said = if breaks.paused { fact::Approval::Paused } else { fact::Approval::Approved };
        let mut here = known.iter().filter(|one| one.sender == SENDER && one.template == PAUSED);
        breaks.heard = here.all(|one| one.status == said.as_str());
        breaks.cut = self.cable.as_ref().is_some_and(Cable::is_cut);
        // A connection that is gone says nothing; the shop opens another when it publishes.
        breaks.consumes = consumed.unwrap_or(breaks.consumes);
        self.board.put(Item::Breaks(*breaks));
        drop(books);
        Ok(())
    }
}
