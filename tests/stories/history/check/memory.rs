//! I7: what a member holds for its listeners is bounded, and nothing of it stays when it has gone.

use std::collections::HashMap;

use rocketmq_sdk::MessageQueue;

use super::{Judge, Limits, Report};
use crate::history::record::{Event, Happened};

pub struct Memory {
    limit: usize,
    /// What each member was given of each queue and has not finished, by batches.
    held: HashMap<usize, HashMap<MessageQueue, Vec<Batch>>>,
    most: usize,
}

/// Messages that came together, and stay together in memory.
struct Batch {
    first: i64,
    unfinished: usize,
    bytes: usize,
}

impl Memory {
    pub fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.buffered,
            held: HashMap::new(),
            most: 0,
        }
    }

    fn finished(queues: &mut HashMap<MessageQueue, Vec<Batch>>, queue: &MessageQueue, offset: i64) {
        let Some(batches) = queues.get_mut(queue) else {
            return;
        };
        let behind = batches.partition_point(|batch| batch.first <= offset);
        if let Some(at) = behind.checked_sub(1) {
            batches[at].unfinished = batches[at].unfinished.saturating_sub(1);
            if batches[at].unfinished == 0 {
                batches.remove(at);
            }
        }
    }

    /// What was given from the offset on is asked for again; and who has the queue now is the only one.
    fn pulls(&mut self, member: usize, queue: &MessageQueue, offset: i64) {
        for (&other, queues) in &mut self.held {
            match queues.get_mut(queue) {
                Some(batches) if other == member => batches.retain(|batch| batch.first < offset),
                Some(batches) => batches.clear(),
                None => {}
            }
        }
    }

    fn given(&mut self, member: usize, queue: &MessageQueue, batch: Batch) {
        let queues = self.held.entry(member).or_default();
        queues.entry(queue.clone()).or_default().push(batch);
        let held = queues.values().flatten().map(|batch| batch.bytes).sum();
        self.most = self.most.max(held);
    }
}

impl Judge for Memory {
    fn see(&mut self, happened: &Happened, report: &mut Report) {
        match &happened.event {
            Event::Pulls {
                member,
                queue,
                offset,
            } => self.pulls(*member, queue, *offset),
            Event::Given {
                member,
                queue,
                first,
                count,
                bytes,
            } => {
                let (first, unfinished, bytes) = (*first, *count, *bytes);
                self.given(
                    *member,
                    queue,
                    Batch {
                        first,
                        unfinished,
                        bytes,
                    },
                );
            }
            Event::Consumed {
                member,
                queue,
                offset,
                success: true,
                ..
            } => {
                Self::finished(self.held.entry(*member).or_default(), queue, *offset);
            }
            Event::SentBack { queue, offset, .. } => {
                let all = self.held.values_mut();
                all.for_each(|queues| Self::finished(queues, queue, *offset));
            }
            Event::Rest {
                tasks_before,
                tasks_after,
            } if tasks_after > tasks_before => {
                let more = tasks_after - tasks_before;
                report.broken(format!("I7: {more} tasks stay"));
            }
            _ => {}
        }
    }

    fn finish(&mut self, report: &mut Report) {
        let Self { most, limit, .. } = *self;
        if most > limit {
            report.broken(format!(
                "I7: a member held {most} bytes, at most {limit} may be"
            ));
        }
        report.buffered = most;
    }
}
