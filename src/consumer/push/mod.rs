//! The push consumer: pulls by itself and gives messages to a listener.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::consumer::handle::Handle;
use crate::consumer::report::ConsumerReport;
use crate::error::Result;
use crate::message::MessageQueue;

mod builder;
mod concurrent;
mod copy;
mod direct;
mod dispatch;
mod listener;
mod result;
mod retry;

pub use builder::PushConsumerBuilder;
pub use listener::{ConsumeContext, MessageListener};
pub use result::{ConsumeResult, ConsumeStatus};

/// A member of a consumer group that gives messages to a listener as they come.
///
/// At least once: an offset moves past a message only when the listener has consumed it or the broker has confirmed that it comes
/// again later. A message that failed comes again after 10 s, then 30 s, and so on, 16 times, and is a dead letter then.
///
/// Cloning is cheap, and all clones are the same consumer. It ends with [`shutdown`](Self::shutdown). When the last clone is dropped
/// without that, it commits and leaves the group in the background, for a second at most, if the runtime still lives.
///
/// ```no_run
/// use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, PushConsumer};
///
/// # async fn example() -> rocketmq_sdk::Result<()> {
/// let consumer = PushConsumer::builder("group1")
///     .name_server("127.0.0.1:9876")
///     .subscribe("orders", "created || paid")
///     .consume_from(ConsumeFromWhere::FirstOffset)
///     .listener(|messages| async move {
///         for message in &messages {
///             println!("{}", String::from_utf8_lossy(message.body()));
///         }
///         ConsumeStatus::CONSUME_SUCCESS
///     })
///     .start()
///     .await?;
/// // ...
/// consumer.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a consumer that nobody holds leaves its group"]
pub struct PushConsumer {
    pub(super) handle: Arc<Handle>,
    shutdown_timeout: Duration,
}

impl PushConsumer {
    /// A builder for a member of this group.
    pub fn builder(group: impl Into<String>) -> PushConsumerBuilder {
        PushConsumerBuilder::new(group.into())
    }

    fn new(handle: Handle, shutdown_timeout: Duration) -> Self {
        Self {
            handle: Arc::new(handle),
            shutdown_timeout,
        }
    }

    /// The group.
    pub fn group(&self) -> &str {
        self.handle.name()
    }

    /// The member's identity at brokers.
    pub fn client_id(&self) -> &str {
        self.handle.client_id()
    }

    /// The queues that this member has now, the group's retry topic among them. They change when members come and go.
    pub fn assigned_queues(&self) -> Vec<MessageQueue> {
        self.handle.assigned_queues()
    }

    /// Subscribes to a topic, or changes what is subscribed of it: see [`subscribe`](PushConsumerBuilder::subscribe) of the builder.
    /// Brokers hear of it at once. All members of a group have to subscribe to the same.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): the topic or the expression breaks a rule. [`Closed`](crate::ErrorKind::Closed):
    /// the consumer or its client was shut down. Nothing is changed then.
    pub fn subscribe(&self, topic: impl AsRef<str>, expression: impl AsRef<str>) -> Result<()> {
        self.handle.subscribe(topic.as_ref(), expression.as_ref())
    }

    /// Ends the subscription of a topic: its queues are given up, and messages that listeners have can still be finished. Does nothing
    /// when it is not subscribed.
    pub fn unsubscribe(&self, topic: impl AsRef<str>) {
        self.handle.unsubscribe(topic.as_ref());
    }

    /// Gives no more messages to the listener, and pulls none, until [`resume`](Self::resume). Those that listeners have can be
    /// finished; the consumer stays a member of its group and keeps its queues. Does nothing when it is suspended already.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed): the consumer has ended.
    pub fn suspend(&self) -> Result<()> {
        self.handle.group("suspend")?.suspend();
        Ok(())
    }

    /// Goes on after [`suspend`](Self::suspend). Does nothing when it is not suspended.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed): the consumer has ended.
    pub fn resume(&self) -> Result<()> {
        self.handle.group("resume")?.resume();
        Ok(())
    }

    /// Whether it is [suspended](Self::suspend).
    pub fn is_suspended(&self) -> bool {
        let group = self.handle.group("ask");
        group.is_ok_and(|group| group.suspension().is_on())
    }

    /// Ends the consumer: no message is given to a listener any more; those that listeners have may be finished within the
    /// [shutdown timeout](PushConsumerBuilder::shutdown_timeout), and failed ones go back; then the offsets are committed, and the
    /// member leaves its group. What was not finished comes again.
    ///
    /// A second call waits for the first, and has the same report. A listener that calls it waits for itself, until the timeout.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed): the shared client was shut down first, so nothing could be committed.
    ///
    /// # Cancel safety
    /// The end begins with the first poll and goes on when the future is dropped. A client of the consumer's own then ends with
    /// the last clone, or with another call.
    pub async fn shutdown(&self) -> Result<ConsumerReport> {
        self.handle.shutdown(self.shutdown_timeout).await
    }
}

impl fmt::Debug for PushConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushConsumer")
            .field("group", &self.group())
            .field("client", &self.client_id())
            .finish_non_exhaustive()
    }
}
