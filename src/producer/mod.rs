//! Producers: sending messages.
//!
//! Knows: which queue a message goes to, what a failed attempt means, how long all of them may take, and how sends go on by
//! themselves. Does not know: how a request is written, where a route comes from, or consumers.
//!
//! A send by file: [`draft`] checks it, [`send`] writes it where nothing has to be waited for, [`select`] picks the queue, [`job`]
//! says what is written and what the answer means; [`rest`] does the waiting and the trying again that [`verdict`] and [`retry`]
//! decide. [`driver`] sees through what was handed over. [`admission`] and [`room`] bound what is in flight; [`faults`] leaves brokers
//! alone; [`interceptor`] tells the application. [`recall`] takes a message back; [`transaction`] makes a delivery depend on what the
//! application does; [`request`] waits for a reply.

mod admission;
mod auto_batch;
mod batch;
mod builder;
mod compression;
mod draft;
mod driver;
mod faults;
mod interceptor;
mod job;
mod membership;
mod queues;
mod recall;
mod request;
mod rest;
mod result;
mod retry;
mod room;
mod select;
mod send;
mod target;
mod transaction;
mod validate;
mod verdict;

use std::fmt;
use std::future::Future;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::client::{Client, Registration};
use crate::error::Result;
use crate::message::{Message, MessageQueue};
use crate::producer::auto_batch::AutoBatches;
use crate::producer::compression::Packing;
use crate::producer::driver::Driver;
use crate::producer::faults::Faults;
use crate::producer::interceptor::Interceptors;
use crate::producer::membership::Membership;
use crate::producer::result::WhenNotOk;
use crate::producer::room::Room;
use crate::producer::transaction::{Checking, Checks};

pub use batch::{BatchFuture, SplitBatchFuture};
pub use builder::DefaultProducerBuilder;
pub use compression::Compression;
pub use driver::Receipt;
pub use faults::FaultTolerance;
pub use interceptor::{Intercepted, OutgoingMessage, SendInterceptor};
pub use request::RequestFuture;
pub use result::{SendResult, SendStatus};
pub use send::SendFuture;
pub use transaction::{
    HalfMessage, TransactionProducer, TransactionProducerBuilder, TransactionResolution,
    TransactionSendResult, TransactionState,
};

/// What errors call a send.
const OPERATION: &str = "send";

/// How long callbacks have to return, and brokers to answer that the producer is gone.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Sends messages.
///
/// It is started by its [`builder`](Self::builder), and ended by [`shutdown`](Self::shutdown). Cloning is cheap, and all clones are
/// the same producer; every method takes `&self`. When the last clone and the last send are dropped without a shutdown, brokers
/// are told that the producer is gone, if the runtime still runs; nothing waits for that.
///
/// ```no_run
/// use std::time::Duration;
/// use rocketmq_sdk::{DefaultProducer, Message};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = DefaultProducer::builder("group01")
///     .name_server("127.0.0.1:9876") // else NAMESRV_ADDR
///     .start()
///     .await?;
/// let result = producer.send(Message::new("01_hello", "hello, NBA")).await?;
/// println!("{}", result.msg_id());
/// producer.send(Message::new("orders", "...")).sharding_key("order-1").timeout(Duration::from_secs(1)).await?;
/// producer.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a producer ends when it is dropped"]
pub struct DefaultProducer {
    shared: Arc<Shared>,
}

/// What a shutdown left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerReport {
    unfinished: usize,
}

impl ProducerReport {
    /// How many messages had no outcome when the time was over. Those that were handed over have an error by now, of the kind
    /// [`Closed`](crate::ErrorKind::Closed).
    pub const fn unfinished(&self) -> usize {
        self.unfinished
    }
}

/// The settings of one producer.
#[derive(Debug, Clone)]
struct Settings {
    group: Arc<str>,
    send_timeout: Duration,
    retries: u32,
    when_not_ok: WhenNotOk,
    fault_tolerance: FaultTolerance,
    interceptors: Interceptors,
    max_message_size: usize,
    packing: Packing,
    auto_batch: bool,
    max_in_flight: usize,
    max_in_flight_bytes: usize,
    default_topic: Arc<str>,
    default_topic_queues: i32,
}

