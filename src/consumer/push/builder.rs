//! Making a push consumer: its settings, their limits, and its start.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::config::{ClientConfig, check_time};
use crate::consumer::allocate::AllocateStrategy;
use crate::consumer::group::Sink;
use crate::consumer::hooks::Hook;
use crate::consumer::offset::{OffsetStore, Offsets};
use crate::consumer::profile::{ConsumeType, MessageModel};
use crate::consumer::push::PushConsumer;
use crate::consumer::push::concurrent::{Concurrent, ListenerSettings};
use crate::consumer::push::listener::{
    Blocking, Closure, ClosureInContext, ClosureWith, ConsumeContext, MessageListener,
};
use crate::consumer::push::result::ConsumeResult;
use crate::consumer::setup::{OPERATION, Setup, check_pause, check_range, invalid};
use crate::consumer::start_offset::ConsumeFromWhere;
use crate::environment::Environment;
use crate::error::Result;
use crate::message::{MessageExt, MessageQueue};

/// Makes a [`PushConsumer`]. Made by [`PushConsumer::builder`].
///
/// It needs a group, a name server (or a client), at least one subscription and a listener. The defaults are the Java client's.
#[must_use = "a builder does nothing until it is started"]
pub struct PushConsumerBuilder {
    setup: Setup,
    /// Makes the listener's side, when its settings are known.
    sink: Option<Box<dyn FnOnce(ListenerSettings) -> Arc<dyn Sink> + Send>>,
    concurrency: usize,
    topic_concurrency: HashMap<String, usize>,
    consume_batch_max_size: usize,
    max_reconsume_times: Option<u32>,
    consume_timeout: Duration,
    keeps_timed_out: bool,
    shutdown_timeout: Duration,
}

impl PushConsumerBuilder {
    pub(super) fn new(group: String) -> Self {
        Self {
            setup: Setup::new(group.into()),
            sink: None,
            concurrency: 20,
            topic_concurrency: HashMap::new(),
            consume_batch_max_size: 1,
            max_reconsume_times: None,
            consume_timeout: Duration::from_secs(15 * 60),
            keeps_timed_out: false,
            shutdown_timeout: Duration::from_secs(10),
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

    /// Shares this client instead of making one. It is not shut down with the consumer.
    ///
    /// A client can have one consumer of a group. Name servers, configuration and environment are the client's then and cannot be
    /// set here.
    pub fn client(mut self, client: &Client) -> Self {
        self.setup.client(client);
        self
    }

    /// Subscribes to a topic: to messages with one of these tags (`TagA || TagB`), or to all (`*`). Needed at least once; for one
    /// topic the last expression counts. All members of a group have to subscribe to the same.
    pub fn subscribe(mut self, topic: impl Into<String>, expression: impl Into<String>) -> Self {
        self.setup
            .subscriptions
            .push((topic.into(), expression.into()));
        self
    }

    /// Whether the members of the group share the messages. Default [`MessageModel::Clustering`]; all members have to have the same.
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

    /// Has the brokers share the queues among the members, instead of every member computing its share: with
    /// [`allocate_strategy`](Self::allocate_strategy), which has to be [`Average`](crate::Average) or
    /// [`AverageByCircle`](crate::AverageByCircle) then. Brokers of version 4.9 cannot; there the members do. All members have to say
    /// the same.
    pub const fn server_side_assignment(mut self) -> Self {
        self.setup.brokers_share = true;
        self
    }

    /// Keeps the offsets in a place of the application's, instead of at the brokers or in a file.
    pub fn offset_store(mut self, store: impl OffsetStore) -> Self {
        self.setup.store = Some(Offsets::new(store));
        self
    }

    /// The folder below which a [broadcasting](MessageModel::Broadcasting) consumer keeps its offsets. Default `.rocketmq_offsets` in
    /// the user's home, where Java's client has them.
    ///
    /// They stand in `ip@instance/group/offsets.json`, with a backup beside it; `ip` is [`ClientConfig::client_ip`], `instance`
    /// [`ClientConfig::instance_name`]. One consumer at a time has the file: a second one of the same group on this machine needs another
    /// instance name or folder. A file system that knows no locks cannot keep it out; the log has a warning then.
    pub fn local_offset_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.setup.offset_folder = Some(folder.into());
        self
    }

    /// Runs when the consumer has taken a queue over, before its first message; also for the queues of the group's retry topic.
    ///
    /// The queue waits for it, for the [request timeout](ClientConfig::request_timeout) at most: then it is dropped. A panic is logged.
    /// Neither keeps the queue from being consumed. Where offsets are reset meanwhile it is cut off, and runs anew.
    pub fn on_assigned<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(MessageQueue) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.setup.hooks.assigned = Some(Hook::new(hook));
        self
    }

