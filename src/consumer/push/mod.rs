//! The push consumer: pulls by itself and gives messages to a listener.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::client::{Client, Member};
use crate::consumer::group::{Group, Leave};
use crate::consumer::profile::Profile;
use crate::consumer::report::ConsumerReport;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageQueue;

mod builder;
mod concurrent;
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
    handle: Arc<Handle>,
}

struct Handle {
    client: Client,
    owns_client: bool,
    profile: Arc<Profile>,
    /// Weak, because a listener may hold the consumer.
    group: Weak<Group>,
    shutdown_timeout: Duration,
    leave: watch::Sender<Option<Leave>>,
    report: watch::Receiver<Option<ConsumerReport>>,
}

impl PushConsumer {
    /// A builder for a member of this group.
    pub fn builder(group: impl Into<String>) -> PushConsumerBuilder {
        PushConsumerBuilder::new(group.into())
    }

    /// The group.
    pub fn group(&self) -> &str {
        self.handle.profile.group()
    }

    /// The member's identity at brokers.
    pub fn client_id(&self) -> &str {
        self.handle.client.client_id()
    }

    /// The queues that this member has now, the group's retry topic among them. They change when members come and go.
    pub fn assigned_queues(&self) -> Vec<MessageQueue> {
        let owned = self
            .handle
            .group
            .upgrade()
            .map(|group| group.owned())
            .unwrap_or_default();
        owned.iter().map(|queue| queue.queue().clone()).collect()
    }

    /// Subscribes to a topic, or changes what is subscribed of it: see [`subscribe`](PushConsumerBuilder::subscribe) of the builder.
    /// Brokers hear of it at once. All members of a group have to subscribe to the same.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput): the topic or the expression breaks a rule. [`Closed`](ErrorKind::Closed): the
    /// consumer or its client was shut down. Nothing is changed then.
    pub fn subscribe(&self, topic: impl AsRef<str>, expression: impl AsRef<str>) -> Result<()> {
        if self.handle.leave.borrow().is_some() || self.handle.client.is_closed() {
            let error = Error::new(ErrorKind::Closed, "subscribe").topic_of(topic.as_ref());
            return Err(error.target(format!("group {}", self.group())));
        }
        self.handle
            .client
            .check_topic("subscribe", topic.as_ref())?;
        let now = self.handle.client.now_millis();
        self.handle
            .profile
            .subscribe(topic.as_ref(), expression.as_ref(), now)
            .map(drop)
    }

    /// Ends the subscription of a topic: its queues are given up, and messages that listeners have can still be finished. Does nothing
    /// when it is not subscribed.
    pub fn unsubscribe(&self, topic: impl AsRef<str>) {
        self.handle.profile.unsubscribe(topic.as_ref());
    }

    /// Ends the consumer: no message is given to a listener any more; those that listeners have may be finished within the
    /// [shutdown timeout](PushConsumerBuilder::shutdown_timeout), and failed ones go back; then the offsets are committed, and the
    /// member leaves its group. What was not finished comes again.
    ///
    /// A second call waits for the first, and has the same report. A listener that calls it waits for itself, until the timeout.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed): the shared client was shut down first, so nothing could be committed.
    ///
    /// # Cancel safety
    /// The end begins with the first poll and goes on when the future is dropped. A client of the consumer's own then ends with
    /// the last clone, or with another call.
    pub async fn shutdown(&self) -> Result<ConsumerReport> {
        let handle = &self.handle;
        let listeners = Instant::now() + handle.shutdown_timeout;
        let brokers = listeners + handle.client.config().request_timeout;
        handle.leave.send_if_modified(|leave| {
            let is_first = leave.is_none();
            leave.get_or_insert(Leave { listeners, brokers });
            is_first
        });
        let mut report = handle.report.clone();
        let reported = report
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|report| report.clone());
        if handle.owns_client {
            handle.client.shutdown().await;
        }
        reported.ok_or_else(|| {
            let error = Error::new(ErrorKind::Closed, "shut a consumer down");
            error
                .target(format!("group {}", self.group()))
                .detail("its client ended first")
        })
    }

    /// Waits until the queues were shared and it is known where they begin, for some time.
    async fn settled(&self) {
        if let Some(group) = self.handle.group.upgrade() {
            let limit = self.handle.client.config().request_timeout;
            // What could not be asked by then is asked again and again.
            let _ = timeout(limit, group.begun()).await;
        }
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
