//! Twilio's side of SMS: an account that takes messages by the Messages API, reports what becomes of them, and passes on what people
//! write. A reading of Twilio's documents of its own.
//!
//! Decided for the strict side: an account's token is asked for, `To` and `From` must be E.164, a body has at most 1600
//! characters, whoever answered with one of Twilio's words for a stop gets 21610. Prices, media and scheduling are not simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Value, json};
use sha1::Sha1;

/// The account that may send.
#[derive(Debug, Clone)]
pub struct TextAccount {
    pub sid: String,
    pub token: String,
    /// The number that texts come from.
    pub number: String,
    /// Where what people write is posted to, if anywhere.
    pub inbound_url: Option<String>,
}

impl Default for TextAccount {
    fn default() -> Self {
        Self {
            sid: "AC0123456789abcdef0123456789abcdef".into(),
            token: "sim-auth-token".into(),
            number: "+34600000001".into(),
            inbound_url: None,
        }
    }
}

/// An SMS that was taken.
#[derive(Debug, Clone)]
pub struct Text {
    pub sid: String,
    pub to: String,
    pub from: String,
    pub body: String,
    pub callback: Option<String>,
}

/// A post to us that waits: the address, the form, the value of `X-Twilio-Signature`.
#[derive(Debug, Clone)]
pub struct Post {
    pub url: String,
    pub form: String,
    pub signature: String,
}

#[derive(Default)]
struct Kept {
    texts: Vec<Text>,
    posts: Vec<Post>,
    stopped: BTreeSet<String>,
    /// Numbers whose texts are refused with this code, or fail later with it.
    refused: BTreeMap<String, u32>,
    failing: BTreeMap<String, u32>,
    /// So many requests are answered with a server's error after they were processed.
    garbled: u32,
    inbound: u64,
}

/// All texts of one account.
pub struct Texts {
    account: Mutex<TextAccount>,
    kept: Mutex<Kept>,
    /// Sends posts by itself; else they wait to be taken.
    client: Option<reqwest::Client>,
}

impl Texts {
    pub(super) fn new(account: TextAccount, client: Option<reqwest::Client>) -> Arc<Self> {
        Arc::new(Self { account: Mutex::new(account), kept: Mutex::default(), client })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn account(&self) -> TextAccount {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where what people write is posted to.
    pub fn set_inbound_url(&self, url: &str) {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).inbound_url = Some(url.to_owned());
    }

    /// Every text taken so far.
    pub fn all(&self) -> Vec<Text> {
        self.kept().texts.clone()
    }

    /// The texts that this number got.
    pub fn of(&self, phone: &str) -> Vec<Text> {
        self.kept().texts.iter().filter(|text| text.to == phone).cloned().collect()
    }

    /// Texts to this number are refused with this code from now on.
    pub fn refuse(&self, phone: &str, code: u32) {
        self.kept().refused.insert(phone.to_owned(), code);
    }

    /// Texts to this number are taken and reported as failed with this code.
    pub fn fail_later(&self, phone: &str, code: u32) {
        self.kept().failing.insert(phone.to_owned(), code);
    }

    /// The next requests are processed, and answered with a server's error.
    pub fn garble(&self, requests: u32) {
        self.kept().garbled = requests;
    }

    /// Somebody writes an SMS to the account's number. Twilio's own words for a stop block what is sent to them.
    pub fn write(&self, phone: &str, body: &str) {
        let account = self.account();
        let word = body.trim().to_ascii_uppercase();
        let sid = {
            let mut kept = self.kept();
            kept.inbound += 1;
            match word.as_str() {
                "STOP" | "STOPALL" | "UNSUBSCRIBE" | "CANCEL" | "END" | "QUIT" | "REVOKE" | "OPTOUT" => {
                    kept.stopped.insert(phone.to_owned());
                }
                "START" | "YES" | "UNSTOP" => {
                    kept.stopped.remove(phone);
                }
                _ => {}
            }
            format!("SM{:032x}", u128::from(kept.inbound) + (1 << 100))
        };
        let fields = [
            ("ToCountry", "ES"),
            ("MessageSid", sid.as_str()),
            ("SmsMessageSid", sid.as_str()),
            ("SmsStatus", "received"),
            ("NumMedia", "0"),
            ("NumSegments", "1"),
            ("From", phone),
            ("To", account.number.as_str()),
            ("Body", body),
            ("AccountSid", account.sid.as_str()),
            ("ApiVersion", "2010-04-01"),
        ];
        if let Some(url) = account.inbound_url.clone() {
            self.post(&account, &url, &fields);
        }
    }

    /// Takes what waits to be posted to us.
    pub fn take_posts(&self) -> Vec<Post> {
        std::mem::take(&mut self.kept().posts)
    }

    fn post(&self, account: &TextAccount, url: &str, fields: &[(&str, &str)]) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let post = Post { url: url.to_owned(), form: form.finish(), signature: sign(&account.token, url, fields) };
        let Some(client) = &self.client else {
            self.kept().posts.push(post);
            return;
        };
        let request = client
            .post(&post.url)
            .header("x-twilio-signature", &post.signature)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(post.form);
        // Best effort, as Twilio's is: one attempt.
        tokio::spawn(async move { drop(request.send().await) });
    }