    /// Runs when the consumer gives up a queue that [`on_assigned`](Self::on_assigned) was run for: another member gets it, it is not
    /// subscribed any more, or the consumer ends. Listeners have finished its messages by then, or have had their time, and its last
    /// offset is committed, if the broker took it.
    ///
    /// It has the [request timeout](ClientConfig::request_timeout), or half of it when the consumer ends: then it is dropped. A panic
    /// is logged.
    pub fn on_revoked<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(MessageQueue) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.setup.hooks.revoked = Some(Hook::new(hook));
        self
    }

    /// Consumes with an async closure. It gives back a [`ConsumeStatus`](crate::ConsumeStatus), a [`ConsumeResult`], or a
    /// `Result<(), Box<dyn Error + Send + Sync>>`, where an error means later: `?` makes that of any error, if the closure ends with
    /// `Ok(())`.
    ///
    /// ```
    /// use rocketmq_sdk::{ConsumeStatus, PushConsumer};
    ///
    /// let builder = PushConsumer::builder("group1").subscribe("t", "*");
    /// let builder = builder.listener(|messages| async move {
    ///     println!("{} messages", messages.len());
    ///     ConsumeStatus::CONSUME_SUCCESS
    /// });
    /// # let _ = builder;
    /// ```
    pub fn listener<F, Fut>(self, listener: F) -> Self
    where
        F: Fn(Vec<MessageExt>) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ConsumeResult>,
    {
        self.message_listener(Closure(listener))
    }

    /// Consumes with an async closure and a state that is cloned for each call.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use rocketmq_sdk::PushConsumer;
    ///
    /// # struct Shop; impl Shop { async fn sell(&self, _: &[u8]) -> std::io::Result<()> { Ok(()) } }
    /// # let shop = Shop;
    /// let builder = PushConsumer::builder("group1").subscribe("t", "*");
    /// let builder = builder.listener_with(Arc::new(shop), |shop, messages| async move {
    ///     for message in &messages {
    ///         shop.sell(message.body()).await?;
    ///     }
    ///     Ok(())
    /// });
    /// # let _ = builder;
    /// ```
    pub fn listener_with<S, F, Fut>(self, state: S, listener: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Fn(S, Vec<MessageExt>) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ConsumeResult>,
    {
        self.message_listener(ClosureWith(state, listener))
    }

    /// Consumes with an async closure that also wants to know where the messages come from.
    ///
    /// ```
    /// use rocketmq_sdk::{ConsumeContext, ConsumeResult, PushConsumer};
    ///
    /// let builder = PushConsumer::builder("group1").subscribe("t", "*");
    /// let builder = builder.contextual_listener(|messages, context: ConsumeContext| async move {
    ///     println!("{} messages of {}", messages.len(), context.queue());
    ///     match context.reconsume_times() {
    ///         ..3 => ConsumeResult::later(),
    ///         _ => ConsumeResult::dead_letter(),
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn contextual_listener<F, Fut>(self, listener: F) -> Self
    where
        F: Fn(Vec<MessageExt>, ConsumeContext) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<ConsumeResult>,
    {
        self.message_listener(ClosureInContext(listener))
    }

    /// Consumes with a closure that may block: it runs on tokio's threads for blocking code. One that never comes back keeps its
    /// thread, but not its place among the listeners. While all of these threads are busy it waits for one, and the
    /// [consume timeout](Self::consume_timeout) counts that: one that has not begun when its messages are back at
    /// the broker, or when the consumer ends, does not run, but with [`keep_timed_out_listeners`](Self::keep_timed_out_listeners).
    pub fn blocking_listener<F, R>(self, listener: F) -> Self
    where
        F: Fn(Vec<MessageExt>) -> R + Send + Sync + 'static,
        R: Into<ConsumeResult> + 'static,
    {
        self.message_listener(Blocking(Arc::new(listener)))
    }

    /// Consumes with a type of the application's: see [`MessageListener`].
    pub fn message_listener(mut self, listener: impl MessageListener) -> Self {
        self.sink = Some(Box::new(|settings| {
            Arc::new(Concurrent::new(listener, settings))
        }));
        self
    }

    /// How many listeners run at a time, over all queues: 1 to 1000. Default 20.
    pub const fn concurrency(mut self, listeners: usize) -> Self {
        self.concurrency = listeners;
        self
    }

    /// Gives a topic listeners of its own, this many at a time: 1 to 1000. They do not count to
    /// [`concurrency`](Self::concurrency). Its messages that come again after a failure are consumed with those of the other topics.
    pub fn topic_concurrency(mut self, topic: impl Into<String>, listeners: usize) -> Self {
        self.topic_concurrency.insert(topic.into(), listeners);
        self
    }

    /// How many messages a listener is given at most: 1 to 1024. Default 1. They are of one queue and in its order.
    pub const fn consume_batch_max_size(mut self, messages: usize) -> Self {
        self.consume_batch_max_size = messages;
        self
    }

    /// How many messages one pull asks for: 1 to 1024. Default 32, which is what brokers give at most unless told otherwise.
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

    /// How many messages of one topic may be here before pulling stops, in all queues of this consumer together: 1 to 6553500. Each
    /// queue has an equal part of it, at least one message, instead of
    /// [`pull_threshold_for_queue`](Self::pull_threshold_for_queue), and counts in the same way. By default there is no such limit.
    pub const fn pull_threshold_for_topic(mut self, messages: usize) -> Self {
        self.setup.topic_limits.count = Some(messages);
        self
    }

    /// How many bytes of one topic may be here before pulling stops, in all queues of this consumer together: at least 1. Each queue has
    /// an equal part of it instead of [`pull_threshold_size_for_queue`](Self::pull_threshold_size_for_queue), and counts in the same way.
    /// By default there is no such limit.
    pub const fn pull_threshold_size_for_topic(mut self, bytes: usize) -> Self {
        self.setup.topic_limits.bytes = Some(bytes);
        self
    }

    /// How many messages of one queue may be here before pulling stops, those that wait for listeners and those that listeners have: 1
    /// to 65535. Default 1000. There are as many more as one pull brings, since the last one is made while the limit is not passed.
    pub const fn pull_threshold_for_queue(mut self, messages: usize) -> Self {
        self.setup.limits.count = messages;
        self
    }

    /// How many bytes of one queue may be here before pulling stops: at least 1. Default 100 MiB. They count as those of
    /// [`pull_threshold_for_queue`](Self::pull_threshold_for_queue), those of one pull until the last of them is finished. All queues
    /// together are bounded by [`ClientConfig::max_buffered_bytes`].
    pub const fn pull_threshold_size_for_queue(mut self, bytes: usize) -> Self {
        self.setup.limits.bytes = bytes;
        self
    }

    /// How far the offsets of one queue's messages may be apart before pulling stops, from the first that is not finished to the last
    /// that is here: 1 to 65535. Default 2000. A pull may pass it by what it brings.
    pub const fn consume_max_span(mut self, offsets: u16) -> Self {
        self.setup.limits.span = offsets as i64;
        self
    }

    /// How often a message may fail before it is a dead letter; 0 makes its first failure one. By default the broker decides: 16,
    /// unless the group is set up otherwise.
    pub const fn max_reconsume_times(mut self, times: u32) -> Self {
        self.max_reconsume_times = Some(times);
        self
    }

    /// How long a listener may take. Default 15 min. When it takes longer, its messages are given back as failed, and then its
    /// future is dropped.
    pub const fn consume_timeout(mut self, timeout: Duration) -> Self {
        self.consume_timeout = timeout;
        self
    }

    /// Lets the future of a listener that takes too long go on, instead of dropping it. It does not count to the
    /// [`concurrency`](Self::concurrency) any more, and nobody hears what it says of its messages.
    pub const fn keep_timed_out_listeners(mut self) -> Self {
        self.keeps_timed_out = true;
        self
    }

    /// How often offsets are committed. Default 5 s. After a crash, what was consumed since comes again.
    pub const fn commit_interval(mut self, interval: Duration) -> Self {
        self.setup.commit_interval = interval;
        self
    }

    /// How long [`shutdown`](PushConsumer::shutdown) lets listeners go on: at most a year. Default 10 s. Committing and leaving the
    /// group may then take up to the [request timeout](ClientConfig::request_timeout), and tasks of the consumer's own client half a
    /// second more to end: what blocks its thread after that is left behind.
    pub const fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Starts the consumer. When it has started, it has its queues and knows where each begins, unless a broker did not say so within
    /// the [request timeout](ClientConfig::request_timeout): then that goes on. Topics that do not exist yet are found when they do.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): something is missing or breaks a rule, or the client has a consumer of this
    /// group already. [`NameServer`](crate::ErrorKind::NameServer): no name server answered.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started of the consumer.
    pub async fn start(mut self) -> Result<PushConsumer> {
        self.check()?;
        let Some(sink) = self.sink.take() else {
            return Err(invalid("no listener is set"));
        };
        let sink = sink(self.listener_settings());
        let handle = self.setup.join(ConsumeType::Passively, sink).await?;
        Ok(PushConsumer::new(handle, self.shutdown_timeout))
    }

    /// What can be told to be wrong before anything is connected.
    fn check(&self) -> Result<()> {
        self.setup.check()?;
        if self.setup.model == MessageModel::Broadcasting && self.max_reconsume_times.is_some() {
            return Err(invalid(
                "max_reconsume_times is set, but to a broadcasting consumer no message comes again",
            ));
        }
        check_range("concurrency", self.concurrency, 1000)?;
        for (topic, listeners) in &self.topic_concurrency {
            if !self
                .setup
                .subscriptions
                .iter()
                .any(|(known, _)| known == topic)
            {
                return Err(invalid(format!(
                    "topic_concurrency is set for {topic:?}, which is not subscribed"
                )));
            }
            check_range(&format!("topic_concurrency of {topic}"), *listeners, 1000)?;
        }
        check_range("consume_batch_max_size", self.consume_batch_max_size, 1024)?;
        check_time(OPERATION, "consume_timeout", self.consume_timeout)?;
        check_pause("shutdown_timeout", self.shutdown_timeout)
    }

    fn listener_settings(&self) -> ListenerSettings {
        ListenerSettings {
            group: Arc::clone(self.setup.group()),
            concurrency: self.concurrency,
            topic_concurrency: self.topic_concurrency.clone(),
            batch: self.consume_batch_max_size,
            timeout: self.consume_timeout,
            keeps_timed_out: self.keeps_timed_out,
            max_reconsume_times: self
                .max_reconsume_times
                .map(|times| times.min(i32::MAX as u32) as i32),
        }
    }
}

impl fmt::Debug for PushConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushConsumerBuilder")
            .field("group", self.setup.group())
            .field("subscriptions", &self.setup.subscriptions)
            .finish_non_exhaustive()
    }
}
