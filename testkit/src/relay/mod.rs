//! Stand-ins before the servers of another cluster, so that the same faults can be done to it and the same journal kept.
//!
//! Knows: which servers there are. Does not know: what they do.

mod directory;
mod line;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rocketmq_sdk::protocol::java_json;
use rocketmq_sdk::protocol::request::route::{ClusterInfoBody, GetClusterInfo};

use crate::fault::Faults;
use crate::fault::plan::Plan;
use crate::journal::Journal;
use crate::net::link::Link;
use crate::net::network::Network;
use crate::net::server::Server;
use crate::node::Site;
use directory::Directory;

/// How many entries the journal keeps.
const JOURNAL: usize = 100_000;

/// How long the name server may take to name the brokers.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cluster that is somewhere else - Apache RocketMQ, say - seen through stand-ins in this process: one for its name server and one
/// for each of its brokers, whose addresses stand in the routes that clients get.
///
/// What passes can be [read](Self::journal) and [spoilt by rule](Self::faults) as on a [`Cluster`](crate::Cluster), and each stand-in
/// can cut its connections, fall silent or be away. The servers behind see ordinary connections from this machine. Frames are passed
/// on whole and without TLS; their headers are written anew, with the same fields.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use rocketmq_testkit::Relay;
///
/// let relay = Relay::start("127.0.0.1:9876").await?;
/// println!("NAMESRV_ADDR={}", relay.name_server_addr());
/// relay.faults().on_sends().nth(3).answer().cut(10);       // the third answer ends after ten bytes, and its connection with it
/// relay.broker("broker-a").pause();                        // connections stay, and nothing passes
/// # Ok(())
/// # }
/// ```
///
/// Dropping it ends its connections.
#[derive(Debug)]
#[must_use = "dropping the relay ends it"]
pub struct Relay {
    directory: Arc<Directory>,
    name_server: RelayNode,
    faults: Faults,
    journal: Journal,
}

/// What stands in for one server. Clones are handles of one.
#[derive(Debug, Clone)]
pub struct RelayNode {
    name: Arc<str>,
    addr: String,
    behind: String,
    server: Arc<Server>,
    faults: Faults,
}

impl Relay {
    /// Starts on free ports of the loopback address, before the cluster of this name server (`host:port`).
    ///
    /// # Errors
    /// The name server does not say which brokers there are, or no port could be taken.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(name_server: &str) -> io::Result<Self> {
        let brokers = tokio::time::timeout(PATIENCE, brokers(name_server)).await??;
        let journal = Journal::new(JOURNAL);
        let site = Site {
            journal: Some(journal.clone()),
            ..Site::default()
        };
        let faults = Faults::new(Arc::<Plan>::clone(&site.plan), None);
        let directory = Directory::new(site);
        let name_server = directory.stand_in("name-server-a", name_server)?;
        directory.with_stand_ins(brokers)?;
        Ok(Self {
            directory,
            name_server,
            faults,
            journal,
        })
    }

    /// `host:port` of the name server's stand-in, for clients.
    pub fn name_server_addr(&self) -> &str {
        self.name_server.addr()
    }

    /// The name server's stand-in.
    pub const fn name_server(&self) -> &RelayNode {
        &self.name_server
    }

    /// The stand-in of the broker of this name; that of a slave has the broker's id behind its name: `broker-a-1`.
    ///
    /// # Panics
    /// There is none.
    pub fn broker(&self, name: &str) -> RelayNode {
        let nodes = self.brokers();
        let node = nodes.into_iter().find(|node| node.name() == name);
        node.unwrap_or_else(|| panic!("the cluster has no broker {name}"))
    }

    /// The stand-ins of all brokers that were there at the start or stood in a route since.
    pub fn brokers(&self) -> Vec<RelayNode> {
        let mut nodes = self.directory.nodes();
        nodes.retain(|node| node.name() != self.name_server.name());
        nodes
    }

    /// Makes rules for all stand-ins: what is to go wrong.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The journal of everything that the servers were asked and answered through their stand-ins.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for node in self.directory.nodes() {
            node.server.kill_now();
        }
    }
}

impl RelayNode {
    fn new(name: Arc<str>, addr: String, behind: &str, server: Arc<Server>, site: &Site) -> Self {
        Self {
            faults: site.faults(&name),
            name,
            addr,
            behind: behind.to_owned(),
            server,
        }
    }

    /// The name: that of the broker, or `name-server-a`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `host:port`, for clients.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// `host:port` of the server behind it.
    pub fn behind(&self) -> &str {
        &self.behind
    }

    /// Makes rules for this stand-in.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many connections clients have.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Resets all connections. Clients can make new ones.
    ///
    /// # Errors
    /// It cannot listen any more.
    ///
    /// # Cancel safety
    /// Dropping the future may leave it [away](Self::leave).
    pub async fn cut(&self) -> io::Result<()> {
        self.leave().await;
        self.come_back()
    }

    /// Resets all connections, and refuses new ones.
    ///
    /// # Cancel safety
    /// Dropping the future does not keep it from leaving.
    pub async fn leave(&self) {
        self.server.kill().await;
        self.resume();
    }

    /// Takes connections again. Does nothing if it does already.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn come_back(&self) -> io::Result<()> {
        self.server.start()
    }

    /// Falls silent: connections stay and new ones are taken, but nothing passes.
    pub fn pause(&self) {
        self.server.gate().close();
    }

    /// Goes on after a [`pause`](Self::pause), with what has come in the meantime.
    pub fn resume(&self) {
        self.server.gate().open();
    }
}

/// What a name server says when it is asked for all brokers.
async fn brokers(name_server: &str) -> io::Result<Bytes> {
    let mut link = Link::connect(&Network::Tcp, name_server).await?;
    let answer = link.call(&GetClusterInfo, &Bytes::new()).await?;
    let known = java_json::from_slice::<ClusterInfoBody>("brokers", &answer.body);
    known.map_err(io::Error::other)?;
    Ok(answer.body)
}
