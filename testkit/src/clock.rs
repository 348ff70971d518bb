//! The clock that the brokers of a cluster go by, and that a test can turn.
//!
//! Knows: the wall time, and what a test added to it. Does not know: what is due when (each broker's timer queue does).

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A clock that runs with tokio's time and can be turned forward.
///
/// Everything that the brokers of a [`Cluster`](crate::Cluster) do by time goes by it: delay levels, the end of held pulls, the
/// expiry of members, the time stamps of stored messages. Clones are handles of one clock.
///
/// It starts at the system's time and then follows tokio's monotonic time, so that it stands still where a test has paused
/// tokio's time, and moves with it.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
    /// How far the clock of one node is off, in milliseconds.
    skew: Arc<AtomicI64>,
}

struct Inner {
    start: Instant,
    /// The wall time at `start`, since 1970.
    epoch: Duration,
    /// What was added, in nanoseconds.
    turned_by: AtomicU64,
    followers: Mutex<Vec<Weak<dyn Follower>>>,
}

/// Does at once what came due when the clock is turned.
pub(crate) trait Follower: Send + Sync {
    fn clock_turned(&self);
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        // To the nanosecond: in whole milliseconds it would be behind, and a message could be stored before it was born.
        let epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            inner: Arc::new(Inner {
                start,
                epoch,
                turned_by: AtomicU64::new(0),
                followers: Mutex::new(Vec::new()),
            }),
            skew: Arc::default(),
        }
    }

    /// The same clock as a node has it, which may be off.
    pub(crate) fn of_node(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            skew: Arc::default(),
        }
    }

    /// Sets how far this clock is ahead of the others, in milliseconds; behind, if it is negative.
    pub(crate) fn set_skew(&self, millis: i64) {
        self.skew.store(millis, Ordering::Relaxed);
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.since_epoch()
    }

    /// Turns the clock forward. When this returns, the brokers have done everything that came due: delayed messages are in
    /// their queues, held pulls that ran out are answered.
    ///
    /// What clients are about to ask is not among it: a message that a listener has just refused reaches the broker a moment later, and
    /// its delay begins then. [`Journal::wait_for`](crate::Journal::wait_for) waits for such a thing.
    ///
    /// To a broker this looks as if nothing had happened for that long: a member of a group whose heartbeat is by then older than
    /// [`member_expiry`](crate::ClusterBuilder::member_expiry) is dropped and its connection closed, as Apache RocketMQ does it
    /// after its process was suspended. Clients that reconnect and heartbeat at once are back as quickly.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.inner.turned_by.fetch_add(nanos, Ordering::Relaxed);
        let followers: Vec<_> = {
            let mut followers = self.inner.followers.lock();
            followers.retain(|follower| follower.strong_count() > 0);
            followers.iter().filter_map(Weak::upgrade).collect()
        };
        for follower in followers {
            follower.clock_turned();
        }
    }

    pub(crate) fn follow(&self, follower: Weak<dyn Follower>) {
        self.inner.followers.lock().push(follower);
    }

    /// Milliseconds since 1970, as RocketMQ counts time.
    pub(crate) fn millis(&self) -> i64 {
        i64::try_from(self.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    /// How long it is until a time in milliseconds since 1970.
    pub(crate) fn until(&self, millis: i64) -> Duration {
        let at = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        at.saturating_sub(self.since_epoch())
    }

    fn since_epoch(&self) -> Duration {
        let turned_by = Duration::from_nanos(self.inner.turned_by.load(Ordering::Relaxed));
        let now = self.inner.epoch + self.inner.start.elapsed() + turned_by;
        let skew = self.skew.load(Ordering::Relaxed);
        let by = Duration::from_millis(skew.unsigned_abs());
        if skew < 0 {
            now.saturating_sub(by)
        } else {
            now.saturating_add(by)
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.since_epoch()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follows_tokio_time_and_what_a_test_adds() {
        let clock = Clock::new();
        let start = clock.millis();
        let until = clock.until(start + 500);
        assert!(until > Duration::from_millis(499) && until <= Duration::from_millis(500));
        tokio::time::advance(Duration::from_millis(300)).await;
        clock.advance(Duration::from_secs(7_200));
        assert_eq!(clock.millis(), start + 300 + 7_200_000);
        assert_eq!(clock.until(start), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn is_never_behind_the_time_it_started_at() {
        for _ in 0..1000 {
            let before = SystemTime::now();
            let clock = Clock::new();
            assert!(clock.now() >= before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_may_be_off() {
        let clock = Clock::new();
        let (node, other) = (clock.of_node(), clock.of_node());
        node.set_skew(-5_000);
        assert_eq!(node.millis(), clock.millis() - 5_000);
        clock.advance(Duration::from_secs(60));
        assert_eq!(node.millis(), clock.millis() - 5_000);
        assert_eq!(other.millis(), clock.millis());
        node.set_skew(7);
        assert_eq!(node.millis(), clock.millis() + 7);
    }
}
