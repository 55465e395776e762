use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    db::{self, pools::Sizes},
    inbox::{Inbox, reading::Reader},
    lifecycle::{Ending, Lifecycle},
    telemetry::traces::Tracer,
};

fn limits() -> config::Forms {
    config::Forms {
        dir: None,
        asks_per_address: 1,
        asks_per_phone: 1,
        asks_per_form: 1,
        texts_per_phone: 1,
        texts_per_day: 1,
    }
}

/// A desk whose database nobody asks.
fn desk(request_timeout: Duration) -> Arc<Desk> {
    let pools = db::connect("postgres://nobody@127.0.0.1:1/none", Sizes::default(), &Clock::system()).unwrap();
    let (pool, clock) = (pools.intake.clone(), Clock::system());
    let inbox =
        Inbox { reader: Arc::new(Reader::default()), pool, clock, max_event_bytes: 1, tracer: Tracer::default() };
    let doors = Doors {
        pools,
        clock: Clock::system(),
        senders: BTreeMap::new(),
        public: optin::Public::closed(limits()),
        console: config::Console::default(),
        bounds: console::Bounds::default(),
        limits: Limits { webhook_body: 10, api_body: 10, request_timeout },
        prices: Default::default(),
        events: Events { inbox, secrets: BTreeMap::new(), recorded: Arc::new(|| {}) },
        stored: Arc::new(|| {}),
        turned_away: Arc::new(|| {}),
        standing: Arc::new(|| Standing { broker_connected: None, results_taken: true, stopping: false }),
    };
    Desk::new(doors)
}

async fn broken() -> &'static str {
    panic!("+34600111222 ordered socks")
}

async fn endless() -> &'static str {
    std::future::pending().await
}

async fn large() -> Vec<u8> {
    vec![b'x'; 32 * 1024 * 1024]
}

async fn open(timeout: Duration, life: &Lifecycle) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let desk = desk(timeout);
    let router = Router::new()
        .route("/broken", get(broken))
        .route("/endless", get(endless))
        .route("/large", get(large))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), attend))
        .with_state(desk);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let taken_within = Duration::from_millis(200);
    life.role("http", serving::serve_within(taken_within, listener, router, life.clone()));
    address
}

#[tokio::test]
async fn a_panic_is_answered_without_what_it_said_and_the_next_request_as_ever() {
    let (life, _vigil) = Lifecycle::begin(Duration::from_secs(1));
    let address = open(Duration::from_secs(5), &life).await;
    for _ in 0..2 {
        let answer = reqwest::get(format!("{address}/broken")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let said = answer.text().await.unwrap();
        assert!(!said.contains("600111222") && !said.contains("socks"), "{said}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_answered_in_time() {
    let (life, _vigil) = Lifecycle::begin(Duration::from_secs(1));
    let address = open(Duration::from_millis(20), &life).await;
    let answer = reqwest::get(format!("{address}/endless")).await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn the_end_waits_for_what_is_being_answered_and_closes_idle_connections() {
    let (life, vigil) = Lifecycle::begin(Duration::from_secs(20));
    let address = open(Duration::from_millis(300), &life).await;
    let client = reqwest::Client::builder().build().unwrap();
    assert_eq!(client.get(format!("{address}/broken")).send().await.unwrap().status().as_u16(), 500);
    let asked = client.get(format!("{address}/endless")).send();
    let (answer, ending) = tokio::join!(asked, async {
        tokio::task::yield_now().await;
        life.stop();
        vigil.watch().await
    });
    // Accepted or not before the stop: whoever got in has been answered, and nobody holds the end up.
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status().as_u16() == 503));
    assert_eq!(ending, Ending::Clean);
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_keeps_no_connection() {
    let (life, vigil) = Lifecycle::begin(Duration::from_secs(60));
    let address = open(Duration::from_secs(5), &life).await;
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: recado\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    life.stop();
    let ending = tokio::time::timeout(Duration::from_secs(20), vigil.watch()).await;
    assert_eq!(ending.expect("the connection is given up"), Ending::Clean);
}
