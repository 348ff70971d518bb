//! SEND_MESSAGE (10): store one message; the form of SEND_MESSAGE_V2 with long field names, which some clients still send.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;
use crate::protocol::request::send_message::SendMessage;

header! {
    /// The same as [`SendMessage`].
    pub struct SendMessageV1<'a> {
        /// The producer group.
        producer_group: Cow<'a, str> = "producerGroup",
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The topic whose configuration a topic that does not exist is created from.
        default_topic: Cow<'a, str> = "defaultTopic",
        /// How many queues such a topic gets.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// The queue.
        queue_id: i32 = "queueId",
        /// See [`SysFlag`](crate::protocol::message::SysFlag).
        sys_flag: i32 = "sysFlag",
        /// When the message was made, in milliseconds since 1970.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's own flag.
        flag: i32 = "flag",
        /// The property string.
        properties: Option<Cow<'a, str>> = "properties",
        /// How often the message was consumed in vain.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Whether the producer works in unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// How often it may be consumed again.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        /// Whether the body is a batch.
        batch: Option<bool> = "batch",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for SendMessageV1<'a> {
    const CODE: RequestCode = RequestCode::SEND_MESSAGE;
}

impl<'a> From<SendMessageV1<'a>> for SendMessage<'a> {
    fn from(long: SendMessageV1<'a>) -> Self {
        Self {
            producer_group: long.producer_group,
            topic: long.topic,
            default_topic: long.default_topic,
            default_topic_queue_nums: long.default_topic_queue_nums,
            queue_id: long.queue_id,
            sys_flag: long.sys_flag,
            born_timestamp: long.born_timestamp,
            flag: long.flag,
            properties: long.properties,
            reconsume_times: long.reconsume_times,
            unit_mode: long.unit_mode,
            max_reconsume_times: long.max_reconsume_times,
            batch: long.batch,
            broker_name: long.broker_name,
        }
    }
}
