//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): read messages of one queue from an offset on.
//!
//! The body of the answer is stored messages, one behind the other.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// What to read, and how long to wait for it.
    pub struct PullMessage<'a> {
        /// The consumer group.
        consumer_group: Cow<'a, str> = "consumerGroup",
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The first offset to read.
        queue_offset: i64 = "queueOffset",
        /// How many messages at most.
        max_msg_nums: i32 = "maxMsgNums",
        /// See the constants of [`PullSysFlag`].
        sys_flag: i32 = "sysFlag",
        /// The offset to commit along, if the flag says so.
        commit_offset: i64 = "commitOffset",
        /// How long the broker may hold the pull when there is nothing, in milliseconds.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        /// The subscription's expression, if the flag says that it is here.
        subscription: Option<Cow<'a, str>> = "subscription",
        /// The subscription's version.
        sub_version: i64 = "subVersion",
        /// `TAG` or `SQL92`.
        expression_type: Option<Cow<'a, str>> = "expressionType",
        /// How many bytes at most (5.x).
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for PullMessage<'a> {
    const CODE: RequestCode = RequestCode::PULL_MESSAGE;
}

/// The bits of [`PullMessage::sys_flag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullSysFlag;

impl PullSysFlag {
    /// Commit [`PullMessage::commit_offset`] along.
    pub const COMMIT_OFFSET: i32 = 0x1;
    /// Hold the pull when there is nothing.
    pub const SUSPEND: i32 = 0x2;
    /// The subscription's expression is in the header.
    pub const SUBSCRIPTION: i32 = 0x4;
    /// A class filter is used.
    pub const CLASS_FILTER: i32 = 0x8;
    /// The pull comes from a lite-pull consumer.
    pub const LITE: i32 = 0x10;
}

header! {
    /// Where the queue stands.
    pub struct PullMessageResponse {
        /// The broker id to pull from next: 0 the master, 1 a slave.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// The offset to pull from next.
        next_begin_offset: i64 = "nextBeginOffset",
        /// The offset of the queue's first message.
        min_offset: i64 = "minOffset",
        /// The offset behind the queue's last message.
        max_offset: i64 = "maxOffset",
        /// What to add to the offsets of the messages in the body (static topics).
        offset_delta: Option<i64> = "offsetDelta",
    }
}
