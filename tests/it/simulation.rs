//! Whole lives of the house in random order: a clock that stands until it is moved, a real Postgres, the simulator's world, and
//! the laws that must hold after every single operation.
//!
//! A run is a list of operations from a seed. One that breaks a law is shortened, then shown with its seed.

mod bills;
mod laws;
mod rules;
mod stage;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use recado::provider::Dialect;
use stage::Stage;

use super::harness::{Chance, seed};

/// People, parcels and the length of a life are few, so that operations meet.
pub const PEOPLE: usize = 4;
/// So many of them have agreed from the beginning, and this one cannot be reached on WhatsApp.
pub const AGREED: usize = 3;
pub const OFF_WHATSAPP: usize = 1;
const PARCELS: u64 = 3;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Publish {
        what: What,
        person: usize,
    },
    /// The n-th event comes once more.
    Again(usize),
    /// The n-th event comes once more with another body.
    Altered(usize),
    Advance {
        ms: u64,
    },
    /// A claim with so many permits, its requests, and what follows.
    Dispatch {
        permits: u32,
        way: Way,
    },
    /// What the next request meets.
    Next(Trouble),
    /// The provider's door is closed, or open again.
    Door {
        open: bool,
    },
    /// A process claims and dies before its request is on the wire.
    CrashBefore(Way),
    /// A process sends and dies before the answer is written down.
    CrashAfter(Way),
    /// The answer that such a process had is written down after all: it was only slow.
    LateAnswer,
    /// Webhooks come in: so many in a hundred, each once or twice, in order or not.
    Hear {
        percent: u64,
        twice: bool,
        mixed: bool,
    },
    Ask {
        person: usize,
        way: Way,
    },
    Grant {
        person: usize,
        way: Way,
    },
    Revoke {
        person: usize,
        way: Way,
    },
    /// Somebody writes to the shop on WhatsApp: their 24 hours begin anew.
    Write {
        person: usize,
    },
    /// The provider pauses a template, or approves it again.
    Review {
        template: &'static str,
        paused: bool,
    },
    Upkeep,
    /// An operator releases every hold.
    Release,
}

/// How a message goes; each way has a sender and a consent of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    Whatsapp,
    Sms,
}

