//! GET_CONSUME_STATS (208): how far a group has come on one broker.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::java_json;
use crate::protocol::message::MessageQueue;
use crate::protocol::request::Request;

header! {
    /// Which group, and which of its topics.
    pub struct GetConsumeStats<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The topic; all that the group has offsets of when it is not given.
        topic: Option<Cow<'a, str>> = "topic",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for GetConsumeStats<'a> {
    const CODE: RequestCode = RequestCode::GET_CONSUME_STATS;
}

/// The answer's body, in the JSON that Java writes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsBody {
    /// Where the group stands in each queue.
    #[serde(with = "java_json::object_keys")]
    pub offset_table: BTreeMap<MessageQueue, GroupOffset>,
    /// Messages per second that the group pulls.
    pub consume_tps: f64,
}

/// Where a group stands in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupOffset {
    /// The offset behind the queue's last message.
    pub broker_offset: i64,
    /// The committed offset; 0 when there is none.
    pub consumer_offset: i64,
    /// The offset behind the last message that was pulled.
    pub pull_offset: i64,
    /// When the last message before the committed offset was stored, in milliseconds since 1970; 0 when that is not known.
    pub last_timestamp: i64,
}
