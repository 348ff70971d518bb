//! Nodes that run on their own, outside a cluster of one process, and what a broker can be told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::broker::BrokerConfig;
use crate::broker::node::BrokerNode;
use crate::net::call::AnswerFormat;
use crate::node::{BrokerHandle, NameServerHandle, Site};

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(SocketAddr);

impl Listen {
    /// On the loopback address, which nobody outside this machine reaches. Port 0 means any free one.
    pub const fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// On an address that others may reach. There is no authentication: who reaches it may do everything.
    pub const fn exposed_to_others(ip: IpAddr, port: u16) -> Self {
        Self(SocketAddr::new(ip, port))
    }

    pub(crate) const fn addr(self) -> SocketAddr {
        self.0
    }
}

impl NameServerHandle {
    /// Starts a name server of its own.
    ///
    /// # Errors
    /// It cannot listen there.
    pub fn listen(listen: Listen) -> io::Result<Self> {
        let site = Site::default();
        let node = Self::new("name-server", listen.addr(), AnswerFormat::default(), &site)?;
        node.start()?;
        Ok(node)
    }
}

/// Sets a broker up that runs on its own.
#[derive(Debug, Clone)]
#[must_use = "a broker is started by `start`"]
pub struct BrokerBuilder {
    pub(crate) config: BrokerConfig,
    listen: Listen,
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        Self {
            config: BrokerConfig::default(),
            listen: Listen::loopback(0),
        }
    }
}

impl BrokerBuilder {
    /// Its name. Default `broker-a`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Its cluster's name. Default `DefaultCluster`.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.config.cluster = name.into();
        self
    }

    /// The name servers that it registers with: `host:port`, several separated by semicolons. Default none.
    pub fn name_servers(mut self, addrs: &str) -> Self {
        self.config.name_servers = addrs
            .split(';')
            .map(str::trim)
            .filter(|addr| !addr.is_empty())
            .map(str::to_owned)
            .collect();
        self
    }

    /// Where it listens, and where clients are told that it is. Default: any free port of the loopback address.
    pub const fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// Whether the first message to a topic creates it. Default `true`.
    pub const fn auto_create(mut self, yes: bool) -> Self {
        self.config.auto_create_topics = yes;
        self
    }

    /// How many queues a topic that is created by its first message has at most. Default 8; clients usually ask for 4.
    pub const fn default_queues(mut self, queues: i32) -> Self {
        self.config.default_queues = queues;
        self
    }

    /// The longest body of a message, in bytes. Default 4 MiB.
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.config.max_message = bytes;
        self
    }

    /// How many bytes of messages it keeps; older ones go. Default 256 MiB.
    pub const fn store_limit(mut self, bytes: usize) -> Self {
        self.config.store_limit = bytes;
        self
    }

    /// How old the last heartbeat of a client may get before it is taken out of its groups and its connection is closed.
    /// Default 120 s.
    pub const fn member_expiry(mut self, age: Duration) -> Self {
        self.config.member_expiry = age;
        self
    }

    /// Whether messages that wait for their time can be recalled. Default `false`, as with Apache RocketMQ.
    pub const fn recall(mut self, yes: bool) -> Self {
        self.config.recall = yes;
        self
    }

    /// In which serialisation it answers. Default: that of the request.
    pub const fn answers(mut self, format: AnswerFormat) -> Self {
        self.config.answers = format;
        self
    }

    /// Starts the broker, and waits until it has tried to register with its name servers.
    ///
    /// # Errors
    /// It cannot listen there, or its name or its cluster's cannot be a topic's.
    ///
    /// # Cancel safety
    /// Dropping the future ends the broker.
    pub async fn start(self) -> io::Result<BrokerHandle> {
        let node = BrokerNode::new(self.config, self.listen.addr(), &Site::default())?;
        node.start().await?;
        Ok(BrokerHandle::new(node))
    }
}
