//! The lite-pull consumer: pulls ahead by itself, and gives messages to whoever polls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::consumer::handle::Handle;
use crate::consumer::report::ConsumerReport;
use crate::error::Result;
use crate::message::{MessageExt, MessageQueue};
use inbox::Inbox;

mod builder;
mod inbox;
mod stream;

pub use builder::LitePullConsumerBuilder;
pub use stream::MessageStream;

/// A member of a consumer group that is asked for messages.
///
/// At least once: nothing is committed before the application says that it is done with it. With
/// [automatic commits](LitePullConsumerBuilder::auto_commit) the next [`poll`](Self::poll) says so, and [`commit`](Self::commit);
/// without them only `commit` does. What was polled and not committed when a consumer ends comes again.
///
/// Messages are pulled ahead, up to the thresholds of the builder; a consumer that is not polled stops pulling. A queue that goes to
/// another member takes its messages with it: what was not handed out yet is not handed out any more, and what was handed out can
/// still be committed for 5 s. Failed messages do not come again by themselves: the application tries again, or sends them anew.
///
/// Cloning is cheap, and all clones are the same consumer. It ends with [`shutdown`](Self::shutdown). When the last clone is dropped
/// without that, it commits and leaves the group in the background, for a second at most, if the runtime still lives.
///
/// ```no_run
/// use std::time::Duration;
/// use rocketmq_sdk::{ConsumeFromWhere, LitePullConsumer};
///
/// # async fn example() -> rocketmq_sdk::Result<()> {
/// let consumer = LitePullConsumer::builder("group2")
///     .name_server("127.0.0.1:9876")
///     .subscribe("orders", "created || paid")
///     .consume_from(ConsumeFromWhere::FirstOffset)
///     .auto_commit(false)
///     .start()
///     .await?;
/// loop {
///     let messages = consumer.poll(Duration::from_secs(5)).await?;
///     if messages.is_empty() {
///         break;
///     }
///     for message in &messages {
///         println!("{}", String::from_utf8_lossy(message.body()));
///     }
///     consumer.commit().await?;
/// }
/// consumer.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a consumer that nobody holds leaves its group"]
pub struct LitePullConsumer {
    handle: Arc<Handle>,
    inbox: Arc<Inbox>,
    settings: PollSettings,
}

/// How messages are handed out.
#[derive(Debug, Clone, Copy)]
struct PollSettings {
    /// How many at a time, at most.
    batch: usize,
    timeout: Duration,
}

impl LitePullConsumer {
    /// A builder for a member of this group.
    pub fn builder(group: impl Into<String>) -> LitePullConsumerBuilder {
        LitePullConsumerBuilder::new(group.into())
    }

