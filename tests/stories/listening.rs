//! How many listeners run, of which topics, and when none does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_sdk::{ConsumeFromWhere, ConsumeStatus, Message, PushConsumer, PushConsumerBuilder};
use tokio::time::sleep;

use crate::received::{Received, body, numbered, wait_until};
use crate::target::Target;

fn listen(builder: PushConsumerBuilder, received: &Received) -> PushConsumerBuilder {
    let builder = builder.consume_from(ConsumeFromWhere::FirstOffset);
    builder.listener_with(received.clone(), |received, messages| async move {
        received.add(messages);
        ConsumeStatus::CONSUME_SUCCESS
    })
}

async fn send(target: &Target, topic: &str, prefix: &str, tag: &str, count: usize) {
    let producer = target.producer().await;
    for at in 0..count {
        let message = Message::builder(topic)
            .tag(tag)
            .body(format!("{prefix}{at}"));
        producer.send(message.build()).await.unwrap();
    }
    producer.shutdown().await.unwrap();
}

fn union(sets: impl IntoIterator<Item = BTreeSet<String>>) -> BTreeSet<String> {
    sets.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_pc_09_one_consumer_has_many_topics_with_different_tags() {
    let target = Target::shared().await;
    let mut topics = Vec::new();
    for at in 0..4 {
        topics.push(target.topic(&format!("many{at}"), 2).await);
    }
    let received = Received::default();
    let mut builder = target.consumer(&target.name("many"));
    for (topic, tags) in topics.iter().zip(["*", "A", "B || A", "C"]) {
        builder = builder.subscribe(&**topic, tags);
    }
    let consumer = listen(builder, &received).start().await.unwrap();
    for (at, topic) in topics.iter().enumerate() {
        send(&target, topic, &format!("{at}a"), "A", 3).await;
        send(&target, topic, &format!("{at}b"), "B", 3).await;
    }
    let wanted = union(["0a", "0b", "1a", "2a", "2b"].map(|prefix| numbered(prefix, 3)));
    received
        .wait(&target, "all came", |received| {
            received.bodies().is_superset(&wanted)
        })
        .await;
    assert_eq!((received.bodies(), received.count()), (wanted, 15));
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pc_10_many_consumers_have_many_topics() {
    let target = Target::shared().await;
    let (one, two) = (
        target.topic("first", 2).await,
        target.topic("second", 2).await,
    );
    let mut members = Vec::new();
    for (at, topics) in [vec![&one], vec![&two], vec![&one, &two], vec![&one, &two]]
        .into_iter()
        .enumerate()
    {
        let received = Received::default();
        let mut builder = target.consumer(&target.name(&format!("group{at}")));
        for topic in &topics {
            builder = builder.subscribe(&***topic, "*");
        }
        let consumer = listen(builder, &received).start().await.unwrap();
        let wanted = topics.iter().map(|topic| numbered(topic, 5));
        members.push((consumer, received, union(wanted)));
    }
    for topic in [&one, &two] {
        send(&target, topic, topic, "A", 5).await;
    }
    for (consumer, received, wanted) in members {
        received
            .wait(&target, "all came", |received| received.bodies() == wanted)
            .await;
        consumer.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_pc_11_members_that_start_one_after_the_other_lose_nothing() {
    let target = Target::shared().await;
    let topic = target.topic("interval", 4).await;
    let group = target.name("interval");
    let received = Received::default();
    let mut members = Vec::new();
    for at in 0..3 {
        let builder = target.consumer(&group).subscribe(&*topic, "*");
        members.push(listen(builder, &received).start().await.unwrap());
        send(&target, &topic, &format!("{at}-"), "A", 20).await;
    }
    members.remove(1).shutdown().await.unwrap();
    send(&target, &topic, "3-", "A", 20).await;
    let wanted = union((0..4).map(|at| numbered(&format!("{at}-"), 20)));
    received
        .wait(&target, "all came", |received| received.bodies() == wanted)
        .await;
    for member in members {
        member.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_pc_13_subscriptions_change_while_the_consumer_runs() {
    let target = Target::shared().await;
    let (one, two) = (
        target.topic("stays", 2).await,
        target.topic("changes", 2).await,
    );
    let received = Received::default();
    let builder = target.consumer(&target.name("changes"));
    let builder = builder.subscribe(&*one, "*").subscribe(&*two, "A");
    let consumer = listen(builder, &received).start().await.unwrap();
    send(&target, &two, "a", "A", 5).await;
    send(&target, &two, "lost", "B", 5).await;
    received
        .wait(&target, "the first came", |received| received.count() == 5)
        .await;
    consumer.subscribe(&two, "B").unwrap();
    wait_for_tags(&target, &consumer, &two, "b", "B", &received).await;
    consumer.unsubscribe(&two);
    wait_until(&target, "its queues are given up", || {
        let queues = consumer.assigned_queues();
        queues.iter().all(|queue| *queue.topic != *two)
    })
    .await;
    send(&target, &two, "unseen", "B", 5).await;
    send(&target, &one, "seen", "B", 5).await;
    received
        .wait(&target, "the other topic goes on", |received| {
            received.bodies().is_superset(&numbered("seen", 5))
        })
        .await;
    let bodies = received.bodies();
    assert!(
        !bodies.iter().any(|text| text.starts_with("unseen")),
        "{bodies:?}"
    );
    consumer.shutdown().await.unwrap();
}

/// Sends until one comes: from when on the other tag is chosen by is not known from outside.
async fn wait_for_tags(
    target: &Target,
    consumer: &PushConsumer,
    topic: &str,
    prefix: &str,
    tag: &str,
    received: &Received,
) {
    for round in 0..200 {
        send(target, topic, &format!("{prefix}{round}-"), tag, 1).await;
        sleep(Duration::from_millis(50)).await;
        let bodies = received.bodies();
        if bodies.iter().any(|text| text.starts_with(prefix)) {
            return;
        }
    }
    panic!("nothing came: {:?}", consumer.assigned_queues());
}

/// How many run at once, and the most that ever did.
#[derive(Clone, Default)]
struct Running(Arc<[AtomicUsize; 2]>);

impl Running {
    async fn run(&self, time: Duration) {
        let now = self.0[0].fetch_add(1, Ordering::SeqCst) + 1;
        self.0[1].fetch_max(now, Ordering::SeqCst);
        sleep(time).await;
        self.0[0].fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_pc_01_a_topic_may_have_listeners_of_its_own() {
    let target = Target::shared().await;
    let (common, narrow) = (
        target.topic("common", 4).await,
        target.topic("narrow", 4).await,
    );
    for topic in [&common, &narrow] {
        send(&target, topic, topic, "A", 24).await;
    }
    let (of_common, of_narrow) = (Running::default(), Running::default());
    let received = Received::default();
    let state = (of_common.clone(), of_narrow.clone(), received.clone());
    let name = narrow.clone();
    let consumer = target
        .consumer(&target.name("narrow"))
        .subscribe(&*common, "*")
        .subscribe(&*narrow, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .concurrency(6)
        .topic_concurrency(&*narrow, 2)
        .listener_with(state, move |(common, narrow, received), messages| {
            let is_narrow = messages[0].topic() == name;
            async move {
                let running = if is_narrow { &narrow } else { &common };
                running.run(Duration::from_millis(30)).await;
                received.add(messages);
                ConsumeStatus::CONSUME_SUCCESS
            }
        });
    let consumer = consumer.start().await.unwrap();
    received
        .wait(&target, "all came", |received| received.count() == 48)
        .await;
    assert_eq!((of_narrow.most(), of_common.most()), (2, 6));
    consumer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_pc_01_a_suspended_consumer_gets_nothing_and_goes_on_when_it_is_resumed() {
    let target = Target::shared().await;
    let topic = target.topic("suspended", 2).await;
    let received = Received::default();
    let builder = target
        .consumer(&target.name("suspended"))
        .subscribe(&*topic, "*");
    let consumer = listen(builder, &received).start().await.unwrap();
    send(&target, &topic, "a", "A", 10).await;
    received
        .wait(&target, "the first came", |received| received.count() == 10)
        .await;
    consumer.suspend().unwrap();
    assert!(consumer.is_suspended());
    let queues = consumer.assigned_queues();
    send(&target, &topic, "b", "A", 10).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(received.count(), 10);
    assert_eq!(consumer.assigned_queues().len(), queues.len());
    consumer.resume().unwrap();
    assert!(!consumer.is_suspended());
    received
        .wait(&target, "the others came", |received| {
            received.bodies() == union([numbered("a", 10), numbered("b", 10)])
        })
        .await;
    assert_eq!(received.count(), 20);
    consumer.shutdown().await.unwrap();
    let error = consumer.suspend().unwrap_err();
    assert_eq!(error.kind(), rocketmq_sdk::ErrorKind::Closed);
}

#[tokio::test]
async fn a_pc_04_a_batch_is_of_one_queue_and_no_larger_than_asked_for() {
    let target = Target::shared().await;
    let topic = target.topic("batches", 2).await;
    send(&target, &topic, "m", "A", 50).await;
    let batches = Arc::new(Mutex::new(Vec::new()));
    let builder = target
        .consumer(&target.name("batches"))
        .subscribe(&*topic, "*");
    let builder = builder
        .consume_from(ConsumeFromWhere::FirstOffset)
        .consume_batch_max_size(8);
    let consumer = builder.listener_with(Arc::clone(&batches), |batches, messages| async move {
        batches.lock().push(messages);
        ConsumeStatus::CONSUME_SUCCESS
    });
    let consumer = consumer.start().await.unwrap();
    wait_until(&target, "all came", || {
        batches.lock().iter().map(Vec::len).sum::<usize>() == 50
    })
    .await;
    let batches = std::mem::take(&mut *batches.lock());
    assert!(batches.iter().any(|batch| batch.len() == 8));
    for batch in &batches {
        assert!((1..=8).contains(&batch.len()));
        let offsets: Vec<_> = batch.iter().map(|one| one.queue_offset()).collect();
        assert!(offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        assert!(batch.iter().all(|one| one.queue() == batch[0].queue()));
    }
    let bodies: BTreeSet<_> = batches.iter().flatten().map(body).collect();
    assert_eq!(bodies, numbered("m", 50));
    consumer.shutdown().await.unwrap();
}

/// Bytes that no codec makes smaller.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[tokio::test]
async fn f28_l21_a_blocked_listener_holds_no_more_than_its_client_may() {
    const QUEUES: usize = 16;
    const EACH: usize = 3;
    const SIZE: usize = 200_000;
    const BUDGET: usize = 1 << 20;
    let target = Target::shared().await;
    let topic = target.topic("blocked", QUEUES as i32).await;
    let producer = target.producer().await;
    for at in 0..QUEUES * EACH {
        let message = Message::new(&*topic, noise(at as u64 + 1, SIZE));
        let send = producer.send(message);
        send.select(move |_, _| at % QUEUES).await.unwrap();
    }
    producer.shutdown().await.unwrap();
    crate::target::wait_until_stored(&target, &topic, QUEUES as i32, (QUEUES * EACH) as i64).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let seen = Arc::new(AtomicUsize::new(0));
    let config = rocketmq_sdk::ClientConfig::default().name_server(target.name_server());
    let consumer = PushConsumer::builder(target.name("blocked"))
        .config(config.max_buffered_bytes(BUDGET))
        .subscribe(&*topic, "*")
        .consume_from(ConsumeFromWhere::FirstOffset)
        .listener_with(
            (Arc::clone(&gate), Arc::clone(&seen)),
            |(gate, seen), _| async move {
                seen.fetch_add(1, Ordering::SeqCst);
                let passed = gate.acquire().await?;
                passed.forget();
                Ok(())
            },
        );
    let consumer = consumer.start().await.unwrap();
    wait_until(&target, "listeners are blocked", || {
        seen.load(Ordering::SeqCst) >= 3
    })
    .await;
    // Whatever is pulled on is pulled by now.
    sleep(Duration::from_secs(1)).await;
    if let Some(cluster) = target.cluster() {
        let entries = cluster.journal().entries();
        let of_topic = entries.iter().filter(|entry| entry.topic() == Some(&topic));
        let delivered: usize = of_topic
            .filter_map(|entry| entry.delivered())
            .map(|delivered| delivered.count)
            .sum();
        let most = (BUDGET + QUEUES * SIZE) / SIZE;
        assert!(
            delivered <= most,
            "{delivered} messages were pulled, not {most}"
        );
    }
    gate.add_permits(QUEUES * EACH);
    wait_until(&target, "all came", || {
        seen.load(Ordering::SeqCst) == QUEUES * EACH
    })
    .await;
    assert!(consumer.shutdown().await.unwrap().is_clean());
}
