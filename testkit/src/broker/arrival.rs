//! A message on its way into the store: what every way in has in common - sent, sent back, delayed, committed.

use std::net::SocketAddr;

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::stored::body_crc;
use rocketmq_sdk::protocol::message::{
    Properties, StoredMessage, SysFlag, Text, properties, property_names,
};

use crate::broker::Broker;
use crate::broker::filter::tag_code;
use crate::broker::store::{Appended, QueueKey};
use crate::net::call::Refusal;

/// A message that was taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakenIn {
    pub(crate) appended: Appended,
    /// When the message is due, where it waits for a time.
    pub(crate) timer_out: Option<i64>,
}

impl From<Appended> for TakenIn {
    fn from(appended: Appended) -> Self {
        Self {
            appended,
            timer_out: None,
        }
    }
}

/// A message that is to be stored.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) topic: Text,
    pub(crate) queue_id: i32,
    pub(crate) flag: i32,
    pub(crate) sys_flag: SysFlag,
    pub(crate) born_timestamp: i64,
    pub(crate) born_host: SocketAddr,
    pub(crate) reconsume_times: i32,
    pub(crate) body: Bytes,
    pub(crate) properties: Properties,
    pub(crate) tag_code: i32,
    /// The level by which it is delayed; 0 for none.
    pub(crate) delay_level: i32,
    /// Whether it may say at which time it is to be delivered.
    pub(crate) timer: bool,
    /// Where its half message is in the log; 0 for none.
    pub(crate) prepared_transaction_offset: i64,
}

impl Arrival {
    /// A stored message that is to be stored again, with these properties: in the same place, and not delayed.
    pub(crate) fn again(message: &StoredMessage, properties: Properties) -> Self {
        Self {
            topic: message.topic.clone(),
            queue_id: message.queue_id,
            flag: message.flag,
            sys_flag: message.sys_flag,
            born_timestamp: message.born_timestamp,
            born_host: message.born_host,
            reconsume_times: message.reconsume_times,
            body: message.body.clone(),
            tag_code: tag_code(properties.get(property_names::TAGS)),
            properties,
            delay_level: 0,
            timer: false,
            prepared_transaction_offset: 0,
        }
    }

    /// Sends it to a topic of the broker's own; where it belongs goes along.
    pub(crate) fn park(&mut self, topic: &'static str, queue_id: i32) {
        let properties = &mut self.properties;
        properties.remove(property_names::REAL_TOPIC);
        properties.remove(property_names::REAL_QUEUE_ID);
        properties.push(property_names::REAL_TOPIC, &self.topic);
        properties.push(property_names::REAL_QUEUE_ID, &self.queue_id.to_string());
        self.topic = Text::from_static(topic);
        self.queue_id = queue_id;
    }
}

/// Where a parked message belongs.
pub(crate) fn real_place(message: &StoredMessage) -> Option<(Text, i32)> {
    let topic = message.property(property_names::REAL_TOPIC)?;
    let queue_id = message.property(property_names::REAL_QUEUE_ID)?;
    Some((Text::from(topic.to_owned()), queue_id.parse().ok()?))
}

impl Broker {
    /// Stores a message, or keeps it until its delay is over.
    pub(super) fn take_in(&mut self, mut arrival: Arrival) -> Result<TakenIn, Refusal> {
        self.check_size(&arrival)?;
        if arrival.timer
            && let Some(taken) = self.take_in_timed(&mut arrival)?
        {
            return Ok(taken);
        }
        if arrival.delay_level > 0 {
            return self.take_in_delayed(arrival).map(TakenIn::from);
        }
        let queue = self.store.queue(&arrival.topic, arrival.queue_id);
        let appended = self.append(queue, &mut arrival)?;
        self.wake_pulls(queue, arrival.tag_code);
        Ok(appended.into())
    }

    /// Whether a message has a body, and not too much of anything.
    pub(super) fn check_size(&self, arrival: &Arrival) -> Result<(), Refusal> {
        let size = arrival.body.len();
        if size == 0
            || size > self.config.max_message
            || arrival.properties.len() > properties::MAX_LEN
        {
            return Err(self.illegal());
        }
        Ok(())
    }

    /// Reads a message that was parked, if the store still has it. One that it has no longer is lost, as with Apache RocketMQ.
    pub(super) fn parked(&self, queue: QueueKey, offset: i64) -> Option<StoredMessage> {
        let stored = self.store.read(queue, offset).next()?;
        StoredMessage::decode(&mut stored.bytes.clone()).ok()
    }

    /// Puts a parked message where it belongs, with these properties.
    pub(super) fn deliver(&mut self, message: &StoredMessage, properties: Properties) {
        let Some((topic, queue_id)) = real_place(message) else {
            return;
        };
        if self.topics.get(&topic).is_none() {
            tracing::warn!(%topic, "a delayed message is dropped: its topic was deleted");
            return;
        }
        let arrival = Arrival {
            topic,
            queue_id,
            ..Arrival::again(message, properties)
        };
        if let Err(refusal) = self.take_in(arrival) {
            tracing::error!(remark = %refusal.remark, "a delayed message is dropped");
        }
    }

    /// Stores a message in a queue.
    pub(super) fn append(
        &mut self,
        queue: QueueKey,
        arrival: &mut Arrival,
    ) -> Result<Appended, Refusal> {
        self.check_disk()?;
        let mut message = StoredMessage {
            body_crc: body_crc(&arrival.body),
            queue_id: arrival.queue_id,
            flag: arrival.flag,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag: arrival.sys_flag,
            born_timestamp: arrival.born_timestamp,
            born_host: arrival.born_host,
            store_timestamp: self.now,
            store_host: self.addr,
            reconsume_times: arrival.reconsume_times,
            prepared_transaction_offset: arrival.prepared_transaction_offset,
            body: arrival.body.clone(),
            topic: arrival.topic.clone(),
            properties: Text::from(std::mem::take(&mut arrival.properties).into_string()),
        };
        self.store
            .append(queue, &mut message, arrival.tag_code)
            .map_err(|_| self.illegal())
    }

    pub(super) fn illegal(&self) -> Refusal {
        let limit = self.config.max_message;
        Refusal::new(
            ResponseCode::MESSAGE_ILLEGAL,
            format!(
                "the message is illegal, maybe msg body or properties length not matched. msg body length limit {limit}B, msg properties length limit 32KB."
            ),
        )
    }
}
