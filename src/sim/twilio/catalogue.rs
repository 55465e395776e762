//! The Content API: content is made, changed, listed, ended, and submitted to WhatsApp's review. Whose request it is was checked
//! before.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::webhooks::put;
use super::super::world::{State, World};
use super::content::{Content, Review, Stage};
use super::messages::{page_of, paged};
use super::refused::Refused;
use super::request::Form;

/// A question to the Content API.
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    /// The path behind `/v1/`.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a Form,
    pub(super) body: &'a [u8],
    /// Where the API is reached.
    pub(super) base: &'a str,
}

/// Answers it with Twilio's JSON.
pub(super) fn reply(world: &World, ask: &Ask<'_>) -> Result<(StatusCode, Value), Refused> {
    world.end_reviews();
    let now = world.now_ms();
    let submits = matches!(ask.path, [_, _, "ApprovalRequests", "whatsapp"]);
    let ends = if submits { world.review_ends() } else { None };
    let mut state = world.state();
    match (ask.method.as_str(), ask.path) {
        ("POST", ["Content"]) => {
            let json = ask.json()?;
            let sid = state.sid("HX");
            let content = Content::read(&without_extras(json), &sid, now).map_err(wrong)?;
            let shown = content.show(&state.exchange.sid, ask.base);
            state.exchange.contents.insert(sid, content);
            Ok((StatusCode::CREATED, shown))
        }
        ("GET", ["Content"]) => {
            let account = &state.exchange.sid;
            list(ask, &state, "Content", |content| content.show(account, ask.base))
        }
        ("GET", ["ContentAndApprovals"]) => {
            let account = &state.exchange.sid;
            list(ask, &state, "ContentAndApprovals", |content| {
                let mut shown = content.show(account, ask.base);
                if let Some(map) = shown.as_object_mut() {
                    map.remove("url");
                    map.remove("links");
                }
                put(&mut shown, "approval_requests", content.show_review());
                shown
            })
        }
        ("GET", ["Content", sid]) => {
            let content = state.exchange.contents.get(*sid).ok_or_else(|| ask.unknown())?;
            Ok((StatusCode::OK, content.show(&state.exchange.sid, ask.base)))
        }
        ("PUT", ["Content", sid]) => {
            let json = ask.json()?;
            let account = state.exchange.sid.clone();
            let content = state.exchange.contents.get_mut(*sid).ok_or_else(|| ask.unknown())?;
            if !matches!(content.stage(), Stage::Unsubmitted | Stage::Rejected) {
                return Err(Refused::new(20409).saying("Content that was submitted for approval cannot be changed"));
            }
            content.rewrite(&json, now).map_err(wrong)?;
            Ok((StatusCode::OK, content.show(&account, ask.base)))
        }
        ("DELETE", ["Content", sid]) => {
            state.exchange.contents.remove(*sid).ok_or_else(|| ask.unknown())?;
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        ("GET", ["Content", sid, "ApprovalRequests"]) => {
            let content = state.exchange.contents.get(*sid).ok_or_else(|| ask.unknown())?;
            let mut review = content.show_review();
            put(&mut review, "type", "whatsapp".into());
            let url = format!("{}/v1/Content/{sid}/ApprovalRequests", ask.base);
            let shown = json!({"sid": sid, "account_sid": state.exchange.sid, "whatsapp": review, "url": url});
            Ok((StatusCode::OK, shown))
        }
        ("POST", ["Content", sid, "ApprovalRequests", "whatsapp"]) => {
            let asked = review(&ask.json()?)?;
            let language = state.exchange.contents.get(*sid).ok_or_else(|| ask.unknown())?.language.clone();
            let taken = state.exchange.contents.values().any(|other| {
                other.sid != *sid
                    && other.language == language
                    && other.review.as_ref().is_some_and(|review| review.name == asked.name)
            });
            if taken {
                return Err(Refused::new(20409).saying("There is already a template of this name and language"));
            }
            let content = state.exchange.contents.get_mut(*sid).ok_or_else(|| ask.unknown())?;
            if !matches!(content.stage(), Stage::Unsubmitted | Stage::Rejected) {
                return Err(Refused::new(20409).saying("The content was submitted already"));
            }
            content.reviewable().map_err(wrong)?;
            content.review = Some(Review { ends, ..asked });
            Ok((StatusCode::CREATED, content.show_review()))
        }
        (_, ["Content" | "ContentAndApprovals", ..]) => Err(Refused::new(20004)),
        _ => Err(ask.unknown()),
    }
}

impl Ask<'_> {
    fn json(&self) -> Result<Value, Refused> {
        serde_json::from_slice(self.body).map_err(|_| Refused::new(20422).saying("The body is not valid JSON"))
    }

    fn unknown(&self) -> Refused {
        Refused::new(20404).saying(format!("The requested resource /v1/{} was not found", self.path.join("/")))
    }
}

fn wrong(why: String) -> Refused {
    Refused::new(20422).saying(why)
}

/// What only the simulator's own address takes is no business of the API's.
fn without_extras(mut json: Value) -> Value {
    if let Some(map) = json.as_object_mut() {
        map.remove("approval");
    }
    json
}

fn review(json: &Value) -> Result<Review, Refused> {
    let text = |key: &str| {
        let value = json.get(key).and_then(Value::as_str).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| wrong(format!("{key} is required")))
    };
    let (name, category) = (text("name")?, text("category")?);
    if name.len() > 512 || !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        return Err(wrong("name must be lower-case letters, digits and _".into()));
    }
    if !matches!(category.as_str(), "UTILITY" | "MARKETING" | "AUTHENTICATION") {
        return Err(wrong(format!("category {category:?} does not exist")));
    }
    Ok(Review { name, category, status: Stage::Received, rejection_reason: String::new(), ends: None })
}

/// Content, page by page.
fn list(
    ask: &Ask<'_>,
    state: &State,
    place: &str,
    show: impl Fn(&Content) -> Value,
) -> Result<(StatusCode, Value), Refused> {
    let page = page_of(ask.query)?;
    let all: Vec<&Content> = state.exchange.contents.values().collect();
    let (shown, next) = paged(&all, |content| content.sid.as_str(), &page);
    let items: Vec<Value> = shown.into_iter().map(|content| show(content)).collect();
    let url = |number: usize, token: Option<&str>| {
        let token = token.map(|token| format!("&PageToken={token}")).unwrap_or_default();
        format!("{}/v1/{place}?PageSize={}&Page={number}{token}", ask.base, page.size)
    };
    Ok((
        StatusCode::OK,
        json!({
            "contents": items,
            "meta": {
                "page": page.number,
                "page_size": page.size,
                "first_page_url": url(0, None),
                "previous_page_url": page.number.checked_sub(1).map(|before| url(before, None)),
                "url": url(page.number, None),
                "next_page_url": next.map(|token| url(page.number + 1, Some(&token))),
                "key": "contents",
            },
        }),
    ))
}
