//! What a send brings back.

use serde::Serialize;

use crate::message::MessageQueue;
use crate::protocol::code::ResponseCode;

/// How safely a message is stored. Its names are Java's, in JSON too.
///
/// In every case the broker has the message and delivers it. Only [`SEND_OK`](Self::SEND_OK) says that it is as safe as the
/// broker's settings ask for; the others come only from brokers that flush or copy before they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
#[expect(non_camel_case_types, reason = "the names of the protocol")]
pub enum SendStatus {
    /// Stored, flushed and copied as the broker's settings ask for.
    SEND_OK,
    /// Stored, but the flush to disk did not end in time.
    FLUSH_DISK_TIMEOUT,
    /// Stored, but the copy to a slave did not end in time.
    FLUSH_SLAVE_TIMEOUT,
    /// Stored, but no slave is there to copy it.
    SLAVE_NOT_AVAILABLE,
}

impl SendStatus {
    /// The status that an answer's code stands for; `None` when the message was not stored.
    pub(super) const fn from_code(code: ResponseCode) -> Option<Self> {
        match code {
            ResponseCode::SUCCESS => Some(Self::SEND_OK),
            ResponseCode::FLUSH_DISK_TIMEOUT => Some(Self::FLUSH_DISK_TIMEOUT),
            ResponseCode::FLUSH_SLAVE_TIMEOUT => Some(Self::FLUSH_SLAVE_TIMEOUT),
            ResponseCode::SLAVE_NOT_AVAILABLE => Some(Self::SLAVE_NOT_AVAILABLE),
            _ => None,
        }
    }
}

/// What becomes of a message that is stored less safely than the broker's settings ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenNotOk {
    Return,
    TryAnotherBroker,
}

impl WhenNotOk {
    /// Whether a send is over with an answer of this code, and its message stored.
    pub(super) const fn settles(self, code: ResponseCode) -> bool {
        match (SendStatus::from_code(code), self) {
            (Some(SendStatus::SEND_OK), _) | (Some(_), Self::Return) => true,
            (Some(_), Self::TryAnotherBroker) | (None, _) => false,
        }
    }
}

/// Where and how a message was stored. Written as JSON it has Java's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SendResult {
    pub(super) send_status: SendStatus,
    pub(super) msg_id: Box<str>,
    pub(super) offset_msg_id: Box<str>,
    pub(super) message_queue: MessageQueue,
    pub(super) queue_offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transaction_id: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recall_handle: Option<Box<str>>,
}

impl SendResult {
    /// How safely it is stored.
    pub const fn status(&self) -> SendStatus {
        self.send_status
    }

    /// The id that this client gave to the message. All attempts of one send have the same.
    pub fn msg_id(&self) -> &str {
        &self.msg_id
    }

    /// The id that the broker gave to it: where it is stored.
    pub fn offset_msg_id(&self) -> &str {
        &self.offset_msg_id
    }

    /// The queue that it is in.
    pub const fn queue(&self) -> &MessageQueue {
        &self.message_queue
    }

    /// Its position in the queue, counted in messages.
    pub const fn queue_offset(&self) -> i64 {
        self.queue_offset
    }

    /// What the broker calls the transaction; for an ordinary message the same as [`msg_id`](Self::msg_id).
    pub fn transaction_id(&self) -> Option<&str> {
        self.transaction_id.as_deref()
    }

    /// With what a message that waits for its time can be [recalled](crate::DefaultProducer::recall): brokers from 5.3.2 on give
    /// one for every [delayed](crate::MessageBuilder::delay) message, but not for delay levels.
    pub fn recall_handle(&self) -> Option<&str> {
        self.recall_handle.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_codes_are_successes() {
        let stored: Vec<_> = (-10..3000)
            .filter_map(|code| SendStatus::from_code(ResponseCode(code)))
            .collect();
        assert_eq!(
            serde_json::to_string(&stored).unwrap(),
            r#"["SEND_OK","FLUSH_DISK_TIMEOUT","SLAVE_NOT_AVAILABLE","FLUSH_SLAVE_TIMEOUT"]"#
        );
    }

    #[test]
    fn it_is_written_as_java_writes_it() {
        let mut result = SendResult {
            send_status: SendStatus::SEND_OK,
            msg_id: "ID".into(),
            offset_msg_id: "OFFSET".into(),
            message_queue: MessageQueue::new("t", "broker-a", 3),
            queue_offset: 7,
            transaction_id: Some("ID".into()),
            recall_handle: None,
        };
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"sendStatus":"SEND_OK","msgId":"ID","offsetMsgId":"OFFSET","messageQueue":{"brokerName":"broker-a","queueId":3,"topic":"t"},"queueOffset":7,"transactionId":"ID"}"#
        );
        result.transaction_id = None;
        assert!(
            !serde_json::to_string(&result)
                .unwrap()
                .contains("transactionId")
        );
    }
}
