//! What listeners were given, and waiting for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::MessageExt;
use tokio::time::Instant;

use crate::target::{PATIENCE, Target};

/// Collects the messages of one or more listeners.
#[derive(Clone, Default)]
pub struct Received {
    messages: Arc<Mutex<Vec<MessageExt>>>,
}

impl Received {
    pub fn add(&self, messages: Vec<MessageExt>) {
        self.messages.lock().extend(messages);
    }

    pub fn all(&self) -> Vec<MessageExt> {
        self.messages.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.messages.lock().len()
    }

    /// The different bodies.
    pub fn bodies(&self) -> BTreeSet<String> {
        self.messages.lock().iter().map(body).collect()
    }

    /// How often each body came.
    pub fn times(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for message in self.messages.lock().iter() {
            *times.entry(body(message)).or_default() += 1;
        }
        times
    }

    /// Waits until what was received satisfies `done`. Turns the target's clock on while it waits, a second at a time.
    pub async fn wait(&self, target: &Target, what: &str, done: impl Fn(&Self) -> bool) {
        wait_until(target, what, || done(self)).await;
    }
}

pub fn body(message: &MessageExt) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// Waits until `done`, and fails the story when that takes too long.
pub async fn wait_until(target: &Target, what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        target.turn(Duration::from_secs(1));
    }
}

/// The bodies `0..count`, with a prefix.
pub fn numbered(prefix: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|at| format!("{prefix}{at}")).collect()
}
