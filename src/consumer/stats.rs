//! How a member gets on with each topic: what it pulled, consumed and failed in the last minute and the last hour.
//!
//! Counting is a few additions; looking back is by samples that somebody takes from time to time. Does not know: when, and who asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::protocol::request::consumer_running_info::ConsumeStatus;

/// How often samples have to be taken.
pub(crate) const SAMPLING: Duration = Duration::from_secs(10);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Counts for one topic. Each on its own: what is read together may be a little apart.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pulls: AtomicU64,
    pull_nanos: AtomicU64,
    pulled: AtomicU64,
    calls: AtomicU64,
    call_nanos: AtomicU64,
    consumed: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    /// A pull has found this many messages.
    pub(crate) fn pulled(&self, messages: usize, took: Duration) {
        add(&self.pulls, 1);
        add(&self.pull_nanos, took.as_nanos() as u64);
        add(&self.pulled, messages as u64);
    }

    /// A listener has ended.
    pub(crate) fn called(&self, took: Duration) {
        add(&self.calls, 1);
        add(&self.call_nanos, took.as_nanos() as u64);
    }

    /// Messages were consumed.
    pub(crate) fn consumed(&self, messages: usize) {
        add(&self.consumed, messages as u64);
    }

    /// Messages have failed.
    pub(crate) fn failed(&self, messages: usize) {
        add(&self.failed, messages as u64);
    }

    fn now(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            pulls: read(&self.pulls),
            pull_nanos: read(&self.pull_nanos),
            pulled: read(&self.pulled),
            calls: read(&self.calls),
            call_nanos: read(&self.call_nanos),
            consumed: read(&self.consumed),
            failed: read(&self.failed),
        }
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// Counters as they were at one time.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    pulls: u64,
    pull_nanos: u64,
    pulled: u64,
    calls: u64,
    call_nanos: u64,
    consumed: u64,
    failed: u64,
}

/// The counters of all topics, and what they were before.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    topics: Mutex<BTreeMap<Arc<str>, Topic>>,
}

#[derive(Debug)]
struct Topic {
    counters: Arc<Counters>,
    /// At most a minute old, but for the first one, which is older if one is.
    minute: VecDeque<(Instant, Counts)>,
    /// The same for an hour; failures only, and fewer.
    hour: VecDeque<(Instant, u64)>,
}

impl Stats {
    /// The counters of a topic.
    pub(crate) fn of(&self, topic: &Arc<str>, now: Instant) -> Arc<Counters> {
        let mut topics = self.topics.lock();
        let topic = topics.entry(Arc::clone(topic)).or_insert_with(|| Topic {
            counters: Arc::default(),
            minute: VecDeque::from([(now, Counts::default())]),
            hour: VecDeque::from([(now, 0)]),
        });
        Arc::clone(&topic.counters)
    }

    /// Takes a sample of everything.
    pub(crate) fn sample(&self, now: Instant) {
        for topic in self.topics.lock().values_mut() {
            let counts = topic.counters.now();
            topic.minute.push_back((now, counts));
            forget(&mut topic.minute, now, MINUTE);
            let is_due = topic
                .hour
                .back()
                .is_none_or(|(at, _)| now.saturating_duration_since(*at) >= MINUTE);
            if is_due {
                topic.hour.push_back((now, counts.failed));
                forget(&mut topic.hour, now, HOUR);
            }
        }
    }

    /// How it goes with each topic.
    pub(crate) fn status(&self, now: Instant) -> BTreeMap<String, ConsumeStatus> {
        let topics = self.topics.lock();
        topics
            .iter()
            .map(|(name, topic)| (name.to_string(), topic.status(now)))
            .collect()
    }
}

impl Topic {
    fn status(&self, now: Instant) -> ConsumeStatus {
        let counts = self.counters.now();
        let (since, before) = self.minute.front().copied().unwrap_or((now, counts));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let grown = |of: fn(&Counts) -> u64| of(&counts).saturating_sub(of(&before)) as f64;
        let per_second = |of| over(grown(of), seconds);
        let millis = |nanos, times| over(grown(nanos) / 1e6, grown(times));
        let failed = self.hour.front().map_or(0, |(_, failed)| *failed);
        ConsumeStatus {
            pull_rt: millis(|counts| counts.pull_nanos, |counts| counts.pulls),
            pull_tps: per_second(|counts| counts.pulled),
            consume_rt: millis(|counts| counts.call_nanos, |counts| counts.calls),
            consume_ok_tps: per_second(|counts| counts.consumed),
            consume_failed_tps: per_second(|counts| counts.failed),
            consume_failed_msgs: counts.failed.saturating_sub(failed) as i64,
        }
    }
}

fn over(number: f64, by: f64) -> f64 {
    if by > 0.0 { number / by } else { 0.0 }
}

/// Drops samples from the front while the next one is old enough, too.
fn forget<T>(samples: &mut VecDeque<(Instant, T)>, now: Instant, age: Duration) {
    let is_old = |sample: Option<&(Instant, T)>| {
        sample.is_some_and(|(at, _)| now.saturating_duration_since(*at) >= age)
    };
    while is_old(samples.get(1)) {
        samples.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(stats: &Stats, now: Instant) -> ConsumeStatus {
        stats.status(now)["t"]
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_those_of_the_last_minute_and_failures_those_of_the_last_hour() {
        let stats = Stats::default();
        let start = Instant::now();
        let counters = stats.of(&"t".into(), start);
        assert_eq!(status(&stats, start), ConsumeStatus::default());
        let mut now = start;
        // Two messages a second for ten minutes, one of them fails; a pull takes 4 ms, a listener 10 ms.
        for second in 1..=600 {
            now = start + Duration::from_secs(second);
            counters.pulled(2, Duration::from_millis(4));
            counters.called(Duration::from_millis(10));
            counters.consumed(1);
            counters.failed(1);
            if second % 10 == 0 {
                stats.sample(now);
            }
        }
        let expected = ConsumeStatus {
            pull_rt: 4.0,
            pull_tps: 2.0,
            consume_rt: 10.0,
            consume_ok_tps: 1.0,
            consume_failed_tps: 1.0,
            consume_failed_msgs: 600,
        };
        assert_eq!(status(&stats, now), expected);
        for _ in 0..6 {
            now += SAMPLING;
            stats.sample(now);
        }
        let quiet = ConsumeStatus {
            consume_failed_msgs: 600,
            ..ConsumeStatus::default()
        };
        assert_eq!(status(&stats, now), quiet);
        for _ in 0..360 {
            now += SAMPLING;
            stats.sample(now);
        }
        assert_eq!(status(&stats, now), ConsumeStatus::default());
        let topics = stats.topics.lock();
        assert!(topics["t"].minute.len() <= 8 && topics["t"].hour.len() <= 62);
    }
}
