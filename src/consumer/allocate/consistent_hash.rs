//! A ring of hashes: Java's `CONSISTENT_HASH`.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use md5::{Digest, Md5};

use crate::consumer::allocate::AllocateStrategy;
use crate::protocol::message::MessageQueue;

/// Gives a queue to the member whose hash follows the queue's on a ring, so that few queues change hands when a member comes or goes.
/// Shares differ in size, a member with few virtual nodes may get nothing.
#[derive(Debug, Clone, Copy)]
pub struct ConsistentHash {
    virtual_nodes: NonZeroU16,
}

/// Java's 10 places of each member on the ring.
impl Default for ConsistentHash {
    fn default() -> Self {
        Self::new(NonZeroU16::MIN.saturating_add(9))
    }
}

impl ConsistentHash {
    /// With so many places of each member on the ring. More make shares more equal. All members of a group must have the same.
    pub const fn new(virtual_nodes: NonZeroU16) -> Self {
        Self { virtual_nodes }
    }
}

impl AllocateStrategy for ConsistentHash {
    fn name(&self) -> &str {
        "CONSISTENT_HASH"
    }

    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue> {
        let mut ring = BTreeMap::new();
        for known in members {
            for node in 0..self.virtual_nodes.get() {
                ring.insert(hash(&format!("{known}-{node}")), &**known);
            }
        }
        let owner = |queue: &MessageQueue| {
            let hash = hash(&java_text(queue));
            ring.range(hash..)
                .chain(&ring)
                .map(|(_, owner)| *owner)
                .next()
        };
        let mine = queues.iter().filter(|queue| owner(queue) == Some(member));
        mine.cloned().collect()
    }

    fn needs_wire_names(&self) -> bool {
        true
    }
}

fn hash(text: &str) -> u32 {
    let [a, b, c, d, ..] = Md5::digest(text).0;
    u32::from_be_bytes([a, b, c, d])
}

/// What Java calls the queue.
fn java_text(queue: &MessageQueue) -> String {
    let MessageQueue {
        topic,
        broker_name,
        queue_id,
    } = queue;
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_leaves_moves_no_queue_of_the_others() {
        let queues: Vec<_> = (0..64)
            .map(|id| MessageQueue::new("t", "broker-a", id))
            .collect();
        let members: Vec<_> = (0..5).map(|id| format!("10.0.0.{id}@DEFAULT")).collect();
        let all = ConsistentHash::default();
        for (at, gone) in members.iter().enumerate() {
            let mut rest = members.clone();
            rest.remove(at);
            for member in &rest {
                let before = all.allocate(member, &members, &queues);
                let after = all.allocate(member, &rest, &queues);
                assert!(before.iter().all(|queue| after.contains(queue)), "{gone}");
            }
        }
    }
}
