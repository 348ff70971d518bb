//! Registers a broker and its topics with its name servers: one task for each of them.
//!
//! As with Apache RocketMQ, the answer to a request that changes topics is given when the name servers know of the change, so
//! that a client which has created a topic finds its route.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::request::register_broker::{
    RegisterBroker, RegisterBrokerBody, UnregisterBroker,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, SharedBroker};
use crate::net::link::Link;
use crate::net::network::Network;
use crate::net::outgoing::Outgoing;
use crate::net::peer::Peer;

/// How often a broker registers when nothing changes.
const PERIOD: Duration = Duration::from_secs(30);

/// How long a name server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait before a name server is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Answers that wait until name servers know the topics.
#[derive(Debug)]
pub(crate) struct Unregistered {
    /// The version of the topics that each name server has; `None` while it cannot be reached.
    known: Vec<Option<u64>>,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    version: u64,
    peer: Arc<Peer>,
    answer: Outgoing,
}

impl Unregistered {
    pub(crate) fn new(name_servers: usize) -> Self {
        Self {
            known: vec![None; name_servers],
            waiting: Vec::new(),
        }
    }

    /// Whether an answer about this version of the topics has to wait: not for name servers that cannot be reached.
    pub(crate) fn holds(&self, version: u64) -> bool {
        self.known.iter().flatten().any(|known| *known < version)
    }

    /// Keeps an answer until the name servers know this version.
    pub(crate) fn hold(&mut self, version: u64, peer: &Arc<Peer>, answer: Outgoing) {
        self.waiting.push(Waiting {
            version,
            peer: Arc::clone(peer),
            answer,
        });
    }

    /// Forgets the answers for a connection that has ended.
    pub(crate) fn remove_peer(&mut self, connection: u64) {
        self.waiting.retain(|waiting| waiting.peer.id != connection);
    }

    /// Notes what a name server knows, and gives the answers that need not wait any more.
    fn note(&mut self, name_server: usize, version: Option<u64>) {
        self.known[name_server] = version;
        let waiting = std::mem::take(&mut self.waiting);
        for mut waiting in waiting {
            if self.holds(waiting.version) {
                self.waiting.push(waiting);
            } else {
                waiting.peer.push(|out| out.append(&mut waiting.answer));
            }
        }
    }
}

impl SharedBroker {
    /// Waits until the name servers that can be reached know the topics as they are now; not while the broker is paused.
    pub(crate) async fn registered(&self) {
        loop {
            let noted = self.registered.notified();
            let waits = self.with(|broker| broker.unregistered.holds(broker.topics.version()));
            if !waits || self.gate.is_closed() {
                return;
            }
            noted.await;
        }
    }
}

impl Broker {
    /// Its registration, and the version of the topics in it.
    fn registration(&self) -> (u64, Bytes) {
        let body = RegisterBrokerBody {
            topic_config_serialize_wrapper: self.topics.configs(),
            filter_server_list: Vec::new(),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        (self.topics.version(), body.into())
    }
}

/// Keeps a broker registered with one name server, until it is stopped; then unregisters it, unless it is killed.
pub(crate) struct Registrar {
    pub(crate) service: Arc<SharedBroker>,
    pub(crate) network: Network,
    /// Which of the broker's name servers this is.
    pub(crate) name_server: usize,
    /// Cancelled: unregister and end.
    pub(crate) stopped: CancellationToken,
    /// Whether the first attempt has ended, one way or the other.
    pub(crate) tried: watch::Sender<bool>,
}

/// Who registers.
struct Identity {
    cluster: String,
    name: String,
    addr: String,
    name_server: String,
}

impl Registrar {
    pub(crate) async fn run(self) {
        let who = self.service.with(|broker| Identity {
            cluster: broker.config.cluster.clone(),
            name: broker.config.name.clone(),
            addr: broker.addr.to_string(),
            name_server: broker.config.name_servers[self.name_server].clone(),
        });
        loop {
            match self.keep_registered(&who).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(name_server = %who.name_server, %error, "not registered");
                }
            }
            self.note(None);
            tokio::select! {
                () = self.stopped.cancelled() => break,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        self.note(None);
    }

    /// Registers on one connection again and again. `Ok`: stopped.
    async fn keep_registered(&self, who: &Identity) -> io::Result<()> {
        let connecting = Link::connect(&self.network, &who.name_server);
        let mut link = tokio::time::timeout(TIMEOUT, connecting).await??;
        let mut changes = self.service.topics_changed.subscribe();
        loop {
            self.service.gate.pass().await;
            let (version, body) = self.service.with(|broker| broker.registration());
            tokio::time::timeout(TIMEOUT, register(&mut link, who, &body)).await??;
            self.note(Some(version));
            tokio::select! {
                () = self.stopped.cancelled() => {
                    return tokio::time::timeout(TIMEOUT, unregister(&mut link, who)).await?;
                }
                () = link.ended() => return Err(io::ErrorKind::ConnectionReset.into()),
                () = newer(&mut changes, version) => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    fn note(&self, version: Option<u64>) {
        self.service
            .with(|broker| broker.unregistered.note(self.name_server, version));
        self.tried.send_replace(true);
        self.service.registered.notify_waiters();
    }
}

/// Waits until the topics are newer than this version.
async fn newer(changes: &mut watch::Receiver<u64>, version: u64) {
    // It fails only with the broker gone, which ends this task otherwise.
    let _ = changes.wait_for(|latest| *latest > version).await;
}

async fn register(link: &mut Link, who: &Identity, body: &Bytes) -> io::Result<()> {
    let header = RegisterBroker {
        broker_name: (&*who.name).into(),
        broker_addr: (&*who.addr).into(),
        cluster_name: (&*who.cluster).into(),
        ha_server_addr: "".into(),
        broker_id: 0,
        compressed: Some(false),
        body_crc32: Some(0),
    };
    let answer = link.call(&header, body).await?;
    if answer.response_code() == ResponseCode::SUCCESS {
        return Ok(());
    }
    let remark = answer.remark.map(|remark| remark.to_string());
    Err(io::Error::other(remark.unwrap_or_default()))
}

async fn unregister(link: &mut Link, who: &Identity) -> io::Result<()> {
    let header = UnregisterBroker {
        broker_name: (&*who.name).into(),
        broker_addr: (&*who.addr).into(),
        cluster_name: (&*who.cluster).into(),
        broker_id: 0,
    };
    link.call(&header, &Bytes::new()).await.map(drop)
}
