//! What operators' pages go by, by these settings.

use super::patience;
use crate::{
    config::{self, Settings},
    http::console::{Bound, Bounds},
};

/// What operators' pages know of the senders and of doubts.
pub(super) fn bounds(settings: &Settings) -> Bounds {
    let bound = |sender: &config::Sender| Bound {
        per_second: f64::from(sender.rate_per_second) * (1.0 - settings.dispatch.headroom),
        daily: sender.budget.daily,
        monthly: sender.budget.monthly,
        listed: sender.meta().is_none(),
    };
    Bounds {
        senders: settings.senders.iter().map(|(name, sender)| (name.clone(), bound(sender))).collect(),
        patience: patience(settings),
        gone_after: settings.dispatch.gone_after,
    }
}
