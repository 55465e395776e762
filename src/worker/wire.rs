//! One request to a provider and its answer. Nothing is repeated or redirected here; what an answer means is the provider's to say.
//!
//! hyper's own client, because the one that is built on it spends as much again on what a send must not have.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, Uri, header::USER_AGENT};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{
            HttpConnector,
            dns::{GaiResolver, Name},
        },
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{
    config::is_public,
    domain::notification::Outcome,
    lifecycle::crash,
    provider::{Provider, Silence, unanswered},
};

/// What no answer of a provider to one message needs more than.
const ANSWER_LIMIT: usize = 64 * 1024;
/// Shorter than what servers and the boxes between usually allow: a connection that they closed costs an attempt.
const IDLE: Duration = Duration::from_secs(12);

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Anywhere,
    /// What a name leads to is looked at as well, each time.
    Public,
}

impl Reach {
    /// Whether this address may be connected to.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        self == Reach::Anywhere || is_public(address)
    }
}

/// Connections to providers, kept open between requests. Clones share them.
#[derive(Clone)]
pub struct Wire {
    client: Client<Patient, Full<Bytes>>,
    send_timeout: Duration,
    answer_limit: usize,
}

impl Wire {
    /// `send_timeout` is for a whole request, `connect_timeout` for its connection with TLS; at most `idle` connections wait
    /// for their next request.
    ///
    /// # Errors
    /// If this system's certificates cannot be used.
    pub fn new(send_timeout: Duration, connect_timeout: Duration, idle: usize) -> Result<Wire, rustls::Error> {
        Wire::within(Reach::Anywhere, send_timeout, connect_timeout, idle)
    }

    /// The same for addresses within this reach only; any other counts as not connected.
    ///
    /// # Errors
    /// If this system's certificates cannot be used.
    pub fn within(
        reach: Reach,
        send_timeout: Duration,
        connect_timeout: Duration,
        idle: usize,
    ) -> Result<Wire, rustls::Error> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { reach, names: GaiResolver::new() });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new()
            .try_with_platform_verifier()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(idle)
            .build(Patient { tls, reach, most: connect_timeout });
        Ok(Wire { client, send_timeout, answer_limit: ANSWER_LIMIT })
    }

    /// The same for answers of up to so many bytes; of longer ones only the beginning is read.
    #[must_use]
    pub fn reading(self, answer_limit: usize) -> Wire {
        Wire { answer_limit, ..self }
    }

    /// Sends one message, and has its provider say what became of it.
    pub async fn send(&self, provider: &dyn Provider, message: Request<Bytes>) -> Outcome {
        match self.ask(message).await {
            Ok(answer) => provider.decode(&answer),
            Err(silence) => unanswered(silence),
        }
    }

    /// Sends one request.
    ///
    /// # Errors
    /// How it went unanswered, from which follows whether the other side may have got it.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Silence> {
        let mut request = request.map(Full::new);
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(concat!("recado/", env!("CARGO_PKG_VERSION"))));
        match tokio::time::timeout(self.send_timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Silence::TimedOut),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Silence> {
        let unanswered = |error: hyper_util::client::legacy::Error| {
            if error.is_connect() { Silence::NotConnected } else { Silence::Cut }
        };
        let answer = crash::meanwhile("wired", self.client.request(request)).await.map_err(unanswered)?;
        let (head, mut body) = answer.into_parts();
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(|_| Silence::Cut)?.into_data() else { continue };
            data.truncate(self.answer_limit - first.len() - all.len());
            if first.is_empty() {
                first = data;
            } else {
                all.extend_from_slice(&data);
            }
            if first.len() + all.len() == self.answer_limit {
                break;
            }
        }
        // Nearly always the answer came in one piece.
        let answer = if all.is_empty() { first } else { [first, all.freeze()].concat().into() };
        Ok(Response::from_parts(head, answer))
    }
}

/// Connects with TLS, but does not wait for ever.
#[derive(Clone)]
struct Patient {
    tls: HttpsConnector<HttpConnector<Resolver>>,
    reach: Reach,
    most: Duration,
}

impl Service<Uri> for Patient {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tls.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        // An address in place of a name asks no resolver.
        let address = to.host().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if address.is_some_and(|address| !self.reach.allows(address)) {
            return Box::pin(async { Err(out_of_reach().into()) });
        }
        let connected = tokio::time::timeout(self.most, self.tls.call(to));
        Box::pin(async move { connected.await? })
    }
}

/// Finds a name's addresses, as far as they may be connected to.
#[derive(Clone)]
struct Resolver {
    reach: Reach,
    names: GaiResolver,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.names.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (reach, found) = (self.reach, self.names.call(name));
        Box::pin(async move {
            let allowed: Vec<SocketAddr> = found.await?.filter(|address| reach.allows(address.ip())).collect();
            if allowed.is_empty() { Err(out_of_reach()) } else { Ok(allowed.into_iter()) }
        })
    }
}

fn out_of_reach() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::PermissionDenied, "this address is not a public one")
}
