//! Making a client: its configuration, its identity, its tasks.

use std::net::{IpAddr, Ipv4Addr};
use std::process;
use std::sync::{Arc, Weak};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::client::budget::Budget;
use crate::client::heartbeat::Heartbeats;
use crate::client::inbound::{self, ClientInbound};
use crate::client::registry::Registry;
use crate::client::{Client, Inner, Rpc, tasks};
use crate::config::{ClientConfig, Namespace};
use crate::environment::{Environment, TcpEnvironment};
use crate::error::Result;
use crate::protocol::message::UniqueIdGenerator;
use crate::route::{NameServers, Routes};
use crate::transport::{Limits, Pool};

/// How many bytes may wait to be written on one connection before senders have to wait. A frame may pass it.
const OUTBOX: usize = 4 * 1024 * 1024;

/// Makes a [`Client`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    config: ClientConfig,
    environment: Arc<dyn Environment>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            config: ClientConfig::from_env(),
            environment: Arc::new(TcpEnvironment),
        }
    }
}

impl ClientBuilder {
    /// Replaces the whole configuration.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// See [`ClientConfig::name_server`].
    pub fn name_server(mut self, addrs: impl AsRef<str>) -> Self {
        self.config = self.config.name_server(addrs);
        self
    }

    /// Where connections and the time come from. Default: [`TcpEnvironment`].
    pub fn environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = environment;
        self
    }

    /// Starts the client. It connects when the first handle needs it.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): no name server is set, or a setting breaks a rule.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn start(self) -> Result<Client> {
        self.config.check()?;
        let ip = self.ip().await;
        let Self {
            config,
            environment,
        } = self;
        let mut random = StdRng::seed_from_u64(environment.seed());
        let id: Arc<str> = identity(ip, &config.instance_name, &mut random).into();
        info!(client = %id, name_servers = ?config.name_servers, "client started");
        let (requests, queue) = inbound::queue();
        let shutdown = CancellationToken::new();
        let parts = Parts {
            config,
            environment,
            ip,
            random,
            id,
            requests,
            shutdown: shutdown.clone(),
        };
        let inner = Arc::new_cyclic(|inner| Inner::assemble(inner, parts));
        let client = Client {
            inner,
            _ends: Arc::new(shutdown.drop_guard()),
        };
        tasks::start(&client, queue);
        Ok(client)
    }

    /// The address that stands in the client's identity.
    async fn ip(&self) -> IpAddr {
        if let Some(ip) = self.config.client_ip {
            return ip;
        }
        // The host's name has to be looked up, which may take as long as connecting.
        let asked = self.environment.local_ip(&self.config.name_servers[0]);
        let ip = timeout(self.config.connect_timeout, asked).await;
        ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// What a client is made of.
struct Parts {
    config: ClientConfig,
    environment: Arc<dyn Environment>,
    ip: IpAddr,
    random: StdRng,
    id: Arc<str>,
    requests: mpsc::Sender<inbound::Request>,
    shutdown: CancellationToken,
}

impl Inner {
    fn assemble(inner: &Weak<Self>, mut parts: Parts) -> Self {
        let tasks = TaskTracker::new();
        let config = parts.config;
        let limits = Limits {
            serialization: config.serialization,
            idle: config.idle_timeout,
            outbox: OUTBOX,
            namespace: config.namespace_v2.as_deref().map(Into::into),
        };
        let pool = Pool::new(
            Arc::clone(&parts.environment),
            limits,
            config.connect_timeout,
            Arc::new(ClientInbound::new(inner.clone(), parts.requests)),
            tasks.clone(),
            parts.shutdown.clone(),
        );
        let first = usize::from(parts.random.random::<u16>());
        let namespace = Namespace::new(config.namespace.as_deref());
        let name_servers = NameServers::new(
            &config.name_servers,
            first,
            Arc::clone(&pool),
            namespace.clone(),
        );
        let told = inner.clone();
        let tell = Box::new(move |topic: &str| {
            if let Some(inner) = told.upgrade() {
                inner.route_changed(topic);
            }
        });
        let routes = Routes::new(
            Arc::clone(&name_servers),
            config.request_timeout,
            tasks.clone(),
            tell,
        );
        Self {
            id: parts.id,
            ids: UniqueIdGenerator::new(parts.ip, process::id() as u16, parts.random.next_u32()),
            environment: parts.environment,
            name_servers,
            routes,
            rpc: Rpc::new(pool, namespace.clone()),
            namespace,
            budget: Budget::new(config.max_buffered_bytes),
            registry: Registry::default(),
            heartbeats: Heartbeats::default(),
            replies: Arc::default(),
            tasks,
            shutdown: parts.shutdown,
            config,
        }
    }
}

/// `ip@instance#random`. The 128 random bits keep two clients apart whose containers have the same address and process id.
fn identity(ip: IpAddr, instance: &str, random: &mut impl Rng) -> String {
    let random = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
    format!("{ip}@{instance}#{random:032x}")
}
