//! CHECK_TRANSACTION_STATE (39): a broker asks a producer what becomes of a half message. Oneway: the answer is an
//! [`EndTransaction`](super::end_transaction::EndTransaction) by the producer. The body is the message, under its real topic and queue.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which half message.
    pub struct CheckTransactionState<'a> {
        /// The topic of half messages (5.x).
        topic: Option<Cow<'a, str>> = "topic",
        /// The half message's offset in the queue of half messages.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// The half message's place in the commit log.
        commit_log_offset: i64 = "commitLogOffset",
        /// The message's unique id.
        msg_id: Option<Cow<'a, str>> = "msgId",
        /// The transaction's id, which is the same.
        transaction_id: Option<Cow<'a, str>> = "transactionId",
        /// The broker's id of the half message.
        offset_msg_id: Option<Cow<'a, str>> = "offsetMsgId",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for CheckTransactionState<'a> {
    const CODE: RequestCode = RequestCode::CHECK_TRANSACTION_STATE;
}
