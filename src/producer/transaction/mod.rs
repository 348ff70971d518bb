//! Transactions: a message that is delivered if, and only if, something local was done.
//!
//! Knows: half messages and how they are ended. Does not know: how a message is sent, or what the application does in its
//! transactions.
//!
//! By file: [`check`] answers what brokers ask, [`open`] knows which transactions someone here is deciding on, [`state`] is what the
//! application says of one.

mod builder;
mod check;
mod open;
mod state;

use std::error::Error as StdError;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::time::Instant;
use tracing::warn;

use crate::client::Rpc;
use crate::error::{Delivery, Error, ErrorKind, Result, panic_text};
use crate::message::Message;
use crate::producer::result::{SendResult, SendStatus};
use crate::producer::send::SendFuture;
use crate::producer::{DefaultProducer, ProducerReport, Shared};
use crate::protocol::message::property_names as names;

pub use builder::TransactionProducerBuilder;
pub(super) use check::{Checking, Checks};
use open::{HalfPlace, OpenTransactions};
pub use state::{HalfMessage, TransactionResolution, TransactionSendResult, TransactionState};

const OPERATION: &str = "send in a transaction";

const END: &str = "end a transaction";

/// Sends messages whose delivery depends on a transaction of the application: with its database, as a rule.
///
/// [`send_in_transaction`](Self::send_in_transaction) has a broker keep the message back, runs the local transaction, and has the
/// message delivered if that was committed. Should nobody tell the broker how it ended - this process may be gone by then - the
/// broker asks any producer of the group, and the closure given to [`check`](TransactionProducerBuilder::check) answers for it, as
/// a rule by a look into the same database.
///
/// ```no_run
/// use rocketmq_sdk::{Message, TransactionProducer, TransactionState};
///
/// # async fn is_paid(order: &str) -> Result<bool, std::io::Error> { Ok(order.is_empty()) }
/// # async fn pay(order: &str, transaction: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn example() -> rocketmq_sdk::Result<()> {
/// let producer = TransactionProducer::builder("payments")
///     .name_server("127.0.0.1:9876")
///     .topics(["paid_orders"]) // so that their brokers know whom to ask from the start
///     .check(|message| async move {
///         match is_paid(message.msg_id()).await? {
///             true => Ok(TransactionState::Commit),
///             false => Ok(TransactionState::Unknown), // the broker asks again
///         }
///     })
///     .start()
///     .await?;
/// let message = Message::new("paid_orders", "order-1");
/// let result = producer
///     .send_in_transaction(message, |half| async move {
///         pay("order-1", half.transaction_id()).await?;
///         Ok(TransactionState::Commit)
///     })
///     .await?;
/// println!("{:?}", result.state());
/// producer.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// Delivery is at least once, as everywhere: where an answer is lost, the message can come twice. Cloning is cheap, and all clones are
/// the same producer.
#[derive(Debug, Clone)]
#[must_use = "a producer ends when it is dropped"]
pub struct TransactionProducer {
    producer: DefaultProducer,
    open: Arc<OpenTransactions>,
}

impl TransactionProducer {
    /// A builder of a producer of `group`: 1 to 120 letters, digits and `% | _ -`. All producers of a group must be able to answer for
    /// each other's transactions.
    pub fn builder(group: impl Into<Arc<str>>) -> TransactionProducerBuilder {
        TransactionProducerBuilder::new(group.into())
    }

    /// The same producer, for messages without a transaction.
    pub const fn plain(&self) -> &DefaultProducer {
        &self.producer
    }

    /// Sends a message, runs the local transaction, and says to the broker what becomes of the message.
    ///
    /// `execute` is run when, and only when, the broker has stored the message as safely as its settings ask for
    /// ([`SEND_OK`](SendStatus::SEND_OK)); with another status the message is rolled back without running it. It returns a
    /// [`TransactionState`], or a `Result` of one. It runs in this future, not on a task of the producer.
    ///
    /// When it fails or panics, the state is unknown, since the local transaction may have been committed before that: the broker
    /// will ask, and the result says [why](TransactionSendResult::failure). To take the message back, return
    /// [`Rollback`](TransactionState::Rollback).
    ///
    /// What the broker asks about this message while `execute` runs is not answered by the [check](TransactionProducerBuilder::check)
    /// of this producer, but by the outcome of `execute`.
    ///
    /// # Errors
    /// Those of a [`SendFuture`]: the message was not stored, or nobody knows; `execute` did not run.
    /// [`InvalidInput`](ErrorKind::InvalidInput) also for a message that is delayed.
    ///
    /// What goes wrong once the message is stored is no error, but part of the result: that `execute` failed, see
    /// [`failure`](TransactionSendResult::failure), and that the broker could not be told the state, see
    /// [`end_error`](TransactionSendResult::end_error).
    ///
    /// # Cancel safety
    /// Dropping the future drops `execute` where it stands. If the message was stored by then, the broker will ask.
    pub fn send_in_transaction<F, Fut>(
        &self,
        message: Message,
        execute: F,
    ) -> impl Future<Output = Result<TransactionSendResult>> + Send + use<F, Fut>
    where
        F: FnOnce(HalfMessage) -> Fut + Send,
        Fut: Future + Send,
        Fut::Output: Into<TransactionResolution>,
    {
        let shared = Arc::clone(&self.producer.shared);
        let open = Arc::clone(&self.open);
        async move {
            let half = half(message.clone(), &shared)?;
            let mut send = SendFuture::of_half(Arc::clone(&shared), half);
            let ticket = send.enter().await?;
            let result = send.await;
            // A shutdown waits for the local transaction as well; the room is free for other messages.
            let _in_flight = shared.in_flight.token();
            drop(ticket);
            let result = result?;
            // Now, since the topic may be gone when its transaction ends.
            let master = shared
                .client
                .routes()
                .master_of(&result.queue().broker_name);
            let place = HalfPlace::of(&result, master.map(|(_, addr)| addr));
            let (places, state, failure) = if result.status() == SendStatus::SEND_OK {
                let opened = open.begin(result.msg_id(), place);
                let half = HalfMessage::new(message, result.clone());
                let resolution = resolve(async { execute(half).await.into() }).await;
                let (state, failure) = resolution.into_parts();
                (opened.close(), state, failure)
            } else {
                (vec![place], TransactionState::Rollback, None)
            };
            let remark = failure
                .as_ref()
                .map(|failure| format!("the local transaction failed: {failure}"));
            if let Some(remark) = &remark {
                warn!(id = result.msg_id(), "{remark}");
            }
            let end = End {
                group: &shared.settings.group,
                id: result.msg_id(),
                state,
                remark: remark.as_deref(),
            };
            let (rpc, deadline) = (shared.client.rpc(), shared.client.request_deadline());
            let told = end.tell(rpc, &places, deadline).await;
            let failure = failure.map(|failure| failed(&result, failure));
            Ok(TransactionSendResult::new(
                result,
                state,
                failure,
                told.err(),
            ))
        }
    }

