//! Messages for unit tests.

use bytes::Bytes;

use crate::message::{MessageExt, MessageQueue};
use crate::protocol::message::stored::body_crc;
use crate::protocol::message::{Properties, StoredMessage, SysFlag, Text};

/// A stored message of queue 0, with these properties.
pub(crate) fn stored(topic: &str, offset: i64, properties: &[(&str, &str)]) -> StoredMessage {
    let body = Bytes::from(format!("m{offset}"));
    let mut raw = Properties::new();
    for (name, value) in properties {
        raw.push(name, value);
    }
    StoredMessage {
        body_crc: body_crc(&body),
        queue_id: 0,
        flag: 0,
        queue_offset: offset,
        physical_offset: offset.wrapping_add(1000),
        sys_flag: SysFlag::default(),
        born_timestamp: 1,
        born_host: ([127, 0, 0, 1], 1).into(),
        store_timestamp: 2,
        store_host: ([127, 0, 0, 1], 10911).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: Text::from(topic.to_owned()),
        properties: Text::from(raw.into_string()),
    }
}

/// A message of queue 0 of `broker-a`.
pub(crate) fn message(topic: &str, offset: i64) -> MessageExt {
    MessageExt::new(
        stored(topic, offset, &[]),
        MessageQueue::new(topic, "broker-a", 0),
    )
}
