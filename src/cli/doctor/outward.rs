//! Whether those who are told over HTTP take what they are told.

use super::Findings;
use crate::{
    cli::{ago, callbacks::line},
    clock::Clock,
    config::Settings,
    db::{Pools, callbacks, relay},
};

/// Looks at the callbacks and the relays.
pub(super) async fn check(found: &mut Findings, settings: &Settings, pools: &Pools) {
    let now = Clock::system().now();
    let names: Vec<String> = settings.callbacks.keys().cloned().collect();
    for report in callbacks::reports(&pools.ops, &names).await.unwrap_or_default() {
        let (what, said) = (format!("callback {}", report.name), line(&report, now));
        let name = &report.name;
        if report.stopped_at.is_some() {
            found.wrong(what, said, format!("when it wants events again: recado callbacks resume {name}"));
        } else if report.failing_since.is_some() {
            found.wrong(what, said, format!("recado callbacks test {name} says what it answers"));
        } else if report.undelivered > 0 {
            found.warn(what, said, "they can be told again as long as they are kept (upkeep.keep_callbacks)");
        } else {
            found.ok(what, said);
        }
    }
    let relayed = settings.senders.values().filter(|sender| sender.relay.is_some());
    let senders: Vec<String> = relayed.map(|sender| sender.name.clone()).collect();
    for report in relay::reports(&pools.ops, &senders).await.unwrap_or_default() {
        let what = format!("relay of {}", report.sender);
        let lost =
            if report.given_up > 0 { format!("; {} were given up so far", report.given_up) } else { String::new() };
        match (report.failing_since, report.delivered_at) {
            (Some(since), _) => {
                let problem = report.problem.as_deref().unwrap_or("unknown");
                let said =
                    format!("failing for {}, {problem}; {} webhooks wait{lost}", ago(since, now), report.waiting);
                found.wrong(
                    what,
                    said,
                    format!("is senders.{}.relay.url right, and does it answer 200?", report.sender),
                );
            }
            (None, Some(at)) => found.ok(what, format!("the last webhook was handed on {} ago{lost}", ago(at, now))),
            (None, None) => found.ok(what, "nothing was handed on yet"),
        }
    }
}
