//! Traces across processes: from the producer's `traceparent` to the receipt, and what a collector that is away costs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    figures::figures,
    harness::{Fleet, PATIENCE, free_port, order, until},
};

/// A collector of traces that keeps what it is sent.
pub struct Collector {
    pub address: String,
    bodies: Arc<Mutex<Vec<String>>>,
    authorizations: Arc<Mutex<BTreeSet<String>>>,
    serving: JoinHandle<()>,
}

/// A span as it was told.
#[derive(Debug, Clone)]
pub struct Told {
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    pub name: String,
    pub process: String,
    pub attributes: BTreeMap<String, String>,
    pub failed: Option<String>,
    pub took: i128,
}

type Kept = (Arc<Mutex<Vec<String>>>, Arc<Mutex<BTreeSet<String>>>);

impl Collector {
    pub async fn open() -> Collector {
        let (bodies, authorizations) = Kept::default();
        let take = async |State((bodies, authorizations)): State<Kept>, headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/json");
            if let Some(said) = headers.get("authorization") {
                authorizations.lock().unwrap().insert(said.to_str().unwrap().to_owned());
            }
            bodies.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
            "{}"
        };
        let kept = (Arc::clone(&bodies), Arc::clone(&authorizations));
        let router = Router::new().route("/v1/traces", post(take)).with_state(kept);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Collector { address, bodies, authorizations, serving }
    }

    /// Everything that came, as it came.
    pub fn text(&self) -> String {
        self.bodies.lock().unwrap().join("\n")
    }

    pub fn spans(&self) -> Vec<Told> {
        let mut spans = Vec::new();
        for body in self.bodies.lock().unwrap().iter() {
            let body: Value = serde_json::from_str(body).unwrap();
            for resource in body["resourceSpans"].as_array().unwrap() {
                let process = attributes(&resource["resource"]["attributes"])["service.instance.id"].clone();
                for scope in resource["scopeSpans"].as_array().unwrap() {
                    spans.extend(scope["spans"].as_array().unwrap().iter().map(|span| Told::read(span, &process)));
                }
            }
        }
        spans
    }

    /// The spans of one trace.
    pub fn trace(&self, id: &str) -> Vec<Told> {
        self.spans().into_iter().filter(|span| span.trace == id).collect()
    }

    fn close(self) {
        self.serving.abort();
    }
}

impl Told {
    fn read(span: &Value, process: &str) -> Told {
        let text = |key: &str| span[key].as_str().map(str::to_owned);
        let nanos = |key: &str| text(key).unwrap().parse::<i128>().unwrap();
        Told {
            trace: text("traceId").unwrap(),
            id: text("spanId").unwrap(),
            parent: text("parentSpanId"),
            name: text("name").unwrap(),
            process: process.to_owned(),
            attributes: attributes(&span["attributes"]),
            failed: span["status"]["message"].as_str().map(str::to_owned),
            took: nanos("endTimeUnixNano") - nanos("startTimeUnixNano"),
        }
    }
}

