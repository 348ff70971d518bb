//! Every way of sending: each as one future that is over when its outcome is known.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

use super::requesting::reply_through;
use super::world::{Asked, NAME_SERVER, World};
use crate::config::ClientConfig;
use crate::error::Result;
use crate::message::{Message, MessageQueue};
use crate::producer::{
    DefaultProducer, DefaultProducerBuilder, SendResult, TransactionProducer, TransactionState,
};
use crate::protocol::message::{BatchMessages, RecallHandle, properties};
use crate::protocol::request::Request;
use crate::protocol::request::send_batch::SendBatch;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Send,
    ToQueue,
    Key,
    Selector,
    Submit,
    Receipt,
    Callback,
    Oneway,
    Batch,
    Parts,
    /// The first of an automatic batch's lane, and one behind another.
    AutoFirst,
    AutoLast,
    Request,
    Transaction,
    Recall,
    Queues,
}

pub(super) const WAYS: [Way; 16] = [
    Way::Send,
    Way::ToQueue,
    Way::Key,
    Way::Selector,
    Way::Submit,
    Way::Receipt,
    Way::Callback,
    Way::Oneway,
    Way::Batch,
    Way::Parts,
    Way::AutoFirst,
    Way::AutoLast,
    Way::Request,
    Way::Transaction,
    Way::Recall,
    Way::Queues,
];

impl Way {
    /// Whether the producer goes on with it when its future is dropped.
    pub(super) const fn is_handed_over(self) -> bool {
        matches!(self, Self::Submit | Self::Receipt | Self::Callback)
    }

    /// Whether its outcome is that a broker has stored a message, or more.
    pub(super) const fn is_acknowledged(self) -> bool {
        !matches!(
            self,
            Self::Submit | Self::Oneway | Self::Recall | Self::Queues
        )
    }
}

/// One producer of a world, and what is sent beside the send that a test is about.
pub(super) struct Senders {
    pub(super) world: Arc<World>,
    pub(super) producer: TransactionProducer,
    /// Messages that nobody gives up.
    pub(super) others: Arc<Mutex<Vec<JoinHandle<Result<SendResult>>>>>,
    /// How often callbacks should have been called, and how often they were.
    called: Arc<AtomicUsize>,
    called_back: Arc<AtomicUsize>,
}

impl Senders {
    /// A producer that is made for one way.
    pub(super) async fn start(
        world: &Arc<World>,
        way: Way,
        set_up: impl FnOnce(DefaultProducerBuilder) -> DefaultProducerBuilder,
    ) -> Self {
        let producer = TransactionProducer::builder("g")
            .config(ClientConfig::default().name_server(NAME_SERVER))
            .environment(world.environment())
            .producer(|builder| match way {
                Way::AutoFirst | Way::AutoLast => set_up(builder).auto_batch(),
                _ => set_up(builder),
            })
            .check(|_| async { TransactionState::Unknown });
        Self {
            world: Arc::clone(world),
            producer: producer.start().await.unwrap(),
            others: Arc::default(),
            called: Arc::default(),
            called_back: Arc::default(),
        }
    }

    pub(super) fn plain(&self) -> &DefaultProducer {
        self.producer.plain()
    }

    pub(super) fn unfinished(&self) -> usize {
        self.plain().shared.unfinished()
    }

    /// How many calls wait for an answer, and how many requests for a reply.
    pub(super) fn pending(&self) -> (usize, usize) {
        let client = &self.plain().shared.client;
        (client.pending_calls(), client.replies().waiting())
    }

    /// How often callbacks should have been called, and how often they were.
    pub(super) fn calls(&self) -> (usize, usize) {
        let count = |calls: &AtomicUsize| calls.load(Ordering::SeqCst);
        (count(&self.called), count(&self.called_back))
    }

    /// Looks up the topic, and connects to its brokers.
    pub(super) async fn warm_up(&self) {
        for queue in self.plain().queues("t").await.unwrap() {
            let send = self.plain().send(Message::new("t", "warm")).to(queue);
            send.await.unwrap();
        }
    }

