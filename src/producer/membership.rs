//! What a producer is to its client: a group in heartbeats, and topics whose routes are kept fresh.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::client::{Member, MemberKind};
use crate::producer::transaction::Checks;
use crate::protocol::command::Command;
use crate::protocol::request::heartbeat::{HeartbeatBody, ProducerData};
use crate::transport::Connection;

/// The client holds this and not the producer, so that a producer that nobody holds is dropped.
#[derive(Debug)]
pub(super) struct Membership {
    group: Arc<str>,
    topics: RwLock<BTreeSet<Arc<str>>>,
    /// Takes questions about transactions.
    checks: Option<Checks>,
}

impl Membership {
    pub(super) fn new(
        group: Arc<str>,
        topics: impl IntoIterator<Item = Arc<str>>,
        checks: Option<Checks>,
    ) -> Self {
        Self {
            group,
            topics: RwLock::new(topics.into_iter().collect()),
            checks,
        }
    }

    /// Keeps a topic's route fresh from now on. False if it is kept fresh already.
    pub(super) fn watch(&self, topic: &Arc<str>) -> bool {
        !self.topics.read().contains(topic) && self.topics.write().insert(Arc::clone(topic))
    }
}

impl Member for Membership {
    fn kind(&self) -> MemberKind {
        MemberKind::Producer
    }

    fn group(&self) -> &str {
        &self.group
    }

    fn topics(&self) -> Vec<Arc<str>> {
        self.topics.read().iter().cloned().collect()
    }

    fn request(&self, from: &Connection, command: &Command) -> bool {
        let checks = self.checks.as_ref();
        checks.is_some_and(|checks| checks.take(from.addr(), command))
    }

    fn describe(&self, body: &mut HeartbeatBody) {
        body.producer_data_set.push(ProducerData {
            group_name: self.group.to_string(),
        });
    }
}