    fn take(&self, form: &[(String, String)]) -> Result<Text, (u16, u32, &'static str)> {
        let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let account = self.account();
        let to = field("To").filter(|to| is_e164(to)).ok_or((400, 21211, "Invalid 'To' Phone Number"))?;
        let from = match (field("From"), field("MessagingServiceSid")) {
            (Some(from), _) if from == account.number => from,
            (None, Some(_)) => account.number.clone(),
            (Some(_), _) => return Err((400, 21606, "The 'From' number is not a valid number of this account")),
            (None, None) => return Err((400, 21603, "A 'From' phone number is required")),
        };
        let body = field("Body").filter(|body| !body.is_empty()).ok_or((400, 21619, "A text is required"))?;
        if body.chars().count() > 1_600 {
            return Err((400, 21617, "The text is too long"));
        }
        let mut kept = self.kept();
        if kept.stopped.contains(&to) {
            return Err((400, 21610, "Attempt to send to unsubscribed recipient"));
        }
        if let Some(code) = kept.refused.get(&to) {
            return Err((400, *code, "Refused"));
        }
        let sid = format!("SM{:032x}", kept.texts.len() + 1);
        let text = Text { sid, to, from, body, callback: field("StatusCallback") };
        kept.texts.push(text.clone());
        Ok(text)
    }

    fn report(&self, text: &Text) {
        let Some(url) = &text.callback else { return };
        let account = self.account();
        let fails = self.kept().failing.get(&text.to).copied();
        let statuses = if fails.is_some() { ["sent", "undelivered"] } else { ["sent", "delivered"] };
        for status in statuses {
            let code = fails.filter(|_| status == "undelivered").map(|code| code.to_string());
            let mut fields = vec![
                ("MessageSid", text.sid.as_str()),
                ("MessageStatus", status),
                ("SmsSid", text.sid.as_str()),
                ("SmsStatus", status),
                ("To", text.to.as_str()),
                ("From", text.from.as_str()),
                ("AccountSid", account.sid.as_str()),
                ("ApiVersion", "2010-04-01"),
            ];
            if let Some(code) = &code {
                fields.push(("ErrorCode", code));
            }
            self.post(&account, url, &fields);
        }
    }
}

fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|d| (7..=15).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))
}

/// As Twilio signs a form: the address, then each name with its value, by name.
fn sign(token: &str, url: &str, fields: &[(&str, &str)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else { return String::new() };
    // The fragment and nothing else of an address is not signed.
    mac.update(url.split('#').next().unwrap_or_default().as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

pub(super) fn router(texts: Arc<Texts>) -> Router {
    Router::new().route("/2010-04-01/Accounts/{sid}/Messages.json", post(create).get(list)).with_state(texts)
}

fn authorized(texts: &Texts, sid: &str, headers: &HeaderMap) -> bool {
    let account = texts.account();
    let expected = format!("Basic {}", STANDARD.encode(format!("{}:{}", account.sid, account.token)));
    sid == account.sid
        && headers.get(header::AUTHORIZATION).is_some_and(|given| given.as_bytes() == expected.as_bytes())
}

async fn create(
    State(texts): State<Arc<Texts>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<axum::body::Body> {
    if !authorized(&texts, &sid, &headers) {
        return refusal(401, 20003, "Authenticate");
    }
    let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    match texts.take(&form) {
        Ok(text) => {
            texts.report(&text);
            let garbled = {
                let mut kept = texts.kept();
                let garbled = kept.garbled > 0;
                kept.garbled = kept.garbled.saturating_sub(1);
                garbled
            };
            if garbled {
                return refusal(500, 20500, "Internal Server Error");
            }
            answer(201, &shown(&text, &sid))
        }
        Err((status, code, message)) => refusal(status, code, message),
    }
}

async fn list(
    State(texts): State<Arc<Texts>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
) -> Response<axum::body::Body> {
    if !authorized(&texts, &sid, &headers) {
        return refusal(401, 20003, "Authenticate");
    }
    let messages: Vec<Value> = texts.all().iter().rev().map(|text| shown(text, &sid)).collect();
    answer(200, &json!({"messages": messages, "page": 0, "page_size": 50, "next_page_uri": null}))
}

fn shown(text: &Text, account: &str) -> Value {
    json!({
        "sid": text.sid, "account_sid": account, "to": text.to, "from": text.from, "body": text.body, "status": "queued",
        "direction": "outbound-api", "error_code": null, "error_message": null, "num_segments": "1", "price": null,
        "api_version": "2010-04-01", "uri": format!("/2010-04-01/Accounts/{account}/Messages/{}.json", text.sid),
    })
}

fn refusal(status: u16, code: u32, message: &str) -> Response<axum::body::Body> {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    answer(status, &json!({"code": code, "message": message, "more_info": more, "status": status}))
}

fn answer(status: u16, body: &Value) -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
