//! What connects the nodes and clients of a cluster: TCP, or streams in memory.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;
use rocketmq_sdk::environment::{ByteStream, Environment, TcpEnvironment};

use crate::clock::Clock;
use crate::net::server::Server;

/// How many bytes may be on their way in a stream in memory.
const STREAM_BUFFER: usize = 256 * 1024;

/// What the names of name servers end with that are reached in memory. Nobody else knows such a name (RFC 6761), so a client that
/// lacks the cluster's environment says that it found none, and asks nobody else who listens on this machine.
const DOMAIN: &str = ".in-memory.invalid";

/// TCP, or streams in memory.
#[derive(Debug, Clone, Default)]
pub(crate) enum Network {
    #[default]
    Tcp,
    Memory(Arc<MemoryNetwork>),
}

/// Nodes that are reached by streams in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryNetwork {
    nodes: Mutex<HashMap<SocketAddr, Weak<Server>>>,
    /// The next port of a client, counted from the start of the dynamic range.
    next_port: AtomicU16,
}

impl Network {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::default())
    }

    pub(crate) async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        match self {
            Self::Tcp => TcpEnvironment.connect(addr).await,
            Self::Memory(memory) => memory.connect(addr),
        }
    }

    /// The `host:port` by which clients find a name server.
    pub(crate) fn host(&self, name: &str, addr: SocketAddr) -> String {
        match self {
            Self::Tcp => addr.to_string(),
            Self::Memory(_) => format!("{name}{DOMAIN}:{}", addr.port()),
        }
    }

    /// Makes a node reachable.
    pub(crate) fn add(&self, server: &Arc<Server>) {
        if let Self::Memory(memory) = self {
            memory
                .nodes
                .lock()
                .insert(server.addr(), Arc::downgrade(server));
        }
    }
}

impl MemoryNetwork {
    fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        let addr = addr.replace("localhost", "127.0.0.1");
        let addr = match addr.split_once(DOMAIN) {
            Some((_, port)) => format!("127.0.0.1{port}"),
            None => addr,
        };
        let addr: SocketAddr = addr
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let node = self.nodes.lock().get(&addr).and_then(Weak::upgrade);
        let (near, far) = tokio::io::duplex(STREAM_BUFFER);
        let port = 49152 + self.next_port.fetch_add(1, Ordering::Relaxed) % 16384;
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        match node {
            Some(node) if node.accept(far, peer) => Ok(Box::new(near)),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// A client's environment in a cluster: connects as the cluster does, and goes by its clock.
#[derive(Debug)]
pub(crate) struct ClusterEnvironment {
    pub(crate) network: Network,
    pub(crate) clock: Clock,
}

#[async_trait]
impl Environment for ClusterEnvironment {
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn ByteStream>> {
        self.network.connect(addr).await
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }
}
