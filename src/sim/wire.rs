//! Connections: accepts them, serves HTTP/1.1 on each, and can cut one in the middle of a request or close the door for a
//! while. What is served is `graph`'s and `control`'s.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Response;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The connection that a request came on; among the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Wire(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    cut: CancellationToken,
    reset: AtomicBool,
    served: AtomicU64,
}

impl Wire {
    fn new() -> Self {
        Self(Arc::new(Ends { cut: CancellationToken::new(), reset: AtomicBool::new(false), served: AtomicU64::new(0) }))
    }

    /// Whether the connection had served a request before this one.
    pub(super) fn is_reused(&self) -> bool {
        self.0.served.load(Ordering::Relaxed) > 1
    }

    /// Ends the connection without an answer: with a reset, or as if the process had closed it. Never returns; the caller
    /// is dropped with the connection.
    pub(super) async fn cut(&self, reset: bool) -> Response<Body> {
        self.0.reset.store(reset, Ordering::Relaxed);
        self.0.cut.cancel();
        pending().await
    }
}

/// Serves until stopped. While `open` is false the door is closed: connections end and new ones are refused.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    mut open: watch::Receiver<bool>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    loop {
        let door = match listener.take() {
            Some(listener) => listener,
            None => bind_again(address).await,
        };
        let epoch = stop.child_token();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = open.changed() => {
                    if changed.is_err() || !*open.borrow() { break; }
                }
                accepted = door.accept() => match accepted {
                    Ok((stream, _)) => {
                        tasks.spawn(connection(stream, router.clone(), epoch.clone()));
                    }
                    // Out of descriptors, most likely: let some be closed.
                    Err(_) => sleep(Duration::from_millis(20)).await,
                },
            }
        }
        drop(door);
        epoch.cancel();
        tokio::select! {
            () = stop.cancelled() => return,
            opened = open.wait_for(|open| *open) => if opened.is_err() { return; },
        }
    }
}

async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Without it answers wait for acknowledgements; an old socket that refuses it serves all the same.
    drop(stream.set_nodelay(true));
    let wire = Wire::new();
    let service = TowerToHyperService::new(router);
    let ends = wire.clone();
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        ends.0.served.fetch_add(1, Ordering::Relaxed);
        request.extensions_mut().insert(ends.clone());
        service.call(request)
    });
    let mut served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut served => return,
        () = wire.0.cut.cancelled() => {}
        () = stop.cancelled() => {}
    }
    if wire.0.reset.load(Ordering::Relaxed) {
        let stream = served.into_parts().io.into_inner();
        drop(stream.set_zero_linger());
    }
}
