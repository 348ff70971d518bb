//! A cluster in memory, its clients, and the memory that they take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use peak_alloc::PeakAlloc;
use rocketmq_sdk::environment::Environment;
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, DefaultProducer, Message, MessageExt, MessageQueue,
    PushConsumer, Result, SendResult,
};
use rocketmq_testkit::{Cluster, ClusterBuilder, Faults};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Tests that count memory are alone.
static TURN: RwLock<()> = RwLock::new(());

/// Runs a test beside others, with tokio's time paused.
pub fn together(test: impl Future<Output = ()>) {
    let _turn = TURN.read();
    run(test);
}

/// Runs a test while no other runs, or still goes away.
pub fn alone(test: impl Future<Output = ()>) {
    let _turn = TURN.write();
    run(test);
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

/// The topic that every world has, of one queue on each broker.
pub const TOPIC: &str = "t";

pub const SECOND: Duration = Duration::from_secs(1);

pub struct World {
    pub cluster: Cluster,
    environment: Arc<dyn Environment>,
}

impl World {
    pub async fn new() -> Self {
        Self::start(Cluster::builder()).await
    }

    /// With a journal that stays small, for those who count memory.
    pub async fn with_short_journal() -> Self {
        Self::start(Cluster::builder().journal(100)).await
    }

    async fn start(cluster: ClusterBuilder) -> Self {
        let cluster = cluster.brokers(2).topic(TOPIC, 1).in_memory();
        let cluster = cluster.start().await.unwrap();
        Self {
            environment: cluster.environment(),
            cluster,
        }
    }

    /// With clients in another environment.
    pub fn within<E: Environment>(mut self, other: impl FnOnce(Arc<dyn Environment>) -> E) -> Self {
        self.environment = Arc::new(other(self.environment));
        self
    }

    /// The rules of the broker that the tests are hostile with; the other one is as it should be.
    pub fn faults(&self) -> &Faults {
        self.cluster.broker("broker-a").faults()
    }

    /// A producer that sends every message once.
    pub async fn producer(&self) -> DefaultProducer {
        let producer = DefaultProducer::builder("senders")
            .name_server(self.cluster.name_server_addr())
            .environment(Arc::clone(&self.environment))
            .retries(0);
        producer.start().await.unwrap()
    }

    /// A consumer of the topic, and the messages that it succeeds with.
    pub async fn consumer(&self) -> (PushConsumer, mpsc::UnboundedReceiver<MessageExt>) {
        let (came, coming) = mpsc::unbounded_channel();
        let consumer = PushConsumer::builder("readers")
            .name_server(self.cluster.name_server_addr())
            .environment(Arc::clone(&self.environment))
            .consume_from(ConsumeFromWhere::FirstOffset)
            .subscribe(TOPIC, "*")
            .listener_with(came, |came, messages| async move {
                for message in messages {
                    came.send(message).unwrap();
                }
                ConsumeStatus::CONSUME_SUCCESS
            });
        (consumer.start().await.unwrap(), coming)
    }
}

/// The hostile broker's queue.
pub fn queue_a() -> MessageQueue {
    MessageQueue::new(TOPIC, "broker-a", 0)
}

/// The queue of the broker that is as it should be.
pub fn queue_b() -> MessageQueue {
    MessageQueue::new(TOPIC, "broker-b", 0)
}

pub async fn send(
    producer: &DefaultProducer,
    queue: MessageQueue,
    body: impl Into<Bytes>,
) -> Result<SendResult> {
    producer.send(Message::new(TOPIC, body)).to(queue).await
}

/// The memory that is in use more than at the beginning.
pub struct Used {
    before: usize,
}

impl Used {
    pub fn from_now() -> Self {
        ALLOCATOR.reset_peak_usage();
        Self {
            before: ALLOCATOR.current_usage(),
        }
    }

    /// Prints the most that was in use at a time, and fails if that is more than so many bytes.
    pub fn assert_at_most(&self, what: impl fmt::Display, limit: usize) {
        let used = ALLOCATOR.peak_usage().saturating_sub(self.before);
        println!("{what}: {used} bytes at most, {limit} allowed");
        assert!(used <= limit, "{what}: {used} bytes, {limit} allowed");
    }
}
