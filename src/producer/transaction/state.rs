//! What an application says of a transaction, and what it is given.

use std::error::Error as StdError;

use serde::Serialize;

use crate::error::Error;
use crate::message::Message;
use crate::producer::result::SendResult;

/// What became of a local transaction. In JSON it has Java's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum TransactionState {
    /// It took effect: the message is delivered.
    #[serde(rename = "COMMIT_MESSAGE")]
    Commit,
    /// It did not, and never will: the message is dropped.
    #[serde(rename = "ROLLBACK_MESSAGE")]
    Rollback,
    /// Nobody knows yet: the broker asks later, every 30 s and 15 times unless it was told otherwise; then it gives the message up.
    #[serde(rename = "UNKNOW")]
    Unknown,
}

/// How the application's code for a transaction ended: with a state, or with an error.
///
/// Made from a [`TransactionState`], or from a `Result<TransactionState, Box<dyn Error + Send + Sync>>`. An error means that the
/// state is [unknown](TransactionState::Unknown).
#[derive(Debug)]
pub struct TransactionResolution {
    state: TransactionState,
    failure: Option<Box<dyn StdError + Send + Sync>>,
}

impl TransactionResolution {
    /// The state.
    pub const fn state(&self) -> TransactionState {
        self.state
    }

    pub(super) fn into_parts(self) -> (TransactionState, Option<Box<dyn StdError + Send + Sync>>) {
        (self.state, self.failure)
    }
}

impl From<TransactionState> for TransactionResolution {
    fn from(state: TransactionState) -> Self {
        Self {
            state,
            failure: None,
        }
    }
}

/// An error means [`Unknown`](TransactionState::Unknown).
impl From<Result<TransactionState, Box<dyn StdError + Send + Sync>>> for TransactionResolution {
    fn from(result: Result<TransactionState, Box<dyn StdError + Send + Sync>>) -> Self {
        match result {
            Ok(state) => state.into(),
            Err(error) => Self {
                state: TransactionState::Unknown,
                failure: Some(error),
            },
        }
    }
}

/// A message that its broker keeps back until the transaction has ended: what a local transaction is given.
#[derive(Debug, Clone)]
pub struct HalfMessage {
    message: Message,
    result: SendResult,
}

impl HalfMessage {
    pub(super) const fn new(message: Message, result: SendResult) -> Self {
        Self { message, result }
    }

    /// The transaction's id, to keep with what the local transaction does: a [check](crate::TransactionProducerBuilder::check) finds
    /// it as the message's [`msg_id`](crate::MessageExt::msg_id), which it also is in consumers.
    pub fn transaction_id(&self) -> &str {
        self.result.msg_id()
    }

    /// The message, as it was given to the producer.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// Where the broker keeps it.
    pub const fn send_result(&self) -> &SendResult {
        &self.result
    }
}

/// What a send in a transaction brings back. Written as JSON it has Java's names.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionSendResult {
    #[serde(flatten)]
    send_result: SendResult,
    local_transaction_state: TransactionState,
    #[serde(skip)]
    failure: Option<Error>,
    #[serde(skip)]
    end_error: Option<Error>,
}

impl TransactionSendResult {
    pub(super) const fn new(
        send_result: SendResult,
        local_transaction_state: TransactionState,
        failure: Option<Error>,
        end_error: Option<Error>,
    ) -> Self {
        Self {
            send_result,
            local_transaction_state,
            failure,
            end_error,
        }
    }

    /// What became of the local transaction; [`Unknown`](TransactionState::Unknown) also where it [failed](Self::failure);
    /// [`Rollback`](TransactionState::Rollback) where it was not run, since the message was not stored as safely as it should be.
    pub const fn state(&self) -> TransactionState {
        self.local_transaction_state
    }

    /// How and where the half message was stored. Its queue offset counts among half messages.
    pub const fn send_result(&self) -> &SendResult {
        &self.send_result
    }

    /// How the local transaction failed or panicked, if it did: an error of the kind [`Application`](crate::ErrorKind::Application), whose
    /// source is that of the application. The broker will ask what became of it.
    pub const fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Why the broker could not be told the state, if it could not. It will ask, and the message takes that much longer.
    pub const fn end_error(&self) -> Option<&Error> {
        self.end_error.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageQueue;
    use crate::producer::result::SendStatus;

    #[test]
    fn an_error_means_unknown_and_is_kept() {
        let (state, failure) = TransactionResolution::from(TransactionState::Commit).into_parts();
        assert!(state == TransactionState::Commit && failure.is_none());
        let resolution = TransactionResolution::from(Err("no money".into()));
        assert_eq!(resolution.state(), TransactionState::Unknown);
        assert_eq!(resolution.into_parts().1.unwrap().to_string(), "no money");
    }

    #[test]
    fn the_result_is_written_as_java_writes_it() {
        let send_result = SendResult {
            send_status: SendStatus::SEND_OK,
            msg_id: "ID".into(),
            offset_msg_id: "OFFSET".into(),
            message_queue: MessageQueue::new("t", "b", 3),
            queue_offset: 7,
            transaction_id: None,
            recall_handle: None,
        };
        let result = TransactionSendResult::new(send_result, TransactionState::Unknown, None, None);
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"sendStatus":"SEND_OK","msgId":"ID","offsetMsgId":"OFFSET","messageQueue":{"brokerName":"b","queueId":3,"topic":"t"},"queueOffset":7,"localTransactionState":"UNKNOW"}"#
        );
    }
}
