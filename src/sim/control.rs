//! The simulator's own addresses, under `/_sim`: what tests in other processes and the demonstration use to look, to be
//! the recipient, and to break things. No key is asked: it must not listen where strangers can reach it.
//!
//! | request | what |
//! |---|---|
//! | `GET state` | senders, templates, rules, faults in force, counters |
//! | `GET messages?since=0&limit=1000` | messages accepted after the `since`-th |
//! | `GET events?since=0&limit=1000` | the feed after that cursor |
//! | `POST faults` · `DELETE faults` | adds a script (`{"fault":{"kind":"cut_after"},"next":3}`) or a list of them; ends all |
//! | `POST templates` | one template in Meta's JSON, or a list |
//! | `POST templates/status` | `{"name","language","status"}`, and sends the news |
//! | `POST templates/category` · `templates/quality` | `{"name","language","category"}` or `"quality"`, and sends the news |
//! | `POST reviews` | `{"after_ms"?,"counts_as"?}`: new templates are approved after so long, counted as this category |
//! | `POST senders/{id}` | changes a number (`{"mps":20}`, `{"trouble":190}`); makes it if there is none |
//! | `POST access` · `GET` | changes the token, the app's webhook, the account (`{"token_expires_at":1}`, `{"subscribed":false}`) |
//! | `POST numbers/{address}` | changes a number at Twilio (`{"inbound_url":"…"}`, `{"trouble":63051}`); makes it if there is none |
//! | `POST services/{sid}` | changes a messaging service (`{"advanced_opt_out":true}`); makes it if there is none |
//! | `POST contents` | content in the Content API's JSON, reviewed if it has an `approval`, or a list; the answer has the sids |
//! | `POST contents/stage` | `{"sid","stage"}`: where its review is |
//! | `POST people/{phone}` · `GET` | how a person behaves (`{"offline":true}`); the person |
//! | `POST people/{phone}/reply` | `{"text","sender"?}`; the answer has the inbound message's id |
//! | `POST people/{phone}/press` | `{"wamid","payload"?}` |
//! | `POST people/{phone}/block` · `unblock` · `stop` · `resume` | |
//! | `POST people/{phone}/move` | `{"to"}`: a new number |
//! | `POST webhooks` · `GET` | changes the rules that are given |
//! | `POST webhooks/verify` | makes the verification call |
//! | `POST news` | `{"field","value"}`: any news of the account |
//! | `POST manners` | latency, pair limit, late codes |
//! | `POST down?ms=1000` | closes the door for so long |
//! | `POST reset` | forgets what happened |

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::faults::Script;
use super::templates::Approval;
use super::twilio::{Stage, TwilioNumber, TwilioService};
use super::world::{Sender, World};

/// What the control addresses work on.
#[derive(Clone)]
pub(super) struct House {
    pub(super) world: Arc<World>,
    pub(super) client: reqwest::Client,
    pub(super) open: Arc<watch::Sender<bool>>,
}

impl House {
    pub(super) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

type Answer = Result<Json<Value>, Wrong>;

/// What was wrong with a request, in words.
struct Wrong(StatusCode, String);

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"wrong": self.1}))).into_response()
    }
}

pub(super) fn router<S>(house: House) -> Router<S> {
    Router::new()
        .route("/state", get(state))
        .route("/messages", get(list_messages))
        .route("/events", get(list_events))
        .route("/faults", post(add_faults).delete(clear_faults))
        .route("/templates", post(add_templates))
        .route("/templates/status", post(set_template_status))
        .route("/templates/category", post(recategorise))
        .route("/templates/quality", post(set_template_quality))
        .route("/reviews", post(change_reviews))
        .route("/senders/{id}", post(change_sender))
        .route("/access", get(access).post(change_access))
        .route("/numbers/{address}", post(change_number))
        .route("/services/{sid}", post(change_service))
        .route("/contents", post(add_contents))
        .route("/contents/stage", post(set_stage))
        .route("/people/{phone}", get(person).post(change_person))
        .route("/people/{phone}/{act}", post(act))
        .route("/webhooks", get(rules).post(change_rules))
        .route("/webhooks/verify", post(verify))
        .route("/news", post(news))
        .route("/manners", post(change_manners))
        .route("/down", post(down))
        .route("/reset", post(reset))
        .with_state(house)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    since: u64,
    #[serde(default = "usual_limit")]
    limit: usize,
}

