//! Places at which a test can kill this very process, as a power cut would: `RECADO_CRASH=claimed:3` at the third claim.
//!
//! Nothing happens unless the variable is set. The steps: `received`, `recorded`, `drained`, `claimed`, `wired`, `answered`, `settled`; of callbacks
//! and relays `delivered`, `relayed`; of plans, before what they did is committed, `acted`, `replayed`. With a third part, `answered:1:words`,
//! it panics with those words instead, as a fault of ours would.

use std::{
    pin::pin,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

struct Plan {
    step: String,
    left: AtomicU32,
    /// What to say in a panic, if that is it.
    words: Option<String>,
}

/// Read once.
static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

/// So long something must have been awaited that is passed meanwhile.
const MEANWHILE: Duration = Duration::from_millis(10);

/// Passes a step while something is awaited: some milliseconds after it was asked for, unless it was there before.
pub async fn meanwhile<T>(step: &str, awaited: impl Future<Output = T>) -> T {
    if PLAN.get_or_init(plan).is_none() {
        return awaited.await;
    }
    let mut awaited = pin!(awaited);
    if let Ok(there) = tokio::time::timeout(MEANWHILE, awaited.as_mut()).await {
        return there;
    }
    point(step);
    awaited.await
}

/// Passes a step; dies here if it is the one, and this often.
pub fn point(step: &str) {
    let Some(plan) = PLAN.get_or_init(plan) else { return };
    if plan.step == step && plan.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        match &plan.words {
            Some(words) => fail(words),
            None => die(),
        }
    }
}

#[expect(clippy::panic, reason = "that is what a test asked for")]
fn fail(words: &str) -> ! {
    panic!("{words}")
}

fn plan() -> Option<Plan> {
    let variable = std::env::var_os("RECADO_CRASH")?.into_string().ok()?;
    let mut parts = variable.splitn(3, ':');
    let (step, pass) = (parts.next()?, parts.next().unwrap_or("1"));
    let words = parts.next().map(str::to_owned);
    Some(Plan { step: step.to_owned(), left: AtomicU32::new(pass.parse().ok()?), words })
}

fn die() -> ! {
    // SIGKILL, so that nothing is flushed, closed or told. The program `kill` sends it, since this crate forbids unsafe code.
    let _ = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
    std::process::abort()
}
