//! The client that producers and consumers share: connections, routes, heartbeats, and what brokers ask of us.
//!
//! Knows: which groups live here, which brokers have to hear of them, and how a request code becomes an async function. Does
//! not know: how a message is sent or consumed.

mod budget;
mod builder;
mod heartbeat;
mod inbound;
mod named;
pub(crate) mod names;
mod registry;
mod replies;
mod rpc;
mod tasks;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::config::{ClientConfig, Namespace, parse_name_servers};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::message::UniqueIdGenerator;
use crate::route::{NameServers, Route, Routes};

pub(crate) use budget::{Allowance, Budget, Reservation};
pub use builder::ClientBuilder;
pub(crate) use registry::{Member, MemberKind, Registration};
pub(crate) use replies::Replies;
pub(crate) use rpc::{Carries, PullStatus, Rpc};

/// A client of one RocketMQ cluster: what several producers and consumers share.
///
/// Nobody has to make one: every builder makes its own. Handles that are given the same client share its connections, routes
/// and heartbeats, and its identity. There is no table of clients behind it, so two clients, of one cluster or of two, never
/// meet. Cloning is cheap, and all clones are the same client; it ends with [`shutdown`](Self::shutdown), or when the last clone
/// and the last handle made with it are dropped.
///
/// ```no_run
/// use rocketmq_sdk::{Client, DefaultProducer};
///
/// # async fn example() -> rocketmq_sdk::Result<()> {
/// let client = Client::builder().name_server("127.0.0.1:9876").start().await?;
/// let orders = DefaultProducer::builder("orders").client(&client).start().await?;
/// let invoices = DefaultProducer::builder("invoices").client(&client).start().await?;
/// # let _ = (orders, invoices);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Ends the background tasks, which hold only `inner`, with the last handle.
    _ends: Arc<DropGuard>,
}

struct Inner {
    id: Arc<str>,
    config: ClientConfig,
    environment: Arc<dyn Environment>,
    namespace: Namespace,
    ids: UniqueIdGenerator,
    name_servers: Arc<NameServers>,
    routes: Arc<Routes>,
    rpc: Rpc,
    budget: Arc<Budget>,
    registry: registry::Registry,
    heartbeats: heartbeat::Heartbeats,
    replies: Arc<Replies>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Client {
    /// A builder with the configuration of the environment (see [`ClientConfig::from_env`]).
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The client's identity at brokers: `ip@instance#random`.
    pub fn client_id(&self) -> &str {
        &self.inner.id
    }

    /// Asks other name servers from now on, `host:port` each, several separated by semicolons. What is known of topics and brokers is
    /// used until they say otherwise, at the next [look-up](ClientConfig::route_interval) at the latest; those that are not named any
    /// more are not asked again.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): an address is malformed, or there is none. Nothing is changed then.
    pub fn change_name_servers(&self, addrs: &str) -> Result<()> {
        let addrs = parse_name_servers("change the name servers", addrs)?;
        info!(client = %self.inner.id, ?addrs, "other name servers");
        self.inner.name_servers.change(&addrs);
        Ok(())
    }

    /// Ends the client: its connections close, its tasks end, and everything that still waits for an answer gets an error.
    /// Shut the producers and consumers down first; what is left of them stops working. A second call does nothing.
    ///
    /// # Cancel safety
    /// The end begins with the first poll and goes on when the future is dropped.
    pub async fn shutdown(&self) {
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        debug!(client = %self.inner.id, "client ended");
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.shutdown.is_cancelled()
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.inner.id
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// What stands before topics and groups on the wire.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.inner.namespace
    }

    /// The wall clock, in milliseconds since 1970.
    pub(crate) fn now_millis(&self) -> i64 {
        self.inner.now_millis()
    }

    pub(crate) fn ids(&self) -> &UniqueIdGenerator {
        &self.inner.ids
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.inner.rpc
    }

    /// Who waits for which reply.
    pub(crate) fn replies(&self) -> &Arc<Replies> {
        &self.inner.replies
    }

    /// A new consumer's access to the bytes that this client may hold.
    pub(crate) fn allowance(&self) -> Allowance {
        self.inner.budget.allowance()
    }

    /// The deadline of a request that is made now and has no timeout of its own.
    pub(crate) fn request_deadline(&self) -> Instant {
        Instant::now() + self.inner.config.request_timeout
    }

    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.inner.routes
    }

    /// The route that is known now.
    pub(crate) fn cached_route(&self, topic: &str) -> Option<Arc<Route>> {
        self.inner.routes.cached(topic)
    }

    /// The route that is known, else what the name servers say; `None` when they know no such topic.
    pub(crate) async fn route(&self, topic: &str, deadline: Instant) -> Result<Option<Arc<Route>>> {
        self.inner.routes.find(topic, deadline).await
    }

    /// What the name servers say now, unless a route newer than generation `seen` is known already.
    pub(crate) async fn refresh_route(
        &self,
        topic: &str,
        seen: u64,
        deadline: Instant,
    ) -> Result<Option<Arc<Route>>> {
        self.inner.routes.refresh(topic, seen, deadline).await
    }

    /// Makes a group known: its topics' routes are kept fresh, and brokers hear of it from the next heartbeat on.
    ///
    /// # Errors
    /// The client has a member of this kind and group already, or is shut down.
    pub(crate) fn register(&self, member: Arc<dyn Member>) -> Result<Registration> {
        if self.is_closed() {
            return Err(
                Error::new(ErrorKind::Closed, "start").target(format!("group {}", member.group()))
            );
        }
        self.inner.registry.add(Arc::clone(&member))?;
        Ok(Registration::new(self.clone(), &*member))
    }

    /// Tells every broker which groups live here, and waits until those that answer have answered.
    pub(crate) async fn heartbeat_now(&self) {
        self.inner.heartbeat().await;
    }

    /// How many calls wait for an answer, on all connections.
    #[cfg(test)]
    pub(crate) fn pending_calls(&self) -> usize {
        let live = self.rpc().live();
        live.iter()
            .map(crate::transport::Connection::pending_calls)
            .sum()
    }

    /// Starts a task that ends with the client.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.inner.spawn_on(&Handle::current(), name, task);
    }
}

impl Inner {
    /// Starts a task that ends with the client, also from where no runtime is entered.
    fn spawn_on(
        &self,
        runtime: &Handle,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let shutdown = self.shutdown.clone();
        let task = async move {
            if shutdown.run_until_cancelled(task).await.is_none() {
                debug!(task = name, "ended with its client");
            }
        };
        self.tasks.spawn_on(task, runtime);
    }

    fn now_millis(&self) -> i64 {
        let since = self
            .environment
            .now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.inner.id)
            .field("replies", &self.inner.replies)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
