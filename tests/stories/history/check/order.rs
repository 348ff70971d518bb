//! I3: a member is given a queue's messages in the order of their offsets. What fails may come again later.
//!
//! Listeners note a message when they start; where they start on several threads the order of the notes says nothing.

use std::collections::{HashMap, HashSet};

use rocketmq_sdk::MessageQueue;

use super::{Judge, Report};
use crate::history::record::{Event, Happened};

pub struct Order {
    sees_brokers: bool,
    assignments: HashMap<(usize, MessageQueue), Assignment>,
}

/// One member's time with one queue.
#[derive(Default)]
struct Assignment {
    last: Option<i64>,
    seen: HashSet<i64>,
}

impl Order {
    pub fn new(sees_brokers: bool) -> Self {
        Self {
            sees_brokers,
            assignments: HashMap::new(),
        }
    }

    fn delivered(&mut self, member: usize, queue: &MessageQueue, offset: i64, report: &mut Report) {
        let assignment = self.assignments.entry((member, queue.clone())).or_default();
        if !assignment.seen.insert(offset) {
            return;
        }
        match assignment.last {
            Some(last) if offset < last => report.broken(format!(
                "I3: member {member} was given {queue}:{offset} for the first time behind {last}"
            )),
            _ => assignment.last = Some(offset),
        }
    }
}

impl Judge for Order {
    fn see(&mut self, happened: &Happened, report: &mut Report) {
        match &happened.event {
            Event::Delivered {
                member,
                queue,
                offset,
                ..
            } => {
                self.delivered(*member, queue, *offset, report);
            }
            // An assignment begins with this question.
            Event::AskedOffset { member, queue } => {
                self.assignments.remove(&(*member, queue.clone()));
            }
            // An assignment may begin any time from then on; what it brings again was seen.
            Event::Fault | Event::Healed { .. } if !self.sees_brokers => {
                let all = self.assignments.values_mut();
                all.for_each(|assignment| assignment.last = None);
            }
            _ => {}
        }
    }
}
