//! SEND_REPLY_MESSAGE_V2 (325) and SEND_REPLY_MESSAGE (324): a reply, which the broker hands to the client that asked.
//!
//! The message's properties say which client that is, and to which of its requests this is the reply. The answer is a
//! [`SendMessageResponse`](super::send_message::SendMessageResponse).

use crate::protocol::code::RequestCode;
use crate::protocol::error::DecodeError;
use crate::protocol::fields::{FieldWriter, Fields, Header};
use crate::protocol::request::Request;
use crate::protocol::request::send_message::SendMessage;
use crate::protocol::request::send_message_v1::SendMessageV1;

/// The header of a message, for a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReply<'a>(pub SendMessage<'a>);

impl<'a> Header<'a> for SendReply<'a> {
    fn encode(&self, out: &mut FieldWriter<'_>) {
        self.0.encode(out);
    }

    fn decode(fields: &'a Fields) -> Result<Self, DecodeError> {
        SendMessage::decode(fields).map(Self)
    }
}

impl<'a> Request<'a> for SendReply<'a> {
    const CODE: RequestCode = RequestCode::SEND_REPLY_MESSAGE_V2;
}

/// The same with long field names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReplyV1<'a>(pub SendMessageV1<'a>);

impl<'a> Header<'a> for SendReplyV1<'a> {
    fn encode(&self, out: &mut FieldWriter<'_>) {
        self.0.encode(out);
    }

    fn decode(fields: &'a Fields) -> Result<Self, DecodeError> {
        SendMessageV1::decode(fields).map(Self)
    }
}

impl<'a> Request<'a> for SendReplyV1<'a> {
    const CODE: RequestCode = RequestCode::SEND_REPLY_MESSAGE;
}
