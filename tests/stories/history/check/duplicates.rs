//! I5: messages come again only because of a fault: those that were not finished and committed when it began or ended, those that
//! were being sent, and those that were sent back without an answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use rocketmq_sdk::MessageQueue;

use super::{Judge, Limits, Report};
use crate::history::record::{Event, Happened, History};

/// How long an attempt to send has at least. One whose answer takes longer is followed by another, and both may be stored.
const ATTEMPT: Duration = Duration::from_secs(1);

pub struct Duplicates {
    /// Everything that listeners were given within this time may come again, where it does not depend on commits.
    within: Option<Duration>,
    is_loose: bool,
    /// How often each message is in the log, if more than once.
    copies: BTreeMap<u64, usize>,
    faults: usize,
    /// What is being sent and since when, and what was sent while something was wrong.
    sending: HashMap<u64, Duration>,
    disturbed: HashSet<u64>,
    queues: HashMap<MessageQueue, Queue>,
    /// What was not committed when something that is still wrong began or ended.
    exposed: HashMap<MessageQueue, BTreeSet<i64>>,
    succeeded: HashSet<u64>,
    duplicates: usize,
    allowed: usize,
}

#[derive(Default)]
struct Queue {
    /// What listeners were given, and when last.
    delivered: BTreeMap<i64, Duration>,
    committed: i64,
}

impl Duplicates {
    pub fn new(history: &History, limits: &Limits) -> Self {
        let sees_commits = history.sees_brokers && !limits.forgets_commits;
        let mut copies = BTreeMap::new();
        let mut places = BTreeSet::new();
        for logged in &history.log {
            // What is in a retry topic was sent back, and counts there.
            if !logged.queue.topic.starts_with("%RETRY%")
                && places.insert((&logged.queue, logged.offset))
            {
                *copies.entry(logged.id).or_default() += 1;
            }
        }
        copies.retain(|_, copies| *copies > 1);
        Self {
            within: (!sees_commits).then_some(limits.committed_within),
            is_loose: limits.is_loose,
            copies,
            faults: 0,
            sending: HashMap::new(),
            disturbed: HashSet::new(),
            queues: HashMap::new(),
            exposed: HashMap::new(),
            succeeded: HashSet::new(),
            duplicates: 0,
            allowed: 0,
        }
    }

    /// Notes the messages that listeners were given and whose offsets are not committed.
    fn expose(&mut self, now: Duration) {
        for (queue, state) in &self.queues {
            let exposed = state.exposed(self.within, now);
            let all = self.exposed.entry(queue.clone()).or_default();
            all.extend(exposed);
        }
    }

    /// Somebody takes a queue over while something is wrong: what is exposed comes again, and may once more.
    fn taken_over(&mut self, queue: &MessageQueue, now: Duration) {
        let Some(state) = self.queues.get(queue) else {
            return;
        };
        let exposed = state.exposed(self.within, now).collect();
        let before = self.exposed.insert(queue.clone(), exposed);
        self.allowed += before.map_or(0, |before| before.len());
    }

    fn settle(&mut self) {
        self.allowed += self.exposed.values().map(BTreeSet::len).sum::<usize>();
        self.exposed.clear();
    }
}

impl Queue {
    fn exposed(&self, within: Option<Duration>, now: Duration) -> impl Iterator<Item = i64> {
        let from = if within.is_none() { self.committed } else { 0 };
        let since = within.map_or(Duration::ZERO, |within| now.saturating_sub(within));
        let uncommitted = self.delivered.range(from..);
        uncommitted
            .filter(move |(_, at)| **at >= since)
            .map(|(offset, _)| *offset)
    }
}

impl Judge for Duplicates {
    fn see(&mut self, happened: &Happened, _: &mut Report) {
        match &happened.event {
            Event::Sending { id } => {
                self.sending.insert(*id, happened.at);
                if self.faults > 0 {
                    self.disturbed.insert(*id);
                }
            }
            // Apache's broker notes only every few seconds what was committed. When it is held up it asks about that, too, and commits it
            // again.
            Event::Transacting { id } if self.within.is_some() => {
                self.disturbed.insert(*id);
            }
            Event::Sent { id, .. } => {
                let began = self.sending.remove(id);
                // Where time is real the machine itself may hold up a broker, or us; and a real broker is slow when it is new.
                let held_up = began.is_some_and(|began| happened.at >= began + ATTEMPT);
                if (self.is_loose || self.within.is_some()) && held_up {
                    self.disturbed.insert(*id);
                }
            }
            Event::Fault => {
                self.faults += 1;
                self.disturbed.extend(self.sending.keys());
                self.expose(happened.at);
            }
            Event::Healed { .. } => {
                self.expose(happened.at);
                self.faults = self.faults.saturating_sub(1);
                if self.faults == 0 {
                    self.settle();
                }
            }
            Event::Delivered {
                queue, offset, id, ..
            } => {
                self.duplicates += usize::from(self.succeeded.contains(id));
                let state = self.queues.entry(queue.clone()).or_default();
                state.delivered.insert(*offset, happened.at);
                if self.is_loose && self.faults > 0 {
                    let exposed = self.exposed.entry(queue.clone()).or_default();
                    exposed.insert(*offset);
                }
            }
            Event::AskedOffset { queue, .. } if self.is_loose && self.faults > 0 => {
                self.taken_over(queue, happened.at);
            }
            Event::Consumed {
                id, success: true, ..
            } => {
                self.succeeded.insert(*id);
            }
            // Where the answer may get lost after it was given, they are sent back again.
            Event::SentBack { told, .. } if !told || self.is_loose && self.faults > 0 => {
                self.allowed += 1;
            }
            Event::Committed { queue, offset } => {
                self.queues.entry(queue.clone()).or_default().committed = *offset;
            }
            _ => {}
        }
    }

    fn finish(&mut self, report: &mut Report) {
        self.settle();
        for (id, copies) in &self.copies {
            self.allowed += copies - 1;
            if !self.disturbed.contains(id) {
                report.broken(format!(
                    "I5: {id} is in the log {copies} times, and nothing was wrong"
                ));
            }
        }
        let Self {
            duplicates,
            allowed,
            ..
        } = *self;
        if duplicates > allowed {
            report.broken(format!(
                "I5: {duplicates} duplicates, at most {allowed} may be"
            ));
        }
        (report.duplicates, report.allowed_duplicates) = (duplicates, allowed);
    }
}
