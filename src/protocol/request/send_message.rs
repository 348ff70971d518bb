//! SEND_MESSAGE_V2 (310): store one message.
//!
//! The field names are single letters: the form that clients of every supported version send.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// What to do with the message in the body.
    pub struct SendMessage<'a> {
        /// The producer group.
        producer_group: Cow<'a, str> = "a",
        /// The topic.
        topic: Cow<'a, str> = "b",
        /// The topic whose configuration a topic that does not exist is created from.
        default_topic: Cow<'a, str> = "c",
        /// How many queues such a topic gets.
        default_topic_queue_nums: i32 = "d",
        /// The queue.
        queue_id: i32 = "e",
        /// See [`SysFlag`](crate::protocol::message::SysFlag).
        sys_flag: i32 = "f",
        /// When the message was made, in milliseconds since 1970.
        born_timestamp: i64 = "g",
        /// The user's own flag.
        flag: i32 = "h",
        /// The property string.
        properties: Option<Cow<'a, str>> = "i",
        /// How often the message was consumed in vain.
        reconsume_times: Option<i32> = "j",
        /// Whether the producer works in unit mode.
        unit_mode: Option<bool> = "k",
        /// How often it may be consumed again.
        max_reconsume_times: Option<i32> = "l",
        /// Whether the body is a batch.
        batch: Option<bool> = "m",
        /// The broker's name.
        broker_name: Option<Cow<'a, str>> = "n",
    }
}

impl<'a> Request<'a> for SendMessage<'a> {
    const CODE: RequestCode = RequestCode::SEND_MESSAGE_V2;
}

header! {
    /// Where the message was stored.
    pub struct SendMessageResponse<'a> {
        /// The broker's id of the message; for a batch, one for each message, joined by commas.
        msg_id: Cow<'a, str> = "msgId",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The message's offset in the queue.
        queue_offset: i64 = "queueOffset",
        /// The message's unique id, or the transaction's id.
        transaction_id: Option<Cow<'a, str>> = "transactionId",
        /// A unique id for the batch.
        batch_uniq_id: Option<Cow<'a, str>> = "batchUniqId",
        /// With what a timer message can be recalled.
        recall_handle: Option<Cow<'a, str>> = "recallHandle",
        /// The broker's region.
        region: Option<Cow<'a, str>> = "MSG_REGION",
        /// Whether the broker wants message trace.
        trace_on: Option<bool> = "TRACE_ON",
    }
}
