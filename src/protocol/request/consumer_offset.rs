//! QUERY_CONSUMER_OFFSET (14) and UPDATE_CONSUMER_OFFSET (15): a group's committed offset of one queue.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Asks for the offset. QUERY_NOT_FOUND means that the group has none.
    pub struct QueryConsumerOffset<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// `false`: answer QUERY_NOT_FOUND also where the first message is still in memory, instead of 0 (5.x).
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for QueryConsumerOffset<'a> {
    const CODE: RequestCode = RequestCode::QUERY_CONSUMER_OFFSET;
}

header! {
    /// The committed offset.
    pub struct QueryConsumerOffsetResponse {
        /// The offset of the next message to consume.
        offset: i64 = "offset",
    }
}

header! {
    /// Commits the offset.
    pub struct UpdateConsumerOffset<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The offset of the next message to consume.
        commit_offset: i64 = "commitOffset",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for UpdateConsumerOffset<'a> {
    const CODE: RequestCode = RequestCode::UPDATE_CONSUMER_OFFSET;
}
