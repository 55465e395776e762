//! A list of which a page is asked for: how long it may be, and whether there is more.

use super::Problem;

/// What a page has at most, and if nobody says otherwise.
const PAGE_MAX: i64 = 200;
const PAGE: i64 = 50;

/// How long a page is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paging {
    pub limit: i64,
}

impl Paging {
    /// As long as somebody asks for.
    pub(super) fn of(limit: Option<i64>) -> Result<Paging, Problem> {
        let limit = limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Problem::bad(format!("limit is a number from 1 to {PAGE_MAX}.")));
        }
        Ok(Paging { limit })
    }

    /// So many are looked for: one more than is shown says that there is more.
    pub(super) fn sought(self) -> i64 {
        self.limit + 1
    }

    /// Leaves what is shown of what was found; where the next page begins, if there is more.
    pub(super) fn cut<T, Cursor>(self, found: &mut Vec<T>, cursor: impl FnOnce(&T) -> Cursor) -> Option<Cursor> {
        let limit = usize::try_from(self.limit).unwrap_or(0);
        let more = found.len() > limit;
        found.truncate(limit);
        found.last().filter(|_| more).map(cursor)
    }
}
