//! A message on its way into the store: what every way in has in common - sent, sent back, delayed.

use std::net::SocketAddr;

use bytes::Bytes;
use rocketmq_sdk::protocol::code::ResponseCode;
use rocketmq_sdk::protocol::message::stored::body_crc;
use rocketmq_sdk::protocol::message::{Properties, StoredMessage, SysFlag, Text, properties};

use crate::broker::Broker;
use crate::broker::store::{Appended, QueueKey};
use crate::net::call::Refusal;

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
}

impl Broker {
    /// Stores a message, or keeps it until its delay is over.
    pub(super) fn take_in(&mut self, mut arrival: Arrival) -> Result<Appended, Refusal> {
        let size = arrival.body.len();
        if size == 0
            || size > self.config.max_message
            || arrival.properties.len() > properties::MAX_LEN
        {
            return Err(self.illegal());
        }
        if arrival.delay_level > 0 {
            return self.take_in_delayed(arrival);
        }
        let queue = self.store.queue(&arrival.topic, arrival.queue_id);
        let appended = self.append(queue, &mut arrival)?;
        self.wake_pulls(queue, arrival.tag_code);
        Ok(appended)
    }

    /// Stores a message in a queue.
    pub(super) fn append(
        &mut self,
        queue: QueueKey,
        arrival: &mut Arrival,
    ) -> Result<Appended, Refusal> {
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
            prepared_transaction_offset: 0,
            body: arrival.body.clone(),
            topic: arrival.topic.clone(),
            properties: Text::from(std::mem::take(&mut arrival.properties).into_string()),
        };
        self.store
            .append(queue, &mut message, arrival.tag_code)
            .map_err(|_| self.illegal())
    }

    fn illegal(&self) -> Refusal {
        let limit = self.config.max_message;
        Refusal::new(
            ResponseCode::MESSAGE_ILLEGAL,
            format!(
                "the message is illegal, maybe msg body or properties length not matched. msg body length limit {limit}B, msg properties length limit 32KB."
            ),
        )
    }
}