fn usual_limit() -> usize {
    1000
}

async fn state(State(house): State<House>) -> Json<Value> {
    let world = &house.world;
    let (senders, templates) = {
        let state = world.state();
        let senders: Vec<Value> = state.senders.values().map(|line| json!(line.sender)).collect();
        let templates: Vec<Value> = state
            .templates
            .values()
            .flat_map(std::collections::BTreeMap::values)
            .map(|template| template.show(Some("name,language,status,category")))
            .collect();
        (senders, templates)
    };
    let account = world.account();
    let contents: Vec<Value> = world
        .contents()
        .into_iter()
        .map(|(sid, language, review)| json!({"sid": sid, "language": language, "review": review}))
        .collect();
    Json(json!({
        "now_ms": world.now_ms(),
        "waba_id": world.waba_id,
        "counters": world.counters(),
        "senders": senders,
        "templates": templates,
        "twilio": {"sid": account.sid, "numbers": account.numbers, "services": account.services, "contents": contents},
        "faults": world.scripts(),
    }))
}

async fn list_messages(State(house): State<House>, Query(page): Query<Page>) -> Json<Value> {
    Json(json!({"messages": house.world.accepted_since(page.since, page.limit)}))
}

async fn list_events(State(house): State<House>, Query(page): Query<Page>) -> Json<Value> {
    Json(json!({"events": house.world.feed_since(page.since, page.limit)}))
}

async fn add_faults(State(house): State<House>, body: Bytes) -> Answer {
    for script in one_or_many::<Script>(&body)? {
        house.world.fault(script).map_err(bad)?;
    }
    done()
}

async fn clear_faults(State(house): State<House>) -> Answer {
    house.world.clear_faults();
    done()
}

