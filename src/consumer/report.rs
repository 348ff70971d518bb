//! What a consumer left when it was shut down.

use crate::consumer::assigned::Left;
use crate::message::MessageQueue;

/// What a consumer left when it was shut down. The group gets all of it again, but for what was [dropped](Self::dropped).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerReport {
    unfinished: usize,
    uncommitted: Vec<MessageQueue>,
    dropped: usize,
}

impl ConsumerReport {
    /// How many messages a listener was given and did not finish in time, or could not be sent back; of a lite-pull consumer, how many
    /// were handed out and not committed.
    pub const fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// The queues whose last offset the broker did not confirm.
    pub fn uncommitted(&self) -> &[MessageQueue] {
        &self.uncommitted
    }

    /// How many messages have failed while the consumer ran, if it was a [broadcasting](crate::MessageModel::Broadcasting) one: those do
    /// not come again.
    pub const fn dropped(&self) -> usize {
        self.dropped
    }

    /// Whether nothing was left.
    pub fn is_clean(&self) -> bool {
        self.unfinished == 0 && self.uncommitted.is_empty()
    }

    pub(super) fn new(dropped: usize) -> Self {
        Self {
            dropped,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, queue: &MessageQueue, left: Left) {
        self.unfinished += left.unfinished;
        // It may have come back while it was being given up.
        if !left.is_committed && !self.uncommitted.contains(queue) {
            self.uncommitted.push(queue.clone());
        }
    }
}
