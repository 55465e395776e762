//! News of templates, numbers and accounts: what may go out, and what has to stop.

use std::time::Duration;

use super::{Known, Receipts, Trouble};
use crate::{
    db::{
        approvals, health,
        holds::{self, Hold, Scope},
        senders,
        templates::{self, Key, News},
    },
    domain::{
        fact::{AccountNews, Approval, Effect, SenderQuality, TemplateCategory, TemplateStatus},
        notification::{Outcome, Whose},
        remark::Remark,
    },
    provider::reason,
};

impl Receipts {
    pub(super) async fn template_status(&self, senders: &[&Known], news: &TemplateStatus) -> Result<(), Trouble> {
        for sender in senders {
            // What was approved may say something else than before.
            approvals::want(&self.pool, sender.id).await?;
            let key = Key { sender: sender.id, template: &news.name, language: &news.language };
            let Some(status) = news.status else {
                templates::remark(&self.pool, key, news.reason.as_deref().unwrap_or(&news.event)).await?;
                continue;
            };
            let noted = News {
                status,
                category: None,
                quality: None,
                reason: news.reason.as_deref(),
                at: news.at,
                lasts: news.lasts,
                by: "meta",
            };
            if templates::set(&self.pool, key, &noted).await? {
                let (name, language, reason) = (&news.name, &news.language, news.reason.as_deref());
                match status {
                    Approval::Approved | Approval::Pending => {
                        tracing::info!(sender = %sender.name, template = %name, %language, %status, reason, "template.changed");
                    }
                    Approval::Rejected
                    | Approval::Paused
                    | Approval::Disabled
                    | Approval::InAppeal
                    | Approval::Locked
                    | Approval::LimitExceeded
                    | Approval::Archived
                    | Approval::Deleted => {
                        tracing::error!(sender = %sender.name, template = %name, %language, %status, reason, "template.changed: its messages wait");
                    }
                }
                self.dispatch.wake();
            }
        }
        Ok(())
    }

    pub(super) async fn template_category(&self, senders: &[&Known], news: &TemplateCategory) -> Result<(), Trouble> {
        for sender in senders {
            let key = Key { sender: sender.id, template: &news.name, language: &news.language };
            let held = templates::set_category(&self.pool, key, &news.category, news.previous.as_deref()).await?;
            if held {
                tracing::error!(sender = %sender.name, template = %news.name, language = %news.language, reason = templates::RECATEGORISED,
                    "hold.placed");
            }
            if let Some((category, since)) = &news.impending {
                let becomes = Remark::Becomes { category: category.clone(), on: *since };
                templates::remark(&self.pool, key, &becomes.to_string()).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn template_changed(&self, senders: &[&Known], name: &str, language: &str) -> Result<(), Trouble> {
        for sender in senders {
            approvals::want(&self.pool, sender.id).await?;
            tracing::warn!(sender = %sender.name, template = name, language, "template.edited");
        }
        Ok(())
    }

    pub(super) async fn template_quality(
        &self,
        senders: &[&Known],
        name: &str,
        language: &str,
        score: &str,
    ) -> Result<(), Trouble> {
        for sender in senders {
            templates::set_quality(&self.pool, Key { sender: sender.id, template: name, language }, score).await?;
        }
        Ok(())
    }

    /// Which number of several is meant is not said in our ids; the address decides then.
    pub(super) async fn sender_quality(
        &self,
        senders: &[&Known],
        address: &str,
        news: &SenderQuality,
    ) -> Result<(), Trouble> {
        let meant = match senders {
            [only] => Some(only),
            several => several.iter().find(|known| known.name == address),
        };
        let Some(sender) = meant else { return Ok(()) };
        let throughput = (news.event == "THROUGHPUT_UPGRADE").then_some("HIGH");
        health::news(&self.pool, sender.id, news.limit.as_deref(), throughput).await?;
        tracing::info!(sender = %sender.name, event = %news.event, limit = news.limit.as_deref(), "sender.quality");
        Ok(())
    }

    pub(super) async fn account(&self, senders: &[&Known], news: &AccountNews) -> Result<(), Trouble> {
        const RESTRICTED: &str = reason::ACCOUNT_RESTRICTED.as_str();
        for sender in senders {
            let scope = Scope::Sender(sender.id);
            match news.effect {
                Effect::Shown => tracing::warn!(sender = %sender.name, event = %news.event, "account.news"),
                Effect::Releases => {
                    let released = holds::release(&self.pool, &scope, Some(RESTRICTED), "provider").await?;
                    tracing::info!(sender = %sender.name, event = %news.event, released, "hold.released");
                    self.dispatch.wake();
                }
                Effect::Holds { until } => {
                    let lasts = until.map(|until| until.duration_since(self.clock.now()));
                    // It is over already: the news came late.
                    let Ok(lasts) = lasts.map(Duration::try_from).transpose() else { continue };
                    let detail = [Some(news.event.as_str()), news.detail.as_deref()];
                    let detail = detail.into_iter().flatten().collect::<Vec<_>>().join(": ");
                    let (reason, by) = (RESTRICTED.to_owned(), "provider".to_owned());
                    let hold = Hold { scope, reason, detail: Some(detail), lasts, by };
                    if holds::place(&self.pool, &hold).await? {
                        tracing::error!(sender = %sender.name, event = %news.event, reason = RESTRICTED, "hold.placed");
                    }
                }
            }
        }
        Ok(())
    }

    /// An error that belongs to no message holds the number or slows it down, if it says so.
    pub(super) async fn sender_error(&self, sender: &Known, outcome: &Outcome) -> Result<(), Trouble> {
        match outcome {
            Outcome::Busy { whose: Whose::Sender, hold: true, failure, wait } => {
                self.hold(Scope::Sender(sender.id), failure, *wait).await?;
            }
            Outcome::Busy { whose: Whose::Sender, hold: false, wait, .. } => self.slow_down(sender.id, *wait).await?,
            Outcome::Busy { failure, .. } | Outcome::Rejected { failure, .. } => {
                tracing::warn!(sender = %sender.name, reason = failure.reason.as_str(), code = failure.code, "sender.error");
            }
            Outcome::Accepted(_) | Outcome::NotSent(_) | Outcome::Unclear(_) => {}
        }
        Ok(())
    }

    /// The provider asks a number to be slower: all who send from it hear of it with their next heartbeat.
    pub(super) async fn slow_down(&self, sender: i16, wait: Option<Duration>) -> Result<(), Trouble> {
        /// Two heartbeats, as they are by default.
        const AT_LEAST: Duration = Duration::from_secs(10);
        tracing::warn!(sender, "sender.throttled: the provider says so in a webhook");
        senders::throttle(&self.pool, sender, wait.unwrap_or_default().max(AT_LEAST)).await?;
        Ok(())
    }
}