async fn add_templates(State(house): State<House>, body: Bytes) -> Answer {
    let mut ids = Vec::new();
    for template in one_or_many::<Value>(&body)? {
        ids.push(house.world.add_template(&template).map_err(bad)?.to_string());
    }
    Ok(Json(json!({"ids": ids})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    name: String,
    language: String,
    status: Approval,
}

async fn set_template_status(State(house): State<House>, body: Bytes) -> Answer {
    let new: NewStatus = read(&body)?;
    known(house.world.set_template_status(&new.name, &new.language, new.status))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCategory {
    name: String,
    language: String,
    category: String,
}

async fn recategorise(State(house): State<House>, body: Bytes) -> Answer {
    let new: NewCategory = read(&body)?;
    known(house.world.recategorise(&new.name, &new.language, &new.category))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewQuality {
    name: String,
    language: String,
    quality: String,
}

async fn set_template_quality(State(house): State<House>, body: Bytes) -> Answer {
    let new: NewQuality = read(&body)?;
    known(house.world.set_template_quality(&new.name, &new.language, &new.quality))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reviews {
    after_ms: Option<u64>,
    counts_as: Option<String>,
}

async fn change_reviews(State(house): State<House>, body: Bytes) -> Answer {
    let reviews: Reviews = read(&body)?;
    house.world.review_after(reviews.after_ms);
    house.world.count_new_templates_as(reviews.counts_as.as_deref());
    done()
}

fn known(is: bool) -> Answer {
    if is { done() } else { Err(Wrong(StatusCode::NOT_FOUND, "there is no such template".into())) }
}

async fn change_sender(State(house): State<House>, Path(id): Path<String>, body: Bytes) -> Answer {
    let change: Value = read(&body)?;
    let world = &house.world;
    let (known, token) = {
        let state = world.state();
        let sender = state.senders.get(&id).map(|line| line.sender.clone()).unwrap_or_default();
        (json!(sender), sender.token)
    };
    let mut sender: Sender = overlay(known, change)?;
    if sender.token == Sender::default().token {
        // The token is not shown, so it comes back only if it was given anew.
        sender.token = token;
    }
    sender.phone_number_id = id;
    world.add_sender(sender);
    done()
}

async fn access(State(house): State<House>) -> Json<Value> {
    let state = house.world.state();
    let mut access = json!(state.access);
    super::webhooks::put(&mut access, "subscribed", state.subscribed.into());
    Json(access)
}

async fn change_access(State(house): State<House>, body: Bytes) -> Answer {
    let mut change: Value = read(&body)?;
    let subscribed = change.as_object_mut().and_then(|change| change.remove("subscribed"));
    let access = overlay(json!(house.world.state().access), change)?;
    house.world.change_access(|known| *known = access);
    if let Some(subscribed) = subscribed.and_then(|subscribed| subscribed.as_bool()) {
        house.world.set_subscribed(subscribed);
    }
    done()
}

async fn change_number(State(house): State<House>, Path(address): Path<String>, body: Bytes) -> Answer {
    let change: Value = read(&body)?;
    let mut result = Ok(());
    house.world.change_account(|account| {
        let at = account.numbers.iter().position(|number| number.address == address);
        let known = at.map(|at| account.numbers.swap_remove(at));
        let before =
            known.clone().unwrap_or_else(|| TwilioNumber { address: address.clone(), ..TwilioNumber::default() });
        match overlay::<TwilioNumber>(json!(before), change) {
            Ok(number) => account.numbers.push(TwilioNumber { address, ..number }),
            Err(wrong) => {
                account.numbers.extend(known);
                result = Err(wrong);
            }
        }
    });
    result?;
    done()
}

async fn change_service(State(house): State<House>, Path(sid): Path<String>, body: Bytes) -> Answer {
    let change: Value = read(&body)?;
    let mut result = Ok(());
    house.world.change_account(|account| {
        let at = account.services.iter().position(|service| service.sid == sid);
        let known = at.map(|at| account.services.swap_remove(at));
        let before = known.clone().unwrap_or_default();
        match overlay::<TwilioService>(json!(before), change) {
            Ok(service) => account.services.push(TwilioService { sid, ..service }),
            Err(wrong) => {
                account.services.extend(known);
                result = Err(wrong);
            }
        }
    });
    result?;
    done()
}

async fn add_contents(State(house): State<House>, body: Bytes) -> Answer {
    let mut sids = Vec::new();
    for content in one_or_many::<Value>(&body)? {
        sids.push(house.world.add_content(&content).map_err(bad)?);
    }
    Ok(Json(json!({"sids": sids})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStage {
    sid: String,
    stage: Stage,
}

async fn set_stage(State(house): State<House>, body: Bytes) -> Answer {
    let new: NewStage = read(&body)?;
    if house.world.set_content_stage(&new.sid, new.stage) {
        return done();
    }
    Err(Wrong(StatusCode::NOT_FOUND, "there is no such content, or it was not submitted".into()))
}

async fn person(State(house): State<House>, Path(phone): Path<String>) -> Json<Value> {
    Json(json!(house.world.person(&phone)))
}

async fn change_person(State(house): State<House>, Path(phone): Path<String>, body: Bytes) -> Answer {
    let ways = overlay(json!(house.world.person(&phone).ways), read(&body)?)?;
    house.world.change_person(&phone, |known| *known = ways);
    Ok(Json(json!(house.world.person(&phone))))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Act {
    text: String,
    wamid: String,
    payload: Option<String>,
    to: String,
    sender: Option<String>,
}

async fn act(State(house): State<House>, Path((phone, act)): Path<(String, String)>, body: Bytes) -> Answer {
    let given: Act = if body.is_empty() { Act::default() } else { read(&body)? };
    let world = &house.world;
    let result = match act.as_str() {
        "reply" => match &given.sender {
            Some(sender) => world.write_to(sender, &phone, &given.text).map(Some),
            None => world.reply(&phone, &given.text).map(Some),
        },
        "press" => world.press(&phone, &given.wamid, given.payload.as_deref()).map(Some),
        "block" => {
            world.block(&phone);
            Ok(None)
        }
        "unblock" => {
            world.unblock(&phone);
            Ok(None)
        }
        "stop" => world.prefer_marketing(&phone, false).map(|()| None),
        "resume" => world.prefer_marketing(&phone, true).map(|()| None),
        "move" => world.change_number(&phone, &given.to).map(|()| None),
        other => return Err(Wrong(StatusCode::NOT_FOUND, format!("nobody can {other}"))),
    };
    let wamid = result.map_err(|unable| Wrong(StatusCode::CONFLICT, unable.to_string()))?;
    Ok(Json(json!({"wamid": wamid})))
}

async fn rules(State(house): State<House>) -> Json<Value> {
    let mut rules = json!(house.world.webhook_rules());
    if let Some(map) = rules.as_object_mut() {
        map.remove("secret");
        map.remove("verify_token");
    }
    Json(rules)
}

async fn change_rules(State(house): State<House>, body: Bytes) -> Answer {
    let rules = overlay(json!(house.world.webhook_rules()), read(&body)?)?;
    house.world.set_webhooks(|known| *known = rules);
    done()
}

async fn verify(State(house): State<House>) -> Answer {
    match super::post::verify(&house.world, &house.client).await {
        Ok(good) => Ok(Json(json!({"verified": good}))),
        Err(why) => Err(Wrong(StatusCode::BAD_GATEWAY, why)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct News {
    field: String,
    value: Value,
}

async fn news(State(house): State<House>, body: Bytes) -> Answer {
    let news: News = read(&body)?;
    house.world.news(&news.field, news.value);
    done()
}

async fn change_manners(State(house): State<House>, body: Bytes) -> Answer {
    let change: Value = read(&body)?;
    let mut result = Ok(());
    house.world.change_manners(|manners| match overlay(json!(manners), change) {
        Ok(changed) => *manners = changed,
        Err(wrong) => result = Err(wrong),
    });
    result?;
    done()
}

#[derive(Deserialize)]
struct Down {
    ms: u64,
}

async fn down(State(house): State<House>, Query(down): Query<Down>) -> Answer {
    let tasks = house.world.tasks.clone();
    tasks.spawn(async move {
        // The answer to this request leaves first.
        sleep(Duration::from_millis(20)).await;
        house.set_open(false);
        sleep(Duration::from_millis(down.ms)).await;
        house.set_open(true);
    });
    done()
}

async fn reset(State(house): State<House>) -> Answer {
    house.world.reset();
    done()
}

fn done() -> Answer {
    Ok(Json(json!({"done": true})))
}

fn bad(why: impl Into<String>) -> Wrong {
    Wrong(StatusCode::BAD_REQUEST, why.into())
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives the error away")]
fn unreadable(error: serde_json::Error) -> Wrong {
    bad(error.to_string())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    serde_json::from_slice(body).map_err(unreadable)
}

fn one_or_many<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Wrong> {
    let one = read::<Value>(body)?;
    let items = if let Value::Array(items) = one { items } else { vec![one] };
    items.into_iter().map(|item| serde_json::from_value(item).map_err(unreadable)).collect()
}

/// Lays the keys that were given over what is there.
fn overlay<T: DeserializeOwned>(known: Value, given: Value) -> Result<T, Wrong> {
    let (Value::Object(mut known), Value::Object(given)) = (known, given) else {
        return Err(bad("a JSON object is expected"));
    };
    known.extend(given);
    serde_json::from_value(Value::Object(known)).map_err(unreadable)
}
