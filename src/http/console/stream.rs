//! What pages are told while somebody looks, by server-sent events: who may listen and for how long, that only what changed is told, what is
//! told when nothing did, and the end. What a page's parts are, and where they come from, is the page's.
//!
//! A page's stream is at its own address with [`LIVE`] behind it. The page connects with `sse-connect`, puts `sse-close="ended"` beside it,
//! and has an element with `sse-swap="NAME"` for each part, and one with `sse-swap="ended"`. An element with `hx-trigger="sse:over"` is told
//! when nothing moves any more.

use std::{collections::BTreeMap, convert::Infallible, fmt::Write, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::FromRequestParts,
    http::{StatusCode, Uri, header, request::Parts as Head},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use minijinja::{Value, context};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{trouble::Trouble, visitor::Visitor};
use crate::{
    db::{self, sessions},
    http::Desk,
};

/// What a stream's address ends with.
const LIVE: &str = "/live";
/// So many may listen at once.
const LISTENERS_MAX: usize = 64;
/// How long a stream goes on; then the browser asks again, and is let in or not.
const LASTS: Duration = Duration::from_secs(300);
/// So that both ends notice when the other is gone.
const REMARK: &str = ":\n\n";

/// The parts of a page by their names, as HTML.
pub(super) type Parts = Vec<(&'static str, String)>;

/// What was found when somebody looked.
pub(super) struct Seen {
    /// Always the same ones, in the same order.
    pub parts: Parts,
    /// Nothing moves any more.
    pub over: bool,
}

/// The places there are for who listens.
pub(super) struct Listeners(Arc<Semaphore>);

impl Default for Listeners {
    fn default() -> Listeners {
        Listeners(Arc::new(Semaphore::new(LISTENERS_MAX)))
    }
}

/// Whether a page asks there by itself for what is new, and nobody need be there.
pub(super) fn is_at(uri: &Uri) -> bool {
    uri.path().ends_with(LIVE)
}

/// What a page has of its parts when it is loaded: them by their names, and `has` for the stream's address.
pub(super) fn first(parts: &Parts) -> Value {
    let html = parts.iter().map(|(name, html)| (*name, Value::from_safe_string(html.clone())));
    let html: BTreeMap<&str, Value> = html.collect();
    context! { has => spelled(&hashes(parts)), ..Value::from(html) }
}

/// Somebody whose page listens.
pub(super) struct Listener {
    visitor: Visitor,
    /// The page's address.
    page: String,
    /// The hashes of what it shows already.
    told: Vec<u64>,
}

impl FromRequestParts<Arc<Desk>> for Listener {
    type Rejection = Trouble;

    async fn from_request_parts(head: &mut Head, desk: &Arc<Desk>) -> Result<Listener, Trouble> {
        let visitor = Visitor::from_request_parts(head, desk).await?;
        // A browser that lost the stream says what it was told last; at first the page's address says it.
        let last = head.headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let pairs = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        let has = || pairs.into_iter().find(|(key, _)| key == "has").map(|(_, value)| value.into_owned());
        let told = last.or_else(has).map(|text| read(&text)).unwrap_or_default();
        Ok(Listener { visitor, page: page(&head.uri), told })
    }
}

impl Listener {
    /// Tells what `look` finds that the page does not show yet, as often as `every` says, until nothing moves or the process ends.
    pub(super) fn tell<L, F>(self, desk: Arc<Desk>, every: Duration, look: L) -> Response
    where
        L: FnMut(Arc<Desk>, Visitor) -> F + Send + 'static,
        F: Future<Output = Result<Seen, db::Error>> + Send + 'static,
    {
        // It is given back when the stream is dropped.
        let Ok(place) = Arc::clone(&desk.console.listeners.0).try_acquire_owned() else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let telling = Telling { desk, listener: self, every, look, looks: 0, over: false, _place: place };
        let events = stream::unfold(telling, async |mut telling| {
            let told = telling.next().await?;
            Some((Ok::<Bytes, Infallible>(told.into()), telling))
        });
        told(Body::from_stream(events))
    }
}

/// The whole stream for who is not logged in any more: the page says so and asks no further.
pub(super) fn refused(desk: &Desk, language: &str, uri: &Uri) -> Response {
    told(Body::from(ended(desk, language, &page(uri))))
}

fn told(events: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, events).into_response()
}

fn page(uri: &Uri) -> String {
    uri.path().strip_suffix(LIVE).unwrap_or_default().to_owned()
}

fn ended(desk: &Desk, language: &str, page: &str) -> String {
    event("ended", &desk.console.shell.fragment(language, "ended.html", context! { page }))
}

struct Telling<L> {
    desk: Arc<Desk>,
    listener: Listener,
    every: Duration,
    look: L,
    looks: u32,
    over: bool,
    _place: OwnedSemaphorePermit,
}

impl<L, F> Telling<L>
where
    L: FnMut(Arc<Desk>, Visitor) -> F,
    F: Future<Output = Result<Seen, db::Error>>,
{
    /// What is new, or a remark if nothing is. None when it is over.
    async fn next(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        if self.looks > 0 {
            tokio::time::sleep(self.every).await;
        }
        self.looks = self.looks.saturating_add(1);
        if (self.desk.doors.standing)().stopping || self.every.saturating_mul(self.looks) > LASTS {
            return None;
        }
        let visitor = &mut self.listener.visitor;
        visitor.now = self.desk.doors.clock.now();
        // An outage is waited out: the page stays as it was.
        let Ok(seen) = (self.look)(Arc::clone(&self.desk), visitor.clone()).await else {
            return Some(REMARK.to_owned());
        };
        let hashes = hashes(&seen.parts);
        let news = news(&seen.parts, &hashes, &self.listener.told);
        if !news.is_empty() {
            // Nothing is told to whose session ended meanwhile.
            let (pool, idle) = (&self.desk.doors.pools.ops, self.desk.console.rules.idle_timeout);
            match sessions::recognise(pool, &visitor.session, idle, false).await {
                Ok(Some(holder)) if holder.role == visitor.caller.role => {}
                // The browser asks again, and is told what its new role may see.
                Ok(Some(_)) => return None,
                Ok(None) => {
                    self.over = true;
                    return Some(ended(&self.desk, visitor.language, &self.listener.page));
                }
                Err(_) => return Some(REMARK.to_owned()),
            }
            self.listener.told = hashes;
        }
        if seen.over {
            self.over = true;
            return Some(news + &event("over", "") + &event("ended", ""));
        }
        Some(if news.is_empty() { REMARK.to_owned() } else { news })
    }
}

/// The parts that are not as they were told; and behind them what has been told then.
fn news(parts: &Parts, hashes: &[u64], told: &[u64]) -> String {
    let mut text = String::new();
    for (at, (name, html)) in parts.iter().enumerate() {
        if hashes.get(at) != told.get(at) {
            text += &event(name, html);
        }
    }
    // The last event has it: who loses the stream before it is told all of them once more.
    if text.pop().is_some() {
        let _ = write!(text, "id: {}\n\n", spelled(hashes));
    }
    text
}

fn event(name: &str, html: &str) -> String {
    let mut text = format!("event: {name}\n");
    // A carriage return alone ends a line, too.
    for line in html.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "data: {line}");
    }
    if html.trim().is_empty() {
        // Without any it would be none.
        text.push_str("data:\n");
    }
    text.push('\n');
    text
}