fn attributes(list: &Value) -> BTreeMap<String, String> {
    let of = |attribute: &Value| {
        let value = attribute["value"].as_object().unwrap().values().next().unwrap();
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (attribute["key"].as_str().unwrap().to_owned(), text)
    };
    list.as_array().unwrap().iter().map(of).collect()
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn traced(id: &str, person: usize, traceparent: &str) -> Value {
    let mut event = order(id, person);
    event["traceparent"] = json!(traceparent);
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_producer_through_two_processes_to_the_receipt() {
    let collector = Collector::open().await;
    let plan = |plan: &mut super::harness::Plan| {
        plan.set("traces.endpoint", &collector.address);
        plan.set("traces.share", "0");
        plan.set("traces.authorization", "Basic dHJhY2Vz");
        // On a machine that stands still for a second an attempt would come too late, and there would be two.
        plan.set("dispatch.lease", "20s");
    };
    Fleet::run("traces", plan, async |fleet| {
        let intake = fleet.spawn_as(&["--roles", "intake,http,receipts,outbox,upkeep,replies"], &[]);
        let dispatch = fleet.spawn_as(&["--roles", "dispatch"], &[]);
        fleet.ready(intake).await;
        let unwanted = format!("00-{}-{SPAN}-00", TRACE.replace("0af7", "0000"));
        fleet
            .publish(&[
                traced("followed", 0, &format!("00-{TRACE}-{SPAN}-01")),
                traced("not sampled", 1, &unwanted),
                order("without", 2),
            ])
            .await;
        // One that carries nothing itself, and comes with a header.
        let by_header = TRACE.replace("0af7", "1af7");
        let mut headers = FieldTable::default();
        let parent = format!("00-{by_header}-{SPAN}-01");
        headers.insert("traceparent".into(), AMQPValue::LongString(parent.into()));
        let properties = BasicProperties::default().with_headers(headers);
        drop(fleet.put("order.confirmed", order("by header", 3).to_string().as_bytes(), properties).await.await);

        for event in ["followed", "not sampled", "without", "by header"] {
            fleet.reaches(event, "accepted").await;
        }
        for trace in [TRACE, &by_header] {
            until("the receipt is told", PATIENCE, async || {
                collector
                    .trace(trace)
                    .iter()
                    .any(|span| span.attributes.get("recado.receipt").is_some_and(|receipt| receipt == "delivered"))
                    && collector.trace(trace).iter().any(|span| span.name == "settle")
            })
            .await;
        }
        let spans = collector.trace(TRACE);
        let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["event", "record", "plan", "claim", "attempt", "settle", "receipt"]));
        let known: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).chain([SPAN]).collect();
        for span in &spans {
            assert!(span.parent.as_deref().is_some_and(|parent| known.contains(parent)), "{span:?} hangs nowhere");
            assert!(span.took >= 0 && span.took < 60_000_000_000, "{span:?}");
            assert_eq!(span.failed, None);
        }
        let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(of("event").parent.as_deref(), Some(SPAN));
        assert_eq!(of("event").attributes["recado.verdict"], "accepted");
        assert_eq!(of("attempt").attributes["recado.outcome"], "accepted");
        assert_eq!(of("attempt").parent.as_ref(), Some(&of("claim").id));
        assert_eq!(of("receipt").parent.as_ref(), Some(&of("attempt").id));
        assert_ne!(of("event").process, of("attempt").process, "two processes");
        assert_eq!(of("event").process, of("receipt").process);

        let all: BTreeSet<String> = collector.spans().into_iter().map(|span| span.trace).collect();
        assert_eq!(all, BTreeSet::from([TRACE.to_owned(), by_header.clone()]), "and no others");
        assert_eq!(*collector.authorizations.lock().unwrap(), BTreeSet::from(["Basic dHJhY2Vz".to_owned()]));
        fleet.stop(dispatch).await;
        fleet.stop(intake).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_costs_spans_which_are_counted_and_nothing_else() {
    let (collector, port) = (Collector::open().await, free_port());
    let endpoint = collector.address.clone();
    collector.close();
    let plan = |plan: &mut super::harness::Plan| {
        plan.set("traces.endpoint", &endpoint);
        plan.set("http.metrics_listen", &format!("127.0.0.1:{port}"));
    };
    Fleet::run("untraced", plan, async |fleet| {
        let first = fleet.start().await;
        fleet.publish(&(0..5).map(|n| order(&format!("order-{n}"), n)).collect::<Vec<_>>()).await;
        fleet.quiet(PATIENCE, true).await;
        figures(port, &["recado_trace_spans_total{fate=\"refused\"} "]).await;
        assert_eq!(fleet.log(first).matches("traces.lost").count(), 1, "it is said once");
        fleet.signal(first, "TERM");
        let ended = fleet.ended(first, Duration::from_secs(8)).await.expect("the end waits for no collector");
        assert!(ended.success(), "{ended}");
    })
    .await;
}
