//! A member that is no client of ours: the story hears what it does, and says so.

use rocketmq_sdk::MessageQueue;

use super::record::{Event, Recorder};

/// Notes what one such member does.
#[derive(Clone)]
pub struct Foreign {
    recorder: Recorder,
    member: usize,
}

impl Foreign {
    pub(super) fn new(recorder: Recorder, member: usize) -> Self {
        Self { recorder, member }
    }

    /// It was given a message, and has finished it.
    pub fn finished(&self, queue: MessageQueue, offset: i64, id: u64) {
        let member = self.member;
        self.recorder.add(Event::Delivered {
            member,
            queue: queue.clone(),
            offset,
            id,
        });
        self.recorder.add(Event::Consumed {
            member,
            queue,
            offset,
            id,
            success: true,
        });
    }
}