fn hashes(parts: &Parts) -> Vec<u64> {
    use std::hash::{DefaultHasher, Hasher};
    let hash = |(_, html): &(&str, String)| {
        let mut hasher = DefaultHasher::new();
        hasher.write(html.as_bytes());
        hasher.finish()
    };
    parts.iter().map(hash).collect()
}

fn spelled(hashes: &[u64]) -> String {
    hashes.iter().map(|hash| format!("{hash:016x}")).collect::<Vec<_>>().join("-")
}

/// As [`spelled`] wrote it; what is nonsense was never told.
fn read(text: &str) -> Vec<u64> {
    let read: Result<Vec<u64>, _> = text.split('-').map(|hash| u64::from_str_radix(hash, 16)).collect();
    read.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(one: &str, two: &str) -> Parts {
        vec![("one", one.to_owned()), ("two", two.to_owned())]
    }

    #[test]
    fn only_what_is_new_is_told_and_the_last_event_says_what_the_page_has() {
        let before = parts("<p>\n  1\n\n</p>", "2");
        let has = hashes(&before);
        let told = news(&before, &has, &[]);
        let id = spelled(&has);
        assert_eq!(told, format!("event: one\ndata: <p>\ndata:   1\ndata: </p>\n\nevent: two\ndata: 2\nid: {id}\n\n"));
        assert_eq!(news(&before, &has, &read(&id)), "", "a page that has it all is told nothing");
        let after = parts("<p>\n  1\n\n</p>", "");
        let told = news(&after, &hashes(&after), &read(&id));
        assert_eq!(told, format!("event: two\ndata:\nid: {}\n\n", spelled(&hashes(&after))));
    }

    #[test]
    fn a_page_has_its_parts_and_says_which() {
        let first = first(&parts("<p>1</p>", "2"));
        let part = |name: &str| first.get_attr(name).unwrap();
        assert!(part("one").is_safe() && part("one").as_str() == Some("<p>1</p>"));
        assert_eq!(read(part("has").as_str().unwrap()), hashes(&parts("<p>1</p>", "2")));
    }

    #[test]
    fn what_nobody_wrote_was_never_told() {
        for text in ["", "x", "1-", "1-x"] {
            assert_eq!(read(text), [0u64; 0], "{text}");
        }
    }

    #[test]
    fn no_text_can_be_an_event_of_its_own() {
        let told = event("story", "<p>a\rb\n\r\revent: ended\r\n</p>");
        assert_eq!(told, "event: story\ndata: <p>a\ndata: b\ndata: event: ended\ndata: </p>\n\n");
    }

    #[test]
    fn a_stream_is_beside_its_page() {
        let uri: Uri = "/console/plans/live?before=7".parse().unwrap();
        assert!(is_at(&uri));
        assert_eq!(page(&uri), "/console/plans");
        assert!(!is_at(&"/console/plans?x=/live".parse().unwrap()));
    }
}
