//! Spans on their way to the collector. One that is away or slow costs spans, which are counted, and nothing else: nothing is kept for it
//! beyond a bounded queue, and nothing is sent twice.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use super::wire::Wire;
use crate::{
    lifecycle::Lifecycle,
    telemetry::{
        self,
        traces::{Span, not_taken, otlp},
    },
};

/// Spans in one request, at most.
const BATCH: usize = 512;
/// How long a batch waits for more.
const LINGER: Duration = Duration::from_secs(1);
/// A whole request, and its connection.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends this process's spans.
pub struct Exporter {
    pub process: Uuid,
    pub spans: Receiver<Span>,
    wire: Wire,
    address: Uri,
    authorization: Option<HeaderValue>,
    /// The last batch was not taken: said once.
    away: bool,
}

impl Exporter {
    /// `endpoint` is the collector's base address.
    ///
    /// # Errors
    /// If the address or the header is none, or this system's certificates cannot be used.
    pub fn new(
        process: Uuid,
        spans: Receiver<Span>,
        endpoint: &str,
        authorization: Option<&str>,
    ) -> anyhow::Result<Exporter> {
        let address = format!("{}/v1/traces", endpoint.trim_end_matches('/')).parse()?;
        let authorization = authorization.map(HeaderValue::from_str).transpose()?.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        let wire = Wire::new(TIMEOUT, CONNECT_TIMEOUT, 1)?;
        Ok(Exporter { process, spans, wire, address, authorization, away: false })
    }

    /// Sends until nobody can tell any more, which is when all others have finished; at the end it does not wait for a collector that is away.
    ///
    /// # Errors
    /// Never by itself.
    pub async fn run(mut self, life: Lifecycle) -> Result<(), std::convert::Infallible> {
        let mut batch = Vec::with_capacity(BATCH);
        while self.spans.recv_many(&mut batch, BATCH).await > 0 {
            if batch.len() < BATCH && !life.soft().is_cancelled() {
                let more = async {
                    let mut room = BATCH - batch.len();
                    while room > 0 {
                        match self.spans.recv_many(&mut batch, room).await {
                            0 => break,
                            came => room -= came,
                        }
                    }
                };
                tokio::select! {
                    () = more => {}
                    () = life.rest(LINGER) => {}
                }
            }
            self.send(&batch).await;
            batch.clear();
            if self.away && life.soft().is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    async fn send(&mut self, batch: &[Span]) {
        let spans = batch.len() as u64;
        let mut request = Request::new(Bytes::from(otlp(self.process, batch)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let refused = match self.wire.ask(request).await {
            Ok(answer) if answer.status().is_success() => {
                let lost = not_taken(answer.body()).min(spans);
                telemetry::count_spans("exported", spans - lost);
                telemetry::count_spans("refused", lost);
                self.away = false;
                return;
            }
            Ok(answer) => answer.status().to_string(),
            Err(silence) => format!("{silence:?}"),
        };
        telemetry::count_spans("refused", spans);
        if !self.away {
            tracing::warn!(
                why = refused,
                "traces.lost: the collector does not take spans; they are dropped until it does"
            );
        }
        self.away = true;
    }
}