    fn new(handle: Handle, inbox: Arc<Inbox>, settings: PollSettings) -> Self {
        Self {
            handle: Arc::new(handle),
            inbox,
            settings,
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

    /// The queues that this member has now. They change when members come and go.
    pub fn assigned_queues(&self) -> Vec<MessageQueue> {
        self.handle.assigned_queues()
    }

    /// Subscribes to a topic, or changes what is subscribed of it: see [`subscribe`](LitePullConsumerBuilder::subscribe) of the builder.
    /// Brokers hear of it at once. All members of a group have to subscribe to the same.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): the topic or the expression breaks a rule. [`Closed`](crate::ErrorKind::Closed):
    /// the consumer or its client was shut down. Nothing is changed then.
    pub fn subscribe(&self, topic: impl AsRef<str>, expression: impl AsRef<str>) -> Result<()> {
        self.handle.subscribe(topic.as_ref(), expression.as_ref())
    }

    /// Ends the subscription of a topic: its queues are given up. Does nothing when it is not subscribed.
    pub fn unsubscribe(&self, topic: impl AsRef<str>) {
        self.handle.unsubscribe(topic.as_ref());
    }

    /// The next messages, as soon as there are any: up to [`pull_batch_size`](LitePullConsumerBuilder::pull_batch_size) of one queue, in
    /// its order. Empty when nothing came within `timeout`; with a timeout of zero it takes what is there.
    ///
    /// With [automatic commits](LitePullConsumerBuilder::auto_commit) it also says, for all clones, that everything which was handed out
    /// before is done with. Tasks that poll side by side turn them off, and [`commit`](Self::commit) when all of them are done.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed): the consumer or its client was shut down. [`Protocol`](crate::ErrorKind::Protocol): a
    /// message cannot be read, and nothing else came within `timeout`. It is not skipped: its queue waits, other queues go on.
    ///
    /// # Cancel safety
    /// Cancel safe. A message is handed out only as the future completes, so dropping it before loses nothing.
    pub async fn poll(&self, timeout: Duration) -> Result<Vec<MessageExt>> {
        self.poll_up_to(self.settings.batch, timeout).await
    }

    /// [`poll`](Self::poll) with the [timeout](LitePullConsumerBuilder::poll_timeout) of the builder: 5 s by default.
    ///
    /// # Errors
    /// Those of [`poll`](Self::poll).
    ///
    /// # Cancel safety
    /// As [`poll`](Self::poll).
    pub async fn poll_default(&self) -> Result<Vec<MessageExt>> {
        self.poll(self.settings.timeout).await
    }

    /// All messages, one after the other: each of them is polled when it is asked for, so dropping the stream loses none. With
    /// [automatic commits](LitePullConsumerBuilder::auto_commit) asking for one says that those before are done with.
    ///
    /// An item is an error when a message cannot be read: see [`poll`](Self::poll). The stream ends when the consumer does. It holds
    /// the consumer as a clone does.
    pub fn stream(&self) -> MessageStream {
        MessageStream::new(self.clone())
    }

    /// Commits everything that was handed out, to all clones, and waits until brokers have confirmed that. What is of a queue that went
    /// to another member more than 5 s ago is not committed; it comes again there.
    ///
    /// # Errors
    /// The first one of those brokers that did not confirm within the [request timeout](crate::ClientConfig::request_timeout): it may
    /// be done all the same, and is tried again every [`commit_interval`](LitePullConsumerBuilder::commit_interval).
    /// [`Closed`](crate::ErrorKind::Closed): the consumer or its client was shut down.
    ///
    /// # Cancel safety
    /// With the first poll everything that was handed out is done with. Dropping the future then only forgets the answers; what they
    /// did not confirm is committed by the next commit, automatic ones among them.
    pub async fn commit(&self) -> Result<()> {
        let group = self.handle.group("commit")?;
        let done = self.inbox.confirm();
        group.commit_now(done).await
    }

    /// Commits an offset of one of the [assigned queues](Self::assigned_queues), and waits until the broker has confirmed that: what
    /// was handed out before it is done with. It is the offset of the first message that is not.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): the queue is not assigned, or the offset is behind what was handed out, or
    /// before what is done with. Nothing is changed then. Else those of [`commit`](Self::commit).
    ///
    /// # Cancel safety
    /// As [`commit`](Self::commit).
    pub async fn commit_offset(&self, queue: &MessageQueue, offset: i64) -> Result<()> {
        let group = self.handle.group("commit")?;
        group.commit_before(queue, offset).await
    }

    /// Ends the consumer: polls end with an error, what is [done with](Self::commit) is committed, and the member leaves its group. The
    /// report counts the messages that were handed out and not committed; they come again. To have those of the last poll committed,
    /// [`commit`](Self::commit) first.
    ///
    /// A second call waits for the first, and has the same report.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed): the shared client was shut down first, so nothing could be committed.
    ///
    /// # Cancel safety
    /// The end begins with the first poll and goes on when the future is dropped. A client of the consumer's own then ends with
    /// the last clone, or with another call.
    pub async fn shutdown(&self) -> Result<ConsumerReport> {
        // Nobody is waited for: whoever wants the last messages committed has said so.
        self.handle.shutdown(Duration::ZERO).await
    }
}

impl LitePullConsumer {
    async fn poll_up_to(&self, max: usize, timeout: Duration) -> Result<Vec<MessageExt>> {
        let group = self.handle.group("poll")?;
        self.inbox.poll(&group, max, timeout).await
    }

    /// One message, if one comes in time.
    async fn poll_one(&self) -> Result<Option<MessageExt>> {
        let polled = self.poll_up_to(1, self.settings.timeout).await?;
        Ok(polled.into_iter().next())
    }
}

impl fmt::Debug for LitePullConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LitePullConsumer")
            .field("group", &self.group())
            .field("client", &self.client_id())
            .finish_non_exhaustive()
    }
}
