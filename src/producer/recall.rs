//! Taking a message back that waits for its time.

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::producer::retry::Budget;
use crate::producer::{DefaultProducer, Shared, validate};
use crate::protocol::message::RecallHandle;
use crate::protocol::request::recall_message::RecallMessage;

const OPERATION: &str = "recall a message";

/// Topics whose messages brokers do not take back.
const NOT_HERE: [&str; 2] = ["%RETRY%", "%DLQ%"];

impl DefaultProducer {
    /// Takes a [delayed](crate::MessageBuilder::delay) message back before it is due, by the
    /// [handle](crate::SendResult::recall_handle) that its broker gave for it.
    ///
    /// There is one attempt, within the send timeout; a recall that failed can be tried again. When this returns, the broker has
    /// noted that the message is not to be delivered. Whether there was such a message, brokers do not tell. Nothing but
    /// [`delay`](crate::MessageBuilder::delay) and [`deliver_at`](crate::MessageBuilder::deliver_at) can be taken back, and only
    /// from brokers from 5.3.2 on that were told to do it (`recallMessageEnable`).
    ///
    /// ```no_run
    /// # async fn example(producer: rocketmq_sdk::DefaultProducer) -> rocketmq_sdk::Result<()> {
    /// # use std::time::Duration;
    /// # use rocketmq_sdk::Message;
    /// let reminder = Message::builder("reminders").delay(Duration::from_secs(3600)).body("pay order 1").build();
    /// let result = producer.send(reminder).await?;
    /// if let Some(handle) = result.recall_handle() {
    ///     producer.recall(handle).await?; // it was paid
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput): this is no handle, or one of a retry topic or of dead letters.
    /// [`Broker`](ErrorKind::Broker): `NO_PERMISSION` when the broker does not recall messages, `ILLEGAL_OPERATION` when it is too
    /// late, `REQUEST_CODE_NOT_SUPPORTED` when it is too old. [`NoRoute`](ErrorKind::NoRoute): nobody knows the broker.
    /// [`Timeout`](ErrorKind::Timeout), [`Connect`](ErrorKind::Connect), [`ConnectionLost`](ErrorKind::ConnectionLost),
    /// [`NameServer`](ErrorKind::NameServer): it does not answer. [`Closed`](ErrorKind::Closed): the producer has been shut down.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind; the message may be taken back all the same.
    pub async fn recall(&self, handle: &str) -> Result<()> {
        let named = RecallHandle::decode(handle)
            .map_err(|error| Error::invalid(OPERATION, error.to_string()))?;
        let shared = &self.shared;
        let closed = || Error::new(ErrorKind::Closed, OPERATION);
        let outcome = match shared.enter() {
            Some(_in_flight) => {
                let recalling = shared.recall(handle, &named);
                let outcome = shared.stop.run_until_cancelled(recalling).await;
                outcome.unwrap_or_else(|| Err(closed()))
            }
            None => Err(closed()),
        };
        outcome.map_err(|error| {
            error
                .topic_of(&named.topic)
                .target(format!("message {}", named.message_id))
        })
    }
}

impl Shared {
    async fn recall(&self, handle: &str, named: &RecallHandle) -> Result<()> {
        let RecallHandle {
            topic, broker_name, ..
        } = named;
        let topic = &*self.client.namespace().unwrap(topic);
        validate::topic(OPERATION, topic)?;
        if NOT_HERE.iter().any(|prefix| topic.starts_with(prefix)) {
            let detail = format!("messages of {topic} cannot be taken back");
            return Err(Error::invalid(OPERATION, detail));
        }
        let deadline = Budget::new(Instant::now(), self.settings.send_timeout, 0).deadline();
        let addr = self
            .master(OPERATION, &topic.into(), broker_name, deadline)
            .await?;
        let header = RecallMessage {
            producer_group: Some((&*self.settings.group).into()),
            topic: topic.into(),
            recall_handle: handle.into(),
            broker_name: Some(broker_name.into()),
        };
        self.client.rpc().recall(&addr, &header, deadline).await
    }
}
