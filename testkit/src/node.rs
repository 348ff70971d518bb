//! The nodes of a cluster, in the hands of a test, and what they share.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::broker::node::BrokerNode;
use crate::clock::Clock;
use crate::fault::Faults;
use crate::fault::plan::Plan;
use crate::journal::Journal;
use crate::name_server::NameServer;
use crate::net::call::AnswerFormat;
use crate::net::network::Network;
use crate::net::server::{Bound, Server};
use crate::tap::Tap;

/// How many connections a name server takes.
const NAME_SERVER_CONNECTIONS: usize = 10_000;

/// What the nodes of a cluster share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    pub(crate) clock: Clock,
    pub(crate) network: Network,
    pub(crate) journal: Option<Journal>,
    pub(crate) plan: Arc<Plan>,
}

impl Site {
    /// What sees the traffic of the node with this name.
    pub(crate) fn tap(&self, node: &Arc<str>) -> Arc<Tap> {
        let (journal, plan) = (self.journal.clone(), Arc::clone(&self.plan));
        Tap::new(Arc::clone(node), self.clock.clone(), journal, plan)
    }

    /// Makes rules for the node with this name.
    pub(crate) fn faults(&self, node: &Arc<str>) -> Faults {
        Faults::new(Arc::clone(&self.plan), Some(Arc::clone(node)))
    }
}

/// A name server. Dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping the name server ends it"]
pub struct NameServerHandle {
    addr: String,
    server: Arc<Server>,
    faults: Faults,
}

impl NameServerHandle {
    pub(crate) fn new(
        name: &str,
        addr: SocketAddr,
        answers: AnswerFormat,
        site: &Site,
    ) -> io::Result<Self> {
        let bound = Bound::new(site.network.clone(), addr)?;
        let addr = bound.addr().to_string();
        let service = Arc::new(NameServer::new(answers));
        let name = Arc::from(name);
        Ok(Self {
            addr,
            server: Server::new(bound, service, site.tap(&name), NAME_SERVER_CONNECTIONS),
            faults: site.faults(&name),
        })
    }

    /// `host:port`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Makes rules for this name server.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Whether it takes connections.
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// Starts it again, at the same address. Brokers register within a tenth of a second. Does nothing if it runs.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(&self) -> io::Result<()> {
        self.server.start()
    }

    /// Closes its connections and takes no more. It forgets the brokers with that, but not its key-value entries.
    ///
    /// # Cancel safety
    /// Dropping the future does not keep it from ending.
    pub async fn stop(&self) {
        self.server.stop().await;
    }
}

/// A broker. Dropping it ends it.
#[must_use = "dropping the broker ends it"]
pub struct BrokerHandle {
    addr: String,
    node: BrokerNode,
}

impl BrokerHandle {
    pub(crate) fn new(node: BrokerNode) -> Self {
        Self {
            addr: node.addr().to_string(),
            node,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// `host:port`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Makes rules for this broker.
    pub const fn faults(&self) -> &Faults {
        self.node.faults()
    }

    /// Whether it takes connections.
    pub fn is_running(&self) -> bool {
        self.node.is_running()
    }

    /// Ends it as a crash does: its connections are reset and nobody is told. It keeps its messages, topics and committed offsets.
    ///
    /// # Cancel safety
    /// Dropping the future does not keep it from ending.
    pub async fn kill(&self) {
        self.node.kill().await;
    }

    /// Ends it in order: it unregisters, and what waits to be written is written before its connections are closed.
    ///
    /// # Cancel safety
    /// Dropping the future ends it as [`kill`](Self::kill) does.
    pub async fn stop(&self) {
        self.node.stop().await;
    }

    /// Starts it again, at the same address and with what it kept. What came due in the meantime is done now. One that runs is
    /// stopped first.
    ///
    /// # Errors
    /// It cannot listen.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it ended, or started and about to register.
    pub async fn restart(&self) -> io::Result<()> {
        self.node.stop().await;
        self.node.start().await
    }
}

impl fmt::Debug for BrokerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerHandle")
            .field("name", &self.name())
            .field("addr", &self.addr)
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}
