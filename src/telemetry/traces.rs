//! Spans, and how OpenTelemetry's protocol writes them (OTLP/JSON, stable since 1.0). Who sends them is `worker::exporter`.
//!
//! A span names things and says what became of them; like a log it holds nothing personal. What is told costs the teller a place in a
//! bounded queue: if that is full the span is dropped and counted. While traces are off there is no queue, and nobody asks for anything.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use uuid::Uuid;

use super::count_spans;
use crate::domain::trace::{Parent, SpanId};

/// Spans that wait for the collector at most; some megabytes.
const ROOM: usize = 8_192;

/// Takes spans, or nothing while traces are off. Clones share one queue.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Queue>);

#[derive(Debug, Clone)]
struct Queue {
    spans: Sender<Span>,
    share: f64,
}

/// The trace of an event, and what to hang under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    pub trace: Uuid,
    /// Of the producer, if there is one.
    pub parent: Option<SpanId>,
    /// Of the event itself.
    pub event: SpanId,
}

impl Tracer {
    /// One that takes spans, and where they come out. Of events without a trace, `share` begin one.
    #[must_use]
    pub fn begin(share: f64) -> (Tracer, Receiver<Span>) {
        let (spans, out) = channel(ROOM);
        (Tracer(Some(Queue { spans, share })), out)
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The trace of an event with this `traceparent`: the producer's, or one of its own. None if it is not to be kept. `unique` is an id
    /// that nothing else has.
    #[must_use]
    pub fn follow(&self, traceparent: Option<&str>, unique: Uuid) -> Option<Followed> {
        let queue = self.0.as_ref()?;
        let event = SpanId::of(&[b"event".as_slice(), unique.as_bytes()].concat());
        match traceparent.and_then(Parent::parse) {
            Some(Parent { trace, span, sampled }) => sampled.then_some(Followed { trace, parent: Some(span), event }),
            None => {
                // The last bytes of an id are random.
                let [.., a, b, c, d] = unique.into_bytes();
                let kept = f64::from(u32::from_be_bytes([a, b, c, d])) < queue.share * f64::from(u32::MAX);
                let trace = Uuid::from_u128(unique.as_u128().rotate_left(64));
                (kept || queue.share >= 1.0).then_some(Followed { trace, parent: None, event })
            }
        }
    }

    /// Hands a span over. Never waits.
    pub fn tell(&self, span: Span) {
        let Some(queue) = &self.0 else { return };
        match queue.spans.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => count_spans("dropped", 1),
        }
    }
}

/// Who a span is between, as OTLP counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Internal = 1,
    Client = 3,
    Consumer = 5,
}

/// What happened, from when to when.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace: Uuid,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    /// One of few.
    pub name: &'static str,
    pub kind: Kind,
    pub start: Timestamp,
    pub end: Timestamp,
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it did not come to what it was for; one of our reasons.
    pub failed: Option<String>,
}

/// A body for `/v1/traces`: these spans of this process.
#[must_use]
pub fn otlp(process: Uuid, spans: &[Span]) -> Vec<u8> {
    let resource = [
        ("service.name", json!("recado")),
        ("service.version", json!(env!("CARGO_PKG_VERSION"))),
        ("service.instance.id", json!(process.to_string())),
    ];
    let body = Body {
        resource_spans: [ResourceSpans {
            resource: Attributes { attributes: resource.iter().map(|(key, value)| attribute(key, value)).collect() },
            scope_spans: [ScopeSpans { scope: Scope { name: "recado" }, spans: spans.iter().map(written).collect() }],
        }],
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// How many spans of a body the collector says that it did not take.
#[must_use]
pub fn not_taken(answer: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = answer.pointer("/partialSuccess/rejectedSpans");
    // Numbers of 64 bits are texts in this format; not everybody keeps to that.
    rejected.and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok())).unwrap_or(0)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    resource_spans: [ResourceSpans; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    resource: Attributes,
    scope_spans: [ScopeSpans; 1],
}

#[derive(Serialize)]
struct Attributes {
    attributes: Vec<Value>,
}

#[derive(Serialize)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Value>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
}

