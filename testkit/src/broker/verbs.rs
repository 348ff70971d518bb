//! What a test does to a broker's state, and what it sees of it.

use bytes::Bytes;
use rocketmq_sdk::protocol::message::{MessageQueue, OffsetTable};
use rocketmq_sdk::protocol::request::reset_offset::ResetOffset;

use crate::broker::disk::{Disk, Loss};
use crate::broker::{Broker, SharedBroker};

impl SharedBroker {
    pub(crate) fn set_disk(&self, disk: Disk) {
        self.with(|broker| broker.disk = disk);
    }

    pub(crate) fn sync(&self) {
        self.with(Broker::sync);
    }

    pub(crate) fn lose(&self, loss: Loss) {
        self.with(|broker| broker.lose(loss));
    }

    /// Sets how far its clock is off, and does what is due by it now.
    pub(crate) fn set_skew(&self, millis: i64) {
        self.clock.set_skew(millis);
        crate::clock::Follower::clock_turned(self);
    }

    /// Sets a topic's permission bits; whether there is such a topic.
    pub(crate) fn set_permission(&self, topic: &str, permission: i32) -> bool {
        self.with(|broker| {
            let Some(mut config) = broker.topics.get(topic).map(|topic| topic.config.clone())
            else {
                return false;
            };
            config.perm = permission;
            broker.topics.put(config, broker.now)
        })
    }

    pub(crate) fn delete_topic(&self, topic: &str) {
        self.with(|broker| broker.delete_topic(topic));
    }

    pub(crate) fn members(&self, group: &str) -> Vec<String> {
        self.with(|broker| {
            let group = broker.groups.consumer(group);
            let members = group.into_iter().flat_map(|group| group.members.values());
            members.map(|member| member.client_id.clone()).collect()
        })
    }

    pub(crate) fn committed(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.with(|broker| broker.offsets.get(topic, group, queue_id))
    }

    pub(crate) fn notify_group(&self, group: &str) {
        self.with(|broker| broker.notify_members(group));
    }

    pub(crate) fn fake_members(&self, group: &str, count: usize) {
        self.with(|broker| {
            broker.groups.set_fakes(group, count);
            broker.notify_members(group);
        });
    }

    /// Moves a group in a queue, and tells its members.
    pub(crate) fn reset_offset(&self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        self.with(|broker| {
            broker.offsets.commit(topic, group, queue_id, offset);
            let queue = MessageQueue::new(topic, &*broker.config.name, queue_id);
            let body = OffsetTable {
                offset_table: [(queue, offset)].into(),
            };
            let header = ResetOffset {
                topic: topic.into(),
                group: group.into(),
                timestamp: broker.now,
                is_force: true,
                queue_id: Some(-1),
            };
            let body: Bytes = body.encode().into();
            let group = broker.groups.consumer(group);
            for member in group.into_iter().flat_map(|group| group.members.values()) {
                member.peer.send_oneway(&header, &body);
            }
        });
    }
}

impl Broker {
    pub(super) fn delete_topic(&mut self, topic: &str) {
        self.topics.delete(topic, self.now);
        self.offsets.delete_topic(topic);
        self.store.delete_topic(topic);
    }
}
