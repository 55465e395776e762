//! What the page shows, as it stands: things by name, each with the moment at which it last changed.
//!
//! Whoever looks says up to which moment they have seen everything, and gets what has changed since: it does not matter what they
//! missed. Nothing here knows how it came to be or how it looks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

use crate::{
    db::progress::{Letter, Step},
    domain::story::Story,
    sim::Frame,
};

/// So many things of each kind are shown, the latest; and all that became of what the phone's owner ordered.
const SHOWN: usize = 80;

/// One thing that is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Score(Score),
    Worker(Worker),
    Breaks(Breaks),
    Owner(Owner),
    Rush(Rush),
    Bubble(Bubble),
    Tale(Box<Tale>),
    Letter(Written),
}

/// What it all comes to, measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Events that RabbitMQ has confirmed to the shop.
    pub events: u64,
    /// Of those, the ones that are still on their way into Postgres.
    pub in_queue: u64,
    pub waiting: u64,
    pub accepted: u64,
    pub delivered: u64,
    pub suppressed: u64,
    pub failed: u64,
    pub rejected: u64,
    pub in_doubt: u64,
    /// Sent once more and marked as that.
    pub resent: u64,
    pub lost: u64,
    pub twice: u64,
}

impl Score {
    /// The figures in a sentence.
    pub fn sum(&self) -> String {
        format!(
            "{} events: {} accepted ({} delivered), {} suppressed, {} failed, {} rejected. Lost {}, sent twice {}, in doubt {}.",
            self.events,
            self.accepted,
            self.delivered,
            self.suppressed,
            self.failed,
            self.rejected,
            self.lost,
            self.twice,
            self.in_doubt
        )
    }

    /// One line, for programs.
    pub fn to_json(self) -> String {
        format!(
            r#"{{"events":{},"accepted":{},"delivered":{},"suppressed":{},"failed":{},"rejected":{},"lost":{},"duplicated":{},"in_doubt":{}}}"#,
            self.events,
            self.accepted,
            self.delivered,
            self.suppressed,
            self.failed,
            self.rejected,
            self.lost,
            self.twice,
            self.in_doubt
        )
    }
}

/// The process that does the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worker {
    pub state: Life,
    pub pid: Option<u32>,
    pub kills: u32,
    /// Where people look after it, if this program has such pages.
    pub console: Option<String>,
    /// Who they may be there: a name and its password.
    pub login: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    Starting,
    Up,
    Dead,
}

/// What is broken at present, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Breaks {
    /// So many answers of the provider will be lost.
    pub answers: u64,
    /// Messages that were left without an answer, however that was.
    pub unanswered: u64,
    /// Of those, the ones that are in doubt, and the ones that a report has found.
    pub in_doubt: u64,
    pub found: u64,
    pub slow: bool,
    pub paused: bool,
    /// Recado knows of the template what the provider says of it now.
    pub heard: bool,
    /// Messages that wait for the template.
    pub held: u64,
    pub cut: bool,
    /// The worker takes events off the queue.
    pub consumes: bool,
    /// The broker can be cut off at all.
    pub can_cut: bool,
    /// Other people keep ordering.
    pub going: bool,
}

/// Whose phone is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub name: String,
    pub phone: String,
    /// Each purpose with the state of the consent.
    pub consents: Vec<(String, String)>,
    /// The order that the shop's next steps are about.
    pub order: Option<String>,
}

/// Many orders at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rush {
    pub no: usize,
    pub at: i64,
    pub orders: u64,
    pub published: u64,
    pub accepted: u64,
    pub delivered: u64,
    pub in_doubt: u64,
    /// Failed or not sent.
    pub ended_otherwise: u64,
    /// Milliseconds until all of them had an end.
    pub took: Option<i64>,
}

/// A message on the phone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bubble {
    pub no: usize,
    pub id: String,
    pub at: i64,
    pub sms: bool,
    /// From the phone's owner.
    pub own: bool,
    pub text: String,
    pub frame: FrameShown,
    /// Text and payload of each quick reply.
    pub replies: Vec<(String, String)>,
    /// The best that was reported, if something was.
    pub tick: Option<&'static str>,
}

/// A message's frame, comparable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FrameShown {
    pub header: Option<String>,
    pub footer: Option<String>,
    /// Text and destination of each link.
    pub links: Vec<(String, String)>,
}

impl From<&Frame> for FrameShown {
    fn from(frame: &Frame) -> FrameShown {
        FrameShown {
            header: frame.header.clone(),
            footer: frame.footer.clone(),
            links: frame.links.iter().map(|link| (link.text.clone(), link.to.clone())).collect(),
        }
    }
}

