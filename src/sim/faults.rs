//! Faults on request: what goes wrong on the wire, for whom and how often. Only the choosing lives here; `graph` and
//! `line` do what was chosen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::chance::Chance;
use super::people::wa_id;

/// What goes wrong. "Process" means that the message is accepted (ledger, webhooks) although the client cannot know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Resets the connection before the body is read, or after that many bytes of it.
    Refuse {
        #[serde(default)]
        after_bytes: usize,
    },
    /// Waits `ms`, then processes and answers, or drops the connection without processing. It is processed even if the
    /// client has gone meanwhile.
    Stall {
        ms: u64,
        #[serde(default = "yes")]
        process: bool,
    },
    /// Reads the request and drops the connection.
    CutBefore {
        #[serde(default)]
        reset: bool,
    },
    /// Processes the request and drops the connection.
    CutAfter {
        #[serde(default)]
        reset: bool,
    },
    /// Answers an HTTP status with an HTML page, as an edge does, or with Meta's JSON (`code`).
    Status {
        status: u16,
        #[serde(default)]
        code: Option<u32>,
        #[serde(default)]
        process: bool,
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Refuses with one of Meta's codes and its usual HTTP status.
    Error {
        code: u32,
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Processes, and answers 200 with something that is no answer.
    Garbage {
        body: Garbage,
        #[serde(default = "yes")]
        process: bool,
    },
    /// Redirects (307) to another place without processing.
    Redirect { location: String },
    /// Processes, and answers 200 with a JSON body of that many bytes.
    Huge { bytes: usize },
    /// Processes, and answers one byte each `ms`.
    Drip { ms: u64 },
    /// Accepts, and reports `failed` with this code later.
    FailLater { code: u32 },
    /// Accepts with this `message_status` (`held_for_quality_assessment`, `paused`).
    Hold { message_status: String },
    /// Accepts, and sends no status of this message, ever.
    Silent,
}

/// What a 200 may contain instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbage {
    Html,
    Empty,
    /// JSON that ends in the middle.
    Truncated,
    /// An answer without the message's id.
    MissingId,
    /// An answer whose id is there twice, and differs.
    DuplicateKeys,
}

/// A fault and its occasions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    pub fault: Fault,
    /// The next so many requests that match. Without this and `permille`: the next one.
    #[serde(default)]
    pub next: Option<u64>,
    /// Each matching request with this chance in a thousand.
    #[serde(default)]
    pub permille: Option<u32>,
    /// Only messages to this phone (E.164 with `+`). Not for a `Refuse`, which never sees the phone.
    #[serde(default)]
    pub to: Option<String>,
    /// Only requests that come on a connection which has served one before.
    #[serde(default)]
    pub reused_only: bool,
    /// Lets so many matching requests pass first.
    #[serde(default)]
    pub skip: u64,
    /// What it concerns.
    #[serde(default)]
    pub on: On,
}

/// The requests that a fault concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// `POST …/messages`.
    #[default]
    Messages,
    /// Everything else of Meta's API.
    Management,
}

impl Script {
    /// The fault for the next `n` requests.
    pub fn next(n: u64, fault: Fault) -> Self {
        Self { fault, next: Some(n), permille: None, to: None, reused_only: false, skip: 0, on: On::Messages }
    }

    /// The fault for a share of the requests, in a thousand.
    pub fn share(permille: u32, fault: Fault) -> Self {
        Self { next: None, permille: Some(permille), ..Self::next(0, fault) }
    }

    /// Only for messages to this phone.
    pub fn to(mut self, phone: &str) -> Self {
        self.to = Some(phone.to_owned());
        self
    }
}

impl Fault {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Refuse { .. } => "refuse",
            Self::Stall { .. } => "stall",
            Self::CutBefore { .. } => "cut_before",
            Self::CutAfter { .. } => "cut_after",
            Self::Status { .. } => "status",
            Self::Error { .. } => "error",
            Self::Garbage { .. } => "garbage",
            Self::Redirect { .. } => "redirect",
            Self::Huge { .. } => "huge",
            Self::Drip { .. } => "drip",
            Self::FailLater { .. } => "fail_later",
            Self::Hold { .. } => "hold",
            Self::Silent => "silent",
        }
    }
}

/// The scripts in force.
pub(super) struct Faults {
    any: AtomicBool,
    scripts: Mutex<(Vec<Script>, Chance)>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self { any: AtomicBool::new(false), scripts: Mutex::new((Vec::new(), Chance::new(seed))) }
    }

    /// Adds a script, behind those that are there. Says why it makes no sense.
    pub(super) fn add(&self, mut script: Script) -> Result<(), String> {
        if script.permille.is_some_and(|share| share > 1000) {
            return Err("permille is more than 1000".into());
        }
        if matches!(script.fault, Fault::Refuse { .. }) && script.to.is_some() {
            return Err("refuse cannot know the recipient".into());
        }
        if let Some(to) = &script.to {
            let digits: String = to.chars().filter(char::is_ascii_digit).collect();
            script.to = Some(wa_id(&digits));
        }
        if script.permille.is_none() && script.next.is_none() {
            script.next = Some(1);
        }
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).0.push(script);
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
        self.any.store(false, Ordering::Release);
    }

    pub(super) fn list(&self) -> Vec<Script> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Whether there is any script.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// What must happen before the body is read.
    pub(super) fn at_head(&self, on: On, reused: bool) -> Option<Fault> {
        self.choose(|script| matches!(script.fault, Fault::Refuse { .. }) && concerns(script, on, reused, None))
    }

    /// What must happen once the body is known. `to` is the recipient's WhatsApp id, where there is one.
    pub(super) fn at_body(&self, on: On, reused: bool, to: Option<&str>) -> Option<Fault> {
        self.choose(|script| !matches!(script.fault, Fault::Refuse { .. }) && concerns(script, on, reused, to))
    }

    fn choose(&self, matches: impl Fn(&Script) -> bool) -> Option<Fault> {
        if !self.any() {
            return None;
        }
        let mut guard = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let (scripts, chance) = &mut *guard;
        let mut chosen = None;
        for script in scripts.iter_mut().filter(|script| matches(script)) {
            if script.skip > 0 {
                script.skip -= 1;
                continue;
            }
            if script.permille.is_some_and(|share| chance.below(1000) >= u64::from(share)) {
                continue;
            }
            match &mut script.next {
                Some(0) => continue,
                Some(left) => *left -= 1,
                None => {}
            }
            chosen = Some(script.fault.clone());
            break;
        }
        scripts.retain(|script| script.next != Some(0));
        self.any.store(!scripts.is_empty(), Ordering::Release);
        chosen
    }
}

fn concerns(script: &Script, on: On, reused: bool, to: Option<&str>) -> bool {
    script.on == on && (reused || !script.reused_only) && script.to.as_deref().is_none_or(|wanted| to == Some(wanted))
}

fn yes() -> bool {
    true
}