/// One producer, behind all its handles and sends.
struct Shared {
    client: Client,
    owns_client: bool,
    settings: Settings,
    membership: Arc<Membership>,
    registration: Registration,
    /// How brokers have done, if that decides where messages go.
    faults: Option<Arc<Faults>>,
    /// What the sends that have begun take of the bounds; closed by a shutdown.
    room: Arc<Room>,
    /// Counts what else a shutdown waits for: sends without room, and what is no send. Closed by it.
    in_flight: TaskTracker,
    /// One permit for each processor: more large bodies at a time are not compressed faster, and leave no thread to others.
    compressing: Arc<Semaphore>,
    /// Ends what a shutdown does not wait for any more.
    stop: CancellationToken,
    driver: Driver,
    /// Puts messages together, if that is asked for.
    auto_batches: Option<Arc<AutoBatches>>,
    /// Whether a shutdown came to its end.
    ended: AtomicBool,
}

impl DefaultProducer {
    /// A builder of a producer of `group`: 1 to 120 letters, digits and `% | _ -`.
    pub fn builder(group: impl Into<Arc<str>>) -> DefaultProducerBuilder {
        DefaultProducerBuilder::new(group.into())
    }

    fn open(
        client: Client,
        owns_client: bool,
        settings: Settings,
        topics: Vec<Arc<str>>,
        checking: Option<Checking>,
    ) -> Result<Self> {
        let (in_flight, stop) = (TaskTracker::new(), CancellationToken::new());
        let group = &settings.group;
        let checks = checking.map(|checking| {
            Checks::start(checking, group, &client, in_flight.clone(), stop.clone())
        });
        let membership = Arc::new(Membership::new(Arc::clone(group), topics, checks));
        let registration = client.register(Arc::<Membership>::clone(&membership))?;
        let room = Room::new(settings.max_in_flight, settings.max_in_flight_bytes);
        info!(group = %settings.group, client = %client.id(), "producer started");
        let shared = Arc::new(Shared {
            driver: Driver::start(&client, in_flight.clone(), stop.clone()),
            auto_batches: settings
                .auto_batch
                .then(|| AutoBatches::start(&client, stop.clone())),
            client,
            owns_client,
            faults: Faults::new(settings.fault_tolerance),
            settings,
            membership,
            registration,
            room,
            in_flight,
            compressing: Arc::new(Semaphore::new(
                available_parallelism().map_or(1, NonZero::get),
            )),
            stop,
            ended: AtomicBool::new(false),
        });
        faults::start_probing(&shared);
        Ok(Self { shared })
    }

    /// The group that the producer is a member of.
    pub fn group(&self) -> &str {
        &self.shared.settings.group
    }

    /// Sends a message and waits until a broker has stored it.
    ///
    /// The message goes to the topic's queues in turn. A failed attempt is tried again on another broker if there is one, as often
    /// as [`retries`](DefaultProducerBuilder::retries) says and no longer than the send timeout in all. So a message may be
    /// stored twice when an answer is lost. Options: see [`SendFuture`].
    ///
    /// # Errors
    /// See [`SendFuture`].
    ///
    /// # Cancel safety
    /// See [`SendFuture`]: dropping it cancels the send.
    pub fn send(&self, message: Message) -> SendFuture {
        SendFuture::new(Arc::clone(&self.shared), message)
    }

    /// Sends several messages of one topic in one request, and waits until a broker has stored all of them: one result for each. See
    /// [`BatchFuture`] for the rules, for sending to a given queue or by a key, and for splitting a batch that is too large.
    ///
    /// ```no_run
    /// # async fn example(producer: rocketmq_sdk::DefaultProducer) -> rocketmq_sdk::Result<()> {
    /// # use rocketmq_sdk::Message;
    /// let batch = (0..10).map(|number| Message::new("01_hello", format!("hello {number}"))).collect();
    /// for result in producer.send_batch(batch).await? {
    ///     println!("{}", result.msg_id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`BatchFuture`].
    ///
    /// # Cancel safety
    /// See [`BatchFuture`]: dropping it cancels the send.
    pub fn send_batch(&self, messages: Vec<Message>) -> BatchFuture {
        BatchFuture::new(Arc::clone(&self.shared), messages)
    }

    /// Hands a message over: resolves when it is accepted, to a [`Receipt`] that resolves when it is stored. See
    /// [`SendFuture::submit`], also for sending with options.
    ///
    /// ```no_run
    /// # async fn example(producer: rocketmq_sdk::DefaultProducer) -> rocketmq_sdk::Result<()> {
    /// # use rocketmq_sdk::Message;
    /// let receipt = producer.submit(Message::new("01_hello", "hello, NBA")).await?;
    /// let result = receipt.await?;
    /// # let _ = result;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`SendFuture::submit`].
    ///
    /// # Cancel safety
    /// Dropping the future before it resolves means that the message is not sent; dropping the receipt changes nothing.
    pub fn submit(&self, message: Message) -> impl Future<Output = Result<Receipt>> + Send + use<> {
        self.send(message).submit()
    }

