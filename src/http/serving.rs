//! Connections: taken while there is room, left in peace while they answer, told to end when the process does.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;

use super::optin::Peer;
use crate::lifecycle::Lifecycle;

/// Connections at once; more of them wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a connection may take to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// How long somebody may take nothing of what they asked for.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// The largest head of a request.
const HEAD_MAX: usize = 64 * 1024;

/// Answers what comes in at `listener` until the soft token; what is being answered then is finished.
///
/// # Errors
/// None so far; a role gives a result.
pub async fn serve(listener: TcpListener, router: Router, life: Lifecycle) -> io::Result<()> {
    serve_within(TAKEN_WITHIN, listener, router, life).await
}

/// The same, where somebody may take nothing for so long.
pub(super) async fn serve_within(
    taken_within: Duration,
    listener: TcpListener,
    router: Router,
    life: Lifecycle,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = life.soft().cancelled() => return Ok(()),
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, peer))) => {
                let service = Known { service: TowerToHyperService::new(router.clone()), peer: Peer(peer.ip()) };
                life.spawn(answer(stream, service, taken_within, life.clone(), place));
            }
            (Ok(_), Err(error)) => {
                // Out of file descriptors, most likely; a pause lets some come back.
                tracing::warn!(%error, "http.accept: a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (Err(_), _) => return Ok(()),
        }
    }
}

/// Tells the doors who is at the other end.
struct Known {
    service: TowerToHyperService<Router>,
    peer: Peer,
}

impl Service<Request<Incoming>> for Known {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.service.call(request)
    }
}

async fn answer(
    stream: TcpStream,
    service: Known,
    taken_within: Duration,
    life: Lifecycle,
    place: OwnedSemaphorePermit,
) {
    // An answer is small and complete; nothing is gained by holding it back.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(taken_within));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = life.soft().cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = life.hard().cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "http.connection: broke off");
    }
    drop(place);
}
