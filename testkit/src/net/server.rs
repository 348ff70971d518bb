//! A node's server: takes connections, and can be stopped, killed and started again on the same address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::net::Serve;
use crate::net::connection::{self, Ending, Stream};
use crate::net::gate::Gate;
use crate::net::network::Network;
use crate::net::peer::Peer;
use crate::tap::Tap;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long to wait after a connection could not be accepted, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address that is taken, for a server to come.
#[derive(Debug)]
pub(crate) struct Bound {
    network: Network,
    addr: SocketAddr,
    /// Holds the port while the server is stopped. It never listens, so connections are refused.
    _reserved: Option<TcpSocket>,
}

impl Bound {
    /// Takes an address; port 0 means any free one.
    pub(crate) fn new(network: Network, mut addr: SocketAddr) -> io::Result<Self> {
        let mut reserved = None;
        if let Network::Tcp = network {
            let socket = bind(addr)?;
            addr = socket.local_addr()?;
            // Elsewhere two sockets cannot be bound to one address.
            reserved = cfg!(target_os = "linux").then_some(socket);
        }
        Ok(Self {
            network,
            addr,
            _reserved: reserved,
        })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A node's server.
pub(crate) struct Server {
    bound: Bound,
    service: Arc<dyn Serve>,
    tap: Arc<Tap>,
    gate: Arc<Gate>,
    max_connections: usize,
    runtime: Handle,
    next_peer: AtomicU64,
    running: Mutex<Option<Running>>,
}

/// What ends with a stop. Dropping it kills what is left.
#[derive(Debug, Default)]
struct Running {
    ending: Ending,
    tasks: TaskTracker,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ending.killed.cancel();
    }
}

impl Server {
    /// A server that is not yet started. Its tasks run where this is called.
    pub(crate) fn new(
        bound: Bound,
        service: Arc<dyn Serve>,
        tap: Arc<Tap>,
        gate: Arc<Gate>,
        max_connections: usize,
    ) -> Arc<Self> {
        let server = Arc::new(Self {
            bound,
            service,
            tap,
            gate,
            max_connections,
            runtime: Handle::current(),
            next_peer: AtomicU64::new(0),
            running: Mutex::new(None),
        });
        server.bound.network.add(&server);
        server
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.bound.addr
    }

    /// What its connections stop at while it is closed.
    pub(crate) const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        let listener = usize::from(matches!(self.bound.network, Network::Tcp));
        let running = self.running.lock();
        let tasks = running.as_ref().map_or(0, |running| running.tasks.len());
        tasks.saturating_sub(listener)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.lock().is_some()
    }

    /// Takes connections from now on. Does nothing if it does already.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<()> {
        let mut running = self.running.lock();
        if running.is_some() {
            return Ok(());
        }
        let new = Running::default();
        if let Network::Tcp = self.bound.network {
            // The listener is registered with the runtime that the server was made in.
            let _guard = self.runtime.enter();
            let listener = bind(self.bound.addr)?.listen(BACKLOG)?;
            let accepting = accept_all(Arc::downgrade(self), listener);
            let stopped = new.ending.stopped.clone();
            let killed = new.ending.killed.clone();
            new.tasks.spawn_on(
                async move {
                    tokio::select! {
                        biased;
                        () = killed.cancelled() => {}
                        () = stopped.cancelled() => {}
                        () = accepting => {}
                    }
                },
                &self.runtime,
            );
        }
        *running = Some(new);
        Ok(())
    }

    /// Ends every connection, after what waits for its peer is written.
    pub(crate) async fn stop(&self) {
        self.end(|ending| ending.stopped.cancel()).await;
    }

    /// Ends every connection with a reset.
    pub(crate) async fn kill(&self) {
        self.end(|ending| ending.killed.cancel()).await;
    }

    /// As [`kill`](Self::kill), without waiting for the end.
    pub(crate) fn kill_now(&self) {
        drop(self.running.lock().take());
    }

    async fn end(&self, how: impl FnOnce(&Ending)) {
        let running = self.running.lock().take();
        if let Some(running) = running {
            how(&running.ending);
            running.tasks.close();
            running.tasks.wait().await;
        }
    }

    /// Serves a connection in a task of its own; whether it does.
    pub(crate) fn accept(&self, stream: impl Stream, addr: SocketAddr) -> bool {
        let running = self.running.lock();
        let Some(running) = running.as_ref() else {
            stream.reset();
            return false;
        };
        if running.tasks.len() > self.max_connections {
            tracing::warn!(peer = %addr, limit = self.max_connections, "refused a connection over the limit");
            stream.reset();
            return false;
        }
        let peer = Arc::new(Peer::new(
            self.next_peer.fetch_add(1, Ordering::Relaxed),
            addr,
            Arc::clone(&self.tap),
        ));
        let service = Arc::clone(&self.service);
        let ending = running.ending.clone();
        let serving = connection::run(stream, peer, service, Arc::clone(&self.gate), ending);
        running.tasks.spawn_on(serving, &self.runtime);
        true
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addr", &self.bound.addr)
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}

async fn accept_all(server: std::sync::Weak<Server>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                let Some(server) = server.upgrade() else {
                    return;
                };
                // Without it answers may wait for the peer's delayed acknowledgement.
                if stream.set_nodelay(true).is_ok() {
                    server.accept(stream, addr);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