fn written(span: &Span) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut json = json!({
        "traceId": span.trace.simple().to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": span.kind as i32,
        "startTimeUnixNano": span.start.as_nanosecond().to_string(),
        "endTimeUnixNano": span.end.max(span.start).as_nanosecond().to_string(),
        "attributes": attributes,
        "flags": 0x101,
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = parent.to_string().into();
    }
    if let Some(why) = &span.failed {
        json["status"] = json!({"code": 2, "message": why});
    }
    json
}

fn attribute(key: &str, value: &Value) -> Value {
    let value = match value {
        Value::Bool(yes) => json!({"boolValue": yes}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other @ (Value::Null | Value::Array(_) | Value::Object(_)) => json!({"stringValue": other.to_string()}),
    };
    json!({"key": key, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unique() -> Uuid {
        Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_7fff_ffff)
    }

    #[test]
    fn a_producers_trace_goes_on_unless_it_is_not_kept_where_it_began() {
        let (tracer, _out) = Tracer::begin(0.0);
        let of = |flags: &str| {
            tracer.follow(Some(&format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}")), unique())
        };
        let followed = of("01").unwrap();
        assert_eq!(followed.trace.simple().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(followed.parent.unwrap().to_string(), "b7ad6b7169203331");
        assert_eq!(of("00"), None);
        assert_eq!(tracer.follow(None, unique()), None, "none of the others begins one");
        assert_eq!(
            Tracer::default().follow(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), unique()),
            None
        );
    }

    #[test]
    fn a_share_of_the_events_without_a_trace_begins_one() {
        let begins = |share: f64| Tracer::begin(share).0.follow(None, unique()).is_some();
        assert!(!begins(0.4));
        assert!(begins(0.6));
        assert!(begins(1.0));
    }

    #[test]
    fn spans_are_written_as_the_protocol_has_them() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let span = Span {
            trace: Uuid::from_u128(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
            id: SpanId::plan(Uuid::from_u128(1)),
            parent: None,
            name: "attempt",
            kind: Kind::Client,
            start: at("2026-11-25T10:00:00Z"),
            end: at("2026-11-25T09:59:59Z"),
            attributes: vec![
                ("recado.attempt", 2.into()),
                ("recado.sender", "main".into()),
                ("recado.resend", true.into()),
            ],
            failed: Some("busy".to_owned()),
        };
        let body: Value = serde_json::from_slice(&otlp(Uuid::nil(), &[span])).unwrap();
        let service = body.pointer("/resourceSpans/0/resource/attributes/0/value/stringValue");
        assert_eq!(service, Some(&json!("recado")));
        let told = body.pointer("/resourceSpans/0/scopeSpans/0/spans/0").unwrap();
        assert_eq!(told["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(told["spanId"].as_str().unwrap().len(), 16);
        assert_eq!(told.get("parentSpanId"), None);
        assert_eq!(told["kind"], 3);
        assert_eq!(told["startTimeUnixNano"], "1795600800000000000");
        assert_eq!(
            told["endTimeUnixNano"], told["startTimeUnixNano"],
            "clocks that differ make no span of negative length"
        );
        assert_eq!(told["attributes"][0], json!({"key": "recado.attempt", "value": {"intValue": "2"}}));
        assert_eq!(told["attributes"][2], json!({"key": "recado.resend", "value": {"boolValue": true}}));
        assert_eq!(told["status"], json!({"code": 2, "message": "busy"}));
    }

    #[test]
    fn a_collector_says_what_it_did_not_take() {
        assert_eq!(not_taken(b"{}"), 0);
        assert_eq!(not_taken(b""), 0);
        assert_eq!(not_taken(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#), 3);
        assert_eq!(not_taken(br#"{"partialSuccess":{"rejectedSpans":4}}"#), 4);
    }
}
