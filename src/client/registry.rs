//! The groups that live on a client.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::protocol::command::Command;
use crate::protocol::request::heartbeat::HeartbeatBody;
use crate::transport::Connection;

/// Which of its two name spaces a group is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MemberKind {
    Producer,
    Consumer,
}

/// What a producer or consumer is to its client. The methods are called by the client's tasks and must not block.
pub(crate) trait Member: Send + Sync + 'static {
    fn kind(&self) -> MemberKind;

    fn group(&self) -> &str;

    /// The topics whose routes should be kept fresh.
    fn topics(&self) -> Vec<Arc<str>>;

    /// Adds the group to a heartbeat.
    fn describe(&self, body: &mut HeartbeatBody);

    /// The members of the group have changed.
    fn group_changed(&self) {}

    /// The route of one of its topics has changed.
    fn route_changed(&self, topic: &str) {
        let _ = topic;
    }

    /// A broker asks something that is meant for this group. True when it was taken.
    fn request(&self, from: &Connection, command: &Command) -> bool {
        let _ = (from, command);
        false
    }
}

#[derive(Default)]
pub(super) struct Registry {
    members: RwLock<Vec<Arc<dyn Member>>>,
}

impl Registry {
    pub(super) fn add(&self, member: Arc<dyn Member>) -> Result<()> {
        let mut members = self.members.write();
        if members
            .iter()
            .any(|known| known.kind() == member.kind() && known.group() == member.group())
        {
            return Err(Error::invalid(
                "start",
                format!(
                    "this client has a {} of group {:?} already; give the second one a client of its own",
                    match member.kind() {
                        MemberKind::Producer => "producer",
                        MemberKind::Consumer => "consumer",
                    },
                    member.group(),
                ),
            ));
        }
        members.push(member);
        Ok(())
    }

    pub(super) fn remove(&self, kind: MemberKind, group: &str) {
        self.members
            .write()
            .retain(|member| member.kind() != kind || member.group() != group);
    }

    pub(super) fn find(&self, kind: MemberKind, group: &str) -> Option<Arc<dyn Member>> {
        self.members
            .read()
            .iter()
            .find(|member| member.kind() == kind && member.group() == group)
            .cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<dyn Member>> {
        self.members.read().clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.read().is_empty()
    }

    pub(super) fn has_consumers(&self) -> bool {
        self.members
            .read()
            .iter()
            .any(|member| member.kind() == MemberKind::Consumer)
    }
}

/// How long a client that nobody else holds lives on to say that its last member has left.
const HELD: Duration = Duration::from_secs(1);

/// A member's place in its client. Without [`leave`](Self::leave) the member stays known until the client ends.
pub(crate) struct Registration {
    client: Client,
    kind: MemberKind,
    group: Arc<str>,
    left: AtomicBool,
    /// The brokers have been told that the member has left, or nobody tells them any more.
    told: CancellationToken,
    runtime: Handle,
}

impl Registration {
    pub(super) fn new(client: Client, member: &dyn Member) -> Self {
        Self {
            client,
            kind: member.kind(),
            group: member.group().into(),
            left: AtomicBool::new(false),
            told: CancellationToken::new(),
            runtime: Handle::current(),
        }
    }

    /// Removes the member at once; a task of the client's tells the brokers. A second call does nothing.
    pub(crate) fn leave(&self) {
        if self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        self.client.inner.registry.remove(self.kind, &self.group);
        let told = self.told.clone().drop_guard();
        let (client, kind, group) = (self.client.clone(), self.kind, Arc::clone(&self.group));
        let goodbye = async move {
            let inner = Arc::clone(&client.inner);
            let mut saying = pin!(inner.say_goodbye(kind, group));
            if timeout(HELD, saying.as_mut()).await.is_err() {
                // If this is the last handle, its end is that of the client, and of this task.
                drop(client);
                saying.await;
            }
            drop(told);
        };
        let inner = &self.client.inner;
        inner.spawn_on(&self.runtime, "goodbye of a member", goodbye);
    }

    /// Removes the member, and waits until the brokers have been told, at most until `deadline`. A second call waits for the same.
    pub(crate) async fn unregister(&self, deadline: Instant) {
        self.leave();
        if timeout_at(deadline, self.told.cancelled()).await.is_err() {
            debug!(group = %self.group, "no answer to unregistering in time");
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("kind", &self.kind)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