impl Way {
    pub fn purpose(self) -> &'static str {
        match self {
            Way::Whatsapp => "orders",
            Way::Sms => "orders_sms",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    Order,
    /// One of a few subjects.
    Subject(u64),
    Gate,
    Left(u64),
    Arrived(u64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    LoseRequest,
    LoseAnswer,
    Gateway,
    Gibberish,
    /// Accepted, and never heard of.
    Silent,
    Code(u32),
    /// Accepted, and reported as failed later.
    FailLater(u32),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_law_breaks_in_short_lives() {
    live(Dialect::Meta, 30, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_law_breaks_in_short_lives_at_twilio() {
    live(Dialect::Twilio, 30, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_law_breaks_in_longer_lives() {
    live(Dialect::Meta, 6, 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_law_breaks_in_longer_lives_at_twilio() {
    live(Dialect::Twilio, 6, 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make soak`"]
async fn no_law_breaks_in_hundreds_of_lives() {
    for dialect in [Dialect::Meta, Dialect::Twilio] {
        live(dialect, 500, 60).await;
        live(dialect, 40, 300).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_go_in_an_open_window_and_an_sms_goes_where_whatsapp_cannot() {
    let left = |person| Op::Publish { what: What::Left(0), person };
    let ops = [
        Op::Review { template: "parcel_left", paused: true },
        // Of these the first wrote, the second is not on WhatsApp, the third did neither.
        left(0),
        left(2),
        Op::Publish { what: What::Order, person: OFF_WHATSAPP },
        Op::Dispatch { permits: 5, way: Way::Whatsapp },
        Op::Hear { percent: 100, twice: true, mixed: true },
        Op::CrashAfter(Way::Sms),
        Op::Advance { ms: 31_000 },
        Op::Upkeep,
        Op::Dispatch { permits: 5, way: Way::Sms },
    ];
    for dialect in [Dialect::Meta, Dialect::Twilio] {
        let mut stage = Stage::build(dialect).await;
        let broken = play(&mut stage, &ops).await;
        let otherwise = stage.went_otherwise();
        stage.clear_away().await;
        assert_eq!((broken, otherwise), (Ok(()), (1, 1)), "{dialect:?}");
    }
}

/// So many lives of so many operations.
async fn live(dialect: Dialect, lives: usize, length: usize) {
    let mut chance = Chance::new(seed());
    let mut stage = Stage::build(dialect).await;
    let mut broken = None;
    let mut otherwise = (0, 0);
    for life in 0..lives {
        let ops = draw_life(&mut chance, length, life % 2 == 0);
        if let Err(why) = play(&mut stage, &ops).await {
            let (ops, why) = shorten(&mut stage, ops, why).await;
            let list: Vec<String> = ops.iter().map(|op| format!("  {op:?},")).collect();
            broken = Some(format!("life {life}: {why}\nafter\n{}", list.join("\n")));
            break;
        }
        let (sms, words) = stage.went_otherwise();
        otherwise = (otherwise.0 + sms, otherwise.1 + words);
    }
    stage.clear_away().await;
    println!("{} SMS, {} messages in free words", otherwise.0, otherwise.1);
    if let Some(broken) = broken {
        panic!("{broken}");
    }
    // Else the laws about them were not tried.
    let words = (lives / 10).max(1);
    assert!(otherwise.1 >= words, "{} messages went in free words, and {words} are too few", otherwise.1);
}

/// Plays a life from an empty house to its rest. Says what broke.
async fn play(stage: &mut Stage, ops: &[Op]) -> Result<(), String> {
    let life = async {
        stage.empty().await;
        for (n, op) in ops.iter().enumerate() {
            stage.perform(op).await.map_err(|why| format!("operation {n}, {op:?}: {why}"))?;
        }
        stage.come_to_rest().await.map_err(|why| format!("at the end: {why}"))
    };
    match AssertUnwindSafe(life).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err("it panicked".to_owned()),
    }
}

/// Leaves out operations as long as it still breaks.
async fn shorten(stage: &mut Stage, mut ops: Vec<Op>, mut why: String) -> (Vec<Op>, String) {
    let mut tries = 0;
    let mut size = ops.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < ops.len() && tries < 120 {
            tries += 1;
            let shorter: Vec<Op> = ops.iter().take(at).chain(ops.iter().skip(at + size)).cloned().collect();
            match play(stage, &shorter).await {
                Err(still) => (ops, why) = (shorter, still),
                Ok(()) => at += size,
            }
        }
        size /= 2;
    }
    (ops, why)
}

/// A life in which some kinds of operations never happen: what others bring about lasts longer then. In one of many `words` messages
/// may often go in free words.
fn draw_life(chance: &mut Chance, length: usize, words: bool) -> Vec<Op> {
    let wanted = |kind: u64| words && WORDS.contains(&kind);
    let never: Vec<u64> = (0..KINDS.len() as u64).filter(|kind| chance.below(4) == 0 && !wanted(*kind)).collect();
    let mut ops = Vec::with_capacity(length);
    while ops.len() < length {
        let drawn = if words && chance.below(12) == 0 { words_may_go(chance) } else { vec![draw(chance)] };
        for op in drawn {
            let kind = KINDS.iter().position(|kind| kind(&op));
            if kind.is_none_or(|kind| !never.contains(&(kind as u64))) {
                ops.push(op);
            }
        }
    }
    ops
}

/// What by itself would hardly ever come together: a template whose file allows free words is paused, somebody wrote and was heard, and
/// something is to be said to them. What happens to the message is left to chance.
fn words_may_go(chance: &mut Chance) -> Vec<Op> {
    let person = chance.below(PEOPLE as u64) as usize;
    let mut ops = vec![
        Op::Review { template: "parcel_left", paused: true },
        Op::Write { person },
        Op::Hear { percent: 100, twice: chance.below(2) == 0, mixed: chance.below(2) == 0 },
        Op::Publish { what: What::Left(chance.below(PARCELS)), person },
    ];
    if chance.below(2) == 0 {
        ops.push(Op::Next(draw_trouble(chance)));
    }
    ops.push(Op::Dispatch { permits: 1 + chance.below(5) as u32, way: Way::Whatsapp });
    ops
}

/// Of these kinds, those without which nothing goes in free words.
const WORDS: [u64; 3] = [6, 8, 9];

/// What a life can do without.
const KINDS: [fn(&Op) -> bool; 11] = [
    |op| matches!(op, Op::Again(_) | Op::Altered(_)),
    |op| matches!(op, Op::Next(_)),
    |op| matches!(op, Op::Door { .. }),
    |op| matches!(op, Op::CrashBefore(_)),
    |op| matches!(op, Op::CrashAfter(_)),
    |op| matches!(op, Op::LateAnswer),
    |op| matches!(op, Op::Hear { .. }),
    |op| matches!(op, Op::Ask { .. } | Op::Grant { .. } | Op::Revoke { .. }),
    |op| matches!(op, Op::Write { .. }),
    |op| matches!(op, Op::Review { .. }),
    |op| matches!(op, Op::Release),
];

fn draw(chance: &mut Chance) -> Op {
    let person = chance.below(PEOPLE as u64) as usize;
    match chance.below(115) {
        0..18 => Op::Publish { what: draw_what(chance), person },
        18..20 => Op::Again(chance.below(50) as usize),
        20..21 => Op::Altered(chance.below(50) as usize),
        21..35 => {
            const PAUSES: [u64; 10] = [50, 900, 3_000, 7_000, 12_000, 31_000, 45_000, 700_000, 4_000_000, 30_000_000];
            Op::Advance { ms: PAUSES[chance.below(10) as usize] }
        }
        35..54 => Op::Dispatch { permits: 1 + chance.below(5) as u32, way: Way::Whatsapp },
        54..62 => Op::Next(draw_trouble(chance)),
        62..64 => Op::Door { open: chance.below(3) > 0 },
        64..68 => Op::CrashBefore(draw_way(chance)),
        68..74 => Op::CrashAfter(draw_way(chance)),
        74..76 => Op::LateAnswer,
        76..82 => Op::Hear {
            percent: [30, 60, 100, 100][chance.below(4) as usize],
            twice: chance.below(3) == 0,
            mixed: chance.below(2) == 0,
        },
        82..84 => Op::Ask { person, way: draw_way(chance) },
        84..86 => Op::Grant { person, way: draw_way(chance) },
        86..87 => Op::Revoke { person, way: draw_way(chance) },
        87..99 => Op::Upkeep,
        99..103 => Op::Dispatch { permits: 1 + chance.below(3) as u32, way: Way::Sms },
        103..108 => Op::Write { person },
        108..114 => Op::Review {
            template: ["parcel_left", "order_confirmed"][chance.below(2) as usize],
            paused: chance.below(3) > 0,
        },
        _ => Op::Release,
    }
}

fn draw_way(chance: &mut Chance) -> Way {
    if chance.below(4) == 0 { Way::Sms } else { Way::Whatsapp }
}

fn draw_what(chance: &mut Chance) -> What {
    match chance.below(10) {
        0..4 => What::Order,
        4..6 => What::Subject(chance.below(2)),
        6 => What::Gate,
        7..9 => What::Left(chance.below(PARCELS)),
        _ => What::Arrived(chance.below(PARCELS)),
    }
}

fn draw_trouble(chance: &mut Chance) -> Trouble {
    const CODES: [u32; 8] = [130_429, 131_056, 131_021, 131_000, 132_015, 190, 131_049, 131_026];
    match chance.below(15) {
        0 => Trouble::LoseRequest,
        1..4 => Trouble::LoseAnswer,
        4 => Trouble::Gateway,
        5 => Trouble::Gibberish,
        6..8 => Trouble::Silent,
        8..12 => Trouble::Code(CODES[chance.below(8) as usize]),
        _ => Trouble::FailLater([131_026, 131_026, 131_000, 131_053][chance.below(4) as usize]),
    }
}