    /// A send that is over when its outcome is known.
    pub(super) fn begin(&self, way: Way, message: Message) -> BoxFuture<'static, Result<()>> {
        let (transacting, producer) = (self.producer.clone(), self.plain().clone());
        let three = vec![message.clone(), message.clone(), message.clone()];
        let send = producer.send(message.clone());
        let send = match way {
            Way::ToQueue => send.to(MessageQueue::new("t", "a", 1)),
            Way::Key => send.sharding_key("k"),
            Way::Selector => send.select(|queues, _| queues.len() - 1),
            _ => send,
        };
        match way {
            Way::Send | Way::ToQueue | Way::Key | Way::Selector => done(send),
            Way::Submit => done(send.submit()),
            Way::Receipt => done(async move { send.submit().await?.await }),
            Way::Callback => self.call_back(producer, message),
            Way::Oneway => done(send.oneway()),
            Way::Batch => done(producer.send_batch(three)),
            Way::Parts => done(async move {
                let outcomes = producer.send_batch(three).split().await;
                outcomes.into_iter().collect::<Result<Vec<_>>>()
            }),
            Way::AutoFirst | Way::AutoLast => self.among_others(way, producer, message),
            Way::Request => self.request(&producer, message),
            Way::Transaction => done(transacting.send_in_transaction(message, |_| async {
                sleep(SECOND / 100).await;
                TransactionState::Commit
            })),
            Way::Recall => {
                let handle = RecallHandle {
                    topic: "t".to_owned(),
                    broker_name: "a".to_owned(),
                    deliver_millis: "1700000000001".to_owned(),
                    message_id: "ID".to_owned(),
                };
                let handle = handle.encode();
                done(async move { producer.recall(&handle).await })
            }
            Way::Queues => done(async move { producer.queues("t").await }),
        }
    }

    fn call_back(
        &self,
        producer: DefaultProducer,
        message: Message,
    ) -> BoxFuture<'static, Result<()>> {
        let (called, called_back) = (Arc::clone(&self.called), Arc::clone(&self.called_back));
        done(async move {
            let (sender, over) = oneshot::channel();
            called.fetch_add(1, Ordering::SeqCst);
            producer.send_callback(message, move |outcome| {
                called_back.fetch_add(1, Ordering::SeqCst);
                // Nobody may wait any more.
                let _ = sender.send(outcome);
            });
            over.await.unwrap()
        })
    }

    /// Another message, which nobody gives up.
    fn other(&self) -> impl FnOnce() + Send + use<> {
        let (producer, others) = (self.plain().clone(), Arc::clone(&self.others));
        move || {
            let send = producer.send(Message::new("t", "other"));
            others.lock().push(tokio::spawn(send.timeout(10 * SECOND)));
        }
    }

    fn among_others(
        &self,
        way: Way,
        producer: DefaultProducer,
        message: Message,
    ) -> BoxFuture<'static, Result<()>> {
        let (one, two) = (self.other(), self.other());
        done(async move {
            one();
            if way == Way::AutoLast {
                // The other goes first.
                yield_now().await;
            }
            two();
            producer.send(message).await
        })
    }

    /// A request, and somebody who replies to it where its broker can be reached.
    fn request(
        &self,
        producer: &DefaultProducer,
        message: Message,
    ) -> BoxFuture<'static, Result<()>> {
        let (asking, world) = (producer.request(message), Arc::clone(&self.world));
        let replying = async move {
            let id = loop {
                sleep(SECOND / 20).await;
                let sent = world.sent();
                let mut ids = sent.iter().rev();
                if let Some(id) = ids.find_map(correlation_id) {
                    break id;
                }
            };
            // In most tests it was acknowledged by then.
            sleep(SECOND / 5).await;
            if let Some(name) = ["a", "b"].into_iter().find(|name| world.reaches(name)) {
                reply_through(&world, name, &id, "!");
            }
            pending::<()>().await;
        };
        done(async move {
            tokio::select! {
                biased;
                reply = asking => reply.map(drop),
                () = replying => Ok(()),
            }
        })
    }
}

fn done<T>(
    future: impl Future<Output = Result<T>> + Send + 'static,
) -> BoxFuture<'static, Result<()>> {
    future.map(|outcome| outcome.map(drop)).boxed()
}

/// The id of a request that was sent, alone or in an automatic batch.
fn correlation_id(sent: &Asked) -> Option<String> {
    const NAME: &str = "CORRELATION_ID";
    if sent.code != SendBatch::CODE {
        return sent.property(NAME);
    }
    BatchMessages::new(sent.body.clone()).find_map(|message| {
        let raw = message.unwrap().properties;
        properties::find(&raw, NAME).map(str::to_owned)
    })
}
