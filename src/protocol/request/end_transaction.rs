//! END_TRANSACTION (37): commit or roll back a half message. Oneway; its remark says what went wrong in the application.

use std::borrow::Cow;

use crate::protocol::code::RequestCode;
use crate::protocol::fields::header;
use crate::protocol::request::Request;

header! {
    /// Which half message, and what becomes of it.
    pub struct EndTransaction<'a> {
        /// The message's topic; where a broker asked, the topic that it named.
        topic: Option<Cow<'a, str>> = "topic",
        /// The producer group that the half message names.
        producer_group: Cow<'a, str> = "producerGroup",
        /// The half message's offset in the queue of half messages.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// The half message's place in the commit log.
        commit_log_offset: i64 = "commitLogOffset",
        /// See [`TransactionType::bits`](crate::protocol::message::TransactionType::bits): commit, rollback, or none for unknown.
        commit_or_rollback: i32 = "commitOrRollback",
        /// Whether the broker had asked.
        from_transaction_check: Option<bool> = "fromTransactionCheck",
        /// The message's unique id.
        msg_id: Cow<'a, str> = "msgId",
        /// The transaction's id, which is the same.
        transaction_id: Option<Cow<'a, str>> = "transactionId",
        /// The broker's name (5.x).
        broker_name: Option<Cow<'a, str>> = "bname",
    }
}

impl<'a> Request<'a> for EndTransaction<'a> {
    const CODE: RequestCode = RequestCode::END_TRANSACTION;
}
