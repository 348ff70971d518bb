//! RECALL_MESSAGE (370): take a timer message back before it is due. From 5.3.2 on, where the broker's `recallMessageEnable` is set.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which message.
    pub struct RecallMessage<'a> {
        /// The producer group.
        producer_group: Option<Cow<'a, str>> = "producerGroup",
        /// The message's topic.
        topic: Cow<'a, str> = "topic",
        /// What the broker gave when it took the message: see [`RecallHandle`](crate::protocol::message::RecallHandle).
        recall_handle: Cow<'a, str> = "recallHandle",
        /// The broker's name.
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for RecallMessage<'a> {
    const CODE: RequestCode = RequestCode::RECALL_MESSAGE;
}

header! {
    /// Which message was taken back.
    pub struct RecallMessageResponse<'a> {
        /// The unique id of that message.
        msg_id: Cow<'a, str> = "msgId",
        /// The broker's region.
        region: Option<Cow<'a, str>> = "MSG_REGION",
    }
}
