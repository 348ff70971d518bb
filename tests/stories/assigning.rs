//! What an application hears of its queues, and offsets that it keeps itself.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rocketmq_sdk::{
    ConsumeFromWhere, ConsumeStatus, Message, MessageQueue, OffsetStore, PushConsumerBuilder,
};

use crate::committed::committed_offset;
use crate::received::{Received, numbered, wait_until};
use crate::target::Target;

/// The queues that a member was told of and has not lost, and how many listeners had messages when it lost one.
#[derive(Clone, Default)]
struct Told {
    queues: Arc<Mutex<BTreeSet<MessageQueue>>>,
    events: Arc<Mutex<usize>>,
}

impl Told {
    fn hear(&self, builder: PushConsumerBuilder) -> PushConsumerBuilder {
        let (assigned, revoked) = (self.clone(), self.clone());
        let builder = builder.on_assigned(move |queue| {
            let told = assigned.clone();
            async move {
                *told.events.lock() += 1;
                assert!(told.queues.lock().insert(queue), "it was told of twice");
            }
        });
        builder.on_revoked(move |queue| {
            let told = revoked.clone();
            async move {
                *told.events.lock() += 1;
                assert!(told.queues.lock().remove(&queue), "nobody told of it");
            }
        })
    }

    fn of(&self, topic: &str) -> Vec<i32> {
        let queues = self.queues.lock();
        let queues = queues.iter().filter(|queue| *queue.topic == *topic);
        queues.map(|queue| queue.queue_id).collect()
    }
}

fn listen(builder: PushConsumerBuilder, received: &Received) -> PushConsumerBuilder {
    builder.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    })
}

async fn send(target: &Target, topic: &str, prefix: &str, count: usize) {
    let producer = target.producer().await;
    for at in 0..count {
        let message = Message::new(topic, format!("{prefix}{at}"));
        producer.send(message).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_rb_05_hooks_hear_of_every_queue_that_comes_and_goes() {
    let target = Target::shared().await;
    let topic = target.topic("hooks", 4).await;
    let group = target.name("hooks");
    let (one, two) = (Told::default(), Told::default());
    let received = Received::default();
    let builder = one.hear(target.consumer(&group).subscribe(&*topic, "*"));
    let first = listen(builder, &received).start().await.unwrap();
    wait_until(&target, "one has everything", || {
        one.of(&topic) == [0, 1, 2, 3]
    })
    .await;
    let builder = two.hear(target.consumer(&group).subscribe(&*topic, "*"));
    let second = listen(builder, &received).start().await.unwrap();
    wait_until(&target, "both have their half", || {
        let (ones, twos) = (one.of(&topic), two.of(&topic));
        (ones.len(), twos.len()) == (2, 2) && ones.iter().all(|queue| !twos.contains(queue))
    })
    .await;
    first.shutdown().await.unwrap();
    assert!(one.queues.lock().is_empty());
    wait_until(&target, "the other has everything", || {
        two.of(&topic) == [0, 1, 2, 3]
    })
    .await;
    second.unsubscribe(&topic);
    wait_until(&target, "nothing is subscribed", || {
        two.of(&topic).is_empty()
    })
    .await;
    second.shutdown().await.unwrap();
    assert!(two.queues.lock().is_empty());
    let events = (*one.events.lock(), *two.events.lock());
    assert!(events.0 >= 8 && events.1 >= 8, "{events:?}");
}

#[tokio::test]
async fn a_of_10_a_queue_is_committed_before_its_hook_hears_of_the_end() {
    let target = Target::shared().await;
    let topic = target.topic("hooked", 1).await;
    let group = target.name("hooked");
    let addr = target.brokers().await.remove(0);
    let committed = Arc::new(Mutex::new(None));
    let received = Received::default();
    let builder = target.consumer(&group).subscribe(&*topic, "*");
    let builder = builder.consume_from(ConsumeFromWhere::FirstOffset);
    let (found, asked_group) = (Arc::clone(&committed), group.clone());
    let builder = builder.on_revoked(move |queue| {
        let (found, group, addr) = (Arc::clone(&found), asked_group.clone(), addr.clone());
        async move {
            let offset = committed_offset(&addr, &group, &queue).await;
            *found.lock() = offset;
        }
    });
    let builder = builder.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        // Still at work when the consumer ends.
        tokio::time::sleep(Duration::from_millis(300)).await;
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = builder.start().await.unwrap();
    send(&target, &topic, "m", 3).await;
    received
        .wait(&target, "all came", |received| received.count() == 3)
        .await;
    assert!(consumer.shutdown().await.unwrap().is_clean());
    assert_eq!(*committed.lock(), Some(3));
}

/// Keeps offsets in memory, and fails now and then.
#[derive(Debug, Default)]
struct Own {
    offsets: Mutex<BTreeMap<MessageQueue, i64>>,
    calls: Mutex<usize>,
}

impl Own {
    fn stumble(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut calls = self.calls.lock();
        *calls += 1;
        match *calls % 5 {
            1 => Err("the database is away".into()),
            3 => panic!("on purpose"),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl OffsetStore for Own {
    async fn load(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Box<dyn Error + Send + Sync>> {
        self.stumble()?;
        Ok(self.offsets.lock().get(queue).copied())
    }

    async fn commit(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.stumble()?;
        self.offsets.lock().insert(queue.clone(), offset);
        Ok(())
    }
}

#[tokio::test]
async fn a_of_05_an_application_keeps_offsets_in_a_store_that_stumbles() {
    let target = Target::shared().await;
    let topic = target.topic("own", 1).await;
    let group = target.name("own");
    let store = Arc::new(Own::default());
    let start = async |received: &Received| {
        let builder = target.consumer(&group).subscribe(&*topic, "*");
        let builder = builder
            .consume_from(ConsumeFromWhere::FirstOffset)
            .commit_interval(Duration::from_millis(50))
            .offset_store(Arc::clone(&store));
        listen(builder, received).start().await.unwrap()
    };
    send(&target, &topic, "a", 10).await;
    let first = Received::default();
    let consumer = start(&first).await;
    first
        .wait(&target, "the first ten came", |received| {
            received.bodies() == numbered("a", 10)
        })
        .await;
    let queue = MessageQueue {
        topic: topic.as_str().into(),
        ..first.all()[0].queue().clone()
    };
    wait_until(&target, "the store has the offset", || {
        store.offsets.lock().get(&queue) == Some(&10)
    })
    .await;
    consumer.shutdown().await.unwrap();
    let addr = target.brokers().await.remove(0);
    assert_eq!(
        committed_offset(&addr, &group, &queue).await.unwrap_or(0),
        0,
        "the broker keeps nothing of it"
    );
    send(&target, &topic, "b", 10).await;
    let second = Received::default();
    let consumer = start(&second).await;
    second
        .wait(&target, "the others came", |received| {
            received.bodies() == numbered("b", 10)
        })
        .await;
    consumer.shutdown().await.unwrap();
    assert_eq!((first.count(), second.count()), (10, 10));
}
