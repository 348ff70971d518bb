//! GET_TOPIC_STATS_INFO (202): the offsets of a topic's queues on one broker.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::java_json;
use crate::protocol::message::MessageQueue;
use crate::protocol::request::Request;

header! {
    /// Which topic.
    pub struct GetTopicStats<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetTopicStats<'a> {
    const CODE: RequestCode = RequestCode::GET_TOPIC_STATS_INFO;
}

/// The answer's body, in the JSON that Java writes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatsBody {
    /// Where each queue stands.
    #[serde(with = "java_json::object_keys")]
    pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
    /// Messages per second that are sent to the topic.
    pub topic_put_tps: f64,
}

/// Where a queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// The offset of the first message.
    pub min_offset: i64,
    /// The offset behind the last message.
    pub max_offset: i64,
    /// When the last message was stored, in milliseconds since 1970; 0 when there is none.
    pub last_update_timestamp: i64,
}
