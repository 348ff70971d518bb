//! SEND_BATCH_MESSAGE (320): store several messages in one queue.
//!
//! The body is what [`BatchEntry`](crate::protocol::message::BatchEntry) writes, one message after the other. The answer is a
//! [`SendMessageResponse`](super::send_message::SendMessageResponse) whose message id holds one for each message, joined by commas,
//! and whose queue offset is the first message's.

use crate::protocol::code::RequestCode;
use crate::protocol::error::DecodeError;
use crate::protocol::fields::{FieldWriter, Fields, Header};
use crate::protocol::request::Request;
use crate::protocol::request::send_message::SendMessage;

/// The header of a single message, for all of them. It must say that the body is a batch; its properties are the request's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendBatch<'a>(pub SendMessage<'a>);

impl<'a> Header<'a> for SendBatch<'a> {
    fn encode(&self, out: &mut FieldWriter<'_>) {
        self.0.encode(out);
    }

    fn decode(fields: &'a Fields) -> Result<Self, DecodeError> {
        SendMessage::decode(fields).map(Self)
    }
}

impl<'a> Request<'a> for SendBatch<'a> {
    const CODE: RequestCode = RequestCode::SEND_BATCH_MESSAGE;
}