    /// Hands a message over and returns at once; `callback` is given the outcome, on the producer's own task. See
    /// [`SendFuture::callback`], also for sending with options.
    pub fn send_callback<F>(&self, message: Message, callback: F)
    where
        F: FnOnce(Result<SendResult>) + Send + 'static,
    {
        self.send(message).callback(callback);
    }

    /// Sends a message without asking for an answer: resolves when it waits to be written on a connection. See
    /// [`SendFuture::oneway`], also for sending with options.
    ///
    /// # Errors
    /// See [`SendFuture::oneway`].
    ///
    /// # Cancel safety
    /// Dropping the future before it resolves means that the message is not sent.
    pub fn send_oneway(&self, message: Message) -> impl Future<Output = Result<()>> + Send + use<> {
        self.send(message).oneway()
    }

    /// The queues of a topic that a selector chooses from, in that order: those that can be sent to, by broker name and number. Those of
    /// a topic with a fixed order are all that it names, also while a broker has no master. Those of a topic that does not exist are the
    /// ones that it would get.
    ///
    /// # Errors
    /// [`NoRoute`](crate::ErrorKind::NoRoute): there are none. [`NameServer`](crate::ErrorKind::NameServer),
    /// [`Timeout`](crate::ErrorKind::Timeout): no name server answers.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>> {
        const LOOK_UP: &str = "look up queues";
        validate::topic(LOOK_UP, topic)?;
        self.shared.client.check_topic(LOOK_UP, topic)?;
        let (topic, deadline) = (topic.into(), self.shared.client.request_deadline());
        let queues = self.shared.queues(LOOK_UP, &topic, deadline).await?;
        Ok(queues.choices().to_vec())
    }

    /// Ends the producer: [`shutdown_within`](Self::shutdown_within) the send timeout.
    ///
    /// # Errors
    /// See [`shutdown_within`](Self::shutdown_within).
    ///
    /// # Cancel safety
    /// See [`shutdown_within`](Self::shutdown_within).
    pub async fn shutdown(&self) -> Result<ProducerReport> {
        self.shutdown_within(self.shared.settings.send_timeout)
            .await
    }

    /// Ends the producer: takes no more messages, waits for those in flight for at most `grace`, then tells the brokers, and ends
    /// the client if it is the producer's own. Later sends fail with [`Closed`](crate::ErrorKind::Closed). A second call does
    /// nothing.
    ///
    /// # Errors
    /// None today: brokers that do not answer are only logged, since they notice a gone producer by themselves.
    ///
    /// # Cancel safety
    /// From the first poll on no more messages are taken. When the future is dropped, another call goes on with the rest.
    pub async fn shutdown_within(&self, grace: Duration) -> Result<ProducerReport> {
        let shared = &self.shared;
        shared.in_flight.close();
        shared.room.close();
        let done = async {
            // What waits for room has it before it counts no more here; a transaction or a request counts here before it gives
            // its room back.
            loop {
                shared.in_flight.wait().await;
                shared.room.emptied().await;
                if shared.in_flight.is_empty() {
                    return;
                }
            }
        };
        let now = Instant::now();
        let drained = match now.checked_add(grace) {
            Some(deadline) => timeout_at(deadline, done).await.is_ok(),
            None => {
                done.await;
                true
            }
        };
        let unfinished = if drained { 0 } else { shared.unfinished() };
        shared.stop.cancel();
        let deadline = Instant::now() + LEAVE_WITHIN;
        let ended = async {
            shared.driver.ended().await;
            if let Some(batches) = &shared.auto_batches {
                batches.ended().await;
            }
        };
        // Only a callback that blocks can hold this up.
        if timeout_at(deadline, ended).await.is_err() {
            warn!(group = %shared.settings.group, "a send callback blocks the end of its producer");
        }
        shared.registration.unregister(deadline).await;
        if shared.owns_client {
            shared.client.shutdown().await;
        }
        if !shared.ended.swap(true, Ordering::AcqRel) {
            info!(group = %shared.settings.group, unfinished, "producer ended");
        }
        Ok(ProducerReport { unfinished })
    }
}

impl fmt::Debug for DefaultProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultProducer")
            .field("settings", &self.shared.settings)
            .field("client", &self.shared.client)
            .field("driver", &self.shared.driver)
            .finish_non_exhaustive()
    }
}

/// The last handle and the last send are gone.
impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
        if *self.ended.get_mut() || self.client.is_closed() {
            return;
        }
        debug!(group = %self.settings.group, "producer dropped without a shutdown");
        self.registration.leave();
    }
}

#[cfg(test)]
mod tests;
