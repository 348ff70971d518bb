//! Where a queue begins and ends: SEARCH_OFFSET_BY_TIMESTAMP (29), GET_MAX_OFFSET (30), GET_MIN_OFFSET (31) and
//! GET_EARLIEST_MSG_STORETIME (32).

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

macro_rules! queue_requests {
    ($($(#[$doc:meta])* $name:ident = $code:ident,)*) => {$(
        header! {
            $(#[$doc])*
            pub struct $name<'a> {
                /// The topic.
                topic: Cow<'a, str> = "topic",
                /// The queue.
                queue_id: i32 = "queueId",
                /// The broker's name (5.x).
                broker_name: Option<Cow<'a, str>> = "bname",
            }
        }

        impl<'a> Request<'a> for $name<'a> {
            const CODE: RequestCode = RequestCode::$code;
        }
    )*};
}

queue_requests! {
    /// Asks for the offset behind the last message.
    GetMaxOffset = GET_MAX_OFFSET,
    /// Asks for the offset of the first message.
    GetMinOffset = GET_MIN_OFFSET,
    /// Asks when the first message was stored.
    GetEarliestStoreTime = GET_EARLIEST_MSG_STORETIME,
}

header! {
    /// Asks for the offset of the message stored at a time.
    pub struct SearchOffset<'a> {
        /// The topic.
        topic: Cow<'a, str> = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The time in milliseconds since 1970.
        timestamp: i64 = "timestamp",
        /// `lower` or `upper`: which message, when the time falls between two (5.x).
        boundary_type: Option<Cow<'a, str>> = "boundaryType",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for SearchOffset<'a> {
    const CODE: RequestCode = RequestCode::SEARCH_OFFSET_BY_TIMESTAMP;
}

header! {
    /// An offset of the queue.
    pub struct QueueOffsetResponse {
        /// The offset.
        offset: i64 = "offset",
    }
}

header! {
    /// A store time of the queue.
    pub struct StoreTimeResponse {
        /// Milliseconds since 1970; -1 when the queue is empty.
        timestamp: i64 = "timestamp",
    }
}
