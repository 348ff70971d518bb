//! The checker: every judge sees every event once, in order, and names what may not be.

mod duplicates;
mod memory;
mod offsets;
mod order;
mod recovery;
mod sends;
mod storms;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::record::{Happened, History};

/// How long brokers of stories keep a commit that they may forget, and clients one that they have not made yet.
const COMMITTED_WITHIN: Duration = Duration::from_secs(6);

/// What depends on the story.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many bytes one member may hold for its listeners, one pull for each queue included.
    pub buffered: usize,
    /// How many clients there are, whose questions add up.
    pub clients: usize,
    /// Listeners start on several threads, so that the order in which they note it says nothing.
    pub is_threaded: bool,
    /// Nobody can tell when in a fault queues change hands, so that everything that comes meanwhile may come again.
    pub is_loose: bool,
    /// Brokers may forget commits that are not this old; and where commits are not seen, it is when they are made.
    pub committed_within: Duration,
    /// Whether brokers forget them when they are killed.
    pub forgets_commits: bool,
}

impl Limits {
    /// For members that may hold so many bytes.
    pub const fn new(buffered: usize) -> Self {
        Self {
            buffered,
            clients: 0,
            is_threaded: false,
            is_loose: false,
            committed_within: COMMITTED_WITHIN,
            forgets_commits: false,
        }
    }
}

/// What the checker found. A history is right when `broken` is empty.
#[derive(Debug, Default)]
pub struct Report {
    pub broken: Vec<String>,
    /// Whether brokers' events were among what was judged.
    pub sees_brokers: bool,
    /// Sends that were acknowledged.
    pub acked: usize,
    /// Sends that had an error; without oneway ones.
    pub failed: usize,
    /// What the errors of the first ones say.
    pub failures: Vec<String>,
    /// Oneway sends that are not in the log.
    pub oneway_lost: usize,
    /// Deliveries beyond the first success of each message, and how many there may be.
    pub duplicates: usize,
    pub allowed_duplicates: usize,
    /// How many commits were seen and judged.
    pub commits: usize,
    /// The most bytes that a member held for its listeners.
    pub buffered: usize,
    /// The most questions about members of the group in a minute, from all clients together.
    pub rebalances: usize,
}

impl Report {
    /// Fails the story when an invariant is broken.
    pub fn assert_right(&self) {
        let first = &self.broken[..self.broken.len().min(10)];
        assert!(
            self.broken.is_empty(),
            "{} broken, the first ones: {first:#?}",
            self.broken.len()
        );
    }

    /// The duplicates of a story in which nothing may come again. Where brokers are not seen, what they do by themselves is allowed.
    pub const fn unexpected(&self) -> usize {
        if self.sees_brokers {
            return self.duplicates;
        }
        self.duplicates.saturating_sub(self.allowed_duplicates)
    }

    fn broken(&mut self, finding: String) {
        self.broken.push(finding);
    }
}

/// Looks for breaks of some invariants.
trait Judge {
    fn see(&mut self, happened: &Happened, report: &mut Report);

    /// Judges what can be told only at the end.
    fn finish(&mut self, report: &mut Report) {
        let _ = report;
    }
}

/// Checks a whole history.
pub fn check(history: &History, limits: &Limits) -> Report {
    let mut report = Report {
        sees_brokers: history.sees_brokers,
        ..Report::default()
    };
    let mut judges: Vec<Box<dyn Judge>> = vec![
        Box::new(sends::Sends::new(&history.log)),
        Box::new(offsets::Offsets::new(&history.log)),
        Box::new(duplicates::Duplicates::new(history, limits)),
        Box::new(memory::Memory::new(limits)),
        Box::new(recovery::Recovery::default()),
        Box::new(storms::Storms::new(limits)),
    ];
    if !limits.is_threaded {
        judges.push(Box::new(order::Order::new(history.sees_brokers)));
    }
    for happened in &history.events {
        for judge in &mut judges {
            judge.see(happened, &mut report);
        }
    }
    for judge in &mut judges {
        judge.finish(&mut report);
    }
    report
}
