//! The nodes of a cluster, in the hands of a test, and what they share.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::protocol::code::RequestCode;

use crate::broker::SharedBroker;
use crate::broker::disk::{Disk, Loss};
use crate::broker::node::BrokerNode;
use crate::clock::Clock;
use crate::fault::plan::Plan;
use crate::fault::{Faults, Rule};
use crate::journal::Journal;
use crate::name_server::NameServer;
use crate::net::call::AnswerFormat;
use crate::net::network::Network;
use crate::net::server::{Bound, Server};
use crate::tap::Tap;
use crate::verbs::{GroupHandle, RouteHandle, TopicHandle};

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
    pub(crate) fn tap(&self, node: &Arc<str>, clock: &Clock) -> Arc<Tap> {
        let (journal, plan) = (self.journal.clone(), Arc::clone(&self.plan));
        Tap::new(Arc::clone(node), clock.clone(), journal, plan)
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
    service: Arc<NameServer>,
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
        let addr = site.network.host(name, bound.addr());
        let service = Arc::new(NameServer::new(answers));
        let name = Arc::from(name);
        Ok(Self {
            addr,
            server: Server::new(
                bound,
                service.clone(),
                site.tap(&name, &site.clock),
                Arc::default(),
                NAME_SERVER_CONNECTIONS,
            ),
            service,
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

    /// How many connections are open, those of brokers included.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Starts it again, at the same address. Brokers register within a tenth of a second. Does nothing if it runs.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(&self) -> io::Result<()> {
        self.server.start()
    }

    /// Suspends it: connections stay and new ones are taken, but nothing is read or written.
    pub fn pause(&self) {
        self.server.gate().close();
    }

    /// Goes on after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.server.gate().open();
    }

    /// Changes what this name server shows of a topic's route.
    pub fn route(&self, topic: impl Into<String>) -> RouteHandle {
        RouteHandle::new(topic.into(), vec![Arc::clone(&self.service)])
    }

    /// Shows no route to a broker, as if it had not registered here. Give clients different name servers, and they see different
    /// brokers.
    pub fn hide_broker(&self, broker: &str) {
        self.service.hide_broker(broker);
    }

    /// Shows the routes to a broker again.
    pub fn show_broker(&self, broker: &str) {
        self.service.show_broker(broker);
    }

    pub(crate) const fn service(&self) -> &Arc<NameServer> {
        &self.service
    }

    /// Closes its connections and takes no more. It forgets the brokers with that, but not its key-value entries.
    ///
    /// # Cancel safety
    /// Dropping the future does not keep it from ending.
    pub async fn stop(&self) {
        self.resume();
        self.server.stop().await;
    }
}

/// A broker. Dropping it ends it.
#[must_use = "dropping the broker ends it"]
pub struct BrokerHandle {
    addr: String,
    node: BrokerNode,
    /// What makes its disk slow.
    slow_disk: Mutex<Option<Rule>>,
}

impl BrokerHandle {
    pub(crate) fn new(node: BrokerNode) -> Self {
        Self {
            addr: node.addr().to_string(),
            node,
            slow_disk: Mutex::new(None),
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

    /// Starts it again after a crash in which it lost messages, at the same address. It is killed first, if it runs. Topics and
    /// committed offsets stay, also where they are behind the end of a queue now.
    ///
    /// # Errors
    /// It cannot listen.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it ended, or started and about to register.
    pub async fn restart_after(&self, loss: Loss) -> io::Result<()> {
        self.node.kill().await;
        self.node.service().lose(loss);
        self.node.start().await
    }

    /// Notes that everything that is stored now is safe from [`Loss::Unsynced`].
    pub fn sync(&self) {
        self.node.service().sync();
    }

    /// Suspends it, as SIGSTOP does: connections stay and new ones are taken, but nothing is read or written, and what comes due
    /// waits. Stopping, killing or restarting it ends that.
    pub fn pause(&self) {
        self.node.pause();
    }

    /// Goes on after a [`pause`](Self::pause), and does what came due in the meantime.
    pub fn resume(&self) {
        self.node.resume();
    }

    /// Sets how its disk does. Default [`Disk::Healthy`]. Delayed messages that come due while it takes nothing are delivered when
    /// it does again, within a second of the broker's time.
    pub fn disk(&self, disk: Disk) {
        let mut slow = self.slow_disk.lock();
        if let Some(rule) = slow.take() {
            rule.remove();
        }
        if let Disk::Slow(by) = disk {
            let on = self.faults().on_sends();
            let on = on.or(RequestCode::CONSUMER_SEND_MSG_BACK);
            *slow = Some(on.or(RequestCode::END_TRANSACTION).delay(by));
        }
        self.node.service().set_disk(disk);
    }

    /// Sets its clock so far ahead of the cluster's; zero sets it right. What is due by then is done at once.
    pub fn clock_ahead(&self, by: Duration) {
        self.node.service().set_skew(millis(by));
    }

    /// Sets its clock so far behind the cluster's; zero sets it right.
    pub fn clock_behind(&self, by: Duration) {
        self.node.service().set_skew(-millis(by));
    }

    /// Changes a topic on this broker alone.
    pub fn topic(&self, name: impl Into<String>) -> TopicHandle {
        TopicHandle::new(
            name.into(),
            vec![Arc::clone(self.node.service())],
            Vec::new(),
        )
    }

    /// A consumer group on this broker.
    pub fn group(&self, name: impl Into<String>) -> GroupHandle {
        let service = Arc::clone(self.node.service());
        GroupHandle::new(name.into(), service, self.node.runtime().clone())
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.node.connections()
    }

    pub(crate) const fn service(&self) -> &Arc<SharedBroker> {
        self.node.service()
    }
}

fn millis(by: Duration) -> i64 {
    i64::try_from(by.as_millis()).unwrap_or(i64::MAX)
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
