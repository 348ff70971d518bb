//! PUSH_REPLY_MESSAGE_TO_CLIENT (326): a broker hands a reply to the client that asked. The body is the message's, as it was sent.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// The reply, but for its body.
    pub struct PushReply<'a> {
        /// The producer group of who replies.
        producer_group: Cow<'a, str> = "producerGroup",
        /// The topic of replies.
        topic: Cow<'a, str> = "topic",
        /// The topic whose configuration a topic that does not exist is created from.
        default_topic: Cow<'a, str> = "defaultTopic",
        /// How many queues such a topic gets.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// The queue.
        queue_id: i32 = "queueId",
        /// See [`SysFlag`](crate::protocol::message::SysFlag).
        sys_flag: i32 = "sysFlag",
        /// When the reply was made, in milliseconds since 1970.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's own flag.
        flag: i32 = "flag",
        /// The property string.
        properties: Option<Cow<'a, str>> = "properties",
        /// How often the message was consumed in vain.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Whether the producer works in unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// `host:port` of who replies.
        born_host: Cow<'a, str> = "bornHost",
        /// `host:port` of the broker.
        store_host: Cow<'a, str> = "storeHost",
        /// When the broker had the reply, in milliseconds since 1970.
        store_timestamp: i64 = "storeTimestamp",
    }
}

impl<'a> Request<'a> for PushReply<'a> {
    const CODE: RequestCode = RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT;
}
