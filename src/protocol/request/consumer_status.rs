//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223) and GET_CONSUMER_STATUS_FROM_CLIENT (221): a tool has a broker ask the members of a
//! group for the offsets that they hold.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::java_json;
use crate::protocol::message::MessageQueue;
use crate::protocol::request::Request;

header! {
    /// Which members a broker should ask.
    pub struct InvokeConsumerStatus<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The consumer group.
        group: Cow<'a, str> = "group",
        /// The client id of the one member to ask; all of them when it is empty or not given.
        client_id: Option<Cow<'a, str>> = "clientAddr",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for InvokeConsumerStatus<'a> {
    const CODE: RequestCode = RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS;
}

header! {
    /// What a member is asked for.
    pub struct GetConsumerStatus<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The consumer group.
        group: Cow<'a, str> = "group",
    }
}

impl<'a> Request<'a> for GetConsumerStatus<'a> {
    const CODE: RequestCode = RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT;
}

/// The body of both answers: the first table is a member's, the second a broker's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerStatusBody {
    /// The next offset to consume, by queue.
    #[serde(with = "java_json::object_keys")]
    pub message_queue_table: BTreeMap<MessageQueue, i64>,
    /// What each member said, by its client id.
    pub consumer_table: BTreeMap<String, MemberOffsets>,
}

/// The offsets that one member holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberOffsets(
    /// The next offset to consume, by queue.
    #[serde(with = "java_json::object_keys")]
    pub BTreeMap<MessageQueue, i64>,
);
