//! Delayed messages: they wait in SCHEDULE_TOPIC_XXXX, one queue per level, until their timer is due.

use rocketmq_sdk::protocol::message::Properties;

use crate::broker::arrival::Arrival;
use crate::broker::store::{Appended, QueueKey};
use crate::broker::{Broker, Event, names};
use crate::net::call::Refusal;

/// The delays of the levels, from level 1 on, in seconds: `messageDelayLevel` of Apache RocketMQ.
const DELAYS: [i64; 18] = [
    1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
];

impl Broker {
    /// Stores a message among those of its level.
    pub(super) fn take_in_delayed(&mut self, mut arrival: Arrival) -> Result<Appended, Refusal> {
        self.check_timers()?;
        let level = usize::try_from(arrival.delay_level)
            .unwrap_or(1)
            .clamp(1, DELAYS.len());
        arrival.park(names::SCHEDULE_TOPIC, level as i32 - 1);
        let queue = self.store.queue(names::SCHEDULE_TOPIC, arrival.queue_id);
        let appended = self.append(queue, &mut arrival)?;
        let due = self.now + DELAYS[level - 1] * 1000;
        self.timers
            .add(due, Event::Delay(queue, appended.queue_offset));
        Ok(appended)
    }

    /// Delivers a message whose delay is over.
    pub(super) fn delay_is_over(&mut self, queue: QueueKey, offset: i64) {
        if let Some(message) = self.parked(queue, offset) {
            self.deliver(&message, Properties::from(message.properties.as_str()));
        }
    }
}
