//! Delayed messages: they wait in SCHEDULE_TOPIC_XXXX, one queue per level, until their timer is due.

use rocketmq_sdk::protocol::message::{Properties, StoredMessage, Text, property_names};

use crate::broker::arrival::Arrival;
use crate::broker::filter::tag_code;
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
        let level = usize::try_from(arrival.delay_level)
            .unwrap_or(1)
            .clamp(1, DELAYS.len());
        let properties = &mut arrival.properties;
        properties.remove(property_names::REAL_TOPIC);
        properties.remove(property_names::REAL_QUEUE_ID);
        properties.push(property_names::REAL_TOPIC, &arrival.topic);
        properties.push(property_names::REAL_QUEUE_ID, &arrival.queue_id.to_string());
        arrival.topic = Text::from_static(names::SCHEDULE_TOPIC);
        arrival.queue_id = level as i32 - 1;
        let queue = self.store.queue(names::SCHEDULE_TOPIC, arrival.queue_id);
        let appended = self.append(queue, &mut arrival)?;
        let due = self.now + DELAYS[level - 1] * 1000;
        self.timers
            .add(due, Event::Deliver(queue, appended.queue_offset));
        Ok(appended)
    }

    /// Puts a delayed message where it belongs. One that the store no longer has is lost, as with Apache RocketMQ.
    pub(super) fn deliver(&mut self, queue: QueueKey, offset: i64) {
        let Some(stored) = self.store.read(queue, offset).next() else {
            return;
        };
        let Ok(message) = StoredMessage::decode(&mut stored.bytes.clone()) else {
            return;
        };
        let Some((topic, queue_id)) = real_place(&message) else {
            return;
        };
        if self.topics.get(&topic).is_none() {
            tracing::warn!(%topic, "a delayed message is dropped: its topic was deleted");
            return;
        }
        let arrival = Arrival {
            tag_code: tag_code(message.property(property_names::TAGS)),
            properties: Properties::from(message.properties.as_str()),
            topic: Text::from(topic),
            queue_id,
            flag: message.flag,
            sys_flag: message.sys_flag,
            born_timestamp: message.born_timestamp,
            born_host: message.born_host,
            reconsume_times: message.reconsume_times,
            body: message.body,
            delay_level: 0,
        };
        if let Err(refusal) = self.take_in(arrival) {
            tracing::error!(remark = %refusal.remark, "a delayed message is dropped");
        }
    }
}

/// Where a delayed message belongs.
fn real_place(message: &StoredMessage) -> Option<(String, i32)> {
    let topic = message.property(property_names::REAL_TOPIC)?;
    let queue_id = message.property(property_names::REAL_QUEUE_ID)?;
    Some((topic.to_owned(), queue_id.parse().ok()?))
}
