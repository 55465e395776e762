//! What operators look at all day: searches, the state of things now, and the pages that show them.

mod many;
mod search;
mod speed;
mod visits;
