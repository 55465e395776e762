//! A way through TCP that can be spoilt: cut, reset, frozen, slowed, or with the answers lost.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// A listener in front of a server.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    task: AbortHandle,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Connections made so far.
    made: u64,
    /// Connections up to this one are ended, by a reset or in order.
    ended: u64,
    reset: bool,
    /// On connections up to this one nothing moves any more, in either direction.
    frozen: u64,
    /// On connections up to this one what the server says is lost.
    mute: u64,
    /// What the server says is lost if it holds this.
    unwanted: Option<&'static [u8]>,
    /// How often that happened.
    lost: u64,
    /// New connections are reset.
    shut: bool,
    /// How long what the server says is under way.
    delay: Duration,
}

impl Proxy {
    /// Listens on a port of its own and hands everything on to `target`.
    pub async fn start(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::channel(State::default()).0);
        let task = tokio::spawn(serve(listener, target, Arc::clone(&state))).abort_handle();
        Proxy { address, state, task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections in order.
    pub fn cut(&self) {
        self.state.send_modify(|state| (state.ended, state.reset) = (state.made, false));
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.state.send_modify(|state| (state.ended, state.reset) = (state.made, true));
    }

    /// Nothing moves any more on the connections that there are, and nobody is told.
    pub fn freeze(&self) {
        self.state.send_modify(|state| state.frozen = state.made);
    }

    /// What the server says on the connections that there are is lost from now on.
    pub fn lose_answers(&self) {
        self.state.send_modify(|state| state.mute = state.made);
    }

    /// What the server says in one go is lost if it holds `bytes`.
    pub fn lose(&self, bytes: &'static [u8]) {
        self.state.send_modify(|state| state.unwanted = Some(bytes));
    }

    /// Nothing is lost for what it holds any more.
    pub fn spare(&self) {
        self.state.send_modify(|state| state.unwanted = None);
    }

    /// How often something was lost for what it holds.
    pub fn lost(&self) -> u64 {
        self.state.borrow().lost
    }

    /// Everything the server says comes later.
    pub fn delay(&self, by: Duration) {
        self.state.send_modify(|state| state.delay = by);
    }

    /// Resets all connections, and new ones too until it is opened.
    pub fn shut(&self) {
        self.state.send_modify(|state| (state.ended, state.reset, state.shut) = (state.made, true, true));
    }

    pub fn open(&self) {
        self.state.send_modify(|state| state.shut = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if state.borrow().shut {
            drop(client.set_zero_linger());
            continue;
        }
        let Ok(server) = TcpStream::connect(target).await else { continue };
        let mut no = 0;
        state.send_modify(|state| {
            state.made += 1;
            no = state.made;
        });
        connections.spawn(connect(no, client, server, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(no: u64, client: TcpStream, server: TcpStream, state: Arc<watch::Sender<State>>) {
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut end = state.subscribe();
    let up = pump(no, from_client, to_server, false, Arc::clone(&state));
    let down = pump(no, from_server, to_client, true, state);
    let (up, down) = (tokio::spawn(up), tokio::spawn(down));
    let (stop_up, stop_down) = (up.abort_handle(), down.abort_handle());
    let over = async {
        // One side that ends, ends the other: half-closed connections are not what is tested here.
        tokio::select! {
            ended = up => drop(ended),
            ended = down => drop(ended),
        }
    };
    tokio::select! {
        () = over => {}
        ended = end.wait_for(|state| state.ended >= no) => drop(ended),
    }
    stop_up.abort();
    stop_down.abort();
}

async fn pump(no: u64, mut from: OwnedReadHalf, to: OwnedWriteHalf, answers: bool, state: Arc<watch::Sender<State>>) {
    // Whatever ends this task drops the halves; a reset must have been asked for before.
    let mut to = Resettable { half: to, no, state: state.subscribe() };
    let mut frozen = state.subscribe();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        // Frozen for good: it waits here until it is ended.
        drop(frozen.wait_for(|state| state.frozen < no).await);
        let now = *state.borrow();
        if answers && !now.delay.is_zero() {
            tokio::time::sleep(now.delay).await;
        }
        if answers && state.borrow().mute >= no {
            continue;
        }
        let holds = |part: &[u8]| bytes[..read].windows(part.len()).any(|window| window == part);
        if answers && now.unwanted.is_some_and(holds) {
            state.send_modify(|state| state.lost += 1);
            continue;
        }
        if to.half.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
}

/// Resets its connection when it goes, if a reset was asked for.
struct Resettable {
    half: OwnedWriteHalf,
    no: u64,
    state: watch::Receiver<State>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        let state = self.state.borrow();
        if state.ended >= self.no && state.reset {
            drop(self.half.as_ref().set_zero_linger());
        }
    }
}
