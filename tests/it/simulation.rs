//! Whole lives of the house in random order: a clock that stands until it is moved, a real Postgres, the simulator's world, and
//! the laws that must hold after every single operation.
//!
//! A run is a list of operations from a seed. One that breaks a law is shortened, then shown with its seed.

mod laws;
mod stage;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use recado::provider::Dialect;
use stage::Stage;

use super::harness::{Chance, seed};

/// People, parcels and the length of a life are few, so that operations meet.
pub const PEOPLE: usize = 4;
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
    },
    /// What the next request meets.
    Next(Trouble),
    /// The provider's door is closed, or open again.
    Door {
        open: bool,
    },
    /// A process claims and dies before its request is on the wire.
    CrashBefore,
    /// A process sends and dies before the answer is written down.
    CrashAfter,
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
    },
    Grant {
        person: usize,
    },
    Revoke {
        person: usize,
    },
    Upkeep,
    /// An operator releases every hold.
    Release,
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

/// So many lives of so many operations.
async fn live(dialect: Dialect, lives: usize, length: usize) {
    let mut chance = Chance::new(seed());
    let mut stage = Stage::build(dialect).await;
    let mut broken = None;
    for life in 0..lives {
        let ops = draw_life(&mut chance, length);
        if let Err(why) = play(&mut stage, &ops).await {
            let (ops, why) = shorten(&mut stage, ops, why).await;
            let list: Vec<String> = ops.iter().map(|op| format!("  {op:?},")).collect();
            broken = Some(format!("life {life}: {why}\nafter\n{}", list.join("\n")));
            break;
        }
    }
    stage.clear_away().await;
    if let Some(broken) = broken {
        panic!("{broken}");
    }
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

/// A life in which some kinds of operations never happen: what others bring about lasts longer then.
fn draw_life(chance: &mut Chance, length: usize) -> Vec<Op> {
    let never: Vec<u64> = (0..KINDS.len() as u64).filter(|_| chance.below(4) == 0).collect();
    let mut ops = Vec::with_capacity(length);
    while ops.len() < length {
        let op = draw(chance);
        let kind = KINDS.iter().position(|kind| kind(&op));
        if kind.is_none_or(|kind| !never.contains(&(kind as u64))) {
            ops.push(op);
        }
    }
    ops
}

/// What a life can do without.
const KINDS: [fn(&Op) -> bool; 9] = [
    |op| matches!(op, Op::Again(_) | Op::Altered(_)),
    |op| matches!(op, Op::Next(_)),
    |op| matches!(op, Op::Door { .. }),
    |op| matches!(op, Op::CrashBefore),
    |op| matches!(op, Op::CrashAfter),
    |op| matches!(op, Op::LateAnswer),
    |op| matches!(op, Op::Hear { .. }),
    |op| matches!(op, Op::Ask { .. } | Op::Grant { .. } | Op::Revoke { .. }),
    |op| matches!(op, Op::Release),
];

fn draw(chance: &mut Chance) -> Op {
    let person = chance.below(PEOPLE as u64) as usize;
    match chance.below(100) {
        0..18 => Op::Publish { what: draw_what(chance), person },
        18..20 => Op::Again(chance.below(50) as usize),
        20..21 => Op::Altered(chance.below(50) as usize),
        21..35 => {
            const PAUSES: [u64; 9] = [50, 900, 3_000, 7_000, 12_000, 31_000, 45_000, 700_000, 4_000_000];
            Op::Advance { ms: PAUSES[chance.below(9) as usize] }
        }
        35..54 => Op::Dispatch { permits: 1 + chance.below(5) as u32 },
        54..62 => Op::Next(draw_trouble(chance)),
        62..64 => Op::Door { open: chance.below(3) > 0 },
        64..68 => Op::CrashBefore,
        68..74 => Op::CrashAfter,
        74..76 => Op::LateAnswer,
        76..82 => Op::Hear {
            percent: [30, 60, 100, 100][chance.below(4) as usize],
            twice: chance.below(3) == 0,
            mixed: chance.below(2) == 0,
        },
        82..84 => Op::Ask { person },
        84..86 => Op::Grant { person },
        86..87 => Op::Revoke { person },
        87..99 => Op::Upkeep,
        _ => Op::Release,
    }
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
    const CODES: [u32; 7] = [130_429, 131_056, 131_021, 131_000, 132_015, 190, 131_049];
    match chance.below(14) {
        0 => Trouble::LoseRequest,
        1..4 => Trouble::LoseAnswer,
        4 => Trouble::Gateway,
        5 => Trouble::Gibberish,
        6..8 => Trouble::Silent,
        8..12 => Trouble::Code(CODES[chance.below(7) as usize]),
        _ => Trouble::FailLater([131_026, 131_000, 131_053][chance.below(3) as usize]),
    }
}
