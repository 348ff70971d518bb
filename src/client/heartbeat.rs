//! Heartbeats: every broker hears which groups live here, every 30 s, on every change, and first thing on a new connection.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::client::registry::MemberKind;
use crate::client::{Inner, named};
use crate::protocol::request::heartbeat::{Heartbeat, HeartbeatBody};
use crate::protocol::request::unregister_client::UnregisterClient;
use crate::transport::Connection;

/// Heartbeats that brokers have not answered yet, and what waits for them.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// One round at a time, so that an older picture never overtakes a newer one.
    round: Mutex<()>,
    /// The end of the round that waits for its turn: it serves everybody who asks for one by then.
    next: parking_lot::Mutex<Option<CancellationToken>>,
    /// Greetings that are not answered.
    greetings: TaskTracker,
    /// Members that were removed, and no broker has been told.
    gone: parking_lot::Mutex<Vec<(MemberKind, Arc<str>)>>,
}

impl Default for Heartbeats {
    fn default() -> Self {
        let greetings = TaskTracker::new();
        // For `wait`, which otherwise waits for this, too; greetings can begin all the same.
        greetings.close();
        Self {
            round: Mutex::default(),
            next: parking_lot::Mutex::default(),
            greetings,
            gone: parking_lot::Mutex::default(),
        }
    }
}

impl Inner {
    /// Tells every broker of the members' topics which groups live here. The round goes on when this is dropped, and holds others back
    /// until it is answered.
    pub(super) async fn heartbeat(self: &Arc<Self>) {
        let told = {
            let mut next = self.heartbeats.next.lock();
            match &*next {
                // One that ended with its runtime serves nobody.
                Some(told) if !told.is_cancelled() => told.clone(),
                _ => {
                    let told = CancellationToken::new();
                    *next = Some(told.clone());
                    let round = Arc::clone(self).round(told.clone().drop_guard());
                    self.spawn_on(&Handle::current(), "round of heartbeats", round);
                    told
                }
            }
        };
        told.cancelled().await;
    }

    async fn round(self: Arc<Self>, told: DropGuard) {
        let _round = self.heartbeats.round.lock().await;
        // Who asks from here on has to wait for another one: this one looks at the members now.
        self.heartbeats.next.lock().take();
        self.tell_brokers().await;
        drop(told);
    }

    async fn tell_brokers(&self) {
        let Some(body) = self.heartbeat_body() else {
            return;
        };
        let brokers = self.routes.addrs(!self.registry.has_consumers());
        let deadline = Instant::now() + self.config.request_timeout;
        let (rpc, body) = (&self.rpc, &body);
        join_all(brokers.iter().map(|addr| async move {
            if let Err(error) = rpc.heartbeat(addr, body, deadline).await {
                debug!(%error, "heartbeat failed");
            }
        }))
        .await;
    }

    /// Puts a heartbeat in front of everything else on a new connection to a broker: it refuses pulls of members that it does
    /// not know.
    pub(super) fn greet(&self, connection: &Connection) {
        if self.name_servers.contains(connection.addr()) {
            return;
        }
        // Before the members are looked at: who removes one after that waits for this.
        let under_way = self.heartbeats.greetings.token();
        let Some(body) = self.heartbeat_body() else {
            return;
        };
        let addr = Arc::clone(connection.addr());
        let deadline = Instant::now() + self.config.request_timeout;
        let greeting = connection.call(&Heartbeat, &body, deadline);
        self.tasks.spawn(async move {
            if let Err(error) = async { greeting?.await }.await {
                debug!(%error, %addr, "first heartbeat failed");
            }
            drop(under_way);
        });
    }

    /// Tells the brokers that a member was removed, after the heartbeats that may be under way: brokers handle the requests of a
    /// connection side by side, and a heartbeat that is handled after the goodbye would bring the member back, with its share of the
    /// queues, until the broker finds it silent, which takes two minutes.
    pub(super) async fn say_goodbye(&self, kind: MemberKind, group: Arc<str>) {
        // No longer than those take that began before the member was removed; others do not name it.
        let greeted = self.heartbeats.greetings.wait();
        let _ = timeout(self.config.request_timeout, greeted).await;
        self.heartbeats.gone.lock().push((kind, group));
        let _round = self.heartbeats.round.lock().await;
        // With all that have come meanwhile; who finds nothing was told of by another.
        let mut gone = std::mem::take(&mut *self.heartbeats.gone.lock());
        // Who is here again is the same to brokers.
        gone.retain(|(kind, group)| self.registry.find(*kind, group).is_none());
        let deadline = Instant::now() + self.config.request_timeout;
        let leaving = gone
            .iter()
            .map(|(kind, group)| self.leave(*kind, group, deadline));
        join_all(leaving).await;
        let is_producer = |(kind, _): &(MemberKind, _)| *kind == MemberKind::Producer;
        if gone.iter().any(is_producer) && self.replies.are_used() {
            self.come_back(deadline).await;
        }
    }

    /// Tells the brokers that a member is gone.
    async fn leave(&self, kind: MemberKind, group: &str, deadline: Instant) {
        let named = |wanted| (kind == wanted).then(|| group.into());
        let header = &UnregisterClient {
            client_id: (&*self.id).into(),
            producer_group: named(MemberKind::Producer),
            consumer_group: named(MemberKind::Consumer),
            broker_name: None,
        };
        let connections = self.rpc.live();
        let brokers = connections
            .iter()
            .filter(|connection| !self.name_servers.contains(connection.addr()));
        join_all(brokers.map(|connection| async move {
            if let Err(error) = self.rpc.unregister(connection, header, deadline).await {
                debug!(%error, "unregistering failed");
            }
        }))
        .await;
    }

    /// Has the brokers find this client again when they have a reply for it. When one of its producers leaves they forget where it is,
    /// and they learn it only from a group that is new to them (4.9 and 5.4): so another one leaves, too, and comes back.
    async fn come_back(&self, deadline: Instant) {
        let members = self.registry.all();
        let mut producers = members
            .iter()
            .filter(|member| member.kind() == MemberKind::Producer);
        if let Some(producer) = producers.next() {
            self.leave(MemberKind::Producer, producer.group(), deadline)
                .await;
            self.tell_brokers().await;
        }
    }

    fn heartbeat_body(&self) -> Option<Bytes> {
        if self.registry.is_empty() {
            return None;
        }
        let mut body = HeartbeatBody {
            client_id: self.id.to_string(),
            ..HeartbeatBody::default()
        };
        for member in self.registry.all() {
            member.describe(&mut body);
        }
        named::wrap_heartbeat(&mut body, &self.namespace);
        // Strings and numbers are always JSON.
        serde_json::to_vec(&body).ok().map(Bytes::from)
    }
}

impl Inner {
    /// The topics of all members.
    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> = self
            .registry
            .all()
            .iter()
            .flat_map(|member| member.topics())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}
