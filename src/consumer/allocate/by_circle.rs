//! One queue after the other: Java's `AVG_BY_CIRCLE`.

use crate::consumer::allocate::AllocateStrategy;
use crate::protocol::message::MessageQueue;

/// Deals the queues out to the members like cards. Shares differ by at most one queue, and every member gets queues of every broker
/// where there are enough.
#[derive(Debug, Clone, Copy, Default)]
pub struct AverageByCircle;

impl AllocateStrategy for AverageByCircle {
    fn name(&self) -> &str {
        "AVG_BY_CIRCLE"
    }

    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue> {
        let Some(index) = members.iter().position(|known| known == member) else {
            return Vec::new();
        };
        let mine = queues.iter().skip(index).step_by(members.len());
        mine.cloned().collect()
    }
}
