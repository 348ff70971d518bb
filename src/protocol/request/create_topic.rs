//! UPDATE_AND_CREATE_TOPIC (17): create or change a topic on one broker.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// The topic as it shall be.
    pub struct CreateTopic<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// A topic; brokers want the field and do not use it.
        default_topic: Cow<'a, str> = "defaultTopic",
        /// How many queues can be read.
        read_queue_nums: i32 = "readQueueNums",
        /// How many queues can be written.
        write_queue_nums: i32 = "writeQueueNums",
        /// See [`Permission`](crate::protocol::request::route::Permission).
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Cow<'a, str> = "topicFilterType",
        /// The topic's system flag.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether the topic keeps a fixed order of queues.
        order: bool = "order",
        /// Changes of attributes: `+name=value,-name` (5.x).
        attributes: Option<Cow<'a, str>> = "attributes",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for CreateTopic<'a> {
    const CODE: RequestCode = RequestCode::UPDATE_AND_CREATE_TOPIC;
}
