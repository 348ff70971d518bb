//! Making a lite-pull consumer: its settings, their limits, and its start.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::config::{ClientConfig, check_time};
use crate::consumer::allocate::AllocateStrategy;
use crate::consumer::hooks::Hook;
use crate::consumer::lite_pull::inbox::Inbox;
use crate::consumer::lite_pull::{LitePullConsumer, PollSettings};
use crate::consumer::offset::{OffsetStore, Offsets};
use crate::consumer::profile::{ConsumeType, MessageModel};
use crate::consumer::setup::{OPERATION, Setup};
use crate::consumer::start_offset::ConsumeFromWhere;
use crate::environment::Environment;
use crate::error::Result;
use crate::message::MessageQueue;

/// Makes a [`LitePullConsumer`]. Made by [`LitePullConsumer::builder`].
///
/// It needs a group, a name server (or a client) and at least one subscription.
#[must_use = "a builder does nothing until it is started"]
pub struct LitePullConsumerBuilder {
    setup: Setup,
    auto_commit: bool,
    poll_timeout: Duration,
}

impl LitePullConsumerBuilder {
    pub(super) fn new(group: String) -> Self {
        Self {
            setup: Setup::new(group.into()),
            auto_commit: true,
            poll_timeout: Duration::from_secs(5),
        }
    }

    /// The name servers: see [`ClientConfig::name_server`]. By default those that `NAMESRV_ADDR` names.
    pub fn name_server(mut self, addrs: impl AsRef<str>) -> Self {
        self.setup.name_server(addrs.as_ref());
        self
    }

