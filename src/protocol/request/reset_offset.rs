//! INVOKE_BROKER_TO_RESET_OFFSET (222) and RESET_CONSUMER_CLIENT_OFFSET (220): a tool has a broker move a group's offsets, and the
//! broker has the members do it. The second is oneway, and its body is an [`OffsetTable`](crate::protocol::message::OffsetTable),
//! as is that of the answer to the first.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Where to move the offsets of a group in a topic.
    pub struct InvokeResetOffset<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The consumer group.
        group: Cow<'a, str> = "group",
        /// To what was stored at this time, in milliseconds since 1970; -1 is the end.
        timestamp: i64 = "timestamp",
        /// Whether offsets may grow by it.
        is_force: bool = "isForce",
        /// The one queue; -1 is all of them (5.x).
        queue_id: Option<i32> = "queueId",
        /// The offset, in place of a time; -1 is none (5.x).
        offset: Option<i64> = "offset",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for InvokeResetOffset<'a> {
    const CODE: RequestCode = RequestCode::INVOKE_BROKER_TO_RESET_OFFSET;
}

header! {
    /// Whose offsets the body holds.
    pub struct ResetOffset<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The consumer group.
        group: Cow<'a, str> = "group",
        /// The time that was asked for.
        timestamp: i64 = "timestamp",
        /// Not used: the offsets stand in the body.
        is_force: bool = "isForce",
        /// Not used either; -1 (5.x).
        queue_id: Option<i32> = "queueId",
    }
}

impl<'a> Request<'a> for ResetOffset<'a> {
    const CODE: RequestCode = RequestCode::RESET_CONSUMER_CLIENT_OFFSET;
}
