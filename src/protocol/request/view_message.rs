//! VIEW_MESSAGE_BY_ID (33): one message, by its place in the commit log. The body of the answer is the stored message.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which message.
    pub struct ViewMessage<'a> {
        /// The message's place in the commit log.
        offset: i64 = "offset",
        /// The topic (5.x).
        topic: Option<Cow<'a, str>> = "topic",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for ViewMessage<'a> {
    const CODE: RequestCode = RequestCode::VIEW_MESSAGE_BY_ID;
}
