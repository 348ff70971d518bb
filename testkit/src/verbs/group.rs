//! What a test does to a consumer group, and what it sees of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::broker::SharedBroker;

/// A consumer group on one broker: [`BrokerHandle::group`](crate::BrokerHandle::group).
#[derive(Debug, Clone)]
pub struct GroupHandle {
    name: String,
    broker: Arc<SharedBroker>,
    runtime: Handle,
}

/// Notices without end to the members of a group. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "the storm ends when it is dropped"]
pub struct Storm {
    rounds: Arc<AtomicU64>,
    _ended: DropGuard,
}

impl GroupHandle {
    pub(crate) const fn new(name: String, broker: Arc<SharedBroker>, runtime: Handle) -> Self {
        Self {
            name,
            broker,
            runtime,
        }
    }

    /// The ids of its members, in the order of their connections; without those that are made up.
    pub fn members(&self) -> Vec<String> {
        self.broker.members(&self.name)
    }

    /// The offset that it has committed of a queue.
    pub fn committed(&self, topic: &str, queue_id: i32) -> Option<i64> {
        self.broker.committed(&self.name, topic, queue_id)
    }

    /// Tells its members that the group has changed.
    pub fn notify(&self) {
        self.broker.notify_group(&self.name);
    }

    /// Tells its members so many times a second that the group has changed, for as long as the storm lives.
    ///
    /// # Panics
    /// It is 0.
    pub fn notify_storm(&self, per_second: u32) -> Storm {
        assert!(per_second > 0, "a storm of 0 notices a second is none");
        let rounds = Arc::new(AtomicU64::new(0));
        let ended = CancellationToken::new();
        let storm = storm(self.clone(), per_second, Arc::clone(&rounds));
        self.runtime
            .spawn(ended.clone().run_until_cancelled_owned(storm));
        Storm {
            rounds,
            _ended: ended.drop_guard(),
        }
    }

    /// Lists so many members more than there are, and tells the true ones. Queues fall to the made-up ones, and nobody consumes
    /// them.
    pub fn fake_members(&self, count: usize) {
        self.broker.fake_members(&self.name, count);
    }

    /// Moves the group in a queue, as an administrator's reset does: the broker commits the offset, and tells the members to go
    /// there (RESET_CONSUMER_CLIENT_OFFSET).
    pub fn reset_offset(&self, topic: &str, queue_id: i32, offset: i64) {
        self.broker
            .reset_offset(&self.name, topic, queue_id, offset);
    }
}

impl Storm {
    /// How many times the members were told.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

async fn storm(group: GroupHandle, per_second: u32, rounds: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    loop {
        ticks.tick().await;
        group.notify();
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}