/// What became of one published event.
#[derive(Debug, Clone)]
pub struct Tale {
    pub no: usize,
    pub order: String,
    pub kind: String,
    pub who: String,
    /// It is about whoever owns the phone.
    pub own: bool,
    /// Unix ms, as all moments here.
    pub published: i64,
    /// When the same event was published once more.
    pub again: Option<i64>,
    /// There is somebody who takes it in, or it is in.
    pub works: bool,
    pub step: Option<Step>,
    pub story: Option<Arc<Story>>,
}

impl PartialEq for Tale {
    /// Stories are gathered anew only if something has changed.
    fn eq(&self, other: &Tale) -> bool {
        let same_story = match (&self.story, &other.story) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_story && (self.no, self.again, self.works, &self.step) == (other.no, other.again, other.works, &other.step)
    }
}

/// Something that the phone's owner wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub no: usize,
    pub who: &'static str,
    pub letter: Letter,
}

/// What kind of thing and which of them.
type Name = (u8, usize);

impl Item {
    fn name(&self) -> Name {
        match self {
            Item::Score(_) => (0, 0),
            Item::Worker(_) => (1, 0),
            Item::Breaks(_) => (2, 0),
            Item::Owner(_) => (3, 0),
            Item::Rush(rush) => (4, rush.no),
            Item::Bubble(bubble) => (5, bubble.no),
            Item::Tale(tale) => (6, tale.no),
            Item::Letter(written) => (7, written.no),
        }
    }

    /// Whether it is kept, however much follows.
    fn stays(&self) -> bool {
        matches!(self, Item::Tale(tale) if tale.own)
    }
}

/// The board. One hangs it up, many look at it.
pub struct Board {
    shelf: Mutex<Shelf>,
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct Shelf {
    moment: u64,
    items: BTreeMap<Name, (u64, Item)>,
}

impl Board {
    pub fn new() -> Board {
        Board { shelf: Mutex::default(), moved: watch::Sender::new(0) }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a thing up in the place of the one with its name. What has not changed moves nobody.
    pub fn put(&self, item: Item) {
        let mut shelf = self.shelf();
        let name = item.name();
        if shelf.items.get(&name).is_some_and(|(_, known)| *known == item) {
            return;
        }
        shelf.moment += 1;
        let moment = shelf.moment;
        shelf.items.insert(name, (moment, item));
        let kind = name.0;
        let mut goes = shelf.items.range((kind, 0)..=(kind, usize::MAX)).filter(|(_, (_, item))| !item.stays());
        let oldest = goes.next().map(|(name, _)| *name);
        if let Some(oldest) = oldest.filter(|_| goes.count() >= SHOWN) {
            shelf.items.remove(&oldest);
        }
        drop(shelf);
        self.moved.send_replace(moment);
    }

    /// What has changed after `moment`, in the order in which it did, and the moment that it is now.
    pub fn since(&self, moment: u64) -> (u64, Vec<Item>) {
        let shelf = self.shelf();
        let mut news: Vec<_> = shelf.items.values().filter(|(at, _)| *at > moment).collect();
        news.sort_by_key(|(at, _)| *at);
        (shelf.moment, news.into_iter().map(|(_, item)| item.clone()).collect())
    }

    /// Tells when something has moved.
    pub fn look(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// How many look at it.
    pub fn viewers(&self) -> usize {
        self.moved.receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_gets_what_has_changed_and_nothing_else() {
        let board = Board::new();
        let score = |events| Item::Score(Score { events, ..Score::default() });
        board.put(score(1));
        board.put(Item::Breaks(Breaks::default()));
        let (seen, all) = board.since(0);
        assert_eq!((seen, all.len()), (2, 2));
        board.put(score(1));
        assert_eq!(board.since(seen), (2, vec![]), "the same again is no news");
        board.put(score(2));
        assert_eq!(board.since(seen), (3, vec![score(2)]));
    }

    #[test]
    fn what_the_phones_owner_ordered_is_kept_however_much_others_order() {
        let board = Board::new();
        let tale = |no| {
            let (order, kind, who) = (String::new(), String::new(), String::new());
            let (own, again, step, story) = (no == 0, None, None, None);
            Item::Tale(Box::new(Tale { no, order, kind, who, own, published: 0, again, works: true, step, story }))
        };
        (0..SHOWN + 6).for_each(|no| board.put(tale(no)));
        let (_, all) = board.since(0);
        assert_eq!(all.len(), SHOWN + 1);
        assert_eq!((&all[0], &all[1]), (&tale(0), &tale(6)));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let board = Board::new();
        let bubble = |no| {
            Item::Bubble(Bubble {
                no,
                id: no.to_string(),
                at: 0,
                sms: false,
                own: true,
                text: String::new(),
                frame: FrameShown::default(),
                replies: Vec::new(),
                tick: None,
            })
        };
        (0..SHOWN + 5).for_each(|no| board.put(bubble(no)));
        let (_, all) = board.since(0);
        assert_eq!((all.len(), &all[0]), (SHOWN, &bubble(5)));
    }
}
