//! A name server and its brokers, as one thing that a test starts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rocketmq_sdk::environment::Environment;

use crate::broker::BrokerConfig;
use crate::broker::node::BrokerNode;
use crate::clock::Clock;
use crate::fault::Faults;
use crate::fault::plan::Plan;
use crate::journal::Journal;
use crate::name_server::NameServer;
use crate::net::call::AnswerFormat;
use crate::net::network::{ClusterEnvironment, Network};
use crate::node::{BrokerHandle, NameServerHandle, Site};
use crate::options::BrokerBuilder;
use crate::verbs::{RouteHandle, TopicHandle};

/// The most brokers and the most name servers that a cluster can have: they are named by a letter.
const MAX_NODES: usize = 26;

/// The ports of nodes that are reached in memory: Apache RocketMQ's default ones.
const MEMORY_NAME_SERVER: u16 = 9876;
const MEMORY_BROKER: u16 = 10911;

/// How many entries a cluster's journal keeps if nothing else is said.
const JOURNAL: usize = 100_000;

/// A name server and one or more brokers, in this process.
///
/// Dropping it ends all of its tasks and closes all of its connections. Several clusters in one process know nothing of each
/// other.
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// use rocketmq_testkit::Cluster;
///
/// let cluster = Cluster::builder().topic("orders", 4).start().await?;
/// println!("NAMESRV_ADDR={}", cluster.name_server_addr());
/// cluster.broker("broker-a").kill().await;
/// cluster.broker("broker-a").restart().await?;
/// cluster.shutdown().await;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "dropping the cluster ends it"]
pub struct Cluster {
    site: Site,
    journal: Journal,
    faults: Faults,
    name_servers: Vec<NameServerHandle>,
    /// The addresses of all name servers.
    addrs: String,
    brokers: Vec<BrokerHandle>,
}

impl Cluster {
    /// Starts a name server and one broker, `broker-a`, on free ports of the loopback address.
    ///
    /// # Errors
    /// No port could be taken.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Sets a cluster up.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// `host:port` of the name server; of several, separated by semicolons.
    pub fn name_server_addr(&self) -> &str {
        &self.addrs
    }

    /// The name server; the first one, where there are several.
    pub fn name_server(&self) -> &NameServerHandle {
        &self.name_servers[0]
    }

    /// All name servers.
    pub fn name_servers(&self) -> &[NameServerHandle] {
        &self.name_servers
    }

    /// The broker of this name: `broker-a`, `broker-b`, ...
    ///
    /// # Panics
    /// There is none.
    pub fn broker(&self, name: &str) -> &BrokerHandle {
        self.brokers
            .iter()
            .find(|broker| broker.name() == name)
            .unwrap_or_else(|| panic!("the cluster has no broker {name}"))
    }

    /// All brokers.
    pub fn brokers(&self) -> &[BrokerHandle] {
        &self.brokers
    }

    /// The clock that the brokers go by.
    pub const fn clock(&self) -> &Clock {
        &self.site.clock
    }

    /// Makes rules for all nodes: what is to go wrong.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The journal of everything that the nodes were asked and answered.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Changes a topic, on all brokers.
    pub fn topic(&self, name: impl Into<String>) -> TopicHandle {
        let brokers = self.brokers.iter().map(BrokerHandle::service);
        let brokers = brokers.map(Arc::clone).collect();
        TopicHandle::new(name.into(), brokers, self.name_services())
    }

    /// Changes what all name servers show of a topic's route.
    pub fn route(&self, topic: impl Into<String>) -> RouteHandle {
        RouteHandle::new(topic.into(), self.name_services())
    }

    /// An environment for clients of this cluster: it connects to the nodes' addresses, in memory if the cluster is
    /// [in memory](ClusterBuilder::in_memory), and its wall clock is the cluster's.
    pub fn environment(&self) -> Arc<dyn Environment> {
        Arc::new(ClusterEnvironment {
            network: self.site.network.clone(),
            clock: self.site.clock.clone(),
        })
    }

    /// Stops the brokers, then the name server, and waits until their tasks have ended.
    ///
    /// # Cancel safety
    /// Dropping the future ends the cluster as dropping the cluster does.
    pub async fn shutdown(self) {
        for broker in &self.brokers {
            broker.stop().await;
        }
        for name_server in &self.name_servers {
            name_server.stop().await;
        }
    }

    fn name_services(&self) -> Vec<Arc<NameServer>> {
        let services = self.name_servers.iter().map(NameServerHandle::service);
        services.map(Arc::clone).collect()
    }
}

/// Sets a [`Cluster`] up.
#[derive(Debug, Clone)]
#[must_use = "a cluster is started by `start`"]
pub struct ClusterBuilder {
    name_servers: usize,
    brokers: usize,
    topics: Vec<(String, i32)>,
    in_memory: bool,
    journal: usize,
    seed: u64,
    broker: BrokerBuilder,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            name_servers: 1,
            brokers: 1,
            topics: Vec::new(),
            in_memory: false,
            journal: JOURNAL,
            seed: 0,
            broker: BrokerBuilder::default(),
        }
    }
}