    #[cfg(test)]
    pub(super) fn open_transactions(&self) -> usize {
        self.open.len()
    }

    /// The group that the producer is a member of.
    pub fn group(&self) -> &str {
        self.producer.group()
    }

    /// Ends the producer: [`shutdown_within`](Self::shutdown_within) the send timeout.
    ///
    /// # Errors
    /// See [`DefaultProducer::shutdown_within`].
    ///
    /// # Cancel safety
    /// See [`DefaultProducer::shutdown_within`].
    pub async fn shutdown(&self) -> Result<ProducerReport> {
        self.producer.shutdown().await
    }

    /// Ends the producer as [`DefaultProducer::shutdown_within`] does. Local transactions and checks that run are waited for, for at
    /// most `grace`; what is not told to a broker by then, it asks another producer of the group.
    ///
    /// # Errors
    /// See [`DefaultProducer::shutdown_within`].
    ///
    /// # Cancel safety
    /// See [`DefaultProducer::shutdown_within`].
    pub async fn shutdown_within(&self, grace: Duration) -> Result<ProducerReport> {
        self.producer.shutdown_within(grace).await
    }
}

/// The message as a half message.
fn half(mut message: Message, shared: &Shared) -> Result<Message> {
    let detail = if message.is_delayed() {
        "a message of a transaction cannot be delayed"
    } else if message.reply_through().is_some() {
        "a reply cannot be sent in a transaction"
    } else {
        ""
    };
    if !detail.is_empty() {
        return Err(Error::invalid(OPERATION, detail).topic_of(message.topic()));
    }
    message.add_property(names::TRANSACTION_PREPARED, "true");
    let group = shared.client.namespace().wrap(&shared.settings.group);
    message.add_property(names::PRODUCER_GROUP, &group);
    Ok(message)
}

/// What the application says of a transaction; a panic is a failure.
async fn resolve(asking: impl Future<Output = TransactionResolution>) -> TransactionResolution {
    let outcome = AssertUnwindSafe(asking).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        let text = format!("panicked: {}", panic_text(panic));
        TransactionResolution::from(Err(text.into()))
    })
}

/// The error of a local transaction that failed.
fn failed(result: &SendResult, failure: Box<dyn StdError + Send + Sync>) -> Error {
    Error::new(ErrorKind::Application, OPERATION)
        .topic_of(&result.queue().topic)
        .target(format!("transaction {}", result.msg_id()))
        .detail("the local transaction failed")
        .maybe_delivered(Delivery::Unknown)
        .caused_by_any(failure)
}

/// What brokers are told of a transaction.
struct End<'a> {
    group: &'a str,
    id: &'a str,
    state: TransactionState,
    remark: Option<&'a str>,
}

impl End<'_> {
    /// Tells every broker that has the half message. Of those that could not be told, the first one's error.
    async fn tell(&self, rpc: &Rpc, places: &[HalfPlace], deadline: Instant) -> Result<()> {
        let telling = places.iter().map(|place| async move {
            let told = self.tell_one(rpc, place, deadline).await;
            told.inspect_err(|error| {
                let Self { id, state, .. } = self;
                warn!(%error, %id, ?state, "the broker was not told, and will ask");
            })
        });
        join_all(telling).await.into_iter().collect()
    }

    async fn tell_one(&self, rpc: &Rpc, place: &HalfPlace, deadline: Instant) -> Result<()> {
        let addr = place.addr.as_ref().ok_or_else(|| {
            let detail = format!("no route names broker {} with a master", place.broker_name);
            Error::new(ErrorKind::NoRoute, END).detail(detail)
        })?;
        let header = place.end(self.group, self.id, self.state).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, END)
                .at(addr)
                .detail("the broker did not say where it stored the message")
        })?;
        rpc.end_transaction(addr, &header, self.remark, deadline)
            .await
    }
}
