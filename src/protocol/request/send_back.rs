//! CONSUMER_SEND_MSG_BACK (36): a message that was not consumed goes to its group's retry topic, or to the dead letters.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which message, and when to try again.
    pub struct SendBack<'a> {
        /// The message's place in the commit log.
        offset: i64 = "offset",
        /// The consumer group.
        group: Cow<'a, str> = "group",
        /// 0: the broker decides by the number of tries; -1: to the dead letters; else a delay level.
        delay_level: i32 = "delayLevel",
        /// The message's id.
        origin_msg_id: Option<Cow<'a, str>> = "originMsgId",
        /// The topic it was consumed from.
        origin_topic: Option<Cow<'a, str>> = "originTopic",
        /// Whether the consumer works in unit mode.
        unit_mode: Option<bool> = "unitMode",
        /// How often it may be consumed again before it is a dead letter.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for SendBack<'a> {
    const CODE: RequestCode = RequestCode::CONSUMER_SEND_MSG_BACK;
}
