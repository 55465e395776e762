//! The feed: everything that happened, in order and bounded, for a live view.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Happening {
    /// Counts from 1; the cursor.
    pub no: u64,
    /// Unix ms by the world's clock.
    pub at: i64,
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A message was accepted.
    Accepted { wamid: String, to: String, template: Option<String>, language: Option<String>, text: String },
    /// A message was refused with Meta's code.
    Refused { code: u32, details: String, to: Option<String> },
    /// A scripted fault met a request.
    Fault { kind: &'static str, to: Option<String> },
    /// A status of a message left.
    Status { wamid: String, status: &'static str, code: Option<u32> },
    /// A person wrote, pressed or changed.
    Inbound { wamid: String, from: String, kind: String, text: String },
    /// News about a template, the account or a number.
    News { field: String, event: String },
    /// A batch of webhooks was taken by the receiver, or not.
    Posted { updates: usize, status: Option<u16>, attempt: u32 },
}

pub(super) struct Feed {
    kept: usize,
    inner: Mutex<(u64, VecDeque<Happening>)>,
}

impl Feed {
    /// A feed that remembers the last `kept` happenings; 0 remembers nothing.
    pub(super) fn new(kept: usize) -> Self {
        Self { kept, inner: Mutex::new((0, VecDeque::new())) }
    }

    pub(super) fn is_on(&self) -> bool {
        self.kept > 0
    }

    pub(super) fn tell(&self, at: i64, what: impl FnOnce() -> What) {
        if self.kept == 0 {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        let no = inner.0;
        if inner.1.len() >= self.kept {
            inner.1.pop_front();
        }
        inner.1.push_back(Happening { no, at, what: what() });
    }

    /// What happened after `cursor`, at most `limit`.
    pub(super) fn since(&self, cursor: u64, limit: usize) -> Vec<Happening> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let first = inner.1.front().map_or(0, |happening| happening.no);
        let skip = usize::try_from((cursor + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        inner.1.iter().skip(skip).take(limit).cloned().collect()
    }

    pub(super) fn forget(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }
}
