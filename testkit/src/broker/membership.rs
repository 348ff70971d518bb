//! Members that come and go: who is told, and when one is given up.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rocketmq_sdk::protocol::request::notify_consumer_ids::NotifyConsumerIdsChanged;

use crate::broker::{Broker, Event};
use crate::net::peer::Peer;

/// The connections that heartbeats came on.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    /// The peer, and when it was last heard of, in milliseconds since 1970.
    last: HashMap<u64, (Arc<Peer>, i64)>,
}

impl Broker {
    /// Notes a heartbeat.
    pub(super) fn heard_from(&mut self, peer: &Arc<Peer>) {
        let now = self.now;
        let first = self
            .heartbeats
            .last
            .insert(peer.id, (Arc::clone(peer), now))
            .is_none();
        if first {
            self.timers.add(
                now + self.member_expiry_millis(),
                Event::CheckMember(peer.id),
            );
        }
    }

    /// Gives a connection up that was not heard of for too long.
    pub(super) fn check_member(&mut self, connection: u64) {
        let Some((peer, last)) = self.heartbeats.last.get(&connection) else {
            return;
        };
        let due = last + self.member_expiry_millis();
        if due > self.now {
            self.timers.add(due, Event::CheckMember(connection));
            return;
        }
        tracing::info!(peer = %peer.addr, "closing a connection without heartbeats");
        peer.close();
        self.leave_all(connection);
    }

    /// Takes a connection out of its groups, and tells who is left.
    pub(super) fn leave_all(&mut self, connection: u64) {
        self.heartbeats.last.remove(&connection);
        for group in self.groups.remove(connection) {
            self.notify_members(&group);
        }
    }

    /// Tells the members of a group that it has changed: all of them, the one that came too, as Apache RocketMQ does.
    pub(super) fn notify_members(&mut self, group: &str) {
        let wanted = self
            .groups
            .config(group)
            .is_some_and(|config| config.notify_consumer_ids_changed_enable);
        let Some(members) = self.groups.consumer(group) else {
            return;
        };
        if wanted && !members.is_broadcasting() {
            let notice = NotifyConsumerIdsChanged {
                consumer_group: group.into(),
            };
            for member in members.members.values() {
                member.peer.send_oneway(&notice, &Bytes::new());
            }
        }
    }

    fn member_expiry_millis(&self) -> i64 {
        i64::try_from(self.config.member_expiry.as_millis()).unwrap_or(i64::MAX / 2)
    }
}