impl ClusterBuilder {
    /// How many name servers, from 1 to 26. Every broker registers with each of them. Default 1.
    pub const fn name_servers(mut self, count: usize) -> Self {
        self.name_servers = count;
        self
    }

    /// How many brokers, from 1 to 26: `broker-a`, `broker-b`, ... Default 1.
    pub const fn brokers(mut self, count: usize) -> Self {
        self.brokers = count;
        self
    }

    /// A topic that exists from the start, with this number of queues on every broker.
    pub fn topic(mut self, name: impl Into<String>, queues: i32) -> Self {
        self.topics.push((name.into(), queues));
        self
    }

    /// Whether the first message to a topic creates it. Default `true`.
    pub fn auto_create(mut self, yes: bool) -> Self {
        self.broker = self.broker.auto_create(yes);
        self
    }

    /// How many queues a topic that is created by its first message has at most. Default 8; clients usually ask for 4.
    pub fn default_queues(mut self, queues: i32) -> Self {
        self.broker = self.broker.default_queues(queues);
        self
    }

    /// The longest body of a message, in bytes. Default 4 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.broker = self.broker.max_message(bytes);
        self
    }

    /// How many bytes of messages each broker keeps; older ones go. Default 256 MiB.
    pub fn store_limit(mut self, bytes: usize) -> Self {
        self.broker = self.broker.store_limit(bytes);
        self
    }

    /// How old the last heartbeat of a client may get, by the cluster's clock, before it is taken out of its groups and its
    /// connection is closed. Default 120 s.
    pub fn member_expiry(mut self, age: Duration) -> Self {
        self.broker = self.broker.member_expiry(age);
        self
    }

    /// Whether messages that wait for their time can be recalled. Default `false`, as with Apache RocketMQ.
    pub fn recall(mut self, yes: bool) -> Self {
        self.broker = self.broker.recall(yes);
        self
    }

    /// In which serialisation the nodes answer. Default: that of the request.
    pub fn answers(mut self, format: AnswerFormat) -> Self {
        self.broker = self.broker.answers(format);
        self
    }

    /// How many entries the [`Journal`] keeps; 0 for none. Default 100,000.
    pub const fn journal(mut self, entries: usize) -> Self {
        self.journal = entries;
        self
    }

    /// What the chance of [rules](crate::Faults) comes from: with the same seed they hit the same ones. Default 0.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// No sockets: clients reach the nodes by [`Cluster::environment`] only, over streams in memory. Others do not even find the name
    /// server: its host is a name that is known nowhere else, such as `name-server-a.in-memory.invalid`. For tests with tokio's time
    /// paused, which runs ahead of what a kernel does.
    pub const fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Starts the cluster. Its brokers are registered and its topics have routes when this returns.
    ///
    /// # Errors
    /// No port could be taken, or a topic's name or number of queues is illegal.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start(self) -> io::Result<Cluster> {
        for (what, count) in [
            ("name servers", self.name_servers),
            ("brokers", self.brokers),
        ] {
            if !(1..=MAX_NODES).contains(&count) {
                let reason = format!("a cluster has 1 to {MAX_NODES} {what}, not {count}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
        }
        let journal = Journal::new(self.journal);
        let site = Site {
            clock: Clock::new(),
            network: if self.in_memory {
                Network::memory()
            } else {
                Network::Tcp
            },
            journal: (self.journal > 0).then(|| journal.clone()),
            plan: Arc::new(Plan::new(self.seed)),
        };
        let name_servers = self.start_name_servers(&site)?;
        let addrs: Vec<_> = name_servers
            .iter()
            .map(|node| node.addr().to_owned())
            .collect();
        let mut brokers = Vec::new();
        for (letter, port) in ('a'..='z')
            .zip((MEMORY_BROKER..).step_by(100))
            .take(self.brokers)
        {
            let config = BrokerConfig {
                name: format!("broker-{letter}"),
                name_servers: addrs.clone(),
                ..self.broker.config.clone()
            };
            let node = BrokerNode::new(config, self.addr(port), &site)?;
            for (topic, queues) in &self.topics {
                node.service().create_topic(topic, *queues)?;
            }
            node.start().await?;
            brokers.push(BrokerHandle::new(node));
        }
        Ok(Cluster {
            faults: Faults::new(Arc::clone(&site.plan), None),
            site,
            journal,
            name_servers,
            addrs: addrs.join(";"),
            brokers,
        })
    }

    fn start_name_servers(&self, site: &Site) -> io::Result<Vec<NameServerHandle>> {
        let mut name_servers = Vec::new();
        for (letter, port) in ('a'..='z')
            .zip(MEMORY_NAME_SERVER..)
            .take(self.name_servers)
        {
            let name = format!("name-server-{letter}");
            let answers = self.broker.config.answers;
            let node = NameServerHandle::new(&name, self.addr(port), answers, site)?;
            node.start()?;
            name_servers.push(node);
        }
        Ok(name_servers)
    }

    /// The address that a node asks for.
    const fn addr(&self, memory_port: u16) -> SocketAddr {
        let port = if self.in_memory { memory_port } else { 0 };
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }
}
