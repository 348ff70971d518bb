//! I5: messages come again only because of a fault: those that were not finished and committed when it began or ended, those that
//! were being sent, and those that were sent back without an answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use rocketmq_sdk::MessageQueue;

use super::{Judge, Report};
use crate::history::record::{Event, Happened, History};

/// Where commits are not seen: they are made every five seconds.
const COMMITTED_WITHIN: Duration = Duration::from_secs(6);

pub struct Duplicates {
    sees_brokers: bool,
    /// How often each message is in the log, if more than once.
    copies: BTreeMap<u64, usize>,
    faults: usize,
    /// What is being sent, and what was while something was wrong.
    sending: HashSet<u64>,
    disturbed: HashSet<u64>,
    queues: HashMap<MessageQueue, Queue>,
    /// What was not committed when something that is still wrong began or ended.
    exposed: HashSet<(MessageQueue, i64)>,
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
    pub fn new(history: &History) -> Self {
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
            sees_brokers: history.sees_brokers,
            copies,
            faults: 0,
            sending: HashSet::new(),
            disturbed: HashSet::new(),
            queues: HashMap::new(),
            exposed: HashSet::new(),
            succeeded: HashSet::new(),
            duplicates: 0,
            allowed: 0,
        }
    }

    /// Notes the messages that listeners were given and whose offsets are not committed.
    fn expose(&mut self, now: Duration) {
        let since = now.saturating_sub(COMMITTED_WITHIN);
        for (
            queue,
            Queue {
                delivered,
                committed,
            },
        ) in &self.queues
        {
            let from = if self.sees_brokers { *committed } else { 0 };
            let exposed = delivered
                .range(from..)
                .filter(|(_, at)| self.sees_brokers || **at >= since);
            self.exposed
                .extend(exposed.map(|(offset, _)| (queue.clone(), *offset)));
        }
    }

    fn settle(&mut self) {
        self.allowed += self.exposed.len();
        self.exposed.clear();
    }
}

impl Judge for Duplicates {
    fn see(&mut self, happened: &Happened, _: &mut Report) {
        match &happened.event {
            Event::Sending { id } => {
                self.sending.insert(*id);
                if self.faults > 0 {
                    self.disturbed.insert(*id);
                }
            }
            // Apache's broker notes only every few seconds what was committed. When it is held up it asks about that, too, and commits it
            // again.
            Event::Transacting { id } if !self.sees_brokers => {
                self.disturbed.insert(*id);
            }
            Event::Sent { id, .. } => {
                self.sending.remove(id);
            }
            Event::Fault => {
                self.faults += 1;
                self.disturbed.extend(&self.sending);
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
                let queue = self.queues.entry(queue.clone()).or_default();
                queue.delivered.insert(*offset, happened.at);
            }
            Event::Consumed {
                id, success: true, ..
            } => {
                self.succeeded.insert(*id);
            }
            Event::SentBack { told: false, .. } => self.allowed += 1,
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