    /// The configuration of the consumer's own client. Default: [`ClientConfig::from_env`].
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.setup.config(config);
        self
    }

    /// Where connections and the time come from for the consumer's own client. Default: TCP.
    pub fn environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.setup.environment(environment);
        self
    }

    /// Shares this client instead of making one: see [`PushConsumerBuilder::client`](crate::PushConsumerBuilder::client).
    pub fn client(mut self, client: &Client) -> Self {
        self.setup.client(client);
        self
    }

    /// Subscribes to a topic: to messages with one of these tags (`TagA || TagB`), or to all (`*`). Needed at least once; for one
    /// topic the last expression counts. All members of a group have to subscribe to the same.
    pub fn subscribe(mut self, topic: impl Into<String>, expression: impl Into<String>) -> Self {
        let subscription = (topic.into(), expression.into());
        self.setup.subscriptions.push(subscription);
        self
    }

    /// Whether the members of the group share the messages. Default [`MessageModel::Clustering`].
    pub const fn message_model(mut self, model: MessageModel) -> Self {
        self.setup.model = model;
        self
    }

    /// Where the group begins in a queue for which it has no offset. Default [`ConsumeFromWhere::LastOffset`].
    pub const fn consume_from(mut self, from: ConsumeFromWhere) -> Self {
        self.setup.from = from;
        self
    }

    /// How the queues are shared among the members; all of them have to use the same. Default [`Average`](crate::Average).
    pub fn allocate_strategy(mut self, strategy: impl AllocateStrategy) -> Self {
        self.setup.strategy = Some(Arc::new(strategy));
        self
    }

    /// Has the brokers share the queues: see
    /// [`PushConsumerBuilder::server_side_assignment`](crate::PushConsumerBuilder::server_side_assignment).
    pub const fn server_side_assignment(mut self) -> Self {
        self.setup.brokers_share = true;
        self
    }

    /// Keeps the offsets in a place of the application's, instead of at the brokers or in a file.
    pub fn offset_store(mut self, store: impl OffsetStore) -> Self {
        self.setup.store = Some(Offsets::new(store));
        self
    }

    /// The folder below which a [broadcasting](MessageModel::Broadcasting) consumer keeps its offsets: see
    /// [`PushConsumerBuilder::local_offset_dir`](crate::PushConsumerBuilder::local_offset_dir).
    pub fn local_offset_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.setup.offset_folder = Some(folder.into());
        self
    }

    /// Runs when the consumer has taken a queue over, before its first message: see
    /// [`PushConsumerBuilder::on_assigned`](crate::PushConsumerBuilder::on_assigned).
    pub fn on_assigned<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(MessageQueue) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.setup.hooks.assigned = Some(Hook::new(hook));
        self
    }

    /// Runs when the consumer has given a queue up: see
    /// [`PushConsumerBuilder::on_revoked`](crate::PushConsumerBuilder::on_revoked).
    pub fn on_revoked<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(MessageQueue) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.setup.hooks.revoked = Some(Hook::new(hook));
        self
    }

    /// Whether a [`poll`](LitePullConsumer::poll) says that what was handed out before is done with, so that it is committed with the
    /// next [interval](Self::commit_interval). Default true. Otherwise only [`commit`](LitePullConsumer::commit) says so.
    ///
    /// What the last poll handed out is committed by `commit` in either case, and by the end of a consumer in none.
    pub const fn auto_commit(mut self, is_automatic: bool) -> Self {
        self.auto_commit = is_automatic;
        self
    }

    /// How long [`poll_default`](LitePullConsumer::poll_default) waits for messages. Default 5 s.
    pub const fn poll_timeout(mut self, timeout: Duration) -> Self {
        self.poll_timeout = timeout;
        self
    }

    /// How many messages one pull asks for, and one poll gives at most: 1 to 1024. Default 32, which is what brokers give at most
    /// unless told otherwise.
    pub const fn pull_batch_size(mut self, messages: usize) -> Self {
        self.setup.pull_batch_size = messages;
        self
    }

    /// How many bytes of messages one pull asks for: at least 1. Default 256 KiB. A larger message comes alone. Brokers of version 4.9
    /// have a limit of their own.
    pub const fn pull_batch_size_in_bytes(mut self, bytes: usize) -> Self {
        self.setup.pull_batch_bytes = bytes;
        self
    }

    /// How long to wait behind a pull of a queue before the next one. Default zero.
    pub const fn pull_interval(mut self, interval: Duration) -> Self {
        self.setup.pull_interval = interval;
        self
    }

    /// How many messages of one topic may wait for polls before pulling stops, in all queues of this consumer together: see
    /// [`PushConsumerBuilder::pull_threshold_for_topic`](crate::PushConsumerBuilder::pull_threshold_for_topic).
    pub const fn pull_threshold_for_topic(mut self, messages: usize) -> Self {
        self.setup.topic_limits.count = Some(messages);
        self
    }

    /// How many bytes of one topic may wait for polls before pulling stops, in all queues of this consumer together: see
    /// [`PushConsumerBuilder::pull_threshold_size_for_topic`](crate::PushConsumerBuilder::pull_threshold_size_for_topic).
    pub const fn pull_threshold_size_for_topic(mut self, bytes: usize) -> Self {
        self.setup.topic_limits.bytes = Some(bytes);
        self
    }

    /// How many messages of one queue may wait for polls before pulling stops: 1 to 65535. Default 1000.
    pub const fn pull_threshold_for_queue(mut self, messages: usize) -> Self {
        self.setup.limits.count = messages;
        self
    }

    /// How many bytes of one queue may wait for polls before pulling stops: at least 1. Default 100 MiB. All queues together are
    /// bounded by [`ClientConfig::max_buffered_bytes`].
    pub const fn pull_threshold_size_for_queue(mut self, bytes: usize) -> Self {
        self.setup.limits.bytes = bytes;
        self
    }

    /// How far the offsets of one queue's messages that wait for polls may be apart before pulling stops: 1 to 65535. Default 2000.
    pub const fn consume_max_span(mut self, offsets: u16) -> Self {
        self.setup.limits.span = offsets as i64;
        self
    }

    /// How often offsets are committed. Default 5 s. After a crash, what was done with since comes again.
    pub const fn commit_interval(mut self, interval: Duration) -> Self {
        self.setup.commit_interval = interval;
        self
    }

    /// Starts the consumer. When it has started, it has its queues and knows where each begins, unless a broker did not say so within
    /// the [request timeout](ClientConfig::request_timeout): then that goes on. Topics that do not exist yet are found when they do.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): a setting breaks a rule, or the client has a consumer of the group already.
    /// [`NameServer`](crate::ErrorKind::NameServer): none is configured, or none answers. [`Closed`](crate::ErrorKind::Closed):
    /// the client was shut down.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started of the consumer.
    pub async fn start(self) -> Result<LitePullConsumer> {
        self.setup.check()?;
        check_time(OPERATION, "poll_timeout", self.poll_timeout)?;
        let settings = PollSettings {
            batch: self.setup.pull_batch_size,
            timeout: self.poll_timeout,
        };
        let inbox = Inbox::new(self.auto_commit);
        let sink = Arc::clone(&inbox) as Arc<_>;
        let handle = self.setup.join(ConsumeType::Actively, sink).await?;
        Ok(LitePullConsumer::new(handle, inbox, settings))
    }
}

impl fmt::Debug for LitePullConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LitePullConsumerBuilder")
            .field("group", self.setup.group())
            .field("subscriptions", &self.setup.subscriptions)
            .finish_non_exhaustive()
    }
}
