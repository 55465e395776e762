//! Holds in the story of a notification: those in force, and those that were.

use jiff::Timestamp;
use serde::Serialize;

use super::{Line, line, when};

/// A hold that concerns it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = HoldInTheWay)]
pub struct Hold {
    pub id: i64,
    /// What it is on, in words.
    pub on: String,
    /// everything, sender or template.
    pub scope: String,
    pub sender: Option<String>,
    pub template: Option<String>,
    /// None if it is on the template in all languages.
    pub language: Option<String>,
    pub reason: String,
    pub detail: Option<String>,
    pub placed_at: Timestamp,
    pub placed_by: String,
    pub until: Option<Timestamp>,
    /// None if it is in force.
    pub ended_at: Option<Timestamp>,
    /// None if its time was over, too.
    pub ended_by: Option<String>,
    /// What that operator said.
    pub ended_because: Option<String>,
}

impl Hold {
    pub(super) fn told(&self) -> String {
        let until = self.until.map_or("until released".to_owned(), |until| format!("until {}", when(until)));
        let detail = self.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let Hold { id, on, placed_by, reason, .. } = self;
        format!("Hold {id} in force, {until}: {on} is held by {placed_by}: {reason}{detail}.")
    }

    pub(super) fn tell_past(&self, lines: &mut Vec<Line>) {
        let detail = self.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let because = self.ended_because.as_deref().map(|because| format!(" ({because})")).unwrap_or_default();
        let Hold { id, on, placed_by, reason, ended_by, .. } = self;
        lines.push(line(self.placed_at, format!("Hold {id}: {on} was held by {placed_by}: {reason}{detail}.")));
        if let Some(at) = self.ended_at {
            let by =
                ended_by.as_deref().map_or("its time was over".to_owned(), |by| format!("released by {by}{because}"));
            lines.push(line(at, format!("Hold {id}: {by}.")));
        }
    }
}
