//! The queues that somebody wrote down: Java's `CONFIG`.

use std::collections::BTreeSet;

use crate::consumer::allocate::{AllocateStrategy, Average};
use crate::consumer::subscription::is_retry_topic;
use crate::protocol::message::MessageQueue;

/// Gives the member the queues that it was told, of all topics that it subscribes to, whoever else is there.
///
/// It is the application's part that every queue is on the list of exactly one member. The group's retry topic is not listed: its
/// queues are shared as [`Average`] does it. Java's clients give it to nobody, and then a message that failed never comes again.
#[derive(Debug, Clone)]
pub struct Configured {
    queues: BTreeSet<MessageQueue>,
}

impl Configured {
    /// With the queues of this member.
    pub fn new(queues: impl IntoIterator<Item = MessageQueue>) -> Self {
        Self {
            queues: queues.into_iter().collect(),
        }
    }
}

impl AllocateStrategy for Configured {
    fn name(&self) -> &str {
        "CONFIG"
    }

    fn allocate(
        &self,
        member: &str,
        members: &[String],
        queues: &[MessageQueue],
    ) -> Vec<MessageQueue> {
        if queues.iter().any(|queue| is_retry_topic(&queue.topic)) {
            return Average.allocate(member, members, queues);
        }
        let mine = queues.iter().filter(|queue| self.queues.contains(queue));
        mine.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_topic_is_shared_by_those_who_are_there() {
        let retry = [MessageQueue::new("%RETRY%g", "broker-a", 0)];
        let members = ["a".to_owned(), "b".to_owned()];
        for strategy in [Configured::new([]), Configured::new(retry.clone())] {
            assert_eq!(strategy.allocate("a", &members, &retry), retry);
            assert_eq!(strategy.allocate("b", &members, &retry), []);
        }
    }
}
