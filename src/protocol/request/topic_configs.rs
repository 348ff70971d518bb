//! GET_ALL_TOPIC_CONFIG (21) and GET_TOPIC_CONFIG (351): the topics of one broker.
//!
//! The bodies of the answers are [`TopicConfigs`](crate::protocol::request::register_broker::TopicConfigs) and
//! [`TopicConfig`](crate::protocol::request::register_broker::TopicConfig).

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Asks for all topics.
    pub struct GetTopicConfigs;
}

impl<'a> Request<'a> for GetTopicConfigs {
    const CODE: RequestCode = RequestCode::GET_ALL_TOPIC_CONFIG;
}

header! {
    /// Asks for one topic.
    pub struct GetTopicConfig<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetTopicConfig<'a> {
    const CODE: RequestCode = RequestCode::GET_TOPIC_CONFIG;
}
