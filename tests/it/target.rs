//! Somebody who is told over HTTP: keeps what came, and answers as a test wants.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use recado::domain::callback::{Key, signature};
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub headers: HeaderMap,
    pub query: Option<String>,
    pub body: Bytes,
    /// What it was answered with.
    pub status: u16,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it is signed with [`SECRET`].
    pub fn is_genuine(&self) -> bool {
        let at = self.header("webhook-timestamp").parse().unwrap();
        let ours = signature(&[Key::parse(SECRET).unwrap()], self.header("webhook-id"), at, &self.body);
        self.header("webhook-signature").split(' ').any(|one| one == ours)
    }
}

/// How it answers.
pub type Manner = Box<dyn FnMut(&Seen) -> (u16, Duration) + Send>;

#[derive(Clone)]
struct Desk {
    seen: Arc<Mutex<Vec<Seen>>>,
    manner: Arc<Mutex<Manner>>,
}

pub struct Target {
    pub port: u16,
    desk: Desk,
    task: AbortHandle,
}

impl Target {
    /// One that takes everything.
    pub async fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let manner: Manner = Box::new(|_| (200, Duration::ZERO));
        let desk = Desk { seen: Arc::default(), manner: Arc::new(Mutex::new(manner)) };
        let router = Router::new().fallback(take).with_state(desk.clone());
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) }).abort_handle();
        Target { port, desk, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/told", self.port)
    }

    pub fn answers(&self, manner: impl FnMut(&Seen) -> (u16, Duration) + Send + 'static) {
        *self.desk.manner.lock().unwrap() = Box::new(manner);
    }

    pub fn takes_everything(&self) {
        self.answers(|_| (200, Duration::ZERO));
    }

    pub fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.desk.seen.lock().unwrap()
    }

    /// What it took, in the order in which it came.
    pub fn taken(&self) -> Vec<Seen> {
        self.seen().iter().filter(|seen| (200..300).contains(&seen.status)).cloned().collect()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(desk): State<Desk>, RawQuery(query): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    let mut seen = Seen { headers, query, body, status: 0 };
    let (status, delay) = (desk.manner.lock().unwrap())(&seen);
    seen.status = status;
    desk.seen.lock().unwrap().push(seen);
    tokio::time::sleep(delay).await;
    // A body and a redirect that nobody is to follow.
    (StatusCode::from_u16(status).unwrap(), [("location", "http://127.0.0.1:1/elsewhere")], "a body that nobody wants")
        .into_response()
}
