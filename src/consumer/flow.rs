//! How much a member takes in: nothing while it is suspended, and of a topic no more than its queues may hold together.
//!
//! Does not know: what one queue may hold, which its ring looks at, and what the client may hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::consumer::assigned::Assigned;
use crate::consumer::group::Group;
use crate::consumer::process_queue::Limits;
use crate::message::MessageQueue;

/// How much of one topic may wait to be finished, in all queues of the member together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TopicLimits {
    /// How many messages.
    pub(crate) count: Option<usize>,
    pub(crate) bytes: Option<usize>,
}

impl TopicLimits {
    /// What each of so many queues may hold: an equal part, as with Java's client, and at least one message or byte.
    fn share(&self, queue: Limits, queues: usize) -> Limits {
        let part = |all: usize| (all / queues.max(1)).max(1);
        Limits {
            count: self.count.map_or(queue.count, part),
            bytes: self.bytes.map_or(queue.bytes, part),
            ..queue
        }
    }
}

/// Whether a member takes in and gives out messages.
#[derive(Debug)]
pub(super) struct Suspension(watch::Sender<bool>);

impl Default for Suspension {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Suspension {
    /// False if it is so already.
    fn set(&self, suspended: bool) -> bool {
        self.0
            .send_if_modified(|now| std::mem::replace(now, suspended) != suspended)
    }

    pub(super) fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    async fn over(&self) {
        // Fails only without a sender, and that is here.
        let _ = self.0.subscribe().wait_for(|suspended| !suspended).await;
    }
}

impl Group {
    /// Takes nothing in and gives nothing out from now on.
    pub(super) fn suspend(&self) {
        if self.suspension().set(true) {
            info!(group = self.name(), "consumption is suspended");
        }
    }

    /// Goes on with what is there.
    pub(super) fn resume(self: &Arc<Self>) {
        if self.suspension().set(false) {
            info!(group = self.name(), "consumption goes on");
            let now = Instant::now();
            for queue in self.owned() {
                self.offer(&queue, now);
            }
        }
    }

    /// Puts a queue aside that was offered while the member is suspended. False if it is not.
    pub(crate) fn put_aside(self: &Arc<Self>, queue: &Arc<Assigned>) -> bool {
        if !self.suspension().is_on() {
            return false;
        }
        queue.unlist();
        if !self.suspension().is_on() {
            // It was resumed in between, and then the queue still looked as if it was offered.
            self.offer(queue, Instant::now());
        }
        true
    }

    /// Waits until the member is not suspended.
    pub(super) async fn resumed(&self) {
        if self.suspension().is_on() {
            self.suspension().over().await;
        }
    }

    /// Gives every queue of a topic its part of what the topic may hold.
    pub(super) fn spread_limits(&self, owned: &BTreeMap<MessageQueue, Arc<Assigned>>, topic: &str) {
        let (queue, of_topic) = (self.settings().limits, self.settings().topic_limits);
        if of_topic == TopicLimits::default() {
            return;
        }
        let queues = || {
            let all = owned.iter();
            all.filter(|(queue, _)| *queue.topic == *topic)
        };
        let limits = of_topic.share(queue, queues().count());
        queues().for_each(|(_, queue)| queue.set_limits(limits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_s_limits_are_divided_among_its_queues() {
        let queue = Limits {
            count: 1000,
            span: 2000,
            bytes: 1 << 20,
        };
        assert_eq!(TopicLimits::default().share(queue, 7), queue);
        let limits = TopicLimits {
            count: Some(10),
            bytes: Some(1000),
        };
        let part = |queues| {
            let part = limits.share(queue, queues);
            (part.count, part.span, part.bytes)
        };
        assert_eq!(part(1), (10, 2000, 1000));
        assert_eq!(part(3), (3, 2000, 333));
        assert_eq!(part(2000), (1, 2000, 1));
        assert_eq!(part(0), (10, 2000, 1000));
    }
}
