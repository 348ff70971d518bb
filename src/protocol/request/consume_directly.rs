//! CONSUME_MESSAGE_DIRECTLY (309): a tool has a broker give a member of a group a message, and hears how it was consumed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which message, and who consumes it. A broker that hands the request on puts the stored message into the body.
    pub struct ConsumeDirectly<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The member's client id.
        client_id: Cow<'a, str> = "clientId",
        /// The id that the broker gave to the message.
        msg_id: Cow<'a, str> = "msgId",
        /// The name of the broker that hands it on.
        broker_name: Option<Cow<'a, str>> = "brokerName",
        /// The message's topic (5.x).
        topic: Option<Cow<'a, str>> = "topic",
        /// What is set for the topic (5.x).
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// What is set for the group (5.x).
        group_sys_flag: Option<i32> = "groupSysFlag",
    }
}

impl<'a> Request<'a> for ConsumeDirectly<'a> {
    const CODE: RequestCode = RequestCode::CONSUME_MESSAGE_DIRECTLY;
}

/// The answer's body, in the JSON that Java writes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumedDirectlyBody {
    /// Whether the listener is an orderly one.
    pub order: bool,
    /// Whether the listener's success is enough for the offset to move.
    pub auto_commit: bool,
    /// What the listener said: one of those in [`said`].
    pub consume_result: String,
    /// More of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// How long it took, in milliseconds. The name is spelled like that.
    pub spent_time_mills: i64,
}

/// What listeners say.
pub mod said {
    /// The message is consumed.
    pub const SUCCESS: &str = "CR_SUCCESS";
    /// It is wanted later.
    pub const LATER: &str = "CR_LATER";
    /// An orderly listener takes back what it did.
    pub const ROLLBACK: &str = "CR_ROLLBACK";
    /// An orderly listener has done what it wanted.
    pub const COMMIT: &str = "CR_COMMIT";
    /// The listener has ended without saying anything.
    pub const EXCEPTION: &str = "CR_THROW_EXCEPTION";
    /// The listener said nothing.
    pub const NULL: &str = "CR_RETURN_NULL";
}
